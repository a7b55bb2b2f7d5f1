/* SPDX-License-Identifier: MIT */
/* http_tests.h - the groups of test_http; each returns its failures. */
#ifndef PQ_TESTS_HTTP_TESTS_H
#define PQ_TESTS_HTTP_TESTS_H

int http_rest(void); /* bodies of requests, heads of answers */
#endif
