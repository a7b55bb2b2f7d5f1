/* SPDX-License-Identifier: MIT */
#include "noise/hkdf.h"

#include "base/err.h"

#include <gcrypt.h>

int pq_hmac(const uint8_t *key, size_t key_len, const struct pq_view *parts, size_t n,
            uint8_t out[PQ_HASH_LEN])
{
    gcry_md_hd_t md;
    if (gcry_md_open(&md, GCRY_MD_SHA256, GCRY_MD_FLAG_HMAC))
        return PQ_ENOMEM;
    gcry_error_t e = gcry_md_setkey(md, key, key_len);
    for (size_t i = 0; !e && i < n; i++)
        gcry_md_write(md, parts[i].p, parts[i].n);
    if (!e)
        memcpy(out, gcry_md_read(md, GCRY_MD_SHA256), PQ_HASH_LEN);
    gcry_md_close(md); /* wipes what it holds */
    return e ? PQ_ENOMEM : 0;
}

int pq_hkdf_extract(struct pq_view salt, struct pq_view ikm, uint8_t prk[PQ_HASH_LEN])
{
    return pq_hmac(salt.p, salt.n, &ikm, 1, prk);
}

int pq_hkdf_expand(const uint8_t prk[PQ_HASH_LEN], struct pq_view info, uint8_t *out, size_t n)
{
    uint8_t block[PQ_HASH_LEN];
    if (n > (size_t)255 * PQ_HASH_LEN)
        return PQ_EINVAL;
    int e = 0;
    for (uint8_t i = 1; !e && n; i++) {
        const struct pq_view parts[] = {
            {block, i == 1 ? 0 : sizeof block},
            info,
            {&i, 1},
        };
        e = pq_hmac(prk, PQ_HASH_LEN, parts, 3, block);
        size_t k = n < sizeof block ? n : sizeof block;
        memcpy(out, block, k);
        out += k;
        n -= k;
    }
    explicit_bzero(block, sizeof block);
    return e;
}

int pq_hkdf_label(const uint8_t prk[PQ_HASH_LEN], const char *label, uint8_t *out, size_t n)
{
    return pq_hkdf_expand(prk, (struct pq_view){(const uint8_t *)label, strlen(label)}, out, n);
}
