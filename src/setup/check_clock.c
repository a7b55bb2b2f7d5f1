/* SPDX-License-Identifier: MIT */
/* check_clock.c - the clocks of both ends beside each other. */
#include "setup/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_S 60  /* a SYN proves itself by the clock [12.9] */
#define KEYS_S    120 /* a handshake by its stamp [12.2, 13.3] */

unsigned pq_check_clock_bound(const struct pq_conf *c)
{
    return !c->over_quic && c->look == PQ_LOOK_CONNECT ? CONNECT_S
           : c->over_quic || c->server[0].has_key      ? KEYS_S
                                                       : 0;
}

static const char *span(int64_t ms, char buf[32])
{
    const double s = (double)ms / 1000;
    if (s < 100)
        snprintf(buf, 32, "%.1f s", s);
    else if (s < 6000)
        snprintf(buf, 32, "%.0f minutes", s / 60);
    else if (s < 48 * 3600.0)
        snprintf(buf, 32, "%.1f hours", s / 3600);
    else
        snprintf(buf, 32, "%.0f days", s / 86400);
    return buf;
}

int64_t pq_check_ahead(uint64_t told, uint64_t wall)
{
    const uint64_t far = told > wall ? told - wall : wall - told;
    const int64_t ms = far < INT64_MAX ? (int64_t)far : INT64_MAX;
    return told > wall ? ms : -ms;
}

const char *pq_check_apart(int64_t ms, char buf[48])
{
    char far[32];
    snprintf(buf, 48, "%s %s", span(llabs(ms), far), ms < 0 ? "behind" : "before");
    return buf;
}

void pq_check_clock(const struct pq_probe_clock *clock, unsigned bound, struct pq_findings *f)
{
    const int64_t apart = llabs(clock->ahead), most = (int64_t)bound * 1000;
    char far[48], sure[32], may[96] = "";
    if (clock->impossible)
        pq_finding_add(f, PQ_FINDING_NOTE, "clock",
                       "\"date -u\" at both ends tells how far they are apart",
                       "what the server says of its clock cannot be true");
    if (!clock->known)
        return;
    if (bound)
        snprintf(may, sizeof may, "; they may differ by %u s", bound);
    pq_check_apart(clock->ahead, far);
    span(clock->sure, sure);
    if (!bound || apart - clock->sure <= most / 2)
        pq_finding_add(f, PQ_FINDING_OK, "clock", NULL,
                       "the server's is %s this one, give or take %s%s", far, sure, may);
    else
        pq_finding_add(f, apart - clock->sure > most ? PQ_FINDING_BAD : PQ_FINDING_NOTE, "clock",
                       "\"date -u\" at both ends tells which is wrong; set that one right, and "
                       "start a time service there (systemd-timesyncd, chrony, ntpd)",
                       "the server's is %s this one, give or take %s; where they differ by more "
                       "than %u s the server may not answer when either end is started anew",
                       far, sure, bound);
}
