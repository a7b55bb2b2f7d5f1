/* SPDX-License-Identifier: MIT */
/* check: whether a configuration works here, and if not, what to do. */
#include "base/json.h"
#include "cli/cli.h"
#include "setup/check.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define JSON_MAX (1U << 20)

static const char *const levels[] = {"ok", "note", "bad"};

#define INDENT 19
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
        printf("%s %-13s", words[v->level], v->topic);
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
    pq_json_end(&w, '}');
    if (!w.failed)
        printf("%.*s\n", (int)w.len, w.p);
    pq_json_free(&w);
}

/* What is wrong with the file, and what is odd. */
static void add_messages(const struct pq_conf_msgs *m, const char *path, struct pq_findings *f)
{
    for (unsigned i = 0; i < m->n; i++)
        pq_finding_add(f, m->v[i].error ? PQ_FINDING_BAD : PQ_FINDING_NOTE, "configuration", NULL,
                       "%s:%d: %s", path, m->v[i].line, m->v[i].text);
    if (!m->n)
        pq_finding_add(f, PQ_FINDING_OK, "configuration", NULL, "%s has no mistakes", path);
}

static void check(const char *path, unsigned listen, unsigned wait, struct pq_findings *f)
{
    struct pq_conf c;
    struct pq_conf_msgs m;
    const int e = pq_conf_load(&c, path, &m);
    add_messages(&m, path, f);
    pq_conf_msgs_free(&m);
    if (!e) {
        pq_check_local(&c, path, f);
        pq_log_set_level(PQ_LOG_NONE);
        if (c.role == PQ_ROLE_SERVER && listen) {
            fprintf(stderr, "listening for %u s: let a client ask meanwhile (paqet ping -c FILE)\n",
                    listen);
            pq_check_arrivals(&c, listen, f);
        }
        if (c.role == PQ_ROLE_CLIENT && !f->bad)
            pq_check_remote(&c, wait * PQ_SEC, f);
        else if (c.role == PQ_ROLE_CLIENT)
            pq_finding_add(f, PQ_FINDING_NOTE, "server", NULL,
                           "it was not asked, since something here is in the way");
    }
    pq_conf_free(&c);
}

static bool read_seconds(const char *name, const char *text, unsigned *out)
{
    char *end;
    const unsigned long v = strtoul(text, &end, 10);
    const bool ok = *text >= '0' && *text <= '9' && !*end && v >= 1 && v <= 3600;
    if (!ok)
        fprintf(stderr, "paqet check: %s: '%s' is no number of seconds from 1 to 3600\n", name,
                text);
    *out = (unsigned)v;
    return ok;
}

int pq_cmd_check(int argc, char **argv)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"listen", required_argument, NULL, 'l'},
                                         {"wait", required_argument, NULL, 'w'},
                                         {0}};
    const char *path = "config.yaml";
    bool json = false;
    unsigned listen = 0, wait = 8;
    for (int o; (o = getopt_long(argc, argv, "c:w:", opts, NULL)) != -1;) {
        if (o == '?')
            return 1;
        if (o == 'c')
            path = optarg;
        json |= o == 'j';
        if (o == 'l' && !read_seconds("--listen", optarg, &listen))
            return 1;
        if (o == 'w' && !read_seconds("--wait", optarg, &wait))
            return 1;
    }
    if (optind < argc) {
        fprintf(stderr, "paqet check: unexpected argument '%s'\n", argv[optind]);
        return 1;
    }
    struct pq_findings *f = calloc(1, sizeof *f);
    if (!f)
        return 1;
    check(path, listen, wait, f);
    (json ? print_json : print_text)(f);
    const int code = f->bad ? 1 : 0;
    free(f);
    return code;
}
