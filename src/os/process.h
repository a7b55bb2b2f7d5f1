/* SPDX-License-Identifier: MIT */
/* process.h - what this process asks of the system for itself. */
#ifndef PQ_OS_PROCESS_H
#define PQ_OS_PROCESS_H

/* Keys must not lie in a core file, nor be read by a debugger of the same user: neither is possible
 * from now on.  In a build with a sanitizer, which needs the latter, it does nothing. */
void pq_process_protect(void);
#endif
