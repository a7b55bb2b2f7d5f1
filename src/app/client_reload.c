/* SPDX-License-Identifier: MIT */
/* client_reload.c - listeners and servers of a client change while it runs. */
#include "app/client.h"
#include "app/names.h"
#include "app/reload.h"
#include "entry/dns_port.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE PQ_SEC /* for routers, while the main thread waits */

static bool same_servers(const struct pq_conf *a, const struct pq_conf *b)
{
    bool same = a->n_servers == b->n_servers;
    for (unsigned i = 0; same && i < a->n_servers; i++)
        same = pq_conf_same_server(&a->server[i], &b->server[i]);
    return same;
}

/* ---- other servers: sessions to those that stay go on, those to others end */

struct client_servers { /* a change of them */
    struct client *cl;
    const struct pq_conf *next;
    struct client_ways ways;
    unsigned to[WAYS_MAX]; /* of each way that there is, its number then, or WAY_GONE */
    bool bye;              /* sessions to servers that go are told so; else they end */
    unsigned ended;
};

/* The way to the same server, to the same address if there is one. */
static unsigned find_way(const struct client_servers *g, const struct server_way *w)
{
    const struct pq_conf_server *s = &g->cl->app.conf->server[w->conf];
    unsigned found = WAY_GONE;
    for (unsigned i = 0; i < g->ways.n; i++) {
        if (!pq_conf_same_server(s, &g->next->server[g->ways.v[i].conf]))
            continue;
        if (pq_addr_eq(&g->ways.v[i].addr, &w->addr))
            return i;
        found = found == WAY_GONE ? i : found;
    }
    return found;
}

static void map_ways(struct client_servers *g)
{
    for (unsigned i = 0; i < g->cl->n_ways; i++)
        g->to[i] = find_way(g, &g->cl->way[i]);
}

static void leave_gone(void *ctx, struct lease *l)
{
    struct client_servers *g = ctx;
    if (g->to[l->server] != WAY_GONE)
        return;
    if (g->bye) {
        pq_session_bye(l->ses);
        return;
    }
    g->ended++;
    l->server = 0; /* what its end looks at */
    pq_client_leave(l);
}

static void renumber(void *ctx, struct lease *l)
{
    const struct client_servers *g = ctx;
    l->server = g->to[l->server];
}

static void change_worker(struct client_servers *g, struct client_worker *cw)
{
    struct known before[WAYS_MAX];
    memcpy(before, cw->known, sizeof before);
    pq_client_stop_looking(cw);
    cw->looking = false;
    for (unsigned i = 0; i < WAYS_MAX; i++)
        pq_client_forget(cw, i);
    for (unsigned i = 0; i < g->cl->n_ways; i++)
        if (g->to[i] != WAY_GONE)
            cw->known[g->to[i]] = before[i];
    for (unsigned i = 0; i < cw->n_links; i++) {
        struct link *k = &cw->links[i];
        const unsigned to = g->to[k->server];
        k->server = to != WAY_GONE ? to : 0;
    }
    g->bye = false;
    pq_client_each(cw, leave_gone, g);
    pq_client_each(cw, renumber, g);
}

/* Lets the workers run for a turn, so that it goes out. */
static void say_bye(struct client_servers *g)
{
    map_ways(g);
    g->bye = true;
    for (unsigned i = 0; i < g->cl->app.n_workers; i++)
        pq_client_each(g->cl->cw[i], leave_gone, g);
    pq_app_resume(&g->cl->app);
    pq_app_pause(&g->cl->app);
}

/* With the workers paused. */
static void change_servers(struct client_servers *g)
{
    struct client *cl = g->cl;
    struct pq_firewall_server servers[WAYS_MAX];
    map_ways(g);
    for (unsigned i = 0; i < cl->app.n_workers; i++)
        change_worker(g, cl->cw[i]);
    memcpy(cl->way, g->ways.v, sizeof cl->way);
    cl->n_ways = g->ways.n;
    pq_client_firewall(g->next, cl->way, cl->n_ways, servers);
    pq_app_set_servers(&cl->app, servers, cl->n_ways);
    for (unsigned i = 0; i < cl->app.n_workers && cl->app.conf->spread; i++)
        for (unsigned k = 0; k < cl->cw[i]->n_links; k++)
            if (!cl->cw[i]->links[k].ses)
                cl->cw[i]->links[k].server = pq_client_way_of_server(cl, k);
}

static void say_unreached(void *ctx, const char *why)
{
    pq_news_add(ctx, PQ_NEWS_WARNING, "%s", why);
}

/* Finds the ways to other servers.  Returns 0 or PQ_EINVAL, which was said. */
static int plan(struct client_servers *g, const struct pq_names *names, struct pq_news *news)
{
    if (pq_client_plan_ways(g->cl, g->next, names, PATIENCE, &g->ways, say_unreached, news) == 0)
        return 0;
    pq_news_add(news, PQ_NEWS_ERROR, "server: none of them can be reached");
    return PQ_EINVAL;
}

/* Where streams are spread, each server should have a session. */
static void check_spread(const struct client_servers *g, struct pq_news *news)
{
    unsigned servers = 0;
    for (unsigned i = 0; i < g->ways.n; i++)
        servers += i == 0 || g->ways.v[i].conf != g->ways.v[i - 1].conf;
    if (g->cl->app.conf->spread && servers > g->cl->cw[0]->n_links)
        pq_news_add(news, PQ_NEWS_RESTART, "servers, for a session to each of them at once");
}

static void tell_rules(const struct pq_split *now, const struct pq_split *before,
                       struct pq_news *news)
{
    struct pq_target_count c;
    unsigned n;
    pq_split_count(now, &n, &c);
    if (now || before)
        pq_news_add(news, PQ_NEWS_CHANGED,
                    "rules: %u, with %zu names and %zu networks from lists; for what begins now", n,
                    c.names, c.networks);
}

/* Routes, and the kill switch. */
static void change_tun(struct client *cl, struct pq_news *news)
{
    size_t n;
    int e = pq_app_tun_rules(&cl->tun, cl->app.conf->split, &n);
    if (e)
        pq_news_add(news, PQ_NEWS_WARNING,
                    "rules: the TUN device: %s; what they send directly goes through the tunnel",
                    pq_strerror(e));
    else if (n)
        pq_news_add(news, PQ_NEWS_CHANGED, "rules: %zu ranges of addresses go past the TUN device",
                    n);
}

/* ---- the whole change */

static int begin(struct client_change *v, const struct pq_names *names, struct pq_news *news)
{
    v->servers = same_servers(v->cl->app.conf, v->next) ? NULL : calloc(1, sizeof *v->servers);
    if (!v->servers)
        return same_servers(v->cl->app.conf, v->next) ? 0 : PQ_ENOMEM;
    v->servers->cl = v->cl;
    v->servers->next = v->next;
    return plan(v->servers, names, news);
}

/* Listens as all want, or if one of them cannot as before.  With the workers paused. */
static int listen_all(struct client_change *v, unsigned n, struct pq_news *news)
{
    struct client_listened back;
    char why[PQ_WHY_LEN];
    for (unsigned i = 0; i < n; i++) {
        pq_log_set_name(v[i].cl->app.conf->name);
        const int e = pq_client_listen(v[i].cl, v[i].next, &v[i].listened, why);
        if (!e)
            continue;
        news->name = v[i].cl->app.conf->name;
        pq_news_add(news, PQ_NEWS_ERROR, "%s", why);
        while (i--)
            if (pq_client_listen(v[i].cl, v[i].cl->app.conf, &back, why))
                pq_news_add(news, PQ_NEWS_ERROR, "as before: %s", why);
        return e;
    }
    return 0;
}

/* With the workers paused. */
static void finish(struct client_change *v)
{
    struct pq_app *app = &v->cl->app;
    if (v->servers) {
        say_bye(v->servers);
        change_servers(v->servers);
    }
    pq_conf_swap_live(app->own_conf, v->next);
    for (unsigned i = 0; i < app->n_workers; i++) {
        v->cl->cw[i]->w.front.split = app->conf->split;
        if (v->cl->cw[i]->dns)
            pq_dns_port_renew(v->cl->cw[i]->dns);
    }
}

static void tell(const struct client_change *v, struct pq_news *news)
{
    const struct client_listened *l = &v->listened;
    if (l->opened || l->closed)
        pq_news_add(news, PQ_NEWS_CHANGED, "listening: %u new, %u closed, %u as before", l->opened,
                    l->closed, l->stayed);
    tell_rules(v->cl->app.conf->split, v->next->split, news);
    if (v->cl->app.conf->split || v->next->split)
        change_tun(v->cl, news);
    if (!v->servers)
        return;
    check_spread(v->servers, news);
    pq_news_add(news, PQ_NEWS_CHANGED, "server: %u ways to them; %u sessions to others ended",
                v->cl->n_ways, v->servers->ended);
}

int pq_client_change(struct pq_app *all, struct client_change *v, unsigned n,
                     const struct pq_names *names, struct pq_news *news)
{
    int e = 0;
    for (unsigned i = 0; i < n && !e; i++) {
        news->name = v[i].cl->app.conf->name;
        e = begin(&v[i], names, news);
    }
    if (!e) {
        pq_app_pause(all);
        e = listen_all(v, n, news);
        for (unsigned i = 0; i < n && !e; i++) {
            pq_log_set_name(v[i].cl->app.conf->name);
            finish(&v[i]);
        }
        pq_app_resume(all);
    }
    for (unsigned i = 0; i < n; i++) {
        news->name = v[i].cl->app.conf->name;
        if (!e)
            tell(&v[i], news);
        free(v[i].servers);
    }
    news->name = NULL;
    pq_log_set_name(NULL);
    return e && e != PQ_ENOMEM ? PQ_EINVAL : e;
}

int pq_client_change_names(const struct pq_conf *now, const struct pq_conf *next,
                           struct pq_names *names)
{
    return same_servers(now, next) ? 0 : pq_names_add(names, next);
}

int pq_client_reload(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                     struct pq_news *news)
{
    struct client_change v = {.cl = PQ_OF(app, struct client, app), .next = next};
    return pq_client_change(app, &v, 1, names, news);
}

int pq_client_reload_names(struct pq_app *app, const struct pq_conf *next, struct pq_names *names)
{
    return pq_client_change_names(app->conf, next, names);
}
