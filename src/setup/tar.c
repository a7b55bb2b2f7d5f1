/* SPDX-License-Identifier: MIT */
/* tar.c - archives as POSIX defines them (ustar, IEEE Std 1003.1, pax), regular files only. */
#include "setup/setup_internal.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK    512U
#define NAME_LEN 100U

/* A number as octal digits that fill the field but for its last byte. */
static void put_octal(uint8_t *field, size_t n, uint64_t v)
{
    for (size_t i = n - 1; i-- > 0; v >>= 3)
        field[i] = (uint8_t)('0' + (v & 7));
}

static void put_head(uint8_t *h, const struct pq_tar_file *f, uint64_t now)
{
    static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
    for (size_t i = 0; f->name[i]; i++) /* shorter than its field, which zeros fill */
        h[i] = (uint8_t)f->name[i];
    put_octal(h + 100, 8, f->mode);
    put_octal(h + 108, 8, 0); /* root's, or whoever unpacks it */
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, f->n);
    put_octal(h + 136, 12, now);
    h[156] = '0';
    memcpy(h + 257, magic, sizeof magic);
    unsigned sum = 8 * ' '; /* the field of the sum counts as blanks */
    for (unsigned i = 0; i < BLOCK; i++)
        sum += h[i];
    put_octal(h + 148, 7, sum);
    h[155] = ' ';
}

static size_t padded(size_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

int pq_tar_write(const char *path, const struct pq_tar_file *v, size_t n,
                 const struct pq_file_owner *owner)
{
    size_t len = (size_t)2 * BLOCK; /* of zeros are the end */
    for (size_t i = 0; i < n; i++) {
        if (!*v[i].name || strlen(v[i].name) >= NAME_LEN)
            return PQ_EINVAL;
        len += BLOCK + padded(v[i].n);
    }
    uint8_t *p = calloc(1, len);
    if (!p)
        return PQ_ENOMEM;
    const time_t now = time(NULL);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        put_head(p + at, &v[i], now > 0 ? (uint64_t)now : 0);
        memcpy(p + at + BLOCK, v[i].p, v[i].n);
        at += BLOCK + padded(v[i].n);
    }
    const int e = pq_file_write(path, p, len, 0600, owner);
    explicit_bzero(p, len);
    free(p);
    return e;
}
