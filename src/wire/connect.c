/* SPDX-License-Identifier: MIT */
#include "wire/connect.h"

#include "wire/flow.h"

#define ACK_NEAR                                                                                   \
    PQ_MS /* from what was sent last to an acknowledgement without data on short paths, ... */
#define NEAR        3            /* ... of so many ms; on others one goes for each batch; ... */
#define ACK_LATEST  (40 * PQ_MS) /* ... after a lone segment, as Linux does, ... */
#define ACK_SLOW    (16 * PQ_MS) /* ... once something queues on the way, ... */
#define SLOW_MORE   10  /* ms: a round trip of half as much more than the least, and that */
#define FASTER      256 /* ... and then by such a part shorter with each batch */
#define LEADS       (PQ_LEAD_MAX - PQ_LEAD_MIN + 1)
#define PRINTABLE   95            /* characters from ' ' on */
#define ACK_AGAIN   (100 * PQ_MS) /* between two to a peer that repeats itself */
#define SPACE_FIRST 65535U        /* of which whole segments are told at first */
#define GROW        4U            /* the window is that many times what came in a round trip */
#define MSS_LEAST   536           /* less says nobody but who wants to disturb; nor ... */
#define FIRST_LEAST 32768         /* ... a first window of less */

const uint16_t pq_syn_after[PQ_SYNS] = {0, 1024, 3072};

static const struct {
    uint8_t ttl, scale;
    uint16_t segments; /* of the first window; or ... */
    uint16_t window;   /* ... its bytes */
} systems[PQ_SYSTEMS] = {
    [PQ_SYSTEM_ANDROID] = {64, 3, 44, 0},
    [PQ_SYSTEM_WINDOWS] = {128, 2, 0, 8192},
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
    if (c->system)
        f->conn.scale = systems[c->system].scale;
    f->conn.own_scale = f->conn.scale;
    f->conn.window_max = c->rmem;
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
    f->st.ack = s->seq + 1;
    f->st.ts_echo = s->tsval;
    f->st.heard = true;
}

/* The first character says how many there are. */
void pq_connect_set_lead(struct pq_flow *f, const uint8_t random[2 * (PQ_LEAD_MAX + 1)])
{
    struct pq_connect *c = &f->conn;
    const uint32_t more = pq_le16(random) % LEADS;
    const uint32_t times = (PRINTABLE - 1 - more) / LEADS + 1;
    c->lead_len = (uint8_t)(PQ_LEAD_MIN + more);
    for (size_t i = 1; i < c->lead_len; i++)
        c->lead[i] = (uint8_t)(' ' + pq_le16(random + 2 * i) % PRINTABLE);
    const uint32_t which = pq_le16(random + (size_t)2 * PQ_LEAD_MAX) % times;
    c->lead[0] = (uint8_t)(' ' + more + LEADS * which);
}

size_t pq_connect_lead(const struct pq_flow *f, const struct pq_segment *s)
{
    const struct pq_connect *c = &f->conn;
    bool first = s->seq == c->peer_first + 1;
    for (unsigned i = 0; i < c->n_answers && !c->sure; i++)
        first = first || s->seq == c->answers[i].seq + 1;
    if (c->state != PQ_CONNECT_OPEN || !first || !s->len)
        return 0;
    const size_t n = PQ_LEAD_MIN + (size_t)((uint8_t)(s->data[0] - ' ') % LEADS);
    return n < s->len ? n : 0;
}

void pq_connect_client(struct pq_flow *f, const struct pq_connect_conf *c, pq_ns now)
{
    init(f, c);
    f->conn.state = PQ_CONNECT_ASKING;
    f->conn.due = now;
    first_window(&f->conn, c->mss);
    if (systems[c->system].segments)
        f->conn.window = (uint32_t)systems[c->system].segments * c->mss;
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
    first_window(&f->conn, c->mss > 12 ? c->mss - 12U : 0);
    read_syn(f, syn);
    f->conn.first = f->st.seq;
    f->conn.una = f->st.seq;
    f->conn.edge = first_edge(f->st.seq + 1, syn->window);
}

static void forge_bare(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, pq_ns now)
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
    }
    f->st.seq = c->first;
    forge_bare(f, slot, PQ_TCP_SYN, now);
    c->due += ++c->syns < PQ_SYNS
                  ? (pq_ns)(pq_syn_after[c->syns] - pq_syn_after[c->syns - 1]) * PQ_MS
                  : PQ_SYN_PATIENCE;
}

void pq_connect_answer(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    f->st.seq = f->conn.first;
    forge_bare(f, slot, PQ_TCP_SYN | PQ_TCP_ACK, now);
    scaled_window(&f->conn);
    f->conn.round_ts = f->conn.told;
}

void pq_connect_note_answered(struct pq_flow *f, pq_ns now)
{
    f->st.seq = f->conn.first + 1;
    f->st.sent = true;
    pq_connect_sent(f, pq_flow_tsval(f, now), now);
    scaled_window(&f->conn);
    f->conn.round_ts = f->conn.told;
}

/* Where the peer is and how far he lets this side go; he never takes back what he has allowed. */
static bool acked(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_connect *c = &f->conn;
    if (!(s->flags & PQ_TCP_ACK) || s->ack - c->una > f->st.seq - c->una)
        return false;
    c->una = s->ack;
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
        !c->syns || s->ack != c->first + 1 || !s->has_ts || c->n_answers >= PQ_ANSWERS)
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
    if (best && s->seq - best->seq > SPACE_FIRST) { /* none of them is: he says where he is */
        f->st.ack = s->seq;
        f->st.ts_echo = s->tsval;
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
    if (c->window < SPACE_FIRST / 2) /* such a system tells more from now on */
        first_window(c, c->mss);
    scaled_window(c);
    c->state = PQ_CONNECT_OPEN;
    c->una = c->first + 1;
    c->edge = first_edge(c->una, s->window);
    c->finish = true;
    c->round_ts = c->told;
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
        c->gone = c->gone || s->seq == f->st.ack;
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
    return acked(f, s);
}

/* Once a round trip: as many times what came in it as the sender may need for the next ones. */
static void widen(struct pq_connect *c, const struct pq_segment *s, uint32_t fresh)
{
    c->round += fresh;
    if (!s->has_ts || (int32_t)(s->tsecr - c->round_ts) < 0)
        return;
    const uint32_t wanted =
        c->round < c->window_max / GROW ? GROW * c->round : c->window_max; /* no overflow */
    if (wanted > c->window)
        c->window = wanted;
    scaled_window(c);
    c->round = 0;
    c->round_ts = c->told + 1;
}

void pq_connect_heard(struct pq_flow *f, const struct pq_segment *s, uint32_t fresh)
{
    struct pq_connect *c = &f->conn;
    if (c->state != PQ_CONNECT_OPEN)
        return;
    acked(f, s);
    widen(c, s, fresh);
    c->echo_new = c->echo_new || s->tsecr != c->echo; /* again, it tells when it was sent alone */
    c->echo = s->tsecr;
    c->owed += fresh;
}

bool pq_connect_knows(const struct pq_flow *f, const struct pq_segment *s)
{
    const uint32_t from = f->conn.first + 1;
    return s->flags & PQ_TCP_ACK && s->ack - from <= f->st.seq - from;
}

void pq_connect_sent(struct pq_flow *f, uint32_t tsval, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    c->told = tsval;
    c->owed = 0;
    c->owed_since = 0;
    c->finish = c->again = false;
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

/* Whether packets wait somewhere, in ms as the time stamps tell it. */
static void note_rtt(struct pq_connect *c, uint32_t rtt)
{
    if (!c->rtt_min || rtt + 1 < c->rtt_min)
        c->rtt_min = rtt + 1;
    const bool slow = rtt + 1 > c->rtt_min + c->rtt_min / 2 + SLOW_MORE;
    const pq_ns least = c->rtt_min <= NEAR ? ACK_NEAR : 0;
    c->pause = slow ? ACK_SLOW : pq_ns_max(c->pause - c->pause / FASTER, least);
}

pq_ns pq_connect_ack_at(struct pq_flow *f, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    if (c->state != PQ_CONNECT_OPEN || (!c->owed && !c->again && !c->finish))
        return PQ_NEVER;
    if (c->finish)
        return now;
    if (c->again)
        return c->sent_at + ACK_AGAIN;
    if (!c->owed_since) {
        c->owed_since = now;
        if (c->echo_new)
            note_rtt(c, pq_flow_tsval(f, now) - c->echo);
        c->echo_new = false;
    }
    if (c->owed <= c->mss)
        return c->owed_since + ACK_LATEST;
    return c->sent_at + c->pause;
}

void pq_connect_ack(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    forge_bare(f, slot, PQ_TCP_ACK, now);
}

void pq_connect_reset(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    forge_bare(f, slot, PQ_TCP_RST | PQ_TCP_ACK, now);
}

bool pq_connect_fin_came(struct pq_flow *f)
{
    struct pq_connect *c = &f->conn;
    if (!c->closed && c->closing && c->fin_at - f->st.ack <= c->window) {
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
    forge_bare(f, slot, PQ_TCP_FIN | PQ_TCP_ACK, now);
}

bool pq_connect_fin_acked(const struct pq_flow *f)
{
    return f->conn.fins && f->conn.una == f->st.seq;
}
