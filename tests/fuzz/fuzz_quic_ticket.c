/* SPDX-License-Identifier: MIT */
/* fuzz_quic_ticket.c - where a ticket is in the extension of a ClientHello, and in a
 * NewSessionTicket [13.10]: what is found lies within the bytes, behind its own length. */
#include "fuzz.h"
#include "quic/quic_ticket.h"

static void check(struct pq_view all, struct pq_view found, size_t least)
{
    if (!found.n)
        return;
    FUZZ_CHECK(found.p >= all.p + least && found.p + found.n <= all.p + all.n);
    FUZZ_CHECK(((size_t)found.p[-2] << 8 | found.p[-1]) == found.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t *copy = fuzz_exact(p, n);
    const struct pq_view all = {copy, n};
    check(all, quic_ticket_asked(all), 4);
    check(all, quic_ticket_given(all), 11);
    free(copy);
    return 0;
}
