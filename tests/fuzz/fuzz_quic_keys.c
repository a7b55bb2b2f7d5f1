/* SPDX-License-Identifier: MIT */
/* fuzz_quic_keys.c - who a client says to be over QUIC: raw bytes of somebody who has the common
 * key; what a user says, spoiled; genuine for Noise, but saying anything; a server's second key. */
#include "fuzz.h"
#include "quic/quic_internal.h"
#include "tunnel/tunnel_internal.h"

#define CAP  400
#define WALL UINT64_C(1000000)

static const uint8_t key[PQ_KEY_LEN] = {1}, secret[3][32] = {{16}, {32}, {64}};
static uint8_t public[3][32]; /* server, user, nobody */
static struct pq_hub *hub;
static struct pq_rng rng;
static uint64_t wall = WALL;

static uint64_t on_wall(void *ctx)
{
    (void)ctx;
    return wall;
}

static void setup(void)
{
    static const struct pq_hub_events ev = {.wall = on_wall};
    struct pq_hub_conf c = {.transport = &pq_transport_quic,
                            .mtu = 1350,
                            .max_sessions = 4,
                            .memory = 1 << 20,
                            .own = {.secret = secret[0], .required = true, .n = 1}};
    if (hub)
        return;
    FUZZ_CHECK(pq_crypt_global_init() == 0);
    pq_rng_init_seed(&rng, 5);
    for (int i = 0; i < 3; i++)
        FUZZ_CHECK(pq_x25519_public(secret[i], public[i]) == 0);
    c.own.users = (const uint8_t(*)[32]) public[1];
    c.quic = (struct pq_quic_conf){.key = key,
                                   .stream_window = 10000,
                                   .stream_window_max = 40000,
                                   .window = 20000,
                                   .window_max = 80000,
                                   .max_streams = 4,
                                   .idle = 30 * PQ_SEC};
    FUZZ_CHECK(pq_hub_new(&hub, &c, &ev, NULL, &rng, PQ_SEC) == 0);
}

/* Whether the server knows him. */
static bool ask(const struct pq_quic *q, struct pq_view v)
{
    struct pq_quic_claim claim = {.psk = {0}};
    struct pq_quic copy = *q;
    uint8_t *p = fuzz_exact(v.p, v.n), any = 0;
    const bool ok = pq_quic_keys_psk(hub, &copy, (struct pq_view){p, v.n}, &claim);
    for (size_t i = 0; i < sizeof claim.psk; i++)
        any |= claim.psk[i];
    FUZZ_CHECK(ok == (any != 0));
    FUZZ_CHECK(!ok || (hub->quic_who.q == &copy && hub->quic_who.who == 0 &&
                       memcmp(hub->quic_who.client, public[1], 32) == 0));
    hub->quic_who.q = NULL;
    free(p);
    return ok;
}

/* What `who` says, of these bytes, for this connection. */
static size_t message(const struct pq_quic *q, unsigned who, struct pq_view said, uint8_t p[CAP])
{
    struct pq_noise n;
    uint8_t prologue[12 + PQ_QUIC_FIRST_LEN] = "paqet quic 1", ephemeral[32] = {9};
    size_t len = 0;
    memcpy(prologue + 12, q->odcid.data, PQ_QUIC_FIRST_LEN);
    const struct pq_noise_conf c = {.pattern = PQ_NOISE_IKPSK2,
                                    .initiator = true,
                                    .prologue = {prologue, sizeof prologue},
                                    .psk = hub->quic_own.psk[0],
                                    .own_secret = secret[who],
                                    .own_public = public[who],
                                    .remote_public = public[0]};
    FUZZ_CHECK(pq_noise_init(&n, &c) == 0);
    FUZZ_CHECK(pq_noise_write(&n, ephemeral, said, p, CAP, &len) == 0);
    return len;
}

static void said_by_somebody(struct fuzz_in *in, const struct pq_quic *q)
{
    const unsigned who = 1 + fuzz_u8(in) % 2;
    const struct pq_view v = fuzz_bytes(in, fuzz_u8(in));
    uint8_t p[CAP];
    uint64_t stamp = 0;
    for (size_t i = 1; i < 9 && v.n == 9; i++)
        stamp |= (uint64_t)v.p[i] << 8 * (i - 1);
    const bool good = v.n == 9 && v.p[0] == 1 && stamp > WALL && stamp <= wall + PQ_QUIC_CLOCKS &&
                      stamp + PQ_QUIC_CLOCKS >= wall;
    const size_t n = message(q, who, v, p);
    FUZZ_CHECK(ask(q, (struct pq_view){p, n}) == (good && who == 1));
}

static void spoiled(struct fuzz_in *in, const struct pq_quic *q)
{
    uint8_t said[9] = {1}, p[CAP];
    for (unsigned i = 0; i < 8; i++)
        said[1 + i] = (uint8_t)(wall >> 8 * i);
    size_t n = message(q, 1, (struct pq_view){said, sizeof said}, p);
    FUZZ_CHECK(ask(q, (struct pq_view){p, n}));
    const size_t at = fuzz_u8(in) % n;
    const uint8_t by = fuzz_u8(in);
    p[at] ^= by;
    /* the last bit of a public key has no meaning, but is hashed */
    FUZZ_CHECK(ask(q, (struct pq_view){p, n}) == !by);
    n = fuzz_u16(in) % (sizeof p + 1);
    FUZZ_CHECK(n == 105 || !ask(q, (struct pq_view){p, n}));
}

static void second(struct fuzz_in *in)
{
    struct pq_session s = {.hub = hub};
    uint8_t p[32] = {0}, mix[32];
    const struct pq_view v = fuzz_bytes(in, sizeof p);
    if (v.n)
        memcpy(p, v.p, v.n);
    uint8_t any = 0;
    const bool ok = pq_quic_keys_second(&s, p, mix);
    for (size_t i = 0; i < sizeof mix; i++)
        any |= mix[i];
    FUZZ_CHECK(ok == (any != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    struct pq_quic q = {.odcid = {.datalen = PQ_QUIC_FIRST_LEN}};
    setup();
    const uint8_t what = fuzz_u8(&in);
    wall = WALL + 1 + fuzz_u16(&in) * UINT64_C(4);
    q.odcid.datalen = what & 0x80 ? what & 15 : PQ_QUIC_FIRST_LEN;
    memset(q.odcid.data, fuzz_u8(&in), sizeof q.odcid.data);
    if (what & 0x80)
        FUZZ_CHECK(!ask(&q, (struct pq_view){in.p, fuzz_left(&in)}));
    else if (what % 4 == 0)
        FUZZ_CHECK(!ask(&q, (struct pq_view){in.p, fuzz_left(&in)}));
    else if (what % 4 == 1)
        said_by_somebody(&in, &q);
    else if (what % 4 == 2)
        spoiled(&in, &q);
    else
        second(&in);
    return 0;
}
