/* SPDX-License-Identifier: MIT */
#include "os/linux/mark.h"

#include "base/hash.h"
#include "os/linux/nl.h"
#include "os/service.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of 32 bits, 4 are in the number of the protocol, none of which is given out, and 28 in the
 * address, which may be any multicast one. */
#define PROTOCOL  0xe0U
#define MULTICAST 0xe0000000U
#define LOW_BITS  28
#define LOW       ((1U << LOW_BITS) - 1)

uint32_t pq_mark_of_range(const struct pq_range *r)
{
    return (uint32_t)r->from << 16 | r->to;
}

bool pq_mark_to_range(uint32_t mark, struct pq_range *r)
{
    *r = (struct pq_range){(uint16_t)(mark >> 16), (uint16_t)mark};
    return r->from <= r->to;
}

/* With the greater half in front, which no range has. */
uint32_t pq_mark_of_name(const char *name)
{
    const uint64_t hash = pq_hash_bytes(name, strlen(name), 0);
    const uint16_t a = (uint16_t)(hash >> 16), b = (uint16_t)hash;
    if (a == b)
        return (uint32_t)(a | 1U) << 16 | (a & ~1U);
    return a > b ? (uint32_t)a << 16 | b : (uint32_t)b << 16 | a;
}

int pq_mark_set(uint32_t mark)
{
    const struct sockaddr_in in = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(MULTICAST | (mark & LOW))};
    const int least = 1;
    const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, (int)(PROTOCOL | mark >> LOW_BITS));
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    if (bind(fd, (const struct sockaddr *)&in, sizeof in)) {
        const int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

/* "  11: 030201E6:00E4 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 4711 ..."; the
 * address as this machine has it in memory. */
static bool read_mark(const char *line, uint32_t *mark, unsigned long *inode)
{
    unsigned address, protocol;
    if (sscanf(line, " %*d: %x:%x %*x:%*x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu", &address, &protocol,
               inode) != 3 ||
        (protocol & 0xf0) != PROTOCOL || protocol > 0xff || (ntohl(address) & ~LOW) != MULTICAST)
        return false;
    *mark = (protocol & 0xfU) << LOW_BITS | (ntohl(address) & LOW);
    return true;
}

int pq_mark_find(int but, bool (*fn)(void *ctx, uint32_t mark), void *ctx)
{
    struct stat own = {.st_ino = 0};
    unsigned long inode;
    uint32_t mark;
    char *line = NULL;
    size_t cap = 0;
    int found = 0;
    FILE *f = fopen("/proc/thread-self/net/raw", "re");
    if (!f)
        return -errno;
    if (but >= 0 && fstat(but, &own))
        found = -errno;
    while (!found && getline(&line, &cap, f) > 0)
        if (read_mark(line, &mark, &inode) && (but < 0 || inode != (unsigned long)own.st_ino))
            found = fn(ctx, mark);
    fclose(f);
    free(line);
    return found;
}

static bool is_same(void *ctx, uint32_t mark)
{
    return *(const uint32_t *)ctx == mark;
}

int pq_mark_take(uint32_t mark)
{
    const int fd = pq_mark_set(mark);
    const int found = fd < 0 ? fd : pq_mark_find(fd, is_same, &mark);
    if (found && fd >= 0)
        close(fd);
    return found > 0 ? -EADDRINUSE : found < 0 ? found : fd;
}

/* ---- the version before */

struct before {
    const char *name;
    bool held;
};

static int look_at_name(const struct pq_nl_msg *m, void *arg)
{
    struct before *b = arg;
    struct pq_nl_attrs a;
    struct unix_diag_msg head;
    if (!pq_nl_head(m, &head, sizeof head, &a))
        return 0;
    const struct pq_view name = a.v[UNIX_DIAG_NAME], who = a.v[UNIX_DIAG_UID];
    const size_t n = strlen(b->name);
    if (name.n != n + 1 || name.p[0] || memcmp(name.p + 1, b->name, n) != 0 || who.n != 4)
        return 0;
    const uint32_t uid = pq_nl_u32(who);
    const struct passwd *service = getpwnam(PQ_SERVICE_USER);
    b->held |= !uid || uid == geteuid() || (service && uid == service->pw_uid);
    return 0;
}

bool pq_mark_before(const char *name)
{
    struct before b = {.name = name};
    const struct unix_diag_req all = {.sdiag_family = AF_UNIX,
                                      .udiag_states = UINT32_MAX,
                                      .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID};
    uint8_t buf[64];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &all, sizeof all);
    pq_nl_query_of(NETLINK_SOCK_DIAG, &o, look_at_name, &b);
    return b.held;
}
