/* SPDX-License-Identifier: MIT */
/* check_remote.c - what the server says. */
#include "setup/check.h"

#include "app/probe.h"
#include "base/err.h"
#include "os/spawn.h"

#include <stdlib.h>
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

static void add_answers(const struct seen_rtt *r, const struct pq_probe_seen *seen, const char *who,
                        struct pq_findings *f)
{
    const double mean = r->answers ? r->sum / r->answers : 0;
    pq_finding_add(f, PQ_FINDING_OK, "server", NULL, "%s answers, the first time after %.0f ms, %s",
                   who, r->first, r->wire);
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

static void put_in_front(char *text, size_t cap, const char *who)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s: %s", who, text);
    snprintf(text, cap, "%.*s", (int)cap - 1, whole);
}

/* Asks the only server of `c`; whether it answers. */
static bool check_one(struct pq_conf *c, const struct pq_check_how *how, const char *who,
                      struct pq_findings *f)
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
        return false;
    }
    if (r.open) {
        add_answers(&r, &seen, who, f);
        f->clock = seen.clock;
        pq_check_clock(&seen.clock, pq_check_clock_bound(c), f);
        about.idle = r.answers ? r.sum / r.answers : r.first;
        if (how->measure)
            pq_check_measured(&f->measured, &about, f);
        return true;
    }
    const struct pq_check_silence s = pq_check_silence_of(c, &seen);
    const unsigned at = f->n;
    pq_check_explain(&s, f);
    if (strcmp(who, "it") != 0 && at < f->n) /* whose silence it is */
        put_in_front(f->v[at].text, sizeof f->v[at].text, who);
    return false;
}

/* One of several, in a process of its own: a client is run once in a process. */
struct one {
    struct pq_conf *c;
    const struct pq_check_how *how;
    const char *who;
};

struct shared {
    struct pq_findings f;
    bool answers, any; /* the one that was asked; one of them */
};

static void check_apart(void *shared, void *ctx)
{
    struct shared *s = shared;
    const struct one *o = ctx;
    s->answers = check_one(o->c, o->how, o->who, &s->f);
    s->any |= s->answers;
}

static void check_each(struct pq_conf *c, struct pq_check_how *how, struct shared *shared)
{
    const unsigned n = c->n_servers;
    c->n_servers = 1;
    for (unsigned i = 0; i < n; i++) {
        const struct pq_conf_server first = c->server[0], *s = &c->server[0];
        char who[300], ports[PQ_RANGE_STRLEN];
        c->server[0] = c->server[i];
        snprintf(who, sizeof who, strchr(s->host, ':') ? "[%s]:%s" : "%s:%s", s->host,
                 pq_range_str(&s->ports, ports));
        struct one o = {c, how, who};
        if (!pq_spawn_apart(check_apart, shared, sizeof *shared, &o))
            pq_finding_add(&shared->f, PQ_FINDING_BAD, "server", NULL, "%s could not be asked",
                           who);
        how->measure &= !shared->answers; /* once is enough: with the first that answers */
        c->server[0] = first;
    }
    c->n_servers = n;
}

void pq_check_remote(struct pq_conf *c, const struct pq_check_how *how, struct pq_findings *f)
{
    struct pq_check_how each = *how;
    struct one it = {c, how, "it"};
    struct shared *shared = calloc(1, sizeof *shared);
    if (!shared)
        return;
    shared->f = *f;
    if (c->n_servers > 1)
        check_each(c, &each, shared);
    else if (!pq_spawn_apart(check_apart, shared, sizeof *shared, &it))
        pq_finding_add(&shared->f, PQ_FINDING_BAD, "server", NULL, "it could not be asked");
    *f = shared->f;
    if (shared->any)
        pq_check_targets(c, how->patience, f);
    free(shared);
}
