/* SPDX-License-Identifier: MIT */
/* check_forwards.c - the ports of a client that lead through the tunnel: a bridge's. */
#include "setup/check.h"
#include "setup/setup_internal.h"

#include "base/err.h"
#include "os/inputs.h"
#include "os/listener.h"
#include "os/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHOWN      6   /* ports in one sentence */
#define PORTS_TEXT 128 /* bytes */

#define OK(f, topic, ...)           pq_finding_add(f, PQ_FINDING_OK, topic, NULL, __VA_ARGS__)
#define NOTE(f, topic, remedy, ...) pq_finding_add(f, PQ_FINDING_NOTE, topic, remedy, __VA_ARGS__)
#define BAD(f, topic, remedy, ...)  pq_finding_add(f, PQ_FINDING_BAD, topic, remedy, __VA_ARGS__)

struct ports { /* "443, 8000-8100, 53/udp and 101 more" */
    char text[PORTS_TEXT];
    unsigned n, shown, parts;
    uint16_t from, to; /* the run that is not in the text yet; 0: none */
    bool udp;
};

static void flush(struct ports *p)
{
    const size_t len = strlen(p->text);
    char run[24];
    if (p->from && p->parts++ < SHOWN) {
        snprintf(run, sizeof run, p->from == p->to ? "%u" : "%u-%u", p->from, p->to);
        snprintf(p->text + len, sizeof p->text - len, "%s%s%s", len ? ", " : "", run,
                 p->udp ? "/udp" : "");
        p->shown = p->n;
    }
    p->from = 0;
}

static void add(struct ports *p, uint16_t port, bool udp)
{
    if (p->from && p->udp == udp && port == p->to + 1) {
        p->to = port;
    } else {
        flush(p);
        p->from = p->to = port;
        p->udp = udp;
    }
    p->n++;
}

static const char *words(struct ports *p)
{
    flush(p);
    const size_t len = strlen(p->text);
    if (p->n > p->shown)
        snprintf(p->text + len, sizeof p->text - len, " and %u more", p->n - p->shown);
    return p->text;
}

/* ---- who has them */

static int try_datagrams(const struct pq_addr *a)
{
    struct sockaddr_storage ss;
    const socklen_t len = pq_addr_to_sock(a, &ss);
    const int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int e = bind(fd, (struct sockaddr *)&ss, len) ? -errno : 0;
    close(fd);
    return e;
}

struct tries {
    struct ports nobody, denied;
    struct pq_listeners *taken;
    size_t n_taken;
};

static void try_each(const struct pq_conf *c, struct tries *t, struct pq_findings *f)
{
    for (unsigned i = 0; i < c->n_ports; i++) {
        const struct pq_conf_port *p = &c->port[i];
        char at[PQ_ADDR_STRLEN];
        if (p->all)
            continue;
        const int e = p->udp ? try_datagrams(&p->addr) : pq_setup_try_listen(&p->addr);
        if (!e)
            add(&t->nobody, p->addr.port, p->udp);
        else if (e == -EADDRINUSE || e == -EACCES)
            t->taken[t->n_taken++] =
                (struct pq_listeners){.port = p->addr.port, .udp = p->udp, .denied = e == -EACCES};
        else if (e == -EADDRNOTAVAIL)
            BAD(f, "forward", "write an address that this machine has, or none (:443), for all",
                "nothing can listen on %s: that is no address of this machine",
                pq_addr_str(&p->addr, at));
        else
            BAD(f, "forward", NULL, "nothing can listen on %s: %s", pq_addr_str(&p->addr, at),
                pq_strerror(e));
    }
}

/* Those of the list that this one's program has, the list being sorted by sockets, not by programs:
 * each is said once. */
static struct ports of_same(struct pq_listeners *v, size_t n, size_t first)
{
    struct ports p = {.n = 0};
    const int pid = v[first].who.pid;
    const bool found = v[first].found;
    for (size_t i = first; i < n; i++) {
        if (!v[i].port || v[i].who.pid != pid || v[i].found != found)
            continue;
        add(&p, v[i].port, v[i].udp);
        v[i].port = 0;
    }
    return p;
}

static int by_port(const void *a, const void *b)
{
    const struct pq_listeners *x = a, *y = b;
    return x->udp != y->udp ? x->udp - y->udp : x->port - y->port;
}

static void say_taken(struct tries *t, struct pq_findings *f)
{
    struct pq_listeners *v = t->taken;
    for (size_t i = 0; i < t->n_taken; i++) {
        if (v[i].denied && !v[i].found) {
            add(&t->denied, v[i].port, v[i].udp);
            v[i].port = 0;
        }
        if (!v[i].port)
            continue;
        const struct pq_listener who = v[i].who;
        struct ports p = of_same(v, t->n_taken, i);
        if (who.pid && pq_setup_is_paqet(&who))
            OK(f, "forward", "%s, process %d has %s", who.name, who.pid, words(&p));
        else if (!who.pid && geteuid() != 0)
            OK(f, "forward", "somebody has %s: the client, if it runs (root sees whose they are)",
               words(&p));
        else if (who.pid)
            BAD(f, "forward", "stop that, or take them out of forward.listen",
                "%s, process %d has %s: the client cannot have them", who.name, who.pid, words(&p));
        else
            BAD(f, "forward", "take them out of forward.listen",
                "another program has %s: the client cannot have them", words(&p));
    }
}

static void check_ports(const struct pq_conf *c, const char *path, struct pq_findings *f)
{
    struct tries t = {.taken = calloc(c->n_ports + 1, sizeof *t.taken)};
    char start[512];
    if (!t.taken)
        return;
    try_each(c, &t, f);
    pq_listeners_find(t.taken, t.n_taken);
    qsort(t.taken, t.n_taken, sizeof *t.taken, by_port);
    say_taken(&t, f);
    if (t.denied.n)
        BAD(f, "forward", "run it as root, or with CAP_NET_BIND_SERVICE, as the service has it",
            "this user may not listen on %s", words(&t.denied));
    if (t.nobody.n)
        NOTE(f, "forward", pq_check_start_words(path, start),
             "nothing listens on %s: the client does not run, or has not read the file again",
             words(&t.nobody));
    free(t.taken);
}

/* ---- what the machine's firewall does with them */

struct asked { /* the ports of forwards that are open to others, and then those of `listen: all` */
    struct pq_input *v;
    size_t n, named;
};

static void add_all(struct asked *a, bool udp)
{
    for (unsigned p = 1; p <= UINT16_MAX; p++)
        a->v[a->n++] = (struct pq_input){.port = (uint16_t)p, .udp = udp};
}

/* Returns false without memory. */
static bool list_ports(const struct pq_conf *c, struct asked *a)
{
    bool all[2] = {false, false};
    *a = (struct asked){.v = malloc(((size_t)c->n_ports + (size_t)2 * UINT16_MAX) * sizeof *a->v)};
    if (!a->v)
        return false;
    for (unsigned i = 0; i < c->n_ports; i++) {
        const struct pq_conf_port *p = &c->port[i];
        all[p->udp] |= p->all;
        if (!p->all && !pq_addr_is_loopback(&p->addr))
            a->v[a->n++] = (struct pq_input){.port = p->addr.port, .udp = p->udp};
    }
    a->named = a->n;
    for (unsigned udp = 0; udp < 2; udp++)
        if (all[udp])
            add_all(a, udp);
    return true;
}

static void say_shut(const struct pq_input_told *t, const char *ports, const char *unless,
                     struct pq_findings *f)
{
    char remedy[400];
    const char *last = strrchr(t->chain, ' ');
    snprintf(remedy, sizeof remedy,
             "nft list table %.*s shows its rules. To let them in: ufw allow 443, or firewall-cmd "
             "--permanent --add-port=443/tcp, or a rule of your own",
             (int)(last ? last - t->chain : 0), t->chain);
    if (ports)
        NOTE(f, "firewall", remedy,
             "the chain %s drops what no rule lets in, and none lets in %s: connections to them "
             "may not get here%s",
             t->chain, ports, unless);
    else
        NOTE(f, "firewall", remedy,
             "the chain %s drops what no rule lets in: of all ports only those get here that its "
             "rules name%s",
             t->chain, unless);
}

static void say_told(const struct pq_input_told *t, const char *ports, struct pq_findings *f)
{
    static const char remedy[] = "nft list ruleset shows them; see whether these are meant";
    char unless[PQ_INPUTS_ASKS + 64] = "";
    if (*t->unless)
        snprintf(unless, sizeof unless, ", unless by what is not understood here: %s", t->unless);
    if (t->is == PQ_INPUT_SHUT)
        say_shut(t, ports, unless, f);
    else if (t->is == PQ_INPUT_REFUSED)
        NOTE(f, "firewall", "nft list ruleset shows it; take it out, if it is not meant",
             "a rule behind the chain %s drops or rejects what comes to %s%s", t->chain, ports,
             unless);
    else if (t->is == PQ_INPUT_UNSURE)
        NOTE(f, "firewall", remedy,
             "whether the rules behind the chain %s let in what comes to %s is not known: it "
             "depends on what is not understood here: %s",
             t->chain, ports, t->asks);
    else
        NOTE(f, "firewall", remedy,
             "the rules behind the chain %s %s some of what comes to %s: %s%s", t->chain,
             t->is == PQ_INPUT_SOME_IN ? "let in only" : "keep out", ports, t->asks, unless);
}

/* Each finding is said once, with all its ports; of `listen: all` a chain that lets in some alone,
 * instead of all that it does not.  Returns whether there was any. */
static bool say_ports(const struct pq_inputs *in, const struct asked *a, struct pq_findings *f)
{
    size_t shut = a->named;
    while (shut < a->n && a->v[shut].is != PQ_INPUT_SHUT)
        shut++;
    const size_t n = shut < a->n ? a->named : a->n;
    bool any = shut < a->n;
    for (unsigned i = 0; i < in->n_told; i++) {
        struct ports p = {.n = 0};
        for (size_t k = 0; k < n; k++)
            if (a->v[k].is != PQ_INPUT_OPEN && a->v[k].told == i)
                add(&p, a->v[k].port, a->v[k].udp);
        if (p.n)
            say_told(&in->told[i], words(&p), f);
        any |= p.n != 0;
    }
    if (shut < a->n)
        say_told(&in->told[a->v[shut].told], NULL, f);
    return any;
}

static void check_firewall(const struct pq_conf *c, struct pq_findings *f)
{
    struct pq_inputs *in = malloc(sizeof *in);
    struct asked a = {.n = 0};
    if (in && list_ports(c, &a)) {
        pq_inputs_read(in, a.v, a.n);
        const bool any = say_ports(in, &a, f);
        if (in->known && !in->whole)
            NOTE(f, "firewall", "nft list ruleset shows them",
                 "not all rules of this machine could be gone through: what they do with these "
                 "ports is not known");
        if (in->legacy && (a.n || !in->known))
            NOTE(f, "firewall", "iptables-legacy -S INPUT shows them, and ip6tables-legacy",
                 "this machine has rules of the old iptables, too, which are not read");
        if (in->known && in->whole && !any && a.n)
            OK(f, "firewall", "no rule was found that keeps out what comes to these ports");
    }
    free(a.v);
    free(in);
}

void pq_check_forwards(const struct pq_conf *c, const char *path, struct pq_findings *f)
{
    if (!c->n_ports)
        return;
    check_ports(c, path, f);
    for (unsigned i = 0; i < c->n_forward; i++)
        if (c->forward[i].all)
            OK(f, "forward",
               "all ports lead through the tunnel, but those that programs of this "
               "machine have");
    check_firewall(c, f);
}

bool pq_setup_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN], char remedy[256])
{
    const bool shut = pq_forward_shut(device, chain);
    snprintf(
        remedy, 256,
        "iptables -I FORWARD -i %s -j ACCEPT; iptables -I FORWARD -o %s -j ACCEPT, which must be "
        "said again at each boot; with ufw: ufw route allow in on %s",
        device, device, device);
    return shut;
}
