/* SPDX-License-Identifier: MIT */
/* link_write.c - writes links. */
#include "setup/link.h"

#include "base/err.h"
#include "base/hex.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct writer {
    char *out;
    size_t len;
    bool full, begun; /* there is a parameter */
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(w->out + w->len, PQ_LINK_MAX - w->len, fmt, ap);
    va_end(ap);
    w->full |= n < 0 || (size_t)n >= PQ_LINK_MAX - w->len;
    w->len += w->full ? 0 : (size_t)n;
}

static void put_text(struct writer *w, const char *text)
{
    w->full |= !pq_percent_write(text, "-._~", w->out, PQ_LINK_MAX);
    w->len = strlen(w->out);
}

static void put_name(struct writer *w, const char *name)
{
    put(w, "%c%s=", w->begun ? '&' : '?', name);
    w->begun = true;
}

static void put_word(struct writer *w, const char *name, const char *value)
{
    if (!*value)
        return;
    put_name(w, name);
    put_text(w, value);
}

static void put_number(struct writer *w, const char *name, long v)
{
    if (!v)
        return;
    put_name(w, name);
    put(w, "%ld", v);
}

static void put_key(struct writer *w, const char *name, const uint8_t key[PQ_LINK_KEY_LEN])
{
    char text[PQ_B64_KEY_LEN + 1];
    pq_b64_write(key, text);
    put_name(w, name);
    put(w, "%s", text);
    explicit_bzero(text, sizeof text);
}

static void put_server(struct writer *w, const struct pq_link_server *s)
{
    char ports[PQ_RANGE_STRLEN];
    put(w, strchr(s->host, ':') ? "[%s]:%s" : "%s:%s", s->host, pq_range_str(&s->ports, ports));
}

/* K as 32 bytes, if it is written as their 64 digits. */
static bool is_hex(const char *key, uint8_t out[PQ_LINK_KEY_LEN])
{
    return strlen(key) == (size_t)2 * PQ_LINK_KEY_LEN &&
           strspn(key, "0123456789abcdef") == strlen(key) && pq_hex_read(key, out, PQ_LINK_KEY_LEN);
}

/* One public key if it is that of all servers, else each. */
static void put_server_keys(struct writer *w, const struct pq_setup_link *l)
{
    bool same = true;
    for (unsigned i = 1; i < l->n_servers; i++)
        same &= memcmp(l->server[i].key, l->server[0].key, PQ_LINK_KEY_LEN) == 0;
    for (unsigned i = 0; i < (same ? 1 : l->n_servers) && l->server[0].has_key; i++)
        put_key(w, "s", l->server[i].key);
}

static void put_tun(struct writer *w, const struct pq_net *n)
{
    char ip[PQ_ADDR_STRLEN];
    if (!n->bits)
        return;
    put_name(w, "t");
    const bool is4 = pq_addr_is4(&n->ip);
    put(w, "%s/%u", pq_addr_ip_str(&n->ip, ip), is4 ? n->bits - 96U : n->bits);
}

/* The key comes last: of a link that was cut off, at a & by a shell say, it is missing. */
static void write_own(struct writer *w, const struct pq_setup_link *l)
{
    uint8_t key[PQ_LINK_KEY_LEN];
    put(w, "paqet://v1/");
    for (unsigned i = 0; i < l->n_servers; i++) {
        put(w, "%s", i ? "," : "");
        put_server(w, &l->server[i]);
    }
    put_server_keys(w, l);
    if (l->has_secret)
        put_key(w, "u", l->secret);
    put_word(w, "p", l->quic ? "quic" : "");
    put_word(w, "b", strcmp(l->block, "aes-128-gcm") ? l->block : "");
    put_word(w, "m", l->mode);
    put_word(w, "l", l->look);
    put_number(w, "mtu", l->mtu);
    put_number(w, "conn", l->conn);
    if (l->dshard) {
        put_name(w, "fec");
        put(w, "%ld/%ld", l->dshard, l->pshard);
    }
    put_word(w, "lf", l->local_flag);
    put_word(w, "rf", l->remote_flag);
    put_tun(w, &l->tun4);
    put_tun(w, &l->tun6);
    if (is_hex(l->key, key))
        put_key(w, "k", key);
    else
        put_word(w, "key", l->key);
    explicit_bzero(key, sizeof key);
}

/* Each value is said, since the programs that read it have defaults of their own. */
static void write_query(struct writer *w, const struct pq_setup_link *l)
{
    put(w, "paqet://");
    put_server(w, &l->server[0]);
    put_word(w, "enc", l->block);
    put_word(w, "local", *l->local_flag ? l->local_flag : "PA");
    put_word(w, "remote", *l->remote_flag ? l->remote_flag : "PA");
    put_word(w, "key", l->key);
    put_number(w, "conn", l->conn ? l->conn : 1);
    put_word(w, "mode", *l->mode ? l->mode : "fast");
    put_number(w, "mtu", l->mtu ? l->mtu : 1350);
}

static const char *not_sayable(const struct pq_setup_link *l)
{
    if (l->quic)
        return "that format has no place for QUIC, and the programs that read it do not speak that "
               "of this program";
    for (unsigned i = 0; i < l->n_servers; i++)
        if (l->server[i].has_key)
            return "that format has no place for public keys, and this server answers nobody "
                   "without; the programs that read it do not know them";
    if (l->dshard)
        return "that format has no place for FEC (dshard and pshard)";
    return NULL;
}

int pq_link_write(const struct pq_setup_link *l, enum pq_link_format format, char out[PQ_LINK_MAX],
                  char why[160])
{
    struct writer w = {.out = out};
    out[0] = 0;
    const char *reason = format == PQ_LINK_QUERY ? not_sayable(l) : NULL;
    if (reason)
        snprintf(why, 160, "%s", reason);
    if (reason)
        return PQ_ENOTSUP;
    if (format == PQ_LINK_QUERY)
        write_query(&w, l);
    else
        write_own(&w, l);
    if (*l->name) {
        put(&w, "#");
        put_text(&w, l->name);
    }
    return w.full ? PQ_EINVAL : 0;
}
