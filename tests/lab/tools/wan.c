/* SPDX-License-Identifier: MIT */
/* lab-wan: a user-space WAN between two interfaces of one network namespace.
 *
 * Every frame that comes in on one interface leaves on the other. Each direction is one link: a
 * drop-tail queue drained at a rate, then a propagation delay. Faults (loss, corruption,
 * duplication, reordering) are drawn from one generator per direction, so a seed gives the same
 * fate to the n-th packet of a direction. It may kill TCP flows over IPv4, as boxes do that police
 * them; else it knows nothing about what it carries. One thread.
 *
 * Prints "ready" on stderr once both interfaces are open, and one line of JSON with the counters
 * on stdout when it ends: by SIGTERM, SIGINT or after --max-seconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 64,
    FRAME_MAX = 65536,       /* a frame that offload glued together arrives whole */
    ETHERNET_HEADER = 14,    /* never corrupted: the link would lose the frame */
    BACKLOG_MAX = 256 << 20, /* bytes in flight and queued, per direction */
    SEND_RETRIES = 1000,
};

#define NS_PER_MS 1e6
#define NS_PER_S  1000000000ull

struct settings {
    double delay_ns;
    double jitter_ns;
    double queue_ns;
    double bytes_per_ns; /* 0: no limit */
    double loss;         /* probabilities, 0..1 */
    double reorder;
    double duplicate;
    double corrupt;
    uint64_t seed;
    uint64_t max_seconds;
    double kill_ns; /* of a flow, told apart by the port at the first interface's side; 0 = never */
    double kill_bytes;
    bool kill_way[2]; /* of links[0] and links[1] */
};

static struct flow { /* by its port */
    uint64_t first, bytes;
} flows[65536];

struct packet {
    uint64_t due; /* ns; when it leaves */
    uint64_t order;
    uint32_t len;
    uint8_t *bytes;
};

/* One direction. `heap` is a binary min-heap by (due, order). */
struct link {
    const char *from;
    const char *to;
    bool back; /* towards the first interface */
    int in_fd;
    int out_fd;
    struct packet *heap;
    size_t count;
    size_t capacity;
    size_t backlog;      /* bytes in the heap */
    uint64_t busy_until; /* ns; when the last byte accepted so far has been serialised */
    uint64_t last_due;
    uint64_t next_order;
    uint64_t random;
    uint64_t in, out, out_bytes, lost, queue_dropped, send_dropped;
    uint64_t duplicated, reordered, corrupted, killed;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t draw(struct link *link) /* splitmix64 */
{
    uint64_t z = (link->random += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double draw_unit(struct link *link)
{
    return (double)(draw(link) >> 11) * 0x1p-53;
}

static bool happens(struct link *link, double probability)
{
    return probability > 0 && draw_unit(link) < probability;
}

static bool leaves_before(const struct packet *a, const struct packet *b)
{
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void heap_push(struct link *link, struct packet packet)
{
    if (link->count == link->capacity) {
        link->capacity = link->capacity ? link->capacity * 2 : 1024;
        link->heap = realloc(link->heap, link->capacity * sizeof *link->heap);
        if (!link->heap)
            abort();
    }
    size_t i = link->count++;
    while (i > 0 && leaves_before(&packet, &link->heap[(i - 1) / 2])) {
        link->heap[i] = link->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    link->heap[i] = packet;
    link->backlog += packet.len;
}

static struct packet heap_pop(struct link *link)
{
    struct packet *heap = link->heap;
    struct packet top = heap[0];
    struct packet last = heap[--link->count];
    size_t i = 0;
    for (size_t child = 1; child < link->count; child = 2 * i + 1) {
        if (child + 1 < link->count && leaves_before(&heap[child + 1], &heap[child]))
            child++;
        if (!leaves_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    link->backlog -= top.len;
    return top;
}

/* When a frame of `len` bytes that arrived at `now` leaves the far end of the link; 0 if the queue
 * has no room for it. Jitter never changes the order of packets; --reorder does. */
static uint64_t schedule(struct link *link, const struct settings *set, uint32_t len, uint64_t now)
{
    uint64_t departs = now;
    if (link->backlog + len > BACKLOG_MAX)
        return 0;
    if (set->bytes_per_ns > 0) {
        uint64_t start = link->busy_until > now ? link->busy_until : now;
        if ((double)(start - now) > set->queue_ns)
            return 0;
        departs = start + (uint64_t)((double)len / set->bytes_per_ns);
        link->busy_until = departs;
    }
    uint64_t due = departs + (uint64_t)set->delay_ns;
    if (set->jitter_ns > 0)
        due += (uint64_t)(draw_unit(link) * set->jitter_ns);
    if (happens(link, set->reorder)) {
        link->reordered++;
        return due + (uint64_t)(set->delay_ns > 4 * NS_PER_MS ? set->delay_ns / 2 : 2 * NS_PER_MS);
    }
    if (due < link->last_due)
        due = link->last_due;
    link->last_due = due;
    return due;
}

static void accept_copy(struct link *link, const struct settings *set, const uint8_t *frame,
                        uint32_t len, uint64_t now)
{
    if (happens(link, set->loss)) {
        link->lost++;
        return;
    }
    uint64_t due = schedule(link, set, len, now);
    if (due == 0) {
        link->queue_dropped++;
        return;
    }
    struct packet packet = {due, link->next_order++, len, malloc(len)};
    if (!packet.bytes)
        abort();
    memcpy(packet.bytes, frame, len);
    if (len > ETHERNET_HEADER && happens(link, set->corrupt)) {
        uint64_t bit = draw(link) % ((uint64_t)(len - ETHERNET_HEADER) * 8);
        packet.bytes[ETHERNET_HEADER + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        link->corrupted++;
    }
    heap_push(link, packet);
}

/* The flow of a TCP segment over IPv4, or NULL. */
static struct flow *flow_of(const struct link *link, const uint8_t *frame, uint32_t len)
{
    const uint8_t *ip = frame + ETHERNET_HEADER;
    if (len < ETHERNET_HEADER + 20 + 20 || frame[12] != 8 || frame[13] != 0 || ip[9] != 6)
        return NULL;
    const uint8_t *port = ip + 4 * (size_t)(ip[0] & 15) + (link->back ? 2 : 0);
    return port + 2 <= frame + len ? &flows[port[0] << 8 | port[1]] : NULL;
}

static bool is_killed(struct link *link, const struct settings *set, const uint8_t *frame,
                      uint32_t len, uint64_t now)
{
    struct flow *flow = set->kill_ns > 0 || set->kill_bytes > 0 ? flow_of(link, frame, len) : NULL;
    if (!flow)
        return false;
    flow->first = flow->first ? flow->first : now;
    flow->bytes += len;
    const bool dead = (set->kill_ns > 0 && (double)(now - flow->first) >= set->kill_ns) ||
                      (set->kill_bytes > 0 && (double)flow->bytes >= set->kill_bytes);
    const bool killed = dead && set->kill_way[link->back];
    link->killed += killed;
    return killed;
}

/* Takes what waits on the incoming interface, but not for ever: the other direction waits too. */
static void receive(struct link *link, const struct settings *set)
{
    static uint8_t frames[BATCH][FRAME_MAX];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];

    for (int round = 0; round < 8; round++) {
        memset(messages, 0, sizeof messages);
        for (size_t i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){frames[i], FRAME_MAX};
            messages[i].msg_hdr.msg_iov = &vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int received = recvmmsg(link->in_fd, messages, BATCH, MSG_DONTWAIT, NULL);
        uint64_t now = now_ns();
        for (int i = 0; i < received; i++) {
            uint32_t len = messages[i].msg_len;
            link->in++;
            if (is_killed(link, set, frames[i], len, now))
                continue;
            accept_copy(link, set, frames[i], len, now);
            if (happens(link, set->duplicate)) {
                link->duplicated++;
                accept_copy(link, set, frames[i], len, now);
            }
        }
        if (received < BATCH)
            return;
    }
}

/* Writes `count` messages in order. A full device is waited for a little, then counts as a drop. */
static void write_batch(struct link *link, struct mmsghdr *messages, unsigned count)
{
    unsigned done = 0;
    int retries = 0;
    while (done < count) {
        int sent = sendmmsg(link->out_fd, messages + done, count - done, 0);
        if (sent > 0) {
            for (int i = 0; i < sent; i++)
                link->out_bytes += messages[done + (unsigned)i].msg_len;
            link->out += (unsigned)sent;
            done += (unsigned)sent;
            retries = 0;
        } else if ((errno == EAGAIN || errno == ENOBUFS || errno == EINTR) &&
                   retries++ < SEND_RETRIES) {
            continue;
        } else {
            link->send_dropped++;
            done++;
        }
    }
}

/* Sends all packets that are due. Returns when the next one is, or UINT64_MAX. */
static uint64_t transmit(struct link *link, uint64_t now)
{
    struct packet due[BATCH];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];

    while (link->count > 0 && link->heap[0].due <= now) {
        unsigned count = 0;
        memset(messages, 0, sizeof messages);
        while (count < BATCH && link->count > 0 && link->heap[0].due <= now) {
            due[count] = heap_pop(link);
            vectors[count] = (struct iovec){due[count].bytes, due[count].len};
            messages[count].msg_hdr.msg_iov = &vectors[count];
            messages[count].msg_hdr.msg_iovlen = 1;
            count++;
        }
        write_batch(link, messages, count);
        for (unsigned i = 0; i < count; i++)
            free(due[i].bytes); /* NOLINT(clang-analyzer-unix.Malloc): popped, so owned here */
    }
    return link->count > 0 ? link->heap[0].due : UINT64_MAX;
}

static void run(struct link links[2], const struct settings *set)
{
    const uint64_t end = set->max_seconds ? now_ns() + set->max_seconds * NS_PER_S : UINT64_MAX;

    while (!stopped) {
        uint64_t now = now_ns();
        if (now >= end)
            return;
        uint64_t wake = end;
        for (int i = 0; i < 2; i++) {
            uint64_t next = transmit(&links[i], now);
            wake = next < wake ? next : wake;
        }
        now = now_ns();
        uint64_t wait = wake <= now ? 0 : wake - now;
        if (wait > NS_PER_S)
            wait = NS_PER_S;
        struct timespec timeout = {(time_t)(wait / NS_PER_S), (long)(wait % NS_PER_S)};
        struct pollfd polled[2] = {{links[0].in_fd, POLLIN, 0}, {links[1].in_fd, POLLIN, 0}};
        if (ppoll(polled, 2, &timeout, NULL) <= 0)
            continue;
        for (int i = 0; i < 2; i++)
            if (polled[i].revents & POLLIN)
                receive(&links[i], set);
    }
}

static int open_interface(const char *name)
{
    const int on = 1, buffer = 32 << 20;
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(name)};
    struct packet_mreq promiscuous = {.mr_ifindex = address.sll_ifindex,
                                      .mr_type = PACKET_MR_PROMISC};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 || address.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fprintf(stderr, "lab-wan: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
    return fd;
}

static void print_link(const struct link *link)
{
    printf("{\"from\": \"%s\", \"to\": \"%s\", \"in\": %" PRIu64 ", \"out\": %" PRIu64
           ", \"out_bytes\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"queue_dropped\": %" PRIu64
           ", \"send_dropped\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
           ", \"corrupted\": %" PRIu64 ", \"killed\": %" PRIu64 "}",
           link->from, link->to, link->in, link->out, link->out_bytes, link->lost,
           link->queue_dropped, link->send_dropped, link->duplicated, link->reordered,
           link->corrupted, link->killed);
}

static void usage(void)
{
    fputs(
        "usage: lab-wan [options] INTERFACE INTERFACE\n"
        "  --delay MS       one way\n"
        "  --jitter MS      0..MS more delay, order kept\n"
        "  --loss PCT\n"
        "  --rate MBIT      0: no limit\n"
        "  --queue MS       drop-tail queue at that rate (default 100)\n"
        "  --reorder PCT    held back by half the delay, at least 2 ms\n"
        "  --duplicate PCT\n"
        "  --corrupt PCT    one bit flipped behind the Ethernet header\n"
        "  --kill-ms N      a TCP flow (by the port on the first side) passes no more after that\n"
        "  --kill-bytes N   the same after so many bytes, both ways together\n"
        "  --kill-way WAY   up, down (towards the first interface) or both (default)\n"
        "  --seed N         default 1\n"
        "  --max-seconds N  end by itself\n",
        stderr);
    exit(2);
}

static double number(const char *text, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= max)) {
        fprintf(stderr, "lab-wan: not a number from 0 to %g: %s\n", max, text);
        exit(2);
    }
    return value;
}

static void parse(int argc, char **argv, struct settings *set)
{
    static const struct option options[] = {
        {"delay", required_argument, NULL, 'd'},       {"jitter", required_argument, NULL, 'j'},
        {"loss", required_argument, NULL, 'l'},        {"rate", required_argument, NULL, 'r'},
        {"queue", required_argument, NULL, 'q'},       {"reorder", required_argument, NULL, 'o'},
        {"duplicate", required_argument, NULL, 'u'},   {"corrupt", required_argument, NULL, 'c'},
        {"kill-ms", required_argument, NULL, 'k'},     {"kill-bytes", required_argument, NULL, 'b'},
        {"kill-way", required_argument, NULL, 'w'},    {"seed", required_argument, NULL, 's'},
        {"max-seconds", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'd':
            set->delay_ns = number(optarg, 1e5) * NS_PER_MS;
            break;
        case 'j':
            set->jitter_ns = number(optarg, 1e5) * NS_PER_MS;
            break;
        case 'l':
            set->loss = number(optarg, 100) / 100;
            break;
        case 'r':
            set->bytes_per_ns = number(optarg, 1e6) * 1e6 / 8 / 1e9;
            break;
        case 'q':
            set->queue_ns = number(optarg, 1e5) * NS_PER_MS;
            break;
        case 'o':
            set->reorder = number(optarg, 100) / 100;
            break;
        case 'u':
            set->duplicate = number(optarg, 100) / 100;
            break;
        case 'c':
            set->corrupt = number(optarg, 100) / 100;
            break;
        case 'k':
            set->kill_ns = number(optarg, 1e9) * NS_PER_MS;
            break;
        case 'b':
            set->kill_bytes = number(optarg, 1e15);
            break;
        case 'w':
            set->kill_way[0] = strcmp(optarg, "down") != 0;
            set->kill_way[1] = strcmp(optarg, "up") != 0;
            break;
        case 's':
            set->seed = (uint64_t)number(optarg, 1e15);
            break;
        case 'm':
            set->max_seconds = (uint64_t)number(optarg, 1e6);
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2)
        usage();
}

int main(int argc, char **argv)
{
    struct settings set = {.queue_ns = 100 * NS_PER_MS, .seed = 1, .kill_way = {true, true}};
    parse(argc, argv, &set);
    const char *a = argv[optind], *b = argv[optind + 1];
    int fd_a = open_interface(a), fd_b = open_interface(b);
    struct link links[2] = {
        {.from = a, .to = b, .in_fd = fd_a, .out_fd = fd_b, .random = set.seed},
        {.from = b, .to = a, .back = true, .in_fd = fd_b, .out_fd = fd_a, .random = ~set.seed},
    };
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1ul);
    fputs("ready\n", stderr);

    run(links, &set);

    printf("[");
    print_link(&links[0]);
    printf(", ");
    print_link(&links[1]);
    printf("]\n");
    for (int i = 0; i < 2; i++) {
        while (links[i].count > 0)
            free(heap_pop(&links[i]).bytes); /* NOLINT(clang-analyzer-unix.Malloc): as above */
        free(links[i].heap);
        close(links[i].in_fd);
    }
    return 0;
}
