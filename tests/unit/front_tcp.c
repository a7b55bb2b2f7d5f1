/* SPDX-License-Identifier: MIT */
/* front_tcp.c - sockets that are accepted or dialled. */
#include "front/dial.h"
#include "front/listen.h"
#include "front/relay.h"
#include "front_tests.h"
#include "front_world.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

struct listener {
    struct fw w;
    uv_tcp_t tcp;
    uint16_t port;
    uv_tcp_t *accepted, *dialled;
};

static void on_connection(uv_stream_t *s, int status)
{
    struct listener *l = s->data;
    l->accepted = pq_listen_accept(s, status);
}

static void open_listener(struct listener *l)
{
    struct pq_addr a;
    struct sockaddr_storage ss;
    int len = sizeof ss;
    *l = (struct listener){0};
    fw_init(&l->w);
    assert_int_equal(pq_addr_parse_ip(&a, "127.0.0.1"), 0);
    uv_tcp_init(&l->w.loop, &l->tcp);
    l->tcp.data = l;
    assert_int_equal(pq_listen(&l->tcp, &a, false, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&ss, &len), 0);
    pq_addr_from_sock(&a, (struct sockaddr *)&ss);
    l->port = a.port;
}

static void close_listener(struct listener *l)
{
    uv_close((uv_handle_t *)&l->tcp, NULL);
    fw_fini(&l->w);
}

static int option(uv_tcp_t *tcp, int level, int name)
{
    int fd, value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(uv_fileno((uv_handle_t *)tcp, &fd), 0);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct listener *l = ctx;
    assert_int_equal(err, 0);
    l->dialled = tcp;
}

/* Both ends of a relay find out when the other one has gone without a word. */
static void test_keepalive(void **state)
{
    struct listener l;
    (void)state;
    open_listener(&l);
    pq_dial_start(&l.w.front, "127.0.0.1", l.port, on_dialled, &l);
    fw_until(&l.w, l.accepted && l.dialled);
    uv_tcp_t *const both[] = {l.accepted, l.dialled};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        assert_int_equal(option(both[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPIDLE), 60);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPINTVL), 15);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_KEEPCNT), 4);
        assert_int_equal(option(both[i], IPPROTO_TCP, TCP_NODELAY), 1);
        pq_tcp_close(both[i], false);
    }
    close_listener(&l);
}

int front_tcp_tests(void)
{
    const struct CMUnitTest tcp_tests[] = {
        cmocka_unit_test(test_keepalive),
    };
    return ut_run(tcp_tests);
}
