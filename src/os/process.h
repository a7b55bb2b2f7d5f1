/* SPDX-License-Identifier: MIT */
/* process.h - what this process asks of the system for itself. */
#ifndef PQ_OS_PROCESS_H
#define PQ_OS_PROCESS_H
#include <stdbool.h>

/* Keys must not lie in a core file, nor be read by a debugger of the same user: neither is possible
 * from now on.  In a build with a sanitizer, which needs the latter, it does nothing.  Who changes
 * users is protected no more; pq_process_become does it again. */
void pq_process_protect(void);

/* From now on neither this process nor what it starts can get privileges that it has not (setuid
 * programs), and it has no capabilities but those that it needs as long as it runs: raw packets
 * (NET_RAW), firewall, routes, TUN and forced buffer sizes (NET_ADMIN), low ports
 * (NET_BIND_SERVICE), and, of root alone, files of others (DAC_OVERRIDE): the configuration may be
 * its service user's.  For the start, before there are threads, which inherit it. */
void pq_process_confine(void);

/* From now on this process, which is root's, is that user's, in his own group alone, with the three
 * capabilities of pq_process_confine, which the programs that it starts have, too.  What
 * pq_process_protect does holds on.  Nothing happens if it is his already.  Before
 * pq_process_confine, and before there are threads.  Returns 0, -ENOENT (there is no such user),
 * -EINVAL (it is root), -EPERM (this is neither root nor him) or another -errno: then the process
 * must end. */
int pq_process_become(const char *user);

enum pq_process_right { PQ_MAY_RAW, PQ_MAY_ADMIN };

/* Whether this process has CAP_NET_RAW, or CAP_NET_ADMIN. */
bool pq_process_may(enum pq_process_right what);

/* Whether this program needs no other file: no loader and no libraries. */
bool pq_process_is_static(void);
#endif
