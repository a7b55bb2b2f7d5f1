/* SPDX-License-Identifier: MIT */
/* wire_connect.c - a flow that is a TCP connection from its SYN on [12.9]. */
#include "base/bytes.h"
#include "connect_pair.h"
#include "unit.h"
#include "wire/csum.h"
#include "wire/flow.h"
#include "wire_tests.h"

#define PA (PQ_TCP_PSH | PQ_TCP_ACK)
#define SA (PQ_TCP_SYN | PQ_TCP_ACK)

/* The three packets, as Linux sends them. */
static void handshake(void **state)
{
    (void)state;
    for (int is4 = 0; is4 < 2; is4++) {
        struct pair p;
        struct pq_segment s = pair_ask(&p, is4, 5 * PQ_SEC);
        const uint8_t *t = s.data - 40;
        static const uint8_t opts[] = {4, 2, 8, 10};
        assert_int_equal(s.flags, PQ_TCP_SYN);
        assert_int_equal(s.seq, 0xfffffff0);
        assert_int_equal(s.ack, 0);
        assert_int_equal(s.tsval, 5077);
        assert_int_equal(s.tsecr, 0);
        assert_int_equal(s.window, is4 ? 64240 : 64800);
        assert_int_equal(s.mss, is4 ? 1460 : 1440);
        assert_int_equal(s.scale, 7);
        assert_memory_equal(t + 24, opts, 4);
        assert_int_equal(t[36], 1);

        s = pair_answer(&p, is4, &s, 5 * PQ_SEC);
        assert_int_equal(s.flags, SA);
        assert_int_equal(s.seq, 0x12345678);
        assert_int_equal(s.ack, 0xfffffff1);
        assert_int_equal(s.tsecr, 5077);
        assert_int_equal(s.window, is4 ? 65160 : 64260);
        if (is4)
            assert_int_equal(pq_be16(pair_slot.buf + pair_slot.off + 4), 0);

        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), PQ_NEVER);
        assert_true(pq_connect_bare(&p.c, &s));
        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), 6 * PQ_SEC);
        pq_connect_ack(&p.c, &pair_slot, 6 * PQ_SEC);
        s = pair_read(is4);
        assert_int_equal(s.flags, PQ_TCP_ACK);
        assert_int_equal(s.seq, 0xfffffff1);
        assert_int_equal(s.ack, 0x12345679);
        assert_int_equal(s.window, is4 ? 502 : 507);
        assert_int_equal(s.tsecr, 5099);
        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), PQ_NEVER);
        assert_int_equal(pq_connect_room(&p.c), is4 ? 65160 : 64260);
        assert_int_equal(pq_connect_room(&p.s), is4 ? 64240 : 64800);

        s = pair_data(&p.c, 300, 6 * PQ_SEC);
        assert_int_equal(s.flags, PA);
        assert_int_equal(s.seq, 0xfffffff1);
        s = pair_data(&p.c, 300, 6 * PQ_SEC); /* past 2^32 */
        assert_int_equal(s.seq, 0xfffffff1 + 300);
    }
}

/* A client that has no time stamps, as Windows of today: the server answers as Linux does, and none
 * of both sends any. */
static void plain_handshake(void **state)
{
    (void)state;
    static const uint8_t asks[] = {1, 3, 3, 8, 1, 1, 4, 2}, answers[] = {1, 1, 4, 2, 1, 3, 3, 7};
    pair_as = PQ_SYSTEM_WINDOWS;
    for (int is4 = 0; is4 < 2; is4++) {
        struct pair p;
        struct pq_segment s = pair_ask(&p, is4, 5 * PQ_SEC);
        assert_int_equal(s.flags, PQ_TCP_SYN);
        assert_int_equal(s.seq, 0xfffffff0);
        assert_false(s.has_ts);
        assert_int_equal(s.window, is4 ? 64240 : 64800);
        assert_int_equal(s.mss, is4 ? 1460 : 1440);
        assert_int_equal(pair_slot.len, (is4 ? 20 : 40) + 32);
        assert_memory_equal(s.data - 8, asks, sizeof asks);

        s = pair_answer(&p, is4, &s, 5 * PQ_SEC);
        assert_int_equal(s.flags, SA);
        assert_false(s.has_ts);
        assert_int_equal(s.window, is4 ? 64240 : 64800);
        assert_int_equal(s.mss, is4 ? 1460 : 1440);
        assert_int_equal(pair_slot.len, (is4 ? 20 : 40) + 32);
        assert_memory_equal(s.data - 8, answers, sizeof answers);
        struct pq_segment other = s;
        other.has_ts = true; /* nobody has asked for them */
        assert_false(pq_connect_bare(&p.c, &other));

        assert_true(pq_connect_bare(&p.c, &s));
        pq_connect_ack(&p.c, &pair_slot, 6 * PQ_SEC);
        s = pair_read(is4);
        assert_int_equal(s.window, is4 ? 1026 : 1029);
        assert_true(pq_connect_bare(&p.s, &s));
        assert_int_equal(pq_connect_room(&p.s), (is4 ? 1026 : 1029) << 8);
        for (int i = 0; i < 2; i++) {
            struct pq_flow *f = i ? &p.s : &p.c;
            s = pair_data(f, 300, 6 * PQ_SEC);
            assert_int_equal(pair_slot.len, (is4 ? 20 : 40) + 20 + 300);
            assert_false(s.has_ts);
            assert_int_equal(s.seq, f->conn.first + 1);
            pq_connect_ack(f, &pair_slot, 6 * PQ_SEC);
            assert_int_equal(pair_slot.len, (is4 ? 20 : 40) + 20);
        }
    }
    pair_as = PQ_SYSTEM_HOST;
}

/* SYNs of other systems that have time stamps; what follows is as ever. */
static void systems(void **state)
{
    (void)state;
    static const struct {
        uint16_t window, told; /* in the SYN, in bytes afterwards */
        uint8_t scale, len, options[24];
    } of[PQ_SYSTEMS] = {
        [PQ_SYSTEM_ANDROID] = {65535, 128, 9, 20, {2, 4,  5, 0xb4, 4, 2, 8, 10, 0, 0,
                                                   4, 53, 0, 0,    0, 0, 1, 3,  3, 9}},
        [PQ_SYSTEM_APPLE] = {65535, 1024, 6, 24, {2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10,
                                                  0, 0, 4, 53,   0, 0, 0, 0, 4, 2, 0, 0}},
    };
    for (int i = PQ_SYSTEM_ANDROID; i < PQ_SYSTEMS; i++) {
        if (i == PQ_SYSTEM_WINDOWS)
            continue;
        struct pair p;
        pair_as = (enum pq_system)i;
        struct pq_segment s = pair_ask(&p, true, PQ_SEC);
        assert_int_equal(pair_slot.len, 40U + of[i].len);
        assert_memory_equal(s.data - of[i].len, of[i].options, of[i].len);
        assert_int_equal(s.window, of[i].window);
        assert_int_equal(s.mss, 1460);
        assert_int_equal(s.tsval, 1077);
        assert_int_equal(s.scale, of[i].scale);
        s = pair_answer(&p, true, &s, PQ_SEC);
        assert_true(pq_connect_bare(&p.c, &s));
        pq_connect_ack(&p.c, &pair_slot, PQ_SEC);
        s = pair_read(true);
        assert_int_equal(s.window, of[i].told);
        assert_true(pq_connect_bare(&p.s, &s));
        assert_int_equal(pq_connect_room(&p.s), of[i].told << of[i].scale);
    }
    pair_as = PQ_SYSTEM_HOST;
}

/* What was forged last says the same as this answer but for the time: a box on the way takes the
 * window that was told last for the one that is in force. */
static void expect_same_answer(const struct pq_segment *first)
{
    const struct pq_segment again = pair_read(true);
    assert_int_equal(again.flags, first->flags);
    assert_int_equal(again.seq, first->seq);
    assert_int_equal(again.ack, first->ack);
    assert_int_equal(again.window, first->window);
    assert_int_equal(again.mss, first->mss);
    assert_int_equal(again.scale, first->scale);
    assert_int_equal(again.has_ts, first->has_ts);
}

static void syns_again(bool linear)
{
    struct pair p;
    struct pq_segment first = pair_ask(&p, true, PQ_SEC), s;
    if (linear) {
        const struct pq_connect_conf cc = {.mss = 1460, .rmem = RMEM, .linear = true};
        pq_connect_client(&p.c, &cc, PQ_SEC);
        pq_connect_ask(&p.c, &pair_slot, 0xfffffff3, PQ_SEC);
        first = pair_read(true);
    }
    assert_in_range(pq_syn_after(first.seq, 1), 1001, 1032);
    assert_int_equal(pq_syn_after(first.seq + 3, 1), pq_syn_after(first.seq, 1) + 3);
    assert_int_equal(pq_syn_after(first.seq, 2), pq_syn_after(first.seq, 1) + 1024);
    assert_int_equal(pq_syn_after(first.seq, 3), pq_syn_after(first.seq, 1) + 2016);
    for (unsigned i = 1; i < PQ_SYNS; i++) {
        const uint32_t after = pq_syn_after(first.seq, i + (i == 2 && !linear));
        assert_int_equal(p.c.conn.due, PQ_SEC + after * PQ_MS);
        pq_connect_ask(&p.c, &pair_slot, 5, p.c.conn.due + 9 * PQ_MS);
        s = pair_read(true);
        assert_int_equal(s.seq, first.seq);
        assert_int_equal(s.tsval, first.tsval + after);
        assert_int_equal(s.flags, PQ_TCP_SYN);
    }
    s = pair_answer(&p, true, &s, 5 * PQ_SEC);
    struct pq_segment wrong = s;
    wrong.ack++;
    assert_false(pq_connect_bare(&p.c, &wrong));
    wrong = s;
    wrong.flags = PQ_TCP_ACK;
    assert_false(pq_connect_bare(&p.c, &wrong));
    wrong.flags = SA | PQ_TCP_RST;
    assert_false(pq_connect_bare(&p.c, &wrong));
    wrong = s;
    wrong.has_ts = false;
    assert_false(pq_connect_bare(&p.c, &wrong));
    pq_connect_answer(&p.s, &pair_slot, 5 * PQ_SEC); /* again, the same */
    expect_same_answer(&s);
    assert_true(pq_connect_bare(&p.c, &s));
}

/* Whatever the scale of windows is. */
static void answer_goes_again(void **state)
{
    (void)state;
    for (uint32_t rmem = 1U << 15; rmem <= 1U << 30; rmem *= 2)
        for (int plain = 0; plain < 2; plain++) {
            const struct pq_connect_conf cc = {.mss = 1460, .rmem = rmem};
            struct pair p;
            struct pq_segment syn = pair_ask(&p, true, PQ_SEC);
            syn.has_ts = !plain;
            pair_init(&p.s, false, true);
            pq_connect_server(&p.s, &cc, &syn);
            pq_connect_answer(&p.s, &pair_slot, PQ_SEC);
            const struct pq_segment first = pair_read(true);
            assert_int_equal(first.window, plain ? 64240 : 65160);
            for (unsigned i = 0; i < 3; i++) {
                pq_connect_answer(&p.s, &pair_slot, (2 + i) * PQ_SEC);
                expect_same_answer(&first);
            }
        }
}

static void syn_goes_again(void **state)
{
    (void)state;
    syns_again(false);
    syns_again(true);
}

/* Without scaling on one side there is none on either. */
static void no_scale(void **state)
{
    (void)state;
    struct pair p;
    struct pq_segment s = pair_ask(&p, true, PQ_SEC);
    s.has_scale = false;
    s.scale = 0;
    s = pair_answer(&p, true, &s, PQ_SEC);
    assert_int_equal(s.scale, 0);
    s = pair_data(&p.s, 100, PQ_SEC);
    assert_int_equal(s.window, 65160);
    assert_int_equal(p.s.conn.window_max, 65535);
}

/* What others may say: nothing that was not sent is acknowledged, and what was allowed stays. */
static void room(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct pq_segment s = {.flags = PQ_TCP_ACK, .window = 100};
    const uint32_t begin = p.c.st.seq;
    for (int i = 0; i < 10; i++)
        pair_data(&p.c, 1000, PQ_SEC);
    assert_int_equal(pq_connect_room(&p.c), 65160 - 10000);
    s.window = 65535;
    s.ack = begin + 10001;
    assert_false(pq_connect_bare(&p.c, &s));
    s.ack = begin - 1;
    assert_false(pq_connect_bare(&p.c, &s));
    s.window = 100;
    s.ack = begin + 5000; /* allows less than before */
    assert_false(pq_connect_bare(&p.c, &s));
    assert_int_equal(pq_connect_room(&p.c), 65160 - 10000);
    s.ack = begin + 10000;
    s.window = 600;
    assert_true(pq_connect_bare(&p.c, &s));
    assert_int_equal(pq_connect_room(&p.c), 600 << 7);
    s.ack = begin + 9000; /* overtaken */
    assert_false(pq_connect_bare(&p.c, &s));
    s.flags = PQ_TCP_RST;
    s.seq = p.c.st.ack + 1;
    assert_false(pq_connect_bare(&p.c, &s));
    assert_false(p.c.conn.gone);
    s.seq = p.c.st.ack;
    assert_false(pq_connect_bare(&p.c, &s));
    assert_true(p.c.conn.gone);
    assert_int_equal(pq_connect_room(&p.c), 600 << 7);
}

/* When it acknowledges without data. */
static void bare_acks(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct pq_segment s = pair_data(&p.c, 1000, 2 * PQ_SEC);
    pq_flow_heard(&p.s, &s);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + 40 * PQ_MS);
    s = pair_data(&p.c, 1000, 2 * PQ_SEC);
    pq_flow_heard(&p.s, &s); /* more than one segment */
    assert_true(pq_connect_ack_at(&p.s, 2 * PQ_SEC) <= 2 * PQ_SEC);
    pq_connect_ack(&p.s, &pair_slot, 2 * PQ_SEC);
    s = pair_read(true);
    assert_int_equal(s.len, 0);
    assert_int_equal(s.ack, p.c.st.seq);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    s = pair_data(&p.s, 100, 2 * PQ_SEC); /* a round trip of no time: a path that is near */
    pq_flow_heard(&p.c, &s);
    for (int i = 0; i < 4; i++) {
        s = pair_data(&p.c, 1000, 2 * PQ_SEC);
        pq_flow_heard(&p.s, &s);
        pq_connect_ack_at(&p.s, 2 * PQ_SEC);
    }
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + PQ_MS);
    pair_data(&p.s, 100, 2 * PQ_SEC); /* it rides along */
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    pq_flow_heard(&p.s, &s); /* nothing new */
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    pq_connect_repeated(&p.s);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + 100 * PQ_MS);
    const struct pq_segment far = {.seq = s.seq + (4U << 20), .len = 1000, .flags = PA};
    pq_flow_heard(&p.s, &far); /* beyond the window: somebody has changed it */
    assert_int_equal(p.s.st.ack, p.c.st.seq);
}

static struct pq_segment fin(struct pq_flow *f, pq_ns now)
{
    pq_connect_fin(f, &pair_slot, now);
    return pair_read(true);
}

/* As a kernel ends it: FIN both ways, each acknowledged; again with the same number. */
static void fins(void **state)
{
    (void)state;
    for (int crossed = 0; crossed < 2; crossed++) {
        struct pair p;
        pair_open(&p);
        const uint32_t end = p.c.st.seq, other = p.s.st.seq;
        struct pq_segment a = fin(&p.c, 2 * PQ_SEC), b;
        assert_int_equal(a.flags, PQ_TCP_FIN | PQ_TCP_ACK);
        assert_int_equal(a.seq, end);
        assert_int_equal(a.ack, other);
        if (!crossed)
            pq_connect_bare(&p.s, &a);
        b = fin(&p.s, 2 * PQ_SEC);
        assert_int_equal(b.seq, other);
        assert_int_equal(b.ack, end + !crossed);
        assert_int_equal(b.tsecr, crossed ? 1077 : 2077);
        if (crossed)
            pq_connect_bare(&p.s, &a);
        pq_connect_bare(&p.c, &b);
        assert_int_equal(pq_connect_fin_acked(&p.c), !crossed);
        assert_true(pq_connect_fin_came(&p.c) && pq_connect_fin_came(&p.s));
        a = fin(&p.c, 3 * PQ_SEC); /* the server has not heard it, for all that is known */
        assert_int_equal(a.seq, end);
        assert_int_equal(a.ack, other + 1);
        pq_connect_bare(&p.s, &a);
        pq_connect_ack(&p.s, &pair_slot, 3 * PQ_SEC);
        a = pair_read(true);
        assert_int_equal(a.seq, other + 1);
        assert_int_equal(a.ack, end + 1);
        pq_connect_bare(&p.c, &a);
        assert_true(pq_connect_fin_acked(&p.c) && pq_connect_fin_acked(&p.s));
    }
}

/* One that is out of the window is nobody's. */
static void foreign_fin(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    const uint32_t ack = p.s.st.ack;
    struct pq_segment s = fin(&p.c, 2 * PQ_SEC);
    s.seq -= 1;
    pq_connect_bare(&p.s, &s);
    assert_int_equal(fin(&p.s, 2 * PQ_SEC).ack, ack);
    s.seq += 2 + RMEM;
    pq_connect_bare(&p.s, &s);
    assert_false(pq_connect_fin_came(&p.s));
    assert_int_equal(fin(&p.s, 2 * PQ_SEC).ack, ack);
}

/* Half a round of numbers away is not ahead; and whatever comes before this side acknowledges
 * again, no more is above the lowest hole than a window can say. */
static void changed_numbers(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct pq_segment s = pair_data(&p.c, 100, PQ_SEC);
    pq_flow_heard(&p.s, &s);
    const uint32_t ack = p.s.st.ack;
    for (uint32_t i = 0; i < 2000; i++) {
        s.seq = ack + 0x7ffffc00 + i;
        pq_flow_heard(&p.s, &s);
        assert_true(p.s.st.ack == ack && !p.s.conn.holes.n);
    }
    for (unsigned i = 0; i < 1000; i++) {
        s.seq = pq_holes_high(&p.s.conn.holes, p.s.st.ack) + p.s.conn.window - 100;
        pq_flow_heard(&p.s, &s);
        assert_in_range(s.seq + 100 - p.s.st.ack, 1, 65535U << p.s.conn.scale);
    }
}

/* What was not sent is not acknowledged, but opens the window if it is the peer's and not far off.
 */
static void acks_beyond(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct pq_segment s = pair_data(&p.s, 100, PQ_SEC);
    pq_flow_heard(&p.c, &s);
    const uint32_t una = p.c.conn.una, most = 65535U << p.c.conn.peer_scale;
    const uint32_t before = p.c.conn.edge - p.c.st.seq;
    s.ack = p.c.st.seq + most + 1;
    pq_flow_heard(&p.c, &s);
    s.ack--;
    assert_false(pq_connect_bare(&p.c, &s));
    assert_int_equal(p.c.conn.edge - p.c.st.seq, before);
    pq_flow_heard(&p.c, &s);
    assert_int_equal(p.c.conn.una, una);
    assert_int_equal(pq_connect_room(&p.c), most + ((uint32_t)s.window << p.c.conn.peer_scale));
}

/* What the first payload begins with, and that no other does. */
static void lead(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("lead");
    bool came[PQ_LEAD_MAX + 1] = {false};
    for (unsigned i = 0; i < 2000; i++) {
        struct pair p;
        uint8_t random[2 * (PQ_LEAD_MAX + 1)];
        for (size_t k = 0; k < sizeof random; k++)
            random[k] = (uint8_t)(i == 0 ? 0 : i == 1 ? 0xff : ut_rand(&seed));
        pair_open(&p);
        pq_connect_set_lead(&p.c, random);
        const uint8_t begin = p.c.conn.lead[0];
        assert_true((begin >= 'A' && begin <= 'Z') || (begin >= 'a' && begin <= 'z'));
        pair_slot.off = PQ_SLOT_HEAD;
        pair_slot.len = 100;
        memset(pair_slot.buf + PQ_SLOT_HEAD, 200, 100);
        pq_flow_craft(&p.c, &pair_slot, false, PQ_SEC);
        struct pq_segment s = pair_read(true);
        const size_t n = s.len - 100;
        assert_in_range(n, PQ_LEAD_MIN, PQ_LEAD_MAX);
        assert_int_equal(pq_connect_lead(&p.s, &s), n);
        for (size_t k = 0; k < n; k++)
            assert_in_range(s.data[k], 0x20, 0x7e);
        assert_int_equal(s.data[n], 200);
        came[n] = true;
        s.len = n;
        assert_int_equal(pq_connect_lead(&p.s, &s), 0); /* nothing is behind it */
        s = pair_data(&p.c, 100, PQ_SEC);
        assert_int_equal(s.len, 100);
        assert_int_equal(pq_connect_lead(&p.s, &s), 0);
    }
    for (unsigned n = PQ_LEAD_MIN; n <= PQ_LEAD_MAX; n++)
        assert_true(came[n]);
}

int wire_connect(void)
{
    const struct CMUnitTest connect[] = {
        cmocka_unit_test(handshake),
        cmocka_unit_test(syn_goes_again),
        cmocka_unit_test(answer_goes_again),
        cmocka_unit_test(systems),
        cmocka_unit_test(no_scale),
        cmocka_unit_test(room),
        cmocka_unit_test(bare_acks),
        cmocka_unit_test(lead),
        cmocka_unit_test(fins),
        cmocka_unit_test(foreign_fin),
        cmocka_unit_test(plain_handshake),
        cmocka_unit_test(changed_numbers),
        cmocka_unit_test(acks_beyond),
    };
    return ut_run(connect);
}
