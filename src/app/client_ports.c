/* SPDX-License-Identifier: MIT */
/* client_ports.c - the ports of a client's sessions: its own, which are held and let in by the
 * filter, and which one of the server's, where it has several. */
#include "app/client.h"

#include <errno.h>

#define PORT_TRIES 100

/* ---- our own */

static void add_port(const struct own_port *p, struct pq_range ports[PQ_IO_PORTS_MAX], size_t *n)
{
    if (p->n && *n < PQ_IO_PORTS_MAX)
        ports[(*n)++] = (struct pq_range){p->n, p->n};
}

int pq_client_filter(struct client_worker *cw)
{
    struct pq_range ports[PQ_IO_PORTS_MAX];
    size_t n = 0;
    for (struct pq_list *i = cw->leases.prev; i != &cw->leases; i = i->prev) {
        const struct lease *l = PQ_OF(i, struct lease, node);
        add_port(&l->port, ports, &n);
        add_port(&l->next, ports, &n);
        for (unsigned k = 0; k < PQ_TRAINS; k++)
            add_port(&l->train[k], ports, &n);
    }
    for (struct pq_list *i = cw->leases.prev; i != &cw->leases; i = i->prev)
        add_port(&PQ_OF(i, struct lease, node)->last, ports, &n);
    return pq_pktio_set_ports(cw->w.io, ports, n);
}

void pq_client_free_port(struct client_worker *cw, struct own_port *p)
{
    if (!p->n)
        return;
    pq_app_cover_port(&cw->cl->app, p->n, false);
    pq_port_release(&p->reserved);
    p->n = 0;
}

int pq_client_take_port(struct client_worker *cw, struct own_port *p)
{
    uint16_t fixed = cw->cl->app.conf->own_port, n = 0;
    int e = -EADDRINUSE;
    for (int i = 0; i < PORT_TRIES && e == -EADDRINUSE; i++) {
        n = fixed ? fixed : (uint16_t)(32768 + pq_rng_u32(&cw->w.rng) % 32768);
        e = pq_port_reserve(&p->reserved, n);
        if (fixed)
            break;
    }
    if (e == -EADDRINUSE && fixed)
        pq_say("port %u is in use by another program (another paqet client?); change "
               "network.*.addr or use port 0",
               fixed);
    else if (e)
        pq_say("no local port could be had: %s", pq_strerror(e));
    if (e)
        return e;
    p->n = n;
    pq_app_cover_port(&cw->cl->app, n, true);
    return 0;
}

/* ---- the server's ports, where it has several */

/* Whether it is one of the last ones where nothing came through; of few ports one is not. */
static bool is_left(const struct known *k, const struct pq_range *r, uint16_t port)
{
    unsigned n = pq_range_size(r) - 1;
    n = n < LEFT_MAX ? n : LEFT_MAX;
    n = n < k->n_left ? n : k->n_left;
    for (unsigned i = 1; i <= n; i++)
        if (k->left[(k->n_left - i) % LEFT_MAX] == port)
            return true;
    return false;
}

void pq_client_note_left(struct client_worker *cw, const struct lease *l, uint16_t port)
{
    struct known *k = &cw->known[l->server];
    k->left[k->n_left++ % LEFT_MAX] = port;
}

bool pq_client_hops(const struct lease *l)
{
    struct client *cl = l->cw->cl;
    pthread_mutex_lock(&cl->way_lock);
    const unsigned conf = cl->way[l->server].conf;
    pthread_mutex_unlock(&cl->way_lock);
    return pq_range_size(&cl->app.conf->server[conf].ports) > 1;
}

uint16_t pq_client_pick_port(struct client_worker *cw, const struct server_way *way,
                             const struct lease *l)
{
    const struct pq_range *r = &cw->cl->app.conf->server[way->conf].ports;
    const unsigned n = (unsigned)(r->to - r->from) + 1;
    uint16_t port = r->from;
    for (int i = 0; i < PORT_TRIES; i++) {
        port = (uint16_t)(r->from + pq_rng_u32(&cw->w.rng) % n);
        if (!is_left(&cw->known[l->server], r, port))
            break;
    }
    return port;
}
