/* SPDX-License-Identifier: MIT */
/* test_mtu.c - how large packets may be (cc/mtu.c) on paths that lose for long, by chance or for
 * their length: each packet's fate is drawn as it goes. */
#include "cc/mtu.h"
#include "unit.h"

#define LEAST ((uint16_t)1176)
#define MOST  ((uint16_t)1318)
#define RTT   (50 * PQ_MS)
#define EACH  (PQ_MS / 2) /* between two packets */
#define HOUR  (3600 * PQ_SEC / (ut_slow() ? 10 : 1))

struct path {
    struct pq_mtu mtu;
    pq_ns now;
    int64_t n;
    unsigned loss[2]; /* of 1000 short and long ones */
    uint64_t seed;
    uint64_t went, brief; /* and how many of these were short */
};

static void begin(struct path *p)
{
    *p = (struct path){.now = PQ_SEC, .seed = ut_seed("mtu")};
    pq_mtu_init(&p->mtu, LEAST, MOST, true);
}

static void send_one(struct path *p)
{
    const uint16_t probe = pq_mtu_probe(&p->mtu, p->now);
    const uint16_t bytes = probe ? probe : pq_mtu_next(&p->mtu);
    if (probe)
        pq_mtu_sent(&p->mtu, p->n, bytes, RTT, p->now);
    else
        pq_mtu_went(&p->mtu, p->n, bytes, RTT);
    if (ut_below(&p->seed, 1000) < p->loss[bytes > LEAST])
        pq_mtu_lost(&p->mtu, p->n, bytes, p->now);
    else
        pq_mtu_acked(&p->mtu, p->n, bytes, p->now);
    p->went++;
    p->brief += bytes <= LEAST;
    p->n++;
    p->now += EACH;
}

static void run(struct path *p, unsigned both, unsigned longer, pq_ns time)
{
    p->loss[0] = both;
    p->loss[1] = both + (1000 - both) * longer / 1000;
    p->went = p->brief = 0;
    for (const pq_ns end = p->now + time; p->now < end;)
        send_one(p);
}

/* However much a path loses for an hour, it is not taken for a narrow one, and the comparisons that
 * tell make few packets short. */
static void lossy_hour(void **state)
{
    (void)state;
    for (unsigned loss = 0; loss <= 600; loss += 50) {
        struct path p;
        begin(&p);
        run(&p, loss, 0, 10 * PQ_SEC); /* its size is found meanwhile */
        run(&p, loss, 0, HOUR);
        printf("%u %% loss: %u falls, %.2f %% short\n", loss / 10, p.mtu.falls,
               100.0 * (double)p.brief / (double)p.went);
        assert_int_equal(p.mtu.falls, 0);
        assert_int_equal(p.mtu.size, MOST);
        assert_true(p.brief * 100 <= p.went * 2);
    }
}

/* Who makes them short by losing long ones has it about as long again as he goes on, at most. */
static void lost_for_their_length(void **state)
{
    (void)state;
    static const unsigned longer[] = {200, 500, 900, 1000};
    static const pq_ns times[] = {PQ_SEC, 20 * PQ_SEC, 600 * PQ_SEC};
    for (size_t i = 0; i < COUNT_OF(longer); i++) {
        for (size_t k = 0; k < COUNT_OF(times); k++) {
            struct path p;
            begin(&p);
            run(&p, 20, 0, 2 * PQ_SEC);
            assert_int_equal(p.mtu.size, MOST);
            run(&p, 20, longer[i], times[k]);
            const unsigned falls = p.mtu.falls;
            const pq_ns over = p.now;
            while (p.mtu.size + 12 < MOST && p.now < over + 2000 * PQ_SEC)
                run(&p, 20, 0, 100 * PQ_MS);
            printf("%u %% of what is long lost for %lld s: %u falls, short for %.1f s more\n",
                   longer[i] / 10, (long long)(times[k] / PQ_SEC), falls,
                   (double)(p.now - over) / PQ_SEC);
            assert_in_range(falls, 1, 20);
            assert_true(p.now - over <= times[k] + 20 * PQ_SEC && p.now - over <= 640 * PQ_SEC);
        }
    }
}

/* What must not be cut has the largest size, also before it is known to pass and after a timer,
 * until it has failed. */
static void whole_until_it_fails(void **state)
{
    (void)state;
    struct path p;
    begin(&p);
    assert_int_equal(pq_mtu_cap(&p.mtu), LEAST);
    assert_int_equal(pq_mtu_whole(&p.mtu), MOST);
    run(&p, 0, 0, PQ_SEC);
    pq_mtu_timeout(&p.mtu);
    assert_int_equal(pq_mtu_cap(&p.mtu), LEAST);
    assert_int_equal(pq_mtu_whole(&p.mtu), MOST);
    begin(&p);
    run(&p, 0, 1000, PQ_SEC);
    assert_int_equal(pq_mtu_whole(&p.mtu), pq_mtu_next(&p.mtu));
    assert_in_range(pq_mtu_whole(&p.mtu), LEAST, LEAST + 12);
}

/* Many long ones go before the first is known to be lost: it is found out all the same. */
static void whole_of_many_at_once(void **state)
{
    (void)state;
    struct path p;
    begin(&p);
    pq_mtu_init(&p.mtu, LEAST, MOST, false);
    unsigned rounds = 0;
    for (; pq_mtu_whole(&p.mtu) == MOST && rounds < 10; rounds++) {
        const int64_t first = p.n;
        for (; p.n < first + 20; p.n++)
            pq_mtu_sent(&p.mtu, p.n, MOST, RTT, p.now);
        p.now += RTT;
        for (int64_t n = first; n < p.n; n++)
            pq_mtu_lost(&p.mtu, n, MOST, p.now);
    }
    assert_int_equal(rounds, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossy_hour),
        cmocka_unit_test(lost_for_their_length),
        cmocka_unit_test(whole_until_it_fails),
        cmocka_unit_test(whole_of_many_at_once),
    };
    return cmocka_run_group_tests_name("mtu", tests, NULL, NULL);
}
