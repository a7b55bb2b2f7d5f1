/* SPDX-License-Identifier: MIT */
/* fuzz_dump.c - a file of packets, down to what is said of each: with a server's keys, by which
 * nothing of it opens; then the same bytes as if they had been opened, cut into plain texts of
 * datagrams that follow each other. */
#include "fuzz.h"
#include "tunnel/describe.h"
#include "wire/capture.h"

static const uint8_t key[PQ_KEY_LEN] = {1}, secret[32] = {2};
static struct pq_describe *desc;

static void setup(void)
{
    const struct pq_describe_conf c = {PQ_CIPHER_AES_128_GCM, key, secret};
    if (desc)
        return;
    FUZZ_CHECK(pq_crypt_global_init() == 0);
    FUZZ_CHECK(pq_describe_new(&desc, &c) == 0);
}

static void check(const struct pq_described *o)
{
    FUZZ_CHECK(o->kind && *o->kind);
    FUZZ_CHECK(o->len < sizeof o->text && strlen(o->text) == o->len);
}

static void packet(const struct pq_capture *c, struct pq_view v)
{
    static struct pq_described o;
    struct pq_segment s;
    size_t n = v.n, link_len;
    uint8_t *frame = fuzz_exact(v.p, v.n);
    uint8_t *at = pq_capture_strip(c, frame, &n, &link_len);
    if (at) {
        FUZZ_CHECK(fuzz_inside((struct pq_view){at, n}, frame, v.n) || !n);
        const enum pq_drop drop = pq_segment_parse(&s, at, n, link_len);
        pq_describe_packet(desc, &s, drop, drop ? NULL : s.data, drop ? 0 : s.len, 1, &o);
        check(&o);
    }
    free(frame);
}

static void file(const uint8_t *p, size_t n)
{
    struct pq_capture c;
    struct pq_capture_packet k;
    struct fuzz_in in = fuzz_in_init(p, n);
    struct pq_view head = fuzz_bytes(&in, PQ_CAPTURE_HEAD);
    if (head.n < PQ_CAPTURE_HEAD || pq_capture_read(&c, head.p))
        return;
    for (;;) {
        struct pq_view record = fuzz_bytes(&in, PQ_CAPTURE_RECORD);
        if (record.n < PQ_CAPTURE_RECORD || pq_capture_next(&c, record.p, &k))
            return;
        FUZZ_CHECK(k.len <= PQ_CAPTURE_PACKET_MAX);
        packet(&c, fuzz_bytes(&in, k.len));
    }
}

static void opened(const uint8_t *p, size_t n)
{
    static struct pq_described o;
    struct pq_described_way w = {.used = true};
    struct fuzz_in in = fuzz_in_init(p, n);
    while (fuzz_left(&in)) {
        const struct pq_view v = fuzz_bytes(&in, fuzz_u16(&in) % 1501);
        uint8_t *exact = fuzz_exact(v.p, v.n);
        o.len = 0;
        pq_describe_inner(&w, (struct pq_view){exact, v.n}, &o);
        FUZZ_CHECK(w.have < sizeof w.head);
        check(&o);
        free(exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    setup();
    file(p, n);
    opened(p, n);
    return 0;
}
