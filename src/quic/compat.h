/* SPDX-License-Identifier: MIT */
/* compat.h - ngtcp2 0.12 and 1.x behind the names of 1.x.  All differences are here; the rest of
 * the module has no #if. */
#ifndef PQ_QUIC_COMPAT_H
#define PQ_QUIC_COMPAT_H
#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string.h>

/* From 1.17 on a datagram may not be larger than UDP lets it, so that the library's own window
 * cannot be held open any more (see quic_cc.c): there its own congestion control is used. */
#if NGTCP2_VERSION_NUM < 0x011100
#define PQ_NGTCP2_OPENS 1
#define PQ_NGTCP2_OPEN  16777215
#else
#define PQ_NGTCP2_OPENS 0
#define PQ_NGTCP2_OPEN  65527
#endif

/* A server whose client has answered a small PATH_CHALLENGE, and not yet the large one that
 * follows, ends by an assertion when something comes from where it was before, even that answer. */
#define PQ_NGTCP2_ENDS (NGTCP2_VERSION_NUM < 0x010b00)

#if NGTCP2_VERSION_NUM < 0x010000
typedef ngtcp2_connection_close_error ngtcp2_ccerr;
typedef ngtcp2_conn_stat ngtcp2_conn_info;
typedef ngtcp2_crypto_level ngtcp2_encryption_level;
#define ngtcp2_ccerr_default               ngtcp2_connection_close_error_default
#define ngtcp2_ccerr_set_liberr            ngtcp2_connection_close_error_set_transport_error_liberr
#define ngtcp2_ccerr_set_application_error ngtcp2_connection_close_error_set_application_error
#define ngtcp2_conn_get_conn_info          ngtcp2_conn_get_conn_stat
#define NGTCP2_CCERR_TYPE_APPLICATION      NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION

#define PQ_NGTCP2_OLD_PATH

static inline void pq_ngtcp2_said(ngtcp2_conn *c, ngtcp2_ccerr *e)
{
    ngtcp2_conn_get_connection_close_error(c, e);
}

static inline ngtcp2_vec pq_ngtcp2_token(const ngtcp2_pkt_hd *hd)
{
    return hd->token;
}

static inline void pq_ngtcp2_set_token(ngtcp2_settings *s, ngtcp2_vec token)
{
    s->token = token;
}

static inline void pq_ngtcp2_set_odcid(ngtcp2_transport_params *p, const ngtcp2_cid *id)
{
    p->original_dcid = *id;
}

static inline int pq_ngtcp2_stop(ngtcp2_conn *c, int64_t id, uint64_t code)
{
    return ngtcp2_conn_shutdown_stream_read(c, id, code);
}

static inline int pq_ngtcp2_reset(ngtcp2_conn *c, int64_t id, uint64_t code)
{
    return ngtcp2_conn_shutdown_stream_write(c, id, code);
}

struct pq_ngtcp2_params { /* of a server, for 0-RTT */
    ngtcp2_transport_params p;
};

static inline int pq_ngtcp2_keep_params(ngtcp2_conn *c, struct pq_ngtcp2_params *to)
{
    const ngtcp2_transport_params *p = ngtcp2_conn_get_remote_transport_params(c);
    if (!p)
        return -1;
    to->p = *p;
    memset(&to->p.version_info, 0, sizeof to->p.version_info); /* it points into the connection */
    to->p.version_info_present = 0;
    return 0;
}

static inline int pq_ngtcp2_use_params(ngtcp2_conn *c, const struct pq_ngtcp2_params *p)
{
    ngtcp2_conn_set_early_remote_transport_params(c, &p->p);
    return 0;
}

static inline int pq_ngtcp2_early_rejected(ngtcp2_conn *c)
{
    return ngtcp2_conn_early_data_rejected(c);
}
#else
#define PQ_NGTCP2_OLD_PATH const ngtcp2_path *old_path __attribute__((unused)),

static inline void pq_ngtcp2_said(ngtcp2_conn *c, ngtcp2_ccerr *e)
{
    *e = *ngtcp2_conn_get_ccerr(c);
}

static inline ngtcp2_vec pq_ngtcp2_token(const ngtcp2_pkt_hd *hd)
{
    return (ngtcp2_vec){(uint8_t *)(uintptr_t)hd->token, hd->tokenlen};
}

static inline void pq_ngtcp2_set_token(ngtcp2_settings *s, ngtcp2_vec token)
{
    s->token = token.base;
    s->tokenlen = token.len;
    s->token_type = NGTCP2_TOKEN_TYPE_RETRY;
}

static inline void pq_ngtcp2_set_odcid(ngtcp2_transport_params *p, const ngtcp2_cid *id)
{
    p->original_dcid = *id;
    p->original_dcid_present = 1;
}

static inline int pq_ngtcp2_stop(ngtcp2_conn *c, int64_t id, uint64_t code)
{
    return ngtcp2_conn_shutdown_stream_read(c, 0, id, code);
}

static inline int pq_ngtcp2_reset(ngtcp2_conn *c, int64_t id, uint64_t code)
{
    return ngtcp2_conn_shutdown_stream_write(c, 0, id, code);
}

struct pq_ngtcp2_params { /* of a server, for 0-RTT */
    size_t n;
    uint8_t p[256];
};

static inline int pq_ngtcp2_keep_params(ngtcp2_conn *c, struct pq_ngtcp2_params *to)
{
    const ngtcp2_ssize n = ngtcp2_conn_encode_0rtt_transport_params(c, to->p, sizeof to->p);
    to->n = n > 0 ? (size_t)n : 0;
    return n > 0 ? 0 : -1;
}

static inline int pq_ngtcp2_use_params(ngtcp2_conn *c, const struct pq_ngtcp2_params *p)
{
    return ngtcp2_conn_decode_and_set_0rtt_transport_params(c, p->p, p->n);
}

static inline int pq_ngtcp2_early_rejected(ngtcp2_conn *c)
{
    return ngtcp2_conn_tls_early_data_rejected(c);
}
#endif
#endif
