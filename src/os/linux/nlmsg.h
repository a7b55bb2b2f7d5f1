/* SPDX-License-Identifier: MIT */
/* nlmsg.h - netlink messages as bytes: written into a bounded buffer, read with every length
 * checked; for the modules of os.
 * Knows: message headers, attributes, errors of the kernel.  Does not know: sockets. */
#ifndef PQ_OS_LINUX_NLMSG_H
#define PQ_OS_LINUX_NLMSG_H
#include "base/addr.h"
#include "base/bytes.h"

#define PQ_NL_ATTRS 64 /* highest type of an attribute that is kept, plus one */

/* ---- writing */

/* Messages one behind the other in bytes of the caller's.  What does not fit latches `bad` and
 * changes nothing more; sending is refused then, so nobody else needs to look. */
struct pq_nl_out {
    uint8_t *buf;
    size_t cap, len;
    size_t msg; /* where the message that is being written begins */
    bool bad;
};

struct pq_nl_out pq_nl_out_init(void *buf, size_t cap);

/* Begins a message with NLM_F_REQUEST and `flags` and, behind its header, a copy of the n bytes at
 * `head`.  The one before needs no end. */
void pq_nl_begin(struct pq_nl_out *o, uint16_t type, uint16_t flags, const void *head, size_t n);

/* Adds flags to those of the message that is being written. */
void pq_nl_add_flags(struct pq_nl_out *o, uint16_t flags);

/* Append an attribute: bytes; numbers in the host's order and in the network's; text with its NUL;
 * an address in its 4 or 16 bytes. */
void pq_nl_put(struct pq_nl_out *o, uint16_t type, const void *p, size_t n);
void pq_nl_put_u8(struct pq_nl_out *o, uint16_t type, uint8_t v);
void pq_nl_put_u32(struct pq_nl_out *o, uint16_t type, uint32_t v);
void pq_nl_put_be32(struct pq_nl_out *o, uint16_t type, uint32_t v);
void pq_nl_put_str(struct pq_nl_out *o, uint16_t type, const char *text);
void pq_nl_put_addr(struct pq_nl_out *o, uint16_t type, const struct pq_addr *a);

/* Begins an attribute that has others inside.  Returns its place, for pq_nl_nest_end; what was
 * begun last is ended first. */
size_t pq_nl_nest(struct pq_nl_out *o, uint16_t type);
void pq_nl_nest_end(struct pq_nl_out *o, size_t place);

/* ---- reading */

struct pq_nl_msg { /* one message; the bytes are borrowed */
    uint16_t type, flags;
    uint32_t seq, port;
    struct pq_view body; /* behind the header */
};

/* Takes the next message off `rest`.  Returns false at the end, or where a length lies: nothing of
 * `rest` is used then. */
bool pq_nl_next(struct pq_view *rest, struct pq_nl_msg *m);

/* What the kernel says about a request: whether `m` is that at all.  *e becomes 0 (done), the
 * kernel's -errno, or PQ_EPROTO (the message is cut off, or has a number that is no error). */
bool pq_nl_verdict(const struct pq_nl_msg *m, int *e);

/* Takes the next attribute off `rest`.  Returns false at the end, or where a length lies: nothing
 * of `rest` is used then. */
bool pq_nl_attr(struct pq_view *rest, unsigned *type, struct pq_view *v);

/* Attributes by type; p is NULL where one is absent, the last of several counts. */
struct pq_nl_attrs {
    struct pq_view v[PQ_NL_ATTRS];
};

/* Reads attributes up to the first whose length lies. */
void pq_nl_attrs_read(struct pq_nl_attrs *a, struct pq_view bytes);

/* Copies the n bytes that stand before the attributes to `head` and reads the attributes.  Returns
 * false if there are fewer. */
bool pq_nl_head(const struct pq_nl_msg *m, void *head, size_t n, struct pq_nl_attrs *a);

/* The value of an attribute: a number of four bytes in the host's order, else 0; an address of 4 or
 * 16 bytes, returns whether it is one (else *a is unchanged); text, cut to what `out` holds, always
 * with a NUL. */
uint32_t pq_nl_u32(struct pq_view v);
bool pq_nl_addr(struct pq_addr *a, struct pq_view v);
void pq_nl_str(char *out, size_t cap, struct pq_view v);
#endif
