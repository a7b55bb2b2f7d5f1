/* SPDX-License-Identifier: MIT */
/* iptables.h - the rules of os/firewall.h where the kernel has no nf_tables (Android, old routers):
 * in a chain (xtables.h) of the table raw, or of filter where there is no raw; with a decoy of
 * mangle, behind the tracking of connections.  Each change runs a program, a few ms. */
#ifndef PQ_OS_LINUX_IPTABLES_H
#define PQ_OS_LINUX_IPTABLES_H
#include "os/firewall.h"
#include "os/why.h"

struct pq_iptables;

/* As pq_firewall_open.  Returns 0, PQ_ENOTSUP (no such program, or it refused: words in why) or
 * PQ_ENOMEM. */
int pq_iptables_open(struct pq_iptables **out, const struct pq_firewall_conf *conf,
                     char why[PQ_OS_WHY_LEN]);

/* As pq_firewall_move.  Returns 0 or PQ_ENOTSUP. */
int pq_iptables_move(struct pq_iptables *t, const struct pq_firewall_conf *conf);

/* As pq_firewall_add and pq_firewall_remove; of more than 512 ports, those that were removed go
 * sooner.  Returns 0 or PQ_ENOTSUP. */
int pq_iptables_add(struct pq_iptables *t, uint16_t port);
int pq_iptables_remove(struct pq_iptables *t, uint16_t port, uint64_t linger_ms);

/* As pq_firewall_admit, which runs nothing here but after an exclusion, and pq_firewall_exclude, of
 * 256 at a time.  Who was let through stays so while the kernel tracks the connection. */
int pq_iptables_admit(struct pq_iptables *t, const struct pq_addr *from);
int pq_iptables_exclude(struct pq_iptables *t, const struct pq_addr *from);

const char *pq_iptables_kind(const struct pq_iptables *t);

/* A range as these programs write it: "1000:2000". */
const char *pq_iptables_ports(const struct pq_range *r, char buf[PQ_RANGE_STRLEN]);

/* Removes the chains and frees; NULL does nothing. */
void pq_iptables_close(struct pq_iptables *t);
#endif
