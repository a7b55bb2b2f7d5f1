/* SPDX-License-Identifier: MIT */
/* lab-udp: a UDP echo, and flows of datagrams that are counted and checked. See usage(). */
#include "udp.h"
#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(void)
{
    fputs(
        "usage: lab-udp echo [--seconds S] [--ports N] PORT\n"
        "       lab-udp flows [options] HOST PORT         (of the echo)\n"
        "options of flows:\n"
        "  --socks PORT   through UDP ASSOCIATE of the proxy on 127.0.0.1 (default: directly)\n"
        "  --shared       all flows through one association\n"
        "  --flows N      default 1, each with a socket, and an association, of its own\n"
        "  --ports N      flow i goes to PORT + i mod N (default 1)\n"
        "  --rate P       datagrams per second of each flow (default 50)\n"
        "  --size A[-B]   bytes of each (default 200)\n"
        "  --seconds S    of sending (default 5)\n"
        "  --linger S     then wait for the last ones (default 2)\n"
        "One line of JSON on stdout; exit code 1 if a flow could not be opened or something came\n"
        "back that was damaged.\n",
        stderr);
    exit(2);
}

static double number(const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= min && value <= max)) {
        fprintf(stderr, "lab-udp: not a number from %g to %g: %s\n", min, max, text);
        exit(2);
    }
    return value;
}

static void sizes(char *text, struct flows *flows)
{
    const double least = sizeof(struct datagram);
    char *dash = strchr(text, '-');
    if (dash)
        *dash = 0;
    flows->size_min = (unsigned)number(text, least, DATAGRAM_MAX);
    flows->size_max = flows->size_min;
    if (dash)
        flows->size_max = (unsigned)number(dash + 1, flows->size_min, DATAGRAM_MAX);
}

static void parse(int argc, char **argv, struct flows *flows)
{
    static const struct option options[] = {
        {"socks", required_argument, NULL, 'x'},   {"shared", no_argument, NULL, 'h'},
        {"flows", required_argument, NULL, 'f'},   {"ports", required_argument, NULL, 'p'},
        {"rate", required_argument, NULL, 'r'},    {"size", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'}, {"linger", required_argument, NULL, 'l'},
        {"warmup", required_argument, NULL, 'w'},  {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'x':
            flows->socks_port = (uint16_t)number(optarg, 1, 65535);
            break;
        case 'h':
            flows->shared = true;
            break;
        case 'f':
            flows->count = (unsigned)number(optarg, 1, 100000);
            break;
        case 'p':
            flows->ports = (unsigned)number(optarg, 1, 65535);
            break;
        case 'r':
            flows->rate = number(optarg, 0.01, 1e6);
            break;
        case 'b':
            sizes(optarg, flows);
            break;
        case 's':
            flows->seconds = number(optarg, 0, 86400);
            break;
        case 'w':
            flows->warmup = number(optarg, 0, 3600);
            break;
        case 'l':
            flows->linger = number(optarg, 0, 3600);
            break;
        default:
            usage();
        }
    }
}

int main(int argc, char **argv)
{
    struct flows flows = {.ports = 1,
                          .count = 1,
                          .rate = 50,
                          .size_min = 200,
                          .size_max = 200,
                          .seconds = -1,
                          .linger = 2};
    parse(argc, argv, &flows);
    allow_many_files();
    argv += optind;
    argc -= optind;
    if (argc == 2 && strcmp(argv[0], "echo") == 0) {
        unsigned limit = flows.seconds > 0 ? (unsigned)flows.seconds : 0;
        return echo_run((uint16_t)number(argv[1], 1, 65535), flows.ports, limit);
    }
    if (argc != 3 || strcmp(argv[0], "flows") != 0 || (flows.shared && flows.socks_port == 0))
        usage();
    if (flows.seconds < 0)
        flows.seconds = 5;
    flows.host = argv[1];
    flows.port = (uint16_t)number(argv[2], 1, 65535);
    return flows_run(&flows);
}
