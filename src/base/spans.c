/* SPDX-License-Identifier: MIT */
#include "base/spans.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static const struct pq_ip_span all4 = {
    .from = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
    .to = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

bool pq_ip_next(uint8_t ip[16])
{
    int i = 15;
    while (i >= 0 && ++ip[i] == 0)
        i--;
    return i >= 0;
}

bool pq_ip_before(uint8_t ip[16])
{
    int i = 15;
    while (i >= 0 && ip[i]-- == 0)
        i--;
    return i >= 0;
}

static int cmp(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16);
}

bool pq_span_is4(const struct pq_ip_span *s)
{
    return memcmp(s->from, all4.from, 12) == 0;
}

void pq_spans_free(struct pq_spans *s)
{
    free(s->v);
    *s = (struct pq_spans){.v = NULL};
}

static int append(struct pq_spans *s, const uint8_t from[16], const uint8_t to[16])
{
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 16;
        struct pq_ip_span *v = realloc(s->v, cap * sizeof *v);
        if (!v)
            return PQ_ENOMEM;
        s->v = v;
        s->cap = cap;
    }
    memcpy(s->v[s->n].from, from, 16);
    memcpy(s->v[s->n++].to, to, 16);
    return 0;
}

int pq_spans_add(struct pq_spans *s, const uint8_t from[16], const uint8_t to[16])
{
    struct pq_ip_span below, above;
    memcpy(below.to, all4.from, 16);
    memcpy(above.from, all4.to, 16);
    pq_ip_before(below.to);
    pq_ip_next(above.from);
    int e = 0;
    if (cmp(from, all4.from) < 0)
        e = append(s, from, cmp(to, below.to) < 0 ? to : below.to);
    if (!e && cmp(from, all4.to) <= 0 && cmp(to, all4.from) >= 0)
        e = append(s, cmp(from, all4.from) > 0 ? from : all4.from,
                   cmp(to, all4.to) < 0 ? to : all4.to);
    if (!e && cmp(to, all4.to) > 0)
        e = append(s, cmp(from, above.from) > 0 ? from : above.from, to);
    return e;
}

void pq_span_of(struct pq_ip_span *out, const struct pq_net *net)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned bits = net->bits > 8 * i ? net->bits - 8 * i : 0;
        const uint8_t mask = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
        out->from[i] = net->ip.ip[i] & mask;
        out->to[i] = (uint8_t)(net->ip.ip[i] | (uint8_t)~mask);
    }
}

int pq_spans_add_net(struct pq_spans *s, const struct pq_net *net)
{
    struct pq_ip_span r;
    pq_span_of(&r, net);
    const size_t n = s->n;
    int e = pq_spans_add(s, r.from, r.to);
    if (pq_addr_is4(&net->ip))
        return e;
    for (size_t i = n; i < s->n; i++) /* a large network of IPv6 has no IPv4 in it */
        if (pq_span_is4(&s->v[i]))
            s->v[i--] = s->v[--s->n];
    return e;
}

int pq_spans_add_all(struct pq_spans *s, const struct pq_spans *more)
{
    int e = 0;
    for (size_t i = 0; !e && i < more->n; i++)
        e = append(s, more->v[i].from, more->v[i].to);
    return e;
}

static int by_from(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* Whether b, which does not begin before a, overlaps with it or follows it at once. */
static bool joins(const struct pq_ip_span *a, const struct pq_ip_span *b)
{
    uint8_t next[16];
    memcpy(next, a->to, 16);
    if (pq_span_is4(a) != pq_span_is4(b))
        return false;
    return !pq_ip_next(next) || cmp(b->from, next) <= 0;
}

void pq_spans_seal(struct pq_spans *s)
{
    size_t n = 0;
    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, by_from);
    for (size_t i = 0; i < s->n; i++) {
        const struct pq_ip_span r = s->v[i];
        if (!n || !joins(&s->v[n - 1], &r))
            s->v[n++] = r;
        else if (cmp(r.to, s->v[n - 1].to) > 0)
            memcpy(s->v[n - 1].to, r.to, 16);
    }
    s->n = n;
}

/* What is left of one range; *k: the first of b that may matter, also for the next one. */
static int cut(struct pq_spans *out, struct pq_ip_span r, const struct pq_spans *b, size_t *k)
{
    while (*k < b->n && cmp(b->v[*k].to, r.from) < 0)
        ++*k;
    for (size_t i = *k; i < b->n && cmp(b->v[i].from, r.to) <= 0; i++) {
        if (cmp(b->v[i].from, r.from) > 0) {
            uint8_t to[16];
            memcpy(to, b->v[i].from, 16);
            pq_ip_before(to);
            if (append(out, r.from, to))
                return PQ_ENOMEM;
        }
        if (cmp(b->v[i].to, r.to) >= 0)
            return 0;
        memcpy(r.from, b->v[i].to, 16);
        pq_ip_next(r.from);
    }
    return append(out, r.from, r.to);
}

int pq_spans_minus(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b)
{
    int e = 0;
    size_t k = 0;
    for (size_t i = 0; !e && i < a->n; i++)
        e = cut(out, a->v[i], b, &k);
    if (e)
        pq_spans_free(out);
    return e;
}

int pq_spans_and(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b)
{
    struct pq_spans rest = {.v = NULL};
    int e = pq_spans_minus(&rest, a, b);
    if (!e)
        e = pq_spans_minus(out, a, &rest);
    pq_spans_free(&rest);
    return e;
}

int pq_spans_new(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b)
{
    int e = 0;
    size_t k = 0;
    for (size_t i = 0; !e && i < a->n; i++) {
        while (k < b->n && cmp(b->v[k].from, a->v[i].from) < 0)
            k++;
        if (k == b->n || memcmp(&b->v[k], &a->v[i], sizeof a->v[i]) != 0)
            e = append(out, a->v[i].from, a->v[i].to);
    }
    if (e)
        pq_spans_free(out);
    return e;
}

bool pq_span_net(struct pq_ip_span *s, struct pq_net *net)
{
    uint8_t last[16];
    unsigned host = 0; /* bits */
    memcpy(last, s->from, 16);
    while (host < 128 && !(last[15 - host / 8] & 1u << host % 8)) {
        uint8_t more[16];
        memcpy(more, last, 16);
        more[15 - host / 8] |= (uint8_t)(1u << host % 8);
        if (cmp(more, s->to) > 0)
            break;
        memcpy(last, more, 16);
        host++;
    }
    memcpy(net->ip.ip, s->from, 16);
    net->ip.port = 0;
    net->bits = (uint8_t)(128 - host);
    if (cmp(last, s->to) >= 0)
        return false;
    memcpy(s->from, last, 16);
    return pq_ip_next(s->from);
}

bool pq_spans_has(const struct pq_spans *s, const struct pq_addr *a)
{
    size_t low = 0, high = s->n; /* of the ranges that begin at or before it, the last */
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (cmp(s->v[mid].from, a->ip) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low && cmp(a->ip, s->v[low - 1].to) <= 0;
}

int pq_spans_join6(struct pq_spans *out, const struct pq_spans *s)
{
    uint8_t below[16], above[16];
    size_t low = SIZE_MAX; /* the range that ends where IPv4 begins */
    int e = 0;
    memcpy(below, all4.from, 16);
    memcpy(above, all4.to, 16);
    pq_ip_before(below);
    pq_ip_next(above);
    for (size_t i = 0; !e && i < s->n; i++) {
        const struct pq_ip_span *v = &s->v[i];
        if (low != SIZE_MAX && cmp(v->from, above) == 0)
            memcpy(out->v[low].to, v->to, 16);
        else
            e = append(out, v->from, v->to);
        if (!e && !pq_span_is4(v) && cmp(v->to, below) == 0)
            low = out->n - 1;
    }
    if (e)
        pq_spans_free(out);
    return e;
}
