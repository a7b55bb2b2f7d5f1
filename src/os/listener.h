/* SPDX-License-Identifier: MIT */
/* listener.h - who has a port.  Any thread. */
#ifndef PQ_OS_LISTENER_H
#define PQ_OS_LISTENER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pq_listener {
    int pid;       /* 0: another user's, which only root is told */
    char name[16]; /* of its program, as the kernel keeps it; "" without pid */
};

/* Finds a program of this machine that listens on this TCP port of any address.  Ports that are
 * only held, as a server of paqet holds its own, do not count.  Returns whether there is one, as
 * far as /proc tells. */
bool pq_listener_find(uint16_t port, struct pq_listener *out);

struct pq_listeners { /* who has one of many ports */
    uint16_t port;
    bool udp;            /* it waits for datagrams of anybody, in place of connections */
    bool denied;         /* the caller's own */
    bool found;          /* somebody does, whom `who` tells */
    unsigned long inode; /* of the socket */
    struct pq_listener who;
};

/* The same for n ports, read in one go, so that thousands take no longer than one.  Fills `found`
 * and `who` of each, and sorts them by `inode`. */
void pq_listeners_find(struct pq_listeners *v, size_t n);
#endif
