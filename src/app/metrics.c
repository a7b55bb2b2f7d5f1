/* SPDX-License-Identifier: MIT */
#include "app/metrics.h"

#include "app/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define SESSIONS_MAX 64 /* of a client, each of which has a line of its own */
#define HEARD_MAX    (6 * PQ_SEC)

__attribute__((format(printf, 2, 3))) static void put(struct pq_json *w, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0)
        pq_json_raw(w, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void head(struct pq_json *w, const char *name, const char *type, const char *help)
{
    put(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct pq_json *w, const char *name, uint64_t v, const char *help)
{
    head(w, name, "gauge", help);
    put(w, "%s %" PRIu64 "\n", name, v);
}

static void counter(struct pq_json *w, const char *name, uint64_t v, const char *help)
{
    head(w, name, "counter", help);
    put(w, "%s %" PRIu64 "\n", name, v);
}

static void both_ways(struct pq_json *w, const char *name, uint64_t in, uint64_t out,
                      const char *help)
{
    head(w, name, "counter", help);
    put(w, "%s{direction=\"in\"} %" PRIu64 "\n%s{direction=\"out\"} %" PRIu64 "\n", name, in, name,
        out);
}

static void put_load(const struct pq_app *app, struct pq_json *w, const struct pq_totals *t)
{
    gauge(w, "paqet_sessions", t->sessions, "Sessions, without half-open ones.");
    gauge(w, "paqet_sessions_half_open", t->half_open,
          "Sessions whose client has not shown yet that it is alive.");
    if (!app->hub.client)
        gauge(w, "paqet_sessions_max", (uint64_t)app->hub.max_sessions * app->n_workers,
              "Sessions at most.");
    counter(w, "paqet_streams_opened_total", t->hub.streams, "Streams that were opened.");
    both_ways(w, "paqet_stream_bytes_total", t->hub.in, t->hub.out,
              "Bytes of streams, from peers (in) and to them (out).");
    both_ways(w, "paqet_datagrams_total", t->hub.rx_packets, t->hub.tx_packets,
              "Datagrams on the wire.");
    both_ways(w, "paqet_datagram_bytes_total", t->hub.rx_bytes, t->hub.tx_bytes,
              "Their bytes, without the headers of TCP and IP.");
    counter(w, "paqet_rebuilt_datagrams_total", t->hub.rebuilt,
            "Datagrams that forward error correction brought back.");
    gauge(w, "paqet_udp_flows", t->udp_flows, "UDP flows.");
    gauge(w, "paqet_udp_flows_max", t->udp_flows_max, "UDP flows at most.");
    counter(w, "paqet_udp_dropped_datagrams_total", t->udp_dropped,
            "Datagrams of UDP flows for which there was no room.");
    gauge(w, "paqet_queue_bytes", t->memory.used, "Memory for bytes on their way.");
    gauge(w, "paqet_queue_bytes_max", t->memory.limit, "The same at most.");
    gauge(w, "process_resident_memory_bytes", t->resident, "Resident memory size in bytes.");
}

static void put_events(struct pq_json *w, const struct pq_totals *t)
{
    counter(w, "paqet_sessions_opened_total", t->did.opened, "Sessions that were opened.");
    counter(w, "paqet_sessions_ended_total", t->did.ended, "Sessions that have ended.");
    counter(w, "paqet_sessions_fresh_total", t->did.fresh,
            "Sessions that were given up for fresh ones since the peer was silent.");
    counter(w, "paqet_failovers_total", t->did.failovers,
            "Changes to another server or another of its addresses.");
    counter(w, "paqet_moves_total", t->did.moved,
            "Sessions that went on from another port or address.");
    counter(w, "paqet_interface_changes_total", t->did.links, "Changes of the network interface.");
    head(w, "paqet_dropped_packets_total", "counter", "Packets that were not used, by reason.");
    for (int d = PQ_DROP_NONE + 1; d < PQ_DROP_COUNT; d++)
        put(w, "paqet_dropped_packets_total{reason=\"%s\"} %" PRIu64 "\n",
            pq_drop_name((enum pq_drop)d), t->hub.drops[d]);
    counter(w, "paqet_kernel_dropped_packets_total", t->io.kernel_drops,
            "Packets for which the kernel's queue had no room.");
}

static void put_tunnels(const struct pq_app *app, struct pq_json *w, const struct pq_totals *t)
{
    const struct pq_conf *c = app->conf;
    const pq_ns now = pq_clock();
    if (!c->n_tunnels)
        return;
    head(w, "paqet_tunnel_up", "gauge", "Whether the tunnel has heard its server within 6 s.");
    for (unsigned i = 0; i < c->n_tunnels; i++)
        put(w, "paqet_tunnel_up{tunnel=\"%s\"} %d\n", c->tunnel[i].name,
            t->tunnel_heard[i] && now < t->tunnel_heard[i] + HEARD_MAX);
}

static void put_rules(struct pq_json *w, const struct pq_totals *t)
{
    static const char *const ways[] = {
        [PQ_WAY_TUNNEL] = "tunnel", [PQ_WAY_DIRECT] = "direct", [PQ_WAY_BLOCK] = "block"};
    if (t->has_rules) {
        head(w, "paqet_rule_decisions_total", "counter",
             "Connections, UDP flows and names, by the way that the rules say.");
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
            put(w, "paqet_rule_decisions_total{way=\"%s\"} %" PRIu64 "\n", ways[i], t->ways[i]);
        counter(w, "paqet_tun_refused_packets_total", t->tun_refused,
                "Packets of the TUN device that the rules block.");
    }
    if (t->has_dns) {
        counter(w, "paqet_dns_questions_total", t->dns.asked, "Questions of programs for names.");
        counter(w, "paqet_dns_cached_total", t->dns.cached, "Those answered from memory.");
        counter(w, "paqet_dns_direct_total", t->dns.beside, "Those asked beside the tunnel.");
        counter(w, "paqet_dns_blocked_total", t->dns.blocked, "Those that the rules block.");
        counter(w, "paqet_dns_failed_total", t->dns.failed, "Those that no resolver answered.");
        gauge(w, "paqet_dns_addresses", t->dns.steered, "Addresses whose names are remembered.");
        gauge(w, "paqet_dns_addresses_direct", t->dns.direct, "Those of them that go directly.");
    }
    if (t->has_tun)
        gauge(w, "paqet_kill_switch", t->kill, "Whether the kill switch is on: 1, else 0.");
}

/* A client has few sessions; those of a server would be a new series with each client that comes.
 */
static void put_sessions(const struct pq_app *app, struct pq_json *w, const struct pq_rows *rows)
{
    static const struct {
        const char *name, *type, *help;
    } v[] = {
        {"paqet_session_rtt_seconds", "gauge", "Smoothed round trip time."},
        {"paqet_session_streams", "gauge", "Open streams."},
        {"paqet_session_segments_sent_total", "counter", "Segments that were sent first."},
        {"paqet_session_segments_resent_total", "counter", "Segments that were sent again."},
        {"paqet_session_packet_bytes", "gauge", "Longest IP packets that are sent now."},
    };
    for (unsigned k = 0; k < sizeof v / sizeof v[0]; k++) {
        head(w, v[k].name, v[k].type, v[k].help);
        for (unsigned i = 0; i < rows->n; i++) {
            const struct pq_session_row *r = (const void *)(rows->v + i * rows->size);
            char peer[PQ_ADDR_STRLEN];
            const char *tunnel = app->w[r->worker]->app->conf->name;
            put(w, "%s{session=\"%u.%u\",peer=\"%s\"", v[k].name, r->worker, r->s.serial,
                pq_addr_str(&r->s.peer, peer));
            if (tunnel)
                put(w, ",tunnel=\"%s\"", tunnel);
            put(w, "} ");
            if (k == 0)
                put(w, "%.6f\n", (double)r->s.kcp.srtt / (double)PQ_SEC);
            else
                put(w, "%" PRIu64 "\n",
                    k == 1   ? (uint64_t)r->s.streams
                    : k == 2 ? r->s.kcp.sent
                    : k == 3 ? r->s.kcp.resent
                             : (uint64_t)r->s.packet);
        }
    }
}

void pq_metrics_put(struct pq_app *app, struct pq_json *w)
{
    struct pq_rows rows = {.size = sizeof(struct pq_session_row),
                           .most = app->hub.client ? SESSIONS_MAX : 0};
    struct pq_totals t;
    const pq_ns up = pq_clock() - app->started;
    pq_status_look(app, &t, &rows);
    head(w, "paqet_start_time_seconds", "gauge", "When the program was started, since 1970.");
    put(w, "paqet_start_time_seconds %.3f\n",
        (double)pq_app_wall(NULL) / 1000 - (double)up / (double)PQ_SEC);
    put_load(app, w, &t);
    put_events(w, &t);
    put_tunnels(app, w, &t);
    if (app->hub.client)
        put_rules(w, &t);
    if (app->hub.client)
        put_sessions(app, w, &rows);
    free(rows.v);
}

bool pq_metrics_healthy(struct pq_app *app, char why[128])
{
    struct pq_rows none = {.size = sizeof(struct pq_session_row)};
    struct pq_totals t;
    pq_status_look(app, &t, &none);
    const bool ok = app->hub.client ? t.heard && pq_clock() < t.heard + HEARD_MAX
                                    : !app->away || !app->away(app);
    snprintf(why, 128, "%s",
             ok                ? "ok"
             : app->hub.client ? "the server is silent"
                               : "the interface is away");
    return ok;
}
