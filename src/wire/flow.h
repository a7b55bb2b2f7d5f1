/* SPDX-License-Identifier: MIT */
/* flow.h - forges the link, IP and TCP headers of one direction of one session: as the Go programs
 * do [1.1], or such that they look like those of the host's own TCP [1.6], also from its handshake
 * on (connect.h) [12.9]. Knows: addresses, the
 * header template, the counter and the flag cycle, what has come from the other side.  Does not
 * know: what the payload is, who sends the packet.  One owner thread. */
#ifndef PQ_WIRE_FLOW_H
#define PQ_WIRE_FLOW_H
#include "base/addr.h"
#include "base/flags.h"
#include "base/slot.h"
#include "base/time.h"
#include "wire/connect.h"
#include "wire/segment.h"

#define PQ_ETH_LEN     14
#define PQ_IP4_LEN     20
#define PQ_IP6_LEN     40
#define PQ_TCP_OPTIONS 12 /* NOP NOP timestamps */
#define PQ_TCP_LEN     (20 + PQ_TCP_OPTIONS)
#define PQ_RUN_MAX     65000     /* bytes of the datagrams of one run */
#define PQ_TCP_SYN_LEN (20 + 20) /* with MSS, SACK permitted, timestamps, NOP, window scale */
#define PQ_TCP_SYN_MAX (20 + 24) /* of a connection's SYN as some systems have it [12.9] */

enum pq_look {
    PQ_LOOK_CLASSIC,   /* byte for byte as the Go programs [1.1] */
    PQ_LOOK_PLAUSIBLE, /* as a TCP connection in the middle of its life [1.6] */
    PQ_LOOK_CONNECT,   /* as one from its SYN on: between two of this program [12.9] */
};

struct pq_flow_conf {
    struct pq_addr local, peer;        /* both IPv4 or both IPv6 */
    uint8_t local_mac[6], peer_mac[6]; /* used if link_len is 14 */
    uint16_t link_len;                 /* 14 = Ethernet, 0 = none (tun, ppp) */
    uint32_t t0;           /* classic: start of the clocks: low 32 bits of the Unix time in ms */
    enum pq_look look;     /* the rest is not for classic */
    uint8_t ttl;           /* of the host; 0 = 64 */
    uint32_t ts_offset;    /* of its time stamps to this address */
    uint64_t seed;         /* random: where numbers begin */
    struct pq_flags flags; /* not for pq_flow_init: n = 0 are those of the configuration */
};

struct pq_flow_state { /* of a plausible flow */
    uint32_t seq;      /* of the next byte */
    uint32_t ack;      /* behind the last byte that came */
    uint32_t ts_offset, ts_echo;
    uint32_t until_wider; /* bytes that may come before the window grows */
    uint16_t ip_id, window;
    bool heard; /* ack and ts_echo are the peer's */
    bool sent;  /* something: seq is no longer free */
};

struct pq_flow {
    uint8_t head[PQ_ETH_LEN + PQ_IP6_LEN]; /* template of link and IP header */
    uint16_t link_len, ip_len;
    uint16_t sport, dport; /* host order */
    uint32_t t0, n;        /* packet counter; the first packet has n = 1 */
    uint64_t ip_sum;       /* of the IPv4 header without total length and id */
    uint64_t pseudo_sum;   /* of addresses and protocol, without length */
    struct pq_flags flags; /* what this side sends with */
    uint8_t flag_next;
    enum pq_look look;
    bool splits; /* the peer cuts what its kernel has glued together */
    struct pq_flow_state st;
    struct pq_connect conn; /* of a flow that begins with a handshake */
};

/* Prepares a flow; the flag list starts as the single entry PSH+ACK. */
void pq_flow_init(struct pq_flow *f, const struct pq_flow_conf *conf);

/* Replaces the flag cycle and starts it at its first entry.  An empty list is ignored [1.3]. */
void pq_flow_set_flags(struct pq_flow *f, const struct pq_flags *flags);

/* Changes the link destination (a new router was learned). */
void pq_flow_set_peer_mac(struct pq_flow *f, const uint8_t mac[6]);

/* Goes on over another link: takes the link length and the MACs of the configuration. */
void pq_flow_set_link(struct pq_flow *f, const struct pq_flow_conf *conf);

/* Whether the flow's packets bear this source address (its port does not matter). */
bool pq_flow_is_from(const struct pq_flow *f, const struct pq_addr *a);

/* The addresses and ports that its packets bear. */
void pq_flow_ends(const struct pq_flow *f, struct pq_addr *local, struct pq_addr *peer);

/* Notes a segment of the peer that has proven to be its own: what is sent back acknowledges it. */
void pq_flow_heard(struct pq_flow *f, const struct pq_segment *s);

/* The peer cuts what its kernel has glued together [8.9]; others must get segments that no kernel
 * glues. */
void pq_flow_set_splits(struct pq_flow *f, bool on);

/* Writes all headers in front of the datagram in the slot (slot->off >= PQ_SLOT_HEAD) and extends
 * the slot over them.  Counts the packet.  `more`: others follow at once. */
void pq_flow_craft(struct pq_flow *f, struct pq_slot *slot, bool more, pq_ns now);

/* The same with these flags instead of the next ones of the cycle; the datagram may be empty. */
void pq_flow_craft_as(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, pq_ns now);

/* pq_flow_craft for one that was sent before, under its number `seq`: the next ones stay as they
 * are. */
void pq_flow_craft_again(struct pq_flow *f, struct pq_slot *slot, uint32_t seq, bool more,
                         pq_ns now);

/* The time stamp of what is sent now; not of a classic flow. */
uint32_t pq_flow_tsval(const struct pq_flow *f, pq_ns now);

/* Whether runs may be forged: each packet of one has the same flags [1.5]. */
bool pq_flow_can_run(const struct pq_flow *f);

/* The same for n >= 2 datagrams of equal length, but the last may be shorter: headers in front of
 * the first for the run as a whole, which whoever sends it cuts and gives its checksums.  At most
 * PQ_RUN_MAX bytes together. */
void pq_flow_craft_run(struct pq_flow *f, struct pq_slot *slots, size_t n, pq_ns now);

/* Bytes of the TCP header of its packets with data. */
size_t pq_flow_tcp_len(const struct pq_flow *f);

/* Most bytes of IP and TCP header that a packet has: what the link MTU must hold besides the
 * datagram.  Counts the longer header of packets with SYN, since the peer may ask for them. */
size_t pq_flow_overhead(const struct pq_flow *f);
#endif
