/* SPDX-License-Identifier: MIT */
#include "router.h"

#include "base/bytes.h"
#include "unit.h"

#define IP        14
#define LAG_LEAST 66000U /* that an acknowledgement may be behind */
#define FIN       0x01
#define SYN       0x02
#define RST       0x04
#define PSH       0x08
#define ACK       0x10
#define URG       0x20

enum kind { K_SYN, K_SYNACK, K_FIN, K_ACK, K_RST, K_NONE };

struct seg { /* what it looks at */
    const uint8_t *ip, *tcp;
    uint8_t flags;
    enum kind kind;
    uint32_t seq, end, ack, sack; /* sack: the end of the highest block, or ack */
    uint16_t win;
    uint8_t scale;
    bool has_scale, permits; /* options of a SYN */
};

static bool before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

const char *router_word(enum router_finding f)
{
    static const char *const words[ROUTER_FINDINGS] = {
        "valid",        "ignored",     "flags",        "no entry",    "state",
        "seq too high", "seq too low", "ack too high", "ack too low", "old reset"};
    return words[f];
}

/* ---- reading */

static void read_sacks(struct seg *s, const uint8_t *o, unsigned len)
{
    for (unsigned i = 2; i + 8 <= len; i += 8) {
        const uint32_t to = pq_be32(o + i + 4);
        if (before(s->sack, to))
            s->sack = to;
    }
}

static void read_options(struct seg *s, size_t head)
{
    for (size_t i = 20; i < head && s->tcp[i];) {
        const uint8_t *o = s->tcp + i;
        if (o[0] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= head || o[1] < 2 || i + o[1] > head)
            return;
        if (o[0] == 3) {
            s->has_scale = true;
            s->scale = o[2] < 14 ? o[2] : 14;
        }
        s->permits = s->permits || o[0] == 4;
        if (o[0] == 5)
            read_sacks(s, o, o[1]);
        i += o[1];
    }
}

/* Returns false if no TCP has such flags, or such a length. */
static bool read_segment(struct seg *s, const uint8_t *frame, size_t n)
{
    assert_true(n >= IP + 40);
    s->ip = frame + IP;
    s->tcp = s->ip + 20;
    s->flags = s->tcp[13] & (FIN | SYN | RST | ACK | URG);
    const size_t head = (size_t)(s->tcp[12] >> 4) * 4;
    if (head < 20 || IP + 20 + head > n)
        return false;
    s->kind = s->flags & RST                            ? K_RST
              : (s->flags & (SYN | ACK)) == (SYN | ACK) ? K_SYNACK
              : s->flags & SYN                          ? K_SYN
              : s->flags & FIN                          ? K_FIN
              : s->flags & ACK                          ? K_ACK
                                                        : K_NONE;
    s->seq = pq_be32(s->tcp + 4);
    s->ack = s->sack = pq_be32(s->tcp + 8);
    s->win = pq_be16(s->tcp + 14);
    s->end = s->seq + (uint32_t)(n - IP - 20 - head) + (s->flags & SYN ? 1 : 0) +
             (s->flags & FIN ? 1 : 0);
    read_options(s, head);
    const uint8_t f = s->flags & (uint8_t)~URG;
    return f == SYN || f == (SYN | ACK) || f == RST || f == (RST | ACK) || f == (FIN | ACK) ||
           f == ACK;
}

/* ---- states */

static enum router_state after_syn(enum router_state s, unsigned dir)
{
    if (s == R_TIME_WAIT || (dir == 0 && (s == R_NONE || s == R_SYN_SENT || s == R_CLOSE)))
        return R_SYN_SENT;
    if (s == R_SYN_BOTH || (dir == 1 && s == R_SYN_SENT))
        return R_SYN_BOTH;
    return dir == 0 ? R_IGNORE : R_INVALID;
}

static enum router_state after_answer(enum router_state s, unsigned dir)
{
    if (s == R_SYN_BOTH || s == (dir == 0 ? R_SYN_RECV : R_SYN_SENT))
        return R_SYN_RECV;
    return dir == 0 || s == R_NONE ? R_INVALID : R_IGNORE;
}

static enum router_state after_fin(enum router_state s)
{
    if (s == R_SYN_RECV || s == R_ESTABLISHED)
        return R_FIN_WAIT;
    if (s == R_FIN_WAIT || s == R_CLOSE_WAIT || s == R_LAST_ACK)
        return R_LAST_ACK;
    return s == R_TIME_WAIT || s == R_CLOSE ? s : R_INVALID;
}

static enum router_state after_ack(enum router_state s, unsigned dir)
{
    if (s == R_NONE)
        return R_INVALID; /* tcp_loose would take it */
    if (s == R_SYN_SENT || s == R_SYN_BOTH)
        return dir == 0 ? R_INVALID : R_IGNORE;
    if (s == R_SYN_RECV)
        return dir == 0 ? R_ESTABLISHED : s;
    return s == R_FIN_WAIT ? R_CLOSE_WAIT : s == R_LAST_ACK ? R_TIME_WAIT : s;
}

static enum router_state next_state(enum router_state s, unsigned dir, enum kind k)
{
    switch (k) {
    case K_SYN:
        return after_syn(s, dir);
    case K_SYNACK:
        return after_answer(s, dir);
    case K_FIN:
        return after_fin(s);
    case K_ACK:
        return after_ack(s, dir);
    case K_RST:
        return s == R_NONE ? R_INVALID : R_CLOSE;
    default:
        return R_INVALID;
    }
}

static pq_ns patience(enum router_state s)
{
    static const unsigned seconds[] = {
        [R_SYN_SENT] = 120,  [R_SYN_RECV] = 60,   [R_ESTABLISHED] = 432000,
        [R_FIN_WAIT] = 120,  [R_CLOSE_WAIT] = 60, [R_LAST_ACK] = 30,
        [R_TIME_WAIT] = 120, [R_CLOSE] = 10,      [R_SYN_BOTH] = 120};
    return seconds[s] * PQ_SEC;
}

/* ---- windows */

/* A SYN, or its answer, begins the numbers of its side. */
static void begin_side(struct router_side *me, struct router_side *peer, const struct seg *s,
                       unsigned dir)
{
    *me = (struct router_side){.end = s->end,
                               .max_end = s->end,
                               .max_win = s->win ? s->win : 1,
                               .scale = s->scale,
                               .has_scale = s->has_scale,
                               .sacks = s->permits};
    if (dir == 1 && !(me->has_scale && peer->has_scale))
        me->scale = peer->scale = 0;
}

static enum router_finding bounds(const struct router_side *me, const struct router_side *peer,
                                  const struct seg *s)
{
    const uint32_t lag = me->max_win > LAG_LEAST ? me->max_win : LAG_LEAST;
    if (before(me->max_end, s->seq))
        return ROUTER_SEQ_HIGH;
    if (before(peer->end, s->sack))
        return ROUTER_ACK_HIGH;
    if (peer->max_win && before(s->end, me->end - peer->max_win))
        return ROUTER_SEQ_LOW;
    return before(s->sack, peer->end - lag) ? ROUTER_ACK_LOW : ROUTER_VALID;
}

static void take_note(struct router_side *me, struct router_side *peer, const struct seg *s)
{
    const uint32_t win = (uint32_t)s->win << (s->flags & SYN ? 0 : me->scale);
    const uint32_t told = win + (s->sack - s->ack);
    if (told > me->max_win)
        me->max_win = told;
    if (before(me->end, s->end))
        me->end = s->end;
    if (s->flags & ACK && (!me->has_ack || before(me->max_ack, s->ack))) {
        me->max_ack = s->ack;
        me->has_ack = true;
    }
    if (peer->max_win && before(me->max_end, s->end))
        peer->max_win += s->end - me->max_end;
    if (!before(s->sack + win, peer->max_end))
        peer->max_end = s->sack + win + (win ? 0 : 1);
}

/* Whether the segment is within what both sides allow each other. */
static enum router_finding in_window(struct router_conn *c, unsigned dir, struct seg *s)
{
    struct router_side *me = &c->side[dir], *peer = &c->side[!dir];
    const bool early = c->state == R_SYN_SENT || c->state == R_SYN_RECV;
    if (!peer->sacks)
        s->sack = s->ack;
    if (s->flags & SYN && (!me->max_win || (before(me->end, s->end) && early))) {
        begin_side(me, peer, s, dir);
        if (!(s->flags & ACK))
            return ROUTER_VALID;
    } else if (!me->max_win) { /* its beginning was not seen */
        me->end = s->end;
        me->max_win = (uint32_t)s->win << me->scale ? (uint32_t)s->win << me->scale : 1;
        me->max_end = s->end + me->max_win;
        if (!peer->max_win)
            peer->end = peer->max_end = s->sack;
    }
    if (!(s->flags & ACK) || (s->flags & RST && !s->ack))
        s->ack = s->sack = peer->end;
    if (s->flags & RST && !s->seq && c->state == R_SYN_SENT)
        s->seq = s->end = me->end;
    const enum router_finding f = bounds(me, peer, s);
    if (f == ROUTER_VALID)
        take_note(me, peer, s);
    return f;
}

/* ---- one segment */

static void note_last(struct router_conn *c, unsigned dir, const struct seg *s)
{
    c->last.kind = s->kind;
    c->last.dir = dir;
    c->last.seq = s->seq;
    c->last.end = s->end;
    c->last.win = s->win;
}

/* It says nothing of the connection as it is known; it may be that both ends know another one. */
static enum router_finding ignore(struct router_conn *c, unsigned dir, const struct seg *s)
{
    struct router_seen *l = &c->last;
    note_last(c, dir, s);
    if (s->kind == K_SYN && dir == 0) {
        l->scale = s->scale;
        l->has_scale = s->has_scale;
        l->sacks = s->permits;
        l->challenge = c->state == R_LAST_ACK;
    }
    return ROUTER_IGNORED;
}

/* An answer to a SYN that was ignored: both ends are at the beginning of another connection. */
static bool answers_ignored(struct router_conn *c, unsigned dir, const struct seg *s)
{
    const struct router_seen *l = &c->last;
    if (s->kind != K_SYNACK || l->kind != K_SYN || l->dir == dir || s->ack != l->end)
        return false;
    c->state = R_SYN_SENT;
    c->side[l->dir] = (struct router_side){.end = l->end,
                                           .max_end = l->end,
                                           .max_win = l->win ? l->win : 1,
                                           .scale = l->scale,
                                           .has_scale = l->has_scale,
                                           .sacks = l->sacks};
    c->side[dir] = (struct router_side){.max_win = 0};
    return true;
}

/* What becomes of a reset.  Returns R_INVALID, or the state; *as_is: without a look at windows. */
static enum router_state reset(const struct router_conn *c, unsigned dir, const struct seg *s,
                               bool old, bool *as_is)
{
    const struct router_seen *l = &c->last;
    const struct router_side *peer = &c->side[!dir];
    const bool open = c->state == R_ESTABLISHED && c->assured;
    *as_is = !old && c->state >= R_FIN_WAIT && c->state <= R_CLOSE;
    if (*as_is)
        return R_CLOSE;
    if (peer->has_ack && l->kind != K_SYN) {
        if (!s->seq && !open)
            return R_CLOSE;
        if (before(s->seq, peer->max_ack))
            return R_INVALID;
        const bool train = l->kind == K_ACK && l->dir == dir && s->seq == l->end;
        if (open && s->seq != peer->max_ack && !train)
            return c->state;
        return R_CLOSE;
    }
    *as_is =
        ((c->replied && l->kind == K_SYN) || (!c->assured && l->kind == K_ACK)) && s->ack == l->end;
    return R_CLOSE;
}

static enum router_finding follow(struct router_conn *c, unsigned dir, struct seg *s, bool old,
                                  pq_ns now)
{
    enum router_state next = next_state(c->state, dir, s->kind);
    bool as_is = false;
    if (next == R_INVALID)
        return ROUTER_STATE;
    if (next == R_IGNORE || (next == R_SYN_SENT && c->state >= R_TIME_WAIT)) {
        if (!answers_ignored(c, dir, s))
            return ignore(c, dir, s);
        next = R_SYN_RECV;
    }
    if (s->kind == K_RST && (next = reset(c, dir, s, old, &as_is)) == R_INVALID)
        return ROUTER_RST_OLD;
    if (next == R_TIME_WAIT && c->state == R_LAST_ACK && s->kind == K_ACK && c->last.dir != dir &&
        c->last.kind == K_SYN && c->last.challenge) {
        c->last.challenge = false;
        return ROUTER_IGNORED;
    }
    const enum router_finding f = as_is ? ROUTER_VALID : in_window(c, dir, s);
    if (f != ROUTER_VALID)
        return f;
    note_last(c, dir, s);
    c->side[dir].closes = c->side[dir].closes || (next == R_FIN_WAIT && c->state != next);
    c->replied = c->replied || dir == 1;
    c->assured = c->assured || (c->replied && next == R_ESTABLISHED);
    c->state = next;
    c->until = now + patience(next);
    return ROUTER_VALID;
}

static struct router_conn *find(struct router *r, const struct seg *s, pq_ns now, unsigned *dir)
{
    for (struct router_conn *c = r->conn; c < r->conn + r->n; c++) {
        if (c->until <= now) {
            *c-- = r->conn[--r->n];
            continue;
        }
        for (*dir = 0; *dir < 2; ++*dir)
            if (memcmp(c->ip[*dir], s->ip + 12, 4) == 0 &&
                memcmp(c->ip[!*dir], s->ip + 16, 4) == 0 && c->port[*dir] == pq_be16(s->tcp) &&
                c->port[!*dir] == pq_be16(s->tcp + 2))
                return c;
    }
    return NULL;
}

static enum router_finding begin(struct router *r, const struct seg *s, pq_ns now)
{
    if (s->kind != K_SYN)
        return ROUTER_NO_ENTRY;
    assert_true(r->n < ROUTER_MAX);
    struct router_conn *c = &r->conn[r->n++];
    *c = (struct router_conn){.state = R_SYN_SENT, .until = now + patience(R_SYN_SENT)};
    for (unsigned i = 0; i < 2; i++) {
        memcpy(c->ip[i], s->ip + 12 + 4 * (size_t)i, 4);
        c->port[i] = pq_be16(s->tcp + 2 * (size_t)i);
    }
    begin_side(&c->side[0], &c->side[1], s, 0);
    note_last(c, 0, s);
    return ROUTER_VALID;
}

/* A SYN where the connection is over: it goes, and another one begins. */
static bool begins_anew(const struct router_conn *c, unsigned dir, const struct seg *s)
{
    return s->kind == K_SYN && c->state >= R_TIME_WAIT &&
           next_state(c->state, dir, K_SYN) == R_SYN_SENT &&
           (c->side[0].closes || c->side[1].closes ||
            (c->last.dir == dir && c->last.kind == K_RST));
}

enum router_finding router_see(struct router *r, const uint8_t *frame, size_t n, pq_ns now,
                               bool *passes)
{
    struct seg s = {.ip = NULL};
    unsigned dir;
    enum router_finding f = ROUTER_FLAGS;
    if (read_segment(&s, frame, n)) {
        struct router_conn *c = find(r, &s, now, &dir);
        if (c && begins_anew(c, dir, &s)) {
            *c = r->conn[--r->n];
            c = NULL;
        }
        f = c ? follow(c, dir, &s, r->old, now) : begin(r, &s, now);
    }
    const bool late = f == ROUTER_SEQ_LOW || f == ROUTER_ACK_LOW;
    r->count[f]++;
    r->resets[f] += s.kind == K_RST;
    *passes = f <= ROUTER_IGNORED || (late && !r->old);
    return f;
}

unsigned router_established(const struct router *r, pq_ns now)
{
    unsigned n = 0;
    for (const struct router_conn *c = r->conn; c < r->conn + r->n; c++)
        n += c->state == R_ESTABLISHED && c->assured && c->until > now;
    return n;
}
