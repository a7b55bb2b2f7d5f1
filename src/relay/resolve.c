/* SPDX-License-Identifier: MIT */
#include "relay/resolve.h"

#include "relay/lookup.h"
#include "relay/match.h"
#include "relay/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Lives until the callback is made or cancelled, and the timer is closed. */
struct pq_resolve {
    struct pq_front *front;
    const struct pq_rules *rules;
    pq_resolve_fn done; /* NULL once called or cancelled */
    void *ctx;
    uint16_t port;
    uv_timer_t timer;
    struct pq_lookup *lookup; /* NULL once it has answered */
    char host[];              /* as asked for */
};

static void on_timer_closed(uv_handle_t *h)
{
    struct pq_resolve *q = h->data;
    pq_rules_drop(q->rules);
    free(q);
}

static void finish(struct pq_resolve *q, const struct pq_addr *addrs, unsigned n, int err)
{
    pq_resolve_fn done = q->done;
    if (!done)
        return;
    q->done = NULL;
    if (q->lookup)
        pq_lookup_drop(q->lookup);
    uv_close((uv_handle_t *)&q->timer, on_timer_closed);
    if (n || err)
        done(q->ctx, addrs, n, err);
}

static void on_timer(uv_timer_t *t)
{
    finish(t->data, NULL, 0, -ETIMEDOUT);
}

/* Keeps the addresses that may be dialled. */
static void on_answer(void *ctx, int status, const struct addrinfo *res)
{
    struct pq_resolve *q = ctx;
    struct pq_addr found[PQ_RESOLVE_ADDRS_MAX];
    unsigned n = 0;
    bool any = false;
    q->lookup = NULL;
    for (; res && n < PQ_RESOLVE_ADDRS_MAX; res = res->ai_next) {
        if (pq_addr_from_sock(&found[n], res->ai_addr))
            continue;
        any = true;
        found[n].port = q->port;
        if (pq_rules_target(q->rules, q->host, &found[n], true))
            n++;
    }
    int err = any ? PQ_EDENIED : status ? status : UV_EAI_NODATA;
    finish(q, found, n, n ? 0 : err);
}

static void close_lookups(struct pq_front *f)
{
    pq_lookups_close(&f->lookups);
}

/* Asks the system.  Returns NULL, and why, if that is not possible. */
static struct pq_resolve *ask(struct pq_front *f, const struct pq_rules *rules, const char *host,
                              int *err)
{
    const size_t len = strlen(host) + 1;
    *err = f->lookups ? 0 : pq_lookups_new(&f->lookups, f->loop);
    if (!*err)
        pq_front_at_stop(f, close_lookups);
    if (!*err && pq_lookups_running(f->lookups) >= f->max_resolving)
        *err = PQ_EAGAIN;
    struct pq_resolve *q = *err ? NULL : calloc(1, sizeof *q + len);
    if (!q) {
        *err = *err ? *err : PQ_ENOMEM;
        return NULL;
    }
    memcpy(q->host, host, len);
    q->lookup = pq_lookup_start(f->lookups, host, pq_rules_need_name(rules), on_answer, q);
    if (!q->lookup) {
        *err = PQ_EAGAIN;
        free(q);
        return NULL;
    }
    uv_update_time(f->loop);
    uv_timer_init(f->loop, &q->timer);
    q->timer.data = q;
    uv_timer_start(&q->timer, on_timer, PQ_RESOLVE_LIMIT_MS, 0);
    return q;
}

static struct pq_resolve *start(struct pq_front *f, const struct pq_rules *rules, const char *host,
                                uint16_t port, pq_resolve_fn done, void *ctx)
{
    struct pq_addr a;
    int err = 0;
    if (pq_addr_parse_ip(&a, host) == 0) {
        a.port = port;
        if (pq_rules_target(rules, host, &a, true))
            done(ctx, &a, 1, 0);
        else
            done(ctx, NULL, 0, PQ_EDENIED);
        return NULL;
    }
    struct pq_resolve *q = NULL;
    if (pq_rules_name(rules, host, port))
        q = ask(f, rules, host, &err);
    else
        err = PQ_EDENIED;
    if (!q) {
        done(ctx, NULL, 0, err);
        return NULL;
    }
    q->front = f;
    q->rules = pq_rules_hold(rules);
    q->port = port;
    q->done = done;
    q->ctx = ctx;
    return q;
}

struct pq_resolve *pq_resolve_start(struct pq_front *f, const struct pq_rules *rules,
                                    const char *host, uint16_t port, pq_resolve_fn done, void *ctx)
{
    struct pq_addr a;
    if (pq_addr_parse_ip(&a, host) == 0 || pq_match_is_name(host))
        return start(f, rules, host, port, done, ctx);
    done(ctx, NULL, 0, UV_EAI_NONAME);
    return NULL;
}

struct pq_resolve *pq_resolve_start_unruled(struct pq_front *f, const char *host, uint16_t port,
                                            pq_resolve_fn done, void *ctx)
{
    return start(f, NULL, host, port, done, ctx);
}

void pq_resolve_cancel(struct pq_resolve *q)
{
    finish(q, NULL, 0, 0);
}
