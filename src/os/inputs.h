/* SPDX-License-Identifier: MIT */
/* inputs.h - what this machine's firewall does with connections to its ports, and with what it
 * passes on, as far as its rules tell.  Blocking; any thread. */
#ifndef PQ_OS_INPUTS_H
#define PQ_OS_INPUTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_INPUTS_CHAIN 160
#define PQ_INPUTS_ASKS  96
#define PQ_INPUTS_TOLD  32

/* Of a port: what becomes of a connection that somebody outside begins, from whatever address; the
 * worst last. */
enum pq_input_is {
    PQ_INPUT_OPEN,     /* no rule was found that keeps it out */
    PQ_INPUT_SOME_OUT, /* it is let in, but some are kept out before */
    PQ_INPUT_UNSURE,   /* that depends on what is not understood */
    PQ_INPUT_SOME_IN,  /* it is kept out, but some are let in before */
    PQ_INPUT_SHUT,     /* a chain drops what no rule lets in, and none lets this in */
    PQ_INPUT_REFUSED   /* a rule that names it drops or rejects it */
};

struct pq_input {
    uint16_t port; /* in: that is asked about */
    bool udp;      /* in: else TCP */
    uint8_t told;  /* index in pq_inputs.told, if it is not open */
    enum pq_input_is is;
};

struct pq_input_told { /* what several ports meet */
    enum pq_input_is is;
    char chain[PQ_INPUTS_CHAIN]; /* that does it, by its rules or those that it leads to: inet
                                    filter input */
    char asks[PQ_INPUTS_ASKS]; /* SOME: who: "from 10.0.0.0/8", the first such rule; UNSURE: what */
    char unless[PQ_INPUTS_ASKS]; /* what is not understood and may let them in; "": nothing */
};

struct pq_inputs {
    bool known;  /* the rules could be read ... */
    bool whole;  /* ... and all of them; else nothing is told of the ports */
    bool legacy; /* there are rules of the old iptables, too, which are not read */
    struct pq_input_told told[PQ_INPUTS_TOLD]; /* the last is also for what no room was left for */
    unsigned n_told;
};

/* Goes through the rules of nf_tables at the hook input, iptables' among them, but not this
 * program's own, as the kernel does for a connection that begins to each of these n ports, and
 * writes down what it meets.  Without CAP_NET_ADMIN, where there is no nf_tables, or without
 * memory, nothing is known, and all ports are PQ_INPUT_OPEN. */
void pq_inputs_read(struct pq_inputs *out, struct pq_input *port, size_t n);

/* Whether a chain at the hook forward drops what no rule lets on, and none that does names this
 * device: as Docker and ufw make it.  Then `chain` is its name.  Where nothing is known, or not
 * understood, false. */
bool pq_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN]);
#endif
