/* SPDX-License-Identifier: MIT */
/* seal_internal.h - the state of a key; for seal.c and tests, whose counters jump. */
#ifndef PQ_CRYPT_SEAL_INTERNAL_H
#define PQ_CRYPT_SEAL_INTERNAL_H
#include "crypt/seal.h"

struct gcry_cipher_handle; /* of libgcrypt, which calls a pointer to it gcry_cipher_hd_t */

struct pq_mask {
    struct gcry_cipher_handle *hd;
};

struct pq_seal {
    struct gcry_cipher_handle *hd;
    enum pq_aead aead;
    uint32_t next;           /* counter to seal with */
    struct pq_window opened; /* counters that have come ... */
    uint32_t n_opened;       /* ... and how many */
};
#endif
