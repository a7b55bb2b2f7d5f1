/* SPDX-License-Identifier: MIT */
/* wire_tests.h - the groups of test_wire; each returns its failures. */
#ifndef PQ_TESTS_WIRE_TESTS_H
#define PQ_TESTS_WIRE_TESTS_H
int wire_acks(void);
int wire_connect(void);
int wire_holes(void);
int wire_ip(void);
int wire_look(void);
int wire_packets(void);
#endif
