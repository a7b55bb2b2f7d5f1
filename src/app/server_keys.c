/* SPDX-License-Identifier: MIT */
#include "app/server_keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *why_not(int e)
{
    switch (e) {
    case PQ_EPROTO:
        return "it is not a file of stamps; move it away";
    case -EBUSY:
        return "another server has it open; name a file of its own for each";
    default:
        return pq_strerror(e);
    }
}

const char *pq_server_state_path(const struct pq_conf *c, char buf[64])
{
    snprintf(buf, 64, PQ_STATE_FOLDER "/stamps-%u", c->own_port);
    return c->state && *c->state ? c->state : buf;
}

/* Where there are users, a file remembers what they have sent. */
static void open_state(struct pq_server_keys *k, const struct pq_conf *c, void (*saved)(void *ctx),
                       void *ctx)
{
    char path[64];
    const char *at = pq_server_state_path(c, path);
    int e = pq_state_open(&k->state, at, k->stamps, pq_app_wall(NULL), saved, ctx);
    if (e)
        PQ_LOG(
            PQ_LOG_WARN,
            "transport.state: %s cannot be kept: %s. Until it can, only clients whose clocks are "
            "within two minutes of this one's are let in",
            at, why_not(e));
}

/* What was recorded before the start must get no answer. */
static void say_when(struct pq_syns *syns)
{
    const uint64_t wall = pq_app_wall(NULL), from = pq_syns_from(syns);
    if (from > wall)
        PQ_LOG(PQ_LOG_INFO,
               "connections are answered in %llu s: this server was not stopped in order, and does "
               "not know which it has answered before",
               (unsigned long long)((from - wall + 999) / 1000));
}

int pq_server_keys_open(struct pq_server_keys *k, struct pq_app *app, void (*saved)(void *ctx),
                        void *ctx)
{
    const struct pq_conf *c = app->conf;
    struct pq_own_conf *o = &app->hub.own;
    if (!o->secret || (!o->on && !c->over_quic))
        return 0;
    k->users = calloc(c->n_users ? c->n_users : 1, sizeof *k->users);
    if (!k->users)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < c->n_users; i++)
        memcpy(k->users[i], c->user[i].key, sizeof k->users[i]);
    o->users = (const uint8_t(*)[PQ_CONF_KEY_LEN])k->users;
    o->n = c->n_users;
    int e = pq_stamps_new(&k->stamps, o->users, o->n);
    o->stamps = k->stamps;
    if (c->over_quic) /* which keeps nothing, and begins no connections */
        return e;
    struct pq_rng rng;
    pq_rng_init(&rng);
    if (!e)
        e = pq_syns_new(&k->syns, pq_app_wall(NULL), pq_rng_u64(&rng));
    app->hub.syns = k->syns;
    if (!e && (c->n_users || (c->state && *c->state)))
        open_state(k, c, saved, ctx);
    if (!e && k->state)
        pq_state_take_syns(k->state, k->syns);
    if (!e && c->look != PQ_LOOK_CLASSIC)
        say_when(k->syns);
    return e;
}

void pq_server_keys_stop(struct pq_server_keys *k)
{
    int e = k->state && k->syns ? pq_state_leave_syns(k->state, k->syns) : 0;
    if (e)
        PQ_LOG(PQ_LOG_WARN, "transport.state: what connections were answered cannot be kept: %s",
               pq_strerror(e));
    pq_state_close(&k->state);
}

void pq_server_keys_close(struct pq_server_keys *k)
{
    pq_syns_free(&k->syns);
    pq_stamps_free(&k->stamps);
    free(k->users);
    k->users = NULL;
}
