/* SPDX-License-Identifier: MIT */
/* flags.h - TCP flag sets and lists of them, used in turn, one per packet [1.3]. */
#ifndef PQ_BASE_FLAGS_H
#define PQ_BASE_FLAGS_H
#include <stdint.h>

enum { /* bits as in the TCP header and in the binary TCPF message [6.1] */
       PQ_TCP_FIN = 0x001,
       PQ_TCP_SYN = 0x002,
       PQ_TCP_RST = 0x004,
       PQ_TCP_PSH = 0x008,
       PQ_TCP_ACK = 0x010,
       PQ_TCP_URG = 0x020,
       PQ_TCP_ECE = 0x040,
       PQ_TCP_CWR = 0x080,
       PQ_TCP_NS = 0x100,
       PQ_TCP_ALL = 0x1ff,
};

#define PQ_FLAGS_MAX 64 /* entries of a list; family B reads no more [6.1] */

struct pq_flags {
    uint16_t v[PQ_FLAGS_MAX];
    uint8_t n;
};

/* Reads letters of "FSRPAUECN" in any order, repeats allowed, "" = no flag set.
 * Returns 0 or PQ_EINVAL (*out unchanged). */
int pq_flags_parse(const char *text, uint16_t *out);
#endif
