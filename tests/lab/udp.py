# SPDX-License-Identifier: MIT
"""UDP in the lab: an echo behind the tunnel, counted flows, and SOCKS5 UDP ASSOCIATE by hand."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Iterator

import paqet
from case import Failure, expect
from lab import Lab, Process, tool
from paqet import SOCKS

ECHO = 7007  # on the server host
NO_FRAGMENT = b"\x00\x00\x00"


def start_echo(lab: Lab, ports: int = 1) -> Process:
    """A UDP echo on `ports` ports of the server host, ECHO being the first."""
    argv = [tool("lab-udp"), "echo", "--seconds", "600", "--ports", str(ports), str(ECHO)]
    process = lab.s.start("udp-echo", argv)
    process.wait_log("^ready", 5)
    return process


def flows_command(*options: object, host: str = "127.0.0.1", port: int = ECHO) -> list[str]:
    return [tool("lab-udp"), "flows", *map(str, options), host, str(port)]


def read_report(output: str) -> dict:
    """What lab-udp says of its flows."""
    found = re.search(r"^\{.*\}$", output, re.MULTILINE)
    if not found:
        raise Failure(f"lab-udp: {output.strip() or 'no output'}")
    return json.loads(found[0])


def flows(
    lab: Lab, *options: object, host: str = "127.0.0.1", port: int = ECHO, limit: float = 60
) -> dict:
    """Runs flows on the client host to their end. With "--socks", to the echo through the proxy."""
    result = lab.c.run(flows_command(*options, host=host, port=port), limit)
    return read_report(result.stdout + result.stderr)


def expect_all_back(report: dict) -> None:
    sane = report["sent"] > 0 and report["unsent"] == 0
    whole = report["damaged"] == 0 and report["duplicates"] == 0
    expect(sane and whole and report["received"] == report["sent"], f"not all back: {report}")


def forward(listen: str, target: str, protocol: str = "udp") -> str:
    """An entry of "forward:"."""
    return f'  - listen: "{listen}"\n    target: "{target}"\n    protocol: "{protocol}"\n'


# ---- SOCKS5


def address(host: str, port: int) -> bytes:
    """As SOCKS5 writes it: IPv4, IPv6 or a name."""
    for family, kind in ((socket.AF_INET, b"\x01"), (socket.AF_INET6, b"\x04")):
        with contextlib.suppress(OSError):
            return kind + socket.inet_pton(family, host) + struct.pack("!H", port)
    return b"\x03" + bytes([len(host)]) + host.encode() + struct.pack("!H", port)


class Association:
    """One UDP ASSOCIATE of the lab's SOCKS port. `expected`: what the request says of the address
    that the datagrams will come from. `control`: a connection to another SOCKS port."""

    def __init__(
        self,
        lab: Lab,
        expected: tuple[str, int] = ("0.0.0.0", 0),
        control: socket.socket | None = None,
    ):
        self.lab = lab
        self.control = control or paqet.socks_socket(lab)
        self.control.sendall(b"\x05\x01\x00")
        expect(paqet.read_exactly(self.control, 2) == b"\x05\x00", "no greeting without password")
        self.control.sendall(b"\x05\x03\x00" + address(*expected))
        reply = paqet.read_exactly(self.control, 4)
        if reply[1] != 0:
            raise paqet.SocksError(f"UDP ASSOCIATE: reply {reply[1]}", reply[1])
        is4 = self.control.family == socket.AF_INET
        expect(reply[3] == (1 if is4 else 4), f"the relay's address is of type {reply[3]}")
        bound = paqet.read_exactly(self.control, 6 if is4 else 18)
        host = socket.inet_ntop(self.control.family, bound[:-2])
        peer = self.control.getpeername()
        self.relay = (host, struct.unpack("!H", bound[-2:])[0], *peer[2:])
        self.socket = self.new_socket("127.0.0.1" if is4 else "::")

    def new_socket(self, source: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """A UDP socket on the client host."""
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        udp = self.lab.c.open_socket(family, socket.SOCK_DGRAM)
        udp.bind((source, port))
        udp.settimeout(2)
        return udp

    def send(self, target: bytes, payload: bytes, fragment: bytes = NO_FRAGMENT) -> None:
        self.socket.sendto(fragment + target + payload, self.relay)

    def ask(self, target: bytes, payload: bytes, limit: float = 2) -> bytes:
        """Sends, and returns the next payload; a Failure if none comes within the limit, or one
        whose header is not that of the request. Sends once: what is lost is a failure."""
        self.send(target, payload)
        return self.receive(target, limit)

    def receive(self, target: bytes, limit: float = 2) -> bytes:
        self.socket.settimeout(limit)
        try:
            answer = self.socket.recv(70000)
        except TimeoutError as error:
            raise Failure(f"no answer within {limit:g} s") from error
        header = NO_FRAGMENT + target
        begin = answer[: len(header)]
        expect(begin == header, f"header {begin.hex(' ')}, not {header.hex(' ')}")
        return answer[len(header) :]

    def expect_silence(self, seconds: float = 0.7) -> None:
        """Nothing comes in, for so long."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            raise Failure(f"{len(self.socket.recv(70000))} bytes that should not have come")

    def close(self) -> None:
        self.control.close()
        self.socket.close()

    def __enter__(self) -> Association:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Listener:
    """A UDP service on the server host that answers by hand."""

    def __init__(self, lab: Lab, limit: float = 2):
        self.socket = lab.s.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(limit)
        self.port = self.socket.getsockname()[1]

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        try:
            return self.socket.recvfrom(70000)
        except TimeoutError as error:
            raise Failure("the target got nothing") from error

    def received(self, seconds: float) -> Iterator[bytes]:
        """All that comes until it is silent for so long."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while True:
                yield self.socket.recv(70000)


def wait_udp_working(lab: Lab, limit: float = 20) -> None:
    """Until a datagram comes back through UDP ASSOCIATE."""
    end = time.monotonic() + limit
    while True:
        lab.check_alive()
        report = flows(lab, "--socks", SOCKS, "--seconds", 0.5, "--linger", 0.5)
        if report["received"] > 0:
            return
        if time.monotonic() > end:
            raise Failure(f"no datagram came back within {limit:g} s")
