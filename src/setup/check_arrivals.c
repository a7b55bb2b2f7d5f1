/* SPDX-License-Identifier: MIT */
/* check_arrivals.c - at a server: what arrives at its port, and what it would make of it.  A second
 * hub with the server's keys reads the packets beside the one that serves; it sends nothing. */
#include "setup/check.h"

#include "app/server_keys.h"
#include "base/err.h"
#include "tunnel/stamps.h"
#include "tunnel/syns.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define BATCH       32
#define SOURCES_MAX 16
#define POLL_MS     200
#define PLAIN_MIN   1000    /* bytes: an Initial has 1200 */
#define SYNS_TRIED  8       /* of a source that prove nothing: whether it is a clock */
#define LONG_AGO    3600000 /* ms before this look the server was started, as far as is known */
#define NOTICED     2000    /* ms: no network keeps a packet so long */
#define APART       60000   /* ms: clocks that differ more are worth a word */

struct source {
    struct pq_addr addr;
    uint64_t frames, drops[PQ_DROP_COUNT];
    uint64_t syns, bare; /* without content: SYNs; of the middle of a connection */
    bool untimely;       /* its SYNs have the key, but another clock, see below */
    uint64_t open;       /* over QUIC: openings of a connection without a key */
    bool stamped;        /* a handshake of a user's has told what its clock shows: */
    int64_t ahead;       /* ms before this one's, the last of them */
};

struct listener {
    struct pq_app app;
    struct pq_hub *hub;
    struct pq_pktio *io;
    struct pq_stamps *stamps;
    struct pq_syns *syns;
    struct pq_slot slots[BATCH]; /* of what is not sent */
    uint8_t *slot_memory;
    uint8_t (*users)[PQ_CONF_KEY_LEN];
    struct pq_rng rng;
    bool begun;
    bool stamped; /* as in source, of the packet that is being read */
    int64_t ahead;
    struct source source[SOURCES_MAX];
    unsigned n;
    uint64_t others; /* packets of sources for which there was no room */
};

/* ---- a hub that listens only */

static void on_stream(void *ctx, struct pq_stream *st)
{
    (void)ctx; /* not owned, and so closed */
    (void)st;
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    (void)ctx;
    (void)seg;
    (void)fc;
    return true;
}

static void on_session(void *ctx, struct pq_session *s)
{
    (void)ctx;
    (void)s;
}

static void on_moved(void *ctx, struct pq_session *s, bool ok)
{
    (void)ctx;
    (void)s;
    (void)ok;
}

static void on_ended(void *ctx, struct pq_session *s, int err)
{
    (void)ctx;
    (void)s;
    (void)err;
}

/* Openings that are older than a server are none to it (over QUIC): it began before this look. */
static uint64_t on_wall(void *ctx)
{
    const struct listener *l = ctx;
    return pq_app_wall(NULL) - (l->begun ? 0 : LONG_AGO);
}

static void on_stamp(void *ctx, struct pq_stamp t, bool taken)
{
    struct listener *l = ctx;
    (void)taken;
    l->stamped = true;
    l->ahead = pq_check_ahead(t.stamp, pq_app_wall(NULL));
}

static const struct pq_hub_events events = {.stream = on_stream,
                                            .accept = on_accept,
                                            .proven = on_session,
                                            .secured = on_session,
                                            .moved = on_moved,
                                            .wall = on_wall,
                                            .ended = on_ended};

/* What the server knows of its users' stamps is read: who sends an older one is not let in.  A
 * server that cannot have the file goes by the clock alone. */
static void look_at_state(struct listener *l, const struct pq_conf *c)
{
    char path[64];
    const bool keeps = !c->over_quic && (c->n_users || (c->state && *c->state));
    const bool kept =
        keeps && !pq_state_look(pq_server_state_path(c, path), l->stamps, pq_app_wall(NULL));
    pq_stamps_look_on(l->stamps, kept, on_stamp, l);
}

/* The users' keys, with tables of stamps and SYNs of its own: the server's are left alone. */
static int take_keys(struct listener *l, const struct pq_conf *c)
{
    struct pq_own_conf *o = &l->app.hub.own;
    if (!o->secret || (!o->on && !c->over_quic))
        return 0;
    l->users = calloc(c->n_users ? c->n_users : 1, sizeof *l->users);
    if (!l->users)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < c->n_users; i++)
        memcpy(l->users[i], c->user[i].key, sizeof l->users[i]);
    o->users = (const uint8_t(*)[PQ_CONF_KEY_LEN])l->users;
    o->n = c->n_users;
    const int e = pq_stamps_new(&l->stamps, o->users, o->n);
    o->stamps = l->stamps;
    if (!e)
        look_at_state(l, c);
    if (e || c->over_quic)
        return e;
    /* nothing is sent: it may take all SYNs that prove themselves, at once */
    const int failed = pq_syns_new(&l->syns, pq_app_wall(NULL) - 3 * PQ_SYN_SLOT, 1);
    l->app.hub.syns = l->syns;
    return failed;
}

static int open_all(struct listener *l, struct pq_conf *c, char why[PQ_WHY_LEN])
{
    int e = pq_discover_server(c, &l->app.path, why);
    const struct pq_path path = l->app.path;
    if (e)
        return e;
    snprintf(why, PQ_WHY_LEN, "the port cannot be listened to");
    e = pq_app_init(&l->app, c, "");
    l->app.path = path;
    l->app.n_workers = 1;
    if (!e)
        e = take_keys(l, c);
    if (!e)
        e = pq_app_open_io(&l->app, &l->io);
    if (e)
        return e;
    l->slot_memory = malloc((size_t)BATCH * PQ_SLOT_SIZE);
    if (!l->slot_memory)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < BATCH; i++)
        l->slots[i].buf = l->slot_memory + (size_t)i * PQ_SLOT_SIZE;
    const struct pq_range ports = c->own_ports;
    pq_rng_init(&l->rng);
    l->app.hub.link_len = l->io->link_len;
    l->app.hub.splits = l->io->splits;
    l->app.hub.learn_mac = true;
    e = pq_hub_new(&l->hub, &l->app.hub, &events, l, &l->rng, pq_clock());
    l->begun = true;
    return e ? e : pq_pktio_set_ports(l->io, &ports, 1);
}

static void close_all(struct listener *l)
{
    pq_hub_free(&l->hub);
    pq_pktio_close(&l->io);
    pq_stamps_free(&l->stamps);
    pq_syns_free(&l->syns);
    free(l->slot_memory);
    free(l->users);
    pq_app_fini(&l->app);
}

/* ---- what comes */

/* Whether a packet was opened with the key. */
static bool has_key(const uint64_t drops[PQ_DROP_COUNT])
{
    return drops[PQ_DROP_NONE] || drops[PQ_DROP_USER];
}

/* Where there is no room, who has the key takes that of one who has not: any stranger may send from
 * as many addresses as he likes, and would hide who is looked for. */
static struct source *source_of(struct listener *l, const struct pq_addr *a, bool key)
{
    struct source *without = NULL;
    for (unsigned i = 0; i < l->n; i++)
        if (pq_addr_eq_ip(&l->source[i].addr, a))
            return &l->source[i];
    for (unsigned i = 0; i < l->n && !without; i++)
        without = has_key(l->source[i].drops) ? NULL : &l->source[i];
    if (l->n == SOURCES_MAX && !(key && without))
        return NULL;
    struct source *s = l->n < SOURCES_MAX ? &l->source[l->n++] : without;
    l->others += s->frames;
    *s = (struct source){.addr = *a};
    return s;
}

/* An Initial as it is (RFC 9000, 17.2.2), which with a key has a seal around it [13.1]. */
static bool is_plain_initial(const struct pq_segment *seg)
{
    static const uint8_t version1[] = {0, 0, 0, 1};
    return seg->len > PLAIN_MIN && (seg->data[0] & 0xf0) == 0xc0 &&
           memcmp(seg->data + 1, version1, sizeof version1) == 0;
}

static void take(struct listener *l, const struct pq_frame *f, pq_ns now)
{
    struct pq_segment seg;
    const enum pq_drop d = pq_segment_parse(&seg, f->p, f->len, l->io->link_len);
    const bool addressed = d == PQ_DROP_NONE || d == PQ_DROP_NO_PAYLOAD;
    uint64_t before[PQ_DROP_COUNT], more[PQ_DROP_COUNT];
    memcpy(before, pq_hub_stats(l->hub)->drops, sizeof before);
    const bool plain = l->app.conf->over_quic && d == PQ_DROP_NONE && is_plain_initial(&seg);
    l->stamped = false;
    pq_hub_input(l->hub, f, now);
    bool counted = false;
    for (unsigned i = 0; i < PQ_DROP_COUNT; i++) {
        more[i] = pq_hub_stats(l->hub)->drops[i] - before[i];
        counted = counted || more[i];
    }
    if (d == PQ_DROP_NO_PAYLOAD && seg.flags & PQ_TCP_SYN && !counted)
        more[PQ_DROP_NONE] = 1; /* it has proven itself [12.9] */
    struct source *s = addressed ? source_of(l, &seg.src, has_key(more)) : NULL;
    l->others += addressed && !s;
    if (!s)
        return;
    s->frames++;
    s->open += plain;
    if (l->stamped) {
        s->stamped = true;
        s->ahead = l->ahead;
    }
    const bool syn = d == PQ_DROP_NO_PAYLOAD && seg.flags & PQ_TCP_SYN;
    s->syns += syn;
    if (syn && !more[PQ_DROP_NONE] && s->syns <= SYNS_TRIED && l->syns)
        s->untimely |= pq_hub_syn_apart(l->hub, &seg, &s->ahead);
    s->bare += d == PQ_DROP_NO_PAYLOAD && !(seg.flags & (PQ_TCP_SYN | PQ_TCP_RST));
    for (unsigned i = 0; i < PQ_DROP_COUNT; i++)
        s->drops[i] += more[i];
}

static void listen_for(struct listener *l, unsigned seconds)
{
    struct pq_frame frames[BATCH];
    for (const pq_ns until = pq_clock() + seconds * PQ_SEC; pq_clock() < until;) {
        struct pollfd pf = {.fd = l->io->rx_fd, .events = POLLIN};
        poll(&pf, 1, POLL_MS);
        const pq_ns now = pq_clock();
        const size_t n = pq_pktio_recv(l->io, frames, BATCH);
        for (size_t i = 0; i < n; i++)
            take(l, &frames[i], now);
        pq_hub_rx_end(l->hub, now);
        pq_pktio_release(l->io);
        pq_hub_tick(l->hub, now);
        while (pq_hub_pull(l->hub, l->slots, BATCH, now) == BATCH)
            ; /* a connection goes on once it was answered, as it has been by the server that runs
               */
    }
}

/* ---- what it means */

#define WHICH_CLOCK                                                                                \
    "\"date -u\" at both ends tells which is wrong; set that one right, and start a time service " \
    "there (systemd-timesyncd, chrony, ntpd)"

/* Over QUIC, where a refused opening comes again, and is a recording then. */
static void judge_quic(const struct source *s, const struct pq_conf *c, const char *from,
                       struct pq_findings *f)
{
    const unsigned long long n = s->frames;
    const uint64_t *d = s->drops;
    if (s->open)
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                       "give it this server's link; a Go program of family A needs a server with "
                       "transport.quic.auth: none, which lets everybody in",
                       "%llu packets from %s, of QUIC without a key (auth: none): this server "
                       "answers none such",
                       n, from);
    else if (d[PQ_DROP_HANDSHAKE])
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                       c->has_secret ? "give it this server's link; \"paqet link\" shows it again"
                                     : "leave its public_key out, or give this server a "
                                       "transport.private_key (paqet secret --pair)",
                       c->has_secret ? "%llu packets from %s, with transport.quic.key, but without "
                                       "this server's public_key, or with another one"
                                     : "%llu packets from %s, with transport.quic.key, but they "
                                       "want a server with a public_key, and this one has none",
                       n, from);
    else if (d[PQ_DROP_STAMP])
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals", "set the clocks of both machines right",
                       "%llu packets from %s, whose clock is more than two minutes from this one's",
                       n, from);
    else if (d[PQ_DROP_NO_SESSION] && !d[PQ_DROP_AUTH])
        pq_finding_add(f, PQ_FINDING_NOTE, "arrivals", NULL,
                       "%llu packets from %s, of a session that was there before this look, as it "
                       "seems",
                       n, from);
    else
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                       "make transport.protocol and transport.quic.key those of this server; "
                       "\"paqet link\" shows the link again",
                       "%llu packets from %s, which cannot be opened: another key, or kcp in place "
                       "of quic",
                       n, from);
}

static void judge(const struct source *s, const struct pq_conf *c, struct pq_findings *f)
{
    char ip[PQ_ADDR_STRLEN];
    const char *from = pq_addr_ip_str(&s->addr, ip);
    const unsigned long long n = s->frames;
    const uint64_t *d = s->drops;
    char apart[48];
    if (d[PQ_DROP_NONE] && s->stamped && llabs(s->ahead) > APART)
        pq_finding_add(f, PQ_FINDING_NOTE, "clock", WHICH_CLOCK,
                       "that of %s is %s this one's: this server lets it in all the same, but not "
                       "with network.tcp.look: connect, nor over QUIC",
                       from, pq_check_apart(s->ahead, apart));
    if (d[PQ_DROP_NONE])
        pq_finding_add(
            f, PQ_FINDING_OK, "arrivals", NULL,
            "%llu packets from %s, %s: if it gets no answers, they are lost on their way "
            "back",
            n, from, s->open ? "without a key, as auth: none permits" : "with the right key");
    else if (d[PQ_DROP_USER])
        pq_finding_add(
            f, PQ_FINDING_BAD, "arrivals", "give it the link of a user who is among \"users:\"",
            "%llu packets from %s, with transport.%s.key, but of no user that is known here", n,
            from, c->over_quic ? "quic" : "kcp");
    else if (c->over_quic && d[PQ_DROP_NO_PAYLOAD] < s->frames)
        judge_quic(s, c, from, f);
    else if (d[PQ_DROP_STAMP] && s->stamped && llabs(s->ahead) > NOTICED)
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals", WHICH_CLOCK,
                       "%llu packets from %s, of a user whose clock is %s this one's: %s", n, from,
                       pq_check_apart(s->ahead, apart),
                       s->ahead < 0 ? "this server takes nothing of him that is older than what it "
                                      "has had, or than its file of stamps"
                                    : "too far for this server");
    else if (d[PQ_DROP_STAMP] || d[PQ_DROP_REPLAY])
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals", NULL,
                       "%llu packets from %s, whose time stamps have been seen: somebody plays a "
                       "recording, or the client's clock was set back",
                       n, from);
    else if (s->untimely)
        pq_finding_add(
            f, PQ_FINDING_BAD, "arrivals", WHICH_CLOCK,
            "%llu packets from %s, with the right key, but its clock is some %s this "
            "one's: with network.tcp.look: connect it gets no answer where they are more "
            "than a minute apart",
            n, from, pq_check_apart(s->ahead, apart));
    else if (s->bare && !s->syns)
        pq_finding_add(f, PQ_FINDING_NOTE, "arrivals", NULL,
                       "%llu packets from %s, of a connection that was there before this look: a "
                       "client with network.tcp.look: connect, as it seems, that is connected",
                       n, from);
    else if (d[PQ_DROP_NO_PAYLOAD] >= s->frames)
        pq_finding_add(f, PQ_FINDING_NOTE, "arrivals",
                       "compare the clocks of both machines (date -u); then the client's link with "
                       "what \"paqet link\" shows here",
                       "%llu packets from %s without content: somebody looks whether the port is "
                       "open, or a client with network.tcp.look: connect has another key, or a "
                       "clock that is more than a minute wrong",
                       n, from);
    else
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                       "make transport.kcp.key, block and public_key those of this server; \"paqet "
                       "link\" shows the link again",
                       "%llu packets from %s, which cannot be opened: another key or cipher, or a "
                       "session that was there before "
                       "this look (then ignore it)",
                       n, from);
}

void pq_check_arrivals(struct pq_conf *c, unsigned seconds, struct pq_findings *f)
{
    char why[PQ_WHY_LEN];
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return;
    char ports[PQ_RANGE_STRLEN];
    pq_range_str(&c->own_ports, ports);
    if (open_all(l, c, why)) {
        pq_finding_add(f, PQ_FINDING_BAD, "arrivals", NULL, "%s", why);
    } else {
        listen_for(l, seconds);
        for (unsigned i = 0; i < l->n; i++)
            judge(&l->source[i], c, f);
        if (l->others)
            pq_finding_add(f, PQ_FINDING_NOTE, "arrivals", NULL,
                           "%llu packets from more addresses than are told apart here",
                           (unsigned long long)l->others);
        if (!l->n)
            pq_finding_add(f, PQ_FINDING_BAD, "arrivals",
                           "was a client asking meanwhile (paqet ping there)? then something "
                           "before this machine keeps TCP to the "
                           "port out: the provider's firewall, or the way",
                           "no packet came to port %s in %u s", ports, seconds);
    }
    close_all(l);
    explicit_bzero(l, sizeof *l);
    free(l);
}
