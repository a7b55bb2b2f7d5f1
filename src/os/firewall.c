/* SPDX-License-Identifier: MIT */
#include "os/firewall.h"

#include "base/err.h"

#include <errno.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VARIANTS = 4 };

struct variant {
    const char *family, *hook, *kind;
    bool owner;
};

/* In order of choice.  A table without `owner` bears the mark "paqet" and the process id, so that a
 * later start finds and removes what a killed process left. */
static const struct variant variants[VARIANTS] = {
    {"netdev", "ingress", "nftables netdev ingress, removed with the process", true},
    {"inet", "prerouting", "nftables inet prerouting, removed with the process", true},
    {"netdev", "ingress", "nftables netdev ingress", false},
    {"inet", "prerouting", "nftables inet prerouting", false},
};

struct pq_firewall {
    struct nft_ctx *nft;
    const struct variant *v;
    char table[32];
};

__attribute__((format(printf, 2, 3))) static int run(struct nft_ctx *nft, const char *fmt, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof cmd)
        return PQ_EINVAL;
    return nft_run_cmd_from_buffer(nft, cmd) ? PQ_ENOTSUP : 0;
}

/* Takes away marked tables of processes that are gone. */
static void sweep(struct nft_ctx *nft)
{
    if (run(nft, "list tables"))
        return;
    char *text = strdup(nft_ctx_get_output_buffer(nft));
    for (char *save, *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char family[8];
        int pid;
        unsigned salt;
        if (sscanf(line, "table %7s paqet_%d_%x", family, &pid, &salt) == 3 && pid != getpid()) {
            char proc[32];
            snprintf(proc, sizeof proc, "/proc/%d", pid);
            if (access(proc, F_OK))
                run(nft, "delete table %s paqet_%d_%04x", family, pid, salt);
        }
    }
    free(text);
}

/* The rules: what is dropped of all that comes in for one of our ports. */
static void rules(const struct pq_firewall_conf *c, char *buf, size_t cap)
{
    char ip[PQ_ADDR_STRLEN];
    size_t n = 0;
    if (!c->client)
        snprintf(buf, cap, "tcp dport @ports drop\n");
    for (unsigned i = 0; c->client && i < c->n_servers; i++)
        n += (size_t)snprintf(buf + n, cap - n, "%s saddr %s tcp sport %u tcp dport @ports drop\n",
                              pq_addr_is4(&c->server[i]) ? "ip" : "ip6",
                              pq_addr_ip_str(&c->server[i], ip), c->server[i].port);
}

static int install(struct pq_firewall *f, const struct pq_firewall_conf *c, const struct variant *v)
{
    char device[32] = "", only[40] = "", match[PQ_FIREWALL_SERVERS * 120];
    if (strcmp(v->family, "netdev") == 0)
        snprintf(device, sizeof device, "device \"%s\"", c->ifname);
    else
        snprintf(only, sizeof only, "iifname != \"%s\" accept\n", c->ifname);
    rules(c, match, sizeof match);
    return run(f->nft,
               "table %s %s {\n"
               "%s"
               "set ports { type inet_service; }\n"
               "chain in { type filter hook %s %s priority -350;\n"
               "%s%s}\n}\n",
               v->family, f->table, v->owner ? "flags owner;\n" : "", v->hook, device, only, match);
}

/* Where the kernel has no netfilter at all, libnftables would end the program. */
static bool has_netfilter(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int pq_firewall_open(struct pq_firewall **out, const struct pq_firewall_conf *conf)
{
    *out = NULL;
    if (!has_netfilter())
        return PQ_ENOTSUP;
    struct pq_firewall *f = calloc(1, sizeof *f);
    if (!f)
        return PQ_ENOMEM;
    f->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!f->nft) {
        free(f);
        return PQ_ENOMEM;
    }
    nft_ctx_buffer_output(f->nft);
    nft_ctx_buffer_error(f->nft);
    /* two containers may share the network, but not the numbers of processes */
    unsigned salt = 0;
    if (getrandom(&salt, sizeof salt, 0) < 0)
        salt = (unsigned)getppid();
    snprintf(f->table, sizeof f->table, "paqet_%d_%04x", (int)getpid(), salt & 0xffff);
    sweep(f->nft);
    for (int i = 0; i < VARIANTS; i++) {
        if (install(f, conf, &variants[i]) == 0) {
            f->v = &variants[i];
            *out = f;
            return 0;
        }
    }
    bool denied = strstr(nft_ctx_get_error_buffer(f->nft), "not permitted") != NULL;
    nft_ctx_free(f->nft);
    free(f);
    return denied ? -EPERM : PQ_ENOTSUP;
}

int pq_firewall_add(struct pq_firewall *f, uint16_t port)
{
    return run(f->nft, "add element %s %s ports { %u }", f->v->family, f->table, port);
}

int pq_firewall_remove(struct pq_firewall *f, uint16_t port)
{
    return run(f->nft, "delete element %s %s ports { %u }", f->v->family, f->table, port);
}

const char *pq_firewall_kind(const struct pq_firewall *f)
{
    return f->v->kind;
}

void pq_firewall_close(struct pq_firewall **fp)
{
    struct pq_firewall *f = *fp;
    if (!f)
        return;
    run(f->nft, "delete table %s %s", f->v->family, f->table);
    nft_ctx_free(f->nft);
    free(f);
    *fp = NULL;
}

void pq_firewall_advice(const struct pq_firewall_conf *c, uint16_t port, char *buf, size_t cap)
{
    char match[PQ_ADDR_STRLEN + 32] = "", ip[PQ_ADDR_STRLEN];
    bool is4 = !c->client || pq_addr_is4(&c->server[0]);
    if (c->client)
        snprintf(match, sizeof match, "-s %s --sport %u ", pq_addr_ip_str(&c->server[0], ip),
                 c->server[0].port);
    char number[16];
    snprintf(number, sizeof number, port ? "%u" : "PORT", port);
    const char *tool = is4 ? "iptables" : "ip6tables";
    snprintf(buf, cap,
             "%s -t raw -I PREROUTING -i %s -p tcp %s--dport %s -j DROP\n"
             "  (or, if that is refused: %s -I INPUT -i %s -p tcp %s--dport %s -j DROP)",
             tool, c->ifname, match, number, tool, c->ifname, match, number);
}
