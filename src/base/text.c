/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* As pq_text_char; *c is the character. */
static size_t read_char(const unsigned char *p, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : 4;
    if (n == 4 && p[0] >> 3 != 30)
        return 0;
    *c = n == 1 ? p[0] : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0; /* the final NUL, too */
        *c = *c << 6 | (p[i] & 0x3fU);
    }
    const bool control =
        *c < 0x20 || (*c >= 0x7f && *c < 0xa0) || *c == 0x2028 || *c == 0x2029 || *c == 0xfeff;
    return control || *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ||
                   (*c & 0xfffe) == 0xfffe
               ? 0
               : n;
}

size_t pq_text_char(const char *p)
{
    uint32_t c;
    return read_char((const unsigned char *)p, &c);
}

size_t pq_text_unseen(const char *p)
{
    static const char mark[] = "\xef\xbb\xbf";
    uint32_t c = 0;
    const size_t n = read_char((const unsigned char *)p, &c);
    if (strncmp(p, mark, sizeof mark - 1) == 0) /* of the byte order, which is no text else */
        return sizeof mark - 1;
    return n && (c == 0xa0 || c == 0xad || (c >= 0x200b && c <= 0x200f) || c == 0x202f ||
                 (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x2064) ||
                 (c >= 0x2066 && c <= 0x2069))
               ? n
               : 0;
}

static void tame(char *text, bool lines)
{
    uint32_t c = 0;
    for (unsigned char *p = (unsigned char *)text; *p;) {
        const size_t n = read_char(p, &c);
        const bool turns = n && ((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069));
        for (size_t i = 0; i < n && turns; i++)
            p[i] = '?';
        if (!n && !(lines && *p == '\n'))
            *p = '?';
        p += n ? n : 1;
    }
}

void pq_text_tame(char *text)
{
    tame(text, false);
}

void pq_text_tame_lines(char *text)
{
    tame(text, true);
}
