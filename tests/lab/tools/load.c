/* SPDX-License-Identifier: MIT */
/* lab-load: a traffic origin and a SOCKS5 load client for the lab. See usage(). */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(void)
{
    fputs("usage: lab-load origin [--seconds S] PORT\n"
          "       lab-load MODE [options] HOST PORT       (HOST PORT of the origin)\n"
          "modes:\n"
          "  get     endless downloads for S seconds\n"
          "  put     uploads of 16 MiB, one after the other, for S seconds\n"
          "  rate    fresh connections with 1 KiB each, for S seconds or --count in all\n"
          "  ping    echo of 64 bytes on a connection, for S seconds\n"
          "  fetch   --count downloads of --bytes, every byte checked\n"
          "  send    --count uploads of --bytes, count and checksum checked\n"
          "  idle    opens --parallel connections, reports, holds them for S seconds\n"
          "options:\n"
          "  --socks PORT   proxy on 127.0.0.1 (default: connect directly)\n"
          "  --seconds S    default 5\n"
          "  --parallel N   default 1\n"
          "  --count N      default 1 for fetch and send\n"
          "  --bytes N\n"
          "  --timeout S    for each read and write, default 10\n"
          "One line of JSON on stdout; exit code 1 if any connection failed.\n",
          stderr);
    exit(2);
}

static unsigned long number(const char *text, unsigned long max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || value > max) {
        fprintf(stderr, "lab-load: not a number from 0 to %lu: %s\n", max, text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socks", required_argument, NULL, 'x'},
        {"seconds", required_argument, NULL, 's'},
        {"parallel", required_argument, NULL, 'p'},
        {"count", required_argument, NULL, 'c'},
        {"bytes", required_argument, NULL, 'b'},
        {"timeout", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    struct plan plan = {.target = {.timeout_s = 10}, .seconds = 5, .parallel = 1};
    bool timed = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'x':
            plan.target.socks_port = (uint16_t)number(optarg, 65535);
            break;
        case 's':
            plan.seconds = (double)number(optarg, 86400), timed = true;
            break;
        case 'p':
            plan.parallel = (unsigned)number(optarg, 10000);
            break;
        case 'c':
            plan.count = number(optarg, 1ul << 40);
            break;
        case 'b':
            plan.bytes = number(optarg, 1ul << 50);
            break;
        case 't':
            plan.target.timeout_s = (int)number(optarg, 3600);
            break;
        default:
            usage();
        }
    }
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    argv += optind;
    argc -= optind;
    if (argc == 2 && strcmp(argv[0], "origin") == 0)
        return origin_run((uint16_t)number(argv[1], 65535), timed ? (unsigned)plan.seconds : 0);
    if (argc != 3)
        usage();
    plan.target.host = argv[1];
    plan.target.port = (uint16_t)number(argv[2], 65535);
    if ((strcmp(argv[0], "fetch") == 0 || strcmp(argv[0], "send") == 0) && plan.count == 0)
        plan.count = 1;
    int result = mode_run(argv[0], &plan);
    if (result == 2)
        usage();
    return result;
}
