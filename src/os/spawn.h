/* SPDX-License-Identifier: MIT */
/* spawn.h - other programs, such as the system's service manager.  No shell is involved.  Blocking.
 * From any thread: the child does nothing but become the program. */
#ifndef PQ_OS_SPAWN_H
#define PQ_OS_SPAWN_H
#include "base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether PATH, or the usual folders of a root's PATH, have a program of that name.  Folders of
 * PATH that are no absolute paths are passed over, and all of it where this program has rights
 * (file capabilities) that its caller has not. */
bool pq_spawn_finds(const char *name);

/* Runs a program, looked up likewise, with nothing on standard input, and waits for its end, up to
 * `patience` ns; then it is killed.  What it prints, errors too, goes to out[cap], NUL-terminated,
 * as far as there is room; cap 0: nowhere.
 * Returns its exit code, 128 + the signal that ended it, -ENOENT (there is none), -ETIMEDOUT or
 * -errno. */
int pq_spawn(const char *const argv[], char *out, size_t cap, pq_ns patience);

/* The same for a program that needs this one's rights over the network: with in[n] on standard
 * input, with nothing in its environment but `more` ("NAME=VALUE" or NULL), a PATH of the usual
 * folders and LC_ALL=C, and with CAP_NET_ADMIN and CAP_NET_RAW, if this program has them, also
 * where it is not root's (Linux 4.3). */
int pq_spawn_trusted(const char *const argv[], const char *more, const char *in, size_t n,
                     char *out, size_t cap, pq_ns patience);

/* Starts a program that goes on in a session of its own when this one has ended, with its output at
 * the end of the file `log`, made with mode 0600.  Returns its process id, or -errno. */
pid_t pq_spawn_detached(const char *const argv[], const char *log);

/* The same, but it ends (SIGTERM) when the thread that has started it does, however that was. */
pid_t pq_spawn_attached(const char *const argv[], const char *log);

/* Ends such a program by SIGTERM, after 5 s by SIGKILL; its child or not.  Returns whether it was
 * there.  `name`: only if its program is called so, since ids are used again. */
bool pq_spawn_end(pid_t pid, const char *name);

/* Whether it runs: by that name, and is not a child that has ended. */
bool pq_spawn_lives(pid_t pid, const char *name);

/* Runs `fn` in a process of its own, so that the threads, sockets and blocked signals that it
 * leaves behind are gone with it, and waits for its end.  `shared`, of n bytes, is then as fn has
 * changed its copy; all else that it changes is lost.  Not where this process has other threads.
 * Returns false, with `shared` as it was, if it could not be started or was ended by a signal. */
bool pq_spawn_apart(void (*fn)(void *shared, void *ctx), void *shared, size_t n, void *ctx);

/* This program's own file, NUL-terminated.  Returns 0 or -errno. */
int pq_spawn_self(char *out, size_t cap);
#endif
