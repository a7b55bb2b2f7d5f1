/* SPDX-License-Identifier: MIT */
/* smux_internal.h - the state of a session; for smux*.c and their test only. */
#ifndef PQ_SMUX_SMUX_INTERNAL_H
#define PQ_SMUX_SMUX_INTERNAL_H
#include "base/hash.h"
#include "base/list.h"
#include "smux/smux.h"

enum { /* commands [5.1] */
       SMUX_SYN = 0,
       SMUX_FIN = 1,
       SMUX_PSH = 2,
       SMUX_NOP = 3,
       SMUX_UPD = 4,
       SMUX_EOF = 5, /* between peers of our own kind [8.3] */
       SMUX_BYE = 6, /* likewise [8.5] */
       /* in segments that may come out of order [8.10] */
       SMUX_DATA = 7,   /* a PSH with its place in the stream */
       SMUX_PART = 8,   /* the same, but the frame goes on */
       SMUX_CLOSE = 9,  /* FIN */
       SMUX_END = 10,   /* EOF */
       SMUX_USED = 255, /* never sent: marks what was used before its turn */
};

#define SMUX_VERSION 2
#define UPD_LEN      8 /* consumed 4, window 4 */
#define PLACE_LEN    4 /* of the first byte in the stream */

struct pq_smux_stream {
    struct pq_smux *s;
    void *user; /* NULL after pq_smux_close */
    struct pq_hash_node by_id;
    struct pq_list ctl;  /* in s->ctl while need_syn or need_upd */
    struct pq_list turn; /* in s->turn or s->fresh while it has something to send and may */
    bool served;         /* since it last had nothing to send */
    uint32_t id;

    /* sending */
    struct pq_chunkq q;
    uint32_t sent, peer_consumed, peer_window;

    /* receiving */
    uint32_t consumed, since_upd, told; /* told: the window of the last UPD ... */
    pq_ns told_at;                      /* ... and when it went out */
    pq_ns read_at;                      /* when bytes of it were read last */
    uint32_t lent;                      /* its part of s->lent */
    struct pq_list lent_node;           /* in s->lenders */
    uint32_t window;                    /* to be told, unless memory is short */
    uint32_t received;                  /* bytes that came, in the stream's order */
    size_t unread;

    bool need_syn, need_upd, need_fin; /* FIN goes out once q is empty */
    bool need_eof;                     /* likewise EOF */
    bool closed;                       /* by the user */
    bool peer_closed;
    bool peer_eof; /* it has said that it sends no more: whatever comes is nothing */
    bool corked;
    bool full;  /* room was 0: the room event is owed */
    bool whole; /* frames are datagrams: never cut */
    bool known; /* the peer opened it, or has read of it */
};

struct pq_smux {
    struct pq_smux_conf conf;
    const struct pq_smux_events *ev;
    void *ctx;
    struct pq_chunks *chunks;
    struct pq_hash streams;
    struct pq_list ctl, turn;
    struct pq_list fresh; /* before turn: streams that have not been served since they were empty */
    unsigned fresh_run;   /* how many of them in a row */
    uint32_t frame_max;   /* bytes of one frame */
    uint32_t *refused;    /* streams of the peer that are owed a FIN, and nothing else */
    size_t n_refused, refused_cap;
    uint32_t next_id;
    size_t queue_max; /* bytes that may wait in one stream */
    bool ids_used_up, need_nop, need_bye;
    bool extended;    /* the peer understands EOF and BYE */
    size_t framed;    /* not 0: frames for segments, and the most bytes of those without data */
    uint64_t heard;   /* frames other than NOP */
    uint64_t in, out; /* bytes of streams */

    /* the reader: a header, then the rest of a payload */
    uint8_t head[PQ_SMUX_HDR_LEN + UPD_LEN];
    size_t head_len, head_need;
    struct pq_smux_stream *cur; /* of the payload being read; NULL = skip it */
    size_t payload_left;
    bool part;     /* what follows belongs to the same frame */
    size_t unread; /* of all streams */
    bool stopped;
    size_t lent;            /* windows that are larger than any stream may have */
    struct pq_list lenders; /* streams that have them, who was told first before the others */
    pq_ns stuck_since;      /* when pq_smux_relieve found `unread` near its bound; 0 = it is not */

    bool seen; /* a frame came in this period */
    pq_ns nop_at, check_at;
    uint32_t n_nops; /* that were due */
    pq_ns now, rtt;  /* as pq_smux_clock said last */
};

void pq_smux_stream_free(struct pq_smux_stream *st);
void pq_smux_schedule(struct pq_smux_stream *st); /* in turn if and only if it has work and may */
uint32_t pq_smux_credit(const struct pq_smux_stream *st); /* bytes that may go out [5.3] */
struct pq_smux_stream *pq_smux_find_id(struct pq_smux *s, uint32_t id);
uint64_t pq_smux_hash(const struct pq_smux *s, uint32_t id);
struct pq_smux_stream *pq_smux_add(struct pq_smux *s, uint32_t id);

/* ---- smux_window.c */

/* The window to tell the peer now, in an UPD that goes out. */
uint32_t pq_smux_tell_window(struct pq_smux_stream *st);

/* The stream ends, or is told anew: its window is not lent any more. */
void pq_smux_unlend(struct pq_smux_stream *st);

/* Cuts streams that nobody reads, if they keep all others from getting anything. */
void pq_smux_relieve(struct pq_smux *s, pq_ns now);
#endif
