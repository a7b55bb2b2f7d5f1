/* SPDX-License-Identifier: MIT */
/* quic_early.c - 0-RTT: a server gives a ticket to each client, who comes back with it once, and
 * whose first packets are served before the handshake is done [13.10].  TLS's ticket only names
 * the handshake before; the keys of early packets also hold a secret of that handshake's end, which
 * is the server's only as long as it knows the ticket. */
#include "quic/quic_internal.h"
#include "quic/quic_ticket.h"

#include <stdlib.h>

#define PRE_SHARED_KEY 41         /* TLS extension */
#define ALL            UINT32_MAX /* early data that TLS bounds, in QUIC (RFC 9001 4.6.1) */
#define NO_WINDOW      UINT32_MAX /* ms; each ticket counts once, so its age does not matter */
#define TICKET_WAIT    (5 * PQ_SEC)

/* ---- the ends of a handshake */

/* That a ClientHello is none that was there before is known by its ticket. */
static int is_first(void *ctx, time_t until, const gnutls_datum_t *key, const gnutls_datum_t *data)
{
    (void)ctx;
    (void)until;
    (void)key;
    (void)data;
    return 0;
}

int pq_quic_early_end(struct pq_quic_end *e)
{
    if (!e->conf.early || e->conf.client)
        return 0;
    const int r = gnutls_anti_replay_init(&e->anti_replay);
    if (r)
        return r;
    gnutls_anti_replay_set_window(e->anti_replay, NO_WINDOW);
    gnutls_anti_replay_set_add_function(e->anti_replay, is_first);
    return 0;
}

void pq_quic_early_end_free(struct pq_quic_end *e)
{
    if (e->anti_replay)
        gnutls_anti_replay_deinit(e->anti_replay);
    explicit_bzero(e->ticket_key, sizeof e->ticket_key);
}

/* Client: a ticket has come.  What it needs beside that is known by now. */
static int on_ticket(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
                     const gnutls_datum_t *message)
{
    struct pq_quic *q = pq_quic_of_tls(tls);
    struct pq_quic_ticket *t;
    (void)type;
    (void)when;
    (void)message;
    if (!incoming || !q->ticket_until || !q->e->ev->ticket || !(t = calloc(1, sizeof *t)))
        return 0;
    q->ticket_until = 0;
    memcpy(t->secret, q->ticket_secret, sizeof t->secret);
    if (gnutls_session_get_data2(tls, &t->session) || pq_ngtcp2_keep_params(q->conn, &t->params))
        pq_quic_ticket_free(&t);
    else
        q->e->ev->ticket(q->user, t);
    return 0;
}

int pq_quic_early_tls(struct pq_quic *q, const struct pq_quic_peer *who)
{
    const struct pq_quic_ticket *t = who ? who->ticket : NULL;
    if (!q->e->conf.early || q->plain)
        return 0;
    gnutls_db_set_cache_expiration(q->tls, PQ_QUIC_TICKET_LIFE / PQ_SEC);
    if (!q->e->conf.client)
        return gnutls_record_set_max_early_data_size(q->tls, ALL);
    gnutls_handshake_set_hook_function(q->tls, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                       GNUTLS_HOOK_POST, on_ticket);
    if (!t || gnutls_session_set_data(q->tls, t->session.data, t->session.size))
        return 0;
    memcpy(q->early_secret, t->secret, sizeof q->early_secret);
    q->early = true;
    return 0;
}

void pq_quic_early_begin(struct pq_quic *q, const struct pq_quic_peer *who)
{
    if (q->early && pq_ngtcp2_use_params(q->conn, &who->ticket->params))
        q->early = false;
}

void pq_quic_ticket_free(struct pq_quic_ticket **out)
{
    struct pq_quic_ticket *t = *out;
    if (!t)
        return;
    if (t->session.data)
        explicit_bzero(t->session.data, t->session.size);
    gnutls_free(t->session.data);
    explicit_bzero(t->secret, sizeof t->secret);
    free(t);
    *out = NULL;
}

/* ---- the server: tickets */

static int find_ticket(void *ctx, unsigned id, const unsigned char *p, unsigned n)
{
    struct pq_view *ticket = ctx;
    if (id == PRE_SHARED_KEY)
        *ticket = quic_ticket_asked((struct pq_view){p, n});
    return 0;
}

static void let_in(struct pq_quic *q, const struct pq_quic_claim *claim)
{
    struct pq_quic_end *e = q->e;
    const gnutls_datum_t key = {e->ticket_key, sizeof e->ticket_key};
    if (gnutls_session_ticket_enable_server(q->tls, &key))
        return;
    gnutls_anti_replay_enable(q->tls, e->anti_replay);
    q->ticketed = true;
    q->named = q->mixed = claim->named;
    memcpy(q->second, claim->second, sizeof q->second);
    memcpy(q->mix, claim->mix, sizeof q->mix);
    memcpy(q->early_secret, claim->psk, sizeof q->early_secret);
}

void pq_quic_early_hello(struct pq_quic *q, struct pq_view hello)
{
    const struct pq_quic_end *e = q->e;
    const gnutls_datum_t message = {(uint8_t *)(uintptr_t)hello.p, (unsigned)hello.n};
    struct pq_quic_claim claim = {.named = false};
    struct pq_view ticket = {hello.p, 0};
    if (!e->conf.early || q->ticketed || !e->ev->taken)
        return;
    gnutls_ext_raw_parse(&ticket, find_ticket, &message, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
    if (ticket.n && e->ev->taken(e->ctx, q, ticket, &claim))
        let_in(q, &claim);
    explicit_bzero(&claim, sizeof claim);
}

void pq_quic_early_not(struct pq_quic *q)
{
    if (!q->ticketed)
        return;
    q->ticketed = q->named = q->mixed = false;
    explicit_bzero(q->early_secret, sizeof q->early_secret);
    q->e->ev->not_taken(q->e->ctx, q);
}

void pq_quic_early_give(struct pq_quic *q)
{
    struct pq_quic_end *e = q->e;
    const gnutls_datum_t key = {e->ticket_key, sizeof e->ticket_key};
    q->ticket_owed = false;
    if (!q->tls || (!q->ticketed && gnutls_session_ticket_enable_server(q->tls, &key)))
        return;
    gnutls_session_ticket_send(q->tls, 1, 0); /* if it cannot be the client begins without one */
}

void pq_quic_early_given(struct pq_quic *q, struct pq_view message)
{
    const struct pq_view ticket = quic_ticket_given(message);
    if (ticket.n && q->e->ev->given && !q->over)
        q->e->ev->given(q->user, ticket, q->ticket_secret);
}

/* ---- early packets */

bool pq_quic_early_has_room(const struct pq_quic *q)
{
    return q->early && q->early_bytes + PQ_QUIC_SIZE_LEAST <= PQ_QUIC_EARLY_MAX;
}

void pq_quic_early_sent(struct pq_quic *q, size_t n)
{
    q->early_bytes += n;
}

bool pq_quic_early_takes(struct pq_quic *q, struct pq_view frames)
{
    if (q->early_bytes + frames.n > PQ_QUIC_EARLY_MAX || !pq_quic_accept(q))
        return false;
    q->early_bytes += frames.n;
    q->early = true;
    pq_quic_say_ready(q);
    return pq_quic_takes(q, frames);
}

void pq_quic_early_done(struct pq_quic *q)
{
    if (!q->e->conf.client) {
        q->ticket_owed = q->e->conf.early && !q->plain;
        return;
    }
    q->ticket_until = q->e->conf.early && !q->plain ? q->now + TICKET_WAIT : 0;
    if (!q->early)
        return;
    q->early = false;
    if (gnutls_session_get_flags(q->tls) & GNUTLS_SFLAGS_EARLY_DATA)
        return;
    q->early_bytes = 0;
    pq_ngtcp2_early_rejected(q->conn);
    pq_quic_send_anew(q);
}

bool pq_quic_early_waits(const struct pq_quic *q)
{
    return q->ticket_owed || q->now < q->ticket_until;
}
