/* SPDX-License-Identifier: MIT */
/* front_tcp.c - sockets that are accepted or dialled. */
#include "entry/listen.h"
#include "front_tests.h"
#include "front_world.h"
#include "relay/dial.h"
#include "relay/tcp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct listener {
    struct fw w;
    struct pq_listener l;
    uint16_t port;
    uv_tcp_t *accepted, *dialled;
};

static unsigned no_memory; /* how many handles are not to be had */

uv_tcp_t *__real_pq_tcp_new(uv_loop_t *loop);
uv_tcp_t *__wrap_pq_tcp_new(uv_loop_t *loop);

uv_tcp_t *__wrap_pq_tcp_new(uv_loop_t *loop)
{
    if (!no_memory)
        return __real_pq_tcp_new(loop);
    no_memory--;
    return NULL;
}

static void on_connection(uv_stream_t *s, int status)
{
    struct listener *l = s->data;
    l->accepted = pq_listen_accept(s, status);
}

static void open_listener(struct listener *l)
{
    struct pq_listen_conf c = {0};
    *l = (struct listener){0};
    fw_init(&l->w);
    assert_int_equal(pq_addr_parse_ip(&c.addr, "127.0.0.1"), 0);
    assert_int_equal(pq_listen(&l->l, &l->w.loop, l, &c, on_connection), 0);
    l->port = pq_listen_port_of(&l->l.tcp);
}

static void on_closed(uv_handle_t *h)
{
    struct listener *l = h->data;
    memset(&l->l, 0xff, sizeof l->l); /* its owner frees it */
    l->port = 0;
}

static void close_listener(struct listener *l)
{
    pq_listener_close(&l->l, on_closed);
    fw_fini(&l->w);
    assert_int_equal(l->port, 0);
}

/* A program that connects. */
static int dial_in(const struct listener *l)
{
    struct sockaddr_storage ss;
    struct pq_addr a;
    const struct timeval limit = {.tv_sec = 2};
    assert_int_equal(pq_addr_parse_ip(&a, "127.0.0.1"), 0);
    a.port = l->port;
    socklen_t len = pq_addr_to_sock(&a, &ss);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static int option(uv_tcp_t *tcp, int level, int name)
{
    int fd, value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(uv_fileno((uv_handle_t *)tcp, &fd), 0);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void read_congestion(int fd, char name[static 16])
{
    socklen_t len = 16;
    memset(name, 0, len);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
}

/* Whether a name gets to the kernel and back: QEMU takes it for a number, and turns its bytes round
 * for a machine that is big-endian. */
static bool has_congestion(void)
{
    char name[16];
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    const bool set = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0;
    read_congestion(fd, name);
    close(fd);
    return set && strcmp(name, "reno") == 0;
}

/* Sent to this machine itself, nothing is paced. */
static void is_unpaced(uv_tcp_t *tcp)
{
    int fd;
    char name[16];
    if (!has_congestion()) {
        assert_true(ut_slow()); /* emulated */
        return;
    }
    assert_int_equal(uv_fileno((uv_handle_t *)tcp, &fd), 0);
    read_congestion(fd, name);
    assert_string_equal(name, "reno");
}

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct listener *l = ctx;
    assert_int_equal(err, 0);
    l->dialled = tcp;
}

/* What both ends of a relay are set to do: among others they find out when the other one has gone
 * without a word. */
static void test_keepalive(void **state)
{
    struct listener l;
    (void)state;
    open_listener(&l);
    pq_dial_start(&l.w.front, NULL, "127.0.0.1", l.port, on_dialled, &l);
    fw_until(&l.w, l.accepted && l.dialled);
    uv_tcp_t *const both[] = {l.accepted, l.dialled};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        assert_int_equal(option(both[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPIDLE), 60);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPINTVL), 15);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPCNT), 4);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_NODELAY), 1);
        is_unpaced(both[i]);
        pq_tcp_close(both[i], false);
    }
    close_listener(&l);
}

/* Connections for which there is no memory are closed, and those that come later are taken. */
static void test_accept_without_memory(void **state)
{
    struct listener l;
    int fd[4];
    char c;
    (void)state;
    open_listener(&l);
    no_memory = COUNT_OF(fd) - 1;
    for (size_t i = 0; i < COUNT_OF(fd); i++)
        fd[i] = dial_in(&l);
    fw_until(&l.w, l.accepted);
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        ssize_t n = recv(fd[i], &c, 1, i < COUNT_OF(fd) - 1 ? 0 : MSG_DONTWAIT);
        assert_int_equal(n < 0, i == COUNT_OF(fd) - 1); /* only that one is still open */
        close(fd[i]);
    }
    pq_tcp_close(l.accepted, false);
    close_listener(&l);
}

/* The listener goes while one connection is being refused and another one waits for that. */
static void test_close_while_refusing(void **state)
{
    struct listener l;
    (void)state;
    open_listener(&l);
    no_memory = 2;
    int one = dial_in(&l), two = dial_in(&l);
    pq_listen_accept((uv_stream_t *)&l.l.tcp, 0);
    pq_listen_accept((uv_stream_t *)&l.l.tcp, 0);
    assert_int_equal(no_memory, 0);
    close_listener(&l);
    close(one);
    close(two);
}

int front_tcp_tests(void)
{
    const struct CMUnitTest tcp_tests[] = {
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_accept_without_memory),
        cmocka_unit_test(test_close_while_refusing),
    };
    return ut_run(tcp_tests);
}
