/* SPDX-License-Identifier: MIT */
/* lab-crowd: thousands of connections from many addresses, as the phones behind a bridge make them.
 * Each sends bursts to an echo (lab-load origin), checks every byte that comes back, rests, and
 * goes on; in the end it half-closes and waits for the other end. See usage(). */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 16 << 10, TICK_MS = 20, OPENING_MAX = 256, EVENTS = 512, HEAVY_EACH = 50 };
#define HEAVY    (256u << 10) /* bytes of a heavy one's burst */
#define REST_MIN 0.5          /* seconds between two bursts */

static const char hello[] = "ECHO\r\n\r\n";

enum state { WAITING, OPENING, OPEN, CLOSING, DONE, FAILED };

struct phone { /* one connection */
    int fd;
    enum state state;
    unsigned greeted; /* bytes of the request that have gone */
    uint64_t sent, wanted, received;
    double next, begun; /* next burst; when this one began */
};

struct crowd {
    struct sockaddr_in target, from; /* the first source address; those after it follow */
    unsigned clients, n, opened, opening, open;
    double end, rests;
    int poller;
    struct phone *phones;
    uint64_t bytes, damaged, refused, cut, silent;
    double *latency;
    size_t latencies, capacity;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_latency(struct crowd *c, double seconds)
{
    if (c->latencies == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 4096;
        c->latency = realloc(c->latency, c->capacity * sizeof *c->latency);
        if (!c->latency)
            abort();
    }
    c->latency[c->latencies++] = seconds;
}

static void watch(const struct crowd *c, struct phone *p, int how)
{
    const bool more = p->sent < p->wanted || p->greeted < sizeof hello - 1;
    struct epoll_event e = {.events = EPOLLIN | (more ? EPOLLOUT : 0), .data.ptr = p};
    epoll_ctl(c->poller, how, p->fd, &e);
}

static void leave(struct crowd *c, struct phone *p, enum state state)
{
    c->opening -= p->state == OPENING;
    c->open -= p->state == OPEN || p->state == CLOSING;
    close(p->fd);
    p->state = state;
}

static void dial_one(struct crowd *c, struct phone *p)
{
    struct sockaddr_in from = c->from;
    const int on = 1;
    from.sin_addr.s_addr = htonl(ntohl(c->from.sin_addr.s_addr) + c->opened % c->clients);
    c->opened++;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(p->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        (connect(p->fd, (struct sockaddr *)&c->target, sizeof c->target) < 0 &&
         errno != EINPROGRESS)) {
        perror("lab-crowd: connect");
        exit(2);
    }
    p->state = OPENING;
    c->opening++;
    watch(c, p, EPOLL_CTL_ADD);
}

static void burst(const struct crowd *c, struct phone *p, double at)
{
    const unsigned index = (unsigned)(p - c->phones);
    p->wanted += index % HEAVY_EACH == 0 ? HEAVY : 200 + (unsigned)random() % 3000;
    p->begun = at;
    p->next = 0; /* once all is back */
    watch(c, p, EPOLL_CTL_MOD);
}

/* Returns -1 if the connection is broken. */
static int send_some(struct phone *p)
{
    uint8_t piece[PIECE];
    while (p->greeted < sizeof hello - 1) {
        ssize_t n = write(p->fd, hello + p->greeted, sizeof hello - 1 - p->greeted);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        p->greeted += (unsigned)n;
    }
    while (p->sent < p->wanted) {
        const uint64_t left = p->wanted - p->sent;
        const size_t len = left < sizeof piece ? (size_t)left : sizeof piece;
        pattern_fill(piece, len, p->sent);
        ssize_t n = write(p->fd, piece, len);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        p->sent += (uint64_t)n;
    }
    return 0;
}

static void take(struct crowd *c, struct phone *p, double at)
{
    uint8_t piece[4 * PIECE];
    ssize_t n = read(p->fd, piece, sizeof piece);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        const bool whole = n == 0 && p->state == CLOSING && p->received == p->wanted;
        c->cut += !whole;
        leave(c, p, whole ? DONE : FAILED);
        return;
    }
    if (pattern_match(piece, (size_t)n, p->received) != (size_t)n) {
        c->damaged++;
        leave(c, p, FAILED);
        return;
    }
    p->received += (uint64_t)n;
    c->bytes += (uint64_t)n;
    if (p->received == p->wanted && p->begun > 0) {
        note_latency(c, at - p->begun);
        p->begun = 0;
        p->next = at + REST_MIN + c->rests * (double)random() / RAND_MAX;
    }
}

static void serve(struct crowd *c, struct phone *p, uint32_t events, double at)
{
    if (p->state == OPENING) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            c->refused++;
            leave(c, p, FAILED);
            return;
        }
        c->opening--;
        c->open++;
        p->state = OPEN;
        burst(c, p, at);
    }
    if (events & EPOLLOUT && send_some(p) < 0) {
        c->cut++;
        leave(c, p, FAILED);
        return;
    }
    if (events & EPOLLOUT && p->sent == p->wanted)
        watch(c, p, EPOLL_CTL_MOD);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        take(c, p, at);
}

/* What is due, each tick. Returns whether there is more to come. */
static bool tick(struct crowd *c, double at)
{
    bool more = false;
    for (unsigned i = 0; i < c->n; i++) {
        struct phone *p = &c->phones[i];
        if (p->state == WAITING && c->opening < OPENING_MAX)
            dial_one(c, p);
        if (p->state == OPEN && at >= c->end && p->received == p->wanted) {
            p->state = CLOSING;
            shutdown(p->fd, SHUT_WR);
        } else if (p->state == OPEN && p->next > 0 && at >= p->next && at < c->end) {
            burst(c, p, at);
        }
        more = more || p->state < DONE;
    }
    return more;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct crowd *c, size_t percent)
{
    return c->latencies ? c->latency[(c->latencies - 1) * percent / 100] * 1e3 : 0;
}

static int report(struct crowd *c, double took)
{
    unsigned done = 0;
    for (unsigned i = 0; i < c->n; i++)
        done += c->phones[i].state == DONE;
    if (c->latencies)
        qsort(c->latency, c->latencies, sizeof *c->latency, compare);
    c->silent = c->n - done - c->refused - c->cut - c->damaged;
    printf("{\"connections\": %u, \"clients\": %u, \"whole\": %u, \"refused\": %" PRIu64
           ", \"cut\": %" PRIu64 ", \"damaged\": %" PRIu64 ", \"silent\": %" PRIu64
           ", \"bursts\": %zu, \"bytes\": %" PRIu64
           ", \"p50_ms\": %.1f, \"p99_ms\": %.1f, \"seconds\": %.1f}\n",
           c->n, c->clients, done, c->refused, c->cut, c->damaged, c->silent, c->latencies,
           c->bytes, percentile_ms(c, 50), percentile_ms(c, 99), took);
    return done != c->n;
}

static int run(struct crowd *c, double seconds, double patience)
{
    const double start = now();
    struct epoll_event events[EVENTS];
    bool said = false;
    c->end = start + 1e9;
    for (double at = start, ticked = 0; at < c->end + patience; at = now()) {
        if (at >= ticked + TICK_MS / 1e3) {
            ticked = at;
            if (!tick(c, at))
                break;
        }
        if (!said && c->opened == c->n && !c->opening) {
            said = true;
            c->end = at + seconds;
            fprintf(stderr, "open %u\n", c->open);
        }
        if (!said && at > start + patience)
            break;
        int n = epoll_wait(c->poller, events, EVENTS, TICK_MS);
        at = now();
        for (int i = 0; i < n; i++)
            serve(c, events[i].data.ptr, events[i].events, at);
    }
    return report(c, now() - start);
}

static void usage(void)
{
    fputs("usage: lab-crowd CONNECTIONS CLIENTS FIRST-ADDRESS SECONDS REST HOST PORT\n"
          "So many connections from so many addresses, FIRST-ADDRESS and those after it, to the\n"
          "echo at HOST PORT, all of them at once for SECONDS; a burst from each every REST s or\n"
          "so. When all are open, it says so on stderr; at the end one line of JSON on stdout;\n"
          "exit code 1 if anything was lost.\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    struct crowd c = {.target.sin_family = AF_INET, .from.sin_family = AF_INET};
    if (argc != 8)
        usage();
    c.n = (unsigned)atoi(argv[1]);
    c.clients = (unsigned)atoi(argv[2]);
    c.rests = atof(argv[5]);
    c.target.sin_port = htons((uint16_t)atoi(argv[7]));
    if (!c.n || !c.clients || inet_pton(AF_INET, argv[3], &c.from.sin_addr) != 1 ||
        inet_pton(AF_INET, argv[6], &c.target.sin_addr) != 1)
        usage();
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    c.poller = epoll_create1(EPOLL_CLOEXEC);
    c.phones = calloc(c.n, sizeof *c.phones);
    if (!c.phones)
        abort();
    int result = run(&c, atof(argv[4]), 60);
    free(c.phones);
    free(c.latency);
    return result;
}
