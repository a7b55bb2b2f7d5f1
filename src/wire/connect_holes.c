/* SPDX-License-Identifier: MIT */
/* connect_holes.c - a connection where something is lacking [12.9]: what its headers tell of it,
 * and when; what the other side's tell. */
#include "wire/connect.h"
#include "wire/connect_internal.h"
#include "wire/flow.h"

#define HOLE_MIN   200 /* ms, and twice the RTT, that a hole waits to be filled */
#define BESIDE_MAX 512 /* bytes of data beside which blocks are told */

bool pq_connect_take_up(struct pq_flow *f, const struct pq_segment *s, uint32_t *fresh)
{
    struct pq_connect *c = &f->conn;
    struct pq_flow_state *st = &f->st;
    const struct pq_block b = {s->seq - s->lead, s->seq + (uint32_t)s->len};
    const uint32_t high = pq_holes_high(&c->holes, st->ack), had = st->ack;
    const uint8_t n = c->holes.n;
    const bool old = (int32_t)(b.to - had) <= 0;
    *fresh = !old && (int32_t)(b.to - high) > 0 ? b.to - high : 0;
    if (*fresh > c->window)
        return false;
    while (c->holes.n && !old && b.to - st->ack > UINT32_C(65535) << c->scale)
        st->ack = pq_holes_jump(&c->holes, st->ack); /* he was told of no more */
    if (s->has_ts && (int32_t)(b.from - had) <= 0 && (int32_t)(s->tsval - st->ts_echo) > 0)
        st->ts_echo = s->tsval;
    if (s->len && (c->plain || had == c->peer_first + 1))
        st->ack = had + *fresh; /* what is lacking is so for good: nobody keeps the first */
    else if (s->len && !old)
        st->ack = pq_holes_take(&c->holes, st->ack, b, s->tsval);
    c->new_holes = (uint8_t)(c->new_holes + (c->holes.n > n));
    c->dup = c->dup || n || c->holes.n;
    c->dups = st->ack != had ? 0 : c->dups;
    return true;
}

bool pq_connect_is_again(const struct pq_flow *f, const struct pq_segment *s)
{
    return s->has_ts && pq_holes_repeated(&f->conn.holes, f->st.ack, s->seq, s->tsval);
}

unsigned pq_connect_lacks(const struct pq_flow *f, const struct pq_segment *s,
                          struct pq_gap out[PQ_SACKS_MAX])
{
    const struct pq_connect *c = &f->conn;
    if (c->state != PQ_CONNECT_OPEN || !(s->flags & PQ_TCP_ACK) || s->ack != c->una)
        return 0;
    return pq_holes_read(s->sacks, s->n_sacks, s->ack, f->st.seq, out);
}

/* So much room the peer needs beyond what has come, so that he need not wait for more. */
static uint32_t need(const struct pq_connect *c)
{
    const uint32_t part = c->window - c->window / PQ_WINDOW_ROUNDS;
    const uint32_t rounds =
        c->most < c->window / (PQ_WINDOW_ROUNDS - 1) ? (PQ_WINDOW_ROUNDS - 1) * c->most : c->window;
    return part > rounds ? part : rounds;
}

/* While something is lacking the window stands, too, as long as the peer has room enough: a
 * kernel's only says the same again, so that who counts sees that. */
static uint32_t next_edge(const struct pq_flow *f)
{
    const struct pq_connect *c = &f->conn;
    const uint32_t high = pq_holes_high(&c->holes, f->st.ack);
    const uint32_t least = high + (c->holes.n && !c->moves ? need(c) : c->window);
    return (int32_t)(c->own_edge - least) >= 0 ? c->own_edge : high + c->window;
}

/* Whether what has come above the lowest hole leaves the peer too little of the largest window. */
static bool is_in_the_way(const struct pq_flow *f)
{
    const struct pq_connect *c = &f->conn;
    const uint32_t above = pq_holes_high(&c->holes, f->st.ack) - f->st.ack;
    return c->holes.n && above + need(c) > UINT32_C(65535) << c->scale;
}

void pq_connect_give_up(struct pq_flow *f, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    f->st.ack =
        pq_holes_expire(&c->holes, f->st.ack, (uint32_t)(now / PQ_MS), HOLE_MIN + 2 * c->rtt_min);
    while (is_in_the_way(f))
        f->st.ack = pq_holes_jump(&c->holes, f->st.ack);
}

uint16_t pq_connect_tell(struct pq_flow *f, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    const uint32_t unit = UINT32_C(1) << c->scale, most = UINT32_C(65535) << c->scale;
    pq_connect_give_up(f, now);
    uint32_t window = (next_edge(f) - f->st.ack + unit - 1) & ~(unit - 1);
    window = window < most ? window : most;
    c->own_edge = f->st.ack + window;
    return (uint16_t)(window >> c->scale);
}

unsigned pq_connect_blocks(struct pq_flow *f, size_t bytes, struct pq_block out[PQ_SACKS_MAX])
{
    struct pq_connect *c = &f->conn;
    if (bytes > BESIDE_MAX || (bytes && f->st.seq == c->first + 1))
        return 0; /* or it has a lead */
    const unsigned n = pq_holes_tell(&c->holes, out);
    c->new_holes = n ? 0 : c->new_holes;
    return n;
}
