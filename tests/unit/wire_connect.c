/* SPDX-License-Identifier: MIT */
/* wire_connect.c - a flow that is a TCP connection from its SYN on [12.9]. */
#include "base/bytes.h"
#include "unit.h"
#include "wire/csum.h"
#include "wire/flow.h"
#include "wire_tests.h"

#define PA   (PQ_TCP_PSH | PQ_TCP_ACK)
#define SA   (PQ_TCP_SYN | PQ_TCP_ACK)
#define RMEM (6U << 20)

static uint8_t buf[PQ_SLOT_SIZE];
static struct pq_slot slot = {.buf = buf};

struct pair {
    struct pq_flow c, s;
};

static void init(struct pq_flow *f, bool client, bool is4)
{
    struct pq_flow_conf c = {.look = PQ_LOOK_PLAUSIBLE,
                             .ttl = 64,
                             .ts_offset = client ? 77 : 99,
                             .seed = UINT64_C(0x1234567812345678)};
    struct pq_addr a, b;
    if (is4) {
        pq_addr_set4(&a, (const uint8_t[]){192, 0, 2, 1}, 40000);
        pq_addr_set4(&b, (const uint8_t[]){198, 51, 100, 2}, 9999);
    } else {
        a = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 1}, 40000};
        b = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 2}, 9999};
    }
    c.local = client ? a : b;
    c.peer = client ? b : a;
    pq_flow_init(f, &c);
}

/* What is in the slot, with right checksums. */
static struct pq_segment read(bool is4)
{
    struct pq_segment s;
    enum pq_drop d = pq_segment_parse(&s, buf + slot.off, slot.len, 0);
    assert_int_equal(d, s.len ? PQ_DROP_NONE : PQ_DROP_NO_PAYLOAD);
    const uint8_t *ip = buf + slot.off;
    const size_t ip_len = is4 ? PQ_IP4_LEN : PQ_IP6_LEN;
    uint8_t tail[4] = {0, 6, (uint8_t)((slot.len - ip_len) >> 8), (uint8_t)(slot.len - ip_len)};
    uint64_t sum = pq_csum_add(0, ip + (is4 ? 12 : 8), is4 ? 8 : 32);
    sum = pq_csum_add(sum, tail, 4);
    assert_int_equal(pq_csum_fold(pq_csum_add(sum, ip + ip_len, slot.len - ip_len)), 0);
    return s;
}

static struct pq_segment data(struct pq_flow *f, size_t n, pq_ns now)
{
    slot.off = PQ_SLOT_HEAD;
    slot.len = (uint16_t)n;
    memset(buf + PQ_SLOT_HEAD, 7, n);
    pq_flow_craft(f, &slot, false, now);
    return read(f->ip_len == PQ_IP4_LEN);
}

static struct pq_segment ask(struct pair *p, bool is4, pq_ns now)
{
    const struct pq_connect_conf cc = {.mss = is4 ? 1460 : 1440, .rmem = RMEM};
    init(&p->c, true, is4);
    pq_connect_client(&p->c, &cc, now);
    assert_int_equal(pq_connect_room(&p->c), 0);
    pq_connect_ask(&p->c, &slot, 0xfffffff0, now);
    return read(is4);
}

static struct pq_segment answer(struct pair *p, bool is4, const struct pq_segment *syn, pq_ns now)
{
    const struct pq_connect_conf cc = {.mss = is4 ? 1460 : 1440, .rmem = RMEM};
    init(&p->s, false, is4);
    pq_connect_server(&p->s, &cc, syn);
    pq_connect_answer(&p->s, &slot, now);
    return read(is4);
}

static void open_pair(struct pair *p)
{
    struct pq_segment s = ask(p, true, PQ_SEC);
    s = answer(p, true, &s, PQ_SEC);
    assert_true(pq_connect_bare(&p->c, &s));
    pq_connect_ack(&p->c, &slot, PQ_SEC);
    s = read(true);
    pq_connect_bare(&p->s, &s);
}

/* The three packets, as Linux sends them. */
static void handshake(void **state)
{
    (void)state;
    for (int is4 = 0; is4 < 2; is4++) {
        struct pair p;
        struct pq_segment s = ask(&p, is4, 5 * PQ_SEC);
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

        s = answer(&p, is4, &s, 5 * PQ_SEC);
        assert_int_equal(s.flags, SA);
        assert_int_equal(s.seq, 0x12345678);
        assert_int_equal(s.ack, 0xfffffff1);
        assert_int_equal(s.tsecr, 5077);
        assert_int_equal(s.window, is4 ? 65160 : 64260);
        if (is4)
            assert_int_equal(pq_be16(buf + slot.off + 4), 0);

        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), PQ_NEVER);
        assert_true(pq_connect_bare(&p.c, &s));
        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), 6 * PQ_SEC);
        pq_connect_ack(&p.c, &slot, 6 * PQ_SEC);
        s = read(is4);
        assert_int_equal(s.flags, PQ_TCP_ACK);
        assert_int_equal(s.seq, 0xfffffff1);
        assert_int_equal(s.ack, 0x12345679);
        assert_int_equal(s.window, is4 ? 502 : 507);
        assert_int_equal(s.tsecr, 5099);
        assert_int_equal(pq_connect_ack_at(&p.c, 6 * PQ_SEC), PQ_NEVER);
        assert_int_equal(pq_connect_room(&p.c), is4 ? 65160 : 64260);
        assert_int_equal(pq_connect_room(&p.s), is4 ? 64240 : 64800);

        s = data(&p.c, 300, 6 * PQ_SEC);
        assert_int_equal(s.flags, PA);
        assert_int_equal(s.seq, 0xfffffff1);
        s = data(&p.c, 300, 6 * PQ_SEC); /* past 2^32 */
        assert_int_equal(s.seq, 0xfffffff1 + 300);
    }
}

/* SYNs of other systems; what follows is as ever. */
static void systems(void **state)
{
    (void)state;
    static const struct {
        uint16_t window, told; /* in the SYN, in bytes afterwards */
        uint8_t scale, len, options[24];
    } of[PQ_SYSTEMS] = {
        [PQ_SYSTEM_ANDROID] = {65535, 128, 9, 20, {2, 4,  5, 0xb4, 4, 2, 8, 10, 0, 0,
                                                   4, 53, 0, 0,    0, 0, 1, 3,  3, 9}},
        [PQ_SYSTEM_WINDOWS] = {8192, 16060, 2, 20, {2, 4,  5, 0xb4, 1, 3,  3, 2, 4, 2,
                                                    8, 10, 0, 0,    4, 53, 0, 0, 0, 0}},
        [PQ_SYSTEM_APPLE] = {65535, 1024, 6, 24, {2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10,
                                                  0, 0, 4, 53,   0, 0, 0, 0, 4, 2, 0, 0}},
    };
    for (int i = PQ_SYSTEM_ANDROID; i < PQ_SYSTEMS; i++) {
        struct pair p;
        const struct pq_connect_conf cc = {.mss = 1460, .rmem = RMEM, .system = (enum pq_system)i};
        init(&p.c, true, true);
        pq_connect_client(&p.c, &cc, PQ_SEC);
        pq_connect_ask(&p.c, &slot, 0xfffffff0, PQ_SEC);
        struct pq_segment s = read(true);
        assert_int_equal(slot.len, 40U + of[i].len);
        assert_memory_equal(s.data - of[i].len, of[i].options, of[i].len);
        assert_int_equal(s.window, of[i].window);
        assert_int_equal(s.mss, 1460);
        assert_int_equal(s.tsval, 1077);
        assert_int_equal(s.scale, of[i].scale);
        s = answer(&p, true, &s, PQ_SEC);
        assert_true(pq_connect_bare(&p.c, &s));
        pq_connect_ack(&p.c, &slot, PQ_SEC);
        s = read(true);
        assert_int_equal(s.window, of[i].told);
        assert_true(pq_connect_bare(&p.s, &s));
        assert_int_equal(pq_connect_room(&p.s), of[i].told << of[i].scale);
    }
}

static void syns_again(bool linear)
{
    struct pair p;
    struct pq_segment first = ask(&p, true, PQ_SEC), s;
    if (linear) {
        const struct pq_connect_conf cc = {.mss = 1460, .rmem = RMEM, .linear = true};
        pq_connect_client(&p.c, &cc, PQ_SEC);
        pq_connect_ask(&p.c, &slot, 0xfffffff3, PQ_SEC);
        first = read(true);
    }
    assert_in_range(pq_syn_after(first.seq, 1), 1001, 1032);
    assert_int_equal(pq_syn_after(first.seq + 3, 1), pq_syn_after(first.seq, 1) + 3);
    assert_int_equal(pq_syn_after(first.seq, 2), pq_syn_after(first.seq, 1) + 1024);
    assert_int_equal(pq_syn_after(first.seq, 3), pq_syn_after(first.seq, 1) + 2016);
    for (unsigned i = 1; i < PQ_SYNS; i++) {
        const uint32_t after = pq_syn_after(first.seq, i + (i == 2 && !linear));
        assert_int_equal(p.c.conn.due, PQ_SEC + after * PQ_MS);
        pq_connect_ask(&p.c, &slot, 5, p.c.conn.due + 9 * PQ_MS);
        s = read(true);
        assert_int_equal(s.seq, first.seq);
        assert_int_equal(s.tsval, first.tsval + after);
        assert_int_equal(s.flags, PQ_TCP_SYN);
    }
    s = answer(&p, true, &s, 5 * PQ_SEC);
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
    pq_connect_answer(&p.s, &slot, 5 * PQ_SEC); /* again, the same */
    const struct pq_segment again = read(true);
    assert_int_equal(again.seq, s.seq);
    assert_true(pq_connect_bare(&p.c, &s));
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
    struct pq_segment s = ask(&p, true, PQ_SEC);
    s.has_scale = false;
    s.scale = 0;
    s = answer(&p, true, &s, PQ_SEC);
    assert_int_equal(s.scale, 0);
    s = data(&p.s, 100, PQ_SEC);
    assert_int_equal(s.window, 65160);
    assert_int_equal(p.s.conn.window_max, 65535);
}

/* What others may say: nothing that was not sent is acknowledged, and what was allowed stays. */
static void room(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p);
    struct pq_segment s = {.flags = PQ_TCP_ACK, .window = 100};
    const uint32_t begin = p.c.st.seq;
    for (int i = 0; i < 10; i++)
        data(&p.c, 1000, PQ_SEC);
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
    open_pair(&p);
    struct pq_segment s = data(&p.c, 1000, 2 * PQ_SEC);
    pq_flow_heard(&p.s, &s);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + 40 * PQ_MS);
    s = data(&p.c, 1000, 2 * PQ_SEC);
    pq_flow_heard(&p.s, &s); /* more than one segment */
    assert_true(pq_connect_ack_at(&p.s, 2 * PQ_SEC) <= 2 * PQ_SEC);
    pq_connect_ack(&p.s, &slot, 2 * PQ_SEC);
    s = read(true);
    assert_int_equal(s.len, 0);
    assert_int_equal(s.ack, p.c.st.seq);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    s = data(&p.s, 100, 2 * PQ_SEC); /* a round trip of no time: a path that is near */
    pq_flow_heard(&p.c, &s);
    for (int i = 0; i < 4; i++) {
        s = data(&p.c, 1000, 2 * PQ_SEC);
        pq_flow_heard(&p.s, &s);
        pq_connect_ack_at(&p.s, 2 * PQ_SEC);
    }
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + PQ_MS);
    data(&p.s, 100, 2 * PQ_SEC); /* it rides along */
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    pq_flow_heard(&p.s, &s); /* nothing new */
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), PQ_NEVER);
    pq_connect_repeated(&p.s);
    assert_int_equal(pq_connect_ack_at(&p.s, 2 * PQ_SEC), 2 * PQ_SEC + 100 * PQ_MS);
    const struct pq_segment far = {.seq = s.seq + (4U << 20), .len = 1000, .flags = PA};
    pq_flow_heard(&p.s, &far); /* beyond the window: somebody has changed it */
    assert_int_equal(p.s.st.ack, p.c.st.seq);
}

/* So many full segments, all of them at once; returns how many packets acknowledge them, each of
 * what had come by then. */
static unsigned flood(struct pair *p, unsigned n, pq_ns now)
{
    struct pq_segment s;
    unsigned done = 0;
    for (unsigned i = 0; i < n; i++) {
        s = data(&p->c, 1448, now);
        pq_flow_heard(&p->s, &s);
    }
    for (uint32_t last = s.ack; pq_connect_acks(&p->s, &slot, 1, now); last = s.ack, done++) {
        assert_true(pq_connect_ack_at(&p->s, now) == now || !p->s.conn.n_points);
        s = read(true);
        assert_int_equal(s.len, 0);
        assert_true((int32_t)(s.ack - last) > 0 || !done);
        assert_int_equal(s.tsecr, pq_flow_tsval(&p->c, now));
    }
    if (pq_connect_ack_at(&p->s, now) <= now) { /* of the rest */
        pq_connect_ack(&p->s, &slot, now);
        assert_int_equal(read(true).ack, p->c.st.seq);
        done++;
    }
    return done;
}

/* A round trip: `up` ms from the server to the client, 20 back. */
static unsigned round_of(struct pair *p, unsigned n, pq_ns up, pq_ns *now)
{
    struct pq_segment s = data(&p->s, 50, *now);
    *now += up * PQ_MS;
    pq_flow_heard(&p->c, &s);
    *now += 20 * PQ_MS;
    struct pq_segment t = data(&p->c, 1448, *now - 20 * PQ_MS);
    pq_flow_heard(&p->s, &t);
    pq_connect_ack_at(&p->s, *now);
    pq_connect_ack(&p->s, &slot, *now); /* what follows begins with nothing owed */
    return flood(p, n, *now);
}

/* One for two full segments that come one by one, or for a frame of more; and few where they wait
 * on their way. */
static void bare_acks_in_number(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p);
    pq_ns now = 2 * PQ_SEC;
    round_of(&p, 2, 20, &now);
    assert_int_equal(round_of(&p, 10, 20, &now), 5);
    struct pq_segment s = {.seq = p.c.st.seq, .len = 20000, .flags = PA};
    pq_flow_heard(&p.s, &s);
    p.c.st.seq += 20000;
    assert_int_equal(flood(&p, 0, now), 1);
    assert_int_equal(round_of(&p, 40, 24, &now), 20);
    assert_int_equal(round_of(&p, 40, 60, &now), 8); /* packets wait */
    assert_int_equal(round_of(&p, 40, 60, &now), 2);
    for (unsigned i = 0; i < 60; i++)
        round_of(&p, 10, 20, &now);
    assert_int_equal(round_of(&p, 40, 20, &now), 20);
    for (unsigned i = 0; i < 1000; i++) /* a path that has become longer for good */
        round_of(&p, 2, 60, &now);
    assert_int_equal(round_of(&p, 40, 60, &now), 20);
}

/* No more than a quarter more in each round trip, so that a narrow way is noticed in time. */
static void bare_acks_grow(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p);
    pq_ns now = 2 * PQ_SEC;
    unsigned most = 64, acks;
    for (unsigned n = 60; n < 1000; n *= 2) {
        acks = round_of(&p, 60, 20, &now);
        for (unsigned i = 60; i < n; i += 60)
            acks += flood(&p, 60, now);
        assert_in_range(acks, n < 200 ? n / 2 : most, most + n / 16);
        most += n < 200 ? 0 : most / 4;
    }
}

static struct pq_segment fin(struct pq_flow *f, pq_ns now)
{
    pq_connect_fin(f, &slot, now);
    return read(true);
}

/* As a kernel ends it: FIN both ways, each acknowledged; again with the same number. */
static void fins(void **state)
{
    (void)state;
    for (int crossed = 0; crossed < 2; crossed++) {
        struct pair p;
        open_pair(&p);
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
        pq_connect_ack(&p.s, &slot, 3 * PQ_SEC);
        a = read(true);
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
    open_pair(&p);
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
        open_pair(&p);
        pq_connect_set_lead(&p.c, random);
        slot.off = PQ_SLOT_HEAD;
        slot.len = 100;
        memset(buf + PQ_SLOT_HEAD, 200, 100);
        pq_flow_craft(&p.c, &slot, false, PQ_SEC);
        struct pq_segment s = read(true);
        const size_t n = s.len - 100;
        assert_in_range(n, PQ_LEAD_MIN, PQ_LEAD_MAX);
        assert_int_equal(pq_connect_lead(&p.s, &s), n);
        for (size_t k = 0; k < n; k++)
            assert_in_range(s.data[k], 0x20, 0x7e);
        assert_int_equal(s.data[n], 200);
        came[n] = true;
        s.len = n;
        assert_int_equal(pq_connect_lead(&p.s, &s), 0); /* nothing is behind it */
        s = data(&p.c, 100, PQ_SEC);
        assert_int_equal(s.len, 100);
        assert_int_equal(pq_connect_lead(&p.s, &s), 0);
    }
    for (unsigned n = PQ_LEAD_MIN; n <= PQ_LEAD_MAX; n++)
        assert_true(came[n]);
}

/* The window is ahead of what comes in a round trip, and its right edge never goes back. */
static void window_grows(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p);
    uint32_t edge = 0, window = 0;
    pq_ns now = 2 * PQ_SEC;
    for (uint32_t round = 0, n = 10; round < 14; round++, now += 50 * PQ_MS, n += n / 2) {
        struct pq_segment s;
        for (uint32_t i = 0; i < n && pq_connect_room(&p.c) >= 1300; i++) {
            s = data(&p.c, 1300, now);
            pq_flow_heard(&p.s, &s);
        }
        const uint32_t bytes = 1300 * n;
        s = data(&p.s, 50, now + PQ_MS);
        pq_flow_heard(&p.c, &s);
        window = (uint32_t)s.window << 7;
        if (round > 2)
            assert_true(window >= RMEM || window >= 2 * bytes);
        assert_true((int32_t)(s.ack + window - edge) > 0 || !round);
        edge = s.ack + window;
    }
    assert_true(window > 1U << 20);
    assert_true(window <= RMEM);
}

int wire_connect(void)
{
    const struct CMUnitTest connect[] = {
        cmocka_unit_test(handshake),      cmocka_unit_test(syn_goes_again),
        cmocka_unit_test(systems),        cmocka_unit_test(no_scale),
        cmocka_unit_test(room),           cmocka_unit_test(bare_acks),
        cmocka_unit_test(window_grows),   cmocka_unit_test(bare_acks_in_number),
        cmocka_unit_test(bare_acks_grow), cmocka_unit_test(lead),
        cmocka_unit_test(fins),           cmocka_unit_test(foreign_fin),
    };
    return ut_run(connect);
}
