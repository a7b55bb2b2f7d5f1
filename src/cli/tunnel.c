/* SPDX-License-Identifier: MIT */
/* tunnel.c - which tunnel of a file with `tunnels:` a command is about. */
#include "cli/cli.h"

#include <string.h>

static void say_choices(const struct pq_conf *c)
{
    fprintf(stderr, "--tunnel says which of these it is about:");
    for (unsigned i = 0; i < c->n_tunnels; i++)
        fprintf(stderr, "%s %s", i ? "," : "", c->tunnel[i].name);
    putc('\n', stderr);
}

int pq_cli_tunnel(const struct pq_conf *c, const char *path, const char *name,
                  bool (*fits)(const void *ctx, const struct pq_conf *tunnel), const void *ctx)
{
    unsigned n = 0;
    int nth = -1;
    for (unsigned i = 0; i < c->n_tunnels; i++) {
        const struct pq_conf *t = &c->tunnel[i];
        if (name ? strcmp(t->name, name) != 0 : fits && !fits(ctx, t))
            continue;
        nth = (int)i;
        n++;
    }
    if (n == 1)
        return nth;
    if (!c->n_tunnels)
        fprintf(stderr, "paqet: --tunnel: %s has no tunnels:, so leave it out\n", path);
    else if (name)
        fprintf(stderr, "paqet: %s has no tunnel '%s'; ", path, name);
    else
        fprintf(stderr, "paqet: %s has %u tunnels; ", path, c->n_tunnels);
    if (c->n_tunnels)
        say_choices(c);
    return -1;
}

int pq_cli_load(struct pq_conf *c, const char *path, const char *tunnel)
{
    if (pq_cli_load_all(c, path))
        return 1;
    if (!c->n_tunnels && !tunnel)
        return 0;
    const int nth = pq_cli_tunnel(c, path, tunnel, NULL, NULL);
    if (nth >= 0) {
        pq_conf_take_tunnel(c, (unsigned)nth);
        return 0;
    }
    pq_conf_free(c);
    return 1;
}
