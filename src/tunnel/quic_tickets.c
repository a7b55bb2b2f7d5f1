/* SPDX-License-Identifier: MIT */
/* quic_tickets.c - tickets over QUIC: whose they are, and whether he may still come [13.10]. */
#include "tunnel/quic_tickets.h"

#include "tunnel/tickets.h"
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

struct kept { /* of a client */
    struct pq_list node;
    struct pq_addr server; /* its port does not count */
    uint8_t server_public[PQ_X25519_LEN];
    struct pq_quic_ticket *ticket;
};

int pq_quic_tickets_init(struct pq_hub *h)
{
    pq_list_init(&h->quic_kept);
    h->tickets = h->conf.tickets;
    if (h->conf.client || h->tickets || !h->conf.quic.early)
        return 0;
    const int e = pq_tickets_new(&h->own_tickets, h->rng);
    h->tickets = h->own_tickets;
    return e;
}

static void free_kept(struct kept *k)
{
    pq_quic_ticket_free(&k->ticket);
    free(k);
}

void pq_quic_tickets_fini(struct pq_hub *h)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&h->quic_kept)))
        free_kept(PQ_OF(n, struct kept, node));
    h->n_quic_kept = 0;
    pq_tickets_free(&h->own_tickets);
}

/* ---- the server */

void pq_quic_tickets_given(void *user, struct pq_view ticket, const uint8_t secret[PQ_QUIC_PSK_LEN])
{
    const struct pq_session *s = user;
    struct pq_ticket what = {.named = s->who != PQ_NOBODY};
    memcpy(what.client, s->client, sizeof what.client);
    memcpy(what.secret, secret, sizeof what.secret);
    pq_tickets_give(s->hub->tickets, ticket, &what, s->hub->now);
    explicit_bzero(&what, sizeof what);
}

/* Users may have changed since the ticket was given, and so may what is required. */
static bool may_come(struct pq_hub *h, const struct pq_ticket *t, struct pq_quic_who *who,
                     struct pq_quic_claim *claim)
{
    if (!t->named)
        return !h->conf.own.required;
    return h->quic_own.there && pq_own_user(h, t->client, &who->who) &&
           pq_quic_keys_make_second(h, t->client, claim);
}

bool pq_quic_tickets_taken(void *ctx, struct pq_quic *q, struct pq_view ticket,
                           struct pq_quic_claim *claim)
{
    struct pq_hub *h = ctx;
    struct pq_quic_who who = {.q = q};
    struct pq_ticket t;
    if (!h->tickets || !pq_tickets_take(h->tickets, ticket, &t, h->now))
        return false;
    const bool ok = may_come(h, &t, &who, claim);
    claim->named = t.named;
    memcpy(claim->psk, t.secret, sizeof claim->psk);
    memcpy(who.client, t.client, sizeof who.client);
    if (ok && t.named)
        pq_quic_keys_is(h, &who);
    explicit_bzero(&t, sizeof t);
    return ok;
}

/* ---- the client */

void pq_quic_tickets_keep(void *user, struct pq_quic_ticket *t)
{
    const struct pq_session *s = user;
    struct pq_hub *h = s->hub;
    struct kept *k = calloc(1, sizeof *k);
    if (!k) {
        pq_quic_ticket_free(&t);
        return;
    }
    if (h->n_quic_kept == PQ_QUIC_TICKETS_KEPT) {
        free_kept(PQ_OF(pq_list_pop(&h->quic_kept), struct kept, node));
        h->n_quic_kept--;
    }
    k->server = s->peer;
    memcpy(k->server_public, s->server_public, sizeof k->server_public);
    k->ticket = t;
    pq_list_init(&k->node);
    pq_list_push(&h->quic_kept, &k->node);
    h->n_quic_kept++;
}

static struct kept *find_kept(const struct pq_session *s)
{
    const struct pq_list *all = &s->hub->quic_kept;
    for (struct pq_list *n = all->prev; n != all; n = n->prev) {
        struct kept *k = PQ_OF(n, struct kept, node);
        if (pq_addr_eq_ip(&k->server, &s->peer) &&
            memcmp(k->server_public, s->server_public, sizeof k->server_public) == 0)
            return k;
    }
    return NULL;
}

struct pq_quic_ticket *pq_quic_tickets_for(struct pq_session *s)
{
    struct kept *k = find_kept(s);
    if (!k)
        return NULL;
    struct pq_quic_ticket *t = k->ticket;
    pq_list_remove(&k->node);
    s->hub->n_quic_kept--;
    free(k);
    return t;
}
