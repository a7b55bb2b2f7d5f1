/* SPDX-License-Identifier: MIT */
#include "header/dns.h"

#include "base/bytes.h"
#include "base/err.h"

#include <ctype.h>

#define TYPE_A      1
#define TYPE_AAAA   28
#define TYPE_OPT    41
#define CLASS_IN    1
#define RCODE(p)    ((p)[3] & 15)
#define TTL_MAX     86400 /* kept no longer */
#define LABEL_MAX   63
#define RCODE_FAIL  2
#define RCODE_NAME  3 /* there is no such name */
#define RECORDS_MAX 4096

enum { AT_FLAGS = 2, AT_COUNTS = 4, QUESTION_TAIL = 4 };

uint16_t pq_dns_id(const uint8_t *p)
{
    return pq_be16(p);
}

void pq_dns_set_id(uint8_t *p, uint16_t id)
{
    pq_put_be16(p, id);
}

/* ---- reading */

static void skip_name(struct pq_rd *r)
{
    for (;;) {
        const uint8_t len = pq_rd_u8(r);
        if (r->bad || !len)
            return;
        if (len >= 0xc0) { /* the rest is elsewhere */
            pq_rd_u8(r);
            return;
        }
        if (len > LABEL_MAX)
            r->bad = true;
        pq_rd_bytes(r, len);
    }
}

struct record {
    uint16_t type, class;
    const uint8_t *ttl; /* four bytes */
    const uint8_t *data;
    uint16_t n_data;
};

struct walk {
    struct pq_rd r;
    unsigned records; /* that are still to come */
};

/* Steps over the header and the one question.  Returns false if it has not just one. */
static bool begin(struct walk *w, const uint8_t *p, size_t n)
{
    w->r = pq_rd_init(p, n);
    if (n < PQ_DNS_HEAD || pq_be16(p + AT_COUNTS) != 1)
        return false;
    w->records = (unsigned)pq_be16(p + 6) + pq_be16(p + 8) + pq_be16(p + 10);
    pq_rd_bytes(&w->r, PQ_DNS_HEAD);
    skip_name(&w->r);
    pq_rd_bytes(&w->r, QUESTION_TAIL);
    return !w->r.bad && w->records <= RECORDS_MAX;
}

/* The next record.  Returns false at the end, or where the message is broken: then w->r.bad. */
static bool next(struct walk *w, struct record *out)
{
    if (!w->records || w->r.bad)
        return false;
    w->records--;
    skip_name(&w->r);
    out->type = pq_rd_be16(&w->r);
    out->class = pq_rd_be16(&w->r);
    out->ttl = pq_rd_bytes(&w->r, 4);
    out->n_data = pq_rd_be16(&w->r);
    out->data = pq_rd_bytes(&w->r, out->n_data);
    return !w->r.bad;
}

int pq_dns_read_query(const uint8_t *p, size_t n, struct pq_dns_query *out)
{
    struct walk w;
    struct record rec;
    if (!begin(&w, p, n) || p[AT_FLAGS] & 0xf8) /* an answer, or another kind of request */
        return PQ_EPROTO;
    *out = (struct pq_dns_query){.question = (size_t)(w.r.p - p), .udp_max = PQ_DNS_UDP_MIN};
    while (next(&w, &rec))
        if (rec.type == TYPE_OPT && rec.class > PQ_DNS_UDP_MIN)
            out->udp_max = rec.class;
    if (out->udp_max > PQ_DNS_UDP_MAX)
        out->udp_max = PQ_DNS_UDP_MAX;
    return w.r.bad ? PQ_EPROTO : 0;
}

bool pq_dns_name(const uint8_t *p, const struct pq_dns_query *q, char out[PQ_DNS_NAME_MAX + 1])
{
    struct pq_rd r = pq_rd_init(p + PQ_DNS_HEAD, q->question - PQ_DNS_HEAD);
    size_t at = 0;
    uint8_t len;
    *out = 0;
    while ((len = pq_rd_u8(&r)) && len <= LABEL_MAX) {
        const uint8_t *label = pq_rd_bytes(&r, len);
        if (r.bad || at + len + (at != 0) > PQ_DNS_NAME_MAX)
            break;
        if (at)
            out[at++] = '.';
        for (uint8_t i = 0; i < len; i++, at++) {
            out[at] = (char)tolower(label[i]);
            if (!isalnum(label[i]) && label[i] != '-' && label[i] != '_')
                r.bad = true;
        }
        if (r.bad)
            break;
    }
    const bool whole = !len && !r.bad && at;
    out[whole ? at : 0] = 0;
    return whole;
}

bool pq_dns_answers(const uint8_t *p, size_t n, const uint8_t *query, const struct pq_dns_query *q)
{
    struct walk w;
    struct record rec;
    if (!begin(&w, p, n) || (p[AT_FLAGS] & 0xf8) != 0x80)
        return false;
    if ((size_t)(w.r.p - p) != q->question ||
        memcmp(p + PQ_DNS_HEAD, query + PQ_DNS_HEAD, q->question - PQ_DNS_HEAD) != 0)
        return false;
    while (next(&w, &rec))
        continue;
    return !w.r.bad;
}

unsigned pq_dns_addrs(const uint8_t *p, size_t n, struct pq_dns_addr out[PQ_DNS_ADDRS_MAX])
{
    struct walk w;
    struct record rec;
    unsigned found = 0;
    if (!begin(&w, p, n))
        return 0;
    w.records = pq_be16(p + AT_COUNTS + 2); /* those of the answer alone */
    while (found < PQ_DNS_ADDRS_MAX && next(&w, &rec)) {
        struct pq_dns_addr *a = &out[found];
        a->ttl = pq_be32(rec.ttl);
        if (rec.class != CLASS_IN)
            continue;
        if (rec.type == TYPE_A && rec.n_data == 4)
            pq_addr_set4(&a->ip, rec.data, 0);
        else if (rec.type == TYPE_AAAA && rec.n_data == 16)
            pq_addr_set6(&a->ip, rec.data, 0);
        else
            continue;
        found++;
    }
    return found;
}

uint32_t pq_dns_ttl(const uint8_t *p, size_t n)
{
    struct walk w;
    struct record rec;
    uint32_t least = TTL_MAX;
    bool any = false;
    if (!begin(&w, p, n) || (RCODE(p) != 0 && RCODE(p) != RCODE_NAME) || p[AT_FLAGS] & 2)
        return 0;
    while (next(&w, &rec)) {
        if (rec.type == TYPE_OPT)
            continue;
        any = true;
        least = pq_be32(rec.ttl) < least ? pq_be32(rec.ttl) : least;
    }
    return any && !w.r.bad ? least : 0;
}

/* ---- changing */

void pq_dns_age(uint8_t *p, size_t n, uint32_t seconds)
{
    struct walk w;
    struct record rec;
    if (!begin(&w, p, n))
        return;
    while (next(&w, &rec)) {
        const uint32_t ttl = pq_be32(rec.ttl);
        if (rec.type != TYPE_OPT)
            pq_put_be32(p + (rec.ttl - p), ttl > seconds ? ttl - seconds : 0);
    }
}

void pq_dns_write_empty(uint8_t *out, const uint8_t *query, const struct pq_dns_query *q,
                        enum pq_dns_empty what)
{
    static const uint8_t codes[] = {
        [PQ_DNS_TRUNCATED] = 0, [PQ_DNS_FAILED] = RCODE_FAIL, [PQ_DNS_NO_NAME] = RCODE_NAME};
    memcpy(out, query, q->question);
    out[AT_FLAGS] = (uint8_t)(0x80 | (query[AT_FLAGS] & 1) | (what == PQ_DNS_TRUNCATED ? 2 : 0));
    out[AT_FLAGS + 1] = (uint8_t)(0x80 | codes[what]);
    memset(out + AT_COUNTS + 2, 0, 6);
}
