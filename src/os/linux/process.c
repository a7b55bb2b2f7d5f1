/* SPDX-License-Identifier: MIT */
#include "os/process.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

#define BIT(cap) (UINT64_C(1) << (cap))
#define NEEDED   (BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE))

/* Without CAP_SETPCAP this is refused, but then there is nothing that could be had by it. */
static void drop_bounding(uint64_t keep)
{
    for (int cap = 0; cap < 64; cap++)
        if (!(keep & BIT(cap)))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* These and no others, for programs that are started, too. */
static int take_on(uint64_t caps)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        const uint32_t part = (uint32_t)(caps >> 32 * i);
        data[i] = (struct __user_cap_data_struct){part, part, part};
    }
    if (syscall(SYS_capset, &head, data))
        return -errno;
    for (unsigned long cap = 0; cap < 64; cap++)
        if (caps & BIT(cap)) /* kernels before 4.3 know none */
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    return 0;
}

int pq_process_become(const char *user)
{
    const struct passwd *p = getpwnam(user);
    if (!p)
        return -ENOENT;
    if (!p->pw_uid)
        return -EINVAL;
    if (geteuid() == p->pw_uid)
        return 0;
    if (geteuid())
        return -EPERM;
    drop_bounding(NEEDED);
    if (setgroups(0, NULL) || setresgid(p->pw_gid, p->pw_gid, p->pw_gid) ||
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresuid(p->pw_uid, p->pw_uid, p->pw_uid))
        return -errno;
    const int e = take_on(NEEDED);
    pq_process_protect(); /* which the kernel has just replaced by fs.suid_dumpable */
    return e;
}

void pq_process_confine(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    uint64_t keep = NEEDED;
    if (geteuid() == 0)
        keep |= BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHOWN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    drop_bounding(keep);
    if (syscall(SYS_capget, &head, data))
        return;
    for (int i = 0; i < 2; i++) {
        const uint32_t part = (uint32_t)(keep >> 32 * i);
        data[i].effective &= part;
        data[i].permitted &= part;
        data[i].inheritable &= part;
    }
    syscall(SYS_capset, &head, data);
}

bool pq_process_may(enum pq_process_right what)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    const uint64_t bit = BIT(what == PQ_MAY_RAW ? CAP_NET_RAW : CAP_NET_ADMIN);
    return syscall(SYS_capget, &head, data) == 0 && data[0].effective & bit;
}

bool pq_process_is_static(void)
{
    return getauxval(AT_BASE) == 0; /* where the loader is */
}
