/* SPDX-License-Identifier: MIT */
/* front_world.c - a loop for the front, and stream.h as a test sees it: what is sent is kept. */
#include "front_world.h"

#include "relay/tcp.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

void fw_init(struct fw *w)
{
    assert_int_equal(uv_loop_init(&w->loop), 0);
    pq_chunks_init(&w->chunks, (size_t)64 << 20);
    pq_front_init(&w->front, &w->loop, 1);
}

void fw_fini(struct fw *w)
{
    pq_front_stop(&w->front);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_int_equal(w->chunks.small.used + w->chunks.big.used + w->chunks.huge.used, 0);
    pq_chunks_fini(&w->chunks);
}

void fw_turn(struct fw *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    usleep(500);
}

struct pq_stream fw_stream(struct fw *w)
{
    return (struct pq_stream){.chunks = &w->chunks};
}

void fw_stream_clear(struct pq_stream *st)
{
    pq_chunkq_clear(&st->sent);
    free(st->tag);
}

void fw_deliver(struct pq_stream *st, const void *p, size_t n, bool last)
{
    st->ev->data(st->ctx, (struct pq_view){p, n}, last);
}

/* ---- sockets */

uv_tcp_t *fw_tcp(struct fw *w, int *other)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *sa = (struct sockaddr *)&in;
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, sa, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, sa, &len), 0);
    *other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(*other, sa, len), 0);
    int fd = accept(listener, NULL, NULL);
    close(listener);
    uv_tcp_t *tcp = pq_tcp_new(&w->loop);
    assert_non_null(tcp);
    assert_int_equal(uv_tcp_open(tcp, fd), 0);
    const struct timeval limit = {.tv_sec = 2};
    setsockopt(*other, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return tcp;
}

int fw_udp(const char *ip, struct pq_addr *at)
{
    struct sockaddr_storage ss;
    const struct timeval limit = {.tv_sec = 2};
    assert_int_equal(pq_addr_parse_ip(at, ip), 0);
    socklen_t len = pq_addr_to_sock(at, &ss);
    int off = 0, fd = socket(ss.ss_family, SOCK_DGRAM, 0);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    pq_addr_from_sock(at, (struct sockaddr *)&ss);
    return fd;
}

/* ---- tunnel/stream.h */

void pq_stream_own(struct pq_stream *st, const struct pq_stream_events *ev, void *ctx)
{
    st->ev = ev;
    st->ctx = ctx;
}

struct pq_chunks *pq_stream_chunks(struct pq_stream *st)
{
    return st->chunks;
}

size_t pq_stream_room(struct pq_stream *st)
{
    return st->chunks ? SIZE_MAX : 0;
}

size_t pq_stream_waiting(const struct pq_stream *st)
{
    (void)st;
    return 0;
}

int pq_stream_send(struct pq_stream *st, struct pq_chunk *c)
{
    if (st->chunks)
        pq_chunkq_push(&st->sent, c);
    else
        pq_chunk_free(c);
    return st->chunks ? 0 : PQ_ECLOSED;
}

void pq_stream_set_datagrams(struct pq_stream *st, size_t max)
{
    (void)st;
    (void)max;
}

int pq_stream_send_datagram(struct pq_stream *st, struct pq_chunk *c)
{
    return pq_stream_send(st, c);
}

bool pq_stream_beside(const struct pq_stream *st, size_t n)
{
    (void)n;
    return st->beside;
}

pq_ns pq_stream_heard(const struct pq_stream *st)
{
    (void)st;
    return 0;
}

void pq_stream_consumed(struct pq_stream *st, size_t n)
{
    st->consumed += n;
}

void pq_stream_finish(struct pq_stream *st)
{
    st->finished = true;
}

void pq_stream_set_target(struct pq_stream *st, const char *kind, const char *host, uint16_t port)
{
    (void)st;
    (void)kind;
    (void)host;
    (void)port;
}

void pq_stream_close(struct pq_stream *st)
{
    assert_false(st->closed);
    st->closed = true;
}

void pq_stream_abort(struct pq_stream *st)
{
    pq_stream_close(st);
    st->aborted = true;
}

void pq_stream_set_tag(struct pq_stream *st, void *tag)
{
    free(st->tag);
    st->tag = tag;
}

void *pq_stream_tag(const struct pq_stream *st)
{
    return st->tag;
}

void pq_stream_cork(struct pq_stream *st)
{
    st->corked = true;
}

bool pq_stream_corked(const struct pq_stream *st)
{
    return st->corked;
}

void pq_stream_uncork(struct pq_stream *st, struct pq_chunk *first)
{
    st->corked = false;
    if (first)
        pq_chunkq_unshift(&st->sent, first);
    st->ev->room(st->ctx);
}

void pq_stream_set_peer_flags(struct pq_stream *st, const struct pq_flags *flags)
{
    (void)st;
    (void)flags;
}

uint32_t pq_stream_abilities(const struct pq_stream *st)
{
    return st->abilities;
}

void pq_stream_send_frames(struct pq_stream *st)
{
    (void)st;
}

void pq_stream_set_abilities(struct pq_stream *st, uint32_t abilities)
{
    st->abilities = abilities;
}

unsigned pq_stream_who(const struct pq_stream *st)
{
    (void)st;
    return UINT32_MAX;
}

uint32_t pq_stream_own_abilities(struct pq_stream *st)
{
    (void)st;
    return 0;
}

const struct pq_addr *pq_stream_peer(const struct pq_stream *st)
{
    static const struct pq_addr none;
    (void)st;
    return &none;
}
