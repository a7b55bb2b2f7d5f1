/* SPDX-License-Identifier: MIT */
#include "tun_net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>

static int places[2] = {-1, -1};
static bool have_net;

static int new_place(void)
{
    if (unshare(CLONE_NEWNET))
        return -1;
    return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

bool net_sh(const char *fmt, ...)
{
    char cmd[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    return system(cmd) == 0; /* NOLINT(cert-env33-c): a test as root, fixed commands */
}

void net_enter(enum place p)
{
    if (setns(places[p], CLONE_NEWNET))
        abort();
}

int net_setup(void **state)
{
    (void)state;
    have_net = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 &&
               (places[AWAY] = new_place()) >= 0 && (places[HERE] = new_place()) >= 0;
    if (have_net)
        have_net =
            net_sh("ip link set lo up && ip link add pqa type veth peer name pqb && "
                   "ip link set pqb netns /proc/%d/fd/%d && "
                   "ip addr add " HERE4 "/24 dev pqa && ip addr add " HERE6 "/64 dev pqa nodad && "
                   "ip link set pqa up && ip route add default via " ROUTER4
                   " && ip route add default via fd02::2 && "
                   "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter",
                   (int)getpid(), places[AWAY]);
    if (have_net) {
        net_enter(AWAY);
        have_net = net_sh("ip link set lo up && ip addr add " ROUTER4 "/24 dev pqb && "
                          "ip addr add fd02::2/64 dev pqb nodad && ip link set pqb up && "
                          "ip addr add " FAR4 "/32 dev lo && ip addr add " FAR6 "/128 dev lo");
        net_enter(HERE);
    }
    if (!have_net)
        printf("TUN IS NOT TESTED: it needs root, /dev/net/tun, network namespaces and veth\n");
    return 0;
}

void net_need(void)
{
    if (!have_net)
        skip();
    net_enter(HERE);
}

struct pq_addr net_addr(const char *ip, uint16_t port)
{
    struct pq_addr a;
    assert_int_equal(pq_addr_parse_ip(&a, ip), 0);
    a.port = port;
    return a;
}

int net_socket(int kind, const char *ip, uint16_t port)
{
    struct sockaddr_storage ss;
    struct pq_addr a = net_addr(ip, port);
    socklen_t len = pq_addr_to_sock(&a, &ss);
    int on = 1, fd = socket(ss.ss_family, kind | SOCK_CLOEXEC, 0);
    const struct timeval two = {.tv_sec = 2};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &two, sizeof two);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    if (kind == SOCK_STREAM)
        assert_int_equal(listen(fd, 8), 0);
    return fd;
}

int net_connect(int kind, const char *from, const char *ip, uint16_t port)
{
    struct sockaddr_storage ss;
    struct pq_addr a = net_addr(ip, port);
    socklen_t len = pq_addr_to_sock(&a, &ss);
    int fd = socket(ss.ss_family, kind | SOCK_CLOEXEC, 0);
    const struct timeval limit = {.tv_sec = 4}; /* the first one waits for ND */
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (from) {
        struct sockaddr_storage own;
        a = net_addr(from, 0);
        socklen_t own_len = pq_addr_to_sock(&a, &own);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, own_len), 0);
    }
    if (connect(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    close(fd);
    return -1;
}

void net_sendto(int fd, const char *text, const char *ip, uint16_t port)
{
    struct sockaddr_storage ss;
    struct pq_addr a = net_addr(ip, port);
    socklen_t len = pq_addr_to_sock(&a, &ss);
    ssize_t n = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&ss, len);
    assert_int_equal(n, strlen(text));
}

bool net_talks(int a, int b)
{
    char buf[8];
    return send(a, "ping", 4, MSG_NOSIGNAL) == 4 && recv(b, buf, sizeof buf, 0) == 4 &&
           send(b, "pong", 4, MSG_NOSIGNAL) == 4 && recv(a, buf, sizeof buf, 0) == 4;
}

struct pq_tundev_conf net_tun(unsigned n, bool offload)
{
    struct pq_tundev_conf c = {.has4 = true, .has6 = true, .mtu = 1400, .offload = offload};
    char text[32];
    snprintf(c.name, sizeof c.name, "pqtun%u", n);
    snprintf(text, sizeof text, "10.9.0.%u/24", n);
    assert_int_equal(pq_net_parse(&c.net4, text), 0);
    snprintf(text, sizeof text, "fd09::%u/64", n);
    assert_int_equal(pq_net_parse(&c.net6, text), 0);
    return c;
}
