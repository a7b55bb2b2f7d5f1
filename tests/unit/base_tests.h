/* SPDX-License-Identifier: MIT */
/* base_tests.h - the groups of test_base; each returns its failures. */
#ifndef PQ_TESTS_BASE_TESTS_H
#define PQ_TESTS_BASE_TESTS_H
int base_log(void);
int base_tables(void);
#endif
