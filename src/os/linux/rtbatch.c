/* SPDX-License-Identifier: MIT */
/* rtbatch.c - many requests about routes at a time. */
#include "os/linux/tunroute.h"

#include <errno.h>
#include <linux/rtnetlink.h>

#define MESSAGE_MAX 256

void pq_rt_batch_open(struct pq_rt_batch *b)
{
    b->out = pq_nl_out_init(b->buf, sizeof b->buf);
    b->n = b->done = 0;
    b->e = pq_nl_open(&b->nl, NETLINK_ROUTE);
}

/* The kernel tells of errors, and that it is done with the last one. */
static void flush(struct pq_rt_batch *b)
{
    uint8_t buf[PQ_NL_RECV];
    struct pq_view got;
    struct pq_nl_msg m;
    bool all = false;
    if (!b->n || b->nl.fd < 0)
        return;
    const uint32_t last = b->nl.seq;
    unsigned failed = 0;
    pq_nl_add_flags(&b->out, NLM_F_ACK);
    int e = pq_nl_send(&b->nl, &b->out);
    while (!e && !all) {
        e = pq_nl_recv(&b->nl, buf, &got);
        while (!e && pq_nl_next(&got, &m)) {
            int one = 0;
            if (m.port != b->nl.port || !pq_nl_verdict(&m, &one))
                continue;
            failed += one != 0;
            if (one && one != -ESRCH && one != -ENOENT && one != -EEXIST && !b->e)
                b->e = one;
            all = all || m.seq == last;
        }
    }
    b->e = b->e ? b->e : e;
    b->done += e ? 0 : b->n - failed;
    b->out = pq_nl_out_init(b->buf, sizeof b->buf);
    b->n = 0;
}

struct pq_nl_out *pq_rt_batch_add(struct pq_rt_batch *b, uint16_t type, uint16_t flags,
                                  const void *head, size_t n)
{
    if (b->out.len + n + MESSAGE_MAX > b->out.cap)
        flush(b);
    pq_nl_begin(&b->out, type, flags, head, n);
    pq_nl_number(&b->nl, &b->out);
    b->n++;
    return &b->out;
}

int pq_rt_batch_close(struct pq_rt_batch *b)
{
    flush(b);
    pq_nl_close(&b->nl);
    return b->e;
}

void pq_rt_batch_sweep(struct pq_rt_batch *b, uint16_t type, size_t head, pq_nl_fn fn, void *arg)
{
    int e = 0;
    do {
        pq_rt_batch_open(b);
        e = pq_nl_dump(type, head, fn, arg);
        pq_rt_batch_close(b);
    } while (b->done && (!e || e == -EINTR));
}
