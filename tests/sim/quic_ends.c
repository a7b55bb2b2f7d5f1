/* SPDX-License-Identifier: MIT */
#include "quic_ends.h"

#include "noise/noise.h"
#include "quic/quic_seal.h"
#include "tunnel/transport.h"
#include "tunnel/tunnel_internal.h"

const uint8_t quic_other[32] = {7, 8, 9};
uint8_t quic_other_public[32];

struct world_conf quic_ends(pq_ns delay)
{
    assert_int_equal(pq_crypt_global_init(), 0);
    struct world_conf c = world_keyed(delay);
    assert_int_equal(pq_x25519_public(quic_other, quic_other_public), 0);
    for (int i = 0; i < 2; i++) {
        c.hub[i].own.on = false; /* the other transport's */
        c.hub[i].transport = &pq_transport_quic;
        c.hub[i].quic = (struct pq_quic_conf){.key = c.hub[i].key,
                                              .stream_window = 6 << 20,
                                              .stream_window_max = 24 << 20,
                                              .window = 15 << 20,
                                              .window_max = 30 << 20,
                                              .max_streams = 1000,
                                              .datagrams = true,
                                              .idle = 30 * PQ_SEC,
                                              .keepalive = 10 * PQ_SEC};
    }
    return c;
}

void quic_ends_restart(struct world *w, int64_t ago)
{
    struct end *e = &w->end[SERVER];
    e->wall_off = -ago;
    world_restart_server(w);
    e->wall_off = 0;
}

struct world *quic_ends_new(struct world_conf *c, uint64_t seed)
{
    for (int i = 0; i < 2; i++)
        c->hub[i].quic.key = c->hub[i].key;
    struct world *w = world_new(c, seed);
    quic_ends_restart(w, 10);
    return w;
}

const struct pq_hub_stats *quic_ends_stats(const struct world *w)
{
    return pq_hub_stats(w->end[SERVER].hub);
}

struct pq_session *quic_ends_served(const struct world *w)
{
    struct pq_hub *h = w->end[SERVER].hub;
    return pq_list_empty(&h->sessions) ? NULL : PQ_OF(h->sessions.next, struct pq_session, node);
}

bool quic_record(struct world *w, unsigned from, struct link_packet *k)
{
    struct quic_recording *r = w->tap_ctx;
    if (from == CLIENT && !r->len) {
        memcpy(r->frame, k->p, k->len);
        r->len = k->len;
    }
    return true;
}

void quic_seal_with(struct world *w, struct quic_recording *r, const uint8_t *from,
                    const uint8_t *to)
{
    struct pq_segment seg;
    struct pq_quic_keys k;
    struct pq_quic_seal seal;
    uint64_t stamp;
    assert_int_equal(pq_segment_parse(&seg, r->frame, r->len, 14), PQ_DROP_NONE);
    assert_int_equal(pq_quic_keys_make(&k, from), 0);
    assert_int_equal(pq_quic_seal_init(&seal, k.c2s), 0);
    const struct pq_view v = pq_quic_seal_open(&seal, seg.data, seg.len, &stamp);
    assert_true(v.n > 0);
    pq_quic_seal_fini(&seal);
    assert_int_equal(pq_quic_keys_make(&k, to), 0);
    assert_int_equal(pq_quic_seal_init(&seal, k.c2s), 0);
    stamp = WORLD_WALL + w->now / PQ_MS;
    assert_int_equal(pq_quic_seal_put(&seal, seg.data, v.n, &stamp, &w->end[CLIENT].rng), seg.len);
    pq_quic_seal_fini(&seal);
}

void quic_seal_anew(struct world *w, struct quic_recording *r)
{
    const uint8_t *key = w->end[SERVER].conf.key;
    quic_seal_with(w, r, key, key);
}
