# SPDX-License-Identifier: MIT
"""Go at the other end: the test peer of tests/interop, and the original programs if they are given.

PAQET_GO_A, PAQET_GO_B and PAQET_GO_B20 name the original programs; without them their tests do
not exist.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import gopeer
import paqet
from case import add, expect
from gopeer import Options
from lab import Lab, wait_until
from paqet import BLOCKS, PORT, Settings

MB = 1_000_000
USUAL_BLOCKS = ["aes", "aes-128-gcm", "none", "null", "salsa20"]


# ---- the test peer


def peer_is_client(family: str, options: Options) -> None:
    gopeer.path()
    with Lab() as lab:
        gopeer.start_echo(lab)
        server = paqet.start_server(lab, Settings(block=options.block, ip6=options.ip6))
        run_job = partial(gopeer.run_job, lab, family, options)
        run_job("ping")
        run_job("empty")
        run_job("refused", "-target", "127.0.0.1:1")
        run_job("echo", "-bytes", str(3 * MB))
        run_job("echo", "-bytes", "20000", "-par", "50")
        expect(server.alive(), f"the server ended: {server.last_lines()}")


def peer_is_server(family: str, options: Options) -> None:
    gopeer.path()
    with Lab() as lab:
        lab.origin()
        server = gopeer.start_server(lab, family, options)
        client = paqet.start_client(lab, Settings(block=options.block, ip6=options.ip6))
        paqet.wait_working(lab)
        exchange(lab, 3 * MB)
        expect(client.alive(), f"the client ended: {client.last_lines()}")
        expect(server.alive(), f"the peer ended: {server.last_lines()}")


def peer_server_restarts(family: str) -> None:
    """A Go server says nothing when it comes back: the client must find out by itself."""
    gopeer.path()
    with Lab() as lab:
        lab.origin()
        server = gopeer.start_server(lab, family, Options())
        client = paqet.start_client(lab, Settings())
        paqet.wait_working(lab)
        server.kill()
        gopeer.start_server(lab, family, Options())
        paqet.wait_working(lab, 40)
        exchange(lab, MB)
        expect(client.alive(), f"the client ended: {client.last_lines()}")


def exchange(lab: Lab, size: int) -> None:
    down = lab.load("fetch", "--bytes", size, limit=50)
    expect(down["failed"] == 0, f"download: {down}")
    up = lab.load("send", "--bytes", size, limit=50)
    expect(up["failed"] == 0, f"upload: {up}")
    many = lab.load("fetch", "--bytes", 5000, "--parallel", 50, "--count", 50, limit=50)
    expect(many["failed"] == 0, f"50 requests at once: {many}")


def add_peer_pair(name: str, family: str, options: Options, full: bool = False) -> None:
    add(f"go_client_{family}_{name}", partial(peer_is_client, family, options), 90, full)
    add(f"go_server_{family}_{name}", partial(peer_is_server, family, options), 90, full)


def add_peer_tests() -> None:
    for family, usual in (("a", "message"), ("b", "stream")):
        for block in BLOCKS:
            for mode in ("message", "stream"):
                full = block not in USUAL_BLOCKS or (mode != usual and block != "aes")
                add_peer_pair(f"{block}_{mode}", family, Options(block, mode), full)
        add_peer_pair("flags", family, Options(mode=usual, flags="S,SA,PA,A"))
        add_peer_pair("ipv6", family, Options(mode=usual, ip6=True))
        add(f"go_server_{family}_restart", partial(peer_server_restarts, family), limit=90)
    add_peer_pair("aes_stream", "b20", Options("aes", "stream"))
    add_peer_pair("flags", "b20", Options(mode="stream", flags="S,SA,PA,A"))
    add("go_server_b20_restart", partial(peer_server_restarts, "b20"), limit=90)


# ---- the original programs

# A keeps target connections for the next user of the same target, also those that have ended.
NO_POOL = "performance:\n  enable_connection_pooling: false\n"


def original_is_client(binary: str, settings: Settings) -> None:
    with Lab() as lab:
        lab.c.keep_kernel_quiet(PORT)
        lab.origin()
        server = paqet.start_server(lab, settings)
        paqet.start_client(lab, settings, binary)
        paqet.wait_working(lab)
        exchange(lab, 20 * MB)
        expect(server.alive(), f"the server ended: {server.last_lines()}")


def original_is_server(binary: str, settings: Settings) -> None:
    with Lab() as lab:
        lab.s.keep_kernel_quiet(PORT)
        lab.origin()
        paqet.start_server(lab, replace(settings, extra=NO_POOL), binary)
        client = paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        exchange(lab, 20 * MB)
        expect(client.alive(), f"the client ended: {client.last_lines()}")


def original_restarts(binary: str) -> None:
    """A Go server says nothing when it comes back: the client must find out by itself."""
    with Lab() as lab:
        lab.s.keep_kernel_quiet(PORT)
        lab.origin()
        server = paqet.start_server(lab, Settings(extra=NO_POOL), binary)
        client = paqet.start_client(lab, Settings())
        paqet.wait_working(lab)
        server.kill()
        paqet.start_server(lab, Settings(extra=NO_POOL), binary)
        paqet.wait_working(lab, 40)
        wait_until(client.alive, 1, "the client alive")


def original_to_itself(binary: str) -> None:
    """The lab's own check: both ends are the original program."""
    with Lab() as lab:
        for host in (lab.c, lab.s):
            host.keep_kernel_quiet(PORT)
        settings = Settings(extra=NO_POOL)
        paqet.start_pair(lab, settings, client_binary=binary, server_binary=binary)
        exchange(lab, 5 * MB)


def add_original_tests(letter: str, binary: str) -> None:
    name = f"original_{letter}"
    add(f"{name}_to_itself", partial(original_to_itself, binary), limit=120, full=True)
    add(f"{name}_server_restart", partial(original_restarts, binary), limit=120)
    for block in USUAL_BLOCKS:
        settings = Settings(block=block)
        add(f"{name}_client_{block}", partial(original_is_client, binary, settings), limit=180)
        add(f"{name}_server_{block}", partial(original_is_server, binary, settings), limit=180)
    flags = '  tcp:\n    local_flag: ["PA", "S", "A"]\n    remote_flag: ["SA", "PA"]\n'
    settings = Settings(network_extra=flags)
    add(f"{name}_client_flags", partial(original_is_client, binary, settings), limit=180)
    add(f"{name}_server_flags", partial(original_is_server, binary, settings), limit=180)
    settings = Settings(ip6=True)
    add(f"{name}_client_ipv6", partial(original_is_client, binary, settings), limit=180)
    add(f"{name}_server_ipv6", partial(original_is_server, binary, settings), limit=180)


add_peer_tests()
for _letter in ("a", "b", "b20"):
    _binary = os.environ.get(f"PAQET_GO_{_letter.upper()}")
    if _binary:
        add_original_tests(_letter, _binary)
