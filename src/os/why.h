/* SPDX-License-Identifier: MIT */
/* why.h - room for the words of a module of os that cannot do what it was asked: what was wrong,
 * where, and what to do about it, NUL-terminated. */
#ifndef PQ_OS_WHY_H
#define PQ_OS_WHY_H

#define PQ_OS_WHY_LEN 512
#endif
