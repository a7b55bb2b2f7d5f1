/* SPDX-License-Identifier: MIT */
/* yaml.c - the texts of configurations: short, each part with a word of what it is for. */
#include "setup/setup_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct text {
    FILE *f;
    char *p;
    size_t n;
};

static bool begin(struct text *t, const char *by)
{
    char day[16] = "";
    struct tm tm;
    const time_t now = time(NULL);
    t->f = open_memstream(&t->p, &t->n);
    if (!t->f)
        return false;
    if (localtime_r(&now, &tm))
        strftime(day, sizeof day, "%Y-%m-%d", &tm);
    fprintf(t->f, "# Made by \"paqet init %s\" on %s. It holds keys: do not show it to anybody.\n",
            by, day);
    return true;
}

static char *end(struct text *t)
{
    return fclose(t->f) ? NULL : t->p;
}

void pq_text_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* A value in double quotes; it holds no control characters. */
static void put_quoted(FILE *f, const char *value)
{
    putc('"', f);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            putc('\\', f);
        putc(*value, f);
    }
    putc('"', f);
}

static void put(FILE *f, const char *key, const char *value)
{
    fprintf(f, "%s: ", key);
    put_quoted(f, value);
    putc('\n', f);
}

static void put_hex(FILE *f, const char *key, const uint8_t v[PQ_SETUP_KEYS])
{
    fprintf(f, "%s: \"", key);
    for (unsigned i = 0; i < PQ_SETUP_KEYS; i++)
        fprintf(f, "%02x", v[i]);
    fputs("\"\n", f);
}

static void put_net(FILE *f, const char *key, const struct pq_net *n)
{
    char ip[PQ_ADDR_STRLEN];
    fprintf(f, "%s: %s/%u\n", key, pq_addr_ip_str(&n->ip, ip),
            pq_addr_is4(&n->ip) ? n->bits - 96U : n->bits);
}

static const char *protocol_name(bool quic)
{
    return quic ? "quic" : "kcp";
}

/* ---- server */

void pq_plan_inner(const struct pq_server_plan *p, unsigned i, struct pq_net *net4,
                   struct pq_net *net6)
{
    uint8_t ip4[4], ip6[16];
    memcpy(ip4, p->tun4_net, sizeof ip4);
    memcpy(ip6, p->tun6_net, sizeof ip6);
    ip4[3] = ip6[15] = (uint8_t)((p->first_inner ? p->first_inner : 2) + i);
    *net4 = (struct pq_net){.bits = p->tun ? 96 + 24 : 0};
    *net6 = (struct pq_net){.bits = p->tun && p->tun6 ? 64 : 0};
    if (p->tun)
        pq_addr_set4(&net4->ip, ip4, 0);
    if (p->tun && p->tun6)
        pq_addr_set6(&net6->ip, ip6, 0);
}

/* What clients may reach. */
static void put_rules(FILE *f, const char *bridge)
{
    if (!bridge) {
        fputs("allow: public # the Internet, nothing on this machine and in its private networks\n",
              f);
        return;
    }
    fputs("allow:\n  - public # the Internet\n", f);
    if (!strcmp(bridge, "all")) {
        fputs("  - 127.0.0.1 # what runs on this machine\n", f);
        return;
    }
    fputs("  # and what runs on this machine, at these ports\n", f);
    while (*bridge) {
        const size_t n = strcspn(bridge, ",");
        fprintf(f, "  - \"127.0.0.1:%.*s\"\n", (int)n, bridge);
        bridge += n + (bridge[n] == ',');
    }
}

static void put_tun(FILE *f, const struct pq_server_plan *p)
{
    struct pq_net net4, net6;
    pq_plan_inner(p, 0, &net4, &net6);
    net4.ip.ip[15] = net6.ip.ip[15] = 1;
    fputs("tun: # for clients that send everything through the tunnel\n  enabled: true\n", f);
    put(f, "  name", p->tun_name);
    put_net(f, "  addr", &net4);
    if (p->tun6)
        put_net(f, "  addr6", &net6);
    fputs("  masquerade: true # they reach the Internet with this machine's address\n", f);
}

static void put_users(FILE *f, const struct pq_server_plan *p)
{
    char ip[PQ_ADDR_STRLEN];
    fputs("users: # who is let in; \"paqet user add NAME\" or another entry here makes more\n", f);
    for (unsigned i = 0; i < p->n_users; i++) {
        struct pq_net net4, net6;
        put(f, "  - name", p->user[i].name);
        put_hex(f, "    public_key", p->user[i].public_key);
        pq_plan_inner(p, i, &net4, &net6);
        if (!net4.bits)
            continue;
        fprintf(f, "    tun: [\"%s\"", pq_addr_ip_str(&net4.ip, ip));
        if (net6.bits)
            fprintf(f, ", \"%s\"", pq_addr_ip_str(&net6.ip, ip));
        fputs("]\n", f);
    }
}

char *pq_yaml_server(const struct pq_server_plan *p)
{
    struct text t;
    if (!begin(&t, "server"))
        return NULL;
    char ports[PQ_RANGE_STRLEN];
    fprintf(t.f, "role: server\nlog:\n  level: info\nlisten:\n  addr: \":%s\"\n",
            pq_range_str(&p->ports, ports));
    if (p->ifname) {
        fputs("network:\n", t.f);
        put(t.f, "  interface", p->ifname);
    }
    put_rules(t.f, p->bridge);
    if (p->tun)
        put_tun(t.f, p);
    fprintf(t.f, "transport:\n  protocol: %s\n", protocol_name(p->quic));
    put_hex(t.f, "  private_key", p->secret);
    fputs("  require: keys # nobody else gets any answer\n", t.f);
    if (p->state && !p->quic)
        put(t.f, "  state", p->state);
    fprintf(t.f, "  %s:\n%s", protocol_name(p->quic), p->quic ? "" : "    block: aes-128-gcm\n");
    put(t.f, "    key", p->key);
    put_users(t.f, p);
    return end(&t);
}

/* ---- client */

static void put_server(FILE *f, const char *indent, const struct pq_link_server *s)
{
    char ports[PQ_RANGE_STRLEN];
    fprintf(f, strchr(s->host, ':') ? "addr: \"[%s]:%s\"\n" : "addr: \"%s:%s\"\n", s->host,
            pq_range_str(&s->ports, ports));
    if (s->has_key) {
        fputs(indent, f);
        put_hex(f, "public_key", s->key);
    }
}

static void put_servers(FILE *f, const struct pq_setup_link *l)
{
    fputs("server:\n  ", f);
    put_server(f, "  ", &l->server[0]);
    if (l->n_servers > 1)
        fputs("servers: # tried in this order where the first one is silent\n", f);
    for (unsigned i = 1; i < l->n_servers; i++) {
        fputs("  - ", f);
        put_server(f, "    ", &l->server[i]);
    }
}

static void put_forwards(FILE *f, const struct pq_client_plan *p)
{
    const char *const lists[] = {p->tcp, p->udp}, *const names[] = {"tcp", "udp"};
    const bool six = strchr(p->target, ':') != NULL;
    if (p->except) {
        fputs("forward: # all ports of this machine lead to the same ones of the target, but for\n"
              "         # \"except\", and those that a program of this machine listens on\n"
              "  - listen: all\n",
              f);
        fprintf(f, six ? "    target: \"[%s]\"\n" : "    target: \"%s\"\n", p->target);
        fprintf(f, "    protocol: tcp,udp\n    except: \"%s\"\n", p->except);
        return;
    }
    fputs("forward: # these ports of this machine lead to the same ones of the target\n", f);
    for (int i = 0; i < 2; i++) {
        if (!*lists[i])
            continue;
        fprintf(f, "  - listen: \"%s:%s\"\n", p->listen ? p->listen : "", lists[i]);
        fprintf(f, six ? "    target: \"[%s]\"\n" : "    target: \"%s\"\n", p->target);
        fprintf(f, "    protocol: %s\n", names[i]);
    }
}

/* Where it is not wanted the addresses are kept all the same, for "link -c" and for later. */
static void put_client_tun(FILE *f, const struct pq_client_plan *p)
{
    const struct pq_setup_link *l = p->link;
    if (!p->tun && (p->ports || !(l->tun4.bits || l->tun6.bits)))
        return;
    fputs(p->tun ? "tun: # all of this machine uses the tunnel\n  enabled: true\n"
                 : "tun: # with \"enabled: true\" all of this machine uses the tunnel\n"
                   "  enabled: false\n",
          f);
    put(f, "  name", p->tun_name);
    if (l->tun4.bits)
        put_net(f, "  addr", &l->tun4);
    if (l->tun6.bits)
        put_net(f, l->tun4.bits ? "  addr6" : "  addr", &l->tun6);
    fputs("  routes: [default]\n", f);
}

/* A list of flags as YAML has it. */
static void put_flags(FILE *f, const char *key, const char *flags)
{
    if (!*flags)
        return;
    fprintf(f, "    %s: [\"", key);
    for (; *flags; flags++)
        fputs(*flags == ',' ? "\", \"" : (const char[]){*flags, 0}, f);
    fputs("\"]\n", f);
}

static void put_packets(FILE *f, const struct pq_setup_link *l)
{
    if (!*l->look && !*l->local_flag && !*l->remote_flag)
        return;
    fputs("network:\n  tcp:\n", f);
    if (*l->look)
        put(f, "    look", l->look);
    put_flags(f, "local_flag", l->local_flag);
    put_flags(f, "remote_flag", l->remote_flag);
}

static void put_number(FILE *f, const char *key, long v)
{
    if (v)
        fprintf(f, "%s: %ld\n", key, v);
}

char *pq_yaml_client(const struct pq_client_plan *p)
{
    struct text t;
    const struct pq_setup_link *l = p->link;
    if (!begin(&t, p->ports ? "bridge" : "client"))
        return NULL;
    fputs("role: client\nlog:\n  level: info\n", t.f);
    if (p->socks) {
        fputs("socks5: # the port speaks HTTP, too\n", t.f);
        put(t.f, "  - listen", p->socks);
    }
    if (p->ports)
        put_forwards(t.f, p);
    put_servers(t.f, l);
    put_client_tun(t.f, p);
    put_packets(t.f, l);
    fprintf(t.f, "transport:\n  protocol: %s\n", protocol_name(l->quic));
    put_number(t.f, "  conn", l->conn);
    if (l->has_secret)
        put_hex(t.f, "  private_key", l->secret);
    fprintf(t.f, "  %s:\n", protocol_name(l->quic));
    if (!l->quic)
        put(t.f, "    block", l->block);
    if (*l->key)
        put(t.f, "    key", l->key);
    if (*l->mode)
        put(t.f, "    mode", l->mode);
    put_number(t.f, "    mtu", l->mtu);
    put_number(t.f, "    dshard", l->dshard);
    put_number(t.f, "    pshard", l->pshard);
    return end(&t);
}
