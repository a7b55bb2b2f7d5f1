/* SPDX-License-Identifier: MIT */
/* check.h - whether a configuration works on this machine, and if not, what to do: looks, asks,
 * changes nothing.  docs/check.md is the user's side of it.  Blocking. */
#ifndef PQ_SETUP_CHECK_H
#define PQ_SETUP_CHECK_H
#include "app/probe.h"
#include "conf/conf.h"

#define PQ_FINDINGS_MAX 128

enum pq_finding_level { PQ_FINDING_OK, PQ_FINDING_NOTE, PQ_FINDING_BAD };

struct pq_findings {
    struct pq_finding {
        enum pq_finding_level level;
        const char *topic; /* static: "clock", "route" */
        char text[512];
        char remedy[512]; /* "": none is needed, or known */
    } v[PQ_FINDINGS_MAX];
    unsigned n, bad;
    struct pq_probe_clock clock; /* of a client's server, beside this one */
    struct pq_measured measured; /* of a client and its server; all 0: nothing was */
};

/* Adds one; remedy NULL: none.  What there is no room for is left out, but counted if bad. */
__attribute__((format(printf, 5, 6))) void pq_finding_add(struct pq_findings *f,
                                                          enum pq_finding_level level,
                                                          const char *topic, const char *remedy,
                                                          const char *fmt, ...);

/* What this machine says: rights, interface, addresses, router, clock, ports, TUN; and, which is in
 * the way of nothing else, whether a service runs it, and who has the ports of a client's proxies.
 * `path` is the configuration's file. */
void pq_check_local(const struct pq_conf *c, const char *path, struct pq_findings *f);
void pq_check_service(const char *path, struct pq_findings *f);
void pq_check_proxies(const struct pq_conf *c, const char *path, struct pq_findings *f);

/* The same for the ports of a client's forwards, and whether the firewall of this machine lets
 * connections to them in, as far as its rules tell. */
void pq_check_forwards(const struct pq_conf *c, const char *path, struct pq_findings *f);

/* Whether a client's server, which has answered, reaches what the forwards of TCP lead to: of each
 * run of ports the first, of 16 of them.  Waits for each as long as `patience`. */
void pq_check_targets(struct pq_conf *c, pq_ns patience, struct pq_findings *f);

/* How far this clock and the server's are apart, and what comes of it; `bound` as
 * pq_check_clock_bound has it.  Pure. */
void pq_check_clock(const struct pq_probe_clock *clock, unsigned bound, struct pq_findings *f);

/* How far a clock that shows `told` is before one that shows `wall`, ms; below 0: behind.  For any
 * two numbers: of what does not fit it makes the greatest, or the least, that has an opposite. */
int64_t pq_check_ahead(uint64_t told, uint64_t wall);

/* "8 minutes behind", or "2.5 s before". */
const char *pq_check_apart(int64_t ms, char buf[48]);

/* So many seconds the clocks of both ends may differ [12.2, 12.9, 13.3]. */
unsigned pq_check_clock_bound(const struct pq_conf *c);

struct pq_check_silence {    /* what is known of a server that did not answer */
    bool by_keys;            /* it was asked under its public key */
    bool header_set;         /* transport.header is not auto */
    bool connects;           /* network.tcp.look: connect: the clock is part of each SYN */
    bool quic, open, trust;  /* over QUIC; with auth: none; its certificate has to be trusted */
    uint64_t foreign, empty; /* as in app/probe.h */
    bool heard;
};

struct pq_check_silence pq_check_silence_of(const struct pq_conf *c,
                                            const struct pq_probe_seen *seen);

/* Why a server may be silent, in a sentence, and what to do.  Pure. */
void pq_check_explain(const struct pq_check_silence *s, struct pq_findings *f);

struct pq_check_how { /* a client's server is looked at */
    pq_ns patience;   /* for its first answer */
    bool measure;     /* what passes each way, too, ... */
    unsigned seconds; /* ... and the speed, so long each way; 0: not that */
    void (*progress)(void *ctx, const char *what, double part,
                     double rate); /* as in app/measure.h */
    void *ctx;
};

/* Each of a client's servers: whether it answers within the patience, how fast, with what loss; or
 * why not; and what was measured, with the first that answers.  Runs a client in this process, see
 * app/probe.h. */
void pq_check_remote(struct pq_conf *c, const struct pq_check_how *how, struct pq_findings *f);

struct pq_check_about {
    unsigned seconds; /* as in pq_check_how */
    double idle;      /* ms of a round trip before */
    bool quic;        /* transport.protocol */
    bool models;      /* this side's congestion control follows the path */
};

/* What the figures mean, in sentences.  Pure. */
void pq_check_measured(const struct pq_measured *m, const struct pq_check_about *about,
                       struct pq_findings *f);

/* "plausible"; "PA".  The first is static, the second in buf. */
const char *pq_check_look_name(enum pq_look look);
const char *pq_check_flags_name(uint16_t flags, char buf[16]);

/* A server: listens at its port for so long, beside the one that runs or without, and says from
 * whom packets came and whether they could be opened.  Sends nothing. */
void pq_check_arrivals(struct pq_conf *c, unsigned seconds, struct pq_findings *f);
#endif
