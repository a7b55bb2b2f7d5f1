/* SPDX-License-Identifier: MIT */
#include "os/linux/nft.h"

#include "base/err.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int pq_nft_run(struct pq_nft *n, const char *fmt, ...)
{
    char cmd[8192];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    if (len < 0 || (size_t)len >= sizeof cmd)
        return PQ_EINVAL;
    return nft_run_cmd_from_buffer(n->ctx, cmd) ? PQ_ENOTSUP : 0;
}

/* Takes away marked tables of processes that are gone. */
static void sweep(struct pq_nft *n)
{
    if (pq_nft_run(n, "list tables"))
        return;
    char *text = strdup(nft_ctx_get_output_buffer(n->ctx));
    for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char family[8];
        int pid;
        unsigned salt;
        if (sscanf(line, "table %7s paqet_%d_%x", family, &pid, &salt) == 3 && pid != getpid()) {
            char proc[32];
            snprintf(proc, sizeof proc, "/proc/%d", pid);
            if (access(proc, F_OK))
                pq_nft_run(n, "delete table %s paqet_%d_%04x", family, pid, salt);
        }
    }
    free(text);
}

/* Where the kernel has no netfilter at all, libnftables would end the program. */
static bool has_netfilter(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Without it libnftables would say so on standard error, once for each command. */
static bool has_net_admin(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capget, &head, data) == 0 &&
           data[CAP_NET_ADMIN / 32].effective & 1u << CAP_NET_ADMIN % 32;
}

int pq_nft_open(struct pq_nft *n)
{
    if (!has_net_admin())
        return -EPERM;
    if (!has_netfilter())
        return PQ_ENOTSUP;
    n->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!n->ctx)
        return PQ_ENOMEM;
    nft_ctx_buffer_output(n->ctx);
    nft_ctx_buffer_error(n->ctx);
    /* two containers may share the network, but not the numbers of processes */
    unsigned salt = 0;
    if (getrandom(&salt, sizeof salt, 0) < 0)
        salt = (unsigned)getppid();
    snprintf(n->table, sizeof n->table, "paqet_%d_%04x", (int)getpid(), salt & 0xffff);
    sweep(n);
    return 0;
}

bool pq_nft_denied(const struct pq_nft *n)
{
    return strstr(nft_ctx_get_error_buffer(n->ctx), "not permitted") != NULL;
}

void pq_nft_close(struct pq_nft *n)
{
    nft_ctx_free(n->ctx);
    n->ctx = NULL;
}
