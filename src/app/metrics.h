/* SPDX-License-Identifier: MIT */
/* metrics.h - what a program that runs tells a monitoring system.  Of the main thread. */
#ifndef PQ_APP_METRICS_H
#define PQ_APP_METRICS_H
#include "app/app.h"
#include "base/json.h"

/* Adds metrics in the text format of Prometheus (version 0.0.4); docs/control.md lists them. */
void pq_metrics_put(struct pq_app *app, struct pq_json *w);

/* Whether the program does what it is there for: a client has heard its server within 6 s, a
 * server has its interface.  `why` says in a few words how it is. */
bool pq_metrics_healthy(struct pq_app *app, char why[128]);
#endif
