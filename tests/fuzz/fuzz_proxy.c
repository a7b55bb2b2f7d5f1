/* SPDX-License-Identifier: MIT */
/* fuzz_proxy.c - what programs and proxies send before there is a tunnel: SOCKS 4 and 5, the heads
 * and bodies of HTTP.  Each reader gets the same bytes.  It stays in bounds, is content only once
 * the last byte is there, and what follows from a message can be read again. */
#include "fuzz.h"
#include "header/http.h"
#include "header/socks.h"

/* A heap copy of the first n bytes of the input under way, for one call. */
static const uint8_t *input;
static uint8_t *copy;

static const uint8_t *first(size_t n)
{
    free(copy);
    return copy = fuzz_exact(input, n);
}

/* ---- SOCKS */

static void check_host(const struct pq_socks_request *q)
{
    FUZZ_CHECK(memchr(q->host, 0, sizeof q->host));
}

static void socks_methods(size_t n)
{
    size_t used;
    bool no_auth, password;
    struct pq_view user, pass;
    if (pq_socks_read_greeting(first(n), n, &used, &no_auth, &password) == 0) {
        FUZZ_CHECK(used && used <= n);
        FUZZ_CHECK(pq_socks_read_greeting(first(used - 1), used - 1, &used, &no_auth, &password) ==
                   PQ_EMORE);
    }
    if (pq_socks_read_password(first(n), n, &used, &user, &pass) == 0) {
        FUZZ_CHECK(used && used <= n);
        FUZZ_CHECK(fuzz_inside(user, copy, n) && fuzz_inside(pass, copy, n));
        FUZZ_CHECK(pq_socks_read_password(first(used - 1), used - 1, &used, &user, &pass) ==
                   PQ_EMORE);
    }
}

/* A request that was read can be written, and means the same. */
static void socks_request(size_t n)
{
    size_t used, again;
    struct pq_socks_request q, same;
    enum pq_socks_reply code;
    if (pq_socks_read_request(first(n), n, &used, &q, &code))
        return;
    FUZZ_CHECK(used && used <= n);
    check_host(&q);
    FUZZ_CHECK(pq_socks_read_request(first(used - 1), used - 1, &again, &same, &code) == PQ_EMORE);
    uint8_t buf[PQ_SOCKS_REQUEST_MAX];
    size_t len = pq_socks_write_request(buf, q.cmd, q.host, q.port);
    FUZZ_CHECK(len && len <= sizeof buf);
    FUZZ_CHECK(pq_socks_read_request(buf, len, &again, &same, &code) == 0 && again == len);
    FUZZ_CHECK(same.cmd == q.cmd && same.port == q.port && strcmp(same.host, q.host) == 0);
}

static void socks_others(size_t n)
{
    size_t used;
    struct pq_socks_request q;
    uint8_t code;
    if (pq_socks_read_udp(first(n), n, &used, &q) == 0) {
        FUZZ_CHECK(used <= n);
        check_host(&q);
    }
    if (pq_socks4_read_request(first(n), n, &used, &q) == 0) {
        FUZZ_CHECK(used && used <= n);
        check_host(&q);
        FUZZ_CHECK(pq_socks4_read_request(first(used - 1), used - 1, &used, &q) == PQ_EMORE);
    }
    int e = pq_socks_read_reply(first(n), n, &used, &code);
    FUZZ_CHECK(e || used <= n);
    FUZZ_CHECK(e != PQ_EMORE || (used > n && used <= PQ_SOCKS_REQUEST_MAX));
}

/* ---- HTTP */

static bool ends_head(const uint8_t *p, size_t n)
{
    return n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0;
}

/* The body ends at the same byte, or is wrong, however it is cut. */
static void http_body(const struct pq_http_request *q, const uint8_t *p, size_t n)
{
    struct pq_http_body whole, pieces;
    size_t used = 0, sum = 0, k;
    pq_http_body_init(&whole, q);
    pq_http_body_init(&pieces, q);
    int e = pq_http_body_take(&whole, p, n, &used);
    FUZZ_CHECK(e == PQ_EPROTO || (e == 0 && used <= n));
    int again = 0;
    while (sum < n && !again) {
        size_t piece = 1 + sum % 5 < n - sum ? 1 + sum % 5 : n - sum;
        again = pq_http_body_take(&pieces, p + sum, piece, &k);
        if (!again)
            sum += k;
        if (!again && k < piece)
            break;
    }
    FUZZ_CHECK(again == e && (e || sum == used));
}

static void http_origin(const struct pq_http_request *q)
{
    static uint8_t buf[PQ_HTTP_ORIGIN_MAX];
    size_t len = pq_http_write_origin(q, buf);
    FUZZ_CHECK(len <= sizeof buf && ends_head(buf, len));
    FUZZ_CHECK(len > q->method.n && memcmp(buf, q->method.p, q->method.n) == 0);
}

static void http_request(size_t n)
{
    static struct pq_http_request q, part;
    char text[PQ_HTTP_ANSWER_MAX];
    size_t used, other;
    int e = pq_http_read_request(first(n), n, &used, &q);
    FUZZ_CHECK(e == 0 || e == PQ_EMORE || e == PQ_EPROTO);
    if (e == PQ_EPROTO)
        FUZZ_CHECK(q.why && pq_http_write_answer(text, q.status, q.why) <= sizeof text);
    if (e)
        return;
    FUZZ_CHECK(used && used <= n && used <= PQ_HTTP_HEAD_MAX && ends_head(copy, used));
    FUZZ_CHECK(q.host[0] && memchr(q.host, 0, sizeof q.host));
    FUZZ_CHECK(memchr(q.user, 0, sizeof q.user) && memchr(q.pass, 0, sizeof q.pass));
    if (!q.connect)
        http_origin(&q);
    http_body(&q, copy + used, n - used);
    FUZZ_CHECK(pq_http_read_request(first(used - 1), used - 1, &other, &part) == PQ_EMORE);
}

/* The head with which the connection ends says the same, and can be read as strictly. */
static void http_answer(size_t n)
{
    size_t used, again;
    int status, same;
    if (!n || pq_http_read_answer(first(n), n, &used, &status))
        return;
    FUZZ_CHECK(used && used <= n && used <= PQ_HTTP_ANSWER_HEAD_MAX);
    FUZZ_CHECK(status >= 1 && status <= 999);
    uint8_t *buf = malloc(used + PQ_HTTP_CLOSING_MAX);
    FUZZ_CHECK(buf);
    size_t len = pq_http_write_closing(copy, used, buf);
    FUZZ_CHECK(len <= used + PQ_HTTP_CLOSING_MAX);
    if (len <= PQ_HTTP_ANSWER_HEAD_MAX)
        FUZZ_CHECK(pq_http_read_answer(buf, len, &again, &same) == 0 && again == len &&
                   same == status);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    input = p;
    socks_methods(n);
    socks_request(n);
    socks_others(n);
    http_request(n);
    http_answer(n);
    free(copy);
    copy = NULL;
    return 0;
}
