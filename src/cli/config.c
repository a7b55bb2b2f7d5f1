/* SPDX-License-Identifier: MIT */
/* config.c - which configuration a command is about that was not told. */
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HERE   "config.yaml" /* as the Go programs have it */
#define FOLDER "/etc/paqet"  /* where init puts them */

/* Calls `found` for each name in FOLDER that ends in .yaml; returns how many there are. */
static unsigned each(DIR *d, void (*found)(const char *name, void *ctx), void *ctx)
{
    unsigned n = 0;
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));) {
        const size_t len = strlen(e->d_name);
        if (len < 6 || *e->d_name == '.' || strcmp(e->d_name + len - 5, ".yaml") != 0)
            continue;
        found(e->d_name, ctx);
        n++;
    }
    return n;
}

static void keep(const char *name, void *ctx)
{
    snprintf(ctx, PQ_CLI_PATH, FOLDER "/%.*s", PQ_CLI_PATH - (int)sizeof FOLDER - 1, name);
}

static void name_it(const char *name, void *ctx)
{
    (void)ctx;
    fprintf(stderr, " -c " FOLDER "/%s", name);
}

const char *pq_cli_config(const char *command, const char *given, bool guess, char buf[PQ_CLI_PATH])
{
    if (given || access(HERE, F_OK) == 0)
        return given ? given : HERE;
    DIR *d = opendir(FOLDER);
    const int e = d ? 0 : errno;
    const unsigned n = d ? each(d, keep, buf) : 0;
    if (e == EACCES)
        fprintf(stderr,
                "paqet %s: there is no " HERE " in this folder, and " FOLDER
                " may not be read: run it as root, with sudo say, or name one with -c\n",
                command);
    else if (!n)
        fprintf(stderr,
                "paqet %s: there is no " HERE " in this folder, and no configuration in " FOLDER
                ": name one with -c, or have 'paqet init' make one\n",
                command);
    else if (n > 1 || !guess) {
        fprintf(stderr, "paqet %s: there is no " HERE " in this folder; say which it is:", command);
        each(d, name_it, NULL);
        putc('\n', stderr);
    }
    if (d)
        closedir(d);
    return n == 1 && guess ? buf : NULL;
}
