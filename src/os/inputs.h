/* SPDX-License-Identifier: MIT */
/* inputs.h - what this machine's firewall does with connections to its ports, and with what it
 * passes on, as far as its rules tell.  Blocking; any thread. */
#ifndef PQ_OS_INPUTS_H
#define PQ_OS_INPUTS_H
#include <stdbool.h>
#include <stdint.h>

#define PQ_INPUTS_PORTS 65536
#define PQ_INPUTS_CHAIN 160

/* Of a port: what becomes of a connection that somebody outside begins, from whatever address. */
#define PQ_INPUT_SHUT     1U /* a chain drops what no rule lets in, and none lets this in */
#define PQ_INPUT_REFUSED  2U /* a rule that names it drops or rejects */
#define PQ_INPUT_SOME_IN  4U /* one of both, but some are let in before */
#define PQ_INPUT_SOME_OUT 8U /* it is let in, but some are kept out before */

struct pq_inputs {
    bool known;                   /* the rules could be read ... */
    bool whole;                   /* ... and all were gone through */
    bool legacy;                  /* there are rules of the old iptables, too, which are not read */
    char shut[PQ_INPUTS_CHAIN];   /* the chain that drops what it is not told to let in: inet filter
                                     input */
    char refuse[PQ_INPUTS_CHAIN]; /* the chain at the hook from which such a rule is reached */
    char some_in_at[PQ_INPUTS_CHAIN],
        some_out_at[PQ_INPUTS_CHAIN]; /* the same of the others, ... */
    char some_in[96], some_out[96];   /* ... and who: "from 10.0.0.0/8", of the first such rule */
    uint8_t port[2][PQ_INPUTS_PORTS]; /* of TCP, of UDP */
};

/* Goes through the rules of nf_tables at the hook input, iptables' among them, but not this
 * program's own, as the kernel does for a connection that begins.  Without CAP_NET_ADMIN, or where
 * there is no nf_tables, nothing is known, and all ports are 0. */
void pq_inputs_read(struct pq_inputs *out);

/* Whether a chain at the hook forward drops what no rule lets on, and none that does names this
 * device: as Docker and ufw make it.  Then `chain` is its name.  Where nothing is known, false. */
bool pq_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN]);
#endif
