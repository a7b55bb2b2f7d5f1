/* SPDX-License-Identifier: MIT */
/* xtables.h - chains of the firewall by the programs iptables and ip6tables, for the modules of os,
 * where the kernel has no nf_tables (Android, old routers): batches of rules that hold whole or not
 * at all, in chains of our own, to which rules of the kernel's chains lead.  Each call runs these
 * programs, a few ms each time, 5 s at most.
 *
 * Our chains are named paqet-PID-XXXX-WHAT.  A mark of this name (mark.h), which the network
 * namespace has for itself as it has its chains, tells whose process lives; what killed ones have
 * left is removed when a process uses these programs first, and when it uses a table.  Rules and
 * chains of others are never touched. */
#ifndef PQ_OS_LINUX_XTABLES_H
#define PQ_OS_LINUX_XTABLES_H
#include "os/why.h"

#include <stdbool.h>
#include <stddef.h>

enum { PQ_XT_V4, PQ_XT_V6, PQ_XT_FAMILIES };

struct pq_xt {
    int life;           /* the mark; -1: these chains outlive us */
    char name[24];      /* what the names of the chains begin with */
    struct pq_xt_tool { /* that can do what is asked; program "" = not looked for yet */
        char program[20], restore[28];
        bool waits, restore_waits; /* it knows -w: waits for others who change the tables */
    } tool[PQ_XT_FAMILIES];
};

/* Words for an error of nf_tables and what iptables said then, "" if it was not asked. */
void pq_xt_why_both(char why[PQ_OS_WHY_LEN], int nft_error, const char *said);

/* Begins; `kept` is the name of chains that are to stay when the process ends, or NULL.  Returns 0
 * or -errno. */
int pq_xt_open(struct pq_xt *x, const char *kept);
void pq_xt_close(struct pq_xt *x); /* chains stay: pq_xt_remove */

/* Looks for a program that can read the table, and removes what killed processes have left.  Before
 * anything is put into that table.  Returns 0 or PQ_ENOTSUP, with words in why. */
int pq_xt_use(struct pq_xt *x, int family, const char *table, char why[PQ_OS_WHY_LEN]);

/* Whether this kernel has IPv6 at all. */
bool pq_xt_has_ipv6(void);

/* Whether the name of an interface is one that these programs would take for something else, or for
 * several: then with words in why unless that is NULL. */
bool pq_xt_cannot_name(const char *ifname, char why[PQ_OS_WHY_LEN]);

/* Lines for one table, as iptables-save writes them.  In each, $ stands for the beginning of our
 * chains' names. */
struct pq_xt_batch {
    struct pq_xt *x;
    int family;
    const char *table;
    char *text; /* malloc */
    size_t len, cap;
    bool failed; /* memory */
};

void pq_xt_begin(struct pq_xt_batch *b, struct pq_xt *x, int family, const char *table);
void pq_xt_chain(struct pq_xt_batch *b, const char *what); /* makes $WHAT, or empties it */
void pq_xt_add(struct pq_xt_batch *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Has the table changed, all or nothing: by iptables-restore, or else, where there is none, line by
 * line; then something may be left after an error.  Returns 0, PQ_ENOTSUP (refused; which rule, and
 * what is missing, in why unless that is NULL) or PQ_ENOMEM.  The lines are freed. */
int pq_xt_commit(struct pq_xt_batch *b, char why[PQ_OS_WHY_LEN]);

/* Whether rules of the kernel's chains lead to ours in the table already. */
bool pq_xt_leads(struct pq_xt *x, int family, const char *table);

/* Whether the machine translates what comes in: rules with DNAT or REDIRECT, or chains that
 * PREROUTING of nat leads to. */
bool pq_xt_translates(struct pq_xt *x, int family);

/* Removes our chains from the table, and the rules that lead to them.  Returns whether there were
 * any. */
bool pq_xt_remove(struct pq_xt *x, int family, const char *table);
#endif
