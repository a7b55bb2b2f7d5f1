/* SPDX-License-Identifier: MIT */
/* io_tests.h - the groups of test_io; each returns its failures. */
#ifndef PQ_TESTS_IO_TESTS_H
#define PQ_TESTS_IO_TESTS_H
#include "base/bytes.h"
#include "io/filter.h"
#include "io/pktio.h"
#include "unit.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>

int io_kernel(void);
#endif
