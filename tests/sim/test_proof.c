/* SPDX-License-Identifier: MIT */
/* test_proof.c - what a recording can do: a session serves nothing and answers with no more bytes
 * than it got until its peer has echoed a time stamp of it [4.9]. */
#include "crypt/crc32.h"
#include "world.h"

#define KEPT_MAX 400

static struct {
    uint8_t *p[KEPT_MAX];
    size_t len[KEPT_MAX];
    size_t n;
} kept; /* frames of the client */

static bool keep(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (from == CLIENT && kept.n < KEPT_MAX) {
        kept.p[kept.n] = ut_exact(k->p, k->len);
        kept.len[kept.n++] = k->len;
    }
    return true;
}

static void forget(void)
{
    while (kept.n)
        free(kept.p[--kept.n]);
}

/* A whole session, recorded from its start. */
static struct world *recorded(const char *name)
{
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed(name));
    w->tap = keep;
    world_open(w, 50000, 300000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_check(w);
    assert_int_equal(w->end[SERVER].proven, 1);
    assert_true(kept.n > 30);
    w->tap = NULL;
    return w;
}

/* TCP payload of a frame without SYN. */
static size_t payload(size_t len)
{
    return len - 14 - 20 - 32;
}

/* A server that was restarted knows of no recording, yet serves none: not from the old address and
 * not from others, however often. */
static void after_restart(void **state)
{
    (void)state;
    struct world *w = recorded("recording after a restart");
    world_restart_server(w);
    pq_session_end(w->ses, PQ_ECLOSED);
    link_fini(&w->end[SERVER].out);
    w->end[SERVER].packets = 0;
    const uint64_t tx = pq_hub_stats(w->end[SERVER].hub)->tx_bytes;
    uint64_t rx = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < kept.n; i++) {
            world_inject(w, SERVER, kept.p[i], kept.len[i], 0);
            rx += payload(kept.len[i]);
            world_run(w, w->now + PQ_MS, NULL);
            assert_true(pq_hub_stats(w->end[SERVER].hub)->tx_bytes - tx <= rx);
        }
        for (size_t i = 0; i < kept.n; i++)
            pq_put_be16(kept.p[i] + 14 + 20, (uint16_t)(50000 + round)); /* another port */
    }
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_true(pq_hub_stats(w->end[SERVER].hub)->tx_bytes - tx <= rx);
    assert_true(w->end[SERVER].accepts > 0);
    assert_int_equal(w->end[SERVER].proven, 0);
    assert_int_equal(w->end[SERVER].streams, 0);
    assert_int_equal(w->end[SERVER].ended, 0);
    assert_int_equal(pq_hub_half_open(w->end[SERVER].hub), 0); /* gone again */
    assert_int_equal(world_chunk_bytes(&w->end[SERVER]), 0);
    world_free(w);
    forget();
}

/* An old recording from the address of a living session ends it not, and holds it up not. */
static void beside_a_living_one(void **state)
{
    (void)state;
    struct world *w = recorded("recording beside a living session");
    world_restart_server(w);
    pq_session_end(w->ses, PQ_ECLOSED);
    memset(w->half, 0, sizeof w->half);
    w->pairs = 0;
    world_connect(w, 40000);
    world_open(w, 1000, 20 << 20);
    world_run(w, w->now + 300 * PQ_MS, NULL);
    for (size_t i = 0; i < kept.n; i++) {
        world_inject(w, SERVER, kept.p[i], kept.len[i], 0);
        world_run(w, w->now + 2 * PQ_MS, NULL);
    }
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    world_check(w);
    assert_int_equal(w->end[SERVER].accepts, 2);
    assert_int_equal(w->end[SERVER].proven, 1);
    world_free(w);
    forget();
}

/* First datagrams without end, each new: 256 wait at most, little memory, and no more is answered
 * than came.  Afterwards a client gets in at once. */
static void flood(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[CLIENT].cipher = c.hub[SERVER].cipher = PQ_CIPHER_NONE;
    struct world *w = world_new(&c, ut_seed("flood"));
    w->tap = keep;
    world_open(w, 10, 0);
    world_run(w, w->now + 21 * PQ_MS, NULL);
    w->tap = NULL;
    assert_true(kept.n >= 1);
    uint64_t rx = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        uint8_t *p = kept.p[0], *tcp = p + 14 + 20, *inner = tcp + 32 + 20;
        pq_put_be32(p + 14 + 12, 0x0a000000 + i); /* from everywhere */
        pq_put_le32(inner, i);                    /* conv */
        pq_put_le32(inner - 4, pq_crc32(inner, payload(kept.len[0]) - 20));
        world_inject(w, SERVER, p, kept.len[0], 0);
        rx += payload(kept.len[0]);
        assert_in_range(pq_hub_half_open(w->end[SERVER].hub), 1, 256);
    }
    assert_true(w->end[SERVER].accepts > 19000);
    assert_true(pq_hub_stats(w->end[SERVER].hub)->tx_bytes <= rx + 100);
    assert_true(w->end[SERVER].chunks_high < (size_t)2 << 20);
    world_connect(w, 40001); /* the first one's place was taken */
    w->sloppy = true;        /* its stream is not the first one that the test opened */
    world_open(w, 10, 0);
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].proven, 1);
    world_run(w, w->now + 12 * PQ_SEC, NULL);
    assert_int_equal(pq_hub_half_open(w->end[SERVER].hub), 0);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    world_free(w);
    forget();
}

/* ---- datagrams that are made of a recording [4.9]: under CFB a block of text that is known gives
 * the key stream behind the block before it, and the CRC is made right by four bytes that are free
 */

#define BLOCK 16
#define HEAD  20 /* nonce and CRC */

/* Fills in una so that the CRC-32 of the n bytes is `want`: it is affine in each bit. */
static void make_right(uint8_t *inner, size_t n, uint32_t want)
{
    uint32_t row[32], bit[32];
    pq_put_le32(inner + 16, 0);
    const uint32_t none = pq_crc32(inner, n);
    uint32_t left = none ^ want, una = 0;
    for (unsigned i = 0; i < 32; i++) {
        pq_put_le32(inner + 16, UINT32_C(1) << i);
        row[i] = pq_crc32(inner, n) ^ none;
        bit[i] = UINT32_C(1) << i;
    }
    for (unsigned top = 32, used = 0; top-- > 0; used++) {
        unsigned k = used;
        while (k < 31 && !(row[k] >> top & 1))
            k++;
        assert_true(row[k] >> top & 1);
        const uint32_t r = row[k], b = bit[k];
        row[k] = row[used];
        bit[k] = bit[used];
        for (unsigned j = used + 1; j < 32; j++) {
            bit[j] ^= row[j] >> top & 1 ? b : 0;
            row[j] ^= row[j] >> top & 1 ? r : 0;
        }
        una ^= left >> top & 1 ? b : 0;
        left ^= left >> top & 1 ? r : 0;
    }
    pq_put_le32(inner + 16, una);
    assert_true(pq_crc32(inner, n) == want);
}

/* Segment `sn` with four bytes of his own, in the conversation of the first frame that was
 * recorded, whose text he knows.  Returns the bytes of the frame. */
static size_t forge(const uint8_t *text, uint32_t sn, const uint8_t four[4], uint8_t *frame)
{
    const size_t at = (size_t)14 + 20 + 32;
    const uint8_t *like = kept.p[0];
    uint8_t inner[28], *p = frame + at;
    memcpy(inner, text + HEAD, 12);
    pq_put_le32(inner + 12, sn);
    pq_put_le32(inner + 20, 4);
    memcpy(inner + 24, four, 4);
    make_right(inner, sizeof inner, pq_le32(text + BLOCK));
    memcpy(frame, like, at + (size_t)2 * BLOCK);
    for (unsigned i = 0; i < BLOCK; i++)
        p[2 * BLOCK + i] = like[at + (size_t)2 * BLOCK + i] ^ text[2 * BLOCK + i] ^ inner[12 + i];
    const size_t n = at + (size_t)3 * BLOCK;
    pq_put_be16(frame + 14 + 2, (uint16_t)(n - 14));
    return n;
}

/* Without the key he has the server open a session, and take a stream's bytes in it; but it serves
 * nothing of it, and sends no more than it got, since he cannot read what it answers. */
static void forged_of_a_recording(void **state)
{
    (void)state;
    static const uint8_t stream[] = {2, 0, 0, 0, 3, 0, 0,   0,   2,   2,
                                     4, 0, 3, 0, 0, 0, 'm', 'i', 'n', 'e'};
    struct world *w = recorded("forged of a recording");
    const size_t at = (size_t)14 + 20 + 32;
    struct pq_crypt *own;
    struct pq_view inner;
    uint8_t text[64] = {0}, *copy = ut_exact(kept.p[0], kept.len[0]);
    assert_int_equal(pq_crypt_new(&own, PQ_CIPHER_AES, w->end[SERVER].conf.key), 0);
    assert_int_equal(pq_crypt_open(own, copy + at, kept.len[0] - at, &inner), PQ_DROP_NONE);
    pq_put_le32(text + BLOCK, pq_crc32(inner.p, inner.n));
    memcpy(text + HEAD, inner.p, sizeof text - HEAD);
    pq_crypt_free(&own);
    free(copy);
    world_restart_server(w);
    pq_session_end(w->ses, PQ_ECLOSED);
    link_fini(&w->end[SERVER].out);
    const struct pq_hub_stats *st = pq_hub_stats(w->end[SERVER].hub);
    uint64_t rx = 0;
    for (uint32_t sn = 0; sn < 5; sn++) {
        uint8_t frame[256];
        const size_t n = forge(text, sn, stream + (size_t)4 * sn, frame);
        pq_put_be16(frame + 14 + 20, 50000);
        world_make_sound(frame, n);
        world_inject(w, SERVER, frame, n, 0);
        rx += payload(n);
        world_run(w, w->now + 10 * PQ_MS, NULL);
        assert_int_equal(world_drops(&w->end[SERVER]), 0); /* all of it is taken for genuine */
        assert_true(st->tx_bytes <= rx);
    }
    assert_int_equal(w->end[SERVER].accepts, 1);
    assert_int_equal(pq_hub_half_open(w->end[SERVER].hub), 1);
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_true(st->tx_bytes <= rx);
    assert_int_equal(w->end[SERVER].proven, 0);
    assert_int_equal(w->end[SERVER].streams, 0);
    assert_int_equal(pq_hub_half_open(w->end[SERVER].hub), 0);
    world_free(w);
    forget();
}

/* ---- what this side has sent, thrown back at it */

static void turn_around(uint8_t *p)
{
    uint8_t *ip = p + 14, *tcp = ip + 20, other[4];
    memcpy(other, ip + 12, 4);
    memcpy(ip + 12, ip + 16, 4);
    memcpy(ip + 16, other, 4);
    memcpy(other, tcp, 2);
    memcpy(tcp, tcp + 2, 2);
    memcpy(tcp + 2, other, 2);
}

static bool reflecting; /* else only counted */
static unsigned reflected;

/* Gives each packet of the server to the server once more, from where it went to. */
static bool reflect(struct world *w, unsigned from, struct link_packet *k)
{
    if (from != SERVER || !reflecting)
        return true;
    uint8_t *p = ut_exact(k->p, k->len);
    turn_around(p);
    struct pq_frame f = {p, k->len, k->len, 0};
    pq_hub_input(w->end[SERVER].hub, &f, w->now);
    pq_hub_rx_end(w->end[SERVER].hub, w->now);
    free(p);
    reflected++;
    return true;
}

/* A recorded opening cannot be proven by the server's own answers, nor a living session broken by
 * them: what a side has sealed it knows again. */
static void reflection(void **state)
{
    (void)state;
    struct world *w = recorded("reflection");
    world_restart_server(w);
    pq_session_end(w->ses, PQ_ECLOSED);
    reflecting = true;
    reflected = 0;
    w->tap = reflect;
    for (size_t i = 0; i < 3; i++) {
        world_inject(w, SERVER, kept.p[i], kept.len[i], 0);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
    }
    assert_true(reflected > 0);
    assert_int_equal(w->end[SERVER].proven, 0);
    memset(w->half, 0, sizeof w->half);
    w->pairs = 0;
    world_connect(w, 40000);
    world_open(w, 1000, 3 << 20);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    world_check(w);
    assert_int_equal(w->end[SERVER].proven, 1);
    const struct pq_hub_stats *st = pq_hub_stats(w->end[SERVER].hub);
    assert_int_equal(st->drops[PQ_DROP_REFLECTED], reflected);
    w->tap = NULL;
    world_free(w);
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_restart), cmocka_unit_test(beside_a_living_one),
        cmocka_unit_test(flood),         cmocka_unit_test(forged_of_a_recording),
        cmocka_unit_test(reflection),
    };
    return ut_run(tests);
}
