/* SPDX-License-Identifier: MIT */
#include "entry/udp_port.h"

#include "base/hash.h"
#include "entry/split.h"
#include "header/socks.h"
#include "relay/udp_flow.h"
#include "relay/udp_target.h"
#include "wire/csum.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MAX    (60 * PQ_SEC)
#define ALIVE_CHECK (500 * PQ_MS)
#define SOCKBUF     (2 << 20)
#define RECV_TURN   32 /* datagrams taken before others have their turn */

struct pq_udp_port {
    struct pq_front *front;
    struct pq_udp_port_conf conf; /* without host */
    char *host;                   /* forward */
    int fd;
    uv_poll_t poll; /* and not uv_udp_t, which would let others bind the same port */
    struct pq_hash flows;
};

struct ends { /* of a datagram that came in */
    struct pq_addr peer;
    struct pq_addr own; /* to which address of this host, if it could be several; else zeros; its
                           port if it could be any, else 0 */
    uint32_t via;       /* the interface, if one of both is of no use without it; else 0 */
};

struct local_flow {
    struct pq_udp_flow flow;      /* its stream, unless there is ... */
    struct pq_udp_target *direct; /* ... what goes beside the tunnel ... */
    bool failed;                  /* ... or cannot: the next datagram begins anew */
    struct pq_udp_port *port;
    struct pq_hash_node by_key;
    pq_ns checked; /* when its session was last known to answer */
    struct ends ends;
    char host[256];
    uint16_t target_port;
    uint16_t key_len;
    uint8_t key[]; /* the sender, or the header that names the target, as it came */
};

/* ---- flows */

static void flow_free(struct local_flow *l)
{
    if (l->direct)
        pq_udp_target_close(l->direct);
    pq_udp_flow_close(&l->flow);
    pq_hash_remove(&l->port->flows, &l->by_key);
    free(l);
}

static void on_over(struct pq_udp_flow *f)
{
    flow_free(PQ_OF(f, struct local_flow, flow));
}

union control {
    struct cmsghdr align;
    uint8_t space[CMSG_SPACE(sizeof(struct sockaddr_in6))];
};

/* Names the address that a datagram is to leave from: where the other end has sent its own, or it
 * would not know ours. */
static void set_source(const struct local_flow *l, struct msghdr *m, union control *ctl)
{
    const struct ends *e = &l->ends;
    const bool is4 = pq_addr_is4(&l->port->conf.bind);
    struct in_pktinfo four = {0};
    struct in6_pktinfo six = {.ipi6_ifindex = e->via};
    memcpy(&four.ipi_spec_dst, pq_addr_v4(&e->own), 4);
    memcpy(&six.ipi6_addr, e->own.ip, 16);
    const size_t len = is4 ? sizeof four : sizeof six;
    *ctl = (union control){.align = {.cmsg_len = CMSG_LEN(len),
                                     .cmsg_level = is4 ? IPPROTO_IP : IPPROTO_IPV6,
                                     .cmsg_type = is4 ? IP_PKTINFO : IPV6_PKTINFO}};
    memcpy(CMSG_DATA(&ctl->align), is4 ? (void *)&four : (void *)&six, len);
    m->msg_control = ctl;
    m->msg_controllen = CMSG_SPACE(len);
}

#define UDP_HEAD 8

/* Sends from the address and the port that the other end has sent to. */
static ssize_t answer(const struct local_flow *l, struct pq_view v)
{
    const struct pq_addr *from = &l->ends.own;
    struct pq_addr to = l->ends.peer;
    const size_t len = UDP_HEAD + v.n, alen = pq_addr_is4(&to) ? 4 : 16;
    uint8_t head[UDP_HEAD] = {0}, pseudo[4] = {0, IPPROTO_UDP};
    pq_put_be16(head, from->port);
    pq_put_be16(head + 2, to.port);
    pq_put_be16(head + 4, (uint16_t)len);
    pq_put_be16(pseudo + 2, (uint16_t)len);
    uint64_t sum = pq_csum_add(0, pseudo, sizeof pseudo);
    sum = pq_csum_add(sum, from->ip + 16 - alen, alen);
    sum = pq_csum_add(sum, to.ip + 16 - alen, alen);
    sum = pq_csum_add(sum, head, sizeof head);
    uint16_t csum = pq_csum_fold(pq_csum_add(sum, v.p, v.n));
    csum = csum ? csum : 0xffff; /* 0 would be none */
    memcpy(head + 6, &csum, sizeof csum);

    struct sockaddr_storage ss;
    union control ctl;
    struct iovec parts[2] = {{head, sizeof head}, {(void *)v.p, v.n}};
    struct msghdr m = {.msg_name = &ss, .msg_iov = parts, .msg_iovlen = 2};
    to.port = 0; /* a protocol's number, to such a socket */
    m.msg_namelen = pq_addr_to_sock(&to, &ss);
    set_source(l, &m, &ctl);
    return sendmsg(l->port->conf.answer, &m, 0);
}

/* From the tunnel to the local side: in an association behind the header that the target was named
 * with. */
static void on_deliver(struct pq_udp_flow *f, struct pq_view v)
{
    struct local_flow *l = PQ_OF(f, struct local_flow, flow);
    struct sockaddr_storage ss;
    union control ctl;
    struct iovec parts[2] = {{l->key, l->key_len}, {(void *)v.p, v.n}};
    const bool forward = l->port->host != NULL;
    if (l->port->conf.transparent) {
        if (answer(l, v) < 0)
            f->front->udp_dropped++;
        return;
    }
    struct msghdr m = {.msg_name = &ss, .msg_iov = parts + forward, .msg_iovlen = forward ? 1 : 2};
    m.msg_namelen = pq_addr_to_sock(&l->ends.peer, &ss);
    if (!pq_addr_is_any(&l->ends.own))
        set_source(l, &m, &ctl);
    ssize_t n = sendmsg(l->port->fd, &m, 0);
    if (n < 0 && errno != EAGAIN && m.msg_control) {
        m.msg_control = NULL; /* a broadcast was answered, whose address nothing leaves from */
        m.msg_controllen = 0;
        n = sendmsg(l->port->fd, &m, 0);
    }
    if (n < 0)
        f->front->udp_dropped++; /* the socket is full, or the program has gone */
}

static struct local_flow *flow_find(struct pq_udp_port *p, struct pq_view key, uint64_t hash)
{
    struct pq_hash_node *n = pq_hash_find(&p->flows, hash);
    for (; n; n = pq_hash_next(n)) {
        struct local_flow *l = PQ_OF(n, struct local_flow, by_key);
        if (l->key_len == key.n && memcmp(l->key, key.p, key.n) == 0)
            return l;
    }
    return NULL;
}

/* ---- beside the tunnel */

static void on_direct(void *ctx, struct pq_view v)
{
    struct local_flow *l = ctx;
    pq_udp_flow_touch(&l->flow);
    on_deliver(&l->flow, v);
}

static void on_direct_ready(void *ctx, int err)
{
    struct local_flow *l = ctx;
    l->failed = err != 0;
    if (err)
        PQ_LOG(PQ_LOG_DEBUG, "no UDP socket for %s:%u: %s", l->host, l->target_port,
               pq_front_strerror(err));
}

static bool connect_directly(struct local_flow *l)
{
    static const struct pq_udp_target_events events = {.recv = on_direct, .ready = on_direct_ready};
    struct pq_front *f = l->port->front;
    l->direct = pq_udp_target_new(f, &events, l);
    if (l->direct)
        pq_udp_target_start(l->direct,
                            pq_split_limits(f->split, &l->ends.peer, &l->port->conf.bind), l->host,
                            l->target_port);
    return l->direct;
}

/* ---- the way of a flow */

/* A forward's target is as the server sees it: the rules have no part in that. */
static enum pq_way way_of(const struct pq_udp_port *p, const char *host, uint16_t port)
{
    return p->host ? PQ_WAY_TUNNEL : pq_split_host(p->front->split, host, port);
}

/* Opens a stream for the flow, or a socket.  Returns false if there is none to be had now. */
static bool flow_connect(struct local_flow *l)
{
    struct pq_front *f = l->port->front;
    if (way_of(l->port, l->host, l->target_port) == PQ_WAY_DIRECT)
        return connect_directly(l);
    struct pq_stream *st =
        f->open(f->open_ctx, PQ_REQ_UDP, l->host, l->target_port, &pq_udp_flow_events, &l->flow);
    if (!st)
        return false;
    l->flow.st = st;
    l->checked = uv_hrtime();
    return true;
}

static struct local_flow *flow_new(struct pq_udp_port *p, const struct ends *ends,
                                   struct pq_view key, uint64_t hash, const char *host,
                                   uint16_t port)
{
    const enum pq_way way = way_of(p, host, port);
    p->front->ways[way] += p->front->split && !p->host;
    struct local_flow *l = way == PQ_WAY_BLOCK ? NULL : calloc(1, sizeof *l + key.n);
    if (!l)
        return NULL;
    l->port = p;
    l->ends = *ends;
    memcpy(l->host, host, strlen(host) + 1);
    l->target_port = port;
    memcpy(l->key, key.p, key.n);
    l->key_len = (uint16_t)key.n;
    if (pq_hash_add(&p->flows, &l->by_key, hash)) {
        free(l);
        return NULL;
    }
    l->flow = (struct pq_udp_flow){
        .front = p->front, .deliver = on_deliver, .over = on_over, .idle_max = IDLE_MAX};
    pq_udp_flow_init(&l->flow);
    if (!flow_connect(l)) {
        flow_free(l);
        return NULL;
    }
    return l;
}

/* A flow whose session no longer answers goes on over another one. */
static bool flow_renew(struct local_flow *l)
{
    struct pq_front *f = l->port->front;
    pq_ns now = uv_hrtime();
    if (l->direct)
        return !l->failed;
    if (now < l->checked + ALIVE_CHECK)
        return true;
    l->checked = now;
    if (f->alive(f->open_ctx, l->flow.st))
        return true;
    pq_udp_flow_leave(&l->flow);
    return flow_connect(l);
}

static void forward(struct pq_udp_port *p, const struct ends *ends, struct pq_view key,
                    const char *host, uint16_t port, struct pq_view data)
{
    uint64_t hash = pq_hash_bytes(key.p, key.n, p->front->seed);
    struct local_flow *l = flow_find(p, key, hash);
    if (!l)
        l = flow_new(p, ends, key, hash, host, port);
    else if (!flow_renew(l)) {
        flow_free(l);
        l = NULL;
    }
    if (l && l->direct) {
        pq_udp_flow_touch(&l->flow);
        pq_udp_target_send(l->direct, data);
    } else if (l)
        pq_udp_flow_send(&l->flow, data.p, data.n);
    else
        p->front->udp_dropped++;
}

/* ---- the socket */

static void from_sender(struct pq_udp_port *p, const struct ends *e, struct pq_view v)
{
    uint8_t key[40];
    memcpy(key, e->peer.ip, 16);
    memcpy(key + 16, e->own.ip, 16);
    memcpy(key + 32, &e->via, 4);
    pq_put_be16(key + 36, e->peer.port);
    pq_put_be16(key + 38, e->own.port);
    const uint16_t port = p->conf.port ? p->conf.port : e->own.port;
    if (port)
        forward(p, e, (struct pq_view){key, sizeof key}, p->host, port, v);
}

/* Only the program that asked for the association is served: its address, and its port as soon as
 * that is known. */
static bool is_owner(struct pq_udp_port *p, const struct pq_addr *peer)
{
    struct pq_addr *owner = &p->conf.owner;
    if (!pq_addr_eq_ip(owner, peer) || (owner->port && owner->port != peer->port))
        return false;
    owner->port = peer->port;
    return true;
}

static void from_owner(struct pq_udp_port *p, const struct ends *e, struct pq_view v)
{
    struct pq_socks_request req;
    size_t head;
    if (pq_socks_read_udp(v.p, v.n, &head, &req) || !is_owner(p, &e->peer))
        return; /* malformed, a fragment, or a stranger's */
    forward(p, e, (struct pq_view){v.p, head}, req.host, req.port,
            (struct pq_view){v.p + head, v.n - head});
}

static bool is_link_local(const struct pq_addr *a)
{
    return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* Where a datagram was sent to.  The options that tell are set if the port has all addresses, or
 * takes what is for others. */
static void find_own(struct ends *e, struct msghdr *m)
{
    struct in_pktinfo four;
    struct in6_pktinfo six;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&four, CMSG_DATA(c), sizeof four);
            pq_addr_set4(&e->own, (uint8_t *)&four.ipi_spec_dst, 0);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&six, CMSG_DATA(c), sizeof six);
            pq_addr_set6(&e->own, six.ipi6_addr.s6_addr, 0);
            if (is_link_local(&e->own) || is_link_local(&e->peer))
                e->via = six.ipi6_ifindex;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)) {
            struct sockaddr_storage ss = {0};
            memcpy(&ss, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
            pq_addr_from_sock(&e->own, (struct sockaddr *)&ss);
        }
    }
}

/* Takes one datagram.  Returns false if there is none now. */
static bool take(struct pq_udp_port *p)
{
    struct sockaddr_storage ss;
    union control ctl;
    struct ends e = {0};
    struct iovec part = {pq_front_space(p->front), PQ_FRONT_SPACE};
    if (!part.iov_base)
        return false;
    struct msghdr m = {.msg_name = &ss,
                       .msg_namelen = sizeof ss,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &ctl,
                       .msg_controllen = sizeof ctl};
    ssize_t n = recvmsg(p->fd, &m, 0);
    if (n < 0)
        return false;
    struct pq_view v = {part.iov_base, (size_t)n};
    if (m.msg_flags & MSG_TRUNC || pq_addr_from_sock(&e.peer, (struct sockaddr *)&ss))
        return true;
    find_own(&e, &m);
    if (p->host)
        from_sender(p, &e, v);
    else
        from_owner(p, &e, v);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pq_udp_port *p = poll->data;
    (void)events;
    if (status < 0) /* the error, which has stopped the polling, is what take() gets */
        uv_poll_start(poll, UV_READABLE, on_readable);
    for (int i = 0; i < RECV_TURN && take(p); i++)
        ;
}

static socklen_t bind_addr(const struct pq_udp_port_conf *c, struct sockaddr_storage *ss)
{
    struct sockaddr_in6 six;
    socklen_t len = pq_addr_to_sock(&c->bind, ss);
    if (c->scope) {
        memcpy(&six, ss, sizeof six);
        six.sin6_scope_id = c->scope;
        memcpy(ss, &six, sizeof six);
    }
    return len;
}

static int set_transparent(int fd, bool is4)
{
    const int level = is4 ? IPPROTO_IP : IPPROTO_IPV6, one = 1;
    return setsockopt(fd, level, is4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &one, sizeof one) ||
           setsockopt(fd, level, is4 ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &one, sizeof one);
}

static int bound_fd(const struct pq_udp_port_conf *c)
{
    struct sockaddr_storage ss;
    socklen_t len = bind_addr(c, &ss);
    int one = 1, off = 0, size = SOCKBUF;
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (c->share_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (ss.ss_family == AF_INET6) /* "[::]:53" takes IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (pq_addr_is_any(&c->bind)) {
        const bool is4 = ss.ss_family == AF_INET;
        setsockopt(fd, is4 ? IPPROTO_IP : IPPROTO_IPV6, is4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &one,
                   sizeof one);
    }
    /* One socket takes what many flows send; the usual limit is full within 20 ms of a busy one. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if ((c->transparent && set_transparent(fd, ss.ss_family == AF_INET)) ||
        bind(fd, (struct sockaddr *)&ss, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

int pq_udp_port_retarget(struct pq_udp_port *p, const char *host, uint16_t port)
{
    char *copy = strdup(host);
    if (!copy)
        return PQ_ENOMEM;
    free(p->host);
    p->host = copy;
    p->conf.port = port;
    return 0;
}

static void close_answer(const struct pq_udp_port_conf *c)
{
    if (c->transparent)
        close(c->answer);
}

int pq_udp_port_open(struct pq_udp_port **out, struct pq_front *front,
                     const struct pq_udp_port_conf *conf)
{
    *out = NULL;
    int fd = bound_fd(conf);
    if (fd < 0) {
        close_answer(conf);
        return fd;
    }
    struct pq_udp_port *p = calloc(1, sizeof *p);
    int e = p ? 0 : PQ_ENOMEM;
    if (p && conf->host)
        e = pq_udp_port_retarget(p, conf->host, conf->port);
    if (!e)
        e = uv_poll_init(front->loop, &p->poll, fd);
    if (e) {
        if (p)
            free(p->host);
        free(p);
        close(fd);
        close_answer(conf);
        return e;
    }
    p->front = front;
    p->conf = *conf;
    p->conf.host = NULL;
    p->fd = fd;
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_readable);
    *out = p;
    return 0;
}

void pq_udp_port_addr(const struct pq_udp_port *p, struct pq_addr *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    *out = p->conf.bind;
    if (getsockname(p->fd, (struct sockaddr *)&ss, &len) == 0)
        pq_addr_from_sock(out, (struct sockaddr *)&ss);
}

static void on_closed(uv_handle_t *h)
{
    struct pq_udp_port *p = h->data;
    free(p->host);
    free(p);
}

void pq_udp_port_close(struct pq_udp_port **pp)
{
    struct pq_udp_port *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->flows.cap; i++) {
        for (struct pq_hash_node *n = p->flows.b[i], *next; n; n = next) {
            next = n->next;
            flow_free(PQ_OF(n, struct local_flow, by_key));
        }
    }
    pq_hash_fini(&p->flows);
    uv_close((uv_handle_t *)&p->poll, on_closed);
    close(p->fd);
    close_answer(&p->conf);
    *pp = NULL;
}
