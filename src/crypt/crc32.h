/* SPDX-License-Identifier: MIT */
/* crc32.h - CRC-32 of IEEE 802.3 by tables, for where the library has none (FIPS mode). */
#ifndef PQ_CRYPT_CRC32_H
#define PQ_CRYPT_CRC32_H
#include <stddef.h>
#include <stdint.h>

/* Makes the tables; before the first pq_crc32, once, from one thread.  Doing it again is harmless.
 */
void pq_crc32_init(void);

/* The checksum of n bytes: reflected, polynomial 0xEDB88320, initial and final value inverted. */
uint32_t pq_crc32(const uint8_t *p, size_t n);
#endif
