/* SPDX-License-Identifier: MIT */
/* http.h - the status page, its data, metrics and health over HTTP, by libmicrohttpd, in the loop
 * of the main thread. */
#ifndef PQ_APP_HTTP_H
#define PQ_APP_HTTP_H
#include "app/app.h"

#include <uv.h>

struct pq_http;

/* Listens at status.listen, if it is set; says why not.  Returns 0, PQ_ENOMEM or another error. */
int pq_http_open(struct pq_http **out, uv_loop_t *loop, struct pq_app *app);

/* Closes it; frees once the loop has closed the handles.  Sets *h to NULL; NULL does nothing. */
void pq_http_close(struct pq_http **h);
#endif
