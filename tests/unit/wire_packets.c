/* SPDX-License-Identifier: MIT */
/* wire_packets.c - the frames of both programs (packets.json): parsed, and forged again byte for
 * byte from the counter alone. */
#include "base/bytes.h"
#include "unit.h"
#include "vectors.h"
#include "wire/flow.h"
#include "wire/segment.h"
#include "wire_tests.h"

struct side { /* one direction of one set */
    struct pq_flow flow;
    bool ready;
    uint16_t seen[64]; /* the flags of its first frames */
    size_t n;
};

static void start(struct side *d, const struct pq_segment *s, const uint8_t *frame)
{
    struct pq_flow_conf c = {.local = s->src, .peer = s->dst, .link_len = PQ_ETH_LEN};
    memcpy(c.peer_mac, frame, 6);
    memcpy(c.local_mac, frame + 6, 6);
    const uint8_t *tcp = frame + PQ_ETH_LEN + (pq_addr_is4(&s->src) ? PQ_IP4_LEN : PQ_IP6_LEN);
    c.t0 = pq_be32(tcp + (s->flags & PQ_TCP_SYN ? 28 : 24)); /* TSval of n = 1 */
    pq_flow_init(&d->flow, &c);
    d->ready = true;
}

static void check_frame(struct side *d, uint8_t *frame, size_t n, const char *set, size_t index)
{
    static uint8_t buf[PQ_SLOT_SIZE];
    struct pq_segment s;
    assert_int_equal(pq_segment_parse(&s, frame, n, PQ_ETH_LEN), PQ_DROP_NONE);
    assert_ptr_equal(s.data + s.len, frame + n);
    assert_ptr_equal(s.src_mac, frame + 6);
    if (!d->ready)
        start(d, &s, frame);
    if (d->n < COUNT_OF(d->seen))
        d->seen[d->n++] = s.flags;
    const struct pq_flags one = {{s.flags}, 1};
    pq_flow_set_flags(&d->flow, &one);
    struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)s.len};
    memcpy(buf + PQ_SLOT_HEAD, s.data, s.len);
    pq_flow_craft(&d->flow, &slot, false, 0);
    if (slot.len != n || memcmp(buf + slot.off, frame, n) != 0)
        fail_msg("set %s, frame %zu: forged differently", set, index);
}

static void reforge(void **state)
{
    (void)state;
    json_t *root = vec_load("packets.json"), *set, *frame;
    size_t i, j, frames = 0;
    json_array_foreach(vec_get(root, "sets"), i, set)
    {
        struct side *sides = calloc(2, sizeof *sides);
        json_array_foreach(vec_get(set, "frames"), j, frame)
        {
            size_t n;
            uint8_t *p = vec_bytes(frame, "hex", &n);
            bool up = strcmp(vec_str(frame, "dir"), "c2s") == 0;
            check_frame(&sides[up ? 0 : 1], p, n, vec_str(set, "name"), j);
            free(p);
            frames++;
        }
        free(sides);
    }
    assert_true(frames > 400);
    json_decref(root);
}

static const json_t *find_set(const json_t *root, const char *name)
{
    size_t i;
    json_t *set;
    json_array_foreach(vec_get(root, "sets"), i,
                       set) if (strcmp(vec_str(set, "name"), name) == 0) return set;
    fail_msg("no set %s", name);
    return NULL;
}

/* The client's local_flag S,SA,PA: a flow that is given the list makes the frames of family B,
 * which starts at entry 0; family A's come one entry later [1.3]. */
static void flag_cycle(void **state)
{
    (void)state;
    json_t *root = vec_load("packets.json"), *frame;
    for (int a = 0; a < 2; a++) {
        struct side *d = calloc(1, sizeof *d);
        static uint8_t buf[PQ_SLOT_SIZE];
        size_t j;
        const struct pq_flags list = {{0x02, 0x12, 0x18}, 3};
        json_array_foreach(vec_get(find_set(root, a ? "a-flags" : "b-flags"), "frames"), j, frame)
        {
            struct pq_segment s;
            size_t n;
            uint8_t *p = vec_bytes(frame, "hex", &n);
            if (strcmp(vec_str(frame, "dir"), "c2s") == 0) {
                assert_int_equal(pq_segment_parse(&s, p, n, PQ_ETH_LEN), PQ_DROP_NONE);
                if (!d->ready) {
                    start(d, &s, p);
                    pq_flow_set_flags(&d->flow, &list);
                    d->flow.flag_next = (uint8_t)a;
                }
                struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)s.len};
                memcpy(buf + PQ_SLOT_HEAD, s.data, s.len);
                pq_flow_craft(&d->flow, &slot, false, 0);
                assert_int_equal(slot.len, n);
                assert_memory_equal(buf + slot.off, p, n);
            }
            free(p);
        }
        free(d);
    }
    json_decref(root);
}

int wire_packets(void)
{
    const struct CMUnitTest packets[] = {
        cmocka_unit_test(reforge),
        cmocka_unit_test(flag_cycle),
    };
    return ut_run(packets);
}
