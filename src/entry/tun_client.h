/* SPDX-License-Identifier: MIT */
/* tun_client.h - the client's TUN device: its packets go to the server over one stream, which is
 * opened again whenever it ends or its session no longer answers.  What front->split blocks is
 * refused.  One worker's thread. */
#ifndef PQ_ENTRY_TUN_CLIENT_H
#define PQ_ENTRY_TUN_CLIENT_H
#include "relay/front.h"

struct pq_tun_client;

/* Begins.  fd: of the device, borrowed until the loop has ended; offload: its packets have
 * PQ_VNET_LEN bytes in front.  Returns 0, PQ_ENOMEM or a libuv error. */
int pq_tun_client_open(struct pq_tun_client **out, struct pq_front *front, int fd, bool offload);

/* Ends; frees when the loop has closed its handles.  Sets *c to NULL; NULL does nothing. */
void pq_tun_client_close(struct pq_tun_client **c);
#endif
