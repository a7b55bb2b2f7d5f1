/* SPDX-License-Identifier: MIT */
/* denied.h - what a server's user is told about a refusal by the rules. */
#ifndef PQ_EXIT_DENIED_H
#define PQ_EXIT_DENIED_H
#include "relay/front.h"

/* Logs, at most once in ten seconds, that these rules refused what a client asked for, and what to
 * write into the configuration to permit it. */
void pq_front_log_denied(struct pq_front *f, const struct pq_rules *rules,
                         const struct pq_addr *client, const char *host, uint16_t port);
#endif
