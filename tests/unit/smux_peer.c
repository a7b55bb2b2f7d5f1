/* SPDX-License-Identifier: MIT */
#include "smux_peer.h"

#include "unit.h"

struct pq_smux_conf sconf(bool client)
{
    return (struct pq_smux_conf){.client = client,
                                 .session_buf = 4 << 20,
                                 .stream_buf = 2 << 20,
                                 .max_streams = 500,
                                 .keepalive = 2 * PQ_SEC,
                                 .timeout = 8 * PQ_SEC};
}

static struct suser *user_new(struct sess *x, struct pq_smux_stream *st)
{
    assert_true(x->n_users < USERS_MAX);
    struct suser *u = &x->user[x->n_users++];
    u->st = st;
    u->sess = x;
    return u;
}

static void *on_open(void *ctx, struct pq_smux_stream *st)
{
    struct sess *x = ctx;
    return x->refuse ? NULL : user_new(x, st);
}

static void on_data(void *user, struct pq_view v, bool last)
{
    struct suser *u = user;
    assert_int_equal(u->fins, 0);
    assert_true(v.n > 0);
    if (u->rx_len + v.n > u->rx_cap) {
        u->rx_cap = 2 * (u->rx_len + v.n);
        u->rx = realloc(u->rx, u->rx_cap);
    }
    memcpy(u->rx + u->rx_len, v.p, v.n);
    u->rx_len += v.n;
    u->frames += last;
    u->mid_frame = !last;
    if (u->sess->eat)
        pq_smux_consumed(u->st, v.n);
}

static void on_room(void *user)
{
    struct suser *u = user;
    u->rooms++;
    assert_true(pq_smux_room(u->st) > 0);
}

static void on_fin(void *user)
{
    struct suser *u = user;
    u->fins++;
    assert_int_equal(u->fins, 1);
}

static void on_eof(void *user)
{
    struct suser *u = user;
    u->eofs++;
}

static void on_cut(void *user)
{
    struct suser *u = user;
    u->cuts++;
    pq_smux_abort(u->st);
}

static void on_bye(void *ctx)
{
    struct sess *x = ctx;
    x->byes++;
}

static void on_flush(void *user)
{
    (void)user;
}

static const struct pq_smux_events events = {on_open, on_data, on_room, on_flush,
                                             on_fin,  on_eof,  on_cut,  on_bye};

void sess_init(struct sess *x, const struct pq_smux_conf *c)
{
    *x = (struct sess){0};
    pq_chunks_init(&x->chunks, 64 << 20);
    assert_int_equal(pq_smux_new(&x->s, c, &events, x, &x->chunks, PQ_SEC), 0);
}

void sess_fini(struct sess *x)
{
    pq_smux_free(&x->s);
    assert_null(x->s);
    pq_smux_free(&x->s);
    assert_int_equal(x->chunks.huge.used, 0);
    assert_int_equal(x->chunks.big.used, 0);
    assert_int_equal(x->chunks.small.used, 0);
    pq_chunks_fini(&x->chunks);
    for (size_t i = 0; i < x->n_users; i++)
        free(x->user[i].rx);
    free(x->out);
}

struct suser *sess_open(struct sess *x)
{
    struct suser *u = user_new(x, NULL);
    u->st = pq_smux_open(x->s, u);
    assert_non_null(u->st);
    return u;
}

struct suser *sess_user(struct sess *x, uint32_t id)
{
    for (size_t i = 0; i < x->n_users; i++)
        if (x->user[i].st && pq_smux_stream_id(x->user[i].st) == id)
            return &x->user[i];
    return NULL;
}

int sess_send(struct suser *u, size_t n, unsigned salt)
{
    struct pq_chunk *c = pq_chunk_new(&u->sess->chunks, n);
    assert_non_null(c);
    ut_pattern(pq_chunk_data(c), n, salt);
    c->len = (uint32_t)n;
    return pq_smux_send(u->st, c);
}

int sess_bytes(struct sess *x, const uint8_t *p, size_t n)
{
    uint8_t *copy = ut_exact(p, n);
    int r = pq_smux_input(x->s, (struct pq_view){copy, n});
    free(copy);
    return r;
}

int sess_give(struct sess *x, uint8_t cmd, uint32_t id, const void *data, size_t n)
{
    uint8_t *p = malloc(8 + n);
    p[0] = 2;
    p[1] = cmd;
    pq_put_le16(p + 2, (uint16_t)n);
    pq_put_le32(p + 4, id);
    if (n && data)
        memcpy(p + 8, data, n);
    else if (n)
        ut_pattern(p + 8, n, id);
    int r = pq_smux_input(x->s, (struct pq_view){p, 8 + n});
    free(p);
    return r;
}

int sess_upd(struct sess *x, uint32_t id, uint32_t consumed, uint32_t window)
{
    uint8_t b[8];
    pq_put_le32(b, consumed);
    pq_put_le32(b + 4, window);
    return sess_give(x, SMUX_UPD, id, b, 8);
}

size_t sframe_parse(const uint8_t *p, size_t n, struct sframe *f, size_t max)
{
    size_t count = 0;
    while (n) {
        assert_true(n >= 8 && count < max);
        struct sframe *s = &f[count++];
        *s = (struct sframe){p[0], p[1], pq_le16(p + 2), pq_le32(p + 4), p + 8, 0, 0};
        assert_int_equal(s->ver, 2);
        assert_true(s->cmd <= SMUX_UPD);
        assert_true(s->len <= n - 8);
        if (s->cmd == SMUX_PSH) {
            assert_true(s->len > 0);
        } else if (s->cmd == SMUX_UPD) {
            assert_int_equal(s->len, 8);
            s->consumed = pq_le32(p + 8);
            s->window = pq_le32(p + 12);
        } else {
            assert_int_equal(s->len, 0);
        }
        if (s->cmd == SMUX_NOP)
            assert_int_equal(s->id, 0);
        p += 8 + s->len;
        n -= 8 + (size_t)s->len;
    }
    return count;
}

/* Appends the next chunk to x->out.  Returns its length, 0 for none. */
static size_t take(struct sess *x)
{
    bool pending = pq_smux_pending(x->s);
    struct pq_chunk *c = pq_smux_pull(x->s);
    assert_int_equal(c != NULL, pending);
    if (!c)
        return 0;
    size_t n = c->len;
    assert_true(n > 0); /* never an empty chunk */
    if (x->out_len + n > x->out_cap) {
        x->out_cap = 2 * (x->out_len + n);
        x->out = realloc(x->out, x->out_cap);
    }
    memcpy(x->out + x->out_len, pq_chunk_data(c), n);
    x->out_len += n;
    pq_chunk_free(c);
    return n;
}

size_t sess_pull(struct sess *x, struct sframe *f, size_t max)
{
    size_t n = take(x);
    return sframe_parse(x->out + x->out_len - n, n, f, max);
}

size_t sess_pull_all(struct sess *x, struct sframe *f, size_t max)
{
    size_t n = 0, k;
    while ((k = take(x)))
        n += k;
    return n ? sframe_parse(x->out + x->out_len - n, n, f, max) : 0;
}
