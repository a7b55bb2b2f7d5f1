/* SPDX-License-Identifier: MIT */
/* test_front.c - sockets against streams, in one process and without a tunnel. */
#include "front_tests.h"
#include "unit.h"

int main(void)
{
    return front_measure_tests() + front_relay_tests() + front_tcp_tests() + front_udp_tests();
}
