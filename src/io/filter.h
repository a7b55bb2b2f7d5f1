/* SPDX-License-Identifier: MIT */
/* filter.h - the kernel-side filter of AF_PACKET: incoming TCP to one of some ports, IPv4 without
 * fragments or IPv6 without extension headers.  For io/ and its test. */
#ifndef PQ_IO_FILTER_H
#define PQ_IO_FILTER_H
#include "base/addr.h"

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_FILTER_MAX (32 + 3 * 256)

/* Writes the program for n ports or ranges of them (0 = refuse all); returns its length. */
size_t pq_filter_build(struct sock_filter prog[PQ_FILTER_MAX], const struct pq_range *ports,
                       size_t n);
#endif
