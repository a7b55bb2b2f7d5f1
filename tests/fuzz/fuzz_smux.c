/* SPDX-License-Identifier: MIT */
/* fuzz_smux.c - one session of streams whose peer sends frames as the input says, in pieces or out
 * of order, while the owners of streams read, send, finish, close and abort, also inside of events.
 * No event comes for a stream that its owner has closed, and no chunk is lost. */
#include "fuzz.h"
#include "smux/smux.h"
#include "smux/smux_internal.h"

#define OWNERS    32
#define MEMORY    (1u << 20)
#define STEPS_MAX 500

enum { ACT_ABORT = 0xfe, ACT_CLOSE = 0xfd, ACT_FINISH = 0xfc }; /* what a byte tells an owner */

struct owner {
    struct pq_smux_stream *st; /* NULL: closed */
    size_t unread;
    bool used;
};

static struct owner owners[OWNERS];
static struct fuzz_in in;
static struct pq_smux *smux;
static struct pq_chunks chunks;
static pq_ns now;

/* ---- owners of streams */

static struct owner *owner_new(void)
{
    for (unsigned i = 0; i < OWNERS; i++)
        if (!owners[i].used) {
            owners[i] = (struct owner){.used = true};
            return &owners[i];
        }
    return NULL;
}

/* One that has a stream, or NULL. */
static struct owner *owner_pick(void)
{
    struct owner *o = &owners[fuzz_u8(&in) % OWNERS];
    return o->used && o->st ? o : NULL;
}

static void owner_end(struct owner *o, void (*how)(struct pq_smux_stream *))
{
    struct pq_smux_stream *st = o->st;
    *o = (struct owner){.used = false};
    how(st);
}

static void owner_read(struct owner *o)
{
    size_t n = o->unread;
    o->unread = 0;
    pq_smux_consumed(o->st, n);
}

static void owner_act(struct owner *o)
{
    uint8_t what = fuzz_u8(&in);
    if (!o->st)
        return;
    if (what == ACT_ABORT)
        owner_end(o, pq_smux_abort);
    else if (what == ACT_CLOSE)
        owner_end(o, pq_smux_close);
    else if (what == ACT_FINISH)
        pq_smux_finish(o->st);
    else if (what < 0x80 && o->unread)
        owner_read(o);
}

static void *on_open(void *ctx, struct pq_smux_stream *st)
{
    (void)ctx;
    struct owner *o = fuzz_u8(&in) == ACT_ABORT ? NULL : owner_new();
    if (o)
        o->st = st;
    return o;
}

static void on_data(void *user, struct pq_view v, bool last)
{
    struct owner *o = user;
    (void)last;
    FUZZ_CHECK(o->used && o->st);
    fuzz_touch(v);
    o->unread += v.n;
    uint8_t what = fuzz_u8(&in);
    if (what == ACT_ABORT)
        owner_end(o, pq_smux_abort);
    else if (what == ACT_CLOSE)
        owner_end(o, pq_smux_close);
}

static void on_event(void *user)
{
    struct owner *o = user;
    FUZZ_CHECK(o->used && o->st);
    owner_act(o);
}

static void on_fin(void *user)
{
    struct owner *o = user;
    FUZZ_CHECK(o->used && o->st);
    owner_end(o, pq_smux_close);
}

/* All others wait for what this one has not read. */
static void on_cut(void *user)
{
    struct owner *o = user;
    FUZZ_CHECK(o->used && o->st);
    owner_end(o, pq_smux_abort);
}

static void on_bye(void *ctx)
{
    (void)ctx;
}

static const struct pq_smux_events events = {
    .open = on_open,
    .data = on_data,
    .room = on_event,
    .flush = on_event,
    .fin = on_fin,
    .eof = on_event,
    .cut = on_cut,
    .bye = on_bye,
};

/* ---- what the peer sends */

/* The length that a frame of this command has, unless the input says otherwise (pay 0xff). */
static size_t frame_len(uint8_t cmd, size_t len, uint8_t pay)
{
    switch (cmd) {
    case SMUX_SYN:
    case SMUX_FIN:
    case SMUX_NOP:
    case SMUX_EOF:
    case SMUX_BYE:
        return pay == 0xff ? len : 0;
    case SMUX_UPD:
        return UPD_LEN;
    case SMUX_DATA:
    case SMUX_PART:
        return len < PLACE_LEN ? PLACE_LEN + 1 : len;
    case SMUX_CLOSE:
    case SMUX_END:
        return pay == 0xff ? len : PLACE_LEN;
    default:
        return len;
    }
}

/* The places and counts that make a frame fit its stream; `id` 0x80 puts them beside. */
static void place_frame(uint8_t *body, size_t n, uint8_t cmd, uint8_t id, uint8_t pay, uint8_t len)
{
    const struct pq_smux_stream *st = pq_smux_find_id(smux, id & 31);
    uint32_t beside = id & 0x80 ? pay : 0;
    if (cmd >= SMUX_DATA && cmd <= SMUX_END && n >= PLACE_LEN)
        pq_put_le32(body, (st ? st->received : 0) + beside);
    if (cmd == SMUX_UPD) {
        pq_put_le32(body, (st ? st->sent : 0) - beside);
        pq_put_le32(body + 4, len * 999u);
    }
}

/* Four bytes of the input make a frame: command, stream, length, content. */
static size_t forge_frame(uint8_t *p, size_t room)
{
    uint8_t cmd = fuzz_u8(&in), id = fuzz_u8(&in), len = fuzz_u8(&in), pay = fuzz_u8(&in);
    size_t n = cmd & 0x40 ? len * 5u : len;
    cmd = cmd & 0x80 ? cmd & 15 : cmd % 11;
    n = frame_len(cmd, n, pay);
    if (PQ_SMUX_HDR_LEN + n > room)
        return 0;
    p[0] = SMUX_VERSION;
    p[1] = cmd;
    pq_put_le16(p + 2, (uint16_t)n);
    pq_put_le32(p + 4, id & 31);
    memset(p + PQ_SMUX_HDR_LEN, pay, n);
    place_frame(p + PQ_SMUX_HDR_LEN, n, cmd, id, pay, len);
    return PQ_SMUX_HDR_LEN + n;
}

static bool give_pieces(const uint8_t *p, size_t n, size_t piece)
{
    for (size_t at = 0; at < n;) {
        size_t k = n - at < piece ? n - at : piece;
        int r = pq_smux_input(smux, (struct pq_view){p + at, k});
        FUZZ_CHECK(r == 1 || r == 0 || r == PQ_EPROTO);
        if (r <= 0)
            return r == 0;
        at += k;
    }
    return true;
}

static bool give_early(uint8_t *p, size_t n, bool again)
{
    int r = n ? pq_smux_early(smux, p, n) : 0;
    FUZZ_CHECK(r == 1 || r == 0 || r == PQ_EPROTO);
    return r >= 0 && (!again || pq_smux_input(smux, (struct pq_view){p, n}) >= 0);
}

/* Returns false if the session is unusable. */
static bool step_input(uint8_t op)
{
    uint8_t buf[2048];
    size_t n = 0;
    for (unsigned i = 0; i < 1u + (op >> 3 & 3) && fuzz_left(&in) >= 4; i++)
        n += forge_frame(buf + n, sizeof buf - n);
    uint8_t *p = fuzz_exact(buf, n);
    bool ok;
    if (op & 1)
        ok = give_early(p, n, op & 0x80);
    else
        ok = give_pieces(p, n, op & 0x40 ? 1u + fuzz_u8(&in) : sizeof buf);
    for (unsigned i = 0; ok && i < OWNERS; i++)
        if (owners[i].used && owners[i].st && fuzz_u8(&in) < 20)
            owner_act(&owners[i]);
    free(p);
    return ok;
}

/* ---- the other steps */

static void step_open(void)
{
    struct owner *o = owner_new();
    if (!o)
        return;
    o->st = pq_smux_open(smux, o);
    o->used = o->st;
}

static void step_send(struct owner *o, bool whole)
{
    size_t n = 1 + fuzz_u8(&in) * 8u;
    struct pq_chunk *c = pq_chunk_new(&chunks, n);
    if (!c)
        return;
    memset(pq_chunk_data(c), 3, n);
    c->len = (uint32_t)n;
    if (whole)
        pq_smux_set_whole(o->st);
    pq_smux_send(o->st, c);
    pq_smux_room(o->st);
}

static void step_pull(int times)
{
    for (int i = 0; i < times; i++) {
        bool pending = pq_smux_pending(smux);
        struct pq_chunk *c = pq_smux_pull(smux);
        FUZZ_CHECK(!c || pending);
        if (!c)
            return;
        FUZZ_CHECK(!smux->framed || c->tag || c->len <= smux->framed);
        if (c->tag) {
            uint8_t prefix[PQ_SMUX_PREFIX];
            pq_smux_prefix(prefix, c, 0, c->len);
        }
        fuzz_touch((struct pq_view){pq_chunk_data(c), c->len});
        pq_chunk_free(c);
    }
}

static void step_time(uint8_t op)
{
    now += (pq_ns)(op >> 3) * 100 * PQ_MS;
    pq_smux_tick(smux, now);
    pq_smux_clock(smux, now, 10 * PQ_MS);
}

static void step_end(struct owner *o, uint8_t op)
{
    if (op & 8)
        pq_smux_cork(o->st, !pq_smux_corked(o->st));
    else
        owner_end(o, op & 16 ? pq_smux_abort : pq_smux_close);
}

static bool step(uint8_t op)
{
    struct owner *o;
    switch (op & 7) {
    case 0:
    case 1:
        return step_input(op);
    case 2:
        step_open();
        break;
    case 3:
        if ((o = owner_pick()))
            step_send(o, op & 0x80);
        break;
    case 4:
        step_pull(1 + (op >> 3));
        break;
    case 5:
        if ((o = owner_pick()))
            owner_act(o);
        break;
    case 6:
        step_time(op);
        break;
    default:
        if ((o = owner_pick()))
            step_end(o, op);
    }
    return true;
}

/* Bytes that the owners have not used up are those that the session counts. */
static void check_unread(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < OWNERS; i++)
        n += owners[i].used ? owners[i].unread : 0;
    FUZZ_CHECK(smux->unread == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    in = fuzz_in_init(p, n);
    memset(owners, 0, sizeof owners);
    now = PQ_SEC;
    uint8_t how = fuzz_u8(&in);
    struct pq_smux_conf conf = {.client = how & 1,
                                .session_buf = how & 2 ? 1 << 16 : 1024,
                                .stream_buf = how & 2 ? 1 << 15 : 512,
                                .max_streams = how & 4 ? 4 : 1000,
                                .hash_seed = 99,
                                .keepalive = PQ_SEC,
                                .timeout = 4 * PQ_SEC};
    pq_chunks_init(&chunks, MEMORY);
    FUZZ_CHECK(pq_smux_new(&smux, &conf, &events, NULL, &chunks, now) == 0);
    if (how & 8)
        pq_smux_extend(smux, 60 * PQ_SEC);
    if (how & 16)
        pq_smux_frames(smux, 200);
    bool ok = true;
    for (int i = 0; ok && fuzz_left(&in) && i < STEPS_MAX; i++) {
        ok = step(fuzz_u8(&in));
        check_unread();
    }
    pq_smux_free(&smux);
    FUZZ_CHECK(chunks.budget.used == 0 && chunks.control.used == 0);
    pq_chunks_fini(&chunks);
    return 0;
}
