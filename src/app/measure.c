/* SPDX-License-Identifier: MIT */
/* measure.c - goes through what there is to measure: steps of trains side by side (measure_plan.c
 * says which), or, over QUIC, losses alone (measure_loss.c), then the speed each way
 * (measure_speed.c). */
#include "app/measure_internal.h"

#include <stdlib.h>

#define TICK_MS     10
#define OPEN_MAX    (9 * PQ_SEC / 2) /* for handshakes of trains: three SYNs, and some more */
#define SETTLE_MIN  (300 * PQ_MS)
#define COUNT_AGAIN (300 * PQ_MS)
#define COUNTS      8
#define TRAINS_PART 0.85 /* of all that is measured, where there are trains */

struct pq_session *pq_measuring_session(const struct pq_measuring *m)
{
    return m->cw->links[0].ses;
}

static void finish(struct pq_measuring *m, bool over)
{
    if (m->phase == PHASE_OVER)
        return;
    m->phase = PHASE_OVER;
    m->conf->out->over = over;
    m->done(m->done_ctx);
}

/* So long after the last datagram its answer may come. */
static pq_ns settle(const struct pq_measuring *m)
{
    struct pq_kcp_stats st;
    pq_session_stats(m->ses, &st);
    return pq_ns_max(SETTLE_MIN, 3 * st.srtt);
}

static void begin_step(struct pq_measuring *m, pq_ns now)
{
    m->phase = PHASE_OPEN;
    m->since = now;
    m->sent = m->counts = 0;
    for (unsigned i = 0; i < m->step.n; i++) {
        struct step_train *t = &m->step.train[i];
        struct pq_flow_conf fc;
        t->there = t->running ||
                   (pq_client_train(pq_session_user(m->ses), i, t->port, t->look, &fc) == 0 &&
                    pq_train_begin(m->ses, i, &fc, t->flags, now) == 0);
        if (t->there)
            pq_train_run(m->ses, i);
    }
}

/* Whether all handshakes are over, or waited for long enough. */
static bool is_open(const struct pq_measuring *m, pq_ns now)
{
    bool all = true;
    for (unsigned i = 0; i < m->step.n; i++) {
        struct pq_train_seen seen;
        pq_train_seen(m->ses, i, &seen);
        all = all && (seen.open || !m->step.train[i].there);
    }
    return all || now >= m->since + OPEN_MAX;
}

static void send_next(struct pq_measuring *m, pq_ns now)
{
    if (now < m->next)
        return;
    m->next = now + m->step.gap;
    for (unsigned i = 0; i < m->step.n; i++) {
        struct pq_train_order o = m->step.train[i].order;
        if (m->sent < m->step.n_sizes) {
            o.size = m->step.sizes[m->sent];
            o.answered = false;
        } else if (m->step.n_sizes) {
            o.answer = m->step.answers[m->sent - m->step.n_sizes];
        }
        if (m->step.train[i].there)
            pq_train_send(m->ses, i, &o);
    }
    if (++m->sent < m->step.cars)
        return;
    m->phase = PHASE_SETTLE;
    m->next = now + settle(m);
}

static bool ask_counts(struct pq_measuring *m, pq_ns now)
{
    bool all = true;
    if (now < m->next)
        return false;
    for (unsigned i = 0; i < m->step.n; i++) {
        struct pq_train_seen seen;
        pq_train_seen(m->ses, i, &seen);
        if (!seen.counted && m->step.train[i].there) {
            all = false;
            pq_train_count(m->ses, i);
        }
    }
    m->next = now + (m->counts ? COUNT_AGAIN : settle(m) / 2);
    return all || ++m->counts > COUNTS;
}

static void next_step(struct pq_measuring *m, pq_ns now)
{
    if (pq_measure_plan(m)) {
        begin_step(m, now);
        return;
    }
    for (unsigned i = 0; i < PQ_TRAINS; i++)
        pq_train_end(m->ses, i);
    m->part = TRAINS_PART;
    m->phase = PHASE_SPEED;
    m->way = PQ_DOWN;
}

static void train_turn(struct pq_measuring *m, pq_ns now)
{
    if (m->phase == PHASE_OPEN && is_open(m, now)) {
        m->phase = PHASE_SEND;
        m->next = now;
    }
    if (m->phase == PHASE_SEND) {
        send_next(m, now);
    } else if (m->phase == PHASE_SETTLE && ask_counts(m, now)) {
        pq_measure_note(m);
        next_step(m, now);
    }
}

static void on_tick(uv_timer_t *t)
{
    struct pq_measuring *m = t->data;
    const pq_ns now = m->cw->w.now = pq_clock();
    if (m->phase == PHASE_OVER)
        return;
    if (pq_measuring_session(m) != m->ses || !m->ses) {
        finish(m, false);
        return;
    }
    if (m->phase == PHASE_LOSS) {
        if (pq_measure_loss(m, now))
            m->phase = PHASE_SPEED;
        m->conf->progress(m->conf->ctx, "losses", m->part, 0);
    } else if (m->phase != PHASE_SPEED) {
        train_turn(m, now);
        m->conf->progress(m->conf->ctx, m->step.what, m->part, 0);
    } else if (!m->conf->out->speed_able || m->conf->out->cut || !m->conf->seconds ||
               pq_measure_speed(m, now)) {
        finish(m, true);
    }
}

struct pq_measuring *pq_measuring_start(struct client_worker *cw, const struct pq_measure_conf *mc,
                                        void (*done)(void *ctx), void *ctx)
{
    struct pq_measuring *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (struct pq_measuring){.cw = cw, .conf = mc, .done = done, .done_ctx = ctx};
    m->ses = pq_measuring_session(m);
    pq_list_init(&m->pings);
    const uint32_t able = m->ses ? pq_session_abilities(m->ses) : 0;
    mc->out->speed_able = able & PQ_ABLE_MEASURE;
    mc->out->trains_able = mc->out->speed_able && pq_session_secure(m->ses);
    m->phase = mc->out->speed_able && cw->cl->app.conf->over_quic ? PHASE_LOSS : PHASE_SPEED;
    m->way = PQ_DOWN;
    if (mc->out->trains_able) {
        pq_measure_looks(m);
        next_step(m, cw->w.now);
    }
    uv_timer_init(&cw->w.loop, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, on_tick, 0, TICK_MS);
    return m;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void pq_measuring_stop(struct pq_measuring *m)
{
    if (!m)
        return;
    m->phase = PHASE_OVER;
    pq_measure_loss_stop(m);
    pq_measure_speed_stop(m);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}
