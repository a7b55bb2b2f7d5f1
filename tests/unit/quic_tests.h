/* SPDX-License-Identifier: MIT */
/* quic_tests.h - the parts of test_quic. */
#ifndef PQ_TESTS_QUIC_TESTS_H
#define PQ_TESTS_QUIC_TESTS_H

int quic_frames_tests(void);
int quic_go_tests(void);
int quic_memory_tests(void);
int quic_named_tests(void);
int quic_recordings_tests(void);
int quic_streams_tests(void);
int quic_tickets_tests(void);
#endif
