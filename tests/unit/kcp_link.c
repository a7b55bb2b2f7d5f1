/* SPDX-License-Identifier: MIT */
#include "kcp_link.h"

#include "unit.h"

struct packet {
    struct pq_heap_node node;
    unsigned from;
    size_t n;
    uint8_t *p;
};

struct pq_kcp_conf kconf(void)
{
    return (struct pq_kcp_conf){.conv = TEST_CONV,
                                .snd_wnd = 1024,
                                .rcv_wnd = 1024,
                                .mtu = 1330,
                                .resend = 2,
                                .interval = 10 * PQ_MS,
                                .nodelay = true,
                                .ack_now = true};
}

/* ---- one end */

static bool on_data(void *ctx, struct pq_view v)
{
    struct kend *e = ctx;
    if (e->refuse)
        return false;
    if (e->rx_len + v.n > e->rx_cap) {
        e->rx_cap = 2 * (e->rx_len + v.n);
        e->rx = realloc(e->rx, e->rx_cap);
    }
    memcpy(e->rx + e->rx_len, v.p, v.n);
    e->rx_len += v.n;
    return true;
}

void kend_init(struct kend *e, const struct pq_kcp_conf *c)
{
    *e = (struct kend){0};
    pq_pool_init(&e->blocks, PQ_KCP_BLOCK_LEN, 0, 16);
    pq_chunks_init(&e->chunks, 64 << 20);
    const struct pq_kcp_mem mem = {&e->blocks, &e->chunks};
    assert_int_equal(pq_kcp_new(&e->k, c, &mem, on_data, e), 0);
}

void kend_fini(struct kend *e)
{
    pq_kcp_free(&e->k);
    assert_null(e->k);
    assert_int_equal(e->blocks.used, 0);
    assert_int_equal(e->chunks.big.used, 0);
    assert_int_equal(e->chunks.small.used, 0);
    pq_pool_fini(&e->blocks);
    pq_chunks_fini(&e->chunks);
    free(e->rx);
}

void kend_write(struct kend *e, const void *p, size_t n)
{
    struct pq_chunk *c = pq_chunk_copy(&e->chunks, p, n);
    assert_non_null(c);
    pq_kcp_send(e->k, c);
}

enum pq_drop kend_input(struct kend *e, const uint8_t *p, size_t n, pq_ns now)
{
    uint8_t *copy = ut_exact(p, n);
    enum pq_drop d = pq_kcp_input(e->k, (struct pq_view){copy, n}, true, now);
    pq_kcp_rx_done(e->k);
    free(copy);
    return d;
}

/* ---- segments */

size_t kseg_parse(const uint8_t *p, size_t n, struct kseg *out)
{
    size_t count = 0;
    while (n) {
        assert_true(n >= 24 && count < SEGS_LIMIT);
        struct kseg *s = &out[count++];
        *s = (struct kseg){.conv = pq_le32(p),
                           .cmd = p[4],
                           .frg = p[5],
                           .wnd = pq_le16(p + 6),
                           .ts = pq_le32(p + 8),
                           .sn = pq_le32(p + 12),
                           .una = pq_le32(p + 16),
                           .len = pq_le32(p + 20),
                           .data = p + 24};
        assert_true(s->cmd >= 81 && s->cmd <= 84);
        assert_int_equal(s->frg, 0);
        assert_true((s->cmd == 81) == (s->len > 0)); /* never an empty PUSH [4.1] */
        assert_true(s->len <= n - 24);
        p += 24 + s->len;
        n -= 24 + s->len;
    }
    return count;
}

size_t kseg_write(uint8_t *p, const struct kseg *s)
{
    pq_put_le32(p, s->conv);
    p[4] = s->cmd;
    p[5] = s->frg;
    pq_put_le16(p + 6, s->wnd);
    pq_put_le32(p + 8, s->ts);
    pq_put_le32(p + 12, s->sn);
    pq_put_le32(p + 16, s->una);
    pq_put_le32(p + 20, s->len);
    if (s->len && s->data)
        memcpy(p + 24, s->data, s->len);
    return 24 + (size_t)s->len;
}

/* ---- the link */

static void check_push(struct knet *net, unsigned from, const struct kseg *s)
{
    struct kside *d = &net->side[from];
    uint32_t slot = s->sn % COUNT_OF(d->sent);
    assert_int_equal(s->ts, (uint32_t)(net->now / PQ_MS));
    if (pq_sn_diff(s->sn, d->high) >= 0) {
        assert_int_equal(s->sn, d->high); /* numbers are consecutive [4.8] */
        assert_true(pq_sn_diff(s->sn, d->edge) < 0);
        d->high++;
        d->sent[slot].sn = s->sn;
        d->sent[slot].n = 0;
    }
    assert_int_equal(d->sent[slot].sn, s->sn);
    d->sent[slot].ts[d->sent[slot].n++ % TS_KEPT] = s->ts;
}

/* The ts of an ACK is that of a transmission of the segment [4.6]. */
static void check_ack(const struct kside *peer, const struct kseg *s)
{
    uint32_t slot = s->sn % COUNT_OF(peer->sent);
    if (peer->sent[slot].sn != s->sn)
        return; /* so old that its place was taken */
    unsigned n = peer->sent[slot].n < TS_KEPT ? peer->sent[slot].n : TS_KEPT;
    for (unsigned i = 0; i < n; i++)
        if (peer->sent[slot].ts[i] == s->ts)
            return;
    fail_msg("ACK of %u with a ts that was never sent", s->sn);
}

static void check_datagram(struct knet *net, unsigned from, const struct kseg *s, size_t count)
{
    struct kside *d = &net->side[from];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(s[i].conv, TEST_CONV);
        assert_int_equal(s[i].una, net->end[from].k->rcv_nxt);
        assert_true(pq_sn_diff(s[i].una, d->last_una) >= 0);
        d->last_una = s[i].una;
        if (s[i].cmd == 81)
            check_push(net, from, &s[i]);
        else if (s[i].cmd == 82)
            check_ack(&net->side[1 - from], &s[i]);
    }
}

static void schedule(struct knet *net, unsigned from, const uint8_t *p, size_t n, pq_ns at)
{
    struct packet *k = calloc(1, sizeof *k);
    k->from = from;
    k->n = n;
    k->p = ut_exact(p, n);
    assert_int_equal(pq_heap_set(&net->wire, &k->node, at + net->serial++), 0);
}

static void transmit(struct knet *net, unsigned from, const uint8_t *p, size_t n)
{
    const struct klink *l = &net->link;
    struct kside *d = &net->side[from];
    struct kseg segs[SEGS_LIMIT];
    size_t count = kseg_parse(p, n, segs);
    check_datagram(net, from, segs, count);
    d->datagrams++;
    d->bytes += n;
    pq_ns at = net->now + l->delay;
    if (l->rate) {
        d->busy_until = pq_ns_max(d->busy_until, net->now) + n * PQ_SEC / l->rate;
        at = d->busy_until + l->delay;
    }
    if (l->jitter)
        at += ut_rand(&net->seed) % l->jitter;
    if (ut_below(&net->seed, 1000) < l->loss ||
        (l->drop && l->drop(l->drop_ctx, from, segs, count)))
        return;
    if (ut_below(&net->seed, 1000) < l->reorder)
        at += l->reorder_by;
    schedule(net, from, p, n, at);
    if (ut_below(&net->seed, 1000) < l->dup)
        schedule(net, from, p, n, at + 3 * PQ_MS);
}

static void deliver(struct knet *net)
{
    for (struct pq_heap_node *n; (n = pq_heap_top(&net->wire)) && n->at <= net->now;) {
        struct packet *k = (struct packet *)(void *)n;
        struct kseg segs[SEGS_LIMIT];
        struct kside *d = &net->side[1 - k->from];
        pq_heap_remove(&net->wire, n);
        size_t count = kseg_parse(k->p, k->n, segs);
        for (size_t i = 0; i < count; i++)
            if (pq_sn_diff(segs[i].una + segs[i].wnd, d->edge) > 0)
                d->edge = segs[i].una + segs[i].wnd;
        assert_int_equal(kend_input(&net->end[1 - k->from], k->p, k->n, net->now), PQ_DROP_NONE);
        free(k->p);
        free(k);
    }
}

/* Queues what the conversation has room for, in writes of random size. */
static void feed(struct knet *net, unsigned i)
{
    struct kside *d = &net->side[i];
    while (d->tx_at < d->tx_len && pq_kcp_room(net->end[i].k, net->now)) {
        size_t n = 1 + ut_below(&net->seed, (uint32_t)net->write_max);
        if (n > d->tx_len - d->tx_at)
            n = d->tx_len - d->tx_at;
        kend_write(&net->end[i], d->tx + d->tx_at, n);
        d->tx_at += n;
    }
}

static void work(struct knet *net, unsigned i)
{
    struct pq_kcp *k = net->end[i].k;
    uint8_t dst[2048];
    size_t n;
    for (;;) {
        feed(net, i);
        uint8_t *exact = ut_exact(dst, k->conf.mtu);
        n = pq_kcp_pull(k, exact, k->conf.mtu, net->now);
        net->pulls++;
        if (n) {
            assert_true(n <= k->conf.mtu);
            transmit(net, i, exact, n);
        }
        free(exact);
        if (!n)
            break;
    }
    if (pq_kcp_deadline(k, net->now) <= net->now)
        fail_msg("nothing to pull, yet due at once: the timer spins");
}

struct knet *knet_new(const struct pq_kcp_conf *a, const struct pq_kcp_conf *b, uint32_t first,
                      const struct klink *link, uint64_t seed)
{
    struct knet *n = calloc(1, sizeof *n);
    n->link = *link;
    n->seed = seed;
    n->now = 1000 * PQ_SEC;
    n->write_max = 8192;
    for (int i = 0; i < 2; i++) {
        kend_init(&n->end[i], i ? b : a);
        struct pq_kcp *k = n->end[i].k;
        k->snd_una = k->snd_nxt = k->rcv_nxt = k->rcv_read = first;
        n->side[i].high = n->side[i].last_una = first;
        n->side[i].edge = first + 32; /* a peer that has not spoken takes 32 [4.4] */
    }
    return n;
}

void knet_free(struct knet *n)
{
    for (struct pq_heap_node *p; (p = pq_heap_top(&n->wire));) {
        pq_heap_remove(&n->wire, p);
        free(((struct packet *)(void *)p)->p);
        free(p);
    }
    pq_heap_fini(&n->wire);
    kend_fini(&n->end[0]);
    kend_fini(&n->end[1]);
    free(n);
}

static bool done(const struct knet *n)
{
    for (int i = 0; i < 2; i++)
        if (n->side[i].tx_at < n->side[i].tx_len || !pq_kcp_idle(n->end[i].k) ||
            n->end[1 - i].rx_len < n->side[i].tx_len)
            return false;
    return true;
}

bool knet_run(struct knet *n, pq_ns end)
{
    while (n->now < end) {
        deliver(n);
        work(n, 0);
        work(n, 1);
        if (done(n))
            return true;
        const struct pq_heap_node *p = pq_heap_top(&n->wire);
        pq_ns next = p ? p->at : PQ_NEVER;
        next = pq_ns_min(next, pq_kcp_deadline(n->end[0].k, n->now));
        next = pq_ns_min(next, pq_kcp_deadline(n->end[1].k, n->now));
        if (next == PQ_NEVER)
            return false;
        assert_true(next > n->now || (p && p->at <= n->now));
        n->now = pq_ns_min(pq_ns_max(next, n->now), end);
    }
    return false;
}
