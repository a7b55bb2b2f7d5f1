/* SPDX-License-Identifier: MIT */
/* link.c - reads links. */
#include "setup/link.h"

#include "base/err.h"
#include "base/text.h"
#include "crypt/crypt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEME   "paqet://"
#define BLANKS   " \t\r\n"
#define VERSION  "v1/"
#define NAME_LEN 32 /* of a parameter */

#define TUN4_MIN 8 /* bits of an inner network */
#define TUN6_MIN 16

#define QUIC_MTU_MIN 1236 /* as transport.quic.mtu */
#define QUIC_MTU_MAX 1452

#define CUT_OFF "was the link cut off? in a shell it belongs in quotes: 'paqet://...'"

struct reader {
    struct pq_setup_link *l;
    struct pq_link_msgs *m;
    unsigned keys; /* of servers, own format */
    bool has_key, has_protocol;
};

__attribute__((format(printf, 3, 4))) static void say(struct pq_link_msgs *m, bool error,
                                                      const char *fmt, ...)
{
    unsigned at = m->n;
    for (unsigned i = 0; at == PQ_LINK_MSGS && error && i < m->n; i++)
        if (!m->v[i].error)
            at = i; /* in place of a note */
    m->errors += error;
    if (at == PQ_LINK_MSGS)
        return;
    m->n += at == m->n;
    m->v[at].error = error;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->v[at].text, sizeof m->v[at].text, fmt, ap);
    va_end(ap);
    pq_text_tame(m->v[at].text); /* a link is a stranger's, the reader a terminal */
}

#define FAIL(r, ...) say((r)->m, true, __VA_ARGS__)
#define NOTE(r, ...) say((r)->m, false, __VA_ARGS__)

/* ---- HOST:PORT */

static bool is_host(const char *host)
{
    struct pq_addr a;
    if (pq_addr_parse_ip(&a, host) == 0)
        return true;
    for (const char *p = host; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("-._", *p)))
            return false;
    if (strstr(host, "..") || *host == '.') /* nothing between two dots */
        return false;
    const char *dot = strrchr(host, '.'), *last = dot && dot[1] ? dot + 1 : host;
    const bool number = last[strspn(last, "0123456789")] == 0; /* half an address, no name */
    return *host && !number && strlen(host) <= 253;
}

static bool is_ascii(const char *text)
{
    while (*text && !(*text & 0x80))
        text++;
    return !*text;
}

static void read_server(struct reader *r, const char *text, size_t n)
{
    char one[PQ_LINK_TEXT + 16];
    struct pq_setup_link *l = r->l;
    struct pq_link_server *s = &l->server[l->n_servers];
    if (!pq_percent_read(text, n, false, one, sizeof one)) {
        FAIL(r, "server %u: it is not text, or too long", l->n_servers + 1);
    } else if (pq_hostports_split(one, s->host, sizeof s->host, &s->ports) || !s->ports.from) {
        FAIL(r, "server %u: '%.80s' is not HOST:PORT with a port from 1 to 65535, or a range; %s",
             l->n_servers + 1, one,
             is_ascii(one) ? "was the link cut off?" : "write it in the digits 0 to 9");
    } else if (!is_host(s->host)) {
        FAIL(r, "server %u: '%.80s' is neither a name nor an address", l->n_servers + 1, s->host);
    }
    l->n_servers++;
}

static void read_servers(struct reader *r, const char *text, size_t n)
{
    for (;;) {
        const char *comma = memchr(text, ',', n);
        const size_t len = comma ? (size_t)(comma - text) : n;
        if (r->l->n_servers == PQ_LINK_SERVERS) {
            FAIL(r, "servers: more than %d", PQ_LINK_SERVERS);
            return;
        }
        read_server(r, text, len);
        if (!comma)
            return;
        text += len + 1;
        n -= len + 1;
    }
}

/* ---- values */

static void read_number(struct reader *r, const char *name, const char *value, long min, long max,
                        long *out)
{
    char *end;
    const long v = strtol(value, &end, 10);
    if (*out)
        FAIL(r, "%s: is there twice", name);
    else if (*value < '0' || *value > '9' || *end || v < min || v > max)
        FAIL(r, "%s: is not a number from %ld to %ld", name, min, max);
    else
        *out = v;
}

static bool is_word(const char *value, const char *more)
{
    for (const char *p = value; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr(more, *p)))
            return false;
    return *value != 0;
}

static void read_word(struct reader *r, const char *name, const char *value, const char *more,
                      char out[PQ_LINK_WORD])
{
    if (*out)
        FAIL(r, "%s: is there twice", name);
    else if (strlen(value) >= PQ_LINK_WORD || !is_word(value, more))
        FAIL(r, "%s: '%.40s' is no value of it", name, value);
    else
        memcpy(out, value, strlen(value) + 1);
}

static void read_block(struct reader *r, const char *name, const char *value)
{
    enum pq_cipher c;
    read_word(r, name, value, "-", r->l->block);
    if (*r->l->block && pq_cipher_from_name(r->l->block, &c))
        FAIL(r, "%s: '%.40s' is no cipher that paqet has", name, r->l->block);
}

static void read_flags(struct reader *r, const char *name, const char *value,
                       char out[PQ_LINK_WORD])
{
    if (*out)
        FAIL(r, "%s: is there twice", name);
    else if (strlen(value) >= PQ_LINK_WORD || strspn(value, "FSRPAUECN,") != strlen(value))
        FAIL(r, "%s: '%.40s' is no list of TCP flags such as PA,A", name, value);
    else
        memcpy(out, value, strlen(value) + 1);
}

static void set_key(struct reader *r, const char *name, const char *value)
{
    if (r->has_key)
        FAIL(r, "%s: the key is there twice", name);
    else if (strlen(value) >= PQ_LINK_TEXT)
        FAIL(r, "%s: is longer than %d bytes", name, PQ_LINK_TEXT - 1);
    else if (!*value)
        FAIL(r, "%s: is empty", name);
    else
        memcpy(r->l->key, value, strlen(value) + 1);
    r->has_key = true;
}

/* ---- our own parameters */

static void read_hex_key(struct reader *r, const char *value)
{
    uint8_t key[PQ_LINK_KEY_LEN];
    char hex[2 * PQ_LINK_KEY_LEN + 1];
    if (!pq_b64_read(value, key)) {
        FAIL(r, "k: the key is not %d letters, digits, - and _; was the link cut off?",
             PQ_B64_KEY_LEN);
        r->has_key = true;
        return;
    }
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    set_key(r, "k", hex);
    explicit_bzero(key, sizeof key);
    explicit_bzero(hex, sizeof hex);
}

static void read_server_key(struct reader *r, const char *value)
{
    struct pq_setup_link *l = r->l;
    if (r->keys >= l->n_servers) {
        FAIL(r, "s: more public keys than servers");
        return;
    }
    struct pq_link_server *s = &l->server[r->keys++];
    s->has_key = pq_b64_read(value, s->key);
    if (!s->has_key)
        FAIL(r,
             "s: the server's public key is not %d letters, digits, - and _; was the link cut off?",
             PQ_B64_KEY_LEN);
}

static void read_secret(struct reader *r, const char *value)
{
    if (r->l->has_secret)
        FAIL(r, "u: is there twice");
    else if (!pq_b64_read(value, r->l->secret))
        FAIL(r,
             "u: the user's private key is not %d letters, digits, - and _; was the link cut off?",
             PQ_B64_KEY_LEN);
    r->l->has_secret = true;
}

static void read_tun(struct reader *r, const char *value)
{
    struct pq_net net;
    const bool bad = pq_net_parse(&net, value) || !strchr(value, '/');
    const unsigned least = bad || pq_addr_is4(&net.ip) ? 96 + TUN4_MIN : TUN6_MIN;
    struct pq_net *to = bad || pq_addr_is4(&net.ip) ? &r->l->tun4 : &r->l->tun6;
    if (bad || net.bits < least)
        FAIL(r, "t: '%.60s' is no inner address such as 10.0.8.2/24", value);
    else if (to->bits)
        FAIL(r, "t: two addresses of one IP version");
    else
        *to = net;
}

static void read_protocol(struct reader *r, const char *value)
{
    if (r->has_protocol)
        FAIL(r, "p: is there twice");
    else if (strcmp(value, "quic") != 0 && strcmp(value, "kcp") != 0)
        FAIL(r, "p: '%.20s' is neither kcp nor quic", value);
    r->has_protocol = true;
    r->l->quic = strcmp(value, "quic") == 0;
}

static void read_fec(struct reader *r, const char *value)
{
    char data[PQ_LINK_WORD] = "";
    const char *slash = strchr(value, '/');
    if (!slash || (size_t)(slash - value) >= sizeof data) {
        FAIL(r, "fec: '%.20s' is not DATA/PARITY", value);
        return;
    }
    memcpy(data, value, (size_t)(slash - value));
    read_number(r, "fec", data, 1, 255, &r->l->dshard);
    read_number(r, "fec", slash + 1, 1, 255, &r->l->pshard);
}

static void own_parameter(struct reader *r, const char *name, const char *value)
{
    struct pq_setup_link *l = r->l;
    if (!strcmp(name, "k"))
        read_hex_key(r, value);
    else if (!strcmp(name, "key"))
        set_key(r, name, value);
    else if (!strcmp(name, "s"))
        read_server_key(r, value);
    else if (!strcmp(name, "u"))
        read_secret(r, value);
    else if (!strcmp(name, "p"))
        read_protocol(r, value);
    else if (!strcmp(name, "b"))
        read_block(r, name, value);
    else if (!strcmp(name, "m"))
        read_word(r, name, value, "", l->mode);
    else if (!strcmp(name, "l"))
        read_word(r, name, value, "-", l->look);
    else if (!strcmp(name, "t"))
        read_tun(r, value);
    else if (!strcmp(name, "fec"))
        read_fec(r, value);
    else if (!strcmp(name, "mtu"))
        read_number(r, name, value, 50, 1500, &l->mtu);
    else if (!strcmp(name, "conn"))
        read_number(r, name, value, 1, 256, &l->conn);
    else if (!strcmp(name, "lf"))
        read_flags(r, name, value, l->local_flag);
    else if (!strcmp(name, "rf"))
        read_flags(r, name, value, l->remote_flag);
    else if (*name >= 'A' && *name <= 'Z')
        NOTE(r, "%.32s: is not known here; it was left aside", name);
    else
        FAIL(r, "%.32s: is not known here, and the link does not work without; use a newer paqet",
             name);
}

/* ---- those of the other formats */

/* What programs of that kind set for themselves, and is of no use here. */
static bool is_local(const char *name)
{
    static const char *const names[] = {
        "socks",    "socks_user", "socks_pass",   "fwd",    "log",       "rcvwnd",  "sndwnd",
        "dscp",     "smuxbuf",    "streambuf",    "tcpbuf", "udpbuf",    "sockbuf", "nodelay",
        "interval", "resend",     "nocongestion", "wdelay", "acknodelay"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static void foreign_parameter(struct reader *r, const char *name, const char *value)
{
    struct pq_setup_link *l = r->l;
    if (!*value) /* as good as not there */
        return;
    if (!strcmp(name, "enc") || !strcmp(name, "block"))
        read_block(r, name, value);
    else if (!strcmp(name, "key"))
        set_key(r, name, value);
    else if (!strcmp(name, "local") || !strcmp(name, "lf"))
        read_flags(r, name, value, l->local_flag);
    else if (!strcmp(name, "remote") || !strcmp(name, "rf"))
        read_flags(r, name, value, l->remote_flag);
    else if (!strcmp(name, "mode") && !strcmp(value, "manual"))
        NOTE(r, "mode: manual was left aside, since its numbers only matter to the sender: fast");
    else if (!strcmp(name, "mode"))
        read_word(r, name, value, "", l->mode);
    else if (!strcmp(name, "mtu"))
        read_number(r, name, value, 50, 1500, &l->mtu);
    else if (!strcmp(name, "conn"))
        read_number(r, name, value, 1, 256, &l->conn);
    else if (!strcmp(name, "dshard") || !strcmp(name, "pshard"))
        read_number(r, name, value, 0, 255, *name == 'd' ? &l->dshard : &l->pshard);
    else if (!is_local(name))
        NOTE(r, "%.32s: is not known here; it was left aside", name);
}

static void read_parameters(struct reader *r, const char *text, size_t n)
{
    const bool own = r->l->format == PQ_LINK_OWN;
    char value[PQ_LINK_TEXT];
    while (n) {
        if (n > 4 && memcmp(text, "amp;", 4) == 0) { /* of "&amp;", as pages have it inside */
            text += 4;
            n -= 4;
        }
        const char *amp = memchr(text, '&', n);
        const size_t len = amp ? (size_t)(amp - text) : n;
        const char *is = memchr(text, '=', len);
        const size_t name_len = is ? (size_t)(is - text) : len;
        char name[NAME_LEN + 1] = "";
        if (name_len && name_len <= NAME_LEN)
            memcpy(name, text, name_len);
        if (len && (!*name || !is || !is_word(name, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ")))
            FAIL(r, "a parameter is not NAME=VALUE");
        else if (len && !pq_percent_read(is + 1, len - name_len - 1, !own, value, sizeof value))
            FAIL(r, "%s: is no text, or longer than %d bytes", name, PQ_LINK_TEXT - 1);
        else if (len)
            (own ? own_parameter : foreign_parameter)(r, name, value);
        text += len + (amp != NULL);
        n -= len + (amp != NULL);
    }
    explicit_bzero(value, sizeof value);
}

/* ---- the whole */

/* What is KCP's alone has no place beside it. */
static void check_quic(struct reader *r)
{
    const struct pq_setup_link *l = r->l;
    if (*l->block || *l->mode || l->dshard || l->pshard)
        FAIL(r, "%s: is of kcp, and the link is of quic (p)",
             *l->block  ? "b"
             : *l->mode ? "m"
                        : "fec");
    if (!r->has_key)
        FAIL(r, "k: the key is missing; " CUT_OFF);
    if (l->mtu && (l->mtu < QUIC_MTU_MIN || l->mtu > QUIC_MTU_MAX))
        FAIL(r, "mtu: is not a number from %d to %d, as quic (p) needs it", QUIC_MTU_MIN,
             QUIC_MTU_MAX);
}

/* What must be there, and what follows from what is not. */
static void complete(struct reader *r)
{
    struct pq_setup_link *l = r->l;
    const bool own = l->format == PQ_LINK_OWN;
    enum pq_cipher c;
    if (l->quic)
        check_quic(r);
    if (!*l->block)
        memcpy(l->block, own ? "aes-128-gcm" : "aes", own ? sizeof "aes-128-gcm" : sizeof "aes");
    if (!r->has_key && !l->quic && !pq_cipher_from_name(l->block, &c) && pq_cipher_needs_key(c))
        FAIL(r, "%s: the key is missing; " CUT_OFF, own ? "k" : "key");
    for (unsigned i = 0; !r->keys && !l->quic && i < l->n_servers; i++)
        if (pq_range_size(&l->server[i].ports) > 1)
            FAIL(r, "server %u: a range of ports is only for servers with a public key (%s)", i + 1,
                 own ? "s" : "which such links have not");
    for (unsigned i = 1; r->keys == 1 && i < l->n_servers; i++) { /* one for all */
        memcpy(l->server[i].key, l->server[0].key, sizeof l->server[i].key);
        l->server[i].has_key = l->server[0].has_key;
    }
    if (r->keys > 1 && r->keys < l->n_servers)
        FAIL(r, "s: %u public keys for %u servers; one for all, or one for each", r->keys,
             l->n_servers);
    if (l->has_secret && !r->keys)
        FAIL(r, "s: the server's public key is missing, which belongs to the user's in u");
    if (!l->dshard != !l->pshard)
        FAIL(r, "%s: both numbers must be there", own ? "fec" : l->dshard ? "pshard" : "dshard");
}

/* Where the servers begin; finds out which format it is. */
static const char *find_format(struct reader *r, const char *text, const char *end)
{
    struct pq_setup_link *l = r->l;
    char key[PQ_LINK_TEXT];
    l->format = PQ_LINK_QUERY;
    if ((size_t)(end - text) >= 2 && text[0] == 'v' && text[1] >= '0' && text[1] <= '9' &&
        memchr(text, '/', (size_t)(end - text))) {
        l->format = PQ_LINK_OWN;
        if (strncmp(text, VERSION, strlen(VERSION)) == 0)
            return text + strlen(VERSION);
        FAIL(r, "it is of version %.*s, which this paqet does not know; use a newer one",
             (int)strcspn(text, "/") > 8 ? 8 : (int)strcspn(text, "/"), text);
        return NULL;
    }
    const char *at = memchr(text, '@', (size_t)(end - text));
    if (!at)
        return text;
    l->format = PQ_LINK_USER;
    const bool ok = pq_percent_read(text, (size_t)(at - text), false, key, sizeof key);
    if (ok)
        set_key(r, "the key in front of @", key);
    else
        FAIL(r, "the key in front of @ is no text, or longer than %d bytes", PQ_LINK_TEXT - 1);
    r->has_key = true;
    explicit_bzero(key, sizeof key);
    return at + 1;
}

static void read_all(struct reader *r, const char *text, const char *end)
{
    const char *hash = memchr(text, '#', (size_t)(end - text));
    const char *before = hash ? hash : end;
    const char *ask = memchr(text, '?', (size_t)(before - text));
    const char *servers_end = ask ? ask : before;
    const char *servers = find_format(r, text, servers_end);
    const bool own = r->l->format == PQ_LINK_OWN;
    if (!servers)
        return;
    if (!own && servers_end > servers && servers_end[-1] == '/')
        servers_end--;
    if (!own && !memchr(servers, ':', (size_t)(servers_end - servers))) {
        FAIL(r, "it is not a link of a kind that is known here; ask for address, port and key");
        return;
    }
    if (own)
        read_servers(r, servers, (size_t)(servers_end - servers));
    else
        read_server(r, servers, (size_t)(servers_end - servers));
    if (ask)
        read_parameters(r, ask + 1, (size_t)(before - ask - 1));
    if (hash &&
        !pq_percent_read(hash + 1, (size_t)(end - hash - 1), !own, r->l->name, sizeof r->l->name)) {
        r->l->name[0] = 0;
        NOTE(r, "the name behind # is no text, or too long; it was left aside");
    }
    complete(r);
}

size_t pq_link_blanks(const char *text)
{
    const char *p = text;
    for (size_t n; (n = strspn(p, BLANKS)) || (n = pq_text_unseen(p));)
        p += n;
    return (size_t)(p - text);
}

bool pq_link_begins(const char *text)
{
    return strncasecmp(text, SCHEME, strlen(SCHEME)) == 0;
}

/* Copies the link without the blanks around it, and without the line ends that a terminal or a mail
 * has put into it, blanks beside them included, and without what nobody sees, in front of its name.
 * Returns its length, PQ_LINK_MAX if that is too much. */
static size_t unfold(const char *text, char out[PQ_LINK_MAX])
{
    size_t n = 0;
    bool named = false;
    text += pq_link_blanks(text);
    while (*text && n < PQ_LINK_MAX) {
        const size_t blanks = strspn(text, BLANKS), unseen = named ? 0 : pq_text_unseen(text);
        if (blanks && (!text[blanks] || strcspn(text, "\r\n") < blanks))
            text += blanks;
        else if (unseen || !text[pq_link_blanks(text)])
            text += unseen ? unseen : pq_link_blanks(text);
        else
            named |= (out[n++] = *text++) == '#';
    }
    out[n < PQ_LINK_MAX ? n : 0] = 0;
    return n;
}

int pq_link_read(const char *text, struct pq_setup_link *out, struct pq_link_msgs *msgs)
{
    struct reader r = {.l = out, .m = msgs};
    char link[PQ_LINK_MAX] = "";
    *out = (struct pq_setup_link){0};
    *msgs = (struct pq_link_msgs){0};
    const size_t n = unfold(text, link);
    if (n == PQ_LINK_MAX)
        FAIL(&r, "it is longer than %d bytes", PQ_LINK_MAX - 1);
    else if (!n)
        FAIL(&r, "it is empty");
    else if (!pq_link_begins(link))
        FAIL(&r, "a link begins with " SCHEME);
    else if (strcmp(link + strlen(SCHEME), "...") == 0)
        FAIL(&r, "the dots stand for all the rest of it, as the server has printed it");
    else
        read_all(&r, link + strlen(SCHEME), link + n);
    explicit_bzero(link, sizeof link);
    return msgs->errors ? PQ_EINVAL : 0;
}

void pq_link_wipe(struct pq_setup_link *l)
{
    explicit_bzero(l, sizeof *l);
}
