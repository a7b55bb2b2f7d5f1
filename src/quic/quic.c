/* SPDX-License-Identifier: MIT */
/* quic.c - an end and its connections: made, asked, ended. */
#include "quic/quic_internal.h"

#include <ctype.h>
#include <stdlib.h>

#define HANDSHAKE_TIMEOUT (10 * PQ_SEC)
#define FIRST_RTT         (100 * PQ_MS) /* until one is known: an Initial is sent again after three */
#define IDS               4             /* that each side has of the other's [7.3], ... */
#define IDS_MORE          8 /* ... with the key: a client moves again and again [13.4] */

/* ---- an end */

static int check(const struct pq_quic_conf *c, const struct pq_quic_events *ev)
{
    const bool sizes = c->size >= PQ_QUIC_SIZE_MIN && c->size <= PQ_QUIC_SIZE_MAX;
    const bool windows = c->stream_window && c->stream_window <= c->stream_window_max &&
                         c->window && c->window <= c->window_max;
    const bool someone = c->client || c->key || c->open, clock = !c->key || ev->wall;
    const bool tickets = !c->early || (c->key && !c->open && (c->client || c->ticket_key));
    return sizes && windows && someone && clock && tickets && c->workers &&
                   c->worker < c->workers && c->workers <= 256
               ? 0
               : PQ_EINVAL;
}

int pq_quic_end_new(struct pq_quic_end **out, const struct pq_quic_conf *conf,
                    const struct pq_quic_events *ev, void *ctx, struct pq_chunks *chunks,
                    struct pq_rng *rng)
{
    *out = NULL;
    int r = check(conf, ev);
    r = r ? r : pq_quic_tls_begin();
    if (r)
        return r;
    struct pq_quic_end *e = calloc(1, sizeof *e);
    if (!e)
        return PQ_ENOMEM;
    e->conf = *conf;
    e->conf.key = e->conf.key_before = NULL;
    e->conf.ticket_key = NULL;
    if (conf->ticket_key)
        memcpy(e->ticket_key, conf->ticket_key, sizeof e->ticket_key);
    e->conf.server_name = NULL;
    e->ev = ev;
    e->ctx = ctx;
    e->chunks = chunks;
    e->rng = rng;
    e->hash_seed = pq_rng_u64(rng);
    pq_rng_fill(rng, e->retry_key, sizeof e->retry_key);
    pq_list_init(&e->conns);
    pq_list_init(&e->half);
    if (conf->server_name && !(e->server_name = strdup(conf->server_name)))
        r = PQ_ENOMEM;
    if (!r && !conf->client && !ev->first)
        r = pq_quic_seen_new(&e->seen, pq_rng_u64(rng));
    if (!r)
        r = pq_quic_keyring_init(e, conf->key, conf->key_before);
    if (!r && conf->key)
        e->started = ev->wall(ctx);
    if (!r)
        r = pq_quic_tls_end(e);
    if (r)
        pq_quic_end_free(&e);
    *out = e;
    return r;
}

void pq_quic_end_free(struct pq_quic_end **out)
{
    struct pq_quic_end *e = *out;
    if (!e)
        return;
    pq_quic_tls_end_free(e);
    pq_quic_keyring_fini(e);
    pq_quic_seen_free(&e->seen);
    pq_hash_fini(&e->ids);
    while (e->arena) {
        struct quic_block *b = e->arena;
        e->arena = b->next;
        free(b);
    }
    free(e->server_name);
    explicit_bzero(e->retry_key, sizeof e->retry_key);
    free(e);
    *out = NULL;
}

size_t pq_quic_count(const struct pq_quic_end *e)
{
    return e->n_conns;
}

size_t pq_quic_half_open(const struct pq_quic_end *e)
{
    return e->n_half;
}

/* ---- a connection begins */

struct pq_quic *pq_quic_make(struct pq_quic_end *e, const struct pq_quic_path *path, bool plain,
                             pq_ns now)
{
    struct pq_quic *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->e = e;
    q->plain = plain;
    q->now = q->heard = now;
    q->queue_max = PQ_QUIC_QUEUE_MAX;
    q->limit = e->conf.size;
    pq_quic_to_raw(e, &q->path, path);
    q->began = q->path;
    pq_list_init(&q->ids);
    pq_list_init(&q->streams);
    pq_list_init(&q->opening);
    pq_list_init(&q->fresh);
    pq_list_init(&q->turn);
    pq_list_init(&q->gates);
    pq_list_init(&q->starved);
    pq_list_push(&e->conns, &q->node);
    pq_list_push(&e->half, &q->in_half);
    e->n_conns++;
    e->n_half++;
    pq_quic_window_init(q);
    quic_cc_init(&q->cc, e->conf.size);
    q->driven = PQ_NGTCP2_OPENS && e->conf.cc == PQ_QUIC_BBR;
    ngtcp2_ccerr_default(&q->error);
    return q;
}

static void settings(const struct pq_quic *q, ngtcp2_settings *s, pq_ns now)
{
    const struct pq_quic_conf *c = &q->e->conf;
    ngtcp2_settings_default(s);
    s->initial_ts = now;
    s->initial_rtt = FIRST_RTT;
    s->handshake_timeout = HANDSHAKE_TIMEOUT;
    s->rand_ctx.native_handle = q->e->rng;
    /* Not s->no_pmtud = 1: a peer whose port changes to and fro would end this program, by an
     * assertion in 0.12 and 1.11.  Probes larger than the buffer of a pull are not sent anyway. */
    s->no_tx_udp_payload_size_shaping = 1; /* else packets stay at 1200 bytes */
    s->max_tx_udp_payload_size = c->size;
    if (q->driven) { /* its least window is twice this: it never closes */
        s->cc_algo = NGTCP2_CC_ALGO_RENO;
        s->max_tx_udp_payload_size = PQ_NGTCP2_OPEN;
    } else {
        s->cc_algo = c->cc == PQ_QUIC_CUBIC ? NGTCP2_CC_ALGO_CUBIC : NGTCP2_CC_ALGO_BBR;
    }
}

static void parameters(const struct pq_quic *q, ngtcp2_transport_params *p)
{
    const struct pq_quic_conf *c = &q->e->conf;
    ngtcp2_transport_params_default(p);
    p->initial_max_stream_data_bidi_local = pq_quic_window_first(c);
    p->initial_max_stream_data_bidi_remote = pq_quic_window_first(c);
    p->initial_max_data = pq_quic_window_told(c);
    p->initial_max_streams_bidi = c->refuses ? 0 : c->max_streams;
    p->max_idle_timeout = c->idle;
    p->max_udp_payload_size = PQ_QUIC_SIZE_MAX;
    p->active_connection_id_limit = q->plain ? IDS : IDS_MORE;
    p->max_datagram_frame_size = c->datagrams ? 65535 : 0;
}

int pq_quic_start(struct pq_quic *q, const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid, pq_ns now)
{
    ngtcp2_settings s;
    ngtcp2_transport_params p;
    ngtcp2_cid scid;
    ngtcp2_path path = pq_quic_ngtcp2_path(&q->path);
    settings(q, &s, now);
    parameters(q, &p);
    pq_quic_new_id(q->e, &scid);
    int r = pq_quic_add_id(q, scid.data, scid.datalen);
    if (r)
        return r;
    if (hd) {
        pq_ngtcp2_set_odcid(&p, odcid ? odcid : &hd->dcid);
        if (odcid) {
            p.retry_scid = hd->dcid;
            p.retry_scid_present = 1;
            pq_ngtcp2_set_token(&s, pq_ngtcp2_token(hd));
        }
        r = ngtcp2_conn_server_new(&q->conn, &hd->scid, &scid, &path, hd->version,
                                   &pq_quic_callbacks, &s, &p, NULL, q);
    } else {
        r = ngtcp2_conn_client_new(&q->conn, &q->odcid, &scid, &path, NGTCP2_PROTO_VER_V1,
                                   &pq_quic_callbacks, &s, &p, NULL, q);
    }
    if (r)
        return PQ_ENOMEM;
    ngtcp2_conn_set_tls_native_handle(q->conn, q->tls);
    pq_quic_vary_keepalive(q);
    return 0;
}

int pq_quic_connect(struct pq_quic **out, struct pq_quic_end *e, const struct pq_quic_path *path,
                    const struct pq_quic_peer *who, void *user, pq_ns now)
{
    *out = NULL;
    struct pq_quic *q = pq_quic_make(e, path, !e->keyed, now);
    if (!q)
        return PQ_ENOMEM;
    q->user = user;
    q->odcid.datalen = PQ_QUIC_FIRST_LEN;
    if (who && who->first)
        memcpy(q->odcid.data, who->first, PQ_QUIC_FIRST_LEN);
    else
        pq_rng_fill(e->rng, q->odcid.data, PQ_QUIC_FIRST_LEN);
    int r = pq_quic_tls(q, who);
    r = r ? r : pq_quic_start(q, NULL, NULL, now);
    if (!r)
        pq_quic_early_begin(q, who);
    if (r)
        pq_quic_free(&q);
    *out = q;
    return r;
}

static void not_half(struct pq_quic *q)
{
    if (pq_list_empty(&q->in_half))
        return;
    pq_list_remove(&q->in_half);
    q->e->n_half--;
}

void pq_quic_say_ready(struct pq_quic *q)
{
    if (q->told)
        return;
    q->told = true;
    q->e->ev->ready(q->user);
}

void pq_quic_proven(struct pq_quic *q)
{
    pq_quic_early_done(q);
    q->ready = true;
    q->confirmed = !q->e->conf.client;
    free(q->first_flight);
    q->first_flight = NULL;
    q->proven = q->path;
    pq_quic_limit(q, q->limit); /* that of the peer is known now */
    not_half(q);
    pq_quic_drop_id(q, q->odcid.data, q->odcid.datalen);
    const char *name = gnutls_cipher_get_name(gnutls_cipher_get(q->tls));
    strncpy(q->cipher, name ? name : "", sizeof q->cipher - 1);
    pq_quic_window_refill(q);
    pq_quic_say_ready(q);
}

/* ---- and ends */

void pq_quic_free(struct pq_quic **out)
{
    struct pq_quic *q = *out;
    if (!q)
        return;
    not_half(q);
    pq_list_remove(&q->node);
    q->e->n_conns--;
    while (!pq_list_empty(&q->ids)) {
        const struct quic_id *id = PQ_OF(q->ids.next, struct quic_id, of);
        pq_quic_drop_id(q, id->id, id->n);
    }
    pq_quic_enter(q, q->now);
    ngtcp2_conn_del(q->conn); /* before the chunks, into which it points */
    pq_quic_leave(q);
    while (!pq_list_empty(&q->streams))
        pq_quic_stream_free(PQ_OF(q->streams.next, struct pq_quic_stream, node));
    pq_chunkq_clear(&q->dgrams);
    pq_hash_fini(&q->by_id);
    pq_quic_tls_free(q);
    quic_cc_fini(&q->cc);
    free(q->first_flight);
    free(q);
    *out = NULL;
}

static void copy_reason(char *to, size_t cap, const ngtcp2_ccerr *said)
{
    size_t n = said->reasonlen < cap - 1 ? said->reasonlen : cap - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(isprint(said->reason[i]) ? said->reason[i] : '?');
    to[n] = 0;
}

/* What the peer has said when it ended the connection. */
static void peer_said(struct pq_quic *q, struct pq_quic_why *why)
{
    ngtcp2_ccerr said;
    ngtcp2_ccerr_default(&said);
    pq_ngtcp2_said(q->conn, &said);
    why->by_peer = true;
    why->code = said.error_code;
    copy_reason(why->reason, sizeof why->reason, &said);
    if (!q->ready)
        why->err = PQ_EDENIED;
    else if (said.type == NGTCP2_CCERR_TYPE_APPLICATION)
        why->err = said.error_code ? PQ_ECLOSED : 0;
    else
        why->err = said.error_code ? PQ_EPROTO : 0;
}

static void say_closed(struct pq_quic *q, const struct pq_quic_why *why)
{
    if (q->over)
        return;
    q->over = true;
    q->e->ev->closed(q->user, why);
}

void pq_quic_end_with(struct pq_quic *q, int err)
{
    const struct pq_quic_why why = {.err = err};
    q->gone = true;
    say_closed(q, &why);
}

void pq_quic_fail(struct pq_quic *q, int liberr)
{
    struct pq_quic_why why = {.err = PQ_EPROTO};
    q->gone = true; /* before the handshake is done nobody is told anything [13.3] */
    switch (liberr) {
    case NGTCP2_ERR_CLOSING:
        break;
    case NGTCP2_ERR_DRAINING:
        peer_said(q, &why);
        break;
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        why.err = PQ_ETIMEOUT;
        break;
    case NGTCP2_ERR_NOMEM:
    case NGTCP2_ERR_CALLBACK_FAILURE:
        why.err = PQ_ENOMEM;
        break;
    default:
        if (!q->ready) {
            why.err = PQ_EDENIED;
            why.code =
                liberr == NGTCP2_ERR_CRYPTO ? 0x100U + ngtcp2_conn_get_tls_alert(q->conn) : 0;
        } else if (liberr != NGTCP2_ERR_DROP_CONN && !q->close_owed) {
            ngtcp2_ccerr_set_liberr(&q->error, liberr, NULL, 0);
            why.code = q->error.error_code;
            q->close_owed = true;
            q->gone = false;
        }
        break;
    }
    say_closed(q, &why);
}

void pq_quic_close(struct pq_quic *q, uint64_t code)
{
    q->over = true;
    if (q->gone || q->close_owed)
        return;
    if (!q->ready) {
        q->gone = true;
        return;
    }
    ngtcp2_ccerr_set_application_error(&q->error, code, NULL, 0);
    q->close_owed = true;
}

bool pq_quic_is_closed(const struct pq_quic *q)
{
    return q->gone;
}

/* ---- timers */

void pq_quic_tick(struct pq_quic *q, pq_ns now)
{
    q->now = now;
    pq_quic_window_relieve(q);
    q->ping = q->ping || pq_mtu_ask(&q->cc.mtu, now);
    if (q->gone || q->close_owed || ngtcp2_conn_get_expiry(q->conn) > now)
        return;
    q->caught_up = false;
    pq_quic_enter(q, now);
    const int r = ngtcp2_conn_handle_expiry(q->conn, now);
    pq_quic_leave(q);
    quic_cc_timer(&q->cc, now);
    if (r)
        pq_quic_fail(q, r);
}

/* ngtcp2's next timer; over a short path by a coarse clock (RFC 9002 6.1.2): else it would have a
 * packet that came alone acknowledged after some microseconds. */
static pq_ns next_timer(const struct pq_quic *q)
{
    const pq_ns at = ngtcp2_conn_get_expiry(q->conn);
    return q->driven && !q->plain && quic_cc_is_near(&q->cc) ? quic_cc_grain(at) : at;
}

pq_ns pq_quic_deadline(const struct pq_quic *q)
{
    if (q->gone)
        return PQ_NEVER;
    if (q->close_owed)
        return q->now;
    pq_ns at = next_timer(q);
    if (at <= q->now) /* it wants to send, and waits for our window */
        at = q->now + PQ_MS / 4;
    const bool waiting = !pq_list_empty(&q->fresh) || !pq_list_empty(&q->turn) || q->dgrams.n;
    if (!pq_list_empty(&q->gates))
        at = pq_ns_min(at, PQ_OF(q->gates.next, struct pq_quic_stream, turn)->gate_at);
    if (q->driven && q->ready && waiting && quic_cc_next(&q->cc) > q->now)
        at = pq_ns_min(at, quic_cc_next(&q->cc));
    at = pq_ns_min(at, pq_mtu_ask_at(&q->cc.mtu));
    return q->over ? at : pq_ns_min(at, pq_quic_window_deadline(q));
}

/* ---- looked at */

void pq_quic_stats(const struct pq_quic *q, struct pq_quic_stats *out)
{
    *out = (struct pq_quic_stats){.srtt = q->cc.srtt,
                                  .min_rtt = q->cc.min_rtt,
                                  .flight = q->cc.flight,
                                  .sent = q->cc.sent,
                                  .acked = q->cc.acked,
                                  .lost = q->cc.lost,
                                  .size = q->cc.mtu.size,
                                  .received = q->received,
                                  .owed = q->cc.flight > 0,
                                  .in = q->in,
                                  .out = q->out,
                                  .dgrams_lost = q->dgrams_lost,
                                  .heard = q->heard,
                                  .asked = q->ready ? quic_cc_waits_since(&q->cc) : q->asked,
                                  .cipher = q->cipher,
                                  .keyed = q->told && !q->plain,
                                  .early = q->early_bytes};
    if (q->driven) {
        out->cwnd = q->cc.cc.cwnd;
        out->pace = q->cc.cc.pace;
        return;
    }
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(q->conn, &info);
    out->cwnd = (uint32_t)(info.cwnd / q->cc.mtu.size);
}

void pq_quic_limit(struct pq_quic *q, size_t size)
{
    const ngtcp2_transport_params *p =
        q->ready ? ngtcp2_conn_get_remote_transport_params(q->conn) : NULL;
    q->limit = (uint16_t)(size < q->e->conf.size ? size : q->e->conf.size);
    const bool less = p && p->max_udp_payload_size < q->limit;
    pq_mtu_limit(&q->cc.mtu, less ? (uint16_t)p->max_udp_payload_size : q->limit);
}

struct pq_view pq_quic_first_id(const struct pq_quic *q)
{
    return (struct pq_view){q->odcid.data, q->odcid.datalen};
}

bool pq_quic_is_ready(const struct pq_quic *q)
{
    return q->ready;
}

void *pq_quic_user(const struct pq_quic *q)
{
    return q->user;
}

void pq_quic_set_queue(struct pq_quic *q, size_t bytes)
{
    q->queue_max = bytes > PQ_QUIC_QUEUE_MAX ? bytes : PQ_QUIC_QUEUE_MAX;
}

size_t pq_quic_streams(const struct pq_quic *q)
{
    return q->n_streams;
}
