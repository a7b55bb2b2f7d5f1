/* SPDX-License-Identifier: MIT */
/* quic_keys.c - keys of servers and users over QUIC: a client says who it is by the first message
 * of 12's handshake, in the place of TLS's name for a PSK, and the PSK follows from it [13.7]. */
#include "tunnel/tunnel_internal.h"

#define LABEL       "paqet quic 1" /* salt of the keys, begin of the prologue */
#define VERSION     1
#define SAID_LEN    9 /* version, stamp */
#define MESSAGE_LEN (PQ_NOISE_IK_HEAD + SAID_LEN + PQ_NOISE_TAG)

static int make_psk(const uint8_t *key, uint8_t psk[PQ_PSK_LEN])
{
    const struct pq_view salt = {(const uint8_t *)LABEL, sizeof LABEL - 1};
    uint8_t prk[PQ_HASH_LEN];
    int e = pq_hkdf_extract(salt, (struct pq_view){key, PQ_KEY_LEN}, prk);
    if (!e)
        e = pq_hkdf_label(prk, "keys", psk, PQ_PSK_LEN);
    explicit_bzero(prk, sizeof prk);
    return e;
}

static int make_psks(struct pq_quic_own *o, const uint8_t *key, const uint8_t *before)
{
    const int e = make_psk(key, o->psk[0]);
    explicit_bzero(o->psk[1], sizeof o->psk[1]);
    return e || !before ? e : make_psk(before, o->psk[1]);
}

int pq_quic_keys_init(struct pq_hub *h)
{
    struct pq_quic_own *o = &h->quic_own;
    const struct pq_hub_conf *c = &h->conf;
    if (!h->conf.own.secret || !h->conf.quic.key)
        return 0;
    memcpy(o->secret, h->conf.own.secret, sizeof o->secret);
    int e = pq_x25519_public(o->secret, o->pub);
    if (!e)
        e = make_psks(o, c->quic.key, c->has_before ? c->key_before : NULL);
    o->there = !e;
    return e;
}

int pq_quic_keys_set(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before)
{
    struct pq_quic_own next = h->quic_own;
    int e = next.there ? make_psks(&next, key, before) : 0;
    if (!e)
        e = pq_quic_set_keys(h->quic, key, before);
    if (!e)
        h->quic_own = next;
    explicit_bzero(&next, sizeof next);
    for (struct pq_list *n = h->sessions.next, *after; !e && n != &h->sessions; n = after) {
        struct pq_session *s = PQ_OF(n, struct pq_session, node);
        after = n->next;
        s->ring = pq_quic_key(s->quic);
        if (s->ring == PQ_QUIC_KEYS && s->who == PQ_NOBODY)
            pq_session_end(s, PQ_EREVOKED);
        else if (s->ring == PQ_QUIC_KEYS)
            s->ring = 0; /* it is a user's, and needs none of them any more */
    }
    return e;
}

void pq_quic_keys_fini(struct pq_hub *h)
{
    explicit_bzero(&h->quic_own, sizeof h->quic_own);
}

/* `first`: the id that the client has made up.  So what was recorded is good for no other.  `key`:
 * the number of K. */
static int begin(const struct pq_hub *h, struct pq_noise *n, struct pq_view first, unsigned key,
                 const uint8_t *server_public)
{
    const struct pq_quic_own *o = &h->quic_own;
    uint8_t prologue[sizeof LABEL - 1 + PQ_QUIC_FIRST_LEN];
    if (first.n != PQ_QUIC_FIRST_LEN)
        return PQ_EPROTO;
    memcpy(prologue, LABEL, sizeof LABEL - 1);
    memcpy(prologue + sizeof LABEL - 1, first.p, first.n);
    const struct pq_noise_conf c = {.pattern = PQ_NOISE_IKPSK2,
                                    .initiator = h->conf.client,
                                    .prologue = {prologue, sizeof prologue},
                                    .psk = o->psk[key],
                                    .own_secret = o->secret,
                                    .own_public = o->pub,
                                    .remote_public = server_public};
    return pq_noise_init(n, &c);
}

/* ---- the client */

/* Writes the message to p, and the PSK that follows. */
static int say(struct pq_hub *h, struct pq_view first, const uint8_t *server_public,
               uint8_t p[MESSAGE_LEN], uint8_t psk[PQ_QUIC_PSK_LEN])
{
    struct pq_noise n;
    uint8_t said[SAID_LEN], ephemeral[PQ_X25519_LEN];
    size_t len;
    const uint64_t wall = h->ev->wall(h->ctx);
    struct pq_wr w = pq_wr_init(said, sizeof said);
    pq_wr_u8(&w, VERSION);
    pq_wr_le32(&w, (uint32_t)wall);
    pq_wr_le32(&w, (uint32_t)(wall >> 32));
    pq_rng_fill(h->rng, ephemeral, sizeof ephemeral);
    int e = begin(h, &n, first, 0, server_public);
    if (!e)
        e = pq_noise_write(&n, ephemeral, (struct pq_view){said, sizeof said}, p, MESSAGE_LEN,
                           &len);
    if (!e)
        e = pq_noise_early(&n, "tls psk", psk);
    explicit_bzero(ephemeral, sizeof ephemeral);
    pq_noise_wipe(&n);
    return e;
}

int pq_quic_keys_connect(struct pq_session *s, const struct pq_quic_path *path, pq_ns now)
{
    struct pq_hub *h = s->hub;
    uint8_t message[MESSAGE_LEN], psk[PQ_QUIC_PSK_LEN], first[PQ_QUIC_FIRST_LEN];
    if (!h->quic_own.there)
        return PQ_ENOTSUP;
    pq_rng_fill(h->rng, first, sizeof first);
    int e = say(h, (struct pq_view){first, sizeof first}, s->server_public, message, psk);
    const struct pq_quic_peer who = {
        .identity = {message, sizeof message}, .psk = psk, .first = first, .ticket = s->ticket};
    if (!e)
        e = pq_quic_connect(&s->quic, h->quic, path, &who, s, now);
    explicit_bzero(psk, sizeof psk);
    return e;
}

bool pq_quic_keys_second(void *user, const uint8_t second[PQ_QUIC_SECOND_LEN],
                         uint8_t mix[PQ_QUIC_PSK_LEN])
{
    const struct pq_session *s = user;
    return pq_x25519_shared(s->hub->quic_own.secret, second, mix) == 0;
}

/* ---- the server */

/* What a client has said; n is as it is after the message then. */
static bool read_said(const struct pq_hub *h, struct pq_noise *n, const struct pq_quic *q,
                      struct pq_view message)
{
    uint8_t said[MESSAGE_LEN];
    size_t len;
    if (message.n != MESSAGE_LEN || begin(h, n, pq_quic_first_id(q), pq_quic_key(q), NULL) ||
        pq_noise_read(n, message, said, &len) || len != SAID_LEN)
        return false;
    struct pq_rd r = pq_rd_init(said, len);
    const uint8_t version = pq_rd_u8(&r);
    const uint64_t low = pq_rd_le32(&r), stamp = low | (uint64_t)pq_rd_le32(&r) << 32;
    return version == VERSION && pq_quic_is_timely(h->quic, stamp);
}

bool pq_quic_keys_make_second(struct pq_hub *h, const uint8_t client[PQ_X25519_LEN],
                              struct pq_quic_claim *claim)
{
    uint8_t secret[PQ_X25519_LEN];
    pq_rng_fill(h->rng, secret, sizeof secret);
    const bool ok =
        !pq_x25519_public(secret, claim->second) && !pq_x25519_shared(secret, client, claim->mix);
    explicit_bzero(secret, sizeof secret);
    return ok;
}

bool pq_quic_keys_psk(void *ctx, struct pq_quic *q, struct pq_view identity,
                      struct pq_quic_claim *claim)
{
    struct pq_hub *h = ctx;
    struct pq_noise n;
    struct pq_quic_who who = {.q = q};
    if (!h->quic_own.there)
        return false;
    bool ok = read_said(h, &n, q, identity);
    if (ok && !pq_own_user(h, n.rs, &who.who)) {
        h->quic_no = PQ_DROP_USER;
        ok = false;
    }
    ok = ok && pq_quic_keys_make_second(h, n.rs, claim) &&
         !pq_noise_early(&n, "tls psk", claim->psk);
    memcpy(who.client, n.rs, sizeof who.client);
    pq_noise_wipe(&n);
    if (ok)
        pq_quic_keys_is(h, &who);
    return ok;
}

void pq_quic_keys_is(struct pq_hub *h, const struct pq_quic_who *who)
{
    struct pq_session *s = pq_quic_user(who->q); /* NULL as a rule */
    if (s)
        pq_quic_keys_own(s, who);
    else
        h->quic_who = *who;
}

void pq_quic_keys_is_not(void *ctx, struct pq_quic *q)
{
    struct pq_hub *h = ctx;
    struct pq_session *s = pq_quic_user(q);
    if (h->quic_who.q == q)
        h->quic_who.q = NULL;
    if (!s)
        return;
    s->who = PQ_NOBODY;
    memset(s->client, 0, sizeof s->client);
    s->share = &h->rest;
}

void pq_quic_keys_own(struct pq_session *s, const struct pq_quic_who *who)
{
    struct pq_share *share = pq_share_of(s->hub, who->client);
    s->who = who->who;
    memcpy(s->client, who->client, sizeof s->client);
    if (share) /* where memory is short it stays with all others; it has no streams yet */
        s->share = share;
}
