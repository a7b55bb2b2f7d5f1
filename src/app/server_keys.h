/* SPDX-License-Identifier: MIT */
/* server_keys.h - what a server needs for our own wire: its users' keys, and what they have sent
 * before [12.2]. */
#ifndef PQ_APP_SERVER_KEYS_H
#define PQ_APP_SERVER_KEYS_H
#include "app/app.h"
#include "app/state.h"

struct pq_server_keys { /* zero-initialized before the first call */
    uint8_t (*users)[PQ_CONF_KEY_LEN];
    struct pq_stamps *stamps;
    struct pq_syns *syns;   /* connections that were answered [12.9] */
    struct pq_state *state; /* NULL: nothing is kept */
};

/* Fills app->hub.own.  `saved` as in state.h.  Returns 0 or PQ_ENOMEM; what cannot be kept on disk
 * is said. */
int pq_server_keys_open(struct pq_server_keys *k, struct pq_app *app, void (*saved)(void *ctx),
                        void *ctx);

/* The file that remembers what a server's users have sent; in buf, or c's own. */
const char *pq_server_state_path(const struct pq_conf *c, char buf[64]);

/* The workers run no more, but are still there: writes what is to be kept. */
void pq_server_keys_stop(struct pq_server_keys *k);
void pq_server_keys_close(struct pq_server_keys *k);
#endif
