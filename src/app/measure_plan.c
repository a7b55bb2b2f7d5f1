/* SPDX-License-Identifier: MIT */
/* measure_plan.c - what is sent in trains, step by step, and what it shows. */
#include "app/measure_internal.h"

#define PA         (PQ_TCP_PSH | PQ_TCP_ACK)
#define CARS       10
#define GAP        (20 * PQ_MS)
#define SIZE       300
#define LONG_GAP   (5 * PQ_MS)
#define TIMES      3 /* that each size goes */
#define SIZES      (STEP_SIZES / TIMES)
#define LOSS_CARS  120
#define LOSS_GAP   (15 * PQ_MS)
#define TCP_HEADER 32
#define IP4_HEADER 20
#define IP6_HEADER 40
#define PORTS      4 /* of the server's that are tried */
#define SIZE_MIN   400
#define SIZE_SURE  500 /* of what asks for answers that are longer */

/* ---- looks */

/* Bytes around a datagram. */
static unsigned headers(const struct pq_measuring *m)
{
    return TCP_HEADER + (pq_addr_is4(pq_session_peer(m->ses)) ? IP4_HEADER : IP6_HEADER);
}

static void add(struct pq_measured *out, enum pq_look look, uint16_t flags, uint16_t port)
{
    for (unsigned i = 0; i < out->n_looks; i++)
        if (out->look[i].look == look && out->look[i].flags == flags && out->look[i].port == port)
            return;
    if (out->n_looks < PQ_MEASURED_LOOKS)
        out->look[out->n_looks++] =
            (struct pq_measured_look){.look = look, .flags = flags, .port = port};
}

static void add_list(struct pq_measured *out, enum pq_look look, const struct pq_flags *list,
                     uint16_t port)
{
    for (unsigned i = 0; i < list->n; i++)
        add(out, look, list->v[i], port);
}

/* Of several ports of the server the first, the last and some between them, as the session is. */
static void add_ports(struct pq_measured *out, const struct pq_range *r)
{
    const struct pq_measured_look own = out->look[0];
    for (unsigned i = 0; i < PORTS; i++)
        add(out, own.look, own.flags,
            (uint16_t)(r->from + (r->to - r->from) * (int)i / (PORTS - 1)));
}

void pq_measure_looks(struct pq_measuring *m)
{
    static const uint16_t tried[] = {PA, PQ_TCP_ACK, PQ_TCP_SYN, PQ_TCP_SYN | PQ_TCP_ACK};
    struct pq_measured *out = m->conf->out;
    const struct pq_conf *c = m->cw->cl->app.conf;
    const struct lease *l = pq_session_user(m->ses);
    const uint16_t port = pq_session_peer(m->ses)->port;
    uint16_t flags;
    const enum pq_look look = pq_session_look(m->ses, &flags);
    const enum pq_look flagged = look == PQ_LOOK_CONNECT ? PQ_LOOK_PLAUSIBLE : look;
    out->datagram = (unsigned)pq_session_size(m->ses);
    out->adapts = pq_session_abilities(m->ses) & PQ_ABLE_PARTS;
    out->mtu = out->datagram + headers(m);
    add(out, look, look == PQ_LOOK_CONNECT ? PA : flags, port);
    add_ports(out, &c->server[m->cw->cl->way[l->server].conf].ports);
    add_list(out, flagged, &c->local_flag, port);
    add_list(out, flagged, &c->remote_flag, port);
    if (l->by_keys)
        add(out, PQ_LOOK_CONNECT, PA, port);
    for (unsigned i = 0; i < sizeof tried / sizeof tried[0]; i++)
        add(out, PQ_LOOK_PLAUSIBLE, tried[i], port);
    add(out, PQ_LOOK_CLASSIC, PA, port);
    add(out, PQ_LOOK_CLASSIC, PQ_TCP_SYN, port);
}

/* ---- steps */

static const struct pq_measured_look *base(const struct pq_measuring *m)
{
    return &m->conf->out->look[m->conf->out->base];
}

static struct step_train *add_train(struct pq_measuring *m, const struct pq_measured_look *with,
                                    const struct pq_measured_look *back)
{
    struct step_train *t = &m->step.train[m->step.n++];
    *t = (struct step_train){.look = with->look, .flags = with->flags, .port = with->port};
    t->order = (struct pq_train_order){
        .size = SIZE,
        .answered = true,
        .look = back->look == PQ_LOOK_CLASSIC ? PQ_LOOK_CLASSIC : PQ_LOOK_PLAUSIBLE,
        .flags = back->flags,
        .answer = SIZE - (back->flags & PQ_TCP_SYN ? PQ_TCP_SYN_LEN - PQ_TCP_LEN : 0)};
    t->of = (unsigned)(back - m->conf->out->look);
    return t;
}

static bool plan_looks(struct pq_measuring *m)
{
    struct pq_measured *out = m->conf->out;
    m->step = (struct step){.what = "looks and flags", .cars = CARS, .gap = GAP};
    m->part = 0.4 * m->at / out->n_looks;
    for (; m->at < out->n_looks && m->step.n < PQ_TRAINS; m->at++)
        add_train(m, &out->look[m->at], &out->look[m->at]);
    return m->step.n > 0;
}

/* Which of the looks all that follows is measured with: the session's own, as a rule. */
static void choose_base(struct pq_measured *out)
{
    for (unsigned i = 0; i < out->n_looks; i++) {
        const struct pq_measured_look *l = &out->look[out->base], *o = &out->look[i];
        if (o->arrived[PQ_UP] > 2 * l->arrived[PQ_UP])
            out->base = i;
    }
}

static bool plan_back(struct pq_measuring *m)
{
    struct pq_measured *out = m->conf->out;
    m->step = (struct step){.what = "the way back", .cars = CARS, .gap = GAP};
    m->part = 0.45;
    for (; m->at < out->n_looks && m->step.n < PQ_TRAINS; m->at++) {
        struct pq_measured_look *l = &out->look[m->at];
        if (l->arrived[PQ_UP] || l->look == PQ_LOOK_CONNECT)
            continue;
        l->alone = true;
        add_train(m, base(m), l);
        /* a connection answers as one */
        if (base(m)->look == PQ_LOOK_CONNECT)
            m->step.train[m->step.n - 1].look = PQ_LOOK_PLAUSIBLE;
    }
    return m->step.n > 0;
}

/* The longest datagram that the interface takes. */
static unsigned longest(const struct pq_measuring *m)
{
    const unsigned link = m->cw->cl->app.hub.link_mtu ? m->cw->cl->app.hub.link_mtu : 1500;
    const unsigned head = headers(m);
    return link < head + SIZE_MIN       ? SIZE_MIN
           : link - head < PQ_DGRAM_MAX ? link - head
                                        : PQ_DGRAM_MAX;
}

/* Sizes from `low` (which passes) up to `high`, each of them TIMES, one way or the other in turn.
 */
static void plan_range(struct pq_measuring *m, int way)
{
    uint16_t *to = way == PQ_UP ? m->step.sizes : m->step.answers;
    const unsigned low = m->low[way], high = m->high[way];
    for (unsigned k = 0; k < STEP_SIZES; k++)
        to[k] = (uint16_t)(low + (high - low) * (k % SIZES + 1) / SIZES);
}

static bool plan_sizes(struct pq_measuring *m, bool closer)
{
    const struct pq_measured_look *b = base(m);
    struct pq_measured *out = m->conf->out;
    if (!b->arrived[PQ_UP])
        return false;
    const unsigned most = longest(m);
    m->step = (struct step){.what = "sizes", .cars = 2 * STEP_SIZES, .gap = LONG_GAP};
    m->part = closer ? 0.6 : 0.5;
    if (!closer) {
        m->low[0] = m->low[1] = SIZE_MIN;
        m->high[0] = m->high[1] = (uint16_t)most;
        out->tried = most + headers(m);
    } else if (m->low[0] >= most && m->low[1] >= most) {
        return false; /* nothing is too long */
    }
    plan_range(m, PQ_UP);
    plan_range(m, PQ_DOWN);
    m->step.n_sizes = STEP_SIZES;
    add_train(m, b, b)->order.size = m->low[PQ_UP] > SIZE_SURE ? m->low[PQ_UP] : SIZE_SURE;
    return true;
}

static bool plan_loss(struct pq_measuring *m)
{
    const struct pq_measured_look *b = base(m);
    m->step = (struct step){.what = "losses", .cars = LOSS_CARS, .gap = LOSS_GAP};
    m->part = 0.8;
    if (!b->arrived[PQ_UP])
        return false;
    add_train(m, b, b);
    return true;
}

bool pq_measure_plan(struct pq_measuring *m)
{
    for (; m->stage < STAGE_DONE; m->stage++, m->at = 0) {
        if (m->stage == STAGE_BACK && !m->at)
            choose_base(m->conf->out);
        const bool more = m->stage == STAGE_LOOKS    ? plan_looks(m)
                          : m->stage == STAGE_BACK   ? plan_back(m)
                          : m->at++                  ? false
                          : m->stage == STAGE_SIZES  ? plan_sizes(m, false)
                          : m->stage == STAGE_CLOSER ? plan_sizes(m, true)
                                                     : plan_loss(m);
        if (more)
            return true;
    }
    return false;
}

/* ---- what it has shown */

static void note_look(struct pq_measured_look *l, const struct pq_train_seen *s, bool alone)
{
    l->known = l->known || s->counted;
    l->impossible |= s->impossible;
    if (!alone) {
        l->open = s->open;
        l->sent[PQ_UP] = s->sent;
        l->arrived[PQ_UP] = s->arrived;
    }
    l->sent[PQ_DOWN] = s->answered;
    l->arrived[PQ_DOWN] = s->back;
}

/* The longest that came, and the shortest above it that never did. */
static void narrow(struct pq_measuring *m, int way, const uint16_t *size, const bool *came)
{
    unsigned low = m->low[way], high = m->high[way];
    for (unsigned k = 0; k < STEP_SIZES; k++)
        low = came[k] && size[k] > low ? size[k] : low;
    for (unsigned k = 0; k < STEP_SIZES; k++)
        high = size[k] > low && size[k] < high ? size[k] : high;
    m->low[way] = (uint16_t)low;
    m->high[way] = (uint16_t)high;
    m->conf->out->most[way] = low + headers(m);
}

void pq_measure_note(struct pq_measuring *m)
{
    struct pq_measured *out = m->conf->out;
    struct pq_train_seen s;
    if (m->stage == STAGE_LOOKS || m->stage == STAGE_BACK) {
        for (unsigned i = 0; i < m->step.n; i++) {
            pq_train_seen(m->ses, i, &s);
            note_look(&out->look[m->step.train[i].of], &s, m->stage == STAGE_BACK);
        }
        return;
    }
    pq_train_seen(m->ses, 0, &s);
    if (m->stage == STAGE_LOSS) {
        out->lost_known = s.counted && !s.impossible;
        out->lost_impossible = s.impossible;
        out->sent[PQ_UP] = s.sent;
        out->came[PQ_UP] = s.arrived;
        out->sent[PQ_DOWN] = s.answered;
        out->came[PQ_DOWN] = s.back;
        return;
    }
    out->size_impossible |= s.impossible;
    if (s.counted)
        narrow(m, PQ_UP, m->step.sizes, s.came);
    narrow(m, PQ_DOWN, m->step.answers, s.came_back + STEP_SIZES);
    const unsigned least = headers(m) + PQ_OWN_SIZE_LEAST,
                   needed = out->adapts && out->mtu > least ? least : out->mtu;
    out->cut = (out->most[PQ_UP] && needed > out->most[PQ_UP]) || needed > out->most[PQ_DOWN];
}
