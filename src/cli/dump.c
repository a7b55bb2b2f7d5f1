/* SPDX-License-Identifier: MIT */
#include "cli/dump.h"

#include "app/app.h"
#include "wire/capture.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ETHER_LEN 14

/* ---- showing */

/* As `hexdump -C` shows it. */
static void hex_dump(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n; at += 16) {
        printf("%08zx ", at);
        for (size_t i = 0; i < 16; i++) {
            if (at + i < n)
                printf("%s%02x", i == 8 ? "  " : " ", p[at + i]);
            else
                printf(i == 8 ? "    " : "   ");
        }
        printf("  |");
        for (size_t i = 0; i < 16 && at + i < n; i++)
            putchar(isprint(p[at + i]) ? p[at + i] : '.');
        printf("|\n");
    }
    printf("%08zx\n", n);
}

static const char *clock_text(uint64_t time_us, char buf[16])
{
    const time_t t = (time_t)(time_us / 1000000);
    struct tm tm;
    localtime_r(&t, &tm);
    strftime(buf, 16, "%H:%M:%S", &tm);
    return buf;
}

static void show_bytes(const struct pq_segment *s, uint64_t time_us)
{
    char src[PQ_ADDR_STRLEN], dst[PQ_ADDR_STRLEN], when[16];
    printf("[%s.%03u] Packet: %s -> %s | Length: %zu bytes\n--- PAYLOAD (HEX DUMP) ---\n",
           clock_text(time_us, when), (unsigned)(time_us / 1000 % 1000), pq_addr_str(&s->src, src),
           pq_addr_str(&s->dst, dst), s->len);
    hex_dump(s->data, s->len);
    printf("--------------------------\n");
}

static const char *user_name(const struct pq_conf *c, const uint8_t key[32])
{
    for (unsigned i = 0; c && i < c->n_users; i++)
        if (memcmp(c->user[i].key, key, 32) == 0)
            return c->user[i].name ? c->user[i].name : "a user without a name";
    return c && c->n_users ? "nobody who is a user here" : "somebody (there are no users)";
}

static void show_line(struct pq_dump *d, const struct pq_segment *s, enum pq_drop drop,
                      uint64_t time_us)
{
    char src[PQ_ADDR_STRLEN], dst[PQ_ADDR_STRLEN], when[16];
    printf("%s.%06u ", clock_text(time_us, when), (unsigned)(time_us % 1000000));
    if (!drop || drop == PQ_DROP_NO_PAYLOAD)
        printf("%s > %s ", pq_addr_str(&s->src, src), pq_addr_str(&s->dst, dst));
    fputs(d->text.text, stdout);
    if (d->text.has_user)
        printf(" | user: %s", user_name(d->conf, d->text.user));
    putchar('\n');
}

/* ---- counting */

static void count(struct pq_dump *d, bool from, size_t bytes)
{
    unsigned i = 0;
    while (i < d->n_counts && strcmp(d->count[i].kind, d->text.kind) != 0)
        i++;
    if (i == PQ_DUMP_KINDS)
        return;
    if (i == d->n_counts)
        d->count[d->n_counts++] = (struct pq_dump_count){.kind = d->text.kind};
    d->count[i].packets[from]++;
    d->count[i].bytes[from] += bytes;
}

static int by_packets(const void *a, const void *b)
{
    const struct pq_dump_count *x = a, *y = b;
    const uint64_t p = x->packets[0] + x->packets[1], q = y->packets[0] + y->packets[1];
    return (p < q) - (p > q);
}

void pq_dump_print(const struct pq_dump *d)
{
    struct pq_dump_count v[PQ_DUMP_KINDS];
    memcpy(v, d->count, sizeof v);
    qsort(v, d->n_counts, sizeof *v, by_packets);
    printf("TO THE PORT           FROM THE PORT\n%9s %13s %9s %13s  %s\n", "PACKETS", "BYTES",
           "PACKETS", "BYTES", "WHAT");
    for (unsigned i = 0; i < d->n_counts; i++)
        printf("%9" PRIu64 " %13" PRIu64 " %9" PRIu64 " %13" PRIu64 "  %s\n", v[i].packets[0],
               v[i].bytes[0], v[i].packets[1], v[i].bytes[1], v[i].kind);
}

/* ---- one packet */

/* Each datagram of a frame, of which the kernel may have glued several. */
static void each_datagram(struct pq_dump *d, const struct pq_frame *f, const struct pq_segment *s,
                          enum pq_drop drop, uint64_t time_us)
{
    const bool from = d->n_peers || (d->ports.from && !pq_range_has(&d->ports, s->dst.port));
    const size_t piece = f->gso_size && !drop ? f->gso_size : s->len;
    size_t at = 0;
    do {
        const size_t n = s->len - at < piece ? s->len - at : piece;
        pq_describe_packet(d->desc, s, drop, drop ? NULL : s->data + at, n, time_us / 1000,
                           &d->text);
        if (d->stats)
            count(d, from, n);
        else
            show_line(d, s, drop, time_us);
        at += n;
    } while (!drop && at < s->len);
}

static bool is_of_peer(const struct pq_dump *d, const struct pq_segment *s)
{
    for (unsigned i = 0; i < d->n_peers; i++)
        if (pq_addr_eq_ip(&d->peer[i].addr, &s->src) &&
            pq_range_has(&d->peer[i].ports, s->src.port))
            return true;
    return false;
}

static bool is_of_port(const struct pq_dump *d, const struct pq_segment *s, enum pq_drop drop)
{
    if (d->n_peers)
        return (!drop || drop == PQ_DROP_NO_PAYLOAD) && is_of_peer(d, s);
    return !d->ports.from || (drop && drop != PQ_DROP_NO_PAYLOAD) ||
           pq_range_has(&d->ports, s->src.port) || pq_range_has(&d->ports, s->dst.port);
}

static int keep(struct pq_dump *d, const struct pq_frame *f, uint64_t time_us)
{
    uint8_t head[PQ_CAPTURE_RECORD];
    const struct pq_capture_packet p = {time_us, (uint32_t)f->len, (uint32_t)f->wire_len};
    pq_capture_put(head, &p);
    if (fwrite(head, sizeof head, 1, d->out) == 1 && fwrite(f->p, f->len, 1, d->out) == 1 &&
        !fflush(d->out))
        return 0;
    pq_say("dump: the file cannot be written: %s", strerror(errno));
    return 1;
}

int pq_dump_take(struct pq_dump *d, const struct pq_frame *f, size_t link_len, uint64_t time_us)
{
    struct pq_segment s = {.len = 0};
    const enum pq_drop drop = pq_segment_parse(&s, f->p, f->len, link_len);
    if (!is_of_port(d, &s, drop))
        return 0;
    if (drop && drop != PQ_DROP_NO_PAYLOAD)
        s.len = 0;
    if (d->out && keep(d, f, time_us))
        return 1;
    if (d->hex && !drop)
        show_bytes(&s, time_us);
    if (d->desc)
        each_datagram(d, f, &s, drop, time_us);
    return 0;
}

/* ---- files */

int pq_dump_begin(struct pq_dump *d, size_t link_len)
{
    uint8_t head[PQ_CAPTURE_HEAD];
    pq_capture_write(head, link_len ? PQ_CAPTURE_ETHERNET : PQ_CAPTURE_IP);
    if (fwrite(head, sizeof head, 1, d->out) == 1 && !fflush(d->out))
        return 0;
    pq_say("dump: the file cannot be written: %s", strerror(errno));
    return 1;
}

/* The packets of a file whose head was read. */
static int read_packets(struct pq_dump *d, const struct pq_capture *c, FILE *f, const char *path)
{
    uint8_t record[PQ_CAPTURE_RECORD], *buf = malloc(PQ_CAPTURE_PACKET_MAX);
    struct pq_capture_packet p;
    uint64_t nth = 0;
    int code = buf ? 0 : 1;
    while (!code && fread(record, sizeof record, 1, f) == 1) {
        nth++;
        if (pq_capture_next(c, record, &p)) {
            pq_say("dump: %s: packet %" PRIu64 " is malformed", path, nth);
            code = 1;
        } else if (p.len && fread(buf, p.len, 1, f) != 1) {
            pq_say("dump: %s ends within packet %" PRIu64, path, nth);
            code = 1;
        } else {
            size_t n = p.len, link_len;
            uint8_t *at = pq_capture_strip(c, buf, &n, &link_len);
            const uint32_t cut = p.whole > p.len ? p.whole - p.len : 0;
            const struct pq_frame frame = {
                .p = at, .len = (uint32_t)n, .wire_len = (uint32_t)n + cut};
            code = at ? pq_dump_take(d, &frame, link_len, p.time_us) : 0;
        }
    }
    free(buf);
    return code;
}

int pq_dump_read(struct pq_dump *d, const char *path)
{
    uint8_t head[PQ_CAPTURE_HEAD];
    struct pq_capture c;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    if (!f) {
        pq_say("dump: %s: %s", path, strerror(errno));
        return 1;
    }
    int e = fread(head, sizeof head, 1, f) == 1 ? pq_capture_read(&c, head) : PQ_EPROTO;
    if (e == PQ_ENOTSUP)
        pq_say("dump: %s is a pcapng file, or of a link that is not known here; "
               "'editcap -F pcap' makes a pcap file of the former",
               path);
    else if (e)
        pq_say("dump: %s is no pcap file, as 'tcpdump -w' writes it", path);
    if (!e && d->out)
        e = pq_dump_begin(d, c.link == PQ_CAPTURE_ETHERNET ? ETHER_LEN : 0);
    if (!e)
        e = read_packets(d, &c, f, path);
    if (f != stdin)
        fclose(f);
    return e ? 1 : 0;
}
