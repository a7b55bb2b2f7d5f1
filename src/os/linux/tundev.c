/* SPDX-License-Identifier: MIT */
#include "os/tundev.h"

#include "base/err.h"
#include "os/linux/nl.h"
#include "os/netinfo.h"

#include <net/if.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { REQUEST_MAX = 512 };

/* ---- the device */

static int open_clone(struct pq_tundev *d, char why[PQ_TUN_WHY_LEN])
{
    d->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (d->fd >= 0)
        return 0;
    int e = -errno;
    if (e == -ENOENT)
        snprintf(why, PQ_TUN_WHY_LEN,
                 "there is no /dev/net/tun: run \"modprobe tun\"; in a container, let its host add "
                 "the device (docker: --device /dev/net/tun), or run \"mkdir -p /dev/net && mknod "
                 "/dev/net/tun c 10 200\"");
    else if (e == -ENODEV || e == -ENXIO)
        snprintf(why, PQ_TUN_WHY_LEN,
                 "this kernel has no TUN driver loaded: run \"modprobe tun\" (on the host, if this "
                 "is a container)");
    else if (e == -EPERM || e == -EACCES)
        snprintf(why, PQ_TUN_WHY_LEN,
                 "/dev/net/tun may not be opened (%s): run as root; in a container, allow the "
                 "device (docker: --device /dev/net/tun)",
                 pq_strerror(e));
    else
        snprintf(why, PQ_TUN_WHY_LEN, "/dev/net/tun: %s", pq_strerror(e));
    return e;
}

static int attach_error(int e, const char *name, char why[PQ_TUN_WHY_LEN])
{
    switch (e) {
    case -EBUSY:
        snprintf(why, PQ_TUN_WHY_LEN,
                 "the device %s belongs to another program: choose another name, or end that "
                 "program",
                 name);
        break;
    case -EPERM:
        snprintf(why, PQ_TUN_WHY_LEN,
                 "a TUN device may not be made: run as root, or give the program the capability "
                 "CAP_NET_ADMIN");
        break;
    case -EINVAL:
        snprintf(why, PQ_TUN_WHY_LEN,
                 "the kernel refuses a TUN device named \"%s\": there may be an interface of "
                 "another kind with that name; choose another",
                 name);
        break;
    default:
        snprintf(why, PQ_TUN_WHY_LEN, "the TUN device \"%s\": %s", name, pq_strerror(e));
    }
    return e;
}

/* Says which packets we take.  The header in front stays even if the kernel refuses all. */
static void set_offload(int fd)
{
    int len = sizeof(struct virtio_net_hdr);
    const unsigned most = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    ioctl(fd, TUNSETVNETHDRSZ, &len);
    if (ioctl(fd, TUNSETOFFLOAD, most | TUN_F_TSO_ECN) && ioctl(fd, TUNSETOFFLOAD, most))
        ioctl(fd, TUNSETOFFLOAD, 0);
}

static int attach(struct pq_tundev *d, const struct pq_tundev_conf *c, char why[PQ_TUN_WHY_LEN])
{
    struct ifreq r = {0};
    memcpy(r.ifr_name, c->name, strnlen(c->name, sizeof r.ifr_name - 1));
    d->offload = c->offload;
    r.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | (c->offload ? IFF_VNET_HDR : 0));
    int e = ioctl(d->fd, TUNSETIFF, &r) ? -errno : 0;
    if (e == -EINVAL && c->offload) {
        d->offload = false;
        r.ifr_flags = IFF_TUN | IFF_NO_PI;
        e = ioctl(d->fd, TUNSETIFF, &r) ? -errno : 0;
    }
    if (e)
        return attach_error(e, c->name, why);
    memcpy(d->name, r.ifr_name, sizeof d->name);
    d->index = (int)if_nametoindex(d->name);
    if (d->offload)
        set_offload(d->fd);
    return 0;
}

/* Begins a change of the device: its flags that are named, and what is put behind. */
static void change_link(struct pq_nl_out *o, const struct pq_tundev *d, unsigned flags)
{
    const struct ifinfomsg h = {.ifi_index = d->index, .ifi_flags = flags, .ifi_change = flags};
    pq_nl_begin(o, RTM_NEWLINK, NLM_F_ACK, &h, sizeof h);
}

/* Keeps the kernel from giving itself a link-local address, and so from asking for routers through
 * the tunnel.  Refused where there is no IPv6, which is fine. */
static void no_link_local(const struct pq_tundev *d)
{
    uint8_t buf[REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    change_link(&o, d, 0);
    const size_t spec = pq_nl_nest(&o, IFLA_AF_SPEC);
    const size_t inet6 = pq_nl_nest(&o, AF_INET6);
    pq_nl_put_u8(&o, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    pq_nl_nest_end(&o, inet6);
    pq_nl_nest_end(&o, spec);
    pq_nl_query(&o, NULL, NULL);
}

/* A device that the user has made outlives us.  Once no program has it, its routes are passed over,
 * so that one who is killed does not cut the machine off.  Where that is refused, the next start
 * mends it. */
static void pass_over_when_dead(const struct pq_tundev *d)
{
    static const char *const version[] = {"ipv4", "ipv6"};
    char path[96];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/ignore_routes_with_linkdown",
                 version[i], d->name);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t n = write(fd, "1", 1);
        (void)n;
        close(fd);
    }
}

static int bring_up(const struct pq_tundev *d, uint32_t mtu, char why[PQ_TUN_WHY_LEN])
{
    uint8_t buf[REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    no_link_local(d);
    pass_over_when_dead(d);
    change_link(&o, d, IFF_UP);
    pq_nl_put_u32(&o, IFLA_MTU, mtu);
    uint32_t least = d->has6 ? 1280 : 68; /* less turns IPv6 off on the device */
    int e = mtu < least ? -EINVAL : pq_nl_query(&o, NULL, NULL);
    if (e == -EINVAL)
        snprintf(why, PQ_TUN_WHY_LEN, "%s does not take the MTU %u: %u to 65535 are possible",
                 d->name, mtu, least);
    else if (e == -EPERM)
        attach_error(e, d->name, why);
    else if (e)
        snprintf(why, PQ_TUN_WHY_LEN, "%s cannot be set up: %s", d->name, pq_strerror(e));
    return e;
}

/* ---- addresses */

/* Whether an interface beside ours has the address. */
static int check_free(const struct pq_tundev *d, const struct pq_addr *ip, char why[PQ_TUN_WHY_LEN])
{
    struct pq_iface *v;
    size_t n;
    char text[PQ_ADDR_STRLEN];
    int e = pq_iface_list(&v, &n);
    if (e) {
        snprintf(why, PQ_TUN_WHY_LEN, "the interfaces cannot be listed: %s", pq_strerror(e));
        return e;
    }
    for (size_t i = 0; !e && i < n; i++) {
        for (size_t k = 0; k < v[i].n && v[i].index != d->index; k++) {
            if (!pq_addr_eq_ip(&v[i].addr[k].ip, ip))
                continue;
            snprintf(why, PQ_TUN_WHY_LEN, "%s is in use on %s: choose another address for %s",
                     pq_addr_ip_str(ip, text), v[i].name, d->name);
            e = -EADDRINUSE;
        }
    }
    free(v);
    return e;
}

static uint8_t prefix_len(const struct pq_net *n)
{
    return (uint8_t)(pq_addr_is4(&n->ip) ? n->bits - 96 : n->bits);
}

static int add_address(const struct pq_tundev *d, const struct pq_net *net,
                       char why[PQ_TUN_WHY_LEN])
{
    uint8_t buf[REQUEST_MAX];
    char text[PQ_ADDR_STRLEN];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    bool v4 = pq_addr_is4(&net->ip);
    int e = check_free(d, &net->ip, why);
    if (e)
        return e;
    const struct ifaddrmsg h = {.ifa_family = v4 ? AF_INET : AF_INET6,
                                .ifa_prefixlen = prefix_len(net),
                                .ifa_index = (uint32_t)d->index,
                                .ifa_flags = v4 ? 0 : IFA_F_NODAD}; /* we are alone on this link */
    pq_nl_begin(&o, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &h, sizeof h);
    pq_nl_put_addr(&o, IFA_LOCAL, &net->ip);
    pq_nl_put_addr(&o, IFA_ADDRESS, &net->ip);
    e = pq_nl_query(&o, NULL, NULL);
    if (e)
        snprintf(why, PQ_TUN_WHY_LEN, "%s does not take the address %s/%u: %s%s", d->name,
                 pq_addr_ip_str(&net->ip, text), h.ifa_prefixlen, pq_strerror(e),
                 v4 ? ""
                    : " (if IPv6 is off on this machine, turn it on with \"sysctl "
                      "net.ipv6.conf.all.disable_ipv6=0\", or leave the address out)");
    return e;
}

int pq_tundev_open(struct pq_tundev *d, const struct pq_tundev_conf *c, char why[PQ_TUN_WHY_LEN])
{
    *d = (struct pq_tundev){.fd = -1,
                            .has4 = c->has4,
                            .has6 = c->has6,
                            .addr4 = c->net4.ip,
                            .addr6 = c->net6.ip,
                            .lock = PTHREAD_MUTEX_INITIALIZER};
    int e = open_clone(d, why);
    if (!e)
        e = attach(d, c, why);
    if (!e)
        e = bring_up(d, c->mtu, why);
    if (!e && c->has4)
        e = add_address(d, &c->net4, why);
    if (!e && c->has6)
        e = add_address(d, &c->net6, why);
    if (e)
        pq_tundev_close(d);
    return e;
}
