/* SPDX-License-Identifier: MIT */
/* fuzz_tun.c - the bytes of a TUN stream, from which packets are cut.  However they are divided,
 * the packets are the same, and nothing but whole packets reaches the device. */
#include "fuzz.h"
#include "relay/tun_link.h"

#include <fcntl.h>

struct seen {
    uint64_t packets, hash;
    bool over;
};

/* What is compared of two links over the same bytes. */
static struct seen *seen;

static bool on_accept(struct pq_tun_link *l, const struct pq_ip *ip)
{
    (void)l;
    seen->packets++;
    seen->hash = seen->hash * 31 + ip->dst.ip[15] + ip->src.port + ip->l4;
    return ip->dst.ip[15] & 1; /* half of them are refused */
}

static void on_over(struct pq_tun_link *l)
{
    (void)l;
    seen->over = true;
}

/* Feeds all bytes, in pieces of that many, each of them a part of one frame. */
static struct pq_tun_link run(struct pq_tun *tun, struct pq_view v, size_t piece, bool gso,
                              struct seen *out)
{
    struct pq_tun_link l = {.gso = gso, .tun = tun, .accept = on_accept, .over = on_over};
    *out = (struct seen){.packets = 0};
    seen = out;
    for (size_t at = 0; at < v.n && !seen->over; at += piece) {
        size_t n = v.n - at < piece ? v.n - at : piece;
        uint8_t *p = fuzz_exact(v.p + at, n);
        pq_tun_link_feed(&l, (struct pq_view){p, n}, at + n == v.n);
        free(p);
    }
    FUZZ_CHECK(l.len <= 4 + PQ_TUN_PACKET_MAX);
    FUZZ_CHECK(l.received <= seen->packets);
    pq_tun_link_close(&l);
    return l;
}

/* A byte that says how, the length of a piece, then the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static uint8_t space[PQ_TUN_PACKET_MAX];
    static struct pq_tun tun = {.fd = -1, .cut = space};
    struct fuzz_in in = fuzz_in_init(p, n);
    uint8_t how = fuzz_u8(&in);
    size_t piece = 1u + fuzz_u8(&in);
    struct seen whole, pieces;
    if (tun.fd < 0)
        tun.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_CHECK(tun.fd >= 0);
    tun.offload = how & 2;
    struct pq_view v = fuzz_bytes(&in, fuzz_left(&in));
    struct pq_tun_link a = run(&tun, v, v.n, how & 1, &whole);
    struct pq_tun_link b = run(&tun, v, piece, how & 1, &pieces);
    FUZZ_CHECK(whole.packets == pieces.packets && whole.hash == pieces.hash);
    FUZZ_CHECK(whole.over == pieces.over);
    FUZZ_CHECK(a.received == b.received && a.bad == b.bad);
    return 0;
}
