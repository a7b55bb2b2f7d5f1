# SPDX-License-Identifier: MIT
"""tun.dns: whatever resolver a program asks, the one behind the tunnel answers."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

import paqet
from case import expect, test
from lab import Lab, wait_until
from paqet import Settings, read_exactly
from test_tun import FAR, internet, need, tun, wait_ping
from test_tun_leaks import FAR6, Wire, routes

RESOLVERS = ("198.18.0.53", "198.18.1.53")  # both on the server's host
TTL = 60


def encode(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def query(name: str, number: int, edns: int = 0) -> bytes:
    opt = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return struct.pack("!6H", number, 0x100, 1, 0, 0, 1 if edns else 0) + encode(name) + b"\0\1\0\1" + opt


def question_of(message: bytes) -> bytes:
    end = message.index(b"\0", 12) + 5
    return message[12:end]


def reply(asked: bytes, number: int | None = None, count: int = 1, question: bytes = b"") -> bytes:
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, TTL, 4) + bytes([198, 51, 100, 9])
    head = asked[:2] if number is None else struct.pack("!H", number)
    return head + struct.pack("!5H", 0x8180, 1, count, 0, 0) + (question or question_of(asked)) + record * count


class Resolver:
    """DNS over TCP: answers in any order, lies first, and is sometimes silent or gone."""

    def __init__(self, lab: Lab, ip: str):
        lab.s.check(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
        self.listener = lab.s.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((ip, 53))
        self.listener.listen(16)
        self.queries = self.connections = 0
        self.silent = False
        self.numbers: list[int] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, paqet.SocksError):
            while True:
                asked = read_exactly(connection, *struct.unpack("!H", read_exactly(connection, 2)))
                self.queries += 1
                self.numbers.append(struct.unpack("!H", asked[:2])[0])
                if self.silent:
                    continue
                count = 60 if b"large" in asked else 1
                other = encode("other.example") + b"\0\1\0\1"
                lies = [reply(asked, self.numbers[-1] ^ 1), reply(asked, question=other), b"x", os.urandom(40)]
                delay = 0.3 if b"slow" in asked else 0
                threading.Timer(delay, self.send, (connection, [*lies, reply(asked, count=count)])).start()

    def send(self, connection: socket.socket, messages: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"".join(struct.pack("!H", len(m)) + m for m in messages))


def ask(lab: Lab, name: str, at: tuple[str, int], edns: int = 0, limit: float = 5) -> bytes:
    """What a program gets that asks this resolver over UDP; nothing within the limit: b""."""
    family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
    number = int.from_bytes(os.urandom(2), "big")
    with lab.c.open_socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(limit)
        with contextlib.suppress(OSError):
            udp.connect(at)
            udp.send(query(name, number, edns))
            answer = udp.recv(5000)
            expect(answer[:2] == struct.pack("!H", number), "another number")
            return answer
    return b""


def ttl_of(answer: bytes) -> int:
    at = 12 + len(question_of(answer)) + 6
    return struct.unpack("!I", answer[at : at + 4])[0]


@test(limit=90)
def test_tun_dns() -> None:
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        lab.x.check(["ip", "-6", "addr", "add", f"{FAR6}/128", "dev", "lo"])
        first, second = (Resolver(lab, ip) for ip in RESOLVERS)
        server = paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        more = f"  routes: [default]\n  dns: [{', '.join(RESOLVERS)}]\n  kill_switch: on\n  lan: block\n"
        settings = Settings(network=False, extra=tun(2, more))
        here = paqet.start_client(lab, settings)
        wait_ping(lab.c, FAR)
        wire = Wire(lab)
        places = [(lab.x.ip4, 53), (FAR, 53), (FAR6, 53), (lab.x.ip6, 53)]
        since = time.monotonic()
        for nth, at in enumerate(places):
            answer = ask(lab, f"n{nth}.example", at)
            expect(answer.endswith(bytes([198, 51, 100, 9])), f"asked {at}: {answer!r}")
        expect(first.queries == 4 and first.connections == 1, f"{first.queries}, {first.connections}")
        kept(lab, first, places[0], since)
        sizes(lab, places[0])
        many(lab, first)
        over_tcp(lab)
        first.silent = True
        begin = time.monotonic()
        expect(ask(lab, "new.example", places[0]), "the second resolver was not asked")
        expect(time.monotonic() - begin < 4, "too late")
        expect(second.queries >= 1, "by whom?")
        server.kill()
        server = paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        wait_until(lambda: ask(lab, "again.example", places[0], limit=1), 25, "a name after the server's restart")
        wire.expect_nothing("DNS or else")
        expect(len(set(first.numbers)) > 0.9 * len(first.numbers), "numbers are not random")
        paqet.ended(here)
        here.kill()
        expect("redirect" not in lab.c.firewall(), "the rule was left behind")
        wire.running = False


def kept(lab: Lab, resolver: Resolver, at: tuple[str, int], since: float) -> None:
    """What was asked for first after `since` comes from the cache, and has as much less to live."""
    asked = resolver.queries
    time.sleep(1.1)
    answer = ask(lab, "n0.example", at)
    age = time.monotonic() - since
    expect(resolver.queries == asked, "asked again")
    expect(TTL - age - 1 <= ttl_of(answer) < TTL, f"TTL {ttl_of(answer)} after {age:.1f} s")


def sizes(lab: Lab, at: tuple[str, int]) -> None:
    """An answer that does not fit says: ask over TCP."""
    small, large = ask(lab, "large.example", at), ask(lab, "large.example", at, edns=4096)
    expect(small[2] & 2 and len(small) <= 512, f"not cut: {len(small)} bytes, {small[:4]!r}")
    expect(not large[2] & 2 and len(large) > 900, f"cut: {len(large)} bytes")


def many(lab: Lab, resolver: Resolver) -> None:
    """All at once, each answered; and one that is slow holds up no other."""
    threads, answers = [], []

    def one(nth: int) -> None:
        answers.append(ask(lab, f"{'slow' if nth % 10 == 0 else 'many'}{nth}.example", (FAR, 53)))

    for nth in range(200):
        threads.append(threading.Thread(target=one, args=(nth,)))
        threads[-1].start()
    for thread in threads:
        thread.join(10)
    expect(len(answers) == 200 and all(answers), f"{sum(map(bool, answers))} of 200 were answered")
    expect(resolver.connections == 1, f"{resolver.connections} connections")


def over_tcp(lab: Lab) -> None:
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.settimeout(5)
        tcp.connect((FAR, 53))
        asked = query("tcp.example", 7)
        tcp.sendall(struct.pack("!H", len(asked)) + asked)
        answer = read_exactly(tcp, *struct.unpack("!H", read_exactly(tcp, 2)))
        expect(answer[:2] == b"\0\7" and answer.endswith(bytes([198, 51, 100, 9])), f"over TCP: {answer!r}")
