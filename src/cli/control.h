/* SPDX-License-Identifier: MIT */
/* control.h - asking a paqet that runs, over its control socket. */
#ifndef PQ_CLI_CONTROL_H
#define PQ_CLI_CONTROL_H
#include "base/json.h"

struct pq_cli_target {  /* which one; zero-initialized: the only one that runs */
    const char *socket; /* its path, or ... */
    const char *config; /* ... the file that it was started with */
};

struct pq_cli_answer {
    char *text; /* a line, NUL-terminated */
    struct pq_json_doc doc;
};

/* Connects; says on standard error why not, and which there are if it is not clear.  Returns a
 * descriptor or -1. */
int pq_cli_connect(const struct pq_cli_target *t, const char *command);

/* Sends a request, made of its bytes behind {"v":1, and waits for the answer.  Says what is wrong
 * with the way to it; what the answer itself says is up to the caller.  Returns 0, and the answer
 * is the caller's (pq_cli_answer_free), or the exit code. */
int pq_cli_ask(int fd, const char *command, const char *request, struct pq_cli_answer *out);
void pq_cli_answer_free(struct pq_cli_answer *a);

/* Connects and asks once.  As pq_cli_ask; an answer that is an error is said, and 1 is returned. */
int pq_cli_ask_once(const struct pq_cli_target *t, const char *command, const char *request,
                    struct pq_cli_answer *out);

#define PQ_CLI_NOBODY 2 /* nobody answers: most likely it does not run */

/* Has it read its configuration again, and tells what came of it.  Returns 0, 1 (it did not like
 * it) or PQ_CLI_NOBODY, which was said. */
int pq_cli_reload(const struct pq_cli_target *t, const char *command);

/* Whether the answer is no error. */
bool pq_cli_is_ok(const struct pq_cli_answer *a);

/* A member's text, printable on a terminal, or "". */
const char *pq_cli_text(const struct pq_cli_answer *a, const struct pq_json_node *of,
                        const char *key, char *buf, size_t cap);
double pq_cli_real(const struct pq_cli_answer *a, const struct pq_json_node *of, const char *key);
bool pq_cli_bool(const struct pq_cli_answer *a, const struct pq_json_node *of, const char *key);
#endif
