/* SPDX-License-Identifier: MIT */
#include "os/linux/nlmsg.h"

#include "base/err.h"

#include <linux/netlink.h>

#define ERRNO_MAX 4095 /* the kernel's MAX_ERRNO */

_Static_assert(NLMSG_ALIGNTO == 4 && NLA_ALIGNTO == 4, "one alignment for all");

static size_t aligned(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

/* ---- writing */

struct pq_nl_out pq_nl_out_init(void *buf, size_t cap)
{
    return (struct pq_nl_out){.buf = buf, .cap = cap};
}

/* Appends n bytes and what aligns the next ones.  Returns where they are, NULL if they do not fit.
 * `p` may be NULL: zeros. */
static uint8_t *append(struct pq_nl_out *o, const void *p, size_t n)
{
    if (o->bad || n > o->cap || aligned(n) > o->cap - o->len) {
        o->bad = true;
        return NULL;
    }
    uint8_t *at = o->buf + o->len;
    memset(at, 0, aligned(n));
    if (p && n)
        memcpy(at, p, n);
    o->len += aligned(n);
    return at;
}

/* The header says how long the message is, after each piece. */
static void set_length(struct pq_nl_out *o)
{
    const uint32_t len = (uint32_t)(o->len - o->msg);
    if (!o->bad)
        memcpy(o->buf + o->msg + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof len);
}

void pq_nl_begin(struct pq_nl_out *o, uint16_t type, uint16_t flags, const void *head, size_t n)
{
    const struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
    o->msg = o->len;
    append(o, &h, sizeof h);
    append(o, head, n);
    set_length(o);
}

void pq_nl_add_flags(struct pq_nl_out *o, uint16_t flags)
{
    uint16_t now;
    uint8_t *at = o->buf + o->msg + offsetof(struct nlmsghdr, nlmsg_flags);
    if (o->bad)
        return;
    memcpy(&now, at, sizeof now);
    now |= flags;
    memcpy(at, &now, sizeof now);
}

void pq_nl_put(struct pq_nl_out *o, uint16_t type, const void *p, size_t n)
{
    const struct nlattr h = {.nla_type = type, .nla_len = (uint16_t)(sizeof h + n)};
    if (n > UINT16_MAX - sizeof h)
        o->bad = true;
    append(o, &h, sizeof h);
    append(o, p, n);
    set_length(o);
}

void pq_nl_put_u8(struct pq_nl_out *o, uint16_t type, uint8_t v)
{
    pq_nl_put(o, type, &v, sizeof v);
}

void pq_nl_put_u32(struct pq_nl_out *o, uint16_t type, uint32_t v)
{
    pq_nl_put(o, type, &v, sizeof v);
}

void pq_nl_put_be32(struct pq_nl_out *o, uint16_t type, uint32_t v)
{
    uint8_t be[4];
    pq_put_be32(be, v);
    pq_nl_put(o, type, be, sizeof be);
}

void pq_nl_put_str(struct pq_nl_out *o, uint16_t type, const char *text)
{
    pq_nl_put(o, type, text, strlen(text) + 1);
}

void pq_nl_put_addr(struct pq_nl_out *o, uint16_t type, const struct pq_addr *a)
{
    if (pq_addr_is4(a))
        pq_nl_put(o, type, pq_addr_v4(a), 4);
    else
        pq_nl_put(o, type, a->ip, 16);
}

size_t pq_nl_nest(struct pq_nl_out *o, uint16_t type)
{
    const size_t place = o->len;
    pq_nl_put(o, NLA_F_NESTED | type, NULL, 0);
    return place;
}

void pq_nl_nest_end(struct pq_nl_out *o, size_t place)
{
    if (!o->bad && o->len - place > UINT16_MAX)
        o->bad = true;
    const uint16_t len = (uint16_t)(o->len - place);
    if (!o->bad)
        memcpy(o->buf + place + offsetof(struct nlattr, nla_len), &len, sizeof len);
}

/* ---- reading */

/* Takes n bytes, and what aligns the next ones, off `rest`; what aligns may be missing at the end.
 */
static void skip(struct pq_view *rest, size_t n)
{
    const size_t step = aligned(n) < rest->n ? aligned(n) : rest->n;
    rest->p += step;
    rest->n -= step;
}

bool pq_nl_next(struct pq_view *rest, struct pq_nl_msg *m)
{
    struct nlmsghdr h;
    if (rest->n < sizeof h)
        return false;
    memcpy(&h, rest->p, sizeof h);
    if (h.nlmsg_len < sizeof h || h.nlmsg_len > rest->n)
        return false;
    *m = (struct pq_nl_msg){.type = h.nlmsg_type,
                            .flags = h.nlmsg_flags,
                            .seq = h.nlmsg_seq,
                            .port = h.nlmsg_pid,
                            .body = {rest->p + sizeof h, h.nlmsg_len - sizeof h}};
    skip(rest, h.nlmsg_len);
    return true;
}

bool pq_nl_verdict(const struct pq_nl_msg *m, int *e)
{
    int32_t code = 0;
    if (m->type != NLMSG_ERROR && m->type != NLMSG_DONE)
        return false;
    if (m->body.n >= sizeof code)
        memcpy(&code, m->body.p, sizeof code);
    else if (m->type == NLMSG_ERROR)
        code = 1;
    *e = code > 0 || code < -ERRNO_MAX ? PQ_EPROTO : code;
    return true;
}

bool pq_nl_attr(struct pq_view *rest, unsigned *type, struct pq_view *v)
{
    struct nlattr h;
    if (rest->n < sizeof h)
        return false;
    memcpy(&h, rest->p, sizeof h);
    if (h.nla_len < sizeof h || h.nla_len > rest->n)
        return false;
    *type = h.nla_type & (unsigned)NLA_TYPE_MASK;
    *v = (struct pq_view){rest->p + sizeof h, h.nla_len - sizeof h};
    skip(rest, h.nla_len);
    return true;
}

void pq_nl_attrs_read(struct pq_nl_attrs *a, struct pq_view bytes)
{
    struct pq_view v;
    *a = (struct pq_nl_attrs){0};
    for (unsigned type; pq_nl_attr(&bytes, &type, &v);)
        if (type < PQ_NL_ATTRS)
            a->v[type] = v;
}

bool pq_nl_head(const struct pq_nl_msg *m, void *head, size_t n, struct pq_nl_attrs *a)
{
    struct pq_view rest = m->body;
    if (rest.n < n)
        return false;
    memcpy(head, rest.p, n);
    skip(&rest, n);
    pq_nl_attrs_read(a, rest);
    return true;
}

uint32_t pq_nl_u32(struct pq_view v)
{
    uint32_t number = 0;
    if (v.p && v.n == sizeof number)
        memcpy(&number, v.p, sizeof number);
    return number;
}

bool pq_nl_addr(struct pq_addr *a, struct pq_view v)
{
    if (!v.p)
        return false;
    if (v.n == 4)
        pq_addr_set4(a, v.p, 0);
    else if (v.n == 16)
        pq_addr_set6(a, v.p, 0);
    return v.n == 4 || v.n == 16;
}

void pq_nl_str(char *out, size_t cap, struct pq_view v)
{
    size_t n = 0;
    for (; n < v.n && n < cap - 1 && v.p[n]; n++)
        out[n] = (char)v.p[n];
    out[n] = 0;
}
