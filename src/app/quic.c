/* SPDX-License-Identifier: MIT */
/* quic.c - where QUIC comes from: it is linked in, or lies in a module beside the program or where
 * it was installed, which uses what the program has. */
#include "app/app.h"

#ifdef PQ_QUIC_MODULE
#include "version.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "/quic.so"

/* Where the program itself lies: it has been built, and not installed.  What others have put there,
 * as they may in /tmp, is not loaded, and nothing is if the program has capabilities that its user
 * has not: a link of his would say where it lies. */
static int open_beside(char path[PATH_MAX])
{
    struct stat program, module;
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof NAME);
    if (n <= 0 || getauxval(AT_SECURE) || stat("/proc/self/exe", &program))
        return -1;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return -1;
    memcpy(slash, NAME, sizeof NAME);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &module))
        return fd;
    if (S_ISREG(module.st_mode) && !(module.st_mode & S_IWOTH) &&
        (module.st_uid == 0 || module.st_uid == program.st_uid))
        return fd;
    pq_say("%s is not loaded: it is not the program's owner's, or others may write to it", path);
    close(fd);
    return -1;
}

static void *load(char path[PATH_MAX])
{
    char opened[32];
    const int fd = open_beside(path);
    if (fd < 0) {
        snprintf(path, PATH_MAX, "%s", PQ_QUIC_MODULE);
        return dlopen(path, RTLD_NOW | RTLD_LOCAL); /* it stays loaded */
    }
    snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd); /* the very file that was looked at */
    void *module = dlopen(opened, RTLD_NOW | RTLD_LOCAL);
    close(fd);
    return module;
}

int pq_app_quic_module(const char **installed)
{
    char path[PATH_MAX];
    *installed = PQ_QUIC_MODULE;
    return open_beside(path);
}

int pq_app_load_quic(const struct pq_transport **out)
{
    char path[PATH_MAX];
    void *module = load(path);
    const char *build = module ? dlsym(module, "pq_quic_build") : NULL;
    *out = module ? dlsym(module, "pq_transport_quic") : NULL;
    if (*out && build && strcmp(build, PQ_BUILD) == 0)
        return 0;
    if (*out)
        pq_say("transport.protocol: quic needs a module of the same build as the program, " PQ_BUILD
               ", and %s is of %s: install both anew",
               path, build ? build : "an older one");
    else
        pq_say("transport.protocol: quic needs a module that cannot be loaded: %s; install the "
               "libraries of ngtcp2 with GnuTLS, and paqet with its module (meson install -C "
               "build), or use kcp at both ends",
               dlerror());
    *out = NULL;
    return PQ_ENOTSUP;
}

#else
int pq_app_quic_module(const char **installed)
{
    *installed = NULL;
    return -1;
}

#ifdef PQ_WITH_QUIC
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
#endif
