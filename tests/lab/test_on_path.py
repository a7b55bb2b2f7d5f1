# SPDX-License-Identifier: MIT
"""Somebody who sees each packet of a session, has a raw socket, and no key: what he sends in both ends'
names, made of what he has just seen, changes nothing for who uses the tunnel, and brings him nothing."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import paqet
from case import add, expect, test
from lab import Capture, Lab, Process
from packets import ACK, FIN, RST, SYN, Forger, internet_checksum
from paqet import PORT
from test_connect import start_client, start_server
from test_field import ear
from test_keys import Keys
from test_main import MB

ETHERNET, IP, TCP = 0, 14, 34
LONG = 1514  # bytes of a frame; more has been put together by the kernel
Change = Callable[["OnPath", bytearray], Iterator[bytearray]]


def sound(frame: bytearray) -> bytearray:
    """With right lengths and checksums, whatever was changed."""
    frame[16:18] = struct.pack("!H", len(frame) - IP)
    frame[24:26] = b"\0\0"
    frame[24:26] = struct.pack("!H", internet_checksum(bytes(frame[IP:TCP])))
    frame[50:52] = b"\0\0"
    pseudo = bytes(frame[26:34]) + struct.pack("!BBH", 0, 6, len(frame) - TCP)
    frame[50:52] = struct.pack("!H", internet_checksum(pseudo + bytes(frame[TCP:])))
    return frame


def number(frame: bytes, at: int) -> int:
    return struct.unpack("!I", frame[at : at + 4])[0]


def add_to(frame: bytearray, at: int, more: int) -> bytearray:
    frame[at : at + 4] = struct.pack("!I", (number(frame, at) + more) & 0xFFFFFFFF)
    return frame


def bare(frame: bytearray, flags: int, sack: list[int] | None = None) -> bytearray:
    """A segment without payload that goes behind this one, with its time stamps and these blocks."""
    size = (frame[46] >> 4) * 4
    stamps = frame[54:66] if size >= 32 else b""
    options = bytes(stamps)
    if sack:
        options += struct.pack(f"!BBBB{len(sack)}I", 1, 1, 5, 2 + 4 * len(sack), *sack)
    made = frame[:54] + bytearray(options)
    add_to(made, 38, len(frame) - TCP - size)
    made[46] = (20 + len(options)) // 4 << 4
    made[47] = flags
    return made


# ---- what he makes of a frame


def blocks(self: OnPath, frame: bytearray) -> Iterator[bytearray]:
    """Acknowledgements with holes, as if much had been lost: copies are to be sent."""
    ack = number(frame, 42)
    for _ in range(4):
        edges = sorted(self.pick.sample(range(1, 200_000), 6))
        yield bare(frame, ACK, [(ack + edge) & 0xFFFFFFFF for edge in edges])
    yield bare(frame, ACK, [ack, (ack + 0x7FFFFFFF) & 0xFFFFFFFF] * 3)


def ends(_self: OnPath, frame: bytearray) -> Iterator[bytearray]:
    for flags in (RST, RST | ACK, FIN | ACK, SYN, SYN | ACK):
        yield bare(frame, flags)


def numbers(self: OnPath, frame: bytearray) -> Iterator[bytearray]:
    """The same datagram, from elsewhere in the connection."""
    for at in (38, 42):
        for more in (1, -1, 1400, -1400, 1 << 20, 1 << 31, self.pick.randrange(1 << 32)):
            yield add_to(bytearray(frame), at, more)
    window = bytearray(frame)
    window[48:50] = b"\0\0"
    yield window
    if frame[46] >> 4 >= 8:
        for at in (58, 62):
            yield add_to(bytearray(frame), at, self.pick.randrange(1 << 32))


def bits(self: OnPath, frame: bytearray) -> Iterator[bytearray]:
    """One bit of the datagram is another; as it is; twice as long, and half."""
    for _ in range(6):
        other = bytearray(frame)
        other[self.pick.randrange(66, len(frame)) if len(frame) > 66 else 53] ^= 1 << self.pick.randrange(8)
        yield other
    yield bytearray(frame)
    yield bytearray(frame + frame[66:])[:LONG]
    yield bytearray(frame[: (66 + len(frame)) // 2])


class OnPath:
    """Answers each packet that he sees with what `change` makes of it, to the same end: from the third
    host, whose place in the network does not matter, as the ends look at IP addresses."""

    rate = 4000  # packets a second

    def __init__(self, lab: Lab, change: Change):
        self.lab, self.change = lab, change
        self.pick = random.Random(7)
        self.ear = ear(lab.c, lab.c.device)
        self.ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # what is new, not a backlog
        self.ear.settimeout(0.1)
        self.raw = lab.x.packet_socket()
        self.kept: list[bytearray] = []
        self.sent = self.bytes = 0
        self.ended = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        begin = time.monotonic()
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                frame = bytearray(self.ear.recv(65536))
                if 54 <= len(frame) <= LONG and frame[23] == 6 and frame[47] & ACK and not frame[47] & (SYN | RST):
                    self.kept.append(bytearray(frame))
                    for made in self.change(self, frame):
                        self.send(made)
            time.sleep(max(0, begin + self.sent / self.rate - time.monotonic()))

    def send(self, frame: bytearray) -> None:
        to = self.lab.s if frame[30:34] == socket.inet_aton(self.lab.s.ip4) else self.lab.c
        macs = (to.mac + self.lab.x.mac).replace(":", "")
        frame[ETHERNET:12] = bytes.fromhex(macs)
        self.raw.send(sound(frame))
        self.sent += 1
        self.bytes += len(frame)

    def stop(self) -> None:
        self.ended = True
        self.thread.join(5)
        self.ear.close()


def download(lab: Lab, size: int) -> float:
    """Seconds."""
    begin = time.monotonic()
    result = lab.load("fetch", "--bytes", size, limit=40)
    expect(result["failed"] == 0, f"a download: {result}")
    return time.monotonic() - begin


def gains_nothing(lab: Lab, frames: list[bytearray], pick: OnPath) -> None:
    """To the name of a client that is silent he gets far less sent than he sends."""
    expect(frames, "nothing was seen on its way to the server: the test is void")
    answers = Capture([lab.c], f"tcp src port {PORT}", 2000)
    bytes_before, sent_before = pick.bytes, pick.sent
    while pick.sent < sent_before + 1000:
        for frame in frames[-40:]:
            for change in CHANGES:
                for made in change(pick, bytearray(frame)):
                    pick.send(made)
            time.sleep(0.01)
    time.sleep(0.5)
    size = sum(len(segment.frame) for segment in answers.stop())
    text = f"{size} bytes for {pick.bytes - bytes_before} in {pick.sent - sent_before} packets"
    print(text)
    expect(size * 4 < pick.bytes - bytes_before, text)


def changes_nothing(look: str) -> None:
    """Downloads go on, as does what was open, in one session on one tuple, and nothing grows."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        programs: list[Process] = [start_server(keys), start_client(keys, look)]
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        alone = download(lab, 20 * MB)
        before, seen = [process.memory_mb() for process in programs], []
        for change in CHANGES:
            attacker = OnPath(lab, change)
            begin = time.monotonic()
            while attacker.sent < 1000 and time.monotonic() < begin + 20:
                beside = download(lab, 20 * MB)
                expect(beside < 5 * alone + 2, f"{change.__name__}: {beside:.2f} s, alone {alone:.2f} s")
            attacker.stop()
            echo.check()
            seen += [frame for frame in attacker.kept if frame[30:34] == socket.inet_aton(lab.s.ip4)]
            expect(attacker.sent >= 1000, f"{change.__name__}: {attacker.sent} packets: the test is void")
        after = [process.memory_mb() for process in programs]
        grown = [now - then for now, then in zip(after, before, strict=True)]
        expect(all(more < 12 for more in grown), f"{grown} MB more")
        gains_nothing(lab, seen, attacker)
        echo.check()
        said = programs[0].log()
        expect(said.count(") connected") == 1 and ") gone" not in said, f"not one session: {said}")
        expect("goes on from port" not in programs[1].log(), f"it has moved: {programs[1].log()}")


# ---- floods from everywhere


def address(pick: random.Random) -> str:
    return socket.inet_ntoa(struct.pack("!I", pick.randrange(0x0B000000, 0xC0000000)))


def syn(lab: Lab, pick: random.Random, options: bytes) -> bytes:
    forge = Forger(lab.x.mac, lab.s.mac, address(pick), lab.s.ip4)
    made = bytearray(forge.frame(pick.randrange(1024, 65536), PORT, options))
    made[38:46] = struct.pack("!II", pick.randrange(1 << 32), 0)
    made[46:48] = bytes([(20 + len(options)) // 4 << 4, SYN])
    return bytes(sound(made))


def of_a_linux(lab: Lab, pick: random.Random) -> bytes:
    stamp = struct.pack("!I", pick.randrange(1 << 32))
    return syn(lab, pick, b"\2\4\5\xb4\4\2\x08\x0a" + stamp + b"\0\0\0\0\1\3\3\7")


def of_a_windows(lab: Lab, pick: random.Random) -> bytes:
    return syn(lab, pick, b"\2\4\5\xb4\1\3\3\x08\1\1\4\2")


def random_datagram(lab: Lab, pick: random.Random) -> bytes:
    forge = Forger(lab.x.mac, lab.s.mac, address(pick), lab.s.ip4)
    return forge.frame(pick.randrange(1024, 65536), PORT, pick.randbytes(pick.randrange(40, 1300)))


@test(timed=True)
def test_flood_of_what_proves_nothing() -> None:
    """SYNs and datagrams, as many as one core can send: nobody is answered, nothing grows, and who is
    there goes on."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        server = start_server(keys)
        start_client(keys)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        alone, before, pick = download(lab, 10 * MB), server.memory_mb(), random.Random(3)
        raw = lab.x.packet_socket()
        answers = Capture([lab.x, lab.c], f"tcp src port {PORT} and not dst host {lab.c.ip4}", 200)
        for make in (of_a_linux, of_a_windows, random_datagram):
            frames = [make(lab, pick) for _ in range(2000)]
            end, sent = time.monotonic() + 1.5, []

            def flood(frames: list[bytes] = frames, end: float = end, sent: list[int] = sent) -> None:
                while time.monotonic() < end:
                    sent += [raw.send(frame) for frame in frames]

            thread = threading.Thread(target=flood)
            thread.start()
            beside = download(lab, 10 * MB)
            thread.join()
            echo.check()
            expect(len(sent) > 4000, f"only {len(sent)} packets: the test is void")
            expect(beside < 5 * alone + 2, f"{make.__name__}: {beside:.2f} s, alone {alone:.2f} s")
        expect(not answers.stop(), "somebody was answered")
        expect(server.memory_mb() < before + 8, f"{before} MB, then {server.memory_mb()} MB")
        expect(server.log().count(") connected") == 1, f"not one session: {server.log()}")


CHANGES = (blocks, ends, numbers, bits)
for _look in ("connect", "plausible"):
    add(f"on_path_{_look}", functools.partial(changes_nothing, _look), limit=120, timed=True)
