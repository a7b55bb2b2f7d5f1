/* SPDX-License-Identifier: MIT */
#include "crypt/crc32.h"

#include "base/bytes.h"

#define POLYNOMIAL 0xedb88320u

/* table[k][b]: what byte b does to the checksum, k bytes before its end. */
static uint32_t table[8][256];

void pq_crc32_init(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? POLYNOMIAL : 0);
        table[0][b] = c;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

uint32_t pq_crc32(const uint8_t *p, size_t n)
{
    uint32_t c = UINT32_MAX;
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t lo = c ^ pq_le32(p), hi = pq_le32(p + 4);
        c = table[7][lo & 255] ^ table[6][lo >> 8 & 255] ^ table[5][lo >> 16 & 255] ^
            table[4][lo >> 24] ^ table[3][hi & 255] ^ table[2][hi >> 8 & 255] ^
            table[1][hi >> 16 & 255] ^ table[0][hi >> 24];
    }
    for (; n; p++, n--)
        c = c >> 8 ^ table[0][(c ^ *p) & 255];
    return ~c;
}
