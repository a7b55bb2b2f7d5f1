/* SPDX-License-Identifier: MIT */
/* wan_link.c - one direction of lab-wan: a drop-tail queue drained at a rate, then a propagation
 * delay; faults are drawn from a generator of its own. */
#include "wan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 64,
    FRAME_MAX = 65536,       /* a frame that offload glued together arrives whole */
    BACKLOG_MAX = 256 << 20, /* bytes in flight and queued, per direction */
    SEND_RETRIES = 1000,
};

uint64_t now_ns(void)
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

/* Whether a packet is lost: each by itself, or, in bursts, all for a while.  From one burst to the
 * next it takes as long as chance wants, and on the average so long that `loss` of the time is in
 * bursts. */
static bool loses(struct link *link, const struct link_settings *set, uint64_t now)
{
    if (set->burst_ns <= 0 || set->loss <= 0)
        return happens(link, set->loss);
    while (now >= link->burst_until) {
        uint64_t at = link->burst_until ? link->burst_until : now;
        do
            at += NS_PER_S / 1000;
        while (!happens(link, set->loss / (1 - set->loss) * NS_PER_MS / set->burst_ns));
        link->burst_from = at;
        link->burst_until = at + (uint64_t)(set->burst_ns * (4 + 6 * draw_unit(link)) / 7);
    }
    return now >= link->burst_from;
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
static uint64_t schedule(struct link *link, const struct link_settings *set, uint32_t len,
                         uint64_t now)
{
    const double rate = set->bytes_per_ns[link->back];
    uint64_t departs = now;
    if (link->backlog + len > BACKLOG_MAX)
        return 0;
    if (rate > 0) {
        uint64_t start = link->busy_until > now ? link->busy_until : now;
        double longest = set->policed_bytes > 0 ? set->policed_bytes / rate : set->queue_ns;
        if ((double)(start - now) > longest)
            return 0;
        link->busy_until = start + (uint64_t)((double)len / rate);
        if (set->policed_bytes == 0)
            departs = link->busy_until;
    }
    uint64_t due = departs + (uint64_t)set->delay_ns;
    if (now / (5 * NS_PER_S) % 2)
        due += (uint64_t)set->swing_ns;
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

static void accept_copy(struct link *link, const struct link_settings *set, const uint8_t *frame,
                        uint32_t len, uint64_t now)
{
    if (loses(link, set, now)) {
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

void link_receive(struct link *link, const struct settings *set, struct box_counters *count)
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
            if (!box_pass(&set->box, count, link->back, frames[i], len, now))
                continue;
            accept_copy(link, &set->link, frames[i], len, now);
            if (happens(link, set->link.duplicate)) {
                link->duplicated++;
                accept_copy(link, &set->link, frames[i], len, now);
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

uint64_t link_transmit(struct link *link, uint64_t now)
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

void link_free(struct link *link)
{
    while (link->count > 0)
        free(heap_pop(link).bytes); /* NOLINT(clang-analyzer-unix.Malloc): as above */
    free(link->heap);
}
