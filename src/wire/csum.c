/* SPDX-License-Identifier: MIT */
#include "wire/csum.h"

#include <string.h>

/* Adds with end-around carry, so that 64-bit words keep the 16-bit one's complement sum. */
static inline uint64_t add64(uint64_t a, uint64_t b)
{
    a += b;
    return a + (a < b);
}

uint64_t pq_csum_add(uint64_t sum, const uint8_t *p, size_t n)
{
    uint64_t w[4], s2 = 0;
    for (; n >= 32; p += 32, n -= 32) {
        memcpy(w, p, 32);
        sum = add64(sum, w[0]);
        s2 = add64(s2, w[1]);
        sum = add64(sum, w[2]);
        s2 = add64(s2, w[3]);
    }
    sum = add64(sum, s2);
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(w, p, 8);
        sum = add64(sum, w[0]);
    }
    if (n) {
        w[0] = 0;
        memcpy(w, p, n); /* zero padded, as the checksum of an odd length wants it */
        sum = add64(sum, w[0]);
    }
    return sum;
}

uint16_t pq_csum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}
