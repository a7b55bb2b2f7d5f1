/* SPDX-License-Identifier: MIT */
/* change.c - from one configuration to another while the program runs: which keys differ that must
 * stay, and taking over the others. */
#include "conf/conf_internal.h"

#include <string.h>

/* What can change: the key itself and what is below it. */
static const char *const live[] = {"log.level", "socks5", "forward", "rules", "server",
                                   "servers",   "users",  "allow",   "deny"};

static bool is_live(const char *path)
{
    for (size_t i = 0; i < sizeof live / sizeof live[0]; i++) {
        const size_t n = strlen(live[i]);
        if (strncmp(path, live[i], n) == 0 && (!path[n] || path[n] == '.' || path[n] == '['))
            return true;
    }
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_list(const struct pq_conf_list *a, const struct pq_conf_list *b)
{
    bool same = a->n == b->n && a->set == b->set;
    for (unsigned i = 0; same && i < a->n; i++)
        same = same_text(a->v[i], b->v[i]);
    return same;
}

static bool same_value(const struct pq_key *k, const void *a, const void *b)
{
    switch (k->kind) {
    case KEY_STRING:
        return same_text(*(char *const *)a, *(char *const *)b);
    case KEY_INT:
        return *(const long *)a == *(const long *)b;
    case KEY_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case KEY_TEXTS:
    case KEY_TEXT_OR_TEXTS:
    case KEY_RULES:
        return same_list(a, b);
    case KEY_MAP:
    case KEY_LIST_OF_MAPS:
        break;
    }
    return true;
}

unsigned pq_conf_differ(const struct pq_conf *a, const struct pq_conf *b,
                        void (*fn)(void *ctx, const char *path), void *ctx)
{
    unsigned n = 0;
    for (unsigned i = 0; i < pq_key_count(); i++) {
        const struct pq_key *k = pq_key_nth(i);
        if (k->at == SIZE_MAX || strchr(k->path, '[') || is_live(k->path) ||
            strncmp(k->path, "transport.kcp.key", 17) == 0 || /* wiped once they were used */
            same_value(k, (const char *)a + k->at, (const char *)b + k->at))
            continue;
        fn(ctx, k->path);
        n++;
    }
    return n;
}

#define SWAP(field)                                                                                \
    do {                                                                                           \
        __typeof__(a->field) was = a->field;                                                       \
        a->field = b->field;                                                                       \
        b->field = was;                                                                            \
    } while (0)

static void swap_bytes(void *a, void *b, size_t n)
{
    unsigned char *x = a, *y = b;
    for (size_t i = 0; i < n; i++) {
        const unsigned char was = x[i];
        x[i] = y[i];
        y[i] = was;
    }
}

void pq_conf_swap_live(struct pq_conf *a, struct pq_conf *b)
{
    SWAP(log_level_text);
    SWAP(log_level);
    swap_bytes(a->socks5, b->socks5, sizeof a->socks5);
    SWAP(n_socks5);
    SWAP(forward);
    SWAP(n_forward);
    SWAP(port);
    SWAP(n_ports);
    swap_bytes(a->server, b->server, sizeof a->server);
    SWAP(n_servers);
    SWAP(split_rule);
    SWAP(n_split);
    SWAP(split);
    SWAP(user);
    SWAP(n_users);
    SWAP(rules);
    SWAP(open_rules);
}

static bool same_rules(const struct pq_conf_rules *a, const struct pq_conf_rules *b)
{
    return same_list(&a->allow, &b->allow) && same_list(&a->deny, &b->deny);
}

bool pq_conf_same_rules(const struct pq_conf *a, const struct pq_conf *b)
{
    bool same = same_rules(&a->rules, &b->rules);
    for (unsigned i = 0; i < a->n_users; i++)
        for (unsigned k = 0; same && k < b->n_users; k++)
            if (!a->user[i].gone && memcmp(a->user[i].key, b->user[k].key, PQ_CONF_KEY_LEN) == 0)
                same = same_rules(&a->user[i].rules, &b->user[k].rules);
    return same;
}

bool pq_conf_same_server(const struct pq_conf_server *a, const struct pq_conf_server *b)
{
    return a->ports.from == b->ports.from && a->ports.to == b->ports.to &&
           strcmp(a->host, b->host) == 0 && a->has_key == b->has_key &&
           (!a->has_key || memcmp(a->key, b->key, sizeof a->key) == 0);
}
