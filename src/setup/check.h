/* SPDX-License-Identifier: MIT */
/* check.h - whether a configuration works on this machine, and if not, what to do: looks, asks,
 * changes nothing.  docs/check.md is the user's side of it.  Blocking. */
#ifndef PQ_SETUP_CHECK_H
#define PQ_SETUP_CHECK_H
#include "conf/conf.h"

#define PQ_FINDINGS_MAX 64

enum pq_finding_level { PQ_FINDING_OK, PQ_FINDING_NOTE, PQ_FINDING_BAD };

struct pq_findings {
    struct pq_finding {
        enum pq_finding_level level;
        const char *topic; /* static: "clock", "route" */
        char text[512];
        char remedy[512]; /* "": none is needed, or known */
    } v[PQ_FINDINGS_MAX];
    unsigned n, bad;
};

/* Adds one; remedy NULL: none.  What there is no room for is left out, but counted if bad. */
__attribute__((format(printf, 5, 6))) void pq_finding_add(struct pq_findings *f,
                                                          enum pq_finding_level level,
                                                          const char *topic, const char *remedy,
                                                          const char *fmt, ...);

/* What this machine says: rights, interface, addresses, router, clock, ports, TUN, service.
 * `path` is the configuration's file. */
void pq_check_local(const struct pq_conf *c, const char *path, struct pq_findings *f);

struct pq_check_silence {               /* what is known of a server that did not answer */
    bool by_keys;                       /* it was asked under its public key */
    bool header_set;                    /* transport.header is not auto */
    uint64_t datagrams, foreign, empty; /* as in app/probe.h */
    bool heard;
};

/* Why a server may be silent, in a sentence, and what to do.  Pure. */
void pq_check_explain(const struct pq_check_silence *s, struct pq_findings *f);

/* A client's server: whether it answers within `patience` ns, how fast, with what loss; or why not.
 * Runs a client in this process, see app/probe.h. */
void pq_check_remote(struct pq_conf *c, pq_ns patience, struct pq_findings *f);

/* A server: listens at its port for so long, beside the one that runs or without, and says from
 * whom packets came and whether they could be opened.  Sends nothing. */
void pq_check_arrivals(struct pq_conf *c, unsigned seconds, struct pq_findings *f);
#endif
