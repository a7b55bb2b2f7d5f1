/* SPDX-License-Identifier: MIT */
/* lab-udp, shared by its parts: datagrams that can be checked (datagram.c), the echo (udp_echo.c)
 * and the flows (udp_flows.c). */
#ifndef LAB_UDP_H
#define LAB_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATAGRAM_MAX = 65507 };

/* ---- datagram.c */

/* The front of each datagram; behind it the pattern (pattern.c) up to `len`. */
struct datagram {
    uint32_t magic;
    uint32_t flow;
    uint32_t number; /* within its flow, from 0 */
    uint32_t len;    /* of the whole datagram */
    uint64_t time;   /* when it was sent, ns, of now_ns() */
    uint64_t sum;    /* of the whole datagram, as long as this is 0 */
};

/* Writes a datagram of `len` bytes, at least sizeof(struct datagram). */
void datagram_make(uint8_t *bytes, size_t len, uint32_t flow, uint32_t number, uint64_t now);

/* Reads the front into `out`. Returns whether the `len` bytes are one datagram, whole and as it was
 * made. */
bool datagram_check(const uint8_t *bytes, size_t len, struct datagram *out);

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);

/* ---- udp_echo.c */

/* Sends every datagram back, from the address that it was sent to, on `ports` ports from `port` on
 * and both versions of IP. Ends at SIGTERM or after `max_seconds` (0: no limit) and prints how many
 * there were, as one line of JSON. Returns the exit code. */
int echo_run(uint16_t port, unsigned ports, unsigned max_seconds);

/* ---- udp_flows.c */

struct flows {
    uint16_t socks_port; /* of the proxy, on 127.0.0.1; 0: directly to `host` */
    bool shared;         /* all flows through one association, so from one socket */
    const char *host;    /* with a proxy also a name */
    uint16_t port;
    unsigned ports; /* flow i goes to `port` + i mod `ports` */
    unsigned count;
    double rate; /* datagrams per second of each flow */
    unsigned size_min, size_max;
    double seconds; /* of sending */
    double warmup;  /* ... before that, which do not count */
    double linger;  /* seconds to wait for the last ones */
};

/* Runs all flows at once and prints one line of JSON. Returns the exit code: 0, or 1 if a flow
 * could not be opened or what came back was damaged or not asked for. */
int flows_run(const struct flows *flows);

#endif
