/* SPDX-License-Identifier: MIT */
/* fuzz_netlink.c - what a netlink socket says, read as lists of interfaces, addresses, routes,
 * neighbours and tables.  Each message and each value of an attribute lies in the bytes; a message
 * written from what was read is read again as the same.  By the rules and sets that were read, each
 * port is let in or kept out, whatever jumps where. */
#include "base/err.h"
#include "fuzz.h"
#include "os/linux/nft_judge.h"
#include "os/linux/rtmsg.h"

#include <linux/netlink.h>

static void read_attrs(const struct pq_nl_attrs *a, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < PQ_NL_ATTRS; i++) {
        struct pq_nl_attrs inner;
        struct pq_addr addr;
        char text[16];
        struct pq_view v = a->v[i];
        if (!v.p)
            continue;
        FUZZ_CHECK(fuzz_inside(v, p, n));
        fuzz_touch(v);
        FUZZ_CHECK(pq_nl_addr(&addr, v) == (v.n == 4 || v.n == 16));
        pq_nl_u32(v);
        pq_nl_str(text, sizeof text, v);
        FUZZ_CHECK(memchr(text, 0, sizeof text));
        pq_nl_attrs_read(&inner, v);
        for (size_t k = 0; k < PQ_NL_ATTRS; k++)
            FUZZ_CHECK(!inner.v[k].p || fuzz_inside(inner.v[k], v.p, v.n));
    }
}

/* Writes the attributes again, in a buffer that may be too small. */
static void write_again(const struct pq_nl_msg *m, const struct pq_nl_attrs *a, size_t cap)
{
    uint8_t *buf = malloc(cap ? cap : 1);
    FUZZ_CHECK(buf);
    struct pq_nl_out o = pq_nl_out_init(buf, cap);
    pq_nl_begin(&o, m->type, m->flags, NULL, 8);
    for (uint16_t i = 0; i < PQ_NL_ATTRS; i++)
        if (a->v[i].p)
            pq_nl_put(&o, i, a->v[i].p, a->v[i].n);
    FUZZ_CHECK(o.len <= cap);
    if (!o.bad) {
        struct pq_view rest = {buf, o.len};
        struct pq_nl_msg again;
        struct pq_nl_attrs b;
        uint8_t head[8];
        FUZZ_CHECK(pq_nl_next(&rest, &again) && rest.n == 0);
        FUZZ_CHECK(again.type == m->type && pq_nl_head(&again, head, sizeof head, &b));
        for (size_t i = 0; i < PQ_NL_ATTRS; i++) {
            FUZZ_CHECK(!b.v[i].p == !a->v[i].p && b.v[i].n == a->v[i].n);
            FUZZ_CHECK(!b.v[i].n || memcmp(b.v[i].p, a->v[i].p, b.v[i].n) == 0);
        }
    }
    free(buf);
}

static void read_message(const struct pq_nl_msg *m, const uint8_t *p, size_t n, size_t cap)
{
    static const size_t heads[] = {4, 8, 12, 16, 20}; /* of all that we ask for */
    struct pq_iface iface;
    struct pq_iface_addr addr;
    struct pq_rt_route route;
    struct pq_rt_neigh neigh;
    struct pq_rt_tc tc;
    struct pq_rt_chain chain;
    struct pq_nft_base base;
    struct pq_nft_seen rule;
    struct pq_nft_element element;
    struct pq_nl_attrs a;
    uint8_t head[20];
    int e = 0, index;
    if (pq_nl_verdict(m, &e))
        FUZZ_CHECK(e <= 0);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        if (!pq_nl_head(m, head, heads[i], &a))
            continue;
        read_attrs(&a, p, n);
        write_again(m, &a, cap);
    }
    if (pq_rt_link(&iface, m))
        FUZZ_CHECK(memchr(iface.name, 0, sizeof iface.name) && iface.n == 0);
    pq_rt_addr(&addr, &index, m);
    pq_rt_route(&route, m);
    pq_rt_neigh(&neigh, m);
    pq_rt_xdp(m);
    if (pq_rt_tc(&tc, m))
        FUZZ_CHECK(memchr(tc.kind, 0, sizeof tc.kind));
    if (pq_nft_read_base(&base, m, 1))
        FUZZ_CHECK(memchr(base.table, 0, sizeof base.table) &&
                   memchr(base.name, 0, sizeof base.name));
    if (pq_nft_read_rule(&rule, m))
        FUZZ_CHECK(rule.n_ports <= PQ_NFT_SEEN_PORTS && rule.n_looks <= PQ_NFT_LOOKS &&
                   rule.map <= rule.n_looks && memchr(rule.verdict.to, 0, sizeof rule.verdict.to) &&
                   memchr(rule.device, 0, sizeof rule.device) &&
                   memchr(rule.asks, 0, sizeof rule.asks));
    if (pq_nl_head(m, head, 4, &a))
        for (struct pq_view rest = a.v[3]; pq_nft_read_element(&rest, &element);)
            FUZZ_CHECK(rest.n < m->body.n &&
                       memchr(element.verdict.to, 0, sizeof element.verdict.to));
    if (pq_rt_chain_at_egress(&chain, m, "eth0"))
        FUZZ_CHECK(memchr(chain.table, 0, sizeof chain.table) &&
                   memchr(chain.name, 0, sizeof chain.name));
}

enum { RULES = 8, PORTS = 4 };

struct table { /* as the messages tell it */
    struct pq_nft_seen rule[RULES];
    size_t n;
    struct pq_view set[RULES]; /* elements: the last digit of a name tells whose these are */
    size_t n_sets;
};

static bool elements_of(void *ctx, const char *name, struct pq_view *out)
{
    const struct table *t = ctx;
    const size_t len = strlen(name), nth = len ? (uint8_t)(name[len - 1] - '0') : 0;
    if (nth >= t->n_sets)
        return false;
    *out = t->set[nth];
    return true;
}

static void add_to(struct table *t, const struct pq_nl_msg *m)
{
    struct pq_nl_attrs a;
    uint8_t head[4];
    if (t->n < RULES && pq_nft_read_rule(&t->rule[t->n], m))
        t->n++;
    else if (t->n_sets < RULES && pq_nl_head(m, head, sizeof head, &a) && a.v[3].p)
        t->set[t->n_sets++] = a.v[3];
}

/* Rules of the kernel's do not jump in a circle; these may, and it ends. */
static void judge(const struct table *t, bool drops)
{
    struct pq_nft_port port[PORTS] = {{.port = 443}, {.port = 7443}, {.port = 53, .udp = true}};
    struct pq_nft_judge j = {.rule = t->rule,
                             .n = t->n,
                             .elements = elements_of,
                             .ctx = (void *)t,
                             .port = port,
                             .n_ports = PORTS};
    struct pq_nft_base base = {.drops = drops};
    for (size_t i = 0; i < t->n; i++) {
        memcpy(base.name, t->rule[i].chain, sizeof base.name);
        FUZZ_CHECK(pq_nft_judge(&j, &base) == 0 && j.n_whys <= PQ_NFT_WHYS);
        for (unsigned k = 0; k < PORTS; k++) { /* each is decided, and once */
            const uint8_t out = port[k].met & (PQ_NFT_OUT | PQ_NFT_OUT_BY_NAME);
            FUZZ_CHECK(!out != !(port[k].met & PQ_NFT_IN));
            FUZZ_CHECK(out != (PQ_NFT_OUT | PQ_NFT_OUT_BY_NAME));
            FUZZ_CHECK(port[k].some_in < j.n_whys && port[k].some_out < j.n_whys);
            FUZZ_CHECK(port[k].maybe_in < j.n_whys && port[k].maybe_out < j.n_whys &&
                       port[k].maybe_by_name < j.n_whys);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    const size_t cap = fuzz_u16(&in);
    const size_t len = fuzz_left(&in);
    uint8_t *copy = fuzz_exact(in.p, len);
    struct pq_view rest = {copy, len};
    struct pq_nl_msg m;
    static struct table t;
    t.n = t.n_sets = 0;
    while (pq_nl_next(&rest, &m)) {
        FUZZ_CHECK(fuzz_inside(m.body, copy, len) && rest.n < len);
        read_message(&m, copy, len, cap);
        add_to(&t, &m);
    }
    FUZZ_CHECK(fuzz_inside(rest, copy, len));
    judge(&t, cap & 1);
    free(copy);
    return 0;
}
