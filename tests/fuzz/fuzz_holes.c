/* SPDX-License-Identifier: MIT */
/* fuzz_holes.c - holes in a TCP connection's numbers [12.9].  The first part of the input is blocks
 * as a header tells them: what is read from them are gaps in what was sent, apart from each other.
 * The rest is two ends: datagrams that come or are lost, and headers that come back, which are
 * changed now and then.  What is acknowledged or told has come, or was given up; what goes again is
 * what was sent, and no more of it than is paid for. */
#include "base/slot.h"
#include "fuzz.h"
#include "wire/fills.h"

#define SENT 4096 /* datagrams */

static void read_blocks(struct fuzz_in *in)
{
    struct pq_gap gaps[PQ_SACKS_MAX];
    const unsigned n = fuzz_u8(in) % 6;
    const uint32_t ack = ((uint32_t)fuzz_u16(in) << 16) - 1000, end = ack + fuzz_u16(in);
    const struct pq_view v = fuzz_bytes(in, (size_t)n * PQ_SACK_LEN);
    uint8_t *p = fuzz_exact(v.p, v.n);
    uint32_t at = ack;
    const unsigned found = v.n == (size_t)n * PQ_SACK_LEN ? pq_holes_read(p, n, ack, end, gaps) : 0;
    FUZZ_CHECK(found <= PQ_SACKS_MAX && found <= n);
    for (unsigned i = 0; i < found; i++) {
        FUZZ_CHECK(gaps[i].lacks.from - ack >= at - ack);
        FUZZ_CHECK(gaps[i].lacks.to - ack > gaps[i].lacks.from - ack);
        FUZZ_CHECK(gaps[i].lacks.to - ack < end - ack);
        FUZZ_CHECK(gaps[i].above && gaps[i].above < end - ack);
        at = gaps[i].lacks.to;
    }
    free(p);
}

static struct ends {
    struct pq_holes holes;
    struct pq_fills *fills;
    uint32_t first, next, ack, n;
    uint32_t seq[SENT];
    uint16_t len[SENT];
    bool again[SENT];
    uint64_t bytes, repeated;
    pq_ns now;
} e;

static uint8_t byte_of(uint32_t seq)
{
    return (uint8_t)(seq * 2654435761U >> 24);
}

static void send_one(uint16_t len, bool lost)
{
    uint8_t p[PQ_DGRAM_MAX];
    if (e.n == SENT)
        return;
    for (unsigned i = 0; i < len; i++)
        p[i] = byte_of(e.next + i);
    pq_fills_keep(e.fills, e.ack, e.next, (struct pq_view){p, len});
    e.seq[e.n] = e.next;
    e.len[e.n++] = len;
    const struct pq_block b = {e.next, e.next + len};
    e.next += len;
    e.bytes += len;
    if (!lost)
        e.ack = pq_holes_take(&e.holes, e.ack, b, (uint32_t)(e.now / PQ_MS));
}

static void fill(void)
{
    uint8_t p[PQ_DGRAM_MAX];
    uint32_t seq;
    size_t n;
    while ((n = pq_fills_next(e.fills, e.ack, e.now, p, sizeof p, &seq))) {
        uint32_t i = 0;
        while (i < e.n && e.seq[i] != seq)
            i++;
        FUZZ_CHECK(i < e.n && e.len[i] == n && !e.again[i]);
        FUZZ_CHECK(seq - e.first >= e.ack - e.first);
        e.again[i] = true;
        for (unsigned k = 0; k < n; k++)
            FUZZ_CHECK(p[k] == byte_of(seq + k));
        e.repeated += n;
        FUZZ_CHECK(e.repeated <= e.bytes / PQ_FILLS_PART + 12000);
        const struct pq_block b = {seq, seq + (uint32_t)n};
        e.ack = pq_holes_take(&e.holes, e.ack, b, (uint32_t)(e.now / PQ_MS));
    }
}

/* Tells what has come; some of it is changed on the way. */
static void tell(uint8_t at, uint8_t change)
{
    struct pq_block b[PQ_SACKS_MAX];
    struct pq_gap gaps[PQ_SACKS_MAX];
    uint8_t p[PQ_SACKS_MAX * PQ_SACK_LEN];
    const unsigned n = pq_holes_tell(&e.holes, b);
    for (unsigned i = 0; i < n; i++) {
        FUZZ_CHECK(b[i].from - e.ack > 0 && b[i].to - e.ack > b[i].from - e.ack);
        FUZZ_CHECK(b[i].to - e.ack <= e.next - e.ack);
        pq_put_be32(p + (size_t)PQ_SACK_LEN * i, b[i].from);
        pq_put_be32(p + (size_t)PQ_SACK_LEN * i + 4, b[i].to);
    }
    if (n)
        p[at % (n * PQ_SACK_LEN)] ^= change;
    const unsigned found = pq_holes_read(p, n, e.ack, e.next, gaps);
    FUZZ_CHECK(change || !n || found);
    pq_fills_lack(e.fills, gaps, found, 100, e.now, 5 * PQ_MS);
}

static void two_ends(struct fuzz_in *in)
{
    struct pq_fills_memory m = {.max = (size_t)fuzz_u8(in) << 13};
    e = (struct ends){.first = ((uint32_t)fuzz_u8(in) << 24) - 5000, .now = PQ_SEC};
    e.next = e.ack = e.first;
    e.fills = pq_fills_new(&m);
    while (e.fills && fuzz_left(in)) {
        const uint8_t op = fuzz_u8(in);
        e.now += (op & 3) * PQ_MS;
        if (op < 0x80)
            send_one((uint16_t)(1 + (op & 0x3c) * 20), op & 0x40);
        else if (op < 0xc0)
            tell(fuzz_u8(in), op & 0x20 ? fuzz_u8(in) : 0);
        else if (op < 0xf0)
            fill();
        else
            e.ack = pq_holes_expire(&e.holes, e.ack, (uint32_t)(e.now / PQ_MS), op & 12);
        FUZZ_CHECK(m.used <= m.max && e.holes.n <= PQ_HOLES_MAX);
        FUZZ_CHECK(e.ack - e.first <= e.next - e.first);
        FUZZ_CHECK(pq_holes_high(&e.holes, e.ack) - e.first <= e.next - e.first);
    }
    pq_fills_free(&e.fills);
    FUZZ_CHECK(m.used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    read_blocks(&in);
    two_ends(&in);
    return 0;
}
