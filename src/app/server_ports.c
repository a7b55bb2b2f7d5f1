/* SPDX-License-Identifier: MIT */
#include "app/server_ports.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 200 /* bytes of a kernel's setting that is shown whole */

/* Answers to a connection of this machine's own that had one of the ports would be kept from the
 * kernel.  A single port is bound, so no such connection gets it. */
bool pq_server_ports_given(const struct pq_range *r, char why[PQ_WHY_LEN])
{
    char reserve[PQ_RESERVE_TEXT], ports[PQ_RANGE_STRLEN];
    if (r->from == r->to || !pq_ports_given_away(r, reserve))
        return false;
    const char *what = strlen(reserve) <= SHOWN ? reserve : pq_range_str(r, ports);
    snprintf(why, PQ_WHY_LEN,
             "the kernel gives some of the ports %s to connections of this machine by itself "
             "(net.ipv4.ip_local_port_range); choose others, or tell it not to: put %s\n"
             "  net.ipv4.ip_local_reserved_ports = %s\n"
             "into /etc/sysctl.d/90-paqet.conf, and type: sysctl -p /etc/sysctl.d/90-paqet.conf",
             pq_range_str(r, ports),
             what == reserve ? "the line" : "these ports besides those that are there", what);
    return true;
}

int pq_server_ports_hold(struct pq_port_hold *h, const struct pq_range *r, char why[PQ_WHY_LEN])
{
    uint16_t taken;
    h->port.fd4 = h->port.fd6 = h->mark = -1;
    if (pq_server_ports_given(r, why))
        return -EADDRINUSE;
    const int e = pq_ports_hold(h, r, &taken);
    if (e)
        snprintf(why, PQ_WHY_LEN, "port %u %s%s", taken,
                 e == -EADDRINUSE ? "is in use by another program (another paqet server?); choose "
                                  : pq_strerror(e),
                 e != -EADDRINUSE   ? ""
                 : r->from == r->to ? "another one"
                                    : "a range without it");
    return e;
}
