# SPDX-License-Identifier: MIT
"""UDP through SOCKS5 UDP ASSOCIATE, ours and the original Go programs in turn, in labs alike.

    sudo -E python3 -B tests/lab/measure_udp.py                  a call over a bad line, the default
    ... measure_udp.py --flows 1000 --rate 10 --loss 0 --delay 0 --seconds 20     many of them

Each pair is client and server of one program: ours, a (PAQET_GO_A), b (PAQET_GO_B). With loss and
delay 0 there is no WAN in between. Prints a line per run; memory and CPU are those of the
programs while the flows run, client / server.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import lab
import paqet
import udp
from case import Failure
from lab import Lab, Process
from paqet import PORT, SOCKS, Settings
from test_interop import NO_POOL

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: Process) -> float:
    """User and system time of a program so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@dataclass
class Result:
    report: dict
    idle_mb: list[float]  # client, server
    busy_mb: list[float]
    cpu: list[float]  # seconds

    def __str__(self) -> str:
        def both(values: list[float]) -> str:
            return " / ".join(f"{value:.1f}" for value in values)

        r = self.report
        return (
            f"{r['sent']} sent, {r['percent']:.2f} % back, {r['duplicates']} twice, "
            f"{r['damaged']} damaged, {r['silent']} flows silent; RTT p50 {r['p50_ms']:.1f}, "
            f"p99 {r['p99_ms']:.1f}, max {r['max_ms']:.1f} ms; RSS MB idle {both(self.idle_mb)}, "
            f"busy {both(self.busy_mb)}; CPU s {both(self.cpu)}"
        )


def binary_of(name: str) -> str:
    if name == "ours":
        return paqet.program()
    binary = os.environ.get(f"PAQET_GO_{name.upper()}")
    if not binary:
        raise Failure(f"PAQET_GO_{name.upper()} does not name the program")
    return binary


def measure(name: str, options: argparse.Namespace) -> Result:
    binary = binary_of(name)
    wan = ["--loss", str(options.loss), "--delay", str(options.delay)]
    with Lab(wan=wan if options.loss or options.delay else None) as net:
        if name != "ours":
            net.c.keep_kernel_quiet(PORT)
            net.s.keep_kernel_quiet(PORT)
        udp.start_echo(net, options.flows if options.shared else 1)
        settings = Settings(extra="" if name == "ours" else NO_POOL, level="warn")
        pair = paqet.start_pair(net, settings, client_binary=binary, server_binary=binary)
        programs = [pair.client, pair.server]
        time.sleep(1)
        idle = [program.memory_mb() for program in programs]
        begin = [cpu_seconds(program) for program in programs]
        flows = net.c.start("flows", udp.flows_command(*words(options)))
        flows.wait_log("^ready", 60)
        time.sleep(options.seconds * 0.9)
        busy = [program.memory_mb() for program in programs]
        flows.wait(options.seconds + 60)
        cpu = [cpu_seconds(p) - b for p, b in zip(programs, begin, strict=True)]
        pair.check_alive()
        return Result(udp.read_report(flows.log()), idle, busy, cpu)


def words(options: argparse.Namespace) -> list[object]:
    argv = ["--socks", SOCKS, "--flows", options.flows, "--rate", options.rate]
    argv += ["--size", options.size, "--seconds", options.seconds]
    return [*argv, "--shared", "--ports", options.flows] if options.shared else argv


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--flows", type=int, default=1, help="at once (%(default)s)")
    add("--own", dest="shared", action="store_false", help="an association for each flow")
    add("--rate", type=float, default=50, help="datagrams a second of each flow (%(default)s)")
    add("--size", default="200", help="bytes of each, or A-B (%(default)s)")
    add("--seconds", type=float, default=60, help="of sending (%(default)s)")
    add("--loss", type=float, default=5, help="percent, each way (%(default)s)")
    add("--delay", type=float, default=50, help="ms, each way (%(default)s)")
    add("--rounds", type=int, default=1, help="of all pairs (%(default)s)")
    add("pairs", nargs="*", metavar="PAIR", default=["ours", "a"], help="ours, a, b (ours a)")
    options = parser.parse_args()
    unknown = set(options.pairs) - {"ours", "a", "b"}
    if unknown:
        parser.error(f"unknown pair {', '.join(sorted(unknown))}: ours, a, b")
    return options


def main() -> int:
    options = parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lab.end_on_signal)
    failed = 0
    for _ in range(options.rounds):
        for name in options.pairs:
            try:
                print(f"{name:4}: {measure(name, options)}", flush=True)
            except Failure as failure:
                failed += 1
                print(f"{name:4}: FAILED: {failure}", flush=True)
                for note in getattr(failure, "__notes__", []):
                    print(f"    {note}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
