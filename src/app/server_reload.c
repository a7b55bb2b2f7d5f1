/* SPDX-License-Identifier: MIT */
/* server_reload.c - users and rules of a server change while it runs. */
#include "app/reload.h"
#include "app/server.h"

#include <stdlib.h>
#include <string.h>

/* ---- users keep their numbers, by which sessions, rules and stamps know them */

struct user_change {
    unsigned added, removed;
};

static bool is_same(const struct pq_conf_user *a, const struct pq_conf_user *b)
{
    return !a->gone && memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* Puts each user of `next` where he is now, if he is there; new ones go to free places.  A place
 * without a user has a key that nobody has.  Returns 0 or PQ_ENOMEM. */
static int order_users(const struct pq_conf *now, struct pq_conf *next, struct user_change *c)
{
    const unsigned most = now->n_users + next->n_users;
    struct pq_conf_user *v = calloc(most + 1, sizeof *v);
    struct pq_rng rng;
    unsigned n = 0, at = 0;
    if (!v)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < now->n_users; i++) {
        v[i].gone = true;
        for (unsigned k = 0; k < next->n_users; k++) {
            struct pq_conf_user *u = &next->user[k];
            if (u->gone || !is_same(&now->user[i], u))
                continue;
            v[i] = *u;
            u->gone = true; /* is placed */
        }
        c->removed += v[i].gone && !now->user[i].gone;
    }
    n = now->n_users;
    for (unsigned k = 0; k < next->n_users; k++) {
        if (next->user[k].gone)
            continue;
        while (at < n && !v[at].gone)
            at++;
        v[at] = next->user[k];
        n = at == n ? n + 1 : n;
        c->added++;
    }
    pq_rng_init(&rng);
    for (unsigned i = 0; i < n; i++)
        if (v[i].gone)
            pq_rng_fill(&rng, v[i].key, sizeof v[i].key);
    free(next->user);
    next->user = v;
    next->n_users = n;
    return 0;
}

/* ---- sessions of those who are no more */

struct revoked {
    const uint8_t (*users)[PQ_CONF_KEY_LEN];
    unsigned n;
    bool bye; /* say goodbye; else end them */
    unsigned sessions;
};

static void revoke_one(void *ctx, struct pq_session *ses)
{
    struct revoked *r = ctx;
    if (!pq_session_revoked(ses, r->users, r->n))
        return;
    r->sessions++;
    if (r->bye)
        pq_session_bye(ses);
    else
        pq_session_end(ses, PQ_EREVOKED);
}

static void revoke_all(struct server *s, struct revoked *r, bool bye)
{
    r->bye = bye;
    r->sessions = 0;
    for (unsigned i = 0; i < s->app.n_workers; i++)
        pq_hub_each(s->w[i]->hub, revoke_one, r);
}

/* ---- all of it */

static void use_users(struct server *s, uint8_t (*keys)[PQ_CONF_KEY_LEN], unsigned n)
{
    const uint8_t(*users)[PQ_CONF_KEY_LEN] = (const uint8_t(*)[PQ_CONF_KEY_LEN])keys;
    for (unsigned i = 0; i < s->app.n_workers; i++)
        pq_hub_set_users(s->w[i]->hub, users, n);
    s->app.hub.own.users = users;
    s->app.hub.own.n = n;
    free(s->keys.users);
    s->keys.users = keys;
}

/* ---- K, and the one before */

/* What `next` says; where there was none (QUIC, auth: none), there is none.  Returns 0 or
 * PQ_ENOTSUP. */
static int derive(const struct pq_app *app, const struct pq_conf *next, struct pq_hub_conf *keys)
{
    const bool there = next->kcp.key && *next->kcp.key;
    memcpy(keys->key, app->hub.key, sizeof keys->key);
    if (app->conf->over_quic && !(there && app->hub.quic.key))
        return 0;
    int e = there ? pq_crypt_derive(next->kcp.key, keys->key) : 0;
    return e ? e : pq_app_derive_before(next, keys);
}

static bool same_keys(const struct pq_hub_conf *a, const struct pq_hub_conf *b)
{
    return memcmp(a->key, b->key, sizeof a->key) == 0 && a->has_before == b->has_before &&
           (!a->has_before || memcmp(a->key_before, b->key_before, sizeof a->key_before) == 0);
}

/* With the workers paused.  Where memory is short, workers differ until the next reload. */
static int use_keys(struct server *s, const struct pq_hub_conf *keys)
{
    int e = 0;
    for (unsigned i = 0; !e && i < s->app.n_workers; i++)
        e = pq_hub_set_keys(s->w[i]->hub, keys->key, keys->has_before ? keys->key_before : NULL);
    if (e)
        return e;
    memcpy(s->app.hub.key, keys->key, sizeof keys->key);
    memcpy(s->app.hub.key_before, keys->key_before, sizeof keys->key_before);
    s->app.hub.has_before = keys->has_before;
    return 0;
}

struct change {              /* all that is made before anything changes */
    struct pq_hub_conf conf; /* its keys alone; wiped */
    bool rekeyed;
    struct pq_conf *next;
    uint8_t (*keys)[PQ_CONF_KEY_LEN]; /* NULL: there are no users, and will be none */
    struct pq_targets targets;
    struct pq_tun_user *tun;
    unsigned n_tun;
};

/* With the workers paused.  Returns 0 or PQ_ENOMEM: then nothing has changed. */
static int change(struct server *s, struct change *g, struct revoked *r)
{
    int e = g->keys
                ? pq_stamps_set_users(s->keys.stamps, (const uint8_t(*)[PQ_CONF_KEY_LEN])g->keys,
                                      g->next->n_users)
                : 0;
    if (e)
        return e;
    if (!same_keys(&s->app.hub, &g->conf)) {
        e = use_keys(s, &g->conf);
        g->rekeyed = !e;
    }
    if (e)
        return e;
    if (g->keys)
        revoke_all(s, r, false); /* as long as their names are known */
    pq_targets_swap(&s->targets, &g->targets);
    for (unsigned i = 0; i < s->app.n_workers; i++)
        pq_targets_use(&s->targets, &s->w[i]->front);
    if (s->w[0]->front.tun)
        pq_tun_server_set_users(s->w[0]->front.tun, g->tun, g->n_tun);
    struct pq_tun_user *was = s->tun_users;
    s->tun_users = g->tun;
    g->tun = was;
    if (g->keys)
        use_users(s, g->keys, g->next->n_users);
    g->keys = NULL;
    pq_conf_swap_live(s->app.own_conf, g->next);
    return 0;
}

static int make_keys(const struct pq_conf *next, uint8_t (**out)[PQ_CONF_KEY_LEN])
{
    *out = calloc(next->n_users, sizeof **out);
    for (unsigned i = 0; *out && i < next->n_users; i++)
        memcpy((*out)[i], next->user[i].key, sizeof(*out)[i]);
    return *out ? 0 : PQ_ENOMEM;
}

static void tell(const struct pq_app *app, struct pq_news *news, const struct user_change *c,
                 unsigned sessions, bool rules, bool rekeyed)
{
    if (c->added || c->removed)
        pq_news_add(news, PQ_NEWS_CHANGED, "users: %u new, %u gone; %u of their sessions ended",
                    c->added, c->removed, sessions);
    if (rekeyed)
        pq_news_add(news, PQ_NEWS_CHANGED, "transport.%s.key: holds from now on, and %s",
                    app->conf->over_quic ? "quic" : "kcp",
                    app->hub.has_before ? "key_before is accepted, too" : "no other");
    if (rules)
        pq_news_add(news, PQ_NEWS_CHANGED, "allow, deny: new connections follow the new rules");
}

/* From none to some, everybody with the key would have to become somebody. */
static void keep_nobody(struct pq_conf *next, struct pq_news *news)
{
    pq_news_add(news, PQ_NEWS_RESTART, "users");
    pq_conf_drop_users(next);
}

static int prepare(struct change *g, struct pq_news *news)
{
    char why[PQ_WHY_LEN];
    int e = pq_targets_prepare(&g->targets, g->next, why);
    if (e)
        pq_news_add(news, PQ_NEWS_ERROR, "%s", why);
    return e ? e : pq_server_tun_users(g->next, &g->tun, &g->n_tun);
}

int pq_server_reload(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                     struct pq_news *news)
{
    struct server *s = PQ_OF(app, struct server, app);
    struct change g = {.next = next};
    struct user_change c = {.added = 0};
    struct revoked r = {.n = 0};
    int e = 0;
    (void)names;
    if (!app->conf->n_users && next->n_users)
        keep_nobody(next, news);
    const bool rules = !pq_conf_same_rules(app->conf, next);
    if (app->conf->n_users) {
        e = order_users(app->conf, next, &c);
        if (!e)
            e = make_keys(next, &g.keys);
        r.users = (const uint8_t(*)[PQ_CONF_KEY_LEN])g.keys;
        r.n = next->n_users;
    }
    if (!e && (e = derive(app, next, &g.conf)))
        pq_news_add(news, PQ_NEWS_ERROR, "transport.%s.key: cannot be derived: %s",
                    app->conf->over_quic ? "quic" : "kcp", pq_strerror(e));
    if (!e)
        e = prepare(&g, news);
    /* they are told first, as long as they have keys; over QUIC an end says so itself */
    if (!e && c.removed && !app->conf->over_quic) {
        pq_app_pause(app);
        revoke_all(s, &r, true);
        pq_app_resume(app);
    }
    if (!e) {
        pq_app_pause(app);
        e = change(s, &g, &r);
        pq_app_resume(app);
    }
    pq_targets_free(&g.targets);
    explicit_bzero(&g.conf, sizeof g.conf);
    free(g.tun);
    free(g.keys);
    if (!e)
        tell(app, news, &c, r.sessions, rules, g.rekeyed);
    return e;
}
