/* SPDX-License-Identifier: MIT */
/* xtwhy.h - what xtables.c and xtwhy.c share: why iptables refuses a table or a rule, by name. */
#ifndef PQ_OS_LINUX_XTWHY_H
#define PQ_OS_LINUX_XTWHY_H
#include "os/linux/xtables.h"

/* Runs a program: its words, what it reads, what it says.  Returns its exit code or an error. */
typedef int pq_xt_run(const char *const argv[], const char *in, char *out, size_t cap);

/* Has the tool do one line, without the table.  Returns its exit code or an error. */
int pq_xt_one(const struct pq_xt_tool *t, const char *table, const char *line, pq_xt_run *run,
              char *said, size_t cap);

/* No program can read the table; said NULL: there is none. */
void pq_xt_why_no_table(char why[PQ_OS_WHY_LEN], const char *program, const char *table,
                        const char *said);

/* The batch `text` was refused: its rules are tried one by one in a chain that leads nowhere. */
void pq_xt_why_refused(char why[PQ_OS_WHY_LEN], const struct pq_xt_tool *t, const char *name,
                       const char *table, const char *text, const char *said, pq_xt_run *run);
#endif
