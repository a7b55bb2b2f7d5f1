/* SPDX-License-Identifier: MIT */
/* test_cc.c - the model of the path (cc/bbr.c) alone: one sender that always has something to send,
 * one queue, every packet acknowledged.  What the queue has no room for, and a part of the rest, is
 * lost.  The path changes while it is used. */
#include "cc/cc.h"
#include "unit.h"

#define RING 65536 /* packets in flight, at most; a power of two */
#define STEP PQ_MS

struct sent {
    pq_ns at, first_sent, delivered_at;
    uint32_t delivered; /* when it was sent */
    pq_ns back;         /* its acknowledgement, or the time at which it is missed */
    bool lost;
};

struct path {
    struct pq_cc cc;
    pq_ns now;
    pq_ns rtt;     /* of the empty path */
    double rate;   /* packets a second */
    pq_ns queue;   /* the longest wait */
    bool policed;  /* nothing waits: what that queue had no room for is lost */
    unsigned loss; /* per thousand, in front of the queue */
    pq_ns busy;    /* the queue is empty then */
    pq_ns pace_at, first_sent, delivered_at;
    uint32_t delivered, in_flight;
    uint32_t first, end; /* of the ring */
    struct sent ring[RING];
    uint64_t went, arrived; /* since the last look */
    pq_ns wait;             /* the longest of them */
    pq_ns waits;            /* of all of them */
    pq_ns late;             /* so much later are acknowledgements in half of the time */
    uint64_t seed;
};

static void begin(struct path *p, double rate, pq_ns rtt)
{
    memset(p, 0, sizeof *p);
    pq_cc_init_bbr(&p->cc);
    p->now = p->busy = p->pace_at = p->first_sent = p->delivered_at = 1000 * PQ_SEC;
    p->rate = rate;
    p->rtt = rtt;
    p->queue = 200 * PQ_MS;
    p->seed = 7;
}

static void transmit(struct path *p)
{
    struct sent *s = &p->ring[p->end++ % RING];
    *s = (struct sent){p->now, p->first_sent, p->delivered_at, p->delivered, 0, false};
    p->in_flight++;
    const pq_ns wait = p->busy > p->now ? p->busy - p->now : 0;
    s->lost = ut_below(&p->seed, 1000) < p->loss || wait > p->queue;
    if (!s->lost)
        p->busy = p->now + wait + (pq_ns)(1e9 / p->rate);
    s->back =
        p->now + (p->policed ? 0 : wait) + p->rtt + (p->now / (350 * PQ_MS) % 2 ? p->late : 0);
    p->went++;
    p->wait = pq_ns_max(p->wait, wait);
    p->waits += wait;
}

static void acknowledge(struct path *p)
{
    struct pq_cc_sample x = {0};
    while (p->first != p->end) {
        const struct sent *s = &p->ring[p->first % RING];
        if (s->back > p->now)
            break;
        p->first++;
        p->in_flight--;
        if (s->lost) {
            x.lost++;
            continue;
        }
        x.rtt = s->back - s->at;
        x.acked++;
        x.prior = s->delivered;
        x.interval = pq_ns_max(p->now - s->delivered_at, s->at - s->first_sent);
        p->first_sent = s->at;
        p->delivered++;
        p->delivered_at = p->now;
        p->arrived++;
    }
    if (!x.acked)
        return;
    x.delivered = p->delivered;
    x.in_flight = p->in_flight;
    p->cc.ops->acked(&p->cc, &x, p->now);
}

/* Packets a second that arrive in the time from now on. */
static double run(struct path *p, pq_ns time)
{
    const pq_ns until = p->now + time;
    p->went = p->arrived = 0;
    p->wait = p->waits = 0;
    while (p->now < until) {
        p->now += STEP;
        acknowledge(p);
        while (p->in_flight < p->cc.cwnd && (!p->cc.pace || p->pace_at <= p->now)) {
            transmit(p);
            assert_true(p->end - p->first <= RING);
            if (p->cc.pace)
                p->pace_at = pq_ns_max(p->pace_at, p->now - 2 * STEP) + PQ_SEC / p->cc.pace;
        }
    }
    return (double)p->arrived * PQ_SEC / (double)time;
}

static struct path path;

static void fills_a_path_and_leaves_its_queue_empty(void **state)
{
    (void)state;
    static const double rates[] = {500, 5000, 15000};
    static const unsigned rtts[] = {10, 100, 250};
    for (size_t i = 0; i < COUNT_OF(rates) * COUNT_OF(rtts); i++) {
        begin(&path, rates[i / 3], rtts[i % 3] * PQ_MS);
        run(&path, 3 * PQ_SEC);
        const double got = run(&path, 5 * PQ_SEC);
        printf("%5.0f packets/s, %3u ms: %5.0f, longest wait %.1f ms\n", path.rate, rtts[i % 3],
               got, (double)path.wait / PQ_MS);
        assert_true(got > 0.9 * path.rate);
        assert_true(path.wait < path.rtt / 2 + 15 * PQ_MS);
    }
}

static void loss_of_the_path_does_not_slow_it(void **state)
{
    (void)state;
    for (path.loss = 0; path.loss <= 300; path.loss += 100) {
        const unsigned loss = path.loss;
        begin(&path, 10000, 100 * PQ_MS);
        path.loss = loss;
        run(&path, 3 * PQ_SEC);
        const double got = run(&path, 5 * PQ_SEC);
        printf("loss %u per thousand: %.0f of %.0f\n", loss, got, path.rate);
        assert_true(got > 0.88 * path.rate);
    }
}

/* A policer drops what is too much, and nothing waits: that much is not sent for long.  It is seen
 * soon when more passes. */
static void what_is_dropped_is_not_sent(void **state)
{
    (void)state;
    static const double rates[] = {1770, 8850};
    for (unsigned i = 0; i < 6; i++) {
        begin(&path, rates[i % 2], 100 * PQ_MS);
        path.policed = true;
        path.queue = 26 * PQ_MS;
        path.loss = 50 * (i / 2);
        run(&path, 4 * PQ_SEC);
        const double got = run(&path, 8 * PQ_SEC);
        const double went = (double)path.went / 8 * (1000 - path.loss) / 1000;
        path.rate *= 2;
        run(&path, 8 * PQ_SEC);
        const double later = run(&path, 4 * PQ_SEC);
        printf("policed to %.0f, loss %u per thousand: %.0f of %.0f; then %.0f\n", rates[i % 2],
               path.loss, got, went, later);
        assert_true(got > 0.97 * path.rate / 2);
        assert_true(went < 1.07 * path.rate / 2);
        assert_true(later > 0.9 * path.rate);
    }
}

/* Another way, and longer: it is known for one, and nothing is held back. */
static void a_longer_way_is_taken_for_one(void **state)
{
    (void)state;
    for (unsigned longer = 140; longer <= 300; longer += 40) {
        begin(&path, 8000, 80 * PQ_MS);
        run(&path, 5 * PQ_SEC);
        path.rtt = longer * PQ_MS;
        run(&path, 3 * path.rtt);
        const double got = run(&path, PQ_SEC);
        printf("80 -> %u ms: %.0f of %.0f in the next second\n", longer, got, path.rate);
        assert_true(got > 0.93 * path.rate);
        assert_true(pq_cc_min_rtt(&path.cc) >= path.rtt);
    }
}

/* Machines that are busy for a while make a short path longer: who takes that for the path keeps a
 * queue as long. */
static void a_late_machine_is_no_longer_way(void **state)
{
    (void)state;
    begin(&path, 20000, 2 * PQ_MS);
    run(&path, 2 * PQ_SEC);
    path.rtt = 4 * PQ_MS;
    run(&path, 40 * PQ_MS);
    assert_true(pq_cc_min_rtt(&path.cc) <= 3 * PQ_MS);
    path.rtt = 2 * PQ_MS;
    run(&path, PQ_SEC);
    assert_true(path.cc.cwnd < 400);
}

/* What comes late and at once shows more than the path carries: no queue stays for that. */
static void late_acknowledgements_leave_no_queue(void **state)
{
    (void)state;
    begin(&path, 15000, 100 * PQ_MS);
    path.late = 4 * PQ_MS;
    run(&path, 3 * PQ_SEC);
    const double got = run(&path, 6 * PQ_SEC);
    const double wait = (double)path.waits / (double)path.arrived / PQ_MS;
    printf("4 ms late now and then: %.0f of %.0f, mean wait %.1f ms\n", got, path.rate, wait);
    assert_true(got > 0.97 * path.rate);
    assert_true(wait < 6);
}

/* A path that carries less all at once looks like a longer one for a while: the queue must go. */
static void a_narrower_way_is_not_taken_for_a_longer_one(void **state)
{
    (void)state;
    for (unsigned part = 2; part <= 4; part++) {
        begin(&path, 8000, 80 * PQ_MS);
        run(&path, 5 * PQ_SEC);
        path.rate = 8000.0 / part;
        run(&path, 5 * PQ_SEC); /* ten rounds through a full queue */
        const double got = run(&path, 2 * PQ_SEC);
        printf("1/%u of the rate: %.0f of %.0f, waits %.1f ms at most\n", part, got, path.rate,
               (double)path.wait / PQ_MS);
        assert_true(got > 0.85 * path.rate);
        assert_true(path.wait < 60 * PQ_MS);
        assert_true(pq_cc_min_rtt(&path.cc) < 90 * PQ_MS);
    }
}

/* Somebody else's packets fill the queue, all at once and for some seconds. */
static void the_queue_of_others_is_not_the_path(void **state)
{
    (void)state;
    begin(&path, 8000, 80 * PQ_MS);
    run(&path, 5 * PQ_SEC);
    for (unsigned i = 0; i < 3000; i++) { /* half of what arrives at the queue is not ours */
        path.busy = pq_ns_max(path.busy, path.now) + (i < 40 ? 3 * PQ_MS : PQ_MS / 2);
        run(&path, PQ_MS);
    }
    run(&path, 3 * PQ_SEC);
    const double got = run(&path, 2 * PQ_SEC);
    printf("afterwards: %.0f of %.0f, waits %.1f ms at most\n", got, path.rate,
           (double)path.wait / PQ_MS);
    assert_true(got > 0.9 * path.rate);
    assert_true(pq_cc_min_rtt(&path.cc) < 90 * PQ_MS);
    assert_true(path.wait < 60 * PQ_MS);
}

static void note(struct pq_cc *c, pq_ns late)
{
    for (int i = 0; i < 2000; i++)
        pq_cc_note_late(c, late);
}

/* Who is late each time makes up for it, within bounds; who was once does not. */
static void late(void **state)
{
    (void)state;
    struct pq_cc c;
    pq_cc_init_bbr(&c);
    const pq_ns usual = pq_cc_late(&c);
    pq_cc_note_late(&c, 50 * PQ_MS);
    assert_true(pq_cc_late(&c) < 50 * PQ_MS);
    note(&c, 50 * PQ_MS);
    assert_in_range(pq_cc_late(&c), 80 * PQ_MS, 100 * PQ_MS);
    pq_cc_new_path(&c, 0);
    assert_in_range(pq_cc_late(&c), 80 * PQ_MS, 100 * PQ_MS);
    note(&c, 10 * PQ_SEC);
    assert_in_range(pq_cc_late(&c), 150 * PQ_MS, 200 * PQ_MS);
    note(&c, 0);
    assert_int_equal(pq_cc_late(&c), usual);
    c.pace = 2700; /* a thread that runs for 3 of 15 ms: then its timers are late as any are */
    for (int i = 0; i < 200; i++)
        pq_cc_note_late(&c, i % 9 ? 50 * PQ_US : 12 * PQ_MS);
    assert_in_range(pq_cc_late(&c), 12 * PQ_MS, 24 * PQ_MS);
    pq_cc_init_reno(&c, 2);
    note(&c, 50 * PQ_MS);
    assert_int_equal(pq_cc_late(&c), usual);
}

int main(void)
{
    const struct CMUnitTest cc[] = {
        cmocka_unit_test(late),
        cmocka_unit_test(fills_a_path_and_leaves_its_queue_empty),
        cmocka_unit_test(loss_of_the_path_does_not_slow_it),
        cmocka_unit_test(what_is_dropped_is_not_sent),
        cmocka_unit_test(a_longer_way_is_taken_for_one),
        cmocka_unit_test(late_acknowledgements_leave_no_queue),
        cmocka_unit_test(a_late_machine_is_no_longer_way),
        cmocka_unit_test(a_narrower_way_is_not_taken_for_a_longer_one),
        cmocka_unit_test(the_queue_of_others_is_not_the_path),
    };
    return ut_run(cc);
}
