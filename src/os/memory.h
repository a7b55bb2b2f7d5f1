/* SPDX-License-Identifier: MIT */
/* memory.h - how much memory there is for this process. */
#ifndef PQ_OS_MEMORY_H
#define PQ_OS_MEMORY_H
#include <stdint.h>

/* Bytes that this process may have: what the machine has or, where that is less, what its control
 * group and the groups around it may have.  UINT64_MAX: nobody can tell. */
uint64_t pq_memory_there(void);

/* What control groups allow (memory.max and memory.high, or memory.limit_in_bytes of version 1),
 * the least of them: of the group that the file `groups` (/proc/self/cgroup) names for memory, and
 * of those around it that the mounts in `mounts` (/proc/self/mountinfo) show.  UINT64_MAX: there is
 * no bound, or it cannot be read. */
uint64_t pq_memory_of_groups(const char *groups, const char *mounts);
#endif
