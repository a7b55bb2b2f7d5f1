/* SPDX-License-Identifier: MIT */
/* dump.h - what `paqet dump` does with a packet, wherever it comes from: shows, counts, keeps it.
 */
#ifndef PQ_CLI_DUMP_H
#define PQ_CLI_DUMP_H
#include "app/discover.h"
#include "conf/conf.h"
#include "io/pktio.h"
#include "tunnel/describe.h"

#include <stdio.h>

#define PQ_DUMP_KINDS 64

struct pq_dump_count {
    const char *kind;
    uint64_t packets[2], bytes[2]; /* to the port, and from it */
};

struct pq_dump_peer { /* an address of a server */
    struct pq_addr addr;
    struct pq_range ports;
};

struct pq_dump {
    const struct pq_conf *conf; /* its users have names; NULL: there is none */
    struct pq_describe *desc;   /* NULL: packets are shown as bytes */
    struct pq_range ports;      /* zeros: all */
    struct pq_dump_peer peer[PQ_CONF_SERVERS_MAX * PQ_SERVER_ADDRS]; /* only what comes from them */
    unsigned n_peers;                                                /* 0: from everybody */
    bool hex, stats;
    FILE *out; /* a file to keep the packets in, or NULL; the owner closes it */
    struct pq_described text;
    struct pq_dump_count count[PQ_DUMP_KINDS];
    unsigned n_counts;
};

/* Takes a packet that came at `time_us` since 1970, as it is behind a link header of link_len bytes
 * (14 or 0), and writes it as it is to d->out.  Its bytes are changed.  Returns 0, or 1 after it
 * was said that the file cannot be written. */
int pq_dump_take(struct pq_dump *d, const struct pq_frame *f, size_t link_len, uint64_t time_us);

/* Begins d->out, for packets with a link header of link_len bytes.  Returns as above. */
int pq_dump_begin(struct pq_dump *d, size_t link_len);

/* Prints what was counted. */
void pq_dump_print(const struct pq_dump *d);

/* Reads a file of packets, of which *stopped may end it.  Returns the exit code, after an error was
 * said. */
int pq_dump_read(struct pq_dump *d, const char *path);
#endif
