/* SPDX-License-Identifier: MIT */
/* fuzz_segment.c - a frame from the wire down to its TCP payload, with and without a link header;
 * then the payload is forged into a packet of ours, in which the same must be found again; and a
 * connection [12.9] takes the segment, in each of its states, whoever may have sent it. */
#include "fuzz.h"
#include "wire/flow.h"
#include "wire/segment.h"

/* A packet of a flow between the same two ends must read as it was meant. */
static void forge(const struct pq_segment *s)
{
    uint8_t buf[PQ_SLOT_SIZE];
    struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD};
    struct pq_flow_conf conf = {.local = s->src, .peer = s->dst, .link_len = PQ_ETH_LEN, .t0 = 1};
    struct pq_flags flags = {.v = {s->flags}, .n = 1};
    struct pq_flow flow;
    struct pq_segment again;
    if (pq_addr_is4(&s->src) != pq_addr_is4(&s->dst))
        return; /* an IPv4-mapped address in an IPv6 packet */
    slot.len = (uint16_t)(s->len < PQ_DGRAM_MAX ? s->len : PQ_DGRAM_MAX);
    memcpy(buf + slot.off, s->data, slot.len);
    size_t len = slot.len;
    pq_flow_init(&flow, &conf);
    pq_flow_set_flags(&flow, &flags);
    pq_flow_craft(&flow, &slot, false, 0);
    FUZZ_CHECK(pq_segment_parse(&again, buf + slot.off, slot.len, PQ_ETH_LEN) == PQ_DROP_NONE);
    FUZZ_CHECK(pq_addr_eq(&again.src, &s->src) && pq_addr_eq(&again.dst, &s->dst));
    FUZZ_CHECK(again.flags == s->flags);
    FUZZ_CHECK(again.len == len && memcmp(again.data, s->data, len) == 0);
}

/* Nothing that strangers say lets this side send more than a window can be, or takes back what the
 * peer was allowed.  Who changes the numbers of a packet that is the peer's own, and acknowledges
 * what was not sent, gets a window more [12.9]. */
static void connected(struct pq_flow *f, const struct pq_segment *s)
{
    const uint32_t edge = f->st.ack + f->conn.window, window = UINT32_C(65535) << 14;
    const bool was_open = f->conn.state == PQ_CONNECT_OPEN;
    pq_connect_bare(f, s);
    FUZZ_CHECK(pq_connect_room(f) <= window);
    if (s->len)
        pq_flow_heard(f, s);
    if (f->conn.state != PQ_CONNECT_OPEN) {
        FUZZ_CHECK(pq_connect_room(f) == 0);
        return;
    }
    FUZZ_CHECK(pq_connect_room(f) <= 2 * window);
    FUZZ_CHECK(f->conn.window <= f->conn.window_max || f->conn.window <= 65535);
    FUZZ_CHECK(!was_open || (int32_t)(f->st.ack + f->conn.window - edge) >= 0);
    FUZZ_CHECK(f->conn.window >> f->conn.scale <= 65535);
    (void)pq_connect_ack_at(f, 1);
}

static void as_connection(const struct pq_segment *s)
{
    uint8_t buf[PQ_SLOT_SIZE];
    struct pq_slot slot = {.buf = buf};
    const struct pq_flow_conf conf = {.local = s->dst, .peer = s->src, .look = PQ_LOOK_PLAUSIBLE};
    const struct pq_connect_conf host = {.mss = 1460, .rmem = 6U << 20};
    struct pq_flow asks, open;
    if (pq_addr_is4(&s->src) != pq_addr_is4(&s->dst))
        return;
    pq_flow_init(&asks, &conf);
    pq_connect_client(&asks, &host, 0);
    pq_connect_ask(&asks, &slot, s->ack - 1, 0);
    connected(&asks, s);
    pq_flow_init(&open, &conf);
    pq_connect_server(&open, &host, s);
    pq_connect_answer(&open, &slot, 0);
    connected(&open, s);
    pq_connect_ack(&open, &slot, 0);
    FUZZ_CHECK(open.st.seq == open.conn.first + 1);
}

static void parse(const uint8_t *p, size_t n, size_t link_len)
{
    struct pq_segment s;
    uint8_t *frame = fuzz_exact(p, n);
    enum pq_drop d = pq_segment_parse(&s, frame, n, link_len);
    FUZZ_CHECK(d < PQ_DROP_COUNT);
    if (d == PQ_DROP_NONE) {
        struct pq_view data = {s.data, s.len};
        FUZZ_CHECK(s.len && fuzz_inside(data, frame, n));
        FUZZ_CHECK(!s.src_mac || fuzz_inside((struct pq_view){s.src_mac, 6}, frame, n));
        FUZZ_CHECK(!s.src_mac == !link_len);
        fuzz_touch(data);
        forge(&s);
    }
    if (d == PQ_DROP_NONE || d == PQ_DROP_NO_PAYLOAD)
        as_connection(&s);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    parse(p, n, PQ_ETH_LEN);
    parse(p, n, 0);
    return 0;
}
