/* SPDX-License-Identifier: MIT */
/* dump: shows the payload of TCP packets that come in for one port, until interrupted. */
#include "app/app.h"
#include "cli/cli.h"

#include <ctype.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

/* As `hexdump -C` shows it. */
static void hex_dump(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n; at += 16) {
        printf("%08zx ", at);
        for (size_t i = 0; i < 16; i++) {
            if (at + i < n)
                printf("%s%02x", i == 8 ? "  " : " ", p[at + i]);
            else
                printf(i == 8 ? "    " : "   ");
        }
        printf("  |");
        for (size_t i = 0; i < 16 && at + i < n; i++)
            putchar(isprint(p[at + i]) ? p[at + i] : '.');
        printf("|\n");
    }
    printf("%08zx\n", n);
}

static void show(const struct pq_frame *f, uint16_t link_len)
{
    struct pq_segment s;
    char src[PQ_ADDR_STRLEN], dst[PQ_ADDR_STRLEN], when[16];
    if (pq_segment_parse(&s, f->p, f->len, link_len))
        return;
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    strftime(when, sizeof when, "%H:%M:%S", &tm);
    printf("[%s.%03ld] Packet: %s -> %s | Length: %zu bytes\n--- PAYLOAD (HEX DUMP) ---\n", when,
           ts.tv_nsec / 1000000, pq_addr_str(&s.src, src), pq_addr_str(&s.dst, dst), s.len);
    hex_dump(s.data, s.len);
    printf("--------------------------\n");
    fflush(stdout);
}

static int dump(struct pq_pktio *io, const struct pq_range *ports)
{
    struct pq_frame frames[BATCH];
    int e = pq_pktio_set_ports(io, ports, 1);
    if (e) {
        pq_say("dump: the packet filter was refused: %s", pq_strerror(e));
        return 1;
    }
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    while (!stopped) {
        struct pollfd pf = {.fd = io->rx_fd, .events = POLLIN};
        poll(&pf, 1, 1000);
        size_t n = pq_pktio_recv(io, frames, BATCH);
        for (size_t i = 0; i < n; i++)
            show(&frames[i], io->link_len);
        pq_pktio_release(io);
    }
    return 0;
}

/* Interface and port of a server's configuration, as family B's dump takes them. */
static int from_conf(const char *path, char ifname[16], struct pq_range *ports)
{
    struct pq_conf c;
    struct pq_path way;
    char why[PQ_WHY_LEN];
    if (pq_cli_load(&c, path))
        return 1;
    int e = c.role == PQ_ROLE_SERVER ? pq_discover_server(&c, &way, why) : 1;
    if (c.role != PQ_ROLE_SERVER)
        pq_say("dump: %s is a client's configuration; a server's is needed", path);
    else if (e)
        pq_say("%s", why);
    else
        memcpy(ifname, way.iface.name, 16);
    *ports = c.own_ports;
    pq_conf_free(&c);
    return e ? 1 : 0;
}

/* 0 if the text is no port, nor a range of them. */
static struct pq_range read_ports(const char *text)
{
    char full[32], host[2];
    struct pq_range r;
    snprintf(full, sizeof full, ":%.20s", text);
    return pq_hostports_split(full, host, sizeof host, &r) ? (struct pq_range){0, 0} : r;
}

int pq_cmd_dump(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'},  {"interface", required_argument, NULL, 'i'},
        {"port", required_argument, NULL, 'p'},    {"snaplen", required_argument, NULL, 's'},
        {"promisc", required_argument, NULL, 'm'}, {0}};
    struct pq_conf none = {0};
    struct pq_app app = {.conf = &none, .n_workers = 1};
    struct pq_pktio *io;
    const char *path = NULL;
    struct pq_range ports = {0, 0};
    for (int o; (o = getopt_long(argc, argv, "c:i:p:", opts, NULL)) != -1;) {
        if (o == 'c')
            path = optarg;
        else if (o == 'i')
            snprintf(app.path.iface.name, sizeof app.path.iface.name, "%s", optarg);
        else if (o == 'p')
            ports = read_ports(optarg);
        else if (o == '?')
            return 1; /* snaplen and promisc of the Go program are accepted: all is shown */
    }
    if (path && from_conf(path, app.path.iface.name, &ports))
        return 1;
    if (!ports.from || !*app.path.iface.name) {
        pq_say("dump: say which packets: -i INTERFACE -p PORT, or -c FILE of a server");
        return 1;
    }
    if (pq_app_open_io(&app, &io))
        return 1;
    int code = dump(io, &ports);
    pq_pktio_close(&io);
    return code;
}
