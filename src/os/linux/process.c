/* SPDX-License-Identifier: MIT */
#include "os/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

void pq_process_protect(void)
{
    const struct rlimit none = {0, 0};
    if (SANITIZED)
        return;
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
