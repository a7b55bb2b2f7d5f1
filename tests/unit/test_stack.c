/* SPDX-License-Identifier: MIT */
/* test_stack.c - the frames of both programs (packets.json) through all cores: segment, cipher,
 * KCP, smux, stream header.  Each direction is received on its own. */
#include "crypt/crypt.h"
#include "header/header.h"
#include "kcp/kcp.h"
#include "smux/smux.h"
#include "smux/smux_internal.h"
#include "unit.h"
#include "vectors.h"
#include "wire/segment.h"

#define STREAMS_MAX 64

struct rx { /* the bytes of one stream */
    uint32_t id;
    uint8_t *p;
    size_t n;
    bool fin;
};

struct side { /* the receiver of one direction */
    struct pq_pool blocks;
    struct pq_chunks chunks;
    struct pq_crypt *crypt;
    struct pq_kcp *kcp;
    struct pq_smux *smux;
    bool client; /* it plays the client: the direction is s2c */
    struct rx rx[STREAMS_MAX];
    size_t n_rx;
    size_t fec_parity;
};

static void *on_open(void *ctx, struct pq_smux_stream *st)
{
    struct side *d = ctx;
    assert_true(d->n_rx < STREAMS_MAX);
    struct rx *r = &d->rx[d->n_rx++];
    r->id = pq_smux_stream_id(st);
    return r;
}

static void on_bytes(void *user, struct pq_view v, bool last)
{
    struct rx *r = user;
    (void)last;
    r->p = realloc(r->p, r->n + v.n);
    memcpy(r->p + r->n, v.p, v.n);
    r->n += v.n;
}

static void on_room(void *user)
{
    (void)user;
}

static void on_fin(void *user)
{
    ((struct rx *)user)->fin = true;
}

static void on_flush(void *user)
{
    (void)user;
}

static const struct pq_smux_events events = {
    .open = on_open, .data = on_bytes, .room = on_room, .flush = on_flush, .fin = on_fin};

static bool on_data(void *ctx, struct pq_view v)
{
    struct side *d = ctx;
    assert_int_equal(pq_smux_input(d->smux, v), 1);
    return true;
}

static void side_init(struct side *d, enum pq_cipher cipher, const uint8_t *key, bool client)
{
    const struct pq_smux_conf sc = {.client = client,
                                    .session_buf = 4 << 20,
                                    .stream_buf = 2 << 20,
                                    .max_streams = STREAMS_MAX,
                                    .keepalive = PQ_SEC,
                                    .timeout = 8 * PQ_SEC};
    *d = (struct side){.client = client};
    pq_pool_init(&d->blocks, PQ_KCP_BLOCK_LEN, 0, 4);
    pq_chunks_init(&d->chunks, 8 << 20);
    assert_int_equal(pq_crypt_new(&d->crypt, cipher, key), 0);
    assert_int_equal(pq_smux_new(&d->smux, &sc, &events, d, &d->chunks, 0), 0);
    for (uint32_t i = 0; client && i < 32; i++) { /* what the peer may answer on */
        struct rx *r = &d->rx[d->n_rx++];
        struct pq_smux_stream *st = pq_smux_open(d->smux, r);
        r->id = pq_smux_stream_id(st);
        st->sent = 1 << 20; /* its UPD tell of bytes that the recorded client sent */
    }
    for (struct pq_chunk *c; (c = pq_smux_pull(d->smux));) /* as if the peer had been told */
        pq_chunk_free(c);
}

static void side_fini(struct side *d)
{
    pq_smux_free(&d->smux);
    pq_kcp_free(&d->kcp);
    pq_crypt_free(&d->crypt);
    assert_int_equal(d->blocks.used + d->chunks.small.used + d->chunks.big.used, 0);
    pq_pool_fini(&d->blocks);
    pq_chunks_fini(&d->chunks);
    for (size_t i = 0; i < d->n_rx; i++)
        free(d->rx[i].p);
}

static void kcp_start(struct side *d, struct pq_view inner)
{
    const struct pq_kcp_mem mem = {&d->blocks, &d->chunks};
    struct pq_kcp_conf kc = {.snd_wnd = 1, .rcv_wnd = 4096, .mtu = 1330, .interval = 10 * PQ_MS};
    bool push;
    uint32_t sn;
    assert_true(pq_kcp_peek(inner, &kc.conv, &push, &sn));
    assert_int_equal(pq_kcp_new(&d->kcp, &kc, &mem, on_data, d), 0);
}

static void take_frame(struct side *d, const json_t *frame, bool fec)
{
    size_t n;
    uint8_t *p = vec_bytes(frame, "hex", &n), ack[1500];
    struct pq_segment s;
    struct pq_view inner;
    pq_ns now = PQ_SEC + (pq_ns)(json_number_value(vec_get(frame, "ms")) * 1e6);
    assert_int_equal(pq_segment_parse(&s, p, n, 14), PQ_DROP_NONE);
    assert_int_equal(pq_crypt_open(d->crypt, s.data, s.len, &inner), PQ_DROP_NONE);
    assert_true(inner.n >= 24);
    unsigned type = pq_le16(inner.p + 4); /* [2.4] */
    assert_int_equal(type == 0xf1 || type == 0xf2, fec);
    if (type == 0xf2) {
        d->fec_parity++;
    } else {
        if (type == 0xf1) {
            assert_int_equal(pq_le16(inner.p + 6), inner.n - 6);
            inner = (struct pq_view){inner.p + 8, inner.n - 8};
        }
        if (!d->kcp)
            kcp_start(d, inner);
        assert_int_equal(pq_kcp_input(d->kcp, inner, true, now), PQ_DROP_NONE);
        pq_kcp_rx_done(d->kcp);
        while (pq_kcp_pull(d->kcp, ack, sizeof ack, now))
            continue;
    }
    free(p);
}

/* Which requests the client of a set made. */
struct seen {
    unsigned tcpf, tcp, udp, tun, empty;
};

static void check_header(const struct rx *r, enum pq_family want, struct seen *seen)
{
    struct pq_request q;
    enum pq_family family;
    size_t used;
    if (!r->n) { /* the liveness check: SYN, then FIN [6] */
        seen->empty++;
        return;
    }
    assert_int_equal(pq_header_decode(r->p, r->n, &q, &family, &used), 0);
    assert_int_equal(family, want);
    if (q.type == PQ_REQ_TCPF) {
        assert_true(q.flags.n >= 1);
        assert_int_equal(used, r->n);
        seen->tcpf++;
    } else if (q.type == PQ_REQ_TCP) {
        assert_string_equal(q.host, "127.0.0.1");
        assert_int_equal(q.port, 8080);
        assert_memory_equal(r->p + used, "GET ", 4);
        seen->tcp++;
    } else if (q.type == PQ_REQ_UDP) {
        assert_string_equal(q.host, "127.0.0.1");
        assert_int_equal(q.port, 5353);
        seen->udp++;
    } else {
        assert_int_equal(q.type, PQ_REQ_TUN);
        seen->tun++;
    }
    uint8_t again[PQ_HEADER_MAX]; /* our encoding is theirs [6] */
    assert_int_equal(pq_header_encode(family, &q, again, sizeof again), used);
    assert_memory_equal(again, r->p, used);
}

/* The 3000 bytes 'Z' of the HTTP answer, and an answer to a datagram. */
static void check_answers(const struct side *d, const struct seen *seen)
{
    unsigned web = 0, echo = 0;
    for (size_t i = 0; i < d->n_rx; i++) {
        const struct rx *r = &d->rx[i];
        if (r->n > 3000 && memcmp(r->p, "HTTP/", 5) == 0) {
            for (size_t k = r->n - 3000; k < r->n; k++)
                assert_int_equal(r->p[k], 'Z');
            web++;
        }
        echo += r->n > 5 && memcmp(r->p, "echo:", 5) == 0;
    }
    assert_int_equal(web, seen->tcp);
    assert_int_equal(echo, seen->udp);
}

static enum pq_cipher cipher_of(const char *what)
{
    static const char *const names[] = {"aes-128-gcm", "aes", "none", "null"};
    enum pq_cipher id = PQ_CIPHER_NULL;
    const char *block = strstr(what, "block ");
    assert_non_null(block);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strncmp(block + 6, names[i], strlen(names[i])) == 0) {
            assert_int_equal(pq_cipher_from_name(names[i], &id), 0);
            return id;
        }
    }
    fail_msg("no cipher in \"%s\"", what);
    return id;
}

static void play_set(const json_t *set, const uint8_t *key)
{
    const char *name = vec_str(set, "name"), *what = vec_str(set, "what");
    bool a = strcmp(vec_str(set, "family"), "A") == 0, fec = strstr(what, "dshard") != NULL;
    struct side *up = calloc(2, sizeof *up), *down = up + 1;
    struct seen seen = {0};
    size_t i;
    json_t *frame;
    side_init(up, cipher_of(what), key, false);
    side_init(down, cipher_of(what), key, true);
    json_array_foreach(vec_get(set, "frames"), i, frame)
        take_frame(strcmp(vec_str(frame, "dir"), "c2s") == 0 ? up : down, frame, fec);
    for (i = 0; i < up->n_rx; i++)
        check_header(&up->rx[i], a ? PQ_FAMILY_GOB : PQ_FAMILY_BINARY, &seen);
    assert_int_equal(up->rx[0].id, 3); /* [5.2] */
    assert_true(seen.tcpf >= 1);
    if (strcmp(name, "a-tun") == 0)
        assert_int_equal(seen.tun, 1);
    else
        assert_true(seen.tcp >= 1);
    check_answers(down, &seen);
    printf("%s: %u TCPF, %u TCP, %u UDP, %u TUN, %u empty, %zu parity\n", name, seen.tcpf, seen.tcp,
           seen.udp, seen.tun, seen.empty, up->fec_parity + down->fec_parity);
    side_fini(up);
    side_fini(down);
    free(up);
}

static void packets(void **state)
{
    (void)state;
    json_t *root = vec_load("packets.json"), *set;
    uint8_t key[PQ_KEY_LEN];
    size_t i, played = 0;
    assert_int_equal(pq_crypt_derive(vec_str(root, "passphrase"), key), 0);
    json_array_foreach(vec_get(root, "sets"), i, set)
    {
        if (strncmp(vec_str(set, "what"), "quic", 4) == 0)
            continue;
        play_set(set, key);
        played++;
    }
    assert_int_equal(played, 11);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest stack[] = {
        cmocka_unit_test(packets),
    };
    if (pq_crypt_global_init())
        return 1;
    return ut_run(stack);
}
