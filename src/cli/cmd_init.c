/* SPDX-License-Identifier: MIT */
/* init: from nothing to a tunnel that runs; see setup/init.h. */
#include "cli/cli.h"
#include "setup/init.h"
#include "setup/link.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_DIR = 256,
    OPT_NAME,
    OPT_DRY,
    OPT_FORCE,
    OPT_NO_SERVICE,
    OPT_BUNDLE,
    OPT_LABEL,
    OPT_ADDRESS,
    OPT_USER,
    OPT_NO_TUN,
    OPT_BRIDGE,
    OPT_QR,
    OPT_SOCKS,
    OPT_TUN,
    OPT_PORTS,
    OPT_TARGET,
    OPT_LISTEN,
    OPT_REMOVE,
};

enum what { SERVER = 1, CLIENT = 2, BRIDGE = 4, REMOVE = 8 };

static const struct option long_opts[] = {{"config-dir", required_argument, NULL, OPT_DIR},
                                          {"name", required_argument, NULL, OPT_NAME},
                                          {"dry-run", no_argument, NULL, OPT_DRY},
                                          {"force", no_argument, NULL, OPT_FORCE},
                                          {"no-service", no_argument, NULL, OPT_NO_SERVICE},
                                          {"bundle", required_argument, NULL, OPT_BUNDLE},
                                          {"label", required_argument, NULL, OPT_LABEL},
                                          {"interface", required_argument, NULL, 'i'},
                                          {"address", required_argument, NULL, OPT_ADDRESS},
                                          {"user", required_argument, NULL, OPT_USER},
                                          {"port", required_argument, NULL, 'p'},
                                          {"no-tun", no_argument, NULL, OPT_NO_TUN},
                                          {"bridge", required_argument, NULL, OPT_BRIDGE},
                                          {"qr", no_argument, NULL, OPT_QR},
                                          {"socks", required_argument, NULL, OPT_SOCKS},
                                          {"tun", no_argument, NULL, OPT_TUN},
                                          {"ports", required_argument, NULL, OPT_PORTS},
                                          {"target", required_argument, NULL, OPT_TARGET},
                                          {"listen", required_argument, NULL, OPT_LISTEN},
                                          {"remove", no_argument, NULL, OPT_REMOVE},
                                          {0}};

/* Which of them an option is of use to. */
static const struct {
    int opt;
    unsigned what;
} uses[] = {{OPT_DIR, ~0U},
            {OPT_NAME, ~0U},
            {OPT_DRY, ~0U},
            {OPT_FORCE, SERVER | CLIENT | BRIDGE},
            {OPT_NO_SERVICE, SERVER | CLIENT | BRIDGE},
            {OPT_BUNDLE, SERVER},
            {OPT_LABEL, SERVER},
            {'i', SERVER},
            {OPT_ADDRESS, SERVER},
            {OPT_USER, SERVER},
            {'p', SERVER},
            {OPT_NO_TUN, SERVER},
            {OPT_BRIDGE, SERVER},
            {OPT_QR, SERVER},
            {OPT_SOCKS, CLIENT},
            {OPT_TUN, CLIENT},
            {OPT_PORTS, BRIDGE},
            {OPT_TARGET, BRIDGE},
            {OPT_LISTEN, BRIDGE},
            {OPT_REMOVE, REMOVE}};

struct init_args {
    struct pq_init_opts o;
    enum what what;
    uint64_t given; /* bits of `uses` */
};

static int fail(const char *fmt, const char *word)
{
    fputs("paqet init: ", stderr);
    fprintf(stderr, fmt, word);
    fputs("; see paqet init --help\n", stderr);
    return 1;
}

static bool add(const char *list[], unsigned *n, unsigned max, const char *value)
{
    if (*n < max)
        list[(*n)++] = value;
    return *n < max;
}

static int take(struct init_args *a, int opt)
{
    struct pq_init_opts *o = &a->o;
    char *end;
    switch (opt) {
    case OPT_DIR:
        o->folder = optarg;
        break;
    case OPT_NAME:
        o->name = optarg;
        break;
    case OPT_DRY:
        o->dry_run = true;
        break;
    case OPT_FORCE:
        o->force = true;
        break;
    case OPT_NO_SERVICE:
        o->no_service = true;
        break;
    case OPT_BUNDLE:
        o->bundle = optarg;
        break;
    case OPT_LABEL:
        o->label = optarg;
        break;
    case 'i':
        o->ifname = optarg;
        break;
    case OPT_NO_TUN:
        o->no_tun = true;
        break;
    case OPT_BRIDGE:
        o->bridge = optarg;
        break;
    case OPT_QR:
        o->qr = true;
        break;
    case OPT_SOCKS:
        o->socks = optarg;
        break;
    case OPT_TUN:
        o->tun = true;
        break;
    case OPT_PORTS:
        o->ports = optarg;
        break;
    case OPT_TARGET:
        o->target = optarg;
        break;
    case OPT_LISTEN:
        o->listen = optarg;
        break;
    case OPT_REMOVE:
        a->what = REMOVE;
        break;
    case OPT_ADDRESS:
        if (o->n_addresses == PQ_SETUP_ADDRESSES)
            return fail("--address: more than four, with %s", optarg);
        add(o->address, &o->n_addresses, PQ_SETUP_ADDRESSES, optarg);
        break;
    case OPT_USER:
        if (o->n_users == PQ_SETUP_USERS)
            return fail("--user: more than 64, with %s; \"paqet user add\" makes more", optarg);
        add(o->user, &o->n_users, PQ_SETUP_USERS, optarg);
        break;
    case 'p':
        o->port = strtol(optarg, &end, 10);
        if (*optarg < '0' || *optarg > '9' || *end || o->port < 1 || o->port > 65535)
            return fail("--port: '%s' is no port from 1 to 65535", optarg);
        break;
    default:
        return 1;
    }
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (uses[i].opt == opt)
            a->given |= UINT64_C(1) << i;
    return 0;
}

static const char *name_of(int opt)
{
    for (const struct option *o = long_opts; o->name; o++)
        if (o->val == opt)
            return o->name;
    return "?";
}

static int read_args(int argc, char **argv, struct init_args *a)
{
    *a = (struct init_args){.o.folder = PQ_SETUP_FOLDER};
    for (int o; (o = getopt_long(argc, argv, "i:p:", long_opts, NULL)) != -1;)
        if (take(a, o))
            return 1;
    const char *word = optind < argc ? argv[optind++] : "";
    if (a->what == REMOVE) {
        if (*word && a->o.name)
            return fail("--remove and '%s'", word);
        if (*word)
            a->o.name = word;
    } else if (!strcmp(word, "server")) {
        a->what = SERVER;
    } else if (!strcmp(word, "client")) {
        a->what = CLIENT;
    } else if (!strcmp(word, "bridge")) {
        a->what = BRIDGE;
    } else {
        return fail(*word ? "'%s' is none of server, client and bridge"
                          : "server, client or bridge is missing%s",
                    word);
    }
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (a->given >> i & 1 && !(uses[i].what & a->what))
            return fail("--%s is of no use here", name_of(uses[i].opt));
    return 0;
}

/* The link: itself, or of a file, or of standard input ("-").  On the command line others may see
 * it as long as it stands there. */
static bool read_link(char *word, char link[PQ_LINK_MAX])
{
    if (strncmp(word, "paqet://", 8) == 0) {
        const size_t n = strlen(word);
        snprintf(link, PQ_LINK_MAX, "%s", word);
        memset(word, 'x', n);
        return n < PQ_LINK_MAX;
    }
    FILE *f = strcmp(word, "-") ? fopen(word, "re") : stdin;
    if (!f) {
        fprintf(stderr, "paqet init: '%s' is no link (it begins with paqet://), and no file: %s\n",
                word, strerror(errno));
        return false;
    }
    const size_t n = fread(link, 1, PQ_LINK_MAX - 1, f);
    link[n] = 0;
    if (f != stdin)
        fclose(f);
    return true;
}

int pq_cmd_init(int argc, char **argv)
{
    struct init_args a;
    char link[PQ_LINK_MAX];
    if (read_args(argc, argv, &a))
        return 1;
    const bool wants_link = a.what == CLIENT || a.what == BRIDGE;
    if (wants_link && optind == argc)
        return fail("the link is missing: paqet init %s LINK",
                    a.what == CLIENT ? "client" : "bridge");
    if (wants_link && !read_link(argv[optind++], link))
        return 1;
    a.o.link = link;
    if (optind < argc)
        return fail("unexpected argument '%s'", argv[optind]);
    int code = a.what == SERVER   ? pq_init_server(&a.o)
               : a.what == CLIENT ? pq_init_client(&a.o)
               : a.what == BRIDGE ? pq_init_bridge(&a.o)
                                  : pq_init_remove(&a.o);
    explicit_bzero(link, sizeof link);
    return code;
}
