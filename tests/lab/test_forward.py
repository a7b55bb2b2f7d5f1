# SPDX-License-Identifier: MIT
"""Forwards with lists and ranges of ports, both protocols at once, and a thousand of them."""

from __future__ import annotations

import contextlib
import socket
import time

import paqet
from case import expect, test
from lab import Lab, Process, wait_until
from paqet import Settings

COUNT = 1000
FIRST = 20000


def rss_kb(process: Process) -> int:
    with open(f"/proc/{process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def answer_with_port(lab: Lab, first: int, last: int) -> list[socket.socket]:
    """At the server: each port says its own number."""
    opened = []
    for port in range(first, last + 1):

        def serve(connection: socket.socket, port: int = port) -> None:
            with connection:
                connection.sendall(str(port).encode())

        opened.append(lab.s.listen("127.0.0.1", port, serve))
    return opened


def ask(lab: Lab, port: int, address: str = "127.0.0.1") -> str:
    """What comes from a port of the client."""
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect((address, port))
        return connection.recv(100).decode()


def leads_to(lab: Lab, port: int, target: int) -> bool:
    with contextlib.suppress(OSError):
        return ask(lab, port) == str(target)
    return False


@test()
def test_forward_ranges() -> None:
    """Lists lead where they say: the same port, one for all, or each to its own."""
    with Lab() as lab:
        targets = answer_with_port(lab, 7001, 7003)
        echo = lab.s.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        echo.bind(("127.0.0.1", 7002))
        extra = (
            "forward:\n"
            "  - {name: same, listen: '127.0.0.1:7001-7002', target: 127.0.0.1, protocol: 'tcp,udp'}\n"
            "  - {listen: ':8001,8003-8004', target: '127.0.0.1:7003', protocol: tcp}\n"
            "  - {listen: [':9001', ':9005-9006'], target: '127.0.0.1:7001-7003', protocol: tcp}\n"
        )
        paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(extra=extra))
        leads = {7001: 7001, 7002: 7002, 8001: 7003, 8003: 7003, 8004: 7003}
        leads |= {9001: 7001, 9005: 7002, 9006: 7003}
        wait_until(lambda: leads_to(lab, 7001, 7001), 10, "the tunnel")
        for port, target in leads.items():
            expect(ask(lab, port) == str(target), f"{port} leads to {ask(lab, port)}")
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            asking.sendto(b"hello", ("127.0.0.1", 7002))
            echo.settimeout(5)
            data, sender = echo.recvfrom(100)
            echo.sendto(data, sender)
            expect(asking.recv(100) == b"hello", "UDP at the same port")
        for target in targets:
            target.close()


@test()
def test_forward_command() -> None:
    """Forwards are added to a client that runs and taken out again, in its file, too."""
    with Lab() as lab:
        targets = answer_with_port(lab, 7001, 7003)
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(control=True))
        path, sock = client.popen.args[-1], paqet.control_path(lab, "client")
        wait_until(sock.exists, 5, "the socket")
        before = open(path).read()

        def forward(*argv: str) -> tuple[int, str]:
            command = [paqet.program(), "forward", *argv, "-c", path, "-s", str(sock)]
            result = lab.c.run(command)
            return result.returncode, result.stdout + result.stderr

        code, said = forward("add", "127.0.0.1:8001-8003", "127.0.0.1:7001-7003", "--name", "three")
        expect(code == 0 and "3 new" in said, said)
        wait_until(lambda: leads_to(lab, 8003, 7003), 10, "the tunnel")
        code, said = forward("add", "127.0.0.1:8009", "127.0.0.1:7001", "--protocol", "tcp,udp")
        expect(code == 0 and leads_to(lab, 8009, 7001), said)
        code, said = forward("list")
        expect(said.splitlines()[0] == "127.0.0.1:8001-8003  127.0.0.1:7001-7003  tcp  three", said)
        for argv, part in (
            (("add", "127.0.0.1:8001", "h:1"), "already listens there"),
            (("add", "127.0.0.1:8001"), "say add LISTEN TARGET"),
            (("del", "127.0.0.1:9"), "there is no forward"),
        ):
            code, said = forward(*argv)
            expect(code == 1 and part in said, f"{argv}: {said}")
        code, said = forward("del", "three")
        expect(code == 0 and "3 closed" in said, said)
        expect(not leads_to(lab, 8001, 7001) and leads_to(lab, 8009, 7001), "another one is gone")
        code, said = forward("del", "127.0.0.1:8009")
        expect(code == 0 and not leads_to(lab, 8009, 7001), said)
        expect(open(path).read() == f"{before}forward: []\n", "more than the list has changed")
        for target in targets:
            target.close()


@test(timed=True)
def test_forward_thousand() -> None:
    """A thousand forwards cost little memory and start time, and each is there."""
    with Lab() as lab:
        targets = answer_with_port(lab, FIRST, FIRST)
        entry = "  - {listen: '127.0.0.1:%d', target: '127.0.0.1:%d', protocol: tcp}\n"
        entries = "".join(entry % (FIRST + i, FIRST) for i in range(COUNT))
        lab.origin()
        paqet.start_server(lab, Settings())
        plain = paqet.start_client(lab, Settings())
        paqet.wait_working(lab)
        before = rss_kb(plain)
        plain.stop()
        begin = time.monotonic()
        client = paqet.start_client(lab, Settings(extra=f"forward:\n{entries}"))
        seconds = time.monotonic() - begin
        wait_until(lambda: leads_to(lab, FIRST, FIRST), 10, "the tunnel")
        for port in (FIRST + 1, FIRST + 500, FIRST + COUNT - 1):
            expect(ask(lab, port) == str(FIRST), f"port {port}")
        more = rss_kb(client) - before
        print(f"{COUNT} forwards: {more} KB more, started in {seconds:.2f} s")
        sanitized = "san" in paqet.program()
        expect(sanitized or more < 4000, f"{more} KB more than without")
        expect(seconds < 5, f"started in {seconds:.1f} s")
        client.stop()
        ports = f"{FIRST}-{FIRST + COUNT - 1}"
        entry = f"{{listen: '127.0.0.1:{ports}', target: '127.0.0.1:{FIRST}', protocol: 'tcp,udp'}}"
        paqet.start_client(lab, Settings(extra=f"forward:\n  - {entry}\n"))
        last = FIRST + COUNT - 1
        wait_until(lambda: leads_to(lab, last, FIRST), 10, "the last of the range")
        for target in targets:
            target.close()
