/* SPDX-License-Identifier: MIT */
#include "quic_said.h"

#include "quic/quic_internal.h"

int __real_ngtcp2_crypto_encrypt_cb(uint8_t *to, const ngtcp2_crypto_aead *aead,
                                    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
                                    size_t n, const uint8_t *nonce, size_t n_nonce,
                                    const uint8_t *head, size_t n_head);
int __wrap_ngtcp2_crypto_encrypt_cb(uint8_t *to, const ngtcp2_crypto_aead *aead,
                                    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
                                    size_t n, const uint8_t *nonce, size_t n_nonce,
                                    const uint8_t *head, size_t n_head);

/* NOLINTNEXTLINE(readability-function-size): the library's signature */
int __wrap_ngtcp2_crypto_encrypt_cb(uint8_t *to, const ngtcp2_crypto_aead *aead,
                                    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
                                    size_t n, const uint8_t *nonce, size_t n_nonce,
                                    const uint8_t *head, size_t n_head)
{
    uint8_t other[PQ_QUIC_SIZE_MAX];
    if (quic_said(other, plain, n, head))
        plain = other;
    return __real_ngtcp2_crypto_encrypt_cb(to, aead, ctx, plain, n, nonce, n_nonce, head, n_head);
}
