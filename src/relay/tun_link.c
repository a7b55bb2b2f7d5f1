/* SPDX-License-Identifier: MIT */
#include "relay/tun_link.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX_LEN  4 /* flags, 0, gso_size LE16 [8.8] */
#define PREFIX_CSUM 1
#define BUF_SIZE    (PREFIX_LEN + PQ_TUN_PACKET_MAX)
#define SMALL_MAX   (PQ_CHUNK_SMALL / 2 - PREFIX_LEN)
#define WAITING_MAX 2048 /* chunks: such with few bytes take more memory than the room tells */

/* ---- device -> stream */

static void put_prefix(uint8_t *p, const struct pq_tun_packet *pkt)
{
    p[0] = pkt->partial_csum ? PREFIX_CSUM : 0;
    p[1] = 0;
    pq_put_le16(p + 2, pkt->gso_size);
}

static void send_small(struct pq_tun_link *l)
{
    if (!l->small)
        return;
    pq_list_remove(&l->turn);
    pq_stream_send(l->st, l->small);
    l->small = NULL;
}

void pq_tun_link_turn_over(struct pq_tun *t)
{
    while (!pq_list_empty(&t->turn))
        send_small(PQ_OF(t->turn.next, struct pq_tun_link, turn));
}

/* Small packets of one turn share a chunk: each alone would take 40 times its bytes, here and in
 * flight. */
static bool collect(struct pq_tun_link *l, const struct pq_tun_packet *pkt)
{
    struct pq_chunks *chunks = pq_stream_chunks(l->st);
    size_t n = PREFIX_LEN + pkt->n;
    if (l->small && pq_chunk_room(l->small) < n)
        send_small(l);
    if (!l->small) {
        if (!chunks || !(l->small = pq_chunk_new(chunks, n)))
            return false;
        pq_list_push(&l->tun->turn, &l->turn);
    }
    uint8_t *p = pq_chunk_data(l->small) + l->small->len;
    put_prefix(p, pkt);
    memcpy(p + PREFIX_LEN, pkt->p, pkt->n);
    l->small->len += (uint32_t)n;
    return true;
}

/* Queues the four bytes and the packet, in frames of at most one big chunk, all or nothing. */
static bool send_prefixed(struct pq_tun_link *l, const struct pq_tun_packet *pkt)
{
    struct pq_chunks *chunks = pq_stream_chunks(l->st);
    struct pq_chunkq q = {0};
    struct pq_chunk *c;
    for (size_t at = 0; at < pkt->n;) {
        size_t head = at ? 0 : PREFIX_LEN;
        size_t n = pkt->n - at < PQ_CHUNK_BIG - head ? pkt->n - at : PQ_CHUNK_BIG - head;
        if (!chunks || !(c = pq_chunk_new(chunks, head + n))) {
            pq_chunkq_clear(&q);
            return false;
        }
        uint8_t *p = pq_chunk_data(c);
        if (head)
            put_prefix(p, pkt);
        memcpy(p + head, pkt->p + at, n);
        c->len = (uint32_t)(head + n);
        at += n;
        pq_chunkq_push(&q, c);
    }
    send_small(l); /* it came before */
    while ((c = pq_chunkq_pop(&q)))
        pq_stream_send(l->st, c);
    return true;
}

/* One packet of its own, complete with its checksum. */
static bool send_whole(struct pq_tun_link *l, const uint8_t *p, size_t n)
{
    struct pq_chunks *chunks = pq_stream_chunks(l->st);
    struct pq_chunk *c = chunks && n <= PQ_CHUNK_HUGE ? pq_chunk_copy(chunks, p, n) : NULL;
    return c && pq_stream_send_datagram(l->st, c) == 0;
}

static bool send_cut(struct pq_tun_link *l, const struct pq_tun_packet *pkt)
{
    struct pq_gso g;
    size_t n;
    if (pq_gso_init(&g, pkt->p, pkt->n, pkt->gso_size))
        return false;
    bool ok = true;
    while ((n = pq_gso_next(&g, l->tun->cut, PQ_TUN_PACKET_MAX)))
        ok = send_whole(l, l->tun->cut, n) && ok;
    return ok;
}

/* The one bit of [8.8] can tell of TCP's and UDP's own checksum only: others are filled in here. */
static void fill_others(struct pq_tun_packet *pkt)
{
    if (!pkt->partial_csum || pkt->gso_size || pq_gso_can_describe(&pkt->vnet, pkt->p, pkt->n))
        return;
    pq_ip_fill_checksum(pkt->p, pkt->n, pkt->vnet.csum_start, pkt->vnet.csum_offset);
    pkt->partial_csum = false;
}

void pq_tun_link_send(struct pq_tun_link *l, struct pq_tun_packet *pkt)
{
    bool ok = l->st && pq_stream_room(l->st) && pq_stream_waiting(l->st) < WAITING_MAX;
    bool tcp = pkt->ip.proto == PQ_IPPROTO_TCP;
    fill_others(pkt);
    if (ok && l->gso && (tcp || !pq_stream_beside(l->st, pkt->n))) {
        ok = pkt->n <= SMALL_MAX ? collect(l, pkt) : send_prefixed(l, pkt);
    } else if (ok && pkt->gso_size) {
        ok = send_cut(l, pkt);
    } else if (l->st && (ok || pq_stream_beside(l->st, pkt->n))) {
        if (pkt->partial_csum)
            pq_ip_fill_checksum(pkt->p, pkt->n, pkt->vnet.csum_start, pkt->vnet.csum_offset);
        ok = send_whole(l, pkt->p, pkt->n);
    }
    l->sent += ok;
    l->dropped += !ok;
}

/* ---- stream -> device */

static void take_packet(struct pq_tun_link *l, struct pq_view v, uint16_t gso_size, bool partial)
{
    struct pq_ip ip;
    bool ok = !pq_ip_parse(&ip, v);
    if (ok && !l->accept(l, &ip))
        return;
    ok = ok && !pq_tun_write(l->tun, v.p, v.n, gso_size, partial);
    l->received += ok;
    l->bad += !ok;
}

/* Bytes of the unit (prefix and packet) that begins with these; 0 = more are needed to tell,
 * SIZE_MAX = it is none. */
static size_t unit_len(const struct pq_tun_link *l, struct pq_view v)
{
    size_t head = l->gso ? PREFIX_LEN : 0;
    if (v.n < head)
        return 0;
    size_t n = pq_ip_len((struct pq_view){v.p + head, v.n - head});
    return n == 0 || n == SIZE_MAX ? n : n > PQ_TUN_PACKET_MAX ? SIZE_MAX : head + n;
}

static void take_unit(struct pq_tun_link *l, struct pq_view v)
{
    if (l->gso)
        take_packet(l, (struct pq_view){v.p + PREFIX_LEN, v.n - PREFIX_LEN}, pq_le16(v.p + 2),
                    v.p[0] & PREFIX_CSUM);
    else
        take_packet(l, v, 0, false);
}

/* Moves bytes to the buffer until the unit in it is complete, or as many as tell how long it is.
 * Returns the bytes moved. */
static size_t fill_buf(struct pq_tun_link *l, struct pq_view v)
{
    enum { TELLS = PREFIX_LEN + 6 }; /* less than the shortest unit has */
    size_t want = unit_len(l, (struct pq_view){l->buf, l->len});
    if (want == 0)
        want = l->len + 1 > TELLS ? l->len + 1 : TELLS;
    size_t n = want - l->len < v.n ? want - l->len : v.n;
    memcpy(l->buf + l->len, v.p, n);
    l->len += n;
    return n;
}

static bool buffered(struct pq_tun_link *l, struct pq_view *v)
{
    size_t n = fill_buf(l, *v);
    *v = (struct pq_view){v->p + n, v->n - n};
    size_t want = unit_len(l, (struct pq_view){l->buf, l->len});
    if (want == SIZE_MAX)
        return false;
    if (want && l->len == want) {
        l->len = 0;
        take_unit(l, (struct pq_view){l->buf, want});
    }
    return true;
}

/* Takes the units that lie whole in the bytes; keeps the beginning of one that does not.  Returns
 * false if there is something else than packets. */
static bool take_bytes(struct pq_tun_link *l, struct pq_view v)
{
    while (v.n) {
        size_t n = l->len ? 0 : unit_len(l, v);
        if (n == SIZE_MAX)
            return false;
        if (n && n <= v.n) {
            take_unit(l, (struct pq_view){v.p, n});
            v = (struct pq_view){v.p + n, v.n - n};
            continue;
        }
        if (!l->buf && !(l->buf = malloc(BUF_SIZE)))
            return false;
        if (!buffered(l, &v))
            return false;
    }
    return true;
}

void pq_tun_link_feed(struct pq_tun_link *l, struct pq_view v, bool last)
{
    if (!l->skip && !take_bytes(l, v)) {
        l->bad++;
        l->len = 0;
        l->skip = true;
    }
    if (l->skip && l->gso) {
        l->over(l); /* where the next packet begins cannot be known */
        return;
    }
    if (last)
        l->skip = false; /* Go peers send whole packets in each frame */
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct pq_tun_link *l = ctx;
    pq_stream_consumed(l->st, v.n);
    pq_tun_link_feed(l, v, last);
}

static void on_datagram(void *ctx, struct pq_view v)
{
    take_packet(ctx, v, 0, false);
}

static void on_flush(void *ctx)
{
    (void)ctx;
}

static void on_room(void *ctx)
{
    struct pq_tun_link *l = ctx;
    if (l->room)
        l->room(l);
}

static void on_end(void *ctx, int err)
{
    struct pq_tun_link *l = ctx;
    (void)err;
    l->over(l);
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0);
}

const struct pq_stream_events pq_tun_link_events = {on_data, on_flush, on_room,
                                                    on_end,  on_eof,   on_datagram};

void pq_tun_link_begin(struct pq_tun_link *l)
{
    l->gso = pq_stream_abilities(l->st) & PQ_ABLE_TUN_GSO;
    pq_list_init(&l->turn);
    pq_stream_set_datagrams(l->st, PQ_CHUNK_HUGE);
}

void pq_tun_link_close(struct pq_tun_link *l)
{
    if (l->st) {
        PQ_LOG(PQ_LOG_DEBUG,
               "TUN: %llu packets to the peer, %llu more dropped for want of room; %llu from it, "
               "%llu of them malformed",
               (unsigned long long)l->sent, (unsigned long long)l->dropped,
               (unsigned long long)l->received, (unsigned long long)l->bad);
        pq_stream_abort(l->st);
    }
    l->st = NULL;
    if (l->small)
        pq_list_remove(&l->turn);
    pq_chunk_free(l->small);
    l->small = NULL;
    free(l->buf);
    l->buf = NULL;
    l->len = 0;
    l->skip = false;
}
