/* SPDX-License-Identifier: MIT */
/* key_of.c - one more server for somebody who has a link already: with his key and the shared one
 * of that link, so that one configuration is good for all its servers. */
#include "setup/server_setup.h"

#include "noise/noise.h"

#include <string.h>

/* Whether a server of ours can have what the link says. */
static bool fits(const struct pq_server_setup *v)
{
    const struct pq_setup_link *l = &v->of;
    const char *why = NULL;
    bool keys = l->has_secret && l->n_servers > 0;
    for (unsigned i = 0; i < l->n_servers; i++)
        keys = keys && l->server[i].has_key;
    if (!keys || strlen(l->key) >= sizeof v->plan.key || strcmp(l->block, "aes-128-gcm") != 0)
        why = "it is none that \"paqet init server\" has made";
    else if (v->s.o->quic && !l->quic)
        why = "it is a link over kcp, and one configuration has one transport: leave --quic out";
    else if (v->s.o->n_users > 1)
        why = "it is of one user: say --user once, for the name that he has here";
    if (why)
        pq_setup_say("--key-of: %s", why);
    return !why;
}

bool pq_server_read_key_of(struct pq_server_setup *v)
{
    struct pq_link_msgs m;
    if (!v->s.o->key_of)
        return true;
    const int e = pq_link_read(v->s.o->key_of, &v->of, &m);
    for (unsigned i = 0; i < m.n; i++)
        pq_setup_say("--key-of: the link: %s", m.v[i].text);
    if (e || !fits(v))
        return false;
    v->plan.quic = v->of.quic; /* one configuration is for all its servers */
    return true;
}

bool pq_server_take_keys(struct pq_server_setup *v)
{
    struct pq_server_plan *p = &v->plan;
    memcpy(p->key, v->of.key, strlen(v->of.key) + 1); /* as fits() has seen, there is room */
    memcpy(p->user[0].secret, v->of.secret, sizeof v->of.secret);
    return pq_x25519_public(v->of.secret, p->user[0].public_key) == 0;
}

bool pq_server_take_net(struct pq_server_setup *v)
{
    struct pq_server_plan *p = &v->plan;
    const struct pq_setup_link *l = &v->of;
    const uint8_t *four = pq_addr_v4(&l->tun4.ip), *six = l->tun6.ip.ip;
    if (l->tun4.bits != 96 + 24 || four[3] < 2)
        return false;
    memcpy(p->tun4_net, four, 3);
    p->tun4_net[3] = 0;
    p->first_inner = four[3];
    memcpy(p->tun6_net, six, 8);
    p->tun6 = p->tun6 && l->tun6.bits == 64 && six[15] == four[3];
    return true;
}

bool pq_server_join(const struct pq_server_setup *v, struct pq_setup_link *l)
{
    struct pq_setup_link all = v->of;
    bool fits = true;
    for (unsigned i = 0; i < l->n_servers; i++) {
        fits = fits && all.n_servers < PQ_LINK_SERVERS;
        if (fits)
            all.server[all.n_servers++] = l->server[i];
    }
    if (fits)
        *l = all;
    else
        pq_setup_say("--key-of: with this server's the link would have more than %d addresses",
                     PQ_LINK_SERVERS);
    pq_link_wipe(&all);
    return fits;
}
