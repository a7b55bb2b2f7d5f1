/* SPDX-License-Identifier: MIT */
/* tun.h - packets between a TUN device and whoever wants them: reads, with segmentation offload if
 * the device has it, and writes.  One worker's thread. */
#ifndef PQ_RELAY_TUN_H
#define PQ_RELAY_TUN_H
#include "base/list.h"
#include "relay/front.h"
#include "wire/gso.h"
#include "wire/ip.h"

#define PQ_TUN_PACKET_MAX 65575 /* IPv6 header and what its length can say */

struct pq_tun_packet {
    uint8_t *p; /* the IP packet; may be written */
    size_t n;
    uint16_t gso_size;   /* not 0: TCP that stands for several, of so many payload bytes each */
    bool partial_csum;   /* its transport checksum is not filled in yet ... */
    struct pq_vnet vnet; /* ... and where it is, if it came from the device */
    struct pq_ip ip;
};

struct pq_tun {
    struct pq_front *front;
    int fd; /* borrowed */
    bool offload;
    uv_poll_t poll;
    bool paused;
    bool gone;                                            /* somebody has removed the device */
    void (*packet)(void *ctx, struct pq_tun_packet *pkt); /* from the device; borrowed */
    void (*turn_over)(struct pq_tun *t);                  /* no more of them in this turn */
    struct pq_list turn;                                  /* for it: who has something to finish */
    uint8_t *space;                                       /* a packet that is read; ... */
    uint8_t *cut; /* ... PQ_TUN_PACKET_MAX for a part of one that is cut */
    void *ctx;
    uint64_t bad, refused; /* packets that are none, or that the kernel did not take */
};

/* Begins to read; front, fd, offload, packet, turn_over and ctx are set by the caller.  Returns 0,
 * PQ_ENOMEM or a libuv error. */
int pq_tun_start(struct pq_tun *t);

/* Ends for good: nothing is written any more either.  `closed` gets the handle t->poll when the
 * loop is done with it. */
void pq_tun_stop(struct pq_tun *t, uv_close_cb closed);

/* Stops and goes on reading: what the kernel cannot hand over, it holds back from its programs. */
void pq_tun_pause(struct pq_tun *t, bool pause);

/* Hands a packet to the kernel, in one piece if it takes that, else cut.  p stays as it is.
 * Returns 0, or PQ_EPROTO: not a packet, or one that is not what gso_size says. */
int pq_tun_write(struct pq_tun *t, const uint8_t *p, size_t n, uint16_t gso_size,
                 bool partial_csum);
#endif
