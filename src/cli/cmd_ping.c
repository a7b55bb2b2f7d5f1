/* SPDX-License-Identifier: MIT */
/* ping: round trips through the tunnel, with statistics; or, as the Go programs have it, one forged
 * packet with a text as its payload (--packet), which dump at the other end shows. */
#include "app/app.h"
#include "app/probe.h"
#include "cli/cli.h"
#include "os/process.h"
#include "setup/check.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MIN 0.01 /* s */
#define WAIT_MIN     0.1
#define SECONDS_MAX  3600.0

/* ---- one packet */

static int send_one(const struct pq_conf *c, const char *text)
{
    char why[PQ_WHY_LEN], from[PQ_ADDR_STRLEN], to[PQ_ADDR_STRLEN];
    struct pq_app app = {.conf = c, .n_workers = 1};
    struct pq_addr addrs[PQ_SERVER_ADDRS], server;
    unsigned n;
    struct pq_pktio *io;
    app.hub.client = true;
    if (pq_discover_resolve(c, &c->server[0], NULL, addrs, &n, why) ||
        pq_discover_client(c, &addrs[0], 3 * PQ_SEC, &app.path, why)) {
        pq_say("%s", why);
        return 1;
    }
    server = addrs[0];
    if (pq_app_open_io(&app, &io))
        return 1;
    struct pq_rng rng;
    pq_rng_init(&rng);
    struct pq_flow_conf fc = {
        .local = app.path.local, .peer = server, .link_len = io->link_len, .t0 = pq_app_t0()};
    fc.local.port = c->own_port ? c->own_port : (uint16_t)(32768 + pq_rng_u32(&rng) % 32768);
    memcpy(fc.local_mac, app.path.iface.mac, 6);
    memcpy(fc.peer_mac, app.path.router_mac, 6);
    struct pq_flow flow;
    pq_flow_init(&flow, &fc);
    pq_flow_set_flags(&flow, &c->local_flag);

    uint8_t buf[PQ_SLOT_SIZE];
    struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)strlen(text)};
    for (size_t i = 0; text[i]; i++)
        buf[PQ_SLOT_HEAD + i] = (uint8_t)text[i];
    pq_flow_craft(&flow, &slot, false, pq_clock());
    int sent = pq_pktio_send(io, &slot, 1);
    pq_pktio_close(&io);
    if (sent != 1) {
        pq_say("the packet could not be sent on %s: %s", app.path.iface.name,
               sent < 0 ? pq_strerror(sent) : "the kernel's queue is full");
        return 1;
    }
    printf("sent %zu bytes from %s to %s on %s\n", strlen(text), pq_addr_str(&fc.local, from),
           pq_addr_str(&server, to), app.path.iface.name);
    return 0;
}

/* ---- round trips */

#define GONE 3 /* so many without an answer at the end are no losses by chance */

struct figures {
    const char *target; /* as written, or NULL */
    bool json, open, quic;
    unsigned asked, answers, refused;
    unsigned last;                 /* that was answered */
    int result;                    /* the last one */
    double min, max, sum, squares; /* ms */
};

/* What the server says of a target; the SOCKS5 reply codes [8.4]. */
static const char *result_text(int code)
{
    static const char *const texts[] = {"connected",
                                        "it failed",
                                        "the server's rules do not allow it",
                                        "its network cannot be reached",
                                        "it cannot be reached, or its name is not known",
                                        "nothing listens there",
                                        "it does not answer"};
    if (code < 0)
        return "the server does not tell how it went";
    return code < (int)(sizeof texts / sizeof texts[0]) ? texts[code] : "it failed";
}

static double ms(pq_ns ns)
{
    return (double)ns / (double)PQ_MS;
}

static void note(struct figures *f, double t)
{
    f->min = f->answers && f->min < t ? f->min : t;
    f->max = f->max > t ? f->max : t;
    f->sum += t;
    f->squares += t * t;
    f->answers++;
}

static void on_event(void *ctx, const struct pq_probe_event *ev)
{
    struct figures *f = ctx;
    char peer[PQ_ADDR_STRLEN];
    if (ev->kind == PQ_PROBE_OPEN) {
        f->open = true;
        if (!f->json)
            printf("server %s answers after %.1f ms, %s\n", pq_addr_str(&ev->peer, peer),
                   ms(ev->ns), pq_probe_wire(ev, f->quic));
    } else if (ev->seq) {
        f->asked = ev->seq > f->asked ? ev->seq : f->asked;
        if (ev->kind == PQ_PROBE_ANSWER) {
            note(f, ms(ev->ns));
            f->last = ev->seq > f->last ? ev->seq : f->last;
        }
        f->result = ev->result;
        f->refused += ev->kind == PQ_PROBE_ANSWER && ev->result > 0;
        if (f->json)
            return;
        if (ev->kind == PQ_PROBE_NONE)
            printf("seq=%u no answer within %.1f s\n", ev->seq, ms(ev->ns) / 1000);
        else if (f->target)
            printf("%s seq=%u time=%.2f ms: %s\n", f->target, ev->seq, ms(ev->ns),
                   result_text(ev->result));
        else
            printf("seq=%u time=%.2f ms\n", ev->seq, ms(ev->ns));
    }
    fflush(stdout);
}

static void print_json(const struct figures *f, double mean, double dev)
{
    printf("{\"open\": %s, \"asked\": %u, \"answered\": %u, \"refused\": %u, \"result\": %d, "
           "\"rtt_ms\": ",
           f->open ? "true" : "false", f->asked, f->answers, f->refused, f->result);
    if (f->answers)
        printf("{\"min\": %.3f, \"avg\": %.3f, \"max\": %.3f, \"mdev\": %.3f}}\n", f->min, mean,
               f->max, dev);
    else
        printf("null}\n");
}

/* Why no answer may have come, as check says it. */
static void explain(const struct pq_conf *c, const struct pq_probe_seen *seen)
{
    struct pq_findings *f = calloc(1, sizeof *f);
    const struct pq_check_silence s = pq_check_silence_of(c, seen);
    if (!f)
        return;
    pq_check_explain(&s, f);
    fprintf(stderr, "no answer from the server: %s\n%s\n", f->v[0].text, f->v[0].remedy);
    free(f);
}

static int finish(const struct figures *f)
{
    const double n = f->answers ? f->answers : 1, mean = f->sum / n;
    const double var = f->squares / n - mean * mean, dev = var > 0 ? sqrt(var) : 0;
    if (f->json)
        print_json(f, mean, dev);
    else if (f->asked)
        printf("\n%u asked, %u answered, %.0f %% lost\n", f->asked, f->answers,
               100.0 * (f->asked - f->answers) / f->asked);
    if (!f->json && f->answers)
        printf("rtt min/avg/max/mdev = %.2f/%.2f/%.2f/%.2f ms\n", f->min, mean, f->max, dev);
    if (!f->json && f->answers && f->asked - f->last >= GONE)
        printf(
            "the last %u have no answer: the server does not run any more, or nothing gets there "
            "and back; \"paqet check\" tells more\n",
            f->asked - f->last);
    return f->answers && f->refused < f->answers ? 0 : 1;
}

/* ---- options */

struct options {
    const char *path, *tunnel, *text, *target;
    char found[PQ_CLI_PATH];
    bool packet, json;
    double interval, wait;
    unsigned long count;
};

static bool read_seconds(const char *name, const char *text, double least, double *out)
{
    char *end;
    const double v = strtod(text, &end);
    if (end == text || *end || !(v >= least && v <= SECONDS_MAX)) {
        fprintf(stderr, "paqet ping: %s: '%s' is no number of seconds from %g to %g\n", name, text,
                least, SECONDS_MAX);
        return false;
    }
    *out = v;
    return true;
}

static bool read_count(const char *text, unsigned long *out)
{
    char *end;
    *out = strtoul(text, &end, 10);
    const bool ok = *text >= '0' && *text <= '9' && !*end && *out <= 1000000;
    if (!ok)
        fprintf(stderr, "paqet ping: --count: '%s' is no number up to 1000000 (0: for ever)\n",
                text);
    return ok;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'},   {"payload", required_argument, NULL, 'p'},
        {"packet", no_argument, NULL, 'P'},         {"count", required_argument, NULL, 'n'},
        {"interval", required_argument, NULL, 'i'}, {"wait", required_argument, NULL, 'w'},
        {"target", required_argument, NULL, 't'},   {"json", no_argument, NULL, 'j'},
        {"tunnel", required_argument, NULL, 'T'},   {0}};
    *o = (struct options){.interval = 1, .wait = 10, .count = 4};
    for (int c; (c = getopt_long(argc, argv, "c:p:n:i:w:t:", opts, NULL)) != -1;) {
        bool ok = true;
        switch (c) {
        case 'c':
            o->path = optarg;
            break;
        case 'p':
            o->text = optarg;
            break;
        case 't':
            o->target = optarg;
            break;
        case 'P':
            o->packet = true;
            break;
        case 'T':
            o->tunnel = optarg;
            break;
        case 'j':
            o->json = true;
            break;
        case 'n':
            ok = read_count(optarg, &o->count);
            break;
        case 'i':
            ok = read_seconds("--interval", optarg, INTERVAL_MIN, &o->interval);
            break;
        case 'w':
            ok = read_seconds("--wait", optarg, WAIT_MIN, &o->wait);
            break;
        default:
            ok = false;
        }
        if (!ok)
            return false;
    }
    o->packet |= o->text != NULL; /* as the Go programs have it */
    o->text = o->text ? o->text : "PING";
    if (strlen(o->text) > PQ_DGRAM_MAX)
        fprintf(stderr, "paqet ping: --payload is longer than %d bytes\n", PQ_DGRAM_MAX);
    return strlen(o->text) <= PQ_DGRAM_MAX &&
           (o->path = pq_cli_config("ping", o->path, true, o->found));
}

static int probe(struct pq_conf *c, const struct options *o)
{
    char host[256];
    struct figures f = {.target = o->target, .json = o->json, .quic = c->over_quic};
    struct pq_probe_seen seen = {.datagrams = 0};
    struct pq_probe_conf pc = {.count = (unsigned)o->count,
                               .interval = (pq_ns)(o->interval * (double)PQ_SEC),
                               .patience = (pq_ns)(o->wait * (double)PQ_SEC),
                               .event = on_event,
                               .ctx = &f,
                               .seen = &seen};
    if (o->target) {
        if (pq_hostport_split(o->target, host, sizeof host, &pc.port) || !*host || !pc.port) {
            fprintf(stderr, "paqet ping: --target: '%s' is no HOST:PORT\n", o->target);
            return 1;
        }
        pc.host = host;
    }
    pq_log_set_level(PQ_LOG_NONE); /* what the user wants to know is printed */
    if (pq_client_probe(c, &pc))
        return 1;
    if (!f.open)
        explain(c, &seen);
    return finish(&f);
}

int pq_cmd_ping(int argc, char **argv)
{
    struct options o;
    struct pq_conf c;
    pq_process_confine(); /* packets of anybody are read */
    if (!read_options(argc, argv, &o) || pq_cli_load(&c, o.path, o.tunnel))
        return 1;
    int code = 1;
    if (c.role != PQ_ROLE_CLIENT)
        pq_say("ping: %s is a server's configuration; a client's is needed", o.path);
    else
        code = o.packet ? send_one(&c, o.text) : probe(&c, &o);
    pq_conf_free(&c);
    return code;
}
