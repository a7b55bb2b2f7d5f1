# SPDX-License-Identifier: MIT
"""QUIC with a Go program of family A at the other end: a server whose reader of headers takes what has come with
them (it says so), a client at our server; many connections, much data, silence, and ports that change."""

from __future__ import annotations

import time
from dataclasses import replace

import gopeer
import paqet
import test_main
import udp
from case import expect, test
from lab import Capture, Lab, Process
from paqet import PORT
from test_quic import OPEN, have_quic
from test_survive import map_port

GO = gopeer.Options(transport="quic")
MUCH = 400 * test_main.MB
FAR = ["--delay", "25", "--loss", "5"]
SHORT_IDLE = "    max_idle_timeout: 6\n    keep_alive_period: 2\n"
PORTS = 40001, 20001, 20002  # the client's; what a NAT shows it as, before and after


def go_server(lab: Lab, limit: int = 60) -> Process:
    have_quic()
    gopeer.path()
    lab.origin()
    lab.s.keep_kernel_quiet(PORT)
    return gopeer.start_server(lab, "a", GO, limit)


def expect_nothing_swallowed(server: Process) -> None:
    lines = [line for line in server.log().splitlines() if "swallowed" in line]
    expect(not lines, f"{len(lines)} times: {lines[:3]}")


def to_go_server(sequence: int, together: int, down: int, up: int, wan: list[str] | None = None, limit: int = 60) -> None:
    """So many connections one after the other and 200 at once, so much each way."""
    with Lab(third=bool(wan)) as lab:
        server = go_server(lab, limit)
        if wan:
            lab.put_far_away(lab.s, wan)
        client = paqet.start_client(lab, OPEN)
        paqet.wait_working(lab)
        client.wait_log("family A", 5)
        for job in (
            ("fetch", "--bytes", 1000, "--count", sequence),
            ("fetch", "--bytes", 1000, "--count", together, "--parallel", 200),
            ("fetch", "--bytes", down),
            ("send", "--bytes", up),
        ):
            result = lab.load(*job, limit=limit)
            expect(result["failed"] == 0, f"{job}: {result}")
        expect_nothing_swallowed(server)
        expect(client.log().count("session to") == 1, f"another session: {client.log()}")


@test(timed=True)
def test_quic_go_server() -> None:
    """One of family A, whose reader of headers takes what has come with them: nothing is lost."""
    to_go_server(100, 1000, 20 * test_main.MB, 20 * test_main.MB)


@test(limit=400, full=True, timed=True)
def test_quic_go_server_much() -> None:
    """Enough that ids and keys change many times."""
    to_go_server(1200, 2000, MUCH, MUCH, limit=380)


@test(limit=90, timed=True)
def test_quic_go_server_far() -> None:
    """50 ms there and back, 5 % of all packets are lost, headers too: what is behind waits for them. (Go sends
    1 Mbit/s over such a path.)"""
    to_go_server(30, 400, test_main.MB, 10 * test_main.MB, FAR, limit=80)


@test(limit=400, full=True, timed=True)
def test_quic_go_server_far_much() -> None:
    to_go_server(1100, 2000, 5 * test_main.MB, 100 * test_main.MB, FAR, limit=380)


def common(a: bytes, b: bytes) -> int:
    """How many bytes both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@test(timed=True)
def test_quic_go_server_udp() -> None:
    """Datagrams lie in a stream there: each still comes as one, also of twenty at once nearly all, and
    of TUN and UDP the log says what they lack."""
    with Lab() as lab:
        go_server(lab)
        client = paqet.start_client(lab, OPEN)
        paqet.wait_working(lab)
        client.wait_log("UDP over QUIC to a server of family A", 2)
        udp.start_echo(lab)
        echo = udp.address("127.0.0.1", udp.ECHO)
        target = udp.Listener(lab)
        with udp.Association(lab) as association:
            for size in 1, 100, 1200, 1260, 1270:  # Go cuts what does not fit its 1280
                payload = bytes(i % 251 for i in range(size))
                back = association.ask(echo, payload, 5)
                expect(back == payload, f"{size} bytes came back as {len(back)}, the same up to {common(payload, back)}")
            association.send(echo, bytes(1400))
            association.expect_silence()
            there = udp.address("127.0.0.1", target.port)
            association.send(there, b"first")  # its stream is open when this has come
            expect(target.receive()[0] == b"first", "the first datagram is another")
            sent = [b"%d" % i * 50 for i in range(20)]
            for payload in sent:
                association.send(there, payload)
            whole = set(sent) & set(target.received(1))
            expect(len(whole) > 12, f"of 20 at once only {len(whole)} came whole")


@test()
def test_quic_go_server_udp_of_unknown_mtu() -> None:
    """Long ones behind each other, of which the first is the first long packet at all: none is cut. (Go may take
    two for one.)"""
    with Lab(third=True) as lab:
        go_server(lab)
        lab.put_far_away(lab.s, ["--delay", "25"])
        paqet.start_client(lab, OPEN)
        paqet.wait_working(lab)
        target = udp.Listener(lab)
        there = udp.address("127.0.0.1", target.port)
        with udp.Association(lab) as association:
            association.send(there, b"first")  # its stream is open when this has come
            expect(target.receive()[0] == b"first", "the first datagram is another")
            for payload in [bytes([i]) * 1260 for i in range(8)]:
                association.send(there, payload)
            lengths = [len(payload) for payload in target.received(1)]
            whole = sum(lengths) == 8 * 1260 and all(n % 1260 == 0 for n in lengths)
            expect(whole, f"8 datagrams of 1260 bytes came as {lengths}")


@test(timed=True)
def test_quic_go_server_udp_on_a_narrow_path() -> None:
    """A flow of datagrams that are too long for the path to a Go server: soon they go no further than here, and
    what else the session carries is not held up."""
    with Lab(third=True) as lab:
        go_server(lab)
        lab.put_far_away(lab.s, ["--delay", "25", "--longest-up", "1310"])
        client = paqet.start_client(lab, OPEN)
        paqet.wait_working(lab)
        udp.start_echo(lab)
        flow = ["--socks", paqet.SOCKS, "--flows", 1, "--rate", 100, "--size", 1260, "--seconds"]
        udp.flows(lab, *flow, 3)
        long_ones = Capture([lab.middle], "tcp and greater 1325", 64, f"d{lab.s.letter}")
        udp.flows(lab, *flow, 2)
        sent = len(long_ones.stop())
        expect(sent <= 8, f"{sent} packets that are too long went on the way")  # of 200; some ask whether they pass
        result = lab.load("fetch", "--bytes", 100000, "--timeout", 5)
        expect(result["failed"] == 0, f"fetch: {result}")
        expect(client.log().count("session to") == 1, f"another session: {client.log()}")
        lab.check_alive()


@test()
def test_quic_go_server_without_a_name() -> None:
    """Its certificate has none, so no client may take it for the one that was meant, but who says that any will do."""
    with Lab() as lab:
        go_server(lab)
        for name in "", '    server_name: "server.example"\n':
            strict = replace(OPEN, quic=f"    auth: none\n{name}")
            client = paqet.start_client(lab, strict)
            client.wait_log("certificate", 5)
            time.sleep(1)
            expect("family A" not in client.log(), f"it goes on with {strict.quic}: {client.log()}")
            client.stop()
            client = paqet.start_client(lab, replace(strict, quic=strict.quic + "    insecure_skip_verify: true\n"))
            paqet.wait_working(lab)
            client.stop()


def silence_to_go_server(settings: paqet.Settings, seconds: float) -> None:
    with Lab() as lab:
        go_server(lab, round(seconds) + 40)
        client = paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        time.sleep(seconds)
        echo.check()
        test_main.check_download(lab, test_main.MB)
        expect(client.log().count("session to") == 1, f"another session: {client.log()}")
        echo.close()


@test(timed=True)
def test_quic_go_server_silence() -> None:
    """Nothing is asked for longer than either end would wait without a sign of life."""
    silence_to_go_server(replace(OPEN, quic=OPEN.quic + SHORT_IDLE), 14)


@test(limit=120, full=True, timed=True)
def test_quic_go_server_long_silence() -> None:
    silence_to_go_server(OPEN, 70)


@test(timed=True)
def test_quic_go_server_sees_another_port() -> None:
    """A NAT that gives the client another port: Go finds out that it is still there, and goes on."""
    with Lab(third=True) as lab:
        go_server(lab)
        map_port(lab, PORTS[0], PORTS[1])
        client = paqet.start_client(lab, replace(OPEN, client_port=PORTS[0]))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        map_port(lab, PORTS[0], PORTS[2])
        echo.check()
        test_main.check_download(lab, 5 * test_main.MB)
        expect(client.log().count("session to") == 1, f"another session: {client.log()}")
        echo.close()


# ---- at our server


def go_client(lab: Lab, settings: paqet.Settings = OPEN, limit: int = 60) -> Process:
    """Our server, and the target of its client's jobs."""
    have_quic()
    gopeer.path()
    server = paqet.start_server(lab, settings)
    gopeer.start_echo(lab, limit)
    return server


@test()
def test_quic_go_client() -> None:
    """One of family A at our server, which also serves who has the key."""
    with Lab() as lab:
        server = go_client(lab)
        for job in (
            ["ping"],
            ["empty"],
            ["refused", "-target", "127.0.0.1:1"],
            ["echo", "-bytes", "20000000"],
            ["echo", "-bytes", "1000", "-rounds", "100"],
            ["echo", "-bytes", "10000", "-par", "200", "-rounds", "5"],
            ["udp"],
        ):
            gopeer.run_job(lab, "a", GO, *job)
        expect(server.alive(), "the server ended")


@test(limit=400, full=True)
def test_quic_go_client_much() -> None:
    with Lab() as lab:
        server = go_client(lab, limit=380)
        for job in (
            ["echo", "-bytes", "1000", "-rounds", "1200"],
            ["echo", "-bytes", "10000", "-par", "200", "-rounds", "10"],
            ["echo", "-bytes", str(MUCH)],
        ):
            gopeer.run_job(lab, "a", GO, *job, limit=200)
        expect(server.alive(), "the server ended")


@test(limit=90, timed=True)
def test_quic_go_client_far() -> None:
    with Lab(third=True) as lab:
        server = go_client(lab)
        lab.put_far_away(lab.s, FAR)
        gopeer.run_job(lab, "a", GO, "echo", "-bytes", "1000", "-rounds", "30")
        gopeer.run_job(lab, "a", GO, "echo", "-bytes", "10000", "-par", "200")
        expect(server.alive(), "the server ended")


@test(timed=True)
def test_quic_go_client_silence() -> None:
    with Lab() as lab:
        server = go_client(lab, replace(OPEN, quic=OPEN.quic + SHORT_IDLE))
        gopeer.run_job(lab, "a", GO, "echo", "-idle", "14s")
        expect(server.log().count("connected") == 1, f"another session: {server.log()}")


@test(limit=120, full=True, timed=True)
def test_quic_go_client_long_silence() -> None:
    with Lab() as lab:
        server = go_client(lab, limit=110)
        gopeer.run_job(lab, "a", GO, "echo", "-idle", "70s", limit=100)
        expect(server.log().count("connected") == 1, f"another session: {server.log()}")


@test(timed=True)
def test_quic_go_client_has_another_port() -> None:
    """Behind a NAT that gives it another one while it is silent: the server goes on with it."""
    with Lab(third=True) as lab:
        server = go_client(lab)
        argv = gopeer.job_command(lab, "a", GO, PORTS[0], "echo", "-bytes", "5000000", "-idle", "4s")
        map_port(lab, PORTS[0], PORTS[1])
        client = lab.c.start("peer", argv)
        server.wait_log(f"{lab.c.ip4}:{PORTS[1]} connected", 5)
        map_port(lab, PORTS[0], PORTS[2])
        expect(client.wait(30) == 0, client.last_lines())
        server.wait_log(f"client {lab.c.ip4}:{PORTS[2]} goes on", 1)
        expect(server.log().count("connected") == 1, f"another session: {server.log()}")
