/* SPDX-License-Identifier: MIT */
#include "entry/target_set.h"

#include "base/hash.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN 253
#define SEED     UINT64_C(0x70617165) /* who makes the lists may slow down his own machine alone */

enum { ITSELF = 1, BELOW = 2 }; /* what an entry means, in the byte before its name */

struct range4 {
    uint32_t from, to;
};

struct range6 {
    uint8_t from[16], to[16];
};

struct pq_target_set {
    char *text; /* entries: what it means, the name in lower case, NUL */
    size_t text_len, text_cap;
    uint32_t *slot; /* where an entry is, + 1; 0 = free.  A power of two of them */
    size_t n_slots, n_names;
    char *word[PQ_TARGET_KEYWORDS];
    size_t n_words;
    struct range4 *v4;
    struct range6 *v6;
    size_t n4, n6, cap4, cap6;
};

struct pq_target_set *pq_target_set_new(void)
{
    return calloc(1, sizeof(struct pq_target_set));
}

void pq_target_set_free(struct pq_target_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_words; i++)
        free(s->word[i]);
    free(s->text);
    free(s->slot);
    free(s->v4);
    free(s->v6);
    free(s);
}

/* Makes room for one more at the end of an array that doubles. */
static bool grow(void *array, size_t n, size_t *cap, size_t size)
{
    void *was, *more;
    if (n < *cap)
        return true;
    const size_t next = *cap ? *cap * 2 : 64;
    memcpy(&was, array, sizeof was);
    more = realloc(was, next * size);
    if (!more)
        return false;
    memcpy(array, &more, sizeof more);
    *cap = next;
    return true;
}

/* ---- names */

/* The slot of a name, or the free one where it belongs. */
static uint32_t *find(const struct pq_target_set *s, const char *name, size_t n)
{
    size_t i = (size_t)pq_hash_bytes(name, n, SEED) & (s->n_slots - 1);
    for (;; i = (i + 1) & (s->n_slots - 1)) {
        const char *at = s->slot[i] ? s->text + s->slot[i] : NULL;
        if (!at || (strncmp(at, name, n) == 0 && !at[n]))
            return &s->slot[i];
    }
}

/* Keeps a quarter of the slots free. */
static bool grow_slots(struct pq_target_set *s)
{
    if (s->n_names < s->n_slots / 4 * 3)
        return true;
    struct pq_target_set next = *s;
    next.n_slots = s->n_slots ? s->n_slots * 2 : 64;
    next.slot = calloc(next.n_slots, sizeof *next.slot);
    if (!next.slot)
        return false;
    for (size_t i = 0; i < s->n_slots; i++) {
        const char *name = s->text + s->slot[i];
        if (s->slot[i])
            *find(&next, name, strlen(name)) = s->slot[i];
    }
    free(s->slot);
    s->slot = next.slot;
    s->n_slots = next.n_slots;
    return true;
}

static enum pq_target_line add_name(struct pq_target_set *s, const char *name, size_t n, char means)
{
    if (!grow_slots(s))
        return PQ_LINE_NO_MEMORY;
    uint32_t *slot = find(s, name, n);
    if (*slot) {
        s->text[*slot - 1] = (char)(s->text[*slot - 1] | means);
        return PQ_LINE_TAKEN;
    }
    if (s->text_len + n + 2 > s->text_cap) {
        const size_t cap = s->text_cap ? s->text_cap * 2 : 4096;
        char *more = realloc(s->text, cap);
        if (!more)
            return PQ_LINE_NO_MEMORY;
        s->text = more;
        s->text_cap = cap;
    }
    s->text[s->text_len] = means;
    memcpy(s->text + s->text_len + 1, name, n);
    s->text[s->text_len + 1 + n] = 0;
    *slot = (uint32_t)s->text_len + 1; /* the name, not the byte before it: never 0 */
    s->text_len += n + 2;
    s->n_names++;
    return PQ_LINE_TAKEN;
}

static enum pq_target_line add_word(struct pq_target_set *s, const char *word)
{
    if (s->n_words == PQ_TARGET_KEYWORDS)
        return PQ_LINE_MANY;
    s->word[s->n_words] = strdup(word);
    return s->word[s->n_words] && ++s->n_words ? PQ_LINE_TAKEN : PQ_LINE_NO_MEMORY;
}

static bool entry_means(const struct pq_target_set *s, const char *name, size_t n, char what)
{
    const uint32_t *slot = find(s, name, n);
    return *slot && s->text[*slot - 1] & what;
}

bool pq_target_set_has_name(const struct pq_target_set *s, const char *name, size_t n)
{
    char low[NAME_LEN + 1];
    if (!n || n > NAME_LEN)
        return false;
    for (size_t i = 0; i < n; i++)
        low[i] = (char)tolower((unsigned char)name[i]);
    low[n] = 0;
    if (s->n_slots && entry_means(s, low, n, ITSELF))
        return true;
    for (const char *dot = strchr(low, '.'); s->n_slots && dot; dot = strchr(dot + 1, '.'))
        if (entry_means(s, dot + 1, n - (size_t)(dot + 1 - low), BELOW))
            return true;
    for (size_t i = 0; i < s->n_words; i++)
        if (strstr(low, s->word[i]))
            return true;
    return false;
}

/* ---- networks */

static enum pq_target_line add_net(struct pq_target_set *s, const struct pq_net *net)
{
    struct range6 r;
    for (unsigned i = 0; i < 16; i++) {
        const unsigned bits = net->bits > 8 * i ? net->bits - 8 * i : 0;
        const uint8_t mask = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
        r.from[i] = net->ip.ip[i] & mask;
        r.to[i] = (uint8_t)(net->ip.ip[i] | (uint8_t)~mask);
    }
    if (!pq_addr_is4(&net->ip)) {
        if (!grow(&s->v6, s->n6, &s->cap6, sizeof *s->v6))
            return PQ_LINE_NO_MEMORY;
        s->v6[s->n6++] = r;
        return PQ_LINE_TAKEN;
    }
    if (!grow(&s->v4, s->n4, &s->cap4, sizeof *s->v4))
        return PQ_LINE_NO_MEMORY;
    s->v4[s->n4].from = (uint32_t)r.from[12] << 24 | (uint32_t)r.from[13] << 16 |
                        (uint32_t)r.from[14] << 8 | r.from[15];
    s->v4[s->n4++].to =
        (uint32_t)r.to[12] << 24 | (uint32_t)r.to[13] << 16 | (uint32_t)r.to[14] << 8 | r.to[15];
    return PQ_LINE_TAKEN;
}

static int by_from4(const void *a, const void *b)
{
    const struct range4 *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static int by_from6(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* Whether b begins behind a with addresses between. */
static bool apart6(const struct range6 *a, const struct range6 *b)
{
    uint8_t next[16];
    memcpy(next, a->to, 16);
    for (int i = 15; i >= 0 && ++next[i] == 0; i--)
        if (i == 0)
            return false; /* a ends with the last address */
    return memcmp(b->from, next, 16) > 0;
}

static void merge4(struct pq_target_set *s)
{
    size_t n = 0;
    if (s->n4)
        qsort(s->v4, s->n4, sizeof *s->v4, by_from4);
    for (size_t i = 0; i < s->n4; i++) {
        const struct range4 r = s->v4[i];
        struct range4 *last = n ? &s->v4[n - 1] : NULL;
        if (!last || (last->to != UINT32_MAX && r.from > last->to + 1))
            s->v4[n++] = r;
        else if (r.to > last->to)
            last->to = r.to;
    }
    s->n4 = n;
}

static void merge6(struct pq_target_set *s)
{
    size_t n = 0;
    if (s->n6)
        qsort(s->v6, s->n6, sizeof *s->v6, by_from6);
    for (size_t i = 0; i < s->n6; i++) {
        const struct range6 r = s->v6[i];
        struct range6 *last = n ? &s->v6[n - 1] : NULL;
        if (!last || apart6(last, &r))
            s->v6[n++] = r;
        else if (memcmp(r.to, last->to, 16) > 0)
            memcpy(last->to, r.to, 16);
    }
    s->n6 = n;
}

static bool has4(const struct pq_target_set *s, uint32_t ip)
{
    size_t low = 0, high = s->n4; /* of the ranges that begin at or before it, the last */
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (s->v4[mid].from <= ip)
            low = mid + 1;
        else
            high = mid;
    }
    return low && ip <= s->v4[low - 1].to;
}

static bool has6(const struct pq_target_set *s, const uint8_t ip[16])
{
    size_t low = 0, high = s->n6;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (memcmp(s->v6[mid].from, ip, 16) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low && memcmp(ip, s->v6[low - 1].to, 16) <= 0;
}

bool pq_target_set_has_addr(const struct pq_target_set *s, const struct pq_addr *a)
{
    const uint8_t *b = pq_addr_v4(a);
    if (!pq_addr_is4(a))
        return has6(s, a->ip);
    return has4(s, (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
}

void pq_target_set_each(const struct pq_target_set *s,
                        void (*fn)(void *ctx, const struct pq_addr *from, const struct pq_addr *to),
                        void *ctx)
{
    struct pq_addr from, to;
    for (size_t i = 0; i < s->n4; i++) {
        const struct range4 *r = &s->v4[i];
        const uint8_t a[4] = {(uint8_t)(r->from >> 24), (uint8_t)(r->from >> 16),
                              (uint8_t)(r->from >> 8), (uint8_t)r->from};
        const uint8_t b[4] = {(uint8_t)(r->to >> 24), (uint8_t)(r->to >> 16), (uint8_t)(r->to >> 8),
                              (uint8_t)r->to};
        pq_addr_set4(&from, a, 0);
        pq_addr_set4(&to, b, 0);
        fn(ctx, &from, &to);
    }
    for (size_t i = 0; i < s->n6; i++) {
        pq_addr_set6(&from, s->v6[i].from, 0);
        pq_addr_set6(&to, s->v6[i].to, 0);
        fn(ctx, &from, &to);
    }
}

/* ---- lines */

/* A name of letters, digits, '-' and '_' between single dots, in lower case already. */
static bool is_name(const char *s)
{
    size_t label = 0;
    for (; *s; s++) {
        const bool dot = *s == '.';
        if (dot ? !label : !(isalnum((unsigned char)*s) || *s == '-' || *s == '_') || label == 63)
            return false;
        label = dot ? 0 : label + 1;
    }
    return label;
}

/* Whether the text begins with the word, which *at then is behind. */
static bool skip(const char **at, const char *word)
{
    const size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return false;
    *at += n;
    return true;
}

static enum pq_target_line add_text(struct pq_target_set *s, const char *text)
{
    struct pq_net net;
    char means = ITSELF | BELOW;
    if (s->n_names + s->n4 + s->n6 >= PQ_TARGET_SET_MAX || s->text_len > UINT32_MAX / 2)
        return PQ_LINE_MANY;
    if (pq_net_parse(&net, text) == 0)
        return add_net(s, &net);
    if (skip(&text, "regexp:"))
        return PQ_LINE_REGEXP;
    if (skip(&text, "keyword:"))
        return *text ? add_word(s, text) : PQ_LINE_WRONG;
    if (skip(&text, "full:"))
        means = ITSELF;
    else if (skip(&text, "*."))
        means = BELOW;
    else if (!skip(&text, "domain:") && !skip(&text, "+."))
        skip(&text, ".");
    size_t n = strlen(text);
    const char *last = strrchr(text, '.'); /* what ends in a number is a mistaken address */
    last = last ? last + 1 : text;
    if (n > NAME_LEN || !is_name(text) || strspn(last, "0123456789") == strlen(last))
        return PQ_LINE_WRONG;
    return add_name(s, text, n, means);
}

enum pq_target_line pq_target_set_add(struct pq_target_set *s, const char *p, size_t n)
{
    char text[NAME_LEN + 16] = "";
    size_t len = 0;
    while (n && isspace((unsigned char)*p)) {
        p++;
        n--;
    }
    if (n && strncmp(p, "regexp:", n < 7 ? n : 7) == 0 && n >= 7)
        return PQ_LINE_REGEXP; /* which may have any characters */
    for (; len < n && !isspace((unsigned char)p[len]) && p[len] != '#' && p[len] != '@'; len++) {
        if (len == sizeof text - 1 || !p[len])
            return PQ_LINE_WRONG;
        text[len] = (char)tolower((unsigned char)p[len]);
    }
    size_t rest = len;
    while (rest < n && isspace((unsigned char)p[rest]))
        rest++;
    if (rest < n && p[rest] != '#' && p[rest] != '@')
        return PQ_LINE_WRONG;
    if (len > 1 && len < n && p[len] == '@' && text[len - 1] == ':')
        len--; /* "domain:example.com:@attribute" */
    text[len] = 0;
    return len ? add_text(s, text) : PQ_LINE_EMPTY;
}

/* Gives back what an array was made longer than it had to be. */
static void trim(void *array, size_t n, size_t *cap, size_t size)
{
    void *was, *less;
    memcpy(&was, array, sizeof was);
    less = n && n < *cap ? realloc(was, n * size) : NULL;
    if (!less)
        return;
    memcpy(array, &less, sizeof less);
    *cap = n;
}

void pq_target_set_seal(struct pq_target_set *s)
{
    merge4(s);
    merge6(s);
    trim(&s->v4, s->n4, &s->cap4, sizeof *s->v4);
    trim(&s->v6, s->n6, &s->cap6, sizeof *s->v6);
    trim(&s->text, s->text_len, &s->text_cap, 1);
}

void pq_target_set_count(const struct pq_target_set *s, struct pq_target_count *out)
{
    *out = (struct pq_target_count){.names = s->n_names + s->n_words, .networks = s->n4 + s->n6};
    out->bytes = sizeof *s + s->text_cap + s->n_slots * sizeof *s->slot + s->cap4 * sizeof *s->v4 +
                 s->cap6 * sizeof *s->v6;
}
