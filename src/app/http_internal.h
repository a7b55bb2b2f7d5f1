/* SPDX-License-Identifier: MIT */
/* http_internal.h - what http.c, which listens, and http_answer.c, which answers, share. */
#ifndef PQ_APP_HTTP_INTERNAL_H
#define PQ_APP_HTTP_INTERNAL_H
#include "app/http.h"
#include "base/json.h"
#include "base/list.h"

#include <microhttpd.h>

struct pq_http_lib { /* the functions used, found by name */
    void *handle;
    __typeof__(MHD_start_daemon) *start_daemon;
    __typeof__(MHD_stop_daemon) *stop_daemon;
    __typeof__(MHD_get_daemon_info) *get_daemon_info;
    __typeof__(MHD_get_connection_info) *get_connection_info;
    __typeof__(MHD_get_timeout) *get_timeout;
    __typeof__(MHD_run) *run;
    __typeof__(MHD_create_response_from_buffer) *create_response_from_buffer;
    __typeof__(MHD_add_response_header) *add_response_header;
    __typeof__(MHD_queue_response) *queue_response;
    __typeof__(MHD_destroy_response) *destroy_response;
    __typeof__(MHD_lookup_connection_value) *lookup_connection_value;
};

extern struct pq_http_lib pq_http_lib; /* of the process; it stays loaded */

struct pq_http_kept {       /* an answer that is told anew after a while only */
    struct MHD_Response *r; /* NULL: none yet */
    pq_ns at;
};

enum { PQ_HTTP_METRICS, PQ_HTTP_STATUS, PQ_HTTP_TOP, PQ_HTTP_KEPT };

struct pq_http {
    struct pq_app *app;
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* its epoll descriptor */
    uv_timer_t timer, guard;
    struct pq_list visits; /* connections that are open */
    struct pq_http_kept kept[PQ_HTTP_KEPT];
    int fd;           /* of a Unix socket, or -1; the daemon closes it, once there is one */
    unsigned handles; /* that are not closed yet */
};

/* Answers a request; the library's form. */
enum MHD_Result pq_http_on_request(void *http, struct MHD_Connection *c, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *n, void **state);
#endif
