/* SPDX-License-Identifier: MIT */
/* connect_ask.c - how a client begins connections: with which number a SYN goes, when it goes
 * again, and what becomes of a connection that the same tuple had before [12.9]. */
#include "tunnel/proof.h"
#include "tunnel/tunnel_internal.h"

#define ASKS_FOR      (PQ_SYNS * PQ_SYN_PATIENCE)
#define NUMBERS_TRIED 64 /* for one behind the last */

/* ---- the number of a SYN */

/* No two SYNs of this program have the same time stamp, else one would be taken for a recording of
 * the other: each worker has milliseconds of its own.  The last one of them may be past. */
static pq_ns syn_turn(const struct pq_hub *h, pq_ns now)
{
    const uint64_t turns = h->conf.turns ? h->conf.turns : 1;
    const uint64_t ms = now / PQ_MS, own = ms - (ms + turns - h->conf.turn) % turns;
    return (own > h->syn_ms ? own : h->syn_ms + turns) * PQ_MS;
}

/* The same where there is none: no two of a program make the same choice, while there are enough.
 */
static uint32_t next_choice(struct pq_hub *h)
{
    const uint32_t turns = h->conf.turns ? h->conf.turns : 1;
    if (!h->syn_choice)
        h->syn_choice = 1 + (uint32_t)pq_rng_u64(h->rng) % PQ_PROOF_CHOICES;
    return h->syn_choice++ % (PQ_PROOF_CHOICES / turns) * turns + h->conf.turn;
}

/* The last SYN of the same tuple; NULL: none is known. */
static struct pq_syn_sent *last_on(struct pq_hub *h, const struct pq_flow *f)
{
    struct pq_addr peer, local;
    pq_flow_ends(f, &local, &peer);
    for (unsigned i = 0; i < PQ_SYNS_SENT; i++)
        if (h->syn_sent[i].known && pq_addr_eq(&h->syn_sent[i].peer, &peer) &&
            pq_addr_eq(&h->syn_sent[i].local, &local))
            return &h->syn_sent[i];
    return NULL;
}

static void note_number(struct pq_hub *h, const struct pq_flow *f, uint32_t number)
{
    struct pq_syn_sent *e = last_on(h, f);
    if (!e)
        e = &h->syn_sent[h->n_syn_sent++ % PQ_SYNS_SENT];
    e->known = true;
    e->number = number;
    pq_flow_ends(f, &e->local, &e->peer);
}

/* A router that has the SYN before, which nobody has answered, takes none with a lower number for
 * one of the same connection. */
static bool is_behind(const struct pq_syn_sent *last, uint32_t number)
{
    return !last || (int32_t)(number - last->number) > 0;
}

static uint32_t plain_number(struct pq_hub *h, struct pq_mask *key, uint64_t slot,
                             const struct pq_syn_sent *last)
{
    uint32_t number = pq_proof_plain(key, next_choice(h), slot);
    for (unsigned i = 0; i < NUMBERS_TRIED && !is_behind(last, number); i++)
        number = pq_proof_plain(key, next_choice(h), slot);
    return number;
}

/* What the first SYN begins with, at *at: it may be that this is not yet. */
static uint32_t first_number(struct pq_session *s, const struct pq_flow *f, pq_ns *at, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_mask *key = s->syn_key ? s->syn_key : s->train_key;
    const struct pq_syn_sent *last = last_on(h, f);
    const uint64_t slot = h->ev->wall(h->ctx) / PQ_SYN_SLOT;
    *at = now;
    if (f->conn.plain)
        return plain_number(h, key, slot, last);
    *at = syn_turn(h, now);
    uint32_t number = pq_proof_stamped(key, pq_flow_tsval(f, *at), slot);
    for (unsigned i = 0; i < NUMBERS_TRIED && !is_behind(last, number); i++) {
        *at += (h->conf.turns ? h->conf.turns : 1) * PQ_MS;
        number = pq_proof_stamped(key, pq_flow_tsval(f, *at), slot);
    }
    if (*at > now)
        return 0;
    h->syn_ms = *at / PQ_MS;
    return number;
}

/* ---- on its way */

static bool fill_syn(struct pq_session *s, struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_connect *c = &f->conn;
    uint32_t first = 0;
    pq_ns at = now;
    if (now < c->due)
        return false;
    if (c->syns == PQ_SYNS) {
        c->due = PQ_NEVER;
        if (f == &s->flow) /* a move has a patience of its own */
            pq_session_end(s, PQ_ETIMEOUT);
        return false;
    }
    if (!c->syns) {
        first = first_number(s, f, &at, now);
        c->due = at;
        if (at > now)
            return false;
        note_number(h, f, first);
        if (h->conf.port_fixed) /* else none was there before */
            h->asks_until = now + ASKS_FOR;
    }
    pq_connect_ask(f, slot, first, at);
    h->stats.tx_packets++;
    return true;
}

size_t pq_connect_head(struct pq_session *s, struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    if (f->conn.state == PQ_CONNECT_ASKING && f->conn.refuse_at) {
        if (now < f->conn.refuse_at)
            return 0;
        pq_connect_refusal(f, slot, now);
        pq_session_wake(s); /* a SYN goes right behind it: nothing shall come in between */
        s->hub->stats.tx_packets++;
        return 1;
    }
    if (f->conn.state == PQ_CONNECT_ASKING)
        return fill_syn(s, f, slot, now);
    if (!f->conn.finish)
        return 0;
    pq_connect_ack(f, slot, now);
    s->hub->stats.tx_packets++;
    return 1;
}

pq_ns pq_connect_due(const struct pq_flow *f, pq_ns now)
{
    return f->conn.state == PQ_CONNECT_ASKING ? f->conn.due : f->conn.finish ? now : PQ_NEVER;
}

/* ---- the connection before */

void pq_connect_refuse(struct pq_hub *h, const struct pq_segment *seg, pq_ns now)
{
    struct pq_session *s = NULL;
    struct pq_flow *f = pq_connect_flow(h, seg, &s);
    if (!f || (f != &s->flow && !(s->path && f == &s->path->flow)) || (!seg->len && !seg->sound) ||
        !pq_connect_is_old(f, seg, now))
        return;
    h->asks_until = pq_ns_max(h->asks_until, now + ASKS_FOR);
    pq_session_wake(s);
}
