/* SPDX-License-Identifier: MIT */
/* wan.h - between the files of lab-wan: wan.c (what was asked for, the loop), wan_link.c (one
 * direction: queue, delay, faults) and wan_box.c (boxes on the way that meddle with TCP flows). */
#ifndef PQ_LAB_WAN_H
#define PQ_LAB_WAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS       1e6
#define NS_PER_S        1000000000ull
#define ETHERNET_HEADER 14 /* never corrupted: the link would lose the frame */

/* ---- wan_box.c: for TCP over IPv4; the client's side is that of the first interface */

struct box_settings {
    double kill_ns; /* a flow, after its first packet ... */
    double kill_bytes;
    bool kill_way[2];    /* ... in these ways: towards the second interface, the first */
    bool kill_by_server; /* flows are told apart by the port at the second side, not the first */
    uint8_t flags[2];    /* segments with these TCP flags do not pass that way; 0: all do */
    uint32_t longest[2]; /* bytes of an IP packet that passes; 0: any */
    double nat_ns;       /* client's ports are shown as others, which change that often */
    uint32_t divert;     /* each so-many-th packet of the client comes from another address ... */
    uint8_t divert_from[4]; /* ... this one */
};

struct box_counters {
    uint64_t killed[2];
    uint64_t bindings;     /* of the NAT */
    uint64_t unbound;      /* packets to a port of it that leads nowhere */
    uint64_t diverted;     /* bytes of IP packets */
    uint64_t to_elsewhere; /* the same, to the address that they seemed to come from */
};

/* Whether the frame goes on, which may have been changed.  `back`: towards the first interface. */
bool box_pass(const struct box_settings *set, struct box_counters *count, bool back, uint8_t *frame,
              uint32_t len, uint64_t now);

/* All flows that there are pass no more, both ways. */
void box_kill_all(uint64_t now);

/* ---- wan_link.c */

struct link_settings {
    double delay_ns;
    double jitter_ns;
    double queue_ns;
    double swing_ns;        /* so much more delay in the second half of each ten seconds */
    double bytes_per_ns[2]; /* towards the second interface, the first; 0: no limit */
    double policed_bytes; /* not 0: what the rate has no room for is not queued, but dropped ... */
                          /* ... unless it is less than this */
    double loss;          /* probabilities, 0..1 */
    double burst_ns; /* not 0: all are lost for so long on the average, then none: `loss` of the
                        time */
    double reorder;
    double duplicate;
    double corrupt;
};

struct packet {
    uint64_t due; /* ns; when it leaves */
    uint64_t order;
    uint32_t len;
    uint8_t *bytes;
};

/* One direction. `heap` is a binary min-heap by (due, order). */
struct link {
    const char *from;
    const char *to;
    bool back; /* towards the first interface */
    int in_fd;
    int out_fd;
    struct packet *heap;
    size_t count;
    size_t capacity;
    size_t backlog;      /* bytes in the heap */
    uint64_t busy_until; /* ns; when the last byte accepted so far has been serialised */
    uint64_t last_due;
    uint64_t burst_from, burst_until; /* ns; the next burst, or the one that is */
    uint64_t next_order;
    uint64_t random;
    uint64_t in, out, out_bytes, lost, queue_dropped, send_dropped;
    uint64_t duplicated, reordered, corrupted;
};

struct settings {
    struct link_settings link;
    struct box_settings box;
    uint64_t seed;
    uint64_t max_seconds;
};

uint64_t now_ns(void);

/* Takes what waits on the incoming interface, but not for ever: the other direction waits too. */
void link_receive(struct link *link, const struct settings *set, struct box_counters *count);

/* Sends all packets that are due. Returns when the next one is, or UINT64_MAX. */
uint64_t link_transmit(struct link *link, uint64_t now);

/* Frees what is still on its way. */
void link_free(struct link *link);
#endif
