/* SPDX-License-Identifier: MIT */
/* fuzz_quic.c - datagrams of strangers, bare and as who has the key seals them; ACK frames; and two
 * ends (quic_pair.h). */
#include "quic/quic_cc.h"
#include "quic/quic_seal.h"
#include "quic_pair.h"

/* ---- strangers */

static void strangers(struct fuzz_in *in, bool open)
{
    struct qp_end s;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    struct pq_quic_path path;
    qp_end_init(&s, false, open);
    while (fuzz_left(in)) {
        const size_t n = fuzz_u16(in) % sizeof p;
        const struct pq_view v = fuzz_bytes(in, n);
        memset(p, 0, sizeof p);
        if (v.n)
            memcpy(p, v.p, v.n);
        enum pq_drop d = qp_input(&s, false, (struct pq_view){p, n}, fuzz_u8(in), PQ_SEC);
        FUZZ_CHECK(d != PQ_DROP_NONE);
    }
    FUZZ_CHECK(pq_quic_count(s.end) == 0 && pq_quic_answer(s.end, p, &path) == 0);
    qp_end_fini(&s);
}

/* What somebody says who has the key. */
static void sealed(struct fuzz_in *in)
{
    struct qp_end s;
    struct pq_quic_keys keys;
    struct pq_quic_seal seal;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    qp_end_init(&s, false, false);
    FUZZ_CHECK(pq_quic_keys_make(&keys, qp_key) == 0 && pq_quic_seal_init(&seal, keys.c2s) == 0);
    while (fuzz_left(in)) {
        size_t n = 1 + fuzz_u16(in) % (sizeof p - PQ_QUIC_SEAL);
        const struct pq_view v = fuzz_bytes(in, n);
        memset(p, 0, sizeof p);
        if (v.n)
            memcpy(p, v.p, v.n);
        const uint64_t stamp = ++s.wall;
        n = pq_quic_seal_put(&seal, p, n, &stamp, &s.rng);
        FUZZ_CHECK(n > PQ_QUIC_SEAL && p[0] & 0x80);
        enum pq_drop d = qp_input(&s, false, (struct pq_view){p, n}, 7, PQ_SEC);
        FUZZ_CHECK(d == PQ_DROP_HANDSHAKE || d == PQ_DROP_NO_SESSION || d == PQ_DROP_REPLAY ||
                   d == PQ_DROP_STAMP);
    }
    pq_quic_seal_fini(&seal);
    qp_end_fini(&s);
}

/* ---- ACK frames */

static void acks(struct fuzz_in *in)
{
    struct quic_cc c;
    pq_ns now = PQ_SEC;
    uint64_t number = 0;
    quic_cc_init(&c, PQ_QUIC_SIZE_MAX);
    while (fuzz_left(in)) {
        const uint8_t op = fuzz_u8(in);
        now += (pq_ns)(op >> 4) * PQ_MS;
        if (op & 1) {
            number += 1U + (op >> 1 & 3U);
            const uint8_t head[] = {0x43, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
                                    (uint8_t)(number >> 8), (uint8_t)number};
            const struct pq_view frames = fuzz_bytes(in, op >> 1 & 7);
            quic_cc_sent(&c, (struct pq_view){head, sizeof head}, frames, now);
        } else {
            const struct pq_view v = fuzz_bytes(in, fuzz_u8(in));
            uint8_t *p = fuzz_exact(v.p, v.n);
            quic_cc_received(&c, (struct pq_view){p, v.n}, now);
            free(p);
            quic_cc_report(&c, now);
        }
        FUZZ_CHECK(c.flight <= c.sent && c.acked <= c.sent && c.first <= c.next);
        FUZZ_CHECK(c.largest < c.next || c.next == 0);
        FUZZ_CHECK((c.flight == 0) == (quic_cc_waits_since(&c) == 0));
    }
    quic_cc_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    switch (fuzz_u8(&in) % 6) {
    case 0:
        strangers(&in, false);
        break;
    case 1:
        strangers(&in, true);
        break;
    case 2:
        sealed(&in);
        break;
    case 3:
        acks(&in);
        break;
    case 4:
        qp_run(&in, false, NULL);
        break;
    default:
        qp_run(&in, true, NULL);
        break;
    }
    return 0;
}
