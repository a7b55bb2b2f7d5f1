/* SPDX-License-Identifier: MIT */
#include "tunnel/handshake.h"

#include "header/header.h"

#include <stdlib.h>

#define LABEL        "paqet own wire 1" /* salt of the keys, begin of each prologue [12.1] */
#define VERSION      1
#define HEAD         2   /* kind, attempt */
#define CONTROL_HEAD 8   /* of what stands for the outer layer inside a session */
#define PAD_MAX      600 /* bytes [12.2] */
#define INNER_MAX    1500

struct pq_shake {
    bool client, has_static;
    uint8_t psk[PQ_PSK_LEN], mask[PQ_MASK_KEY_LEN], syn[PQ_HASH_LEN];
    uint8_t secret[PQ_X25519_LEN], own_public[PQ_X25519_LEN];
    struct pq_crypt *tx, *rx; /* the outer layer */
    struct pq_rng *rng;
};

/* ---- keys */

static int derive(struct pq_shake *s, const uint8_t *key)
{
    uint8_t prk[PQ_HASH_LEN], k[2][PQ_KEY_LEN] = {{0}};
    const struct pq_view salt = {(const uint8_t *)LABEL, sizeof LABEL - 1};
    int e = pq_hkdf_extract(salt, (struct pq_view){key, PQ_KEY_LEN}, prk);
    if (!e)
        e = pq_hkdf_label(prk, "psk", s->psk, sizeof s->psk);
    if (!e)
        e = pq_hkdf_label(prk, "mask c2s", s->mask, sizeof s->mask);
    if (!e)
        e = pq_hkdf_label(prk, "syn", s->syn, sizeof s->syn);
    if (!e)
        e = pq_hkdf_label(prk, "seal c2s", k[0], 16);
    if (!e)
        e = pq_hkdf_label(prk, "seal s2c", k[1], 16);
    if (!e)
        e = pq_crypt_new(&s->tx, PQ_CIPHER_AES_128_GCM, k[!s->client]);
    if (!e)
        e = pq_crypt_new(&s->rx, PQ_CIPHER_AES_128_GCM, k[s->client]);
    explicit_bzero(prk, sizeof prk);
    explicit_bzero(k, sizeof k);
    return e ? PQ_ENOMEM : 0;
}

int pq_shake_new(struct pq_shake **out, const struct pq_shake_conf *c)
{
    struct pq_shake *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->client = c->client;
    s->rng = c->rng;
    s->has_static = c->own_secret != NULL;
    if (c->own_secret)
        memcpy(s->secret, c->own_secret, sizeof s->secret);
    int e = derive(s, c->key);
    if (!e && s->has_static)
        e = pq_x25519_public(s->secret, s->own_public);
    if (e)
        pq_shake_free(out);
    return e;
}

void pq_shake_free(struct pq_shake **sp)
{
    struct pq_shake *s = *sp;
    if (!s)
        return;
    pq_crypt_free(&s->tx);
    pq_crypt_free(&s->rx);
    explicit_bzero(s, sizeof *s);
    free(s);
    *sp = NULL;
}

int pq_shake_mask(const struct pq_shake *s, struct pq_mask **out)
{
    return pq_mask_new(out, s->mask);
}

int pq_shake_syn(const struct pq_shake *s, const uint8_t *server_public, struct pq_mask **out)
{
    uint8_t key[PQ_MASK_KEY_LEN];
    *out = NULL;
    if (!server_public && !s->has_static)
        return PQ_ENOTSUP;
    const struct pq_view info = {server_public ? server_public : s->own_public, PQ_X25519_LEN};
    int e = pq_hkdf_expand(s->syn, info, key, sizeof key);
    if (!e)
        e = pq_mask_new(out, key);
    explicit_bzero(key, sizeof key);
    return e;
}

void pq_epoch_free(struct pq_epoch *k)
{
    pq_seal_free(&k->tx);
    pq_seal_free(&k->rx);
    pq_mask_free(&k->tx_mask);
    pq_mask_free(&k->rx_mask);
    explicit_bzero(k, sizeof *k);
}

static int direction(const uint8_t secret[PQ_HASH_LEN], enum pq_aead a, struct pq_seal **seal,
                     struct pq_mask **mask)
{
    uint8_t data[PQ_SEAL_KEY_LEN], m[PQ_MASK_KEY_LEN];
    int e = pq_hkdf_label(secret, "data", data, pq_aead_key_len(a));
    if (!e)
        e = pq_hkdf_label(secret, "mask", m, sizeof m);
    if (!e)
        e = pq_seal_new(seal, a, data);
    if (!e)
        e = pq_mask_new(mask, m);
    explicit_bzero(data, sizeof data);
    explicit_bzero(m, sizeof m);
    return e;
}

/* The handshake is complete: keys for both directions. */
static int make_keys(const struct pq_shake *s, struct pq_noise *n, enum pq_aead a,
                     struct pq_epoch *k)
{
    uint8_t up[PQ_HASH_LEN], down[PQ_HASH_LEN];
    *k = (struct pq_epoch){0};
    int e = pq_noise_split(n, up, down);
    if (!e)
        e = direction(s->client ? up : down, a, &k->tx, &k->tx_mask);
    if (!e)
        e = direction(s->client ? down : up, a, &k->rx, &k->rx_mask);
    if (!e)
        e = pq_hkdf_label(up, "next psk", k->next_psk, sizeof k->next_psk);
    explicit_bzero(up, sizeof up);
    explicit_bzero(down, sizeof down);
    if (e)
        pq_epoch_free(k);
    return e;
}

/* ---- payloads */

static void put_le64(struct pq_wr *w, uint64_t v)
{
    pq_wr_le32(w, (uint32_t)v);
    pq_wr_le32(w, (uint32_t)(v >> 32));
}

static uint64_t get_le64(struct pq_rd *r)
{
    uint64_t low = pq_rd_le32(r);
    return low | (uint64_t)pq_rd_le32(r) << 32;
}

static void put_hello(struct pq_wr *w, uint32_t abilities)
{
    uint8_t ext[PQ_EXT_MAX];
    size_t n = pq_ext_encode(abilities, ext);
    pq_wr_u8(w, (uint8_t)n);
    pq_wr_bytes(w, ext, n);
}

/* `first`: of the client.  Returns its bytes. */
static size_t put_payload(enum pq_kind kind, bool first, const struct pq_said *what, uint8_t *p,
                          size_t cap)
{
    struct pq_wr w = pq_wr_init(p, cap);
    pq_wr_u8(&w, VERSION);
    pq_wr_u8(&w, what->ciphers);
    pq_wr_le32(&w, what->id);
    if (first && kind != PQ_KIND_RENEW)
        pq_wr_le32(&w, what->conv);
    if (first && kind == PQ_KIND_KEYS) {
        put_le64(&w, what->stamp);
        put_le64(&w, what->instance);
        pq_wr_le32(&w, what->replaces);
    }
    if (kind != PQ_KIND_RENEW)
        put_hello(&w, what->abilities);
    return pq_wr_len(&w);
}

static bool get_payload(enum pq_kind kind, bool first, struct pq_view v, struct pq_said *said)
{
    struct pq_rd r = pq_rd_init(v.p, v.n);
    uint8_t version = pq_rd_u8(&r);
    *said = (struct pq_said){.ciphers = pq_rd_u8(&r)};
    said->id = pq_rd_le32(&r);
    if (first && kind != PQ_KIND_RENEW)
        said->conv = pq_rd_le32(&r);
    if (first && kind == PQ_KIND_KEYS) {
        said->stamp = get_le64(&r);
        said->instance = get_le64(&r);
        said->replaces = pq_rd_le32(&r);
    }
    if (kind != PQ_KIND_RENEW) {
        size_t n = pq_rd_u8(&r);
        const uint8_t *ext = pq_rd_bytes(&r, n);
        said->abilities = ext ? pq_ext_decode(ext, n) : 0;
    }
    return !r.bad && version == VERSION && said->id && (kind == PQ_KIND_RENEW || said->abilities);
}

/* ---- the outer layer */

static enum pq_drop take_head(struct pq_view v, struct pq_message *m)
{
    if (v.n < HEAD)
        return PQ_DROP_SHORT;
    *m = (struct pq_message){v.p[0], v.p[1], {v.p + HEAD, v.n - HEAD}};
    return PQ_DROP_NONE;
}

enum pq_drop pq_shake_open(struct pq_shake *s, uint8_t *p, size_t n, struct pq_message *m)
{
    struct pq_view v;
    enum pq_drop d = pq_crypt_open(s->rx, p, n, &v);
    return d ? d : take_head(v, m);
}

enum pq_drop pq_control_open(struct pq_view inner, struct pq_message *m)
{
    struct pq_rd r = pq_rd_init(inner.p, inner.n);
    pq_rd_bytes(&r, CONTROL_HEAD - 2);
    size_t size = pq_rd_le16(&r); /* counts itself */
    if (r.bad || size < 2 || size - 2 > pq_rd_left(&r))
        return PQ_DROP_OOB;
    return take_head((struct pq_view){r.p, size - 2}, m);
}

/* Bytes before and behind what begins with the kind. */
static size_t head_of(const struct pq_shake *s, enum pq_kind kind)
{
    return kind == PQ_KIND_RENEW ? CONTROL_HEAD : pq_crypt_head(s->tx);
}

static size_t tail_of(const struct pq_shake *s, enum pq_kind kind)
{
    return kind == PQ_KIND_RENEW ? 0 : pq_crypt_tail(s->tx);
}

static void put_outer(struct pq_shake *s, enum pq_kind kind, uint8_t *p, size_t n)
{
    const struct pq_span span = {p, n};
    if (kind != PQ_KIND_RENEW) {
        pq_crypt_seal(s->tx, &span, 1, s->rng);
        return;
    }
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_CONTROL_TYPE);
    pq_put_le16(p + 6, (uint16_t)(n - CONTROL_HEAD + 2));
}

/* Puts the next Noise message with what is said and random padding into its datagram. */
static int write_message(struct pq_shake *s, struct pq_noise *n,
                         const struct pq_shake_context *about, const struct pq_said *what,
                         struct pq_buf *out)
{
    uint8_t payload[INNER_MAX] = {0}, ephemeral[PQ_X25519_LEN];
    const bool first = s->client;
    const enum pq_kind kind = about->kind;
    const size_t used = put_payload(kind, first, what, payload, sizeof payload);
    const size_t around = head_of(s, kind) + HEAD + tail_of(s, kind);
    const size_t least = around + used + PQ_NOISE_TAG +
                         (first && kind == PQ_KIND_KEYS ? PQ_NOISE_IK_HEAD : PQ_NOISE_NN_HEAD);
    if (out->cap < least)
        return PQ_EINVAL;
    const size_t room = out->cap - least < PAD_MAX ? out->cap - least : PAD_MAX;
    const size_t pad = pq_rng_u32(s->rng) % (room + 1);
    uint8_t *inner = out->p + head_of(s, kind);
    inner[0] = (uint8_t)(kind + !first);
    inner[1] = about->attempt;
    pq_rng_renew(s->rng);
    pq_rng_fill(s->rng, ephemeral, sizeof ephemeral);
    size_t k;
    int e = pq_noise_write(n, ephemeral, (struct pq_view){payload, used + pad}, inner + HEAD,
                           out->cap - around, &k);
    explicit_bzero(ephemeral, sizeof ephemeral);
    if (e)
        return e;
    out->len = around + k;
    put_outer(s, kind, out->p, out->len);
    return 0;
}

/* ---- the messages */

static int begin(const struct pq_shake *s, struct pq_noise *n, const struct pq_shake_context *about)
{
    const bool ik = about->kind == PQ_KIND_KEYS;
    uint8_t prologue[sizeof LABEL - 1 + 1 + 4 + 4];
    struct pq_wr w = pq_wr_init(prologue, sizeof prologue);
    pq_wr_bytes(&w, LABEL, sizeof LABEL - 1);
    pq_wr_u8(&w, (uint8_t)about->kind);
    pq_wr_le32(&w, about->a);
    pq_wr_le32(&w, about->b);
    const struct pq_noise_conf c = {.pattern = ik ? PQ_NOISE_IKPSK2 : PQ_NOISE_NNPSK0,
                                    .initiator = s->client,
                                    .prologue = {prologue, pq_wr_len(&w)},
                                    .psk = about->kind == PQ_KIND_RENEW ? about->psk : s->psk,
                                    .own_secret = s->secret,
                                    .own_public = s->own_public,
                                    .remote_public = about->server_public};
    return pq_noise_init(n, &c);
}

int pq_shake_ask(struct pq_shake *s, struct pq_noise *n, const struct pq_shake_context *about,
                 const struct pq_said *what, struct pq_buf *out)
{
    if (about->kind == PQ_KIND_KEYS && !s->has_static)
        return PQ_ENOTSUP;
    int e = begin(s, n, about);
    return e ? e : write_message(s, n, about, what, out);
}

enum pq_drop pq_shake_read(struct pq_shake *s, struct pq_noise *n,
                           const struct pq_shake_context *about, struct pq_view noise,
                           struct pq_said *said)
{
    uint8_t payload[INNER_MAX];
    size_t len;
    if (noise.n > sizeof payload || (about->kind == PQ_KIND_KEYS && !s->has_static) ||
        begin(s, n, about))
        return PQ_DROP_HANDSHAKE;
    if (pq_noise_read(n, noise, payload, &len) ||
        !get_payload(about->kind, true, (struct pq_view){payload, len}, said)) {
        pq_noise_wipe(n);
        return PQ_DROP_HANDSHAKE;
    }
    memcpy(said->from, n->rs, sizeof said->from);
    return PQ_DROP_NONE;
}

/* The first cipher that both have; PQ_AEAD_COUNT if there is none. */
static enum pq_aead choose(uint8_t both)
{
    for (unsigned a = 0; a < PQ_AEAD_COUNT; a++)
        if (both >> a & 1)
            return (enum pq_aead)a;
    return PQ_AEAD_COUNT;
}

int pq_shake_answer(struct pq_shake *s, struct pq_noise *n, const struct pq_shake_context *about,
                    const struct pq_said *first, const struct pq_said *what, struct pq_buf *out,
                    struct pq_epoch *keys)
{
    const enum pq_aead a = choose(first->ciphers & what->ciphers);
    struct pq_said said = *what;
    if (a == PQ_AEAD_COUNT)
        return PQ_EINVAL;
    said.ciphers = (uint8_t)(1U << a);
    int e = write_message(s, n, about, &said, out);
    if (!e)
        e = make_keys(s, n, a, keys);
    if (!e) {
        keys->rx_id = what->id;
        keys->tx_id = first->id;
    }
    pq_noise_wipe(n);
    return e;
}

enum pq_drop pq_shake_finish(struct pq_shake *s, struct pq_noise *n,
                             const struct pq_shake_context *about, struct pq_view noise,
                             const struct pq_said *what, struct pq_said *said,
                             struct pq_epoch *keys)
{
    uint8_t payload[INNER_MAX];
    size_t len;
    struct pq_noise copy = *n;
    enum pq_drop d = PQ_DROP_HANDSHAKE;
    if (noise.n > sizeof payload || pq_noise_read(&copy, noise, payload, &len) ||
        !get_payload(about->kind, false, (struct pq_view){payload, len}, said)) {
        pq_noise_wipe(&copy);
        return d;
    }
    const enum pq_aead a = choose(said->ciphers);
    const bool offered = said->ciphers == 1U << a && what->ciphers & said->ciphers;
    if (offered && !make_keys(s, &copy, a, keys)) {
        keys->rx_id = what->id;
        keys->tx_id = said->id;
        pq_noise_wipe(n);
        d = PQ_DROP_NONE;
    }
    pq_noise_wipe(&copy);
    return d;
}
