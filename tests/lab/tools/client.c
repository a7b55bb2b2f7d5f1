/* SPDX-License-Identifier: MIT */
/* One connection through a SOCKS5 proxy, with blocking sockets and time-outs, and what comes with
 * it. */
#include "load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int read_full(int fd, void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, (uint8_t *)bytes + done, len - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

int write_full(int fd, const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, (const uint8_t *)bytes + done, len - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

long read_header(int fd, uint8_t *buffer, size_t cap, size_t *have)
{
    *have = 0;
    while (*have < cap) {
        ssize_t n = read(fd, buffer + *have, cap - *have);
        if (n <= 0)
            return -1;
        *have += (size_t)n;
        const uint8_t *end = memmem(buffer, *have, "\r\n\r\n", 4);
        if (end)
            return (long)(end + 4 - buffer);
    }
    return -1;
}

size_t put_address(uint8_t *out, const char *host)
{
    if (inet_pton(AF_INET, host, out + 1) == 1) {
        out[0] = 1;
        return 5;
    }
    if (inet_pton(AF_INET6, host, out + 1) == 1) {
        out[0] = 4;
        return 17;
    }
    size_t len = strnlen(host, 255);
    out[0] = 3;
    out[1] = (uint8_t)len;
    memcpy(out + 2, host, len);
    return 2 + len;
}

static int ask_proxy(int fd, const struct target *target)
{
    uint8_t message[300] = {5, 1, 0};
    if (write_full(fd, message, 3) < 0 || read_full(fd, message, 2) < 0 || message[1] != 0)
        return -1;
    memcpy(message, (uint8_t[]){5, 1, 0}, 3);
    size_t len = 3 + put_address(message + 3, target->host);
    message[len++] = (uint8_t)(target->port >> 8);
    message[len++] = (uint8_t)target->port;
    if (write_full(fd, message, len) < 0 || read_full(fd, message, 4) < 0 || message[1] != 0)
        return -1;
    return read_full(fd, message, message[3] == 1 ? 6 : 18);
}

static int connect_to(const char *host, uint16_t port, int timeout_s)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct timeval timeout = {timeout_s, 0};
    const int on = 1;
    int is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return -1;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int result = is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
                       : connect(fd, (struct sockaddr *)&v6, sizeof v6);
    if (result == 0)
        return fd;
    close(fd);
    return -1;
}

int dial(const struct target *target)
{
    if (target->socks_port == 0)
        return connect_to(target->host, target->port, target->timeout_s);
    int fd = connect_to("127.0.0.1", target->socks_port, target->timeout_s);
    if (fd >= 0 && ask_proxy(fd, target) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}
