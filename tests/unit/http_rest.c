/* SPDX-License-Identifier: MIT */
/* http_rest.c - where a request ends, and the head of the answer to it. */
#include "header/http.h"
#include "http_tests.h"
#include "unit.h"

#define POST    "POST http://a/ HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define NEXT    "GET http://b/ HTTP/1.1\r\n\r\n"

/* ---- bodies */

static void begin(struct pq_http_body *b, const char *head)
{
    struct pq_http_request r;
    size_t used;
    assert_int_equal(pq_http_read_request((const uint8_t *)head, strlen(head), &used, &r), 0);
    pq_http_body_init(b, &r);
}

/* How many bytes belong to the body, given in pieces; -1 if it is refused. */
static int taken(const char *head, const char *rest, size_t piece)
{
    struct pq_http_body b;
    size_t n = strlen(rest), at = 0;
    begin(&b, head);
    while (at < n) {
        size_t k = n - at < piece ? n - at : piece, used = k + 1;
        uint8_t *p = ut_exact((const uint8_t *)rest + at, k);
        int e = pq_http_body_take(&b, p, k, &used);
        free(p);
        if (e) {
            assert_int_equal(e, PQ_EPROTO);
            return -1;
        }
        at += used;
        if (used < k)
            break;
    }
    size_t used;
    assert_int_equal(pq_http_body_take(&b, (const uint8_t *)NEXT, 5, &used), 0);
    assert_int_equal(used, 0); /* it has ended, and stays so */
    return (int)at;
}

static void bodies(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
    } t[] = {
        {"GET http://a/ HTTP/1.1\r\n\r\n", ""},
        {POST "\r\n", ""},
        {POST "Content-Length: 0\r\n\r\n", ""},
        {POST "Content-Length: 5\r\n\r\n", "GET h"},
        {POST "Content-Length: 0005\r\n\r\n", "\r\n\r\n\r"},
        {CHUNKED, "0\r\n\r\n"},
        {CHUNKED, "000\r\n\r\n"},
        {CHUNKED, "5\r\nhello\r\n0\r\n\r\n"},
        {CHUNKED, "a;x=\"0\"\r\n0\r\n\r\n0\r\n\r\n\r\n00F\r\n0123456789abcde\r\n0;y\r\n\r\n"},
        {CHUNKED, "1\r\n0\r\n0\r\nA: b\r\nC:\td\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        for (size_t piece = 1; piece < 60; piece++) {
            char text[256];
            snprintf(text, sizeof text, "%s" NEXT, t[i].body);
            assert_int_equal(taken(t[i].head, text, piece), strlen(t[i].body));
        }
    }
}

/* Where somebody else could see another end. */
static void bad_chunks(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n",
        "x\r\n",
        "-1\r\n",
        " 1\r\n",
        "1 \r\n",
        "0x1\r\n",
        "1\n0",
        "1\r0",
        "1;a\n0\r\n",
        "1;\x01\r\n",
        ";a\r\n",
        "1\r\nabc",
        "1\r\na\n0",
        "1\r\na\rx",
        "0\r\nA: b\n\r\n",
        "0\r\nA\x01: b\r\n\r\n",
        "0\r\nA: b\rC: d\r\n\r\n",
        "0\r\n\n",
        "0\r\n\rx",
        "100000000000000000000\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        for (size_t piece = 1; piece < 24; piece++)
            if (taken(CHUNKED, bad[i], piece) >= 0)
                fail_msg("taken: '%s'", bad[i]);
}

static void large_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int e;
    } t[] = {{"99999999999999999", 0}, {"999999999999999999999", PQ_EPROTO}};
    struct pq_http_request r;
    size_t used;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char text[128];
        snprintf(text, sizeof text, POST "Content-Length: %s\r\n\r\n", t[i].value);
        assert_int_equal(pq_http_read_request((uint8_t *)text, strlen(text), &used, &r), t[i].e);
    }
}

/* However it is cut, the same bytes are the body's. */
static void fuzz_bodies(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("http body");
    static const char good[] = "5;a=b\r\nhello\r\n1F\r\n0123456789abcdef0123456789abcde\r\n0\r\n"
                               "A: b\r\n\r\n" NEXT;
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t b[200];
        struct pq_http_body one, many;
        size_t used = 0, at = 0, k = 1;
        memcpy(b, good, sizeof good - 1);
        size_t n = ut_mutate(&seed, b, sizeof good - 1, sizeof b);
        begin(&one, CHUNKED);
        begin(&many, CHUNKED);
        int e = pq_http_body_take(&one, b, n, &used), e2 = 0;
        for (size_t p = 0; p < n && k && !e2; p++, at += k)
            e2 = pq_http_body_take(&many, b + p, 1, &k);
        assert_int_equal(e, e2);
        if (!e)
            assert_int_equal(used, at);
    }
}

/* ---- heads of answers */

static const struct {
    const char *head, *closing;
    int status;
} answers[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 200},
    {"HTTP/1.0 404\r\n\r\n", "HTTP/1.0 404\r\nConnection: close\r\n\r\n", 404},
    {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n", 100},
    {"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nA:  b \r\nKEEP-ALIVE: timeout=5\r\n"
     "proxy-connection\t : keep-alive\r\nConnection-X: y\r\nSet-Cookie: Connection: x\r\n\r\n",
     "HTTP/1.1 200 OK\r\nA:  b \r\nConnection-X: y\r\nSet-Cookie: Connection: x\r\n"
     "Connection: close\r\n\r\n",
     200},
    /* lines that go on, and line ends of LF alone, as they came */
    {"HTTP/1.1 200 OK\nConnection:\n keep-alive\n\tx\nA: b\n c\n\n",
     "HTTP/1.1 200 OK\nA: b\n c\nConnection: close\r\n\n", 200},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n", 101},
};

static void answer_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        char text[512], out[512 + PQ_HTTP_CLOSING_MAX + 1];
        size_t n = strlen(answers[i].head), used = 0;
        int status = 0;
        snprintf(text, sizeof text, "%sbody\r\n\r\n", answers[i].head);
        for (size_t k = 1; k < n; k++) {
            uint8_t *p = ut_exact((uint8_t *)text, k);
            assert_int_equal(pq_http_read_answer(p, k, &used, &status), PQ_EMORE);
            free(p);
        }
        assert_int_equal(pq_http_read_answer((uint8_t *)text, strlen(text), &used, &status), 0);
        assert_int_equal(used, n);
        assert_int_equal(status, answers[i].status);
        out[pq_http_write_closing((uint8_t *)text, n, (uint8_t *)out)] = 0;
        assert_string_equal(out, answers[i].closing);
    }
}

static void no_answers(void **state)
{
    (void)state;
    static const char *const bad[] = {"X",
                                      "HTTP/2",
                                      "http/1.1 200 OK\r\n\r\n",
                                      "ICY 200",
                                      "\r\n",
                                      "HTTP/1.1 2x0 OK\r\n\r\n",
                                      "HTTP/1.1\r\n\r\n",
                                      "HTTP/1.1200 OK\r\n\r\n"};
    size_t used;
    int status;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(
            pq_http_read_answer((const uint8_t *)bad[i], strlen(bad[i]), &used, &status),
            PQ_EPROTO);
    static uint8_t text[PQ_HTTP_ANSWER_HEAD_MAX] = "HTTP/1.1 200 OK\r\nA: ";
    memset(text + 20, 'x', sizeof text - 20);
    assert_int_equal(pq_http_read_answer(text, sizeof text - 1, &used, &status), PQ_EMORE);
    assert_int_equal(pq_http_read_answer(text, sizeof text, &used, &status), PQ_EPROTO);
}

static void fuzz_answers(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("http answer");
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t b[600], out[600 + PQ_HTTP_CLOSING_MAX];
        const char *text = answers[ut_below(&seed, COUNT_OF(answers))].head;
        size_t n = strlen(text), used;
        int status;
        memcpy(b, text, n + 1);
        n = ut_mutate(&seed, b, n, sizeof b);
        if (!n)
            continue;
        uint8_t *p = ut_exact(b, n);
        if (pq_http_read_answer(p, n, &used, &status) == 0) {
            size_t m = pq_http_write_closing(p, used, out);
            assert_true(used <= n && status > 0 && m <= used + PQ_HTTP_CLOSING_MAX);
            assert_non_null(memmem(out, m, "\nConnection: close\r\n", 20));
        }
        free(p);
    }
}

int http_rest(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),        cmocka_unit_test(bad_chunks),
        cmocka_unit_test(large_lengths), cmocka_unit_test(fuzz_bodies),
        cmocka_unit_test(answer_heads),  cmocka_unit_test(no_answers),
        cmocka_unit_test(fuzz_answers),
    };
    return ut_run(tests);
}
