# SPDX-License-Identifier: MIT
"""Bad input from the network and from local programs: counted, dropped, nothing else disturbed."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import time

import paqet
from case import Failure, expect, test
from lab import Lab, Process, tool
from packets import FIN, RST, SYN, Forger, Segment
from paqet import Settings

CLIENT_PORT = 40001


def expect_silence(client_settings: Settings, server_settings: Settings) -> None:
    """Server and client do not understand each other: the server says nothing on the wire."""
    with Lab() as lab:
        lab.origin()
        capture = lab.sniff(f"tcp port {paqet.PORT}")
        server = paqet.start_server(lab, server_settings)
        paqet.start_client(lab, client_settings)
        result = lab.load("fetch", "--bytes", 1000, "--timeout", 4)
        expect(result["failed"] == 1, "a request passed in spite of the wrong secret")
        segments = capture.stop()
        asked = [s for s in segments if s.source == lab.c.ip4]
        answered = [s for s in segments if s.source == lab.s.ip4]
        expect(asked, "the client sent nothing: the test is void")
        expect(not answered, f"the server answered with {len(answered)} segments")
        check_drop_line(server)


DROP_LINE = r"(?im)^.*(drop|reject|discard|authentic).*$"


def check_drop_line(server: Process) -> None:
    """One line for many bad packets, with their count; it may come late."""
    server.wait_log(DROP_LINE, 15)
    lines = [match[0] for match in re.finditer(DROP_LINE, server.log())]
    expect(any(re.search(r"\d", line) for line in lines), "the line has no count")
    expect(len(lines) <= 5, f"{len(lines)} lines about it: not rate-limited")


@test()
def test_wrong_key() -> None:
    expect_silence(Settings(key="another key"), Settings())


@test()
def test_wrong_cipher() -> None:
    expect_silence(Settings(block="aes-128-gcm"), Settings(block="aes"))


@test()
def test_target_refused() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        seconds = end_of_connection(lab, "127.0.0.1", 1)
        expect(seconds < 2, f"the end came after {seconds:.1f} s")
        pair.check_alive()


@test()
def test_target_unknown() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        end_of_connection(lab, "no-such-name.invalid", 80)
        echo.check()
        pair.check_alive()


def end_of_connection(lab: Lab, host: str, port: int) -> float:
    """Seconds until a connection to a target that cannot be reached has ended."""
    begin = time.monotonic()
    try:
        with paqet.socks_connect(lab, host, port, limit=14) as connection:
            paqet.seconds_to_end(connection, 14)
    except TimeoutError:
        expect(False, f"no end for {host}:{port} within 14 s")
    except (paqet.SocksError, ConnectionError):
        pass
    return time.monotonic() - begin


NONSENSE = {
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "NUL first": bytes(600),
    "no proxy's request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "head without an end": b"GET http://a/ HTTP/1.1\r\nA: " + b"b" * 20_000,
    "header lines without an end": b"GET http://a/ HTTP/1.1\r\n" + b"a:\r\n" * 5000,
    "SOCKS4, another command": b"\x04\x02\x00\x50\x7f\x00\x00\x01user\x00",
    "SOCKS4, user id without an end": b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 600,
    "SOCKS4a, empty name": b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00",
    "no method that we know": b"\x05\x01\x80",
    "no method at all": b"\x05\x00",
    "wrong version in the request": b"\x05\x01\x00\x09\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
    "unknown command": b"\x05\x01\x00\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x50",
    "unknown address type": b"\x05\x01\x00\x05\x01\x00\x09\x7f\x00\x00\x01\x00\x50",
    "empty name": b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
    "random": random.Random(7).randbytes(600),
}


@test(limit=120)
def test_socks_nonsense() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        for name, message in NONSENSE.items():
            with paqet.socks_socket(lab) as connection:
                connection.sendall(message)
                try:
                    paqet.seconds_to_end(connection, 10)
                except Failure as failure:
                    expect(False, f"{name}: {failure}")
        echo.check()
        pair.check_alive()


@test()
def test_socks_client_that_goes_away() -> None:
    """At every point of the greeting, by a close and by a reset."""
    greeting = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90GET /1000000 HTTP/1.1\r\n\r\n"
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        for cut in range(len(greeting) + 1):
            for reset in (False, True):
                connection = paqet.socks_socket(lab)
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(greeting[:cut])
                connection.close()
        result = lab.load("fetch", "--bytes", 1_000_000)
        expect(result["failed"] == 0, f"a request afterwards: {result}")
        pair.check_alive()


def frames_of_nonsense(forge: Forger, ports: list[int], target_port: int) -> list[bytes]:
    """Random, truncated and lying segments."""
    generator = random.Random(11)
    frames = []
    for size in [*range(64), 100, 500, 1000, 1400, 1460]:
        payload = generator.randbytes(size)
        for port in ports:
            frames.append(forge.frame(port, target_port, payload))
            for offset in (0, 4, 6, 15):  # header shorter than a header, or longer than the packet
                body = forge.segment(port, target_port, payload, data_offset=offset)
                frames.append(forge.ethernet(forge.ipv4(body)))
            body = forge.segment(port, target_port, payload)
            for length in (0, 19, 20, 39, 40, 41, len(body) + 21, 65535):
                frames.append(forge.ethernet(forge.ipv4(body, total_length=length)))
    for flags in (0, SYN, FIN, RST, 0xFF):
        frames.append(forge.ethernet(forge.ipv4(forge.segment(ports[0], target_port, b"", flags))))
    whole = forge.frame(ports[0], target_port, generator.randbytes(40))
    frames += [whole[:length] for length in range(14, len(whole))]
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 6)):
            damaged[generator.randrange(14, len(damaged))] = generator.randrange(256)
        frames.append(bytes(damaged))
    return frames


@test(limit=90)
def test_nonsense_at_the_server() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        echo = paqet.Echo(lab)
        forge = Forger(lab.c.mac, lab.s.mac, lab.c.ip4, lab.s.ip4)
        capture = lab.sniff(f"tcp src port {paqet.PORT} and not dst port {CLIENT_PORT}")
        send_all(lab, frames_of_nonsense(forge, [5555, CLIENT_PORT], paqet.PORT))
        answers = [s for s in capture.stop() if s.destination_port == 5555]
        expect(not answers, f"{len(answers)} answers to nonsense")
        check_after_nonsense(lab, pair, echo)


@test(limit=90)
def test_nonsense_at_the_client() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        echo = paqet.Echo(lab)
        forge = Forger(lab.s.mac, lab.c.mac, lab.s.ip4, lab.c.ip4)
        raw = lab.s.packet_socket()
        for frame in frames_of_nonsense(forge, [paqet.PORT, 5555], CLIENT_PORT):
            raw.send(frame)
        raw.close()
        check_after_nonsense(lab, pair, echo)


def send_all(lab: Lab, frames: list[bytes]) -> None:
    raw = lab.c.packet_socket()
    for frame in frames:
        raw.send(frame)
    raw.close()


def check_after_nonsense(lab: Lab, pair: paqet.Pair, echo: paqet.Echo) -> None:
    pair.check_alive()
    echo.check()
    result = lab.load("fetch", "--bytes", 5_000_000)
    expect(result["failed"] == 0, f"a download afterwards: {result}")


def datagrams_of_client(segments: list[Segment], lab: Lab) -> list[bytes]:
    return [s.payload for s in segments if s.source == lab.c.ip4 and s.payload]


@test()
def test_replay_is_not_answered() -> None:
    """Genuine datagrams, sent again from another port: they must not open a session."""
    with Lab() as lab:
        lab.c.send_singly()
        capture = lab.sniff(f"tcp port {paqet.PORT}", 2000)
        pair = paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        datagrams = datagrams_of_client(capture.stop(), lab)
        expect(datagrams, "nothing was captured: the test is void")
        echo = paqet.Echo(lab)
        forge = Forger(lab.c.mac, lab.s.mac, lab.c.ip4, lab.s.ip4)
        capture = lab.sniff(f"tcp src port {paqet.PORT} and dst portrange 5000-5999")
        send_all(lab, [forge.frame(5000 + i, paqet.PORT, d) for i, d in enumerate(datagrams[:900])])
        time.sleep(1)
        answers = capture.stop()
        expect(not answers, f"{len(answers)} answers to replayed datagrams")
        echo.check()
        pair.check_alive()


@test()
def test_flood_of_random_datagrams() -> None:
    """A download goes on while random segments pour in from many ports."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        forge = Forger(lab.c.mac, lab.s.mac, lab.c.ip4, lab.s.ip4)
        fetch = ["fetch", "--socks", "1080", "--bytes", "20000000", "127.0.0.1", "8080"]
        download = lab.c.start("download", [tool("lab-load"), *fetch])
        frames = [forge.frame(1024 + i, paqet.PORT, os.urandom(200)) for i in range(2000)]
        for _ in range(10):
            send_all(lab, frames)
        expect(download.wait(45) == 0, f"the download failed: {download.last_lines()}")
        lines = pair.server.log().count("\n")
        expect(lines < 100, f"{lines} lines in the server's log: not rate-limited")
        pair.check_alive()
