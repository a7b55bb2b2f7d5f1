/* SPDX-License-Identifier: MIT */
/* session_fec.c - a session's FEC, where the build has it [3]. */
#include "tunnel/tunnel_internal.h"

#ifdef PQ_WITH_FEC

#define LOSS_SPAN 64 /* segments between two measurements */
#define LOSS_MIN  5  /* per thousand: below, a copy is not worth its bytes */

int pq_session_fec_open(struct pq_session *s)
{
    const struct pq_hub_conf *c = &s->hub->conf;
    return c->dshard && c->pshard ? pq_fec_enc_new(&s->fec_tx, c->dshard, c->pshard) : 0;
}

void pq_session_fec_auto(struct pq_session *s)
{
    if (s->fec_tx || !s->hub->conf.fec_auto || pq_fec_enc_new(&s->fec_tx, 1, 1))
        return;
    s->copies = true;
    pq_fec_enc_set_always(s->fec_tx);
}

/* Resent segments in each LOSS_SPAN sent, smoothed over some of them. */
static void measure_loss(struct pq_session *s, const struct pq_kcp_stats *st)
{
    uint64_t sent = st->sent + st->resent - s->loss_sent;
    if (sent < LOSS_SPAN)
        return;
    uint64_t lost = 1000 * (st->resent - s->loss_resent) / sent;
    s->loss = (uint32_t)((3 * (uint64_t)s->loss + lost) / 4);
    s->loss_sent = st->sent + st->resent;
    s->loss_resent = st->resent;
}

bool pq_session_fec_wants(struct pq_session *s)
{
    if (!s->copies)
        return s->fec_tx != NULL;
    struct pq_kcp_stats st;
    pq_kcp_get_stats(s->kcp, &st);
    bool data = st.sent + st.resent != s->pulled;
    s->pulled = st.sent + st.resent;
    measure_loss(s, &st);
    /* the last datagram of a burst: nothing sent after it would show soon that it was lost */
    return data && s->loss >= LOSS_MIN && !pq_kcp_backlog(s->kcp) && !pq_smux_pending(s->smux);
}

void pq_session_fec_close(struct pq_session *s)
{
    pq_fec_enc_free(&s->fec_tx);
    pq_fec_dec_free(&s->fec_rx);
}

size_t pq_session_fec_parity(struct pq_session *s, uint8_t *p, size_t cap)
{
    return s->fec_tx ? pq_fec_enc_parity(s->fec_tx, p, cap) : 0;
}

size_t pq_session_fec_data(struct pq_session *s, uint8_t *p, size_t n, pq_ns now)
{
    return pq_fec_enc_data(s->fec_tx, p, n, now);
}

static void on_rebuilt(void *ctx, struct pq_view datagram)
{
    struct pq_session *s = ctx;
    s->hub->stats.rebuilt++;
    pq_kcp_input(s->kcp, datagram, false, s->now);
}

enum pq_drop pq_session_fec_take(struct pq_session *s, struct pq_view packet, pq_ns now)
{
    const struct pq_hub_conf *c = &s->hub->conf;
    const bool configured = c->dshard && c->pshard;
    unsigned d = configured ? c->dshard : 1; /* a first guess [3.4] */
    unsigned p = configured ? c->pshard : 1;
    if (!s->fec_rx &&
        pq_fec_dec_new(&s->fec_rx, d, p, configured, &s->share->chunks, on_rebuilt, s))
        return PQ_DROP_FULL;
    s->now = now;
    return pq_fec_dec_input(s->fec_rx, packet);
}

void pq_session_fec_done(struct pq_session *s)
{
    if (s->fec_rx)
        pq_fec_dec_done(s->fec_rx);
}

#else

int pq_session_fec_open(struct pq_session *s)
{
    return s->hub->conf.dshard && s->hub->conf.pshard ? PQ_ENOTSUP : 0;
}

void pq_session_fec_auto(struct pq_session *s)
{
    (void)s;
}

bool pq_session_fec_wants(struct pq_session *s)
{
    (void)s;
    return false;
}

void pq_session_fec_close(struct pq_session *s)
{
    (void)s;
}

size_t pq_session_fec_parity(struct pq_session *s, uint8_t *p, size_t cap)
{
    (void)s;
    (void)p;
    (void)cap;
    return 0;
}

size_t pq_session_fec_data(struct pq_session *s, uint8_t *p, size_t n, pq_ns now)
{
    (void)s;
    (void)p;
    (void)now;
    return n;
}

enum pq_drop pq_session_fec_take(struct pq_session *s, struct pq_view packet, pq_ns now)
{
    (void)s;
    (void)now;
    return pq_le16(packet.p + 4) == PQ_FEC_DATA ? PQ_DROP_NONE : PQ_DROP_FEC;
}

void pq_session_fec_done(struct pq_session *s)
{
    (void)s;
}
#endif
