/* SPDX-License-Identifier: MIT */
/* check_quic.c - transport.quic: family A's keys, and what peers of our own kind have beside them
 * [7] [13]. */
#include "conf/conf_internal.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1L << 20)

/* What a key is where it was not set; a server has more than a client, as in family A [7.3]. */
static void set_default(long *at, bool server, long of_server, long of_client)
{
    if (!*at)
        *at = server ? of_server : of_client;
}

/* The larger windows are what the smaller ones may grow to. */
static void check_windows(struct pq_check *k, bool server)
{
    struct pq_conf_quic *q = &k->c->quic;
    const bool stream = q->stream_window_max != 0, all = q->window_max != 0;
    set_default(&q->stream_window, server, 10 * MIB, 6 * MIB);
    set_default(&q->window, server, 30 * MIB, 15 * MIB);
    set_default(&q->stream_window_max, server, 40 * MIB, 24 * MIB);
    set_default(&q->window_max, server, 100 * MIB, 60 * MIB);
    if (stream && q->stream_window_max < q->stream_window)
        PQ_FAIL(k, "transport.quic.max_stream_receive_window",
                "transport.quic.max_stream_receive_window: %ld is less than "
                "initial_stream_receive_window, %ld",
                q->stream_window_max, q->stream_window);
    if (all && q->window_max < q->window)
        PQ_FAIL(k, "transport.quic.max_connection_receive_window",
                "transport.quic.max_connection_receive_window: %ld is less than "
                "initial_connection_receive_window, %ld",
                q->window_max, q->window);
    if (q->stream_window_max < q->stream_window)
        q->stream_window_max = q->stream_window;
    if (q->window_max < q->window)
        q->window_max = q->window;
}

/* As the Go programs speak QUIC: said at each start. */
static void check_open(struct pq_check *k, bool server)
{
    const struct pq_conf_quic *q = &k->c->quic;
    if (server)
        PQ_WARN(k, "transport.quic.auth",
                "transport.quic.auth: none: whoever finds the port can use this server");
    else if (q->skip_verify)
        PQ_WARN(k, "transport.quic.auth",
                "transport.quic.auth: none with insecure_skip_verify: whoever is on the way can "
                "read and change everything");
    else
        PQ_WARN(k, "transport.quic.auth",
                "transport.quic.auth: none without insecure_skip_verify: the server needs a "
                "certificate that this system trusts, which those of Go have not");
}

static void take_key(char **to, char **from)
{
    if (!pq_is_set(*from))
        return;
    free(*to);
    *to = *from;
    *from = NULL;
}

/* The key of both ends; that of kcp will do, so that one line changes the transport. */
static void check_key(struct pq_check *k, bool server)
{
    struct pq_conf *c = k->c;
    c->quic.open = pq_is_set(c->quic.auth) && strcmp(c->quic.auth, "none") == 0;
    if (pq_is_set(c->quic.auth) && !c->quic.open && strcmp(c->quic.auth, "key") != 0)
        PQ_FAIL(k, "transport.quic.auth", "transport.quic.auth: '%s' is not key or none",
                c->quic.auth);
    take_key(&c->kcp.key, &c->quic.key); /* from here on there is one */
    take_key(&c->kcp.key_before, &c->quic.key_before);
    if (c->quic.open)
        check_open(k, server);
    if (!pq_is_set(c->kcp.key) && !c->quic.open)
        PQ_FAIL(k, "transport.quic.key",
                "transport.quic.key: is missing; both ends need the same one (paqet secret makes "
                "one), or, with a Go program of family A, transport.quic.auth: none");
    else if (pq_is_set(c->kcp.key) && strlen(c->kcp.key) < PQ_KEY_SHORT)
        PQ_WARN(k, "transport.quic.key",
                "transport.quic.key: is short: who records a packet can try such keys one after "
                "the other; paqet secret makes a good one");
}

/* Who may come early shows it by a ticket, which only those get who have the key. */
static void check_early(struct pq_check *k)
{
    const struct pq_conf_quic *q = &k->c->quic;
    if (q->early && q->open)
        PQ_FAIL(
            k, "transport.quic.early",
            "transport.quic.early: is for transport.quic.auth: key alone: with auth: none anybody "
            "could send a recorded request again; leave it out");
}

/* Keys of servers and users hold between two of our own kind, where nobody else is let in. */
static void check_own_keys(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    bool keys = pq_is_set(c->private_key) || c->n_users;
    for (unsigned i = 0; i < c->n_servers; i++)
        keys = keys || pq_is_set(c->server[i].public_key);
    if (keys && c->quic.open)
        PQ_FAIL(k, "transport.quic.auth",
                "transport.quic.auth: none lets everybody in, but there are keys "
                "(transport.private_key, public_key, users): leave one of them out");
    if (c->look == PQ_LOOK_CONNECT)
        PQ_FAIL(k, "network.tcp.look",
                "network.tcp.look: connect is not for quic yet: leave it out, or use kcp");
    if (pq_is_set(c->state))
        PQ_WARN(k, "transport.state",
                "transport.state: is not used: over quic a server keeps nothing");
}

/* What belongs to the other transport alone, or does not hold over this one yet. */
static void check_others(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    if (!c->quic.open && pq_is_set(c->header_text) && strcmp(c->header_text, "auto") != 0)
        PQ_WARN(k, "transport.header",
                "transport.header: is not used: with transport.quic.auth: key the server is a "
                "paqet of this kind");
}

void pq_conf_check_quic_ports(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    if (!c->quic.open) /* whoever has the key goes on from another port */
        return;
    if (pq_range_size(&c->own_ports) > 1)
        PQ_FAIL(k, "listen.addr",
                "listen.addr: quic with auth: none takes no range of ports: listen on one port");
    for (unsigned i = 0; i < c->n_servers; i++)
        if (pq_range_size(&c->server[i].ports) > 1)
            pq_conf_say(k->m, true,
                        c->server[i].line ? c->server[i].line
                                          : pq_key_line(k->lines, "server.addr"),
                        "server.addr: quic with auth: none takes no range of ports: name one");
}

void pq_conf_check_quic(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    struct pq_conf_quic *q = &c->quic;
    const bool server = c->role == PQ_ROLE_SERVER;
#ifndef PQ_WITH_QUIC
    PQ_FAIL(
        k, "transport.protocol",
        "transport.protocol: quic is not in this build (programs for mips are without it, for the "
        "sake of their flash): use kcp at both ends, or a program made by script/release "
        "--quic");
#endif
    const bool is_quic = pq_is_set(c->quic.key_before);
    check_key(k, server);
    pq_conf_check_key_before(k, is_quic ? "quic" : "kcp");
    check_early(k);
    check_own_keys(k);
    check_others(k);
    check_windows(k, server);
    set_default(&q->idle, server, 60, 30);
    set_default(&q->keepalive, server, 15, 10);
    set_default(&q->streams, server, 50000, 5000);
    q->no_datagrams =
        pq_key_is_set(k->lines, "transport.quic.enable_datagrams") && !q->enable_datagrams;
    q->cubic = pq_is_set(q->congestion) && strcmp(q->congestion, "cubic") == 0;
    if (pq_is_set(q->congestion) && !q->cubic && strcmp(q->congestion, "bbr") != 0)
        PQ_FAIL(k, "transport.quic.congestion",
                "transport.quic.congestion: '%s' is not bbr or cubic", q->congestion);
    if (q->keepalive >= q->idle)
        PQ_WARN(k, "transport.quic.keep_alive_period",
                "transport.quic.keep_alive_period: %ld s is not less than max_idle_timeout, %ld "
                "s: an idle connection ends",
                q->keepalive, q->idle);
    c->mtu_set = pq_key_is_set(k->lines, "transport.quic.mtu");
    if (!q->open)
        c->header = PQ_FAMILY_BINARY;
}
