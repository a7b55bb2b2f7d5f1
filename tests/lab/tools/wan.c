/* SPDX-License-Identifier: MIT */
/* lab-wan: a user-space WAN between two interfaces of one network namespace.
 *
 * Every frame that comes in on one interface leaves on the other. Each direction is one link: a
 * drop-tail queue drained at a rate, then a propagation delay. Faults (loss, corruption,
 * duplication, reordering) are drawn from one generator per direction, so a seed gives the same
 * fate to the n-th packet of a direction. Boxes in front of the links may meddle with TCP flows;
 * else it knows nothing about what it carries. One thread.
 *
 * Prints "ready" on stderr once both interfaces are open, and one line of JSON with the counters,
 * of the two links and of the boxes, on stdout when it ends: by SIGTERM, SIGINT or after
 * --max-seconds. SIGUSR1: all TCP flows that there are pass no more. */
#include "wan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MBIT (1e6 / 8 / 1e9) /* bytes per ns */

static volatile sig_atomic_t stopped, kills;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        kills = 1;
    else
        stopped = 1;
}

static void run(struct link links[2], const struct settings *set, struct box_counters *count)
{
    const uint64_t end = set->max_seconds ? now_ns() + set->max_seconds * NS_PER_S : UINT64_MAX;

    while (!stopped) {
        uint64_t now = now_ns();
        if (now >= end)
            return;
        if (kills)
            box_kill_all(now);
        kills = 0;
        uint64_t wake = end;
        for (int i = 0; i < 2; i++) {
            uint64_t next = link_transmit(&links[i], now);
            wake = next < wake ? next : wake;
        }
        now = now_ns();
        uint64_t wait = wake <= now ? 0 : wake - now;
        if (wait > NS_PER_S)
            wait = NS_PER_S;
        struct timespec timeout = {(time_t)(wait / NS_PER_S), (long)(wait % NS_PER_S)};
        struct pollfd polled[2] = {{links[0].in_fd, POLLIN, 0}, {links[1].in_fd, POLLIN, 0}};
        if (ppoll(polled, 2, &timeout, NULL) <= 0)
            continue;
        for (int i = 0; i < 2; i++)
            if (polled[i].revents & POLLIN)
                link_receive(&links[i], set, count);
    }
}

static int open_interface(const char *name)
{
    const int on = 1, buffer = 32 << 20;
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(name)};
    struct packet_mreq promiscuous = {.mr_ifindex = address.sll_ifindex,
                                      .mr_type = PACKET_MR_PROMISC};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 || address.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fprintf(stderr, "lab-wan: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
    return fd;
}

static void print_link(const struct link *link)
{
    printf("{\"from\": \"%s\", \"to\": \"%s\", \"in\": %" PRIu64 ", \"out\": %" PRIu64
           ", \"out_bytes\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"queue_dropped\": %" PRIu64
           ", \"send_dropped\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
           ", \"corrupted\": %" PRIu64 "}",
           link->from, link->to, link->in, link->out, link->out_bytes, link->lost,
           link->queue_dropped, link->send_dropped, link->duplicated, link->reordered,
           link->corrupted);
}

static void print_boxes(const struct box_counters *c)
{
    printf("{\"killed\": %" PRIu64 ", \"killed_back\": %" PRIu64 ", \"bindings\": %" PRIu64
           ", \"unbound\": %" PRIu64 ", \"diverted\": %" PRIu64 ", \"to_elsewhere\": %" PRIu64 "}",
           c->killed[0], c->killed[1], c->bindings, c->unbound, c->diverted, c->to_elsewhere);
}

static void usage(void)
{
    fputs("usage: lab-wan [options] INTERFACE INTERFACE\n"
          "  --delay MS       one way\n"
          "  --jitter MS      0..MS more delay, order kept\n"
          "  --loss PCT       in bursts of MS on the average: --bursts\n"
          "  --rate MBIT      0: no limit; --rate-up towards the second interface, if another\n"
          "  --queue MS       drop-tail queue at that rate (default 100)\n"
          "  --police BYTES   no queue: more than so much at once, at that rate, is dropped\n"
          "  --swing MS       more delay, one way, for five of each ten seconds\n"
          "  --reorder PCT    held back by half the delay, at least 2 ms\n"
          "  --duplicate PCT\n"
          "  --corrupt PCT    one bit flipped behind the Ethernet header\n"
          "boxes, for TCP over IPv4:\n"
          "  --kill-ms N      a flow passes no more so long after its first packet\n"
          "  --kill-bytes N   the same after so many bytes, both ways together\n"
          "  --kill-way WAY   up, down (towards the first interface) or both (default)\n"
          "  --kill-by SIDE   client (default): by the port on the first side; server: on the "
          "second\n"
          "  --flags-up N     segments with these flags (the bits, in hex) do not pass; "
          "--flags-down\n"
          "  --longest-up N   bytes of the longest IP packet that passes; --longest-down\n"
          "  --nat-ms N       the client's ports are shown as others, which change that often\n"
          "  --divert N       each N-th packet of the client comes from the address ...\n"
          "  --divert-from A  ... A; what is sent to it is counted, and gets no further\n"
          "  --seed N         default 1\n"
          "  --max-seconds N  end by itself\n",
          stderr);
    exit(2);
}

static double number(const char *text, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= max)) {
        fprintf(stderr, "lab-wan: not a number from 0 to %g: %s\n", max, text);
        exit(2);
    }
    return value;
}

static void take_box(int option, struct box_settings *set)
{
    switch (option) {
    case 'k':
        set->kill_ns = number(optarg, 1e9) * NS_PER_MS;
        break;
    case 'b':
        set->kill_bytes = number(optarg, 1e15);
        break;
    case 'w':
        set->kill_way[0] = strcmp(optarg, "down") != 0;
        set->kill_way[1] = strcmp(optarg, "up") != 0;
        break;
    case 'y':
        set->kill_by_server = strcmp(optarg, "server") == 0;
        break;
    case 'n':
        set->nat_ns = number(optarg, 1e9) * NS_PER_MS;
        break;
    case 'v':
        set->divert = (uint32_t)number(optarg, 1e9);
        break;
    case 'g':
    case 'G':
        set->flags[option == 'G'] = (uint8_t)strtol(optarg, NULL, 16);
        break;
    case 'p':
    case 'P':
        set->longest[option == 'P'] = (uint32_t)number(optarg, 65535);
        break;
    case 'f':
        if (inet_pton(AF_INET, optarg, set->divert_from) != 1)
            usage();
        break;
    default:
        usage();
    }
}

static bool take_link(int option, struct link_settings *set)
{
    switch (option) {
    case 'd':
        set->delay_ns = number(optarg, 1e5) * NS_PER_MS;
        return true;
    case 'j':
        set->jitter_ns = number(optarg, 1e5) * NS_PER_MS;
        return true;
    case 'l':
        set->loss = number(optarg, 100) / 100;
        return true;
    case 'B':
        set->burst_ns = number(optarg, 1e5) * NS_PER_MS;
        return true;
    case 'r':
        set->bytes_per_ns[0] = set->bytes_per_ns[1] = number(optarg, 1e6) * MBIT;
        return true;
    case 'q':
        set->queue_ns = number(optarg, 1e5) * NS_PER_MS;
        return true;
    case 'i':
        set->policed_bytes = number(optarg, 1e9);
        return true;
    case 'x':
        set->swing_ns = number(optarg, 1e5) * NS_PER_MS;
        return true;
    case 'o':
        set->reorder = number(optarg, 100) / 100;
        return true;
    case 'u':
        set->duplicate = number(optarg, 100) / 100;
        return true;
    case 'c':
        set->corrupt = number(optarg, 100) / 100;
        return true;
    default:
        return false;
    }
}

static void parse(int argc, char **argv, struct settings *set)
{
    static const struct option options[] = {
        {"delay", required_argument, NULL, 'd'},
        {"jitter", required_argument, NULL, 'j'},
        {"loss", required_argument, NULL, 'l'},
        {"bursts", required_argument, NULL, 'B'},
        {"rate", required_argument, NULL, 'r'},
        {"rate-up", required_argument, NULL, 'R'},
        {"queue", required_argument, NULL, 'q'},
        {"police", required_argument, NULL, 'i'},
        {"swing", required_argument, NULL, 'x'},
        {"reorder", required_argument, NULL, 'o'},
        {"duplicate", required_argument, NULL, 'u'},
        {"corrupt", required_argument, NULL, 'c'},
        {"kill-ms", required_argument, NULL, 'k'},
        {"kill-bytes", required_argument, NULL, 'b'},
        {"kill-way", required_argument, NULL, 'w'},
        {"kill-by", required_argument, NULL, 'y'},
        {"nat-ms", required_argument, NULL, 'n'},
        {"divert", required_argument, NULL, 'v'},
        {"divert-from", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},
        {"flags-up", required_argument, NULL, 'g'},
        {"flags-down", required_argument, NULL, 'G'},
        {"longest-up", required_argument, NULL, 'p'},
        {"longest-down", required_argument, NULL, 'P'},
        {"max-seconds", required_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    double up = -1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            set->seed = (uint64_t)number(optarg, 1e15);
        else if (c == 'm')
            set->max_seconds = (uint64_t)number(optarg, 1e6);
        else if (c == 'R')
            up = number(optarg, 1e6);
        else if (!take_link(c, &set->link))
            take_box(c, &set->box);
    }
    if (up >= 0)
        set->link.bytes_per_ns[0] = up * MBIT;
    if (argc - optind != 2)
        usage();
}

int main(int argc, char **argv)
{
    struct settings set = {
        .link.queue_ns = 100 * NS_PER_MS, .box.kill_way = {true, true}, .seed = 1};
    struct box_counters count = {0};
    parse(argc, argv, &set);
    const char *a = argv[optind], *b = argv[optind + 1];
    int fd_a = open_interface(a), fd_b = open_interface(b);
    struct link links[2] = {
        {.from = a, .to = b, .in_fd = fd_a, .out_fd = fd_b, .random = set.seed},
        {.from = b, .to = a, .back = true, .in_fd = fd_b, .out_fd = fd_a, .random = ~set.seed},
    };
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1ul);
    fputs("ready\n", stderr);

    run(links, &set, &count);

    printf("[");
    print_link(&links[0]);
    printf(", ");
    print_link(&links[1]);
    printf(", ");
    print_boxes(&count);
    printf("]\n");
    for (int i = 0; i < 2; i++) {
        link_free(&links[i]);
        close(links[i].in_fd);
    }
    return 0;
}
