/* SPDX-License-Identifier: MIT */
/* nft_match.c - conditions and targets of iptables' own in rules of nf_tables. */
#include "os/linux/nft_ask.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <netinet/in.h>

#include <stdio.h>
#include <string.h>

/* What the matches "tcp", "udp" and "multiport" look like: source ports, destination ports, of TCP
 * an option and flags; and kind, count, ports, which of them begin a range; of "conntrack" what it
 * asks for, what is turned round, states; of "addrtype" kinds of source and destination. */
#define XT_TCP_OPTION   8
#define XT_TCP_FLAGS_AT 9
#define XT_TCP_LEN      12
#define XT_UDP_LEN      9
#define XT_INV_SOURCE   1U
#define XT_INV_DEST     2U
#define XT_INV_FLAGS    4U
#define XT_MULTI_AT     2
#define XT_MULTI_MAX    15
#define XT_MULTI_RANGES (XT_MULTI_AT + 2 * XT_MULTI_MAX)
#define XT_MULTI_INV    (XT_MULTI_RANGES + XT_MULTI_MAX)
#define XT_MULTI_DEST   1U
#define XT_MULTI_EITHER 2U
#define XT_CT_ASKS_AT   146
#define XT_CT_STATE     1U
#define XT_TYPE_LOCAL   4U
#define XT_TYPE_INV     2U /* of the destination */

void pq_nft_ask_sometimes(struct pq_nft_seen *s, const char *front, const char *words)
{
    if (s->when == PQ_NFT_ALWAYS)
        s->when = PQ_NFT_SOMETIMES;
    if (!*s->asks)
        snprintf(s->asks, sizeof s->asks, "%s%s", front, words);
}

void pq_nft_ask_so(struct pq_nft_seen *s, bool is)
{
    if (!is)
        s->when = PQ_NFT_NEVER;
}

void pq_nft_ask_strange(struct pq_nft_seen *s, const char *what)
{
    if (s->when == PQ_NFT_ALWAYS)
        s->when = PQ_NFT_SOMETIMES;
    if (!s->strange)
        snprintf(s->asks, sizeof s->asks, "%s", what);
    s->strange = true;
}

bool pq_nft_ask_begin_ports(struct pq_nft_seen *s, bool except)
{
    if (s->n_ports) {
        pq_nft_ask_strange(s, "ports, twice");
        return false;
    }
    s->except = except;
    return true;
}

void pq_nft_ask_add_ports(struct pq_nft_seen *s, uint16_t from, uint16_t to)
{
    if (s->n_ports < PQ_NFT_SEEN_PORTS && from <= to) {
        s->port[s->n_ports++] = (struct pq_range){from, to};
        return;
    }
    pq_nft_ask_strange(s, "ports");
    s->n_ports = 0; /* it may be about all */
}

void pq_nft_take_protocol(struct pq_nft_seen *s, uint8_t protocol)
{
    s->tcp = s->tcp && protocol == IPPROTO_TCP;
    s->udp = s->udp && protocol == IPPROTO_UDP;
}

static void take_tcp_udp(struct pq_nft_seen *s, struct pq_view info, bool tcp)
{
    uint16_t ports[4];
    const uint8_t turned = info.p[tcp ? XT_TCP_LEN - 1 : XT_UDP_LEN - 1];
    pq_nft_take_protocol(s, tcp ? IPPROTO_TCP : IPPROTO_UDP);
    memcpy(ports, info.p, sizeof ports);
    if (ports[0] || ports[1] != UINT16_MAX || turned & XT_INV_SOURCE)
        pq_nft_ask_sometimes(s, "from some ports", "");
    if ((ports[2] || ports[3] != UINT16_MAX) && /* else it asks for none */
        pq_nft_ask_begin_ports(s, turned & XT_INV_DEST))
        pq_nft_ask_add_ports(s, ports[2], ports[3]);
    if (tcp && info.p[XT_TCP_OPTION])
        pq_nft_ask_strange(s, "an option of TCP");
    if (tcp && info.p[XT_TCP_FLAGS_AT])
        pq_nft_ask_so(s, ((PQ_NFT_SYN & info.p[XT_TCP_FLAGS_AT]) == info.p[XT_TCP_FLAGS_AT + 1]) ==
                             !(turned & XT_INV_FLAGS));
}

static void take_multiport(struct pq_nft_seen *s, struct pq_view info)
{
    uint16_t ports[XT_MULTI_MAX];
    memcpy(ports, info.p + XT_MULTI_AT, sizeof ports);
    if (!info.p[1] || !pq_nft_ask_begin_ports(s, info.n > XT_MULTI_INV && info.p[XT_MULTI_INV])) {
        pq_nft_ask_strange(s, "ports");
        return;
    }
    for (unsigned i = 0; i < info.p[1] && i < XT_MULTI_MAX; i++) {
        const bool range =
            info.n > XT_MULTI_RANGES + i && info.p[XT_MULTI_RANGES + i] && i + 1 < XT_MULTI_MAX;
        pq_nft_ask_add_ports(s, ports[i], ports[i + range]);
        i += range;
    }
}

/* "state", of the module conntrack. */
static void take_conntrack(struct pq_nft_seen *s, struct pq_view info)
{
    uint16_t ct[3];
    memcpy(ct, info.p + XT_CT_ASKS_AT, sizeof ct);
    if (ct[0] == XT_CT_STATE)
        pq_nft_ask_so(s, ((ct[2] & PQ_NFT_STATE_NEW) != 0) == !(ct[1] & XT_CT_STATE));
    else
        pq_nft_ask_strange(s, "conntrack");
}

/* Whose the destination is: this machine's, of these connections. */
static void take_addrtype(struct pq_nft_seen *s, struct pq_view info, uint32_t revision)
{
    uint16_t kinds[2];
    uint32_t flags;
    memcpy(kinds, info.p, sizeof kinds);
    memcpy(&flags, info.p + sizeof kinds, sizeof flags);
    if (revision != 1 || kinds[0] || flags & ~XT_TYPE_INV)
        pq_nft_ask_strange(s, "addrtype");
    else
        pq_nft_ask_so(s, ((kinds[1] & XT_TYPE_LOCAL) != 0) == !(flags & XT_TYPE_INV));
}

static bool is_among(const char *name, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, v[i]) == 0)
            return true;
    return false;
}

void pq_nft_take_match(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    /* of other protocols, and of headers which packets of TCP and UDP have not */
    static const char *const never[] = {"icmp", "icmp6", "ah",   "esp", "sctp",
                                        "dccp", "rt",    "frag", "mh"};
    char name[32];
    const struct pq_view info = a->v[NFTA_MATCH_INFO], rev = a->v[NFTA_MATCH_REV];
    pq_nl_str(name, sizeof name, a->v[NFTA_MATCH_NAME]);
    const bool tcp = strcmp(name, "tcp") == 0, udp = strcmp(name, "udp") == 0;
    if ((tcp && info.n >= XT_TCP_LEN) || (udp && info.n >= XT_UDP_LEN))
        take_tcp_udp(s, info, tcp);
    else if (strcmp(name, "multiport") == 0 && info.n >= XT_MULTI_RANGES &&
             (info.p[0] == XT_MULTI_DEST || info.p[0] == XT_MULTI_EITHER))
        take_multiport(s, info);
    else if (strcmp(name, "conntrack") == 0 && info.n >= XT_CT_ASKS_AT + 3 * sizeof(uint16_t))
        take_conntrack(s, info);
    else if (strcmp(name, "addrtype") == 0 && info.n >= 8)
        take_addrtype(s, info, rev.n == 4 ? pq_be32(rev.p) : 0);
    else if (is_among(name, never, sizeof never / sizeof never[0]))
        pq_nft_ask_so(s, false);
    else if (strcmp(name, "comment") != 0)
        pq_nft_ask_strange(s, name);
}

void pq_nft_take_target(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    static const char *const none[] = {"LOG",      "NFLOG",   "MARK", "CONNMARK",    "SECMARK",
                                       "TRACE",    "SET",     "CT",   "CONNSECMARK", "TCPMSS",
                                       "DSCP",     "TOS",     "TTL",  "HL",          "CHECKSUM",
                                       "CLASSIFY", "RATEEST", "AUDIT"};
    char name[32];
    pq_nl_str(name, sizeof name, a->v[NFTA_TARGET_NAME]);
    if (strcmp(name, "REJECT") == 0)
        s->verdict.drops = true;
    else if (!is_among(name, none, sizeof none / sizeof none[0])) {
        s->unknown = true;
        pq_nft_ask_strange(s, name);
    }
}
