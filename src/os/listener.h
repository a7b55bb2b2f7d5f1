/* SPDX-License-Identifier: MIT */
/* listener.h - who has a port.  Any thread. */
#ifndef PQ_OS_LISTENER_H
#define PQ_OS_LISTENER_H
#include <stdbool.h>
#include <stdint.h>

struct pq_listener {
    int pid;       /* 0: another user's, which only root is told */
    char name[16]; /* of its program, as the kernel keeps it; "" without pid */
};

/* Finds a program of this machine that listens on this TCP port of any address.  Ports that are
 * only held, as a server of paqet holds its own, do not count.  Returns whether there is one, as
 * far as /proc tells. */
bool pq_listener_find(uint16_t port, struct pq_listener *out);
#endif
