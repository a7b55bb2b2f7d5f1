# SPDX-License-Identifier: MIT
"""What strangers on the path do with recordings and floods, and a holder of the key with FEC.

x, the third host, is the stranger. What it sends in others' names reaches the server from its own
MAC, so that the answers come to it and can be counted.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial

import paqet
from case import add, expect, test
from lab import Capture, Lab, Process, wait_until
from packets import Forger, Segment, parse
from paqet import PORT, Settings
from test_bad_input import datagrams_of_client
from test_field import ear
from test_field_life import slow_download
from test_survive import server_side
from web import Web

CLIENT_PORT = 40001
CLASSIC = "  wire: classic\n"  # what the Go programs, too, can be attacked by; test_keys.py has ours
TARGET = 7200  # of the request in a recording
NOPS = b"\1" * 12  # as long as the time stamps of genuine packets


class Stranger:
    """Sends what it likes, in whose name it likes."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.raw = lab.x.packet_socket()
        self.bytes = 0

    def frame(self, source: str, port: int, datagram: bytes) -> bytes:
        forge = Forger(self.lab.x.mac, self.lab.s.mac, source, self.lab.s.ip4)
        body = forge.segment(port, PORT, NOPS + datagram, data_offset=8)
        return forge.ethernet(forge.ipv4(body))

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.raw.send(frame)
            self.bytes += len(frame)

    def play(self, source: str, port: int, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.send(self.frame(source, port, datagram))
            time.sleep(0.002)

    def answers(self) -> Capture:
        """What the server says to anybody."""
        return Capture([self.lab.x, self.lab.c], f"tcp src port {PORT}", 2000)


def expect_less(answers: list[Segment], stranger: Stranger) -> None:
    size = sum(len(segment.frame) for segment in answers)
    expect(stranger.bytes, "nothing was sent: the test is void")
    text = f"{stranger.bytes} bytes in, {size} bytes in {len(answers)} packets out"
    expect(size <= stranger.bytes, text)


def start_server(lab: Lab, block: str, extra: str = "") -> Process:
    """One that answers to the MAC that asks."""
    extra = server_side(lab.s) + extra
    return paqet.start_server(lab, Settings(network=False, block=block, extra=extra))


def start_client(lab: Lab, block: str) -> Process:
    return paqet.start_client(
        lab, Settings(block=block, client_port=CLIENT_PORT, transport=CLASSIC)
    )


@functools.cache
def recording(block: str) -> list[bytes]:
    """A session from its start, with a request to TARGET in it."""
    with Lab(third=True) as lab:
        web = Web(lab.x, lab.x.ip4, port=TARGET)
        start_server(lab, block)
        lab.c.send_singly()
        capture = lab.sniff(f"tcp dst port {PORT}", 2000)
        client = start_client(lab, block)
        proxy = f"socks5h://127.0.0.1:{paqet.SOCKS}"
        curl = ["curl", "-s", "-m", "8", "-o", "/dev/null", "-x", proxy, web.url("/pay?to=mallory")]
        expect(lab.c.run(curl).returncode == 0 and web.heads, "the request to record failed")
        client.stop()
        datagrams = datagrams_of_client(capture.stop(), lab)
        expect(len(datagrams) >= 3, f"only {len(datagrams)} datagrams were recorded")
        return datagrams


# ---- recordings


def recording_is_not_served(block: str, extra: str) -> None:
    """A server that was restarted remembers nothing, and must serve no recording all the same."""
    recorded = recording(block)
    with Lab(third=True) as lab:
        web = Web(lab.x, lab.x.ip4, port=TARGET)
        lab.origin()
        server = start_server(lab, block, extra)
        stranger = Stranger(lab)
        capture = stranger.answers()
        stranger.play(lab.c.ip4, CLIENT_PORT, recorded)
        for port in (*range(46000, 46012), 46000):
            stranger.play(lab.x.ip4, port, recorded)
        stranger.play("10.77.0.99", CLIENT_PORT, recorded)
        time.sleep(2)
        expect_less(capture.stop(), stranger)
        expect(not web.connections, f"{web.connections} requests were repeated")
        expect("connected" not in server.log(), f"a client was made of it: {server.log()}")
        client = start_client(lab, block)
        paqet.seconds_to_work(lab, 4, patience=1)
        expect(client.alive() and server.alive(), "a program ended")


TWO_WORKERS = "performance:\n  packet_workers: 2\n"
for _block, _extra in (("aes-128-gcm", ""), ("aes", ""), ("aes", TWO_WORKERS)):
    _name = _block.replace("-", "_") + ("_two_workers" if _extra else "")
    _check = partial(recording_is_not_served, _block, _extra)
    add(f"recording_is_not_served_{_name}", _check, timed=True)


def recording_disturbs_nobody(block: str, count: int) -> None:
    """It comes from address and port of a session that lives."""
    recorded = recording(block)
    with Lab(third=True) as lab:
        web = Web(lab.x, lab.x.ip4, port=TARGET)
        lab.origin()
        server = start_server(lab, block)
        client = start_client(lab, block)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        said = len(client.log())
        download = slow_download(lab, seconds=2)
        time.sleep(0.7)
        Stranger(lab).play(lab.c.ip4, CLIENT_PORT, recorded[:count])
        expect(download.wait(10) == 0, f"the download: {download.last_lines()}")
        echo.check()
        expect(client.log()[said:] == "", f"the client noticed: {client.log()[said:]}")
        expect("gone" not in server.log(), f"the session ended: {server.log()}")
        expect(not web.connections, "the request was repeated")


for _name, _block, _count in (
    ("recorded_opening_disturbs_nobody_aes_128_gcm", "aes-128-gcm", 1),
    ("recorded_opening_disturbs_nobody_aes", "aes", 1),
    ("recording_disturbs_nobody", "aes-128-gcm", 1000),
):
    add(_name, partial(recording_disturbs_nobody, _block, _count), timed=True)


# ---- floods


def datagram(inner: bytes) -> bytes:
    """With block none."""
    return os.urandom(16) + struct.pack("<I", zlib.crc32(inner)) + inner


def segment(conv: int, command: int, number: int, data: bytes = b"", time_stamp: int = 1) -> bytes:
    una = number + 1 if command == ACK else 0
    head = (conv, command, 0, 512, time_stamp, number, una, len(data))
    return struct.pack("<IBBHIIII", *head) + data


PUSH, ACK, WINS = 81, 82, 84
SYN_FRAME = struct.pack("<BBHI", 2, 0, 0, 3)  # opens stream 3
NOP_FRAME = struct.pack("<BBHI", 2, 3, 0, 0)


@test()
def test_flood_of_openings() -> None:
    """20,000 sessions from everywhere; without a cipher anybody can open one."""
    with Lab(third=True) as lab:
        lab.origin()
        server = start_server(lab, "none")
        stranger = Stranger(lab)
        capture = stranger.answers()
        pick = random.Random(5)
        for _ in range(40):
            frames = []
            for _ in range(500):
                source = socket.inet_ntoa(struct.pack("!I", pick.randrange(0x0B000000, 0xC0000000)))
                opening = datagram(segment(pick.randrange(1 << 32), PUSH, 0, SYN_FRAME))
                frames.append(stranger.frame(source, pick.randrange(1024, 65536), opening))
            stranger.send(*frames)
        flooded = server.memory_mb()
        paqet.start_client(lab, Settings(network=False, block="none", transport=CLASSIC))
        paqet.seconds_to_work(lab, 3, patience=1)
        memory = max(flooded, server.memory_mb())
        expect(memory < 40, f"{memory:.0f} MB afterwards")
        time.sleep(2)  # repeats count, too
        expect_less([a for a in capture.stop() if a.destination != lab.c.ip4], stranger)
        expect(server.alive(), "the server ended")


class KeyHolder(Stranger):
    """Opens a session, and proves that it hears the answers."""

    source, port, conv = "10.77.0.66", 50001, 7

    def __init__(self, lab: Lab):
        super().__init__(lab)
        self.ear = ear(lab.x, lab.x.device)

    def tell(self, inner: bytes) -> None:
        self.send(self.frame(self.source, self.port, datagram(inner)))

    def heard(self, limit: float) -> Iterator[bytes]:
        """What the server says to it, without FEC."""
        end = time.monotonic() + limit
        while (left := end - time.monotonic()) > 0:
            self.ear.settimeout(left)
            with contextlib.suppress(TimeoutError):
                got = parse(self.ear.recv(2048))
                if got and got.source_port == PORT and got.destination_port == self.port:
                    inner = got.payload[20:]
                    yield inner[8:] if inner[4:6] == b"\xf1\0" else inner

    def open(self, server: Process) -> None:
        wanted = f"{self.source}:{self.port} connected"
        self.tell(segment(self.conv, PUSH, 0, SYN_FRAME + NOP_FRAME * 100))  # room for the answer
        for inner in self.heard(2):
            while len(inner) >= 24:
                command, stamp, number, _, size = struct.unpack("<4xB3xIIII", inner[:24])
                if command == PUSH:
                    self.tell(segment(self.conv, ACK, number, time_stamp=stamp))
                inner = inner[24 + size :]
            if wanted in server.log():
                break
        self.ear.close()
        server.wait_log(wanted, 1)

    def send_shapes(self, seconds: float) -> None:
        """FEC packets whose numbers and kinds tell of groups of 210 + 20, and never come whole."""
        data_shards, group = 210, 230
        begin, sent, number = time.monotonic(), 0, 0
        while time.monotonic() - begin < seconds:
            place = number % (group + 2) if sent % 16 else 0
            number += bool(sent % 16)
            is_data = place >= 1 and (place - 1 < data_shards or place == group + 1)
            inner = struct.pack("<IHH", 1 + place, 0xF1 if is_data else 0xF2, 26)
            self.tell(inner + segment(self.conv, WINS, 0))
            sent += 1
            time.sleep(max(0, begin + sent / 270 - time.monotonic()))
        self.sent = sent


PAUSE = 0.02


def request(lab: Lab) -> float:
    """Seconds that one takes; a long one that fails."""
    begin = time.monotonic()
    try:
        with paqet.socks_connect(lab, "127.0.0.1", 8080, limit=4) as connection:
            connection.sendall(b"GET /1000 HTTP/1.1\r\n\r\n")
            paqet.read_exactly(connection, 1000)
    except (OSError, paqet.SocksError):
        return 4
    return time.monotonic() - begin


@test(tries=2, alone=True)
def test_flood_of_fec_shapes() -> None:
    """Small packets that each teach the server another shape of FEC."""
    with Lab(third=True) as lab:
        lab.origin()
        server = start_server(lab, "none")
        paqet.start_client(lab, Settings(network=False, block="none", transport=CLASSIC))
        paqet.wait_working(lab)
        holder = KeyHolder(lab)
        holder.open(server)
        flood = threading.Thread(target=holder.send_shapes, args=(5,), daemon=True)
        flood.start()
        took, end = [], time.monotonic() + 4
        while time.monotonic() < end:
            seconds = request(lab)
            while seconds > 0:  # also those that would have been made meanwhile
                took.append(seconds)
                seconds -= PAUSE
            time.sleep(PAUSE)
        flood.join()
        expect(holder.sent > 5 * 200, f"only {holder.sent} packets: the test is void")
        p95 = sorted(took)[len(took) * 95 // 100]
        expect(p95 < 0.2, f"{len(took)} requests, p95 {p95 * 1000:.0f} ms")
        expect(server.alive(), "the server ended")
