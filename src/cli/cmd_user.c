/* SPDX-License-Identifier: MIT */
/* user: adds a user to a server's file, takes one out, lists them; a server that runs follows. */
#include "base/hex.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/edit.h"
#include "cli/user_link.h"
#include "noise/noise.h"
#include "setup/link.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 64
#define HEX_LEN      (2 * PQ_CONF_KEY_LEN + 1)
#define NOT_SAID     "ADDRESS-OF-THE-SERVER"

struct wanted { /* what was asked for */
    const char *action, *name, *config, *socket, *public_key, *address;
    bool link, qr;
    struct pq_user_inner inner;
    uint8_t secret[PQ_CONF_KEY_LEN], key[PQ_CONF_KEY_LEN];
    bool made; /* the pair was made here */
    unsigned nth;
};

static int fail(const char *why, const char *what)
{
    fprintf(stderr, "paqet user: ");
    fprintf(stderr, why, what); /* NOLINT(clang-diagnostic-format-nonliteral) */
    fprintf(stderr, "\n");
    return 1;
}

static void hex(const uint8_t key[PQ_CONF_KEY_LEN], char out[HEX_LEN])
{
    for (size_t i = 0; i < PQ_CONF_KEY_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", key[i]);
}

static bool is_name(const char *s)
{
    const size_t n = strlen(s);
    return n && n <= NAME_MAX_LEN && pq_utf8_is_text(s); /* YAML ends a line at U+2028, too */
}

/* Also those that do not break a line, and the wide one. */
static bool has_blank(const char *s)
{
    return strpbrk(s, " \t") || strstr(s, "\u00a0") || strstr(s, "\u3000");
}

static int find(const struct pq_conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_users; i++)
        if (strcmp(c->user[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- whether the new file says what was meant */

static bool same_user(const struct pq_conf_user *a, const struct pq_conf_user *b)
{
    return strcmp(a->name, b->name) == 0 && memcmp(a->key, b->key, sizeof a->key) == 0;
}

static void differs(void *ctx, const char *path)
{
    (void)path;
    *(bool *)ctx = true;
}

/* All but the users is the same, and of these all but number `skip` of `longer`. */
static bool differ_by(const struct pq_conf *longer, const struct pq_conf *shorter, unsigned skip)
{
    bool other = longer->n_users != shorter->n_users + 1;
    pq_conf_differ(longer, shorter, differs, &other);
    for (unsigned i = 0; !other && i < shorter->n_users; i++)
        other = !same_user(&longer->user[i + (i >= skip)], &shorter->user[i]);
    return !other;
}

static bool is_added(void *ctx, const struct pq_conf *now, const struct pq_conf *next)
{
    const struct wanted *w = ctx;
    const unsigned inner = (*w->inner.text4 ? 1U : 0U) + (*w->inner.text6 ? 1U : 0U);
    return differ_by(next, now, now->n_users) &&
           strcmp(next->user[now->n_users].name, w->name) == 0 &&
           memcmp(next->user[now->n_users].key, w->key, sizeof w->key) == 0 &&
           next->user[now->n_users].n_tun == inner;
}

static bool is_removed(void *ctx, const struct pq_conf *now, const struct pq_conf *next)
{
    const struct wanted *w = ctx;
    return differ_by(now, next, w->nth);
}

/* ---- what the user gets */

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++)
        printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    putchar('"');
}

static void print_tun(const struct pq_user_inner *in)
{
    if (!*in->text4)
        return;
    printf("tun: # \"true\" sends all of his machine through the tunnel\n"
           "  enabled: false\n"
           "  addr: %s/%u\n",
           in->text4, in->net4.bits - 96U);
    if (*in->text6)
        printf("  addr6: %s/%u\n", in->text6, (unsigned)in->net6.bits);
    printf("  routes: [default]\n");
}

/* A client's configuration; where this server is nobody has said. */
static int print_client(const struct wanted *w, const struct pq_conf *c)
{
    uint8_t pub[PQ_CONF_KEY_LEN];
    char text[HEX_LEN], ports[PQ_RANGE_STRLEN];
    if (pq_crypt_global_init() || pq_x25519_public(c->secret, pub))
        return fail("libgcrypt cannot compute the server's public key%s", "");
    hex(pub, text);
    printf("# The client of %s. Who has this file is %s: hand it over by a way that nobody reads.\n"
           "role: client\n"
           "socks5:\n"
           "  - listen: 127.0.0.1:1080\n"
           "server:\n"
           "  addr: " NOT_SAID ":%s # write it here\n"
           "  public_key: \"%s\"\n"
           "transport:\n"
           "  protocol: %s\n",
           w->name, w->name, pq_range_str(&c->own_ports, ports), text,
           c->over_quic ? "quic" : "kcp");
    hex(w->secret, text);
    if (w->made)
        printf("  private_key: \"%s\"\n", text);
    else
        printf("  private_key: \"THE-PRIVATE-KEY-THAT-BELONGS-TO-THE-PUBLIC-ONE\"\n");
    explicit_bzero(text, sizeof text);
    if (c->over_quic)
        printf("  quic:\n    key: ");
    else
        printf("  kcp:\n    block: %s\n    key: ", pq_cipher_name(c->cipher));
    print_quoted(c->kcp.key ? c->kcp.key : "");
    putchar('\n');
    print_tun(&w->inner);
    fputs("in what was printed, write this server's address in place of " NOT_SAID
          "; with --link a link is printed, which has it all\n",
          stderr);
    return fflush(stdout) ? fail("the client's part could not be written%s", "") : 0;
}

/* ---- the actions */

static int make_keys(struct wanted *w)
{
    if (w->public_key) {
        const bool ok = strlen(w->public_key) == HEX_LEN - 1 &&
                        pq_hex_read(w->public_key, w->key, sizeof w->key);
        return ok ? 0 : fail("--public-key: %s is not a key of 64 hex digits", w->public_key);
    }
    struct pq_rng rng;
    pq_rng_init(&rng);
    pq_rng_fill(&rng, w->secret, sizeof w->secret);
    explicit_bzero(&rng, sizeof rng);
    w->made = true;
    if (pq_crypt_global_init() || pq_x25519_public(w->secret, w->key))
        return fail("libgcrypt cannot compute the public key%s", "");
    return 0;
}

static int add(struct wanted *w, struct pq_cli_file *f)
{
    char key[HEX_LEN], why[PQ_EDIT_WHY_LEN], *text;
    size_t n;
    if (!is_name(w->name))
        return fail(
            "a name has 1 to 64 bytes of UTF-8, without control characters and ends of lines%s",
            "");
    if (has_blank(w->name))
        return fail(
            "'%s' has a blank in it, at which the columns of \"paqet status\" and what reads "
            "the log tell one word from the next; write - in its place",
            w->name);
    if (find(&f->conf, w->name) >= 0)
        return fail("%s is there already; take him out first (paqet user del)", w->name);
    int e = make_keys(w);
    if (e)
        return e;
    hex(w->key, key);
    pq_user_inner(&f->conf, &w->inner);
    const struct pq_user_link link = {.name = w->name,
                                      .conf = w->config,
                                      .address = w->address,
                                      .secret = w->secret,
                                      .inner = &w->inner,
                                      .qr = w->qr};
    if (w->link && !pq_user_link_possible(&f->conf, &link))
        return 1;
    const char *const four = *w->inner.text4 ? "tun" : NULL, *const six =
                                                                 *w->inner.text6 ? "tun" : NULL;
    const struct pq_edit_pair v[] = {
        {"name", w->name}, {"public_key", key}, {four, w->inner.text4}, {six, w->inner.text6}, {0}};
    e = pq_edit_add(f->text, f->n, &(struct pq_edit_list){"users", -1}, v, &text, &n, why);
    if (e)
        return fail("%s", e == PQ_EINVAL ? why : pq_strerror(e));
    e = pq_cli_file_write(f, text, n, is_added, w, "user");
    if (!e && w->link)
        return pq_user_link_print(&f->conf, &link) ? 0 : 1;
    return e ? e : print_client(w, &f->conf);
}

static int del(struct wanted *w, struct pq_cli_file *f)
{
    char why[PQ_EDIT_WHY_LEN], *text;
    size_t n;
    const int nth = find(&f->conf, w->name);
    if (nth < 0)
        return fail("there is no user %s; 'paqet user list' shows who there is", w->name);
    if (f->conf.n_users == 1)
        return fail("%s is the only user: without users everybody is let in who has "
                    "transport.kcp.key; add another one first, or stop the server",
                    w->name);
    w->nth = (unsigned)nth;
    int e =
        pq_edit_remove(f->text, f->n, &(struct pq_edit_list){"users", -1}, w->nth, &text, &n, why);
    if (e)
        return fail("%s", e == PQ_EINVAL ? why : pq_strerror(e));
    return pq_cli_file_write(f, text, n, is_removed, w, "user");
}

static int list(const struct pq_conf *c)
{
    char key[HEX_LEN];
    for (unsigned i = 0; i < c->n_users; i++) {
        hex(c->user[i].key, key);
        printf("%s  %s\n", key, c->user[i].name);
    }
    return 0;
}

static int act(struct wanted *w)
{
    struct pq_cli_file f;
    int code = pq_cli_file_open(&f, w->config, "user");
    const bool listing = strcmp(w->action, "list") == 0;
    if (!code && f.conf.role != PQ_ROLE_SERVER)
        code = fail("%s is not a server's", w->config);
    if (!code && !listing && !f.conf.has_secret)
        code = fail("%s has no transport.private_key, without which there are no users; 'paqet "
                    "secret --pair' makes one",
                    w->config);
    if (!code && listing)
        code = list(&f.conf);
    else if (!code)
        code = strcmp(w->action, "add") == 0 ? add(w, &f) : del(w, &f);
    pq_cli_file_close(&f);
    explicit_bzero(w->secret, sizeof w->secret);
    const struct pq_cli_target t = {.config = w->config, .socket = w->socket};
    if (code || listing)
        return code;
    code = pq_cli_file_follow(&t, "user");
    if (code != PQ_CLI_NOBODY || strcmp(w->action, "del") != 0)
        return code == PQ_CLI_NOBODY ? 0 : code;
    fail("a server that runs with %s all the same still lets him in, until it is started again",
         w->config);
    return PQ_CLI_NOBODY;
}

int pq_cmd_user(int argc, char **argv)
{
    static const struct option opts[] = {{"config", required_argument, NULL, 'c'},
                                         {"socket", required_argument, NULL, 's'},
                                         {"public-key", required_argument, NULL, 'k'},
                                         {"link", no_argument, NULL, 'l'},
                                         {"qr", no_argument, NULL, 'q'},
                                         {"address", required_argument, NULL, 'a'},
                                         {0}};
    struct wanted w = {.config = NULL};
    char found[PQ_CLI_PATH];
    for (int o; (o = getopt_long(argc, argv, "c:s:", opts, NULL)) != -1;) {
        if (o == 'c')
            w.config = optarg;
        else if (o == 's')
            w.socket = optarg;
        else if (o == 'k')
            w.public_key = optarg;
        else if (o == 'a')
            w.address = optarg;
        else if (o == 'l')
            w.link = true;
        else if (o == 'q')
            w.qr = true;
        else
            return 1;
    }
    const int n = argc - optind;
    w.action = n > 0 ? argv[optind] : "";
    w.name = n > 1 ? argv[optind + 1] : "";
    const bool lists = strcmp(w.action, "list") == 0;
    const bool changes = strcmp(w.action, "add") == 0 || strcmp(w.action, "del") == 0;
    if ((!lists && !changes) || n != (lists ? 1 : 2))
        return fail("say add NAME, del NAME or list%s", "");
    if (!w.link && (w.qr || w.address))
        return fail("--%s is of use with add NAME --link", w.qr ? "qr" : "address");
    if (w.link && (w.public_key || strcmp(w.action, "add") != 0))
        return fail("--link is of use with add NAME, where the keys are made here%s", "");
    w.config = pq_cli_config("user", w.config, true, found);
    return w.config ? act(&w) : 1;
}
