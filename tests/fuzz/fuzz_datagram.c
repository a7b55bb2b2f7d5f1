/* SPDX-License-Identifier: MIT */
/* fuzz_datagram.c - datagrams as they come off the wire: opened by each cipher; those beside the
 * reliable stream, whose numbers keep replays out, against a slow second reading of that rule; and
 * the queue of those that go out. */
#include "crypt/crypt.h"
#include "fuzz.h"
#include "tunnel/datagram.h"

#define CONV 0x11223344u
#define SPAN 1024 /* numbers behind the newest that are still told apart [8.7] */

/* ---- sealed ones */

static void open_sealed(enum pq_cipher id, struct pq_view v)
{
    static struct pq_crypt *crypt[PQ_CIPHER_COUNT]; /* kept: making one is slow */
    static const uint8_t key[PQ_KEY_LEN] = {1, 2, 3};
    struct pq_view inner;
    if (!crypt[id]) {
        FUZZ_CHECK(pq_crypt_global_init() == 0);
        FUZZ_CHECK(pq_crypt_new(&crypt[id], id, key) == 0);
    }
    uint8_t *p = fuzz_exact(v.p, v.n);
    enum pq_drop d = pq_crypt_open(crypt[id], p, v.n, &inner);
    FUZZ_CHECK(d == PQ_DROP_NONE || d == PQ_DROP_SHORT || d == PQ_DROP_AUTH);
    if (!d) {
        FUZZ_CHECK(fuzz_inside(inner, p, v.n));
        FUZZ_CHECK(inner.n + pq_crypt_head(crypt[id]) + pq_crypt_tail(crypt[id]) == v.n);
        fuzz_touch(inner);
    }
    free(p);
}

/* ---- replays */

struct seen { /* the numbers that were taken, as far as they matter still */
    uint32_t newest, number[SPAN];
    unsigned n;
};

static bool is_new(struct seen *s, uint32_t number)
{
    bool behind = number - s->newest > UINT32_MAX / 2;
    if (number == s->newest || (behind && s->newest - number >= SPAN))
        return false;
    for (unsigned i = 0; i < s->n; i++)
        if (s->number[i] == number)
            return false;
    if (!behind)
        s->newest = number;
    unsigned kept = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (s->newest - s->number[i] < SPAN)
            s->number[kept++] = s->number[i];
    s->number[kept++] = number;
    s->n = kept;
    return true;
}

static size_t make(uint8_t *p, uint32_t number, uint32_t stream, size_t n)
{
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_OOB_TYPE);
    pq_put_le16(p + 6, (uint16_t)(PQ_DGRAM_HEAD - 6 + n));
    pq_put_le32(p + 8, CONV);
    pq_put_le32(p + 12, number);
    pq_put_le32(p + 16, stream);
    memset(p + PQ_DGRAM_HEAD, (int)(number & 0xff), n);
    return PQ_DGRAM_HEAD + n;
}

/* A genuine one with any number: taken just once, as it was made. */
static void take_genuine(struct pq_dgrams *d, struct seen *seen, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    uint32_t step = (uint32_t)fuzz_s8(in);
    uint32_t number = seen->newest + (how & 0x80 ? step * 0x01010101u : step * (1 + how % 16u));
    uint8_t buf[PQ_DGRAM_HEAD + 64];
    size_t n = make(buf, number, how, how % 64u);
    uint8_t *p = fuzz_exact(buf, n);
    uint32_t stream;
    struct pq_view data;
    enum pq_drop drop = pq_dgrams_read(d, CONV, (struct pq_view){p, n}, &stream, &data);
    FUZZ_CHECK(drop == (is_new(seen, number) ? PQ_DROP_NONE : PQ_DROP_REPLAY));
    FUZZ_CHECK(drop || (stream == how && data.n == how % 64u && fuzz_inside(data, p, n)));
    free(p);
}

/* Any bytes; they may not use up a number that is not in them. */
static void take_raw(struct fuzz_in *in)
{
    struct pq_dgrams d = {.newest = fuzz_u8(in)};
    struct pq_view v = fuzz_bytes(in, fuzz_u8(in)), data;
    uint8_t *p = fuzz_exact(v.p, v.n);
    uint32_t stream, newest = d.newest;
    enum pq_drop drop = pq_dgrams_read(&d, CONV, (struct pq_view){p, v.n}, &stream, &data);
    FUZZ_CHECK(drop == PQ_DROP_NONE || d.newest == newest);
    if (!drop) {
        FUZZ_CHECK(fuzz_inside(data, p, v.n));
        fuzz_touch(data);
    }
    free(p);
}

/* ---- the queue */

static void push(struct pq_dgrams *d, struct pq_chunks *chunks, struct fuzz_in *in)
{
    size_t n = 1 + fuzz_u16(in) % PQ_CHUNK_HUGE;
    struct pq_chunk *c = pq_chunk_new(chunks, n);
    if (!c)
        return;
    memset(pq_chunk_data(c), (int)(n & 0xff), n);
    c->len = (uint32_t)n;
    int e = pq_dgrams_push(d, c, (uint32_t)n);
    FUZZ_CHECK(e == 0 || e == PQ_EAGAIN);
    if (e)
        pq_chunk_free(c);
}

/* What fits is read as it was pushed; the rest is dropped, and the queue goes on. */
static void pull(struct pq_dgrams *out, struct pq_dgrams *in, size_t cap)
{
    uint32_t stream;
    struct pq_view data;
    uint8_t *p = malloc(cap ? cap : 1);
    FUZZ_CHECK(p);
    size_t n = pq_dgrams_pull(out, CONV, p, cap);
    FUZZ_CHECK(n <= cap);
    if (n) {
        struct pq_view v = {p, n};
        FUZZ_CHECK(pq_dgrams_read(in, CONV, v, &stream, &data) == PQ_DROP_NONE);
        FUZZ_CHECK(stream == data.n && data.p[0] == (data.n & 0xff));
    }
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    static struct seen seen;
    struct pq_chunks chunks;
    struct pq_dgrams rx = {0}, out = {0}, peer = {0};
    seen = (struct seen){.newest = 0};
    pq_chunks_init(&chunks, 4u << 20);
    while (fuzz_left(&in)) {
        uint8_t op = fuzz_u8(&in);
        if (op % 5 == 0)
            open_sealed((enum pq_cipher)(op / 5 % PQ_CIPHER_COUNT), fuzz_bytes(&in, op));
        else if (op % 5 == 1)
            take_raw(&in);
        else if (op % 5 == 2)
            take_genuine(&rx, &seen, &in);
        else if (op % 5 == 3)
            push(&out, &chunks, &in);
        else
            pull(&out, &peer, (size_t)fuzz_u8(&in) * 8);
    }
    pq_chunkq_clear(&out.out);
    FUZZ_CHECK(chunks.budget.used == 0);
    pq_chunks_fini(&chunks);
    return 0;
}
