/* SPDX-License-Identifier: MIT */
#include "os/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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

#define MARK "@paqet-ports-%u-%u" /* '@' stands for the zero of an abstract name */

static int set_mark(const struct pq_range *r)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const int n = snprintf(un.sun_path, sizeof un.sun_path, MARK, r->from, r->to);
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    un.sun_path[0] = 0;
    if (bind(fd, (struct sockaddr *)&un, len)) {
        const int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

/* The first port that another server has marked, too; 0 = there is none. */
static uint16_t find_marked(const struct pq_range *r)
{
    char *line = NULL;
    size_t cap = 0;
    uint16_t found = 0;
    FILE *f = fopen("/proc/thread-self/net/unix", "re");
    while (f && !found && getline(&line, &cap, f) > 0) {
        const char *at = strchr(line, '@');
        unsigned first, last;
        if (!at || sscanf(at, MARK, &first, &last) != 2 || first > r->to || last < r->from ||
            (first == r->from && last == r->to))
            continue; /* none, or our own */
        found = (uint16_t)(first > r->from ? first : r->from);
    }
    if (f)
        fclose(f);
    free(line);
    return found;
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
    h->mark = set_mark(r);
    if (h->mark < 0)
        return h->mark;
    const uint16_t marked = find_marked(r);
    if (marked) {
        *taken = marked;
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
