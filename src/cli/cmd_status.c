/* SPDX-License-Identifier: MIT */
/* status: what the paqet that runs does, in a snapshot or again and again. */
#include "cli/cli.h"
#include "cli/show.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS  500 /* over which rates are measured */
#define WATCH_MS  1000
#define LINES_MAX 40 /* of sessions, the busiest first */
#define FEW       50 /* packets, of which no loss can be told */

struct line { /* a session */
    const struct pq_json_node *now, *before;
    double in, out; /* bytes since */
};

static int by_rate(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    const double d = y->in + y->out - (x->in + x->out);
    return (d > 0) - (d < 0);
}

static void print_drops(const struct pq_cli_answer *a)
{
    const struct pq_json_node *list = pq_json_get(&a->doc, a->doc.v, "drops");
    const char *before = "dropped packets:";
    char reason[64];
    for (const struct pq_json_node *i = pq_json_first(&a->doc, list); i;
         i = pq_json_after(&a->doc, list, i)) {
        printf("%s %.0f %s", before, pq_cli_real(a, i, "count"),
               pq_cli_text(a, i, "reason", reason, sizeof reason));
        before = ",";
    }
    if (*before == ',')
        putchar('\n');
}

static void print_events(const struct pq_cli_answer *a)
{
    static const struct {
        const char *key, *text;
    } v[] = {{"fresh_sessions", "fresh sessions for silent ones"},
             {"failovers", "times to another server"},
             {"moves", "moves to another port or address"},
             {"interfaces", "changes of the interface"}};
    const struct pq_json_node *of = pq_json_get(&a->doc, a->doc.v, "events");
    const char *before = "done by itself:";
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        const double n = pq_cli_real(a, of, v[i].key);
        if (n <= 0)
            continue;
        printf("%s %.0f %s", before, n, v[i].text);
        before = ",";
    }
    if (*before == ',')
        putchar('\n');
}

/* Those of several that have not begun yet. */
static void print_tunnels(const struct pq_cli_answer *a)
{
    const struct pq_json_node *list = pq_json_get(&a->doc, a->doc.v, "tunnels");
    char name[64], why[512];
    for (const struct pq_json_node *i = pq_json_first(&a->doc, list); i;
         i = pq_json_after(&a->doc, list, i)) {
        pq_cli_text(a, i, "waits", why, sizeof why);
        if (*why)
            printf("tunnel %s waits: %s\n", pq_cli_text(a, i, "name", name, sizeof name), why);
    }
}

static void print_rules(const struct pq_cli_answer *a)
{
    const struct pq_json_node *rules = pq_json_get(&a->doc, a->doc.v, "rules"),
                              *dns = pq_json_get(&a->doc, a->doc.v, "dns");
    char kill[16];
    if (rules)
        printf("rules: %.0f direct, %.0f through the tunnel, %.0f blocked; %.0f packets refused\n",
               pq_cli_real(a, rules, "direct"), pq_cli_real(a, rules, "tunnel"),
               pq_cli_real(a, rules, "block"), pq_cli_real(a, rules, "tun_refused"));
    if (dns)
        printf("dns: %.0f questions, %.0f from memory, %.0f beside the tunnel, %.0f blocked, %.0f "
               "failed; %.0f addresses go directly\n",
               pq_cli_real(a, dns, "questions"), pq_cli_real(a, dns, "cached"),
               pq_cli_real(a, dns, "direct"), pq_cli_real(a, dns, "blocked"),
               pq_cli_real(a, dns, "failed"), pq_cli_real(a, dns, "addresses_direct"));
    if (pq_json_get(&a->doc, a->doc.v, "kill_switch"))
        printf("kill switch: %s\n", pq_cli_text(a, a->doc.v, "kill_switch", kill, sizeof kill));
}

static void print_head(const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                       double seconds)
{
    const struct pq_json_node *top = now->doc.v, *t = pq_json_get(&now->doc, top, "totals");
    const struct pq_json_node *old = pq_json_get(&before->doc, before->doc.v, "totals");
    const struct pq_json_node *m = pq_json_get(&now->doc, top, "memory");
    char role[16], file[1024], a[PQ_SHOW_LEN], b[PQ_SHOW_LEN], c[PQ_SHOW_LEN], d[PQ_SHOW_LEN];
    const double workers = pq_cli_real(now, top, "workers");
    printf("%s %s, pid %.0f, up %s, %.0f worker%s\n",
           pq_cli_text(now, top, "role", role, sizeof role),
           pq_cli_text(now, top, "file", file, sizeof file), pq_cli_real(now, top, "pid"),
           pq_show_time(pq_cli_real(now, top, "uptime_s"), a), workers, workers > 1 ? "s" : "");
    const double n = pq_cli_real(now, t, "sessions");
    printf("%.0f session%s", n, n == 1 ? "" : "s");
    if (strcmp(role, "server") == 0)
        printf(" of %.0f, %.0f half-open", pq_cli_real(now, t, "sessions_max"),
               pq_cli_real(now, t, "half_open"));
    printf("; %.0f UDP flows of %.0f; %.0f streams since the start\n",
           pq_cli_real(now, t, "udp_flows"), pq_cli_real(now, t, "udp_flows_max"),
           pq_cli_real(now, t, "streams_opened"));
    printf("from peers %s, to peers %s; since the start %s and %s\n",
           pq_show_rate(pq_show_grown(before, old, now, t, "bytes_in"), seconds, a),
           pq_show_rate(pq_show_grown(before, old, now, t, "bytes_out"), seconds, b),
           pq_show_bytes(pq_cli_real(now, t, "bytes_in"), c),
           pq_show_bytes(pq_cli_real(now, t, "bytes_out"), d));
    printf("memory %s; %s of %s for bytes on their way\n",
           pq_show_bytes(pq_cli_real(now, m, "resident"), a),
           pq_show_bytes(pq_cli_real(now, m, "queues"), b),
           pq_show_bytes(pq_cli_real(now, m, "queues_max"), c));
    print_rules(now);
    print_events(now);
    print_drops(now);
    if (pq_cli_real(now, t, "rebuilt") > 0)
        printf("rebuilt by FEC: %.0f datagrams\n", pq_cli_real(now, t, "rebuilt"));
    print_tunnels(now);
}

/* Per cent of what was sent that the path has lost: what was sent again and not in vain. */
static void loss_out(const struct pq_cli_answer *before, const struct line *l,
                     const struct pq_cli_answer *now, char *buf, size_t cap)
{
    double sent = 0, lost = 0;
    for (int all = 0; all < 2 && sent < FEW; all++) { /* since the start, if too little was sent */
        const struct pq_json_node *old = all ? NULL : l->before;
        sent = pq_show_grown(before, old, now, l->now, "sent") +
               pq_show_grown(before, old, now, l->now, "resent");
        lost = pq_show_grown(before, old, now, l->now, "resent") -
               pq_show_grown(before, old, now, l->now, "needless");
    }
    snprintf(buf, cap, sent < FEW ? "-" : "%.1f", lost > 0 ? 100 * lost / sent : 0.0);
}

/* The same of what was sent to this side, which only our own wire tells. */
static void loss_in(const struct pq_cli_answer *now, const struct line *l, char *buf, size_t cap)
{
    const double expected = pq_cli_real(now, l->now, "expected");
    const double came = pq_cli_real(now, l->now, "came");
    snprintf(buf, cap, expected < FEW ? "-" : "%.1f",
             expected > came ? 100 * (expected - came) / expected : 0.0);
}

static void print_session(const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                          const struct line *l, double seconds)
{
    const struct pq_json_node *s = l->now;
    char peer[64], user[80], wire[16], transport[16], both[40], cipher[32], look[16],
        in[PQ_SHOW_LEN], out[PQ_SHOW_LEN];
    char age[PQ_SHOW_LEN], lost_in[16], lost_out[16], rtt[16], cost[16];
    const double bytes = pq_cli_real(now, s, "carried_in") + pq_cli_real(now, s, "carried_out");
    const double carried = pq_cli_real(now, s, "wire_in") + pq_cli_real(now, s, "wire_out");
    loss_out(before, l, now, lost_out, sizeof lost_out);
    loss_in(now, l, lost_in, sizeof lost_in);
    snprintf(rtt, sizeof rtt, "%.1f", pq_cli_real(now, s, "rtt_ms"));
    snprintf(cost, sizeof cost, bytes < 100000 ? "-" : "%.3f", carried / (bytes ? bytes : 1));
    pq_cli_text(now, s, pq_show_whose(now, s), user, sizeof user);
    snprintf(both, sizeof both, "%s/%s",
             pq_cli_text(now, s, "transport", transport, sizeof transport),
             pq_cli_text(now, s, "wire", wire, sizeof wire));
    printf("%-23s %-10s %-11s %-17s %-9s %8s %6s %6s %13s %13s %6s %6.0f  %s%s\n",
           pq_cli_text(now, s, "peer", peer, sizeof peer), *user ? user : "-", both,
           pq_cli_text(now, s, "cipher", cipher, sizeof cipher),
           pq_cli_text(now, s, "look", look, sizeof look), rtt, lost_out, lost_in,
           pq_show_rate(l->in, seconds, in), pq_show_rate(l->out, seconds, out), cost,
           pq_cli_real(now, s, "streams"), pq_show_time(pq_cli_real(now, s, "age_s"), age),
           pq_cli_bool(now, s, "half_open")         ? ", half-open"
           : pq_cli_real(now, s, "silent_s") > 10.0 ? ", silent"
                                                    : "");
}

static void print_sessions(const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                           double seconds)
{
    const struct pq_json_node *list = pq_json_get(&now->doc, now->doc.v, "sessions");
    const struct pq_json_node *old = pq_json_get(&before->doc, before->doc.v, "sessions");
    const struct pq_json_node *hint = NULL, *i;
    unsigned n = 0;
    struct line *v = calloc(now->doc.n + 1, sizeof *v);
    for (i = pq_json_first(&now->doc, list); i && v; i = pq_json_after(&now->doc, list, i)) {
        struct line *l = &v[n++];
        l->now = i;
        l->before = old ? pq_show_same(before, old, &hint, now, i) : NULL;
        l->in = pq_show_grown(before, l->before, now, i, "bytes_in");
        l->out = pq_show_grown(before, l->before, now, i, "bytes_out");
    }
    if (n)
        qsort(v, n, sizeof *v, by_rate);
    if (n)
        printf("\n%-23s %-10s %-11s %-17s %-9s %8s %6s %6s %13s %13s %6s %6s  %s\n", "PEER",
               pq_show_whose_head(now, list), "WIRE", "CIPHER", "LOOK", "RTT ms", "LOST>%",
               "LOST<%", "FROM", "TO", "COST", "OPEN", "AGE");
    for (unsigned k = 0; k < n && k < LINES_MAX; k++)
        print_session(before, now, &v[k], seconds);
    const double more =
        (n > LINES_MAX ? n - LINES_MAX : 0) + pq_cli_real(now, now->doc.v, "sessions_left_out");
    if (more > 0)
        printf("and %.0f more\n", more);
    free(v);
}

static void print(void *ctx, const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                  double seconds)
{
    (void)ctx;
    print_head(before, now, seconds);
    print_sessions(before, now, seconds);
}

int pq_cmd_status(int argc, char **argv)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"socket", required_argument, NULL, 's'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"watch", no_argument, NULL, 'w'},
                                         {0}};
    struct pq_cli_target t = {.socket = NULL};
    struct pq_show s = {.command = "status", .request = "\"do\":\"status\"", .print = print};
    for (int o; (o = getopt_long(argc, argv, "c:s:", opts, NULL)) != -1;) {
        if (o == 'c')
            t.config = optarg;
        else if (o == 's')
            t.socket = optarg;
        else if (o == 'j')
            s.json = true;
        else if (o == 'w')
            s.watch = true;
        else
            return 1;
    }
    if (optind < argc) {
        fprintf(stderr, "paqet status: unexpected argument '%s'\n", argv[optind]);
        return 1;
    }
    s.pause_ms = s.watch ? WATCH_MS : PAUSE_MS;
    return pq_show_run(&s, &t);
}
