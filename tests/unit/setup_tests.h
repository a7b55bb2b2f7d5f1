/* SPDX-License-Identifier: MIT */
#ifndef PQ_TESTS_SETUP_TESTS_H
#define PQ_TESTS_SETUP_TESTS_H

/* Run the tests of a file, and return how many failed. */
int setup_attack(void);
#endif
