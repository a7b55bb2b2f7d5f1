/* SPDX-License-Identifier: MIT */
#include "base/hex.h"

int pq_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool pq_hex_read(const char *text, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, text += 2) {
        const int hi = pq_hex_digit(text[0]), lo = hi < 0 ? -1 : pq_hex_digit(text[1]);
        if (lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
