/* SPDX-License-Identifier: MIT */
#include "tunnel/describe.h"

#include "base/hash.h"
#include "tunnel/proof.h"
#include "tunnel/tunnel_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#define WAYS      1024
#define TRIES     8    /* datagrams of a direction for which other ciphers are tried */
#define GLUED_MIN 1501 /* no datagram is as long */

struct pq_describe {
    enum pq_cipher cipher;
    bool has_key, has_secret;
    uint8_t key[PQ_KEY_LEN];
    struct pq_crypt *crypt[PQ_CIPHER_COUNT]; /* made when they are needed */
    struct pq_shake *server, *client;        /* as who opens what clients and servers send */
    struct pq_mask *syn_key;
    struct pq_rng rng;
    uint64_t seed;
    struct pq_described_way ways[WAYS];
    uint8_t copy[GLUED_MIN];
};

void pq_described_add(struct pq_described *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(o->text + o->len, sizeof o->text - o->len, fmt, ap);
    va_end(ap);
    const size_t room = sizeof o->text - o->len - 1;
    o->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

/* ---- life */

static int new_shake(struct pq_describe *d, struct pq_shake **out, bool client,
                     const uint8_t *secret)
{
    const struct pq_shake_conf c = {
        .client = client, .key = d->key, .own_secret = secret, .rng = &d->rng};
    return pq_shake_new(out, &c);
}

int pq_describe_new(struct pq_describe **out, const struct pq_describe_conf *c)
{
    struct pq_describe *d = *out = calloc(1, sizeof *d);
    int e = d ? 0 : PQ_ENOMEM;
    if (e)
        return e;
    pq_rng_init(&d->rng);
    d->seed = pq_rng_u64(&d->rng);
    d->cipher = c->cipher;
    d->has_key = c->key != NULL;
    d->has_secret = c->secret != NULL;
    if (c->key) {
        memcpy(d->key, c->key, sizeof d->key);
        e = pq_crypt_new(&d->crypt[c->cipher], c->cipher, d->key);
        e = e ? e : new_shake(d, &d->server, false, c->secret);
        e = e ? e : new_shake(d, &d->client, true, NULL);
        if (!e && c->secret)
            e = pq_shake_syn(d->server, NULL, &d->syn_key);
    }
    if (e)
        pq_describe_free(out);
    return e;
}

void pq_describe_free(struct pq_describe **dp)
{
    struct pq_describe *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    for (int i = 0; i < PQ_CIPHER_COUNT; i++)
        pq_crypt_free(&d->crypt[i]);
    pq_shake_free(&d->server);
    pq_shake_free(&d->client);
    pq_mask_free(&d->syn_key);
    explicit_bzero(d->key, sizeof d->key);
    free(d);
}

static void put_addr(uint8_t out[18], const struct pq_addr *a)
{
    memcpy(out, a->ip, 16);
    pq_put_be16(out + 16, a->port);
}

/* What is known of a direction; another one may have had its place. */
static struct pq_described_way *way_of(struct pq_describe *d, const struct pq_addr *src,
                                       const struct pq_addr *dst)
{
    uint8_t key[36];
    put_addr(key, src);
    put_addr(key + 18, dst);
    struct pq_described_way *w = &d->ways[pq_hash_bytes(key, sizeof key, d->seed) % WAYS];
    if (!w->used || !pq_addr_eq(&w->src, src) || !pq_addr_eq(&w->dst, dst))
        *w = (struct pq_described_way){.src = *src, .dst = *dst, .used = true};
    return w;
}

/* ---- TCP */

static void put_tcp(const struct pq_segment *s, struct pq_described *o)
{
    static const struct {
        uint16_t bit;
        const char *name;
    } flags[] = {{PQ_TCP_SYN, "SYN"}, {PQ_TCP_FIN, "FIN"}, {PQ_TCP_RST, "RST"},
                 {PQ_TCP_PSH, "PSH"}, {PQ_TCP_ACK, "ACK"}, {PQ_TCP_URG, "URG"},
                 {PQ_TCP_ECE, "ECE"}, {PQ_TCP_CWR, "CWR"}, {PQ_TCP_NS, "NS"}};
    const char *before = "";
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (s->flags & flags[i].bit) {
            pq_described_add(o, "%s%s", before, flags[i].name);
            before = " ";
        }
    }
    pq_described_add(o, "%s seq %" PRIu32 " ack %" PRIu32 " win %u", *before ? "" : "no flag",
                     s->seq, s->ack, s->window);
    if (s->mss)
        pq_described_add(o, " mss %u", s->mss);
    if (s->has_scale)
        pq_described_add(o, " scale %u", s->scale);
    if (s->has_ts)
        pq_described_add(o, " ts %" PRIu32 "/%" PRIu32, s->tsval, s->tsecr);
}

static void describe_bare(struct pq_describe *d, struct pq_described_way *w,
                          const struct pq_segment *s, uint64_t wall, struct pq_described *o)
{
    o->kind = s->flags & PQ_TCP_RST   ? "TCP: RST"
              : s->flags & PQ_TCP_FIN ? "TCP: FIN"
              : s->flags & PQ_TCP_SYN ? s->flags & PQ_TCP_ACK ? "TCP: SYN ACK" : "TCP: SYN"
                                      : "TCP: no payload";
    pq_described_add(o, " | no payload");
    if (!(s->flags & PQ_TCP_SYN))
        return;
    *w = (struct pq_described_way){
        .src = w->src, .dst = w->dst, .used = true, .syn = true, .first = s->seq};
    if (!d->syn_key || (s->flags & PQ_TCP_ACK))
        return;
    struct pq_syn proven;
    const bool ok = pq_proof_check(d->syn_key, s, wall, &proven);
    o->kind = ok ? "TCP: SYN that proves the key" : "TCP: SYN that proves nothing";
    pq_described_add(o, ": the SYN %s", ok ? "proves the key" : "proves nothing, or is late");
}

/* ---- ciphers */

static enum pq_drop try_cipher(struct pq_describe *d, int cipher, struct pq_view v,
                               struct pq_view *inner)
{
    if (!d->crypt[cipher] && pq_crypt_new(&d->crypt[cipher], (enum pq_cipher)cipher, d->key))
        return PQ_DROP_AUTH;
    memcpy(d->copy, v.p, v.n);
    return pq_crypt_open(d->crypt[cipher], d->copy, v.n, inner);
}

/* Both ends may have been given different ones. */
static const char *other_cipher(struct pq_describe *d, struct pq_view v)
{
    struct pq_view inner;
    for (int i = 0; i < PQ_CIPHER_NULL; i++)
        if (i != (int)d->cipher && !try_cipher(d, i, v, &inner))
            return pq_cipher_name((enum pq_cipher)i);
    return NULL;
}

/* ---- our own wire */

static void put_time(uint64_t ms, struct pq_described *o)
{
    const time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (ms / 1000 > INT32_MAX || !gmtime_r(&t, &tm))
        snprintf(text, sizeof text, "%" PRIu64, ms);
    else
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    pq_described_add(o, ", stamp %s", text);
}

/* The first message of a session with keys, which its server can read. */
static void put_keys(struct pq_describe *d, const struct pq_message *m, struct pq_described *o)
{
    const struct pq_shake_context about = {.kind = PQ_KIND_KEYS, .attempt = m->attempt};
    struct pq_noise n;
    struct pq_said said;
    if (!d->has_secret)
        return;
    if (pq_shake_read(d->server, &n, &about, m->noise, &said)) {
        o->kind = "own wire: handshake for another server key";
        pq_described_add(o, ", but not for this server's public key");
        return;
    }
    o->has_user = true;
    memcpy(o->user, said.from, sizeof o->user);
    put_time(said.stamp, o);
    explicit_bzero(&n, sizeof n);
}

/* Whether it is a handshake's message under K. */
static bool describe_handshake(struct pq_describe *d, struct pq_described_way *w, struct pq_view v,
                               struct pq_described *o)
{
    static const struct {
        const char *kind, *text;
    } names[] = {[PQ_KIND_KEYS] = {"own wire: handshake", "first message of a session with keys"},
                 [PQ_KIND_KEYS + 1] = {"own wire: handshake, answer", "answer, with keys"},
                 [PQ_KIND_UPGRADE] = {"own wire: upgrade", "first message of an upgrade"},
                 [PQ_KIND_UPGRADE + 1] = {"own wire: upgrade, answer", "answer to an upgrade"}};
    struct pq_message m;
    for (int from_server = 0; from_server < 2; from_server++) {
        memcpy(d->copy, v.p, v.n);
        if (pq_shake_open(from_server ? d->client : d->server, d->copy, v.n, &m))
            continue;
        w->own = true;
        way_of(d, &w->dst, &w->src)->own = true;
        const bool known = m.kind < sizeof names / sizeof names[0] && names[m.kind].kind;
        o->kind = known ? names[m.kind].kind : "own wire: unknown message";
        pq_described_add(o, " | own wire, ok under K: %s, try %u",
                         known ? names[m.kind].text : "unknown message", m.attempt);
        if (m.kind == PQ_KIND_KEYS && !from_server)
            put_keys(d, &m, o);
        return true;
    }
    return false;
}

/* ---- a datagram */

/* Bytes of the lead with which the first payload of a connection may begin [12.9]. */
static size_t lead_of(const struct pq_described_way *w, const struct pq_segment *s,
                      struct pq_view v)
{
    if (!v.n || v.p[0] < ' ' || v.p[0] > '~' || (w->syn && s->seq != w->first + 1))
        return 0;
    const size_t n = PQ_LEAD_MIN + (size_t)(v.p[0] - ' ') % (PQ_LEAD_MAX - PQ_LEAD_MIN + 1);
    for (size_t i = 0; i < n; i++)
        if (i >= v.n || v.p[i] < ' ' || v.p[i] > '~')
            return 0;
    return n;
}

static void describe_unopened(struct pq_describe *d, struct pq_described_way *w, struct pq_view v,
                              enum pq_drop drop, struct pq_described *o)
{
    const char *name = pq_cipher_name(d->cipher);
    const char *other = NULL;
    if (w->own) {
        o->kind = "own wire: sealed";
        pq_described_add(o, " | own wire, sealed under keys of the session");
        return;
    }
    if (drop == PQ_DROP_AUTH && w->failed++ < TRIES)
        other = other_cipher(d, v);
    o->kind = drop == PQ_DROP_SHORT ? "short datagram"
              : other               ? "another cipher"
                                    : "cannot be opened";
    if (drop == PQ_DROP_SHORT)
        pq_described_add(o, " | too short for %s", name);
    else if (other)
        pq_described_add(o, " | not %s, but %s under the same key", name, other);
    else
        pq_described_add(o,
                         " | not %s: another key or cipher, or our own wire, whose handshake was "
                         "not seen",
                         name);
}

static void describe_datagram(struct pq_describe *d, struct pq_described_way *w,
                              const struct pq_segment *s, struct pq_view v, struct pq_described *o)
{
    struct pq_view inner;
    const size_t lead = lead_of(w, s, v);
    const struct pq_view rest = {v.p + lead, v.n - lead};
    if (describe_handshake(d, w, v, o))
        return;
    enum pq_drop drop = try_cipher(d, (int)d->cipher, v, &inner);
    if (w->own && d->cipher == PQ_CIPHER_NULL) /* which opens everything */
        drop = PQ_DROP_AUTH;
    if (drop && lead && describe_handshake(d, w, rest, o)) {
        pq_described_add(o, ", behind a lead of %zu", lead);
        return;
    }
    if (drop) {
        describe_unopened(d, w, v, drop, o);
        return;
    }
    pq_described_add(o, " | %s: ok", pq_cipher_name(d->cipher));
    pq_describe_inner(w, inner, o);
}

void pq_describe_packet(struct pq_describe *d, const struct pq_segment *s, enum pq_drop drop,
                        uint8_t *p, size_t n, uint64_t wall, struct pq_described *o)
{
    o->len = 0;
    o->has_user = false;
    *o->text = 0;
    if (drop && drop != PQ_DROP_NO_PAYLOAD) {
        o->kind = pq_drop_name(drop);
        pq_described_add(o, "%s", o->kind);
        return;
    }
    struct pq_described_way *w = way_of(d, &s->src, &s->dst);
    put_tcp(s, o);
    if (drop) {
        describe_bare(d, w, s, wall, o);
        return;
    }
    pq_described_add(o, " | %zu B", n);
    o->kind = "payload";
    if (n >= GLUED_MIN) {
        o->kind = "glued by the kernel";
        pq_described_add(o, " | several datagrams, glued by the kernel: 'ethtool -K INTERFACE gro "
                            "off' before a capture");
    } else if (d->has_key)
        describe_datagram(d, w, s, (struct pq_view){p, n}, o);
}
