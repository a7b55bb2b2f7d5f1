/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", pq_cmd_run, "run -c FILE: run the client or server that FILE configures"},
    {"secret", pq_cmd_secret, "make a random key"},
    {"iface", pq_cmd_iface, "list interfaces, addresses and routers, for the configuration"},
    {"ping", pq_cmd_ping, "ping -c FILE [--payload TEXT]: send one forged packet to the server"},
    {"dump", pq_cmd_dump, "dump -i INTERFACE -p PORT: show the payload of packets to a port"},
    {"version", pq_cmd_version, "show version and build"},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *f)
{
    fprintf(f,
            "paqet carries TCP and UDP through networks that filter protocols, inside forged TCP "
            "packets.\n\nUsage: paqet COMMAND [OPTIONS]\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(f, "\nThe configuration file is described in docs/configuration.md.\n");
}

int pq_cli_load(struct pq_conf *c, const char *path)
{
    struct pq_conf_msgs m;
    int e = pq_conf_load(c, path, &m);
    pq_conf_msgs_print(&m, path, stderr);
    if (e)
        fprintf(stderr, "paqet: %s has %u error%s; nothing was started\n", path, m.errors,
                m.errors == 1 ? "" : "s");
    pq_conf_msgs_free(&m);
    if (e)
        pq_conf_free(c);
    return e ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version"))
        argv[1] = "version";
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].main(argc - 1, argv + 1);
    fprintf(stderr, "Error: unknown command \"%s\" for \"paqet\"\nRun 'paqet help' for usage.\n",
            argv[1]);
    return 1;
}
