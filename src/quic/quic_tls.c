/* SPDX-License-Identifier: MIT */
/* quic_tls.c - how the two ends of a handshake show who they are: an external PSK made of the
 * common key, or of that and the keys of both [13.7], both ways, and proven to the server before it
 * has sent one byte [13.1]; or, plain, a certificate that says nothing [7.2]. */
#include "quic/quic_internal.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDENTITY "paqet1"
#define ALPN     "paqet-quic"
#define COMMON                                                                                     \
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%DISABLE_TLS13_COMPAT_MODE" /* no more than needed  \
                                                                            */
#define WITH_KEY                                                                                   \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-"         \
    "POLY1305:" COMMON
#define PLAIN                                                                                      \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-"               \
    "POLY1305:" COMMON
#define YEAR         (365 * 86400L)
#define SECOND       65392 /* TLS extension, of those for private use: a server's second key [13.7] */
#define SECOND_OK    1     /* what a client says there */
#define MIX_LABEL    "paqet quic 1 mix"
#define TICKET_LABEL "paqet quic 1 ticket"

/* As a program starts GnuTLS prepares itself, which costs those who have no use for it, where it is
 * linked in, 0.5 MB: pq_quic_tls_begin does it in place of that. */
GNUTLS_SKIP_GLOBAL_INIT

int pq_quic_tls_begin(void)
{
    return gnutls_global_init() ? PQ_ENOTSUP : 0; /* counted, and safe in any thread */
}

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
    const struct pq_quic *q = ref->user_data;
    return q->conn;
}

struct pq_quic *pq_quic_of_tls(gnutls_session_t tls)
{
    const ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(tls);
    return ref->user_data;
}

/* ---- who is who */

static bool is_common(const gnutls_datum_t *name)
{
    return name->size == sizeof IDENTITY - 1 && !memcmp(name->data, IDENTITY, name->size);
}

/* Of somebody whom the server knows by name. */
static bool find_named(struct pq_quic *q, const gnutls_datum_t *name, uint8_t psk[PQ_QUIC_PSK_LEN])
{
    struct pq_quic_end *e = q->e;
    struct pq_quic_claim claim = {.psk = {0}};
    const struct pq_view identity = {name->data, name->size};
    q->named = e->ev->psk && e->ev->psk(e->ctx, q, identity, &claim);
    q->mixed = q->named;
    memcpy(psk, claim.psk, sizeof claim.psk);
    memcpy(q->second, claim.second, sizeof q->second);
    memcpy(q->mix, claim.mix, sizeof q->mix);
    explicit_bzero(&claim, sizeof claim);
    return q->named;
}

/* Of a server: the PSK of who says to be `name`. */
static int find_psk(gnutls_session_t tls, const gnutls_datum_t *name, gnutls_datum_t *key)
{
    struct pq_quic *q = pq_quic_of_tls(tls);
    const struct pq_quic_end *e = q->e;
    uint8_t psk[PQ_QUIC_PSK_LEN];
    bool ok = false;
    pq_quic_early_not(q);
    if (!is_common(name))
        ok = find_named(q, name, psk);
    else if (!e->conf.named && !q->named) {
        memcpy(psk, e->set[q->set].keys.psk, sizeof psk);
        ok = true;
    }
    key->data = ok ? gnutls_malloc(sizeof psk) : NULL;
    key->size = sizeof psk;
    if (key->data)
        memcpy(key->data, psk, sizeof psk);
    explicit_bzero(psk, sizeof psk);
    q->somebody = key->data != NULL;
    return key->data ? 0 : -1;
}

/* Whether the client has named a PSK that is there. */
static bool is_somebody(const struct pq_quic *q)
{
    return q->somebody || (q->ticketed && gnutls_session_is_resumed(q->tls));
}

/* Before each message of a server: who has named no PSK hears nothing; nor is anybody asked for
 * another ClientHello, which no client of ours needs, and which has brought down TLS libraries when
 * it came without a PSK. */
static int before_message(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
                          const gnutls_datum_t *message)
{
    struct pq_quic *q = pq_quic_of_tls(tls);
    const struct pq_view v = {message->data, message->size};
    const bool may = is_somebody(q) && type != GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST;
    (void)when;
    if (incoming && type == GNUTLS_HANDSHAKE_CLIENT_HELLO)
        pq_quic_early_hello(q, v);
    else if (!incoming && may && type == GNUTLS_HANDSHAKE_NEW_SESSION_TICKET)
        pq_quic_early_given(q, v);
    return incoming || may ? 0 : GNUTLS_E_INSUFFICIENT_CREDENTIALS;
}

/* ---- what is told to who has said a name, and goes into the keys [13.7] */

static int put_second(gnutls_session_t tls, gnutls_buffer_t to)
{
    static const uint8_t ask = SECOND_OK;
    const struct pq_quic *q = pq_quic_of_tls(tls);
    if (!q->named)
        return 0;
    return q->e->conf.client ? gnutls_buffer_append_data(to, &ask, sizeof ask)
                             : gnutls_buffer_append_data(to, q->second, sizeof q->second);
}

static int take_second(gnutls_session_t tls, const unsigned char *p, size_t n)
{
    struct pq_quic *q = pq_quic_of_tls(tls);
    const struct pq_quic_events *ev = q->e->ev;
    if (!q->e->conf.client)
        return 0;
    q->mixed = q->named && n == PQ_QUIC_SECOND_LEN && ev->second && ev->second(q->user, p, q->mix);
    return q->mixed ? 0 : GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
}

/* Of a secret of TLS, n bytes, as many others. */
static int mix_in(struct pq_view mix, const char *label, const void *secret, size_t n, uint8_t *out)
{
    uint8_t prk[32];
    const gnutls_datum_t salt = {(uint8_t *)(uintptr_t)mix.p, (unsigned)mix.n};
    const gnutls_datum_t ikm = {(uint8_t *)(uintptr_t)secret, (unsigned)n};
    const gnutls_datum_t key = {prk, sizeof prk};
    const gnutls_datum_t info = {(uint8_t *)(uintptr_t)label, (unsigned)strlen(label)};
    int r = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &salt, prk);
    r = r ? r : gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info, out, n);
    explicit_bzero(prk, sizeof prk);
    return r;
}

/* What goes into the keys of a level beside what TLS has; n == 0: nothing. */
static struct pq_view mixed_with(const struct pq_quic *q, gnutls_record_encryption_level_t level)
{
    if (level == GNUTLS_ENCRYPTION_LEVEL_EARLY)
        return (struct pq_view){q->early_secret, sizeof q->early_secret};
    const bool last = q->named && level == GNUTLS_ENCRYPTION_LEVEL_APPLICATION;
    return (struct pq_view){q->mix, last ? sizeof q->mix : 0};
}

/* The secret of the next ticket: of the keys for what the client sends, mixed as they are. */
static int keep_secret(struct pq_quic *q, const void *of_client, size_t n)
{
    static const char salt[] = "paqet quic 1";
    if (!of_client || !q->e->conf.early || n != sizeof q->ticket_secret)
        return 0;
    return mix_in((struct pq_view){(const uint8_t *)salt, sizeof salt - 1}, TICKET_LABEL, of_client,
                  n, q->ticket_secret);
}

/* ngtcp2's own function for the keys of a level, but that some of them are mixed. */
static int set_secrets(gnutls_session_t tls, gnutls_record_encryption_level_t gl, const void *rx,
                       const void *tx, size_t n)
{
    struct pq_quic *q = pq_quic_of_tls(tls);
    const ngtcp2_encryption_level level =
        ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level(gl);
    const void *from[2] = {rx, tx};
    uint8_t mixed[2][32];
    const bool last = gl == GNUTLS_ENCRYPTION_LEVEL_APPLICATION;
    const struct pq_view mix = mixed_with(q, gl);
    int r = mix.n && ((last && !q->mixed) || n != sizeof mixed[0]) ? -1 : 0;
    for (int i = 0; i < 2 && mix.n && !r; i++) {
        if (from[i])
            r = mix_in(mix, MIX_LABEL, from[i], n, mixed[i]);
        from[i] = from[i] ? mixed[i] : NULL;
    }
    if (!r && last)
        r = keep_secret(q, from[q->e->conf.client], n);
    if (!r && from[0])
        r = ngtcp2_crypto_derive_and_install_rx_key(q->conn, NULL, NULL, NULL, level, from[0], n);
    if (!r && from[1])
        r = ngtcp2_crypto_derive_and_install_tx_key(q->conn, NULL, NULL, NULL, level, from[1], n);
    explicit_bzero(mixed, sizeof mixed);
    return r ? -1 : 0;
}

static int configure_keyed(struct pq_quic *q)
{
    gnutls_handshake_set_secret_function(q->tls, set_secrets);
    if (!q->e->conf.client)
        gnutls_handshake_set_hook_function(q->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
                                           before_message);
    return gnutls_session_ext_register(
        q->tls, "second", SECOND, GNUTLS_EXT_TLS, take_second, put_second, NULL, NULL, NULL,
        GNUTLS_EXT_FLAG_TLS | GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_EE);
}

/* ---- credentials */

static int set_psk(gnutls_psk_client_credentials_t c, struct pq_view identity, const uint8_t *psk)
{
    const gnutls_datum_t name = {(uint8_t *)(uintptr_t)identity.p, (unsigned)identity.n};
    const gnutls_datum_t key = {(uint8_t *)(uintptr_t)psk, PQ_QUIC_PSK_LEN};
    return gnutls_psk_set_client_credentials2(c, &name, &key, GNUTLS_PSK_KEY_RAW);
}

/* A certificate of its own for a server, as A's: new at each start, without a name [7.2]. */
static int make_certificate(gnutls_certificate_credentials_t to)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    const uint8_t serial = 1;
    const time_t now = time(NULL);
    const unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    int e = gnutls_x509_privkey_init(&key);
    e = e ? e : gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, bits, 0);
    e = e ? e : gnutls_x509_crt_init(&crt);
    e = e ? e : gnutls_x509_crt_set_version(crt, 3);
    e = e ? e : gnutls_x509_crt_set_serial(crt, &serial, sizeof serial);
    e = e ? e : gnutls_x509_crt_set_activation_time(crt, now - 3600);
    e = e ? e : gnutls_x509_crt_set_expiration_time(crt, now + YEAR);
    e = e ? e : gnutls_x509_crt_set_key(crt, key);
    e = e ? e : gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
    e = e ? e : gnutls_certificate_set_x509_key(to, &crt, 1, key);
    if (crt)
        gnutls_x509_crt_deinit(crt);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return e;
}

static int prepare_keyed(struct pq_quic_end *e)
{
    const struct pq_view name = {(const uint8_t *)IDENTITY, sizeof IDENTITY - 1};
    int r = gnutls_priority_init(&e->with_key, WITH_KEY, NULL);
    if (!e->conf.client) {
        r = r ? r : gnutls_psk_allocate_server_credentials(&e->psk_server);
        if (!r)
            gnutls_psk_set_server_credentials_function2(e->psk_server, find_psk);
        return r;
    }
    r = r ? r : gnutls_psk_allocate_client_credentials(&e->psk_client);
    return r ? r : set_psk(e->psk_client, name, e->set[0].keys.psk);
}

static int prepare_plain(struct pq_quic_end *e)
{
    int r = gnutls_priority_init(&e->plain, PLAIN, NULL);
    r = r ? r : gnutls_certificate_allocate_credentials(&e->cert);
    if (!r && !e->conf.client)
        r = make_certificate(e->cert);
    if (!r && e->conf.client && e->conf.verify) {
        const int n = gnutls_certificate_set_x509_system_trust(e->cert);
        r = n < 0 ? n : 0;
    }
    return r;
}

int pq_quic_tls_end(struct pq_quic_end *e)
{
    int r = e->keyed ? prepare_keyed(e) : 0;
    r = r ? r : pq_quic_early_end(e);
    if (!r && (e->conf.open || !e->keyed))
        r = prepare_plain(e);
    return r ? PQ_ENOTSUP : 0;
}

void pq_quic_tls_end_free(struct pq_quic_end *e)
{
    pq_quic_early_end_free(e);
    if (e->with_key)
        gnutls_priority_deinit(e->with_key);
    if (e->plain)
        gnutls_priority_deinit(e->plain);
    if (e->psk_server)
        gnutls_psk_free_server_credentials(e->psk_server);
    if (e->psk_client)
        gnutls_psk_free_client_credentials(e->psk_client);
    if (e->cert)
        gnutls_certificate_free_credentials(e->cert);
}

static int own_psk(struct pq_quic *q, const struct pq_quic_peer *who)
{
    q->named = true;
    int r = gnutls_psk_allocate_client_credentials(&q->psk);
    return r ? r : set_psk(q->psk, who->identity, who->psk);
}

static int credentials(struct pq_quic *q, const struct pq_quic_peer *who)
{
    struct pq_quic_end *e = q->e;
    if (q->plain)
        return gnutls_credentials_set(q->tls, GNUTLS_CRD_CERTIFICATE, e->cert);
    if (!e->conf.client)
        return gnutls_credentials_set(q->tls, GNUTLS_CRD_PSK, e->psk_server);
    int r = who && who->identity.n ? own_psk(q, who) : 0;
    return r ? r : gnutls_credentials_set(q->tls, GNUTLS_CRD_PSK, q->psk ? q->psk : e->psk_client);
}

/* What a plain client says and looks at beyond that. */
static int name_server(struct pq_quic *q)
{
    const struct pq_quic_end *e = q->e;
    const char *name = e->server_name;
    int r = name ? gnutls_server_name_set(q->tls, GNUTLS_NAME_DNS, name, strlen(name)) : 0;
    if (!r && e->conf.verify)
        gnutls_session_set_verify_cert(q->tls, name, 0);
    return r;
}

int pq_quic_tls(struct pq_quic *q, const struct pq_quic_peer *who)
{
    const struct pq_quic_end *e = q->e;
    const bool client = e->conf.client;
    const gnutls_datum_t alpn = {(uint8_t *)(uintptr_t)ALPN, sizeof ALPN - 1};
    const unsigned early = e->conf.early && !q->plain ? GNUTLS_ENABLE_EARLY_DATA : 0;
    if (gnutls_init(&q->tls, (client ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NO_AUTO_SEND_TICKET |
                                 GNUTLS_NO_END_OF_EARLY_DATA | early))
        return PQ_ENOMEM;
    int r = gnutls_priority_set(q->tls, q->plain ? e->plain : e->with_key);
    if (!r)
        r = client ? ngtcp2_crypto_gnutls_configure_client_session(q->tls)
                   : ngtcp2_crypto_gnutls_configure_server_session(q->tls);
    q->ref = (ngtcp2_crypto_conn_ref){conn_of, q};
    gnutls_session_set_ptr(q->tls, &q->ref);
    if (!r && !q->plain)
        r = configure_keyed(q);
    r = r ? r : credentials(q, who);
    r = r ? r : pq_quic_early_tls(q, who);
    r = r ? r : gnutls_alpn_set_protocols(q->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY);
    if (!r && client && q->plain)
        r = name_server(q);
    return r ? PQ_ENOTSUP : 0;
}

void pq_quic_tls_free(struct pq_quic *q)
{
    if (q->tls)
        gnutls_deinit(q->tls);
    if (q->psk)
        gnutls_psk_free_client_credentials(q->psk);
    explicit_bzero(q->mix, sizeof q->mix); /* it is in the keys */
    explicit_bzero(q->early_secret, sizeof q->early_secret);
    explicit_bzero(q->ticket_secret, sizeof q->ticket_secret);
    q->tls = NULL;
    q->psk = NULL;
}
