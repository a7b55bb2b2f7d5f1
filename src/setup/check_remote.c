/* SPDX-License-Identifier: MIT */
/* check_remote.c - what the server says. */
#include "setup/check.h"

#include "app/probe.h"
#include "base/err.h"

#include <string.h>

#define REQUESTS 20
#define INTERVAL (50 * PQ_MS)
#define FAR      400.0 /* ms */

struct seen_rtt {
    bool open, secure, quic;
    const char *wire; /* in words, once open */
    unsigned answers, lost;
    double first, min, max, sum; /* ms */
};

static void on_event(void *ctx, const struct pq_probe_event *ev)
{
    struct seen_rtt *r = ctx;
    const double ms = (double)ev->ns / (double)PQ_MS;
    r->open |= ev->kind == PQ_PROBE_OPEN;
    r->lost += ev->kind == PQ_PROBE_NONE && ev->seq;
    if (ev->kind == PQ_PROBE_OPEN) {
        r->first = ms;
        r->secure = ev->secure;
        r->wire = pq_probe_wire(ev, r->quic);
    }
    if (ev->kind != PQ_PROBE_ANSWER)
        return;
    r->min = r->answers && r->min < ms ? r->min : ms;
    r->max = r->max > ms ? r->max : ms;
    r->sum += ms;
    r->answers++;
}

static void add_answers(const struct seen_rtt *r, const struct pq_probe_seen *seen,
                        struct pq_findings *f)
{
    const double mean = r->answers ? r->sum / r->answers : 0;
    pq_finding_add(f, PQ_FINDING_OK, "server", NULL, "it answers, the first time after %.0f ms, %s",
                   r->first, r->wire);
    if (!r->secure && !r->quic)
        pq_finding_add(f, PQ_FINDING_NOTE, "keys", "run this program at both ends",
                       "what is recorded now can be read by whoever gets transport.kcp.key later");
    if (!r->answers) {
        pq_finding_add(f, PQ_FINDING_BAD, "round trips",
                       "try again; if it is always so, the way cuts sessions short",
                       "no answer after the first one");
        return;
    }
    pq_finding_add(f, r->lost ? PQ_FINDING_NOTE : PQ_FINDING_OK, "round trips", NULL,
                   "%u of %u answered, %.1f ms (%.1f to %.1f)", r->answers, r->answers + r->lost,
                   mean, r->min, r->max);
    if (r->min > FAR)
        pq_finding_add(f, PQ_FINDING_NOTE, "round trips",
                       "a server nearer to you, if there is a choice",
                       "each takes %.0f ms, which every click will show", mean);
    if (r->max > 3 * r->min + 50)
        pq_finding_add(f, PQ_FINDING_NOTE, "round trips",
                       "see whether something else fills the line, here or at the server",
                       "they differ much: queues on the way, or losses");
    if (seen->again * 20 > seen->sent)
        pq_finding_add(f, PQ_FINDING_NOTE, "loss", NULL,
                       "%llu of %llu segments had to be sent again: the path loses",
                       (unsigned long long)seen->again, (unsigned long long)seen->sent);
    else
        pq_finding_add(f, PQ_FINDING_OK, "loss", NULL, "%llu of %llu segments had to be sent again",
                       (unsigned long long)seen->again, (unsigned long long)seen->sent);
}

static void ignore_progress(void *ctx, const char *what, double part, double rate)
{
    (void)ctx;
    (void)what;
    (void)part;
    (void)rate;
}

void pq_check_remote(struct pq_conf *c, const struct pq_check_how *how, struct pq_findings *f)
{
    const struct pq_measure_conf mc = {.seconds = how->seconds,
                                       .progress = how->progress ? how->progress : ignore_progress,
                                       .ctx = how->ctx,
                                       .out = &f->measured};
    struct pq_check_about about = {.seconds = how->seconds,
                                   .quic = c->over_quic,
                                   .models = c->over_quic ? !c->quic.cubic
                                                          : c->congestion == PQ_CONGESTION_BBR};
    struct seen_rtt r = {.quic = c->over_quic};
    struct pq_probe_seen seen = {.datagrams = 0};
    const struct pq_probe_conf pc = {.count = REQUESTS,
                                     .interval = INTERVAL,
                                     .patience = how->patience,
                                     .event = on_event,
                                     .ctx = &r,
                                     .clock = true,
                                     .seen = &seen,
                                     .measure = how->measure ? &mc : NULL};
    if (pq_client_probe(c, &pc)) {
        pq_finding_add(f, PQ_FINDING_BAD, "server", NULL, "no client could be started to ask it");
        return;
    }
    if (r.open) {
        add_answers(&r, &seen, f);
        f->clock = seen.clock;
        pq_check_clock(&seen.clock, pq_check_clock_bound(c), f);
        about.idle = r.answers ? r.sum / r.answers : r.first;
        if (how->measure)
            pq_check_measured(&f->measured, &about, f);
        return;
    }
    const struct pq_check_silence s = pq_check_silence_of(c, &seen);
    pq_check_explain(&s, f);
}
