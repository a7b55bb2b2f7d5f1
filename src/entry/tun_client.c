/* SPDX-License-Identifier: MIT */
#include "entry/tun_client.h"

#include "entry/dns_port.h"
#include "entry/split.h"
#include "entry/tun_refuse.h"
#include "relay/tun_link.h"

#include <stdlib.h>

#define CHECK_MS   500U
#define CORKED_MAX (10 * PQ_SEC) /* for the server to say what it is */
#define REFUSED_IN (2 * PQ_SEC)  /* a server that refuses TUN does it at once */
#define LOG_PERIOD (60 * PQ_SEC)

struct pq_tun_client {
    struct pq_tun_link link; /* first: events of the stream have it as ctx */
    struct pq_tun tun;
    uv_timer_t timer;
    pq_ns opened;
    bool begun, up; /* packets may be sent; it is known that somebody takes them */
    struct pq_log_limit refused;
    unsigned handles; /* that are not closed yet */
};

static struct pq_tun_client *client_of(struct pq_tun_link *l)
{
    return PQ_OF(l, struct pq_tun_client, link);
}

static bool accept_all(struct pq_tun_link *l, const struct pq_ip *ip)
{
    (void)l;
    (void)ip;
    return true;
}

/* ---- the stream */

static void connect_link(struct pq_tun_client *c)
{
    struct pq_front *f = c->link.front;
    c->begun = false;
    c->link.received = 0;
    c->link.st = f->open(f->open_ctx, PQ_REQ_TUN, "", 0, &pq_tun_link_events, &c->link);
    c->opened = uv_hrtime();
    if (!c->link.st)
        return;
    if (!pq_stream_corked(c->link.st))
        c->link.room(&c->link);
}

static void disconnect(struct pq_tun_client *c)
{
    if (c->up)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "TUN: disconnected");
    c->up = false;
    pq_tun_pause(&c->tun, true);
    pq_tun_link_close(&c->link);
}

static void on_over(struct pq_tun_link *l)
{
    struct pq_tun_client *c = client_of(l);
    bool at_once = uv_hrtime() < c->opened + REFUSED_IN && !l->received;
    uint64_t n = at_once ? pq_log_due(&c->refused, LOG_PERIOD, uv_hrtime()) : 0;
    disconnect(c);
    if (n)
        PQ_LOG(PQ_LOG_WARN, "the server refuses TUN: it needs tun.enabled: true there, and servers "
                            "of family B have none");
}

/* It may begin, or go on. */
static void on_room(struct pq_tun_link *l)
{
    struct pq_tun_client *c = client_of(l);
    if (pq_stream_corked(l->st))
        return;
    if (!c->begun) {
        c->begun = true;
        pq_tun_link_begin(l);
    }
    pq_tun_pause(&c->tun, pq_stream_room(l->st) == 0);
}

/* What the rules send directly does not come here. */
static bool is_blocked(const struct pq_tun_client *c, const struct pq_tun_packet *pkt)
{
    const struct pq_front *f = c->link.front;
    unsigned nth, of_name;
    if (pq_split_addr(f->split, &pkt->ip.dst, pkt->ip.has_ports, &nth) != PQ_WAY_BLOCK)
        return false;
    return pq_dns_port_steered(f->dns, &pkt->ip.dst, &of_name) != PQ_STEERED_TUNNEL ||
           of_name > nth;
}

static void on_packet(void *ctx, struct pq_tun_packet *pkt)
{
    struct pq_tun_client *c = ctx;
    if (is_blocked(c, pkt)) {
        c->link.front->tun_refused++;
        uint8_t answer[PQ_TUN_REFUSAL_MAX];
        const size_t n = pq_tun_refuse(answer, pkt);
        if (n)
            pq_tun_write(&c->tun, answer, n, 0, false);
        return;
    }
    pq_tun_link_send(&c->link, pkt);
    if (c->link.st && !pq_stream_room(c->link.st))
        pq_tun_pause(&c->tun, true);
}

/* Said once it is true: not to a server that is silent, or refuses each time. */
static void say_up(struct pq_tun_client *c)
{
    const struct pq_tun_link *l = &c->link;
    bool kept = uv_hrtime() > c->opened + REFUSED_IN && pq_stream_heard(l->st) > c->opened;
    if (c->up || !c->begun || (!kept && !l->received))
        return;
    c->up = true;
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "TUN: connected%s",
                l->gso ? "" : ", one packet at a time");
}

static void on_timer(uv_timer_t *t)
{
    struct pq_tun_client *c = t->data;
    struct pq_front *f = c->link.front;
    struct pq_stream *st = c->link.st;
    if (st && (!f->alive(f->open_ctx, st) || (!c->begun && uv_hrtime() > c->opened + CORKED_MAX)))
        disconnect(c);
    if (c->link.st)
        say_up(c);
    else
        connect_link(c);
}

/* ---- life */

int pq_tun_client_open(struct pq_tun_client **out, struct pq_front *front, int fd, bool offload)
{
    struct pq_tun_client *c = *out = calloc(1, sizeof *c);
    if (!c)
        return PQ_ENOMEM;
    c->tun = (struct pq_tun){.front = front,
                             .fd = fd,
                             .offload = offload,
                             .packet = on_packet,
                             .turn_over = pq_tun_link_turn_over,
                             .ctx = c};
    c->link = (struct pq_tun_link){
        .front = front, .tun = &c->tun, .accept = accept_all, .room = on_room, .over = on_over};
    int e = pq_tun_start(&c->tun);
    if (e) {
        free(c);
        *out = NULL;
        return e;
    }
    c->handles = 2;
    uv_timer_init(front->loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, CHECK_MS, CHECK_MS);
    pq_tun_pause(&c->tun, true);
    connect_link(c);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_tun_client *c = h->data;
    if (--c->handles == 0)
        free(c);
}

void pq_tun_client_close(struct pq_tun_client **cp)
{
    struct pq_tun_client *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    disconnect(c);
    c->tun.poll.data = c; /* no more packets are read */
    pq_tun_stop(&c->tun, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}
