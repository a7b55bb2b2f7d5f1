/* SPDX-License-Identifier: MIT */
/* quic_in.c - what ngtcp2 has found in datagrams becomes events.  Its one buffer of plain text is
 * used again with the next packet, so bytes of streams are copied into the memory of the batch. */
#include "quic/quic_internal.h"

#include <stdlib.h>

/* The callbacks for keys are not told whose they are. */
static _Thread_local struct pq_quic *current;

void pq_quic_enter(struct pq_quic *q, pq_ns now)
{
    q->now = now;
    current = q;
}

void pq_quic_leave(struct pq_quic *q)
{
    (void)q;
    current = NULL;
}

/* ---- keys; how many arguments there are is ngtcp2's choice */

/* A 0-RTT packet of version 1 (RFC 9000 17.2.3). */
static bool is_early(const uint8_t *head)
{
    return (head[0] & 0xb0) == 0x90;
}

/* The number in the header is cut: of those that end so, the nearest to the next (RFC 9000 A.3). */
static int64_t whole_number(const struct quic_came *c, struct pq_view head)
{
    int64_t span;
    const int64_t pn = quic_number_beside(c->next, head, &span);
    if (pn <= c->next - span / 2)
        return pn + span;
    return pn > c->next + span / 2 && pn >= span ? pn - span : pn;
}

/* Whether a packet comes for the first time: anybody can send a recording of one.  Of what is too
 * late to tell it is not said; ngtcp2, which never forgets one, may use that all the same. */
static bool is_new(struct quic_came *c, struct pq_view head)
{
    const int64_t pn = whole_number(c, head);
    for (int64_t i = pn - c->next < CAME_MAX ? c->next : pn - CAME_MAX + 1; i <= pn; i++)
        c->bits[i % CAME_MAX / 64] &= ~(UINT64_C(1) << (i % 64));
    if (pn >= c->next)
        c->next = pn + 1;
    uint64_t *word = &c->bits[pn % CAME_MAX / 64];
    const uint64_t bit = UINT64_C(1) << (pn % 64);
    if (c->next - pn > CAME_MAX || *word & bit)
        return false;
    *word |= bit;
    return true;
}

/* Who has sent it, and knows its keys, is there.  One of before the handshake is done has keys that
 * soon are no more. */
static void note_authentic(struct pq_quic *q, struct pq_view head)
{
    if ((head.p[0] & 0x80 && !is_early(head.p)) || is_new(&q->numbers, head))
        q->heard = q->now;
    else
        q->again = true;
}

/* NOLINTNEXTLINE(readability-function-size) */
static int encrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *ctx,
                   const uint8_t *plain, size_t n, const uint8_t *nonce, size_t n_nonce,
                   const uint8_t *head, size_t n_head)
{
    if (current)
        current->asks = n && plain[0] == 0x1a; /* it is alone in its packet */
    if (current && is_early(head))
        pq_quic_early_sent(current, n);
    else if (current && !(head[0] & 0x80))
        quic_cc_sent(&current->cc, (struct pq_view){head, n_head}, (struct pq_view){plain, n},
                     current->now);
    return ngtcp2_crypto_encrypt_cb(to, aead, ctx, plain, n, nonce, n_nonce, head, n_head);
}

/* NOLINTNEXTLINE(readability-function-size) */
static int decrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *ctx,
                   const uint8_t *sealed, size_t n, const uint8_t *nonce, size_t n_nonce,
                   const uint8_t *head, size_t n_head)
{
    int r = ngtcp2_crypto_decrypt_cb(to, aead, ctx, sealed, n, nonce, n_nonce, head, n_head);
    if (r || !current)
        return r;
    if (current->elsewhere) {
        pq_quic_note_strange(current);
        return NGTCP2_ERR_DECRYPT;
    }
    note_authentic(current, (struct pq_view){head, n_head});
    const struct pq_view frames = {to, n - aead->max_overhead};
    if (is_early(head))
        return pq_quic_early_takes(current, frames) ? 0 : NGTCP2_ERR_DECRYPT;
    if (head[0] & 0x80)
        return 0;
    if (current->unheard) { /* the first under keys that only the one has whom it has named */
        current->unheard = false;
        pq_quic_proven(current);
    }
    if (!pq_quic_takes(current, frames))
        return NGTCP2_ERR_DECRYPT;
    quic_cc_received(&current->cc, frames, current->now);
    return 0;
}

static void random_bytes(uint8_t *to, size_t n, const ngtcp2_rand_ctx *ctx)
{
    pq_rng_fill(ctx->native_handle, to, n);
}

/* ---- handshake */

static int recv_crypto(ngtcp2_conn *conn, ngtcp2_encryption_level level, uint64_t at,
                       const uint8_t *p, size_t n, void *user)
{
    const struct pq_quic *q = user;
    if (!q->tls) /* tickets, which nobody uses */
        return 0;
    return ngtcp2_crypto_recv_crypto_data_cb(conn, level, at, p, n, user);
}

/* It is sealed with what came before only, yet good. */
static int on_retry(ngtcp2_conn *conn, const ngtcp2_pkt_hd *head, void *user)
{
    struct pq_quic *q = user;
    q->heard = q->now;
    return ngtcp2_crypto_recv_retry_cb(conn, head, user);
}

static int on_completed(ngtcp2_conn *conn, void *user)
{
    struct pq_quic *q = user;
    (void)conn;
    q->unheard = q->named && !q->e->conf.client;
    if (!q->unheard)
        pq_quic_proven(q);
    return 0;
}

static int on_confirmed(ngtcp2_conn *conn, void *user)
{
    struct pq_quic *q = user;
    (void)conn;
    q->confirmed = true;
    return 0;
}

/* ---- ids */

static int new_id(ngtcp2_conn *conn, ngtcp2_cid *id, uint8_t *token, size_t n, void *user)
{
    struct pq_quic *q = user;
    (void)conn;
    if (n != PQ_QUIC_ID_LEN)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    pq_quic_new_id(q->e, id);
    pq_rng_fill(q->e->rng, token, NGTCP2_STATELESS_RESET_TOKENLEN); /* which is never used */
    return pq_quic_add_id(q, id->data, id->datalen) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int remove_id(ngtcp2_conn *conn, const ngtcp2_cid *id, void *user)
{
    (void)conn;
    pq_quic_drop_id(user, id->data, id->datalen);
    return 0;
}

/* ---- the memory of a batch */

static uint8_t *arena_room(struct pq_quic_end *e, size_t n)
{
    struct quic_block *b = e->filling;
    if (b && b->used + n <= ARENA_BLOCK)
        return b->data + b->used;
    if (b && b->next) { /* of an earlier batch */
        e->filling = b->next;
        e->filling->used = 0;
        return e->filling->data;
    }
    if (e->n_blocks == ARENA_MAX) {
        e->ev->flush(e->ctx);
        pq_quic_rx_done(e);
        return e->filling->data;
    }
    struct quic_block *add = malloc(sizeof *add);
    if (!add)
        return NULL;
    add->next = NULL;
    add->used = 0;
    if (b)
        b->next = add;
    else
        e->arena = add;
    e->filling = add;
    e->n_blocks++;
    return add->data;
}

void pq_quic_rx_done(struct pq_quic_end *e)
{
    e->filling = e->arena;
    if (e->arena)
        e->arena->used = 0;
}

/* ---- streams */

static void give(struct pq_quic_stream *st, const uint8_t *p, size_t n)
{
    struct pq_quic *q = st->q;
    struct pq_quic_end *e = q->e;
    while (n && st->user && !q->over) {
        const size_t k = n < ARENA_BLOCK / 2 ? n : ARENA_BLOCK / 2;
        uint8_t *to = arena_room(e, k);
        if (!to) {
            q->broken = PQ_ENOMEM;
            return;
        }
        memcpy(to, p, k);
        e->filling->used += k;
        q->in += k;
        pq_quic_window_came(st, k, true);
        e->ev->data(st->user, (struct pq_view){to, k});
        p += k;
        n -= k;
    }
    if (n) /* nobody wants the rest */
        pq_quic_window_came(st, n, false);
}

static void end_of(struct pq_quic_stream *st)
{
    if (st->ended)
        return;
    st->ended = true;
    if (st->user && !st->q->over)
        st->q->e->ev->eof(st->user);
}

static int on_open(ngtcp2_conn *conn, int64_t id, void *user)
{
    struct pq_quic *q = user;
    struct pq_quic_stream *st = pq_quic_stream_new(q, id);
    if (!st)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    st->remote = true;
    ngtcp2_conn_set_stream_user_data(conn, id, st);
    if (!q->over)
        st->user = q->e->ev->open(q->user, st);
    if (!st->user)
        pq_quic_stream_abort(st, QUIC_REFUSED);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size) */
static int on_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t at, const uint8_t *p,
                   size_t n, void *user, void *stream)
{
    (void)conn;
    (void)id;
    (void)at;
    (void)user;
    struct pq_quic_stream *st = stream;
    if (!st)
        return 0;
    st->came += n;
    give(st, p, n);
    if (flags & NGTCP2_STREAM_DATA_FLAG_FIN)
        end_of(st);
    return 0;
}

static int on_acked(ngtcp2_conn *conn, int64_t id, uint64_t at, uint64_t n, void *user,
                    void *stream)
{
    (void)conn;
    (void)id;
    (void)at;
    (void)user;
    struct pq_quic_stream *st = stream;
    if (st)
        pq_quic_was_acked(st, n);
    return 0;
}

static int on_reset(ngtcp2_conn *conn, int64_t id, uint64_t size, uint64_t code, void *user,
                    void *stream)
{
    (void)conn;
    (void)id;
    (void)size;
    (void)user;
    struct pq_quic_stream *st = stream;
    if (!st || st->ended)
        return 0;
    st->ended = true;
    if (st->user && !st->q->over)
        st->q->e->ev->reset(st->user, code);
    return 0;
}

static int on_close(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t code, void *user,
                    void *stream)
{
    (void)conn;
    (void)flags;
    (void)id;
    (void)code;
    (void)user;
    struct pq_quic_stream *st = stream;
    if (st)
        pq_quic_was_closed(st);
    return 0;
}

static int on_window(ngtcp2_conn *conn, int64_t id, uint64_t most, void *user, void *stream)
{
    (void)conn;
    (void)id;
    (void)most;
    (void)user;
    struct pq_quic_stream *st = stream;
    if (!st)
        return 0;
    st->blocked = false;
    pq_quic_schedule(st);
    return 0;
}

static int on_datagram(ngtcp2_conn *conn, uint32_t flags, const uint8_t *p, size_t n, void *user)
{
    static const uint8_t padding[PQ_QUIC_PADDING_LEN] = PQ_QUIC_PADDING;
    const struct pq_quic *q = user;
    (void)conn;
    (void)flags;
    if (!q->plain && n >= sizeof padding && memcmp(p, padding, sizeof padding) == 0)
        return 0;
    if (!q->over)
        q->e->ev->datagram(q->user, (struct pq_view){p, n});
    return 0;
}

const ngtcp2_callbacks pq_quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = recv_crypto,
    .handshake_completed = on_completed,
    .handshake_confirmed = on_confirmed,
    .recv_retry = on_retry,
    .encrypt = encrypt,
    .decrypt = decrypt,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .rand = random_bytes,
    .get_new_connection_id = new_id,
    .remove_connection_id = remove_id,
    .path_validation = pq_quic_on_validation,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .stream_open = on_open,
    .recv_stream_data = on_data,
    .acked_stream_data_offset = on_acked,
    .stream_reset = on_reset,
    .stream_close = on_close,
    .extend_max_stream_data = on_window,
    .recv_datagram = on_datagram};

/* ---- a datagram of a connection */

enum pq_drop pq_quic_read(struct pq_quic *q, struct quic_raw_path *raw, const uint8_t *p, size_t n,
                          pq_ns now)
{
    if (q->gone || q->close_owed)
        return PQ_DROP_NO_SESSION;
    const struct quic_raw_path came = *raw;
    pq_quic_meant(q, raw);
    const ngtcp2_path path = pq_quic_ngtcp2_path(raw);
    const ngtcp2_pkt_info info = {0};
    const pq_ns heard = q->heard;
    const uint64_t lost = q->cc.lost;
    q->heard = 0;
    q->again = false;
    q->from = raw;
    pq_quic_look_at_path(q); /* where it was before, if nobody has answered */
    q->elsewhere = !pq_quic_may_come(q, raw, p, now);
    pq_quic_enter(q, now);
    int r = ngtcp2_conn_read_pkt(q->conn, &path, &info, p, n, now);
    pq_quic_leave(q);
    q->caught_up = q->caught_up && q->cc.lost == lost;
    const bool good = q->heard != 0;
    q->heard = good ? now : heard;
    r = r ? r : q->broken ? NGTCP2_ERR_NOMEM : 0;
    if (r) {
        pq_quic_fail(q, r);
        return q->ready ? PQ_DROP_NONE : PQ_DROP_HANDSHAKE;
    }
    if (good)
        pq_quic_answered(q, memcmp(&came, raw, sizeof came) != 0);
    q->received += good;
    pq_quic_look_at_path(q);
    if (good)
        pq_quic_came(q, raw, p);
    q->from = NULL;
    if (good)
        return PQ_DROP_NONE;
    return q->elsewhere ? PQ_DROP_NO_SESSION : q->again ? PQ_DROP_REPLAY : PQ_DROP_AUTH;
}
