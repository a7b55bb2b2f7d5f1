# SPDX-License-Identifier: MIT
"""Hundreds of phones behind one bridge: nothing lost, memory bounded, none in the way of the others."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paqet
from case import Skip, expect, test
from lab import Lab, Process, tool, wait_until
from paqet import Settings

PORT = 8080
BRIDGE = "10.78.255.1"  # its address for the phones, which are 10.78.0.1 and those after it
MB, GB = 1 << 20, 1 << 30


def start_bridge(lab: Lab, clients: int) -> tuple[Process, Process]:
    """Server and bridge; the third host has an address for each phone."""
    lab.origin(PORT)
    server = paqet.start_server(lab, Settings(block="aes-128-gcm"))
    forward = f"forward:\n  - {{listen: ':{PORT}', target: 127.0.0.1, protocol: tcp}}\n"
    bridge = paqet.start_client(lab, Settings(block="aes-128-gcm", extra=forward))
    batch = lab.new_file("addresses")
    numbers = range(1, clients + 1)
    batch.write_text("".join(f"addr add 10.78.{n >> 8}.{n & 255}/16 dev {lab.x.device}\n" for n in numbers))
    lab.x.check(["ip", "-batch", str(batch)])
    lab.c.check(["ip", "addr", "add", f"{BRIDGE}/16", "dev", lab.c.device])
    paqet.wait_working(lab)
    return server, bridge


def start_crowd(lab: Lab, connections: int, clients: int, seconds: int, rest: int) -> Process:
    argv = [tool("lab-crowd"), connections, clients, "10.78.0.1", seconds, rest, BRIDGE, PORT]
    return lab.x.start("crowd", list(map(str, argv)))


def check_crowd(crowd: Process, limit: float) -> dict:
    """All connections were served, to the last byte."""
    code = crowd.wait(limit)
    said = json.loads(crowd.log().splitlines()[-1])
    expect(code == 0 and said["whole"] == said["connections"], f"lost: {said}")
    return said


def stall(lab: Lab, count: int) -> list[socket.socket]:
    """Phones that ask for an endless download and read nothing of it."""
    opened = []
    for _ in range(count):
        phone = lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        phone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        phone.connect((BRIDGE, PORT))
        phone.sendall(b"GET /inf HTTP/1.1\r\n\r\n")
        opened.append(phone)
    return opened


def sanitized() -> bool:
    return "san" in paqet.program()


@test(timed=True)
def test_bridge_crowd() -> None:
    """A hundred phones with a thousand connections."""
    with Lab(third=True) as lab:
        server, bridge = start_bridge(lab, 100)
        before = bridge.memory_mb(), server.memory_mb()
        crowd = start_crowd(lab, 1000, 100, 3, 3)
        crowd.wait_log("open 1000", 20)
        more = bridge.memory_mb() - before[0], server.memory_mb() - before[1]
        said = check_crowd(crowd, 30)
        print(f"KB for each connection: bridge {more[0]:.1f}, server {more[1]:.1f}; {said}")
        expect(sanitized() or max(more) < 20, f"{more[0]:.1f} and {more[1]:.1f} MB for 1000 connections")


def check_stalled(count: int) -> str:
    """Returns the bridge's log."""
    with Lab(third=True) as lab:
        _, bridge = start_bridge(lab, 10)
        phones = stall(lab, count)
        for _ in range(2):  # while their windows fill, and then
            check_crowd(start_crowd(lab, 100, 10, 3, 1), 40)
        memory = bridge.memory_mb()
        expect(sanitized() or memory < 200, f"{memory:.0f} MB")
        for phone in phones:
            phone.close()
        return bridge.log()


@test(timed=True)
def test_bridge_stalled_phones() -> None:
    """Thirty phones that read nothing of their downloads are not in the way of the others."""
    expect("reads nothing" not in check_stalled(30), "some were cut")


@test(timed=True)
def test_bridge_many_stalled_phones() -> None:
    """Nor are so many that they fill what may wait: then some of them are cut."""
    check_stalled(400)


@contextlib.contextmanager
def memory_limit(limit: int, pid: int = 0) -> Iterator[Path | None]:
    """A control group with that much memory, around a program if one is given; None where there is none to be had."""
    name = f"paqet-lab-{os.getpid()}"
    old, new = Path("/sys/fs/cgroup/memory") / name, Path("/sys/fs/cgroup") / name
    for folder, key in ((old, "memory.limit_in_bytes"), (new, "memory.max")):
        with contextlib.suppress(OSError):
            folder.mkdir()
            try:
                (folder / key).write_text(str(limit))
                if pid:
                    (folder / "cgroup.procs").write_text(str(pid))
                yield folder
            finally:
                for one in (*(path for path in folder.iterdir() if path.is_dir()), folder):
                    for left in (one / "cgroup.procs").read_text().split():
                        with contextlib.suppress(OSError):  # it has ended
                            (folder.parent / "cgroup.procs").write_text(left)
                    one.rmdir()
            return
    yield None


def highest_mb(folder: Path) -> float:
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(OSError):
            return int((folder / name).read_text()) / 1e6
    return 0


@test()
def test_memory_of_the_group() -> None:
    """Bounds follow the control group that the program is started in, not the machine."""
    with Lab() as lab, memory_limit(160 * MB) as group:
        if not group:
            raise Skip("no control group for memory can be made here")
        inner = group / "inner"  # without a bound of its own
        inner.mkdir()
        path = lab.new_file("server.yaml")
        path.write_text(paqet.server_config(lab, Settings(control=True)))
        enter = f"echo $$ > {inner}/cgroup.procs && exec {paqet.program()} run -c {path}"
        argv = ["nsenter", f"--net=/run/netns/{lab.s.namespace}", "sh", "-c", enter]  # "ip netns exec" hides the groups
        server = Process(argv, lab.new_file("server.log"))
        lab.processes.append(server)
        paqet.wait_ready(server)
        wait_until(lambda: paqet.ask(lab, "server", "status").returncode == 0, 5, "answer to status")
        said = json.loads(paqet.ask(lab, "server", "status", "--json").stdout)
        expect(said["memory"]["queues_max"] == 40 * MB, f"a quarter of 160 MiB: {said['memory']}")
        expect(said["totals"]["sessions_max"] == 640, f"a session for each 256 KiB: {said['totals']}")
        expect(server.stop() == 0, "the server did not end well")


@test(limit=180, full=True, alone=True)
def test_bridge_ten_thousand() -> None:
    """A thousand phones with ten thousand connections through one bridge that has 1 GB."""
    with Lab(third=True) as lab:
        server, bridge = start_bridge(lab, 1000)
        before = bridge.memory_mb(), server.memory_mb()
        with memory_limit(GB, bridge.pid) as group:
            phones = stall(lab, 100)
            crowd = start_crowd(lab, 10000, 1000, 30, 10)
            crowd.wait_log("open 10000", 60)
            more = bridge.memory_mb() - before[0], server.memory_mb() - before[1]
            said = check_crowd(crowd, 120)
            used = f"{highest_mb(group):.0f} MB at most in its group" if group else "no limit to be had"
            print(f"MB more: bridge {more[0]:.0f}, server {more[1]:.0f}; {used}; {said}")
            expect(max(more) < 300, f"{more[0]:.0f} and {more[1]:.0f} MB for 10,000 connections")
            for phone in phones:
                phone.close()
