/* SPDX-License-Identifier: MIT */
#include "base/near.h"

#include <string.h>

#define MOST 63

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned pq_text_distance(const char *a, const char *b)
{
    unsigned rows[3][MOST + 1]; /* of this letter of a, of the one before, of the one before that */
    size_t m = strlen(a), n = strlen(b);
    if (m > MOST || n > MOST)
        return MOST + 1;
    unsigned *row = rows[0], *last = rows[1], *older = rows[2];
    for (unsigned j = 0; j <= n; j++)
        row[j] = older[j] = j;
    for (unsigned i = 1; i <= m; i++) {
        unsigned *free = older;
        older = last;
        last = row;
        row = free;
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            row[j] = least(last[j] + 1, row[j - 1] + 1);
            row[j] = least(row[j], last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], older[j - 2] + 1);
        }
    }
    return row[n];
}
