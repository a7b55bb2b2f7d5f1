/* SPDX-License-Identifier: MIT */
/* text.h - texts of others: which are plain, and making them so. */
#ifndef PQ_BASE_TEXT_H
#define PQ_BASE_TEXT_H
#include <stddef.h>

/* The length in bytes of the character at p, of a NUL-terminated text; 0 if it is none of UTF-8, a
 * control character (those from U+0080 on are orders to a terminal, too), an end of line in any
 * form, or a byte order mark. */
size_t pq_text_char(const char *p);

/* The length in bytes of the character at p where it is one that nobody sees, as programs put them
 * into texts that are copied: of no width, or a mark of the direction of writing; and of a blank
 * that breaks no line.  0: another one. */
size_t pq_text_unseen(const char *p);

/* Puts '?' in place of all bytes of which that says 0, and of characters that turn the direction of
 * writing, by which one text looks like another. */
void pq_text_tame(char *text);

/* The same for a text of several lines: line feeds stay. */
void pq_text_tame_lines(char *text);
#endif
