# SPDX-License-Identifier: MIT
"""Sessions with keys, or over QUIC (test_quic.py), that outlive their flows, which boxes on the way
kill [docs/protocol.md 12.7, 13.8]."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time
from collections.abc import Iterator

import paqet
import udp
from case import Failure, add, expect, test
from lab import Lab, Process, wait_until
from test_keys import Keys
from test_move import CABLE, WIFI, Roads, Way
from paqet import Settings
from test_survive import expect_download, start_download

MB = 1_000_000
MOVED = "goes on from port"


class Ends(Keys):
    """With keys; over QUIC the one that both have will do."""

    quic = property(lambda _: os.environ.get("PAQET_PROTOCOL") == "quic")

    def server_settings(self, *args: str, **options: object) -> Settings:
        here = {"listen": self.ports, "network": not self.ports} | options
        return Settings(level="debug", **here) if self.quic else super().server_settings(*args, **options)

    def client_settings(self, *args: object, **options: object) -> Settings:
        if not self.quic:
            return super().client_settings(*args, **options)
        server = f'server:\n  addr: "{self.lab.s.ip4}:{self.ports or paqet.PORT}"\n'
        return Settings(server=server, **options)


def expect_one_session(server: Process) -> None:
    expect(len(re.findall(r"client \S+(?: \(\w+\))? connected", server.log())) == 1, f"not one session: {server.log()}")
    expect("gone" not in server.log(), f"the session ended: {server.log()}")


@contextlib.contextmanager
def lives_on(lab: Lab, limit: float) -> Iterator[None]:
    """Ten idle connections and a UDP flow live through what happens inside."""
    echoes = [paqet.Echo(lab) for _ in range(10)]
    with udp.Association(lab) as association:
        expect_answer(association, b"before", limit)
        yield
        for echo in echoes:
            echo.check()
        expect_answer(association, b"after", limit)


def expect_answer(association: udp.Association, word: bytes, limit: float) -> None:
    """UDP is not repeated: a datagram may be lost, or its flow just have died."""
    target = udp.address("127.0.0.1", udp.ECHO)
    end = time.monotonic() + limit
    answer = b""
    while answer != word and time.monotonic() < end:
        with contextlib.suppress(Failure):
            answer = association.ask(target, word, 1)
    expect(answer == word, f"the UDP flow is broken: {word!r} got {answer!r}")


def goes_on(
    lab: Lab, keys: Ends, megabytes: int, moves: int, limit: float, seconds: float = 0, **client: object
) -> Process:
    """A download that takes so many seconds at least, ten idle connections and a UDP flow go on through
    so many moves, in one session. Returns the client."""
    lab.origin()
    udp.start_echo(lab)
    server = keys.start_server()
    process = keys.start_client(**client)
    paqet.wait_working(lab)
    with lives_on(lab, 10):
        begin = time.monotonic()
        download = start_download(lab, megabytes * MB, patience=8)
        wait_until(lambda: process.log().count(MOVED) >= moves, limit, f"{moves} moves")
        expect_download(download, limit)
        took, count = time.monotonic() - begin, process.log().count(MOVED)
        print(f"{megabytes} MB in {took:.1f} s, {megabytes * 8 / took:.2f} Mbit/s, {count} moves")
        expect(took >= seconds, f"only {took:.1f} s: the test is void")
    expect_one_session(server)
    return process


# Flows die by the clock: a machine that has not the time for more than a part of the rate carries
# less over each, and needs more of them.
SLOW = ["--delay", "30", "--rate", "10"]


def flow_dies(kill: list[str], megabytes: int, limit: int, seconds: float = 0, over_quic: int = 0) -> None:
    """`over_quic`: the megabytes there, if they are others."""
    with Lab(wan=[*SLOW, *kill]) as lab:
        ends = Ends(lab)
        goes_on(lab, ends, over_quic if ends.quic and over_quic else megabytes, 6, limit, seconds)
        lab.stop_wan()
        killed = lab.boxes["killed"] + lab.boxes["killed_back"]
        expect(killed > 10, f"only {killed} packets were killed")


for _name, _kill, _megabytes in (
    ("after_a_time", ["--kill-ms", "4000"], 20),
    ("after_a_time_one_way_up", ["--kill-ms", "4000", "--kill-way", "up"], 20),
    ("after_a_time_one_way_down", ["--kill-ms", "4000", "--kill-way", "down"], 20),
    ("after_bytes", ["--kill-bytes", "2000000"], 14),
):
    add(f"flow_dies_{_name}", functools.partial(flow_dies, _kill, _megabytes, 55), limit=120)

# As boxes were seen to do it: after 10 s, or 300 KB, for a minute and more, six times at least. Only
# our own wire leaves flows before they have carried 300 KB.
LONG = {
    f"after_{_what}{_name}": functools.partial(flow_dies, [*_kill, *_way], _megabytes, 190, 60, _quic)
    for _what, _kill, _megabytes, _quic in (
        ("10_s", ["--kill-ms", "10000"], 88, 88),
        ("300_kb", ["--kill-bytes", "300000"], 45, 18),
    )
    for _name, _way in (("", []), ("_up", ["--kill-way", "up"]), ("_down", ["--kill-way", "down"]))
}
for _name, _check in LONG.items():
    add(f"flow_dies_{_name}", _check, limit=240, full=True)


@test(limit=120)
def test_flow_dies_between_workers() -> None:
    """Whichever worker gets the new port: the session goes on where it is."""
    with Lab(wan=[*SLOW, "--kill-ms", "2500"]) as lab:
        keys = Ends(lab)
        lab.origin()
        settings = keys.server_settings()
        settings.extra += "performance:\n  packet_workers: 4\n"
        server = paqet.start_server(lab, settings)
        client = keys.start_client()
        paqet.wait_working(lab)
        download = start_download(lab, 20 * MB, patience=5)
        wait_until(lambda: client.log().count(MOVED) >= 6, 55, "six moves")
        expect_download(download, 55)
        expect_one_session(server)
        server.stop()
        handed = [int(n) for n in re.findall(r"(\d+) dropped: handed over", server.log())]
        expect(sum(handed) > 50, f"nothing was handed over: {server.log()}")


@test(timed=True)
def test_flow_is_alive_and_stays() -> None:
    """Nothing moves where nothing dies, not even at 10 % loss."""
    with Lab(wan=["--delay", "40", "--loss", "10"]) as lab:
        keys = Ends(lab)
        lab.origin()
        keys.start_server()
        client = keys.start_client()
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        time.sleep(8)
        echo.check()
        expect(MOVED not in client.log(), f"it has moved: {client.log()}")


# ---- other boxes


def nat_rebinds(ms: int, megabytes: int, moves: int) -> None:
    """What the client's port is shown as changes, and what comes for the old one leads nowhere."""
    with Lab(wan=["--delay", "30", "--rate", "20", "--nat-ms", str(ms)]) as lab:
        goes_on(lab, Ends(lab), megabytes, moves, 60)
        lab.stop_wan()
        expect(lab.boxes["bindings"] > moves, f"the NAT did nothing: {lab.boxes}")


add("flow_behind_a_nat_that_rebinds", functools.partial(nat_rebinds, 2500, 4, 2), timed=True)
add("flow_behind_a_nat_that_rebinds_long", functools.partial(nat_rebinds, 5000, 60, 6), limit=120, full=True)


def diverted(every: int, megabytes: int) -> None:
    """Some of the client's datagrams come from another address: it does not get the download, nor
    stop it."""
    other = "10.77.0.66"
    box = ["--divert", str(every), "--divert-from", other]
    with Lab(wan=["--delay", "20", "--rate", "40", *box]) as lab:
        client = goes_on(lab, Ends(lab), megabytes, 0, 60)
        lab.stop_wan()
        came, went = lab.boxes["diverted"], lab.boxes["to_elsewhere"]
        expect(came > 200, f"only {came} bytes came from elsewhere")
        expect(went <= 3 * came, f"{came} bytes came from {other}, {went} went there")
        expect(MOVED not in client.log(), f"it has moved: {client.log()}")


add("flow_diverted", functools.partial(diverted, 100, 12), timed=True)
add("flow_diverted_often", functools.partial(diverted, 3, 60), limit=120, full=True)


def received(lab: Lab, way: Way) -> int:
    """Bytes that have come to the client's interface."""
    return int(lab.c.check(["cat", f"/sys/class/net/{way.device}/statistics/rx_bytes"]))


@test(timed=True)
def test_flow_changes_interface() -> None:
    """Another network of the client, with another address: nothing that has begun breaks."""
    with Roads() as lab:
        keys = Ends(lab)
        lab.origin()
        udp.start_echo(lab)
        server = paqet.start_server(lab, keys.server_settings(network=False))
        client = keys.start_client(network=False)
        paqet.wait_working(lab)
        with lives_on(lab, 10):
            download = start_download(lab, 100_000 * MB, patience=8)
            for old, new in ((WIFI, CABLE), (CABLE, WIFI)):
                # who is idle notices later: with his next keepalive
                before = received(lab, old)
                wait_until(lambda: received(lab, old) > before + MB, 10, "a download that goes on")
                count = client.log().count(MOVED)
                lab.change(old, new)
                wait_until(lambda: client.log().count(MOVED) > count, 6, "a move")
                # over QUIC the client is there before it has told the server
                wait_until(lambda: f"{new.own}:" in server.log(), 6, f"{new.own} in the server's log")
            time.sleep(1)
            expect(download.alive(), f"the download ended: {download.last_lines()}")
            download.stop()
        expect_one_session(server)
