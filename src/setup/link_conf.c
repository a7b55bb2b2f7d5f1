/* SPDX-License-Identifier: MIT */
/* link_conf.c - the link that says what a client's configuration says. */
#include "setup/link_conf.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

static void join_flags(const struct pq_conf_list *list, char out[PQ_LINK_WORD])
{
    size_t len = 0;
    for (unsigned i = 0; i < list->n && len < PQ_LINK_WORD; i++)
        len += (size_t)snprintf(out + len, PQ_LINK_WORD - len, "%s%s", i ? "," : "", list->v[i]);
    if (!strcmp(out, "PA"))
        out[0] = 0;
}

static void take_text(char *out, size_t cap, const char *text, const char *usual)
{
    snprintf(out, cap, "%s", text && strcmp(text, usual) != 0 ? text : "");
}

/* What either transport has, as far as links say it. */
static void take_transport(const struct pq_conf *c, struct pq_setup_link *l)
{
    l->quic = c->over_quic;
    snprintf(l->block, sizeof l->block, "%s",
             l->quic ? "aes-128-gcm" : pq_cipher_name(c->cipher)); /* not said, or as it is */
    l->mtu = !c->mtu_set ? 0 : l->quic ? c->quic.mtu : c->kcp.mtu;
    if (l->quic)
        return;
    take_text(l->mode, sizeof l->mode, c->kcp.mode, "fast");
    l->dshard = c->kcp.dshard > 0 && c->kcp.pshard > 0 ? c->kcp.dshard : 0;
    l->pshard = l->dshard ? c->kcp.pshard : 0;
}

/* An inner address.  Of a device that is off, too, in a user's own file: the server knows him by
 * it, and no other one has it.  Without his key it may be anybody's, such as an example's. */
static void take_tun(const char *text, struct pq_setup_link *l)
{
    struct pq_net n;
    if (text && *text && strchr(text, '/') && !pq_net_parse(&n, text) && !pq_addr_is_any(&n.ip))
        *(pq_addr_is4(&n.ip) ? &l->tun4 : &l->tun6) = n;
}

int pq_link_from_conf(const struct pq_conf *c, const char *name, struct pq_setup_link *l,
                      char why[160])
{
    *l = (struct pq_setup_link){.n_servers = c->n_servers};
    if (c->role != PQ_ROLE_CLIENT) {
        snprintf(why, 160,
                 "it is a server's configuration, which does not hold the private keys of its "
                 "users; \"paqet link\" alone "
                 "shows the links that init made");
        return PQ_EINVAL;
    }
    if (c->over_quic && c->quic.open) {
        snprintf(why, 160, "transport.quic.auth: none cannot be said in a link, which needs a key");
        return PQ_EINVAL;
    }
    for (unsigned i = 0; i < c->n_servers; i++) {
        struct pq_link_server *s = &l->server[i];
        snprintf(s->host, sizeof s->host, "%s", c->server[i].host);
        s->ports = c->server[i].ports;
        s->has_key = c->server[i].has_key;
        memcpy(s->key, c->server[i].key, sizeof s->key);
        if (s->has_key != c->server[0].has_key) {
            snprintf(
                why, 160,
                "some of its servers have a public key and some have not, which no link can say");
            return PQ_EINVAL;
        }
    }
    if (c->kcp.key && strlen(c->kcp.key) >= sizeof l->key) {
        snprintf(why, 160, "transport.%s.key is longer than a link may hold (%d bytes)",
                 c->over_quic ? "quic" : "kcp", PQ_LINK_TEXT - 1);
        return PQ_EINVAL;
    }
    take_text(l->key, sizeof l->key, c->kcp.key, "");
    l->has_secret = c->has_secret && l->server[0].has_key;
    if (l->has_secret)
        memcpy(l->secret, c->secret, sizeof l->secret);
    take_transport(c, l);
    take_text(l->look, sizeof l->look, c->look_text, "plausible");
    join_flags(&c->local_flag_text, l->local_flag);
    join_flags(&c->remote_flag_text, l->remote_flag);
    l->conn = c->conn > 1 ? c->conn : 0;
    if (c->tun.enabled || l->has_secret) {
        take_tun(c->tun.addr_text, l);
        take_tun(c->tun.addr6_text, l);
    }
    snprintf(l->name, sizeof l->name, "%s", name);
    return 0;
}
