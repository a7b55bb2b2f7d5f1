/* SPDX-License-Identifier: MIT */
/* run.c - the loop of a world: what app/worker.c does, with a clock of its own. */
#include "world.h"

#define SLOTS    64
#define BATCH    64
#define RX_TURN  256          /* as in worker.c */
#define COALESCE (20 * PQ_US) /* packets of this long arrive together */

size_t world_chunk_bytes(const struct end *e)
{
    const struct pq_chunks *c = pq_hub_chunks(e->hub);
    return c->budget.used;
}

uint64_t world_drops(const struct end *e)
{
    const struct pq_hub_stats *s = pq_hub_stats(e->hub);
    uint64_t n = 0;
    for (int d = PQ_DROP_NONE + 1; d < PQ_DROP_COUNT; d++)
        n += s->drops[d];
    return n;
}

static void note_memory(struct end *e)
{
    size_t n = world_chunk_bytes(e);
    if (n > e->chunks_high)
        e->chunks_high = n;
}

/* Which worker the kernel's hash gives a frame to. */
static struct pq_hub *hub_of(const struct end *e, const struct link_packet *k)
{
    return e->n_more ? world_hub(e, pq_be16(k->p + 14 + 20) % (e->n_more + 1)) : e->hub;
}

/* One batch of frames, which lie on the heap until pq_hub_rx_end and no longer. */
static void give(struct end *e, struct link_packet **k, unsigned n, pq_ns now)
{
    for (unsigned i = 0; i < n; i++) {
        struct pq_frame f = {k[i]->p, k[i]->len, k[i]->len, k[i]->gso_size};
        pq_hub_input(hub_of(e, k[i]), &f, now);
    }
    e->frames += n;
    for (unsigned i = 0; i <= e->n_more; i++)
        pq_hub_rx_end(world_hub(e, i), now);
    note_memory(e);
    for (unsigned i = 0; i < n; i++)
        link_packet_free(k[i]);
}

/* ---- gluing, as GRO or a sender's GSO does it */

static size_t header_len(const struct link_packet *k)
{
    return (size_t)14 + 20 + (size_t)(k->p[14 + 20 + 12] >> 4) * 4;
}

/* Joins a run of datagrams of one size, the last may be shorter.  Returns how many were used. */
static unsigned glue_run(struct link_packet **k, unsigned n)
{
    size_t head = header_len(k[0]), size = k[0]->len - head, total = k[0]->len;
    unsigned used = 1;
    while (used < n && header_len(k[used]) == head && k[used - 1]->len - head == size &&
           k[used]->len - head <= size && total + size < 60000)
        total += k[used++]->len - head;
    if (used == 1)
        return 1;
    struct link_packet *big = calloc(1, sizeof *big);
    assert_non_null(big);
    big->p = malloc(total);
    assert_non_null(big->p);
    memcpy(big->p, k[0]->p, head);
    for (unsigned i = 0; i < used; i++) {
        memcpy(big->p + head + i * size, k[i]->p + head, k[i]->len - head);
        link_packet_free(k[i]);
    }
    big->p[16] = (uint8_t)((total - 14) >> 8); /* total length of IPv4 */
    big->p[17] = (uint8_t)(total - 14);
    big->len = (uint32_t)total;
    big->gso_size = (uint16_t)size;
    k[0] = big;
    return used;
}

static unsigned glue(struct link_packet **k, unsigned n)
{
    unsigned out = 0;
    for (unsigned i = 0; i < n;) {
        unsigned used = glue_run(k + i, n - i);
        k[out++] = k[i];
        i += used;
    }
    return out;
}

/* ---- one turn of one end */

/* Through the box in the middle of the path, where there is one. */
static void forward(struct world *w, struct end *from)
{
    struct link_packet *k;
    while (w->routed && (k = link_recv(&from->out, w->now))) {
        if (!w->tap || w->tap(w, from->side, k))
            link_send(&from->far, k->p, k->len, w->now);
        link_packet_free(k);
    }
}

/* Whether the program is there, and a packet of side `from` comes to it. */
static bool arrives(struct world *w, unsigned from, const struct link_packet *k)
{
    if (w->end[!from].hub)
        return true;
    if (w->absent)
        w->absent(w, !from, k);
    return false;
}

static void receive(struct world *w, struct end *e)
{
    struct end *from = &w->end[!e->side];
    struct link_packet *k[BATCH];
    for (unsigned taken = 0; taken < RX_TURN;) {
        unsigned n = 0;
        struct link_packet *p;
        while (n < BATCH && (p = link_recv(w->routed ? &from->far : &from->out, w->now))) {
            if ((!w->routed && w->tap && !w->tap(w, from->side, p)) || !arrives(w, from->side, p))
                link_packet_free(p);
            else
                k[n++] = p;
        }
        if (!n)
            return;
        taken += n;
        if (e->glue)
            n = glue(k, n);
        give(e, k, n, w->now);
    }
}

static void transmit(struct world *w, struct end *e, struct pq_hub *hub)
{
    static uint8_t memory[SLOTS][PQ_SLOT_SIZE];
    struct pq_slot slots[SLOTS];
    size_t n;
    unsigned rounds = 0;
    do {
        for (unsigned i = 0; i < SLOTS; i++)
            slots[i] = (struct pq_slot){.buf = memory[i]};
        n = pq_hub_pull(hub, slots, SLOTS, w->now);
        note_memory(e);
        e->packets += n;
        for (size_t i = 0; i < n; i++) {
            assert_true(slots[i].len <= (size_t)14 + 20 + 40 + e->conf.mtu);
            link_send(&e->out, slots[i].buf + slots[i].off, slots[i].len, w->now);
        }
        assert_true(++rounds < 100000);
    } while (n);
    assert_false(pq_hub_ready(hub)); /* nothing pulled, so nothing is ready */
}

static void feed_starved(struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        for (unsigned k = 0; k < w->pairs; k++)
            if (w->half[i][k].starved)
                half_feed(&w->half[i][k]);
}

static void turn(struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        forward(w, &w->end[i]);
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &w->end[i];
        receive(w, e);
        for (unsigned k = 0; e->hub && k <= e->n_more; k++) {
            struct pq_hub *hub = world_hub(e, k);
            if (pq_hub_deadline(hub) <= w->now) {
                pq_hub_tick(hub, w->now);
                e->ticks++;
            }
            transmit(w, e, hub);
        }
    }
    feed_starved(w);
}

static pq_ns next_event(const struct world *w)
{
    pq_ns at = PQ_NEVER;
    for (unsigned i = 0; i < 2; i++) {
        const struct end *e = &w->end[i];
        pq_ns packet = link_next(w->routed ? &e->far : &e->out);
        at = pq_ns_min(at, packet == PQ_NEVER ? packet : packet + COALESCE);
        at = w->routed ? pq_ns_min(at, link_next(&e->out)) : at;
        for (unsigned k = 0; e->hub && k <= e->n_more; k++) {
            at = pq_ns_min(at, pq_hub_deadline(world_hub(e, k)));
            if (pq_hub_ready(world_hub(e, k)))
                at = w->now;
        }
    }
    return at;
}

bool world_run(struct world *w, pq_ns end, bool (*done)(const struct world *))
{
    unsigned still = 0;
    turn(w);
    while (!done || !done(w)) {
        pq_ns at = next_event(w);
        if (w->late && at != PQ_NEVER && at > w->now)
            at += (pq_ns)(ut_below(&w->late_rng, 50) ? 1 : 8) *
                  ut_below(&w->late_rng, (uint32_t)w->late);
        if (w->tick && at != PQ_NEVER)
            at = (at + w->tick - 1) / w->tick * w->tick;
        if (at > end) {
            w->now = end;
            return !done;
        }
        still = at > w->now ? 0 : still + 1;
        if (still > 1000)
            fail_msg("the clock stands still: a timer spins");
        w->now = pq_ns_max(w->now, at);
        turn(w);
    }
    return true;
}

void world_inject(struct world *w, unsigned side, const uint8_t *p, size_t n, uint16_t gso)
{
    struct link_packet *k = link_packet_new(p, n);
    k->gso_size = gso;
    give(&w->end[side], &k, 1, w->now);
}

/* ---- what is expected in the end */

bool world_transferred(const struct world *w)
{
    for (unsigned k = 0; k < w->pairs; k++)
        for (unsigned i = 0; i < 2; i++)
            if (w->half[i][k].rx_at < w->half[!i][k].tx_len)
                return false;
    return true;
}

bool world_closed(const struct world *w)
{
    for (unsigned k = 0; k < w->pairs; k++)
        for (unsigned i = 0; i < 2; i++)
            if (w->half[i][k].st)
                return false;
    return world_transferred(w);
}

void world_check(const struct world *w)
{
    for (unsigned k = 0; k < w->pairs; k++) {
        const struct half *c = &w->half[CLIENT][k], *s = &w->half[SERVER][k];
        assert_int_equal(c->rx_at, s->tx_len);
        assert_int_equal(s->rx_at, c->tx_len);
        assert_int_equal(c->ends, 0); /* it closed first */
        assert_int_equal(s->ends, 1);
        assert_int_equal(s->end_err, 0);
    }
}
