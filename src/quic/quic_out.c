/* SPDX-License-Identifier: MIT */
/* quic_out.c - one datagram at a time: datagrams of the user and streams in turn, as many of them
 * as fit.  Streams that had nothing to send before go first, eight at most in a row, then one that
 * sends much has its turn of 16 KB, or of 4 ms on a slow path: others wait behind it. */
#include "quic/quic_internal.h"

#include <stdlib.h>

#define TURN       16384
#define TURN_LEAST 2920
#define TURN_MS    4
#define FRESH_RUN  8
#define VECS       8
#define NUMBER_MAX 4  /* bytes of a packet's number */
#define FRAME_HEAD 24 /* of a packet with a DATAGRAM frame at most, but for the peer's id */
#define APART_HEAD 72 /* with a STREAM frame, and an ACK frame in front as a rule */

/* ---- whose turn it is */

static size_t turn_size(const struct pq_quic *q)
{
    if (!q->driven || !q->cc.cc.pace)
        return TURN;
    const uint64_t n = q->cc.cc.pace * q->cc.mtu.size * TURN_MS / 1000;
    return n > TURN ? TURN : n < TURN_LEAST ? TURN_LEAST : (size_t)n;
}

static struct pq_quic_stream *next_stream(struct pq_quic *q)
{
    struct pq_quic_stream *st = NULL;
    if (!pq_list_empty(&q->fresh) && (pq_list_empty(&q->turn) || q->fresh_run < FRESH_RUN)) {
        st = PQ_OF(pq_list_pop(&q->fresh), struct pq_quic_stream, turn);
        st->served = true;
        st->budget = 0;
        q->fresh_run++;
        pq_list_insert_before(q->turn.next, &st->turn);
    } else if (!pq_list_empty(&q->turn)) {
        st = PQ_OF(q->turn.next, struct pq_quic_stream, turn);
        q->fresh_run = 0;
    }
    if (st && !st->budget)
        st->budget = turn_size(q);
    return st;
}

static void had_turn(struct pq_quic_stream *st)
{
    if (pq_list_empty(&st->turn))
        return;
    if (!pq_quic_has_work(st)) {
        pq_list_remove(&st->turn);
        st->served = false;
        st->budget = 0;
    } else if (!st->budget) {
        pq_list_remove(&st->turn);
        pq_list_push(&st->q->turn, &st->turn);
    }
}

/* Either the peer's window for this stream is used up, or the one of the connection. */
static void is_blocked(struct pq_quic_stream *st)
{
    struct pq_quic *q = st->q;
    pq_list_remove(&st->turn);
    st->blocked = !ngtcp2_conn_get_max_stream_data_left(q->conn, st->id);
    if (!st->blocked)
        pq_list_push(&q->starved, &st->turn);
}

static void feed_starved(struct pq_quic *q)
{
    if (pq_list_empty(&q->starved) || !ngtcp2_conn_get_max_data_left(q->conn))
        return;
    struct pq_list *n;
    while ((n = pq_list_pop(&q->starved)))
        pq_list_push(&q->turn, n);
}

/* ---- a packet */

struct packet {
    uint8_t *buf;
    size_t cap;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    bool begun; /* it has frames and may have more */
};

enum step { AGAIN, DONE };

/* Of what comes before a gate the half in a packet, then the rest: who gets two packets
 * acknowledges them at once. */
static size_t cut(struct pq_quic_stream *st, ngtcp2_vec *v, size_t *count)
{
    const size_t most = st->split || st->before < 2 ? st->before : st->before / 2;
    size_t bytes = 0, i = 0;
    st->split = true;
    for (; i < *count && bytes < most; i++) {
        v[i].len = v[i].len < most - bytes ? v[i].len : most - bytes;
        bytes += v[i].len;
    }
    *count = i;
    return bytes;
}

/* What the packet may take: pieces of several chunks, or one chunk.  Returns how many bytes. */
static size_t gather(struct pq_quic_stream *st, const struct packet *k, ngtcp2_vec *v,
                     size_t *count)
{
    const size_t most = st->apart ? 1 : VECS;
    size_t bytes = 0, at = st->next_at;
    *count = 0;
    for (struct pq_chunk *c = st->next; c && *count < most && bytes < k->cap; c = c->next, at = 0) {
        v[(*count)++] = (ngtcp2_vec){pq_chunk_data(c) + at, c->len - at};
        bytes += c->len - at;
    }
    return st->gated ? cut(st, v, count) : bytes;
}

static size_t around_apart(const struct pq_quic *q)
{
    return APART_HEAD + ngtcp2_conn_get_dcid(q->conn)->datalen;
}

/* A chunk that goes apart is not cut for an MTU that is not known yet, nor for caution: perhaps its
 * packet is too long for the path. */
static bool is_long(const struct pq_quic *q, const struct packet *k,
                    const struct pq_quic_stream *st)
{
    return st->apart && !st->gated && st->next &&
           st->next->len - st->next_at + around_apart(q) > k->cap &&
           pq_mtu_whole(&q->cc.mtu) > k->cap;
}

/* Takes what of a stream fits.  *n is the length of the packet if it is DONE. */
static enum step put_stream(struct pq_quic *q, struct packet *k, struct pq_quic_stream *st,
                            ngtcp2_ssize *n)
{
    ngtcp2_vec v[VECS];
    size_t count;
    const size_t bytes = gather(st, k, v, &count);
    const bool fin = st->fin && bytes == st->unsent && !st->gated;
    const uint32_t flags = (st->gated || st->apart ? 0U : NGTCP2_WRITE_STREAM_FLAG_MORE) |
                           (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0U);
    const size_t cap = is_long(q, k, st) ? pq_mtu_whole(&q->cc.mtu) : k->cap;
    ngtcp2_ssize taken = -1;
    *n = ngtcp2_conn_writev_stream(q->conn, &k->path.path, &k->info, k->buf, cap, &taken, flags,
                                   st->id, v, count, q->now);
    if (*n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
        is_blocked(st);
        return AGAIN;
    }
    if (*n == NGTCP2_ERR_STREAM_SHUT_WR || *n == NGTCP2_ERR_STREAM_NOT_FOUND) {
        pq_quic_was_stopped(st); /* ngtcp2 tells it so only */
        if (st->user && !q->over)
            q->e->ev->stop(st->user);
        return AGAIN;
    }
    if (taken >= 0) {
        st->fin_sent = st->fin_sent || (fin && (size_t)taken == bytes);
        pq_quic_was_sent(st, (size_t)taken);
        q->caught_up = true;
        had_turn(st);
        pq_quic_keep_apart(st);
    }
    k->begun = *n == NGTCP2_ERR_WRITE_MORE;
    return k->begun ? AGAIN : DONE;
}

/* Those that were made for larger packets than there are now. */
static void drop_long(struct pq_quic *q, const struct packet *k)
{
    const size_t around = FRAME_HEAD + ngtcp2_conn_get_dcid(q->conn)->datalen;
    while (q->dgrams.n && q->dgrams.head->len + around > k->cap) {
        pq_chunk_free(pq_chunkq_pop(&q->dgrams));
        q->dgrams_lost++;
    }
}

static enum step put_datagram(struct pq_quic *q, struct packet *k, ngtcp2_ssize *n)
{
    struct pq_chunk *c = q->dgrams.head;
    const ngtcp2_vec v = {pq_chunk_data(c), c->len};
    int accepted = 0;
    *n = ngtcp2_conn_writev_datagram(q->conn, &k->path.path, &k->info, k->buf, k->cap, &accepted,
                                     NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0, &v, 1, q->now);
    const bool never = *n == NGTCP2_ERR_INVALID_STATE || *n == NGTCP2_ERR_INVALID_ARGUMENT;
    if (accepted || never) {
        pq_chunk_free(pq_chunkq_pop(&q->dgrams));
        q->dgrams_lost += never;
        q->dgram_turn = false;
    }
    k->begun = *n == NGTCP2_ERR_WRITE_MORE;
    return k->begun || never ? AGAIN : DONE;
}

/* What was lost must not go in a long packet, and goes before all else.  0: none of it is left. */
static ngtcp2_ssize put_lost(struct pq_quic *q, struct packet *k)
{
    return ngtcp2_conn_write_pkt(q->conn, &k->path.path, &k->info, k->buf, k->cap, q->now);
}

static ngtcp2_ssize fill(struct pq_quic *q, struct packet *k)
{
    ngtcp2_ssize n = 0;
    drop_long(q, k);
    for (;;) {
        struct pq_quic_stream *st = next_stream(q);
        if (st && st->unsent && pq_quic_is_spread(st)) {
            pq_list_remove(&st->turn);
            st->spread = true; /* until more of it is acknowledged */
            q->n_spread++;
            continue;
        }
        const bool datagram = q->dgrams.n && (q->dgram_turn || !st);
        if (!datagram && (!st || (st->apart && k->begun))) /* which begins a packet */
            break;
        if (!datagram && is_long(q, k, st) && !q->caught_up && (n = put_lost(q, k)))
            return n;
        if (!datagram)
            q->dgram_turn = true; /* one frame each */
        if ((datagram ? put_datagram(q, k, &n) : put_stream(q, k, st, &n)) == DONE)
            return n;
    }
    return put_lost(q, k); /* and acknowledgements */
}

/* ---- before all is ready */

static bool sealed(const struct pq_quic *q)
{
    return !q->plain && !q->confirmed;
}

/* ---- probes of the path's MTU [13.9] */

/* A DATAGRAM frame of padding, towards who knows that it is.  0: something else has to go first. */
static ngtcp2_ssize put_padding(struct pq_quic *q, struct packet *k)
{
    static uint8_t padding[PQ_QUIC_SIZE_MAX] = PQ_QUIC_PADDING;
    const size_t shorter = q->cc.number_len ? NUMBER_MAX - q->cc.number_len : 0;
    const size_t around = FRAME_HEAD - shorter + ngtcp2_conn_get_dcid(q->conn)->datalen;
    const ngtcp2_vec v = {padding, k->cap - around};
    int accepted = 0;
    return ngtcp2_conn_writev_datagram(q->conn, &k->path.path, &k->info, k->buf, k->cap, &accepted,
                                       NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &v, 1, q->now);
}

/* Bytes that the next packet is to have as a probe, or 0.  Of a client that may be elsewhere it is
 * not known yet that he is there. */
static uint16_t probe_size(struct pq_quic *q)
{
    return sealed(q) || !pq_quic_is_proven(q) ? 0 : pq_mtu_probe(&q->cc.mtu, q->now);
}

static ngtcp2_ssize put_probe(struct pq_quic *q, struct packet *k, size_t size)
{
    const size_t cap = k->cap;
    k->cap = size;
    const ngtcp2_ssize n = q->plain ? fill(q, k) : put_padding(q, k);
    k->cap = cap;
    return n;
}

/* Towards others a probe carries what goes anyway, if there is so much.  What was lost before must
 * not go with one, and ngtcp2 puts it into whatever packet is next: a probe waits until none of it
 * is left. */
static ngtcp2_ssize fill_or_probe(struct pq_quic *q, struct packet *k)
{
    const uint16_t size = probe_size(q);
    ngtcp2_ssize n = size && q->caught_up ? put_probe(q, k, size) : 0;
    n = n ? n : fill(q, k);
    return n || !size || q->caught_up ? n : put_probe(q, k, size);
}

/* ---- what goes out */

static void keep_first(struct pq_quic *q, const uint8_t *p, size_t n)
{
    q->first_flight = malloc(n); /* NULL: it goes nowhere else */
    q->first_len = n;
    if (q->first_flight)
        memcpy(q->first_flight, p, n);
}

static size_t seal(struct pq_quic *q, uint8_t *p, size_t n)
{
    struct pq_quic_end *e = q->e;
    const uint64_t stamp = e->conf.client ? e->ev->wall(e->ctx) : 0;
    if (n > (size_t)e->conf.size - PQ_QUIC_SEAL || q->set == PQ_QUIC_KEYS)
        return 0;
    return pq_quic_seal_put(&e->set[q->set].tx, p, n, e->conf.client ? &stamp : NULL, e->rng);
}

static size_t first_again(struct pq_quic *q, uint8_t *buf, struct pq_quic_path *path)
{
    q->flight_owed = false;
    memcpy(buf, q->first_flight, q->first_len);
    pq_quic_from_raw(q->e, path, &q->alias);
    return seal(q, buf, q->first_len);
}

void pq_quic_vary_keepalive(struct pq_quic *q)
{
    const pq_ns most = q->e->conf.keepalive;
    if (!most || q->now < q->vary_at)
        return;
    const uint64_t mine = pq_hash_bytes(q->odcid.data, sizeof q->odcid.data, q->e->hash_seed);
    q->alive = most - pq_hash_bytes(&q->now, sizeof q->now, mine) % (most / 2 + 1);
    q->vary_at = q->now + most / 2;
    ngtcp2_conn_set_keep_alive_timeout(q->conn, q->alive);
}

static size_t finish(struct pq_quic *q, struct packet *k, size_t n, struct pq_quic_path *path)
{
    struct quic_raw_path raw;
    pq_quic_path_of(&raw, &k->path.path);
    q->held = q->held && !(q->asks && pq_quic_is_away(q, &raw));
    pq_quic_shown(q, &raw);
    pq_quic_from_raw(q->e, path, &raw);
    if (q->e->conf.client && !q->plain && !q->asked)
        keep_first(q, k->buf, n);
    if (!q->ready && !q->asked)
        q->asked = q->now;
    pq_quic_vary_keepalive(q);
    if (q->plain || !(k->buf[0] & 0x80))
        return n;
    return seal(q, k->buf, n);
}

static ngtcp2_ssize write_close(struct pq_quic *q, struct packet *k)
{
    q->gone = true;
    q->close_owed = false;
    return ngtcp2_conn_write_connection_close(q->conn, &k->path.path, &k->info, k->buf, k->cap,
                                              &q->error, q->now);
}

/* Streams before the handshake is done: a client's have so much room, a server's what congestion
 * control and the bytes that came from there leave (RFC 9000 8.1). */
static bool writes_early(const struct pq_quic *q)
{
    if (q->ready || !q->early)
        return false;
    return q->e->conf.client ? pq_quic_early_has_room(q)
                             : !q->driven || quic_cc_may_send(&q->cc, q->now);
}

/* What was lost does not wait, nor what else is to go; and others may count on what fits beside no
 * acknowledgement: datagrams in family A's streams, of which each is to come in one packet. */
static bool waits_for_answer(const struct pq_quic *q)
{
    return q->driven && !q->plain && q->ready && q->caught_up && !q->ping && !q->dgrams.n &&
           pq_list_empty(&q->fresh) && pq_list_empty(&q->turn) && quic_cc_ack_waits(&q->cc, q->now);
}

static ngtcp2_ssize write_packet(struct pq_quic *q, struct packet *k)
{
    if (q->close_owed)
        return write_close(q, k);
    if (waits_for_answer(q))
        return 0;
    const bool open = !q->driven || !q->ready || q->ping || quic_cc_may_send(&q->cc, q->now);
    if (open && q->ready)
        return fill_or_probe(q, k);
    if (writes_early(q))
        return fill(q, k);
    if (!open && !q->cc.ack_due)
        return 0;
    q->cc.ack_due = false; /* acknowledgements do not wait for our window */
    return ngtcp2_conn_write_pkt(q->conn, &k->path.path, &k->info, k->buf, k->cap, q->now);
}

/* If nothing else asks for an acknowledgement, a PING does: that of a keepalive, which is due. */
static ngtcp2_ssize write_with_ping(struct pq_quic *q, struct packet *k)
{
    const uint64_t before = q->cc.sent;
    ngtcp2_conn_set_keep_alive_timeout(q->conn, 1);
    const ngtcp2_ssize n = write_packet(q, k);
    ngtcp2_conn_set_keep_alive_timeout(q->conn, q->alive);
    q->ping = q->cc.sent == before;
    return n;
}

size_t pq_quic_pull(struct pq_quic *q, uint8_t *buf, struct pq_quic_path *path, pq_ns now)
{
    q->now = now;
    if (q->gone)
        return 0;
    if (q->confirmed && q->tls && !pq_quic_early_waits(q))
        pq_quic_tls_free(q); /* of no use any more, and large */
    if (q->flight_owed && q->first_flight)
        return first_again(q, buf, path);
    struct packet k = {.buf = buf, .cap = pq_mtu_cap(&q->cc.mtu)};
    ngtcp2_path_storage_zero(&k.path);
    quic_cc_report(&q->cc, now);
    pq_quic_enter(q, now);
    if (q->ticket_owed)
        pq_quic_early_give(q);
    if ((q->ready || q->early) && !q->close_owed) {
        pq_quic_bind(q);
        pq_quic_open_gates(q);
        feed_starved(q);
    }
    const bool closing = q->close_owed;
    const ngtcp2_ssize n = q->ping ? write_with_ping(q, &k) : write_packet(q, &k);
    pq_quic_leave(q);
    pq_mtu_pulled(&q->cc.mtu);
    if (n > 0)
        return finish(q, &k, (size_t)n, path);
    if (n < 0 && !closing)
        pq_quic_fail(q, (int)n);
    else if (!n && q->driven && q->ready && !q->n_spread)
        quic_cc_stopped(&q->cc, now);
    return 0;
}

/* ---- datagrams of the user */

size_t pq_quic_apart_max(const struct pq_quic *q)
{
    const size_t seal = sealed(q) ? PQ_QUIC_SEAL : 0;
    return pq_mtu_whole(&q->cc.mtu) - seal - around_apart(q);
}

size_t pq_quic_datagram_max(const struct pq_quic *q)
{
    if (!q->ready)
        return 0;
    const ngtcp2_transport_params *p = ngtcp2_conn_get_remote_transport_params(q->conn);
    const size_t id = ngtcp2_conn_get_dcid(q->conn)->datalen;
    const uint64_t most = (uint64_t)q->cc.mtu.size - FRAME_HEAD - id;
    if (!p || p->max_datagram_frame_size < 4)
        return 0;
    return most < p->max_datagram_frame_size - 3 ? most : p->max_datagram_frame_size - 3;
}

int pq_quic_datagram(struct pq_quic *q, struct pq_chunk *c)
{
    int r = 0;
    if (q->over)
        r = PQ_ECLOSED;
    else if (c->len > pq_quic_datagram_max(q))
        r = PQ_EINVAL;
    else if (q->dgrams.n >= PQ_QUIC_DGRAMS_MAX)
        r = PQ_EAGAIN;
    if (r)
        pq_chunk_free(c);
    else
        pq_chunkq_push(&q->dgrams, c);
    q->dgrams_lost += r == PQ_EAGAIN;
    return r;
}
