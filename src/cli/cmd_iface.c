/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "cli/cli.h"
#include "os/netinfo.h"

#include <stdlib.h>

#define PATIENCE (500 * PQ_MS) /* for a router that the kernel does not know yet */

static void print_mac(const uint8_t m[6])
{
    printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void print_gateway(const struct pq_iface *f, const struct pq_addr *gw)
{
    char ip[PQ_ADDR_STRLEN];
    uint8_t mac[6];
    const struct pq_addr *own = NULL;
    for (size_t i = 0; i < f->n && !own; i++)
        own = pq_addr_is4(&f->addr[i].ip) == pq_addr_is4(gw) ? &f->addr[i].ip : NULL;
    if (pq_addr_is_any(gw)) {
        printf("    default route, without a gateway\n");
        return;
    }
    printf("    gateway %s, router_mac ", pq_addr_ip_str(gw, ip));
    if (!f->has_mac)
        printf("not needed (no Ethernet)");
    else if (!own || pq_neigh_resolve(f, own, gw, mac, PATIENCE))
        printf("unknown (it does not answer)");
    else
        print_mac(mac);
    printf("\n");
}

static void print_iface(const struct pq_iface *f)
{
    char ip[PQ_ADDR_STRLEN];
    printf("  %s: ", f->name);
    if (f->has_mac)
        print_mac(f->mac);
    else
        printf("no MAC");
    printf(", MTU %u%s\n", f->mtu, f->up ? "" : ", down");
    for (size_t i = 0; i < f->n; i++)
        printf("    %s/%u\n", pq_addr_ip_str(&f->addr[i].ip, ip), f->addr[i].prefix);
    if (f->has_default4)
        print_gateway(f, &f->gateway4);
    if (f->has_default6)
        print_gateway(f, &f->gateway6);
}

int pq_cmd_iface(int argc, char **argv)
{
    struct pq_iface *v;
    size_t n;
    (void)argc;
    (void)argv;
    int e = pq_iface_list(&v, &n);
    if (e) {
        fprintf(stderr, "paqet iface: cannot list interfaces: %s\n", pq_strerror(e));
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        print_iface(&v[i]);
    free(v);
    return 0;
}
