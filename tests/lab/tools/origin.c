/* SPDX-License-Identifier: MIT */
/* The traffic origin: one epoll loop that serves downloads, swallows uploads and echoes. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, PIECE = 256 << 10, ROUNDS = 4 };

enum job { REQUEST, DOWNLOAD, ENDLESS, UPLOAD, ECHO, ANSWER };

struct client {
    int fd;
    enum job job;
    uint64_t done;  /* DOWNLOAD: bytes written; UPLOAD: bytes taken */
    uint64_t total; /* of DOWNLOAD or UPLOAD */
    bool summed;    /* UPLOAD: `sum` is wanted */
    uint64_t sum;
    size_t have; /* bytes in `text` */
    size_t sent; /* of `text`, where it waits to be written */
    uint8_t text[REQUEST_MAX];
};

static volatile sig_atomic_t stopped;
static uint8_t zeros[PIECE];

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static bool would_block(ssize_t result)
{
    return result < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Writes what waits in `text`. Returns 1 when all is out, 0 to wait, -1 on an error. */
static int flush_text(struct client *client)
{
    while (client->sent < client->have) {
        ssize_t n = write(client->fd, client->text + client->sent, client->have - client->sent);
        if (n < 0)
            return would_block(n) ? 0 : -1;
        client->sent += (size_t)n;
    }
    return 1;
}

static void set_text(struct client *client, int len)
{
    client->sent = 0;
    client->have = (size_t)len;
}

static void answer_upload(struct client *client)
{
    char body[96];
    int len = snprintf(body, sizeof body, "{\"bytes\": %" PRIu64 ", \"sum\": \"%016" PRIx64 "\"}\n",
                       client->done, client->sum);
    client->job = ANSWER;
    set_text(client, snprintf((char *)client->text, sizeof client->text,
                              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n"
                              "Content-Type: application/json\r\n\r\n%s",
                              len, body));
}

static void begin_upload(struct client *client, size_t header_len)
{
    const char *field = strcasestr((char *)client->text, "\r\nContent-Length:");
    client->total = field ? strtoull(field + 17, NULL, 10) : 0;
    client->job = UPLOAD;
    client->done = client->have - header_len;
    client->summed = memcmp(client->text, "PUT /sum", 8) == 0;
    client->sum = client->summed ? CHECKSUM_START : 0;
    if (client->summed)
        client->sum = checksum_add(client->sum, client->text + header_len, client->done);
    set_text(client, 0);
    if (client->done >= client->total)
        answer_upload(client);
}

static void begin_download(struct client *client)
{
    const char *text = (const char *)client->text + 5;
    char *end;
    uint64_t size = strtoull(text, &end, 10);
    if (strncmp(text, "inf", 3) == 0) {
        client->job = ENDLESS;
        set_text(client, snprintf((char *)client->text, sizeof client->text,
                                  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
        return;
    }
    size <<= *end == 'k' ? 10 : *end == 'm' ? 20 : *end == 'g' ? 30 : 0;
    client->job = DOWNLOAD;
    client->total = size;
    set_text(client,
             snprintf((char *)client->text, sizeof client->text,
                      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                      size));
}

/* Returns 0 to wait for more of the request or once it was understood, -1 to hang up. */
static int take_request(struct client *client)
{
    ssize_t n = read(client->fd, client->text + client->have, REQUEST_MAX - 1 - client->have);
    if (n <= 0)
        return would_block(n) ? 0 : -1;
    client->have += (size_t)n;
    client->text[client->have] = 0;
    const char *end = strstr((char *)client->text, "\r\n\r\n");
    if (!end)
        return client->have < REQUEST_MAX - 1 ? 0 : -1;
    size_t header_len = (size_t)(end + 4 - (char *)client->text);
    if (memcmp(client->text, "GET /", 5) == 0) {
        begin_download(client);
    } else if (memcmp(client->text, "PUT /", 5) == 0) {
        begin_upload(client, header_len);
    } else if (memcmp(client->text, "ECHO", 4) == 0) {
        client->job = ECHO;
        client->sent = header_len;
    } else {
        return -1;
    }
    return 0;
}

/* Returns 0 to be called again when the socket is writable, -1 to hang up (also at the end). */
static int serve_download(struct client *client)
{
    uint8_t piece[64 << 10];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t left = client->total - client->done;
        if (left == 0)
            return -1;
        size_t len = left < sizeof piece ? (size_t)left : sizeof piece;
        pattern_fill(piece, len, client->done);
        ssize_t n = write(client->fd, piece, len);
        if (n < 0)
            return would_block(n) ? 0 : -1;
        client->done += (uint64_t)n;
        if ((size_t)n < len)
            return 0;
    }
    return 0;
}

static int serve_endless(struct client *client)
{
    for (int round = 0; round < ROUNDS; round++) {
        ssize_t n = write(client->fd, zeros, sizeof zeros);
        if (n < 0)
            return would_block(n) ? 0 : -1;
    }
    return 0;
}

static int take_upload(struct client *client)
{
    static uint8_t piece[PIECE];
    for (int round = 0; round < ROUNDS; round++) {
        ssize_t n = read(client->fd, piece, sizeof piece);
        if (n <= 0)
            return would_block(n) ? 0 : -1;
        if (client->summed)
            client->sum = checksum_add(client->sum, piece, (size_t)n);
        client->done += (uint64_t)n;
        if (client->done >= client->total) {
            answer_upload(client);
            return 0;
        }
    }
    return 0;
}

static int serve_echo(struct client *client)
{
    if (client->sent == client->have) {
        ssize_t n = read(client->fd, client->text, sizeof client->text);
        if (n <= 0)
            return would_block(n) ? 0 : -1;
        set_text(client, (int)n);
    }
    return flush_text(client) < 0 ? -1 : 0;
}

static int serve(struct client *client, uint32_t events)
{
    if (client->job == REQUEST && take_request(client) < 0)
        return -1;
    switch (client->job) {
    case REQUEST:
        return 0;
    case UPLOAD:
        return take_upload(client);
    case ECHO:
        return serve_echo(client);
    default:
        break;
    }
    if (events & (EPOLLHUP | EPOLLERR))
        return -1;
    int flushed = flush_text(client);
    if (flushed <= 0)
        return flushed;
    if (client->job == DOWNLOAD)
        return serve_download(client);
    return client->job == ENDLESS ? serve_endless(client) : -1;
}

static uint32_t wanted(const struct client *client)
{
    switch (client->job) {
    case DOWNLOAD:
    case ENDLESS:
    case ANSWER:
        return EPOLLOUT;
    case ECHO:
        return client->sent < client->have ? EPOLLOUT : EPOLLIN;
    default:
        return EPOLLIN;
    }
}

static void accept_all(int poller, int listener)
{
    const int on = 1;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): epoll carries the pointer */
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct client *client = calloc(1, sizeof *client);
        if (!client)
            abort();
        client->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
            close(fd);
            free(client);
        }
    }
}

static int open_listener(uint16_t port)
{
    const int on = 1, off = 0;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) {
        perror("lab-load: origin");
        exit(1);
    }
    return fd;
}

static void handle(int poller, const struct epoll_event *happened)
{
    struct client *client = happened->data.ptr;
    uint32_t before = wanted(client);
    if (serve(client, happened->events) < 0) {
        close(client->fd);
        free(client);
    } else if (wanted(client) != before) {
        struct epoll_event event = {.events = wanted(client), .data.ptr = client};
        epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    }
}

int origin_run(uint16_t port, unsigned max_seconds)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    alarm(max_seconds);

    int listener = open_listener(port), poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    fputs("ready\n", stderr);
    while (!stopped) {
        struct epoll_event events[256];
        int count = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                handle(poller, &events[i]);
            else
                accept_all(poller, listener);
        }
    }
    return 0;
}
