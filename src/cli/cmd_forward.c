/* SPDX-License-Identifier: MIT */
/* forward: adds a forward to a client's file, takes one out, lists them; a client that runs
 * follows. */
#include "cli/cli.h"
#include "cli/edit.h"

#include <getopt.h>
#include <string.h>

struct wanted { /* what was asked for */
    const char *action, *listen, *target, *protocol, *name, *config, *socket, *tunnel;
    int in;       /* the tunnel that it is about, by number; -1: there are none in the file */
    unsigned nth; /* of its forwards */
};

static int fail(const char *why, const char *what)
{
    fprintf(stderr, "paqet forward: ");
    fprintf(stderr, why, what); /* NOLINT(clang-diagnostic-format-nonliteral) */
    fprintf(stderr, "\n");
    return 1;
}

/* By name, or by what it listens on as the file has it. */
static int find(const struct pq_conf *c, const char *what)
{
    for (unsigned i = 0; i < c->n_forward; i++) {
        const struct pq_conf_forward *f = &c->forward[i];
        if ((f->name && strcmp(f->name, what) == 0) ||
            (f->listen_text.n == 1 && strcmp(f->listen_text.v[0], what) == 0))
            return (int)i;
    }
    return -1;
}

static bool is_plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* ---- whether the new file says what was meant */

static void differs(void *ctx, const char *path)
{
    (void)path;
    *(bool *)ctx = true;
}

static bool same(const struct pq_conf_forward *a, const struct pq_conf_forward *b)
{
    bool ok = strcmp(a->target, b->target) == 0 && a->listen_text.n == b->listen_text.n &&
              a->tcp == b->tcp && a->udp == b->udp;
    for (unsigned i = 0; ok && i < a->listen_text.n; i++)
        ok = strcmp(a->listen_text.v[i], b->listen_text.v[i]) == 0;
    return ok;
}

/* All but the forwards is the same, and of these all but number `skip` of `longer`. */
static bool differ_by(const struct pq_conf *longer, const struct pq_conf *shorter, unsigned skip)
{
    bool other = longer->n_forward != shorter->n_forward + 1;
    pq_conf_differ(longer, shorter, differs, &other);
    for (unsigned i = 0; !other && i < shorter->n_forward; i++)
        other = !same(&longer->forward[i + (i >= skip)], &shorter->forward[i]);
    return !other;
}

static bool is_as_before(const struct pq_conf *now, const struct pq_conf *next)
{
    bool other = now->n_forward != next->n_forward;
    pq_conf_differ(now, next, differs, &other);
    for (unsigned i = 0; !other && i < next->n_forward; i++)
        other = !same(&now->forward[i], &next->forward[i]);
    return !other;
}

static const struct pq_conf *meant(const struct wanted *w, const struct pq_conf *c)
{
    return w->in < 0 ? c : &c->tunnel[w->in];
}

/* Of several tunnels the others are as they were: an anchor may have brought it there, too. */
static bool others_stay(const struct wanted *w, const struct pq_conf *now,
                        const struct pq_conf *next)
{
    bool ok = now->n_tunnels == next->n_tunnels && (w->in < 0 || is_as_before(now, next));
    for (unsigned i = 0; ok && i < now->n_tunnels; i++)
        ok = (int)i == w->in || is_as_before(&now->tunnel[i], &next->tunnel[i]);
    return ok;
}

static bool is_added(void *ctx, const struct pq_conf *now, const struct pq_conf *next)
{
    const struct wanted *w = ctx;
    if (!others_stay(w, now, next))
        return false;
    now = meant(w, now);
    next = meant(w, next);
    return differ_by(next, now, now->n_forward) &&
           strcmp(next->forward[now->n_forward].target, w->target) == 0;
}

static bool is_removed(void *ctx, const struct pq_conf *now, const struct pq_conf *next)
{
    const struct wanted *w = ctx;
    return others_stay(w, now, next) && differ_by(meant(w, now), meant(w, next), w->nth);
}

/* ---- the actions */

static int add(struct wanted *w, struct pq_cli_file *f)
{
    char why[PQ_EDIT_WHY_LEN], *text;
    size_t n, k = 0;
    struct pq_edit_pair v[5] = {{0}};
    if (!is_plain(w->listen) || !is_plain(w->target) || !is_plain(w->name))
        return fail("control characters have no place in it%s", "");
    if (*w->name)
        v[k++] = (struct pq_edit_pair){"name", w->name};
    v[k++] = (struct pq_edit_pair){"listen", w->listen};
    v[k++] = (struct pq_edit_pair){"target", w->target};
    v[k++] = (struct pq_edit_pair){"protocol", w->protocol};
    int e = pq_edit_add(f->text, f->n, &(struct pq_edit_list){"forward", w->in}, v, &text, &n, why);
    if (e)
        return fail("%s", e == PQ_EINVAL ? why : pq_strerror(e));
    return pq_cli_file_write(f, text, n, is_added, w, "forward");
}

static int del(struct wanted *w, struct pq_cli_file *f)
{
    char why[PQ_EDIT_WHY_LEN], *text;
    size_t n;
    const int nth = find(meant(w, &f->conf), w->listen);
    if (nth < 0)
        return fail("there is no forward %s; 'paqet forward list' shows them", w->listen);
    w->nth = (unsigned)nth;
    int e = pq_edit_remove(f->text, f->n, &(struct pq_edit_list){"forward", w->in}, w->nth, &text,
                           &n, why);
    if (e)
        return fail("%s", e == PQ_EINVAL ? why : pq_strerror(e));
    return pq_cli_file_write(f, text, n, is_removed, w, "forward");
}

static int list(const struct pq_conf *c)
{
    for (unsigned i = 0; i < c->n_forward; i++) {
        const struct pq_conf_forward *f = &c->forward[i];
        for (unsigned k = 0; k < f->listen_text.n; k++)
            printf("%s%s", k ? ", " : "", f->listen_text.v[k]);
        printf("  %s  %s%s%s\n", f->target, f->tcp ? f->udp ? "tcp,udp" : "tcp" : "udp",
               f->name ? "  " : "", f->name ? f->name : "");
    }
    return 0;
}

/* All of them, or those of one tunnel, or of each under its name. */
static int list_all(const struct wanted *w, const struct pq_conf *c)
{
    const bool each = w->in < 0 && c->n_tunnels;
    for (unsigned i = 0; each && i < c->n_tunnels; i++) {
        printf("# %s\n", c->tunnel[i].name);
        list(&c->tunnel[i]);
    }
    return each ? 0 : list(meant(w, c));
}

static bool has_it(const void *ctx, const struct pq_conf *tunnel)
{
    return find(tunnel, ((const struct wanted *)ctx)->listen) >= 0;
}

/* Which tunnel is meant, where there are several.  Returns 0 or the exit code. */
static int choose(struct wanted *w, const struct pq_conf *c)
{
    const bool del = strcmp(w->action, "del") == 0, listing = strcmp(w->action, "list") == 0;
    unsigned n = 0;
    w->in = -1;
    if (!w->tunnel && (!c->n_tunnels || listing))
        return 0;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        n += has_it(w, &c->tunnel[i]);
    if (del && !w->tunnel && !n)
        return 0; /* it will be said that there is none */
    w->in = pq_cli_tunnel(c, w->config, w->tunnel, del ? has_it : NULL, w);
    return w->in < 0;
}

static int act(struct wanted *w)
{
    const struct pq_cli_target t = {.config = w->config, .socket = w->socket};
    struct pq_cli_file f;
    int code = pq_cli_file_open(&f, w->config, "forward");
    const bool listing = strcmp(w->action, "list") == 0;
    if (!code && f.conf.role != PQ_ROLE_CLIENT)
        code = fail("%s is not a client's", w->config);
    code = code ? code : choose(w, &f.conf);
    if (!code && listing)
        code = list_all(w, &f.conf);
    else if (!code)
        code = strcmp(w->action, "add") == 0 ? add(w, &f) : del(w, &f);
    pq_cli_file_close(&f);
    if (!code && !listing)
        code = pq_cli_file_follow(&t, "forward");
    return code == PQ_CLI_NOBODY ? 0 : code;
}

int pq_cmd_forward(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'},   {"socket", required_argument, NULL, 's'},
        {"protocol", required_argument, NULL, 'p'}, {"name", required_argument, NULL, 'n'},
        {"tunnel", required_argument, NULL, 't'},   {0}};
    struct wanted w = {.protocol = "tcp", .name = ""};
    char found[PQ_CLI_PATH];
    for (int o; (o = getopt_long(argc, argv, "c:s:", opts, NULL)) != -1;) {
        if (o == 'c')
            w.config = optarg;
        else if (o == 's')
            w.socket = optarg;
        else if (o == 'p')
            w.protocol = optarg;
        else if (o == 'n')
            w.name = optarg;
        else if (o == 't')
            w.tunnel = optarg;
        else
            return 1;
    }
    const int n = argc - optind;
    w.action = n > 0 ? argv[optind] : "";
    w.listen = n > 1 ? argv[optind + 1] : "";
    w.target = n > 2 ? argv[optind + 2] : "";
    const int want = strcmp(w.action, "add") == 0    ? 3
                     : strcmp(w.action, "del") == 0  ? 2
                     : strcmp(w.action, "list") == 0 ? 1
                                                     : 0;
    if (n != want || !want)
        return fail("say add LISTEN TARGET, del LISTEN-OR-NAME, or list%s", "");
    w.config = pq_cli_config("forward", w.config, true, found);
    return w.config ? act(&w) : 1;
}
