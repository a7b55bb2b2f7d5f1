/* SPDX-License-Identifier: MIT */
/* base_tables.c - heap, hash table, pool and chunks against naive models. */
#include "base/chunk.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/pool.h"
#include "base_tests.h"
#include "unit.h"

#include <stdalign.h>

#define NODES 300

static pq_ns naive_min(const struct pq_heap_node *v, const bool *in, size_t n)
{
    pq_ns min = PQ_NEVER;
    for (size_t i = 0; i < n; i++)
        if (in[i] && v[i].at < min)
            min = v[i].at;
    return min;
}

static void heap_random(void **state)
{
    (void)state;
    static struct pq_heap_node v[NODES];
    static bool in[NODES];
    struct pq_heap h = {0};
    uint64_t s = ut_seed("heap");
    size_t count = 0;
    assert_null(pq_heap_top(&h));
    for (int round = 0; round < 20000; round++) {
        size_t i = ut_below(&s, NODES);
        pq_ns at = ut_below(&s, 100) ? ut_below(&s, 1000) : PQ_NEVER;
        if (ut_below(&s, 3)) {
            assert_int_equal(pq_heap_set(&h, &v[i], at), 0);
            count += (size_t)(at != PQ_NEVER) - (size_t)in[i];
            in[i] = at != PQ_NEVER;
        } else {
            pq_heap_remove(&h, &v[i]);
            count -= in[i];
            in[i] = false;
        }
        assert_int_equal(h.n, count);
        assert_int_equal(v[i].pos != 0, in[i]);
        const struct pq_heap_node *top = pq_heap_top(&h);
        assert_true((top ? top->at : PQ_NEVER) == naive_min(v, in, NODES));
    }
    pq_ns last = 0;
    for (struct pq_heap_node *n; (n = pq_heap_top(&h)); pq_heap_remove(&h, n)) {
        assert_true(n->at >= last);
        last = n->at;
    }
    pq_heap_fini(&h);
    pq_heap_fini(&h);
}

struct item {
    struct pq_hash_node node;
    uint32_t key;
    bool in;
};

static struct item *find_item(const struct pq_hash *h, uint32_t key, uint64_t hash)
{
    for (struct pq_hash_node *n = pq_hash_find(h, hash); n; n = pq_hash_next(n))
        if (((struct item *)(void *)n)->key == key)
            return (struct item *)(void *)n;
    return NULL;
}

static void hash_random(void **state)
{
    (void)state;
    static struct item v[1000];
    struct pq_hash h = {0};
    uint64_t s = ut_seed("hash");
    size_t count = 0;
    assert_null(pq_hash_find(&h, 1));
    pq_hash_remove(&h, &v[0].node); /* in an empty table: nothing */
    for (int round = 0; round < 50000; round++) {
        struct item *it = &v[ut_below(&s, COUNT_OF(v))];
        it->key = (uint32_t)(it - v);
        uint64_t hash = it->key % 97; /* many share a hash: the owner compares keys */
        assert_ptr_equal(find_item(&h, it->key, hash), it->in ? it : NULL);
        if (it->in) {
            pq_hash_remove(&h, &it->node);
            pq_hash_remove(&h, &it->node); /* twice does nothing */
            count--;
        } else {
            assert_int_equal(pq_hash_add(&h, &it->node, hash), 0);
            count++;
        }
        it->in = !it->in;
        assert_int_equal(h.n, count);
    }
    assert_true(h.cap && (h.cap & (h.cap - 1)) == 0);
    pq_hash_fini(&h);
}

/* No bucket of a table with sequential ids (3, 5, 7, ...) may be crowded. */
static void hash_spread(void **state)
{
    (void)state;
    enum { BUCKETS = 1024 };
    static unsigned seen[BUCKETS];
    for (uint32_t i = 0; i < BUCKETS; i++) {
        uint32_t id = 3 + 2 * i;
        seen[pq_hash_bytes(&id, sizeof id, 12345) % BUCKETS]++;
    }
    for (size_t i = 0; i < BUCKETS; i++)
        assert_true(seen[i] <= 10);
}

static void hash_of_bytes(void **state)
{
    (void)state;
    /* of every machine, whatever its byte order */
    assert_true(pq_hash_bytes("paqet, hashed", 13, UINT64_C(0x0123456789abcdef)) ==
                UINT64_C(0x48e85cfcc22d1c47));
    uint8_t b[40] = {0};
    uint64_t last = 0;
    for (size_t n = 0; n <= sizeof b; n++) { /* lengths of zeros differ */
        uint8_t *p = ut_exact(b, n);
        uint64_t h = pq_hash_bytes(p, n, 1);
        assert_true(h == pq_hash_bytes(b, n, 1));
        assert_true(n < 1 || h != pq_hash_bytes(b, n, 2));
        assert_true(n == 0 || h != last);
        last = h;
        free(p);
    }
    for (size_t i = 0; i < sizeof b; i++) { /* every byte counts */
        uint64_t h = pq_hash_bytes(b, sizeof b, 1);
        b[i] ^= 1;
        assert_true(h != pq_hash_bytes(b, sizeof b, 1));
        b[i] ^= 1;
    }
}

static void pool_bounds(void **state)
{
    (void)state;
    struct pq_pool p;
    void *obj[5];
    pq_pool_init(&p, 1, 4, 2); /* smaller than a pointer is rounded up */
    assert_int_equal(p.n_slabs, 0);
    for (int i = 0; i < 4; i++)
        assert_non_null(obj[i] = pq_pool_get(&p));
    assert_int_equal(p.used, 4);
    assert_null(pq_pool_get(&p));
    pq_pool_put(&p, NULL);
    assert_int_equal(p.used, 4);
    for (int i = 0; i < 4; i++)
        pq_pool_put(&p, obj[i]);
    assert_int_equal(p.used, 0);
    assert_int_equal(p.n_slabs, 1); /* two are to be kept */
    void *again = pq_pool_get(&p);
    assert_ptr_equal(again, obj[3]);
    pq_pool_put(&p, again);
    pq_pool_fini(&p);
    assert_int_equal(p.n_slabs, 0);

    pq_pool_init(&p, 64, 0, 0); /* no bound, nothing kept */
    for (int i = 0; i < 5; i++)
        memset(obj[i] = pq_pool_get(&p), i, 64);
    assert_int_equal(p.n_slabs, 1);
    for (int i = 0; i < 5; i++)
        pq_pool_put(&p, obj[i]);
    assert_int_equal(p.n_slabs, 0);
    pq_pool_fini(&p);
}

/* Objects of any size do not overlap and are aligned, however they come and go; what is no longer
 * in use goes back, but for as much as is in use and what is kept. */
static void pool_slabs(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 24, 576, 2040, 4608, 16440, 65591, 1U << 20};
    enum { MOST = 400, KEEP = 7 };
    static uint8_t *obj[MOST], tag[MOST];
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        const size_t size = sizes[k] < 8 ? sizes[k] : 8; /* bytes that are written, at either end */
        struct pq_pool p;
        uint64_t r = 1 + k;
        size_t n = 0;
        pq_pool_init(&p, sizes[k], 0, KEEP);
        assert_true(p.each >= 1 && p.each * sizes[k] < p.slab);
        for (int i = 0; i < 20000; i++) {
            r = r * 6364136223846793005U + 1442695040888963407U;
            bool more =
                (r >> 40) % 1000 < (i / 2500 % 2 ? 300U : 700U); /* it grows, then shrinks */
            if (more && n < MOST) {
                assert_non_null(obj[n] = pq_pool_get(&p));
                assert_int_equal((uintptr_t)obj[n] % alignof(max_align_t), 0);
                tag[n] = (uint8_t)i;
                memset(obj[n], tag[n], size);
                memset(obj[n] + sizes[k] - size, tag[n], size);
                n++;
            } else if (!more && n) {
                size_t at = (r >> 33) % n;
                for (size_t b = 0; b < size; b++)
                    assert_true(obj[at][b] == tag[at] && obj[at][sizes[k] - 1 - b] == tag[at]);
                pq_pool_put(&p, obj[at]);
                obj[at] = obj[--n];
                tag[at] = tag[n];
            }
            assert_int_equal(p.used, n);
            assert_true(p.n_slabs * p.each >= n);
        }
        while (n)
            pq_pool_put(&p, obj[--n]);
        assert_true(p.n_slabs * p.each < KEEP + p.each);
        pq_pool_fini(&p);
    }
}

/* What is nearly full is filled first, and what is empty goes back, wherever it is. */
static void pool_order(void **state)
{
    (void)state;
    struct pq_pool p;
    pq_pool_init(&p, 2040, 0, 0);
    const size_t each = p.each, all = 4 * each;
    void **obj = calloc(all, sizeof *obj);
    assert_non_null(obj);
    for (size_t i = 0; i < each + 1; i++)
        obj[i] = pq_pool_get(&p);
    assert_int_equal(p.n_slabs, 2);
    pq_pool_put(&p, obj[3]); /* of the full one */
    void *again = pq_pool_get(&p);
    assert_ptr_equal(again, obj[3]);
    for (size_t i = each + 1; i < all; i++)
        obj[i] = pq_pool_get(&p);
    assert_int_equal(p.n_slabs, 4);
    for (size_t i = each + 1; i < 2 * each; i++) /* of the second one stays */
        pq_pool_put(&p, obj[i]);
    assert_int_equal(p.n_slabs, 4);
    for (size_t i = 0; i < all; i++)
        if (i < each || i >= 2 * each)
            pq_pool_put(&p, obj[i]);
    assert_int_equal(p.n_slabs, 1);
    pq_pool_put(&p, obj[each]);
    assert_int_equal(p.n_slabs, 0);
    pq_pool_fini(&p);
    free(obj);
}

static void chunk_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,
                                   1,
                                   PQ_CHUNK_SMALL - 1,
                                   PQ_CHUNK_SMALL,
                                   PQ_CHUNK_SMALL + 1,
                                   PQ_CHUNK_BIG,
                                   PQ_CHUNK_BIG + 1,
                                   65507,
                                   PQ_CHUNK_HUGE};
    static uint8_t data[PQ_CHUNK_HUGE];
    struct pq_chunks c;
    pq_chunks_init(&c, 1 << 20);
    ut_pattern(data, sizeof data, 3);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct pq_chunk *k = pq_chunk_new(&c, sizes[i]);
        assert_non_null(k);
        assert_int_equal(k->off, PQ_CHUNK_HEADROOM);
        assert_int_equal(k->len, 0);
        assert_true(pq_chunk_room(k) >= sizes[i]);
        assert_int_equal(c.small.used, sizes[i] <= PQ_CHUNK_SMALL); /* the smallest that does */
        assert_int_equal(c.huge.used, sizes[i] > PQ_CHUNK_BIG);
        memset(pq_chunk_data(k), 1, pq_chunk_room(k));
        pq_chunk_free(k);
        k = pq_chunk_copy(&c, data, sizes[i]);
        assert_int_equal(k->len, sizes[i]);
        assert_memory_equal(pq_chunk_data(k), data, sizes[i]);
        pq_chunk_free(k);
    }
    pq_chunk_free(NULL);
    assert_int_equal(c.huge.used + c.big.used + c.small.used, 0);
    pq_chunks_fini(&c);
}

/* The limit bounds all classes together; control chunks come all the same. */
static void chunk_limit(void **state)
{
    static const size_t limits[] = {1, 5000, 100000, 1000000};
    static const size_t sizes[] = {1, PQ_CHUNK_HUGE, PQ_CHUNK_BIG};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct pq_chunks c;
        struct pq_chunkq q = {0};
        pq_chunks_init(&c, limits[i]);
        for (size_t n = 0, failed = 0; failed < COUNT_OF(sizes); n++) {
            struct pq_chunk *k = pq_chunk_new(&c, sizes[n % COUNT_OF(sizes)]);
            failed = k ? 0 : failed + 1;
            if (k)
                pq_chunkq_push(&q, k);
            assert_true(c.budget.used <= limits[i]);
        }
        assert_true(c.budget.used + sizeof(struct pq_chunk) + 2 * (size_t)PQ_CHUNK_SMALL >
                    limits[i]);
        for (int n = 0; n < 100; n++) {
            struct pq_chunk *k = pq_chunk_new_control(&c);
            assert_non_null(k);
            assert_true(pq_chunk_room(k) >= PQ_CHUNK_CONTROL);
            pq_chunkq_push(&q, k);
        }
        pq_chunkq_clear(&q);
        assert_int_equal(c.budget.used, 0);
        pq_chunks_fini(&c);
    }
}

static void chunk_queue(void **state)
{
    (void)state;
    struct pq_chunks c;
    struct pq_chunkq q = {0};
    pq_chunks_init(&c, 1 << 20);
    assert_null(pq_chunkq_pop(&q));
    pq_chunkq_unshift(&q, pq_chunk_copy(&c, "b", 1)); /* into an empty queue: tail too */
    pq_chunkq_push(&q, pq_chunk_copy(&c, "cc", 2));
    pq_chunkq_unshift(&q, pq_chunk_copy(&c, "aaa", 3));
    assert_int_equal(q.bytes, 6);
    static const uint32_t want[] = {3, 1, 2};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        struct pq_chunk *k = pq_chunkq_pop(&q);
        assert_int_equal(k->len, want[i]);
        assert_null(k->next);
        pq_chunk_free(k);
    }
    assert_null(q.head);
    assert_null(q.tail);
    assert_int_equal(q.bytes, 0);
    pq_chunkq_push(&q, pq_chunk_copy(&c, "x", 1));
    pq_chunkq_clear(&q);
    assert_int_equal(q.bytes, 0);
    assert_int_equal(c.small.used, 0);
    pq_chunks_fini(&c);
}

int base_tables(void)
{
    const struct CMUnitTest tables[] = {
        cmocka_unit_test(heap_random), cmocka_unit_test(hash_random),
        cmocka_unit_test(hash_spread), cmocka_unit_test(hash_of_bytes),
        cmocka_unit_test(pool_bounds), cmocka_unit_test(pool_slabs),
        cmocka_unit_test(pool_order),  cmocka_unit_test(chunk_sizes),
        cmocka_unit_test(chunk_limit), cmocka_unit_test(chunk_queue),
    };
    return ut_run(tables);
}
