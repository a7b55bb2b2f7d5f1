/* SPDX-License-Identifier: MIT */
/* fuzz_quic_hostile.c - a peer that has the key, and behind it says what it likes: frames of every
 * kind, with numbers at their limits, in place of its own or behind them, sealed as they have to
 * be. The other end may end the connection, or go on; it stays whole and keeps its bounds.
 *
 * The input's first bytes say which side it is, what it prefers to say, and how its frames are
 * drawn; the rest is for quic_pair.c.  What it says is put where the program encrypts its packets:
 * the linker leads that here. */
#include "../sim/quic_said.h"
#include "quic/compat.h"
#include "quic_pair.h"

#define FRAMES_MAX 12
#define ROOM       900 /* bytes of a datagram that makes its packets large */
#define LARGEST    ((UINT64_C(1) << 62) - 1)

static struct {
    int side;      /* that is hostile */
    bool speaking; /* it has its turn */
    unsigned taste;
    uint64_t rng, ids; /* ids: the last number of an id that it has given out */
} him;

/* ---- bytes */

static uint32_t draw(uint32_t n)
{
    him.rng ^= him.rng << 13;
    him.rng ^= him.rng >> 7;
    him.rng ^= him.rng << 17;
    return (uint32_t)(him.rng >> 16) % n;
}

/* A number: small, one of a stream that may be there, or beyond what anybody expects. */
static uint64_t number(void)
{
    switch (draw(8)) {
    case 0:
    case 1:
        return draw(8);
    case 2:
        return draw(64);
    case 3:
        return draw(20000);
    case 4:
        return draw(UINT32_MAX);
    case 5:
        return LARGEST - draw(3);
    default:
        return UINT64_C(4) * draw(6);
    }
}

struct frame {
    uint8_t *p;
    size_t n, cap;
    bool full;
};

static void put(struct frame *f, const void *p, size_t n)
{
    f->full = f->full || n > f->cap - f->n;
    if (f->full)
        return;
    memcpy(f->p + f->n, p, n);
    f->n += n;
}

static void put_same(struct frame *f, uint8_t byte, size_t n)
{
    uint8_t p[PQ_QUIC_SIZE_MAX];
    n = n < sizeof p ? n : sizeof p;
    memset(p, byte, n);
    put(f, p, n);
}

static void put_number(struct frame *f, uint64_t v) /* RFC 9000, 16 */
{
    const unsigned k = v < 64 ? 0 : v < 16384 ? 1 : v < UINT64_C(1) << 30 ? 2 : 3;
    const size_t n = (size_t)1 << k;
    uint8_t p[8];
    for (size_t i = 0; i < n; i++)
        p[n - 1 - i] = (uint8_t)(v >> 8 * i);
    p[0] |= (uint8_t)(k << 6);
    put(f, p, n);
}

static void put_numbers(struct frame *f, unsigned n)
{
    while (n--)
        put_number(f, number());
}

static void put_bytes(struct frame *f, uint32_t most) /* with their length in front */
{
    const uint32_t n = draw(most);
    put_number(f, n);
    put_same(f, (uint8_t)draw(256), n);
}

/* ---- frames, RFC 9000, 19 */

enum {
    ACK = 0x02,
    ACK_ECN,
    RESET_STREAM,
    STOP_SENDING,
    CRYPTO,
    NEW_TOKEN,
    STREAM = 0x08,
    STREAM_LAST = 0x0f,
    MAX_DATA,
    MAX_STREAM_DATA,
    STREAM_DATA_BLOCKED = 0x15,
    NEW_CONNECTION_ID = 0x18,
    RETIRE_CONNECTION_ID,
    PATH_CHALLENGE,
    PATH_RESPONSE,
    CLOSE,
    CLOSE_BY_USER,
    HANDSHAKE_DONE,
    DATAGRAM = 0x30,
    DATAGRAM_LENGTH
};

static void put_ack(struct frame *f, bool ecn)
{
    const unsigned ranges = draw(4);
    put_number(f, draw(3) ? draw(40) : number()); /* the largest */
    put_number(f, number());                      /* the delay */
    put_number(f, ranges);
    put_numbers(f, 1 + 2 * ranges);
    if (ecn)
        put_numbers(f, 3);
}

static void put_id(struct frame *f)
{
    const uint64_t id = draw(4) ? ++him.ids % 300 : number();
    const uint32_t n = draw(8) ? PQ_QUIC_ID_LEN : draw(22);
    put_number(f, id);
    put_number(f, draw(3) ? 0 : draw(2) ? id : number()); /* Retire Prior To */
    put_same(f, (uint8_t)n, 1);
    put_same(f, (uint8_t)(draw(3) ? id : draw(256)), n);
    put_same(f, (uint8_t)(draw(3) ? id : draw(256)), NGTCP2_STATELESS_RESET_TOKENLEN);
}

static void put_stream(struct frame *f, uint8_t type)
{
    put_number(f, number());
    if (type & 4)
        put_number(f, number()); /* where it begins */
    if (type & 2)
        put_bytes(f, 60);
    else
        put_same(f, (uint8_t)draw(256), f->cap - f->n);
}

static void put_close(struct frame *f, uint8_t type)
{
    put_numbers(f, type == CLOSE ? 2 : 1);
    put_number(f, 0);
}

static uint8_t type_of_frame(void)
{
    static const uint8_t preferred[][8] = {
        {NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, NEW_CONNECTION_ID, RETIRE_CONNECTION_ID,
         PATH_CHALLENGE, PATH_RESPONSE, 1, ACK},
        {ACK, ACK_ECN, ACK, ACK_ECN, 1, NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE},
        {STREAM, STREAM + 1, STREAM + 2, STREAM + 4, STREAM + 6, STREAM_LAST, RESET_STREAM,
         STOP_SENDING},
        {MAX_DATA, MAX_STREAM_DATA, 0x12, 0x14, STREAM_DATA_BLOCKED, CRYPTO, STREAM, STREAM_LAST},
        {0, NEW_TOKEN, CRYPTO, STREAM + 2, RESET_STREAM, DATAGRAM, DATAGRAM_LENGTH, ACK},
    };
    if (!draw(200))
        return (uint8_t)draw(256);
    return him.taste < COUNT_OF(preferred) ? preferred[him.taste][draw(8)]
                                           : (uint8_t)draw(DATAGRAM_LENGTH + 3);
}

static void put_frame(struct frame *f)
{
    const uint8_t type = type_of_frame();
    const bool ends = (type >= CLOSE && type <= HANDSHAKE_DONE) || type > DATAGRAM_LENGTH;
    if (ends && draw(30)) /* there would be little left to say */
        return;
    put_number(f, type);
    if (type == ACK || type == ACK_ECN)
        put_ack(f, type == ACK_ECN);
    else if (type >= STREAM && type <= STREAM_LAST)
        put_stream(f, type);
    else if (type == CRYPTO || type == NEW_TOKEN || type == DATAGRAM_LENGTH) {
        put_numbers(f, type == CRYPTO);
        put_bytes(f, 60);
    } else if (type == NEW_CONNECTION_ID)
        put_id(f);
    else if (type == PATH_CHALLENGE || type == PATH_RESPONSE)
        put_same(f, (uint8_t)draw(256), 8);
    else if (type == CLOSE || type == CLOSE_BY_USER)
        put_close(f, type);
    else if (type == DATAGRAM)
        put_same(f, (uint8_t)draw(256), f->cap - f->n);
    else if (type == RESET_STREAM)
        put_numbers(f, 3);
    else if (type == STOP_SENDING || type == MAX_STREAM_DATA || type == STREAM_DATA_BLOCKED)
        put_numbers(f, 2);
    else if (type == RETIRE_CONNECTION_ID)
        put_number(f, draw(2) ? draw(12) : number());
    else if (type >= MAX_DATA && type < NEW_CONNECTION_ID)
        put_numbers(f, 1);
}

/* ---- where packets are encrypted */

/* Few packets of the handshake: a connection is to come about as a rule. */
static bool says_it(const uint8_t *head, size_t n)
{
    return him.speaking && n <= PQ_QUIC_SIZE_MAX && !(head[0] & 0x80 ? draw(400) : !draw(3));
}

/* In place of the n bytes of frames in a packet, or of some of them. */
static void say(uint8_t *out, const uint8_t *plain, size_t n)
{
    struct frame f = {.p = out, .cap = n};
    memset(out, 0, n); /* PADDING */
    if (!draw(6))
        put(&f, plain, draw((uint32_t)n));
    for (unsigned left = 1 + draw(FRAMES_MAX); left && !f.full; left--)
        put_frame(&f);
}

bool quic_said(uint8_t *other, const uint8_t *plain, size_t n, const uint8_t *head)
{
    const bool does = says_it(head, n);
    if (does)
        say(other, plain, n);
    return does;
}

/* ---- the two ends */

static void before(struct qp *w, int side)
{
    struct qp_end *e = &w->e[side];
    him.speaking = side == him.side;
    struct pq_chunk *c = him.speaking && e->q && e->ready ? pq_chunk_new(&e->chunks, ROOM) : NULL;
    if (!c)
        return;
    memset(pq_chunk_data(c), 0, ROOM);
    c->len = ROOM;
    pq_quic_datagram(e->q, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    const uint8_t how = fuzz_u8(&in);
    him.side = how & 1;
    him.taste = how >> 2 & 7;
    him.ids = 0;
    him.rng = 1;
    for (int i = 0; i < 6; i++)
        him.rng = him.rng << 8 | fuzz_u8(&in);
    qp_run(&in, how & 2, before);
    him.speaking = false;
    return 0;
}
