/* SPDX-License-Identifier: MIT */
/* quic_frames.c - what somebody says who has the key, or needs none: packets whose frames no honest
 * peer sends.  They are put in place of the client's own, right before it encrypts them. */
#include "../sim/quic_said.h"
#include "../sim/quic_world.h"
#include "quic/quic_internal.h"
#include "quic_tests.h"

static uint8_t frames[512];
static size_t n_frames; /* 0: what the client says goes as it is */

bool quic_said(uint8_t *other, const uint8_t *plain, size_t n, const uint8_t *head)
{
    (void)plain;
    if (!n_frames || (head[0] & 0x80))
        return false;
    assert_in_range(n, n_frames, PQ_QUIC_SIZE_MAX);
    memset(other, 0, n); /* PADDING behind */
    memcpy(other, frames, n_frames);
    return true;
}

static void put(const uint8_t *p, size_t n)
{
    memcpy(frames + n_frames, p, n);
    n_frames += n;
}

/* NEW_CONNECTION_ID: takes back all before. */
static void put_id(uint8_t number, uint8_t before)
{
    const uint8_t head[] = {0x18, number, before, 8};
    uint8_t id[8 + NGTCP2_STATELESS_RESET_TOKENLEN];
    memset(id, number, sizeof id);
    put(head, sizeof head);
    put(id, sizeof id);
}

/* One packet of the client with these frames, straight to the server. */
static void say(struct qw *w)
{
    struct qw_side *e = &w->side[CLIENT];
    struct pq_chunk *c = pq_chunk_new(&e->chunks, 1000);
    struct pq_quic_path path;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    memset(pq_chunk_data(c), 0, 1000);
    c->len = 1000;
    assert_int_equal(pq_quic_datagram(e->q, c), 0);
    const size_t n = pq_quic_pull(e->q, p, &path, w->now);
    assert_true(n > 1000);
    n_frames = 0;
    qw_inject(w, SERVER, &e->addr, p, n);
}

static struct qw *up(void)
{
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    return w;
}

/* Ids taken back twice end a program in which ngtcp2 sees it. */
static void ids_taken_back(void **state)
{
    (void)state;
    struct qw *w = up();
    put_id(9, 9);
    for (int i = 0; i < 3; i++)
        put_id(8, 0);
    say(w);
    qw_open(&w->side[CLIENT], 100000); /* and nothing is broken */
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].s[0].rx, 100000);
    qw_free(w);
}

/* The same behind the frames that may be in front of it. */
static void behind_others(void **state)
{
    (void)state;
    static const uint8_t token[] = {0x07, 2, 1, 1}, goodbye[] = {0x1d, 0, 1, 'x'},
                         wrong[] = {0x1c, 0, 0, 1, 'x'};
    static const struct pq_view first[] = {
        {token, sizeof token}, {goodbye, sizeof goodbye}, {wrong, sizeof wrong}};
    for (size_t k = 0; k < COUNT_OF(first); k++) {
        struct qw *w = up();
        put(first[k].p, first[k].n);
        put_id(9, 9);
        for (int i = 0; i < 3; i++)
            put_id(8, 0);
        say(w);
        assert_false(w->side[SERVER].closed);
        qw_free(w);
    }
}

int quic_frames_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_taken_back),
        cmocka_unit_test(behind_others),
    };
    return ut_run(tests);
}
