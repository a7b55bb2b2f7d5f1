/* SPDX-License-Identifier: MIT */
/* check_tunnels.c - several tunnels in one program: each entry of `tunnels`, what stands around
 * them, and what they must not have in common. */
#include "conf/conf_internal.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32

/* ---- an entry */

/* A name is shown in the log and in tables, and is a label of the metrics. */
static void check_name(struct pq_check *k)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *name = k->c->name;
    if (!pq_is_set(name))
        pq_conf_say(k->m, true, k->c->line,
                    "name: is missing; how the log and 'paqet status' are "
                    "to call this tunnel");
    else if (strlen(name) > NAME_MAX_LEN || name[strspn(name, good)])
        pq_conf_say(k->m, true, k->c->line,
                    "name: must be at most %d letters, digits, '.', '_' or '-'", NAME_MAX_LEN);
}

void pq_conf_check_entry(struct pq_conf *t, const struct pq_key_lines *lines,
                         struct pq_conf_msgs *m)
{
    static const char *const whole[] = {"role", "log", "control", "status"};
    struct pq_check k = {t, lines, m};
    check_name(&k);
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        if (pq_key_is_set(lines, whole[i]))
            PQ_FAIL(&k, whole[i], "%s: is for all tunnels: it stands beside tunnels:", whole[i]);
    if (pq_key_is_set(lines, "tunnels")) /* which was said */
        return;
    free(t->role_text);
    t->role_text = strdup("client");
    pq_conf_check(t, lines, m);
}

/* ---- no two listeners at one place, as in check_listen.c */

struct place {
    struct pq_addr addr;
    bool udp;
    unsigned tunnel;
    int line;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int d = x->udp - y->udp;
    if (!d)
        d = pq_addr_cmp(&x->addr, &y->addr);
    return d ? d : (x->tunnel > y->tunnel) - (x->tunnel < y->tunnel);
}

static unsigned list_places(const struct pq_conf *c, struct place *v)
{
    unsigned n = 0;
    for (unsigned t = 0; t < c->n_tunnels; t++) {
        const struct pq_conf *e = &c->tunnel[t];
        for (unsigned i = 0; i < e->n_socks5; i++)
            v[n++] =
                (struct place){.addr = e->socks5[i].addr, .tunnel = t, .line = e->socks5[i].line};
        for (unsigned i = 0; i < e->n_ports; i++)
            v[n++] = (struct place){.addr = e->port[i].addr,
                                    .udp = e->port[i].udp,
                                    .tunnel = t,
                                    .line = e->forward[e->port[i].entry].line};
    }
    return n;
}

static void say_twice(struct pq_check *k, const struct place *a, const struct place *b)
{
    char addr[PQ_ADDR_STRLEN];
    if (b->addr.port)
        pq_conf_say(k->m, true, b->line, "tunnels[%u]: tunnels[%u] already listens on %s, %s",
                    b->tunnel, a->tunnel, pq_addr_str(&b->addr, addr), b->udp ? "UDP" : "TCP");
    else if (pq_addr_is4(&b->addr)) /* once for both IP versions */
        pq_conf_say(k->m, true, b->line, "tunnels[%u]: tunnels[%u] has all ports for %s already",
                    b->tunnel, a->tunnel, b->udp ? "udp" : "tcp");
}

static void check_places(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    size_t most = 0;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        most += c->tunnel[i].n_socks5 + c->tunnel[i].n_ports;
    struct place *v = calloc(most + 1, sizeof *v);
    const unsigned n = v ? list_places(c, v) : 0;
    if (n)
        qsort(v, n, sizeof *v, by_place);
    for (unsigned i = 1; i < n; i++)
        if (v[i].tunnel != v[i - 1].tunnel && v[i].udp == v[i - 1].udp &&
            pq_addr_eq(&v[i].addr, &v[i - 1].addr))
            say_twice(k, &v[i - 1], &v[i]);
    free(v);
}

/* ---- the file around them */

static bool is_of_all(const char *path)
{
    return strcmp(path, "role") == 0 || strcmp(path, "control") == 0 ||
           strcmp(path, "tunnels") == 0 || strcmp(path, "log") == 0 ||
           strcmp(path, "status") == 0 || strncmp(path, "log.", 4) == 0 ||
           strncmp(path, "status.", 7) == 0;
}

/* Says it of a map, not of each key in it. */
static void check_beside(struct pq_check *k)
{
    for (unsigned i = 0; i < k->lines->n; i++) {
        const char *path = k->lines->v[i].path;
        if (!is_of_all(path) && !strchr(path, '.'))
            pq_conf_say(k->m, true, k->lines->v[i].line,
                        "%s: belongs into the entries of tunnels:, to each its own", path);
    }
}

static void check_names(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        for (unsigned n = 0; n < i && pq_is_set(c->tunnel[i].name); n++)
            if (pq_is_set(c->tunnel[n].name) && !strcmp(c->tunnel[i].name, c->tunnel[n].name))
                pq_conf_say(k->m, true, c->tunnel[i].line,
                            "tunnels[%u].name: tunnels[%u] has this name already", i, n);
}

/* ---- devices */

static bool same_device(const struct pq_conf_tun *a, const struct pq_conf_tun *b)
{
    return strcmp(pq_is_set(a->name) ? a->name : PQ_CONF_TUN_NAME,
                  pq_is_set(b->name) ? b->name : PQ_CONF_TUN_NAME) == 0;
}

static bool same_address(const struct pq_conf_tun *a, const struct pq_conf_tun *b)
{
    return (a->has4 && b->has4 && pq_addr_eq_ip(&a->net4.ip, &b->net4.ip)) ||
           (a->has6 && b->has6 && pq_addr_eq_ip(&a->net6.ip, &b->net6.ip));
}

static void check_two_tuns(struct pq_check *k, unsigned a, unsigned b)
{
    const struct pq_conf *x = &k->c->tunnel[a], *y = &k->c->tunnel[b];
    if (!x->tun.enabled || !y->tun.enabled)
        return;
    if (same_device(&x->tun, &y->tun))
        pq_conf_say(k->m, true, y->line,
                    "tunnels[%u].tun.name: tunnels[%u] has this device already", b, a);
    if (same_address(&x->tun, &y->tun))
        pq_conf_say(k->m, true, y->line,
                    "tunnels[%u].tun.addr: tunnels[%u] has this address already", b, a);
    if (x->tun.kill || y->tun.kill)
        pq_conf_say(k->m, true, y->line,
                    "tunnels[%u].tun.kill_switch: would close the device of tunnels[%u]: "
                    "it is for the only device of a file",
                    x->tun.kill ? a : b, x->tun.kill ? b : a);
    if (x->tun.n_dns && y->tun.n_dns)
        pq_conf_say(k->m, true, y->line,
                    "tunnels[%u].tun.dns: tunnels[%u] answers all names of this machine already", b,
                    a);
}

static void check_tuns(struct pq_check *k)
{
    for (unsigned i = 0; i < k->c->n_tunnels; i++)
        for (unsigned n = 0; n < i; n++)
            check_two_tuns(k, n, i);
}

void pq_conf_check_tunnels(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    pq_conf_check_program(k);
    pq_conf_check_status(k);
    if (c->role == PQ_ROLE_SERVER)
        PQ_FAIL(k, "tunnels", "tunnels: is for a client only; a server serves many clients anyway");
    if (!c->n_tunnels)
        PQ_FAIL(k, "tunnels", "tunnels: has no entries");
    check_beside(k);
    check_names(k);
    check_places(k);
    check_tuns(k);
    c->all_workers = 0;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        c->all_workers += (unsigned)c->tunnel[i].packet_workers;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        c->tunnel[i].all_workers = c->all_workers;
    if (c->all_workers > PQ_CONF_WORKERS_MAX)
        PQ_FAIL(k, "tunnels", "tunnels: have %u packet_workers together; %d are possible",
                c->all_workers, PQ_CONF_WORKERS_MAX);
}

/* ---- what a file is asked for */

void pq_conf_load_all_lists(struct pq_conf *c, const char *path, struct pq_conf_msgs *m)
{
    pq_conf_load_lists(c, path, m);
    for (unsigned i = 0; i < c->n_tunnels; i++) {
        snprintf(m->prefix, sizeof m->prefix, "tunnels[%u].", i);
        pq_conf_load_lists(&c->tunnel[i], path, m);
    }
    *m->prefix = 0;
}

void pq_conf_take_tunnel(struct pq_conf *c, unsigned nth)
{
    struct pq_conf one = c->tunnel[nth];
    free(one.name);
    one.name = NULL;
    one.all_workers = (unsigned)one.packet_workers;
    c->tunnel[nth] = c->tunnel[--c->n_tunnels];
    pq_conf_free(c);
    *c = one;
    explicit_bzero(&one, sizeof one);
}

bool pq_conf_has_key(const struct pq_conf *c)
{
    bool has = pq_is_set(c->kcp.key);
    for (unsigned i = 0; i < c->n_tunnels; i++)
        has = has || pq_is_set(c->tunnel[i].kcp.key);
    return has;
}
