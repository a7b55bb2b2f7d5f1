/* SPDX-License-Identifier: MIT */
/* top: the streams of the paqet that runs, the busiest first; and ending one. */
#include "cli/cli.h"
#include "cli/show.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS  1000
#define LINES_DEF 20
#define LINES_MAX 100000

struct line { /* a stream */
    const struct pq_json_node *now;
    double in, out; /* bytes since */
};

static int by_rate(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    const double d = y->in + y->out - (x->in + x->out);
    return (d > 0) - (d < 0);
}

static void print_stream(const struct pq_cli_answer *now, const struct line *l, double seconds)
{
    char id[32], kind[16], host[280], target[300], user[80], peer[64];
    char in[PQ_SHOW_LEN], out[PQ_SHOW_LEN], all[PQ_SHOW_LEN], age[PQ_SHOW_LEN];
    const struct pq_json_node *s = l->now;
    pq_cli_text(now, s, "host", host, sizeof host);
    snprintf(target, sizeof target, strchr(host, ':') ? "[%s]:%.0f" : "%s:%.0f", host,
             pq_cli_real(now, s, "port"));
    pq_cli_text(now, s, pq_show_whose(now, s), user, sizeof user);
    printf("%-9s %-4s %13s %13s %8s %10s  %-22s %-10s %s\n",
           pq_cli_text(now, s, "id", id, sizeof id), pq_cli_text(now, s, "kind", kind, sizeof kind),
           pq_show_rate(l->in, seconds, in), pq_show_rate(l->out, seconds, out),
           pq_show_bytes(pq_cli_real(now, s, "bytes_in") + pq_cli_real(now, s, "bytes_out"), all),
           pq_show_time(pq_cli_real(now, s, "age_s"), age),
           pq_cli_text(now, s, "peer", peer, sizeof peer), *user ? user : "-",
           *host ? target : "-");
}

static void print(void *ctx, const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                  double seconds)
{
    const unsigned *most = ctx;
    const struct pq_json_node *list = pq_json_get(&now->doc, now->doc.v, "streams");
    const struct pq_json_node *old = pq_json_get(&before->doc, before->doc.v, "streams");
    const struct pq_json_node *hint = NULL, *i;
    unsigned n = 0;
    struct line *v = calloc(now->doc.n + 1, sizeof *v);
    for (i = pq_json_first(&now->doc, list); i && v; i = pq_json_after(&now->doc, list, i)) {
        const struct pq_json_node *was = pq_show_same(before, old, &hint, now, i);
        v[n].now = i;
        v[n].in = pq_show_grown(before, was, now, i, "bytes_in");
        v[n++].out = pq_show_grown(before, was, now, i, "bytes_out");
    }
    if (n)
        qsort(v, n, sizeof *v, by_rate);
    printf("%-9s %-4s %13s %13s %8s %10s  %-22s %-10s %s\n", "ID", "KIND", "FROM PEER", "TO PEER",
           "BYTES", "AGE", "PEER", pq_show_whose_head(now, list), "TARGET");
    for (unsigned k = 0; k < n && k < *most; k++)
        print_stream(now, &v[k], seconds);
    const double more =
        (n > *most ? n - *most : 0) + pq_cli_real(now, now->doc.v, "streams_left_out");
    if (more > 0)
        printf("and %.0f more\n", more);
    free(v);
}

static int kill_stream(const struct pq_cli_target *t, const char *id)
{
    struct pq_cli_answer a;
    char request[80];
    if (strlen(id) > 24 || strspn(id, "0123456789.") != strlen(id)) {
        fprintf(stderr, "paqet top: --kill wants an id as top shows it, such as 0.17\n");
        return 1;
    }
    snprintf(request, sizeof request, "\"do\":\"kill\",\"id\":\"%s\"", id);
    int code = pq_cli_ask_once(t, "top", request, &a);
    if (!code)
        pq_cli_answer_free(&a);
    return code;
}

int pq_cmd_top(int argc, char **argv)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"socket", required_argument, NULL, 's'},
                                         {"lines", required_argument, NULL, 'n'},
                                         {"kill", required_argument, NULL, 'k'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"watch", no_argument, NULL, 'w'},
                                         {0}};
    struct pq_cli_target t = {.socket = NULL};
    unsigned lines = LINES_DEF;
    const char *id = NULL;
    struct pq_show s = {.command = "top",
                        .request = "\"do\":\"top\",\"streams\":20000",
                        .pause_ms = PAUSE_MS,
                        .print = print,
                        .ctx = &lines};
    for (int o; (o = getopt_long(argc, argv, "c:s:n:", opts, NULL)) != -1;) {
        if (o == 'c')
            t.config = optarg;
        else if (o == 's')
            t.socket = optarg;
        else if (o == 'n')
            lines = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 'k')
            id = optarg;
        else if (o == 'j')
            s.json = true;
        else if (o == 'w')
            s.watch = true;
        else
            return 1;
    }
    if (optind < argc || lines < 1 || lines > LINES_MAX) {
        fprintf(stderr, "paqet top: unexpected argument; --lines wants 1 to %d\n", LINES_MAX);
        return 1;
    }
    return id ? kill_stream(&t, id) : pq_show_run(&s, &t);
}
