/* SPDX-License-Identifier: MIT */
#include "header/http.h"

#include "base/addr.h"

#include <stdio.h>
#include <strings.h>

/* ---- characters and small pieces */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_token(struct pq_view v) /* RFC 9110, 5.6.2 */
{
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]) && (!v.p[i] || !strchr("!#$%&'*+-.^_`|~", v.p[i])))
            return false;
    return v.n;
}

static bool has_control(struct pq_view v)
{
    for (size_t i = 0; i < v.n; i++)
        if ((v.p[i] < 0x20 && v.p[i] != '\t') || v.p[i] == 0x7f)
            return true;
    return false;
}

static bool is(struct pq_view v, const char *text)
{
    return v.n == strlen(text) && strncasecmp((const char *)v.p, text, v.n) == 0;
}

static struct pq_view trim(struct pq_view v)
{
    while (v.n && (v.p[0] == ' ' || v.p[0] == '\t'))
        v = (struct pq_view){v.p + 1, v.n - 1};
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

/* Takes the bytes before the first `c` off the front of *v, and `c` itself; all if there is none.
 */
static struct pq_view cut(struct pq_view *v, char c)
{
    const uint8_t *at = v->n ? memchr(v->p, c, v->n) : NULL;
    struct pq_view head = {v->p, at ? (size_t)(at - v->p) : v->n};
    size_t skip = head.n + (at != NULL);
    *v = (struct pq_view){v->p + skip, v->n - skip};
    return head;
}

/* Takes the next line of a head, whose lines all end with CR LF, off *rest. */
static struct pq_view next_line(struct pq_view *rest)
{
    struct pq_view line = cut(rest, '\n');
    line.n -= line.n > 0;
    return line;
}

static bool list_has(struct pq_view list, const char *name, size_t n)
{
    while (list.n) {
        struct pq_view item = trim(cut(&list, ','));
        if (item.n == n && strncasecmp((const char *)item.p, name, n) == 0)
            return true;
    }
    return false;
}

static int refuse(struct pq_http_request *out, int status, const char *why)
{
    out->status = status;
    out->why = why;
    return PQ_EPROTO;
}

/* ---- the first line */

/* Finds the empty line that ends a head.  Returns its bytes, 0 if it is not there yet, or PQ_EPROTO
 * if a line does not end with CR LF. */
static int head_length(const uint8_t *p, size_t n)
{
    const uint8_t *line = p, *lf;
    while ((lf = memchr(line, '\n', n - (size_t)(line - p))) != NULL) {
        if (lf == line || lf[-1] != '\r')
            return PQ_EPROTO;
        if (lf == line + 1)
            return (int)(lf + 1 - p);
        line = lf + 1;
    }
    return 0;
}

static bool read_port(struct pq_view digits, uint16_t *port)
{
    unsigned v = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (!is_digit(digits.p[i]) || i == 5)
            return false;
        v = v * 10 + digits.p[i] - '0';
    }
    *port = (uint16_t)v;
    return v > 0 && v <= 65535;
}

/* Reads the host: a name, or an IPv6 address in brackets, which are taken off. */
static bool read_host(struct pq_view host, bool brackets, char out[PQ_HOST_MAX + 1])
{
    struct pq_addr a;
    if (!host.n || host.n > PQ_HOST_MAX)
        return false;
    for (size_t i = 0; i < host.n; i++)
        if (!is_alnum(host.p[i]) && (!host.p[i] || !strchr(brackets ? ":." : "-._~", host.p[i])))
            return false;
    memcpy(out, host.p, host.n);
    out[host.n] = 0;
    return !brackets || (strchr(out, ':') && pq_addr_parse_ip(&a, out) == 0);
}

/* Reads "host", "host:port" or "[v6]:port"; the port stays as it was if there is none. */
static int read_authority(struct pq_http_request *out, struct pq_view v)
{
    bool brackets = v.n && v.p[0] == '[';
    out->authority = v;
    if (v.n && memchr(v.p, '@', v.n))
        return refuse(out, 400, "the address must not name a user");
    if (brackets) {
        v = (struct pq_view){v.p + 1, v.n - 1};
        struct pq_view host = cut(&v, ']');
        bool closed = host.n < out->authority.n - 1;
        if (!closed || (v.n && v.p[0] != ':') || !read_host(host, true, out->host))
            return refuse(out, 400, "the IPv6 address is malformed");
        cut(&v, ':');
    } else if (!read_host(cut(&v, ':'), false, out->host)) {
        return refuse(out, 400, "the host name is missing or malformed");
    }
    if (v.n && !read_port(v, &out->port))
        return refuse(out, 400, "the port is not a number from 1 to 65535");
    return out->port ? 0 : refuse(out, 400, "CONNECT needs host:port");
}

/* Reads the target of a plain request. */
static int read_absolute(struct pq_http_request *out, struct pq_view target)
{
    static const char scheme[] = "http://";
    size_t n = sizeof scheme - 1;
    if (target.n && (target.p[0] == '/' || target.p[0] == '*'))
        return refuse(out, 400,
                      "this is a proxy, not a web server: enter its address as HTTP or SOCKS proxy "
                      "in the settings of your program");
    if (target.n < n || strncasecmp((const char *)target.p, scheme, n) != 0)
        return refuse(out, 400, "only http:// is known here; for all else use CONNECT");
    struct pq_view rest = {target.p + n, target.n - n}, authority = {rest.p, 0};
    while (authority.n < rest.n && !strchr("/?#", rest.p[authority.n]))
        authority.n++;
    out->path = (struct pq_view){rest.p + authority.n, rest.n - authority.n};
    out->port = 80;
    return read_authority(out, authority);
}

static int read_first_line(struct pq_http_request *out, struct pq_view line)
{
    if (has_control(line))
        return refuse(out, 400, "a control character in the request line");
    out->method = cut(&line, ' ');
    struct pq_view target = cut(&line, ' ');
    out->version = line;
    if (!is_token(out->method) || !target.n)
        return refuse(out, 400, "the request line is malformed");
    if (line.n != 8 || memcmp(line.p, "HTTP/1.", 7) != 0 || !is_digit(line.p[7]))
        return refuse(out, 400, "only HTTP/1.0 and HTTP/1.1 are known here");
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] == '\t')
            return refuse(out, 400, "the request line is malformed");
    out->connect = out->method.n == 7 && memcmp(out->method.p, "CONNECT", 7) == 0;
    return out->connect ? read_authority(out, target) : read_absolute(out, target);
}

/* ---- header lines */

static int base64_digit(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes; returns the bytes, or 0 if it is malformed or too long. */
static size_t base64_decode(struct pq_view v, uint8_t *out, size_t cap)
{
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (unsigned pad = 0; pad < 2 && v.n && v.p[v.n - 1] == '='; pad++)
        v.n--;
    for (size_t i = 0; i < v.n; i++) {
        int d = base64_digit(v.p[i]);
        if (d < 0)
            return 0;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            if (n == cap)
                return 0;
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

bool pq_http_read_basic(const char *value, size_t n, char user[PQ_HTTP_SECRET_MAX + 1],
                        char pass[PQ_HTTP_SECRET_MAX + 1])
{
    uint8_t plain[2 * PQ_HTTP_SECRET_MAX + 1];
    struct pq_view v = {(const uint8_t *)value, n};
    if (!is(cut(&v, ' '), "Basic"))
        return false;
    struct pq_view p = {plain, base64_decode(trim(v), plain, sizeof plain)};
    if (!p.n || memchr(plain, 0, p.n) || !memchr(plain, ':', p.n))
        return false;
    struct pq_view u = cut(&p, ':');
    if (u.n > PQ_HTTP_SECRET_MAX || p.n > PQ_HTTP_SECRET_MAX)
        return false;
    memcpy(user, u.p, u.n);
    memcpy(pass, p.p, p.n);
    user[u.n] = pass[p.n] = 0;
    return true;
}

struct seen { /* what the header lines have said so far */
    unsigned host, length, coding, auth;
    bool upgrade, websocket;
};

static int read_length(struct pq_http_request *out, struct pq_view value)
{
    if (!value.n)
        return refuse(out, 400, "Content-Length is not a number");
    out->length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i]))
            return refuse(out, 400, "Content-Length is not a number");
        if (out->length >> 56)
            return refuse(out, 400, "Content-Length is too large");
        out->length = out->length * 10 + value.p[i] - '0';
    }
    return 0;
}

/* Where a second opinion on a line could lead to other requests than ours, there is none. */
static int read_field(struct pq_http_request *out, struct seen *seen, struct pq_view name,
                      struct pq_view value)
{
    if (is(name, "Host")) {
        seen->host++;
    } else if (is(name, "Content-Length")) {
        seen->length++;
        return read_length(out, value);
    } else if (is(name, "Transfer-Encoding")) {
        seen->coding++;
        if (!is(value, "chunked"))
            return refuse(out, 400, "Transfer-Encoding is not chunked");
    } else if (is(name, "Proxy-Authorization")) {
        seen->auth++;
        out->has_auth = pq_http_read_basic((const char *)value.p, value.n, out->user, out->pass);
    } else if (is(name, "Connection")) {
        seen->upgrade |= list_has(value, "upgrade", 7);
    } else if (is(name, "Upgrade")) {
        seen->websocket |= list_has(value, "websocket", 9);
    }
    return 0;
}

static int read_fields(struct pq_http_request *out)
{
    struct seen seen = {0};
    struct pq_view rest = out->fields;
    for (unsigned count = 0; rest.n; count++) {
        struct pq_view value = next_line(&rest);
        if (count == PQ_HTTP_FIELDS_MAX)
            return refuse(out, 431, "too many header lines");
        if (has_control(value))
            return refuse(out, 400, "a control character in a header line");
        if (value.p[0] == ' ' || value.p[0] == '\t')
            return refuse(out, 400, "a header line begins with a blank");
        if (!memchr(value.p, ':', value.n))
            return refuse(out, 400, "a header line without a colon");
        struct pq_view name = cut(&value, ':');
        if (!is_token(name))
            return refuse(out, 400, "the name of a header line is malformed");
        int e = read_field(out, &seen, name, trim(value));
        if (e)
            return e;
    }
    if (seen.host > 1 || seen.length > 1 || seen.coding > 1 || seen.auth > 1)
        return refuse(out, 400, "a header line that may be there only once is there twice");
    if (seen.length && seen.coding)
        return refuse(out, 400, "both Content-Length and Transfer-Encoding");
    if (seen.coding && out->version.p[7] == '0')
        return refuse(out, 400, "Transfer-Encoding in HTTP/1.0");
    out->chunked = seen.coding;
    out->has_host = seen.host;
    out->websocket = seen.upgrade && seen.websocket;
    return 0;
}

int pq_http_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_http_request *out)
{
    *out = (struct pq_http_request){0};
    int len = n ? head_length(p, n < PQ_HTTP_HEAD_MAX ? n : PQ_HTTP_HEAD_MAX) : 0;
    if (len < 0)
        return refuse(out, 400, "lines must end with CR and LF");
    if (!len)
        return n < PQ_HTTP_HEAD_MAX ? PQ_EMORE
                                    : refuse(out, 431, "the header lines are longer than 16 KB");
    struct pq_view rest = {p, (size_t)len - 2}; /* without the empty line */
    struct pq_view first = next_line(&rest);
    out->fields = rest;
    *used = (size_t)len;
    int e = read_first_line(out, first);
    return e ? e : read_fields(out);
}

/* ---- writing */

static void put(struct pq_wr *w, const char *text)
{
    pq_wr_bytes(w, text, strlen(text));
}

static void put_view(struct pq_wr *w, struct pq_view v)
{
    pq_wr_bytes(w, v.p, v.n);
}

/* Whether a Connection line says that the line `name` is for the proxy alone. */
static bool is_listed(const struct pq_http_request *r, struct pq_view name)
{
    struct pq_view rest = r->fields;
    while (rest.n) {
        struct pq_view value = next_line(&rest);
        if (is(cut(&value, ':'), "Connection") && list_has(value, (const char *)name.p, name.n))
            return true;
    }
    return false;
}

static bool is_for_proxy(const struct pq_http_request *r, struct pq_view name)
{
    if (is(name, "Host") || is(name, "Content-Length") || is(name, "Transfer-Encoding"))
        return false; /* without these it would be another request, whatever Connection says */
    if (is(name, "Upgrade"))
        return !r->websocket;
    return is(name, "Connection") || is(name, "Keep-Alive") || is(name, "Proxy-Connection") ||
           is(name, "Proxy-Authorization") || is_listed(r, name);
}

size_t pq_http_write_origin(const struct pq_http_request *r, uint8_t buf[PQ_HTTP_ORIGIN_MAX])
{
    struct pq_wr w = pq_wr_init(buf, PQ_HTTP_ORIGIN_MAX);
    struct pq_view rest = r->fields;
    put_view(&w, r->method);
    put(&w, " ");
    if (!r->path.n)
        put(&w, is(r->method, "OPTIONS") ? "*" : "/");
    else if (r->path.p[0] != '/')
        put(&w, "/");
    put_view(&w, r->path);
    put(&w, " ");
    put_view(&w, r->version);
    put(&w, "\r\n");
    if (!r->has_host) {
        put(&w, "Host: ");
        put_view(&w, r->authority);
        put(&w, "\r\n");
    }
    while (rest.n) {
        struct pq_view line = next_line(&rest), name = line;
        if (is_for_proxy(r, cut(&name, ':')))
            continue;
        put_view(&w, line);
        put(&w, "\r\n");
    }
    put(&w, r->websocket ? "Connection: Upgrade\r\n\r\n" : "Connection: close\r\n\r\n");
    return pq_wr_len(&w);
}

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 407:
        return "Proxy Authentication Required";
    case 431:
        return "Request Header Fields Too Large";
    case 504:
        return "Gateway Timeout";
    default:
        return "Bad Gateway";
    }
}

size_t pq_http_write_answer(char buf[PQ_HTTP_ANSWER_MAX], int status, const char *text)
{
    int n;
    if (status == 200)
        n = snprintf(buf, PQ_HTTP_ANSWER_MAX, "HTTP/1.1 200 Connection established\r\n\r\n");
    else
        n = snprintf(buf, PQ_HTTP_ANSWER_MAX,
                     "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\npaqet: %.240s\n",
                     status, reason_of(status),
                     status == 407 ? "Proxy-Authenticate: Basic realm=\"paqet\"\r\n" : "",
                     strnlen(text, 240) + 8, text);
    return n > 0 && n < PQ_HTTP_ANSWER_MAX ? (size_t)n : 0;
}
