/* SPDX-License-Identifier: MIT */
/* check_local.c - what this machine says of a configuration. */
#include "setup/check.h"
#include "setup/setup_internal.h"

#include "app/discover.h"
#include "app/server_ports.h"
#include "base/err.h"
#include "os/listener.h"
#include "os/netinfo.h"
#include "os/others.h"
#include "os/process.h"
#include "os/service.h"
#include "os/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#define PATIENCE (2 * PQ_SEC) /* for the router's MAC */

#define OK(f, topic, ...)           pq_finding_add(f, PQ_FINDING_OK, topic, NULL, __VA_ARGS__)
#define NOTE(f, topic, remedy, ...) pq_finding_add(f, PQ_FINDING_NOTE, topic, remedy, __VA_ARGS__)
#define BAD(f, topic, remedy, ...)  pq_finding_add(f, PQ_FINDING_BAD, topic, remedy, __VA_ARGS__)

static void check_rights(struct pq_findings *f)
{
    const bool raw = pq_process_may(PQ_MAY_RAW), admin = pq_process_may(PQ_MAY_ADMIN);
    if (raw && admin)
        OK(f, "rights", "raw packets and network settings are permitted");
    else if (raw)
        NOTE(f, "rights", "run it as root, or with CAP_NET_ADMIN as well",
             "raw packets are permitted, network settings are not: the kernel's TCP would answer "
             "the tunnel's packets");
    else
        BAD(f, "rights", "run it as root, or with CAP_NET_RAW and CAP_NET_ADMIN",
            "raw packets are not permitted");
}

static void check_file(const char *path, struct pq_findings *f)
{
    struct stat st;
    if (stat(path, &st))
        return;
    if (pq_conf_is_open(&st))
        NOTE(f, "file", "chmod 600 it", "%s holds keys, and others can read or change it (mode %o)",
             path, st.st_mode & 07777U);
    else
        OK(f, "file", "%s is for its owner%s alone", path,
           st.st_mode & S_IRGRP ? " and the service" : "");
}

/* How far it is from the server's: check_clock.c. */
static void check_clock(struct pq_findings *f)
{
    struct timex t = {.modes = 0};
    const int state = adjtimex(&t);
    if (state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC))
        OK(f, "clock", "it is kept right");
    else
        NOTE(f, "clock",
             "start a time service (systemd-timesyncd, chrony, ntpd), or compare it with another "
             "clock",
             "nobody keeps it right; with users, one that is far behind may not be let in");
}

/* Queues that hold packets back on purpose. */
static bool is_slow_queue(const char *kind)
{
    static const char *const kinds[] = {"tbf", "htb", "hfsc", "cbq", "netem"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

/* Of other programs only these see our packets between the packet socket and the wire. */
static void check_others(const char *name, const struct pq_others *o, struct pq_findings *f)
{
    char remedy[256];
    if (o->xdp) {
        snprintf(remedy, sizeof remedy,
                 "bpftool prog show id %u tells what it is; it must pass TCP of the tunnel's port",
                 o->xdp);
        NOTE(f, "others", remedy, "a program at XDP sees what comes in at %s before paqet does",
             name);
    }
    if (o->chains) {
        snprintf(remedy, sizeof remedy,
                 "nft list chain netdev %s; it must not drop TCP from or to the tunnel's port",
                 o->chain);
        NOTE(f, "others", remedy, "%u of nft's chains see%s what paqet sends at %s (egress)",
             o->chains, o->chains == 1 ? "s" : "", name);
    }
    if (o->filters) {
        snprintf(remedy, sizeof remedy, "tc filter show dev %s egress", name);
        NOTE(f, "others", remedy, "%u filter%s of tc see%s what paqet sends at %s", o->filters,
             o->filters == 1 ? "" : "s", o->filters == 1 ? "s" : "", name);
    }
    if (is_slow_queue(o->queue)) {
        snprintf(remedy, sizeof remedy, "tc -s qdisc show dev %s tells its limits", name);
        NOTE(f, "others", remedy, "the queue of %s (%s) may hold packets back", name, o->queue);
    } else if (!o->xdp && !o->chains && !o->filters) {
        OK(f, "others", "%s between paqet and the wire at %s%s",
           o->all ? "no filter of another program is" : "no program at XDP is", name,
           o->all ? "" : "; of others it takes CAP_NET_ADMIN to see them");
    }
}

static void check_interface(const struct pq_iface *i, struct pq_findings *f)
{
    struct pq_others o;
    char remedy[64];
    OK(f, "interface", "%s is up, MTU %u", i->name, i->mtu);
    if (i->mtu < 1280)
        NOTE(f, "interface", "raise the MTU of the interface, if the network permits it",
             "an MTU of %u costs speed", i->mtu);
    if (pq_others_read(i->name, i->index, &o))
        return;
    snprintf(remedy, sizeof remedy, "ethtool -K %s gso on", i->name);
    if (o.has_offloads && o.gso)
        OK(f, "offloads", "%s cuts long runs of packets at the last moment (gso)%s", i->name,
           o.gro ? ", and puts them together on arrival (gro)" : "");
    else if (o.has_offloads)
        NOTE(f, "offloads", remedy, "%s has no segmentation offload (gso): that costs CPU time",
             i->name);
    check_others(i->name, &o, f);
}

/* A router's MAC that was configured once may be that of a router that is gone. */
static void check_router(const struct pq_conf *c, const struct pq_addr *server,
                         const struct pq_path *p, struct pq_findings *f)
{
    const struct pq_conf_side *side = pq_addr_is4(server) ? &c->v4 : &c->v6;
    const uint8_t *m = p->router_mac;
    if (!p->has_mac) {
        OK(f, "router", "none is needed on %s", p->iface.name);
        return;
    }
    char mac[18], why[PQ_WHY_LEN];
    snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    if (!side->has_mac) {
        OK(f, "router", "it answers, its MAC is %s", mac);
        return;
    }
    struct pq_conf *without = malloc(sizeof *without);
    struct pq_path real;
    if (!without)
        return;
    memcpy(without, c, sizeof *without);
    without->v4.has_mac = without->v6.has_mac = false;
    if (pq_discover_client(without, server, PATIENCE, &real, why))
        NOTE(f, "router", "leave router_mac out: it is found then",
             "whether its MAC is %s, as configured, is not known: %s", mac, why);
    else if (memcmp(real.router_mac, m, 6) != 0)
        BAD(f, "router", "leave router_mac out: it is found then, or write the right one",
            "its MAC is %02x:%02x:%02x:%02x:%02x:%02x, but %s is configured", real.router_mac[0],
            real.router_mac[1], real.router_mac[2], real.router_mac[3], real.router_mac[4],
            real.router_mac[5], mac);
    else
        OK(f, "router", "its MAC is %s, as configured", mac);
    free(without);
}

static void check_way(const struct pq_conf *c, const struct pq_conf_server *s,
                      struct pq_findings *f)
{
    struct pq_addr addrs[PQ_SERVER_ADDRS];
    struct pq_path path;
    char why[PQ_WHY_LEN], local[PQ_ADDR_STRLEN], ip[PQ_ADDR_STRLEN];
    unsigned n;
    if (pq_discover_resolve(c, s, NULL, addrs, &n, why)) {
        BAD(f, "name",
            "write its address in place of the name, or see to the name server of this machine",
            "%s", why);
        return;
    }
    if (pq_discover_client(c, &addrs[0], PATIENCE, &path, why)) {
        BAD(f, "route", NULL, "%s", why);
        return;
    }
    check_interface(&path.iface, f);
    OK(f, "route", "to %s: from %s on %s", pq_addr_ip_str(&addrs[0], ip),
       pq_addr_ip_str(&path.local, local), path.iface.name);
    check_router(c, &addrs[0], &path, f);
}

/* The service of the file's name, if that is where init puts it. */
struct of_file {
    char name[64], folder[PATH_MAX];
    struct pq_service service;
};

static bool find_service(const char *path, struct of_file *out)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? strlen(slash + 1) : 0;
    if (*path != '/' || n < 6 || n >= sizeof out->name || strcmp(slash + 1 + n - 5, ".yaml") != 0)
        return false;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(n - 5), slash + 1);
    snprintf(out->folder, sizeof out->folder, "%.*s", (int)(slash - path), path);
    out->service = (struct pq_service){
        .kind = pq_service_find(), .name = out->name, .folder = out->folder, .program = "paqet"};
    return true;
}

void pq_check_service(const char *path, struct pq_findings *f)
{
    struct pq_service_words words;
    struct of_file of;
    char unit[PATH_MAX], remedy[512];
    struct stat st;
    if (!find_service(path, &of))
        return;
    pq_service_path(&of.service, unit);
    if (stat(unit, &st))
        return; /* it is run otherwise */
    const char *kind = pq_service_kind_name(of.service.kind);
    pq_service_words(&of.service, &words);
    snprintf(remedy, sizeof remedy, "%s says why; to start it: %.200s", words.log, words.start);
    if (pq_service_runs(&of.service))
        OK(f, "service", "%s runs it", kind);
    else
        BAD(f, "service", remedy, "%s does not run it", kind);
}

const char *pq_check_start_words(const char *path, char out[512])
{
    struct pq_service_words words;
    struct of_file of;
    if (find_service(path, &of)) {
        pq_service_words(&of.service, &words);
        snprintf(out, 512, "start it: %.400s", words.start);
    } else {
        snprintf(out, 512, "start it: paqet run -c %.400s", path);
    }
    return out;
}

/* A server may be reached by its neighbours without one; what its clients want is elsewhere. */
static void check_default_route(struct pq_findings *f)
{
    struct pq_addr elsewhere4, elsewhere6; /* any addresses of the Internet will do */
    struct pq_route r;
    pq_addr_parse_ip(&elsewhere4, "1.0.0.1");
    pq_addr_parse_ip(&elsewhere6, "2000::1");
    if (pq_route_get(&elsewhere4, NULL, &r) && pq_route_get(&elsewhere6, NULL, &r))
        NOTE(f, "route", "ip route add default via ROUTER; ip route shows what there is",
             "this machine has no default route, so clients reach nothing of the Internet");
}

static void check_server_port(const struct pq_conf *c, const char *path, struct pq_findings *f)
{
    struct pq_path way;
    struct pq_port_hold held;
    char ports[PQ_RANGE_STRLEN], start[512], who[64];
    char why[PQ_WHY_LEN];
    if (pq_discover_server(c, &way, why)) {
        BAD(f, "interface", NULL, "%s", why);
        return;
    }
    check_interface(&way.iface, f);
    check_default_route(f);
    const int e = pq_server_ports_hold(&held, &c->own_ports, why);
    if (!e)
        pq_ports_release(&held);
    pq_range_str(&c->own_ports, ports);
    /* the server itself holds its port without listening there */
    struct pq_listener other;
    if (e == -EADDRINUSE && !c->decoy && pq_range_size(&c->own_ports) == 1 &&
        pq_listener_find(c->own_ports.from, &other))
        BAD(f, "port", "stop that, or give listen.addr another port, and clients the new link",
            "%s listens on %s: the server cannot have it",
            pq_setup_listener(c->own_ports.from, who), ports);
    else if (e == -EADDRINUSE)
        OK(f, "port", "somebody has %s: the server, if it runs", ports);
    else if (!e)
        NOTE(f, "port", pq_check_start_words(path, start), "%s is free: the server does not run",
             ports);
    if (c->open_rules)
        NOTE(f, "rules", "allow: public",
             "clients reach everything, this machine's own 127.0.0.1 included");
    else
        OK(f, "rules", "there are rules about what clients reach");
    if (!c->require_keys)
        NOTE(f, "keys", "require: keys, private_key and users; see docs/security.md",
             c->over_quic && c->quic.open ? "whoever finds the port is let in"
             : c->over_quic               ? "whoever has transport.quic.key is let in"
                                          : "whoever has transport.kcp.key is let in, and may "
                                            "read what others send");
}

bool pq_setup_is_paqet(const struct pq_listener *l)
{
    char self[PATH_MAX];
    const char *name = pq_spawn_self(self, sizeof self) ? "" : strrchr(self, '/') + 1;
    return strncmp(l->name, "paqet", 5) == 0 || strncmp(l->name, name, sizeof l->name - 1) == 0;
}

static bool is_paqet(uint16_t port)
{
    struct pq_listener l;
    return pq_listener_find(port, &l) && l.pid && pq_setup_is_paqet(&l);
}

/* Whether the client that runs has its proxies, or somebody else. */
void pq_check_proxies(const struct pq_conf *c, const char *path, struct pq_findings *f)
{
    for (unsigned i = 0; i < c->n_socks5; i++) {
        const struct pq_addr *a = &c->socks5[i].addr;
        char at[PQ_ADDR_STRLEN], start[512], who[64];
        const int e = pq_setup_try_listen(a);
        pq_addr_str(a, at);
        if (!e)
            NOTE(f, "proxy", pq_check_start_words(path, start),
                 "nothing listens on %s: the client does not run", at);
        else if (e != -EADDRINUSE)
            BAD(f, "proxy", "give socks5 an address of this machine, such as 127.0.0.1:1080",
                "nothing can listen on %s: %s", at, pq_strerror(e));
        else if (is_paqet(a->port) || geteuid() != 0)
            OK(f, "proxy", "%s listens on %s", pq_setup_listener(a->port, who), at);
        else
            BAD(f, "proxy", "stop that, or give socks5 another port",
                "%s listens on %s: the client cannot have it", pq_setup_listener(a->port, who), at);
    }
}

static void check_tun(const struct pq_conf *c, struct pq_findings *f)
{
    if (!c->tun.enabled)
        return;
    if (access("/dev/net/tun", R_OK | W_OK))
        BAD(f, "tun",
            errno == ENOENT ? "modprobe tun; in a container: --device /dev/net/tun"
                            : "chmod a+rw /dev/net/tun",
            "/dev/net/tun cannot be used: %s", strerror(errno));
    else
        OK(f, "tun", "/dev/net/tun is there");
    char chain[PQ_INPUTS_CHAIN], remedy[256];
    const char *device = c->tun.name && *c->tun.name ? c->tun.name : PQ_CONF_TUN_NAME;
    if (c->role == PQ_ROLE_SERVER && pq_setup_forward_shut(device, chain, remedy))
        NOTE(f, "tun", remedy,
             "the chain %s drops what no rule lets on, and none names %s: clients with --tun may "
             "reach nothing behind this machine",
             chain, device);
}

void pq_check_local(const struct pq_conf *c, const char *path, struct pq_findings *f)
{
    check_rights(f);
    check_file(path, f);
    check_clock(f);
    if (c->role == PQ_ROLE_SERVER)
        check_server_port(c, path, f);
    for (unsigned i = 0; c->role == PQ_ROLE_CLIENT && i < c->n_servers; i++)
        check_way(c, &c->server[i], f);
    check_tun(c, f);
}
