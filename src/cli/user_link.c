/* SPDX-License-Identifier: MIT */
#include "cli/user_link.h"

#include "base/err.h"
#include "cli/cli.h"
#include "noise/noise.h"
#include "setup/link_conf.h"

#include <string.h>
#include <unistd.h>

/* ---- an inner address */

#define NET_MIN 16 /* bits of an IPv4 network in which one is looked for */
#define NET_MAX 30

static bool is_taken(const struct pq_conf *c, const struct pq_addr *a)
{
    bool taken = pq_addr_eq_ip(a, &c->tun.net4.ip) || pq_addr_eq_ip(a, &c->tun.net6.ip);
    for (unsigned i = 0; i < c->n_users && !taken; i++)
        for (unsigned k = 0; k < c->user[i].n_tun; k++)
            taken = taken || pq_net_has(&c->user[i].tun[k], a);
    return taken;
}

/* The address of this number in a network, whose last 16 bits at most are the hosts'. */
static struct pq_net nth_of(const struct pq_net *net, unsigned host)
{
    struct pq_net n = *net;
    const unsigned hosts = net->bits > 112 ? (1U << (128U - net->bits)) - 1 : 0xffff;
    uint8_t *last = n.ip.ip + 14;
    last[0] = (uint8_t)((last[0] & ~(hosts >> 8)) | (host >> 8));
    last[1] = (uint8_t)((last[1] & ~hosts) | (host & 0xff));
    return n;
}

void pq_user_inner(const struct pq_conf *c, struct pq_user_inner *out)
{
    const struct pq_conf_tun *t = &c->tun;
    *out = (struct pq_user_inner){.text4 = "", .text6 = ""};
    if (!t->enabled || !t->has4 || t->net4.bits < 96 + NET_MIN || t->net4.bits > 96 + NET_MAX)
        return;
    const bool six = t->has6 && t->net6.bits <= 112;
    const unsigned hosts = (1U << (128U - t->net4.bits)) - 1; /* the last one is for all */
    for (unsigned host = 2; host < hosts && !out->net4.bits; host++) {
        const struct pq_net a = nth_of(&t->net4, host), b = nth_of(&t->net6, host);
        if (is_taken(c, &a.ip) || (six && is_taken(c, &b.ip)))
            continue;
        out->net4 = a;
        pq_addr_ip_str(&a.ip, out->text4);
        if (six) {
            out->net6 = b;
            pq_addr_ip_str(&b.ip, out->text6);
        }
    }
}

/* ---- a link */

struct search { /* for links of init that lead to a server of this public key */
    const uint8_t *key;
    struct pq_setup_link *out;
};

static void take_servers(void *ctx, const char *user, const char *text)
{
    const struct search *s = ctx;
    struct pq_setup_link l;
    struct pq_link_msgs m;
    (void)user;
    if (!s->out->n_servers && pq_link_read(text, &l, &m) == 0)
        for (unsigned i = 0; i < l.n_servers; i++)
            if (l.server[i].has_key && memcmp(l.server[i].key, s->key, PQ_LINK_KEY_LEN) == 0)
                s->out->server[s->out->n_servers++] = l.server[i];
    pq_link_wipe(&l);
}

/* The servers of the link: one under the address that was said, or those that init knew. */
static bool find_servers(const struct pq_conf *c, const struct pq_user_link *u,
                         struct pq_setup_link *l)
{
    uint8_t key[PQ_CONF_KEY_LEN];
    char folder[PQ_CLI_PATH], name[PQ_CLI_PATH];
    if (pq_crypt_global_init() || pq_x25519_public(c->secret, key))
        return false;
    if (u->address) {
        l->n_servers = 1;
        snprintf(l->server[0].host, sizeof l->server[0].host, "%s", u->address);
    } else {
        const char *slash = strrchr(u->conf, '/');
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - u->conf) : 1,
                 slash ? u->conf : ".");
        snprintf(name, sizeof name, "%s", slash ? slash + 1 : u->conf);
        name[strcspn(name, ".")] = 0;
        struct search s = {.key = key, .out = l};
        pq_links_each(folder, name, NULL, take_servers, &s);
    }
    for (unsigned i = 0; i < l->n_servers; i++) {
        l->server[i].ports = c->own_ports;
        l->server[i].has_key = true;
        memcpy(l->server[i].key, key, sizeof key);
    }
    if (!l->n_servers)
        fprintf(stderr, "paqet user: by which address do clients reach this server? --address "
                        "HOST\n");
    return l->n_servers > 0;
}

static bool make(const struct pq_conf *c, const struct pq_user_link *u, char out[PQ_LINK_MAX])
{
    struct pq_setup_link l = {.quic = c->over_quic, .has_secret = true}, again;
    struct pq_link_msgs m = {.n = 0};
    char why[160] = "it is too long";
    if (!find_servers(c, u, &l))
        return false;
    snprintf(l.key, sizeof l.key, "%s", c->kcp.key ? c->kcp.key : "");
    snprintf(l.block, sizeof l.block, "%s",
             c->over_quic ? "aes-128-gcm" : pq_cipher_name(c->cipher));
    memcpy(l.secret, u->secret, sizeof l.secret);
    l.tun4 = u->inner->net4;
    l.tun6 = u->inner->net6;
    snprintf(l.name, sizeof l.name, "%s", u->name);
    int e = pq_link_write(&l, PQ_LINK_OWN, out, why);
    e = e ? e : pq_link_read(out, &again, &m); /* so wrong addresses show */
    if (e)
        fprintf(stderr, "paqet user: --address: %s\n", m.n ? m.v[0].text : why);
    pq_link_wipe(&l);
    pq_link_wipe(&again);
    return !e;
}

bool pq_user_link_possible(const struct pq_conf *c, const struct pq_user_link *u)
{
    char text[PQ_LINK_MAX];
    const bool ok = make(c, u, text);
    explicit_bzero(text, sizeof text);
    return ok;
}

bool pq_user_link_print(const struct pq_conf *c, const struct pq_user_link *u)
{
    char text[PQ_LINK_MAX];
    const bool ok = make(c, u, text);
    if (ok) {
        printf("%s\n", text);
        if (u->qr)
            pq_qr_print(text, stdout, !isatty(STDOUT_FILENO));
        fprintf(stderr,
                "Whoever has this link is %s: keep it secret. It is shown this once. On the other "
                "machine: sudo ./paqet init client 'LINK'\n",
                u->name);
    }
    explicit_bzero(text, sizeof text);
    return ok && !fflush(stdout);
}
