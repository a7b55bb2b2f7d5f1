/* SPDX-License-Identifier: MIT */
/* test_http.c - heads of requests to an HTTP proxy, RFC 9110 and RFC 9112. */
#include "header/http.h"
#include "http_tests.h"
#include "unit.h"

#define H "Host: h\r\n"

static uint8_t *copy; /* of the text that was read last; the request's views borrow it */

static void drop_copy(void)
{
    free(copy);
    copy = NULL;
}

/* Reads from a copy of exactly that size. */
static int read_text(const char *text, size_t n, size_t *used, struct pq_http_request *r)
{
    drop_copy();
    copy = ut_exact((const uint8_t *)text, n);
    return pq_http_read_request(copy, n, used, r);
}

static const struct {
    const char *text, *host;
    uint16_t port;
    const char *origin; /* what the target gets; NULL: CONNECT */
} good[] = {
    {"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "example.com", 443, NULL},
    {"CONNECT 192.0.2.1:1 HTTP/1.0\r\n\r\n", "192.0.2.1", 1, NULL},
    {"CONNECT [2001:db8::1]:65535 HTTP/1.1\r\n\r\n", "2001:db8::1", 65535, NULL},
    {"GET http://a.example/x?y=z HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n", "a.example",
     80, "GET /x?y=z HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"},
    {"GET HTTP://a:8080 HTTP/1.1\r\n" H "\r\n", "a", 8080,
     "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
    {"GET http://a:/ HTTP/1.1\r\n" H "\r\n", "a", 80,
     "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
    {"GET http://a?q HTTP/1.1\r\n" H "\r\n", "a", 80,
     "GET /?q HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
    {"OPTIONS http://a HTTP/1.1\r\n" H "\r\n", "a", 80,
     "OPTIONS * HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
    {"GET http://[::1]:80/ HTTP/1.0\r\n\r\n", "::1", 80,
     "GET / HTTP/1.0\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"}, /* Host is added */
    /* lines for the proxy go, also those that Connection lists; the rest stays as it is */
    {"POST http://a/ HTTP/1.1\r\n" H "proxy-connection: keep-alive\r\nX-Hop:  1\r\n"
     "Proxy-Authorization: Basic dTpw\r\nConnection: keep-alive, x-hop ,TE\r\nKeep-Alive: 3\r\n"
     "te: trailers\r\nX-odd:\ta  b \r\ncontent-length: 5\r\n\r\n",
     "a", 80,
     "POST / HTTP/1.1\r\n" H "X-odd:\ta  b \r\ncontent-length: 5\r\nConnection: close\r\n\r\n"},
    /* but not those that say where the request ends and whom it is for */
    {"POST http://a/ HTTP/1.1\r\n" H
     "Connection: content-length, host, transfer-encoding\r\nContent-Length: 5\r\n\r\n",
     "a", 80, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nConnection: close\r\n\r\n"},
    {"POST http://a/ HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", "a", 80,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"},
    /* a websocket is asked for; another protocol would make the connection outlive the request */
    {"GET http://a/ HTTP/1.1\r\n" H
     "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n",
     "a", 80,
     "GET / HTTP/1.1\r\n" H
     "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\n\r\n"},
    {"GET http://a/ HTTP/1.1\r\n" H
     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
     "a", 80, "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
    {"GET http://a/ HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n", "a", 80,
     "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"},
};

static void good_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct pq_http_request r;
        uint8_t out[PQ_HTTP_ORIGIN_MAX + 1];
        size_t n = strlen(good[i].text), used = 0;
        for (size_t k = 0; k < n; k++) /* byte by byte */
            assert_int_equal(read_text(good[i].text, k, &used, &r), PQ_EMORE);
        assert_int_equal(read_text(good[i].text, n, &used, &r), 0);
        assert_int_equal(used, n);
        assert_string_equal(r.host, good[i].host);
        assert_int_equal(r.port, good[i].port);
        assert_int_equal(r.connect, good[i].origin == NULL);
        if (good[i].origin) {
            out[pq_http_write_origin(&r, out)] = 0;
            assert_string_equal((char *)out, good[i].origin);
        }
    }
    drop_copy();
}

static void what_follows_is_not_the_head(void **state)
{
    (void)state;
    static const char text[] = "CONNECT a:1 HTTP/1.1\r\n\r\nrest\n\r\n\r\n";
    struct pq_http_request r;
    size_t used;
    assert_int_equal(read_text(text, sizeof text - 1, &used, &r), 0);
    assert_int_equal(used, strlen("CONNECT a:1 HTTP/1.1\r\n\r\n"));
    drop_copy();
}

#define T(s)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define GET "GET http://a/ HTTP/1.1\r\n"

static const struct {
    const char *text;
    size_t n;
} bad[] = {
    /* the first line */
    T("\r\n"),
    T("GET\r\n\r\n"),
    T("GET http://a/\r\n\r\n"),
    T("GET  http://a/ HTTP/1.1\r\n\r\n"),
    T("GET http://a/  HTTP/1.1\r\n\r\n"),
    T("GET http://a/ b HTTP/1.1\r\n\r\n"),
    T("GET http://a/\tb HTTP/1.1\r\n\r\n"),
    T("G(T http://a/ HTTP/1.1\r\n\r\n"),
    T("GET http://a/ HTTP/2.0\r\n\r\n"),
    T("GET http://a/ HTTP/1.\r\n\r\n"),
    T("GET http://a/ HTTP/1.10\r\n\r\n"),
    T("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    T("GET http://a/\0 HTTP/1.1\r\n\r\n"),
    T("GET http://a/\x7f HTTP/1.1\r\n\r\n"),
    /* the target */
    T("GET / HTTP/1.1\r\n" H "\r\n"),
    T("OPTIONS * HTTP/1.1\r\n" H "\r\n"),
    T("GET https://a/ HTTP/1.1\r\n\r\n"),
    T("GET a HTTP/1.1\r\n\r\n"),
    T("GET http:// HTTP/1.1\r\n\r\n"),
    T("GET http:///x HTTP/1.1\r\n\r\n"),
    T("GET http://u:p@a/ HTTP/1.1\r\n\r\n"),
    T("GET http://a:0/ HTTP/1.1\r\n\r\n"),
    T("GET http://a:65536/ HTTP/1.1\r\n\r\n"),
    T("GET http://a:080000/ HTTP/1.1\r\n\r\n"),
    T("GET http://a:-1/ HTTP/1.1\r\n\r\n"),
    T("GET http://a:80:80/ HTTP/1.1\r\n\r\n"),
    T("GET http://a%20b/ HTTP/1.1\r\n\r\n"),
    T("GET http://[::1/ HTTP/1.1\r\n\r\n"),
    T("GET http://[::1]x/ HTTP/1.1\r\n\r\n"),
    T("GET http://[1.2.3.4]/ HTTP/1.1\r\n\r\n"),
    T("GET http://[]/ HTTP/1.1\r\n\r\n"),
    T("GET http://[fe80::1%25eth0]/ HTTP/1.1\r\n\r\n"),
    T("CONNECT a HTTP/1.1\r\n\r\n"),
    T("CONNECT a: HTTP/1.1\r\n\r\n"),
    T("CONNECT :443 HTTP/1.1\r\n\r\n"),
    T("CONNECT a:443/ HTTP/1.1\r\n\r\n"),
    T("CONNECT http://a:443 HTTP/1.1\r\n\r\n"),
    T("CONNECT ::1:443 HTTP/1.1\r\n\r\n"),
    /* the ends of lines */
    T("GET http://a/ HTTP/1.1\n\n"),
    T("GET http://a/ HTTP/1.1\r\n\n"),
    T(GET "A: b\nC: d\r\n\r\n"),
    T(GET "A: b\rC: d\r\n\r\n"),
    T(GET "A: b\r\r\n\r\n"),
    /* header lines */
    T(GET "A: b\0c\r\n\r\n"),
    T(GET "A: b\x01\r\n\r\n"),
    T(GET " A: b\r\n\r\n"),
    T(GET "A: b\r\n c\r\n\r\n"),
    T(GET "A: b\r\n\tc\r\n\r\n"),
    T(GET "A : b\r\n\r\n"),
    T(GET "A\r\n\r\n"),
    T(GET ": b\r\n\r\n"),
    T(GET "A\xe9: b\r\n\r\n"),
    /* which could be taken for two requests */
    T(GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    T(GET "Content-Length: 1\r\ncontent-length: 1\r\n\r\n"),
    T(GET "Content-Length: 1, 1\r\n\r\n"),
    T(GET "Content-Length: +1\r\n\r\n"),
    T(GET "Content-Length:\r\n\r\n"),
    T(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    T(GET "Transfer-Encoding: xchunked\r\n\r\n"),
    T(GET "Transfer-Encoding: identity\r\n\r\n"),
    T("POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    T(GET "Host: a\r\nHost: b\r\n\r\n"),
    T(GET "Proxy-Authorization: Basic dTpw\r\nProxy-Authorization: Basic dTpx\r\n\r\n"),
};

static void bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct pq_http_request r = {0};
        size_t used, n = bad[i].n;
        int e = PQ_EMORE;
        for (size_t k = 0; k <= n && e == PQ_EMORE; k++)
            e = read_text(bad[i].text, k, &used, &r);
        if (e != PQ_EPROTO)
            print_error("not refused: %s\n", bad[i].text);
        assert_int_equal(e, PQ_EPROTO);
        assert_int_equal(r.status, 400);
        assert_non_null(r.why);
    }
    drop_copy();
}

static void limits(void **state)
{
    (void)state;
    static char text[PQ_HTTP_HEAD_MAX + 100];
    struct pq_http_request r;
    size_t used;
    static uint8_t out[PQ_HTTP_ORIGIN_MAX];
    int n = snprintf(text, sizeof text, "GET http://%0253d:65535 HTTP/1.1\r\nA: ", 1);
    memset(text + n, 'x', sizeof text - (size_t)n);
    assert_int_equal(read_text(text, PQ_HTTP_HEAD_MAX - 1, &used, &r), PQ_EMORE);
    assert_int_equal(read_text(text, PQ_HTTP_HEAD_MAX, &used, &r), PQ_EPROTO);
    assert_int_equal(r.status, 431);
    static const uint8_t end[4] = {'\r', '\n', '\r', '\n'};
    memcpy(text + PQ_HTTP_HEAD_MAX - 3, end, 4); /* ends one byte too late */
    assert_int_equal(read_text(text, PQ_HTTP_HEAD_MAX + 1, &used, &r), PQ_EPROTO);
    assert_int_equal(r.status, 431);
    memcpy(text + PQ_HTTP_HEAD_MAX - 4, end, 4);
    assert_int_equal(read_text(text, PQ_HTTP_HEAD_MAX + 1, &used, &r), 0);
    assert_int_equal(used, PQ_HTTP_HEAD_MAX);
    size_t m = pq_http_write_origin(&r, out);
    assert_memory_equal(out + m - 21, "Connection: close\r\n\r\n", 21); /* nothing was cut off */

    static char many[(PQ_HTTP_FIELDS_MAX + 1) * 4 + 64];
    for (unsigned extra = 0; extra < 2; extra++) {
        strcpy(many, GET);
        for (unsigned i = 0; i < PQ_HTTP_FIELDS_MAX + extra; i++)
            strcat(many, "A:\r\n");
        strcat(many, "\r\n");
        int e = read_text(many, strlen(many), &used, &r);
        assert_int_equal(e, extra ? PQ_EPROTO : 0);
    }
    assert_int_equal(r.status, 431);

    n = snprintf(text, sizeof text, "CONNECT %0254d:1 HTTP/1.1\r\n\r\n", 1); /* name too long */
    assert_int_equal(read_text(text, (size_t)n, &used, &r), PQ_EPROTO);
    drop_copy();
}

static void credentials(void **state)
{
    (void)state;
    static const struct {
        const char *value, *user, *pass; /* NULL: none */
    } t[] = {
        {"Basic dXNlcjpwYTpzcw==", "user", "pa:ss"},
        {"basic  dTpw", "u", "p"},
        {"Basic dTpw ", "u", "p"},
        {"Basic Og==", "", ""},
        {"Basic Og", "", ""},
        {"Basic dXNlcg==", NULL, NULL}, /* no colon */
        {"Basic dTpw====", NULL, NULL}, /* too much padding */
        {"Basic d(pw", NULL, NULL},
        {"Basic dTpwAA==", NULL, NULL}, /* NUL */
        {"Basic", NULL, NULL},
        {"Bearer dTpw", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char text[256];
        struct pq_http_request r;
        size_t used;
        int n = snprintf(text, sizeof text, GET "Proxy-Authorization: %s\r\n\r\n", t[i].value);
        assert_int_equal(read_text(text, (size_t)n, &used, &r), 0);
        assert_int_equal(r.has_auth, t[i].user != NULL);
        if (t[i].user) {
            assert_string_equal(r.user, t[i].user);
            assert_string_equal(r.pass, t[i].pass);
        }
    }
    static char text[2000];
    for (int len = 252; len <= 3000; len += 4) { /* "u:" and a long password, in base64 */
        struct pq_http_request r;
        size_t used;
        if ((size_t)len + 100 > sizeof text)
            break;
        int n = sprintf(text, GET "Proxy-Authorization: Basic dTox");
        memset(text + n, 'Y', (size_t)len);
        n += len;
        n += sprintf(text + n, "\r\n\r\n");
        assert_int_equal(read_text(text, (size_t)n, &used, &r), 0);
        assert_int_equal(r.has_auth, len / 4 * 3 + 1 <= PQ_HTTP_SECRET_MAX);
    }
    drop_copy();
}

static void answers(void **state)
{
    (void)state;
    char b[PQ_HTTP_ANSWER_MAX], longest[600];
    static const int status[] = {400, 403, 407, 431, 502, 504};
    size_t n = pq_http_write_answer(b, 200, "");
    assert_int_equal(n, strlen("HTTP/1.1 200 Connection established\r\n\r\n"));
    assert_memory_equal(b, "HTTP/1.1 200 Connection established\r\n\r\n", n);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    for (size_t i = 0; i < COUNT_OF(status); i++) {
        for (int k = 0; k < 2; k++) {
            char begin[20];
            unsigned length;
            n = pq_http_write_answer(b, status[i], k ? longest : "why");
            assert_in_range(n, 1, sizeof b - 1);
            sprintf(begin, "HTTP/1.1 %d ", status[i]);
            assert_memory_equal(b, begin, strlen(begin));
            b[n] = 0;
            const char *body = strstr(b, "\r\n\r\n") + 4;
            assert_int_equal(sscanf(strstr(b, "Content-Length: "), "Content-Length: %u", &length),
                             1);
            assert_int_equal(length, strlen(body));
            assert_int_equal(strstr(b, "Proxy-Authenticate: Basic ") != NULL, status[i] == 407);
        }
    }
}

static void fuzz(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("http");
    static uint8_t out[PQ_HTTP_ORIGIN_MAX];
    uint8_t b[600];
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        const char *text = i % 4 ? good[ut_below(&seed, COUNT_OF(good))].text
                                 : GET "Proxy-Authorization: Basic dTpw\r\nHost: x\r\n\r\nrest";
        size_t n = strlen(text), used;
        memcpy(b, text, n + 1);
        n = ut_mutate(&seed, b, n, sizeof b);
        uint8_t *p = ut_exact(b, n);
        struct pq_http_request r;
        int e = pq_http_read_request(p, n, &used, &r);
        if (!e) {
            assert_true(used <= n && *r.host && r.port);
            size_t m = pq_http_write_origin(&r, out);
            if (!r.connect) { /* what goes to the target is one head, and one that is understood */
                assert_true(m >= 4 && memcmp(out + m - 4, "\r\n\r\n", 4) == 0);
                assert_ptr_equal(memmem(out, m, "\r\n\r\n", 4), out + m - 4);
            }
        } else if (e == PQ_EPROTO) {
            assert_true(r.status == 400 && r.why);
        }
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest http[] = {
        cmocka_unit_test(good_heads),  cmocka_unit_test(what_follows_is_not_the_head),
        cmocka_unit_test(bad_heads),   cmocka_unit_test(limits),
        cmocka_unit_test(credentials), cmocka_unit_test(answers),
        cmocka_unit_test(fuzz),
    };
    return ut_run(http) + http_rest();
}
