/* SPDX-License-Identifier: MIT */
/* fuzz_kcp.c - one KCP conversation whose peer sends what the input says, around the windows as
 * they are; the other steps send, pull and let time pass.  The state stays consistent, a datagram
 * is never longer than the mtu, and no chunk or block is lost. */
#include "fuzz.h"
#include "kcp/kcp.h"
#include "kcp/kcp_internal.h"

#define CONV      0x11223344u
#define MEMORY    (1u << 20)
#define STEPS_MAX 400
#define PREFIX    12
#define NOTE_LEN  7 /* bytes of the input that make a segment */
#define WRAP_SN   0xfffffff0u

struct end {
    struct fuzz_in in;
    struct pq_kcp *k;
    struct pq_kcp_conf conf;
    struct pq_pool blocks;
    struct pq_chunks chunks;
    pq_ns now;
    size_t got;
    bool refuses; /* some of what comes is not taken at first */
    bool framed;
    uint32_t serial; /* numbers of the peer's transmissions, lean */
};

/* ---- what the conversation calls */

static bool on_data(void *ctx, struct pq_view v)
{
    struct end *e = ctx;
    fuzz_touch(v);
    e->got += v.n;
    return !e->refuses || (e->got & 3);
}

static bool on_frames(void *ctx, uint8_t *p, size_t n)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        p[i] ^= 1; /* it may mark them */
    return n & 1;
}

static void write_prefix(uint8_t *dst, const struct pq_chunk *c, uint32_t off, size_t n)
{
    FUZZ_CHECK(c->tag && off + n <= c->len);
    memset(dst, 7, PREFIX);
}

/* ---- steps */

/* A segment from a note: mask or command, window and scale, sn, una or ts, length, content, how. */
static size_t forge_segment(const struct end *e, const uint8_t *note, uint8_t *p, size_t room)
{
    const struct pq_kcp *k = e->k;
    uint32_t step = (uint32_t)((note[2] ^ 0x80) - 0x80),
             una_step = (uint32_t)(note[3] ^ 0x80) - 0x80;
    uint32_t scale = note[1] & 2 ? 1 : 1 + (note[1] >> 2);
    size_t len = note[4] & 0x80 ? note[4] * 4u : note[4] & 0x1f;
    uint8_t cmd = note[0] & 0x80 ? note[0] : (uint8_t)(PQ_KCP_PUSH + note[0] % 5);
    bool ack = cmd == PQ_KCP_ACK;
    uint32_t ts = note[3];
    if (PQ_KCP_HDR_LEN + len > room)
        return 0;
    if (ack && step < k->snd_nxt - k->snd_una) /* of the transmission itself */
        ts = pq_kcp_seg_at(k, k->snd_una + step)->id;
    pq_put_le32(p, note[5] == 0xff ? note[6] : CONV);
    p[4] = cmd;
    p[5] = 0;
    pq_put_le16(p + 6, note[1] & 1 ? note[1] : 0xff00u | note[1]);
    pq_put_le32(p + 8, ts);
    pq_put_le32(p + 12, (ack ? k->snd_una : k->rcv_nxt) + step * scale);
    pq_put_le32(p + 16, k->snd_una + una_step);
    pq_put_le32(p + 20, note[6] == 0xee ? 0xffffffffu - note[5] : (uint32_t)len);
    memset(p + PQ_KCP_HDR_LEN, note[5], len);
    return PQ_KCP_HDR_LEN + len;
}

/* The same as a block of our own wire [12.8]: an acknowledgement of numbers around those in flight,
 * or data around the window. */
static size_t forge_block(const struct end *e, const uint8_t *note, uint8_t *p, size_t room)
{
    const struct pq_kcp *k = e->k;
    const uint32_t step = (uint32_t)(note[2] ^ 0x80) - 0x80,
                   far = (uint32_t)(note[3] ^ 0x80) - 0x80;
    const size_t len = note[4] & 0x80 ? (size_t)note[4] * 4 : note[4] & 0x1f;
    const uint8_t kind = note[0] & 0x80    ? note[0]
                         : note[0] >= 0x78 ? 4
                                           : (uint8_t[]){1, 2, 3, 6, 7}[note[0] % 5];
    const uint32_t sn = k->rcv_nxt + step;
    struct pq_wr w = pq_wr_init(p, room);
    if (kind == 4) { /* a PAD, whose first bytes and rest say nothing */
        pq_wr_le32(&w, note[6] & 1 ? far : 0);
        pq_wr_u8(&w, kind);
        for (size_t i = 0; i < len; i++)
            pq_wr_u8(&w, note[5]);
        return w.bad ? 0 : pq_wr_len(&w);
    }
    if (kind == 1) {
        pq_wr_le32(&w, k->snd_una + (step & 7) - 1);
        pq_wr_bytes(&w, (uint8_t[]){1, note[1] & 1, note[5], note[1] >> 4}, 4);
        pq_wr_le32(&w, k->numbers.next - 1 - (note[6] & 0x40 ? far : note[6] & 3));
        pq_wr_bytes(&w,
                    (uint8_t[]){note[1], (uint8_t)(1 + note[6] % 3), note[4] & 0x7f, note[3] & 0x7f,
                                note[2] & 0x7f, note[5] & 0x7f, note[6] & 0x7f},
                    3 + 2 * (size_t)(note[6] % 3));
        return w.bad ? 0 : pq_wr_len(&w);
    }
    pq_wr_le32(&w, e->serial + far);
    pq_wr_bytes(&w, (uint8_t[]){kind, (uint8_t)sn, (uint8_t)(sn >> 8), (uint8_t)(sn >> 16)}, 4);
    if (kind & 1)
        pq_wr_le16(&w, (uint16_t)(note[6] == 0xee ? (size_t)note[5] * 256 : len));
    for (size_t i = 0; i < len; i++)
        pq_wr_u8(&w, note[5]);
    return w.bad ? 0 : pq_wr_len(&w);
}

static void step_input(struct end *e, uint8_t op)
{
    uint8_t buf[1500];
    size_t n = 0;
    for (unsigned i = 0; i < 1u + (op >> 3 & 3) && fuzz_left(&e->in) >= NOTE_LEN; i++)
        n += (pq_kcp_is_lean(e->k) ? forge_block : forge_segment)(e, fuzz_bytes(&e->in, NOTE_LEN).p,
                                                                  buf + n, sizeof buf - n);
    e->serial++;
    uint8_t *p = fuzz_exact(buf, n);
    pq_kcp_input(e->k, (struct pq_view){p, n}, !(op & 0x40), e->now);
    if (op & 0x80)
        pq_kcp_frames_again(e->k);
    pq_kcp_rx_done(e->k);
    free(p);
}

static void step_send(struct end *e, uint8_t op)
{
    size_t len = (size_t)(op >> 3) * 97, mss = pq_kcp_mss_least(e->k);
    bool tagged = e->framed && op & 8;
    if (e->framed && !tagged && len > mss)
        len = mss;
    struct pq_chunk *c = pq_chunk_new(&e->chunks, len);
    if (!c)
        return;
    memset(pq_chunk_data(c), op, len);
    c->len = (uint32_t)len;
    c->tag = tagged;
    pq_kcp_send(e->k, c);
}

static void step_pull(struct end *e, uint8_t op)
{
    static uint8_t out[2048];
    for (int i = 0; i < 1 + (op >> 3); i++) {
        size_t n = pq_kcp_pull(e->k, out, e->conf.mtu, e->now);
        FUZZ_CHECK(n <= e->conf.mtu);
        FUZZ_CHECK(n <= pq_kcp_size(e->k) || pq_kcp_is_lean(e->k));
        if (!n)
            return;
        fuzz_touch((struct pq_view){out, n});
        n = pq_kcp_probe(e->k, out, e->conf.mtu, op & 8, e->now);
        FUZZ_CHECK(n <= e->conf.mtu);
        fuzz_touch((struct pq_view){out, n});
    }
}

static void step_time(struct end *e, uint8_t op)
{
    pq_ns by = 1u + (op >> 3);
    e->now += by * by * PQ_MS;
    pq_kcp_deadline(e->k, e->now);
}

static void step_consumer(struct end *e, uint8_t op)
{
    if (op & 0x40) {
        if (pq_kcp_mss_least(e->k) > (size_t)2 * PREFIX)
            pq_kcp_send_frames(e->k, write_prefix, PREFIX);
        e->framed = e->k->prefix;
        return;
    }
    if (op & 0x10)
        pq_kcp_retry(e->k, op & 0x80);
    if (op & 0x20)
        pq_kcp_limit(e->k, (uint16_t)(e->conf.mtu - e->conf.mtu / 3));
    e->refuses ^= op >> 3 & 1;
    pq_kcp_resume(e->k);
    pq_kcp_rx_done(e->k);
    pq_kcp_frames_again(e->k);
}

static void check_state(const struct end *e)
{
    const struct pq_kcp *k = e->k;
    uint32_t out = k->snd_nxt - k->snd_una;
    FUZZ_CHECK(out <= PQ_KCP_WND_MAX && k->n_flight <= out);
    FUZZ_CHECK(k->rcv_nxt - k->rcv_read <= PQ_KCP_WND_MAX);
    FUZZ_CHECK(k->numbers.next - k->numbers.first <= k->numbers.cap);
    FUZZ_CHECK(e->chunks.budget.used <= MEMORY);
    FUZZ_CHECK(k->mtu <= k->conf.mtu && k->mss < k->mtu && pq_kcp_mss_least(k) <= k->mss);
    FUZZ_CHECK(!pq_kcp_idle(k) || (!out && !k->unsent));
}

/* ---- a run */

static void end_init(struct end *e, const uint8_t *p, size_t n)
{
    *e = (struct end){.in = fuzz_in_init(p, n), .now = 1000 * PQ_SEC};
    uint8_t how = fuzz_u8(&e->in), snd = fuzz_u8(&e->in), rcv = fuzz_u8(&e->in);
    uint8_t mtu = fuzz_u8(&e->in), mode = fuzz_u8(&e->in);
    e->refuses = how & 1;
    e->conf = (struct pq_kcp_conf){.conv = CONV,
                                   .snd_wnd = 1 + snd * 8u,
                                   .rcv_wnd = 1 + rcv * 8u,
                                   .mtu = (uint16_t)(PQ_KCP_MTU_MIN + mtu * 5),
                                   .resend = mode & 3,
                                   .interval = 30 * PQ_MS,
                                   .nodelay = mode & 4,
                                   .congestion = (enum pq_congestion)((mode >> 4) % 3),
                                   .ack_now = mode & 8};
    pq_pool_init(&e->blocks, PQ_KCP_BLOCK_LEN, 0, 4);
    pq_chunks_init(&e->chunks, MEMORY);
    struct pq_kcp_mem mem = {&e->blocks, &e->chunks};
    FUZZ_CHECK(pq_kcp_new(&e->k, &e->conf, &mem, on_data, e) == 0);
    pq_kcp_take_frames(e->k, on_frames);
    if (how & 8)
        pq_kcp_extend(e->k);
    if (how & 32)
        FUZZ_CHECK(pq_kcp_lean(e->k, how & 64 ? e->conf.mtu / 2 + PQ_KCP_MTU_MIN / 2 : 0xffff) ==
                   0);
    if (how & 128)
        pq_kcp_part(e->k);
    if (how & 16) { /* the numbers wrap soon */
        e->k->numbers.first = e->k->numbers.next = WRAP_SN;
        e->k->snd_una = e->k->snd_nxt = e->k->rack_order =
            WRAP_SN / SEGS_PER_BLOCK * SEGS_PER_BLOCK;
        e->k->rcv_nxt = e->k->rcv_read = e->k->rcv_high = WRAP_SN;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct end e;
    end_init(&e, p, n);
    for (int steps = 0; fuzz_left(&e.in) && steps < STEPS_MAX; steps++) {
        uint8_t op = fuzz_u8(&e.in);
        if ((op & 7) < 4)
            step_input(&e, op);
        else if ((op & 7) == 4)
            step_send(&e, op);
        else if ((op & 7) == 5)
            step_pull(&e, op);
        else if ((op & 7) == 6)
            step_time(&e, op);
        else
            step_consumer(&e, op);
        check_state(&e);
    }
    pq_kcp_free(&e.k);
    FUZZ_CHECK(e.chunks.budget.used == 0 && e.chunks.control.used == 0 && e.blocks.used == 0);
    pq_pool_fini(&e.blocks);
    pq_chunks_fini(&e.chunks);
    return 0;
}
