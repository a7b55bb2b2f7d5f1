/* SPDX-License-Identifier: MIT */
#include "os/linux/nl.h"

#include "base/err.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DUMP_REQUEST_MAX = 128 };

int pq_nl_open(struct pq_nl *nl, int protocol)
{
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    socklen_t n = sizeof own;
    *nl = (struct pq_nl){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)};
    if (nl->fd < 0)
        return -errno;
    if (bind(nl->fd, (struct sockaddr *)&own, n) || /* the kernel chooses the number */
        getsockname(nl->fd, (struct sockaddr *)&own, &n)) {
        int e = -errno;
        pq_nl_close(nl);
        return e;
    }
    nl->port = own.nl_pid;
    return 0;
}

void pq_nl_close(struct pq_nl *nl)
{
    if (nl->fd >= 0)
        close(nl->fd);
    nl->fd = -1;
}

void pq_nl_number(struct pq_nl *nl, struct pq_nl_out *o)
{
    nl->seq++;
    if (!o->bad)
        memcpy(o->buf + o->msg + offsetof(struct nlmsghdr, nlmsg_seq), &nl->seq, sizeof nl->seq);
}

int pq_nl_send(struct pq_nl *nl, const struct pq_nl_out *o)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (o->bad)
        return PQ_ENOMEM;
    ssize_t n = sendto(nl->fd, o->buf, o->len, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    return n < 0 ? -errno : 0;
}

int pq_nl_recv(struct pq_nl *nl, uint8_t buf[PQ_NL_RECV], struct pq_view *out)
{
    for (;;) {
        struct sockaddr_nl from = {.nl_family = AF_UNSPEC};
        struct iovec iov = {.iov_base = buf, .iov_len = PQ_NL_RECV};
        struct msghdr m = {
            .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(nl->fd, &m, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (m.msg_namelen != sizeof from || from.nl_family != AF_NETLINK || from.nl_pid != 0)
            continue; /* of another program */
        if (m.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        *out = (struct pq_view){buf, (size_t)n};
        return 0;
    }
}

/* Reads what came in one piece.  Returns whether that was all, with the outcome in *e. */
static bool read_answers(const struct pq_nl *nl, struct pq_view got, pq_nl_fn fn, void *arg, int *e)
{
    struct pq_nl_msg m;
    while (pq_nl_next(&got, &m)) {
        if (m.seq != nl->seq || m.port != nl->port)
            continue; /* of an earlier question */
        if (m.flags & NLM_F_DUMP_INTR)
            *e = -EINTR;
        else if (pq_nl_verdict(&m, e))
            return true;
        else if (fn && m.type >= NLMSG_MIN_TYPE)
            *e = fn(&m, arg);
        if (*e)
            return true;
    }
    if (got.n)
        *e = PQ_EPROTO;
    return *e != 0;
}

int pq_nl_ask(struct pq_nl *nl, struct pq_nl_out *o, pq_nl_fn fn, void *arg)
{
    uint8_t buf[PQ_NL_RECV];
    struct pq_view got;
    pq_nl_number(nl, o);
    int e = pq_nl_send(nl, o);
    bool all = false;
    while (!e && !all) {
        e = pq_nl_recv(nl, buf, &got);
        if (!e)
            all = read_answers(nl, got, fn, arg, &e);
    }
    return e;
}

int pq_nl_query(struct pq_nl_out *o, pq_nl_fn fn, void *arg)
{
    return pq_nl_query_of(NETLINK_ROUTE, o, fn, arg);
}

int pq_nl_query_of(int protocol, struct pq_nl_out *o, pq_nl_fn fn, void *arg)
{
    struct pq_nl nl;
    int e = pq_nl_open(&nl, protocol);
    if (!e)
        e = pq_nl_ask(&nl, o, fn, arg);
    pq_nl_close(&nl);
    return e;
}

int pq_nl_dump(uint16_t type, size_t head, pq_nl_fn fn, void *arg)
{
    uint8_t buf[DUMP_REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, type, NLM_F_DUMP, NULL, head);
    return pq_nl_query(&o, fn, arg);
}
