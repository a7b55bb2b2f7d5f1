/* SPDX-License-Identifier: MIT */
/* Offsets are relative to the network header and the protocol comes from the kernel, so that one
 * program serves Ethernet, links without a header and VLAN tags that the kernel took off. */
#include "io/filter.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define NET(off)  ((uint32_t)(SKF_NET_OFF + (off)))
#define AUX(what) ((uint32_t)(SKF_AD_OFF + (what)))

size_t pq_filter_build(struct sock_filter prog[PQ_FILTER_MAX], const struct pq_range *ports,
                       size_t n)
{
    static const struct sock_filter head[] = {
        /* 0 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AUX(SKF_AD_PKTTYPE)),
        /* 1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 14, 0),
        /* 2 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AUX(SKF_AD_PROTOCOL)),
        /* 3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 7),
        /* 4 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NET(9)),
        /* 5 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 10),
        /* 6 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, NET(6)),
        /* 7 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 8, 0),
        /* 8 */ BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, NET(0)),
        /* 9 */ BPF_STMT(BPF_LD | BPF_H | BPF_IND, NET(2)),
        /* 10 */ BPF_STMT(BPF_JMP | BPF_JA, 6),
        /* 11 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 4),
        /* 12 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NET(6)),
        /* 13 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 2),
        /* 14 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, NET(42)),
        /* 15 */ BPF_STMT(BPF_JMP | BPF_JA, 1),
        /* 16 */ BPF_STMT(BPF_RET | BPF_K, 0),
        /* 17: the destination port is in A */
    };
    size_t len = 0;
    for (; len < sizeof head / sizeof head[0]; len++)
        prog[len] = head[len];
    for (size_t i = 0; i < n; i++) {
        const uint16_t first = ports[i].from, last = ports[i].to;
        if (first == last) {
            prog[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 1);
        } else {
            prog[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2);
            prog[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0);
        }
        prog[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    }
    prog[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    return len;
}
