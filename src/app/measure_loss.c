/* SPDX-License-Identifier: MIT */
/* measure_loss.c - how many of small datagrams arrive at the server, and of its answers here, where
 * there are no trains: over QUIC, beside a stream of their own [8.11]. */
#include "app/measure_internal.h"

#define CARS     120
#define GAP      (15 * PQ_MS)
#define SIZE     300
#define PATIENCE (3 * PQ_SEC) /* until the first may go, and for the server's last word */
#define SETTLE   (300 * PQ_MS)
#define PART     0.25 /* of all that is measured */

static bool is_marked(const struct pq_measuring_loss *l, uint32_t number)
{
    return l->came[number / 8] >> number % 8 & 1;
}

static void on_datagram(void *ctx, struct pq_view v)
{
    struct pq_measuring_loss *l = ctx;
    const uint32_t number = v.n >= 4 ? pq_le32(v.p) : UINT32_MAX;
    if (number >= l->sent || is_marked(l, number))
        return;
    l->came[number / 8] |= (uint8_t)(1U << number % 8);
    l->back++;
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct pq_measuring_loss *l = ctx;
    (void)last;
    l->unread += v.n;
    for (size_t i = 0; i < v.n; i++) {
        l->word[l->n_word++] = v.p[i];
        if (l->n_word < sizeof l->word)
            continue;
        l->n_word = 0;
        l->told = true;
        l->arrived = pq_le32(l->word);
        l->answered = pq_le32(l->word + 4);
    }
}

static void on_flush(void *ctx)
{
    struct pq_measuring_loss *l = ctx;
    pq_stream_consumed(l->st, l->unread);
    l->unread = 0;
}

static void on_room(void *ctx)
{
    (void)ctx;
}

static void on_end(void *ctx, int err)
{
    struct pq_measuring_loss *l = ctx;
    (void)err;
    l->over = true;
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0);
}

static const struct pq_stream_events events = {.data = on_data,
                                               .flush = on_flush,
                                               .room = on_room,
                                               .end = on_end,
                                               .eof = on_eof,
                                               .datagram = on_datagram};

static void begin(struct pq_measuring *m, pq_ns now)
{
    struct pq_measuring_loss *l = &m->loss;
    const uint16_t what = PQ_MEASURE(PQ_MEASURE_BACK, PQ_MEASURE_SECONDS_MAX);
    l->began = true;
    l->until = now + PATIENCE;
    l->st = pq_client_open(m->cw, PQ_REQ_MEASURE, "", what, &events, l);
    l->over = !l->st;
    if (l->st)
        pq_stream_set_datagrams(l->st, SIZE);
}

static void send_next(struct pq_measuring_loss *l, pq_ns now)
{
    struct pq_chunks *chunks = pq_stream_chunks(l->st);
    if (now < l->next || !chunks || !pq_stream_beside(l->st, SIZE))
        return;
    struct pq_chunk *c = pq_chunk_new(chunks, SIZE);
    if (!c)
        return;
    memset(pq_chunk_data(c), 0, SIZE);
    pq_put_le32(pq_chunk_data(c), l->sent);
    c->len = SIZE;
    if (pq_stream_send_datagram(l->st, c))
        return;
    l->sent++;
    l->next = now + GAP;
    l->until = l->next + PATIENCE;
}

static void note(struct pq_measuring *m)
{
    const struct pq_measuring_loss *l = &m->loss;
    struct pq_measured *out = m->conf->out;
    out->lost_impossible = !pq_measured_may_be(l->sent, l->arrived, l->answered);
    out->lost_known = l->told && l->sent == CARS && !out->lost_impossible;
    out->sent[PQ_UP] = l->sent;
    out->came[PQ_UP] = l->arrived > l->back ? l->arrived : l->back;
    out->sent[PQ_DOWN] = l->answered > l->back ? l->answered : l->back;
    out->came[PQ_DOWN] = l->back;
}

/* So long after the last datagram its answer may come. */
static pq_ns settle(const struct pq_measuring *m)
{
    struct pq_kcp_stats st;
    pq_session_stats(m->ses, &st);
    return pq_ns_max(SETTLE, 3 * st.srtt);
}

bool pq_measure_loss(struct pq_measuring *m, pq_ns now)
{
    struct pq_measuring_loss *l = &m->loss;
    if (!l->began)
        begin(m, now);
    m->part = PART * l->sent / CARS;
    if (l->sent < CARS && !l->over)
        send_next(l, now);
    else if (!l->over && !l->asked && now >= l->next + settle(m)) {
        l->asked = true; /* the server's last word follows */
        l->until = now + PATIENCE;
        pq_stream_finish(l->st);
    }
    if (!l->over && now < l->until)
        return false;
    note(m);
    pq_measure_loss_stop(m);
    return true;
}

void pq_measure_loss_stop(struct pq_measuring *m)
{
    if (m->loss.st)
        pq_stream_abort(m->loss.st);
    m->loss.st = NULL;
}
