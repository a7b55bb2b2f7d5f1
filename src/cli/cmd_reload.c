/* SPDX-License-Identifier: MIT */
/* reload: the paqet that runs reads its configuration again. */
#include "cli/cli.h"
#include "cli/control.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static void print_list(const struct pq_cli_answer *a, const char *key, const char *before, FILE *f)
{
    const struct pq_json_node *list = pq_json_get(&a->doc, a->doc.v, key);
    char text[1024];
    for (const struct pq_json_node *i = pq_json_first(&a->doc, list); i;
         i = pq_json_after(&a->doc, list, i))
        fprintf(f, "%s%s\n", before, pq_cli_text(a, i, NULL, text, sizeof text));
}

int pq_cli_reload(const struct pq_cli_target *t, const char *command)
{
    struct pq_cli_answer a;
    char file[1024];
    int fd = pq_cli_connect(t, command);
    if (fd < 0)
        return PQ_CLI_NOBODY;
    int code = pq_cli_ask(fd, command, "\"do\":\"reload\"", &a);
    close(fd);
    if (code)
        return PQ_CLI_NOBODY;
    const bool ok = pq_cli_is_ok(&a);
    pq_cli_text(&a, a.doc.v, "file", file, sizeof file);
    print_list(&a, "errors", "error: ", stderr);
    print_list(&a, "warnings", "warning: ", stderr);
    print_list(&a, "changed", "", stdout);
    print_list(&a, "restart", "needs a restart: ", stdout);
    if (ok)
        printf("%s was read again\n", file);
    else
        fprintf(stderr, "paqet %s: %s was read again, and nothing was changed\n", command, file);
    pq_cli_answer_free(&a);
    return ok ? 0 : 1;
}

int pq_cmd_reload(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'}, {0}};
    struct pq_cli_target t = {.socket = NULL};
    for (int o; (o = getopt_long(argc, argv, "c:s:", opts, NULL)) != -1;) {
        if (o == 'c')
            t.config = optarg;
        else if (o == 's')
            t.socket = optarg;
        else
            return 1;
    }
    if (optind < argc) {
        fprintf(stderr, "paqet reload: unexpected argument '%s'\n", argv[optind]);
        return 1;
    }
    return pq_cli_reload(&t, "reload") ? 1 : 0;
}
