# SPDX-License-Identifier: MIT
"""How fast programs are over a link that holds nothing back, in turns in one run.

    sudo -E python3 -B tests/lab/measure_direct.py [--turns N] [--seconds S] [--block NAME] [--quic]
                                                   [NAME=PROGRAM | NAME=go:PROGRAM ...]

Both ends of each pair are the same program: another build of this one, or an original Go program of
family A or B; by default the one that was built here. All pairs run at once, on wires of their own,
and what is idle costs nothing. Prints the medians of the turns: Mbit/s of one download and of eight,
CPU seconds for each GB of client and server, fresh connections one by one (ms for one) and sixteen at
a time (how many a second), an echo of 64 bytes alone and beside four downloads (ms), and the memory
of client and server before all of that (MB).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from statistics import median

import paqet
from lab import Lab, Process
from measure_looks import GB, cpu_seconds
from paqet import PORT, Settings
from test_interop import NO_POOL

SETTLED = 2  # s, after the start


class Pair:
    def __init__(self, name: str, program: str, number: int, options: argparse.Namespace):
        self.name = name
        self.lab = Lab(name="abcdefgh"[number])
        for host in (self.lab.c, self.lab.s):
            host.pace_nothing()
        self.got: dict[str, list[float]] = {}
        self.cpu: list[tuple[float, ...]] = []
        is_go = program.startswith("go:")
        settings = Settings(block=options.block, protocol="quic" if options.quic else "kcp")
        if is_go:
            settings.extra, settings.look = NO_POOL, ""
            for host in (self.lab.c, self.lab.s):
                host.keep_kernel_quiet(PORT)
        program = os.path.abspath(program.removeprefix("go:"))
        self.lab.origin()
        server = paqet.start_server(self.lab, settings, program)
        self.programs: list[Process] = [paqet.start_client(self.lab, settings, program), server]
        paqet.wait_working(self.lab)

    def idle(self) -> None:
        self.memory = [program.memory_mb() for program in self.programs]

    def take(self, name: str, value: float) -> None:
        self.got.setdefault(name, []).append(value)

    def load(self, mode: str, seconds: float, parallel: int) -> dict:
        options = ("--seconds", seconds, "--parallel", parallel)
        return self.lab.load(mode, *options, limit=seconds + 60)

    def downloads(self, seconds: int) -> None:
        before = [cpu_seconds(program) for program in self.programs]
        result = self.load("get", seconds, 1)
        size = result["bytes"] / GB
        spent = [cpu_seconds(p) - b for p, b in zip(self.programs, before, strict=True)]
        self.cpu.append(tuple(s / size for s in spent))
        self.take("one", result["mbps"])
        self.take("eight", self.load("get", seconds, 8)["mbps"])

    def small(self, seconds: int) -> None:
        self.take("fresh", self.load("rate", seconds, 1)["p50_ms"])
        self.take("many", self.load("rate", seconds, 16)["per_s"])
        self.take("echo", self.load("ping", seconds, 1)["p50_ms"])
        beside = threading.Thread(target=self.load, args=("get", seconds + 2, 4))
        beside.start()
        time.sleep(1)
        self.take("beside", self.load("ping", seconds, 1)["p50_ms"])
        beside.join()

    def report(self) -> str:
        mid = {name: median(values) for name, values in self.got.items()}
        client, server = (median(each) for each in zip(*self.cpu, strict=True))
        least = min(sum(each) for each in self.cpu)
        return (
            f"{self.name:10} {mid['one']:5.0f} / {mid['eight']:5.0f} Mbit/s; CPU s/GB {client:.2f} + {server:.2f}"
            f" (least {least:.2f}); fresh {mid['fresh']:.2f} ms, {mid['many']:.0f} a second;"
            f" echo {mid['echo']:.2f}, beside {mid['beside']:.2f} ms;"
            f" memory {self.memory[0]:.1f}, {self.memory[1]:.1f} MB"
        )


def measure(options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        pairs = []
        for number, word in enumerate(options.programs):
            name, _, program = word.rpartition("=")
            pairs.append(Pair(name or "paqet", program, number, options))
            stack.callback(pairs[-1].lab.close)
        time.sleep(SETTLED)
        for pair in pairs:
            pair.idle()
        for step in (Pair.downloads, Pair.small):
            for _ in range(options.turns):
                for pair in pairs:
                    step(pair, options.seconds)
        for pair in pairs:
            print(pair.report(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--turns", type=int, default=3)
    add("--seconds", type=int, default=4, help="of each load (%(default)s)")
    add("--block", default="aes-128-gcm")
    add("--quic", action="store_true")
    add("programs", nargs="*", default=[paqet.program()], metavar="NAME=PROGRAM")
    measure(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
