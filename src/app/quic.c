/* SPDX-License-Identifier: MIT */
/* quic.c - where QUIC comes from: it is linked in, or lies in a module beside the program or where
 * it was installed, which uses what the program has. */
#include "app/app.h"

#ifdef PQ_QUIC_MODULE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME "/quic.so"

/* Where the program itself lies: it has been built, and not installed. */
static bool beside(char path[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof NAME);
    if (n <= 0)
        return false;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    memcpy(slash, NAME, sizeof NAME);
    return access(path, R_OK) == 0;
}

int pq_app_load_quic(const struct pq_transport **out)
{
    char path[PATH_MAX];
    if (!beside(path))
        snprintf(path, sizeof path, "%s", PQ_QUIC_MODULE);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* it stays loaded */
    *out = module ? dlsym(module, "pq_transport_quic") : NULL;
    if (*out)
        return 0;
    pq_say("transport.protocol: quic needs a module that cannot be loaded: %s; install ngtcp2 with "
           "GnuTLS and the whole of paqet, or use kcp at both ends",
           dlerror());
    return PQ_ENOTSUP;
}

#elif defined(PQ_WITH_QUIC)
#include "tunnel/transport.h"

int pq_app_load_quic(const struct pq_transport **out)
{
    *out = &pq_transport_quic;
    return 0;
}

#else

int pq_app_load_quic(const struct pq_transport **out)
{
    *out = NULL; /* the configuration has refused it already */
    pq_say("transport.protocol: quic is not in this build; use kcp at both ends");
    return PQ_ENOTSUP;
}
#endif
