/* SPDX-License-Identifier: MIT */
/* slot.h - where packets lie on their way: a slot is one datagram being made, with room in front
 * for every header; a frame is one packet as the kernel delivered it. */
#ifndef PQ_BASE_SLOT_H
#define PQ_BASE_SLOT_H
#include <stdint.h>

#define PQ_SLOT_SIZE 2048 /* bytes of one slot */
#define PQ_SLOT_HEAD                                                                               \
    128 /* link 14 + IPv6 40 + TCP with options 60, or 32 and 23 [12.9], rounded up */
#define PQ_DGRAM_MAX 1500 /* most bytes of one datagram = TCP payload that peers read [1.2] */

struct pq_slot {
    uint8_t *buf;      /* PQ_SLOT_SIZE bytes, owned by the worker */
    uint16_t off, len; /* bytes in use are buf[off .. off+len) */
    /* A run: the first slot has the headers for all, `more` slots behind it are bare datagrams of
     * `gso` bytes, as its own is, but the last may be shorter.  0 and 0: a packet by itself. */
    uint16_t gso;
    uint16_t more;
};

struct pq_frame {
    uint8_t *p; /* from the link header on; may be written (decryption is in place) */
    uint32_t len;
    uint32_t wire_len; /* as it was on the wire; > len if the kernel cut it */
    uint16_t
        gso_size; /* not 0: several datagrams glued together, each gso_size bytes but the last */
};
#endif
