/* SPDX-License-Identifier: MIT */
/* pcap.c - libpcap, loaded when it is first asked for: the fallback where AF_PACKET is not to be
 * had.  Frames are copied out of libpcap's buffer, since they are decrypted in place. */
#include "io/pktio.h"

#include <dlfcn.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH   64
#define SNAPLEN 65536

struct lib { /* the functions used, found by name */
    void *handle;
    pcap_t *(*create)(const char *, char *);
    int (*set_snaplen)(pcap_t *, int);
    int (*set_immediate_mode)(pcap_t *, int);
    int (*set_buffer_size)(pcap_t *, int);
    int (*activate)(pcap_t *);
    int (*setnonblock)(pcap_t *, int, char *);
    int (*setdirection)(pcap_t *, pcap_direction_t);
    int (*datalink)(pcap_t *);
    int (*get_selectable_fd)(pcap_t *);
    int (*compile)(pcap_t *, struct bpf_program *, const char *, int, bpf_u_int32);
    int (*setfilter)(pcap_t *, struct bpf_program *);
    void (*freecode)(struct bpf_program *);
    int (*next_ex)(pcap_t *, struct pcap_pkthdr **, const u_char **);
    int (*inject)(pcap_t *, const void *, size_t);
    int (*stats)(pcap_t *, struct pcap_stat *);
    void (*close)(pcap_t *);
};

struct pc {
    struct pq_pktio io;
    struct lib lib;
    pcap_t *p;
    uint8_t *copy[BATCH]; /* of frames up to PQ_SLOT_SIZE */
    uint64_t truncated;
};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"pcap_create", offsetof(struct lib, create)},
    {"pcap_set_snaplen", offsetof(struct lib, set_snaplen)},
    {"pcap_set_immediate_mode", offsetof(struct lib, set_immediate_mode)},
    {"pcap_set_buffer_size", offsetof(struct lib, set_buffer_size)},
    {"pcap_activate", offsetof(struct lib, activate)},
    {"pcap_setnonblock", offsetof(struct lib, setnonblock)},
    {"pcap_setdirection", offsetof(struct lib, setdirection)},
    {"pcap_datalink", offsetof(struct lib, datalink)},
    {"pcap_get_selectable_fd", offsetof(struct lib, get_selectable_fd)},
    {"pcap_compile", offsetof(struct lib, compile)},
    {"pcap_setfilter", offsetof(struct lib, setfilter)},
    {"pcap_freecode", offsetof(struct lib, freecode)},
    {"pcap_next_ex", offsetof(struct lib, next_ex)},
    {"pcap_inject", offsetof(struct lib, inject)},
    {"pcap_stats", offsetof(struct lib, stats)},
    {"pcap_close", offsetof(struct lib, close)},
};

static int load(struct lib *l)
{
    l->handle = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
    if (!l->handle)
        l->handle = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!l->handle)
        return PQ_ENOTSUP;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *f = dlsym(l->handle, symbols[i].name);
        if (!f)
            return PQ_ENOTSUP;
        memcpy((char *)l + symbols[i].at, &f, sizeof f);
    }
    return 0;
}

static int pc_set_ports(struct pq_pktio *io, const struct pq_range *ports, size_t n)
{
    struct pc *c = (struct pc *)io;
    char text[64 + 32 * PQ_IO_PORTS_MAX] = "tcp and (", range[PQ_RANGE_STRLEN];
    size_t len = strlen(text);
    if (!n || n > PQ_IO_PORTS_MAX)
        return PQ_EINVAL;
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%sdst portrange %s",
                                i ? " or " : "", pq_range_str(&ports[i], range));
    snprintf(text + len, sizeof text - len, ")");
    struct bpf_program prog;
    if (c->lib.compile(c->p, &prog, text, 1, PCAP_NETMASK_UNKNOWN))
        return -EINVAL;
    int e = c->lib.setfilter(c->p, &prog) ? -EIO : 0;
    c->lib.freecode(&prog);
    return e;
}

static size_t pc_recv(struct pq_pktio *io, struct pq_frame *frames, size_t max)
{
    struct pc *c = (struct pc *)io;
    struct pcap_pkthdr *h;
    const u_char *p;
    size_t n = 0;
    while (n < max && n < BATCH && c->lib.next_ex(c->p, &h, &p) == 1) {
        if (h->caplen > PQ_SLOT_SIZE) { /* glued: where it would have to be cut is not known */
            c->truncated++;
            continue;
        }
        if (!c->copy[n] && !(c->copy[n] = malloc(PQ_SLOT_SIZE)))
            break;
        memcpy(c->copy[n], p, h->caplen);
        frames[n] = (struct pq_frame){c->copy[n], h->caplen, h->len, 0};
        n++;
    }
    return n;
}

static void pc_release(struct pq_pktio *io)
{
    (void)io;
}

static int pc_send(struct pq_pktio *io, const struct pq_slot *slots, size_t n)
{
    struct pc *c = (struct pc *)io;
    for (size_t i = 0; i < n; i++) {
        errno = 0;
        if (c->lib.inject(c->p, slots[i].buf + slots[i].off, slots[i].len) >= 0)
            continue;
        if (i || errno == EAGAIN)
            return (int)i;
        if (errno == ENOBUFS)
            return PQ_EAGAIN;
        return errno ? -errno : -EIO;
    }
    return (int)n;
}

static void pc_stats(struct pq_pktio *io, struct pq_pktio_stats *out)
{
    struct pc *c = (struct pc *)io;
    struct pcap_stat st = {0};
    c->lib.stats(c->p, &st);
    *out = (struct pq_pktio_stats){.kernel_drops = st.ps_drop, .truncated = c->truncated};
}

static void pc_close(struct pq_pktio *io)
{
    struct pc *c = (struct pc *)io;
    if (c->p)
        c->lib.close(c->p);
    if (c->lib.handle)
        dlclose(c->lib.handle);
    for (size_t i = 0; i < BATCH; i++)
        free(c->copy[i]);
    free(c);
}

static const struct pq_pktio_ops pc_ops = {pc_set_ports, pc_recv,  pc_release,
                                           pc_send,      pc_stats, pc_close};

static int activate(struct pc *c, const struct pq_pktio_conf *conf)
{
    char err[PCAP_ERRBUF_SIZE];
    c->p = c->lib.create(conf->ifname, err);
    if (!c->p)
        return -ENODEV;
    c->lib.set_snaplen(c->p, SNAPLEN);
    c->lib.set_immediate_mode(c->p, 1);
    if (conf->sockbuf)
        c->lib.set_buffer_size(c->p, (int)conf->sockbuf);
    int r = c->lib.activate(c->p);
    if (r < 0)
        return r == PCAP_ERROR_PERM_DENIED      ? -EPERM
               : r == PCAP_ERROR_NO_SUCH_DEVICE ? -ENODEV
               : r == PCAP_ERROR_IFACE_NOT_UP   ? -ENETDOWN
                                                : -EIO;
    if (c->lib.setnonblock(c->p, 1, err) || c->lib.setdirection(c->p, PCAP_D_IN))
        return -EIO;
    int link = c->lib.datalink(c->p);
    if (link != DLT_EN10MB && link != DLT_RAW)
        return PQ_ENOTSUP;
    c->io.link_len = link == DLT_EN10MB ? 14 : 0;
    c->io.rx_fd = c->io.tx_fd = c->lib.get_selectable_fd(c->p);
    return c->io.rx_fd < 0 ? PQ_ENOTSUP : 0;
}

int pq_pcap_open(struct pq_pktio **out, const struct pq_pktio_conf *conf)
{
    *out = NULL;
    struct pc *c = calloc(1, sizeof *c);
    if (!c)
        return PQ_ENOMEM;
    c->io = (struct pq_pktio){.ops = &pc_ops, .rx_fd = -1, .tx_fd = -1};
    int e = load(&c->lib);
    if (!e)
        e = activate(c, conf);
    if (e) {
        pc_close(&c->io);
        return e;
    }
    *out = &c->io;
    return 0;
}
