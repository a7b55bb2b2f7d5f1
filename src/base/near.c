/* SPDX-License-Identifier: MIT */
#include "base/near.h"

#include <string.h>

unsigned pq_text_distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t m = strlen(a), n = strlen(b);
    if (m > 63 || n > 63)
        return 64;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= m; i++) {
        unsigned diag = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = diag + (a[i - 1] != b[j - 1]);
            diag = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}
