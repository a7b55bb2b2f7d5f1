/* SPDX-License-Identifier: MIT */
/* inputs.h - what this machine's firewall does with connections to its ports, and with what it
 * passes on, as far as its rules tell.  Blocking; any thread. */
#ifndef PQ_OS_INPUTS_H
#define PQ_OS_INPUTS_H
#include <stdbool.h>
#include <stdint.h>

#define PQ_INPUTS_PORTS 65536
#define PQ_INPUTS_CHAIN 160

/* Of a port, for TCP; for UDP the same, shifted by one. */
#define PQ_INPUT_SHUT    1U /* a chain drops what no rule lets in, and none that does names it */
#define PQ_INPUT_REFUSED 4U /* a rule that names it drops or rejects */

struct pq_inputs {
    bool known;                   /* the rules could be read */
    char shut[PQ_INPUTS_CHAIN];   /* the chain that drops what it is not told to let in: inet filter
                                     input */
    char refuse[PQ_INPUTS_CHAIN]; /* the chain at the hook from which such a rule is reached */
    uint8_t port[PQ_INPUTS_PORTS];
};

/* Reads the rules of nf_tables at the hook input, iptables' among them, but not this program's own.
 * What a rule asks beside protocol and port (an interface, an address) is not looked at.  Without
 * CAP_NET_ADMIN, or where there is no nf_tables, nothing is known, and all ports are 0. */
void pq_inputs_read(struct pq_inputs *out);

/* Whether a chain at the hook forward drops what no rule lets on, and none that does names this
 * device: as Docker and ufw make it.  Then `chain` is its name.  Where nothing is known, false. */
bool pq_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN]);
#endif
