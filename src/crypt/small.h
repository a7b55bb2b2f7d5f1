/* SPDX-License-Identifier: MIT */
/* small.h - TEA, XTEA and the XOR table, which no library carries in the form that peers use
 * [2.1].  For crypt.c and its test only. */
#ifndef PQ_CRYPT_SMALL_H
#define PQ_CRYPT_SMALL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pq_small_id { PQ_SMALL_TEA, PQ_SMALL_XTEA, PQ_SMALL_XOR };

#define PQ_XOR_TABLE 1500

struct pq_small {
    enum pq_small_id id;
    uint32_t k[4];
    uint8_t table[PQ_XOR_TABLE];
};

/* Prepares the cipher from the derived key (16 bytes used, 32 for XOR).
 * Returns 0 or PQ_ENOTSUP (the library refuses the table's derivation). */
int pq_small_init(struct pq_small *s, enum pq_small_id id, const uint8_t *key);

/* Transforms n bytes in place: CFB with the first 8 bytes of iv, or XOR of the first 1500. */
void pq_small_crypt(const struct pq_small *s, uint8_t *p, size_t n, const uint8_t *iv, bool seal);
#endif
