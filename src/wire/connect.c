/* SPDX-License-Identifier: MIT */
#include "wire/connect.h"

#include "wire/connect_internal.h"
#include "wire/flow.h"

#include <string.h>

#define LEADS       (PQ_LEAD_MAX - PQ_LEAD_MIN + 1)
#define PRINTABLE   95     /* characters from ' ' on */
#define SPACE_FIRST 65535U /* of which whole segments are told at first */
#define MSS_LEAST   536    /* less says nobody but who wants to disturb; nor ... */
#define FIRST_LEAST 32768  /* ... a first window of less */

#define REFUSALS      3              /* of the connection that the tuple had before: ... */
#define REFUSE_AFTER  (150 * PQ_MS)  /* ... once its other end acknowledges nothing new, ... */
#define REFUSE_LATEST (700 * PQ_MS)  /* ... or for so long it has done so, ... */
#define REFUSE_AGAIN  (1000 * PQ_MS) /* ... and next so long after the one before */

/* A timer of a second falls where the clock of Linux' timers, which goes at 250 Hz, is at a
 * multiple of eight; the next ones fall there, too, so they are late by a part that is always the
 * same.  The first part is told by the number. */
uint32_t pq_syn_after(uint32_t number, unsigned i)
{
    static const uint16_t after[PQ_SYN_TIMES] = {0, 1001, 1001 + 1024, 1001 + 2016};
    return after[i] + (i ? number % 32 : 0);
}

/* Of the one that is next. */
static uint32_t syn_time(const struct pq_connect *c)
{
    const bool late = c->syns == PQ_SYNS - 1 && !c->linear;
    return pq_syn_after(c->first, c->syns + late);
}

static const struct {
    uint8_t ttl, scale;
    uint16_t window; /* the first one; 0 = whole segments */
    uint32_t then;   /* the next one, in whole segments, not less; 0 = the same */
    bool linear;     /* SYNs go again each second */
    bool plain;      /* without time stamps */
} systems[PQ_SYSTEMS] = {
    [PQ_SYSTEM_ANDROID] = {64, 9, 65535, 0, false, false},
    [PQ_SYSTEM_WINDOWS] = {128, 8, 0, 262144, false, true},
    [PQ_SYSTEM_APPLE] = {64, 6, 65535, 0, true, false},
};

uint8_t pq_system_ttl(enum pq_system s)
{
    return systems[s].ttl;
}

/* As Linux chooses it: so many times that 16 bits hold the largest window. */
static uint8_t scale_for(uint32_t rmem)
{
    uint8_t n = 0;
    for (; n < 14 && rmem >> n > 65535; n++)
        ;
    return n;
}

static void init(struct pq_flow *f, const struct pq_connect_conf *c)
{
    f->look = PQ_LOOK_CONNECT;
    f->flags = (struct pq_flags){{PQ_TCP_PSH | PQ_TCP_ACK}, 1};
    f->flag_next = 0;
    f->conn = (struct pq_connect){.scale = scale_for(c->rmem), .mss = c->mss};
    f->conn.system = c->system;
    f->conn.linear = c->system ? systems[c->system].linear : c->linear;
    f->conn.plain = systems[c->system].plain;
    if (c->system)
        f->conn.scale = systems[c->system].scale;
    f->conn.own_scale = f->conn.scale;
    f->conn.window_max = c->rmem;
    f->conn.every = PQ_ACK_EACH * (uint32_t)c->mss;
    f->conn.max_acks = PQ_ACKS_FIRST;
}

static uint32_t first_edge(uint32_t from, uint16_t window)
{
    return from + (window > FIRST_LEAST ? window : FIRST_LEAST);
}

/* The first window is whole segments, of which a SYN does not know yet that they have time stamps;
 * afterwards it is a multiple of what the header can say. */
static void first_window(struct pq_connect *c, uint32_t segment)
{
    c->window = segment ? SPACE_FIRST / segment * segment : SPACE_FIRST;
}

/* The same in an answer, each time that it goes. */
static void first_answer(struct pq_connect *c)
{
    const uint32_t stamps = c->plain ? 0 : 12;
    first_window(c, c->mss > stamps ? c->mss - stamps : 0);
}

static void scaled_window(struct pq_connect *c)
{
    const uint32_t unit = UINT32_C(1) << c->scale, most = UINT32_C(65535) << c->scale;
    if (c->window_max > most)
        c->window_max = most;
    c->window_max &= ~(unit - 1);
    c->window = (c->window + unit - 1) & ~(unit - 1);
    if (c->window > c->window_max)
        c->window = c->window_max;
}

/* What SYN and SYN+ACK say about the peer; windows are scaled only if both want it. */
static void read_syn(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    c->peer_mss = s->mss > MSS_LEAST ? s->mss : MSS_LEAST;
    c->peer_scale = s->has_scale ? s->scale : 0;
    c->scale = s->has_scale ? c->own_scale : 0;
    c->peer_first = s->seq;
    f->st.ack = c->own_edge = s->seq + 1;
    f->st.ts_echo = s->tsval;
    f->st.heard = true;
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The first character says how many there are.  It is a letter: other characters are what flows of
 * some protocols are known by. */
void pq_connect_set_lead(struct pq_flow *f, const uint8_t random[2 * (PQ_LEAD_MAX + 1)])
{
    struct pq_connect *c = &f->conn;
    const uint32_t more = pq_le16(random) % LEADS;
    const uint32_t first = (more + LEADS - ('A' - ' ') % LEADS) % LEADS; /* of A, B, ... */
    uint8_t letters[PRINTABLE / LEADS + 1] = {(uint8_t)('A' + first)};
    uint32_t n = 1;
    c->lead_len = (uint8_t)(PQ_LEAD_MIN + more);
    for (size_t i = 1; i < c->lead_len; i++)
        c->lead[i] = (uint8_t)(' ' + pq_le16(random + 2 * i) % PRINTABLE);
    for (uint32_t i = letters[0] + LEADS; i < ' ' + PRINTABLE; i += LEADS)
        if (is_letter((uint8_t)i))
            letters[n++] = (uint8_t)i;
    c->lead[0] = letters[pq_le16(random + (size_t)2 * PQ_LEAD_MAX) % n];
}

static bool is_printable(const uint8_t *p, size_t n)
{
    while (n && p[n - 1] >= ' ' && p[n - 1] < ' ' + PRINTABLE)
        n--;
    return !n;
}

/* Where more answers may have come than are looked at, the characters alone tell. */
size_t pq_connect_lead(const struct pq_flow *f, const struct pq_segment *s)
{
    const struct pq_connect *c = &f->conn;
    const bool unknown = c->n_answers == PQ_ANSWERS && !c->sure;
    bool first = s->seq == c->peer_first + 1;
    for (unsigned i = 0; i < c->n_answers && !c->sure; i++)
        first = first || s->seq == c->answers[i].seq + 1;
    if (c->state != PQ_CONNECT_OPEN || !(first || unknown) || !s->len)
        return 0;
    const size_t n = PQ_LEAD_MIN + (size_t)((uint8_t)(s->data[0] - ' ') % LEADS);
    return n < s->len && (first || is_printable(s->data, n)) ? n : 0;
}

void pq_connect_client(struct pq_flow *f, const struct pq_connect_conf *c, pq_ns now)
{
    init(f, c);
    f->conn.state = PQ_CONNECT_ASKING;
    f->conn.due = now;
    first_window(&f->conn, c->mss);
    if (systems[c->system].window)
        f->conn.window = systems[c->system].window;
    if (f->conn.window > UINT16_MAX)
        f->conn.window = UINT16_MAX;
}

void pq_connect_server(struct pq_flow *f, const struct pq_connect_conf *c,
                       const struct pq_segment *syn)
{
    init(f, c);
    f->conn.state = PQ_CONNECT_OPEN;
    f->conn.plain = !syn->has_ts;
    read_syn(f, syn);
    f->conn.first = f->st.seq;
    f->conn.una = f->conn.una_proven = f->st.seq;
    f->conn.edge = first_edge(f->st.seq + 1, syn->window);
}

void pq_connect_forge_bare(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, pq_ns now)
{
    slot->off = PQ_SLOT_HEAD;
    slot->len = 0;
    pq_flow_craft_as(f, slot, flags, now);
}

void pq_connect_ask(struct pq_flow *f, struct pq_slot *slot, uint32_t first, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    if (!c->syns) {
        c->first = first;
        c->syn_ts = pq_flow_tsval(f, now);
        c->began = c->due;
    }
    f->st.seq = c->first;
    c->syn_at = c->syn_ts + syn_time(c);
    pq_connect_forge_bare(f, slot, PQ_TCP_SYN, now);
    c->due += PQ_SYN_PATIENCE;
    if (++c->syns < PQ_SYNS)
        c->due = c->began + syn_time(c) * PQ_MS;
}

bool pq_connect_is_old(struct pq_flow *f, const struct pq_segment *s, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    const uint16_t kind = s->flags & (PQ_TCP_SYN | PQ_TCP_ACK | PQ_TCP_RST);
    const bool first = !c->refuse_at;
    if (c->state != PQ_CONNECT_ASKING || kind != PQ_TCP_ACK)
        return false;
    if (first && (!c->syns || s->ack == c->first + 1 || c->n_refused >= REFUSALS ||
                  (c->n_refused && now < c->refused_at + REFUSE_AGAIN)))
        return false;
    if (first)
        c->refused_at = now;
    else if ((int32_t)(s->ack - c->refused) <= 0)
        return true;
    c->refused = s->ack;
    c->refuse_at = pq_ns_min(now + REFUSE_AFTER, c->refused_at + REFUSE_LATEST);
    c->due = c->refuse_at;
    c->syns = 0; /* what answers it is of no use: a router may have passed it by */
    return true;
}

void pq_connect_refusal(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    f->st.seq = c->refused;
    pq_connect_forge_bare(f, slot, PQ_TCP_RST, now);
    c->refuse_at = 0;
    c->refused_at = now;
    c->n_refused++;
}

void pq_connect_answer(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    first_answer(&f->conn);
    f->st.seq = f->conn.first;
    pq_connect_forge_bare(f, slot, PQ_TCP_SYN | PQ_TCP_ACK, now);
    scaled_window(&f->conn);
    f->conn.round_ts = f->conn.told;
}

void pq_connect_note_answered(struct pq_flow *f, pq_ns now)
{
    first_answer(&f->conn);
    f->st.seq = f->conn.first + 1;
    f->st.sent = true;
    pq_connect_sent(f, pq_flow_tsval(f, now), 0, now);
    scaled_window(&f->conn);
    f->conn.round_ts = f->conn.told;
}

/* Where the peer is and how far he lets this side go; he never takes back what he has allowed. What
 * is `proven` counts as well where somebody has acknowledged more in his name.  He acknowledges
 * what was not sent where somebody has changed numbers on their way: it opens the window. */
static bool acked(struct pq_flow *f, const struct pq_segment *s, bool proven)
{
    struct pq_connect *c = &f->conn;
    const uint32_t from = proven ? c->una_proven : c->una, beyond = s->ack - f->st.seq;
    const bool sent = s->ack - from <= f->st.seq - from;
    if (!(s->flags & PQ_TCP_ACK) || (!sent && (!proven || beyond > 65535U << c->peer_scale)))
        return false;
    if (sent && c->una == c->first && s->has_ts) { /* how long the handshake took */
        c->echo = s->tsecr;
        c->echo_new = true;
    }
    c->una = sent ? s->ack : c->una;
    c->una_proven = sent && proven ? s->ack : c->una_proven;
    const uint32_t edge = s->ack + ((uint32_t)s->window << c->peer_scale);
    if ((int32_t)(edge - c->edge) <= 0)
        return false;
    c->edge = edge;
    return true;
}

/* Whether it may be the server's, and is one that has not come before. */
static bool note_answer(struct pq_connect *c, const struct pq_segment *s)
{
    if ((s->flags & (PQ_TCP_SYN | PQ_TCP_ACK | PQ_TCP_RST)) != (PQ_TCP_SYN | PQ_TCP_ACK) ||
        !c->syns || s->ack != c->first + 1 || s->has_ts == c->plain || c->n_answers >= PQ_ANSWERS)
        return false;
    for (unsigned i = 0; i < c->n_answers; i++)
        if (c->answers[i].seq == s->seq)
            return false;
    c->answers[c->n_answers++] = (struct pq_syn_answer){.seq = s->seq,
                                                        .ts = s->tsval,
                                                        .mss = s->mss,
                                                        .window = s->window,
                                                        .scale = s->scale,
                                                        .has_scale = s->has_scale};
    return true;
}

void pq_connect_settle(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    const struct pq_syn_answer *best = NULL;
    if (c->sure)
        return;
    c->sure = true;
    for (const struct pq_syn_answer *a = c->answers; a < c->answers + c->n_answers; a++)
        if (!best || s->seq - a->seq < s->seq - best->seq)
            best = a;
    if (best && s->seq - best->seq > SPACE_FIRST) { /* none of them is: he says where he is, ... */
        f->st.ack = c->own_edge = s->seq;
        f->st.ts_echo = s->tsval;
        c->peer_mss = c->mss; /* ... and is a host like this one */
        c->peer_scale = c->scale = c->own_scale;
        scaled_window(c);
    }
    if (!best || best->seq == c->peer_first || s->seq - best->seq > SPACE_FIRST)
        return;
    const struct pq_segment syn = {.seq = best->seq,
                                   .tsval = best->ts,
                                   .mss = best->mss,
                                   .scale = best->scale,
                                   .has_scale = best->has_scale};
    read_syn(f, &syn);
    scaled_window(c);
    const uint32_t edge = first_edge(c->first + 1, best->window);
    if ((int32_t)(edge - c->edge) > 0)
        c->edge = edge;
}

static bool answered(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    if (!note_answer(c, s))
        return false;
    read_syn(f, s);
    const uint32_t then = systems[c->system].then;
    if (then && c->mss)
        c->window = (then + c->mss - 1) / c->mss * c->mss & ~((UINT32_C(1) << c->scale) - 1);
    scaled_window(c);
    c->state = PQ_CONNECT_OPEN;
    c->una = c->una_proven = c->first + 1;
    c->edge = first_edge(c->una, s->window);
    c->finish = true;
    c->round_ts = c->told;
    c->echo = s->tsecr;
    c->echo_new = s->has_ts;
    return true;
}

bool pq_connect_bare(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    if (c->state == PQ_CONNECT_ASKING)
        return answered(f, s);
    if (c->state != PQ_CONNECT_OPEN)
        return false;
    if (s->flags & PQ_TCP_RST) {
        c->gone = c->gone || s->seq == pq_holes_high(&c->holes, f->st.ack);
        return false;
    }
    if (s->flags & PQ_TCP_FIN) {
        c->closing = true;
        c->fin_at = s->seq;
        c->fin_ts = s->tsval;
    }
    if (s->flags & PQ_TCP_SYN && !c->sure && note_answer(c, s))
        return false;
    if (s->flags & PQ_TCP_SYN) { /* the acknowledgement of his SYN+ACK was lost */
        c->again = c->again || (s->flags & PQ_TCP_ACK && s->seq + 1 == f->st.ack);
        return c->again;
    }
    return acked(f, s, false);
}

/* Whether one is over: his echo tells, which stands, too, while something of his own is lacking
 * here; or, by his clock, the least one. */
static bool is_round(const struct pq_connect *c, const struct pq_segment *s, bool told)
{
    return (told && (int32_t)(c->echo - c->round_ts) >= 0) ||
           (s->has_ts && c->rtt_min &&
            (int32_t)(s->tsval - c->round_peer_ts) > (int32_t)c->rtt_min);
}

/* Once a round trip: as many times what came in it as the sender may need for the next ones. */
static void widen(struct pq_connect *c, const struct pq_segment *s, bool told, uint32_t fresh)
{
    c->round += fresh;
    if (!is_round(c, s, told))
        return;
    c->most = c->round > c->most ? c->round : c->most;
    const uint32_t wanted = c->round < c->window_max / PQ_WINDOW_ROUNDS
                                ? PQ_WINDOW_ROUNDS * c->round
                                : c->window_max; /* no overflow */
    if (wanted > c->window)
        c->window = wanted;
    scaled_window(c);
    pq_connect_thin_out(c);
    c->round = 0;
    c->round_ts = c->told + 1;
    c->round_peer_ts = s->tsval;
}

/* Whether it tells when something was sent that it answers: by the time stamp that comes back, or
 * because it acknowledges what was marked. */
static bool echoed(struct pq_connect *c, const struct pq_segment *s)
{
    if (c->plain) {
        if (!c->marked || !(s->flags & PQ_TCP_ACK) || (int32_t)(s->ack - c->mark) < 0)
            return false;
        c->echo = c->mark_ts;
        c->marked = false;
        c->echo_new = true;
        return true;
    }
    if (!s->has_ts)
        return false;
    if (s->tsecr != c->echo) { /* again, it tells when it was sent alone */
        pq_connect_note_way(c, s->tsval - s->tsecr, s->tsval);
        c->echo_new = true;
    }
    c->echo = s->tsecr;
    return true;
}

void pq_connect_heard(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    uint32_t fresh;
    if (!pq_connect_take_up(f, s, &fresh))
        return;
    acked(f, s, true);
    widen(c, s, echoed(c, s), fresh);
    pq_connect_owe(f, fresh);
}

bool pq_connect_knows(const struct pq_flow *f, const struct pq_segment *s)
{
    const uint32_t from = f->conn.first + 1;
    return s->flags & PQ_TCP_ACK && s->ack - from <= f->st.seq - from;
}

void pq_connect_sent(struct pq_flow *f, uint32_t tsval, size_t bytes, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    if (c->plain && bytes && !c->marked) {
        c->mark = f->st.seq;
        c->mark_ts = tsval;
        c->marked = true;
    }
    c->told = tsval;
    c->owed = c->n_points = 0;
    c->owed_since = 0;
    c->finish = c->again = false;
    c->dup = c->dup && c->holes.n;
    c->sent_at = now;
}

void pq_connect_repeated(struct pq_flow *f)
{
    f->conn.again = f->conn.state == PQ_CONNECT_OPEN;
}

uint32_t pq_connect_room(const struct pq_flow *f)
{
    const struct pq_connect *c = &f->conn;
    if (c->state == PQ_CONNECT_NO)
        return UINT32_MAX;
    const int32_t left = (int32_t)(c->edge - f->st.seq);
    return c->state == PQ_CONNECT_OPEN && left > 0 ? (uint32_t)left : 0;
}

void pq_connect_note_rtt(struct pq_flow *f, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    const uint32_t stamp = pq_flow_tsval(f, now), rtt = stamp - c->echo + 1;
    if (!c->echo_new)
        return;
    if (!c->rtt_min || rtt < c->rtt_min)
        c->rtt_min = rtt;
    if (c->plain) /* there and back together is all that is known */
        pq_connect_note_way(c, rtt, stamp);
    c->echo_new = false;
}

void pq_connect_reset(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    pq_connect_forge_bare(f, slot, PQ_TCP_RST | PQ_TCP_ACK, now);
}

bool pq_connect_fin_came(struct pq_flow *f)
{
    struct pq_connect *c = &f->conn;
    if (!c->closed && c->closing && c->fin_at - pq_holes_high(&c->holes, f->st.ack) <= c->window) {
        c->holes.n = 0;
        f->st.ack = c->fin_at + 1;
        if ((int32_t)(c->fin_ts - f->st.ts_echo) > 0)
            f->st.ts_echo = c->fin_ts;
        c->closed = true;
    }
    return c->closed;
}

void pq_connect_fin(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    if (!c->fins++)
        c->fin = f->st.seq;
    f->st.seq = c->fin;
    pq_connect_fin_came(f);
    pq_connect_forge_bare(f, slot, PQ_TCP_FIN | PQ_TCP_ACK, now);
}

bool pq_connect_fin_acked(const struct pq_flow *f)
{
    return f->conn.fins && f->conn.una == f->st.seq;
}
