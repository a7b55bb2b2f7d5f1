/* SPDX-License-Identifier: MIT */
#include "connect_pair.h"

#include "base/bytes.h"
#include "unit.h"
#include "wire/csum.h"

static uint8_t pair_buf[PQ_SLOT_SIZE];
struct pq_slot pair_slot = {.buf = pair_buf};
enum pq_system pair_as;

void pair_init(struct pq_flow *f, bool client, bool is4)
{
    struct pq_flow_conf c = {.look = PQ_LOOK_PLAUSIBLE,
                             .ttl = 64,
                             .ts_offset = client ? 77 : 99,
                             .seed = UINT64_C(0x1234567812345678)};
    struct pq_addr a, b;
    if (is4) {
        pq_addr_set4(&a, (const uint8_t[]){192, 0, 2, 1}, 40000);
        pq_addr_set4(&b, (const uint8_t[]){198, 51, 100, 2}, 9999);
    } else {
        a = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 1}, 40000};
        b = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = 2}, 9999};
    }
    c.local = client ? a : b;
    c.peer = client ? b : a;
    pq_flow_init(f, &c);
}

struct pq_segment pair_read(bool is4)
{
    struct pq_segment s;
    enum pq_drop d = pq_segment_parse(&s, pair_buf + pair_slot.off, pair_slot.len, 0);
    assert_int_equal(d, s.len ? PQ_DROP_NONE : PQ_DROP_NO_PAYLOAD);
    const uint8_t *ip = pair_buf + pair_slot.off;
    const size_t ip_len = is4 ? PQ_IP4_LEN : PQ_IP6_LEN;
    uint8_t tail[4] = {0, 6, (uint8_t)((pair_slot.len - ip_len) >> 8),
                       (uint8_t)(pair_slot.len - ip_len)};
    uint64_t sum = pq_csum_add(0, ip + (is4 ? 12 : 8), is4 ? 8 : 32);
    sum = pq_csum_add(sum, tail, 4);
    assert_int_equal(pq_csum_fold(pq_csum_add(sum, ip + ip_len, pair_slot.len - ip_len)), 0);
    return s;
}

struct pq_segment pair_data(struct pq_flow *f, size_t n, pq_ns now)
{
    pair_slot.off = PQ_SLOT_HEAD;
    pair_slot.len = (uint16_t)n;
    memset(pair_buf + PQ_SLOT_HEAD, 7, n);
    pq_flow_craft(f, &pair_slot, false, now);
    return pair_read(f->ip_len == PQ_IP4_LEN);
}

struct pq_segment pair_ask(struct pair *p, bool is4, pq_ns now)
{
    const struct pq_connect_conf cc = {.mss = is4 ? 1460 : 1440, .rmem = RMEM, .system = pair_as};
    pair_init(&p->c, true, is4);
    pq_connect_client(&p->c, &cc, now);
    assert_int_equal(pq_connect_room(&p->c), 0);
    pq_connect_ask(&p->c, &pair_slot, 0xfffffff0, now);
    return pair_read(is4);
}

struct pq_segment pair_answer(struct pair *p, bool is4, const struct pq_segment *syn, pq_ns now)
{
    const struct pq_connect_conf cc = {.mss = is4 ? 1460 : 1440, .rmem = RMEM};
    pair_init(&p->s, false, is4);
    pq_connect_server(&p->s, &cc, syn);
    pq_connect_answer(&p->s, &pair_slot, now);
    return pair_read(is4);
}

void pair_open(struct pair *p)
{
    struct pq_segment s = pair_ask(p, true, PQ_SEC);
    s = pair_answer(p, true, &s, PQ_SEC);
    assert_true(pq_connect_bare(&p->c, &s));
    pq_connect_ack(&p->c, &pair_slot, PQ_SEC);
    s = pair_read(true);
    pq_connect_bare(&p->s, &s);
}
