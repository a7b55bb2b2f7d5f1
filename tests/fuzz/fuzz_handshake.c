/* SPDX-License-Identifier: MIT */
/* fuzz_handshake.c - messages of our own wire's handshakes as they come off the wire: raw bytes;
 * sealed by somebody who has K; genuine for Noise, but saying anything; the second message to a
 * client, also of a server that has the keys and says anything.  Further sealed datagrams and their
 * counters, and the file of stamps. */
#include "crypt/seal.h"
#include "fuzz.h"
#include "header/header.h"
#include "tunnel/handshake.h"
#include "tunnel/stamps.h"

#define CAP 1500

static const uint8_t key[PQ_KEY_LEN] = {1}, secret[2][32] = {{2}, {3}}, next_psk[32] = {4};
static uint8_t public[2][32];
static struct pq_shake *ends[2]; /* server, client */
static struct pq_rng rng;

static void setup(void)
{
    if (ends[0])
        return;
    FUZZ_CHECK(pq_crypt_global_init() == 0);
    pq_rng_init_seed(&rng, 5);
    for (int i = 0; i < 2; i++) {
        const struct pq_shake_conf c = {
            .client = i == 1, .key = key, .own_secret = secret[i], .rng = &rng};
        FUZZ_CHECK(pq_shake_new(&ends[i], &c) == 0);
        FUZZ_CHECK(pq_x25519_public(secret[i], public[i]) == 0);
    }
}

static struct pq_shake_context about(enum pq_kind kind)
{
    return (struct pq_shake_context){
        .kind = kind, .server_public = public[0], .a = 7, .b = 8, .psk = next_psk};
}

/* ---- what says nothing about keys */

static void raw(struct pq_view v, int end)
{
    struct pq_message m;
    uint8_t *p = fuzz_exact(v.p, v.n);
    enum pq_drop d = pq_shake_open(ends[end], p, v.n, &m);
    FUZZ_CHECK(d == PQ_DROP_SHORT || d == PQ_DROP_AUTH);
    free(p);
    p = fuzz_exact(v.p, v.n);
    d = pq_control_open((struct pq_view){p, v.n}, &m);
    FUZZ_CHECK(d == PQ_DROP_NONE || d == PQ_DROP_SHORT || d == PQ_DROP_OOB);
    if (!d) {
        FUZZ_CHECK(fuzz_inside(m.noise, p, v.n));
        fuzz_touch(m.noise);
    }
    free(p);
}

static void check_said(const struct pq_said *s, unsigned kind)
{
    FUZZ_CHECK(s->id);
    FUZZ_CHECK(kind == PQ_KIND_RENEW || s->abilities);
}

/* A server answers what it has read; the client, here as the server's other self, takes it. */
static void answer(struct pq_noise *n, enum pq_kind kind, const struct pq_said *first, size_t most)
{
    const struct pq_said what = {.ciphers = 3, .id = 99, .abilities = PQ_ABLE_ALL};
    const struct pq_shake_context c = about(kind);
    struct pq_epoch keys;
    uint8_t *p = malloc(most + 1);
    struct pq_buf out = {p, most, 0};
    int e = pq_shake_answer(ends[0], n, &c, first, &what, &out, &keys);
    if (!e) {
        FUZZ_CHECK(out.len <= most);
        FUZZ_CHECK(keys.tx_id == first->id && keys.rx_id == 99);
        pq_epoch_free(&keys);
    }
    free(p);
}

static enum pq_kind kind_of(uint8_t b)
{
    static const enum pq_kind kinds[] = {PQ_KIND_KEYS, PQ_KIND_UPGRADE, PQ_KIND_RENEW};
    return kinds[b % 3];
}

/* The bytes as a Noise message, as who has K can seal it. */
static void first_message(struct fuzz_in *in)
{
    const enum pq_kind kind = kind_of(fuzz_u8(in));
    const struct pq_shake_context c = about(kind);
    struct pq_noise n;
    struct pq_said said;
    uint8_t *p = fuzz_exact(in->p, fuzz_left(in));
    enum pq_drop d = pq_shake_read(ends[0], &n, &c, (struct pq_view){p, fuzz_left(in)}, &said);
    FUZZ_CHECK(d == PQ_DROP_HANDSHAKE);
    free(p);
}

/* A user who says what he likes. */
static void said_by_a_user(struct fuzz_in *in)
{
    const enum pq_kind kind = kind_of(fuzz_u8(in));
    const size_t most = fuzz_u16(in) % CAP;
    uint8_t prologue[] = "paqet own wire 1\0\7\0\0\0\10\0\0\0";
    prologue[16] = (uint8_t)kind;
    uint8_t prk[PQ_HASH_LEN], psk[32], out[CAP + 200];
    const uint8_t ephemeral[32] = {6};
    const struct pq_view k = {key, sizeof key}, salt = {prologue, 16};
    FUZZ_CHECK(pq_hkdf_extract(salt, k, prk) == 0 && pq_hkdf_label(prk, "psk", psk, 32) == 0);
    const struct pq_noise_conf nc = {.pattern =
                                         kind == PQ_KIND_KEYS ? PQ_NOISE_IKPSK2 : PQ_NOISE_NNPSK0,
                                     .initiator = true,
                                     .prologue = {prologue, 25},
                                     .psk = kind == PQ_KIND_RENEW ? next_psk : psk,
                                     .own_secret = secret[1],
                                     .own_public = public[1],
                                     .remote_public = public[0]};
    const struct pq_shake_context c = about(kind);
    struct pq_noise n;
    struct pq_said said;
    size_t len;
    FUZZ_CHECK(pq_noise_init(&n, &nc) == 0);
    const size_t n_payload = fuzz_left(in) < 1000 ? fuzz_left(in) : 1000;
    FUZZ_CHECK(pq_noise_write(&n, ephemeral, (struct pq_view){in->p, n_payload}, out, sizeof out,
                              &len) == 0);
    enum pq_drop d = pq_shake_read(ends[0], &n, &c, (struct pq_view){out, len}, &said);
    FUZZ_CHECK(d == PQ_DROP_NONE || d == PQ_DROP_HANDSHAKE);
    if (d)
        return;
    check_said(&said, kind);
    FUZZ_CHECK(kind != PQ_KIND_KEYS || memcmp(said.from, public[1], 32) == 0);
    answer(&n, kind, &said, most);
}

static bool is_as_before(const struct pq_noise *n, const struct pq_noise *before)
{
    return n->turn == before->turn && memcmp(n->h, before->h, sizeof n->h) == 0 &&
           memcmp(n->ck, before->ck, sizeof n->ck) == 0 &&
           memcmp(n->k, before->k, sizeof n->k) == 0;
}

/* What a server that has the keys puts into its answer to `first`, which is `n` bytes of Noise.
 * Returns the bytes of the answer's. */
static size_t answer_with(struct pq_message first, const struct pq_shake_context *c,
                          struct pq_view payload, uint8_t out[CAP + 200])
{
    const uint8_t ephemeral[32] = {8};
    struct pq_noise n;
    struct pq_said said;
    size_t len;
    FUZZ_CHECK(pq_shake_read(ends[0], &n, c, first.noise, &said) == PQ_DROP_NONE);
    FUZZ_CHECK(pq_noise_write(&n, ephemeral, payload, out, CAP + 200, &len) == 0);
    pq_noise_wipe(&n);
    return len;
}

/* A client that waits for an answer gets these bytes, and goes on waiting; or, from a server that
 * has the keys, an answer that says them. */
static void second_message(struct fuzz_in *in)
{
    const uint8_t how = fuzz_u8(in);
    const enum pq_kind kind = kind_of(how);
    const struct pq_shake_context c = about(kind);
    const struct pq_said what = {
        .ciphers = how & 0x40 ? 2 : 3, .id = 5, .abilities = PQ_ABLE_ALL, .stamp = 9};
    struct pq_noise n, before;
    struct pq_said said;
    struct pq_epoch keys;
    struct pq_message first;
    uint8_t buf[CAP], reply[CAP + 200];
    struct pq_buf out = {buf, sizeof buf, 0};
    FUZZ_CHECK(pq_shake_ask(ends[1], &n, &c, &what, &out) == 0);
    before = n;
    struct pq_view message = {in->p, fuzz_left(in) < CAP ? fuzz_left(in) : CAP};
    if (how & 0x80) {
        const enum pq_drop d = kind == PQ_KIND_RENEW
                                   ? pq_control_open((struct pq_view){buf, out.len}, &first)
                                   : pq_shake_open(ends[0], buf, out.len, &first);
        FUZZ_CHECK(d == PQ_DROP_NONE);
        message = (struct pq_view){reply, answer_with(first, &c, message, reply)};
    }
    const enum pq_drop d = pq_shake_finish(ends[1], &n, &c, message, &what, &said, &keys);
    FUZZ_CHECK(d == PQ_DROP_HANDSHAKE || (how & 0x80 && d == PQ_DROP_NONE));
    if (d) {
        FUZZ_CHECK(is_as_before(&n, &before));
        return;
    }
    check_said(&said, kind);
    FUZZ_CHECK((said.ciphers == 1 || said.ciphers == 2) && said.ciphers & what.ciphers);
    FUZZ_CHECK(keys.rx_id == 5 && keys.tx_id == said.id);
    pq_epoch_free(&keys);
}

/* ---- datagrams under keys of a session */

static void sealed(struct fuzz_in *in)
{
    static const uint8_t mask_key[PQ_MASK_KEY_LEN] = {7};
    const enum pq_aead a = fuzz_u8(in) % PQ_AEAD_COUNT;
    struct pq_seal *tx, *rx;
    struct pq_mask *m;
    struct pq_view inner;
    bool come[256] = {false};
    FUZZ_CHECK(pq_seal_new(&tx, a, key) == 0 && pq_seal_new(&rx, a, key) == 0);
    FUZZ_CHECK(pq_mask_new(&m, mask_key) == 0);
    uint8_t packets[256][PQ_SEAL_HEAD + 3 + PQ_SEAL_TAIL];
    for (unsigned i = 0; i < 256; i++) {
        memset(packets[i], (int)i, sizeof packets[i]);
        const struct pq_span span = {packets[i], sizeof packets[i]};
        pq_seal_put(tx, m, 3, &span, 1);
    }
    while (fuzz_left(in)) {
        const uint8_t op = fuzz_u8(in), which = fuzz_u8(in), at = fuzz_u8(in);
        const size_t n = op & 1 ? sizeof packets[0] : op % (sizeof packets[0] + 1);
        uint8_t *p = fuzz_exact(packets[which], n);
        if (op & 2 && n)
            p[at % n] ^= (uint8_t)(op | 1);
        if (n < PQ_SEAL_HEAD + PQ_SEAL_TAIL) {
            FUZZ_CHECK(pq_seal_open(rx, p, n, which, &inner) == PQ_DROP_SHORT);
            free(p);
            continue;
        }
        const struct pq_seal_head h = pq_mask_read(m, p, n);
        const bool whole = n == sizeof packets[0] && memcmp(p, packets[which], n) == 0;
        enum pq_drop d = pq_seal_open(rx, p, n, h.counter, &inner);
        if (whole)
            FUZZ_CHECK(d == (come[which] ? PQ_DROP_REPLAY : PQ_DROP_NONE) && h.id == 3);
        if (!d) { /* the id alone may be another: it is not in the tag */
            FUZZ_CHECK(!come[h.counter] && fuzz_inside(inner, p, n) && inner.n == 3);
            FUZZ_CHECK(inner.p[0] == h.counter);
            come[h.counter] = true;
        }
        free(p);
    }
    pq_seal_free(&tx);
    pq_seal_free(&rx);
    pq_mask_free(&m);
}

/* ---- the file of stamps */

static void stamps(struct fuzz_in *in)
{
    static const uint8_t users[2][32] = {{1}, {2}};
    struct pq_stamps *s;
    uint64_t ticket;
    FUZZ_CHECK(pq_stamps_new(&s, users, fuzz_u8(in) % 3) == 0);
    FILE *f = fuzz_left(in) ? fmemopen((void *)(uintptr_t)in->p, fuzz_left(in), "r") : NULL;
    if (f) {
        pq_stamps_read(s, f);
        fclose(f);
    }
    const struct pq_stamp t = {1, 1000};
    bool ok = pq_stamps_take(s, 0, t, 1000, 500, &ticket);
    FUZZ_CHECK(!ok || !pq_stamps_take(s, 0, t, 1000, 500, &ticket));
    pq_stamps_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    setup();
    switch (fuzz_u8(&in) % 7) {
    case 0:
        raw((struct pq_view){in.p, fuzz_left(&in)}, 0);
        break;
    case 1:
        raw((struct pq_view){in.p, fuzz_left(&in)}, 1);
        break;
    case 2:
        first_message(&in);
        break;
    case 3:
        said_by_a_user(&in);
        break;
    case 4:
        second_message(&in);
        break;
    case 5:
        sealed(&in);
        break;
    default:
        stamps(&in);
        break;
    }
    return 0;
}
