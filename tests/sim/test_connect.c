/* SPDX-License-Identifier: MIT */
/* test_connect.c - flows that look like TCP connections from their SYN on: a strict box on the path
 * finds nothing wrong [12.9]. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

#include <stdio.h>

#define TCP   (14 + 20)
#define PORTS 64
#define SENT  (1U << 14)

/* ---- a box that keeps account of connections, as Linux' connection tracking does */

struct side {
    uint32_t end, max_end, max_win;
    unsigned scale;
};

static struct box {
    bool began[PORTS], reset[PORTS];
    struct side of[PORTS][2];
    uint32_t high[PORTS][2]; /* end of what was sent */
    uint32_t syn_end[PORTS][2];
    unsigned leads;
    struct sent { /* datagrams, by their numbers */
        uint32_t seq, len, hash;
    } sent[PORTS][2][SENT];
    unsigned n_sent[PORTS][2];
    bool fin[PORTS][2], fin_acked[PORTS][2];
    uint64_t lacked[2], filled[2], bytes[2]; /* that were lost, came later, all */
    unsigned sacks;                          /* segments that tell of holes */
    unsigned fins, syns, bare, resets, invalid, altered, repeats, longest;
    unsigned drop_syns, drop_answers; /* so many of them are lost */
    uint16_t clamp;                   /* MSS; 0 = as it is */
    bool plain;                       /* there are no time stamps */
} box;

static unsigned port_of(const uint8_t *t, unsigned from)
{
    const unsigned port = pq_be16(from == CLIENT ? t : t + 2) - 40000U;
    assert_true(port < PORTS);
    return port;
}

static bool is_invalid(struct side *me, struct side *peer, const uint8_t *t, uint32_t end)
{
    const uint32_t seq = pq_be32(t + 4), ack = pq_be32(t + 8);
    const uint32_t win = (uint32_t)pq_be16(t + 14) << (t[13] & PQ_TCP_SYN ? 0 : me->scale);
    const uint32_t lag = me->max_win > 66000 ? me->max_win : 66000;
    const bool bad = (int32_t)(seq - me->max_end) > 0 ||
                     (int32_t)(end - (me->end - peer->max_win)) < 0 ||
                     (int32_t)(ack - peer->end) > 0 || (int32_t)(ack - (peer->end - lag)) < 0;
    me->max_win = win > me->max_win ? win : me->max_win;
    if ((int32_t)(end - me->end) > 0)
        me->end = end;
    if ((int32_t)(ack + win - peer->max_end) > 0)
        peer->max_end = ack + win;
    return bad;
}

/* A SYN and its answer, which are 40 bytes of header, or 32 without time stamps. */
static bool handshake(unsigned port, unsigned from, const uint8_t *t)
{
    struct side *me = &box.of[port][from], *peer = &box.of[port][!from];
    const uint32_t end = pq_be32(t + 4) + 1;
    const uint8_t *scale = t + (!box.plain ? 37 : from == CLIENT ? 25 : 29);
    assert_int_equal(t[12] >> 4, box.plain ? 8 : 10);
    assert_int_equal(t[20], 2);
    assert_int_equal(scale[0], 3);
    me->scale = scale[2];
    me->end = end;
    me->max_win = pq_be16(t + 14);
    peer->max_end = pq_be32(t + 8) + me->max_win;
    me->max_end = from == CLIENT ? end : me->max_end;
    box.high[port][from] = box.syn_end[port][from] = end;
    if (from == SERVER)
        me->max_end = end + peer->max_win;
    box.began[port] = true;
    return from == CLIENT ? !box.drop_syns || !box.drop_syns--
                          : !box.drop_answers || !box.drop_answers--;
}

static uint32_t hash_of(const uint8_t *p, size_t n)
{
    uint32_t h = 1;
    while (n--)
        h = h * 16777619 ^ *p++;
    return h;
}

/* What was sent under this number, or NULL. */
static const struct sent *sent_as(unsigned port, unsigned from, uint32_t seq)
{
    const unsigned n = box.n_sent[port][from];
    for (unsigned i = n; i > 0 && n - i < SENT; i--)
        if (box.sent[port][from][(i - 1) % SENT].seq == seq)
            return &box.sent[port][from][(i - 1) % SENT];
    return NULL;
}

/* Numbers that were used are used again for nothing but the same datagram, bit for bit. */
static void note_bytes(unsigned port, unsigned from, const uint8_t *p, size_t n, uint32_t seq)
{
    uint32_t *high = &box.high[port][from];
    for (size_t i = 0; seq == box.syn_end[port][from] && i < PQ_LEAD_MIN; i++)
        assert_in_range(p[i], 0x20, 0x7e);
    box.leads += seq == box.syn_end[port][from];
    const bool is_new = (int32_t)(seq - *high) >= 0; /* before it comes here, some is lost */
    const struct sent *s = is_new ? NULL : sent_as(port, from, seq);
    if (is_new)
        box.lacked[from] += seq - *high;
    if (!s) { /* it fills a hole, or is new */
        box.filled[from] += is_new ? 0 : n;
        box.sent[port][from][box.n_sent[port][from]++ % SENT] =
            (struct sent){seq, (uint32_t)n, hash_of(p, n)};
        *high = is_new ? seq + (uint32_t)n : *high;
        return;
    }
    box.repeats++;
    box.altered += s->len != n || s->hash != hash_of(p, n);
}

/* Blocks are above what is acknowledged, apart from each other, and of what was sent. */
static bool are_right(const uint8_t *t, size_t head, uint32_t high)
{
    struct pq_gap gaps[PQ_SACKS_MAX];
    if (head <= 32) /* or without time stamps */
        return true;
    assert_int_equal(pq_be16(t + 32), 0x0101);
    assert_int_equal(t[34], 5);
    assert_int_equal(t[35], head - 34);
    box.sacks++;
    const unsigned n = t[35] / PQ_SACK_LEN;
    return pq_holes_read(t + 36, n, pq_be32(t + 8), high, gaps) >= (n < PQ_SACKS_MAX ? n : 1);
}

static bool watch(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    uint8_t *t = k->p + TCP;
    const unsigned port = port_of(t, from);
    const size_t head = (size_t)(t[12] >> 4) * 4, n = k->len - TCP - head;
    if (t[13] & PQ_TCP_SYN) {
        box.syns++;
        if (box.clamp)
            pq_put_be16(t + 22, box.clamp);
        world_make_sound(k->p, k->len);
        return handshake(port, from, t);
    }
    box.resets += t[13] & PQ_TCP_RST ? 1 : 0;
    box.bare += n == 0;
    box.bytes[from] += k->len;
    box.longest = n > box.longest ? (unsigned)n : box.longest;
    const uint32_t seq = pq_be32(t + 4), end = seq + (uint32_t)n + (t[13] & PQ_TCP_FIN ? 1 : 0);
    const bool bad = !box.began[port] ||
                     (n && box.fin[port][from] && end == box.high[port][from]) ||
                     is_invalid(&box.of[port][from], &box.of[port][!from], t, end);
    if (t[13] & PQ_TCP_FIN) {
        box.fins++;
        box.fin[port][from] = true;
        box.high[port][from] = end;
    }
    box.fin_acked[port][!from] = box.fin_acked[port][!from] ||
                                 (box.fin[port][!from] && pq_be32(t + 8) == box.high[port][!from]);
    box.invalid += bad || !are_right(t, head, box.high[port][!from]);
    if (n)
        note_bytes(port, from, k->p + TCP + head, n, seq);
    return !bad;
}

static void expect_clean(void)
{
    assert_int_equal(box.invalid, 0);
    assert_int_equal(box.altered, 0);
}

/* ---- two ends */

static struct pq_syns *remembered; /* by the server; answers from the start */

static struct world_conf connecting(pq_ns delay)
{
    struct world_conf c = world_keyed(delay);
    memset(&box, 0, sizeof box);
    world_no_syns(&remembered);
    for (int i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[i].smux.timeout = 60 * PQ_SEC;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].rmem = 6U << 20;
    }
    c.hub[SERVER].syns = remembered;
    return c;
}

/* The same as if the client ran Windows, whose packets have no time stamps. */
static struct world_conf plain_connecting(pq_ns delay)
{
    struct world_conf c = connecting(delay);
    c.hub[CLIENT].system = PQ_SYSTEM_WINDOWS;
    box.plain = true;
    return c;
}

static struct world *begin(const struct world_conf *c, const char *name)
{
    struct world *w = world_new(c, ut_seed(name));
    w->tap = watch;
    return w;
}

static void finish(struct world *w)
{
    world_free(w);
    pq_syns_free(&remembered);
}

static bool is_over(const struct world *w)
{
    return !w->end[CLIENT].hub->n_leaving && !w->end[SERVER].hub->n_leaving;
}

static void lose(struct world *w, unsigned loss)
{
    w->end[CLIENT].out.conf.loss = w->end[SERVER].out.conf.loss = loss;
}

/* FIN in both directions, as soon as one side says by what is sealed that it is over; each goes
 * four times until it is acknowledged, of which the last is not lost. */
static void ends_both_ways(struct world *w, unsigned loss)
{
    w->end[CLIENT].out.conf.loss = 0; /* of what is said once */
    pq_session_bye(w->ses);
    world_run(w, w->now + 5 * PQ_MS, NULL);
    lose(w, loss);
    pq_session_end(w->ses, PQ_ECLOSED);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 0);
    assert_true(loss || (pq_hub_left(w->end[CLIENT].hub, w->now) &&
                         pq_hub_left(w->end[SERVER].hub, w->now)));
    world_run(w, w->now + PQ_SEC / 2, NULL);
    lose(w, 0);
    world_run(w, w->now + PQ_SEC, NULL);
    for (int i = 0; i < 2; i++)
        assert_true(box.fin[0][i] && box.fin_acked[0][i]);
    assert_in_range(box.fins, 2, loss ? 8 : 2);
    assert_int_equal(box.resets, 0);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, is_over));
    expect_clean();
}

/* What says that it is over is lost, with the FIN behind it: it goes again before the FIN does, and
 * both are acknowledged. */
static void last_is_lost(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct world_conf c = plain ? plain_connecting(20 * PQ_MS) : connecting(20 * PQ_MS);
        struct world *w = begin(&c, "last datagram is lost");
        world_open(w, 100000, 100000);
        assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_closed));
        w->end[CLIENT].out.conf.loss = 1000;
        pq_session_bye(w->ses);
        world_run(w, w->now + 5 * PQ_MS, NULL);
        pq_session_end(w->ses, PQ_ECLOSED);
        world_run(w, w->now + 100 * PQ_MS, NULL);
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
        w->end[CLIENT].out.conf.loss = 0;
        const unsigned repeats = box.repeats;
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 0);
        assert_true(box.fin_acked[0][CLIENT] && box.fin_acked[0][SERVER]);
        assert_int_equal(box.resets, 0);
        assert_in_range(box.repeats - repeats, 0, 1);
        assert_true(world_run(w, w->now + 20 * PQ_SEC, is_over));
        expect_clean();
        finish(w);
    }
}

/* What was lost comes again, as far as one part of what is sent pays for it; without time stamps
 * nothing does. */
static void holes_are_filled(unsigned loss, bool plain)
{
    for (int i = 0; i < 2; i++) {
        const uint64_t paid = box.bytes[i] / PQ_FILLS_PART + 12000;
        assert_true(box.filled[i] <= (plain ? 0 : paid));
        if (loss && !plain)
            assert_true(box.filled[i] >= (box.lacked[i] < paid ? box.lacked[i] : paid) * 3 / 4);
    }
    assert_true(!plain == (box.sacks > 0));
}

/* What is said of loss counts what was lost, also where it came again. */
static void loss_is_told(struct world *w)
{
    struct pq_session_info info;
    pq_session_info(w->ses, &info);
    const uint64_t lost = info.expected - info.came, lacked = box.lacked[SERVER];
    const uint64_t all = box.bytes[SERVER] - box.filled[SERVER] + lacked;
    const uint64_t told = 10000 * lost / info.expected; /* of datagrams, not of bytes */
    assert_true(info.expected > 5000);
    assert_in_range(told, 6500 * lacked / all, 12500 * lacked / all);
}

static bool has_begun(const struct world *w)
{
    return w->end[CLIENT].secured || w->end[CLIENT].ended;
}

/* Where all three SYNs are lost, or their answers, as 7 times in 1,000 at 10 %, it is over, and
 * another one begins, elsewhere. */
static struct world *begin_lossy(unsigned loss, bool plain)
{
    for (unsigned i = 0; i < 3; i++) {
        struct world_conf c = plain ? plain_connecting(20 * PQ_MS) : connecting(20 * PQ_MS);
        c.link[0].loss = c.link[1].loss = loss;
        c.link[0].rate = c.link[1].rate = 4000000;
        c.link[0].queue = c.link[1].queue = 200000;
        struct world *w = world_new(&c, ut_seed("connection carries") + i);
        w->tap = watch;
        assert_true(world_run(w, WORLD_T0 + 20 * PQ_SEC, has_begun));
        if (!w->end[CLIENT].ended)
            return w;
        assert_true(loss && !box.bytes[CLIENT] && w->now > WORLD_T0 + 7 * PQ_SEC);
        finish(w);
    }
    fail();
    return NULL;
}

static void carries(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        const unsigned loss = i < 3 ? 50 * i : 100 * (i - 3);
        struct world *w = begin_lossy(loss, i >= 3);
        for (unsigned k = 0; k < 4; k++)
            world_open(w, 2000000, 2000000);
        assert_true(world_run(w, WORLD_T0 + 60 * PQ_SEC, world_closed));
        world_check(w);
        expect_clean();
        assert_in_range(box.syns, 2, 2 + (loss ? 4 : 0));
        holes_are_filled(loss, i >= 3);
        loss_is_told(w);
        assert_true(box.bare > 2);
        assert_true(loss || box.leads == 2);
        assert_int_equal(box.resets, 0);
        assert_int_equal(w->end[CLIENT].ended, 0);
        ends_both_ways(w, loss);
        finish(w);
    }
}

/* A handshake takes one round trip, and one that loses its SYN or the answer a second more. */
static void begins(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 10; k++) {
        const unsigned i = k % 5;
        struct world_conf c = k < 5 ? connecting(20 * PQ_MS) : plain_connecting(20 * PQ_MS);
        struct world *w = begin(&c, "connection begins");
        box.drop_syns = i % 2 ? i / 2 + 1 : 0;
        box.drop_answers = i && i % 2 == 0 ? i / 2 : 0;
        world_run(w, WORLD_T0 + 30 * PQ_MS, NULL);
        const uint32_t number = box.syn_end[0][CLIENT] - 1;
        const pq_ns late = pq_syn_after(number, i < 3 ? (i + 1) / 2 : 3) * PQ_MS;
        world_run(w, WORLD_T0 + late + 79 * PQ_MS, NULL);
        assert_int_equal(w->end[CLIENT].secured, 0);
        world_run(w, WORLD_T0 + late + 85 * PQ_MS, NULL);
        assert_int_equal(w->end[CLIENT].secured, 1);
        world_open(w, 100000, 100000);
        assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
        world_check(w);
        expect_clean();
        finish(w);
    }
}

/* Sessions that begin in the same millisecond are not taken for recordings of each other. */
static void eight_begin(const struct world_conf *c)
{
    struct world *w = world_new(c, ut_seed("begin at once"));
    for (uint16_t i = 1; i < 8; i++)
        world_connect(w, (uint16_t)(40000 + i));
    world_run(w, WORLD_T0 + 100 * PQ_MS, NULL);
    assert_int_equal(w->end[CLIENT].secured, 8);
    w->sloppy = true;
    finish(w);
}

static void begin_at_once(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    eight_begin(&c);
    c = plain_connecting(20 * PQ_MS);
    eight_begin(&c);
}

/* Nobody answers: the session ends, so that another port is tried. */
static void unanswered(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = begin(&c, "unanswered");
    box.drop_syns = 100;
    world_run(w, WORLD_T0 + 7 * PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].ended, 0);
    assert_int_equal(box.syns, 3);
    world_run(w, WORLD_T0 + 8 * PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].ended, 1);
    assert_int_equal(w->end[CLIENT].ended_err, PQ_ETIMEOUT);
    finish(w);
}

/* Nothing arrives for some seconds, one way or both: the window is full then, and nothing but the
 * last datagram may go. */
static void goes_on_after_silence(void **state)
{
    (void)state;
    unsigned repeats = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct world_conf c = connecting(30 * PQ_MS);
        c.link[0].rate = c.link[1].rate = 3000000;
        c.link[0].queue = c.link[1].queue = 200000;
        c.hub[CLIENT].rmem = c.hub[SERVER].rmem = 1U << 17;
        c.hub[SERVER].smux.keepalive = c.hub[CLIENT].smux.keepalive = 100 * PQ_SEC;
        c.hub[SERVER].smux.timeout = c.hub[CLIENT].smux.timeout = 300 * PQ_SEC;
        struct world *w = begin(&c, "goes on after silence");
        w->end[CLIENT].stays = true;
        world_open(w, i < 3 ? 100 : 8000000, i < 3 ? 8000000 : 100);
        world_run(w, WORLD_T0 + PQ_SEC, NULL);
        w->end[CLIENT].out.conf.cut = i % 3 != 1;
        w->end[SERVER].out.conf.cut = i % 3 != 0;
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        w->end[CLIENT].out.conf.cut = w->end[SERVER].out.conf.cut = false;
        assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
        world_check(w);
        expect_clean();
        repeats += box.repeats;
        finish(w);
    }
    assert_true(repeats > 0);
}

/* Each new tuple has a handshake of its own; the one that is left ends, too. */
static bool kill(struct world *w, unsigned from, struct link_packet *k)
{
    static pq_ns first[PORTS];
    const unsigned port = port_of(k->p + TCP, from);
    if (w->now < WORLD_T0 + PQ_MS)
        memset(first, 0, sizeof first);
    if (!first[port])
        first[port] = w->now;
    return watch(w, from, k) && w->now < first[port] + 3 * PQ_SEC;
}

static void moves(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) { /* the second time the window is full when the flow dies */
        struct world_conf c = i < 2 ? connecting(40 * PQ_MS) : plain_connecting(40 * PQ_MS);
        c.link[0].rate = c.link[1].rate = 1000000;
        c.link[0].queue = c.link[1].queue = 60000;
        c.hub[CLIENT].rmem = c.hub[SERVER].rmem = i == 1 ? 1U << 16 : 6U << 20;
        struct world *w = begin(&c, "connection moves");
        w->tap = kill;
        world_open(w, 6000000, 6000000);
        assert_true(world_run(w, WORLD_T0 + 150 * PQ_SEC, world_closed));
        world_check(w);
        expect_clean();
        assert_true(w->end[CLIENT].moved >= 2);
        assert_in_range(box.syns, 2 * w->end[CLIENT].moved + 2, 3 * w->end[CLIENT].moved + 4);
        assert_true(box.fins >= w->end[CLIENT].moved);
        assert_int_equal(box.resets, 0);
        finish(w);
    }
}

static bool has_moved(const struct world *w)
{
    return w->end[CLIENT].moved == w->end[CLIENT].moves;
}

/* The worker that answers a SYN may be another one than the session's: the connection goes there.
 */
static void move_often(struct world_conf *c)
{
    c->workers = 4;
    for (unsigned k = 0; k < 2; k++) {
        c->link[k].rate = 2000000;
        c->link[k].queue = 200000;
    }
    struct world *w = begin(c, "connection between workers");
    world_open(w, 20 << 20, 20 << 20);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    for (unsigned i = 1; i <= 30; i++) {
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_MS, NULL);
        world_run(w, w->now + 2 * PQ_SEC, has_moved);
        assert_int_equal(w->end[CLIENT].moved, i);
        assert_int_equal(w->end[CLIENT].moves, i);
        const struct pq_session *s =
            PQ_OF(w->end[SERVER].hub->sessions.next, struct pq_session, node);
        assert_int_equal(s->flow.conn.state, PQ_CONNECT_OPEN);
        assert_true(s->flow.conn.peer_scale == w->ses->flow.conn.scale);
    }
    assert_true(world_run(w, w->now + 60 * PQ_SEC, world_closed));
    world_check(w);
    expect_clean();
    assert_int_equal(box.syns, 2 * 31);
    assert_int_equal(box.leads, 2 * 31);
    assert_true(w->end[SERVER].handed > 1000);
    finish(w);
}

static void moves_between_workers(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    move_often(&c);
    c = plain_connecting(20 * PQ_MS);
    move_often(&c);
}

/* A box on the way allows smaller segments than this link does. */
static void clamped(void **state)
{
    (void)state;
    static const uint16_t mss[] = {1200, 800};
    for (unsigned i = 0; i < 2; i++) {
        struct world_conf c = connecting(10 * PQ_MS);
        struct world *w = begin(&c, "clamped");
        box.clamp = mss[i];
        world_open(w, 300000, 300000);
        assert_true(world_run(w, WORLD_T0 + 20 * PQ_SEC, world_closed));
        world_check(w);
        expect_clean();
        assert_in_range(box.longest, mss[i] - 300, mss[i] - 12);
        finish(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_is_lost), cmocka_unit_test(carries),
        cmocka_unit_test(begins),       cmocka_unit_test(begin_at_once),
        cmocka_unit_test(unanswered),   cmocka_unit_test(goes_on_after_silence),
        cmocka_unit_test(moves),        cmocka_unit_test(moves_between_workers),
        cmocka_unit_test(clamped),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
