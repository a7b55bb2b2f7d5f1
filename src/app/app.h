/* SPDX-License-Identifier: MIT */
/* app.h - what client and server have in common: what is made once, before the workers run. */
#ifndef PQ_APP_APP_H
#define PQ_APP_APP_H
#include "app/discover.h"
#include "app/worker.h"
#include "conf/conf.h"
#include "os/firewall.h"

#include <pthread.h>

#define PQ_WORKERS_MAX PQ_CONF_WORKERS_MAX

struct pq_names;
struct pq_news;
struct pq_reloads;

/* What a program has of a kind once; of several tunnels each has one, and there is one more for all
 * of them, which has but their workers, and the settings that concern the whole program. */
struct pq_app {
    const struct pq_conf *conf;
    struct pq_conf *own_conf; /* the same, to change while all workers are paused */
    const char *file;         /* that it was read from */
    pq_ns started;
    struct pq_worker *const *w; /* while they run, n_workers of them */
    /* The role's part of a reload: takes over what can change of `next`, which it may change, too,
     * with the names that reload_names (NULL: none) has added.  Says in `news` what was done, or
     * what was wrong: then nothing was. */
    int (*reload)(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                  struct pq_news *news);
    int (*reload_names)(struct pq_app *app, const struct pq_conf *next, struct pq_names *names);
    struct pq_reloads *reloads; /* while they run */
    /* Of several tunnels: some may begin later, with the main loop, and add their workers then. */
    void (*begin)(struct pq_app *app, uv_loop_t *loop);
    void (*end)(struct pq_app *app);
    /* ... why the i-th has none yet; NULL: it has. */
    const char *(*waits)(const struct pq_app *app, unsigned i);
    bool (*away)(struct pq_app *app); /* server: whether its interface is */
    struct pq_hub_conf hub;           /* key included: wiped by pq_app_fini */
    uint8_t secret[PQ_CONF_KEY_LEN];  /* private key of our own wire; wiped, too */
    struct pq_path path;
    unsigned n_workers;
    int fanout;                      /* of a server's workers; -1 until the first has joined */
    pthread_mutex_t fw_lock;         /* the firewall is the only thing that workers share */
    struct pq_firewall *fw;          /* NULL: none could be made, the user was told */
    char fw_why[PQ_OS_WHY_LEN];      /* ... why */
    struct pq_firewall_conf fw_conf; /* behind a client's n_servers some that it had before */
    unsigned n_servers;
};

/* Runs the role until SIGINT or SIGTERM, or the terminal goes away; any other SIGHUP has the `file`
 * read again.  Wipes the text of the key.  Reports every error itself.  Returns the exit code. */
int pq_client_run(struct pq_conf *c, const char *file);
int pq_server_run(struct pq_conf *c, const char *file);

/* Derives the key, whose text it wipes, and fills app->hub from the configuration.  Returns 0 or
 * PQ_E*. */
int pq_app_init(struct pq_app *app, struct pq_conf *c, const char *file);
void pq_app_fini(struct pq_app *app);

/* Fills has_before and key_before.  Returns 0 or PQ_ENOTSUP (the library refuses). */
int pq_app_derive_before(const struct pq_conf *c, struct pq_hub_conf *h);

/* Opens the packet backend for one worker; says why not.  Returns 0 or an error. */
int pq_app_open_io(struct pq_app *app, struct pq_pktio **out);

/* UDP flows of a worker: as configured, but no more than half of the files that may be open. */
unsigned pq_app_udp_flows_max(const struct pq_app *app);

/* Makes the firewall table, where that is possible; before there is a packet socket, since until
 * then the kernel answers who goes on sending to a program of before. */
void pq_app_open_firewall(struct pq_app *app);

/* Afterwards: says what keeps the kernel's TCP out, or what to do instead. */
void pq_app_say_firewall(const struct pq_app *app);

/* A client's server, the i-th, has this address from the next pq_app_move_firewall on.  The one of
 * before stays covered. */
void pq_app_set_server(struct pq_app *app, unsigned i, const struct pq_addr *a);

/* A client has these servers, and no others, from now on.  Those of just before stay covered. */
void pq_app_set_servers(struct pq_app *app, const struct pq_firewall_server *v, unsigned n);

/* Covers the ports on another interface, too; on failure says what to do.  From any worker. */
void pq_app_move_firewall(struct pq_app *app, const char *ifname);

/* Client: covers one own port, or one less; from any worker. */
void pq_app_cover_port(struct pq_app *app, uint16_t port, bool on);

/* Waits for `seconds`.  Returns false if a signal that ends the program has come meanwhile.  Before
 * the workers run. */
bool pq_app_wait(unsigned seconds);

/* From now on SIGINT and SIGTERM wait for pq_app_run, if that does not run yet: what is made next
 * has to be taken away by us. */
void pq_app_hold_signals(void);

/* Runs the workers in threads of their own until a signal comes, then stops them. */
int pq_app_run(struct pq_app *app, struct pq_worker *const *w, unsigned n);

/* Runs the worker that was added to app->w, as its last, beside the others.  On the main thread,
 * while they run.  Returns 0 or PQ_EAGAIN (there is no thread to be had). */
int pq_app_run_more(struct pq_app *app);

/* Has all workers stand still, and go on; see worker.h. */
void pq_app_pause(struct pq_app *app);
void pq_app_resume(struct pq_app *app);

/* Logs, at level debug, how a session's segments fared. */
void pq_app_log_session(const struct pq_session *ses);

/* What the user calls a request of this kind: "tcp", "udp" or "tun". */
const char *pq_app_kind_of(enum pq_request_type type);

/* The wall clock, ms since 1970; see pq_hub_events. */
uint64_t pq_app_wall(void *ctx);

/* Prints one line for the user on standard error: "paqet: ...". */
__attribute__((format(printf, 1, 2))) void pq_say(const char *fmt, ...);

/* Start of the header's clocks: low 32 bits of the Unix time in ms [1.1]. */
uint32_t pq_app_t0(void);

/* What carries streams over QUIC, in *out: linked in, or loaded from a module of this very build.
 * Returns 0 or PQ_ENOTSUP, which has been said. */
int pq_app_load_quic(const struct pq_transport **out);

/* The module beside this program's file, as it would be loaded: an open file, which the caller
 * closes, and in *installed the path where it is looked for without one there.  Returns -1 where
 * there is none, none that may be loaded (which has been said), or this build needs none. */
int pq_app_quic_module(const char **installed);
#endif
