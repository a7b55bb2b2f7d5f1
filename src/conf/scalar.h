/* SPDX-License-Identifier: MIT */
/* scalar.h - plain YAML scalars as the Go programs' library takes them: it sees numbers where YAML
 * 1.1 and 1.2 do, also in place of a text, which is then the number's usual spelling. */
#ifndef PQ_CONF_SCALAR_H
#define PQ_CONF_SCALAR_H
#include <stdbool.h>
#include <stddef.h>

struct pq_scalar {
    bool is_int;   /* else a fraction, `real` */
    bool negative; /* of an integer */
    unsigned long long value;
    double real;
};

/* Reads a number: 1350, 1_024, 0x1f, 0o2500, 0b11, 0123 (octal), 1.5, -.5e3.  Returns false if the
 * text is none. */
bool pq_scalar_number(const char *text, struct pq_scalar *out);

/* The text that a plain scalar is in a text field, NUL-terminated in buf: 0123 is "83", 1.10 "1.1",
 * True "true".  Returns text itself where it is not changed. */
const char *pq_scalar_text(const char *text, char buf[40]);

/* Decodes base64, white space left out, into a new NUL-terminated text that the caller frees; NULL
 * if it is none or memory is short. */
char *pq_scalar_binary(const char *text);
#endif
