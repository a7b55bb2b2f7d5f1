/* SPDX-License-Identifier: MIT */
/* dump: shows the packets that come in for one port, until interrupted, or those of a file. */
#include "app/app.h"
#include "cli/cli.h"
#include "cli/dump.h"
#include "os/process.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 32

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static void heed_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int listen_to(struct pq_dump *d, struct pq_pktio *io)
{
    struct pq_frame frames[BATCH];
    struct pq_pktio_stats stats;
    int code = 0;
    static const struct pq_range any = {1, 65535}; /* a client's ports change */
    const int e = pq_pktio_set_ports(io, d->n_peers ? &any : &d->ports, 1);
    if (e) {
        pq_say("dump: the packet filter was refused: %s", pq_strerror(e));
        return 1;
    }
    heed_signals();
    while (!stopped && !code) {
        struct pollfd pf = {.fd = io->rx_fd, .events = POLLIN};
        poll(&pf, 1, 1000);
        const size_t n = pq_pktio_recv(io, frames, BATCH);
        for (size_t i = 0; i < n && !code; i++)
            code = pq_dump_take(d, &frames[i], io->link_len, now_us());
        pq_pktio_release(io);
        fflush(stdout);
    }
    pq_pktio_stats(io, &stats);
    if (stats.kernel_drops)
        pq_say("dump: %" PRIu64 " packets more came than could be shown", stats.kernel_drops);
    return code;
}

struct wanted {
    const char *config, *tunnel, *in, *out;
    char ifname[16];
};

static int dump_live(struct pq_dump *d, const struct wanted *w)
{
    struct pq_conf none = {0};
    struct pq_app app = {.conf = &none, .n_workers = 1};
    struct pq_pktio *io;
    if (!d->ports.from || !*w->ifname) {
        pq_say("dump: say which packets: -i INTERFACE -p PORT, or -c FILE, or -r FILE");
        return 1;
    }
    snprintf(app.path.iface.name, sizeof app.path.iface.name, "%s", w->ifname);
    if (pq_app_open_io(&app, &io))
        return 1;
    int code = d->out ? pq_dump_begin(d, io->link_len) : 0;
    if (!code)
        code = listen_to(d, io);
    pq_pktio_close(&io);
    return code;
}

/* Where the packets of a server come in, or those of a client's servers.  Returns 0, or 1 after it
 * was said why it is not known. */
static int find_live(struct pq_dump *d, struct wanted *w, const struct pq_conf *c)
{
    struct pq_path way;
    char why[PQ_WHY_LEN];
    int e = 0;
    if (c->role == PQ_ROLE_SERVER) {
        e = *w->ifname ? 0 : pq_discover_server(c, &way, why);
    } else {
        for (unsigned i = 0; i < c->n_servers; i++) {
            struct pq_addr addrs[PQ_SERVER_ADDRS];
            unsigned n = 0;
            if (pq_discover_resolve(c, &c->server[i], NULL, addrs, &n, why))
                continue;
            for (unsigned k = 0; k < n; k++)
                d->peer[d->n_peers++] = (struct pq_dump_peer){addrs[k], c->server[i].ports};
        }
        e = !d->n_peers  ? PQ_EINVAL
            : *w->ifname ? 0
                         : pq_discover_client(c, &d->peer[0].addr, PQ_SEC, &way, why);
    }
    if (e) {
        pq_say("%s", why);
        return 1;
    }
    if (!*w->ifname)
        memcpy(w->ifname, way.iface.name, sizeof w->ifname);
    return 0;
}

/* What the configuration says of the packets: their port, interface and keys. */
static int from_conf(struct pq_dump *d, struct wanted *w, struct pq_conf *c)
{
    uint8_t key[PQ_KEY_LEN];
    const bool server = c->role == PQ_ROLE_SERVER;
    if (!w->in && find_live(d, w, c))
        return 1;
    if (!d->ports.from)
        d->ports = server ? c->own_ports : c->n_servers ? c->server[0].ports : d->ports;
    const bool has_key = c->kcp.key && *c->kcp.key;
    int e = pq_crypt_global_init();
    if (!e && has_key)
        e = pq_crypt_derive(c->kcp.key, key);
    const struct pq_describe_conf dc = {.cipher = c->cipher,
                                        .key = has_key ? key : NULL,
                                        .secret = server && c->has_secret ? c->secret : NULL};
    e = e ? e : pq_describe_new(&d->desc, &dc);
    explicit_bzero(key, sizeof key);
    if (e)
        pq_say("dump: the key cannot be used: %s", pq_strerror(e));
    d->conf = c;
    return e ? 1 : 0;
}

static int dump(struct pq_dump *d, const struct wanted *w)
{
    if (w->out && !(d->out = fopen(w->out, "wbxe"))) {
        pq_say("dump: %s: %s", w->out, errno == EEXIST ? "is there already" : strerror(errno));
        return 1;
    }
    int code = w->in ? pq_dump_read(d, w->in) : dump_live(d, w);
    if (d->stats)
        pq_dump_print(d);
    if (d->out && fclose(d->out))
        code = 1;
    return code;
}

/* 0 if the text is no port, nor a range of them. */
static struct pq_range read_ports(const char *text)
{
    char full[32], host[2];
    struct pq_range r;
    snprintf(full, sizeof full, ":%.20s", text);
    return pq_hostports_split(full, host, sizeof host, &r) ? (struct pq_range){0, 0} : r;
}

static int read_options(int argc, char **argv, struct pq_dump *d, struct wanted *w)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"interface", required_argument, NULL, 'i'},
                                         {"port", required_argument, NULL, 'p'},
                                         {"read", required_argument, NULL, 'r'},
                                         {"write", required_argument, NULL, 'w'},
                                         {"stats", no_argument, NULL, 's'},
                                         {"hex", no_argument, NULL, 'x'},
                                         {"snaplen", required_argument, NULL, 'n'},
                                         {"promisc", required_argument, NULL, 'n'},
                                         {"tunnel", required_argument, NULL, 't'},
                                         {0}};
    for (int o; (o = getopt_long(argc, argv, "c:i:p:r:w:", opts, NULL)) != -1;) {
        if (o == 'c')
            w->config = optarg;
        else if (o == 'i')
            snprintf(w->ifname, sizeof w->ifname, "%s", optarg);
        else if (o == 'p' && !(d->ports = read_ports(optarg)).from) {
            pq_say("dump: --port wants a number from 1 to 65535, or a range, not '%s'", optarg);
            return 1;
        } else if (o == 'r')
            w->in = optarg;
        else if (o == 'w')
            w->out = optarg;
        else if (o == 't')
            w->tunnel = optarg;
        else if (o == 's')
            d->stats = true;
        else if (o == 'x')
            d->hex = true;
        else if (o == '?')
            return 1; /* snaplen and promisc of the Go program are accepted: all is shown */
    }
    if (optind < argc || (d->stats && !w->config)) {
        pq_say(optind < argc ? "dump: unexpected argument '%s'"
                             : "dump: --stats needs -c FILE, to tell the packets apart",
               argv[optind]);
        return 1;
    }
    d->hex = !d->stats && (d->hex || !w->config);
    return 0;
}

int pq_cmd_dump(int argc, char **argv)
{
    struct pq_dump *d = calloc(1, sizeof *d);
    struct wanted w = {.config = NULL};
    struct pq_conf c = {0};
    pq_process_confine(); /* packets of anybody are read */
    int code = d ? read_options(argc, argv, d, &w) : 1;
    if (!code && w.config)
        code = pq_cli_load(&c, w.config, w.tunnel) || from_conf(d, &w, &c);
    if (!code)
        code = dump(d, &w);
    if (d)
        pq_describe_free(&d->desc);
    pq_conf_free(&c);
    free(d);
    return code;
}
