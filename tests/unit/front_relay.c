/* SPDX-License-Identifier: MIT */
/* front_relay.c - how long a relay outlives the end of its stream, and what the socket still gets.
 */
#include "base/err.h"
#include "front_tests.h"
#include "front_world.h"
#include "relay/relay.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define HALF_IDLE (120 * PQ_SEC)
#define PIECE     16384
#define MUCH      ((size_t)48 << 20) /* more than the kernel keeps for a socket */

static uint8_t piece[PIECE];

struct pair {
    struct fw w;
    struct pq_stream st;
    struct pq_relay *relay;
    int other; /* the socket's other end */
};

static void open_pair(struct pair *p)
{
    fw_init(&p->w);
    p->st = fw_stream(&p->w);
    p->st.abilities = PQ_ABLE_HALF_CLOSE;
    p->relay = pq_relay_new(&p->w.front);
    assert_non_null(p->relay);
    pq_relay_own(p->relay, &p->st);
    pq_relay_connected(p->relay, fw_tcp(&p->w, &p->other));
}

static void close_pair(struct pair *p)
{
    fw_fini(&p->w);
    assert_true(p->st.closed);
    fw_stream_clear(&p->st);
    close(p->other);
}

static void deliver(struct pair *p, size_t n)
{
    for (size_t done = 0; done < n; done += PIECE) {
        fw_deliver(&p->st, piece, PIECE, true);
        p->st.ev->flush(p->st.ctx);
    }
}

static bool is_open(struct pair *p)
{
    for (int i = 0; i < 3; i++)
        fw_turn(&p->w);
    return !pq_list_empty(&p->w.front.half_closed);
}

/* What the other end reads until the end; -errno of what ended it otherwise. */
static ssize_t read_all(struct pair *p)
{
    static char buf[1 << 20];
    ssize_t n, sum = 0;
    for (int i = 0; i < 3; i++)
        fw_turn(&p->w);
    while ((n = read(p->other, buf, sizeof buf)) > 0) {
        sum += n;
        fw_turn(&p->w);
    }
    return n ? -errno : sum;
}

static void end_by_close(struct pair *p)
{
    p->st.ev->end(p->st.ctx, 0);
}

static void end_by_eof(struct pair *p)
{
    p->st.ev->eof(p->st.ctx);
}

static void (*const ends[])(struct pair *p) = {end_by_close, end_by_eof};

static void test_reader_that_never_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct pair p;
        open_pair(&p);
        deliver(&p, MUCH);
        ends[i](&p);
        pq_relays_expire(&p.w.front, uv_hrtime());
        pq_ns end = uv_hrtime() + HALF_IDLE;
        assert_true(is_open(&p));
        pq_relays_expire(&p.w.front, end - 2 * PQ_SEC);
        assert_true(is_open(&p));
        pq_relays_expire(&p.w.front, end + 2 * PQ_SEC);
        assert_false(is_open(&p));
        assert_int_equal(read_all(&p), -ECONNRESET);
        close_pair(&p);
    }
}

/* The other end reads more than the kernel kept for it, so that the relay has written. */
static void read_some(struct pair *p)
{
    static char buf[1 << 20];
    for (ssize_t sum = 0, n; sum < 12 << 20; sum += n) {
        fw_turn(&p->w);
        n = recv(p->other, buf, sizeof buf, 0);
        assert_true(n > 0);
    }
}

/* Bytes that the socket takes put the end off, however long a single write takes. */
static void test_reader_that_is_slow(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct pair p;
        open_pair(&p);
        deliver(&p, MUCH);
        ends[i](&p);
        pq_ns now = uv_hrtime();
        for (int k = 0; k < 3; k++) {
            read_some(&p);
            assert_true(is_open(&p));
            now += HALF_IDLE - PQ_SEC;
            pq_relays_expire(&p.w.front, now);
            assert_true(is_open(&p));
        }
        pq_relays_expire(&p.w.front, now + HALF_IDLE);
        assert_false(is_open(&p));
        close_pair(&p);
    }
}

static void test_reader_that_reads(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p);
    deliver(&p, MUCH);
    end_by_close(&p);
    assert_int_equal(read_all(&p), MUCH);
    assert_true(p.st.consumed < MUCH); /* the rest was taken after the stream's end */
    assert_false(is_open(&p));
    close_pair(&p);
}

static const char words[] = "no answer";

static void say_words(struct pq_filter *f)
{
    assert_true(f->ops->to_program(f->side, (const uint8_t *)words, strlen(words)));
}

static void keep_filter(struct pq_filter *f)
{
    (void)f;
}

/* A program whose target has not answered is told so, also when the session ends with an error. */
static void test_words_at_the_end(void **state)
{
    const int errors[] = {0, PQ_ETIMEOUT};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct pair p;
        char buf[100] = "";
        open_pair(&p);
        struct pq_filter filter = {.no_answer = say_words, .free = keep_filter};
        pq_relay_filter(p.relay, &filter);
        if (errors[i])
            p.st.chunks = NULL;
        p.st.ev->end(p.st.ctx, errors[i]);
        fw_turn(&p.w);
        assert_int_equal(recv(p.other, buf, sizeof buf, MSG_WAITALL), strlen(words));
        assert_string_equal(buf, words);
        close_pair(&p);
    }
}

int front_relay_tests(void)
{
    const struct CMUnitTest relay_tests[] = {
        cmocka_unit_test(test_reader_that_never_reads),
        cmocka_unit_test(test_reader_that_is_slow),
        cmocka_unit_test(test_reader_that_reads),
        cmocka_unit_test(test_words_at_the_end),
    };
    return ut_run(relay_tests);
}
