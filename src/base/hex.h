/* SPDX-License-Identifier: MIT */
/* hex.h - reading of hex digits, upper or lower case.  Any thread. */
#ifndef PQ_BASE_HEX_H
#define PQ_BASE_HEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of a hex digit, or -1. */
int pq_hex_digit(char c);

/* Reads the n bytes that 2 * n digits at the start of text stand for; text ends with a 0, and what
 * follows the digits is not looked at.  Returns false if there are fewer. */
bool pq_hex_read(const char *text, uint8_t *out, size_t n);
#endif
