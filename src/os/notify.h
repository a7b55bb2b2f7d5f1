/* SPDX-License-Identifier: MIT */
/* notify.h - tells the service manager that started this program how it is, as systemd's sd_notify
 * does: datagrams to the socket that $NOTIFY_SOCKET names.  Any thread. */
#ifndef PQ_OS_NOTIFY_H
#define PQ_OS_NOTIFY_H
#include "base/time.h"

/* Sends a state, such as "READY=1".  Without $NOTIFY_SOCKET nothing happens.  Returns 0 or -errno.
 */
int pq_notify(const char *state);

/* How often the manager wants to hear "WATCHDOG=1" at least ($WATCHDOG_USEC), or PQ_NEVER. */
pq_ns pq_notify_watchdog(void);
#endif
