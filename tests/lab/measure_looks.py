# SPDX-License-Identifier: MIT
"""What the looks cost: downloads and uploads through each of them in turn, all pairs running at once
on wires of their own.

    sudo -E python3 -B tests/lab/measure_looks.py [--offload on|off|both] [--turns N] [--looks ...]

Prints for each look the medians of its turns: Mbit/s, and CPU seconds for each GB of client and
server; and by how much that is more than the first look took in the same turn: the median over all
turns, and between what a half of them lies. A host that slows down for a while is in both figures
of a turn, so the last ones are good while others are at work, too, if there are turns enough. The
order is turned round each time, and the first turn does not count. Without offload the wires take no
runs of segments and glue none together.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from statistics import median, quantiles

import paqet
from lab import Lab, Process
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
        for host in (self.lab.c, self.lab.s):
            host.pace_nothing()
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

    def forget(self) -> None:
        """The first turn: windows were small, and nothing was in the caches."""
        self.mbps.clear()
        self.cpu.clear()

    def more_than(self, other: Pair, name: str) -> str:
        """Percent of CPU for each GB, of the client and the server, turn by turn."""
        turns = zip(self.cpu[name], other.cpu[name], strict=True)
        more = [[100 * (a / b - 1) for a, b in zip(*turn, strict=True)] for turn in turns]
        texts = []
        for each in zip(*more, strict=True):
            low, middle, high = quantiles(each, n=4) if len(each) > 1 else each * 3
            texts.append(f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})")
        return ", ".join(texts)

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
        for turn in range(options.turns + 1):
            for mode, parallel in loads:
                for pair in pairs if turn % 2 else reversed(pairs):
                    pair.turn(mode, options.seconds, parallel)
            if not turn:
                for pair in pairs:
                    pair.forget()
        load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
        print(f"offload {'on' if offload else 'off'} (load of the machine {load}):")
        for mode, parallel in loads:
            for pair in pairs:
                name = f"{mode} x{parallel}"
                print(f"  {name:7} {pair.look:9} {pair.report(name)}", flush=True)
            for pair in pairs[1:]:
                print(f"  {name:7} {pair.look} than {pairs[0].look}: {pair.more_than(pairs[0], name)}")


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
