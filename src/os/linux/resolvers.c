/* SPDX-License-Identifier: MIT */
#include "os/resolvers.h"

#include <stdio.h>

#define PORT 53

static const char *const files[] = {
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/tmp/resolv.conf.d/resolv.conf.auto",
    "/tmp/resolv.conf.auto",
};

/* Whether it is somewhere else, and can be reached without naming an interface. */
static bool is_elsewhere(const struct pq_addr *a)
{
    struct pq_net net;
    static const char *const not [] = {"127.0.0.0/8", "::1", "fe80::/10", "0.0.0.0", "::"};
    for (size_t i = 0; i < sizeof not / sizeof not [0]; i++)
        if (pq_net_parse(&net, not [i]) == 0 && pq_net_has(&net, a))
            return false;
    return true;
}

/* Those that one such file names. */
static unsigned resolvers_of(const char *path, struct pq_addr *out, unsigned max)
{
    char line[512], text[64];
    unsigned n = 0;
    FILE *f = fopen(path, "re");
    while (f && n < max && fgets(line, sizeof line, f))
        if (sscanf(line, " nameserver %63s", text) == 1 && pq_addr_parse_ip(&out[n], text) == 0 &&
            is_elsewhere(&out[n]))
            out[n++].port = PORT;
    if (f)
        fclose(f);
    return n;
}

unsigned pq_resolvers(struct pq_addr *out, unsigned max)
{
    unsigned n = 0;
    for (size_t i = 0; !n && i < sizeof files / sizeof files[0]; i++)
        n = resolvers_of(files[i], out, max);
    return n;
}
