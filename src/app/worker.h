/* SPDX-License-Identifier: MIT */
/* worker.h - one thread's share of the work: event loop, packet socket, sessions, memory.
 * Workers share the configuration, which nobody changes while they run, and nothing else.
 *
 * A turn of the loop: packets and socket events come in and only change state; then ready sessions
 * are drained into slots, round robin, and the slots go to the kernel; then one timer is set for
 * the earliest deadline. */
#ifndef PQ_APP_WORKER_H
#define PQ_APP_WORKER_H
#include "app/handover.h"
#include "conf/conf.h"
#include "io/pktio.h"
#include "relay/front.h"
#include "tunnel/hub.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define PQ_TX_SLOTS 96 /* two runs of 48: to the peer the rest of one is as much work as a run */

struct pq_did {             /* what was done without being asked for, and how often */
    uint64_t opened, ended; /* sessions */
    uint64_t fresh;         /* sessions in place of silent ones */
    uint64_t failovers;     /* to another server or address */
    uint64_t moved;         /* sessions to another tuple */
    uint64_t links;         /* to another interface, or to one that is there again */
};

struct pq_app;

struct pq_worker {
    const struct pq_app *app; /* whose it is: of several tunnels, the one */
    unsigned id;
    uv_loop_t loop;
    struct pq_pktio *io;
    struct pq_hub *hub;
    struct pq_front front;
    struct pq_rng rng;
    pq_ns now; /* read once for each entry from the loop */

    uv_poll_t *rx, *tx; /* of io; made anew when it changes */
    uv_poll_t alarm;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while there is more to send than one turn may */
    uv_async_t stop, woken, handed;
    bool has_strangers;          /* what cannot be opened is nothing to warn of */
    uv_timer_t leaving;          /* when it stops ... */
    pq_ns leave_by;              /* ... for so long at most; 0 = it does not */
    atomic_uint wakes;           /* turns of the loop that pq_worker_wake has brought about */
    struct pq_handover handover; /* frames that other workers have got */
    int alarm_fd;                /* timerfd: libuv's timers count in milliseconds */
    pq_ns retry_at; /* when the kernel may have room again; PQ_NEVER = it has, or tx tells */
    pq_ns alarm_at; /* what it is set to */
    int tx_dup;     /* second descriptor of a backend that has one for both ways, or -1 */
    bool has_loop;
    bool tx_wait; /* the kernel is full */
    struct pq_slot slots[PQ_TX_SLOTS];
    unsigned first, filled; /* slots[first .. filled) wait for the kernel */
    uint8_t *slot_memory;

    pq_ns full_since; /* the interface has taken none since then; 0 = it has */
    bool passed_over; /* of those some were given up */
    unsigned robbed;  /* times in a row that the next one went at once, ... */
    pq_ns robbed_at;  /* ... the last of them */
    struct pq_log_limit send_failed, auth_failed, io_failed, taken_away;
    uint64_t auth_seen;
    pq_ns rx_at;                              /* the last turn with frames */
    unsigned lone;                            /* turns in a row with few frames each, see nap() */
    bool received;                            /* frames, in this turn */
    void (*on_stop)(struct pq_worker *w);     /* close what the role opened */
    void (*on_too_long)(struct pq_worker *w); /* the interface refuses packets of this length */
    pq_ns too_long;                           /* ... and not before this is it told again */
    void *role;
    struct pq_did did;
    pthread_mutex_t pause_lock; /* of `pause` */
    pthread_cond_t paused;      /* told when it changes */
    enum { PQ_RUNS, PQ_SHALL_PAUSE, PQ_STANDS } pause;
};

/* Opens the loop, the hub and the packet socket (nothing is received before its ports are set).
 * Takes `io`.  Returns 0, -errno or PQ_E*; after an error pq_worker_fini is still called. */
int pq_worker_init(struct pq_worker *w, unsigned id, struct pq_pktio *io,
                   const struct pq_hub_conf *hc, const struct pq_hub_events *ev, void *role);

/* Goes on with another packet socket (the way out is another interface now); takes `io`, closes the
 * old one.  From the worker's own thread.  Returns 0 or an error: then nothing is received. */
int pq_worker_change_io(struct pq_worker *w, struct pq_pktio *io);

/* Runs until pq_worker_stop. */
void pq_worker_run(struct pq_worker *w);

/* Gives a running worker a frame that another one has got; from any thread.  It is copied, or lost.
 */
void pq_worker_hand(struct pq_worker *w, const struct pq_frame *f);

/* Has a running worker look whether there is something to send; from any thread. */
void pq_worker_wake(struct pq_worker *w);

/* Has a running worker stand still within its loop, between two events, until pq_worker_resume.
 * Meanwhile the caller may use and change all that is the worker's, as its own thread would; w->now
 * is set.  From the main thread alone, which is no worker's; takes a turn of the loop at most. */
void pq_worker_pause(struct pq_worker *w);
void pq_worker_resume(struct pq_worker *w);

/* Asks a running worker to end; from any thread. */
void pq_worker_stop(struct pq_worker *w);

/* Frees everything.  The worker is not running. */
void pq_worker_fini(struct pq_worker *w);
#endif
