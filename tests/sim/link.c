/* SPDX-License-Identifier: MIT */
#include "link.h"

#include "base/list.h"
#include "unit.h"

#define BURST_MIN    20 /* ms */
#define BURST_VARIES 31
#define BURST_MEAN   35
#define HEADERS      (14 + 20 + 4) /* bytes that a bit flip spares: link, IP, ports */

void link_init(struct link *l, const struct link_conf *conf, uint64_t seed)
{
    *l = (struct link){.conf = *conf, .rng = seed};
}

void link_fini(struct link *l)
{
    struct link_packet *k;
    while ((k = link_recv(l, PQ_NEVER)))
        link_packet_free(k);
    pq_heap_fini(&l->wire);
}

struct link_packet *link_packet_new(const uint8_t *p, size_t n)
{
    struct link_packet *k = calloc(1, sizeof *k);
    assert_non_null(k);
    k->p = ut_exact(p, n);
    k->len = (uint32_t)n;
    return k;
}

void link_packet_free(struct link_packet *k)
{
    free(k->p);
    free(k);
}

static bool chance(struct link *l, unsigned per_mille)
{
    return per_mille && ut_below(&l->rng, 1000) < per_mille;
}

/* Whether this one is lost: each by itself, or, with bursts, all for a while.  From one burst to
 * the next it takes a time that is as likely to end at any moment. */
static bool loses(struct link *l, pq_ns now)
{
    if (!l->conf.bursts || !l->conf.loss)
        return chance(l, l->conf.loss);
    while (now >= l->burst_end) {
        const uint32_t mean = BURST_MEAN * (1000 - l->conf.loss) / l->conf.loss; /* in ms */
        l->burst_at = l->burst_end ? l->burst_end : now;
        do
            l->burst_at += PQ_MS;
        while (ut_below(&l->rng, mean));
        l->burst_end = l->burst_at + (BURST_MIN + ut_below(&l->rng, BURST_VARIES)) * PQ_MS;
    }
    return now >= l->burst_at;
}

void link_burst(struct link *l, pq_ns at)
{
    l->burst_at = at;
    l->burst_end = at + (BURST_MIN + BURST_VARIES - 1) * PQ_MS;
}

/* Time at which a frame leaves the queue, or PQ_NEVER if the queue is full. */
static pq_ns through_queue(struct link *l, size_t n, pq_ns now)
{
    if (!l->conf.rate)
        return now;
    pq_ns start = pq_ns_max(l->free_at, now);
    if ((start - now) * l->conf.rate / PQ_SEC + n > l->conf.queue)
        return PQ_NEVER;
    l->free_at = start + n * PQ_SEC / l->conf.rate;
    return l->conf.policed ? now : l->free_at;
}

static void put(struct link *l, const uint8_t *p, size_t n, pq_ns at)
{
    struct link_packet *k = link_packet_new(p, n);
    if (chance(l, l->conf.corrupt) && n > HEADERS) {
        for (uint32_t flips = 1 + ut_below(&l->rng, 3); flips; flips--)
            k->p[HEADERS + ut_below(&l->rng, (uint32_t)n - HEADERS)] ^=
                (uint8_t)(1u << ut_below(&l->rng, 8));
        l->stats.corrupted++;
    }
    if (chance(l, l->conf.reorder)) {
        l->stats.reordered++;
        at += l->conf.reorder_by;
    } else { /* the heap does not keep the order of equal times */
        at = pq_ns_max(at, l->last_at + 1);
        l->last_at = at;
    }
    assert_int_equal(pq_heap_set(&l->wire, &k->node, at), 0);
}

void link_send(struct link *l, const uint8_t *p, size_t n, pq_ns now)
{
    l->stats.given++;
    l->stats.bytes += n;
    if (l->conf.mtu && n > l->conf.mtu) {
        l->stats.too_long++;
        return;
    }
    if (l->conf.loss_first && loses(l, now)) {
        l->stats.lost++;
        return;
    }
    pq_ns out = through_queue(l, n, now);
    if (out == PQ_NEVER) {
        l->stats.overflow++;
        return;
    }
    if (l->conf.cut || (!l->conf.loss_first && loses(l, now))) {
        l->stats.lost++;
        return;
    }
    put(l, p, n, out + l->conf.delay);
    if (chance(l, l->conf.dup)) {
        l->stats.doubled++;
        put(l, p, n, out + l->conf.delay);
    }
}

pq_ns link_next(const struct link *l)
{
    const struct pq_heap_node *n = pq_heap_top(&l->wire);
    return n ? n->at : PQ_NEVER;
}

struct link_packet *link_recv(struct link *l, pq_ns now)
{
    struct pq_heap_node *n = pq_heap_top(&l->wire);
    if (!n || n->at > now)
        return NULL;
    pq_heap_remove(&l->wire, n);
    return PQ_OF(n, struct link_packet, node);
}
