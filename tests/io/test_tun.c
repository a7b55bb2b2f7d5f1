/* SPDX-License-Identifier: MIT */
/* test_tun.c - TUN devices of the kernel: made and unmade, and TCP between two of them with packets
 * handed on whole or cut. */
#include "base/bytes.h"
#include "base/err.h"
#include "os/netinfo.h"
#include "tun_net.h"
#include "wire/gso.h"
#include "wire/ip.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG      (PQ_VNET_LEN + 65600)
#define TRANSFER (8u << 20)

static void device(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d, other;
    struct pq_iface f;
    for (int offload = 0; offload < 2; offload++) {
        struct pq_tundev_conf c = net_tun(1, offload);
        assert_int_equal(pq_tundev_open(&d, &c, why), 0);
        assert_int_equal(d.offload, offload);
        assert_string_equal(d.name, "pqtun1");
        assert_true(fcntl(d.fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(d.fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(pq_iface_get("pqtun1", 0, &f), 0);
        assert_int_equal(f.index, d.index);
        assert_int_equal(f.mtu, 1400);
        assert_true(f.up);
        assert_int_equal(f.n, 2); /* and no link-local one */
        for (size_t i = 0; i < f.n; i++) {
            const struct pq_net *want = pq_addr_is4(&f.addr[i].ip) ? &c.net4 : &c.net6;
            assert_true(pq_addr_eq_ip(&f.addr[i].ip, &want->ip));
            assert_int_equal(f.addr[i].prefix, pq_addr_is4(&want->ip) ? 24 : 64);
        }
        assert_int_equal(pq_tundev_open(&other, &c, why), -EBUSY);
        assert_non_null(strstr(why, "pqtun1 belongs to another program"));
        assert_int_equal(other.fd, -1);
        pq_tundev_close(&d);
        assert_int_equal(pq_iface_get("pqtun1", 0, &f), -ENODEV);
    }
}

static void wrong(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    struct pq_iface f;
    struct pq_tundev_conf c = net_tun(1, true);
    assert_int_equal(pq_net_parse(&c.net4, HERE4 "/24"), 0);
    assert_int_equal(pq_tundev_open(&d, &c, why), -EADDRINUSE);
    assert_non_null(strstr(why, HERE4 " is in use on pqa"));
    assert_int_equal(pq_iface_get("pqtun1", 0, &f), -ENODEV);
    c = net_tun(1, true);
    c.mtu = 1279; /* too small for IPv6 */
    assert_int_equal(pq_tundev_open(&d, &c, why), -EINVAL);
    assert_non_null(strstr(why, "1280 to 65535"));
    c.has6 = false;
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    pq_tundev_close(&d);
    snprintf(c.name, sizeof c.name, "pqa"); /* there, and no TUN device */
    assert_int_equal(pq_tundev_open(&d, &c, why), -EINVAL);
    assert_non_null(strstr(why, "another kind"));
    c.name[0] = 0; /* the kernel's choice */
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    assert_true(d.name[0] && d.index > 0);
    pq_tundev_close(&d);
    pq_tundev_close(&d);
}

/* ---- two devices, and a thread that hands packets from one to the other */

enum pump_mode { WHOLE, CUT, PLAIN };

struct pump {
    struct pq_tundev dev[2];
    enum pump_mode mode;
    atomic_bool stop;
    unsigned glued, bad;
};

static void put(struct pump *k, const struct pq_tundev *d, const struct pq_vnet *v,
                const uint8_t *p, size_t n)
{
    static uint8_t out[BIG];
    size_t head = d->offload ? PQ_VNET_LEN : 0;
    if (head)
        pq_vnet_write(v, out);
    memcpy(out + head, p, n);
    k->bad += write(d->fd, out, head + n) != (ssize_t)(head + n);
}

static void hand_on(struct pump *k, const struct pq_tundev *from, const struct pq_tundev *to,
                    uint8_t *buf, size_t n)
{
    static uint8_t one[BIG];
    size_t head = from->offload ? PQ_VNET_LEN : 0, len;
    uint8_t *p = buf + head;
    struct pq_vnet v = {0}, in = {0};
    struct pq_gso g;
    struct pq_ip ip;
    n -= head;
    if (head)
        pq_vnet_read(&in, buf);
    k->bad += pq_ip_parse(&ip, (struct pq_view){p, n}) != 0;
    k->glued += in.gso_size > 0;
    if (in.gso_size && k->mode == CUT) {
        k->bad += pq_gso_init(&g, p, n, in.gso_size) != 0;
        while ((len = pq_gso_next(&g, one, sizeof one)) > 0)
            put(k, to, &v, one, len);
        return;
    }
    if (k->mode == WHOLE)
        k->bad += pq_gso_describe(&v, p, n, in.gso_size, in.flags & PQ_VNET_NEEDS_CSUM) != 0;
    else if (in.flags & PQ_VNET_NEEDS_CSUM)
        pq_ip_fill_checksum(p, n, in.csum_start, in.csum_offset);
    put(k, to, &v, p, n);
}

static void *pump_run(void *arg)
{
    static uint8_t buf[BIG];
    struct pump *k = arg;
    while (!k->stop) {
        struct pollfd f[2] = {{.fd = k->dev[0].fd, .events = POLLIN},
                              {.fd = k->dev[1].fd, .events = POLLIN}};
        poll(f, 2, 20);
        for (int i = 0; i < 2; i++) {
            ssize_t n = f[i].revents ? read(f[i].fd, buf, sizeof buf) : 0;
            if (n > 0)
                hand_on(k, &k->dev[i], &k->dev[!i], buf, (size_t)n);
        }
    }
    return NULL;
}

static void *send_run(void *arg)
{
    static uint8_t data[TRANSFER];
    const int fd = *(int *)arg;
    ut_pattern(data, sizeof data, 5);
    for (size_t at = 0; at < sizeof data;) {
        ssize_t n = send(fd, data + at, sizeof data - at, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void transfer(const char *to)
{
    static uint8_t got[TRANSFER], want[TRANSFER];
    net_enter(AWAY);
    int listener = net_socket(SOCK_STREAM, to, PORT);
    net_enter(HERE);
    int a = net_connect(SOCK_STREAM, NULL, to, PORT), b = accept(listener, NULL, NULL);
    assert_true(a >= 0 && b >= 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_run, &a), 0);
    size_t at = 0;
    for (ssize_t n; at < sizeof got && (n = recv(b, got + at, sizeof got - at, 0)) > 0;)
        at += (size_t)n;
    pthread_join(t, NULL);
    ut_pattern(want, sizeof want, 5);
    assert_int_equal(at, sizeof got);
    assert_memory_equal(got, want, sizeof got);
    close(a);
    close(b);
    close(listener);
}

static void pair(enum pump_mode mode)
{
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    static struct pump k;
    pthread_t t;
    k = (struct pump){.mode = mode};
    for (unsigned i = 0; i < 2; i++) {
        net_enter(i ? AWAY : HERE);
        struct pq_tundev_conf c = net_tun(i + 1, mode != PLAIN);
        assert_int_equal(pq_tundev_open(&k.dev[i], &c, why), 0);
    }
    assert_int_equal(pthread_create(&t, NULL, pump_run, &k), 0);
    transfer("10.9.0.2");
    transfer("fd09::2");
    k.stop = true;
    pthread_join(t, NULL);
    assert_int_equal(k.bad, 0);
    assert_true(mode == PLAIN ? k.glued == 0 : k.glued > 50);
    for (int i = 0; i < 2; i++)
        pq_tundev_close(&k.dev[i]);
    net_enter(HERE);
}

static void whole(void **state)
{
    (void)state;
    pair(WHOLE);
}

static void cut(void **state)
{
    (void)state;
    pair(CUT);
}

static void plain(void **state)
{
    (void)state;
    pair(PLAIN);
}

int main(void)
{
    const struct CMUnitTest tun[] = {
        cmocka_unit_test(device), cmocka_unit_test(wrong), cmocka_unit_test(whole),
        cmocka_unit_test(cut),    cmocka_unit_test(plain),
    };
    return cmocka_run_group_tests_name("tun", tun, net_setup, NULL) + tun_routes();
}
