/* SPDX-License-Identifier: MIT */
/* tun_refuse.h - the answer to a packet that is not to leave, so that its sender does not wait. */
#ifndef PQ_ENTRY_TUN_REFUSE_H
#define PQ_ENTRY_TUN_REFUSE_H
#include "relay/tun.h"

#define PQ_TUN_REFUSAL_MAX 128 /* bytes */

/* Writes the answer, as of the one that the packet was for: to TCP a reset, which ends connections
 * that are there, too, to the rest an ICMP packet, "administratively prohibited".  Returns its
 * length, or 0: this packet is not to be answered (multicast, a reset, ICMP that is no echo
 * request, a later fragment, a header cut off).  Pure. */
size_t pq_tun_refuse(uint8_t out[PQ_TUN_REFUSAL_MAX], const struct pq_tun_packet *pkt);
#endif
