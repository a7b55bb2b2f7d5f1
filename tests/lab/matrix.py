# SPDX-License-Identifier: MIT
"""The interop matrix: our program against the Go test peer, in every combination of

    cipher            all fifteen, or shell patterns such as 'aes*'
    family            a, b
    our role          client, server
    error correction  plain (none), fec (10 data and 3 parity shards)

each through a WAN that delays and loses, with some bytes both ways that are checked. Words on the
command line choose: those of one kind add up, those of different kinds narrow down. "aes b server"
is two combinations. Prints a line per combination and a table at the end. Exit code 0 if all are
fine, 1 if not, 2 if nothing could be run.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import itertools
import json
import os
import sys
import time
from dataclasses import dataclass
from functools import partial

import gopeer
import lab
import paqet
import workers
from case import Failure, Skip, expect, time_limit
from paqet import BLOCKS, Settings

MB = 1_000_000
FAMILIES = ["a", "b"]
ROLES = ["client", "server"]
SHARDS = {"plain": (0, 0), "fec": (10, 3)}
PACKET = 1300  # bytes of payload in a full one, about
PARITY = 1.25  # bytes on the wire for each byte of payload: without parity 1.1, with it 1.4


@dataclass(frozen=True)
class Combination:
    block: str
    family: str
    role: str  # ours
    fec: str

    def __str__(self) -> str:
        return f"{self.block:<11} {self.family}  {self.role}  {self.fec:<5}"


ALL = [Combination(*each) for each in itertools.product(BLOCKS, FAMILIES, ROLES, SHARDS)]
# For script/test: most ciphers once, and everything else several times.
DOZEN = [combination for i, combination in enumerate(ALL) if i % 8 == (i // 8) % 8][:12]


@dataclass(frozen=True)
class Conditions:
    size: int = 5 * MB  # bytes each way
    loss: float = 1  # percent, each way
    delay: float = 5  # ms, each way

    def limit(self) -> int:
        """Seconds for one combination: at least 2 Mbit/s are expected."""
        return 40 + self.size * 4 // MB

    def wan(self) -> list[str]:
        return ["--loss", str(self.loss), "--delay", str(self.delay)]


@dataclass
class Outcome:
    failure: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0  # that the bytes took
    ours: float = 0  # bytes on the wire for each byte of payload, in packets from us
    theirs: float = 0


def try_combination(combination: Combination, conditions: Conditions) -> Outcome:
    """Runs one combination in a lab of its own. A Failure if it does not work."""
    shards = SHARDS[combination.fec]
    kcp = f"    dshard: {shards[0]}\n    pshard: {shards[1]}\n" if any(shards) else ""
    settings = Settings(block=combination.block, kcp=kcp)
    options = gopeer.Options(block=combination.block, shards=shards)
    we_are_client = combination.role == "client"
    run = client_to_peer if we_are_client else peer_to_server
    with lab.Lab(wan=conditions.wan()) as net:
        seconds = run(net, combination.family, settings, options, conditions)
        net.check_alive()
        links = net.stop_wan()  # client to server first
    for link in links:
        enough = conditions.loss / 100 * conditions.size / PACKET > 20
        expect(link["lost"] or not enough, f"the WAN lost nothing: {link}")
    sent = [link["out_bytes"] / (1 - conditions.loss / 100) / conditions.size for link in links]
    ours, theirs = sent if we_are_client else reversed(sent)
    for who, much in (("we", ours), ("the peer", theirs)):
        parity = any(shards) and conditions.size >= MB
        expect(much > PARITY or not parity, f"{who} sent {much:.2f} bytes per byte: no parity")
    return Outcome(seconds=seconds, ours=ours, theirs=theirs)


def client_to_peer(
    net: lab.Lab,
    family: str,
    settings: Settings,
    options: gopeer.Options,
    conditions: Conditions,
) -> float:
    net.origin()
    gopeer.start_server(net, family, options, conditions.limit())
    paqet.start_client(net, settings)
    paqet.wait_working(net)
    begin = time.monotonic()
    for mode in ("fetch", "send"):
        patient = ("--bytes", conditions.size, "--timeout", 30)
        result = net.load(mode, *patient, limit=conditions.limit())
        expect(result["failed"] == 0, f"{mode}: {json.dumps(result)}")
    return time.monotonic() - begin


def peer_to_server(
    net: lab.Lab,
    family: str,
    settings: Settings,
    options: gopeer.Options,
    conditions: Conditions,
) -> float:
    gopeer.start_echo(net, conditions.limit())
    paqet.start_server(net, settings)
    begin = time.monotonic()
    size, limit = str(conditions.size), conditions.limit()
    gopeer.run_job(net, family, options, "echo", "-bytes", size, limit=limit)
    return time.monotonic() - begin


# ---- the command


def run_one(combination: Combination, conditions: Conditions) -> Outcome:
    try:
        with time_limit(conditions.limit()):
            return try_combination(combination, conditions)
    except Exception as error:
        kind = "" if isinstance(error, Failure) else f"{type(error).__name__}: "
        return Outcome(f"{kind}{error}", tuple(getattr(error, "__notes__", [])))


def choose(words: list[str]) -> list[Combination]:
    """ValueError names a word that means nothing."""
    kinds: dict[str, set[str]] = {"block": set(), "family": set(), "role": set(), "fec": set()}
    known = {"block": BLOCKS, "family": FAMILIES, "role": ROLES, "fec": list(SHARDS)}
    for word in words:
        matches = {kind: fnmatch.filter(known[kind], word.lower()) for kind in known}
        kind = next((kind for kind in known if matches[kind]), None)
        if kind is None:
            raise ValueError(f"unknown word '{word}': {', '.join(sum(known.values(), []))}")
        kinds[kind].update(matches[kind])
    return [
        combination
        for combination in ALL
        if all(getattr(combination, kind) in (kinds[kind] or known[kind]) for kind in kinds)
    ]


def print_table(outcomes: dict[Combination, Outcome], left_out: set[Combination]) -> None:
    """Ciphers downwards, everything else to the right."""
    shown = [*outcomes, *left_out]
    columns = [
        column
        for column in itertools.product(ROLES, FAMILIES, SHARDS)
        if any((c.role, c.family, c.fec) == column for c in shown)
    ]

    def cell(combination: Combination) -> str:
        if combination not in outcomes:
            return "not run" if combination in left_out else ""
        outcome = outcomes[combination]
        return "FAIL" if outcome.failure else f"{outcome.seconds:.2f}"

    def row(title: str, cells: list[str]) -> None:
        print(f"{title:<12}" + "".join(f"{text:>9}" for text in cells).rstrip())

    row("we are", [role for role, _, _ in columns])
    row("family", [family for _, family, _ in columns])
    row("FEC", ["10+3" if any(SHARDS[fec]) else "no" for _, _, fec in columns])
    for block in BLOCKS:
        if any(c.block == block for c in shown):
            cells = [Combination(block, family, role, fec) for role, family, fec in columns]
            row(block, [cell(combination) for combination in cells])


def number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e12:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/interop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = Conditions()
    cores = os.cpu_count() or 1
    add = parser.add_argument
    add("--bytes", type=int, default=usual.size, help="each way (%(default)s)")
    add("--loss", type=number, default=usual.loss, help="percent, each way (%(default)s)")
    add("--delay", type=number, default=usual.delay, help="ms, each way (%(default)s)")
    add("--jobs", type=int, default=cores, help="combinations at once (%(default)s, the cores)")
    add("--limit", type=number, default=1800, help="begin none after these seconds (%(default)s)")
    add("words", nargs="*", metavar="WORD", help="a cipher, a, b, client, server, plain or fec")
    options = parser.parse_args()
    if options.bytes < 1 or options.jobs < 1 or options.loss > 50:
        parser.error("--bytes and --jobs must be at least 1, --loss at most 50")
    try:
        options.chosen = choose(options.words)
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> int:
    options = parse_arguments()
    conditions = Conditions(options.bytes, options.loss, options.delay)
    try:
        gopeer.path()
    except (Failure, Skip) as reason:
        print(f"interop: {reason}", file=sys.stderr)
        return 2
    workers.leave_on_signals()

    begin = time.monotonic()
    total = len(options.chosen)
    outcomes: dict[Combination, Outcome] = {}
    run = partial(run_one, conditions=conditions)
    with contextlib.closing(
        workers.run_all(options.chosen, run, options.jobs, options.limit)
    ) as results:
        for ended in results:
            combination, outcome = ended.job, ended.result or Outcome(ended.death)
            outcomes[combination] = outcome
            print(f"{len(outcomes):3}/{total} {describe(combination, outcome)}", flush=True)
            for note in outcome.notes:
                print(f"    {note}", file=sys.stderr, flush=True)

    left_out = set(options.chosen) - set(outcomes)
    failed = sum(bool(outcome.failure) for outcome in outcomes.values())
    print(
        f"\nSeconds for {options.bytes:,} bytes both ways, {options.loss:g} % loss, "
        f"{options.delay:g} ms delay:\n"
    )
    print_table(outcomes, left_out)
    print(f"\nThe whole took {time.monotonic() - begin:.0f} s.")
    print(f"{len(outcomes) - failed} passed, {failed} failed, {len(left_out)} not run")
    return 1 if failed or left_out else 0


def describe(combination: Combination, outcome: Outcome) -> str:
    if outcome.failure:
        return f"FAIL {combination}  {' | '.join(outcome.failure.splitlines())[:600]}"
    wire = f"wire bytes per byte: ours {outcome.ours:.2f}, theirs {outcome.theirs:.2f}"
    return f"ok   {combination}  {outcome.seconds:5.2f} s  {wire}"


if __name__ == "__main__":
    sys.exit(main())
