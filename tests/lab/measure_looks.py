# SPDX-License-Identifier: MIT
"""What the looks cost: downloads and uploads through each of them in turn, all pairs running at once
on wires of their own.

    sudo -E python3 -B tests/lab/measure_looks.py [--offload on|off|both] [--turns N] [--looks ...]

Prints for each look the medians of its turns: Mbit/s, and CPU seconds for each GB of client and
server. Without offload the wires take no runs of segments and glue none together.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from statistics import median

import paqet
from lab import Lab, Process
from paqet import Settings
from test_keys import Keys

TICK = os.sysconf("SC_CLK_TCK")
GB = 1e9


def cpu_seconds(process: Process) -> float:
    """User and system time of a program so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Pair:
    """A client and a server with one look, and what was measured of them."""

    def __init__(self, look: str, number: int, offload: bool, options: argparse.Namespace):
        self.look = look
        self.lab = Lab(name="abcdefgh"[number], wan=options.wan.split() or None)
        if not offload and not options.wan:
            for host in (self.lab.c, self.lab.s):
                host.send_singly()
        keys = Keys(self.lab)
        keys.know_all()
        tcp = f"  tcp:\n    look: {look}\n"
        server = keys.server_settings(network_extra=tcp)
        client = keys.client_settings(network_extra=tcp)
        server.block = client.block = options.block
        self.lab.origin()
        self.programs = [paqet.start_server(self.lab, server), paqet.start_client(self.lab, client)]
        self.programs.reverse()
        paqet.wait_working(self.lab)
        self.mbps: dict[str, list[float]] = {}
        self.cpu: dict[str, list[tuple[float, ...]]] = {}

    def turn(self, mode: str, seconds: int, parallel: int) -> None:
        before = [cpu_seconds(program) for program in self.programs]
        options = ("--seconds", seconds, "--parallel", parallel)
        result = self.lab.load(mode, *options, limit=seconds + 30)
        size = result["bytes"] / GB
        spent = (cpu_seconds(p) - b for p, b in zip(self.programs, before, strict=True))
        name = f"{mode} x{parallel}"
        self.mbps.setdefault(name, []).append(result["mbps"])
        self.cpu.setdefault(name, []).append(tuple(s / size for s in spent))

    def report(self, name: str) -> str:
        cpu = [median(each) for each in zip(*self.cpu[name], strict=True)]
        mbps = sorted(self.mbps[name])
        text = f"{median(mbps):6.0f} Mbit/s ({mbps[0]:.0f} to {mbps[-1]:.0f}), CPU s/GB"
        return f"{text} {cpu[0]:.2f} client, {cpu[1]:.2f} server"


def measure(options: argparse.Namespace, offload: bool) -> None:
    with contextlib.ExitStack() as stack:
        pairs = []
        for number, look in enumerate(options.looks):
            pairs.append(Pair(look, number, offload, options))
            stack.callback(pairs[-1].lab.close)
        loads = [(mode, n) for mode in options.modes for n in options.parallel]
        for _ in range(options.turns):
            for mode, parallel in loads:
                for pair in pairs:
                    pair.turn(mode, options.seconds, parallel)
        print(f"offload {'on' if offload else 'off'}:")
        for mode, parallel in loads:
            for pair in pairs:
                name = f"{mode} x{parallel}"
                print(f"  {name:7} {pair.look:9} {pair.report(name)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--offload", choices=["on", "off", "both"], default="both")
    add("--turns", type=int, default=7)
    add("--seconds", type=int, default=2, help="of each load (%(default)s)")
    add("--looks", nargs="+", default=["classic", "plausible", "connect"])
    add("--modes", nargs="+", default=["get", "put"])
    add("--parallel", nargs="+", type=int, default=[1, 8])
    add("--block", default="aes-128-gcm")
    add("--wan", default="", help='a WAN in between, as lab-wan has it: "--delay 10"')
    options = parser.parse_args()
    for offload in (True, False):
        if options.offload in ("both", "on" if offload else "off"):
            measure(options, offload)
    return 0


if __name__ == "__main__":
    sys.exit(main())
