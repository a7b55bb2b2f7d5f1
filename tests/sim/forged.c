/* SPDX-License-Identifier: MIT */
#include "forged.h"

#include "crypt/seal_internal.h"
#include "tunnel/tunnel_internal.h"

static struct link_packet *model[2];

void forged_note(unsigned from, const struct link_packet *k, uint16_t port)
{
    const uint8_t *tcp = k->p + 14 + 20;
    if (!model[from] && pq_be16(from == CLIENT ? tcp : tcp + 2) == port)
        model[from] = link_packet_new(k->p, k->len);
}

const struct link_packet *forged_model(unsigned from)
{
    return model[from];
}

void forged_forget(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (model[i])
            link_packet_free(model[i]);
        model[i] = NULL;
    }
}

struct pq_session *forged_peer(const struct world *w, uint16_t port)
{
    const struct pq_hub *h = w->end[SERVER].hub;
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next)
        if (PQ_OF(i, struct pq_session, node)->peer.port == port)
            return PQ_OF(i, struct pq_session, node);
    return NULL;
}

size_t forged_send(struct world *w, unsigned from, const struct forged *as, const uint8_t *inner,
                   size_t n)
{
    uint8_t frame[2048];
    const uint8_t *like = model[from]->p;
    const size_t head = (size_t)14 + 20 + (size_t)(like[14 + 20 + 12] >> 4) * 4;
    const struct pq_span span = {frame + head, PQ_SEAL_HEAD + n + PQ_SEAL_TAIL};
    assert_true(n <= FORGED_MAX);
    memcpy(frame, like, head);
    memcpy(frame + head + PQ_SEAL_HEAD, inner, n);
    pq_put_be16(frame + 14 + 2, (uint16_t)(head - 14 + span.n));
    if (as->from)
        pq_put_be32(frame + 14 + 12, as->from);
    pq_put_be16(frame + 14 + 20 + (from == CLIENT ? 0 : 2), as->port);
    struct pq_seal *key = as->s->sec->cur.tx;
    const uint32_t next = key->next;
    key->next = as->counter ? as->counter : next;
    pq_seal_put(key, as->mask, as->id, &span, 1);
    key->next = as->counter ? next : key->next;
    world_make_sound(frame, head + span.n);
    world_inject(w, !from, frame, head + span.n, 0);
    return head + span.n;
}

/* ---- blocks */

static size_t put_v(uint8_t *p, uint32_t x)
{
    size_t n = 0;
    for (; x >= 128; x >>= 7)
        p[n++] = (uint8_t)(x | 128);
    p[n++] = (uint8_t)x;
    return n;
}

size_t forged_ack(uint8_t *p, uint32_t una, uint16_t wnd, uint32_t newest, uint8_t count,
                  uint32_t gap, uint32_t more)
{
    size_t n = 13;
    pq_put_le32(p, una);
    p[4] = 1;
    p[5] = 1; /* asks for the window */
    pq_put_le16(p + 6, wnd);
    pq_put_le32(p + 8, newest);
    p[12] = 1; /* delay */
    p[n++] = count;
    for (unsigned i = 0; i < count; i++) {
        if (i)
            n += put_v(p + n, gap);
        n += put_v(p + n, more);
    }
    return n;
}

size_t forged_data(uint8_t *p, uint32_t number, uint8_t kind, uint32_t sn)
{
    pq_put_le32(p, number);
    p[4] = kind;
    p[5] = (uint8_t)sn;
    p[6] = (uint8_t)(sn >> 8);
    p[7] = (uint8_t)(sn >> 16);
    return 8;
}

size_t forged_control(uint8_t *p, uint8_t kind, uint8_t attempt, const uint8_t *body, size_t n)
{
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_CONTROL_TYPE);
    pq_put_le16(p + 6, (uint16_t)(4 + n));
    p[8] = kind;
    p[9] = attempt;
    if (n)
        memcpy(p + 10, body, n);
    return 10 + n;
}

static size_t put_block(uint8_t *p, uint32_t number, uint8_t kind, uint32_t sn, size_t n)
{
    const size_t head = forged_data(p, number, kind, sn);
    memset(p + head, 0x5a, n);
    return head + n;
}

static size_t put_part(uint8_t *p, uint16_t number, uint8_t part, uint16_t size, size_t n)
{
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_PART_TYPE);
    pq_put_le16(p + 6, size);
    pq_put_le16(p + 8, number);
    p[10] = part;
    p[11] = 0;
    memset(p + PQ_PART_HEAD, 0xff, n);
    return PQ_PART_HEAD + n;
}

/* ---- lies */

static const char *const names[FORGED_LIES] = {
    "never sent", "una beyond", "overlapping", "all sent",    "pads",         "old data",
    "far data",   "odd kinds",  "half parts",  "false parts", "nested parts", "FEC shapes",
    "FEC noise",  "datagrams",  "controls",    "noise"};

const char *forged_name(enum forged_lie what)
{
    return names[what];
}

/* Together they are a part. */
static size_t put_nested(uint8_t *p, uint32_t i)
{
    const size_t n = put_part(p, (uint16_t)(i / 2), i % 2, PQ_PART_HEAD - 6 + 600, 600);
    if (!(i % 2))
        put_part(p + PQ_PART_HEAD, (uint16_t)i, 0, PQ_PART_HEAD - 6 + 1200 - PQ_PART_HEAD, 0);
    return n;
}

static size_t put_noise(uint8_t *p, uint64_t *rng)
{
    const size_t n = 12 + ut_below(rng, 1200);
    for (size_t k = 0; k < n; k++)
        p[k] = (uint8_t)ut_below(rng, 256);
    p[4] &= 0x0f;
    return n;
}

/* As if there were groups of 210 + 20, then others. */
static size_t put_shape(uint8_t *p, uint32_t i)
{
    const uint32_t data = 200 + i / 250 % 50, all = data + 1 + i / 500 % 20;
    pq_put_le32(p, i);
    pq_put_le16(p + 4, i % all < data ? PQ_FEC_DATA : PQ_FEC_PARITY);
    pq_put_le16(p + 6, 2 + 30);
    const size_t head = forged_data(p + 8, 100000 + i, 2, 0);
    memset(p + 8 + head, 0x33, 30 - head);
    return 8 + 30;
}

static size_t put_parity(uint8_t *p, uint32_t i, uint64_t *rng)
{
    const size_t n = 12 + ut_below(rng, 1200);
    ut_random(rng, p, n);
    pq_put_le32(p, i % 3 ? i : (uint32_t)ut_rand(rng));
    pq_put_le16(p + 4, i % 4 ? PQ_FEC_PARITY : PQ_FEC_DATA);
    return n;
}

static size_t put_datagram(uint8_t *p, uint32_t i, uint64_t *rng)
{
    const size_t n = PQ_DGRAM_HEAD + ut_below(rng, 1200);
    ut_random(rng, p, n);
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_OOB_TYPE);
    pq_put_le16(p + 6, i % 4 ? (uint16_t)(n - 6) : (uint16_t)ut_rand(rng));
    pq_put_le32(p + 12, i % 2 ? i : (uint32_t)ut_rand(rng));
    return n;
}

static size_t put_control(uint8_t *p, uint32_t i, uint64_t *rng)
{
    uint8_t body[1200];
    const size_t n = i % 3 ? 16 : ut_below(rng, sizeof body);
    ut_random(rng, body, n);
    if (i % 5 == 0)
        memset(body, 0, n);
    return forged_control(p, (uint8_t)(i % 19), (uint8_t)(i / 19), body, n);
}

size_t forged_tell(enum forged_lie what, uint32_t i, uint64_t *rng, uint8_t *p)
{
    const uint32_t number = 100000 + i;
    switch (what) {
    case NEVER_SENT:
        return forged_ack(p, 0, 65535, 1000000 + i * 65537, 1, 0, i);
    case UNA_BEYOND:
        return forged_ack(p, 1000000 + i * 65537, 65535, 0, 1, 0, 0);
    case OVERLAPPING:
        return forged_ack(p, 0, 65535, i % 4, 32, i % 3 ? UINT32_MAX : 0,
                          i % 2 ? UINT32_MAX : 0x03ffffff);
    case ALL_SENT:
        return forged_ack(p, 0, 65535, 0, 1, 0, 0);
    case PADS:
        memset(p, 0, 1300);
        p[4] = 4;
        memset(p + 5, (int)(i % 256), i % 1295);
        return 13 + i % 1288;
    case OLD_DATA:
        return put_block(p, number, 6, 0, i % 1200 + 4);
    case FAR_DATA:
        return put_block(p, number * 65539, 2, 5000 + i * 4099, i % 1200 + 4);
    case ODD_KINDS:
        return put_block(p, number, (uint8_t)(16 + i % 200), i, 30);
    case HALF_PARTS:
        return put_part(p, (uint16_t)i, i / 32 % 2, PQ_PART_HEAD - 6 + 1000, 1000);
    case FALSE_PARTS:
        return put_part(p, (uint16_t)(i / 2), (uint8_t)(i % 5), (uint16_t)(i * 77), i % 1000 + 1);
    case NESTED_PARTS:
        return put_nested(p, i);
    case FEC_SHAPES:
        return put_shape(p, i);
    case FEC_NOISE:
        return put_parity(p, i, rng);
    case DATAGRAMS:
        return put_datagram(p, i, rng);
    case CONTROLS:
        return put_control(p, i, rng);
    default:
        return put_noise(p, rng);
    }
}

bool forged_is_bad(enum forged_lie what)
{
    return what != ALL_SENT && what != PADS && what != OLD_DATA && what != HALF_PARTS &&
           what != FAR_DATA && what != FEC_SHAPES;
}
