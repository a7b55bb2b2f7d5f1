/* SPDX-License-Identifier: MIT */
#include "os/port.h"

#include "os/linux/mark.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_one(const struct sockaddr *sa, socklen_t len)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -errno;
    if (sa->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, sa, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    /* Only now: the bind itself had to find every other user of the port. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return fd;
}

int pq_port_reserve(struct pq_port *p, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    p->fd6 = -1;
    p->fd4 = bind_one((struct sockaddr *)&in, sizeof in);
    if (p->fd4 < 0)
        return p->fd4;
    p->fd6 = bind_one((struct sockaddr *)&in6, sizeof in6);
    if (p->fd6 == -EADDRINUSE) {
        pq_port_release(p);
        return -EADDRINUSE;
    }
    return 0; /* no IPv6 on this machine is no error */
}

void pq_port_release(struct pq_port *p)
{
    if (p->fd4 >= 0)
        close(p->fd4);
    if (p->fd6 >= 0)
        close(p->fd6);
    p->fd4 = p->fd6 = -1;
}

/* ---- a server's ports */

struct search {
    struct pq_range r;
    uint16_t port; /* the first one that another server has marked, too; 0 = there is none */
};

static bool on_mark(void *ctx, uint32_t mark)
{
    struct search *s = ctx;
    struct pq_range other;
    if (pq_mark_to_range(mark, &other) && other.from <= s->r.to && other.to >= s->r.from)
        s->port = other.from > s->r.from ? other.from : s->r.from;
    return s->port;
}

/* Whether somebody has the port, for IPv4 or IPv6; one socket of both tells. */
static int try_port(uint16_t port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const int both = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pq_port p;
    if (fd >= 0 && !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both)) {
        const int e = bind(fd, (struct sockaddr *)&in6, sizeof in6) ? -errno : 0;
        close(fd);
        if (e != -EADDRNOTAVAIL)
            return e;
    } else if (fd >= 0) {
        close(fd);
    }
    const int e = pq_port_reserve(&p, port); /* there is no IPv6 */
    if (!e)
        pq_port_release(&p);
    return e;
}

static int try_all(const struct pq_range *r, uint16_t *taken)
{
    int e = 0;
    for (unsigned port = r->from; !e && port <= r->to; port++) {
        *taken = (uint16_t)port;
        e = try_port((uint16_t)port);
    }
    return e;
}

int pq_ports_hold(struct pq_port_hold *h, const struct pq_range *r, uint16_t *taken)
{
    int e = 0;
    h->port.fd4 = h->port.fd6 = -1;
    *taken = r->from;
    h->mark = pq_mark_set(pq_mark_of_range(r));
    if (h->mark < 0 && h->mark != -EPERM) /* without that right there is no server, told later */
        return h->mark;
    struct search others = {.r = *r};
    pq_mark_find(h->mark, on_mark, &others); /* the ports themselves are tried, too */
    if (others.port) {
        *taken = others.port;
        e = -EADDRINUSE;
    } else {
        e = r->from == r->to ? pq_port_reserve(&h->port, r->from) : try_all(r, taken);
    }
    if (e)
        pq_ports_release(h);
    return e;
}

void pq_ports_release(struct pq_port_hold *h)
{
    pq_port_release(&h->port);
    if (h->mark >= 0)
        close(h->mark);
    h->mark = -1;
}

/* ---- what the kernel gives away */

static void read_line(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, (int)cap, f))
        out[0] = 0;
    if (f)
        fclose(f);
    out[strcspn(out, "\n")] = 0;
}

/* Whether a list such as 8080,9000-9100 has the port. */
static bool list_has(const char *list, unsigned port)
{
    unsigned first, last;
    for (; *list; list += strcspn(list, ","), list += *list == ',') {
        const int n = sscanf(list, "%u-%u", &first, &last);
        if (n > 0 && port >= first && port <= (n == 2 ? last : first))
            return true;
    }
    return false;
}

bool pq_ports_given_away(const struct pq_range *r, char reserve[PQ_RESERVE_TEXT])
{
    char text[64], list[PQ_RESERVE_TEXT - 2 * PQ_RANGE_STRLEN], range[PQ_RANGE_STRLEN];
    unsigned from, to;
    read_line("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof text);
    read_line("/proc/sys/net/ipv4/ip_local_reserved_ports", list, sizeof list);
    if (sscanf(text, "%u %u", &from, &to) != 2) {
        from = 32768;
        to = 60999;
    }
    bool given = false;
    for (unsigned port = r->from > from ? r->from : from; !given && port <= r->to && port <= to;
         port++)
        given = !list_has(list, port);
    snprintf(reserve, PQ_RESERVE_TEXT, "%s%s%s", list, *list ? "," : "", pq_range_str(r, range));
    return given;
}
