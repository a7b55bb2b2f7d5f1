/* SPDX-License-Identifier: MIT */
#include "kcp/kcp.h"

#include "kcp/kcp_internal.h"

#include <stdlib.h>

#define PACE_BURST PQ_MS /* what may go at once is what goes in so long, and what is late */

static uint32_t pow2_at_least(uint32_t n)
{
    uint32_t p = 1;
    while (p < n)
        p <<= 1;
    return p;
}

static bool conf_ok(const struct pq_kcp_conf *c)
{
    return c->mtu >= PQ_KCP_MTU_MIN && c->snd_wnd >= 1 && c->snd_wnd <= PQ_KCP_WND_MAX &&
           c->rcv_wnd >= 1 && c->rcv_wnd <= PQ_KCP_WND_MAX;
}

int pq_kcp_new(struct pq_kcp **out, const struct pq_kcp_conf *conf, const struct pq_kcp_mem *mem,
               pq_kcp_data_fn on_data, void *ctx)
{
    *out = NULL;
    if (!conf_ok(conf))
        return PQ_EINVAL;
    struct pq_kcp *k = calloc(1, sizeof *k);
    /* one block more on each side: the window need not start at a block's first segment */
    uint32_t n = pow2_at_least(conf->snd_wnd / SEGS_PER_BLOCK + 2);
    struct pq_kcp_block **blocks = calloc(n, sizeof(struct pq_kcp_block *));
    if (!k || !blocks) {
        free(k);
        free(blocks);
        return PQ_ENOMEM;
    }
    k->conf = *conf;
    k->mem = *mem;
    k->on_data = on_data;
    k->ctx = ctx;
    k->mtu = conf->mtu;
    k->mss = (uint16_t)(conf->mtu - PQ_KCP_HDR_LEN);
    k->rcv_wnd = conf->rcv_wnd;
    k->rmt_wnd = 32; /* what a server that has not accepted yet takes; its first ACK tells [4.4] */
    k->blocks = blocks;
    k->block_mask = n - 1;
    pq_list_init(&k->flight);
    pq_list_init(&k->lost);
    if (conf->congestion == PQ_CONGESTION_BBR)
        pq_cc_init_bbr(&k->cc);
    else if (conf->congestion == PQ_CONGESTION_RENO)
        pq_cc_init_reno(&k->cc, conf->resend);
    else
        pq_cc_init_none(&k->cc);
    k->rto = 200 * PQ_MS; /* [4.5] */
    k->reorder_at = k->ack_at = k->probe_at = PQ_NEVER;
    k->reorder_mult = 1;
    *out = k;
    return 0;
}

void pq_kcp_free(struct pq_kcp **kp)
{
    struct pq_kcp *k = *kp;
    if (!k)
        return;
    pq_chunkq_clear(&k->tx);
    pq_chunkq_clear(&k->spent);
    for (uint32_t i = 0; i <= k->block_mask; i++)
        pq_pool_put(k->mem.blocks, k->blocks[i]);
    for (uint32_t i = 0; i < k->ring_cap; i++)
        pq_chunk_free(k->ring[i]);
    free(k->blocks);
    free(k->ring);
    free(k->numbers.sent);
    free(k);
    *kp = NULL;
}

void pq_kcp_send(struct pq_kcp *k, struct pq_chunk *c)
{
    if (!c->len) {
        pq_chunk_free(c);
        return;
    }
    pq_chunkq_push(&k->tx, c);
    k->unsent += c->len;
    if (!k->cur) {
        k->cur = c;
        k->cur_off = 0;
    }
}

/* From when on the rate counts.  What the pace alone has held back is made up for. */
static pq_ns paced_from(const struct pq_kcp *k, pq_ns now)
{
    return pq_ns_max(k->pace_at, now - (k->held ? pq_cc_late(&k->cc) : PACE_BURST));
}

uint32_t pq_kcp_paced(const struct pq_kcp *k, pq_ns now)
{
    if (!k->cc.pace)
        return UINT32_MAX;
    pq_ns from = paced_from(k, now), until = now + PACE_BURST;
    if (from >= until)
        return 0;
    return 1 + (uint32_t)(k->cc.pace * ((until - from) / PQ_US) / 1000000);
}

void pq_kcp_note_paced(struct pq_kcp *k, pq_ns now)
{
    if (!k->cc.pace)
        return;
    if (k->held && !k->resumed && now > k->pace_at)
        pq_cc_note_late(&k->cc, now - k->pace_at);
    k->resumed = true;
    k->pace_at = paced_from(k, now) + PQ_SEC / k->cc.pace;
}

uint32_t pq_kcp_window(const struct pq_kcp *k, pq_ns now)
{
    uint32_t wnd = k->conf.snd_wnd < k->rmt_wnd ? k->conf.snd_wnd : k->rmt_wnd;
    uint32_t used = k->snd_nxt - k->snd_una;
    uint32_t by_wnd = used < wnd ? wnd - used : 0;
    uint32_t by_cc = k->n_flight < k->cc.cwnd ? k->cc.cwnd - k->n_flight : 0;
    uint32_t by_pace = pq_kcp_paced(k, now);
    uint32_t n = by_wnd < by_cc ? by_wnd : by_cc;
    return n < by_pace ? n : by_pace;
}

size_t pq_kcp_room(const struct pq_kcp *k, pq_ns now)
{
    if (k->unsent >= k->mss)
        return 0;
    size_t could = (size_t)pq_kcp_window(k, now) * k->mss;
    return could > k->unsent ? could - k->unsent : 0;
}

bool pq_kcp_backlog(const struct pq_kcp *k)
{
    return k->unsent || !pq_list_empty(&k->lost);
}

size_t pq_kcp_flight_max(const struct pq_kcp *k)
{
    uint32_t n = k->conf.snd_wnd < k->rmt_wnd ? k->conf.snd_wnd : k->rmt_wnd;
    return (size_t)(n < k->cc.cwnd ? n : k->cc.cwnd) * k->mss;
}

pq_ns pq_kcp_srtt(const struct pq_kcp *k)
{
    return k->srtt;
}

uint32_t pq_kcp_per_ms(const struct pq_kcp *k)
{
    uint32_t flight = (uint32_t)(pq_kcp_flight_max(k) / k->mss);
    pq_ns ms = k->srtt / PQ_MS;
    return ms && flight >= ms ? flight / (uint32_t)ms : ms ? 1 : flight ? flight : 1;
}

bool pq_kcp_proven(const struct pq_kcp *k)
{
    return k->proven;
}

void pq_kcp_doubt(struct pq_kcp *k, uint32_t n)
{
    k->doubt = n > 0;
    k->rcv_wnd = n && n < k->conf.rcv_wnd ? n : k->conf.rcv_wnd;
}

uint64_t pq_kcp_news(const struct pq_kcp *k)
{
    return k->stats.received + k->delivered;
}

uint64_t pq_kcp_confirmed(const struct pq_kcp *k)
{
    return k->delivered;
}

bool pq_kcp_owed(const struct pq_kcp *k)
{
    return k->snd_una != k->snd_nxt;
}

uint64_t pq_kcp_sent(const struct pq_kcp *k)
{
    return k->stats.sent + k->stats.resent;
}

uint64_t pq_kcp_received(const struct pq_kcp *k)
{
    return k->stats.received;
}

void pq_kcp_retry(struct pq_kcp *k, bool whole)
{
    k->backoff = 0;
    k->timeout_at = 0;
    pq_size_path(k, whole);
}

void pq_kcp_new_path(struct pq_kcp *k)
{
    pq_cc_new_path(&k->cc, k->delivered);
}

void pq_kcp_extend(struct pq_kcp *k)
{
    k->ours = true;
    if (k->conf.congestion == PQ_CONGESTION_BBR)
        k->cc.bbr.prompt = true;
}

void pq_kcp_send_frames(struct pq_kcp *k, pq_kcp_prefix_fn prefix, size_t len)
{
    if (k->prefix)
        return;
    k->prefix = prefix;
    k->prefix_len = len;
    k->unframed = k->unsent;
}

size_t pq_kcp_mss(const struct pq_kcp *k)
{
    return k->mss;
}

bool pq_kcp_idle(const struct pq_kcp *k)
{
    return !k->unsent && k->snd_una == k->snd_nxt;
}

uint16_t pq_kcp_rcv_space(const struct pq_kcp *k)
{
    uint32_t unread = k->rcv_nxt - k->rcv_read;
    return (uint16_t)(unread < k->rcv_wnd ? k->rcv_wnd - unread : 0);
}

pq_ns pq_kcp_deadline(const struct pq_kcp *k, pq_ns now)
{
    if (k->tell_wnd || k->ask_wnd)
        return now;
    pq_ns t = k->doubt ? k->reorder_at : pq_ns_min(k->ack_at, k->reorder_at);
    if (!pq_kcp_paced(k, now)) /* perhaps bytes wait, here or in the streams */
        t = pq_ns_min(t, k->pace_at);
    else if (!pq_list_empty(&k->lost))
        return now;
    else if (k->unsent && pq_kcp_window(k, now))
        t = pq_ns_min(t, pq_ns_max(now, k->memory_at));
    if (k->again_first != k->again_end && pq_kcp_paced(k, now))
        t = pq_ns_min(t, k->again[k->again_first % AGAIN_MAX].at);
    t = pq_ns_min(pq_ns_min(t, pq_kcp_rto_at(k)), pq_size_deadline(k, now));
    return pq_ns_min(t, k->probe_at);
}

void pq_kcp_get_stats(const struct pq_kcp *k, struct pq_kcp_stats *out)
{
    *out = k->stats;
    out->srtt = k->srtt;
    out->min_rtt = k->min_rtt;
}

bool pq_kcp_peek(struct pq_view v, uint32_t *conv, bool *is_push, uint32_t *sn)
{
    if (v.n < PQ_KCP_HDR_LEN || v.p[4] < PQ_KCP_PUSH || v.p[4] > PQ_KCP_FRAMES)
        return false;
    *conv = pq_le32(v.p);
    *is_push = v.p[4] == PQ_KCP_PUSH;
    *sn = pq_le32(v.p + 12);
    return true;
}
