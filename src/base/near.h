/* SPDX-License-Identifier: MIT */
/* near.h - how much two words differ, to guess what somebody meant.  Any thread. */
#ifndef PQ_BASE_NEAR_H
#define PQ_BASE_NEAR_H

/* Edits (insert, delete, replace, change places with the next) from a to b, for texts of up to 63
 * bytes; 64 for longer ones. */
unsigned pq_text_distance(const char *a, const char *b);
#endif
