/* SPDX-License-Identifier: MIT */
/* test_homes.c - which worker has a session that moves, and the queue of frames for it [12.7]. */
#include "app/handover.h"
#include "tunnel/homes.h"
#include "unit.h"

static void ids_and_tuples(void **state)
{
    (void)state;
    static struct pq_home ids[1000], tuple, same;
    struct pq_homes *h;
    struct pq_addr peer, other;
    pq_addr_set4(&peer, (const uint8_t[]){192, 0, 2, 1}, 4000);
    pq_addr_set4(&other, (const uint8_t[]){192, 0, 2, 1}, 4001);
    assert_int_equal(pq_homes_new(&h, 7), 0);
    assert_int_equal(pq_homes_of_id(h, 5), -1);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(pq_homes_set_id(h, &ids[i], i * 77, i % 4), 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(pq_homes_of_id(h, i * 77), i % 4);
    assert_int_equal(pq_homes_of_id(h, 76), -1);
    assert_int_equal(pq_homes_set_id(h, &ids[3], 76, 2), 0); /* in place of what it told before */
    assert_int_equal(pq_homes_of_id(h, 76), 2);
    assert_int_equal(pq_homes_of_id(h, 3 * 77), -1);
    pq_homes_forget(h, &ids[3]);
    pq_homes_forget(h, &ids[3]);
    assert_int_equal(pq_homes_of_id(h, 76), -1);

    assert_int_equal(pq_homes_set_tuple(h, &tuple, &peer, 9999, 3), 0);
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9999, 0), 3);
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9998, 0), -1);
    assert_int_equal(pq_homes_elsewhere(h, &other, 9999, 0), -1);
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9999, 3), -1);       /* there is none but here */
    assert_int_equal(pq_homes_set_tuple(h, &same, &peer, 9999, 1), 0); /* two sessions there */
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9999, 3), 1);
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9999, 1), 3);
    pq_homes_forget(h, &same);
    assert_int_equal(pq_homes_elsewhere(h, &peer, 9999, 0), 3);
    assert_int_equal(pq_homes_set_tuple(NULL, &same, &peer, 9999, 1), 0); /* one worker */
    assert_int_equal(pq_homes_elsewhere(NULL, &peer, 9999, 1), -1);
    pq_homes_forget(NULL, &same);
    pq_homes_free(&h);
    assert_null(h);
    pq_homes_free(&h);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    static uint8_t bytes[65536];
    struct pq_handover q;
    struct pq_frame f = {.p = bytes, .len = 100, .wire_len = 100, .gso_size = 50}, out;
    pq_handover_init(&q);
    assert_false(pq_handover_take(&q, &out));
    for (unsigned i = 0; i < PQ_HANDOVER_MAX; i++) {
        bytes[0] = (uint8_t)i;
        assert_true(pq_handover_put(&q, &f));
    }
    assert_false(pq_handover_put(&q, &f));
    assert_int_equal(q.lost, 1);
    for (unsigned i = 0; i < PQ_HANDOVER_MAX; i++) {
        assert_true(pq_handover_take(&q, &out));
        assert_int_equal(out.p[0], (uint8_t)i); /* in order, and copies */
        assert_int_equal(out.len, 100);
        assert_int_equal(out.gso_size, 50);
        free(out.p);
    }
    f.len = sizeof bytes;
    unsigned n = 0;
    while (n < PQ_HANDOVER_MAX && pq_handover_put(&q, &f))
        n++;
    assert_int_equal(n, PQ_HANDOVER_BYTES / sizeof bytes);
    pq_handover_fini(&q); /* frees what waits */
}

/* Some threads put, one takes; what was not refused comes. */
static struct pq_handover shared;
static struct pq_homes *homes;

static void *put_some(void *arg)
{
    struct pq_home here = {0};
    struct pq_frame f = {.p = (uint8_t *)arg, .len = 4, .wire_len = 4};
    uint64_t *put = calloc(1, sizeof *put);
    for (unsigned i = 0; i < 20000; i++) {
        *put += pq_handover_put(&shared, &f);
        pq_homes_set_id(homes, &here, i, f.p[0]);
        pq_homes_of_id(homes, i + 1);
    }
    pq_homes_forget(homes, &here);
    return put;
}

static void threads(void **state)
{
    (void)state;
    static uint8_t who[3][4] = {{1}, {2}, {3}};
    pthread_t t[3];
    struct pq_frame f;
    uint64_t came = 0, put = 0;
    pq_handover_init(&shared);
    assert_int_equal(pq_homes_new(&homes, 1), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, put_some, who[i]), 0);
    for (unsigned i = 0; i < 200000; i++)
        if (pq_handover_take(&shared, &f)) {
            assert_true(f.p[0] >= 1 && f.p[0] <= 3);
            free(f.p);
            came++;
        }
    for (unsigned i = 0; i < 3; i++) {
        void *n;
        pthread_join(t[i], &n);
        put += *(uint64_t *)n;
        free(n);
    }
    while (pq_handover_take(&shared, &f)) {
        free(f.p);
        came++;
    }
    assert_int_equal(came, put);
    assert_int_equal(put + shared.lost, 60000);
    assert_int_equal(pq_homes_of_id(homes, 19999), -1);
    pq_handover_fini(&shared);
    pq_homes_free(&homes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_tuples),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests_name("homes", tests, NULL, NULL);
}
