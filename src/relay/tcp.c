/* SPDX-License-Identifier: MIT */
#include "relay/tcp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ALIVE_IDLE   60U /* seconds without a byte until the other end is probed ... */
#define ALIVE_PERIOD 15  /* ... then from one probe to the next ... */
#define ALIVE_PROBES 4   /* ... and how many of them */

uv_tcp_t *pq_tcp_new(uv_loop_t *loop)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    if (tcp && uv_tcp_init(loop, tcp)) {
        free(tcp);
        tcp = NULL;
    }
    return tcp;
}

void pq_tcp_tune(uv_tcp_t *tcp)
{
    const int period = ALIVE_PERIOD, probes = ALIVE_PROBES;
    uv_os_fd_t fd;
    uv_tcp_nodelay(tcp, 1);
    if (uv_tcp_keepalive(tcp, 1, ALIVE_IDLE) || uv_fileno((uv_handle_t *)tcp, &fd))
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &period, sizeof period);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

void pq_tcp_close(uv_tcp_t *tcp, bool reset)
{
    if (uv_is_closing((uv_handle_t *)tcp))
        return;
    if (!reset || uv_tcp_close_reset(tcp, free_handle))
        uv_close((uv_handle_t *)tcp, free_handle);
}

void pq_tcp_unpaced(int fd, const struct pq_addr *end)
{
    static const char name[] = "reno"; /* in each kernel, and allowed to each program */
    if (pq_addr_is_loopback(end))
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof name - 1);
}
