/* SPDX-License-Identifier: MIT */
/* probe.c - asks the server and measures how long the answers take. */
#include "app/probe.h"

#include "app/client.h"
#include "header/header.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS     10
#define RESULT_LEN  6                        /* bytes of a RESULT [8.4] */
#define CLOCK_LEN   8                        /* bytes of what it says of its clock [8.11] */
#define WALL_JUMP   60000                    /* ms: no answer takes so long */
#define WALL_MAX    INT64_C(253402300800000) /* ms: the year 10000 */
#define FIRST_SHARE 2 /* the first request is asked again after this part of the patience */

struct request {
    struct pq_probe *probe;
    struct pq_stream *st;
    struct pq_list node;
    unsigned seq; /* 0: the one that finds out whether the server answers at all */
    pq_ns at;
    uint8_t buf[512]; /* of family A a PONG has the description of its type in front [6.2] */
    size_t len;
    bool last; /* what is there ends where a frame does */
    bool target;
    uint64_t wall; /* asks for the clock, when this one showed so many ms; else 0 */
};

static void drop(struct request *r)
{
    pq_list_remove(&r->node);
    if (r->st)
        pq_stream_abort(r->st);
    free(r);
}

/* ---- what has come */

static void add_session(void *ctx, struct pq_session *s)
{
    struct pq_probe_seen *seen = ctx;
    struct pq_kcp_stats st;
    pq_session_stats(s, &st);
    seen->sent += st.sent;
    seen->again += st.resent;
}

static void look_back(const struct pq_probe *p)
{
    struct pq_probe_seen *seen = p->conf->seen;
    const struct pq_hub_stats *st = pq_hub_stats(p->cw->w.hub);
    *seen =
        (struct pq_probe_seen){.datagrams = st->rx_packets,
                               .foreign = st->drops[PQ_DROP_AUTH] + st->drops[PQ_DROP_HANDSHAKE],
                               .empty = st->drops[PQ_DROP_NO_PAYLOAD],
                               .clock = p->clock};
    seen->heard = seen->datagrams > seen->foreign;
    pq_hub_each(p->cw->w.hub, add_session, seen);
}

/* Ends the program's wait for signals; nothing is left to do. */
static void end_all(void *ctx)
{
    (void)ctx;
    kill(getpid(), SIGTERM);
}

/* All has been asked. */
static void finish(struct pq_probe *p)
{
    if (p->done)
        return;
    p->done = true;
    if (p->conf->seen)
        look_back(p);
    if (p->conf->measure && p->open)
        p->measuring = pq_measuring_start(p->cw, p->conf->measure, end_all, NULL);
    if (!p->measuring)
        end_all(NULL);
}

const char *pq_probe_wire(const struct pq_probe_event *ev, bool quic)
{
    return quic         ? "over QUIC"
           : ev->secure ? "with keys of this session's own"
                        : "on the classic wire";
}

static void tell(struct pq_probe *p, enum pq_probe_kind kind, const struct request *r, pq_ns ns,
                 int result)
{
    struct pq_probe_event ev = {.kind = kind, .seq = r ? r->seq : 0, .ns = ns, .result = result};
    const struct pq_session *ses = r && r->st ? pq_stream_session(r->st) : NULL;
    if (ses) {
        ev.peer = *pq_session_peer(ses);
        ev.secure = pq_session_secure(ses);
    }
    p->conf->event(p->conf->ctx, &ev);
}

static void answered(struct request *r, int result)
{
    struct pq_probe *p = r->probe;
    const pq_ns now = pq_clock();
    if (!p->open) {
        p->open = true;
        p->asked = 0;
        p->next = now;
        tell(p, PQ_PROBE_OPEN, r, now - p->start, result);
    } else if (r->seq) {
        tell(p, PQ_PROBE_ANSWER, r, now - r->at, result);
    }
    drop(r);
    if (p->conf->count && p->asked >= p->conf->count && pq_list_empty(&p->pending))
        finish(p);
}

/* The server's clock is taken to have been read in the middle of the round trip [8.11]. */
static void clock_told(struct request *r)
{
    const uint64_t now = pq_app_wall(NULL);
    const int64_t told = (int64_t)(pq_le32(r->buf) | (uint64_t)pq_le32(r->buf + 4) << 32);
    const int64_t half = (int64_t)((pq_clock() - r->at) / PQ_MS / 2);
    if (told < 0 || told >= WALL_MAX)
        r->probe->clock = (struct pq_probe_clock){.impossible = true};
    else if (now - r->wall <= WALL_JUMP) /* else this clock was set meanwhile */
        r->probe->clock = (struct pq_probe_clock){
            .known = true, .ahead = told - ((int64_t)r->wall + half), .sure = half + 1};
    drop(r);
}

/* ---- streams */

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct request *r = ctx;
    const size_t room = sizeof r->buf - r->len, n = room < v.n ? room : v.n;
    memcpy(r->buf + r->len, v.p, n);
    r->len += n;
    r->last = last;
}

/* Whether the answer is there; *result is what it says of a target. */
static bool read_answer(const struct request *r, int *result)
{
    struct pq_request req;
    enum pq_family f;
    size_t used;
    *result = -1;
    if (r->last && pq_header_is_bare(r->buf, r->len, PQ_REQ_PONG))
        return true;
    if (pq_header_decode(r->buf, r->len, &req, &f, &used))
        return r->target && r->len >= RESULT_LEN; /* the target's own bytes */
    if (req.type == PQ_REQ_RESULT)
        *result = req.result;
    return true;
}

static void on_flush(void *ctx)
{
    struct request *r = ctx;
    int result;
    if (r->wall && r->len >= CLOCK_LEN)
        clock_told(r);
    else if (!r->wall && r->len && read_answer(r, &result))
        answered(r, result);
}

static void on_room(void *ctx)
{
    (void)ctx;
}

/* Closed without an answer: a server of another kind, or the session has ended. */
static void on_end(void *ctx, int err)
{
    struct request *r = ctx;
    int result = -1;
    if (r->wall) {
        drop(r); /* what is whole was read: an older server tells nothing */
        return;
    }
    if (!err && (r->target || read_answer(r, &result))) {
        answered(r, result);
        return;
    }
    pq_stream_close(r->st);
    r->st = NULL; /* counts as unanswered when its time is over */
}

static const struct pq_stream_events events = {.data = on_data,
                                               .flush = on_flush,
                                               .room = on_room,
                                               .end = on_end,
                                               .eof = on_room,
                                               .datagram = NULL};

static void ask(struct pq_probe *p, unsigned seq, pq_ns now)
{
    const struct pq_probe_conf *c = p->conf;
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return;
    *r = (struct request){.probe = p, .seq = seq, .at = now, .target = seq && c->host};
    pq_list_push(&p->pending, &r->node);
    r->st = pq_client_open(p->cw, r->target ? PQ_REQ_TCP : PQ_REQ_PING, r->target ? c->host : "",
                           r->target ? c->port : 0, &events, r);
}

/* Once the session is one that says so. */
static void ask_clock(struct pq_probe *p, pq_ns now)
{
    const struct pq_session *ses = p->cw->links[0].ses;
    const bool able = ses && pq_session_abilities(ses) & PQ_ABLE_MEASURE;
    struct request *r = able && !p->clock_asked ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return;
    p->clock_asked = true;
    *r = (struct request){.probe = p, .at = now, .wall = pq_app_wall(NULL)};
    pq_list_push(&p->pending, &r->node);
    r->st = pq_client_open(p->cw, PQ_REQ_MEASURE, "", PQ_MEASURE(PQ_MEASURE_CLOCK, 1), &events, r);
}

/* ---- time goes on */

static void give_up_late(struct pq_probe *p, pq_ns now)
{
    for (struct pq_list *n = p->pending.next, *next; n != &p->pending; n = next) {
        struct request *r = PQ_OF(n, struct request, node);
        next = n->next;
        if (now < r->at + p->conf->patience)
            continue;
        if (r->seq)
            tell(p, PQ_PROBE_NONE, r, now - r->at, -1);
        drop(r);
    }
}

/* The first request goes again where its session ended, since another one may do better. */
static void open_up(struct pq_probe *p, pq_ns now)
{
    if (now >= p->start + p->conf->patience) {
        tell(p, PQ_PROBE_NONE, NULL, now - p->start, -1);
        finish(p);
        return;
    }
    if (now < p->next && p->asked)
        return;
    p->asked = 1;
    p->next = now + p->conf->patience / FIRST_SHARE;
    ask(p, 0, now);
}

static void on_tick(uv_timer_t *t)
{
    struct pq_probe *p = t->data;
    const pq_ns now = p->cw->w.now = pq_clock();
    if (p->done)
        return;
    if (!p->open) {
        open_up(p, now);
        return;
    }
    give_up_late(p, now);
    if (p->conf->clock)
        ask_clock(p, now);
    const bool more = !p->conf->count || p->asked < p->conf->count;
    if (more && now >= p->next) {
        p->next = now + p->conf->interval;
        ask(p, ++p->asked, now);
    } else if (!more && pq_list_empty(&p->pending)) {
        finish(p);
    }
}

void pq_probe_start(struct pq_probe *p, struct client_worker *cw)
{
    p->cw = cw;
    pq_list_init(&p->pending);
    p->start = pq_clock();
    p->running = true;
    uv_timer_init(&cw->w.loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_tick, 0, TICK_MS);
}

void pq_probe_stop(struct pq_probe *p)
{
    if (!p->running)
        return;
    if (p->conf->seen && !p->done)
        look_back(p); /* a signal has come */
    p->running = false;
    p->done = true;
    pq_measuring_stop(p->measuring);
    for (struct pq_list *n; (n = pq_list_pop(&p->pending));)
        drop(PQ_OF(n, struct request, node));
    uv_close((uv_handle_t *)&p->timer, NULL);
}
