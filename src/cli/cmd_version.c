/* SPDX-License-Identifier: MIT */
#include "app/app.h"
#include "cli/cli.h"
#include "version.h"

#include <gcrypt.h>
#include <sys/utsname.h>
#include <uv.h>

#ifdef PQ_WITH_PCAP
#define BACKENDS "afpacket, pcap"
#else
#define BACKENDS "afpacket"
#endif

#ifdef __GLIBC__
#define C_LIBRARY "glibc"
#else
#define C_LIBRARY "musl"
#endif

#ifdef PQ_WITH_FEC
#define FEC "yes"
#else
#define FEC "no"
#endif

#ifdef PQ_WITH_HTTP
#define HTTP "yes"
#else
#define HTTP "no"
#endif

/* QUIC may lie in a module, which can be missing: that is said then. */
static const char *transports(void)
{
#ifdef PQ_WITH_QUIC
    const struct pq_transport *quic;
    return pq_app_load_quic(&quic) == 0 ? "kcp, quic" : "kcp";
#else
    return "kcp";
#endif
}

int pq_cmd_version(int argc, char **argv)
{
    struct utsname u;
    (void)argc;
    (void)argv;
    uname(&u);
    printf("Version:    %s\n", PQ_VERSION);
    printf("Git Commit: %s\n", PQ_COMMIT);
    printf("Compiler:   %s\n", __VERSION__);
    printf("Platform:   %s/%s\n", u.sysname, u.machine);
    printf("Libraries:  libuv %s, libgcrypt %s, %s\n", uv_version_string(),
           gcry_check_version(NULL), C_LIBRARY);
    printf("Transports: %s\n", transports());
    printf("Backends:   %s\nFEC:        %s\nMetrics:    %s\n", BACKENDS, FEC, HTTP);
    return 0;
}
