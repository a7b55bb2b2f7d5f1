/* SPDX-License-Identifier: MIT */
/* describe_inner.c - what is inside of a datagram that was opened.  A segment of the stream is read
 * where it follows the one before, or begins as a frame does; else only its length is told. */
#include "fec/fec.h"
#include "header/header.h"
#include "kcp/kcp.h"
#include "smux/smux.h"
#include "tunnel/datagram.h"
#include "tunnel/describe.h"

#include <inttypes.h>

#define INNER_MIN 12
#define SHOWN     4 /* frames of a segment, and segments of a datagram, by name */
#define VERSION   2
#define PLACED    7 /* the first command with a place [8.10] */
#define COMMANDS  11

static const char *const commands[COMMANDS] = {"SYN", "FIN",  "PSH",  "NOP",   "UPD", "EOF",
                                               "BYE", "DATA", "PART", "CLOSE", "END"};

/* ---- the message at the start of a stream */

static void begin(struct pq_described_way *w, uint32_t id)
{
    memmove(w->begun + 1, w->begun, sizeof w->begun - sizeof w->begun[0]);
    w->begun[0] = id;
}

static bool begins(struct pq_described_way *w, uint32_t id)
{
    for (unsigned i = 0; i < PQ_WAY_STREAMS; i++) {
        if (w->begun[i] == id && id) {
            w->begun[i] = 0;
            return true;
        }
    }
    return false;
}

static void put_header(struct pq_view v, struct pq_described *o)
{
    static const char *const names[] = {
        [PQ_REQ_PING] = "PING",    [PQ_REQ_PONG] = "PONG", [PQ_REQ_TCPF] = "TCPF",
        [PQ_REQ_TCP] = "TCP",      [PQ_REQ_UDP] = "UDP",   [PQ_REQ_TUN] = "TUN",
        [PQ_REQ_RESULT] = "RESULT"};
    struct pq_request r;
    enum pq_family family;
    size_t used;
    const int e = pq_header_decode(v.p, v.n, &r, &family, &used);
    const bool bare = e == PQ_EMORE && (pq_header_is_bare(v.p, v.n, PQ_REQ_PING) ||
                                        pq_header_is_bare(v.p, v.n, PQ_REQ_PONG));
    if (bare) {
        pq_described_add(o, " | header: PING or PONG");
    } else if (e) {
        pq_described_add(o, " | header: %s", e == PQ_EMORE ? "its first bytes" : "malformed");
    } else {
        pq_described_add(o, " | header: %s", names[r.type]);
        if (r.type == PQ_REQ_TCP || r.type == PQ_REQ_UDP) {
            const char *colon = strchr(r.host, ':');
            pq_described_add(o, " %s%s%s:%u", colon ? "[" : "", r.host, colon ? "]" : "", r.port);
        }
        pq_described_add(o, family == PQ_FAMILY_GOB ? " (family A)" : " (family B)");
    }
}

/* ---- frames */

struct frame {
    uint8_t cmd;
    uint32_t len, id;
};

static bool read_frame(const uint8_t head[PQ_SMUX_HDR_LEN], struct frame *f)
{
    *f = (struct frame){head[1], pq_le16(head + 2), pq_le32(head + 4)};
    return head[0] == VERSION && f->cmd < COMMANDS;
}

/* A frame, of whose payload v is what is in this segment. */
static void put_frame(struct pq_described_way *w, const struct frame *f, struct pq_view v,
                      unsigned nth, struct pq_described *o)
{
    if (nth < SHOWN) {
        pq_described_add(o, "%s%s", nth ? ", " : " | smux: ", commands[f->cmd]);
        if (f->id)
            pq_described_add(o, " %" PRIu32, f->id);
        if (f->cmd == 4 && v.n >= 8)
            pq_described_add(o, " read %" PRIu32 " window %" PRIu32, pq_le32(v.p),
                             pq_le32(v.p + 4));
        else if (f->len)
            pq_described_add(o, " %" PRIu32 " B", f->cmd < PLACED ? f->len : f->len - 4);
    } else if (nth == SHOWN)
        pq_described_add(o, ", ...");
    if (f->cmd == 0)
        begin(w, f->id);
    const bool placed = f->cmd == PLACED || f->cmd == PLACED + 1;
    if (placed && v.n >= 4 && begins(w, f->id))
        put_header((struct pq_view){v.p + 4, v.n - 4}, o);
    else if (f->cmd == 2 && v.n && begins(w, f->id))
        put_header(v, o);
}

static bool is_placed(const struct frame *f)
{
    return f->cmd >= PLACED;
}

/* A segment of whole frames [8.10]. */
static void put_frames(struct pq_described_way *w, struct pq_view v, struct pq_described *o)
{
    struct pq_rd r = pq_rd_init(v.p, v.n);
    for (unsigned nth = 0; pq_rd_left(&r); nth++) {
        struct frame f;
        const uint8_t *head = pq_rd_bytes(&r, PQ_SMUX_HDR_LEN);
        const bool ok = head && read_frame(head, &f) && (!is_placed(&f) || f.len >= 4);
        const uint8_t *p = ok ? pq_rd_bytes(&r, f.len) : NULL;
        if (!p) {
            pq_described_add(o, " | smux: no whole frames");
            return;
        }
        put_frame(w, &f, (struct pq_view){p, f.len}, nth, o);
    }
}

/* The next bytes of the stream of frames.  Returns false if these are none. */
static bool put_bytes(struct pq_described_way *w, struct pq_view v, struct pq_described *o)
{
    unsigned nth = 0;
    if (w->left) {
        const size_t n = w->left < v.n ? w->left : v.n;
        pq_described_add(o, " | smux: %zu B of the frame before", n);
        w->left -= (uint32_t)n;
        v = (struct pq_view){v.p + n, v.n - n};
    }
    while (v.n) {
        struct frame f;
        size_t n = sizeof w->head - w->have;
        n = n < v.n ? n : v.n;
        memcpy(w->head + w->have, v.p, n);
        w->have = (uint8_t)(w->have + n);
        v = (struct pq_view){v.p + n, v.n - n};
        if (w->have < sizeof w->head)
            return true;
        w->have = 0;
        if (!read_frame(w->head, &f))
            return false;
        n = f.len < v.n ? f.len : v.n;
        put_frame(w, &f, (struct pq_view){v.p, n}, nth++, o);
        w->left = f.len - (uint32_t)n;
        v = (struct pq_view){v.p + n, v.n - n};
    }
    return true;
}

/* ---- KCP */

struct seg {
    uint32_t conv, sn, una, len;
    uint16_t wnd;
    uint8_t cmd;
};

static const char *cmd_name(uint8_t cmd)
{
    static const char *const names[] = {"PUSH", "ACK", "WASK", "WINS", "FRAMES"};
    return cmd >= PQ_KCP_PUSH && cmd <= PQ_KCP_FRAMES ? names[cmd - PQ_KCP_PUSH] : NULL;
}

static void put_payload(struct pq_described_way *w, const struct seg *s, struct pq_view v,
                        struct pq_described *o)
{
    struct frame f;
    if (s->cmd == PQ_KCP_FRAMES) {
        if (s->sn == w->next)
            w->next++;
        put_frames(w, v, o);
        return;
    }
    if (!w->known || w->conv != s->conv ||
        (int32_t)(s->sn - w->next) > 0) { /* something is missing */
        if (s->sn && (v.n < PQ_SMUX_HDR_LEN || !read_frame(v.p, &f))) {
            pq_described_add(o, " | smux: not known where a frame begins");
            return;
        }
        w->known = true;
        w->conv = s->conv;
        w->left = w->have = 0;
    } else if (s->sn != w->next) {
        pq_described_add(o, " | again");
        return;
    }
    w->next = s->sn + 1;
    if (!put_bytes(w, v, o)) {
        w->known = false;
        pq_described_add(o, " | smux: no frame");
    }
}

static bool read_seg(struct pq_rd *r, struct seg *s)
{
    s->conv = pq_rd_le32(r);
    s->cmd = pq_rd_u8(r);
    (void)pq_rd_u8(r); /* frg */
    s->wnd = pq_rd_le16(r);
    (void)pq_rd_le32(r); /* ts */
    s->sn = pq_rd_le32(r);
    s->una = pq_rd_le32(r);
    s->len = pq_rd_le32(r);
    return !r->bad && cmd_name(s->cmd);
}

static void put_seg(const struct seg *s, unsigned acks, bool first, struct pq_described *o)
{
    if (first)
        pq_described_add(o, " | KCP conv %08" PRIx32 " una %" PRIu32 " wnd %u:", s->conv, s->una,
                         s->wnd);
    pq_described_add(o, "%s %s", first ? "" : ",", cmd_name(s->cmd));
    if (acks > 1)
        pq_described_add(o, "s of %u up to", acks);
    if (s->cmd == PQ_KCP_PUSH || s->cmd == PQ_KCP_ACK || s->cmd == PQ_KCP_FRAMES)
        pq_described_add(o, " %" PRIu32, s->sn);
    if (s->len)
        pq_described_add(o, " %" PRIu32 " B", s->len);
}

static const char *put_kcp(struct pq_described_way *w, struct pq_view v, struct pq_described *o)
{
    struct pq_rd r = pq_rd_init(v.p, v.n);
    const char *kind = "old wire: acknowledgement";
    unsigned acks = 0;
    for (unsigned n = 0; pq_rd_left(&r);) {
        struct seg s;
        const uint8_t *p = read_seg(&r, &s) ? pq_rd_bytes(&r, s.len) : NULL;
        if (!p) {
            pq_described_add(o, " | no KCP segment");
            return "old wire: no KCP segment";
        }
        acks = s.cmd == PQ_KCP_ACK ? acks + 1 : 0;
        if (acks && pq_rd_left(&r) > 4 && r.p[4] == PQ_KCP_ACK)
            continue; /* the last of them is shown */
        if (n < SHOWN)
            put_seg(&s, acks, n == 0, o);
        acks = 0;
        n++;
        if (s.cmd != PQ_KCP_PUSH && s.cmd != PQ_KCP_FRAMES)
            continue;
        kind = "old wire: data";
        put_payload(w, &s, (struct pq_view){p, s.len}, o);
    }
    return kind;
}

/* ---- FEC, and what is beside it */

void pq_describe_inner(struct pq_described_way *w, struct pq_view v, struct pq_described *o)
{
    o->kind = "old wire: short";
    if (v.n < INNER_MIN) {
        pq_described_add(o, " | too short for anything");
        return;
    }
    const uint16_t type = pq_le16(v.p + 4), size = pq_le16(v.p + 6);
    const uint32_t seqid = pq_le32(v.p);
    if (type == PQ_FEC_PARITY) {
        o->kind = "old wire: FEC parity";
        pq_described_add(o, " | FEC parity %" PRIu32, seqid);
    } else if (type == PQ_OOB_TYPE) {
        o->kind = "old wire: datagram beside the stream";
        pq_described_add(o, " | beside the stream");
        if (v.n >= PQ_DGRAM_HEAD)
            pq_described_add(o, ": conv %08" PRIx32 " number %" PRIu32 " stream %" PRIu32 " %zu B",
                             pq_le32(v.p + 8), pq_le32(v.p + 12), pq_le32(v.p + 16),
                             v.n - PQ_DGRAM_HEAD);
    } else if (type != PQ_FEC_DATA) {
        o->kind = put_kcp(w, v, o);
    } else if (size < 2 + INNER_MIN || (size_t)size - 2 > v.n - PQ_FEC_HEAD) {
        o->kind = "old wire: FEC data, malformed";
        pq_described_add(o, " | FEC data %" PRIu32 ", its size is wrong", seqid);
    } else {
        pq_described_add(o, " | FEC data %" PRIu32, seqid);
        o->kind = put_kcp(w, (struct pq_view){v.p + PQ_FEC_HEAD, (size_t)size - 2}, o);
    }
}
