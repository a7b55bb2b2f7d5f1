/* SPDX-License-Identifier: MIT */
/* client_all.c - `listen: all`: the kernel's rules that lead all ports to a few listeners. */
#include "app/client.h"

#include <errno.h>
#include <string.h>

static void fill_side(struct pq_tproxy_side *s, const struct pq_conf *c,
                      const struct client_listener *l)
{
    const struct pq_conf_forward *f = &c->forward[c->port[l->nth].entry];
    struct pq_addr *to = pq_addr_is4(&l->addr) ? &s->to4 : &s->to6;
    *to = l->addr;
    to->port = l->bound;
    s->not_taken = f->not_taken;
    s->n_not_taken = f->n_not_taken;
}

int pq_client_take_ports(const struct pq_conf *c, const struct client_listener *v, unsigned n,
                         struct pq_tproxy **out, char why[PQ_WHY_LEN])
{
    struct pq_tproxy_conf tc;
    char said[PQ_OS_WHY_LEN];
    bool any = false, dnat = false;
    memset(&tc, 0, sizeof tc);
    *out = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (!v[i].all)
            continue;
        any = true;
        fill_side(v[i].kind == CLIENT_UDP ? &tc.udp : &tc.tcp, c, &v[i]);
    }
    int e = any ? pq_tproxy_open(out, &tc, &dnat, said) : 0;
    if (e)
        snprintf(why, PQ_WHY_LEN,
                 "forward: listen: all: %.400s. Without these rules, name the ports: "
                 "listen: \":443,8000-8100\"",
                 said);
    if (dnat)
        PQ_LOG(PQ_LOG_WARN,
               "forward: listen: all: the machine itself translates (NAT) what comes in, which "
               "iptables can only do after us: name the ports of its rules under \"except\"");
    return e;
}
