/* SPDX-License-Identifier: MIT */
/* fuzz_header.c - the message at the start of a stream, of both families, and the extension of our
 * own: what is read stays in its bounds, does not depend on what follows, and is the same after it
 * has been written and read again. */
#include "fuzz.h"
#include "header/header.h"

static void check_request(const struct pq_request *r)
{
    FUZZ_CHECK(memchr(r->host, 0, sizeof r->host));
    FUZZ_CHECK(r->flags.n <= PQ_FLAGS_MAX);
    FUZZ_CHECK(r->type >= PQ_REQ_PING && r->type <= PQ_REQ_MEASURE);
}

static bool has_abilities(const struct pq_request *r)
{
    return r->type == PQ_REQ_PING || r->type == PQ_REQ_PONG;
}

/* Messages of our own, which family A and the oldest of B do not know. */
static bool is_own(const struct pq_request *r)
{
    return r->type == PQ_REQ_RESULT || r->type == PQ_REQ_MEASURE;
}

static void check_same(const struct pq_request *a, const struct pq_request *b)
{
    FUZZ_CHECK(a->type == b->type);
    if (a->type == PQ_REQ_TCP || a->type == PQ_REQ_UDP)
        FUZZ_CHECK(a->port == b->port && strcmp(a->host, b->host) == 0);
    if (a->type == PQ_REQ_MEASURE)
        FUZZ_CHECK(a->port == b->port);
    if (a->type == PQ_REQ_TCPF)
        FUZZ_CHECK(a->flags.n == b->flags.n &&
                   memcmp(a->flags.v, b->flags.v, a->flags.n * sizeof a->flags.v[0]) == 0);
    if (has_abilities(a))
        FUZZ_CHECK(a->abilities == b->abilities);
    if (a->type == PQ_REQ_RESULT)
        FUZZ_CHECK(a->result == b->result);
}

static void write_and_read(enum pq_family family, struct pq_request r)
{
    uint8_t buf[PQ_HEADER_MAX];
    struct pq_request again;
    enum pq_family its;
    size_t used;
    if (!has_abilities(&r))
        r.abilities = 0; /* may be read of other messages, and is not written */
    int len = pq_header_encode(family, &r, buf, sizeof buf);
    FUZZ_CHECK(len > 0 || (len == PQ_EINVAL && is_own(&r)));
    if (len <= 0)
        return;
    uint8_t *exact = fuzz_exact(buf, (size_t)len);
    FUZZ_CHECK(pq_header_decode(exact, (size_t)len, &again, &its, &used) == 0);
    free(exact);
    FUZZ_CHECK(used == (size_t)len && its == family);
    check_same(&r, &again);
}

static void decode(const uint8_t *p, size_t n)
{
    struct pq_request r, same;
    enum pq_family family;
    size_t used = 0, other;
    uint8_t *exact = fuzz_exact(p, n);
    int e = pq_header_decode(exact, n, &r, &family, &used);
    free(exact);
    FUZZ_CHECK(e == 0 || e == PQ_EMORE || e == PQ_EPROTO);
    if (e)
        return;
    FUZZ_CHECK(used > 0 && used <= n);
    check_request(&r);
    exact = fuzz_exact(p, used); /* without what follows */
    FUZZ_CHECK(pq_header_decode(exact, used, &same, &family, &other) == 0 && other == used);
    free(exact);
    check_same(&r, &same);
    exact = fuzz_exact(p, used - 1); /* and without its last byte */
    FUZZ_CHECK(pq_header_decode(exact, used - 1, &same, &family, &other) != 0);
    free(exact);
    write_and_read(family, r);
}

static void extension(const uint8_t *p, size_t n)
{
    uint8_t buf[PQ_EXT_MAX];
    uint8_t *exact = fuzz_exact(p, n);
    uint32_t abilities = pq_ext_decode(exact, n);
    free(exact);
    FUZZ_CHECK(!(abilities & ~(uint32_t)PQ_ABLE_ALL));
    FUZZ_CHECK(!abilities || abilities & PQ_ABLE_HELLO);
    size_t len = pq_ext_encode(abilities, buf);
    FUZZ_CHECK(!abilities || pq_ext_decode(buf, len) == abilities);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    decode(p, n);
    extension(p, n);
    return 0;
}
