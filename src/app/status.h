/* SPDX-License-Identifier: MIT */
/* status.h - what there is to see of a program that runs, as numbers: copied while each worker
 * stands still.  Of the main thread. */
#ifndef PQ_APP_STATUS_H
#define PQ_APP_STATUS_H
#include "app/app.h"
#include "entry/dns_port.h"

struct pq_totals { /* of all workers */
    size_t sessions, half_open;
    unsigned udp_flows, udp_flows_max;
    uint64_t udp_dropped;
    struct pq_hub_stats hub;
    struct pq_pktio_stats io;
    struct pq_memory_info memory;
    uint64_t resident; /* bytes of this process in memory */
    struct pq_did did;
    pq_ns heard;                             /* when any peer was heard last; 0 = never */
    pq_ns tunnel_heard[PQ_CONF_TUNNELS_MAX]; /* the same of each of several tunnels */
    /* of clients: */
    bool has_rules, has_dns, has_tun, kill, kill_always;
    uint64_t ways[3]; /* by enum pq_way */
    uint64_t tun_refused;
    struct pq_dns_counts dns;
};

struct pq_session_row {
    unsigned worker;
    struct pq_session_info s;
};

struct pq_rows { /* of sessions or streams; grows up to `most` */
    size_t size; /* of one */
    char *v;     /* malloc'ed; the caller's */
    unsigned n, cap, most, left_out;
};

/* Fills *t, and *rows (size and most are set) with sessions. */
void pq_status_look(struct pq_app *app, struct pq_totals *t, struct pq_rows *rows);
#endif
