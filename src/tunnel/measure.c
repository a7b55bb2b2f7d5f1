/* SPDX-License-Identifier: MIT */
/* measure.c - trains: datagrams by which a client finds out what passes to the server and back,
 * each train on a tuple of its own [12.10].  What a server does for one is bounded four ways: an
 * answer has no more bytes than came over its tuple before; so many answers a second of all of a
 * worker; so many sessions at a time; and it is forgotten soon after the last datagram. */
#include "tunnel/measure.h"

#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define HEAD         10 /* of what is out of band, kind, number of the train */
#define AROUND       (PQ_SEAL_HEAD + HEAD + PQ_SEAL_TAIL)
#define COUNT_BODY   (6 + PQ_TRAIN_CARS / 8)
#define WAITING_MAX  16   /* answers of a train that have not gone out */
#define MEASURES_MAX 16   /* sessions of a worker that measure at a time */
#define ANSWERS_MAX  1000 /* a second, of a worker */
#define FORGET_AFTER (15 * PQ_SEC)
#define NO_ANSWER    0xff

struct answer {
    uint16_t number, size, flags;
};

struct train {
    bool used;
    struct pq_tuple tuple; /* client: what comes over it is the session's */
    struct pq_addr peer, local;
    struct pq_flow flow;
    uint16_t run, flags;
    unsigned sent, arrived, answered, back; /* of the run, as in pq_train_seen */
    uint8_t came[PQ_TRAIN_CARS / 8], came_back[PQ_TRAIN_CARS / 8];
    /* client */
    bool due, counted, count_due;
    struct pq_train_order order;
    pq_ns at[PQ_TRAIN_CARS], rtt;
    uint16_t wanted[PQ_TRAIN_CARS]; /* bytes of the answer; 0: none */
    bool impossible;
    /* server */
    bool connected;
    enum pq_look look;
    struct answer wait[WAITING_MAX];
    unsigned n_wait;
    size_t credit; /* bytes that came over the tuple and were not answered */
};

struct pq_measure {
    struct train train[PQ_TRAINS];
    pq_ns heard; /* server: when a datagram of one came last */
};

static void mark(uint8_t *map, unsigned number)
{
    if (number < PQ_TRAIN_CARS)
        map[number / 8] |= (uint8_t)(1U << number % 8);
}

static bool is_marked(const uint8_t *map, unsigned number)
{
    return map[number / 8] >> number % 8 & 1;
}

static void begin_run(struct train *t, uint16_t run)
{
    t->run = run;
    t->sent = t->arrived = t->answered = t->back = 0;
    memset(t->came, 0, sizeof t->came);
    memset(t->came_back, 0, sizeof t->came_back);
    t->due = t->counted = t->count_due = t->impossible = false;
    t->rtt = 0;
    t->n_wait = 0;
}

static void end_train(struct pq_session *s, struct train *t)
{
    if (!t->used)
        return;
    pq_session_leave(s, &t->tuple);
    pq_leave(s->hub, &t->flow, true);
    *t = (struct train){0};
}

void pq_measure_free(struct pq_session *s)
{
    struct pq_measure *m = s->measure;
    if (!m)
        return;
    for (unsigned i = 0; i < PQ_TRAINS; i++)
        end_train(s, &m->train[i]);
    s->hub->n_measures--;
    s->measure = NULL;
    free(m);
    pq_mask_free(&s->train_key);
}

static struct pq_measure *measure_of(struct pq_session *s)
{
    if (!s->measure && s->hub->n_measures < MEASURES_MAX) {
        s->measure = calloc(1, sizeof *s->measure);
        s->hub->n_measures += s->measure != NULL;
    }
    return s->measure;
}

static bool is_there(const struct train *t, const struct pq_segment *seg)
{
    return t->used && pq_addr_eq(&t->peer, &seg->src) && pq_addr_eq(&t->local, &seg->dst);
}

struct pq_flow *pq_measure_flow(struct pq_session *s, const struct pq_tuple *t)
{
    for (unsigned i = 0; s->measure && i < PQ_TRAINS; i++)
        if (t == &s->measure->train[i].tuple)
            return &s->measure->train[i].flow;
    return NULL;
}

static unsigned most(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* ---- client */

int pq_train_begin(struct pq_session *s, unsigned i, const struct pq_flow_conf *fc, uint16_t flags,
                   pq_ns now)
{
    struct pq_hub *h = s->hub;
    const bool connects = fc->look == PQ_LOOK_CONNECT;
    const struct pq_flags list = {.v = {flags}, .n = 1};
    if (!s->sec || !(s->abilities & PQ_ABLE_MEASURE) || (connects && !s->by_keys))
        return PQ_ENOTSUP;
    struct pq_measure *m = measure_of(s);
    int e = m ? 0 : PQ_ENOMEM;
    if (!e && connects && !s->train_key)
        e = pq_shake_syn(h->ring[0].shake, s->server_public, &s->train_key);
    if (e)
        return e;
    struct train *t = &m->train[i];
    end_train(s, t);
    t->peer = fc->peer;
    t->local = fc->local;
    pq_session_flow_as(h, &t->flow, fc, connects ? PQ_LOOK_PLAUSIBLE : fc->look);
    pq_flow_set_flags(&t->flow, &list);
    if (connects)
        pq_connect_begin(h, &t->flow, now);
    pq_flow_set_splits(&t->flow, s->abilities & PQ_ABLE_SPLIT);
    e = pq_session_at(s, &t->tuple, &fc->peer, &fc->local);
    t->used = !e;
    begin_run(t, (uint16_t)pq_rng_u32(h->rng));
    pq_session_wake(s);
    return e;
}

static struct train *train_of(const struct pq_session *s, unsigned i)
{
    return s->measure && s->measure->train[i].used ? &s->measure->train[i] : NULL;
}

void pq_train_run(struct pq_session *s, unsigned i)
{
    struct train *t = train_of(s, i);
    if (t)
        begin_run(t, (uint16_t)(t->run + 1));
}

int pq_train_send(struct pq_session *s, unsigned i, const struct pq_train_order *o)
{
    struct train *t = train_of(s, i);
    if (!t || t->due || t->flow.conn.state == PQ_CONNECT_ASKING)
        return PQ_EAGAIN;
    t->order = *o;
    t->due = true;
    pq_session_wake(s);
    return 0;
}

void pq_train_count(struct pq_session *s, unsigned i)
{
    struct train *t = train_of(s, i);
    if (!t)
        return;
    t->count_due = true;
    pq_session_wake(s);
}

void pq_train_seen(const struct pq_session *s, unsigned i, struct pq_train_seen *out)
{
    const struct train *t = train_of(s, i);
    *out = (struct pq_train_seen){.open = false};
    if (!t)
        return;
    out->open = t->flow.conn.state != PQ_CONNECT_ASKING;
    out->sent = t->sent;
    out->arrived = most(t->arrived, t->back);
    out->answered = most(t->answered, t->back);
    out->back = t->back;
    out->counted = t->counted;
    out->impossible = t->impossible;
    out->rtt = t->rtt;
    for (unsigned k = 0; k < PQ_TRAIN_CARS; k++) {
        out->came[k] = is_marked(t->came, k);
        out->came_back[k] = is_marked(t->came_back, k);
    }
}

void pq_train_end(struct pq_session *s, unsigned i)
{
    struct train *t = train_of(s, i);
    if (t)
        end_train(s, t);
}

static size_t fill_train(struct train *t, struct pq_wr *w, pq_ns now)
{
    const struct pq_train_order *o = &t->order;
    if (t->sent < PQ_TRAIN_CARS) {
        t->at[t->sent] = now;
        t->wanted[t->sent] = o->answered ? o->answer : 0;
    }
    pq_wr_le16(w, t->run);
    pq_wr_le16(w, (uint16_t)t->sent++);
    pq_wr_u8(w, o->answered ? (uint8_t)o->look : NO_ANSWER);
    pq_wr_u8(w, 0);
    pq_wr_le16(w, o->flags);
    pq_wr_le16(w, o->answer);
    t->due = false;
    return o->size;
}

/* The server's answer to one, over the tuple of the train. */
static enum pq_drop on_back(struct train *t, const struct pq_segment *seg, struct pq_rd *r,
                            pq_ns now)
{
    const size_t bytes = AROUND + pq_rd_left(r);
    const uint16_t run = pq_rd_le16(r), number = pq_rd_le16(r), arrived = pq_rd_le16(r);
    if (r->bad || !is_there(t, seg))
        return PQ_DROP_OOB;
    pq_flow_heard(&t->flow, seg);
    if (run != t->run)
        return PQ_DROP_NONE; /* it is over */
    if (number >= t->sent || arrived > t->sent ||
        (number < PQ_TRAIN_CARS &&
         (bytes != t->wanted[number] || is_marked(t->came_back, number)))) {
        t->impossible = true;
        return PQ_DROP_OOB;
    }
    t->back++;
    if (number < PQ_TRAIN_CARS) {
        mark(t->came_back, number);
        const pq_ns rtt = now - t->at[number];
        t->rtt = t->rtt && t->rtt < rtt ? t->rtt : rtt;
    }
    t->arrived = most(t->arrived, arrived);
    return PQ_DROP_NONE;
}

/* Whether so many may have arrived, these among them, and been answered. */
static bool may_be(const struct train *t, unsigned arrived, unsigned answered, const uint8_t *map)
{
    unsigned marked = 0;
    for (unsigned k = 0; k < PQ_TRAIN_CARS; k++) {
        marked += is_marked(map, k);
        if (is_marked(map, k) && k >= t->sent)
            return false;
    }
    return arrived <= t->sent && answered <= arrived && marked <= arrived &&
           (t->sent > PQ_TRAIN_CARS || marked == arrived);
}

static enum pq_drop on_counted(struct train *t, struct pq_rd *r)
{
    const uint16_t run = pq_rd_le16(r), arrived = pq_rd_le16(r), answered = pq_rd_le16(r);
    const uint8_t *map = pq_rd_bytes(r, sizeof t->came);
    if (r->bad)
        return PQ_DROP_OOB;
    if (!t->used || run != t->run)
        return PQ_DROP_NONE;
    t->counted = true;
    if (!may_be(t, arrived, answered, map)) {
        t->impossible = true;
        return PQ_DROP_OOB;
    }
    t->arrived = most(t->arrived, arrived);
    t->answered = most(t->answered, answered);
    memcpy(t->came, map, sizeof t->came);
    return PQ_DROP_NONE;
}

/* ---- server */

/* Nobody has answers with flags of his choice, a reset maybe, sent to where another session is, or
 * begins. */
static bool is_of_another(const struct pq_session *s, const struct pq_segment *seg)
{
    struct pq_hub *h = s->hub;
    return pq_session_on(h, &seg->src, &seg->dst, s) || pq_connect_of_another(h, seg) ||
           pq_homes_elsewhere(h->conf.homes, &seg->src, seg->dst.port, h->conf.worker) >= 0;
}

/* A train begins, or goes on with another look: its answers come of a fresh flow, or of the
 * connection that the client has made. */
static bool open_flow(struct pq_session *s, struct train *t, const struct pq_segment *seg,
                      enum pq_look look)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    if (is_there(t, seg) && (t->connected || look == t->look))
        return true;
    if (is_of_another(s, seg) || !h->ev->accept(h->ctx, seg, &fc))
        return false;
    if (!is_there(t, seg))
        end_train(s, t);
    t->used = true;
    t->peer = seg->src;
    t->local = seg->dst;
    t->look = look;
    t->connected = pq_connect_claim(h, seg, &t->flow);
    if (!t->connected)
        pq_session_flow_as(h, &t->flow, &fc, look);
    pq_flow_set_splits(&t->flow, s->abilities & PQ_ABLE_SPLIT);
    return true;
}

static enum pq_drop on_train(struct pq_session *s, unsigned i, const struct pq_segment *seg,
                             struct pq_rd *r, pq_ns now)
{
    const size_t bytes = seg->head + AROUND + pq_rd_left(r);
    const uint16_t run = pq_rd_le16(r), number = pq_rd_le16(r);
    const uint8_t look = pq_rd_u8(r);
    pq_rd_u8(r);
    const uint16_t flags = pq_rd_le16(r) & PQ_TCP_ALL, size = pq_rd_le16(r);
    if (r->bad || (look != NO_ANSWER && look > PQ_LOOK_PLAUSIBLE))
        return PQ_DROP_OOB;
    struct pq_measure *m = measure_of(s);
    if (!m)
        return PQ_DROP_FULL;
    struct train *t = &m->train[i];
    const enum pq_look with = look != NO_ANSWER ? (enum pq_look)look
                              : t->used         ? t->look
                                                : PQ_LOOK_PLAUSIBLE;
    if (!open_flow(s, t, seg, with))
        return PQ_DROP_FULL;
    m->heard = now;
    if (run != t->run)
        begin_run(t, run);
    pq_flow_heard(&t->flow, seg);
    t->arrived++;
    mark(t->came, number);
    t->credit += bytes;
    if (look != NO_ANSWER && t->n_wait < WAITING_MAX && size >= PQ_TRAIN_LEAST &&
        size <= PQ_DGRAM_MAX)
        t->wait[t->n_wait++] = (struct answer){number, size, flags};
    pq_session_wake(s);
    return PQ_DROP_NONE;
}

static enum pq_drop on_count(struct pq_session *s, unsigned i, struct pq_rd *r, pq_ns now)
{
    const uint16_t run = pq_rd_le16(r);
    if (!pq_rd_bytes(r, COUNT_BODY - 2))
        return PQ_DROP_OOB; /* shorter than its answer */
    struct pq_measure *m = measure_of(s);
    if (!m)
        return PQ_DROP_FULL;
    struct train *t = &m->train[i];
    if (run != t->run)
        begin_run(t, run); /* nothing of it has come */
    t->count_due = true;
    m->heard = now;
    pq_session_wake(s);
    return PQ_DROP_NONE;
}

/* Bytes of its IP packet. */
static size_t packet_of(const struct train *t, const struct answer *a)
{
    const bool syn = !t->connected && a->flags & PQ_TCP_SYN;
    return (size_t)a->size + t->flow.ip_len + (syn ? PQ_TCP_SYN_LEN : pq_flow_tcp_len(&t->flow));
}

/* Whether the answer may go: it is not longer than what came, nor than the link and the connection
 * take. */
static bool may_answer(struct pq_session *s, const struct train *t, const struct answer *a,
                       pq_ns now)
{
    struct pq_hub *h = s->hub;
    const size_t n = packet_of(t, a);
    if (n > t->credit || (h->conf.link_mtu && n > h->conf.link_mtu) ||
        pq_connect_room(&t->flow) < a->size ||
        (t->connected && a->size + pq_flow_tcp_len(&t->flow) - 20 > t->flow.conn.peer_mss))
        return false;
    struct pq_rate *r = &h->train_answers;
    pq_rate_refill(r, ANSWERS_MAX, now);
    const bool ok = r->left > 0;
    r->left -= ok;
    return ok;
}

static size_t fill_back(struct pq_session *s, struct train *t, struct pq_wr *w, pq_ns now)
{
    while (t->n_wait) {
        const struct answer a = t->wait[0];
        memmove(t->wait, t->wait + 1, --t->n_wait * sizeof t->wait[0]);
        if (!may_answer(s, t, &a, now))
            continue;
        t->credit -= packet_of(t, &a);
        t->answered++;
        t->flags = a.flags;
        pq_wr_le16(w, t->run);
        pq_wr_le16(w, a.number);
        pq_wr_le16(w, (uint16_t)t->arrived);
        return a.size;
    }
    return 0;
}

/* ---- both */

static void put_head(struct pq_wr *w, size_t body, uint8_t kind, unsigned i)
{
    pq_wr_le32(w, UINT32_MAX);
    pq_wr_le16(w, PQ_CONTROL_TYPE);
    pq_wr_le16(w, (uint16_t)(2 + 2 + body));
    pq_wr_u8(w, kind);
    pq_wr_u8(w, (uint8_t)i);
}

enum pq_drop pq_measure_take(struct pq_session *s, const struct pq_segment *seg,
                             const struct pq_message *m, pq_ns now)
{
    const bool client = s->hub->conf.client;
    struct pq_rd r = pq_rd_init(m->noise.p, m->noise.n);
    if (m->attempt >= PQ_TRAINS)
        return PQ_DROP_OOB;
    if (!client)
        return m->kind == PQ_KIND_TRAIN   ? on_train(s, m->attempt, seg, &r, now)
               : m->kind == PQ_KIND_COUNT ? on_count(s, m->attempt, &r, now)
                                          : PQ_DROP_OOB;
    if (!s->measure)
        return PQ_DROP_OOB;
    struct train *t = &s->measure->train[m->attempt];
    return m->kind == PQ_KIND_BACK      ? on_back(t, seg, &r, now)
           : m->kind == PQ_KIND_COUNTED ? on_counted(t, &r)
                                        : PQ_DROP_OOB;
}

size_t pq_measure_ask(struct pq_session *s, uint8_t *p, size_t cap)
{
    const bool client = s->hub->conf.client;
    for (unsigned i = 0; s->measure && i < PQ_TRAINS; i++) {
        struct train *t = &s->measure->train[i];
        struct pq_wr w = pq_wr_init(p, cap);
        if (!t->count_due)
            continue;
        t->count_due = false;
        put_head(&w, COUNT_BODY, client ? PQ_KIND_COUNT : PQ_KIND_COUNTED, i);
        pq_wr_le16(&w, t->run);
        pq_wr_le16(&w, client ? 0 : (uint16_t)t->arrived);
        pq_wr_le16(&w, client ? 0 : (uint16_t)t->answered);
        pq_wr_bytes(&w, t->came, sizeof t->came); /* all 0 on a client before it is told */
        return w.bad ? 0 : pq_wr_len(&w);
    }
    return 0;
}

/* One datagram of the train into the slot, if one is due. */
static bool fill(struct pq_session *s, unsigned i, struct pq_slot *slot, pq_ns now)
{
    struct train *t = &s->measure->train[i];
    struct pq_hub *h = s->hub;
    const bool client = h->conf.client;
    struct pq_epoch *k = &s->sec->cur;
    uint8_t *p = slot->buf + PQ_SLOT_HEAD;
    if (pq_connect_head(s, &t->flow, slot, now))
        return true;
    if (t->flow.conn.state == PQ_CONNECT_ASKING || (client && !t->due))
        return false;
    if (client && pq_connect_room(&t->flow) < t->order.size)
        return t->due = false;
    struct pq_wr w = pq_wr_init(p + PQ_SEAL_HEAD + HEAD, PQ_DGRAM_MAX);
    const size_t size = client ? fill_train(t, &w, now) : fill_back(s, t, &w, now);
    if (!size)
        return false;
    const size_t body = size - AROUND;
    memset(w.p, 0, body - pq_wr_len(&w));
    w = pq_wr_init(p + PQ_SEAL_HEAD, HEAD);
    put_head(&w, body, client ? PQ_KIND_TRAIN : PQ_KIND_BACK, i);
    const struct pq_span span = {p, size};
    pq_seal_put(k->tx, client ? h->ring[0].first_mask : k->tx_mask, k->tx_id, &span, 1);
    slot->off = PQ_SLOT_HEAD;
    slot->len = (uint16_t)size;
    h->stats.tx_packets++;
    h->stats.tx_bytes += size;
    if (client || t->connected) {
        pq_flow_craft(&t->flow, slot, false, now);
    } else {
        pq_flow_craft_as(&t->flow, slot, t->flags, now);
    }
    return true;
}

bool pq_measure_fill(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    for (unsigned i = 0; s->measure && s->sec && i < PQ_TRAINS; i++)
        if (s->measure->train[i].used && fill(s, i, slot, now))
            return true;
    return false;
}

pq_ns pq_measure_deadline(const struct pq_session *s, pq_ns now)
{
    pq_ns at = PQ_NEVER;
    if (!s->measure)
        return at;
    for (unsigned i = 0; i < PQ_TRAINS; i++) {
        const struct train *t = &s->measure->train[i];
        if (t->used && s->hub->conf.client)
            at = pq_ns_min(at, t->due && t->flow.conn.state != PQ_CONNECT_ASKING
                                   ? now
                                   : pq_connect_due(&t->flow, now));
    }
    return s->hub->conf.client ? at : s->measure->heard + FORGET_AFTER;
}

void pq_measure_tick(struct pq_session *s, pq_ns now)
{
    if (s->measure && !s->hub->conf.client && now >= s->measure->heard + FORGET_AFTER)
        pq_measure_free(s);
}
