/* SPDX-License-Identifier: MIT */
#include "base/flags.h"

#include "base/err.h"

#include <string.h>

int pq_flags_parse(const char *text, uint16_t *out)
{
    static const char letters[] = "FSRPAUECN"; /* bit 0 first */
    unsigned v = 0;
    for (; *text; text++) {
        const char *at = strchr(letters, *text);
        if (!at)
            return PQ_EINVAL;
        v |= 1u << (at - letters);
    }
    *out = (uint16_t)v;
    return 0;
}
