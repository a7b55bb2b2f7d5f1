/* SPDX-License-Identifier: MIT */
/* local.h - sockets between programs of this machine, in the file system.  Any thread. */
#ifndef PQ_OS_LOCAL_H
#define PQ_OS_LOCAL_H
#include <stdbool.h>

#define PQ_LOCAL_PATH_MAX 107 /* bytes of a path */

/* Listens at the path, which nobody but this user (and root) can connect to; a socket that a killed
 * program has left there is replaced.  Returns a descriptor that does not block, -ENAMETOOLONG,
 * -EBUSY (a program that runs listens there) or another -errno. */
int pq_local_listen(const char *path);

/* Connects, and gives whatever is waited for on the descriptor `seconds` at most.  Returns it, or
 * -errno: -ENOENT and -ECONNREFUSED if nobody listens there. */
int pq_local_connect(const char *path, unsigned seconds);

/* Whether the program at the other end runs as this user, or as root. */
bool pq_local_is_friend(int fd);
#endif
