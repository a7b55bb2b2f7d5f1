/* SPDX-License-Identifier: MIT */
/* http_answer.c - the head of a target's answer.  Lenient, since it goes to the program that asked,
 * line by line as it came. */
#include "header/http.h"

#include <strings.h>

/* Bytes of the line at p, LF included; 0 if its end is not there. */
static size_t line_length(const uint8_t *p, size_t n)
{
    const uint8_t *lf = n ? memchr(p, '\n', n) : NULL;
    return lf ? (size_t)(lf - p) + 1 : 0;
}

static bool is_empty(const uint8_t *line, size_t n)
{
    return n == 1 || (n == 2 && line[0] == '\r');
}

/* "HTTP/1.1 200 OK"; 0 if it is no such line. */
static int status_of(const uint8_t *p, size_t n)
{
    int status = 0;
    if (n < 13 || p[8] != ' ')
        return 0;
    for (size_t i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9')
            return 0;
        status = status * 10 + p[i] - '0';
    }
    return status;
}

int pq_http_read_answer(const uint8_t *p, size_t n, size_t *used, int *status)
{
    static const char version[] = "HTTP/1.";
    const size_t known = n < sizeof version - 1 ? n : sizeof version - 1;
    if (memcmp(p, version, known) != 0)
        return PQ_EPROTO;
    for (size_t at = 0, len; (len = line_length(p + at, n - at)) > 0; at += len) {
        if (!is_empty(p + at, len))
            continue;
        *used = at + len;
        *status = status_of(p, *used);
        return *status ? 0 : PQ_EPROTO;
    }
    return n < PQ_HTTP_ANSWER_HEAD_MAX ? PQ_EMORE : PQ_EPROTO;
}

/* Whether a line is about the connection, whatever blanks stand before its colon. */
static bool is_of_connection(const uint8_t *line, size_t n)
{
    static const char *const names[] = {"Connection", "Keep-Alive", "Proxy-Connection"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t at = strlen(names[i]);
        if (n <= at || strncasecmp((const char *)line, names[i], at) != 0)
            continue;
        while (at < n && (line[at] == ' ' || line[at] == '\t'))
            at++;
        if (at < n && line[at] == ':')
            return true;
    }
    return false;
}

size_t pq_http_write_closing(const uint8_t *p, size_t n, uint8_t *buf)
{
    static const char close[] = "Connection: close\r\n";
    struct pq_wr w = pq_wr_init(buf, n + PQ_HTTP_CLOSING_MAX);
    bool dropped = false;
    for (size_t at = 0, len; (len = line_length(p + at, n - at)) > 0; at += len) {
        const uint8_t *line = p + at;
        if (line[0] != ' ' && line[0] != '\t') /* else it goes on with the line before */
            dropped = at && is_of_connection(line, len);
        if (is_empty(line, len))
            pq_wr_bytes(&w, close, sizeof close - 1);
        if (!dropped)
            pq_wr_bytes(&w, line, len);
    }
    return pq_wr_len(&w);
}
