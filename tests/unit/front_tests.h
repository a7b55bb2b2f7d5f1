/* SPDX-License-Identifier: MIT */
/* front_tests.h - the parts of test_front. */
#ifndef PQ_TESTS_FRONT_TESTS_H
#define PQ_TESTS_FRONT_TESTS_H

int front_measure_tests(void);
int front_relay_tests(void);
int front_tcp_tests(void);
int front_udp_tests(void);
#endif
