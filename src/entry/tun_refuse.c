/* SPDX-License-Identifier: MIT */
#include "entry/tun_refuse.h"

#include "base/bytes.h"
#include "wire/csum.h"

#include <netinet/in.h>

#include <string.h>

#define IP4_LEN  20
#define IP6_LEN  40
#define ICMP_LEN 8
#define TTL      64

enum { ECHO4 = 8, ECHO6 = 128 };

static bool may_answer(const struct pq_tun_packet *pkt)
{
    const struct pq_ip *ip = &pkt->ip;
    const bool icmp = ip->proto == IPPROTO_ICMP || ip->proto == IPPROTO_ICMPV6;
    const uint8_t echo = ip->version == 4 ? ECHO4 : ECHO6;
    const bool group = ip->version == 4 ? pq_addr_v4(&ip->dst)[0] >= 224 : ip->dst.ip[0] == 0xff;
    if (group || ip->fragment || pq_addr_is_any(&ip->src))
        return false;
    return !icmp || (ip->l4 < pkt->n && pkt->p[ip->l4] == echo);
}

static void put_checksum(uint8_t *at, uint64_t sum, const uint8_t *p, size_t n)
{
    const uint16_t c = pq_csum_fold(pq_csum_add(sum, p, n));
    memcpy(at, &c, sizeof c);
}

size_t pq_tun_refuse(uint8_t out[PQ_TUN_REFUSAL_MAX], const struct pq_tun_packet *pkt)
{
    const bool v4 = pkt->ip.version == 4;
    const size_t head = v4 ? IP4_LEN : IP6_LEN, room = PQ_TUN_REFUSAL_MAX - head - ICMP_LEN;
    const size_t quoted = pkt->n < room ? pkt->n : room, n = ICMP_LEN + quoted;
    uint8_t *icmp = out + head;
    if (!may_answer(pkt))
        return 0;
    memset(out, 0, head + ICMP_LEN);
    icmp[0] = v4 ? 3 : 1; /* destination unreachable: administratively prohibited */
    icmp[1] = v4 ? 13 : 1;
    memcpy(icmp + ICMP_LEN, pkt->p, quoted);
    if (v4) {
        out[0] = 0x45;
        pq_put_be16(out + 2, (uint16_t)(head + n));
        out[8] = TTL;
        out[9] = IPPROTO_ICMP;
        memcpy(out + 12, pq_addr_v4(&pkt->ip.dst), 4);
        memcpy(out + 16, pq_addr_v4(&pkt->ip.src), 4);
        put_checksum(out + 10, 0, out, IP4_LEN);
        put_checksum(icmp + 2, 0, icmp, n);
    } else {
        const uint8_t pseudo[8] = {0, 0, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, IPPROTO_ICMPV6};
        out[0] = 0x60;
        pq_put_be16(out + 4, (uint16_t)n);
        out[6] = IPPROTO_ICMPV6;
        out[7] = TTL;
        memcpy(out + 8, pkt->ip.dst.ip, 16);
        memcpy(out + 24, pkt->ip.src.ip, 16);
        put_checksum(icmp + 2, pq_csum_add(pq_csum_add(0, pseudo, sizeof pseudo), out + 8, 32),
                     icmp, n);
    }
    return head + n;
}
