# SPDX-License-Identifier: MIT
"""A tunnel that is used for a long time while everything that may fail does; see script/soak.

Streams whose every byte is checked run all the time. One fault follows the other; after each one it is
measured how long it takes until a new request passes. Nothing may be corrupted, no program may end that
nobody ended, and neither memory nor descriptors may grow."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import paqet
from case import Failure, Skip
from lab import Lab, Process, tool
from test_keys import Keys

ECHO = 7007
BLOCK = 32768
STREAMS = 4
BACK_WITHIN = 2.0  # s after the fault is over
PAUSE = 4.0  # s between two faults
WAN = ["--rate", "30", "--delay", "10", "--loss", "0.3", "--max-seconds", "100000"]


class Corrupted(Exception):
    """Other bytes came than were sent."""


def echo(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        while block := connection.recv(BLOCK):
            connection.sendall(block)


def serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


@dataclass
class Traffic:
    """Streams of random bytes to an echo and back, begun anew when they break."""

    lab: Lab
    stopping: bool = False
    bytes: int = 0
    broken: int = 0
    corrupted: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.listener = self.lab.s.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", ECHO))
        self.listener.listen(128)
        threading.Thread(target=serve, args=(self.listener,), daemon=True).start()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def run(self, seed: int) -> None:
        source = random.Random(seed)
        while not self.stopping:
            try:
                self.stream(source)
            except Corrupted as error:
                self.corrupted.append(str(error))
            except (OSError, Failure, paqet.SocksError):
                self.broken += 1
                time.sleep(0.2)

    def stream(self, source: random.Random) -> None:
        """Some megabytes there and back, each compared."""
        with paqet.socks_connect(self.lab, "127.0.0.1", ECHO, 5) as connection:
            connection.settimeout(20)
            for number in range(source.randrange(5, 60)):
                if self.stopping:
                    return
                block = source.randbytes(source.randrange(1, BLOCK))
                connection.sendall(block)
                back = paqet.read_exactly(connection, len(block))
                if back != block:
                    raise Corrupted(f"block {number} of {len(block)} bytes came back changed")
                self.bytes += 2 * len(block)

    def stop(self) -> None:
        self.stopping = True
        for thread in self.threads:
            thread.join(25)
        self.listener.close()


def works(lab: Lab) -> bool:
    """One small request over a connection of its own."""
    with contextlib.suppress(OSError, Failure, paqet.SocksError):
        with paqet.socks_connect(lab, "127.0.0.1", ECHO, 2) as connection:
            connection.settimeout(2)
            connection.sendall(b"x" * 500)
            return paqet.read_exactly(connection, 500) == b"x" * 500
    return False


def seconds_until_it_works(lab: Lab, limit: float) -> float:
    """A new request each tenth of a second, without waiting for those before; when one has its answer."""
    begin = time.monotonic()
    passed = threading.Event()

    def ask() -> None:
        if works(lab):
            passed.set()

    while time.monotonic() - begin < limit:
        threading.Thread(target=ask, daemon=True).start()
        if passed.wait(0.1):
            break
    return time.monotonic() - begin


class Soak:
    def __init__(self, lab: Lab):
        self.lab = lab
        self.keys = Keys(lab)
        self.keys.know_all()
        self.clock = {who: lab.new_file(f"clock-{who}") for who in "cs"}
        for path in self.clock.values():
            path.write_text("0")
        self.shim = "" if "static" in self.kind() else tool("lab-clock.so")
        self.server = self.start_server()
        self.client = self.start("c", "client", paqet.client_config(lab, self.settings(client=True)))
        paqet.wait_ready(self.client)
        self.traffic = Traffic(lab)
        self.kills = 0

    @staticmethod
    def kind() -> str:
        """Whether a library can be put in front of the program."""
        text = subprocess.run(["file", "-L", paqet.program()], capture_output=True, text=True, check=False).stdout
        headers = Path(paqet.program()).read_bytes()[:4096]
        return "dynamic" if b"ld-linux" in headers or "dynamically" in text else "static"

    def settings(self, client: bool = False) -> paqet.Settings:
        """The MACs are found: one of them will change."""
        make = self.keys.client_settings if client else self.keys.server_settings
        settings = make(network=False)
        settings.level = "info"
        return settings

    def start(self, who: str, name: str, config: str) -> Process:
        host = getattr(self.lab, who)
        config += f"network:\n  interface: {host.device}\n"
        path = self.lab.new_file(f"{name}.yaml")
        path.write_text(config)
        argv = [paqet.program(), "run", "-c", str(path)]
        if self.shim:
            argv = ["env", f"LD_PRELOAD={self.shim}", f"LAB_CLOCK={self.clock[who]}", *argv]
        return host.start(name, argv)

    def start_server(self) -> Process:
        process = self.start("s", "server", paqet.server_config(self.lab, self.settings()))
        paqet.wait_ready(process)
        process.wait_log("listening on port", 10)
        return process

    def programs(self) -> dict[str, Process]:
        return {"client": self.client, "server": self.server}

    # ---- faults: each returns when it is over

    def server_killed(self) -> None:
        self.server.kill()
        self.server = self.start_server()

    def server_stopped(self) -> None:
        self.server.stop()
        self.server = self.start_server()

    def client_interface_flaps(self) -> None:
        self.flap(self.lab.c)

    def server_interface_flaps(self) -> None:
        self.flap(self.lab.s)

    @staticmethod
    def flap(host: object) -> None:
        for _ in range(3):
            host.check(["ip", "link", "set", host.device, "down"])
            time.sleep(0.4)
            host.check(["ip", "link", "set", host.device, "up"])
            time.sleep(0.3)

    def tuples_die(self) -> None:
        assert self.lab.wan
        os.kill(self.lab.wan.pid, signal.SIGUSR1)

    def other_mac(self) -> None:
        """The client's next hop has another one, as when a router was replaced."""
        self.kills += 1
        mac = f"02:00:00:00:01:{self.kills % 256:02x}"
        self.lab.s.check(["ip", "link", "set", self.lab.s.device, "address", mac])

    def clocks_jump(self) -> None:
        if not self.shim:
            raise Skip("the program is static: its clock cannot be changed without the whole machine's")
        for who, seconds in (("c", 5), ("s", -7), ("c", 86400), ("s", 3600), ("c", -40), ("c", 0), ("s", 0)):
            self.clock[who].write_text(str(seconds))
            time.sleep(0.6)

    def client_sleeps(self) -> None:
        self.sleep(self.client)

    def server_sleeps(self) -> None:
        self.sleep(self.server)

    @staticmethod
    def sleep(process: Process) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(process.pid, signal.SIGCONT)

    def descriptors_short(self) -> None:
        self.short(resource.RLIMIT_NOFILE, lambda p: p.open_files() + 3)

    def memory_short(self) -> None:
        def size(p: Process) -> int:
            return int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{p.pid}/status").read_text())[1]) * 1024

        self.short(resource.RLIMIT_AS, size)

    def short(self, what: int, of: object) -> None:
        """Both ends have no more than now, while much is asked for."""
        before = {}
        for process in self.programs().values():
            before[process.pid] = resource.prlimit(process.pid, what)
            resource.prlimit(process.pid, what, (of(process), before[process.pid][1]))
        argv = [tool("lab-load"), "idle", "--socks", str(paqet.SOCKS), "--parallel", "200", "--seconds", "2"]
        many = self.lab.c.start("many", [*argv, "127.0.0.1", str(ECHO)])
        time.sleep(4)
        many.kill()
        for pid, limits in before.items():
            resource.prlimit(pid, what, limits)

    # ---- the run

    def faults(self) -> list:
        return [
            self.server_killed, self.client_interface_flaps, self.tuples_die, self.other_mac, self.clocks_jump,
            self.client_sleeps, self.descriptors_short, self.server_interface_flaps, self.memory_short,
            self.server_sleeps, self.server_stopped,
        ]  # fmt: skip

    def sample(self) -> dict[str, tuple[float, int]]:
        return {name: (process.memory_mb(), process.open_files()) for name, process in self.programs().items()}

    def run(self, minutes: float, faults: list, say: object) -> dict:
        """Faults in turn until the time is over, each kind once at least."""
        end = time.monotonic() + 60 * minutes
        back: dict[str, list[float]] = {}
        samples: list[dict] = []
        skipped: dict[str, str] = {}
        self.traffic.start()
        if seconds_until_it_works(self.lab, 20) > 20:
            raise Failure("the tunnel does not work at the start")
        time.sleep(PAUSE)
        rounds = 0
        while not rounds or time.monotonic() < end:
            for fault in faults:
                name = fault.__name__
                if rounds and time.monotonic() >= end:
                    break
                if name in skipped:
                    continue
                try:
                    fault()
                except Skip as why:
                    skipped[name] = str(why)
                    say(f"{name}: skipped, {why}")
                    continue
                seconds = seconds_until_it_works(self.lab, 20)
                back.setdefault(name, []).append(seconds)
                say(f"{name}: works again after {seconds:.2f} s")
                self.lab.check_alive()
                time.sleep(PAUSE)
            rounds += 1
            samples.append(self.quiet_sample())
            say(f"round {rounds}: {samples[-1]}, {self.traffic.bytes / 1e6:.0f} MB checked")
        self.traffic.stop()
        return {
            "rounds": rounds,
            "bytes": self.traffic.bytes,
            "streams_broken": self.traffic.broken,
            "corrupted": self.traffic.corrupted,
            "back": {name: {"times": len(v), "worst": max(v), "mean": sum(v) / len(v)} for name, v in back.items()},
            "skipped": skipped,
            "samples": samples,
        }

    def quiet_sample(self) -> dict[str, tuple[float, int]]:
        """Once the connections of the last fault are gone, for which a server that was killed is waited for."""
        least = self.sample()
        for _ in range(15):
            time.sleep(1)
            now = self.sample()
            least = {name: min(least[name], now[name], key=lambda figures: figures[1]) for name in now}
        return least


def verdict(result: dict) -> list[str]:
    """What is wrong."""
    wrong = [f"corrupted: {text}" for text in result["corrupted"]]
    if result["bytes"] < 1_000_000:
        wrong.append(f"only {result['bytes']} bytes were carried")
    for name, figures in result["back"].items():
        if figures["worst"] > BACK_WITHIN:
            wrong.append(f"{name}: a request passed only after {figures['worst']:.1f} s")
    half = len(result["samples"]) // 2
    for name in ("client", "server"):
        early = [sample[name] for sample in result["samples"][: max(half, 1)]]
        late = [sample[name] for sample in result["samples"][half:]]
        memory = max(m for m, _ in early), max(m for m, _ in late)
        if memory[1] > 1.1 * memory[0] + 2:
            wrong.append(f"{name}: {memory[0]:.1f} MB first, {memory[1]:.1f} MB later")
        files = max(f for _, f in early), max(f for _, f in late)
        if files[1] > files[0] + 8:  # streams that happen to be open
            wrong.append(f"{name}: {files[0]} descriptors first, {files[1]} later")
    return wrong


def soak(minutes: float, only: list[str] | None = None, say: object = lambda _text: None) -> tuple[dict, list[str]]:
    with Lab(wan=WAN) as lab:
        run = Soak(lab)
        result = run.run(minutes, [f for f in run.faults() if not only or f.__name__ in only], say)
        wrong = verdict(result)
        if wrong and os.environ.get("SOAK_LOGS"):
            for name, process in run.programs().items():
                Path(f"{os.environ['SOAK_LOGS']}-{name}.log").write_text(process.log())
        return result, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--only", action="append", metavar="FAULT", help="no other faults")
    parser.add_argument("--json", action="store_true", help="the figures for programs")
    options = parser.parse_args()
    result, wrong = soak(options.minutes, options.only, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{result['rounds']} rounds, {result['bytes'] / 1e6:.0f} MB checked, {result['streams_broken']} streams begun anew")
        for name, figures in result["back"].items():
            print(f"{name:26} {figures['times']:4} times, works again after {figures['mean']:.2f} s, at worst {figures['worst']:.2f} s")
        for name, why in result["skipped"].items():
            print(f"{name:26} SKIPPED: {why}")
        for name in ("client", "server"):
            first, last = result["samples"][0][name], result["samples"][-1][name]
            print(f"{name}: {first[0]:.1f} MB and {first[1]} descriptors after the first round, {last[0]:.1f} MB and {last[1]} after the last")
    for text in wrong:
        print(f"WRONG: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
