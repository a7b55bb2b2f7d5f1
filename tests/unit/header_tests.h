/* SPDX-License-Identifier: MIT */
/* header_tests.h - the groups of test_header; each returns its failures. */
#ifndef PQ_TESTS_HEADER_TESTS_H
#define PQ_TESTS_HEADER_TESTS_H
#include "header/header.h"

#include <jansson.h>

/* The message that the "fields" of a vector describe. */
struct pq_request header_fields(const json_t *message);
void header_same(const struct pq_request *a, const struct pq_request *b, const char *name);

int header_gob(void);
#endif
