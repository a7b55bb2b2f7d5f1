/* SPDX-License-Identifier: MIT */
#include "os/linux/nl.h"

#include <errno.h>
#include <linux/rtnetlink.h>

int pq_nl_query(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
    char buf[16384];
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl)
        return -errno;
    int e = 0;
    nlh->nlmsg_seq = 1;
    if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
        e = -errno;
    bool dump = nlh->nlmsg_flags & NLM_F_DUMP;
    unsigned pid = mnl_socket_get_portid(nl);
    while (!e) {
        ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof buf);
        int r = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, 1, pid, cb, arg);
        if (r < 0)
            e = errno ? -errno : -EIO;
        if (r <= MNL_CB_STOP || !dump)
            break;
    }
    mnl_socket_close(nl);
    return e;
}

struct nlmsghdr *pq_nl_request(void *buf, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return nlh;
}

static int on_attr(const struct nlattr *at, void *tb)
{
    const struct nlattr **t = tb;
    if (mnl_attr_get_type(at) < PQ_NL_ATTRS)
        t[mnl_attr_get_type(at)] = at;
    return MNL_CB_OK;
}

void pq_nl_attrs(const struct nlmsghdr *nlh, size_t skip, const struct nlattr *tb[PQ_NL_ATTRS])
{
    for (int i = 0; i < PQ_NL_ATTRS; i++)
        tb[i] = NULL;
    mnl_attr_parse(nlh, (unsigned)skip, on_attr, tb);
}

void pq_nl_attrs_in(const void *p, size_t n, const struct nlattr *tb[PQ_NL_ATTRS])
{
    for (int i = 0; i < PQ_NL_ATTRS; i++)
        tb[i] = NULL;
    mnl_attr_parse_payload(p, n, on_attr, tb);
}

uint32_t pq_nl_u32(const struct nlattr *at)
{
    return at && mnl_attr_get_payload_len(at) == 4 ? mnl_attr_get_u32(at) : 0;
}

bool pq_nl_addr(struct pq_addr *a, const struct nlattr *at)
{
    if (!at)
        return false;
    size_t n = mnl_attr_get_payload_len(at);
    if (n == 4)
        pq_addr_set4(a, mnl_attr_get_payload(at), 0);
    else if (n == 16)
        pq_addr_set6(a, mnl_attr_get_payload(at), 0);
    return n == 4 || n == 16;
}

void pq_nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct pq_addr *a)
{
    if (pq_addr_is4(a))
        mnl_attr_put(nlh, type, 4, pq_addr_v4(a));
    else
        mnl_attr_put(nlh, type, 16, a->ip);
}

int pq_nl_dump(uint16_t type, size_t payload, mnl_cb_t cb, void *arg)
{
    char buf[512] = {0};
    struct nlmsghdr *nlh = pq_nl_request(buf, type, NLM_F_DUMP);
    mnl_nlmsg_put_extra_header(nlh, payload);
    return pq_nl_query(nlh, cb, arg);
}
