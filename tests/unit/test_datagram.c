/* SPDX-License-Identifier: MIT */
/* test_datagram.c - datagrams beside the stream [8.7]: vectors, numbers against a naive model, cut
 * and damaged packets, the bound of the queue. */
#include "tunnel/datagram.h"

#include "unit.h"
#include "vectors.h"

#define CONV 0x11223344U
#define SPAN 1024 /* numbers that the receiver remembers */

/* A packet as [8.7] says, from the text, not from the code under test.  Returns its bytes. */
static size_t build(uint8_t *p, uint32_t conv, uint32_t number, uint32_t stream, const void *data,
                    size_t n)
{
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xf3, 0};
    memcpy(p, head, sizeof head);
    pq_put_le16(p + 6, (uint16_t)(14 + n));
    pq_put_le32(p + 8, conv);
    pq_put_le32(p + 12, number);
    pq_put_le32(p + 16, stream);
    if (n)
        memcpy(p + 20, data, n);
    return 20 + n;
}

/* What a receiver says to a number, with one byte of data. */
static enum pq_drop number(struct pq_dgrams *d, uint32_t n)
{
    uint8_t p[21];
    uint32_t stream = 0;
    struct pq_view data = {NULL, 0};
    build(p, CONV, n, 7, "x", 1);
    enum pq_drop r = pq_dgrams_read(d, CONV, (struct pq_view){p, sizeof p}, &stream, &data);
    if (!r) {
        assert_int_equal(stream, 7);
        assert_int_equal(data.n, 1);
        assert_int_equal(data.p[0], 'x');
    }
    return r;
}

static void assert_new(struct pq_dgrams *d, uint32_t n)
{
    if (number(d, n) != PQ_DROP_NONE)
        fail_msg("number %u is refused", n);
    if (number(d, n) != PQ_DROP_REPLAY)
        fail_msg("number %u is taken twice", n);
}

static void assert_old(struct pq_dgrams *d, uint32_t n)
{
    if (number(d, n) != PQ_DROP_REPLAY)
        fail_msg("number %u is taken", n);
}

/* ---- vectors */

static enum pq_drop verdict_of(const char *text)
{
    if (strcmp(text, "good") == 0)
        return PQ_DROP_NONE;
    if (strcmp(text, "other conversation") == 0)
        return PQ_DROP_CONV;
    return strcmp(text, "replayed") == 0 ? PQ_DROP_REPLAY : PQ_DROP_OOB;
}

static void check_good(const json_t *m, uint32_t stream, struct pq_view got)
{
    size_t n;
    uint8_t *data = vec_bytes(m, "data", &n);
    assert_int_equal(stream, vec_int(m, "stream"));
    assert_int_equal(got.n, n);
    assert_memory_equal(got.p, data, n);
    free(data);
}

/* Writes the same packet. */
static void check_canonical(const json_t *m, const uint8_t *want, size_t want_n)
{
    struct pq_chunks chunks;
    struct pq_dgrams d = {.next = (uint32_t)vec_int(m, "number") - 1};
    uint8_t out[64];
    size_t n;
    uint8_t *data = vec_bytes(m, "data", &n);
    pq_chunks_init(&chunks, 1 << 16);
    assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), 0);
    struct pq_chunk *c = pq_chunk_copy(&chunks, data, n);
    assert_int_equal(pq_dgrams_push(&d, c, (uint32_t)vec_int(m, "stream")), 0);
    assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), want_n);
    assert_memory_equal(out, want, want_n);
    assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), 0);
    assert_int_equal(chunks.small.used, 0);
    pq_chunks_fini(&chunks);
    free(data);
}

static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("datagram.json"), *m;
    struct pq_dgrams d = {0};
    size_t i, n;
    assert_int_equal(vec_int(root, "conv"), CONV);
    json_array_foreach(vec_get(root, "packets"), i, m)
    {
        uint8_t *p = vec_bytes(m, "inner", &n);
        uint32_t stream;
        struct pq_view data;
        enum pq_drop want = verdict_of(vec_str(m, "verdict"));
        enum pq_drop got = pq_dgrams_read(&d, CONV, (struct pq_view){p, n}, &stream, &data);
        if (got != want)
            fail_msg("%s: %s", vec_str(m, "name"), pq_drop_name(got));
        if (!want)
            check_good(m, stream, data);
        if (json_is_true(json_object_get(m, "canonical")))
            check_canonical(m, p, n);
        free(p);
    }
    json_decref(root);
}

/* ---- numbers */

static void numbers_in_order(void **state)
{
    (void)state;
    struct pq_dgrams d = {0};
    for (uint32_t n = 1; n < 5000; n++)
        assert_new(&d, n);
    for (uint32_t n = 1; n < 5000; n++)
        assert_old(&d, n);
}

/* Each distance up to 1,023 behind the newest is told apart; from 1,024 on nothing is. */
static void numbers_late(void **state)
{
    (void)state;
    static const uint32_t from[] = {5000, 63, 64, 1024, 0x7fffffff, 0x80000000, 0xffffffff, 500};
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        struct pq_dgrams d = {.newest = from[i] - 3000, .next = 0};
        assert_new(&d, from[i] - 1);
        assert_new(&d, from[i]);
        for (uint32_t behind = 2; behind < SPAN; behind++)
            assert_new(&d, from[i] - behind);
        for (uint32_t behind = SPAN; behind < 3 * SPAN; behind++)
            assert_old(&d, from[i] - behind);
        assert_old(&d, from[i] - 0x7fffffff);
    }
}

/* Numbers that were skipped are still new, whatever the same place held 1,024 before. */
static void numbers_skipped(void **state)
{
    (void)state;
    for (uint32_t jump = 1; jump <= 2 * SPAN + 1; jump += jump < 60 ? 1 : 61) {
        struct pq_dgrams d = {0};
        uint32_t n = 0;
        while (n < 2 * SPAN)
            assert_new(&d, ++n); /* every place is taken */
        uint32_t old = n;
        assert_new(&d, n += jump);
        for (uint32_t k = n - 1; k > old && n - k < SPAN; k--)
            assert_new(&d, k);
        for (uint32_t k = old; k > old - SPAN; k--)
            assert_old(&d, k);
    }
}

static void numbers_wrap(void **state)
{
    (void)state;
    struct pq_dgrams d = {.newest = 0xffffff00};
    for (uint32_t n = 0xffffff01; n != 600; n += 3)
        assert_new(&d, n);
    for (uint32_t n = 0xffffff02; n != 600; n++) {
        bool seen = (n - 0xffffff01) % 3 == 0;
        if (seen)
            assert_old(&d, n);
        else
            assert_new(&d, n);
    }
}

/* Random order, losses, repeats and jumps against a list of all that was ever taken. */
static void numbers_random(void **state)
{
    (void)state;
    enum { MOST = 20000 };
    static uint32_t taken[MOST];
    uint64_t s = ut_seed("datagram numbers");
    struct pq_dgrams d = {0};
    uint32_t newest = 0;
    size_t count = 0, good = 0;
    for (int round = 0; round < 40000 && count < MOST; round++) {
        uint32_t n = newest - 1200 + ut_below(&s, 1240);
        if (ut_below(&s, 500) == 0)
            n = newest + ut_below(&s, 3000);
        if (newest < 2000)
            n = newest + 1 + ut_below(&s, 3);
        bool ahead = n - newest < 0x80000000U && n != newest, seen = n == newest;
        for (size_t i = count; i && !seen && count - i < 5000; i--)
            seen = taken[i - 1] == n;
        bool want = ahead || (newest - n < SPAN && !seen);
        if ((number(&d, n) == PQ_DROP_NONE) != want)
            fail_msg("number %u, newest %u, seen %d", n, newest, seen);
        if (!want)
            continue;
        newest = ahead ? n : newest;
        taken[count++] = n;
        good++;
    }
    assert_true(good > 5000);
}

/* ---- bad packets */

/* At each cut, and with each size: never taken unless whole, and its number not used up. */
static void cuts(void **state)
{
    (void)state;
    uint8_t p[20 + 40], data[40];
    struct pq_dgrams d = {0};
    uint32_t stream;
    struct pq_view v;
    ut_pattern(data, sizeof data, 1);
    for (size_t len = 0; len <= sizeof data; len++) {
        size_t n = build(p, CONV, (uint32_t)len + 1, 9, data, len);
        for (size_t cut = 0; cut < n; cut++) {
            uint8_t *q = ut_exact(p, cut);
            assert_int_equal(pq_dgrams_read(&d, CONV, (struct pq_view){q, cut}, &stream, &v),
                             PQ_DROP_OOB);
            free(q);
        }
        uint8_t *q = ut_exact(p, n);
        for (uint32_t size = 0; size <= 0xffff; size++) {
            if (size >= 14 && size <= 14 + len)
                continue; /* all that it says is there */
            pq_put_le16(q + 6, (uint16_t)size);
            assert_int_equal(pq_dgrams_read(&d, CONV, (struct pq_view){q, n}, &stream, &v),
                             PQ_DROP_OOB);
        }
        pq_put_le16(q + 6, (uint16_t)(14 + len));
        assert_int_equal(pq_dgrams_read(&d, CONV, (struct pq_view){q, n}, &stream, &v),
                         PQ_DROP_NONE);
        assert_int_equal(v.n, len);
        assert_memory_equal(v.p, data, len);
        free(q);
    }
}

static void fuzz(void **state)
{
    (void)state;
    uint64_t s = ut_seed("datagrams");
    struct pq_dgrams d = {0};
    uint8_t p[200], data[100];
    ut_random(&s, data, sizeof data);
    for (uint32_t i = 0; i < FUZZ_ROUNDS; i++) {
        size_t n = build(p, CONV, i, i * 3, data, ut_below(&s, sizeof data));
        if (i % 4)
            n = ut_mutate(&s, p, n, sizeof p);
        uint8_t *q = ut_exact(p, n);
        uint32_t stream;
        struct pq_view v = {NULL, 0};
        if (!pq_dgrams_read(&d, CONV, (struct pq_view){q, n}, &stream, &v)) {
            assert_true(v.p >= q + 20 && v.p + v.n <= q + n);
            assert_int_equal(pq_le32(q + 8), CONV);
        }
        free(q);
    }
}

/* ---- the queue */

static struct pq_chunk *chunk(struct pq_chunks *chunks, size_t n, unsigned salt)
{
    struct pq_chunk *c = pq_chunk_new(chunks, n);
    assert_non_null(c);
    ut_pattern(pq_chunk_data(c), n, salt);
    c->len = (uint32_t)n;
    return c;
}

/* They leave in order, numbered from 1, each with its own stream. */
static void queue_order(void **state)
{
    (void)state;
    static uint8_t out[1480], want[1480], data[1460];
    struct pq_chunks chunks;
    struct pq_dgrams d = {0};
    pq_chunks_init(&chunks, 1 << 20);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(pq_dgrams_push(&d, chunk(&chunks, i * 37 % 1461, i), i % 3 * 1000003), 0);
    for (unsigned i = 0; i < 300; i++) {
        size_t n = i * 37 % 1461;
        ut_pattern(data, n, i);
        size_t whole = build(want, CONV, i + 1, i % 3 * 1000003, data, n);
        assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), whole);
        assert_memory_equal(out, want, whole);
    }
    assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), 0);
    assert_int_equal(d.out.bytes, 0);
    assert_int_equal(chunks.small.used, 0);
    pq_chunks_fini(&chunks);
}

/* What waits is bounded, in bytes of data and in the memory that it lies in; a refused chunk is
 * still its owner's, and as it was. */
static void queue_bound(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 1000, 1400};
    static uint8_t out[1500];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct pq_chunks chunks;
        struct pq_dgrams d = {0};
        struct pq_chunk *c;
        size_t count = 0;
        pq_chunks_init(&chunks, (size_t)512 << 20);
        while (!pq_dgrams_push(&d, c = chunk(&chunks, sizes[i], 1), 3))
            count++;
        printf("%zu datagrams of %zu bytes wait, in %zu KiB\n", count, sizes[i],
               chunks.small.used * chunks.small.size / 1024);
        assert_int_equal(c->len, sizes[i]);
        assert_int_equal(c->off, PQ_CHUNK_HEADROOM);
        assert_true(count >= 256 && count * sizes[i] <= 1 << 20);
        assert_true(chunks.small.used * chunks.small.size <= (size_t)8 << 20);
        for (size_t k = 0; k < 3; k++) /* and room again as soon as some have left */
            assert_int_equal(pq_dgrams_pull(&d, CONV, out, sizeof out), 20 + sizes[i]);
        assert_int_equal(pq_dgrams_push(&d, c, 3), 0);
        while (pq_dgrams_pull(&d, CONV, out, sizeof out))
            count--;
        assert_int_equal(count, 2); /* three out, one in */
        assert_int_equal(chunks.small.used, 0);
        pq_chunks_fini(&chunks);
    }
}

int main(void)
{
    const struct CMUnitTest datagram[] = {
        cmocka_unit_test(vectors),      cmocka_unit_test(numbers_in_order),
        cmocka_unit_test(numbers_late), cmocka_unit_test(numbers_skipped),
        cmocka_unit_test(numbers_wrap), cmocka_unit_test(numbers_random),
        cmocka_unit_test(cuts),         cmocka_unit_test(fuzz),
        cmocka_unit_test(queue_order),  cmocka_unit_test(queue_bound),
    };
    return ut_run(datagram);
}
