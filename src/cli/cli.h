/* SPDX-License-Identifier: MIT */
/* cli.h - the commands.  Each is one file with one function; main.c has the table. */
#ifndef PQ_CLI_CLI_H
#define PQ_CLI_CLI_H
#include "conf/conf.h"

/* argv[0] is "paqet" and the command's name.  Each returns the exit code. */
int pq_cmd_run(int argc, char **argv);
int pq_cmd_check(int argc, char **argv);
int pq_cmd_init(int argc, char **argv);
int pq_cmd_link(int argc, char **argv);
int pq_cmd_ping(int argc, char **argv);
int pq_cmd_dump(int argc, char **argv);
int pq_cmd_secret(int argc, char **argv);
int pq_cmd_iface(int argc, char **argv);
int pq_cmd_status(int argc, char **argv);
int pq_cmd_top(int argc, char **argv);
int pq_cmd_log(int argc, char **argv);
int pq_cmd_reload(int argc, char **argv);
int pq_cmd_user(int argc, char **argv);
int pq_cmd_forward(int argc, char **argv);
int pq_cmd_version(int argc, char **argv);

#define PQ_CLI_PATH 512

/* The configuration that a command is about: `given`, what -c says; NULL: config.yaml of this
 * folder, or else, where `guess` is set, the only one in /etc/paqet, in buf.  NULL after it has
 * said that there is none, or which there are. */
const char *pq_cli_config(const char *command, const char *given, bool guess,
                          char buf[PQ_CLI_PATH]);

/* Loads a configuration for a command that is about one tunnel: of several that called `tunnel`,
 * or, NULL, the only one.  Prints what is wrong, and which there are.  Returns 0 or the exit code.
 */
int pq_cli_load(struct pq_conf *c, const char *path, const char *tunnel);

/* The number of the tunnel with this name or, name NULL, of the only one that fits; fits NULL: all
 * do.  -1 after it has said which there are. */
int pq_cli_tunnel(const struct pq_conf *c, const char *path, const char *name,
                  bool (*fits)(const void *ctx, const struct pq_conf *tunnel), const void *ctx);

/* The same for a command that takes several tunnels. */
int pq_cli_load_all(struct pq_conf *c, const char *path);
#endif
