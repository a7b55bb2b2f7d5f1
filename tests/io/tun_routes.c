/* SPDX-License-Identifier: MIT */
/* tun_routes.c - what goes into the tunnel and what does not; what is left after kill -9;
 * masquerade.
 */
#include "base/err.h"
#include "os/masquerade.h"
#include "os/netinfo.h"
#include "tun_net.h"
#include "wire/gso.h"
#include "wire/ip.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct pq_range own = {PORT, PORT};

static const char *const keep_text[] = {HERE4, HERE6};

/* A device with both default routes. */
static int open_client(struct pq_tundev *d, char why[PQ_TUN_WHY_LEN])
{
    struct pq_net nets[2];
    struct pq_addr keep[2];
    const struct pq_tundev_policy policy = {keep, 2};
    struct pq_tundev_conf c = net_tun(1, false);
    pq_net_parse(&nets[0], "0.0.0.0/0");
    pq_net_parse(&nets[1], "::/0");
    for (int i = 0; i < 2; i++)
        keep[i] = net_addr(keep_text[i], 0);
    int e = pq_tundev_open(d, &c, why);
    return e ? e : pq_tundev_routes(d, nets, 2, &policy, why);
}

/* Reads packets of the device until one is for this port; false after 300 ms without any. */
static bool tun_gets(const struct pq_tundev *d, uint16_t port, struct pq_ip *ip)
{
    uint8_t buf[2048];
    struct pollfd f = {.fd = d->fd, .events = POLLIN};
    while (poll(&f, 1, 300) > 0) {
        ssize_t n = read(d->fd, buf, sizeof buf);
        if (n > 0 && pq_ip_parse(ip, (struct pq_view){buf, (size_t)n}) == 0 && ip->dst.port == port)
            return true;
    }
    return false;
}

static bool direct(const char *ip)
{
    int fd = net_connect(SOCK_STREAM, NULL, ip, PORT);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A new datagram to that host goes into the tunnel, from the tunnel's address. */
static bool tunnelled(const struct pq_tundev *d, const char *ip, const char *from)
{
    struct pq_ip got;
    const struct pq_addr want = net_addr(from, 0);
    int fd = net_connect(SOCK_DGRAM, NULL, ip, PORT);
    assert_true(fd >= 0 && send(fd, "x", 1, 0) == 1);
    close(fd);
    return tun_gets(d, PORT, &got) && pq_addr_eq_ip(&got.src, &want);
}

static unsigned rules(void)
{
    unsigned n = 0, v;
    FILE *f = popen("(ip rule; ip -6 rule) | grep -cE '^2(87|97)'", "r"); /* NOLINT(cert-env33-c) */
    if (f && fscanf(f, "%u", &v) == 1)
        n = v;
    if (f)
        pclose(f);
    return n;
}

static void check_lookup(void)
{
    static const char *const far[] = {FAR4, FAR6};
    struct pq_iface link;
    assert_int_equal(pq_iface_get("pqa", 0, &link), 0);
    for (int i = 0; i < 2; i++) {
        struct pq_route r;
        const struct pq_addr to = net_addr(far[i], 0);
        assert_int_equal(pq_route_get(&to, NULL, &r), 0);
        assert_int_equal(r.ifindex, link.index);
        assert_true(r.has_gateway);
    }
}

/* With everything new led into the tunnel, what must stay outside does. */
static void policy(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    static const char *const here[] = {HERE4, HERE6}, *const far[] = {FAR4, FAR6};
    struct pq_tundev d;
    int ssh[2], in[2], away[2], out[2];
    net_enter(AWAY);
    int far_end = net_socket(SOCK_STREAM, "::", PORT); /* of both IP versions */
    net_enter(HERE);
    for (int i = 0; i < 2; i++) {
        ssh[i] = net_socket(SOCK_STREAM, here[i], 22);
        net_enter(AWAY);
        away[i] = net_connect(SOCK_STREAM, far[i], here[i], 22);
        net_enter(HERE);
        in[i] = accept(ssh[i], NULL, NULL);
        out[i] = net_connect(SOCK_STREAM, NULL, far[i], PORT);
        assert_true(in[i] >= 0 && away[i] >= 0 && out[i] >= 0);
        assert_true(net_talks(in[i], away[i]));
    }
    assert_int_equal(open_client(&d, why), 0);
    assert_int_equal(rules(), 14);
    for (int i = 0; i < 2; i++) {
        assert_true(net_talks(in[i], away[i]));                  /* came in before */
        assert_int_equal(send(out[i], "x", 1, MSG_NOSIGNAL), 1); /* went out before */
        int end = accept(far_end, NULL, NULL);
        char c;
        assert_int_equal(recv(end, &c, 1, MSG_WAITALL), 1);
        close(end);
        net_enter(AWAY);
        int again = net_connect(SOCK_STREAM, far[i], here[i], 22);
        net_enter(HERE);
        assert_true(again >= 0); /* comes in now */
        close(again);
        assert_true(tunnelled(&d, far[i], i ? "fd09::1" : "10.9.0.1"));
        assert_true(direct(i ? "fd02::2" : ROUTER4)); /* the local network */
    }
    check_lookup();
    pq_tundev_close(&d);
    assert_int_equal(rules(), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(net_talks(in[i], away[i]));
        assert_true(direct(far[i]));
        const int all[] = {ssh[i], in[i], away[i], out[i]};
        for (size_t k = 0; k < COUNT_OF(all); k++)
            close(all[k]);
    }
    close(far_end);
}

/* What the machine has decided about packets from one of its addresses holds as before. */
static void source_routing(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    assert_true(net_sh("ip route add unreachable " FAR4 " table 100 && "
                       "ip rule add from " HERE4 " lookup 100"));
    net_enter(AWAY);
    int far_end = net_socket(SOCK_STREAM, FAR4, PORT);
    net_enter(HERE);
    assert_int_equal(net_connect(SOCK_STREAM, HERE4, FAR4, PORT), -1);
    assert_int_equal(open_client(&d, why), 0);
    assert_int_equal(net_connect(SOCK_STREAM, HERE4, FAR4, PORT), -1);
    assert_true(net_sh("ip route flush table 100"));
    int fd = net_connect(SOCK_STREAM, HERE4, FAR4, PORT);
    assert_true(fd >= 0);
    pq_tundev_close(&d);
    assert_true(net_sh("ip rule del from " HERE4 " lookup 100"));
    close(fd);
    close(far_end);
}

static int open_nat(struct pq_masquerade **m, const char *tun, const struct pq_range *ports,
                    bool v6)
{
    char why[PQ_OS_WHY_LEN];
    return pq_masquerade_open(
        m, &(struct pq_masquerade_conf){.tun = tun, .own_ports = ports, .v4 = true, .v6 = v6}, why);
}

static void killed(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "", c;
    struct pq_tundev d, second;
    struct pq_iface f;
    int ready[2], far_end;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* should an assertion end the test */
        struct pq_masquerade *m;
        bool ok = open_client(&d, why) == 0 && open_nat(&m, d.name, &own, true) == 0;
        ssize_t n = write(ready[1], ok ? "y" : "n", 1);
        pause();
        _exit(n != 1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_true(net_sh("nft list ruleset | grep -q masquerade"));
    struct pq_tundev_conf other = net_tun(3, false);
    struct pq_net net;
    pq_net_parse(&net, "0.0.0.0/0");
    assert_int_equal(pq_tundev_open(&second, &other, why), 0);
    assert_int_equal(pq_tundev_routes(&second, &net, 1, &(struct pq_tundev_policy){0}, why),
                     -EBUSY);
    assert_non_null(strstr(why, "0.0.0.0/0 already leads to pqtun1"));
    pq_tundev_close(&second);
    assert_int_equal(rules(), 14); /* the other one's are not touched */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(pq_iface_get("pqtun1", 0, &f), -ENODEV);
    assert_false(net_sh("nft list ruleset | grep -q paqet"));
    assert_int_equal(rules(), 14); /* left, and without effect */
    net_enter(AWAY);
    far_end = net_socket(SOCK_STREAM, "::", PORT);
    net_enter(HERE);
    assert_true(direct(FAR4) && direct(FAR6) && direct(ROUTER4));
    check_lookup();
    assert_int_equal(open_client(&d, why), 0);
    assert_int_equal(rules(), 14); /* not twice */
    pq_tundev_close(&d);
    assert_int_equal(rules(), 0);
    close(far_end);
    close(ready[0]);
    close(ready[1]);
}

/* Starts a client in a process of its own.  Returns it once its routes are made. */
static pid_t start_client(void)
{
    char why[PQ_TUN_WHY_LEN] = "", c = 0;
    struct pq_tundev d;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ssize_t n = write(ready[1], open_client(&d, why) ? "n" : "y", 1);
        pause();
        _exit(n != 1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static bool table_is_empty(void)
{
    return !net_sh("(ip route show table 28769; ip -6 route show table 28769) 2>/dev/null | "
                   "grep -q .");
}

/* A device that the user has made stays when its program is killed, and so do the routes. */
static void killed_persistent(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    net_enter(AWAY);
    int far_end = net_socket(SOCK_STREAM, "::", PORT);
    net_enter(HERE);
    assert_true(net_sh("ip tuntap add pqtun1 mode tun"));
    pid_t pid = start_client();
    pq_tundev_sweep(); /* of another client, which must not touch those of this one */
    assert_int_equal(rules(), 14);
    assert_false(table_is_empty());
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(table_is_empty());
    usleep(1500000); /* the kernel tells its routes at most once a second */
    assert_true(direct(FAR4) && direct(FAR6));
    pq_tundev_sweep();
    assert_int_equal(rules(), 0);
    assert_true(table_is_empty());
    assert_int_equal(open_client(&d, why), 0);
    assert_int_equal(rules(), 14);
    pq_tundev_close(&d);
    assert_int_equal(rules(), 0);
    assert_true(table_is_empty());
    assert_true(net_sh("ip link del pqtun1"));
    close(far_end);
}

/* A server leads networks behind its clients into the device, by the main table. */
static void server(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    struct pq_net nets[3];
    struct pq_tundev_conf c = net_tun(1, false);
    pq_net_parse(&nets[0], "10.20.3.4/16"); /* bits of the host part do not matter */
    pq_net_parse(&nets[1], "fd20::/48");
    pq_net_parse(&nets[2], "192.0.2.0/24");
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    assert_int_equal(pq_tundev_routes(&d, nets, 2, NULL, why), 0);
    assert_int_equal(rules(), 0);
    assert_true(tunnelled(&d, "10.20.9.9", "10.9.0.1"));
    assert_true(tunnelled(&d, "fd20::9", "fd09::1"));
    assert_int_equal(pq_tundev_routes(&d, nets + 2, 1, NULL, why), -EEXIST);
    assert_non_null(strstr(why, "192.0.2.0/24 is already routed"));
    pq_tundev_close(&d);
    assert_false(net_sh("ip route | grep -q 10.20"));
    c.has6 = false;
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    assert_int_equal(pq_tundev_routes(&d, nets + 1, 1, NULL, why), -EAFNOSUPPORT);
    assert_non_null(strstr(why, "fd20::/48 needs an IPv6 address of pqtun1"));
    pq_tundev_close(&d);
}

/* The same into a device that outlives the server. */
static void server_persistent(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    struct pq_net nets[3];
    struct pq_tundev_conf c = net_tun(1, false);
    pq_net_parse(&nets[0], "10.20.0.0/16");
    pq_net_parse(&nets[1], "fd20::/48");
    pq_net_parse(&nets[2], "10.21.0.0/16");
    assert_true(net_sh("ip tuntap add pqtun1 mode tun && ip link set pqtun1 up && "
                       "ip route add 10.21.0.0/16 dev pqtun1"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pq_tundev_open(&d, &c, why), 0);
        assert_int_equal(pq_tundev_routes(&d, nets, 3, NULL, why), 0);
        close(d.fd); /* killed */
    }
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    assert_int_equal(pq_tundev_routes(&d, nets, 3, NULL, why), 0);
    pq_tundev_close(&d);
    assert_false(net_sh("(ip route; ip -6 route) | grep -q '^10.20\\|^fd20'"));
    assert_true(net_sh("ip route | grep -q '^10.21.*pqtun1'")); /* the user's own */
    assert_true(net_sh("ip link del pqtun1"));
}

/* ---- masquerade */

/* Writes a UDP datagram of one byte, as a client's packet, into the device. */
static void inject(const struct pq_tundev *d, const char *from, const char *to)
{
    uint8_t p[64] = {0}, sum[4] = {0};
    const struct pq_addr a = net_addr(from, 0), b = net_addr(to, 0);
    bool v4 = pq_addr_is4(&a);
    size_t l4 = v4 ? 20 : 40, n = l4 + 9, ip_len = v4 ? 4 : 16;
    p[0] = v4 ? 0x45 : 0x60;
    pq_put_be16(p + (v4 ? 2 : 4), (uint16_t)(v4 ? n : n - 40));
    p[v4 ? 8 : 7] = 64;
    p[v4 ? 9 : 6] = 17;
    memcpy(p + (v4 ? 12 : 8), a.ip + 16 - ip_len, ip_len);
    memcpy(p + (v4 ? 16 : 24), b.ip + 16 - ip_len, ip_len);
    pq_put_be16(p + l4, 5555);
    pq_put_be16(p + l4 + 2, PORT);
    pq_put_be16(p + l4 + 4, 9);
    if (v4) {
        pq_ip_fill_checksum(p, 20, 0, 10);
    } else { /* the pseudo header's sum: both addresses, length, protocol */
        uint32_t s = 9 + 17;
        for (size_t i = 8; i < 40; i += 2)
            s += pq_be16(p + i);
        pq_put_be32(sum, s);
        s = (uint32_t)pq_be16(sum) + pq_be16(sum + 2);
        pq_put_be16(p + l4 + 6, (uint16_t)(s + (s >> 16)));
        pq_ip_fill_checksum(p, n, (uint16_t)l4, 6);
    }
    assert_int_equal(write(d->fd, p, n), n);
}

/* Sends to a far host as a client, answers there.  Returns whether the far host saw `seen`. */
static bool round_trip(const struct pq_tundev *d, bool v6, const char *seen)
{
    const char *far = v6 ? FAR6 : FAR4, *client = v6 ? "fd09::2" : "10.9.0.2";
    const struct pq_addr want = net_addr(seen, 0), inner = net_addr(client, 5555);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct pq_addr from;
    struct pq_ip back;
    char c;
    net_enter(AWAY);
    int fd = net_socket(SOCK_DGRAM, far, PORT);
    net_enter(HERE);
    inject(d, client, far);
    assert_int_equal(recvfrom(fd, &c, 1, 0, (struct sockaddr *)&ss, &len), 1);
    assert_int_equal(pq_addr_from_sock(&from, (struct sockaddr *)&ss), 0);
    assert_int_equal(sendto(fd, "y", 1, 0, (struct sockaddr *)&ss, len), 1);
    close(fd);
    bool same = pq_addr_eq_ip(&from, &want);
    if (same)
        same = tun_gets(d, 5555, &back) && pq_addr_eq(&back.dst, &inner);
    return same;
}

static void masquerade(void **state)
{
    (void)state;
    net_need();
    char why[PQ_TUN_WHY_LEN] = "";
    struct pq_tundev d;
    struct pq_masquerade *m;
    struct pq_tundev_conf c = net_tun(1, false);
    assert_int_equal(pq_tundev_open(&d, &c, why), 0);
    assert_int_equal(pq_forwarding_enable(true, true), 1);
    assert_int_equal(pq_forwarding_enable(true, true), 0);
    assert_true(net_sh("grep -q 2 /proc/sys/net/ipv6/conf/pqa/accept_ra"));
    net_enter(AWAY);
    assert_true(
        net_sh("ip route add 10.9.0.0/24 via " HERE4 " && ip -6 route add fd09::/64 via " HERE6));
    net_enter(HERE);
    assert_true(round_trip(&d, false, "10.9.0.2")); /* without: as it is */
    assert_true(round_trip(&d, true, "fd09::2"));
    assert_true(net_sh("conntrack -F >/dev/null 2>&1 || true"));
    assert_int_equal(open_nat(&m, d.name, &own, true), 0);
    assert_true(round_trip(&d, false, HERE4));
    assert_true(round_trip(&d, true, HERE6));
    pq_masquerade_close(&m);
    assert_null(m);
    assert_false(net_sh("nft list ruleset | grep -q paqet"));
    static const struct {
        struct pq_range own;
        const char *others;
    } ports[] = {{{1, 1}, "1024-65535"},          {{1023, 1023}, "1024-65535"},
                 {{1024, 1024}, "1025-65535"},    {{9999, 9999}, "10000-65535"},
                 {{33279, 33279}, "33280-65535"}, {{33280, 33280}, "1024-33279"},
                 {{65535, 65535}, "1024-65534"},  {{1000, 2000}, "2001-65535"},
                 {{20000, 20100}, "20101-65535"}, {{28000, 50000}, "1024-27999"}};
    for (size_t i = 0; i < COUNT_OF(ports); i++) {
        assert_int_equal(open_nat(&m, d.name, &ports[i].own, true), 0);
        /* without /etc/protocols nft knows TCP as 6 */
        assert_true(
            net_sh("nft list ruleset | grep -qE '(tcp|6) masquerade to :%s'", ports[i].others));
        pq_masquerade_close(&m);
    }
    assert_int_equal(open_nat(&m, d.name, &own, false), 0); /* IPv4 alone */
    assert_true(net_sh("nft list tables | grep -q 'ip paqet'"));
    assert_false(net_sh("nft list tables | grep -q 'ip6 paqet'"));
    pq_masquerade_close(&m);
    pq_tundev_close(&d);
}

int tun_routes(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy),     cmocka_unit_test(source_routing),
        cmocka_unit_test(killed),     cmocka_unit_test(killed_persistent),
        cmocka_unit_test(server),     cmocka_unit_test(server_persistent),
        cmocka_unit_test(masquerade),
    };
    return cmocka_run_group_tests_name("tun_routes", tests, NULL, NULL);
}
