/* SPDX-License-Identifier: MIT */
/* init: from nothing to a tunnel that runs; see setup/init.h. */
#include "base/text.h"
#include "cli/cli.h"
#include "setup/init.h"
#include "setup/link.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
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
    OPT_QUIC,
    OPT_BRIDGE,
    OPT_KEY_OF,
    OPT_QR,
    OPT_SOCKS,
    OPT_TUN,
    OPT_PORTS,
    OPT_ALL_PORTS,
    OPT_EXCEPT,
    OPT_TARGET,
    OPT_LISTEN,
    OPT_REMOVE,
};

#define TOO_LONG "paqet init: the link: it is longer than %d bytes\n"

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
                                          {"quic", no_argument, NULL, OPT_QUIC},
                                          {"bridge", required_argument, NULL, OPT_BRIDGE},
                                          {"key-of", required_argument, NULL, OPT_KEY_OF},
                                          {"qr", no_argument, NULL, OPT_QR},
                                          {"socks", required_argument, NULL, OPT_SOCKS},
                                          {"tun", no_argument, NULL, OPT_TUN},
                                          {"ports", required_argument, NULL, OPT_PORTS},
                                          {"all-ports", no_argument, NULL, OPT_ALL_PORTS},
                                          {"except", required_argument, NULL, OPT_EXCEPT},
                                          {"target", required_argument, NULL, OPT_TARGET},
                                          {"listen", required_argument, NULL, OPT_LISTEN},
                                          {"remove", no_argument, NULL, OPT_REMOVE},
                                          {0}};

enum kind { TEXT, FLAG, MANY, PORT, NOTHING };

#define AT(member) offsetof(struct pq_init_opts, member)

/* What each sets, and for which of them it is of use. */
static const struct {
    int opt;
    unsigned what;
    enum kind kind;
    size_t at;    /* of a text or flag, or of a list of texts ... */
    size_t n;     /* ... how many of them there are ... */
    unsigned max; /* ... and may be */
} uses[] = {
    {OPT_DIR, ~0U, TEXT, AT(folder), 0, 0},
    {OPT_NAME, ~0U, TEXT, AT(name), 0, 0},
    {OPT_DRY, ~0U, FLAG, AT(dry_run), 0, 0},
    {OPT_FORCE, SERVER | CLIENT | BRIDGE, FLAG, AT(force), 0, 0},
    {OPT_NO_SERVICE, SERVER | CLIENT | BRIDGE, FLAG, AT(no_service), 0, 0},
    {OPT_BUNDLE, SERVER, TEXT, AT(bundle), 0, 0},
    {OPT_LABEL, SERVER, TEXT, AT(label), 0, 0},
    {'i', SERVER, TEXT, AT(ifname), 0, 0},
    {OPT_ADDRESS, SERVER, MANY, AT(address), AT(n_addresses), PQ_SETUP_ADDRESSES},
    {OPT_USER, SERVER, MANY, AT(user), AT(n_users), PQ_SETUP_USERS},
    {'p', SERVER, PORT, 0, 0, 0},
    {OPT_NO_TUN, SERVER, FLAG, AT(no_tun), 0, 0},
    {OPT_QUIC, SERVER, FLAG, AT(quic), 0, 0},
    {OPT_BRIDGE, SERVER, TEXT, AT(bridge), 0, 0},
    {OPT_KEY_OF, SERVER, TEXT, AT(key_of), 0, 0},
    {OPT_QR, SERVER, FLAG, AT(qr), 0, 0},
    {OPT_SOCKS, CLIENT, TEXT, AT(socks), 0, 0},
    {OPT_TUN, CLIENT, FLAG, AT(tun), 0, 0},
    {OPT_PORTS, BRIDGE, TEXT, AT(ports), 0, 0},
    {OPT_ALL_PORTS, BRIDGE, FLAG, AT(all_ports), 0, 0},
    {OPT_EXCEPT, BRIDGE, TEXT, AT(except), 0, 0},
    {OPT_TARGET, BRIDGE, TEXT, AT(target), 0, 0},
    {OPT_LISTEN, BRIDGE, TEXT, AT(listen), 0, 0},
    {OPT_REMOVE, REMOVE, NOTHING, 0, 0, 0},
};

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

static int take_port(struct pq_init_opts *o)
{
    char text[32], host[2];
    snprintf(text, sizeof text, ":%.20s", optarg);
    if (pq_hostports_split(text, host, sizeof host, &o->server_ports) || !o->server_ports.from)
        return fail("--port: '%s' is no port from 1 to 65535, nor a range such as 20000-20100",
                    optarg);
    return 0;
}

static int take(struct init_args *a, int opt)
{
    size_t i = 0;
    while (i < sizeof uses / sizeof uses[0] && uses[i].opt != opt)
        i++;
    if (i == sizeof uses / sizeof uses[0])
        return 1; /* getopt has said what is wrong */
    a->given |= UINT64_C(1) << i;
    char *at = (char *)&a->o + uses[i].at;
    unsigned *n = (unsigned *)(void *)((char *)&a->o + uses[i].n);
    if (uses[i].kind == PORT)
        return take_port(&a->o);
    if (uses[i].kind == MANY && *n == uses[i].max)
        return fail("'%s' is one too many of its kind", optarg);
    if (uses[i].kind == TEXT)
        memcpy(at, &optarg, sizeof optarg);
    else if (uses[i].kind == MANY)
        memcpy(at + sizeof optarg * (*n)++, &optarg, sizeof optarg);
    else if (uses[i].kind == FLAG)
        *(bool *)at = true;
    if (opt == OPT_REMOVE)
        a->what = REMOVE;
    return 0;
}

static const char *name_of(int opt)
{
    for (const struct option *o = long_opts; o->name; o++)
        if (o->val == opt)
            return o->name;
    return "?";
}

static int misplaced(int opt, enum what what)
{
    fprintf(stderr, "paqet init: --%s is not for init %s; see paqet init --help\n", name_of(opt),
            what == SERVER   ? "server"
            : what == CLIENT ? "client"
            : what == BRIDGE ? "bridge"
                             : "--remove");
    return 1;
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
            return misplaced(uses[i].opt, a->what);
    return 0;
}

/* Where the link begins in a text, NULL: nowhere. */
static const char *find_link(const char *text)
{
    while (*text && !pq_link_begins(text))
        text++;
    return *text ? text : NULL;
}

/* What is in front of the link, if it is more than blanks; says so. */
static bool is_odd(const char *text, const char *at)
{
    const size_t before = (size_t)(at - text);
    if (pq_link_blanks(text) >= before)
        return false;
    fprintf(stderr,
            "paqet init: '%.*s' in front of paqet:// does not belong to the link; a shell "
            "takes plain quotes alone: 'paqet://...'\n",
            before > 40 ? 40 : (int)before, text);
    return true;
}

/* The link on the command line, where others may see it as long as it stands there. */
static bool take_word(char *word, const char *at, char link[PQ_LINK_MAX])
{
    const size_t n = strlen(at), before = (size_t)(at - word);
    const bool odd = is_odd(word, at);
    snprintf(link, PQ_LINK_MAX, "%s", at);
    memset(word + before, 'x', n);
    if (!odd && n >= PQ_LINK_MAX)
        fprintf(stderr, TOO_LONG, PQ_LINK_MAX - 1);
    return !odd && n < PQ_LINK_MAX;
}

static bool is_utf16(const char *text, size_t n)
{
    return n >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}

/* Whether the n bytes of a file are a link, and nothing else. */
static bool take_file(const char *name, char link[PQ_LINK_MAX], size_t n)
{
    char text[PQ_LINK_MAX];
    const char *at = find_link(link);
    if (is_utf16(link, n)) {
        fprintf(stderr, "paqet init: %s is not plain text, but UTF-16: save it as UTF-8\n", name);
        return false;
    }
    if (!at && !link[pq_link_blanks(link)])
        return true; /* that it is empty is said with all else of it */
    if (!at) {
        fprintf(stderr, "paqet init: in %s there is no link, which begins with paqet://\n", name);
        return false;
    }
    const bool odd = is_odd(link, at);
    snprintf(text, sizeof text, "%s", at);
    memcpy(link, text, strlen(text) + 1);
    explicit_bzero(text, sizeof text);
    return !odd;
}

/* The link: itself, or of a file, or of standard input ("-"). */
static bool read_link(char *word, char link[PQ_LINK_MAX])
{
    const char *at = find_link(word);
    if (at)
        return take_word(word, at, link);
    FILE *f = strcmp(word, "-") ? fopen(word, "re") : stdin;
    if (!f) {
        fprintf(stderr, "paqet init: '%s' is no link (it begins with paqet://), and no file: %s\n",
                word, strerror(errno));
        return false;
    }
    const size_t n = fread(link, 1, PQ_LINK_MAX - 1, f);
    link[n] = 0;
    const bool whole =
        getc(f) == EOF; /* the rest of one that was cut off would mean another thing */
    if (f != stdin)
        fclose(f);
    if (!whole)
        fprintf(stderr, TOO_LONG, PQ_LINK_MAX - 1);
    return whole && take_file(f == stdin ? "standard input" : word, link, n);
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
    if (a.o.key_of && !read_link((char *)a.o.key_of, link)) /* a word of argv */
        return 1;
    a.o.key_of = a.o.key_of ? link : NULL;
    if (optind < argc)
        return fail("unexpected argument '%s'", argv[optind]);
    int code = a.what == SERVER   ? pq_init_server(&a.o)
               : a.what == CLIENT ? pq_init_client(&a.o)
               : a.what == BRIDGE ? pq_init_bridge(&a.o)
                                  : pq_init_remove(&a.o);
    explicit_bzero(link, sizeof link);
    return code;
}
