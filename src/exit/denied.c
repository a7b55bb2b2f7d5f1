/* SPDX-License-Identifier: MIT */
#include "exit/denied.h"

#include "relay/rules.h"

#include <stdio.h>

#define LOG_PERIOD (10 * PQ_SEC)

void pq_front_log_denied(struct pq_front *f, const struct pq_rules *rules,
                         const struct pq_addr *client, const char *host, uint16_t port)
{
    char peer[PQ_ADDR_STRLEN];
    struct pq_addr a;
    uint64_t n = pq_log_due(&f->denied, LOG_PERIOD, uv_hrtime());
    if (!n)
        return;
    const bool ip6 = pq_addr_parse_ip(&a, host) == 0 && !pq_addr_is4(&a);
    char entry[PQ_HOST_MAX + sizeof "[]:65535"]; /* as in a list */
    if (port)
        snprintf(entry, sizeof entry, ip6 ? "[%s]:%u" : "%s:%u", host, port);
    else
        snprintf(entry, sizeof entry, "%s", host); /* a packet without ports */
    pq_addr_str(client, peer);
    if (pq_rules_has_allow(rules))
        PQ_LOG(PQ_LOG_WARN,
               "client %s asked for %s, which allow and deny do not permit; to permit it add "
               "\"%s\" to allow, unless an entry of deny matches it (%llu refused since the last "
               "such line)",
               peer, entry, entry, (unsigned long long)n);
    else
        PQ_LOG(PQ_LOG_WARN,
               "client %s asked for %s, which deny does not permit; to permit it take the entry "
               "that matches out of deny (%llu refused since the last such line)",
               peer, entry, (unsigned long long)n);
}
