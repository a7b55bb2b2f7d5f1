/* SPDX-License-Identifier: MIT */
#include "app/app.h"
#include "base/err.h"
#include "cli/cli.h"
#include "os/process.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* The path as it is found from any folder: for a reload, and for who asks which file it was. */
static const char *absolute(const char *path, char buf[PATH_MAX])
{
    char folder[PATH_MAX];
    if (*path == '/' || !getcwd(folder, sizeof folder) ||
        snprintf(buf, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX)
        return path;
    return buf;
}

static bool become(const char *user)
{
    const int e = pq_process_become(user);
    if (e)
        fprintf(stderr, "paqet run: --user: %s %s\n", user,
                e == -ENOENT   ? "is no user of this machine"
                : e == -EINVAL ? "has all rights: choose another one"
                : e == -EPERM  ? "is another one, and only root can become him"
                               : pq_strerror(e));
    return !e;
}

int pq_cmd_run(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'}, {"user", required_argument, NULL, 'u'}, {0}};
    const char *path = NULL, *user = NULL;
    char unused[PQ_CLI_PATH];
    struct pq_conf c;
    char whole[PATH_MAX];
    for (int o; (o = getopt_long(argc, argv, "c:", opts, NULL)) != -1;) {
        if (o != 'c' && o != 'u')
            return 1;
        *(o == 'u' ? &user : &path) = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, "paqet run: unexpected argument '%s'\n", argv[optind]);
        return 1;
    }
    path = pq_cli_config("run", path, false, unused);
    if (!path || (user && !become(user)))
        return 1;
    pq_process_confine();
    if (pq_cli_load_all(&c, path))
        return 1;
    path = absolute(path, whole);
    pq_log_set_level(c.log_level);
    int code = c.role == PQ_ROLE_CLIENT ? pq_client_run(&c, path) : pq_server_run(&c, path);
    pq_conf_free(&c);
    return code;
}
