/* SPDX-License-Identifier: MIT */
/* resolvers.h - whom this machine asks for names. */
#ifndef PQ_OS_RESOLVERS_H
#define PQ_OS_RESOLVERS_H
#include "base/addr.h"

/* The resolvers that the machine has been given, with port 53: those of resolv.conf that are not on
 * the machine itself; if it asks one of its own, those which that one asks (systemd-resolved,
 * NetworkManager, OpenWrt).  Link-local ones of IPv6 are left out.  Reads small files.  Returns how
 * many, at most max. */
unsigned pq_resolvers(struct pq_addr *out, unsigned max);
#endif
