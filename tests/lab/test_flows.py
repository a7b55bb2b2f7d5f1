# SPDX-License-Identifier: MIT
"""Sessions with keys that outlive their flows, which boxes on the way kill [docs/protocol.md 12.7]."""

from __future__ import annotations

import contextlib
import functools
import re
import time

import paqet
import udp
from case import add, expect, test
from lab import Lab, Process, wait_until
from test_keys import Keys
from test_survive import expect_download, start_download

MB = 1_000_000
MOVED = "goes on from port"


def expect_one_session(server: Process) -> None:
    expect(server.log().count(") connected") == 1, f"not one session: {server.log()}")
    expect("gone" not in server.log(), f"the session ended: {server.log()}")


def flow_dies(kill: list[str], megabytes: int, limit: int) -> None:
    """A download, ten idle connections and a UDP flow go on through six deaths."""
    with Lab(wan=["--delay", "30", "--rate", "20", *kill]) as lab:
        keys = Keys(lab)
        lab.origin()
        udp.start_echo(lab)
        server = keys.start_server()
        client = keys.start_client()
        paqet.wait_working(lab)
        echoes = [paqet.Echo(lab) for _ in range(10)]
        with udp.Association(lab) as association:
            target = udp.address("127.0.0.1", udp.ECHO)
            association.ask(target, b"before")
            download = start_download(lab, megabytes * MB, patience=5)
            wait_until(lambda: client.log().count(MOVED) >= 6, limit, "six moves")
            expect_download(download, limit)
            for echo in echoes:
                echo.check()
            answered = False
            for _ in range(10):  # UDP is not repeated: the last flow may just have died
                with contextlib.suppress(TimeoutError):
                    answered = answered or association.ask(target, b"after", 1) == b"after"
            expect(answered, "the UDP flow is broken")
        expect_one_session(server)
        killed = sum(link["killed"] for link in lab.stop_wan())
        expect(killed > 10, f"only {killed} packets were killed")


for _name, _kill, _megabytes in (
    ("after_a_time", ["--kill-ms", "4000"], 40),
    ("after_a_time_one_way_up", ["--kill-ms", "4000", "--kill-way", "up"], 40),
    ("after_a_time_one_way_down", ["--kill-ms", "4000", "--kill-way", "down"], 40),
    ("after_bytes", ["--kill-bytes", "2000000"], 14),
):
    add(f"flow_dies_{_name}", functools.partial(flow_dies, _kill, _megabytes, 55), limit=120)


@test(limit=120)
def test_flow_dies_between_workers() -> None:
    """Whichever worker gets the new port: the session goes on where it is."""
    with Lab(wan=["--delay", "30", "--rate", "20", "--kill-ms", "2500"]) as lab:
        keys = Keys(lab)
        lab.origin()
        settings = keys.server_settings()
        settings.extra += "performance:\n  packet_workers: 4\n"
        server = paqet.start_server(lab, settings)
        client = keys.start_client()
        paqet.wait_working(lab)
        download = start_download(lab, 40 * MB, patience=5)
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
        keys = Keys(lab)
        lab.origin()
        keys.start_server()
        client = keys.start_client()
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        time.sleep(8)
        echo.check()
        expect(MOVED not in client.log(), f"it has moved: {client.log()}")
