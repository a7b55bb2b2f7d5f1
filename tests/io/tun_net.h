/* SPDX-License-Identifier: MIT */
/* tun_net.h - two hosts in network namespaces that end with the test: HERE, where TUN devices are
 * made, and AWAY, its router and "the Internet" in one.
 *
 *   HERE pqa 192.0.2.1, fd02::1 ──── pqb 192.0.2.2, fd02::2  AWAY, also 203.0.113.5 and fd05::5
 */
#ifndef PQ_TESTS_TUN_NET_H
#define PQ_TESTS_TUN_NET_H
#include "os/tundev.h"
#include "unit.h"

enum place { HERE, AWAY };

#define HERE4   "192.0.2.1"
#define HERE6   "fd02::1"
#define ROUTER4 "192.0.2.2"
#define FAR4    "203.0.113.5"
#define FAR6    "fd05::5"
#define PORT    7000

/* Makes the hosts, or says that nothing is tested.  For cmocka's group. */
int net_setup(void **state);

/* Leaves the test out if there are no hosts. */
void net_need(void);

/* What is made from now on, sockets and programs, is in that host. */
void net_enter(enum place p);

/* Runs a command of the shell where we are.  Returns whether it succeeded. */
bool net_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A socket of this kind, bound to ip:port (NULL: not bound); one that waits 2 s at most. */
int net_socket(int kind, const char *ip, uint16_t port);
int net_connect(int kind, const char *from, const char *ip, uint16_t port); /* -1: no */
struct pq_addr net_addr(const char *ip, uint16_t port);
void net_sendto(int fd, const char *text, const char *ip, uint16_t port);

/* Whether bytes go from a to b and, for TCP, back. */
bool net_talks(int a, int b);

/* 10.9.0.n/24 and fd09::n/64 on a device named "pqtun<n>". */
struct pq_tundev_conf net_tun(unsigned n, bool offload);

int tun_routes(void);
#endif
