/* SPDX-License-Identifier: MIT */
/* wire_look.c - headers that look like those of the host's own TCP [1.6]. */
#include "base/bytes.h"
#include "unit.h"
#include "wire/csum.h"
#include "wire/flow.h"
#include "wire_tests.h"

#define SEED UINT64_C(0x123456789abcdef0)
#define PA   (PQ_TCP_PSH | PQ_TCP_ACK)

static uint8_t buf[PQ_SLOT_SIZE];

static void start(struct pq_flow *f, bool is4)
{
    struct pq_flow_conf c = {.look = PQ_LOOK_PLAUSIBLE, .ttl = 63, .ts_offset = 1000, .seed = SEED};
    if (is4) {
        pq_addr_set4(&c.local, (const uint8_t[]){192, 0, 2, 1}, 40000);
        pq_addr_set4(&c.peer, (const uint8_t[]){198, 51, 100, 2}, 9999);
    } else {
        c.local = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 1}, 40000};
        c.peer = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 2}, 9999};
    }
    pq_flow_init(f, &c);
}

/* Forges a packet of n bytes and reads it again. */
static struct pq_segment next(struct pq_flow *f, size_t n, bool more, pq_ns now)
{
    struct pq_segment s;
    struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)n};
    memset(buf + PQ_SLOT_HEAD, 7, n);
    pq_flow_craft(f, &slot, more, now);
    assert_int_equal(pq_segment_parse(&s, buf + slot.off, slot.len, 0), PQ_DROP_NONE);
    assert_int_equal(s.len, n);
    const uint8_t *ip = buf + slot.off;
    if (ip[0] >> 4 == 4)
        assert_int_equal(pq_csum_fold(pq_csum_add(0, ip, PQ_IP4_LEN)), 0);
    return s;
}

static const uint8_t *ip_of(const struct pq_segment *s, size_t ip_len)
{
    return s->data - PQ_TCP_LEN - ip_len;
}

static void numbers(void **state)
{
    (void)state;
    struct pq_flow f;
    start(&f, true);
    const struct pq_segment a = next(&f, 100, false, 5 * PQ_SEC);
    assert_int_equal(a.seq, (uint32_t)SEED);
    assert_int_equal(a.tsval, 5000 + 1000);
    assert_int_equal(a.flags, PA);
    const uint8_t *ip = ip_of(&a, PQ_IP4_LEN);
    const uint16_t id = pq_be16(ip + 4);
    assert_int_equal(ip[1], 0);
    assert_int_equal(ip[8], 63);
    struct pq_segment b = next(&f, 1300, false, 5 * PQ_SEC + 7 * PQ_MS);
    assert_int_equal(b.seq, a.seq + 100);
    assert_int_equal(b.ack, a.ack); /* nothing has come */
    assert_int_equal(b.tsval, 6007);
    assert_int_equal(pq_be16(ip_of(&b, PQ_IP4_LEN) + 4), (uint16_t)(id + 1));

    const struct pq_segment heard = {
        .seq = 7000, .ack = 1, .len = 50, .tsval = 123, .has_ts = true};
    const struct pq_segment late = {.seq = 6000, .ack = 1, .len = 50, .tsval = 100, .has_ts = true};
    pq_flow_heard(&f, &heard);
    b = next(&f, 10, false, 6 * PQ_SEC);
    assert_int_equal(b.ack, 7050);
    assert_int_equal(pq_be32(b.data - 4), 123); /* its TSecr */
    pq_flow_heard(&f, &late);                   /* overtaken: neither goes back */
    b = next(&f, 10, false, 6 * PQ_SEC);
    assert_int_equal(b.ack, 7050);
    assert_int_equal(pq_be32(b.data - 4), 123);
    assert_int_equal(b.seq, a.seq + 100 + 1300 + 10); /* what comes does not change it */
}

/* Who answers begins where the other one says. */
static void answering(void **state)
{
    (void)state;
    struct pq_flow client, server;
    start(&client, false);
    start(&server, false);
    const struct pq_segment ask = next(&client, 200, false, PQ_SEC);
    assert_int_equal(pq_be32(ip_of(&ask, PQ_IP6_LEN)), 0x60000000 | SEED >> 44);
    pq_flow_heard(&server, &ask);
    const struct pq_segment answer = next(&server, 300, false, PQ_SEC);
    assert_int_equal(answer.seq, ask.ack);
    assert_int_equal(answer.ack, ask.seq + 200);
}

/* What a kernel may glue together, and what it may not. */
static void pushes(void **state)
{
    (void)state;
    struct pq_flow f;
    const struct pq_flags acks = {{PQ_TCP_ACK}, 1};
    start(&f, true);
    assert_int_equal(next(&f, 1300, true, 0).flags, PA); /* to a Go peer on each */
    pq_flow_set_splits(&f, true);
    assert_int_equal(next(&f, 1300, true, 0).flags, PQ_TCP_ACK);
    assert_int_equal(next(&f, 1300, false, 0).flags, PA);
    pq_flow_set_flags(&f, &acks);
    uint32_t seq = next(&f, 1300, true, 0).seq;
    assert_int_equal(next(&f, 1300, true, 0).seq, seq + 1300);
    pq_flow_set_splits(&f, false); /* neither PSH nor numbers that follow each other */
    seq = next(&f, 1300, true, 0).seq;
    assert_int_equal(next(&f, 1300, true, 0).seq, seq + 1301);
}

static void runs(void **state)
{
    (void)state;
    static uint8_t two[3][PQ_SLOT_SIZE];
    struct pq_slot s[3];
    struct pq_flow f;
    start(&f, true);
    pq_flow_set_splits(&f, true);
    const struct pq_segment a = next(&f, 10, false, 0);
    const uint16_t id = pq_be16(ip_of(&a, PQ_IP4_LEN) + 4);
    for (int i = 0; i < 3; i++)
        s[i] = (struct pq_slot){.buf = two[i], .off = PQ_SLOT_HEAD, .len = 1000};
    pq_flow_craft_run(&f, s, 3, 0);
    const struct pq_segment b = next(&f, 10, false, 0);
    assert_int_equal(b.seq, a.seq + 10 + 3000);
    assert_int_equal(pq_be16(ip_of(&b, PQ_IP4_LEN) + 4), (uint16_t)(id + 4));
    static const struct pq_flags may[] = {{{PQ_TCP_PSH | PQ_TCP_ACK}, 1}, {{PQ_TCP_ACK}, 1}},
                                 not [] = {{{PQ_TCP_SYN | PQ_TCP_ACK}, 1},
                                           {{PQ_TCP_PSH}, 1},
                                           {{PQ_TCP_ACK, PQ_TCP_ACK}, 2}};
    for (size_t i = 0; i < 2; i++) {
        pq_flow_set_flags(&f, &may[i]);
        assert_true(pq_flow_can_run(&f));
    }
    for (size_t i = 0; i < 3; i++) {
        pq_flow_set_flags(&f, &not [i]);
        assert_false(pq_flow_can_run(&f));
    }
}

/* The window grows with what comes, slowly, and not beyond what a kernel has. */
static void window(void **state)
{
    (void)state;
    struct pq_flow f;
    uint16_t last = 0;
    unsigned changes = 0;
    start(&f, true);
    for (uint32_t i = 0; i < 100000; i++) {
        const struct pq_segment heard = {.seq = i * 1400, .len = 1400};
        pq_flow_heard(&f, &heard);
        const struct pq_segment s = next(&f, 10, false, 0);
        const uint16_t w = pq_be16(s.data - PQ_TCP_LEN + 14);
        assert_true(w >= last && w <= 32768);
        changes += w != last;
        last = w;
    }
    assert_in_range(changes, 5, 30);
}

/* Options of any form: the time stamps are found, or there are none. */
static void options(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("options");
    for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t frame[100];
        struct pq_segment s;
        memset(frame, 0, sizeof frame);
        frame[0] = 0x45;
        pq_put_be16(frame + 2, sizeof frame);
        frame[9] = 6;
        frame[32] = (uint8_t)((5 + ut_below(&seed, 11)) << 4);
        for (size_t k = 40; k < 80; k++)
            frame[k] = (uint8_t)(ut_below(&seed, 3) ? ut_below(&seed, 12) : ut_rand(&seed));
        uint8_t *p = ut_exact(frame, sizeof frame);
        assert_int_equal(pq_segment_parse(&s, p, sizeof frame, 0), PQ_DROP_NONE);
        free(p);
    }
}

int wire_look(void)
{
    const struct CMUnitTest look[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(answering), cmocka_unit_test(pushes),
        cmocka_unit_test(runs),    cmocka_unit_test(window),    cmocka_unit_test(options),
    };
    return ut_run(look);
}
