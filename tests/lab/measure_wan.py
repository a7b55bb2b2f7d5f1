# SPDX-License-Identifier: MIT
"""How much of long paths our own wire uses, and how quick a request is beside downloads.

    sudo -E python3 -B tests/lab/measure_wan.py [--turns N] [--seconds S] [--rows WORD ...] [--quic]

Each row is a path made by lab-wan, with a pair of programs started for it. One download, then four
with a connection on which 64 bytes go to and fro from the third second on. Prints the medians of
its turns: Mbit/s of one and four, p50/p99 of the echo in ms, CPU seconds for each GB of both ends,
and the bytes of the way back of a hundred that came. Behind each row: what it should be.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from statistics import median
from typing import NamedTuple

import paqet
from lab import Lab
from measure_looks import GB, cpu_seconds
from test_keys import Keys


class Row(NamedTuple):
    name: str
    wan: str
    wanted: str  # one / four; p50/p99


FAST = "--delay 50 --rate 200"
ROWS = (
    Row("100 down, 1 up, 1 %", "--delay 50 --loss 1 --rate 100 --rate-up 1", "85 / 88; 125/250"),
    Row("200, 0 %", FAST, "175 / 180; 105/120"),
    Row("200, 5 %", f"{FAST} --loss 5", "166 / 175; 105/165"),
    Row("200, 10 %", f"{FAST} --loss 10", "157 / 166; 105/200"),
    Row("200, 20 %", f"{FAST} --loss 20", "140 / 150; 110/260"),
    Row("200, 40 %", f"{FAST} --loss 40", "85 / 95; 140/600"),
    Row("RTT 80 and 180", "--delay 40 --swing 50 --loss 1 --rate 100", "85 / 88; 110/300"),
    Row("10, RTT 120, 3 %", "--delay 60 --loss 3 --rate 10", "8.8 / 8.9; 135/260"),
    Row("policed to 20", "--delay 50 --rate 20 --rate-up 200 --police 65536", "18; 110/200"),
    Row("200, bursts 2 %", f"{FAST} --loss 2 --bursts 35", "165 / 165"),
    Row("200, bursts 5 %", f"{FAST} --loss 5 --bursts 35", "155 / 160"),
)


def start(lab: Lab, quic: bool) -> list:
    """Client and server, with the program's own settings."""
    keys = Keys(lab)
    keys.know_all()
    both = [keys.server_settings(), keys.client_settings()]
    for settings in both:
        settings.block = "aes-128-gcm"
        if quic:
            settings.protocol = "quic"
    lab.origin()
    programs = [paqet.start_server(lab, both[0]), paqet.start_client(lab, both[1])]
    paqet.wait_working(lab)
    return programs


def turn(row: Row, seconds: int, quic: bool) -> dict[str, float]:
    """One and four downloads, over a path of their own."""
    got: dict[str, float] = {}
    with Lab(wan=row.wan.split()) as lab:
        for host in (lab.c, lab.s):
            host.pace_nothing()
        programs = start(lab, quic)
        for parallel in (1, 4):
            before = sum(map(cpu_seconds, programs))
            echo: dict[str, float] = {}

            def ask(echo: dict[str, float] = echo) -> None:
                time.sleep(2)
                echo.update(lab.load("ping", "--seconds", seconds - 3, limit=seconds + 30))

            asking = threading.Thread(target=ask)
            if parallel > 1:
                asking.start()
            load = ("--seconds", seconds, "--parallel", parallel)
            result = lab.load("get", *load, limit=seconds + 60)
            got[f"get{parallel}"] = result["mbps"]
            spent = sum(map(cpu_seconds, programs)) - before
            got[f"cpu{parallel}"] = spent / (result["bytes"] / GB)
            if parallel > 1:
                asking.join()
                got["p50"], got["p99"] = echo["p50_ms"], echo["p99_ms"]
            time.sleep(1)
        up, down = lab.stop_wan()
        got["back"] = 100 * up["out_bytes"] / down["out_bytes"]
    return got


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--turns", type=int, default=3)
    add("--seconds", type=int, default=12, help="of each load (%(default)s)")
    add("--rows", nargs="+", default=[""], help="parts of their names")
    add("--quic", action="store_true")
    options = parser.parse_args()
    for row in ROWS:
        if not any(word in row.name for word in options.rows):
            continue
        turns = [turn(row, options.seconds, options.quic) for _ in range(options.turns)]
        x = {key: median(each[key] for each in turns) for key in turns[0]}
        print(
            f"{row.name:20} {x['get1']:5.1f} / {x['get4']:5.1f}; {x['p50']:.0f}/{x['p99']:.0f}; "
            f"CPU {x['cpu1']:.1f}, {x['cpu4']:.1f}; back {x['back']:.1f}   ({row.wanted})",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
