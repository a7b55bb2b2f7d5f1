/* SPDX-License-Identifier: MIT */
/* What the load client can do, each mode with one thread per parallel connection, and its report.
 */
#include "load.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_MAX = 1024, PIECE = 128 << 10, PING_SIZE = 64, PING_PAUSE_US = 10000 };
enum { RATE_BYTES = 1024, PUT_BYTES = 16 << 20 };

struct worker {
    pthread_t thread;
    const struct plan *plan;
    /* One connection from dialling to its end. Returns 0, or -1 if it failed. */
    int (*once)(struct worker *);
    double end; /* seconds, of now_s() */
    uint64_t bytes, done, failed;
    double *latency; /* seconds each */
    size_t latencies, capacity;
    uint8_t *piece; /* PIECE bytes */
};

static atomic_uint_fast64_t tickets; /* connections left to start, if the plan counts them */

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_latency(struct worker *worker, double seconds)
{
    if (worker->latencies == worker->capacity) {
        worker->capacity = worker->capacity ? worker->capacity * 2 : 1024;
        worker->latency = realloc(worker->latency, worker->capacity * sizeof(double));
        if (!worker->latency)
            abort();
    }
    worker->latency[worker->latencies++] = seconds;
}

/* Downloads `size` bytes of the pattern and checks each of them. */
static int fetch(struct worker *worker, int fd, uint64_t size)
{
    char request[64];
    size_t have;
    int len = snprintf(request, sizeof request, "GET /%" PRIu64 " HTTP/1.1\r\n\r\n", size);
    if (write_full(fd, request, (size_t)len) < 0)
        return -1;
    long header = read_header(fd, worker->piece, HEADER_MAX, &have);
    if (header < 0)
        return -1;
    have -= (size_t)header;
    if (pattern_match(worker->piece + header, have, 0) != have)
        return -1;
    uint64_t offset = have;
    while (offset < size) {
        ssize_t n = read(fd, worker->piece, PIECE);
        if (n <= 0 || pattern_match(worker->piece, (size_t)n, offset) != (size_t)n)
            return -1;
        offset += (uint64_t)n;
    }
    worker->bytes += offset;
    return offset == size ? 0 : -1;
}

/* Reads the origin's answer to an upload. Returns 0 if it reports `size` and `sum`. */
static int check_answer(int fd, uint64_t size, uint64_t sum)
{
    char text[HEADER_MAX], expected[96];
    size_t have;
    long header = read_header(fd, (uint8_t *)text, sizeof text - 1, &have);
    if (header < 0)
        return -1;
    for (ssize_t n; have < sizeof text - 1; have += (size_t)n)
        if ((n = read(fd, text + have, sizeof text - 1 - have)) <= 0)
            break;
    text[have] = 0;
    snprintf(expected, sizeof expected, "{\"bytes\": %" PRIu64 ", \"sum\": \"%016" PRIx64 "\"}\n",
             size, sum);
    return strcmp(text + header, expected) == 0 ? 0 : -1;
}

static int begin_upload(int fd, const char *path, uint64_t size)
{
    char text[128];
    int len = snprintf(text, sizeof text, "PUT %s HTTP/1.1\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                       path, size);
    return write_full(fd, text, (size_t)len);
}

/* Uploads `size` bytes of the pattern; the origin must have got them with the same checksum. */
static int upload(struct worker *worker, int fd, uint64_t size)
{
    uint64_t sum = CHECKSUM_START;
    if (begin_upload(fd, "/sum", size) < 0)
        return -1;
    for (uint64_t offset = 0; offset < size;) {
        size_t piece = size - offset < PIECE ? (size_t)(size - offset) : PIECE;
        pattern_fill(worker->piece, piece, offset);
        sum = checksum_add(sum, worker->piece, piece);
        if (write_full(fd, worker->piece, piece) < 0)
            return -1;
        offset += piece;
    }
    if (check_answer(fd, size, sum) < 0)
        return -1;
    worker->bytes += size;
    return 0;
}

/* Uploads `size` bytes that nobody checks, so that the measurement is not of the checksum. */
static int upload_unchecked(struct worker *worker, int fd, uint64_t size)
{
    if (begin_upload(fd, "/", size) < 0)
        return -1;
    for (uint64_t left = size; left > 0;) {
        size_t piece = left < PIECE ? (size_t)left : PIECE;
        if (write_full(fd, worker->piece, piece) < 0)
            return -1;
        left -= piece;
    }
    if (check_answer(fd, size, 0) < 0)
        return -1;
    worker->bytes += size;
    return 0;
}

static int with_connection(struct worker *worker, int (*job)(struct worker *, int, uint64_t),
                           uint64_t size)
{
    int fd = dial(&worker->plan->target);
    if (fd < 0)
        return -1;
    int result = job(worker, fd, size);
    close(fd);
    return result;
}

static int once_fetch(struct worker *worker)
{
    return with_connection(worker, fetch, worker->plan->bytes);
}

static int once_send(struct worker *worker)
{
    return with_connection(worker, upload, worker->plan->bytes);
}

static int once_put(struct worker *worker)
{
    return with_connection(worker, upload_unchecked, PUT_BYTES);
}

static int once_rate(struct worker *worker)
{
    double start = now_s();
    if (with_connection(worker, fetch, RATE_BYTES) < 0)
        return -1;
    note_latency(worker, now_s() - start);
    return 0;
}

static int endless(struct worker *worker, int fd, uint64_t unused)
{
    (void)unused;
    if (write_full(fd, "GET /inf HTTP/1.1\r\n\r\n", 21) < 0)
        return -1;
    while (now_s() < worker->end) {
        ssize_t n = read(fd, worker->piece, PIECE);
        if (n <= 0)
            return -1;
        worker->bytes += (uint64_t)n;
    }
    return 0;
}

static int once_get(struct worker *worker)
{
    return with_connection(worker, endless, 0);
}

static int ping(struct worker *worker, int fd, uint64_t unused)
{
    uint8_t out[PING_SIZE] = {0}, in[PING_SIZE];
    (void)unused;
    if (write_full(fd, "ECHO\r\n\r\n", 8) < 0)
        return -1;
    /* The first exchange pays for the connection to the origin and does not count. */
    for (uint8_t round = 0; now_s() < worker->end; round++) {
        memset(out, round, sizeof out);
        double start = now_s();
        if (write_full(fd, out, sizeof out) < 0 || read_full(fd, in, sizeof in) < 0 ||
            memcmp(in, out, sizeof in) != 0)
            return -1;
        if (worker->bytes > 0)
            note_latency(worker, now_s() - start);
        worker->bytes += sizeof in;
        usleep(PING_PAUSE_US);
    }
    return 0;
}

static int once_ping(struct worker *worker)
{
    return with_connection(worker, ping, 0);
}

static bool take_ticket(const struct worker *worker)
{
    if (worker->plan->count == 0)
        return now_s() < worker->end;
    uint_fast64_t left = atomic_load(&tickets);
    while (left > 0)
        if (atomic_compare_exchange_weak(&tickets, &left, left - 1))
            return true;
    return false;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    while (take_ticket(worker)) {
        if (worker->once(worker) == 0) {
            worker->done++;
        } else {
            worker->failed++;
            usleep(1000);
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Adds the workers up into `sum`, whose latencies come out sorted. */
static void add_up(struct worker *workers, unsigned count, struct worker *sum)
{
    for (unsigned i = 0; i < count; i++) {
        sum->bytes += workers[i].bytes;
        sum->done += workers[i].done;
        sum->failed += workers[i].failed;
        for (size_t k = 0; k < workers[i].latencies; k++)
            note_latency(sum, workers[i].latency[k]);
        free(workers[i].latency);
        free(workers[i].piece);
    }
    if (sum->latencies > 0)
        qsort(sum->latency, sum->latencies, sizeof(double), compare);
}

static double percentile_ms(const struct worker *sum, size_t percent)
{
    return sum->latencies ? sum->latency[sum->latencies * percent / 100] * 1e3 : 0;
}

static int run_workers(const char *mode, const struct plan *plan, int (*once)(struct worker *))
{
    struct worker *workers = calloc(plan->parallel, sizeof *workers);
    if (!workers)
        abort();
    double start = now_s();
    atomic_store(&tickets, plan->count);
    for (unsigned i = 0; i < plan->parallel; i++) {
        workers[i].plan = plan;
        workers[i].once = once;
        workers[i].end = start + plan->seconds;
        workers[i].piece = calloc(1, PIECE);
        if (!workers[i].piece || pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < plan->parallel; i++)
        pthread_join(workers[i].thread, NULL);
    double took = now_s() - start;

    struct worker sum = {0};
    add_up(workers, plan->parallel, &sum);
    printf("{\"mode\": \"%s\", \"parallel\": %u, \"seconds\": %.3f, \"ok\": %" PRIu64
           ", \"failed\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"mbps\": %.1f, \"per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
           mode, plan->parallel, took, sum.done, sum.failed, sum.bytes,
           (double)sum.bytes * 8 / took / 1e6, (double)sum.done / took, percentile_ms(&sum, 50),
           percentile_ms(&sum, 99));
    free(sum.latency);
    free(workers);
    return sum.failed > 0;
}

/* Opens plan->parallel connections one by one, uses each once and holds all for plan->seconds. */
static int run_idle(const struct plan *plan)
{
    struct worker worker = {.plan = plan, .piece = malloc(PIECE)};
    int *fds = calloc(plan->parallel, sizeof *fds);
    unsigned ok = 0;
    if (!worker.piece || !fds)
        abort();
    for (unsigned i = 0; i < plan->parallel; i++) {
        uint8_t out[PING_SIZE] = {1}, in[PING_SIZE];
        fds[i] = dial(&plan->target);
        ok += fds[i] >= 0 && write_full(fds[i], "ECHO\r\n\r\n", 8) == 0 &&
              write_full(fds[i], out, sizeof out) == 0 && read_full(fds[i], in, sizeof in) == 0;
    }
    printf("{\"mode\": \"idle\", \"asked\": %u, \"ok\": %u}\n", plan->parallel, ok);
    fflush(stdout);
    usleep((useconds_t)(plan->seconds * 1e6));
    for (unsigned i = 0; i < plan->parallel; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    free(worker.piece);
    return ok != plan->parallel;
}

int mode_run(const char *mode, const struct plan *plan)
{
    static const struct {
        const char *name;
        int (*once)(struct worker *);
    } modes[] = {
        {"get", once_get},     {"put", once_put},   {"rate", once_rate},
        {"fetch", once_fetch}, {"send", once_send}, {"ping", once_ping},
    };
    if (strcmp(mode, "idle") == 0)
        return run_idle(plan);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i].name) == 0)
            return run_workers(mode, plan, modes[i].once);
    return 2;
}
