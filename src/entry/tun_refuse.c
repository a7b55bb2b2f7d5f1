/* SPDX-License-Identifier: MIT */
#include "entry/tun_refuse.h"

#include "base/bytes.h"
#include "wire/csum.h"

#include <netinet/in.h>

#include <string.h>

#define IP4_LEN  20
#define IP6_LEN  40
#define ICMP_LEN 8
#define TCP_LEN  20
#define TTL      64

enum { ECHO4 = 8, ECHO6 = 128, FIN = 0x01, SYN = 0x02, RST = 0x04, ACK = 0x10 };

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

/* The IP header in front of n bytes, and their checksum, whose place is at `at`. */
static size_t finish(uint8_t *out, const struct pq_tun_packet *pkt, uint8_t proto, size_t n,
                     size_t at)
{
    const struct pq_ip *ip = &pkt->ip;
    const uint8_t pseudo[8] = {0, 0, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, proto};
    uint8_t *body = out + (ip->version == 4 ? IP4_LEN : IP6_LEN);
    uint64_t sum = pq_csum_add(0, pseudo, sizeof pseudo);
    if (ip->version == 4) {
        out[0] = 0x45;
        pq_put_be16(out + 2, (uint16_t)(IP4_LEN + n));
        out[8] = TTL;
        out[9] = proto;
        memcpy(out + 12, pq_addr_v4(&ip->dst), 4);
        memcpy(out + 16, pq_addr_v4(&ip->src), 4);
        put_checksum(out + 10, 0, out, IP4_LEN);
        sum = proto == IPPROTO_ICMP ? 0 : pq_csum_add(sum, out + 12, 8);
    } else {
        out[0] = 0x60;
        pq_put_be16(out + 4, (uint16_t)n);
        out[6] = proto;
        out[7] = TTL;
        memcpy(out + 8, ip->dst.ip, 16);
        memcpy(out + 24, ip->src.ip, 16);
        sum = pq_csum_add(sum, out + 8, 32);
    }
    put_checksum(body + at, sum, body, n);
    return (size_t)(body - out) + n;
}

/* As RFC 9293 3.10.7.1 has it where there is no connection. */
static size_t reset(uint8_t *out, const struct pq_tun_packet *pkt)
{
    const uint8_t *in = pkt->p + pkt->ip.l4;
    const size_t n = pkt->n - pkt->ip.l4;
    uint8_t *tcp = out + (pkt->ip.version == 4 ? IP4_LEN : IP6_LEN);
    if (n < TCP_LEN || in[13] & RST)
        return 0;
    const uint32_t len = (uint32_t)n - 4 * (in[12] >> 4) + !!(in[13] & SYN) + !!(in[13] & FIN);
    memcpy(tcp, in + 2, 2);
    memcpy(tcp + 2, in, 2);
    tcp[12] = TCP_LEN / 4 << 4;
    tcp[13] = in[13] & ACK ? RST : RST | ACK;
    if (in[13] & ACK)
        memcpy(tcp + 4, in + 8, 4);
    else
        pq_put_be32(tcp + 8, pq_be32(in + 4) + len);
    return finish(out, pkt, IPPROTO_TCP, TCP_LEN, 16);
}

static size_t prohibited(uint8_t *out, const struct pq_tun_packet *pkt)
{
    const bool v4 = pkt->ip.version == 4;
    const size_t head = v4 ? IP4_LEN : IP6_LEN, room = PQ_TUN_REFUSAL_MAX - head - ICMP_LEN;
    const size_t quoted = pkt->n < room ? pkt->n : room;
    uint8_t *icmp = out + head;
    icmp[0] = v4 ? 3 : 1; /* destination unreachable: administratively prohibited */
    icmp[1] = v4 ? 13 : 1;
    memcpy(icmp + ICMP_LEN, pkt->p, quoted);
    return finish(out, pkt, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, ICMP_LEN + quoted, 2);
}

size_t pq_tun_refuse(uint8_t out[PQ_TUN_REFUSAL_MAX], const struct pq_tun_packet *pkt)
{
    if (!may_answer(pkt))
        return 0;
    memset(out, 0, PQ_TUN_REFUSAL_MAX);
    return pkt->ip.proto == IPPROTO_TCP ? reset(out, pkt) : prohibited(out, pkt);
}
