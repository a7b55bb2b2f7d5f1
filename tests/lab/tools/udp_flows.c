/* SPDX-License-Identifier: MIT */
/* Many UDP flows at fixed rates, directly or through SOCKS5 UDP ASSOCIATE, and what came of them.
 * One thread: sends by the clock, takes answers in between. */
#include "load.h"
#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_MAX = 3 + 257 + 2, SOCKET_BUFFER = 8 << 20, SENDS_PER_TURN = 64 };
enum { PROXY_TIMEOUT_S = 10 };

struct flow {
    int fd;
    int control;       /* the TCP connection of its association, -1 if it has none of its own */
    uint32_t received; /* duplicates not counted */
    uint8_t *seen;     /* a bit for each datagram */
};

struct run {
    const struct flows *plan;
    struct flow *flows;
    int poller;
    uint32_t per_flow; /* datagrams */
    uint32_t first;    /* of a flow that counts */
    uint64_t total;    /* datagrams of all flows */
    uint64_t next;     /* the datagram to be sent next, of all */
    uint64_t start;    /* ns */
    uint64_t sent, unsent, received, duplicates, damaged;
    uint64_t warm_sent, warm_received;
    float *rtt; /* ms, of each that was received */
    uint8_t out[HEADER_MAX + DATAGRAM_MAX], in[HEADER_MAX + DATAGRAM_MAX + 1];
};

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        abort();
    return memory;
}

/* ---- opening */

static int udp_socket(const struct sockaddr *to, socklen_t len)
{
    const int buffer = SOCKET_BUFFER;
    int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    if (connect(fd, to, len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* From SOCKS5's type of address (1 or 4), address and port. */
static int udp_socket_to(uint8_t type, const uint8_t *address, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (type == 4) {
        memcpy(&v6.sin6_addr, address, 16);
        return udp_socket((struct sockaddr *)&v6, sizeof v6);
    }
    memcpy(&v4.sin_addr, address, 4);
    if (v4.sin_addr.s_addr == 0) /* "where you found me" */
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return udp_socket((struct sockaddr *)&v4, sizeof v4);
}

static int open_direct(const struct run *run, unsigned index)
{
    uint8_t address[257];
    put_address(address, run->plan->host);
    if (address[0] == 3)
        return -1;
    uint16_t port = (uint16_t)(run->plan->port + index % run->plan->ports);
    return udp_socket_to(address[0], address + 1, port);
}

/* The association's socket, and in `control` its TCP connection. */
static int open_associated(const struct run *run, int *control)
{
    static const uint8_t associate[] = {5, 3, 0, 1, 0, 0, 0, 0, 0, 0};
    uint8_t reply[4 + 16 + 2] = {5, 1, 0};
    struct target proxy = {0, "127.0.0.1", run->plan->socks_port, PROXY_TIMEOUT_S};
    *control = dial(&proxy);
    if (*control < 0)
        return -1;
    if (write_full(*control, reply, 3) < 0 || read_full(*control, reply, 2) < 0 || reply[1] != 0 ||
        write_full(*control, associate, sizeof associate) < 0 ||
        read_full(*control, reply, 4) < 0 || reply[1] != 0 || (reply[3] != 1 && reply[3] != 4))
        return -1;
    size_t len = reply[3] == 1 ? 4 : 16;
    if (read_full(*control, reply + 4, len + 2) < 0)
        return -1;
    uint16_t port = (uint16_t)(reply[4 + len] << 8 | reply[5 + len]);
    return udp_socket_to(reply[3], reply + 4, port);
}

static int open_flow(struct run *run, unsigned index)
{
    struct flow *flow = &run->flows[index];
    flow->control = -1;
    flow->seen = zeroed(run->per_flow / 8 + 1, 1);
    if (run->plan->shared && index > 0) {
        flow->fd = run->flows[0].fd;
        return 0;
    }
    flow->fd =
        run->plan->socks_port ? open_associated(run, &flow->control) : open_direct(run, index);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = flow->fd};
    return flow->fd < 0 ? -1 : epoll_ctl(run->poller, EPOLL_CTL_ADD, flow->fd, &event);
}

/* ---- sending and receiving */

static size_t put_header(const struct run *run, unsigned index, uint8_t *out)
{
    if (run->plan->socks_port == 0)
        return 0;
    uint16_t port = (uint16_t)(run->plan->port + index % run->plan->ports);
    memset(out, 0, 3);
    size_t len = 3 + put_address(out + 3, run->plan->host);
    out[len++] = (uint8_t)(port >> 8);
    out[len++] = (uint8_t)port;
    return len;
}

static size_t size_of(const struct run *run, uint64_t number)
{
    uint64_t span = run->plan->size_max - run->plan->size_min + 1;
    return run->plan->size_min + (size_t)(number * 7919 % span);
}

static void send_one(struct run *run)
{
    unsigned index = (unsigned)(run->next % run->plan->count);
    uint32_t number = (uint32_t)(run->next / run->plan->count);
    size_t header = put_header(run, index, run->out), len = size_of(run, run->next);
    datagram_make(run->out + header, len, index, number, now_ns());
    bool counts = number >= run->first;
    if (send(run->flows[index].fd, run->out, header + len, 0) == (ssize_t)(header + len))
        *(counts ? &run->sent : &run->warm_sent) += 1;
    else
        run->unsent += counts;
    run->next++;
}

static uint64_t due(const struct run *run, uint64_t number)
{
    double seconds = (double)number / (run->plan->rate * run->plan->count);
    return run->start + (uint64_t)(seconds * 1e9);
}

static void take(struct run *run, int fd, size_t len)
{
    struct datagram front;
    uint8_t header[HEADER_MAX];
    size_t skip = run->plan->socks_port ? put_header(run, 0, header) : 0;
    if (len < skip || !datagram_check(run->in + skip, len - skip, &front) ||
        front.flow >= run->plan->count || front.number >= run->per_flow ||
        run->flows[front.flow].fd != fd ||
        memcmp(run->in, header, put_header(run, front.flow, header)) != 0) {
        run->damaged++;
        return;
    }
    struct flow *flow = &run->flows[front.flow];
    uint8_t bit = (uint8_t)(1u << (front.number & 7));
    if (flow->seen[front.number / 8] & bit) {
        run->duplicates++;
        return;
    }
    flow->seen[front.number / 8] |= bit;
    if (front.number < run->first) {
        run->warm_received++;
        return;
    }
    flow->received++;
    run->rtt[run->received++] = (float)((double)(now_ns() - front.time) / 1e6);
}

static void take_all(struct run *run)
{
    struct epoll_event events[256];
    int count = epoll_wait(run->poller, events, 256, 0);
    for (int i = 0; i < count; i++) {
        for (int fd = events[i].data.fd;;) {
            ssize_t n = recv(fd, run->in, sizeof run->in, 0);
            if (n >= 0)
                take(run, fd, (size_t)n);
            else if (errno != ECONNREFUSED) /* of one that was sent before; more may wait */
                break;
        }
    }
}

static bool all_back(const struct run *run)
{
    return run->received == run->sent && run->warm_received == run->warm_sent;
}

static void send_and_take(struct run *run)
{
    run->start = now_ns();
    uint64_t end = due(run, run->total) + (uint64_t)(run->plan->linger * 1e9);
    for (;;) {
        for (int i = 0; i < SENDS_PER_TURN && run->next < run->total; i++) {
            if (due(run, run->next) > now_ns())
                break;
            send_one(run);
        }
        take_all(run);
        uint64_t now = now_ns(), wake = run->next < run->total ? due(run, run->next) : end;
        if (run->next == run->total && (now >= end || all_back(run)))
            return;
        uint64_t wait = wake > now ? wake - now : 0;
        struct pollfd readable = {.fd = run->poller, .events = POLLIN};
        ppoll(&readable, 1,
              &(struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)}, NULL);
    }
}

/* ---- the whole */

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* When the first and the last datagram that did not come back was to be sent, in ms from the
 * beginning; -1 if all came. */
static void lost_between(const struct run *run, double *first, double *last)
{
    *first = *last = -1;
    for (uint64_t i = 0; i < run->next; i++) {
        const struct flow *flow = &run->flows[i % run->plan->count];
        uint64_t number = i / run->plan->count;
        if (flow->seen[number / 8] >> (number & 7) & 1)
            continue;
        *last = (double)(due(run, i) - run->start) / 1e6;
        if (*first < 0)
            *first = *last;
    }
}

static int report(struct run *run)
{
    unsigned silent = 0;
    for (unsigned i = 0; i < run->plan->count; i++)
        silent += run->flows[i].received == 0;
    double first_lost, last_lost;
    lost_between(run, &first_lost, &last_lost);
    if (run->received > 0)
        qsort(run->rtt, run->received, sizeof run->rtt[0], compare);
    uint64_t last = run->received > 0 ? run->received - 1 : 0;
    printf("{\"flows\": %u, \"sent\": %" PRIu64 ", \"unsent\": %" PRIu64 ", \"received\": %" PRIu64
           ", \"percent\": %.2f, \"duplicates\": %" PRIu64 ", \"damaged\": %" PRIu64
           ", \"silent\": %u, \"lost_from_ms\": %.0f, \"lost_to_ms\": %.0f, \"p50_ms\": %.3f, "
           "\"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           run->plan->count, run->sent, run->unsent, run->received,
           run->sent ? 100.0 * (double)run->received / (double)run->sent : 0, run->duplicates,
           run->damaged, silent, first_lost, last_lost, (double)run->rtt[last / 2],
           (double)run->rtt[last * 99 / 100], (double)run->rtt[last]);
    return run->damaged > 0;
}

int flows_run(const struct flows *flows)
{
    static struct run the_run;
    struct run *run = &the_run;
    run->plan = flows;
    run->flows = zeroed(flows->count, sizeof *run->flows);
    run->first = (uint32_t)(flows->rate * flows->warmup);
    run->per_flow = run->first + (uint32_t)(flows->rate * flows->seconds);
    if (run->per_flow == run->first)
        run->per_flow++;
    run->total = (uint64_t)run->per_flow * flows->count;
    run->rtt = zeroed(run->total, sizeof *run->rtt);
    run->poller = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < flows->count; i++) {
        if (open_flow(run, i) < 0) {
            fprintf(stderr, "lab-udp: flow %u of %u could not be opened\n", i + 1, flows->count);
            return 1;
        }
    }
    fputs("ready\n", stderr);
    send_and_take(run);
    return report(run);
}
