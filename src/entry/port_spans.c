/* SPDX-License-Identifier: MIT */
#include "entry/port_spans.h"

#include "base/err.h"

#include <string.h>

struct at_port {                  /* what holds between two points */
    struct pq_spans direct, kept; /* see pq_split_direct */
    struct pq_spans more;         /* of these what does not go directly without a port */
    struct pq_spans less;         /* what does not go directly here, and would */
};

static const struct pq_spans *all_addresses(void)
{
    static struct pq_ip_span v[] = {
        {{0}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 255, 255, 255, 255}},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0},
         {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 255, 255, 255, 255}},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
         {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
    };
    static const struct pq_spans all = {.v = v, .n = sizeof v / sizeof v[0]};
    return &all;
}

/* Adds a list as networks; `counted`: only counts them, up to one more than there may be. */
static int add(struct pq_port_spans *out, struct pq_range ports, const struct pq_spans *s,
               bool direct, size_t *counted)
{
    struct pq_spans joined = {.v = NULL};
    int e = pq_spans_join6(&joined, s);
    for (size_t i = 0; !e && i < joined.n; i++) {
        struct pq_ip_span rest = joined.v[i];
        struct pq_port_span p = {.ports = ports, .direct = direct};
        bool more = true;
        while (more && !e) {
            more = pq_span_net(&rest, &p.net);
            if (counted)
                more = ++*counted <= PQ_PORT_SPANS_MAX && more;
            else if (out->n == PQ_PORT_SPANS_MAX)
                e = PQ_EINVAL;
            else
                out->v[out->n++] = p;
        }
    }
    pq_spans_free(&joined);
    return e;
}

static int count(size_t *n, const struct pq_spans *a, const struct pq_spans *b)
{
    const struct pq_range any = {0, 0};
    *n = 0;
    const int e = add(NULL, any, a, true, n);
    return e ? e : add(NULL, any, b, true, n);
}

/* All that goes directly first: then what is kept may be whatever is left.  Or only what differs.
 */
static int add_class(struct pq_port_spans *out, struct pq_range ports, const struct at_port *c,
                     bool names)
{
    const struct pq_spans *rest = names ? &c->less : all_addresses();
    if (!c->more.n && !c->less.n)
        return 0;
    rest = c->less.n ? rest : &c->less;
    size_t whole, changes;
    int e = count(&whole, &c->direct, rest);
    e = e ? e : count(&changes, &c->more, &c->less);
    if (e)
        return e;
    const bool all = whole <= changes;
    e = add(out, ports, all ? &c->direct : &c->more, true, NULL);
    return e ? e : add(out, ports, all ? rest : &c->less, false, NULL);
}

static int make_class(struct pq_port_spans *out, struct pq_range ports, const struct pq_split *s,
                      const struct pq_spans *without)
{
    struct at_port c = {.direct = {.v = NULL}};
    const bool names = pq_split_has_names(s);
    int e = pq_split_direct(s, ports.from, &c.direct, &c.kept);
    e = e ? e : pq_spans_minus(&c.more, &c.direct, without);
    e = e ? e : pq_spans_minus(&c.less, without, &c.direct);
    if (!e && names)
        e = pq_spans_add_all(&c.less, &c.kept);
    pq_spans_seal(&c.less);
    e = e ? e : add_class(out, ports, &c, names);
    pq_spans_free(&c.direct);
    pq_spans_free(&c.kept);
    pq_spans_free(&c.more);
    pq_spans_free(&c.less);
    return e;
}

int pq_port_spans_make(const struct pq_split *s, struct pq_port_spans *out)
{
    uint16_t from[PQ_PORT_POINTS];
    struct pq_spans without = {.v = NULL};
    out->n = 0;
    if (!pq_split_has_ports(s))
        return 0;
    const size_t n = pq_split_port_points(s, from, PQ_PORT_POINTS);
    int e = n > PQ_PORT_POINTS ? PQ_EINVAL : pq_split_direct(s, 0, &without, NULL);
    for (size_t i = 0; !e && i < n; i++) {
        const uint16_t to = i + 1 < n ? (uint16_t)(from[i + 1] - 1) : UINT16_MAX;
        e = make_class(out, (struct pq_range){from[i], to}, s, &without);
    }
    pq_spans_free(&without);
    if (e)
        out->n = 0;
    return e;
}
