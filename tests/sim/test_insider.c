/* SPDX-License-Identifier: MIT */
/* test_insider.c - what a user can do with his own key and a raw socket who also has K: name the
 * session of somebody else, or lie in what his own session says [12.4] [12.8] [12.11].  It is
 * counted, it is answered with less than came, nothing grows, and nobody else notices. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define OTHERS_PORT 40000
#define OWN_PORT    40001
#define EACH        1000

static uint8_t secret[2][32] = {{7, 8, 9}, {10, 11, 12}}, users[2][32];
static struct pq_shake *shake[2];
static struct link_packet *sample; /* a frame of the insider's */
static uint64_t answered;          /* bytes of frames to him */

static bool look(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *tcp = k->p + 14 + 20;
    if (from == CLIENT && !sample && pq_be16(tcp) == OWN_PORT)
        sample = link_packet_new(k->p, k->len);
    if (from == SERVER && pq_be16(tcp + 2) == OWN_PORT)
        answered += k->len;
    return true;
}

static struct pq_session *come(struct world *w, unsigned user, uint16_t port)
{
    w->end[CLIENT].hub->ring[0].shake = shake[user];
    world_connect(w, port);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(pq_session_secure(w->ses));
    return w->ses;
}

/* A session of the first user. */
static struct world *begin(const char *name, struct pq_session **others)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pq_x25519_public(secret[i], users[i]), 0);
        c.link[i].rate = 12500000 / UT_LESS;
        c.link[i].queue = c.link[i].rate / 10;
        c.hub[i].smux.timeout = 3600 * PQ_SEC;
    }
    c.hub[CLIENT].own.secret = secret[0];
    c.hub[SERVER].own.users = (const uint8_t(*)[32])users;
    c.hub[SERVER].own.n = 2;
    struct world *w = world_new(&c, ut_seed(name));
    struct pq_ring *ring = &w->end[CLIENT].hub->ring[0];
    const struct pq_shake_conf other = {
        .client = true, .key = ring->key, .own_secret = secret[1], .rng = &w->end[CLIENT].rng};
    shake[0] = ring->shake;
    assert_int_equal(pq_shake_new(&shake[1], &other), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(pq_session_secure(w->ses));
    *others = w->ses;
    w->tap = look;
    return w;
}

static void finish(struct world *w)
{
    w->end[CLIENT].hub->ring[0].shake = shake[0];
    pq_shake_free(&shake[1]);
    w->sloppy = true;
    world_free(w);
    link_packet_free(sample);
    sample = NULL;
}

/* A datagram from `port`, with any id under any mask, sealed by the keys of s.  Returns its bytes
 * on the wire. */
static size_t forge(struct world *w, struct pq_session *s, uint16_t port, struct pq_mask *mask,
                    uint32_t id, const uint8_t *inner, size_t n)
{
    uint8_t frame[2048];
    const size_t head = (size_t)14 + 20 + (size_t)(sample->p[14 + 20 + 12] >> 4) * 4;
    const struct pq_span span = {frame + head, PQ_SEAL_HEAD + n + PQ_SEAL_TAIL};
    memcpy(frame, sample->p, head);
    memcpy(frame + head + PQ_SEAL_HEAD, inner, n);
    pq_put_be16(frame + 14 + 2, (uint16_t)(head - 14 + span.n));
    pq_put_be16(frame + 14 + 20, port);
    pq_seal_put(s->sec->cur.tx, mask, id, &span, 1);
    world_make_sound(frame, head + span.n);
    world_inject(w, SERVER, frame, head + span.n, 0);
    return head + span.n;
}

/* ---- the id of somebody else's session */

static void ids_of_others(void **state)
{
    (void)state;
    static const uint16_t ports[] = {OWN_PORT, OTHERS_PORT, 45000};
    struct pq_session *others, *own;
    struct world *w = begin("ids of others", &others);
    struct pq_hub *h = w->end[SERVER].hub;
    own = come(w, 1, OWN_PORT);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_hub_sessions(h), 2);
    struct pq_mask *masks[] = {own->sec->cur.tx_mask, h->ring[0].first_mask};
    const uint64_t out = pq_hub_stats(h)->tx_packets, bad = world_drops(&w->end[SERVER]);
    const uint64_t auth = pq_hub_stats(h)->drops[PQ_DROP_AUTH];
    const size_t memory = world_chunk_bytes(&w->end[SERVER]);
    uint64_t rng = 7;
    unsigned sent = 0;
    for (unsigned i = 0; i < 600; i++) {
        uint8_t inner[300];
        const size_t n = 12 + ut_below(&rng, sizeof inner - 12);
        for (size_t k = 0; k < n; k++)
            inner[k] = (uint8_t)ut_below(&rng, 256);
        forge(w, own, ports[i % 3], masks[i / 3 % 2], others->sec->cur.tx_id, inner, n);
        sent++;
    }
    assert_int_equal(pq_hub_stats(h)->tx_packets, out);
    assert_int_equal(world_drops(&w->end[SERVER]), bad + sent);
    assert_int_equal(pq_hub_stats(h)->drops[PQ_DROP_AUTH], auth + sent);
    assert_int_equal(world_chunk_bytes(&w->end[SERVER]), memory);
    assert_int_equal(h->n_replies, 0);
    assert_int_equal(pq_hub_sessions(h), 2);
    for (unsigned i = 0; i < 2; i++) { /* both go on */
        w->ses = i ? own : others;
        world_open(w, 20000, 200000);
        assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    }
    world_check(w);
    finish(w);
}

/* A new session that says it takes the place of somebody else's. */
static void in_place_of_others(void **state)
{
    (void)state;
    struct pq_session *others;
    struct world *w = begin("in place of others", &others);
    for (unsigned i = 0; i < 4; i++) {
        w->end[CLIENT].hub->replaces = others->sec->cur.tx_id;
        come(w, 1, (uint16_t)(OWN_PORT + i));
        assert_int_equal(w->end[CLIENT].hub->replaces, 0); /* it was said */
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 2 + i);
    }
    assert_int_equal(w->end[SERVER].ended, 0);
    w->ses = others;
    world_open(w, 1000, 1000);
    assert_true(world_run(w, w->now + 5 * PQ_SEC, world_closed));
    finish(w);
}

/* ---- lies inside his own session */

static size_t put_v(uint8_t *p, uint32_t x)
{
    size_t n = 0;
    for (; x >= 128; x >>= 7)
        p[n++] = (uint8_t)(x | 128);
    p[n++] = (uint8_t)x;
    return n;
}

/* An ACK with so many ranges, all alike. */
static size_t put_ack(uint8_t *p, uint32_t una, uint32_t newest, uint8_t count, uint32_t gap,
                      uint32_t more)
{
    size_t n = 13;
    pq_put_le32(p, una);
    p[4] = 1;
    p[5] = 1; /* asks for the window */
    pq_put_le16(p + 6, 65535);
    pq_put_le32(p + 8, newest);
    p[12] = 1; /* delay */
    p[n++] = count;
    for (unsigned i = 0; i < count; i++) {
        if (i)
            n += put_v(p + n, gap);
        n += put_v(p + n, more);
    }
    return n;
}

static size_t put_block(uint8_t *p, uint32_t number, uint8_t kind, uint32_t sn, size_t n)
{
    pq_put_le32(p, number);
    p[4] = kind;
    p[5] = (uint8_t)sn;
    p[6] = (uint8_t)(sn >> 8);
    p[7] = (uint8_t)(sn >> 16);
    memset(p + 8, 0x5a, n);
    return 8 + n;
}

static size_t put_part(uint8_t *p, uint16_t number, uint8_t part, uint16_t size, size_t n)
{
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_PART_TYPE);
    pq_put_le16(p + 6, size);
    pq_put_le16(p + 8, number);
    p[10] = part;
    p[11] = 0;
    memset(p + PQ_PART_HEAD, 0xff, n);
    return PQ_PART_HEAD + n;
}

enum lie {
    NEVER_SENT,  /* acknowledges numbers of the future ... */
    UNA_BEYOND,  /* ... and segments of it */
    OVERLAPPING, /* ranges that reach beyond all that there is */
    ALL_SENT,    /* again and again, and asks for the window */
    PADS,        /* that are long and full of something */
    OLD_DATA,    /* segments that have come, as probes are, each under a new number */
    FAR_DATA,    /* segments of the future, numbers that jump */
    ODD_KINDS,
    HALF_PARTS, /* whose other half never comes */
    FALSE_PARTS,
    NESTED_PARTS,
    NOISE,
    LIES
};

static const char *const names[LIES] = {"never sent", "una beyond",  "overlapping",  "all sent",
                                        "pads",       "old data",    "far data",     "odd kinds",
                                        "half parts", "false parts", "nested parts", "noise"};

/* What goes between head and tag, at most 1,300 bytes. */
static size_t tell(enum lie what, struct pq_session *s, uint32_t i, uint64_t *rng, uint8_t *p)
{
    const uint32_t number = 100000 + i;
    size_t n = 0;
    switch (what) {
    case NEVER_SENT:
        return put_ack(p, 0, 1000000 + i * 65537, 1, 0, i);
    case UNA_BEYOND:
        return put_ack(p, 1000000 + i * 65537, 0, 1, 0, 0);
    case OVERLAPPING:
        return put_ack(p, 0, i % 4, 32, i % 3 ? UINT32_MAX : 0, i % 2 ? UINT32_MAX : 0x03ffffff);
    case ALL_SENT:
        return put_ack(p, 0, 0, 1, 0, 0);
    case PADS:
        memset(p, 0, 1300);
        p[4] = 4;
        memset(p + 5, (int)(i % 256), i % 1295);
        return 13 + i % 1288;
    case OLD_DATA:
        return put_block(p, number, 6, 0, i % 1200 + 4);
    case FAR_DATA:
        return put_block(p, number * 65539, 2, 5000 + i * 4099, i % 1200 + 4);
    case ODD_KINDS:
        return put_block(p, number, (uint8_t)(16 + i % 200), i, 30);
    case HALF_PARTS:
        return put_part(p, (uint16_t)i, i / 32 % 2, PQ_PART_HEAD - 6 + 1000, 1000);
    case FALSE_PARTS:
        return put_part(p, (uint16_t)(i / 2), (uint8_t)(i % 5), (uint16_t)(i * 77), i % 1000 + 1);
    case NESTED_PARTS: /* together they are a part */
        n = put_part(p, (uint16_t)(i / 2), i % 2, PQ_PART_HEAD - 6 + 600, 600);
        if (!(i % 2))
            put_part(p + PQ_PART_HEAD, (uint16_t)i, 0, PQ_PART_HEAD - 6 + 1200 - PQ_PART_HEAD, 0);
        return n;
    default:
        n = 12 + ut_below(rng, 1200);
        for (size_t k = 0; k < n; k++)
            p[k] = (uint8_t)ut_below(rng, 256);
        p[4] &= 0x0f;
        (void)s;
        return n;
    }
}

/* Whether datagrams of this kind are wrong as they are, and not only useless. */
static bool is_bad(enum lie what)
{
    return what != ALL_SENT && what != PADS && what != OLD_DATA && what != HALF_PARTS &&
           what != FAR_DATA;
}

static void lie(enum lie what)
{
    struct pq_session *others;
    struct world *w = begin(names[what], &others);
    struct end *server = &w->end[SERVER];
    struct pq_session *own = come(w, 1, OWN_PORT);
    world_run(w, w->now + PQ_SEC, NULL);
    w->ses = others;
    struct half *h = world_open(w, 100, (uint64_t)1 << 40);
    w->sloppy = true;
    world_run(w, w->now + PQ_SEC * UT_LESS, NULL); /* until the rate is known */
    const uint64_t had = h->rx_at, bad = world_drops(server);
    const pq_ns since = w->now;
    const size_t memory = server->chunks_high;
    uint64_t rng = 11, told = 0;
    answered = 0;
    for (unsigned i = 0; i < EACH; i++) {
        uint8_t inner[1400];
        const size_t n = tell(what, own, i, &rng, inner);
        told += forge(w, own, OWN_PORT, own->sec->cur.tx_mask, own->sec->cur.tx_id, inner, n);
        world_run(w, w->now + PQ_MS, NULL);
    }
    const double seconds = (double)(w->now - since) / PQ_SEC;
    const double mbit = (double)(h->rx_at - had) * 8 / 1e6 / seconds;
    printf(
        "%-13s %7.0f KB told, %4.0f KB answered, %5llu dropped, %3zu KB more, others %.1f Mbit/s\n",
        names[what], (double)told / 1e3, (double)answered / 1e3,
        (unsigned long long)(world_drops(server) - bad), (server->chunks_high - memory) >> 10,
        mbit);
    assert_true(answered <= told);
    assert_true(!is_bad(what) || world_drops(server) - bad >= EACH / 4);
    assert_true(server->chunks_high - memory <= (size_t)1 << 20);
    assert_true(mbit * UT_LESS >= 80);
    assert_int_equal(server->hub->n_replies, 0);
    assert_true(pq_hub_sessions(server->hub) <= 2);
    finish(w);
}

static void lies(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LIES; i++)
        lie((enum lie)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_others),
        cmocka_unit_test(in_place_of_others),
        cmocka_unit_test(lies),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("insider", tests, NULL, NULL);
}
