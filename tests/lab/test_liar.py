# SPDX-License-Identifier: MIT
"""A server that lies to the real client, with a key that both have (here without a cipher): of windows and
of what has come, of streams that nobody has opened or of which it cannot know, of requests, of datagrams. The
client lives, holds little more, speaks to nobody else, and works with the next server that is honest.
What a server with keys of our own wire may say is in tests/sim/test_liar.c."""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import paqet
import udp
from case import add, expect, test
from lab import Lab, Process
from packets import Forger, parse
from paqet import PORT, Settings
from test_attacks import ACK, CLASSIC, PUSH
from test_field import ear

HEAD = 24  # bytes of a KCP segment, before its data
SYN, FIN, PSH, NOP, UPD, EOF, BYE, DATA, PART, CLOSE, END = range(11)
MEASURE = b"\x50\x01\x08\0\x02"
DOWN, UP, _, CLOCK = range(4)  # ways of it
PONG = b"\x50\x01\x02\0\0"
ABLE = b"\x50\x01\x02\0\x15\1" + bytes(byte for n in (*range(1, 9), 11, 12) for byte in (n, 0))  # PONG of our kind
EXPECTED = dict(protocol="kcp", block="null", transport=CLASSIC, header="binary", look="classic")
EXPECTED["socks5"] = "    reply: real\n"
EXPECTED["kcp"] = "    smuxbuf: 8388608\n    streambuf: 4194304\n    rcvwnd: 1024\n"
MB_UNREAD = 8 + 2 + 10  # the session's, the window's, and what allocators keep
MB_ELSE = 4
RULES = f"""
table ip liar {{
    chain out {{ type filter hook output priority 0; tcp sport {PORT} tcp flags & rst == rst drop; }}
}}
"""


def frame(command: int, stream: int, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<BBHI", 2, command, len(data) if length is None else length, stream) + data


class Liar:
    """Speaks KCP and smux from the server's address."""

    def __init__(self, lab: Lab, hello: bytes):
        self.lab, self.hello = lab, hello
        self.pick = random.Random(9)
        lab.s.check(["nft", RULES])
        self.ear = ear(lab.s, lab.s.device)
        self.raw = lab.s.packet_socket()
        self.forge = Forger(lab.s.mac, lab.c.mac, lab.s.ip4, lab.c.ip4)
        self.window = 512
        self.port = self.conv = self.number = self.next = 0
        self.streams: set[int] = set()  # that the client has opened
        self.aimed = 0  # at so many of them

    def tell(
        self, command: int, number: int, data: bytes = b"", una: int | None = None, conv: int | None = None
    ) -> None:
        head = (self.conv if conv is None else conv, command, 0, self.window, 1, number)
        body = struct.pack("<IBBHIIII", *head, self.next if una is None else una, len(data)) + data
        self.raw.send(self.forge.frame(PORT, self.port, body))

    def fresh(self, known: set[int], seconds: float) -> list[int]:
        """Streams that the client opens meanwhile."""
        self.hear(seconds)
        fresh = sorted(self.streams - known)
        self.aimed += len(fresh)
        return fresh

    def push(self, data: bytes) -> None:
        self.tell(PUSH, self.number, data)
        self.number += 1

    def hear(self, seconds: float) -> None:
        """Acknowledges what comes, as a server does, and greets whoever asks."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.ear], [], [], left)[0]:
            got = parse(self.ear.recv(65536))
            if got and got.destination_port == PORT and got.source == self.lab.c.ip4 and got.payload:
                self.port = got.source_port
                self.take(got.payload)

    def take(self, payload: bytes) -> None:
        while len(payload) >= HEAD:
            conv, command, stamp, number, size = struct.unpack("<IB3xII4xI", payload[:HEAD])
            data, payload = payload[HEAD : HEAD + size], payload[HEAD + size :]
            if conv != self.conv:  # a session from its start
                self.conv, self.number, self.next, self.streams = conv, 0, 0, set()
            if command in (PUSH, 85):
                fresh = number == self.next
                self.next += fresh
                body = struct.pack("<IBBHIIII", conv, ACK, 0, self.window, stamp, number, self.next, 0)
                self.raw.send(self.forge.frame(PORT, self.port, body))
                if fresh:
                    self.read(data)

    def read(self, data: bytes) -> None:
        while len(data) >= 8:
            command, length, stream = struct.unpack("<xBHI", data[:8])
            body, data = data[8 : 8 + length], data[8 + (8 if command == UPD else length) :]
            if command == SYN:
                self.streams.add(stream)
            said = body[4:] if command == DATA else body if command == PSH else b""
            if said.startswith(b"\x50\x01\x01"):
                self.push(frame(PSH, stream, self.hello) + frame(FIN, stream))
            elif said.startswith(MEASURE):
                self.measure(said[len(MEASURE)], stream)

    def measure(self, way: int, stream: int) -> None:
        """A MEASURE has come, of this way."""


@contextlib.contextmanager
def lied_to(hello: bytes, more: float) -> Iterator[Liar]:
    """A client; afterwards it has to work with an honest server in the same place."""
    with Lab() as lab:
        lab.origin()
        liar = Liar(lab, hello)
        foreign = lab.sniff(f"src host {lab.c.ip4} and tcp and not (dst host {lab.s.ip4} and dst port {PORT})")
        client = paqet.start_client(lab, Settings(**EXPECTED))
        liar.hear(1.5)
        expect(liar.conv and liar.number, f"the client has not greeted: {client.log()}")
        before = client.memory_mb()
        yield liar
        grown = client.memory_mb() - before
        liar.ear.close()
        expect(client.alive(), f"the client ended: {client.last_lines()}")
        expect(grown < more, f"{grown:.1f} MB more")
        print(f"{grown:.1f} MB more, {liar.aimed} streams aimed at")
        expect(not foreign.stop(), "it speaks to others")
        expect_plain_words(client)
        lab.s.check(["nft", "delete table ip liar"])
        paqet.start_server(lab, Settings(**EXPECTED | {"socks5": ""}))
        paqet.seconds_to_work(lab, 40, patience=2)


def expect_plain_words(client: Process) -> None:
    for line in client.log().splitlines():
        expect("unknown error" not in line and "assert" not in line.lower(), f"no plain words: {line}")
    expect(client.log().count("\n") < 200, f"too many lines: {client.log()}")


def ask(lab: Lab, count: int) -> list[socket.socket]:
    """Programs of the client's that ask for something; answers come later or never."""
    asked = []
    for _ in range(count):
        connection = paqet.socks_socket(lab, 0.5)
        connection.sendall(b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1\x1f\x90" + b"GET /1000 HTTP/1.1\r\n\r\n")
        asked.append(connection)
    return asked


def reset(connections: list[socket.socket]) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


# ---- lies


def before_the_syn(liar: Liar) -> None:
    """There is no window, so streams that the client opens cannot be known to the server: data and their end come
    all the same, while the programs that asked for them go away."""
    liar.window = 0
    liar.tell(ACK, 0)
    liar.hear(0.5)
    first = max(liar.streams, default=3) + 2
    ends = (FIN, EOF) if liar.hello == ABLE else (FIN,)
    for _ in range(10):
        asked = ask(liar.lab, 3)
        liar.hear(0.2)
        for stream in range(first, first + 80, 2):
            liar.push(frame(PSH, stream, b"hello") + frame(liar.pick.choice(ends), stream))
        reset(asked)
        for stream in range(first, first + 80, 2):
            liar.push(frame(PSH, stream, b"hello") + frame(UPD, stream, bytes(8)) + frame(FIN, stream))
    expect(max(liar.streams, default=3) < first, f"it has heard of {liar.streams}, before {first}: the test is void")
    liar.window = 512
    liar.hear(1)


def anything(liar: Liar) -> None:
    """Frames of all kinds for streams that there are, and others."""
    for _ in range(60):
        before = set(liar.streams)
        asked = ask(liar.lab, 3)
        known = liar.fresh(before, 0.05) or [*before][-6:] or [3]
        for _ in range(20):
            out = b""
            for _ in range(liar.pick.randrange(1, 12)):
                stream = liar.pick.choice((*known, *known, 1, 2, max(known) + 2, liar.pick.randrange(1 << 32)))
                data = liar.pick.randbytes(liar.pick.choice((0, 1, 4, 5, 8, 60)))
                command = liar.pick.randrange(BYE)  # the session goes on
                body = {PSH: data, UPD: data[:8].ljust(8, b"\0")}.get(command, b"")
                out += frame(command, stream, body)
            liar.push(out)
        reset(asked[:2])
    liar.hear(0.5)


def results(liar: Liar) -> None:
    """Answers to requests that are none: other messages, other codes, cut, over and over, and then the end."""
    words = [b"\x50\x01\x07\0\1" + bytes([code]) for code in (0, 1, 5, 6, 99, 255)]
    words += [words[0] * 50, words[0][:3], b"\x50\x01\x07\xff\xff", b"\x50\x01\x03\0\3\1\0\x18"]
    words += [PONG * 20, ABLE * 10, bytes(300)]
    for word in words * 3:
        known = set(liar.streams)
        asked = ask(liar.lab, 2)
        for stream in liar.fresh(known, 0.15):
            liar.push(frame(PSH, stream, word))
            liar.push(frame(liar.pick.choice((PSH, EOF, FIN)), stream, b""))
            liar.push(frame(PSH, stream, b"more") + frame(EOF, stream) + frame(PSH, stream, b"and more"))
        liar.hear(0.1)
        reset(asked)


def datagrams(liar: Liar) -> None:
    """Of a UDP flow: lengths that lie, and streams that are cut in the middle of one."""
    for length in (0, 1, 2, 1500, 65535, 65536, 0xFFFFFFFF):
        with udp.Association(liar.lab) as association:
            known = set(liar.streams)
            association.socket.sendto(b"\0\0\0" + udp.address("127.0.0.1", 7001) + b"question", association.relay)
            for stream in liar.fresh(known, 0.3):
                for size in (2, 4):
                    head = (length % (1 << 8 * size)).to_bytes(size, "big")
                    for _ in range(30):
                        liar.push(frame(PSH, stream, head + liar.pick.randbytes(1000)))
                liar.push(frame(FIN, stream))
            liar.hear(0.2)


def acknowledgements(liar: Liar) -> None:
    """Of what was never sent, windows of nonsense, conversations of others."""
    asked = ask(liar.lab, 10)
    for i in range(2000):
        liar.window = liar.pick.choice((0, 1, 65535))
        far = liar.pick.choice((liar.next + 5, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, liar.pick.randrange(1 << 32)))
        liar.tell(liar.pick.choice((ACK, 83, 84, PUSH)), far, una=liar.pick.choice((0, far, liar.next)))
        other = liar.conv ^ 1 << liar.pick.randrange(32)
        liar.tell(PUSH, liar.pick.randrange(1 << 32), liar.pick.randbytes(100), conv=other)
        if i % 50 == 0:
            liar.hear(0.01)
    reset(asked)


def unread(liar: Liar) -> None:
    """A program that reads nothing is sent more than any window, as fast as it goes."""
    known = set(liar.streams)
    asked = ask(liar.lab, 1)
    stream = max(liar.fresh(known, 0.3), default=3)
    liar.push(frame(PSH, stream, b"\x50\x01\x07\0\1\0"))
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for _ in range(50):
            liar.push(frame(PSH, stream, bytes(1200)))
        liar.hear(0.001)
    reset(asked)


def opens(liar: Liar) -> None:
    """Streams without end, as only clients open them, while there is no window for an answer."""
    liar.window = 0
    for i in range(800):
        liar.push(b"".join(frame(SYN, 2 + 2 * (i * 150 + k)) for k in range(150)))
        if i % 20 == 0:
            liar.hear(0.01)


def lies(tell: Callable[[Liar], None], aimed: int = 0, hello: bytes = ABLE, more: float = MB_ELSE) -> None:
    with lied_to(hello, more) as liar:
        tell(liar)
        expect(liar.aimed >= aimed, f"aimed at {liar.aimed} streams only: the test is void")


for _tell, _aimed in {before_the_syn: 0, anything: 20, results: 60, datagrams: 7, acknowledgements: 0, opens: 0}.items():
    add(f"liar_{_tell.__name__}", partial(lies, _tell, _aimed), limit=120)
add("liar_unread", partial(lies, unread, 1, more=MB_UNREAD), limit=120)
add("liar_before_the_syn_of_a_go_server", partial(lies, before_the_syn, hello=PONG), limit=120)


# ---- figures


class Boaster(Liar):
    """Tells of figures what cannot be, or leaves off."""

    def __init__(self, lab: Lab, counts: tuple[int, ...], clock: int, goes_on: bool):
        super().__init__(lab, ABLE)
        self.counts, self.clock, self.goes_on = counts, clock, goes_on

    def measure(self, way: int, stream: int) -> None:
        if way == CLOCK:
            self.push(frame(PSH, stream, struct.pack("<Q", self.clock)) + frame(FIN, stream))
        if way == UP:
            self.push(b"".join(frame(PSH, stream, struct.pack("<Q", count)) for count in self.counts))
        if way == DOWN:
            for _ in range(20):
                self.push(frame(PSH, stream, bytes(1200)))
            self.push(b"" if self.goes_on else frame(FIN, stream))


def check_with(counts: tuple[int, ...], clock: int, *, goes_on: bool) -> tuple[dict, int]:
    """What check says with such a server."""
    with Lab() as lab:
        liar = Boaster(lab, counts, clock, goes_on)
        over = threading.Event()

        def hear() -> None:
            while not over.is_set():
                liar.hear(0.1)

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            path = lab.new_file("client.yaml")
            path.write_text(paqet.client_config(lab, Settings(**EXPECTED)))
            path.chmod(0o600)
            done = lab.c.run([paqet.program(), "check", "-c", str(path), "--json", "--speed", "2"], 60)
        finally:
            over.set()
            thread.join()
        return json.loads(done.stdout), done.returncode


def said_of(figures: dict, topic: str) -> str:
    return "; ".join(f["text"] for f in figures["findings"] if f["topic"] == topic)


@test(limit=90)
def test_liar_of_figures() -> None:
    """Of a server that boasts, check says so, and makes no figure of it; of one that leaves off, nothing fast."""
    for counts in ((1 << 40,), ((1 << 64) - 1,), (2000, 1000)):
        said, code = check_with(counts, (1 << 63) - 1, goes_on=False)
        words = f"{counts}: {[f['text'] for f in said['findings'][10:]]}, {said.get('clock')}"
        expect(code == 1 and "figures cannot be true" in said_of(said, "measure"), words)
        expect("to the server it could not be measured: the server's figures cannot" in said_of(said, "speed"), words)
        expect("from the server it could not be measured: the server ended it" in said_of(said, "speed"), words)
        expect("cannot be true" in said_of(said, "clock") and "clock" not in said, words)
        expect(not said["measured"]["speed"], words)
    said, code = check_with((1000,), int(time.time() * 1000), goes_on=True)
    expect(code == 0 and said["clock"]["give_or_take_s"] < 5, f"{said}")
    rates = [said["measured"]["speed"][way]["bits_per_second"] for way in ("up", "down")]
    expect(rates[0] <= 8000 and 0 < rates[1] < 150e3, f"{rates}: 1,000 bytes up and 24,000 down in two seconds")
