/* SPDX-License-Identifier: MIT */
/* show.h - what status and top share: two answers in a row, numbers as people read them. */
#ifndef PQ_CLI_SHOW_H
#define PQ_CLI_SHOW_H
#include "cli/control.h"

#define PQ_SHOW_LEN 32

/* "1.2 GB", "34 MB"; "3 d 4 h", "12 s"; "12.3 Mbit/s" of bytes in a time.  Return buf. */
const char *pq_show_bytes(double bytes, char buf[PQ_SHOW_LEN]);
const char *pq_show_time(double seconds, char buf[PQ_SHOW_LEN]);
const char *pq_show_rate(double bytes, double seconds, char buf[PQ_SHOW_LEN]);

struct pq_show {                   /* a command that looks again and again */
    const char *command, *request; /* of the request, what is behind {"v":1, */
    const char *list;              /* of the answer, whose elements have an "id" */
    bool watch, json;
    unsigned pause_ms; /* between two answers */
    /* Prints what has changed from `before`, the time between in seconds. */
    void (*print)(void *ctx, const struct pq_cli_answer *before, const struct pq_cli_answer *now,
                  double seconds);
    void *ctx;
};

/* Asks twice and prints; with `watch` until it is ended; with `json` the answers as they are, and
 * without `watch` only one.  Returns the exit code. */
int pq_show_run(const struct pq_show *s, const struct pq_cli_target *t);

/* The element of the list with the same id as this one of another answer, looked for from `hint`
 * on, which moves behind it; NULL if there is none. */
const struct pq_json_node *pq_show_same(const struct pq_cli_answer *a,
                                        const struct pq_json_node *list,
                                        const struct pq_json_node **hint,
                                        const struct pq_cli_answer *other,
                                        const struct pq_json_node *of);

/* How much a member has grown since; all of it if it was not there. */
double pq_show_grown(const struct pq_cli_answer *before, const struct pq_json_node *old,
                     const struct pq_cli_answer *now, const struct pq_json_node *of,
                     const char *key);

/* The member of sessions and streams that says whose they are: a user's at a server, a tunnel's at
 * a client that has several; and what stands above a column of them. */
const char *pq_show_whose(const struct pq_cli_answer *a, const struct pq_json_node *of);
const char *pq_show_whose_head(const struct pq_cli_answer *a, const struct pq_json_node *list);
#endif
