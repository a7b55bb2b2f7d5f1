/* SPDX-License-Identifier: MIT */
/* Datagrams that show whether they were cut, joined, changed or mixed up on the way. */
#include "load.h"
#include "udp.h"

#include <string.h>
#include <time.h>

#define MAGIC 0x75647031u

static uint64_t pattern_offset(uint32_t flow, uint32_t number)
{
    return (uint64_t)flow << 24 ^ (uint64_t)number << 8;
}

/* `front` is what stands, or will stand, before the pattern; its sum counts as 0. */
static uint64_t sum_of(struct datagram front, const uint8_t *bytes, size_t len)
{
    front.sum = 0;
    uint64_t sum = checksum_add(CHECKSUM_START, (const uint8_t *)&front, sizeof front);
    return checksum_add(sum, bytes + sizeof front, len - sizeof front);
}

void datagram_make(uint8_t *bytes, size_t len, uint32_t flow, uint32_t number, uint64_t now)
{
    struct datagram front = {MAGIC, flow, number, (uint32_t)len, now, 0};
    pattern_fill(bytes + sizeof front, len - sizeof front, pattern_offset(flow, number));
    front.sum = sum_of(front, bytes, len);
    memcpy(bytes, &front, sizeof front);
}

bool datagram_check(const uint8_t *bytes, size_t len, struct datagram *out)
{
    if (len < sizeof *out)
        return false;
    memcpy(out, bytes, sizeof *out);
    return out->magic == MAGIC && out->len == len && out->sum == sum_of(*out, bytes, len);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
