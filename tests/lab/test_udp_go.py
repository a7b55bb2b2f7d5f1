# SPDX-License-Identifier: MIT
"""UDP between this program and the Go programs, at either end."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial

import gopeer
import goserver
import paqet
import udp
from case import add, best_of, expect
from goserver import GoServer, go_servers
from lab import Lab
from paqet import PORT, SOCKS, Settings
from test_interop import NO_POOL
from test_udp import FORWARD, SIZES, expect_sizes, forwards
from udp import ECHO, Association

LIMIT = {"a": 9000, "b": 4096, "b20": 4096}  # bytes of a datagram; A's depends on its memory


def carried(family: str) -> list[int]:
    return [size for size in SIZES if size <= LIMIT[family]]


def with_go_server(server: GoServer) -> None:
    server.need()
    with Lab() as lab:
        program = goserver.start(lab, server)
        udp.start_echo(lab, 100)
        entry = udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")
        client = paqet.start_client(lab, Settings(extra=forwards(entry)))
        paqet.wait_working(lab)
        exchange(lab, server.family)
        many = ("--flows", 100, "--rate", 10, "--seconds", 3, "--size", "32-1200")
        udp.expect_all_back(udp.flows(lab, *many, port=FORWARD))
        expect(client.alive(), f"the client ended: {client.last_lines()}")
        expect(program.alive(), f"the server ended: {program.last_lines()}")


def exchange(lab: Lab, family: str, alone: bool = False) -> None:
    """Boundaries, and many flows at once, through the SOCKS port. `alone`: one flow; several of a
    family A client share one buffer, and answers get mixed up there."""
    with Association(lab) as association:
        expect_sizes(association, carried(family))
        time.sleep(0.1)
    count = 1 if alone else 100
    many = ("--flows", count, "--ports", count, "--rate", 1000 / count, "--seconds", 3)
    shared = udp.flows(lab, "--socks", SOCKS, "--shared", *many, "--size", "32-4096")
    udp.expect_all_back(shared)


def go_peer_is_client(family: str) -> None:
    gopeer.path()
    with Lab() as lab:
        gopeer.start_echo(lab)
        server = paqet.start_server(lab, Settings())
        for size in carried(family):
            job = ("udp", "-size", str(size), "-count", "30")
            gopeer.run_job(lab, family, gopeer.Options(), *job)
        expect(server.alive(), f"the server ended: {server.last_lines()}")


def original_is_client(family: str, binary: str) -> None:
    with Lab() as lab:
        lab.c.keep_kernel_quiet(PORT)
        lab.origin()
        udp.start_echo(lab, 100)
        server = paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(), binary)
        paqet.wait_working(lab)
        exchange(lab, family, alone=family == "a")
        expect(server.alive(), f"the server ended: {server.last_lines()}")


def original_to_itself(family: str, binary: str) -> None:
    """The lab's own check: both ends are the original program."""
    with Lab() as lab:
        for host in (lab.c, lab.s):
            host.keep_kernel_quiet(PORT)
        udp.start_echo(lab, 100)
        entry = udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")
        settings = Settings(extra=NO_POOL)
        client = replace(settings, extra=NO_POOL + forwards(entry))
        paqet.start_pair(lab, settings, client, client_binary=binary, server_binary=binary)
        exchange(lab, family, alone=family == "a")
        many = ("--flows", 100, "--rate", 10, "--seconds", 3, "--size", "32-1200")
        udp.expect_all_back(udp.flows(lab, *many, port=FORWARD))


for _server in go_servers():
    add(f"udp_{_server.name}_server", partial(with_go_server, _server))
for _family in ("a", "b"):
    add(f"udp_go_{_family}_client", partial(go_peer_is_client, _family))
    _binary = os.environ.get(f"PAQET_GO_{_family.upper()}")
    if _binary:
        _client = partial(original_is_client, _family, _binary)
        add(f"udp_original_{_family}_client", best_of(3, _client), alone=True)
        add(
            f"udp_original_{_family}_to_itself",
            partial(original_to_itself, _family, _binary),
            full=True,
        )
