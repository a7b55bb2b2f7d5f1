/* SPDX-License-Identifier: MIT */
/* quic_keys.h - keys of servers and users over QUIC [13.7]: who this end is, and who a client says
 * to be.  For tunnel/ alone; one worker's thread. */
#ifndef PQ_TUNNEL_QUIC_KEYS_H
#define PQ_TUNNEL_QUIC_KEYS_H
#include "noise/noise.h"
#include "tunnel/hub.h"

struct pq_quic_own { /* keys of this end [13.7] */
    bool there;
    uint8_t secret[PQ_X25519_LEN], pub[PQ_X25519_LEN];
    uint8_t psk[PQ_QUIC_KEYS][PQ_PSK_LEN]; /* of K, and of the one before */
};

struct pq_quic_who {         /* who has begun a QUIC connection that has no session yet [13.7] */
    const struct pq_quic *q; /* NULL: nobody with a key of his own */
    unsigned who;
    uint8_t client[PQ_X25519_LEN];
};

/* Makes h->quic_own of the configuration; where that has no keys it is not `there`.  Wiped by
 * fini.  Returns 0 or PQ_ENOMEM. */
int pq_quic_keys_init(struct pq_hub *h);
void pq_quic_keys_fini(struct pq_hub *h);

/* Server: see pq_hub_set_keys. */
int pq_quic_keys_set(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before);
/* Client: begins the session's connection to s->server_public, as the owner of its own key, with
 * s->ticket.  Returns 0, PQ_ENOTSUP
 * (there is none), PQ_EPROTO (the server's is of low order), PQ_ENOMEM. */
int pq_quic_keys_connect(struct pq_session *s, const struct pq_quic_path *path, pq_ns now);

/* The events `second` and `psk` of QUIC, see quic/quic.h; `user` is a session, `ctx` a hub.  Who it
 * is goes to the session, if there is one, or into h->quic_who. */
bool pq_quic_keys_second(void *user, const uint8_t second[PQ_QUIC_SECOND_LEN],
                         uint8_t mix[PQ_QUIC_PSK_LEN]);
bool pq_quic_keys_psk(void *ctx, struct pq_quic *q, struct pq_view identity,
                      struct pq_quic_claim *claim);

/* Server: a new key for who has the public one `client`, and what it has in common with his, into
 * *claim.  Returns false if that is nothing. */
bool pq_quic_keys_make_second(struct pq_hub *h, const uint8_t client[PQ_X25519_LEN],
                              struct pq_quic_claim *claim);

/* Server: who->q is his: its session, or that which is about to be made.  And the event
 * `not_taken`: it is not, after all; nothing of it has been served. */
void pq_quic_keys_is(struct pq_hub *h, const struct pq_quic_who *who);
void pq_quic_keys_is_not(void *ctx, struct pq_quic *q);

/* The session is his, and counts as such; before anything of it is served. */
void pq_quic_keys_own(struct pq_session *s, const struct pq_quic_who *who);
#endif
