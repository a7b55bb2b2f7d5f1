/* SPDX-License-Identifier: MIT */
#include "conf/scalar.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 64

/* Digits, one dot among them, an exponent perhaps: what strtod takes beyond that is not meant. */
static bool is_fraction(const char *s)
{
    size_t digits = 0;
    s += *s == '-';
    for (; isdigit((unsigned char)*s) || *s == '.'; s++)
        digits += *s != '.';
    if (digits && (*s == 'e' || *s == 'E')) {
        s++;
        s += *s == '+' || *s == '-';
        digits = strspn(s, "0123456789");
        s += digits;
    }
    return digits && !*s;
}

static bool read_int(const char *s, int base, struct pq_scalar *out)
{
    char *end;
    if (!isxdigit((unsigned char)*s))
        return false;
    errno = 0;
    out->value = strtoull(s, &end, base);
    out->is_int = true;
    return !*end && !errno;
}

bool pq_scalar_number(const char *text, struct pq_scalar *out)
{
    char s[DIGITS_MAX] = "";
    size_t n = 0, dots = 0;
    *out = (struct pq_scalar){.negative = *text == '-'};
    if (!*text || *text == '_' || strlen(text) >= sizeof s)
        return false;
    for (const char *p = text + (*text == '-' || *text == '+'); *p; p++) {
        dots += *p == '.';
        if (*p != '_')
            s[n++] = *p;
    }
    s[n] = 0;
    if (dots > 1)
        return false;
    if (strncmp(s, "0x", 2) == 0)
        return read_int(s + 2, 16, out);
    if (strncmp(s, "0o", 2) == 0)
        return read_int(s + 2, 8, out);
    if (strncmp(s, "0b", 2) == 0)
        return read_int(s + 2, 2, out);
    if (!dots)
        return read_int(s, *s == '0' && n > 1 ? 8 : 10, out);
    if (!is_fraction(s))
        return false;
    out->real = strtod(s, NULL);
    if (out->negative)
        out->real = -out->real;
    return isfinite(out->real);
}

/* As Go prints a float64: the shortest digits that give it back, an exponent only where it is small
 * or large. */
static void put_real(double v, char buf[40])
{
    char e[40];
    int digits = 1;
    do
        snprintf(e, sizeof e, "%.*e", digits - 1, v);
    while (strtod(e, NULL) != v && ++digits <= 17);
    const int exponent = (int)strtol(strchr(e, 'e') + 1, NULL, 10);
    if (v == 0 || (exponent >= -4 && exponent < 6))
        snprintf(buf, 40, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 0, v);
    else
        memcpy(buf, e, strlen(e) + 1);
}

const char *pq_scalar_text(const char *text, char buf[40])
{
    static const char *const words[][2] = {
        {"True", "true"},  {"TRUE", "true"},  {"False", "false"}, {"FALSE", "false"},
        {".inf", "+Inf"},  {".Inf", "+Inf"},  {".INF", "+Inf"},   {"-.inf", "-Inf"},
        {"-.Inf", "-Inf"}, {"-.INF", "-Inf"}, {".nan", "NaN"},    {".NaN", "NaN"},
        {".NAN", "NaN"},
    };
    struct pq_scalar n;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i][0]) == 0)
            return words[i][1];
    if (!pq_scalar_number(text, &n))
        return text;
    if (n.is_int)
        snprintf(buf, 40, "%s%llu", n.negative && n.value ? "-" : "", n.value);
    else
        put_real(n.real, buf);
    return buf;
}

static int sextet(char c)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(set, c) : NULL;
    return at ? (int)(at - set) : -1;
}

char *pq_scalar_binary(const char *text)
{
    char *out = calloc(1, strlen(text) + 1), *w = out;
    unsigned bits = 0, have = 0;
    for (const char *p = text; out && *p && *p != '='; p++) {
        int v = sextet(*p);
        if (v < 0 && isspace((unsigned char)*p))
            continue;
        if (v < 0) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (unsigned)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *w++ = (char)(bits >> have & 255);
        }
    }
    return out;
}
