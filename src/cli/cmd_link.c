/* SPDX-License-Identifier: MIT */
/* link: shows links again, or makes one of a client's configuration. */
#include "base/err.h"
#include "cli/cli.h"
#include "setup/init.h"
#include "setup/link_conf.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

struct args {
    const char *folder, *name, *user, *conf, *tunnel, *bundle, *address;
    enum pq_link_format format;
    bool qr, titles, failed;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "paqet link: %s: %s\n", what, why);
    return 1;
}

/* In the format that was asked for. */
static bool convert(const struct args *a, const char *link, char out[PQ_LINK_MAX])
{
    struct pq_setup_link l;
    struct pq_link_msgs m;
    char why[160] = "it is too long";
    const int read = pq_link_read(link, &l, &m);
    const int e = read ? read : pq_link_write(&l, a->format, out, why);
    if (e)
        fail("the link", read ? m.v[0].text : why);
    pq_link_wipe(&l);
    return !e;
}

static void print(void *ctx, const char *user, const char *link)
{
    struct args *a = ctx;
    char text[PQ_LINK_MAX];
    if (!convert(a, link, text)) {
        a->failed = true;
        return;
    }
    if (a->titles)
        printf("# %s\n", user);
    printf("%s\n", text);
    if (a->qr)
        pq_qr_print(text, stdout, !isatty(STDOUT_FILENO));
    if (a->bundle && !pq_bundle_write(a->bundle, text, user))
        a->failed = true;
    explicit_bzero(text, sizeof text);
}

static int of_conf(struct args *a)
{
    struct pq_conf c;
    struct pq_setup_link l;
    char why[160], text[PQ_LINK_MAX];
    if (pq_cli_load(&c, a->conf, a->tunnel))
        return 1;
    int e = pq_link_from_conf(&c, a->user ? a->user : "", &l, why);
    if (!e && a->address)
        snprintf(l.server[0].host, sizeof l.server[0].host, "%s", a->address);
    if (!e)
        e = pq_link_write(&l, PQ_LINK_OWN, text, why);
    if (e)
        fail(a->conf, why);
    else
        print(a, "this configuration", text);
    pq_link_wipe(&l);
    explicit_bzero(text, sizeof text);
    pq_conf_free(&c);
    return e || a->failed;
}

struct users {
    char names[256]; /* "ali, sara" */
    unsigned n;
};

static void note_user(void *ctx, const char *user, const char *link)
{
    struct users *u = ctx;
    const size_t len = strlen(u->names);
    (void)link;
    snprintf(u->names + len, sizeof u->names - len, "%s%s", u->n++ ? ", " : "", user);
}

static int of_kept(struct args *a)
{
    struct users all = {.n = 0};
    char why[320];
    if (a->bundle && !a->user)
        pq_links_each(a->folder, a->name, NULL, note_user, &all);
    if (all.n > 1) { /* an archive is of one */
        snprintf(why, sizeof why, "say whose link with --user: %s", all.names);
        return fail("--bundle", why);
    }
    a->titles = !a->user && !a->bundle;
    const int n = pq_links_each(a->folder, a->name, a->user, print, a);
    if (n > 0)
        return a->failed;
    if (n == -EACCES) {
        snprintf(why, sizeof why, "%s; run it as root, with sudo say", pq_strerror(n));
        return fail(a->folder, why);
    }
    fprintf(stderr,
            "paqet link: %s/links holds no link%s%s of %s%s%s. It has those that \"paqet init "
            "server\" made; a client's "
            "own: paqet link -c FILE\n",
            a->folder, a->user ? " of " : "", a->user ? a->user : "", a->name, n < 0 ? ": " : "",
            n < 0 ? pq_strerror(n) : "");
    return 1;
}

int pq_cmd_link(int argc, char **argv)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"config-dir", required_argument, NULL, 'd'},
                                         {"name", required_argument, NULL, 'n'},
                                         {"user", required_argument, NULL, 'u'},
                                         {"format", required_argument, NULL, 'f'},
                                         {"bundle", required_argument, NULL, 'b'},
                                         {"address", required_argument, NULL, 'a'},
                                         {"tunnel", required_argument, NULL, 't'},
                                         {"qr", no_argument, NULL, 'q'},
                                         {0}};
    struct args a = {.folder = PQ_SETUP_FOLDER, .name = "server"};
    for (int o; (o = getopt_long(argc, argv, "c:", opts, NULL)) != -1;) {
        switch (o) {
        case 'c':
            a.conf = optarg;
            break;
        case 'd':
            a.folder = optarg;
            break;
        case 'n':
            a.name = optarg;
            break;
        case 'u':
            a.user = optarg;
            break;
        case 'b':
            a.bundle = optarg;
            break;
        case 'a':
            a.address = optarg;
            break;
        case 't':
            a.tunnel = optarg;
            break;
        case 'q':
            a.qr = true;
            break;
        case 'f':
            if (strcmp(optarg, "paqet") != 0 && strcmp(optarg, "paqetn") != 0)
                return fail("--format", "it is paqet, the own one, or paqetn");
            a.format = strcmp(optarg, "paqet") != 0 ? PQ_LINK_QUERY : PQ_LINK_OWN;
            break;
        default:
            return 1;
        }
    }
    if (optind < argc)
        return fail("unexpected argument", argv[optind]);
    if ((a.address || a.tunnel) && !a.conf)
        return fail(a.address ? "--address" : "--tunnel", "it is of use with -c FILE alone");
    if (a.bundle && !pq_bundle_may_write(a.bundle, false))
        return 1;
    return a.conf ? of_conf(&a) : of_kept(&a);
}
