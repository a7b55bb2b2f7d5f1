/* SPDX-License-Identifier: MIT */
/* log: the last lines that the paqet that runs has in memory; and the level of its log. */
#include "cli/cli.h"
#include "cli/control.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINES_DEF 50
#define FOLLOW_MS 300

struct wanted {
    struct pq_cli_target t;
    const char *level;
    unsigned lines;
    bool follow;
};

/* Asks for the lines from number *next on and prints the last `most` of them. */
static int print_from(int fd, uint64_t *next, unsigned most)
{
    struct pq_cli_answer a;
    char request[64], line[1100];
    snprintf(request, sizeof request, "\"do\":\"log\",\"after\":%" PRIu64, *next);
    int code = pq_cli_ask(fd, "log", request, &a);
    if (code)
        return code;
    const struct pq_json_node *list = pq_json_get(&a.doc, a.doc.v, "lines"), *i;
    unsigned n = 0;
    for (i = pq_json_first(&a.doc, list); i; i = pq_json_after(&a.doc, list, i))
        n++;
    for (i = pq_json_first(&a.doc, list); i; i = pq_json_after(&a.doc, list, i))
        if (n-- <= most)
            puts(pq_cli_text(&a, i, NULL, line, sizeof line));
    pq_json_get_uint(&a.doc, pq_json_get(&a.doc, a.doc.v, "next"), next);
    pq_cli_answer_free(&a);
    return fflush(stdout) ? 1 : 0;
}

static int set_level(const struct wanted *w)
{
    struct pq_cli_answer a;
    char request[64];
    if (strlen(w->level) > 10 ||
        strspn(w->level, "abcdefghijklmnopqrstuvwxyz") < strlen(w->level)) {
        fprintf(stderr, "paqet log: --level wants debug, info, warn, error, fatal or none\n");
        return 1;
    }
    snprintf(request, sizeof request, "\"do\":\"level\",\"level\":\"%s\"", w->level);
    int code = pq_cli_ask_once(&w->t, "log", request, &a);
    if (!code)
        pq_cli_answer_free(&a);
    return code;
}

static int show(const struct wanted *w)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    uint64_t next = 0;
    int fd = pq_cli_connect(&w->t, "log");
    if (fd < 0)
        return 1;
    int code = print_from(fd, &next, w->lines);
    while (!code && w->follow) {
        nanosleep(&pause, NULL);
        code = print_from(fd, &next, UINT32_MAX);
    }
    close(fd);
    return code;
}

int pq_cmd_log(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
        {"lines", required_argument, NULL, 'n'},  {"level", required_argument, NULL, 'l'},
        {"follow", no_argument, NULL, 'f'},       {0}};
    struct wanted w = {.lines = LINES_DEF};
    for (int o; (o = getopt_long(argc, argv, "c:s:n:f", opts, NULL)) != -1;) {
        if (o == 'c')
            w.t.config = optarg;
        else if (o == 's')
            w.t.socket = optarg;
        else if (o == 'n')
            w.lines = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 'l')
            w.level = optarg;
        else if (o == 'f')
            w.follow = true;
        else
            return 1;
    }
    if (optind < argc || !w.lines) {
        fprintf(stderr, "paqet log: unexpected argument; --lines wants a number from 1 on\n");
        return 1;
    }
    const int code = w.level ? set_level(&w) : 0;
    return code || (w.level && !w.follow) ? code : show(&w);
}
