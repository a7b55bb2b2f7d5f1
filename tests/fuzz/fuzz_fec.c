/* SPDX-License-Identifier: MIT */
/* fuzz_fec.c - forward error correction.  Forged packets of any shape, order and length: no crash,
 * no chunk is lost.  Or an encoder's own packets, lost, copied and out of order: what is rebuilt is
 * a datagram that was sent. */
#include "fec/fec.h"
#include "fuzz.h"

#define MEMORY   (4u << 20)
#define RUN_LEN  20
#define SENT_LEN (PQ_FEC_PAYLOAD - 2) /* most bytes of a datagram */
#define KEPT     64                   /* genuine packets that may come later, or again */

static void touch_rebuilt(void *ctx, struct pq_view v)
{
    (void)ctx;
    fuzz_touch(v);
}

/* ---- forged packets: notes of four bytes, a mask, a step of the id, a byte, a length */

enum {
    NOTE_PARITY = 0x01,
    NOTE_OTHER = 0x02, /* neither data nor parity */
    NOTE_CUT = 0x04,
    NOTE_RUN = 0x08,   /* many with ids in order */
    NOTE_SIZED = 0x10, /* the size field is right */
    NOTE_JUMP = 0x20,
    NOTE_LONG = 0x40,
    NOTE_DONE = 0x80, /* the batch is over behind it */
};

static void forge(struct pq_fec_dec *f, struct fuzz_in *in, uint32_t *id)
{
    uint8_t what = fuzz_u8(in);
    uint32_t step = (uint32_t)fuzz_s8(in);
    uint8_t fill = fuzz_u8(in);
    size_t len = (size_t)fuzz_u8(in) * (what & NOTE_LONG ? 6 : 1);
    size_t n = PQ_FEC_HEAD + len;
    uint16_t type = what & NOTE_PARITY ? PQ_FEC_PARITY : PQ_FEC_DATA;
    *id += what & NOTE_JUMP ? step * 0x01000001u : step;
    uint8_t *p = malloc(n);
    FUZZ_CHECK(p);
    pq_put_le16(p + 4, what & NOTE_OTHER ? fill : type);
    pq_put_le16(p + 6, (uint16_t)(what & NOTE_SIZED ? len + 2 : (size_t)fill * 7));
    memset(p + PQ_FEC_HEAD, fill, len);
    for (int i = 0; i < (what & NOTE_RUN ? RUN_LEN : 1); i++) {
        pq_put_le32(p, *id + (uint32_t)i);
        enum pq_drop d = pq_fec_dec_input(f, (struct pq_view){p, n - (what & NOTE_CUT ? 3 : 0)});
        FUZZ_CHECK(d == PQ_DROP_NONE || d == PQ_DROP_FEC || d == PQ_DROP_FULL);
    }
    *id += what & NOTE_RUN ? RUN_LEN : 0;
    free(p);
    if (what & NOTE_DONE)
        pq_fec_dec_done(f);
}

static void forged(struct fuzz_in *in, unsigned d, unsigned p)
{
    struct pq_chunks chunks;
    struct pq_fec_dec *f;
    uint32_t id = (uint32_t)fuzz_u8(in) << 24;
    pq_chunks_init(&chunks, MEMORY);
    FUZZ_CHECK(pq_fec_dec_new(&f, d, p, true, &chunks, touch_rebuilt, NULL) == 0);
    while (fuzz_left(in) >= 4)
        forge(f, in, &id);
    pq_fec_dec_free(&f);
    FUZZ_CHECK(chunks.budget.used == 0);
    pq_chunks_fini(&chunks);
}

/* ---- an encoder's packets */

struct packet {
    uint8_t b[PQ_FEC_HEAD + PQ_FEC_PAYLOAD];
    size_t n;
};

/* Each datagram says its own number and length, and the rest follows from them. */
static uint8_t content(uint32_t number, size_t i)
{
    return (uint8_t)((size_t)number * 31 + i * 7);
}

static void check_rebuilt(void *ctx, struct pq_view v)
{
    const uint32_t *sent = ctx;
    FUZZ_CHECK(v.n >= 8 && pq_le32(v.p) < *sent && pq_le32(v.p + 4) == v.n);
    for (size_t i = 8; i < v.n; i++)
        FUZZ_CHECK(v.p[i] == content(pq_le32(v.p), i));
}

static size_t make_datagram(uint8_t *p, uint32_t number, size_t n)
{
    n = n < 8 ? 8 : n;
    pq_put_le32(p, number);
    pq_put_le32(p + 4, (uint32_t)n);
    for (size_t i = 8; i < n; i++)
        p[i] = content(number, i);
    return n;
}

static void give(struct pq_fec_dec *f, const struct packet *k)
{
    uint8_t *exact = fuzz_exact(k->b, k->n);
    pq_fec_dec_input(f, (struct pq_view){exact, k->n});
    free(exact);
}

/* A byte tells the fate of each packet: delivered, lost, kept for later, or an old one instead. */
static void fate(struct pq_fec_dec *f, struct fuzz_in *in, const struct packet *k)
{
    static struct packet kept[KEPT];
    uint8_t how = fuzz_u8(in);
    struct packet *old = &kept[how % KEPT];
    if (how < 0x80)
        give(f, k);
    if (how >= 0xe0 && fuzz_left(in) && old->n)
        give(f, old);
    if (how >= 0xa0)
        *old = *k;
    if (how & 1)
        pq_fec_dec_done(f);
    if (!fuzz_left(in))
        memset(kept, 0, sizeof kept);
}

static void genuine(struct fuzz_in *in, unsigned d, unsigned p)
{
    struct pq_chunks chunks;
    struct pq_fec_dec *f;
    struct pq_fec_enc *e;
    static struct packet k;
    uint32_t sent = 0;
    pq_ns now = PQ_SEC;
    pq_chunks_init(&chunks, MEMORY);
    FUZZ_CHECK(pq_fec_enc_new(&e, d, p) == 0);
    FUZZ_CHECK(pq_fec_dec_new(&f, d, p, true, &chunks, check_rebuilt, &sent) == 0);
    if (fuzz_u8(in) & 1)
        pq_fec_enc_set_always(e);
    while (fuzz_left(in)) {
        uint8_t pause = fuzz_u8(in);
        size_t n = make_datagram(k.b + PQ_FEC_HEAD, sent++, fuzz_u16(in) % (SENT_LEN + 1));
        now += (pq_ns)pause * 3 * PQ_MS;
        k.n = pq_fec_enc_data(e, k.b, n, now);
        FUZZ_CHECK(k.n == PQ_FEC_HEAD + n);
        fate(f, in, &k);
        while ((k.n = pq_fec_enc_parity(e, k.b, sizeof k.b)))
            fate(f, in, &k);
    }
    pq_fec_enc_free(&e);
    pq_fec_dec_free(&f);
    FUZZ_CHECK(chunks.budget.used == 0);
    pq_chunks_fini(&chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = fuzz_in_init(data, n);
    uint8_t first = fuzz_u8(&in);
    unsigned d = 1 + (first & 0x7fu) % 24, p = 1u + fuzz_u8(&in) % 8;
    if (first & 0x80)
        genuine(&in, d, p);
    else
        forged(&in, d, p);
    return 0;
}
