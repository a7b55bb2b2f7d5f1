# SPDX-License-Identifier: MIT
"""What happens again and again fills no log [base/log.h]: unit tests have a week of it, here it is real."""

from __future__ import annotations

import collections
import re
import time

import paqet
from case import expect, test
from lab import Lab, Process, wait_until
from test_flows import MB, MOVED, Ends
from test_status import data
from test_survive import start_download

MOST = 20  # lines of a kind in an hour


def kinds(process: Process) -> collections.Counter[str]:
    """How many lines of each kind it has: those that differ in numbers and addresses only."""
    lines = re.findall(r"(?m)^\S+ \S+ \[(?:INFO|WARN|ERROR)\] (.*)$", process.log())
    return collections.Counter(re.sub(r"[\d.:]+", "N", line.split(" (")[0]) for line in lines)


@test(limit=150, full=True)
def test_long_log_of_flows_that_die() -> None:
    """Each flow dies after a second: the first moves are told, all are counted."""
    with Lab(wan=["--delay", "5", "--rate", "20", "--kill-ms", "1000"]) as lab:
        keys = Ends(lab)
        keys.know_all()
        lab.origin()
        server = paqet.start_server(lab, keys.server_settings())
        client = keys.start_client(network=False, control=True)
        paqet.wait_working(lab)
        start_download(lab, 100_000 * MB, patience=15)
        until = time.monotonic() + 100
        moved = 0
        while time.monotonic() < until and moved <= MOST + 4:
            time.sleep(1)
            moved = data(lab, "client")["events"]["moves"]
        expect(moved > MOST, f"{moved} moves only")
        for process, words in ((client, MOVED), (server, "goes on from there")):
            lines = [line for line in process.log().splitlines() if words in line and "[DEBUG]" not in line]
            expect(len(lines) == MOST, f"{len(lines)} lines of {moved} moves")
            expect("left out for an hour" in lines[-1] and "left out" not in str(lines[:-1]), f"said: {lines[-1]}")


@test(limit=90)
def test_long_log_without_server() -> None:
    """The server is away, and programs go on asking for it."""
    with Lab() as lab:
        keys = Ends(lab)
        keys.know_all()
        settings = keys.client_settings(control=True, network_extra="  tcp:\n    look: auto\n")
        settings.transport += "  conn: 16\n"
        client = paqet.start_client(lab, settings)
        wait_until(lambda: paqet.ask(lab, "client", "status").returncode == 0, 10, "the control socket")
        until = time.monotonic() + 60
        while data(lab, "client")["events"]["sessions_opened"] <= 2 * MOST and time.monotonic() < until:
            lab.load("fetch", "--bytes", 100)
        opened = data(lab, "client")["events"]["sessions_opened"]
        expect(opened > 2 * MOST, f"only {opened} tries")
        said = kinds(client)
        expect(max(said.values()) == MOST, f"of {opened} tries: {said}")
        expect(said.total() < 6 * MOST, f"of {opened} tries: {said}")
