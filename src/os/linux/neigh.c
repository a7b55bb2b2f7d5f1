/* SPDX-License-Identifier: MIT */
#include "os/linux/neigh.h"

#include "base/bytes.h"
#include "wire/csum.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define ASK_EVERY  (200 * PQ_MS)
#define ARP_LEN    28
#define READS      64 /* packets between two looks at the clock: on a busy link they do not end */
#define SOLICIT    135
#define ADVERT     136
#define IP6_LEN    40
#define ICMP_LEN   (4 + 4 + 16 + 8) /* type code checksum, flags, target, one option */
#define OPT_SOURCE 1                /* link-layer address of who asks ... */
#define OPT_TARGET 2                /* ... and of who is asked for */

struct question {
    const struct pq_iface *f;
    const struct pq_addr *own, *ip;
};

/* ---- ARP */

static size_t arp_request(const struct question *q, uint8_t *p)
{
    struct pq_wr w = pq_wr_init(p, ARP_LEN);
    static const uint8_t nobody[6];
    pq_wr_be16(&w, 1); /* Ethernet, IPv4, their lengths, request */
    pq_wr_be16(&w, ETH_P_IP);
    pq_wr_u8(&w, 6);
    pq_wr_u8(&w, 4);
    pq_wr_be16(&w, 1);
    pq_wr_bytes(&w, q->f->mac, 6);
    pq_wr_bytes(&w, pq_addr_v4(q->own), 4);
    pq_wr_bytes(&w, nobody, 6);
    pq_wr_bytes(&w, pq_addr_v4(q->ip), 4);
    return pq_wr_len(&w);
}

static bool is_arp_reply(const struct question *q, const uint8_t *p, size_t n, uint8_t mac[6])
{
    if (n < ARP_LEN || pq_be16(p) != 1 || pq_be16(p + 2) != ETH_P_IP || pq_be16(p + 6) != 2 ||
        memcmp(p + 14, pq_addr_v4(q->ip), 4) != 0)
        return false;
    memcpy(mac, p + 8, 6);
    return true;
}

/* ---- neighbour discovery */

/* The group of who has this address: ff02::1:ff00:0 with its last three bytes. */
static void solicited(const struct pq_addr *ip, uint8_t group[16])
{
    static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    memcpy(group, prefix, sizeof prefix);
    memcpy(group + 13, ip->ip + 13, 3);
}

static size_t solicitation(const struct question *q, uint8_t *p)
{
    uint8_t *icmp = p + IP6_LEN;
    memset(p, 0, IP6_LEN + ICMP_LEN);
    p[0] = 0x60;
    pq_put_be16(p + 4, ICMP_LEN);
    p[6] = IPPROTO_ICMPV6;
    p[7] = 255; /* else it is ignored */
    memcpy(p + 8, q->own->ip, 16);
    solicited(q->ip, p + 24);
    icmp[0] = SOLICIT;
    memcpy(icmp + 8, q->ip->ip, 16);
    icmp[24] = OPT_SOURCE;
    icmp[25] = 1; /* times 8 bytes */
    memcpy(icmp + 26, q->f->mac, 6);
    const uint8_t pseudo[8] = {0, 0, 0, ICMP_LEN, 0, 0, 0, IPPROTO_ICMPV6};
    uint64_t sum = pq_csum_add(pq_csum_add(0, p + 8, 32), pseudo, sizeof pseudo);
    uint16_t c = pq_csum_fold(pq_csum_add(sum, icmp, ICMP_LEN));
    memcpy(icmp + 2, &c, 2);
    return IP6_LEN + ICMP_LEN;
}

static bool is_advert(const struct question *q, const uint8_t *p, size_t n, uint8_t mac[6])
{
    const uint8_t *icmp = p + IP6_LEN;
    if (n < IP6_LEN + 24 || p[0] >> 4 != 6 || p[6] != IPPROTO_ICMPV6 || p[7] != 255 ||
        icmp[0] != ADVERT || memcmp(icmp + 8, q->ip->ip, 16) != 0)
        return false;
    struct pq_rd r = pq_rd_init(icmp + 24, n - IP6_LEN - 24);
    while (pq_rd_left(&r) >= 8) {
        uint8_t type = pq_rd_u8(&r), len = pq_rd_u8(&r);
        const uint8_t *body = len ? pq_rd_bytes(&r, (size_t)len * 8 - 2) : NULL;
        if (!body)
            return false;
        if (type == OPT_TARGET) {
            memcpy(mac, body, 6);
            return true;
        }
    }
    return false;
}

/* ---- both */

static int ask_once(int fd, const struct question *q, bool is4)
{
    uint8_t p[IP6_LEN + ICMP_LEN], group[16];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_ifindex = q->f->index,
                             .sll_halen = 6,
                             .sll_protocol = htons(is4 ? ETH_P_ARP : ETH_P_IPV6)};
    size_t n = is4 ? arp_request(q, p) : solicitation(q, p);
    memset(to.sll_addr, 0xff, 6);
    if (!is4) {
        solicited(q->ip, group);
        to.sll_addr[0] = to.sll_addr[1] = 0x33;
        memcpy(to.sll_addr + 2, group + 12, 4);
    }
    return sendto(fd, p, n, 0, (struct sockaddr *)&to, sizeof to) < 0 ? -errno : 0;
}

static bool read_answer(int fd, const struct question *q, bool is4, uint8_t mac[6])
{
    uint8_t p[1600];
    ssize_t n;
    for (int i = 0; i < READS && (n = recv(fd, p, sizeof p, MSG_DONTWAIT)) > 0; i++)
        if (is4 ? is_arp_reply(q, p, (size_t)n, mac) : is_advert(q, p, (size_t)n, mac))
            return true;
    return false;
}

static int wait_answer(int fd, const struct question *q, bool is4, uint8_t mac[6], pq_ns until)
{
    while (pq_clock() < until) {
        int e = ask_once(fd, q, is4);
        if (e)
            return e;
        pq_ns again = pq_ns_min(pq_clock() + ASK_EVERY, until);
        for (pq_ns now; (now = pq_clock()) < again;) {
            struct pollfd pf = {.fd = fd, .events = POLLIN};
            poll(&pf, 1, (int)((again - now) / PQ_MS) + 1);
            if (read_answer(fd, q, is4, mac))
                return 0;
        }
    }
    return -EHOSTUNREACH;
}

int pq_neigh_ask(const struct pq_iface *f, const struct pq_addr *own, const struct pq_addr *ip,
                 uint8_t mac[6], pq_ns patience)
{
    const struct question q = {.f = f, .own = own, .ip = ip};
    const bool is4 = pq_addr_is4(ip);
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_ifindex = f->index,
                             .sll_protocol = htons(is4 ? ETH_P_ARP : ETH_P_IPV6)};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, at.sll_protocol);
    if (fd < 0)
        return -errno;
    int e = bind(fd, (struct sockaddr *)&at, sizeof at) ? -errno : 0;
    if (!e)
        e = wait_answer(fd, &q, is4, mac, pq_clock() + patience);
    close(fd);
    return e;
}
