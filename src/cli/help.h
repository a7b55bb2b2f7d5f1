/* SPDX-License-Identifier: MIT */
/* help.h - what was meant, and how a command is used. */
#ifndef PQ_CLI_HELP_H
#define PQ_CLI_HELP_H
#include <stdbool.h>

/* Prints examples of a command, if there are any. */
void pq_cli_examples(const char *command);

/* The name among them (ended by NULL) that was probably meant by `word`, or NULL. */
const char *pq_cli_meant(const char *word, const char *const *names);

/* Looks through the arguments for a long option that is none of those in `options`, the text of its
 * help, but like one; says so.  Returns whether there was one. */
bool pq_cli_mistyped(const char *command, const char *options, int argc, char **argv);
#endif
