/* SPDX-License-Identifier: MIT */
/* init_client.c - a client or a bridge, from a link. */
#include "setup/setup_internal.h"

#include "base/err.h"
#include "base/time.h"
#include "os/netinfo.h"
#include "os/port.h"
#include "os/tundev.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKS_FROM   1080
#define SOCKS_TO     1180
#define UP_PATIENCE  (15 * PQ_SEC)
#define PING_SECONDS 8
#define CLIENT_READY "session to " /* in the client's log */
#define POLL_MS      50
#define BUSY_SHOWN   8

struct client_setup {
    struct pq_setup s;
    struct pq_setup_link link;
    struct pq_client_plan plan;
    struct pq_addr socks; /* where the proxy listens */
    char socks_text[PQ_ADDR_STRLEN];
    char tcp[PQ_PORTS_TEXT], udp[PQ_PORTS_TEXT];
    char ssh[PQ_PORTS_TEXT];
};

/* ---- what was said */

static bool read_link(struct client_setup *v)
{
    struct pq_link_msgs m;
    const int e = pq_link_read(v->s.o->link, &v->link, &m);
    for (unsigned i = 0; i < m.n; i++)
        pq_setup_say("the link: %s", m.v[i].text);
    if (e && m.errors > m.n)
        pq_setup_say("the link: and more");
    v->plan.link = &v->link;
    return !e && (!v->link.quic || pq_setup_can_quic("ask for a link over kcp, which \"paqet init "
                                                     "server\" without --quic makes"));
}

/* Whether a server of the link is this very machine: what it sends to itself passes no interface.
 */
static bool leads_here(const struct client_setup *v)
{
    for (unsigned i = 0; i < v->link.n_servers; i++) {
        struct pq_addr a;
        struct sockaddr_storage ss;
        if (pq_addr_parse_ip(&a, v->link.server[i].host))
            continue;
        a.port = 0;
        const socklen_t len = pq_addr_to_sock(&a, &ss);
        const int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const bool here = fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0;
        if (fd >= 0)
            close(fd);
        if (here) {
            pq_setup_say("the link leads to %s, which is this machine: a client belongs on another "
                         "one, where \"paqet init client\" takes the link",
                         v->link.server[i].host);
            return true;
        }
    }
    return false;
}

static bool find_socks(struct client_setup *v)
{
    const char *text = v->s.o->socks;
    char host[PQ_ADDR_STRLEN];
    uint16_t port = SOCKS_FROM;
    if (text && (pq_hostport_split(text, host, sizeof host, &port) || !port ||
                 pq_addr_parse_ip(&v->socks, host))) {
        pq_setup_say("--socks: '%s' is no address of this machine and port such as 127.0.0.1:1080, "
                     "in the digits 0 to 9",
                     text);
        return false;
    }
    if (!text)
        pq_addr_parse_ip(&v->socks, "127.0.0.1");
    v->socks.port = port;
    int e;
    while ((e = pq_setup_try_listen(&v->socks)) && !text && v->socks.port < SOCKS_TO)
        v->socks.port++;
    if (e) {
        char who[64];
        pq_setup_say("--socks: nothing can listen on %s: %s%s",
                     pq_addr_str(&v->socks, v->socks_text),
                     e == -EADDRINUSE      ? pq_setup_listener(v->socks.port, who)
                     : e == -EADDRNOTAVAIL ? "that is no address of this machine"
                                           : pq_strerror(e),
                     e == -EADDRINUSE ? " does; choose another port" : "");
        return false;
    }
    v->plan.socks = pq_addr_str(&v->socks, v->socks_text);
    return true;
}

/* Whether a new device takes IPv6 addresses here. */
static bool has_ipv6(void)
{
    FILE *f = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "re");
    const int off = f ? getc(f) : '1';
    if (f)
        fclose(f);
    return off == '0';
}

static bool check_tun(struct client_setup *v)
{
    if (!v->s.o->tun)
        return true;
    v->plan.tun = true;
    if (!v->link.tun4.bits && !v->link.tun6.bits) {
        pq_setup_say("--tun: the link names no inner address, since its server has no TUN device "
                     "for this user. Leave "
                     "--tun out to use the proxy, or make the server anew where it can (paqet init "
                     "server --force)");
        return false;
    }
    if (access("/dev/net/tun", F_OK)) {
        pq_setup_say("--tun: this machine has no /dev/net/tun; try: modprobe tun. Without --tun "
                     "programs use a proxy");
        return false;
    }
    if (v->link.tun4.bits && v->link.tun6.bits && !has_ipv6()) {
        printf("NOTE: IPv6 is off on this machine (net.ipv6.conf.default.disable_ipv6): the tunnel "
               "carries IPv4 alone\n");
        v->link.tun6.bits = 0;
    }
    return true;
}

static bool overlap(const struct pq_net *a, const struct pq_net *b)
{
    return pq_net_has(a, &b->ip) || pq_net_has(b, &a->ip);
}

/* The interface, not of a tunnel of ours, whose network the one of the link would take, whole or in
 * part: NULL if there is none.  A link may be a stranger's, and with his network he would choose
 * which of this machine's neighbours are reached through his server. */
static const struct pq_iface *taken_from(const struct pq_iface *v, size_t n,
                                         const struct pq_net *net)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i].n; k++) {
            struct pq_net his = {.ip = v[i].addr[k].ip, .bits = v[i].addr[k].prefix};
            his.bits = (uint8_t)(his.bits + (pq_addr_is4(&his.ip) ? 96 : 0));
            if (net->bits >= his.bits && overlap(net, &his) && !pq_tundev_is_ours(v[i].index))
                return &v[i];
        }
    return NULL;
}

/* The inner networks of the link are none of this machine's. */
static bool check_nets(const struct client_setup *v)
{
    const struct pq_net *const nets[] = {&v->link.tun4, &v->link.tun6};
    struct pq_iface *ifaces;
    size_t n;
    bool ok = true;
    if (!v->plan.tun)
        return true;
    const int e = pq_iface_list(&ifaces, &n);
    if (e) {
        pq_setup_say("the interfaces of this machine cannot be seen: %s", pq_strerror(e));
        return false;
    }
    for (int i = 0; i < 2; i++) {
        const struct pq_iface *f = nets[i]->bits ? taken_from(ifaces, n, nets[i]) : NULL;
        char ip[PQ_ADDR_STRLEN];
        if (f)
            pq_setup_say("--tun: the link has this machine use the network of %s/%u, which is in "
                         "that of its interface %s: machines there would not be reached any more. "
                         "Leave --tun out to use the proxy, or ask for a link of another network",
                         pq_addr_ip_str(&nets[i]->ip, ip),
                         pq_addr_is4(&nets[i]->ip) ? nets[i]->bits - 96U : nets[i]->bits, f->name);
        ok = ok && !f;
    }
    free(ifaces);
    return ok;
}

/* ---- ports of a bridge */

struct busy {
    unsigned n;
    char text[512];
};

static bool try_port(void *ctx, uint16_t port)
{
    struct busy *b = ctx;
    struct pq_port held;
    if (pq_port_reserve(&held, port) == -EADDRINUSE) {
        const size_t len = strlen(b->text);
        char who[64];
        if (b->n < BUSY_SHOWN)
            snprintf(b->text + len, sizeof b->text - len, "%s%u (%s)", b->n ? ", " : "", port,
                     pq_setup_listener(port, who));
        b->n++;
    } else {
        pq_port_release(&held);
    }
    return true;
}

static bool read_except(struct client_setup *v)
{
    const struct pq_init_opts *o = v->s.o;
    char why[160];
    if (o->ports || o->listen) {
        pq_setup_say("--all-ports: is for all ports of all addresses; leave %s out",
                     o->ports ? "--ports" : "--listen");
        return false;
    }
    if (o->except && pq_ports_read(o->except, v->tcp, v->udp, why)) {
        pq_setup_say("--except: %s", why);
        return false;
    }
    if (*v->udp) {
        pq_setup_say("--except: is for TCP and UDP alike; leave /udp out");
        return false;
    }
    v->plan.ports = "all";
    pq_ports_of_ssh(v->ssh);
    v->plan.except = o->except ? o->except : v->ssh;
    v->tcp[0] = 0;
    return true;
}

static bool read_ports(struct client_setup *v)
{
    const struct pq_init_opts *o = v->s.o;
    char why[160];
    struct busy busy = {0};
    v->plan.target = o->target ? o->target : "127.0.0.1";
    v->plan.listen = o->listen;
    if (o->all_ports)
        return read_except(v);
    struct pq_addr own = {.port = 0};
    if (o->listen && !pq_addr_parse_ip(&own, o->listen) &&
        pq_setup_try_listen(&own) == -EADDRNOTAVAIL) {
        pq_setup_say("--listen: %s is no address of this machine", o->listen);
        return false;
    }
    if (!o->ports || o->except) {
        pq_setup_say(o->ports ? "--except: is of use with --all-ports only"
                              : "bridge: --ports says which ports of this machine lead through "
                                "the tunnel, such as --ports 443,2053,8000-8100, or --all-ports");
        return false;
    }
    if (pq_ports_read(o->ports, v->tcp, v->udp, why)) {
        pq_setup_say("--ports: %s", why);
        return false;
    }
    v->plan.ports = o->ports;
    v->plan.tcp = v->tcp;
    v->plan.udp = v->udp;
    pq_ports_each(v->tcp, try_port, &busy);
    if (busy.n)
        pq_setup_say("--ports: taken on this machine: %s%s; leave them out, or stop what has them",
                     busy.text, busy.n > BUSY_SHOWN ? " and more" : "");
    return !busy.n;
}

/* ---- the check */

static int connect_to(const struct pq_addr *a)
{
    struct sockaddr_storage ss;
    const socklen_t len = pq_addr_to_sock(a, &ss);
    const int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Waits until the client's port is open. */
static bool wait_for(const struct pq_addr *a)
{
    for (const pq_ns until = pq_clock() + UP_PATIENCE; pq_clock() < until; poll(NULL, 0, POLL_MS)) {
        const int fd = connect_to(a);
        if (fd >= 0)
            close(fd);
        if (fd >= 0)
            return true;
    }
    return false;
}

/* Whether the client that runs gets an answer of its server: a target that no server permits or
 * has is asked for, which none but the server can refuse. */
static bool ask_proxy(const struct pq_addr *a)
{
    static const char request[] = "GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n";
    char answer[64] = "";
    const int fd = connect_to(a);
    if (fd < 0)
        return false;
    ssize_t n = -1;
    if (write(fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        n = poll(&p, 1, PING_SECONDS * 1000) == 1 ? read(fd, answer, sizeof answer - 1) : -1;
    }
    close(fd);
    return n > 0 && strncmp(answer, "HTTP/1.", 7) == 0;
}

#define SILENCE "nothing comes back" /* as ping begins then; of else it says what it is */

static const char installed[] =
    "All is installed, and goes on trying, but the server does not answer yet.\n";

static const char advice[] =
    "What it may be:\n"
    "  a firewall in front of the server (the provider's panel) keeps TCP to its port out;\n"
    "  paqet does not run there, or the link is an old one: \"paqet link\" there shows today's;\n"
    "%s"
    "  something on the way drops the packets.\n"
    "To find out, type both at the same time:\n"
    "  at the server: sudo paqet check -c /etc/paqet/server.yaml --listen 20\n"
    "  here:          sudo paqet check -c %s\n";

static bool check_server(const struct client_setup *v)
{
    struct pq_setup_pong pong;
    const bool ok = pq_setup_ping(v->s.conf, NULL, 3, PING_SECONDS, &pong);
    if (ok)
        printf("the server answers, in %.1f ms\n", pong.rtt);
    fflush(stdout);
    if (!ok)
        fputs(installed, stderr);
    if (!ok && *pong.why && strncmp(pong.why, SILENCE, strlen(SILENCE)) != 0)
        fprintf(stderr, "%sTo find out more: sudo paqet check -c %s\n", pong.why, v->s.conf);
    else if (!ok)
        fprintf(stderr, advice,
                v->link.quic ? "  the clocks of both machines differ by more than two minutes;\n"
                : strcmp(v->link.look, "connect") == 0
                    ? "  the clocks of both machines differ by more than a minute;\n"
                    : "",
                v->s.conf);
    return ok;
}

/* The entries of a list of ports, as the server's file permits them. */
static void print_allowed(const char *host, const char *list)
{
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        printf(strchr(host, ':') ? "  - \"[%s]:%.*s\"\n" : "  - \"%s:%.*s\"\n", host,
               (int)strcspn(p, ","), p);
}

/* Rules know no protocol. */
static void advise_allow(const struct client_setup *v, const char *target)
{
    const bool all = v->plan.except != NULL;
    printf("NOTE: the server's rules do not allow %s. Make \"allow:\" in its file, "
           "/etc/paqet/server.yaml, read so:\n\n"
           "allow:\n"
           "  - public\n",
           target);
    if (all)
        printf("  - \"%s\"\n", v->plan.target);
    print_allowed(v->plan.target, v->tcp);
    print_allowed(v->plan.target, v->udp);
    printf("\nand type there: sudo paqet reload -c /etc/paqet/server.yaml\n");
    if (strcmp(v->plan.target, "127.0.0.1") == 0)
        printf("Or make it anew, with a new link for this machine: sudo paqet init server "
               "--force%s --bridge %s\n",
               v->link.quic ? " --quic" : "", all ? "all" : v->s.o->ports);
}

/* What the server says of a bridge's target. */
static void check_target(const struct client_setup *v)
{
    char target[PQ_LINK_TEXT + 16];
    struct pq_setup_pong pong;
    const bool all = v->plan.except != NULL;
    const char *port = all ? "443" : v->tcp;
    if (!*port)
        return;
    snprintf(target, sizeof target, strchr(v->plan.target, ':') ? "[%s]:%.*s" : "%s:%.*s",
             v->plan.target, (int)strcspn(port, ",-"), port);
    if (!pq_setup_ping(v->s.conf, target, 1, PING_SECONDS, &pong))
        printf("NOTE: the server did not say whether it reaches %s\n", target);
    else if (pong.result == 2)
        advise_allow(v, target);
    else if (pong.result > 0 && all)
        return; /* no port is meant more than others */
    else if (pong.result > 0)
        printf(
            "NOTE: from the server nothing answers at %s yet: start there what is to be reached\n",
            target);
    else
        printf("%s is reached from the server\n", target);
}

/* ---- the whole */

static bool write_all(struct client_setup *v)
{
    char *text = pq_yaml_client(&v->plan);
    const bool ok = text && pq_setup_check(&v->s, text) && pq_setup_prepare(&v->s) &&
                    pq_setup_write(&v->s, v->s.conf, text, strlen(text), PQ_SETUP_READ);
    pq_text_free(text);
    if (ok)
        printf("wrote %s\n", v->s.conf);
    return ok;
}

static bool start(struct client_setup *v)
{
    struct pq_addr a = v->socks;
    if (v->plan.ports) {
        pq_addr_parse_ip(&a, v->plan.listen && *v->plan.listen ? v->plan.listen : "127.0.0.1");
        a.port = (uint16_t)strtoul(v->tcp, NULL, 10);
    }
    if (pq_addr_is_any(&a))
        pq_addr_parse_ip(&a, pq_addr_is4(&a) ? "127.0.0.1" : "::1");
    if (!pq_setup_start(&v->s))
        return false;
    if (!pq_service_wait(&v->s.service, CLIENT_READY, UP_PATIENCE) || (a.port && !wait_for(&a))) {
        pq_setup_explain(&v->s, "the client does not come up");
        return false;
    }
    printf("the client runs (%s)\n", pq_service_kind_name(v->s.service.kind));
    return true;
}

static void print_use(const struct client_setup *v)
{
    char addr[PQ_ADDR_STRLEN];
    if (v->plan.except) {
        printf("\nAll ports of this machine, TCP and UDP, lead to the same ones of %s, as the "
               "server sees it, but for %s\n"
               "and those that a program of this machine listens on.\n",
               v->plan.target, v->plan.except);
    } else if (v->plan.ports) {
        printf(
            "\nThe ports %s of this machine lead to the same ones of %s, as the server sees it.\n",
            v->s.o->ports, v->plan.target);
    } else {
        printf("\nPrograms use the proxy %s: SOCKS5, with names looked up by the proxy, or HTTP. "
               "For example:\n"
               "  curl -x socks5h://%s https://example.com/\n",
               pq_addr_str(&v->socks, addr), v->socks_text);
        if (v->plan.tun)
            printf("All else of this machine goes through the tunnel, too; DNS servers of the "
                   "local network are asked there.\n");
    }
}

/* Whether the configuration would do; and what it would be, without its secrets. */
static bool print_dry(const struct client_setup *v)
{
    char *real = pq_yaml_client(&v->plan);
    const bool ok = real && pq_setup_check(&v->s, real);
    pq_text_free(real);
    if (!ok)
        return false;
    struct client_setup masked = *v;
    memset(masked.link.secret, 0, sizeof masked.link.secret);
    if (*masked.link.key)
        snprintf(masked.link.key, sizeof masked.link.key, "the key of the link");
    masked.plan.link = &masked.link;
    char *text = pq_yaml_client(&masked.plan);
    printf("Would write %s, with the keys of the link:\n\n%s\n", v->s.conf, text ? text : "");
    pq_text_free(text);
    if (!v->s.o->no_service)
        printf("Would install and start it as %s\n", pq_service_kind_name(v->s.service.kind));
    return true;
}

static int run(struct client_setup *v, bool bridge)
{
    if (!read_link(v) || leads_here(v) || !check_tun(v) || !pq_setup_may_write(&v->s))
        return 1;
    if (!pq_setup_displace(&v->s) || !check_nets(v) || !(bridge ? read_ports(v) : find_socks(v))) {
        pq_setup_undo(&v->s);
        return 1;
    }
    pq_setup_tun_name(v->plan.tun_name);
    if (v->s.o->dry_run)
        return print_dry(v) ? 0 : 1;
    if (!write_all(v) || (!v->s.o->no_service && !start(v))) {
        pq_setup_undo(&v->s);
        return 1;
    }
    const bool ok = v->s.o->no_service || check_server(v);
    if (ok && !v->s.o->no_service && !bridge)
        printf(ask_proxy(&v->socks) ? "the proxy has brought an answer of the server\n"
                                    : "NOTE: the proxy at %s brought no answer; see its log\n",
               v->socks_text);
    if (ok && !v->s.o->no_service && bridge)
        check_target(v);
    print_use(v);
    pq_setup_words(&v->s);
    return ok ? 0 : 1;
}

static int init(const struct pq_init_opts *o, bool bridge)
{
    struct client_setup *v = calloc(1, sizeof *v);
    int code = 1;
    if (!v)
        return 1;
    if (pq_setup_begin(&v->s, o, bridge ? "bridge" : "client")) {
        code = run(v, bridge);
        pq_setup_end(&v->s);
    }
    explicit_bzero(v, sizeof *v);
    free(v);
    return code;
}

int pq_init_client(const struct pq_init_opts *o)
{
    return init(o, false);
}

int pq_init_bridge(const struct pq_init_opts *o)
{
    return init(o, true);
}
