/* SPDX-License-Identifier: MIT */
#include "setup/link.h"

#include "base/hex.h"
#include "base/text.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void pq_b64_write(const uint8_t key[PQ_LINK_KEY_LEN], char out[PQ_B64_KEY_LEN + 1])
{
    uint32_t bits = 0;
    unsigned n = 0;
    size_t len = 0;
    for (size_t i = 0; i < PQ_LINK_KEY_LEN; i++) {
        bits = bits << 8 | key[i];
        for (n += 8; n >= 6; n -= 6)
            out[len++] = digits[bits >> (n - 6) & 63];
    }
    out[len++] = digits[bits << (6 - n) & 63];
    out[len] = 0;
}

bool pq_b64_read(const char *text, uint8_t key[PQ_LINK_KEY_LEN])
{
    uint32_t bits = 0;
    unsigned n = 0;
    size_t len = 0;
    if (strlen(text) != PQ_B64_KEY_LEN)
        return false;
    for (size_t i = 0; i < PQ_B64_KEY_LEN; i++) {
        const char *digit = strchr(digits, text[i]);
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n += 6;
        if (n >= 8 && len < PQ_LINK_KEY_LEN) {
            n -= 8;
            key[len++] = (uint8_t)(bits >> n);
        }
    }
    return (bits & ((1U << n) - 1)) == 0; /* one text for each key */
}

bool pq_utf8_is_text(const char *text)
{
    while (*text) {
        const size_t n = pq_text_char(text);
        if (!n)
            return false;
        text += n;
    }
    return true;
}

bool pq_percent_read(const char *text, size_t n, bool form, char *out, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (form && c == '+')
            c = ' ';
        if (text[i] == '%') {
            uint8_t byte;
            char hex[3] = {0};
            if (n - i < 3)
                return false;
            memcpy(hex, text + i + 1, 2);
            if (!pq_hex_read(hex, &byte, 1) || !byte)
                return false;
            c = (char)byte;
            i += 2;
        }
        if (len + 1 >= cap)
            return false;
        out[len++] = c;
    }
    out[len] = 0;
    return pq_utf8_is_text(out);
}

bool pq_percent_write(const char *text, const char *plain, char *out, size_t cap)
{
    size_t len = strlen(out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        const bool as_is = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || strchr(plain, c);
        const size_t need = as_is ? 1 : 3;
        if (len + need + 1 > cap)
            return false;
        if (as_is) {
            out[len] = (char)c;
        } else {
            out[len] = '%';
            out[len + 1] = "0123456789ABCDEF"[c >> 4];
            out[len + 2] = "0123456789ABCDEF"[c & 15];
        }
        len += need;
        out[len] = 0;
    }
    return true;
}
