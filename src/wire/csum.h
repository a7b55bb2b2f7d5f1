/* SPDX-License-Identifier: MIT */
/* csum.h - the Internet checksum (RFC 1071) as a running sum. */
#ifndef PQ_WIRE_CSUM_H
#define PQ_WIRE_CSUM_H
#include <stddef.h>
#include <stdint.h>

/* Adds n bytes, read as 16-bit words in memory order, to a running sum.  Only the last piece of a
 * sum may have an odd length. */
uint64_t pq_csum_add(uint64_t sum, const uint8_t *p, size_t n);

/* Folds and inverts; the result is stored with memcpy, in memory order. */
uint16_t pq_csum_fold(uint64_t sum);
#endif
