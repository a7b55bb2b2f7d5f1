/* SPDX-License-Identifier: MIT */
/* status.c - what there is to see of a program that runs; docs/control.md has the meaning of each
 * member.  A worker stands still while its numbers are copied, not while they are written. */
#include "app/status.h"

#include "app/control.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_ROWS 64

static double seconds(pq_ns t)
{
    return (double)t / (double)PQ_SEC;
}

/* ---- copies */

static void *next_row(struct pq_rows *r)
{
    if (r->n == r->cap && r->cap < r->most) {
        unsigned cap = r->cap ? 2 * r->cap : FIRST_ROWS;
        cap = cap < r->most ? cap : r->most;
        char *v = realloc(r->v, cap * r->size);
        if (v) {
            r->v = v;
            r->cap = cap;
        }
    }
    if (r->n == r->cap) {
        r->left_out++;
        return NULL;
    }
    return r->v + r->size * r->n++;
}

struct stream_row {
    unsigned worker;
    struct pq_addr peer;
    unsigned who;
    struct pq_stream_info s;
    char host[256];
};

struct look { /* at one worker */
    unsigned worker;
    const struct pq_session *ses;
    struct pq_rows *rows;
};

static void copy_session(void *ctx, struct pq_session *s)
{
    struct look *l = ctx;
    struct pq_session_row *row = next_row(l->rows);
    if (!row)
        return;
    row->worker = l->worker;
    pq_session_info(s, &row->s);
}

static void note_heard(void *ctx, struct pq_session *s)
{
    pq_ns *last = ctx;
    const pq_ns heard = pq_session_heard(s);
    *last = heard > *last ? heard : *last;
}

/* When the peers of a worker were heard; of all, and of its tunnel if it is of one of several. */
static void add_heard(const struct pq_app *app, struct pq_totals *t, struct pq_worker *w)
{
    const struct pq_conf *c = app->conf;
    pq_ns heard = 0;
    pq_hub_each(w->hub, note_heard, &heard);
    t->heard = heard > t->heard ? heard : t->heard;
    for (unsigned i = 0; i < c->n_tunnels; i++)
        if (w->app->conf == &c->tunnel[i] && heard > t->tunnel_heard[i])
            t->tunnel_heard[i] = heard;
}

static void copy_stream(void *ctx, struct pq_stream *st)
{
    struct look *l = ctx;
    struct stream_row *row = next_row(l->rows);
    if (!row)
        return;
    row->worker = l->worker;
    row->peer = *pq_session_peer(l->ses);
    row->who = pq_session_who(l->ses);
    pq_stream_info(st, &row->s);
    snprintf(row->host, sizeof row->host, "%s", row->s.host);
}

static void copy_streams(void *ctx, struct pq_session *s)
{
    struct look *l = ctx;
    l->ses = s;
    pq_session_each(s, copy_stream, l);
}

static void add_hub(struct pq_hub_stats *sum, const struct pq_hub_stats *h)
{
    sum->rx_packets += h->rx_packets;
    sum->rx_bytes += h->rx_bytes;
    sum->tx_packets += h->tx_packets;
    sum->tx_bytes += h->tx_bytes;
    for (int d = 0; d < PQ_DROP_COUNT; d++)
        sum->drops[d] += h->drops[d];
    sum->rebuilt += h->rebuilt;
    sum->in += h->in;
    sum->out += h->out;
    sum->streams += h->streams;
}

static void add_dns(struct pq_totals *t, const struct pq_dns_port *p)
{
    struct pq_dns_counts c;
    if (!p)
        return;
    pq_dns_port_count(p, &c);
    t->has_dns = true;
    t->dns.asked += c.asked;
    t->dns.cached += c.cached;
    t->dns.beside += c.beside;
    t->dns.blocked += c.blocked;
    t->dns.failed += c.failed;
    t->dns.steered += c.steered;
    t->dns.direct += c.direct;
}

/* What a client's rules and its TUN have done; of several tunnels all. */
static void add_client(struct pq_totals *t, const struct pq_worker *w)
{
    const struct pq_conf *c = w->app->conf;
    for (int i = 0; i < 3; i++)
        t->ways[i] += w->front.ways[i];
    t->tun_refused += w->front.tun_refused;
    t->has_rules = t->has_rules || w->front.split;
    t->has_tun = t->has_tun || c->tun.enabled;
    t->kill = t->kill || (c->tun.enabled && c->tun.kill);
    t->kill_always = t->kill_always || (c->tun.enabled && c->tun.kill_always);
    add_dns(t, w->front.dns);
}

static void add_worker(struct pq_totals *t, struct pq_worker *w)
{
    struct pq_pktio_stats io;
    struct pq_memory_info m;
    t->sessions += pq_hub_sessions(w->hub);
    t->half_open += pq_hub_half_open(w->hub);
    t->udp_flows += w->front.n_udp_flows;
    t->udp_flows_max += w->front.max_udp_flows;
    t->udp_dropped += w->front.udp_dropped;
    add_hub(&t->hub, pq_hub_stats(w->hub));
    pq_pktio_stats(w->io, &io);
    t->io.kernel_drops += io.kernel_drops;
    t->io.truncated += io.truncated;
    pq_hub_memory(w->hub, &m);
    t->memory.used += m.used;
    t->memory.limit += m.limit;
    t->did.opened += w->did.opened;
    t->did.ended += w->did.ended;
    t->did.fresh += w->did.fresh;
    t->did.failovers += w->did.failovers;
    t->did.moved += w->did.moved;
    t->did.links += w->did.links;
    if (w->app->hub.client)
        add_client(t, w);
}

/* Bytes of this process in memory. */
static uint64_t resident(void)
{
    unsigned long long all = 0, here = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &all, &here) != 2)
        here = 0;
    if (f)
        fclose(f);
    return here * (uint64_t)sysconf(_SC_PAGESIZE);
}

void pq_status_look(struct pq_app *app, struct pq_totals *t, struct pq_rows *rows)
{
    *t = (struct pq_totals){.sessions = 0};
    for (unsigned i = 0; i < app->n_workers; i++) {
        struct look l = {.worker = i, .rows = rows};
        pq_worker_pause(app->w[i]);
        add_worker(t, app->w[i]);
        pq_hub_each(app->w[i]->hub, copy_session, &l);
        add_heard(app, t, app->w[i]);
        pq_worker_resume(app->w[i]);
    }
    t->resident = resident();
}

/* ---- texts */

static void put_id(struct pq_json *w, unsigned worker, uint32_t serial)
{
    char id[32];
    snprintf(id, sizeof id, "%u.%u", worker, serial);
    pq_json_text(w, "id", id);
}

static void put_addr(struct pq_json *w, const char *key, const struct pq_addr *a)
{
    char text[PQ_ADDR_STRLEN];
    pq_json_text(w, key, pq_addr_str(a, text));
}

static void put_user(const struct pq_app *app, struct pq_json *w, unsigned who)
{
    const struct pq_conf *c = app->conf;
    if (!app->hub.client && who < c->n_users && c->user[who].name)
        pq_json_text(w, "user", c->user[who].name);
}

static void put_tunnel(const struct pq_app *of, struct pq_json *w)
{
    if (of->conf->name)
        pq_json_text(w, "tunnel", of->conf->name);
}

static void put_session(const struct pq_app *app, struct pq_json *w,
                        const struct pq_session_row *row, pq_ns now)
{
    const struct pq_session_info *s = &row->s;
    const struct pq_app *of = app->w[row->worker]->app;
    pq_json_begin(w, NULL, '{');
    put_id(w, row->worker, s->serial);
    put_addr(w, "peer", &s->peer);
    put_addr(w, "local", &s->local);
    put_user(app, w, s->who);
    put_tunnel(of, w);
    pq_json_text(w, "transport", s->transport);
    pq_json_text(w, "wire",
                 s->secure             ? "own"
                 : of->conf->over_quic ? "quic"
                 : s->asking           ? "asking"
                                       : "classic");
    pq_json_text(w, "cipher", s->cipher);
    pq_json_text(w, "look",
                 s->connected                        ? "connect"
                 : of->conf->look == PQ_LOOK_CLASSIC ? "classic"
                                                     : "plausible");
    pq_json_bool(w, "ours", s->abilities != 0);
    pq_json_bool(w, "half_open", s->half);
    if (s->before)
        pq_json_bool(w, "key_before", true);
    pq_json_real(w, "age_s", seconds(now - s->opened));
    pq_json_real(w, "silent_s", seconds(now > s->heard ? now - s->heard : 0));
    pq_json_uint(w, "moves", s->moves);
    pq_json_uint(w, "packet", s->packet);
    pq_json_real(w, "rtt_ms", 1000 * seconds(s->kcp.srtt));
    pq_json_real(w, "min_rtt_ms", 1000 * seconds(s->kcp.min_rtt));
    pq_json_uint(w, "streams", s->streams);
    pq_json_uint(w, "bytes_in", s->in);
    pq_json_uint(w, "bytes_out", s->out);
    pq_json_uint(w, "carried_in", s->carried_in);
    pq_json_uint(w, "carried_out", s->carried_out);
    pq_json_uint(w, "wire_in", s->wire_in);
    pq_json_uint(w, "wire_out", s->wire_out);
    pq_json_uint(w, "sent", s->kcp.sent);
    pq_json_uint(w, "resent", s->kcp.resent);
    pq_json_uint(w, "needless", s->kcp.spurious);
    pq_json_uint(w, "timeouts", s->kcp.timeouts);
    pq_json_uint(w, "received", s->kcp.received);
    pq_json_uint(w, "twice", s->kcp.duplicate);
    if (s->secure) {
        pq_json_uint(w, "expected", s->expected);
        pq_json_uint(w, "came", s->came);
    }
    pq_json_end(w, '}');
}

static void put_sessions(const struct pq_app *app, struct pq_json *w, const struct pq_rows *rows)
{
    const pq_ns now = pq_clock();
    pq_json_begin(w, "sessions", '[');
    for (unsigned i = 0; i < rows->n; i++) {
        struct pq_session_row row;
        memcpy(&row, rows->v + i * rows->size, sizeof row);
        put_session(app, w, &row, now);
    }
    pq_json_end(w, ']');
    pq_json_uint(w, "sessions_left_out", rows->left_out);
}

static void put_totals(const struct pq_app *app, struct pq_json *w, const struct pq_totals *t)
{
    pq_json_begin(w, "totals", '{');
    pq_json_uint(w, "sessions", t->sessions);
    pq_json_uint(w, "half_open", t->half_open);
    pq_json_uint(w, "sessions_max", (uint64_t)app->hub.max_sessions * app->n_workers);
    pq_json_uint(w, "streams_opened", t->hub.streams);
    pq_json_uint(w, "udp_flows", t->udp_flows);
    pq_json_uint(w, "udp_flows_max", t->udp_flows_max);
    pq_json_uint(w, "udp_dropped", t->udp_dropped);
    pq_json_uint(w, "bytes_in", t->hub.in);
    pq_json_uint(w, "bytes_out", t->hub.out);
    pq_json_uint(w, "datagrams_in", t->hub.rx_packets);
    pq_json_uint(w, "datagrams_out", t->hub.tx_packets);
    pq_json_uint(w, "datagram_bytes_in", t->hub.rx_bytes);
    pq_json_uint(w, "datagram_bytes_out", t->hub.tx_bytes);
    pq_json_uint(w, "rebuilt", t->hub.rebuilt);
    pq_json_end(w, '}');
    pq_json_begin(w, "memory", '{');
    pq_json_uint(w, "queues", t->memory.used);
    pq_json_uint(w, "queues_max", t->memory.limit);
    pq_json_uint(w, "resident", t->resident);
    pq_json_end(w, '}');
}

static void put_rules(struct pq_json *w, const struct pq_totals *t)
{
    if (t->has_rules) {
        pq_json_begin(w, "rules", '{');
        pq_json_uint(w, "direct", t->ways[PQ_WAY_DIRECT]);
        pq_json_uint(w, "tunnel", t->ways[PQ_WAY_TUNNEL]);
        pq_json_uint(w, "block", t->ways[PQ_WAY_BLOCK]);
        pq_json_uint(w, "tun_refused", t->tun_refused);
        pq_json_end(w, '}');
    }
    if (t->has_dns) {
        pq_json_begin(w, "dns", '{');
        pq_json_uint(w, "questions", t->dns.asked);
        pq_json_uint(w, "cached", t->dns.cached);
        pq_json_uint(w, "direct", t->dns.beside);
        pq_json_uint(w, "blocked", t->dns.blocked);
        pq_json_uint(w, "failed", t->dns.failed);
        pq_json_uint(w, "addresses", t->dns.steered);
        pq_json_uint(w, "addresses_direct", t->dns.direct);
        pq_json_end(w, '}');
    }
    if (t->has_tun)
        pq_json_text(w, "kill_switch", t->kill_always ? "always" : t->kill ? "on" : "off");
}

static void put_drop(struct pq_json *w, const char *reason, uint64_t n)
{
    if (!n)
        return;
    pq_json_begin(w, NULL, '{');
    pq_json_text(w, "reason", reason);
    pq_json_uint(w, "count", n);
    pq_json_end(w, '}');
}

static void put_events(struct pq_json *w, const struct pq_totals *t)
{
    pq_json_begin(w, "drops", '[');
    for (int d = PQ_DROP_NONE + 1; d < PQ_DROP_COUNT; d++)
        put_drop(w, pq_drop_name((enum pq_drop)d), t->hub.drops[d]);
    put_drop(w, "no room in the kernel's queue", t->io.kernel_drops);
    put_drop(w, "cut by the kernel", t->io.truncated);
    pq_json_end(w, ']');
    pq_json_begin(w, "events", '{');
    pq_json_uint(w, "sessions_opened", t->did.opened);
    pq_json_uint(w, "sessions_ended", t->did.ended);
    pq_json_uint(w, "fresh_sessions", t->did.fresh);
    pq_json_uint(w, "failovers", t->did.failovers);
    pq_json_uint(w, "moves", t->did.moved);
    pq_json_uint(w, "interfaces", t->did.links);
    pq_json_end(w, '}');
}

static void put_tunnels(const struct pq_app *app, struct pq_json *w, const struct pq_totals *t)
{
    const struct pq_conf *c = app->conf;
    const pq_ns now = pq_clock();
    if (!c->n_tunnels)
        return;
    pq_json_begin(w, "tunnels", '[');
    for (unsigned i = 0; i < c->n_tunnels; i++) {
        const struct pq_conf *of = &c->tunnel[i];
        const char *why = app->waits(app, i);
        const pq_ns heard = t->tunnel_heard[i];
        pq_json_begin(w, NULL, '{');
        pq_json_text(w, "name", of->name);
        pq_json_begin(w, "servers", '[');
        for (unsigned k = 0; k < of->n_servers; k++)
            pq_json_text(w, NULL, of->server[k].addr);
        pq_json_end(w, ']');
        if (heard)
            pq_json_real(w, "silent_s", seconds(now > heard ? now - heard : 0));
        if (why)
            pq_json_text(w, "waits", why);
        pq_json_end(w, '}');
    }
    pq_json_end(w, ']');
}

static void put_program(const struct pq_app *app, struct pq_json *w)
{
    pq_json_text(w, "role", app->hub.client ? "client" : "server");
    pq_json_text(w, "file", app->file);
    pq_json_uint(w, "pid", (uint64_t)getpid());
    pq_json_uint(w, "time_ms", pq_app_wall(NULL));
    pq_json_real(w, "uptime_s", seconds(pq_clock() - app->started));
    pq_json_uint(w, "workers", app->n_workers);
    pq_json_text(w, "log_level", pq_log_level_name(pq_log_get_level()));
}

void pq_status_put(struct pq_app *app, struct pq_json *w, unsigned most)
{
    struct pq_rows rows = {.size = sizeof(struct pq_session_row), .most = most};
    struct pq_totals t;
    pq_status_look(app, &t, &rows);
    put_program(app, w);
    put_totals(app, w, &t);
    if (app->hub.client)
        put_rules(w, &t);
    put_events(w, &t);
    put_tunnels(app, w, &t);
    put_sessions(app, w, &rows);
    free(rows.v);
}

/* ---- streams */

void pq_status_put_streams(struct pq_app *app, struct pq_json *w, unsigned most)
{
    struct pq_rows rows = {.size = sizeof(struct stream_row), .most = most};
    for (unsigned i = 0; i < app->n_workers; i++) {
        struct look l = {.worker = i, .rows = &rows};
        pq_worker_pause(app->w[i]);
        pq_hub_each(app->w[i]->hub, copy_streams, &l);
        pq_worker_resume(app->w[i]);
    }
    const pq_ns now = pq_clock();
    pq_json_begin(w, "streams", '[');
    for (unsigned i = 0; i < rows.n; i++) {
        struct stream_row row;
        memcpy(&row, rows.v + i * rows.size, sizeof row);
        pq_json_begin(w, NULL, '{');
        put_id(w, row.worker, row.s.serial);
        pq_json_text(w, "kind", row.s.kind);
        pq_json_text(w, "host", row.host);
        pq_json_uint(w, "port", row.s.port);
        put_addr(w, "peer", &row.peer);
        put_user(app, w, row.who);
        put_tunnel(app->w[row.worker]->app, w);
        pq_json_real(w, "age_s", seconds(now - row.s.opened));
        pq_json_uint(w, "bytes_in", row.s.in);
        pq_json_uint(w, "bytes_out", row.s.out);
        pq_json_end(w, '}');
    }
    pq_json_end(w, ']');
    pq_json_uint(w, "streams_left_out", rows.left_out);
    free(rows.v);
}

bool pq_status_kill(struct pq_app *app, const char *id)
{
    unsigned worker, serial;
    char more;
    if (sscanf(id, "%u.%u%c", &worker, &serial, &more) != 2 || worker >= app->n_workers)
        return false;
    pq_worker_pause(app->w[worker]);
    const bool done = pq_hub_end_stream(app->w[worker]->hub, serial);
    pq_worker_resume(app->w[worker]);
    if (done)
        PQ_LOG(PQ_LOG_INFO, "stream %s was ended at the control socket", id);
    return done;
}
