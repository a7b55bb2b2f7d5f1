/* SPDX-License-Identifier: MIT */
/* The UDP echo: one epoll loop over all ports. */
#include "udp.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET_BUFFER = 8 << 20 };

static volatile sig_atomic_t stopped;
static uint64_t datagrams, bytes_in, unsent;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static int open_port(uint16_t port)
{
    const int on = 1, off = 0, buffer = SOCKET_BUFFER;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("lab-udp: echo");
        exit(1);
    }
    return fd;
}

/* Answers what waits. The control message says which address it came to; sent back, from which it
 * shall go. */
static void answer(int fd)
{
    static uint8_t bytes[DATAGRAM_MAX + 1];
    for (;;) {
        struct sockaddr_in6 from;
        union {
            struct cmsghdr header;
            uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
        } control;
        struct iovec piece = {bytes, sizeof bytes};
        struct msghdr message = {.msg_name = &from,
                                 .msg_namelen = sizeof from,
                                 .msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        ssize_t n = recvmsg(fd, &message, 0);
        if (n < 0)
            return;
        datagrams++;
        bytes_in += (uint64_t)n;
        piece.iov_len = (size_t)n;
        unsent += sendmsg(fd, &message, 0) != n;
    }
}

int echo_run(uint16_t port, unsigned ports, unsigned max_seconds)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    alarm(max_seconds);

    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < ports; i++) {
        int fd = open_port((uint16_t)(port + i));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
    fputs("ready\n", stderr);
    while (!stopped) {
        struct epoll_event events[256];
        int count = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < count; i++)
            answer(events[i].data.fd);
    }
    printf("{\"datagrams\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"unsent\": %" PRIu64 "}\n",
           datagrams, bytes_in, unsent);
    return 0;
}
