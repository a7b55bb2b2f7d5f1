/* SPDX-License-Identifier: MIT */
/* quic_route.c - whose datagram it is, and who may begin a connection [13.2] [13.3] [13.4]. */
#include "quic/quic_internal.h"

#include <stdlib.h>

#define SHORTEST      21 /* a first byte, our id, and what hides the number of the packet */
#define RETRY_TIMEOUT (10 * PQ_SEC)

/* ---- ids */

static uint64_t hash_of(const struct pq_quic_end *e, const uint8_t *p, size_t n)
{
    return pq_hash_bytes(p, n, e->hash_seed);
}

static struct quic_id *find_id(const struct pq_quic_end *e, const uint8_t *p, size_t n)
{
    struct pq_hash_node *k = pq_hash_find(&e->ids, hash_of(e, p, n));
    for (; k; k = pq_hash_next(k)) {
        struct quic_id *id = PQ_OF(k, struct quic_id, node);
        if (id->n == n && memcmp(id->id, p, n) == 0)
            return id;
    }
    return NULL;
}

int pq_quic_add_id(struct pq_quic *q, const uint8_t *p, size_t n)
{
    struct quic_id *id = q->n_ids < QUIC_IDS_MAX ? calloc(1, sizeof *id) : NULL;
    if (!id)
        return PQ_ENOMEM;
    id->q = q;
    id->n = (uint8_t)n;
    memcpy(id->id, p, n);
    if (pq_hash_add(&q->e->ids, &id->node, hash_of(q->e, p, n))) {
        free(id);
        return PQ_ENOMEM;
    }
    pq_list_push(&q->ids, &id->of);
    q->n_ids++;
    return 0;
}

void pq_quic_drop_id(struct pq_quic *q, const uint8_t *p, size_t n)
{
    struct quic_id *id = n ? find_id(q->e, p, n) : NULL;
    if (!id || id->q != q)
        return;
    pq_hash_remove(&q->e->ids, &id->node);
    pq_list_remove(&id->of);
    q->n_ids--;
    free(id);
}

void pq_quic_new_id(struct pq_quic_end *e, ngtcp2_cid *id)
{
    const unsigned n = e->conf.workers, most = 256 / n * n;
    id->datalen = PQ_QUIC_ID_LEN;
    pq_rng_fill(e->rng, id->data, id->datalen);
    while (id->data[0] >= most)
        pq_rng_fill(e->rng, id->data, 1);
    id->data[0] = (uint8_t)(id->data[0] - id->data[0] % n + e->conf.worker);
}

unsigned pq_quic_worker(const struct pq_quic_end *e, const uint8_t *p, size_t n)
{
    return n > 1 ? p[1] % e->conf.workers : e->conf.worker;
}

/* ---- connections that begin */

/* At random, so that who waits for an answer is not sure to be the one; but not the new one. */
static void make_room(struct pq_quic_end *e, const struct pq_quic *but)
{
    struct pq_list *n = e->half.next;
    for (uint32_t i = pq_rng_u32(e->rng) % PQ_QUIC_HALF_MAX; i; i--)
        n = n->next;
    if (n == &but->in_half)
        n = n->prev;
    struct pq_quic *q = PQ_OF(n, struct pq_quic, in_half);
    pq_list_remove(&q->in_half);
    e->n_half--;
    pq_quic_end_with(q, PQ_EREPLACED);
}

/* Whether an opening is the first of its kind, and may be computed. */
static enum pq_drop check_first(struct pq_quic_end *e, const struct pq_quic_path *path,
                                const ngtcp2_cid *id)
{
    const struct pq_view v = {id->data, id->datalen};
    if (e->ev->first)
        return e->ev->first(e->ctx, v, path);
    return pq_quic_seen(e->seen, v, e->ev->wall(e->ctx)) ? PQ_DROP_REPLAY : PQ_DROP_NONE;
}

/* Recordings of before this program was started, or which are older than what is remembered. */
bool pq_quic_is_timely(const struct pq_quic_end *e, uint64_t stamp)
{
    const uint64_t wall = e->ev->wall(e->ctx);
    return stamp > e->started && stamp <= UINT64_MAX - PQ_QUIC_CLOCKS &&
           stamp + PQ_QUIC_CLOCKS >= wall && stamp <= wall + PQ_QUIC_CLOCKS;
}

/* Has the peer prove that it is where it says to be. */
static void ask_again(struct pq_quic_end *e, const struct pq_quic_path *path,
                      const ngtcp2_pkt_hd *hd, pq_ns now)
{
    if (e->n_answers == ANSWERS_MAX)
        return;
    struct quic_answer *a = &e->answers[(e->first_answer + e->n_answers) % ANSWERS_MAX];
    struct quic_raw_path raw;
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
    ngtcp2_cid scid;
    pq_quic_to_raw(e, &raw, path);
    pq_quic_new_id(e, &scid);
    const ngtcp2_ssize n = ngtcp2_crypto_generate_retry_token(
        token, e->retry_key, sizeof e->retry_key, hd->version, (const void *)&raw.remote,
        sizeof raw.remote, &scid, &hd->dcid, now);
    if (n < 0)
        return;
    const ngtcp2_ssize k = ngtcp2_crypto_write_retry(a->p, sizeof a->p, hd->version, &hd->scid,
                                                     &scid, &hd->dcid, token, (size_t)n);
    if (k < 0)
        return;
    a->n = (uint8_t)k;
    a->path = *path;
    e->n_answers++;
}

size_t pq_quic_answer(struct pq_quic_end *e, uint8_t *buf, struct pq_quic_path *path)
{
    if (!e->n_answers)
        return 0;
    const struct quic_answer *a = &e->answers[e->first_answer];
    e->first_answer = (e->first_answer + 1) % ANSWERS_MAX;
    e->n_answers--;
    memcpy(buf, a->p, a->n);
    *path = a->path;
    return a->n;
}

/* Whether an Initial brings back what Retry gave to this address; then *odcid is what the client
 * made up at first. */
static bool is_answer(struct pq_quic_end *e, const struct pq_quic_path *path,
                      const ngtcp2_pkt_hd *hd, ngtcp2_cid *odcid, pq_ns now)
{
    const ngtcp2_vec token = pq_ngtcp2_token(hd);
    struct quic_raw_path raw;
    pq_quic_to_raw(e, &raw, path);
    return token.len &&
           ngtcp2_crypto_verify_retry_token(
               odcid, token.base, token.len, e->retry_key, sizeof e->retry_key, hd->version,
               (const void *)&raw.remote, sizeof raw.remote, &hd->dcid, RETRY_TIMEOUT, now) == 0;
}

struct opening { /* a datagram of nobody's */
    const struct pq_quic_path *path;
    struct pq_view v;
    bool bare;      /* it came without a seal, ... */
    unsigned set;   /* ... or with that of a key, ... */
    uint64_t stamp; /* ... which says when it was sent */
    ngtcp2_pkt_hd hd;
    bool proven; /* it answers a Retry, before which the client's first id was ... */
    ngtcp2_cid odcid;
};

/* An early packet asks before all of its datagram was read. */
bool pq_quic_accept(struct pq_quic *q)
{
    struct pq_quic_path path;
    if (q->user || q->unwanted)
        return !q->unwanted;
    pq_quic_from_raw(q->e, &path, &q->path);
    q->user = q->e->ev->accept(q->e->ctx, q, &path);
    q->unwanted = !q->user;
    q->over = q->unwanted;
    return q->user;
}

/* Whether the first datagram of q is what it should be, and its connection wanted. */
static enum pq_drop first_read(struct pq_quic *q, const struct opening *o, pq_ns now)
{
    struct quic_raw_path raw;
    pq_quic_to_raw(q->e, &raw, o->path);
    q->over = true; /* nobody knows of it yet */
    if (pq_quic_read(q, &raw, o->v.p, o->v.n, now) || q->gone)
        return q->unwanted ? PQ_DROP_FULL : PQ_DROP_HANDSHAKE;
    return pq_quic_accept(q) ? PQ_DROP_NONE : PQ_DROP_FULL;
}

static enum pq_drop begin(struct pq_quic_end *e, const struct opening *o, struct pq_quic **out,
                          pq_ns now)
{
    struct pq_quic *q = pq_quic_make(e, o->path, o->bare, now);
    if (!q)
        return PQ_DROP_FULL;
    q->odcid = o->hd.dcid;
    q->set = o->set;
    int r = pq_quic_tls(q, NULL);
    r = r ? r : pq_quic_start(q, &o->hd, o->proven ? &o->odcid : NULL, now);
    r = r ? r : pq_quic_add_id(q, o->hd.dcid.data, o->hd.dcid.datalen);
    const enum pq_drop d = r ? PQ_DROP_FULL : first_read(q, o, now);
    if (d)
        pq_quic_free(&q);
    else if (e->n_half > PQ_QUIC_HALF_MAX)
        make_room(e, q);
    *out = q;
    return d;
}

static enum pq_drop accept_first(struct pq_quic_end *e, struct opening *o, struct pq_quic **out,
                                 pq_ns now)
{
    if (e->conf.client || ngtcp2_accept(&o->hd, o->v.p, o->v.n))
        return PQ_DROP_NO_SESSION;
    if (e->n_conns >= e->conf.max_conns)
        return PQ_DROP_FULL;
    o->proven = o->bare && is_answer(e, o->path, &o->hd, &o->odcid, now);
    if (o->bare && !o->proven && e->n_half >= PQ_QUIC_HALF_RETRY) {
        ask_again(e, o->path, &o->hd, now);
        return PQ_DROP_FULL;
    }
    if (!o->bare && !pq_quic_is_timely(e, o->stamp))
        return PQ_DROP_STAMP;
    const enum pq_drop d = o->bare ? PQ_DROP_NONE : check_first(e, o->path, &o->hd.dcid);
    return d ? d : begin(e, o, out, now);
}

/* ---- all that comes */

static enum pq_drop long_header(struct pq_quic_end *e, const struct pq_quic_path *path, uint8_t *p,
                                size_t n, struct pq_quic **out, pq_ns now)
{
    struct pq_view v = {p, n};
    uint64_t stamp = 0;
    unsigned set = 0;
    const bool bare = !e->keyed || (e->conf.open && !e->conf.client && pq_quic_is_bare(p, n));
    if (!bare)
        v = pq_quic_unseal(e, p, n, e->conf.client ? NULL : &stamp, &set);
    if (!v.n)
        return PQ_DROP_AUTH;
    ngtcp2_version_cid head;
    if (!pq_quic_is_bare(v.p, v.n) ||
        ngtcp2_pkt_decode_version_cid(&head, v.p, v.n, PQ_QUIC_ID_LEN))
        return PQ_DROP_HANDSHAKE;
    const struct quic_id *id = find_id(e, head.dcid, head.dcidlen);
    struct pq_quic *q = id ? id->q : NULL;
    struct opening o = {.path = path, .v = v, .bare = bare, .set = set, .stamp = stamp};
    if (!q)
        return accept_first(e, &o, out, now);
    if (q->plain != bare || q->set != set)
        return PQ_DROP_AUTH;
    struct quic_raw_path raw;
    pq_quic_to_raw(e, &raw, path);
    *out = q;
    return pq_quic_read(q, &raw, v.p, v.n, now);
}

enum pq_drop pq_quic_input(struct pq_quic_end *e, const struct pq_quic_path *path, uint8_t *p,
                           size_t n, struct pq_quic **q, pq_ns now)
{
    *q = NULL;
    if (n < SHORTEST)
        return PQ_DROP_SHORT;
    if (p[0] & 0x80)
        return long_header(e, path, p, n, q, now);
    const struct quic_id *id = find_id(e, p + 1, PQ_QUIC_ID_LEN);
    if (!id)
        return pq_quic_worker(e, p, n) == e->conf.worker ? PQ_DROP_NO_SESSION : PQ_DROP_ELSEWHERE;
    struct quic_raw_path raw;
    pq_quic_to_raw(e, &raw, path);
    *q = id->q;
    return pq_quic_read(id->q, &raw, p, n, now);
}
