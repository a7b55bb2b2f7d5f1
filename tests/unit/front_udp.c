/* SPDX-License-Identifier: MIT */
/* front_udp.c - UDP sockets at both ends of a stream of datagrams. */
#include "entry/udp_port.h"
#include "exit/serve.h"
#include "exit/serve_udp.h"
#include "front_tests.h"
#include "front_world.h"
#include "relay/lookup.h"
#include "relay/rules.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOWS 8

/* ---- a forward */

struct port {
    struct fw w;
    struct pq_udp_port *port;
    struct pq_addr at;
    struct pq_stream st[FLOWS]; /* of its flows, in order */
    unsigned n;
};

static struct pq_stream *on_open(void *ctx, enum pq_request_type type, const char *host,
                                 uint16_t target, const struct pq_stream_events *ev, void *evctx)
{
    struct port *p = ctx;
    assert_int_equal(type, PQ_REQ_UDP);
    assert_string_equal(host, "target");
    assert_int_equal(target, 53);
    assert_true(p->n < FLOWS);
    struct pq_stream *st = &p->st[p->n++];
    *st = fw_stream(&p->w);
    pq_stream_own(st, ev, evctx);
    return st;
}

static bool alive(void *ctx, const struct pq_stream *st)
{
    (void)ctx;
    (void)st;
    return true;
}

static void open_port(struct port *p, const char *ip)
{
    struct pq_udp_port_conf conf = {.host = "target", .port = 53};
    *p = (struct port){0};
    fw_init(&p->w);
    p->w.front.open = on_open;
    p->w.front.alive = alive;
    p->w.front.open_ctx = p;
    assert_int_equal(pq_addr_parse_ip(&conf.bind, ip), 0);
    assert_int_equal(pq_udp_port_open(&p->port, &p->w.front, &conf), 0);
    pq_udp_port_addr(p->port, &p->at);
}

static void close_port(struct port *p)
{
    pq_udp_port_close(&p->port);
    for (unsigned i = 0; i < p->n; i++)
        fw_stream_clear(&p->st[i]);
    fw_fini(&p->w);
}

/* A socket that is connected to the port, at this address of ours: it takes answers from there
 * only. */
static int user_of(const struct port *p, const char *ip)
{
    struct pq_addr own, to;
    struct sockaddr_storage ss;
    int fd = fw_udp(ip, &own);
    assert_int_equal(pq_addr_parse_ip(&to, ip), 0);
    to.port = p->at.port;
    socklen_t len = pq_addr_to_sock(&to, &ss);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

/* Sends, which opens the next flow, and gets an answer. */
static void expect_answer(struct port *p, int user)
{
    char buf[100] = "";
    const unsigned n = p->n;
    assert_int_equal(send(user, "question", 8, 0), 8);
    fw_until(&p->w, p->n == n + 1);
    assert_int_equal(p->st[n].sent.bytes, 8);
    fw_deliver(&p->st[n], "answer", 6, true);
    assert_int_equal(recv(user, buf, sizeof buf, 0), 6);
    assert_string_equal(buf, "answer");
}

static void test_port_is_ours_alone(void **state)
{
    struct port p;
    struct sockaddr_storage ss;
    int one = 1;
    (void)state;
    open_port(&p, "127.0.0.1");
    socklen_t len = pq_addr_to_sock(&p.at, &ss);
    int thief = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(setsockopt(thief, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(thief, (struct sockaddr *)&ss, len), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(thief);
    int user = user_of(&p, "127.0.0.1");
    expect_answer(&p, user);
    close(user);
    close_port(&p);
}

/* A port of all addresses answers from the one that it was asked on, also a sender that asks on
 * several; over both versions of IP. */
static void test_answers_come_from_where_was_asked(void **state)
{
    static const char *const all[] = {"0.0.0.0", "::"};
    static const char *const own[] = {"127.0.0.2", "127.0.0.1", "::1"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct port p;
        open_port(&p, all[i]);
        for (size_t k = 0; k < COUNT_OF(own) - !i; k++) {
            int user = user_of(&p, own[k]);
            expect_answer(&p, user);
            close(user);
        }
        close_port(&p);
    }
}

static void test_one_sender_to_two_addresses(void **state)
{
    struct port p;
    struct sockaddr_storage ss;
    struct pq_addr at, to;
    (void)state;
    open_port(&p, "0.0.0.0");
    int user = fw_udp("127.0.0.3", &at);
    static const char *const own[] = {"127.0.0.1", "127.0.0.2"};
    for (unsigned i = 0; i < COUNT_OF(own); i++) {
        char buf[10];
        assert_int_equal(pq_addr_parse_ip(&to, own[i]), 0);
        to.port = p.at.port;
        socklen_t len = pq_addr_to_sock(&to, &ss);
        assert_int_equal(sendto(user, "?", 1, 0, (struct sockaddr *)&ss, len), 1);
        fw_until(&p.w, p.n == i + 1);
        fw_deliver(&p.st[i], "!", 1, true);
        len = sizeof ss;
        assert_int_equal(recvfrom(user, buf, sizeof buf, 0, (struct sockaddr *)&ss, &len), 1);
        assert_int_equal(pq_addr_from_sock(&at, (struct sockaddr *)&ss), 0);
        assert_true(pq_addr_eq(&at, &to));
    }
    close(user);
    close_port(&p);
}

/* What was sent to all of a network is answered from an address of this host. */
static void test_answer_to_a_broadcast(void **state)
{
    static const char *const all[] = {"0.0.0.0", "::"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct port p;
        struct sockaddr_storage ss;
        struct pq_addr at, to;
        int one = 1;
        char c;
        open_port(&p, all[i]);
        int user = fw_udp("127.0.0.3", &at);
        setsockopt(user, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
        assert_int_equal(pq_addr_parse_ip(&to, "127.255.255.255"), 0);
        to.port = p.at.port;
        socklen_t len = pq_addr_to_sock(&to, &ss);
        assert_int_equal(sendto(user, "?", 1, 0, (struct sockaddr *)&ss, len), 1);
        fw_until(&p.w, p.n == 1);
        fw_deliver(&p.st[0], "!", 1, true);
        assert_int_equal(recv(user, &c, 1, 0), 1);
        close(user);
        close_port(&p);
    }
}

/* ---- the server's side */

struct target { /* a stream for "localhost", and a socket at the port that it asks for */
    struct fw w;
    struct pq_stream st;
    struct pq_addr at;
    int socket;
};

static unsigned resolving(const struct fw *w)
{
    return w->front.lookups ? pq_lookups_running(w->front.lookups) : 0;
}

static void open_target(struct target *t)
{
    fw_init(&t->w);
    t->st = fw_stream(&t->w);
    t->socket = fw_udp("::", &t->at);
}

static void close_target(struct target *t)
{
    fw_stream_clear(&t->st);
    fw_fini(&t->w);
    close(t->socket);
}

static void serve(struct target *t, struct pq_view first)
{
    pq_serve_udp(&t->w.front, &t->st, "localhost", t->at.port, PQ_UDP_MAX, first);
    assert_int_equal(resolving(&t->w), 1);
}

static void expect_datagram(const struct target *t, const char *text)
{
    char buf[100] = "";
    assert_int_equal(recv(t->socket, buf, sizeof buf, 0), strlen(text));
    assert_string_equal(buf, text);
}

static void test_client_goes_before_the_name_is_known(void **state)
{
    struct target t;
    (void)state;
    open_target(&t);
    serve(&t, (struct pq_view){(const uint8_t *)"first", 5});
    fw_deliver(&t.st, "second", 6, true);
    t.st.ev->eof(t.st.ctx);
    assert_true(t.st.closed);
    fw_until(&t.w, t.w.front.n_udp_flows == 0);
    expect_datagram(&t, "first");
    expect_datagram(&t, "second");
    close_target(&t);
}

/* The same, but the name turns out to be of no use; and with nothing to be sent. */
static void test_client_goes_and_nothing_is_to_be_done(void **state)
{
    static const char *const deny[] = {"127.0.0.0/8", "::1"};
    struct pq_rules *rules;
    struct target t;
    (void)state;
    open_target(&t);
    assert_int_equal(pq_rules_new(&rules, NULL, 0, deny, COUNT_OF(deny)), 0);
    t.w.front.rules = rules;
    serve(&t, (struct pq_view){(const uint8_t *)"denied", 6});
    t.st.ev->end(t.st.ctx, 0);
    assert_int_equal(t.w.front.n_udp_flows, 1);
    fw_until(&t.w, t.w.front.n_udp_flows == 0 && resolving(&t.w) == 0);
    t.st = fw_stream(&t.w);
    serve(&t, (struct pq_view){0});
    t.st.ev->end(t.st.ctx, 0);
    assert_int_equal(t.w.front.n_udp_flows, 0);
    close_target(&t);
    pq_rules_free(&rules);
}

/* Header and datagram in one frame, and a batch of packets that ends within it, at any byte. */
static void test_datagram_behind_the_header(void **state)
{
    static const char text[] = "datagram";
    uint8_t frame[64];
    struct target t;
    (void)state;
    open_target(&t);
    const struct pq_request req = {.type = PQ_REQ_UDP, .host = "127.0.0.1", .port = t.at.port};
    int head = pq_header_encode(PQ_FAMILY_BINARY, &req, frame, sizeof frame);
    assert_true(head > 0);
    memcpy(frame + head, text, sizeof text);
    const size_t n = (size_t)head + strlen(text);
    for (size_t cut = 1; cut < n; cut++) {
        t.st = fw_stream(&t.w);
        pq_serve(&t.w.front, &t.st);
        fw_deliver(&t.st, frame, cut, false);
        t.st.ev->flush(t.st.ctx);
        fw_deliver(&t.st, frame + cut, n - cut, true);
        t.st.ev->flush(t.st.ctx);
        expect_datagram(&t, text);
        assert_int_equal(t.st.consumed, n);
        t.st.ev->end(t.st.ctx, 0);
    }
    close_target(&t);
}

/* Neither a stop nor another flow has to wait for the name. */
static void test_flow_without_client_makes_room(void **state)
{
    (void)state;
    for (int stop = 0; stop < 2; stop++) {
        struct target t;
        open_target(&t);
        t.w.front.max_udp_flows = 1;
        serve(&t, (struct pq_view){(const uint8_t *)"first", 5});
        t.st.ev->end(t.st.ctx, 0);
        struct pq_stream other = fw_stream(&t.w);
        if (!stop)
            pq_serve_udp(&t.w.front, &other, "127.0.0.1", t.at.port, PQ_UDP_MAX,
                         (struct pq_view){0});
        assert_int_equal(t.w.front.n_udp_flows, 1);
        close_target(&t);
    }
}

int front_udp_tests(void)
{
    const struct CMUnitTest udp_tests[] = {
        cmocka_unit_test(test_port_is_ours_alone),
        cmocka_unit_test(test_answers_come_from_where_was_asked),
        cmocka_unit_test(test_one_sender_to_two_addresses),
        cmocka_unit_test(test_answer_to_a_broadcast),
        cmocka_unit_test(test_client_goes_before_the_name_is_known),
        cmocka_unit_test(test_client_goes_and_nothing_is_to_be_done),
        cmocka_unit_test(test_flow_without_client_makes_room),
        cmocka_unit_test(test_datagram_behind_the_header),
    };
    return ut_run(udp_tests);
}
