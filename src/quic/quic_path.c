/* SPDX-License-Identifier: MIT */
/* quic_path.c - where a connection's datagrams go: paths as ngtcp2 has them, a peer that goes on
 * from elsewhere, and a client that does so itself [13.8]. */
#include "quic/quic_internal.h"

#define GRACE     (100 * PQ_MS)
#define TURNS_MAX 5 /* doublings of that */

/* ---- paths */

static bool is_same(const struct quic_raw_path *a, const struct quic_raw_path *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void to_raw(struct sockaddr_in6 *s, const struct pq_addr *a)
{
    *s = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    memcpy(&s->sin6_addr, a->ip, sizeof a->ip);
}

static void from_raw(struct pq_addr *a, const struct sockaddr_in6 *s)
{
    memcpy(a->ip, &s->sin6_addr, sizeof a->ip);
    a->port = ntohs(s->sin6_port);
}

/* A client may go to another port of the server alone, from the very port that it has; ngtcp2 takes
 * for another path only what begins elsewhere.  So there what it has for the client's own address
 * differs with the server's port, too. */
static void mix(const struct pq_quic_end *e, struct quic_raw_path *r)
{
    const uint16_t port = r->remote.sin6_port;
    if (!e->conf.client)
        return;
    r->local.sin6_addr.s6_addr[0] ^= (uint8_t)(port >> 8);
    r->local.sin6_addr.s6_addr[1] ^= (uint8_t)port;
}

void pq_quic_to_raw(const struct pq_quic_end *e, struct quic_raw_path *r,
                    const struct pq_quic_path *p)
{
    to_raw(&r->local, &p->local);
    to_raw(&r->remote, &p->peer);
    mix(e, r);
}

void pq_quic_from_raw(const struct pq_quic_end *e, struct pq_quic_path *p,
                      const struct quic_raw_path *r)
{
    struct quic_raw_path own = *r;
    mix(e, &own);
    from_raw(&p->local, &own.local);
    from_raw(&p->peer, &own.remote);
}

ngtcp2_path pq_quic_ngtcp2_path(struct quic_raw_path *r)
{
    return (ngtcp2_path){.local = {(void *)&r->local, sizeof r->local},
                         .remote = {(void *)&r->remote, sizeof r->remote}};
}

void pq_quic_path_of(struct quic_raw_path *r, const ngtcp2_path *p)
{
    *r = (struct quic_raw_path){0};
    if (p->remote.addrlen != sizeof r->remote || p->local.addrlen != sizeof r->local)
        return;
    memcpy(&r->local, p->local.addr, sizeof r->local);
    memcpy(&r->remote, p->remote.addr, sizeof r->remote);
}

/* ---- before anybody has answered */

int pq_quic_elsewhere(struct pq_quic *q, const struct pq_quic_path *path)
{
    if (q->ready || q->over || q->gone || q->received || !q->e->conf.client || !q->first_flight)
        return PQ_EAGAIN;
    pq_quic_to_raw(q->e, &q->alias, path);
    q->aliased = q->flight_owed = true;
    return 0;
}

/* ngtcp2 goes on taking it for the path on which it began. */
void pq_quic_shown(const struct pq_quic *q, struct quic_raw_path *r)
{
    if (q->aliased && is_same(r, &q->began))
        *r = q->alias;
}

void pq_quic_meant(const struct pq_quic *q, struct quic_raw_path *r)
{
    if (q->aliased && is_same(r, &q->alias))
        *r = q->began;
}

void pq_quic_answered(struct pq_quic *q, bool at_alias)
{
    struct pq_quic_path path;
    if (q->received || !q->aliased || at_alias)
        return;
    q->aliased = q->flight_owed = false;
    pq_quic_from_raw(q->e, &path, &q->began);
    if (!q->over)
        q->e->ev->path(q->user, &path);
}

/* ---- whether a client is where its datagram comes from */

bool pq_quic_is_proven(const struct pq_quic *q)
{
    return q->e->conf.client || is_same(&q->path, &q->proven);
}

/* Who copies a client's datagrams and is faster than they are, from another address, would have the
 * server answer there until it has found out that nobody answers (RFC 9000 9.3.3).  So what comes
 * from elsewhere is taken for lost until it has done so for a while, and nothing has come from
 * where the client was: a NAT has given it another port.  A client that moves says so by another
 * id; under that, too, the copy may be the first one, so until somebody has answered from there
 * they have turns, each as long again as all before. */
static bool has_turn(const struct pq_quic *q, pq_ns now)
{
    const pq_ns waited = now - pq_ns_max(q->strange_since, q->path_since);
    if (!q->strange.remote.sin6_family)
        return false;
    return pq_quic_is_proven(q) ? waited >= GRACE : waited / (GRACE << q->turns) % 2 == 1;
}

/* Not the client's path, where that matters: ngtcp2 may not have PATH_RESPONSE from there, nor
 * anything until it is done with the path that was shown (`held`).  Then it asks another one. */
bool pq_quic_is_away(const struct pq_quic *q, const struct quic_raw_path *p)
{
    return PQ_NGTCP2_ENDS && !q->e->conf.client && p && !is_same(p, &q->path);
}

bool pq_quic_may_come(const struct pq_quic *q, const struct quic_raw_path *from, const uint8_t *p,
                      pq_ns now)
{
    if (q->held && pq_quic_is_away(q, from))
        return false;
    if (q->e->conf.client || !q->ready || (p[0] & 0x80) || is_same(from, &q->proven) ||
        memcmp(p + 1, q->id, sizeof q->id) != 0)
        return true;
    return is_same(from, has_turn(q, now) ? &q->strange : &q->path);
}

void pq_quic_came(struct pq_quic *q, const struct quic_raw_path *from, const uint8_t *p)
{
    if (q->e->conf.client || (p[0] & 0x80) || !is_same(from, &q->path))
        return;
    memcpy(q->id, p + 1, sizeof q->id);
    if (pq_quic_is_proven(q))
        memset(&q->strange, 0, sizeof q->strange);
}

/* Of several each other one takes the place of the one before, by lot: none can keep the client out
 * by being the first. */
void pq_quic_note_strange(struct pq_quic *q)
{
    const bool any = q->strange.remote.sin6_family;
    if (is_same(q->from, &q->strange) || is_same(q->from, &q->path) ||
        (any && pq_rng_u32(q->e->rng) % 2))
        return;
    q->strange = *q->from;
    q->strange_since = any ? q->strange_since : q->now;
}

/* ---- another one */

/* What is on its way over a `dead` one is as good as lost; and where the addresses are others,
 * nothing is known of the new one, and what is acknowledged of the old one tells nothing of it. */
static void go_over(struct pq_quic *q, const struct quic_raw_path *to, bool dead)
{
    struct pq_quic_path a, b;
    struct quic_raw_path from = q->path;
    pq_quic_shown(q, &from);
    pq_quic_from_raw(q->e, &a, &from);
    pq_quic_from_raw(q->e, &b, to);
    const bool other = !pq_addr_eq_ip(&a.peer, &b.peer) || !pq_addr_eq_ip(&a.local, &b.local);
    q->path = *to;
    q->path_since = q->now;
    q->turns = pq_quic_is_proven(q) ? 0 : q->turns + (q->turns < TURNS_MAX);
    memset(&q->strange, 0, sizeof q->strange);
    if (dead || other)
        quic_cc_retry(&q->cc);
    pq_mtu_path(&q->cc.mtu, q->cc.next);
    if (other)
        quic_cc_new_path(&q->cc);
}

void pq_quic_look_at_path(struct pq_quic *q)
{
    struct quic_raw_path raw;
    pq_quic_path_of(&raw, ngtcp2_conn_get_path(q->conn));
    if (!raw.remote.sin6_family || is_same(&raw, &q->path))
        return;
    go_over(q, &raw, !q->e->conf.client); /* of a client it may be; its own it has asked for */
    struct pq_quic_path path;
    pq_quic_from_raw(q->e, &path, &raw);
    if (!q->over && q->e->ev->path)
        q->e->ev->path(q->user, &path);
}

int pq_quic_on_validation(ngtcp2_conn *conn, uint32_t flags, const ngtcp2_path *path,
                          PQ_NGTCP2_OLD_PATH ngtcp2_path_validation_result result, void *user)
{
    struct pq_quic *q = user;
    (void)conn;
    (void)flags;
    if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
        pq_quic_path_of(&q->proven, path);
    q->held = result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS;
    const bool asked = q->asks_path;
    q->asks_path = false;
    if (asked && result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS && !q->over && q->e->ev->stays)
        q->e->ev->stays(q->user);
    return 0;
}

int pq_quic_move(struct pq_quic *q, const struct pq_quic_path *path, bool at_once, pq_ns now)
{
    if (!q->ready || q->over || !q->e->conf.client || (q->asks_path && !at_once))
        return PQ_EAGAIN;
    struct quic_raw_path raw;
    pq_quic_to_raw(q->e, &raw, path);
    const ngtcp2_path to = pq_quic_ngtcp2_path(&raw);
    q->asks_path = false; /* that is not asked any more */
    pq_quic_enter(q, now);
    const int r = at_once ? ngtcp2_conn_initiate_immediate_migration(q->conn, &to, now)
                          : ngtcp2_conn_initiate_migration(q->conn, &to, now);
    pq_quic_leave(q);
    if (r)
        return PQ_EAGAIN;
    if (at_once)
        go_over(q, &raw, true);
    q->asks_path = !at_once;
    return 0;
}

void pq_quic_ping(struct pq_quic *q)
{
    q->ping = q->ready;
}
