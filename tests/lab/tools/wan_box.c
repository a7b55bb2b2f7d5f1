/* SPDX-License-Identifier: MIT */
/* wan_box.c - what boxes on the way do to TCP flows over IPv4: they kill them, show the client's
 * ports as others and forget which, or let packets come from somewhere else. */
#include "wan.h"

#include <string.h>

enum { IP_HEADER = 20, TCP_HEADER = 20, PORT_FIRST = 1024, PORT_COUNT = 65536 - PORT_FIRST };

static struct flow { /* by its port */
    uint64_t first, bytes;
} flows[65536];

static uint64_t dead_until; /* flows that began before are dead; 0: none is */

void box_kill_all(uint64_t now)
{
    dead_until = now;
}

static struct {
    uint64_t since; /* of the bindings that hold */
    uint16_t outer[65536], inner[65536];
    uint16_t next;
} nat;

struct tcp { /* a segment within a frame */
    uint8_t *ip, *tcp;
    uint32_t len; /* of the IP packet */
};

static bool find_tcp(uint8_t *frame, uint32_t len, struct tcp *out)
{
    if (len < ETHERNET_HEADER + IP_HEADER + TCP_HEADER || frame[12] != 8 || frame[13] != 0)
        return false;
    out->ip = frame + ETHERNET_HEADER;
    out->len = len - ETHERNET_HEADER;
    out->tcp = out->ip + 4 * (size_t)(out->ip[0] & 15);
    return out->ip[9] == 6 && out->tcp + TCP_HEADER <= frame + len;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Changes two bytes that a checksum covers [RFC 1624]. */
static void change(uint8_t *sum, uint8_t *at, uint16_t to)
{
    uint32_t s = (uint16_t)~get16(sum) + (uint32_t)(uint16_t)~get16(at) + to;
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    put16(sum, (uint16_t)~s);
    put16(at, to);
}

static bool is_killed(const struct box_settings *set, const struct tcp *t, bool back, uint64_t now)
{
    /* the port of the client is the source on the way there, the destination on the way back */
    struct flow *flow = &flows[get16(t->tcp + (set->kill_by_server == back ? 0 : 2))];
    flow->first = flow->first ? flow->first : now;
    flow->bytes += t->len;
    if (flow->first <= dead_until)
        return true;
    const bool dead = (set->kill_ns > 0 && (double)(now - flow->first) >= set->kill_ns) ||
                      (set->kill_bytes > 0 && (double)flow->bytes >= set->kill_bytes);
    return dead && set->kill_way[back];
}

static uint16_t bind_port(struct box_counters *count, uint16_t inner)
{
    const uint16_t outer = (uint16_t)(PORT_FIRST + nat.next++ % PORT_COUNT);
    nat.outer[inner] = outer;
    nat.inner[outer] = inner;
    count->bindings++;
    return outer;
}

/* Returns false where a port leads nowhere. */
static bool translate(const struct box_settings *set, struct box_counters *count, struct tcp *t,
                      bool back, uint64_t now)
{
    uint8_t *port = t->tcp + (back ? 2 : 0);
    if ((double)(now - nat.since) >= set->nat_ns) {
        memset(nat.outer, 0, sizeof nat.outer);
        memset(nat.inner, 0, sizeof nat.inner);
        nat.since = now;
    }
    uint16_t to = back ? nat.inner[get16(port)] : nat.outer[get16(port)];
    if (!to && !back)
        to = bind_port(count, get16(port));
    count->unbound += !to;
    if (to)
        change(t->tcp + 16, port, to);
    return to != 0;
}

static void divert(const struct box_settings *set, struct box_counters *count, struct tcp *t)
{
    static uint32_t n;
    if (++n % set->divert)
        return;
    for (int i = 0; i < 4; i += 2) {
        uint8_t was[2] = {t->ip[12 + i], t->ip[13 + i]};
        change(t->tcp + 16, was, get16(set->divert_from + i)); /* its pseudo header */
        change(t->ip + 10, t->ip + 12 + i, get16(set->divert_from + i));
    }
    count->diverted += t->len;
}

bool box_pass(const struct box_settings *set, struct box_counters *count, bool back, uint8_t *frame,
              uint32_t len, uint64_t now)
{
    struct tcp t;
    if (!find_tcp(frame, len, &t))
        return true;
    if (set->divert && back && memcmp(t.ip + 16, set->divert_from, 4) == 0) {
        count->to_elsewhere += t.len;
        return false;
    }
    if ((set->flags[back] && t.tcp[13] == set->flags[back]) ||
        (set->longest[back] && t.len > set->longest[back]))
        return false;
    if (is_killed(set, &t, back, now)) {
        count->killed[back]++;
        return false;
    }
    if (set->nat_ns > 0 && !translate(set, count, &t, back, now))
        return false;
    if (set->divert && !back)
        divert(set, count, &t);
    return true;
}
