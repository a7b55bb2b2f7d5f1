/* SPDX-License-Identifier: MIT */
#include "crypt/small.h"

#include "base/bytes.h"
#include "base/err.h"

#include <gcrypt.h>

#define DELTA 0x9E3779B9u

int pq_small_init(struct pq_small *s, enum pq_small_id id, const uint8_t *key)
{
    s->id = id;
    for (size_t i = 0; i < 4; i++)
        s->k[i] = pq_be32(key + 4 * i);
    if (id != PQ_SMALL_XOR)
        return 0;
    return gcry_kdf_derive(key, 32, GCRY_KDF_PBKDF2, GCRY_MD_SHA1, "sH3CIVoF#rWLtJo6", 16, 32,
                           sizeof s->table, s->table)
               ? PQ_ENOTSUP
               : 0;
}

/* TEA with 8 cycles of two half rounds, words big endian [2.1]. */
static void tea(const uint32_t k[4], uint8_t b[8])
{
    uint32_t v0 = pq_be32(b), v1 = pq_be32(b + 4), sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += DELTA;
        v0 += ((v1 << 4) + k[0]) ^ (v1 + sum) ^ ((v1 >> 5) + k[1]);
        v1 += ((v0 << 4) + k[2]) ^ (v0 + sum) ^ ((v0 >> 5) + k[3]);
    }
    pq_put_be32(b, v0);
    pq_put_be32(b + 4, v1);
}

/* XTEA with 32 cycles, words big endian [2.1]. */
static void xtea(const uint32_t k[4], uint8_t b[8])
{
    uint32_t v0 = pq_be32(b), v1 = pq_be32(b + 4), sum = 0;
    for (int i = 0; i < 32; i++) {
        v0 += (((v1 << 4) ^ (v1 >> 5)) + v1) ^ (sum + k[sum & 3]);
        sum += DELTA;
        v1 += (((v0 << 4) ^ (v0 >> 5)) + v0) ^ (sum + k[(sum >> 11) & 3]);
    }
    pq_put_be32(b, v0);
    pq_put_be32(b + 4, v1);
}

void pq_small_crypt(const struct pq_small *s, uint8_t *p, size_t n, const uint8_t *iv, bool seal)
{
    if (s->id == PQ_SMALL_XOR) {
        for (size_t i = 0; i < n && i < PQ_XOR_TABLE; i++)
            p[i] ^= s->table[i];
        return;
    }
    uint8_t stream[8];
    memcpy(stream, iv, 8);
    while (n) {
        size_t k = n < 8 ? n : 8;
        uint8_t in[8];
        if (s->id == PQ_SMALL_TEA)
            tea(s->k, stream);
        else
            xtea(s->k, stream);
        memcpy(in, p, k);
        for (size_t i = 0; i < k; i++)
            p[i] ^= stream[i];
        memcpy(stream, seal ? p : in, k);
        p += k;
        n -= k;
    }
}
