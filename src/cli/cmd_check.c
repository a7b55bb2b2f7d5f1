/* SPDX-License-Identifier: MIT */
/* check: whether a configuration works here, and if not, what to do. */
#include "base/json.h"
#include "cli/cli.h"
#include "os/process.h"
#include "setup/check.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_MAX (1U << 20)

static const char *const levels[] = {"ok", "note", "bad"};

#define INDENT 20
#define WIDTH  100

/* Breaks a text at blanks; the first line begins behind what has been printed. */
static void print_wrapped(const char *text)
{
    size_t column = INDENT;
    while (*text) {
        const size_t n = strcspn(text, " \n");
        if (column > INDENT && column + n + 1 > WIDTH) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        } else if (column > INDENT) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)n, text);
        column += n;
        text += n + (text[n] != 0);
    }
    putchar('\n');
}

static void print_text(const struct pq_findings *f)
{
    static const char *const words[] = {"ok   ", "NOTE ", "BAD  "};
    for (unsigned i = 0; i < f->n; i++) {
        const struct pq_finding *v = &f->v[i];
        printf("%s %-14s", words[v->level], v->topic);
        print_wrapped(v->text);
        if (!*v->remedy)
            continue;
        printf("%*s", INDENT, "-> ");
        print_wrapped(v->remedy);
    }
    if (f->bad)
        printf("\n%u thing%s in the way.\n", f->bad, f->bad == 1 ? " is" : "s are");
    else
        printf("\nNothing is in the way.\n");
}

static const char *const ways[] = {[PQ_UP] = "up", [PQ_DOWN] = "down"};

static void json_way(struct pq_json *w, const char *key, unsigned sent, unsigned arrived)
{
    pq_json_begin(w, key, '{');
    pq_json_uint(w, "sent", sent);
    pq_json_uint(w, "arrived", arrived);
    pq_json_end(w, '}');
}

static void json_measured(struct pq_json *w, const struct pq_measured *m)
{
    char flags[16];
    pq_json_begin(w, "measured", '{');
    pq_json_begin(w, "looks", '[');
    for (unsigned i = 0; i < m->n_looks; i++) {
        const struct pq_measured_look *l = &m->look[i];
        pq_json_begin(w, NULL, '{');
        pq_json_uint(w, "port", l->port);
        pq_json_text(w, "look", pq_check_look_name(l->look));
        pq_json_text(w, "flags", pq_check_flags_name(l->flags, flags));
        pq_json_bool(w, "in_use", i == 0);
        pq_json_bool(w, "open", l->open);
        for (unsigned k = 0; k < 2; k++)
            json_way(w, ways[k], l->sent[k], l->arrived[k]);
        pq_json_end(w, '}');
    }
    pq_json_end(w, ']');
    pq_json_begin(w, "packet_bytes", '{');
    for (unsigned k = 0; k < 2; k++)
        pq_json_uint(w, ways[k], m->most[k]);
    pq_json_uint(w, "in_use", m->mtu);
    pq_json_uint(w, "tried", m->tried);
    pq_json_end(w, '}');
    pq_json_begin(w, "loss", '{');
    for (unsigned k = 0; k < 2 && m->lost_known; k++)
        json_way(w, ways[k], m->sent[k], m->came[k]);
    pq_json_end(w, '}');
    pq_json_begin(w, "speed", '{');
    for (unsigned k = 0; k < 2; k++) {
        if (!m->speed[k].done)
            continue;
        pq_json_begin(w, ways[k], '{');
        pq_json_real(w, "bits_per_second", m->speed[k].rate * 8);
        pq_json_real(w, "rtt_ms", m->speed[k].loaded);
        pq_json_end(w, '}');
    }
    pq_json_end(w, '}');
    pq_json_end(w, '}');
}

static void print_json(const struct pq_findings *f)
{
    struct pq_json w = {.max = JSON_MAX};
    pq_json_begin(&w, NULL, '{');
    pq_json_bool(&w, "ok", !f->bad);
    pq_json_begin(&w, "findings", '[');
    for (unsigned i = 0; i < f->n; i++) {
        pq_json_begin(&w, NULL, '{');
        pq_json_text(&w, "level", levels[f->v[i].level]);
        pq_json_text(&w, "topic", f->v[i].topic);
        pq_json_text(&w, "text", f->v[i].text);
        if (*f->v[i].remedy)
            pq_json_text(&w, "remedy", f->v[i].remedy);
        pq_json_end(&w, '}');
    }
    pq_json_end(&w, ']');
    if (f->clock.known) {
        pq_json_begin(&w, "clock", '{');
        pq_json_real(&w, "server_ahead_s", (double)f->clock.ahead / 1000);
        pq_json_real(&w, "give_or_take_s", (double)f->clock.sure / 1000);
        pq_json_end(&w, '}');
    }
    if (f->measured.speed_able)
        json_measured(&w, &f->measured);
    pq_json_end(&w, '}');
    if (!w.failed)
        printf("%.*s\n", (int)w.len, w.p);
    pq_json_free(&w);
}

/* What is wrong with the file, and what is odd. */
static void add_messages(const struct pq_conf_msgs *m, const char *path, struct pq_findings *f)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->v[i].line)
            pq_finding_add(f, m->v[i].error ? PQ_FINDING_BAD : PQ_FINDING_NOTE, "configuration",
                           NULL, "%s:%d: %s", path, m->v[i].line, m->v[i].text);
        else
            pq_finding_add(f, m->v[i].error ? PQ_FINDING_BAD : PQ_FINDING_NOTE, "configuration",
                           NULL, "%s %s", path, m->v[i].text);
    if (!m->n)
        pq_finding_add(f, PQ_FINDING_OK, "configuration", NULL, "%s has no mistakes", path);
}

/* One line, written anew, where somebody watches. */
static void on_progress(void *ctx, const char *what, double part, double rate)
{
    static const char bar[] = "####################";
    const int full = (int)(part * (double)(sizeof bar - 1));
    (void)ctx;
    fprintf(stderr, "\r[%-20.*s] %3.0f %%  %s", full, bar, part * 100, what);
    if (rate > 0)
        fprintf(stderr, "  %.1f Mbit/s", rate * 8 / 1e6);
    fputs("\033[K", stderr);
}

struct options {
    const char *path, *tunnel;
    char found[PQ_CLI_PATH];
    bool json, quick;
    unsigned listen, wait, speed;
};

static void ask_server(struct pq_conf *c, const struct options *o, struct pq_findings *f)
{
    const bool watched = isatty(STDERR_FILENO);
    const struct pq_check_how how = {.patience = o->wait * PQ_SEC,
                                     .measure = !o->quick,
                                     .seconds = o->speed,
                                     .progress = watched ? on_progress : NULL};
    pq_check_remote(c, &how, f);
    if (watched && !o->quick)
        fputs("\r\033[K", stderr);
}

static void check(const struct options *o, struct pq_findings *f)
{
    const char *path = o->path;
    const unsigned listen = o->listen;
    struct pq_conf c;
    struct pq_conf_msgs m;
    int e = pq_conf_load(&c, path, &m);
    add_messages(&m, path, f);
    pq_conf_msgs_free(&m);
    if (!e && (o->tunnel || c.n_tunnels == 1)) {
        const int nth = pq_cli_tunnel(&c, path, o->tunnel, NULL, NULL);
        if (nth >= 0)
            pq_conf_take_tunnel(&c, (unsigned)nth);
        if (nth < 0)
            e = PQ_EINVAL;
        f->bad += nth < 0; /* which was said */
    }
    if (!e && c.n_tunnels)
        pq_finding_add(
            f, PQ_FINDING_NOTE, "server", NULL,
            "%u tunnels: only the file was looked at; --tunnel NAME looks at one, 'paqet "
            "status' tells how each fares",
            c.n_tunnels);
    else if (!e) {
        pq_check_local(&c, path, f);
        const bool works_here = !f->bad;
        pq_check_service(path, f);
        if (c.role == PQ_ROLE_CLIENT) {
            pq_check_proxies(&c, path, f);
            pq_check_forwards(&c, path, f);
        }
        pq_log_set_level(PQ_LOG_NONE);
        pq_process_confine(); /* from here on packets of anybody are read */
        if (c.role == PQ_ROLE_CLIENT && listen)
            pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                           "at the server: sudo paqet check -c /etc/paqet/server.yaml --listen 20",
                           "--listen is for the server, with its file; this one is a client's");
        if (c.role == PQ_ROLE_SERVER && listen) {
            fprintf(stderr, "listening for %u s: let a client ask meanwhile (paqet ping -c FILE)\n",
                    listen);
            pq_check_arrivals(&c, listen, f);
        }
        if (c.role == PQ_ROLE_CLIENT && works_here)
            ask_server(&c, o, f);
        else if (c.role == PQ_ROLE_CLIENT)
            pq_finding_add(f, PQ_FINDING_NOTE, "server", NULL,
                           "it was not asked, since something here is in the way");
    }
    pq_conf_free(&c);
}

static bool read_seconds(const char *name, const char *text, unsigned least, unsigned most,
                         unsigned *out)
{
    char *end;
    const unsigned long v = strtoul(text, &end, 10);
    const bool ok = *text >= '0' && *text <= '9' && !*end && v >= least && v <= most;
    if (!ok)
        fprintf(stderr, "paqet check: %s: '%s' is no number of seconds from %u to %u\n", name, text,
                least, most);
    *out = (unsigned)v;
    return ok;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'}, {"tunnel", required_argument, NULL, 't'},
        {"json", no_argument, NULL, 'j'},         {"listen", required_argument, NULL, 'l'},
        {"wait", required_argument, NULL, 'w'},   {"quick", no_argument, NULL, 'q'},
        {"speed", required_argument, NULL, 's'},  {0}};
    *o = (struct options){.wait = 8, .speed = 4};
    for (int c; (c = getopt_long(argc, argv, "c:w:", opts, NULL)) != -1;) {
        if (c == '?')
            return false;
        if (c == 'c')
            o->path = optarg;
        if (c == 't')
            o->tunnel = optarg;
        o->json |= c == 'j';
        o->quick |= c == 'q';
        if ((c == 'l' && !read_seconds("--listen", optarg, 1, 3600, &o->listen)) ||
            (c == 'w' && !read_seconds("--wait", optarg, 1, 3600, &o->wait)) ||
            (c == 's' && !read_seconds("--speed", optarg, 0, PQ_MEASURE_SECONDS_MAX, &o->speed)))
            return false;
    }
    if (optind < argc)
        fprintf(stderr, "paqet check: unexpected argument '%s'\n", argv[optind]);
    return optind >= argc && (o->path = pq_cli_config("check", o->path, true, o->found));
}

int pq_cmd_check(int argc, char **argv)
{
    struct options o;
    if (!read_options(argc, argv, &o))
        return 1;
    struct pq_findings *f = calloc(1, sizeof *f);
    if (!f)
        return 1;
    check(&o, f);
    (o.json ? print_json : print_text)(f);
    const int code = f->bad ? 1 : 0;
    free(f);
    return code;
}
