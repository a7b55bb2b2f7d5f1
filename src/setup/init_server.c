/* SPDX-License-Identifier: MIT */
/* init_server.c - a server: what it needs to know is found out, what it needs to have is made. */
#include "setup/server_setup.h"

#include "app/server_ports.h"
#include "app/state.h"
#include "base/err.h"
#include "base/rng.h"
#include "noise/noise.h"
#include "os/netinfo.h"
#include "os/tundev.h"
#include "tunnel/syns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TUN_TRIES   100
#define UP_PATIENCE (20 * PQ_SEC)

/* ---- what is found out */

static bool is_public(const struct pq_addr *a)
{
    static const char *const nets[] = {"10.0.0.0/8",    "172.16.0.0/12",  "192.168.0.0/16",
                                       "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
                                       "fc00::/7",      "fe80::/10",      "::1"};
    struct pq_net n;
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        if (pq_net_parse(&n, nets[i]) == 0 && pq_net_has(&n, a))
            return false;
    return true;
}

/* The address that others reach this machine by, as far as it knows: IPv4 before IPv6, public ones
 * before others. */
static const struct pq_addr *best_address(const struct pq_iface *f)
{
    const struct pq_addr *best = NULL;
    int best_rank = -1;
    for (size_t i = 0; i < f->n; i++) {
        const struct pq_addr *a = &f->addr[i].ip;
        const bool is4 = pq_addr_is4(a), public = is_public(a);
        const int rank = 2 * is4 + (is4 || public ? public : -2);
        if (!f->addr[i].link_local && rank > best_rank) {
            best = a;
            best_rank = rank;
        }
    }
    return best;
}

/* At a terminal the user is asked, since most who have a private address are behind 1:1 NAT. */
static void ask_address(struct pq_server_setup *v)
{
    char line[PQ_LINK_TEXT];
    if (v->s.o->dry_run || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    printf("%s is a private address. If others reach this machine by another one (your provider's "
           "panel shows it),\n"
           "type that one; or press Enter: ",
           v->address[0]);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return;
    line[strcspn(line, " \t\r\n")] = 0;
    if (*line) {
        memcpy(v->address[0], line, sizeof line);
        v->private_address = false;
    }
}

static bool find_addresses(struct pq_server_setup *v)
{
    const struct pq_init_opts *o = v->s.o;
    char why[PQ_WHY_LEN], ip[PQ_ADDR_STRLEN], ifname[16];
    struct pq_conf *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    snprintf(ifname, sizeof ifname, "%.15s", o->ifname ? o->ifname : "");
    c->ifname = ifname;
    const int e = pq_discover_server(c, &v->path, why);
    free(c);
    if (e) {
        pq_setup_say("%s (--interface NAME)", why);
        return false;
    }
    v->n_addresses = o->n_addresses;
    for (unsigned i = 0; i < o->n_addresses; i++)
        snprintf(v->address[i], sizeof v->address[i], "%.255s", o->address[i]);
    if (v->n_addresses)
        return true;
    const struct pq_addr *a = best_address(&v->path.iface);
    if (!a) {
        pq_setup_say("%s has no address; say by which one clients reach this machine: --address",
                     v->path.iface.name);
        return false;
    }
    snprintf(v->address[0], sizeof v->address[0], "%s", pq_addr_ip_str(a, ip));
    v->n_addresses = 1;
    v->private_address = !is_public(a);
    if (v->private_address)
        ask_address(v);
    return true;
}

static bool find_ports(struct pq_server_setup *v)
{
    const struct pq_range *wanted = &v->s.o->server_ports;
    struct pq_port_hold held;
    char why[PQ_WHY_LEN];
    v->plan.ports = *wanted;
    if (!wanted->from) {
        v->plan.ports.from = v->plan.ports.to = pq_ports_choose();
        if (!v->plan.ports.from)
            pq_setup_say("no free port was found; choose one: --port");
        return v->plan.ports.from != 0;
    }
    const int e = pq_server_ports_hold(&held, wanted, why);
    if (!e)
        pq_ports_release(&held);
    /* without the right to bind it is not known; the server will see */
    if (e && !(e == -EACCES && v->s.o->dry_run)) {
        pq_setup_say("--port: %s", why);
        return false;
    }
    return true;
}

/* ---- the network of a TUN device */

static bool is_free(const struct pq_iface *v, size_t n, const uint8_t net[4])
{
    struct pq_net mine = {.bits = 96 + 24};
    pq_addr_set4(&mine.ip, net, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i].n; k++) {
            struct pq_net his = {.ip = v[i].addr[k].ip, .bits = v[i].addr[k].prefix};
            his.bits = (uint8_t)(his.bits + (pq_addr_is4(&his.ip) ? 96 : 0));
            if (pq_net_has(&mine, &his.ip) || pq_net_has(&his, &mine.ip))
                return false;
        }
    return true;
}

/* Whether this machine can make such a device. */
static bool try_tun(const struct pq_server_plan *p)
{
    char why[PQ_TUN_WHY_LEN];
    struct pq_tundev d;
    struct pq_tundev_conf c = {.mtu = 1500, .has4 = true, .has6 = p->tun6};
    pq_plan_inner(p, 0, &c.net4, &c.net6);
    if (pq_tundev_open(&d, &c, why))
        return false;
    pq_tundev_close(&d);
    return true;
}

static void plan_tun(struct pq_server_setup *v, struct pq_rng *rng)
{
    struct pq_server_plan *p = &v->plan;
    struct pq_iface *ifaces;
    size_t n;
    const bool missing = access("/dev/net/tun", F_OK) != 0;
    if (missing && !v->s.o->no_tun)
        printf("there is no /dev/net/tun here, and so no TUN device: clients use the proxy, not "
               "--tun\n");
    if (v->s.o->no_tun || missing || pq_iface_list(&ifaces, &n))
        return;
    p->tun6 = access("/proc/sys/net/ipv6", F_OK) == 0;
    const bool given = v->of.n_servers > 0;
    if (given && pq_server_take_net(v))
        p->tun = is_free(ifaces, n, p->tun4_net);
    for (int i = 0; i < TUN_TRIES && !p->tun && !given; i++) {
        const uint32_t r = pq_rng_u32(rng);
        const uint8_t net[4] = {10, (uint8_t)(16 + r % 200), (uint8_t)(r >> 16), 0};
        memcpy(p->tun4_net, net, sizeof net);
        p->tun = is_free(ifaces, n, net);
    }
    free(ifaces);
    pq_setup_tun_name(p->tun_name);
    if (!given) {
        pq_rng_fill(rng, p->tun6_net, 8);
        p->tun6_net[0] = 0xfd;
    }
    if (p->tun && !v->s.o->dry_run) {
        if (!try_tun(p) && p->tun6) {
            p->tun6 = false;
            p->tun = try_tun(p);
        }
        if (!p->tun)
            printf("no TUN device can be made here: clients use the proxy, not --tun\n");
    }
}

/* ---- keys */

static bool make_pair(struct pq_rng *rng, uint8_t secret[PQ_SETUP_KEYS], uint8_t pub[PQ_SETUP_KEYS])
{
    pq_rng_renew(rng);
    pq_rng_fill(rng, secret, PQ_SETUP_KEYS);
    return pq_x25519_public(secret, pub) == 0;
}

static bool make_keys(struct pq_server_setup *v)
{
    struct pq_server_plan *p = &v->plan;
    struct pq_rng rng;
    uint8_t key[PQ_SETUP_KEYS];
    pq_rng_init(&rng);
    bool ok = pq_crypt_global_init() == 0 && make_pair(&rng, p->secret, p->public_key);
    pq_rng_fill(&rng, key, sizeof key);
    for (unsigned i = 0; i < sizeof key; i++)
        snprintf(p->key + (size_t)2 * i, 3, "%02x", key[i]);
    for (unsigned i = 0; i < p->n_users; i++)
        ok = ok && make_pair(&rng, p->user[i].secret, p->user[i].public_key);
    if (v->of.n_servers)
        ok = ok && pq_server_take_keys(v);
    plan_tun(v, &rng);
    explicit_bzero(key, sizeof key);
    explicit_bzero(&rng, sizeof rng);
    if (!ok)
        pq_setup_say("libgcrypt cannot make keys");
    return ok;
}

static bool name_users(struct pq_server_setup *v)
{
    const struct pq_init_opts *o = v->s.o;
    struct pq_server_plan *p = &v->plan;
    p->n_users = o->n_users ? o->n_users : 1;
    for (unsigned i = 0; i < p->n_users; i++) {
        const char *name = o->n_users ? o->user[i] : "user";
        if (!*name || strlen(name) > 32 || *name == '.' ||
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
                strlen(name)) {
            pq_setup_say("--user: '%s' is no name of at most 32 letters, digits, '.', '_' and '-'",
                         name);
            return false;
        }
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(p->user[k].name, name)) {
                pq_setup_say("--user: %s is there twice", name);
                return false;
            }
        snprintf(p->user[i].name, sizeof p->user[i].name, "%s", name);
    }
    return true;
}

static bool read_bridge(struct pq_server_setup *v)
{
    char udp[PQ_PORTS_TEXT], why[160];
    const char *bridge = v->s.o->bridge;
    v->plan.bridge = bridge;
    if (!bridge || !strcmp(bridge, "all"))
        return true;
    if (pq_ports_read(bridge, v->tcp, udp, why)) {
        pq_setup_say("--bridge: %s", why);
        return false;
    }
    /* rules know no protocol: both lists as one */
    char all[2 * PQ_PORTS_TEXT];
    snprintf(all, sizeof all, "%s%s%s", v->tcp, *v->tcp && *udp ? "," : "", udp);
    if (pq_ports_read(all, v->tcp, udp, why)) {
        pq_setup_say("--bridge: %s", why);
        return false;
    }
    v->plan.bridge = v->tcp;
    return true;
}

/* ---- links */

void pq_server_link(const struct pq_server_setup *v, unsigned user, struct pq_setup_link *l)
{
    const struct pq_server_plan *p = &v->plan;
    *l = (struct pq_setup_link){.n_servers = v->n_addresses, .has_secret = true, .quic = p->quic};
    for (unsigned i = 0; i < v->n_addresses; i++) {
        struct pq_link_server *s = &l->server[i];
        memcpy(s->host, v->address[i], sizeof s->host);
        s->ports = p->ports;
        s->has_key = true;
        memcpy(s->key, p->public_key, sizeof s->key);
    }
    memcpy(l->key, p->key, sizeof p->key);
    memcpy(l->secret, p->user[user].secret, sizeof l->secret);
    snprintf(l->block, sizeof l->block, "aes-128-gcm");
    pq_plan_inner(p, user, &l->tun4, &l->tun6);
    snprintf(l->name, sizeof l->name, "%s%s%s", v->label, p->n_users > 1 ? "-" : "",
             p->n_users > 1 ? p->user[user].name : "");
}

/* The link of a user; wrong addresses show here. */
static bool make_link(const struct pq_server_setup *v, unsigned user, char text[PQ_LINK_MAX])
{
    struct pq_setup_link l, again;
    struct pq_link_msgs m = {.n = 0};
    char why[160];
    pq_server_link(v, user, &l);
    if (v->of.n_servers && !pq_server_join(v, &l))
        return false;
    int e = pq_link_write(&l, PQ_LINK_OWN, text, why);
    e = e ? e : pq_link_read(text, &again, &m);
    for (unsigned i = 0; e == PQ_EINVAL && i < m.n; i++)
        pq_setup_say("--address: %s", m.v[i].text);
    pq_link_wipe(&l);
    pq_link_wipe(&again);
    return !e;
}

/* Those of a configuration that stood here before open nothing any more. */
static void remove_old_links(struct pq_server_setup *v, const char *folder)
{
    const size_t n = strlen(folder);
    struct pq_made *m = &v->s.made;
    for (size_t i = m->n; i-- > 0;) {
        const struct pq_made_entry *e = &m->v[i];
        if (e->kind == PQ_MADE_PLAIN && !strcmp(e->instance, v->s.name) &&
            !strncmp(e->what, folder, n) && e->what[n] == '/' &&
            (unlink(e->what) == 0 || errno == ENOENT) && i < v->s.made_before &&
            pq_made_drop(m, i) == 0)
            v->s.made_before--;
    }
}

static bool write_links(struct pq_server_setup *v)
{
    char path[PATH_MAX], text[PQ_LINK_MAX + 1];
    snprintf(path, sizeof path, "%s/links", v->s.o->folder);
    remove_old_links(v, path);
    bool ok = pq_setup_folder(&v->s, path, 0700, false);
    for (unsigned i = 0; ok && i < v->plan.n_users; i++) {
        snprintf(path, sizeof path, "%s/links/%s-%s", v->s.o->folder, v->s.name,
                 v->plan.user[i].name);
        ok = make_link(v, i, text);
        strcat(text, "\n");
        ok = ok && pq_setup_write(&v->s, path, text, strlen(text), PQ_SETUP_ROOT);
    }
    explicit_bzero(text, sizeof text);
    return ok;
}

/* ---- writing and starting */

static bool write_syns(struct pq_server_setup *v)
{
    char path[PATH_MAX], *text = NULL;
    size_t len = 0;
    struct pq_syns *syns;
    const uint64_t wall = (uint64_t)time(NULL) * 1000;
    if (pq_syns_new(&syns, wall - 3 * PQ_SYN_SLOT, 0))
        return false;
    FILE *f = open_memstream(&text, &len);
    bool ok = f && pq_syns_write(syns, f);
    ok = f && fclose(f) == 0 && ok;
    pq_syns_free(&syns);
    snprintf(path, sizeof path, PQ_STATE_FOLDER "/stamps-%u.syns", v->plan.ports.from);
    ok = ok && pq_setup_write(&v->s, path, text, len, PQ_SETUP_OWN);
    free(text);
    return ok;
}

/* Nothing can have been sent with these keys before: so clients are let in whose clocks are behind,
 * and connections are answered from the start. */
static bool write_state(struct pq_server_setup *v)
{
    uint8_t keys[PQ_SETUP_USERS][PQ_SETUP_KEYS];
    char path[PATH_MAX], lock[PATH_MAX], *text = NULL;
    size_t len = 0;
    uint64_t ticket;
    struct pq_stamps *stamps;
    for (unsigned i = 0; i < v->plan.n_users; i++)
        memcpy(keys[i], v->plan.user[i].public_key, sizeof keys[i]);
    if (pq_stamps_new(&stamps, (const uint8_t(*)[PQ_SETUP_KEYS])keys, v->plan.n_users))
        return false;
    FILE *f = open_memstream(&text, &len);
    bool ok = f && pq_stamps_write(stamps, f, &ticket);
    ok = f && fclose(f) == 0 && ok;
    pq_stamps_free(&stamps);
    snprintf(path, sizeof path, PQ_STATE_FOLDER "/stamps-%u", v->plan.ports.from);
    snprintf(lock, sizeof lock, PQ_STATE_FOLDER "/stamps-%u.lock", v->plan.ports.from);
    ok = ok && pq_setup_folder(&v->s, PQ_STATE_FOLDER, 0700, true) &&
         pq_setup_write(&v->s, path, text, len, PQ_SETUP_OWN) &&
         pq_setup_write(&v->s, lock, "", 0, PQ_SETUP_OWN) && write_syns(v);
    free(text);
    return ok;
}

static bool write_all(struct pq_server_setup *v)
{
    char *text = pq_yaml_server(&v->plan);
    bool ok = text && pq_setup_check(&v->s, text) && pq_setup_prepare(&v->s) &&
              pq_setup_write(&v->s, v->s.conf, text, strlen(text), PQ_SETUP_READ);
    pq_text_free(text);
    if (ok)
        printf("wrote %s\n", v->s.conf);
    return ok && (v->plan.quic || write_state(v)); /* over QUIC nothing is kept */
}

static bool start(struct pq_server_setup *v)
{
    if (v->s.o->no_service)
        return true;
    if (!pq_setup_start(&v->s))
        return false;
    if (!pq_service_wait(&v->s.service, PQ_SERVER_READY, UP_PATIENCE)) {
        pq_setup_explain(&v->s, "the server does not listen");
        return false;
    }
    printf("the server runs (%s)\n", pq_service_kind_name(v->s.service.kind));
    return true;
}

/* ---- what is printed */

static void print_found(const struct pq_server_setup *v)
{
    char ports[PQ_RANGE_STRLEN];
    pq_range_str(&v->plan.ports, ports);
    printf("interface %s, address %s, port %s", v->path.iface.name, v->address[0], ports);
    if (v->plan.quic)
        printf(", over QUIC");
    if (v->plan.tun)
        printf(", network of a TUN device 10.%u.%u.0/24", v->plan.tun4_net[1], v->plan.tun4_net[2]);
    printf("\n");
    if (v->private_address)
        printf("NOTE: %s is a private address, which only machines of the same network reach. "
               "Behind NAT say the public\n"
               "one with --address, and have TCP to port %s forwarded to this machine.\n",
               v->address[0], ports);
}

/* Of another program's rules, as Docker and ufw make them, clients with TUN do not get past. */
static void print_forward(const struct pq_server_setup *v)
{
    char chain[PQ_INPUTS_CHAIN], remedy[256];
    if (v->plan.tun && pq_setup_forward_shut(v->plan.tun_name, chain, remedy))
        printf(
            "\nNOTE: the chain %s of this machine's firewall drops what no rule lets on: clients "
            "with --tun\nmay reach nothing behind it (a proxy does). To let them on:\n  %s\n",
            chain, remedy);
}

static void print_links(const struct pq_server_setup *v)
{
    char text[PQ_LINK_MAX], ports[PQ_RANGE_STRLEN];
    const bool terminal = isatty(STDOUT_FILENO), code = terminal || v->s.o->qr;
    for (unsigned i = 0; i < v->plan.n_users; i++) {
        if (!make_link(v, i, text))
            continue;
        printf("\nLink of %s. Whoever has it is that user: keep it secret.\n\n%s\n\n",
               v->plan.user[i].name, text);
        if (code && pq_qr_there())
            pq_qr_print(text, stdout, !terminal);
    }
    if (v->s.displaced)
        printf("Links of before open nothing here any more: those who had one need this one.\n");
    if (v->of.n_servers)
        printf("It leads to the servers of before, too. A client that is there already takes it "
               "with --force behind it.\n");
    const char *link = v->plan.n_users == 1 && make_link(v, 0, text) ? text : "LINK";
    printf("\nOn the other machine, with this same program there:\n\n"
           "  sudo ./paqet init client '%s'\n",
           link);
    if (v->plan.tun)
        printf("\nTo send all of that machine through the tunnel, put --tun behind it.\n");
    if (v->plan.bridge)
        printf("\nOr a bridge, whose ports lead to those of this machine:\n\n"
               "  sudo ./paqet init bridge '%s' %s%s\n",
               link, strcmp(v->plan.bridge, "all") ? "--ports " : "--all-ports",
               strcmp(v->plan.bridge, "all") ? v->plan.bridge : "");
    print_forward(v);
    printf("\nA firewall in front of this machine (the provider's panel, say) must let TCP to port "
           "%s in.\n"
           "The links are kept in %s/links; \"paqet link\" shows them again.\n",
           pq_range_str(&v->plan.ports, ports), v->s.o->folder);
    if (v->plan.quic)
        printf(
            "It speaks QUIC: clients need a paqet that has it (\"paqet version\" says so), and a "
            "clock that is right to two minutes.\n");
    explicit_bzero(text, sizeof text);
}

static void print_dry(const struct pq_server_setup *v)
{
    struct pq_server_plan masked = v->plan;
    memset(masked.secret, 0, sizeof masked.secret);
    memset(masked.key, '0', sizeof masked.key - 1);
    char *text = pq_yaml_server(&masked);
    printf("\nWould write %s, with fresh keys in place of those of zeros:\n\n%s\n", v->s.conf,
           text ? text : "");
    pq_text_free(text);
    printf("Would write %u link%s to %s/links, and what has been made to %s\n", v->plan.n_users,
           v->plan.n_users == 1 ? "" : "s", v->s.o->folder, v->s.made.path);
    if (!v->s.o->no_service)
        printf("Would install and start it as %s\n", pq_service_kind_name(v->s.service.kind));
}

static void find_label(struct pq_server_setup *v)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    snprintf(v->label, sizeof v->label, "%.63s",
             v->s.o->label ? v->s.o->label
             : *host       ? host
                           : "paqet");
    if (!pq_utf8_is_text(v->label))
        snprintf(v->label, sizeof v->label, "paqet");
}

static int run(struct pq_server_setup *v)
{
    char link[PQ_LINK_MAX];
    v->plan.quic = v->s.o->quic;
    if (!pq_server_read_key_of(v) || !name_users(v) || !read_bridge(v) ||
        (v->plan.quic && !pq_setup_can_quic("leave --quic out, so that kcp is used")) ||
        (v->s.o->bundle && !pq_bundle_may_write(v->s.o->bundle, v->s.o->force)) ||
        !pq_setup_may_write(&v->s))
        return 1;
    if (!pq_setup_displace(&v->s) || !find_addresses(v) || !find_ports(v) || !make_keys(v) ||
        !make_link(v, 0, link)) {
        pq_setup_undo(&v->s);
        return 1;
    }
    v->plan.ifname = v->s.o->ifname;
    print_found(v);
    if (v->s.o->dry_run) {
        print_dry(v);
        return 0;
    }
    if (!write_all(v) || !pq_server_rehearse(v) || !start(v) || !write_links(v)) {
        pq_setup_undo(&v->s);
        return 1;
    }
    const bool carried =
        !v->s.o->bundle || pq_bundle_write(v->s.o->bundle, link, v->plan.user[0].name);
    explicit_bzero(link, sizeof link);
    print_links(v);
    pq_setup_words(&v->s);
    return carried ? 0 : 1;
}

int pq_init_server(const struct pq_init_opts *o)
{
    struct pq_server_setup *v = calloc(1, sizeof *v);
    int code = 1;
    if (!v)
        return 1;
    if (pq_setup_begin(&v->s, o, "server")) {
        find_label(v);
        code = run(v);
        pq_setup_end(&v->s);
    }
    explicit_bzero(v, sizeof *v);
    free(v);
    return code;
}
