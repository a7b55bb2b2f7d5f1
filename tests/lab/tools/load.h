/* SPDX-License-Identifier: MIT */
/* lab-load, shared by its parts: the pattern that both ends know (pattern.c), the traffic origin
 * (origin.c) and the SOCKS5 load client (client.c, modes.c). lab-udp has the first and client.c,
 * too. */
#ifndef LAB_LOAD_H
#define LAB_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- pattern.c: the content of every download and upload is a function of the offset */

/* Fills `len` bytes with the pattern from `offset` on. */
void pattern_fill(uint8_t *bytes, size_t len, uint64_t offset);

/* Returns how many of the `len` bytes match the pattern from `offset` on, counted from the start.
 */
size_t pattern_match(const uint8_t *bytes, size_t len, uint64_t offset);

/* FNV-1a, 64 bit: start with CHECKSUM_START, feed pieces in order. */
#define CHECKSUM_START 0xCBF29CE484222325u
uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, size_t len);

/* ---- origin.c */

/* Serves until SIGTERM or for `max_seconds` (0: no limit) on all addresses, both versions of IP.
 * Requests: "GET /N" → N bytes of the pattern (suffix k, m, g; "inf": zeros without end),
 * "PUT /" with Content-Length → {"bytes", "sum"} of what came ("PUT /sum"; else the sum is 0),
 * "ECHO" → every byte sent back.
 * Returns the exit code. */
int origin_run(uint16_t port, unsigned max_seconds);

/* ---- client.c */

struct target {
    uint16_t socks_port; /* on 127.0.0.1; 0: connect directly */
    const char *host;    /* sent to the proxy as a name unless it is an address */
    uint16_t port;
    int timeout_s; /* of each read and write */
};

/* Connects through the proxy. Returns a descriptor, or -1. */
int dial(const struct target *target);

/* Raises the limit of open descriptors to what the user may have. */
void allow_many_files(void);

/* Address type and address of `host`, a name unless it is an address, as SOCKS5 wants them, into
 * `out` of at least 257 bytes. Returns the length. */
size_t put_address(uint8_t *out, const char *host);

/* Both return 0 once all `len` bytes went through, else -1. */
int read_full(int fd, void *bytes, size_t len);
int write_full(int fd, const void *bytes, size_t len);

/* Reads an HTTP header up to the empty line that ends it. Returns its length; `*have` counts what
 * is in `buffer`, the bytes that came behind it included. -1 if there is none within `cap` bytes.
 */
long read_header(int fd, uint8_t *buffer, size_t cap, size_t *have);

/* ---- modes.c */

struct plan {
    struct target target;
    double seconds;    /* for modes that run for a time */
    unsigned parallel; /* connections at once */
    uint64_t count;    /* fetch, send, rate: connections in all; 0: as many as fit into `seconds` */
    uint64_t bytes;    /* fetch, send: size of each */
};

/* Runs a mode and prints its result as one line of JSON. Returns the exit code: 0 if nothing
 * failed, 1 if something did, 2 for an unknown mode. */
int mode_run(const char *mode, const struct plan *plan);

double now_s(void);

#endif
