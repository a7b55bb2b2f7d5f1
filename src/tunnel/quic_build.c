/* SPDX-License-Identifier: MIT */
/* quic_build.c - of which build the module is: the program takes no other, since both know what the
 * other one's structures look like. */
#include "version.h"

extern const char pq_quic_build[];
const char pq_quic_build[] = PQ_BUILD;
