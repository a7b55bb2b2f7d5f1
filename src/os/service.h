/* SPDX-License-Identifier: MIT */
/* service.h - programs that run by themselves: systemd, OpenRC, procd (OpenWrt), or, where there is
 * none of them, a background process.  Texts of the files in service/.  Blocking; for set-up. */
#ifndef PQ_OS_SERVICE_H
#define PQ_OS_SERVICE_H
#include "base/time.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define PQ_SERVICE_USER    "paqet"
#define PQ_SERVICE_TEXT    4096
#define PQ_SERVICE_WHY_LEN 512

enum pq_service_kind {
    PQ_SERVICE_NONE, /* a background process, until the machine restarts */
    PQ_SERVICE_SYSTEMD,
    PQ_SERVICE_OPENRC,
    PQ_SERVICE_PROCD,
};

struct pq_service {
    enum pq_service_kind kind;
    const char *name;    /* of the instance: it runs folder/name.yaml */
    const char *folder;  /* absolute */
    const char *program; /* absolute; the path of this program once it is installed */
};

/* Which one runs this machine. */
enum pq_service_kind pq_service_find(void);
const char *pq_service_kind_name(enum pq_service_kind kind);

/* Where its file is, or, for PQ_SERVICE_NONE, that with the process id; NUL-terminated. */
void pq_service_path(const struct pq_service *s, char out[PATH_MAX]);

/* Whether that file serves all instances (systemd). */
bool pq_service_is_shared(enum pq_service_kind kind);

/* The text of the file; systemd and OpenRC: with `user`, it runs as PQ_SERVICE_USER, else as root
 * with few capabilities.  Returns false for PQ_SERVICE_NONE. */
bool pq_service_text(const struct pq_service *s, bool user, char out[PQ_SERVICE_TEXT]);

/* Makes the system user, without a home and without a shell.  Returns 1 if it was made, 0 if it was
 * there, -ENOENT (no program to make users with), -EEXIST (he is one who can log in) or -ENOTUNIQ
 * (his group is not his own).  *uid and *gid are set unless it failed. */
int pq_service_make_user(unsigned *uid, unsigned *gid);
/* Removes it.  Returns 0 or -errno. */
int pq_service_remove_user(void);

/* Enables it for the next boots and starts it (again).  Does not wait until it is ready.  Returns
 * 0, or -1 with what went wrong in `why`. */
int pq_service_start(const struct pq_service *s, char why[PQ_SERVICE_WHY_LEN]);

/* Whether it runs, as far as the manager says. */
bool pq_service_runs(const struct pq_service *s);

/* Waits until it is ready: by what the manager knows (systemd), or once it has logged `words`.
 * Returns false if it ends, or after `patience` ns. */
bool pq_service_wait(const struct pq_service *s, const char *words, pq_ns patience);

/* Stops and disables it; nothing happens if it is not there. */
void pq_service_stop(const struct pq_service *s);

/* Its file is gone: the manager forgets it. */
void pq_service_forget(const struct pq_service *s);

/* The last lines that it has logged, NUL-terminated, "" if they cannot be had. */
void pq_service_log(const struct pq_service *s, char *out, size_t cap);

struct pq_service_words {                 /* what a user types, as root ... */
    char log[256], start[512], stop[256]; /* ... to see its log, to start and to stop it */
};
void pq_service_words(const struct pq_service *s, struct pq_service_words *out);
#endif
