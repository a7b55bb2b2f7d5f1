/* SPDX-License-Identifier: MIT */
/* edit.h - commands that change a list in a configuration's file, safely: what is written was read
 * and checked before, as a whole, in one go. */
#ifndef PQ_CLI_EDIT_H
#define PQ_CLI_EDIT_H
#include "cli/control.h"
#include "conf/conf.h"
#include "conf/edit.h"

struct pq_cli_file { /* a file that is being changed */
    const char *path;
    int fd; /* locked against others that do the same */
    char *text;
    size_t n;
    struct pq_conf conf; /* as it is */
};

/* Opens, locks and reads it; says what is wrong.  Returns 0 or the exit code. */
int pq_cli_file_open(struct pq_cli_file *f, const char *path, const char *command);

/* Checks the new text, which it takes, as a configuration; unless `expected` says that it is what
 * was meant nothing is written.  Returns 0 or the exit code, after it has said why. */
int pq_cli_file_write(struct pq_cli_file *f, char *text, size_t n,
                      bool (*expected)(void *ctx, const struct pq_conf *now,
                                       const struct pq_conf *next),
                      void *ctx, const char *command);
void pq_cli_file_close(struct pq_cli_file *f);

/* Has the paqet that runs with the file, t->config, read it; what it says goes to standard error,
 * so that standard output is the command's own.  Returns the exit code; PQ_CLI_NOBODY: there is
 * none that could be asked, which was said, and is an error only where it matters. */
int pq_cli_file_follow(const struct pq_cli_target *t, const char *command);
#endif
