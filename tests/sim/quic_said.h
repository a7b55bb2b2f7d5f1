/* SPDX-License-Identifier: MIT */
/* quic_said.h - other frames in place of those that QUIC is about to encrypt.  Who links
 * quic_said.c with --wrap=ngtcp2_crypto_encrypt_cb says which. */
#ifndef PQ_TEST_QUIC_SAID_H
#define PQ_TEST_QUIC_SAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the test: whether the n bytes at `other`, of PQ_QUIC_SIZE_MAX, go in place of those at `plain`
 * in the packet with that head. */
bool quic_said(uint8_t *other, const uint8_t *plain, size_t n, const uint8_t *head);

#endif
