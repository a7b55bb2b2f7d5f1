/* SPDX-License-Identifier: MIT */
#include "app/discover.h"

#include "app/names.h"
#include "app/tun.h"
#include "base/err.h"
#include "os/tundev.h"
#include "wire/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Neither lo nor the device of a tunnel: a client's that leads everything into it, or one that
 * nothing leads out by. */
static bool leads_out(const struct pq_iface *f)
{
    const bool tunnel = !f->has_mac && !f->has_default4 && !f->has_default6;
    return !f->loopback && !tunnel && !pq_tundev_is_ours(f->index);
}

static void list_names(char *buf, size_t cap)
{
    struct pq_iface *v;
    size_t n, len = 0;
    buf[0] = 0;
    if (pq_iface_list(&v, &n))
        return;
    for (size_t i = 0; i < n && len < cap - 20; i++)
        if (leads_out(&v[i]))
            len += (size_t)snprintf(buf + len, cap - len, "%s%s", len ? ", " : "", v[i].name);
    free(v);
}

static int get_iface(const char *name, int index, struct pq_iface *out, char why[PQ_WHY_LEN])
{
    char names[256];
    int e = pq_iface_get(name, index, out);
    if (!e && out->up)
        return 0;
    if (!e) {
        snprintf(why, PQ_WHY_LEN, "network.interface: %s is down; try: ip link set %s up",
                 out->name, out->name);
        return PQ_EAGAIN;
    } else {
        list_names(names, sizeof names);
        snprintf(why, PQ_WHY_LEN,
                 "network.interface: there is no interface '%s'; this machine has "
                 "%s",
                 name ? name : "?", names);
    }
    return PQ_EINVAL;
}

/* A configured MTU must fit the link; the default gives way by itself (tunnel/session.c). */
static int check_mtu(const struct pq_conf *c, bool is4, const struct pq_iface *f,
                     char why[PQ_WHY_LEN])
{
    size_t head = (size_t)(is4 ? PQ_IP4_LEN : PQ_IP6_LEN) + PQ_TCP_LEN;
    const long mtu = c->over_quic ? c->quic.mtu : c->kcp.mtu;
    if (!f->mtu || !c->mtu_set || (size_t)mtu + head <= f->mtu)
        return 0;
    snprintf(why, PQ_WHY_LEN,
             "transport.%s.mtu: %ld does not fit %s, whose MTU is %u; use %zu or "
             "less, or leave it out",
             c->over_quic ? "quic" : "kcp", mtu, f->name, f->mtu, f->mtu - head);
    return PQ_EINVAL;
}

/* The tunnel's own device: its packets would come back into it for ever. */
static int check_not_tun(const struct pq_conf *c, const struct pq_iface *f, char why[PQ_WHY_LEN])
{
    if (!c->tun.enabled || strcmp(f->name, pq_app_tun_name(c)) != 0)
        return 0;
    snprintf(why, PQ_WHY_LEN,
             "network.interface: the way out leads into %s, which is the tunnel's own device "
             "(tun.name); name the interface that leads to the Internet",
             f->name);
    return PQ_EINVAL;
}

/* An address of the interface; a link-local one only if there is no other, and it will do. */
static const struct pq_addr *address_on(const struct pq_iface *f, bool is4, bool local_too)
{
    const struct pq_addr *local = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (pq_addr_is4(&f->addr[i].ip) != is4)
            continue;
        if (!f->addr[i].link_local)
            return &f->addr[i].ip;
        local = &f->addr[i].ip;
    }
    return local_too ? local : NULL;
}

static int find_router(const struct pq_conf_side *side, const struct pq_route *r,
                       const struct pq_addr *server, pq_ns patience, struct pq_path *out,
                       char why[PQ_WHY_LEN])
{
    char ip[PQ_ADDR_STRLEN];
    bool is4 = pq_addr_is4(server);
    out->has_mac = side->has_mac;
    memcpy(out->router_mac, side->mac, 6);
    if (out->has_mac || !out->iface.has_mac)
        return 0;
    struct pq_addr via = r->has_gateway ? r->gateway : *server;
    if (r->ifindex != out->iface.index) /* another interface than the route's was asked for */
        via = is4 ? out->iface.gateway4 : out->iface.gateway6;
    if (r->ifindex != out->iface.index && pq_addr_is_any(&via)) {
        snprintf(why, PQ_WHY_LEN,
                 "network.interface: %s has no default route, so its router is not "
                 "known; set network.%s.router_mac, or leave the interface out",
                 out->iface.name, is4 ? "ipv4" : "ipv6");
        return PQ_EINVAL;
    }
    const bool same = pq_addr_is4(&via) == is4; /* IPv4 may go through an IPv6 router */
    const struct pq_addr *own = same ? &out->local : address_on(&out->iface, !is4, true);
    int e =
        own ? pq_neigh_resolve(&out->iface, own, &via, out->router_mac, patience) : -EADDRNOTAVAIL;
    if (e) {
        snprintf(why, PQ_WHY_LEN,
                 "network.%s.router_mac: the MAC of %s on %s was not found (%s); "
                 "is the network up? else set it by hand",
                 is4 ? "ipv4" : "ipv6", pq_addr_ip_str(&via, ip), out->iface.name, pq_strerror(e));
        return PQ_EAGAIN;
    }
    out->has_mac = true;
    return 0;
}

/* The route to the server; where an own address is configured, that of packets from it. */
static int find_route(const struct pq_conf_side *side, const struct pq_addr *server,
                      struct pq_route *r)
{
    const bool from = side->has_ip && !pq_addr_is_any(&side->ip);
    int e = from ? pq_route_get(server, &side->ip, r) : -EINVAL;
    return e == -EINVAL ? pq_route_get(server, NULL, r) : e; /* it may be none of this machine's */
}

/* What to do where there is no route: this machine may have the other IP version alone. */
static const char *no_route_hint(bool is4)
{
    struct pq_addr elsewhere; /* any address of the Internet will do */
    struct pq_route r;
    pq_addr_parse_ip(&elsewhere, is4 ? "2000::1" : "1.0.0.1");
    if (pq_route_get(&elsewhere, NULL, &r))
        return ": is this machine connected? \"ip route\" shows its routes";
    return is4 ? ": this machine has IPv6 alone, so the server's IPv6 address is needed (paqet "
                 "init "
                 "server --address there)"
               : ": this machine has IPv4 alone, so the server's IPv4 address is needed (paqet "
                 "init "
                 "server --address there)";
}

int pq_discover_client(const struct pq_conf *c, const struct pq_addr *server, pq_ns patience,
                       struct pq_path *out, char why[PQ_WHY_LEN])
{
    char ip[PQ_ADDR_STRLEN];
    bool is4 = pq_addr_is4(server), named = c->ifname && *c->ifname;
    const struct pq_conf_side *side = is4 ? &c->v4 : &c->v6;
    struct pq_route r;
    memset(out, 0, sizeof *out);
    int e = find_route(side, server, &r);
    if (e && !(named && side->has_ip && side->has_mac)) {
        snprintf(why, PQ_WHY_LEN, "server.addr: there is no route to %s (%s)%s",
                 pq_addr_ip_str(server, ip), pq_strerror(e), no_route_hint(is4));
        return PQ_EAGAIN;
    }
    e = get_iface(named ? c->ifname : NULL, r.ifindex, &out->iface, why);
    if (!e)
        e = check_not_tun(c, &out->iface, why);
    if (!e)
        e = check_mtu(c, is4, &out->iface, why);
    if (e)
        return e;
    const struct pq_addr *own = address_on(&out->iface, is4, false);
    if (side->has_ip)
        out->local = side->ip;
    else if (r.ifindex == out->iface.index && !pq_addr_is_any(&r.src))
        out->local = r.src;
    else if (own)
        out->local = *own;
    else {
        snprintf(why, PQ_WHY_LEN, "network.%s.addr: %s has no %s address to reach %s from",
                 is4 ? "ipv4" : "ipv6", out->iface.name, is4 ? "IPv4" : "IPv6",
                 pq_addr_ip_str(server, ip));
        return PQ_EAGAIN;
    }
    return find_router(side, &r, server, patience, out, why);
}

/* How good the default route through an interface is, the less the better; IPv4's counts first. */
static uint64_t default_metric(const struct pq_iface *f)
{
    if (f->has_default4)
        return f->metric4;
    return f->has_default6 ? (UINT64_C(1) << 32) + f->metric6 : UINT64_MAX;
}

static int default_iface(struct pq_iface *out, char why[PQ_WHY_LEN])
{
    struct pq_iface *v;
    size_t n, up = 0;
    uint64_t best = UINT64_MAX;
    int e = pq_iface_list(&v, &n);
    if (e) {
        snprintf(why, PQ_WHY_LEN, "network.interface: cannot list interfaces (%s)", pq_strerror(e));
        return PQ_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!v[i].up || !leads_out(&v[i]))
            continue;
        if (!up++ || default_metric(&v[i]) < best) {
            *out = v[i];
            best = default_metric(out);
        }
    }
    free(v);
    if (best != UINT64_MAX || up == 1)
        return 0;
    char names[256];
    list_names(names, sizeof names);
    snprintf(why, PQ_WHY_LEN,
             "network.interface: there is no default route to choose an interface "
             "by; name one of %s",
             names);
    return up ? PQ_EINVAL : PQ_EAGAIN;
}

int pq_discover_server(const struct pq_conf *c, struct pq_path *out, char why[PQ_WHY_LEN])
{
    memset(out, 0, sizeof *out);
    int e = c->ifname && *c->ifname ? get_iface(c->ifname, 0, &out->iface, why)
                                    : default_iface(&out->iface, why);
    if (!e)
        e = check_not_tun(c, &out->iface, why);
    return e ? e : check_mtu(c, !c->v6.addr, &out->iface, why);
}

void pq_discover_found(struct pq_name_found *out, int status, const struct addrinfo *res)
{
    *out = (struct pq_name_found){.status = status};
    for (const struct addrinfo *a = status ? NULL : res; a && out->n < PQ_NAME_ADDRS;
         a = a->ai_next)
        out->n += pq_addr_from_sock(&out->v[out->n], a->ai_addr) == 0;
}

unsigned pq_discover_addrs(const struct pq_conf *c, const struct pq_name_found *found,
                           uint16_t port, struct pq_addr out[PQ_SERVER_ADDRS])
{
    const bool only4 = c->v4.addr && !c->v6.addr, only6 = c->v6.addr && !c->v4.addr;
    unsigned n = 0;
    for (int pass = 0; pass < 2; pass++) {
        const bool wanted = pass ? !only4 : !only6;
        for (unsigned i = 0; wanted && i < found->n && n < PQ_SERVER_ADDRS; i++) {
            if (pq_addr_is4(&found->v[i]) == !pass) {
                out[n] = found->v[i];
                out[n++].port = port;
            }
            if (!pass && n == PQ_SERVER_ADDRS - 1)
                break; /* one place is kept for IPv6 */
        }
    }
    return n;
}

/* Waits for the system's answer. */
static void look_up(const char *host, struct pq_name_found *found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *res = NULL;
    const int e = getaddrinfo(host, NULL, &hints, &res);
    pq_discover_found(found, pq_lookup_error(e), res);
    if (!e)
        freeaddrinfo(res);
}

int pq_discover_resolve(const struct pq_conf *c, const struct pq_conf_server *s,
                        const struct pq_names *names, struct pq_addr out[PQ_SERVER_ADDRS],
                        unsigned *n, char why[PQ_WHY_LEN])
{
    struct pq_name_found found = {.status = UV_EAI_AGAIN};
    const struct pq_name_found *known = names ? pq_names_get(names, s->host) : NULL;
    *n = 1;
    if (pq_addr_parse_ip(&out[0], s->host) == 0) {
        out[0].port = s->ports.from;
        return 0;
    }
    if (!names)
        look_up(s->host, &found);
    else if (known)
        found = *known;
    const int e = found.status;
    *n = e ? 0 : pq_discover_addrs(c, &found, s->ports.from, out);
    if (e)
        snprintf(why, PQ_WHY_LEN, "server.addr: the name '%s' cannot be resolved (%s)", s->host,
                 e == UV_EAI_AGAIN                          ? "no name server answers"
                 : e == UV_EAI_NONAME || e == UV_EAI_NODATA ? "there is no such name"
                                                            : uv_strerror(e));
    else if (!*n)
        snprintf(why, PQ_WHY_LEN,
                 "server.addr: '%s' has no address of the IP version that network.* configures",
                 s->host);
    return e == UV_EAI_AGAIN ? PQ_EAGAIN : *n ? 0 : PQ_EINVAL;
}
