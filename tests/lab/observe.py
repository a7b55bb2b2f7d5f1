# SPDX-License-Identifier: MIT
"""What others see of the tunnel: our packets beside the kernel's own TCP, which carries the same.

Both go over a link with 20 ms delay each way and 0.5 % loss: pages, each a request of 400 bytes
and an answer of 60 KB, then one download of 8 MB; the kernel's twice, since what it does differs
from one time to the next. With --peer there is one more column, a Go program at the other end: the original where PAQET_GO_A, PAQET_GO_B or PAQET_GO_B20 names it, the
test peer otherwise, which as a client sends as many bytes as it fetches.

"a / b" is upstream / downstream; each direction is judged at its sender's interface, see
tests/lab/figures.py. Observers that nobody here wrote are asked about the capture at the server's
interface, tshark also about the client's, behind the loss. What differs between ours and both of the kernel's is listed below the table,
see tests/lab/compare.py; --much carries 100 MB over 200 connections. Exit code 0, 1 if a run failed,
2 if nothing could be run, 3 if something differs that docs/detection.md does not name.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import compare
import figures
import gopeer
import observers
import paqet
from case import Failure, Skip, time_limit
from figures import Packet
from lab import Host, Lab, Process, wait_until
from paqet import PORT, Settings, SocksError, read_exactly
from test_interop import NO_POOL
from test_keys import Keys

MB = 1_000_000
REQUEST = 400
ANSWER = 60_000
SITE = 8081
LIMIT = 59  # s for each run, ...
MUCH_LIMIT = 400  # ... and where much is carried
AT_ONCE = 8  # connections
IDLE_MAX = 30
MUCH, MUCH_FLOWS = 90 * MB, 200
KERNEL = "kernel TCP"
AGAIN = "once more"
UNKNOWN = r"network\.tcp\.look: unknown key"


@dataclass(frozen=True)
class Work:
    """What is carried, and over which link."""

    pages: int = 30
    download: int = 8 * MB
    idle: int = 0  # s of nothing afterwards
    folder: Path | None = None  # where the captures stay
    delay: float = 20  # ms, each way
    loss: float = 0.5  # percent, each way
    rate: float = 0  # Mbit/s, each way; 0 = as fast as it goes
    ip6: bool = False
    flows: int = 1  # connections of the kernel, or sessions of ours; more than one: a page over each

    def wan(self) -> list[str]:
        rate = ["--rate", str(self.rate)] if self.rate else []
        return ["--delay", str(self.delay), "--loss", str(self.loss), *rate]


@dataclass
class Seen:
    """A run as captured: both directions at each interface, and when what was carried."""

    client: list[Packet] = field(default_factory=list)
    server: list[Packet] = field(default_factory=list)
    download: tuple[float, float] = (0, 0)  # from, to
    idle: tuple[float, float] = (0, 0)
    work: Work = field(default_factory=Work)
    note: str = ""

    def up(self) -> dict[str, Any]:
        return figures.direction(self.client, up=True)

    def down(self) -> dict[str, Any]:
        return figures.direction(self.server, up=False)


class Tap:
    """Whole packets of one port, both directions, at the interfaces of client and server."""

    def __init__(self, lab: Lab):
        self.parts: dict[str, tuple[Process, Path]] = {}
        for name, host in (("client", lab.c), ("server", lab.s)):
            path = lab.new_file(f"{name}.pcap")
            argv = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-B", "32768"]
            argv += ["-i", host.device, "-s", "0", "-w", str(path), "tcp", "port", str(PORT)]
            self.parts[name] = host.start("tcpdump", argv), path
        for process, _ in self.parts.values():
            process.wait_log("listening on", 10)

    def stop(self, seen: Seen) -> None:
        time.sleep(0.3)
        for process, _ in self.parts.values():
            process.stop()
            dropped = re.search(r"(\d+) packets? dropped by kernel", process.log())
            if dropped and int(dropped[1]):
                raise Failure(f"the capture missed {dropped[1]} packets")
        seen.client = figures.read(self.parts["client"][1], PORT)
        seen.server = figures.read(self.parts["server"][1], PORT)
        if seen.work.folder:
            seen.work.folder.mkdir(parents=True, exist_ok=True)
            for name, (_, path) in self.parts.items():
                shutil.copy(path, seen.work.folder / f"{name}.pcap")


# ---- what is carried


class Site:
    """Answers each request of 400 bytes with as many bytes as it asks for."""

    def __init__(self, host: Host, address: str, port: int):
        self.listener = host.listen(address, port, self.serve)

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, SocksError):
            while True:
                size = int(read_exactly(connection, REQUEST).split()[1][1:])
                head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: "
                head += f"{size}\r\n\r\n".encode()
                connection.sendall((head + os.urandom(size))[:size])

    def close(self) -> None:
        # A thread in accept() would keep it open: this wakes it up.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def fetch(connection: socket.socket, size: int) -> None:
    line = f"GET /{size} HTTP/1.1\r\nHost: server.test\r\nCookie: ".encode()
    connection.sendall(line + b"x" * (REQUEST - len(line) - 4) + b"\r\n\r\n")
    left = size
    while left:
        piece = connection.recv(min(left, 1 << 18))
        if not piece:
            raise Failure(f"the connection ended, {left} bytes before its end")
        left -= len(piece)


Connect = Callable[[], contextlib.AbstractContextManager[socket.socket]]


def browse_pages(seen: Seen, connect: Connect) -> None:
    for _ in range(seen.work.pages):
        with connect() as connection:
            fetch(connection, ANSWER)
        time.sleep(0.05)


def browse_at_once(pages: int, connect: Connect) -> None:
    def one(_: int) -> None:
        with connect() as connection:
            fetch(connection, ANSWER)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(one, range(pages)))


def browse(seen: Seen, connect: Connect) -> None:
    if seen.work.flows > 1:
        browse_at_once(seen.work.pages, connect)
    else:
        browse_pages(seen, connect)
    begin = time.time()
    with connect() as connection:
        fetch(connection, seen.work.download)
    seen.download = begin, time.time()
    rest(seen)


def rest(seen: Seen) -> None:
    """Nothing to carry; the first two seconds are not counted."""
    if seen.work.idle:
        begin = time.time() + 2
        time.sleep(seen.work.idle + 2)
        seen.idle = begin, time.time()


def browse_tunnel(lab: Lab, seen: Seen) -> None:
    """One connection for each page through the proxy, as soon as the tunnel works."""
    site = Site(lab.s, "127.0.0.1", SITE)
    try:
        end = time.monotonic() + 20
        while not works(lab):
            lab.check_alive()
            if time.monotonic() > end:
                raise Failure("no request passed through the tunnel within 20 s")
        browse(seen, lambda: paqet.socks_connect(lab, "127.0.0.1", SITE))
    finally:
        site.close()


def works(lab: Lab) -> bool:
    try:
        with paqet.socks_connect(lab, "127.0.0.1", SITE, limit=3) as connection:
            fetch(connection, REQUEST)
    except (OSError, SocksError, Failure):
        time.sleep(0.1)
        return False
    return True


# ---- who carries it


def look_settings(look: str, ip6: bool) -> Settings:
    return Settings(ip6=ip6, network_extra=f"  tcp:\n    look: {look}\n")


def connect_settings(lab: Lab, ip6: bool, system: str = "host") -> tuple[Settings, Settings]:
    """Server and client with keys; the server knows that it has answered no connection before."""
    keys = Keys(lab)
    keys.know_all()
    look = "  tcp:\n    look: connect\n"
    return (
        keys.server_settings(ip6=ip6, network_extra=look),
        keys.client_settings(ip6=ip6, network_extra=f"{look}    os: {system}\n"),
    )


def knows_look(process: Process) -> bool:
    return not re.search(UNKNOWN, process.log())


def run_ours(look: str, work: Work, system: str = "host") -> Seen:
    """Ours at both ends, the client's SYNs as of another system where its look is connect."""
    seen = Seen(work=work)
    with Lab(wan=work.wan()) as lab:
        tap = Tap(lab)
        both = (look_settings(look, work.ip6),) * 2
        ours, theirs = connect_settings(lab, work.ip6, system) if look == "connect" else both
        server = paqet.start_server(lab, ours)
        theirs.transport += f"  conn: {work.flows}\n"
        client = paqet.start_client(lab, theirs)
        if work.flows > 1:
            wait_until(lambda: sessions(server) >= work.flows, 90, "all sessions")
        browse_tunnel(lab, seen)
        client.stop()
        finish(lab, tap, seen, server)
    return seen


def sessions(server: Process) -> int:
    return server.log().count(") connected") or server.log().count("new session")


def introduce(me: Host, other: Host, ip6: bool) -> None:
    """Nobody asks for the other's MAC: a SYN that waits for the answer has an old TSval."""
    address = other.ip6 if ip6 else other.ip4
    entry = [address, "lladdr", other.mac, "dev", me.device, "nud", "permanent"]
    me.check(["ip", "neigh", "replace", *entry])


def run_kernel(work: Work) -> Seen:
    """The kernel's TCP, all on one connection: the tunnel's packets are one flow, too."""
    seen = Seen(work=work)
    family = socket.AF_INET6 if work.ip6 else socket.AF_INET
    with Lab(wan=work.wan()) as lab:
        introduce(lab.c, lab.s, work.ip6)
        introduce(lab.s, lab.c, work.ip6)
        tap = Tap(lab)
        address = lab.s.ip6 if work.ip6 else lab.s.ip4
        site = Site(lab.s, address, PORT)

        def connect() -> socket.socket:
            connection = lab.c.open_socket(family, socket.SOCK_STREAM)
            connection.settimeout(10)
            connection.connect((address, PORT))
            return connection

        try:
            if work.flows > 1:
                browse(seen, connect)
            else:
                with connect() as connection:
                    browse(seen, lambda: contextlib.nullcontext(connection))
        finally:
            site.close()
        finish(lab, tap, seen, None)
    return seen


def original(family: str) -> str:
    """Path of the original Go program, if there is one."""
    return os.environ.get(f"PAQET_GO_{family.upper()}", "")


def run_with_go(look: str, family: str, role: str, binary: str, work: Work) -> Seen:
    """Ours in this role, a Go program in the other one: an original, or else the test peer."""
    if not binary:
        gopeer.path()
    seen = Seen(work=work)
    ours, theirs = look_settings(look, work.ip6), Settings(ip6=work.ip6, extra=NO_POOL)
    with Lab(wan=work.wan()) as lab:
        tap = Tap(lab)
        (lab.s if role == "client" else lab.c).keep_kernel_quiet(PORT)
        options = gopeer.Options(ip6=work.ip6)
        if role == "client":
            if binary:
                paqet.start_server(lab, theirs, binary)
            else:
                gopeer.start_server(lab, family, options)
            mine = paqet.start_client(lab, ours)
            browse_tunnel(lab, seen)
        else:
            mine = paqet.start_server(lab, ours)
            if binary:
                paqet.start_client(lab, theirs, binary)
                browse_tunnel(lab, seen)
            else:
                let_peer_work(lab, seen, family, options)
        finish(lab, tap, seen, mine)
    return seen


def let_peer_work(lab: Lab, seen: Seen, family: str, options: gopeer.Options) -> None:
    """The test peer is no proxy: it gets as many bytes as it sends, and ends after each job."""
    gopeer.start_echo(lab)
    pages, work = ("-bytes", str(ANSWER), "-par", str(seen.work.pages)), seen.work
    gopeer.run_job(lab, family, options, "echo", *pages)
    begin = time.time()
    gopeer.run_job(lab, family, options, "echo", "-bytes", str(work.download))
    seen.download = begin, time.time()


def finish(lab: Lab, tap: Tap, seen: Seen, ours: Process | None) -> None:
    lab.check_alive()
    tap.stop(seen)
    if ours and not knows_look(ours):
        seen.note = "this program knows no network.tcp.look: it is classic"


# ---- the table


def number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or abs(value) >= 10 else f"{value:.2g}"


def names(values: list[int]) -> str:
    return " ".join(map(str, values[:4])) + (f" ... ({len(values)})" if len(values) > 4 else "")


def steps(all_steps: dict[int, float]) -> str:
    return " ".join(f"{step}:{percent:.0f}%" for step, percent in all_steps.items()) or "-"


def describe(seen: Seen) -> tuple[dict[str, str], dict[str, Any]]:
    """The rows of one run, and the figures behind them."""
    up, down = seen.up(), seen.down()
    rows: dict[str, str] = {}

    def both(label: str, key: str, text: Callable[[Any], str] = number, unit: str = "") -> None:
        cells = ["-" if side[key] is None else text(side[key]) + unit for side in (up, down)]
        rows[label] = " / ".join(cells)

    without, flows = figures.flows_without_syn(seen.server)
    both("packets", "packets")
    both("one-packet rule, of data", "one_packet_rule", unit=" %")
    rows["flows without SYN"] = f"{without} of {flows}"
    both("seq: not where the last one ended", "astray")
    both("seq: jumps past what was sent", "jumps")
    both("seq: holes never filled", "holes")
    both("seq: packets repeating", "repeats")
    both("seq: repeating with other bytes", "altered")
    both("ack: of what never arrived", "acks_beyond")
    both("ack: before the first answer, wrong", "blind_acks_contradicted")
    both("ack: goes back", "acks_backwards")
    both("ack: different values", "acks_different")
    both("ack: data not acked, longest", "ack_stands_ms", unit=" ms")
    both("TSecr that the peer has sent", "tsecr_known", unit=" %")
    both("TSval: steps back", "tsval_back")
    both("TSval: for each second", "tsval_rate")
    both("packets without timestamps", "no_timestamp")
    if seen.work.ip6:
        both("flow labels", "labels", lambda labels: f"{len(labels)} ({labels[0]:#x} ...)")
    else:
        both("IP id 0", "ip_id_zero", unit=" %")
        both("IP id: steps", "ip_id_steps", steps)
    both("TOS or traffic class not 0", "tos_not_zero", unit=" %")
    both("TTL or hop limit", "ttl", names)
    both("windows: different", "windows")
    both("windows: changes, of packets", "window_changes", unit=" %")
    both("PSH, of data", "psh", unit=" %")
    both("segments without payload", "without_payload", unit=" %")
    values = {"up": up, "down": down, "flows": flows, "flows_without_syn": without}
    for side, name in ((up, "up"), (down, "down")):
        cells = " ".join(f"{percent:.0f}" for percent in side["sizes"])
        rows[f"sizes {name}, % 0 <100 <400 <1000 <1300 more"] = cells
    values["download"] = describe_download(seen, rows)
    if seen.work.idle:
        values["idle"] = describe_idle(seen, rows)
    values["first_payload"] = describe_first(seen, rows)
    folder = seen.work.folder
    values["observers"] = observers.look(folder / "server.pcap") if folder else {}
    if folder and "tshark" not in observers.missing():
        behind = observers.tshark(folder / "client.pcap")
        values["observers"] |= {f"tshark at the client{k[6:]}": text for k, text in behind.items()}
    values["note"] = seen.note
    return rows | values["observers"], values


def describe_download(seen: Seen, rows: dict[str, str]) -> dict[str, float]:
    """Upstream for the download: IP packets, all their bytes."""
    begin, end = seen.download
    within = [packet for packet in seen.client if packet.up and begin <= packet.time <= end]
    size = sum(packet.length for packet in within)
    percent = figures.share(size, seen.work.download)
    rows["download: upstream, of its bytes"] = f"{size / MB:.2f} MB, {percent:.1f} %"
    rows["download: upstream packets"] = f"{len(within)} of {size / max(1, len(within)):.0f} bytes"
    rows["download: seconds"] = f"{end - begin:.1f}"
    return {
        "upstream_bytes": size,
        "upstream_packets": len(within),
        "upstream_percent": percent,
        "seconds": end - begin,
    }


def describe_idle(seen: Seen, rows: dict[str, str]) -> dict[str, list[float]]:
    found = {}
    for name, at, up in (("up", seen.client, True), ("down", seen.server, False)):
        gaps = figures.intervals(at, up, *seen.idle)
        text = "no two packets"
        if gaps:
            text = f"{len(gaps) + 1}, s apart {min(gaps):.3g} {median(gaps):.3g} {max(gaps):.3g}"
        rows[f"idle {name}: packets, min median max"] = text if seen.idle[0] else "-"
        found[name] = gaps
    return found


def describe_first(seen: Seen, rows: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name, at, up in (("up", seen.client, True), ("down", seen.server, False)):
        first = figures.first_payloads(at, up)
        reasons = ", ".join(first["exempt_for"])
        verdict = f"suspect ({first['ones']:.2f} ones)" if first["suspect"] else "exempt"
        if first["flows"] > 1:
            verdict += f", {first['suspect']} of {first['flows']}"
        rows[f"first payload {name}"] = verdict + (f": {reasons}" if reasons else "")
        found[name] = first
    return found


def print_table(columns: dict[str, dict[str, str]]) -> None:
    labels = list(dict.fromkeys(label for rows in columns.values() for label in rows))
    widths = [max(map(len, labels))]
    for title, rows in columns.items():
        widths.append(max(map(len, [title, *rows.values()])))

    def line(cells: list[str]) -> None:
        print("  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip())

    line(["", *columns])
    for label in labels:
        line([label, *(rows.get(label, "-") for rows in columns.values())])


# ---- the command


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/observe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = Work()
    add = parser.add_argument
    looks = ["classic", "plausible", "connect"]
    add("--look", choices=looks, default="plausible", help="(%(default)s)")
    add("--family", choices=["4", "6"], default="4", help="IPv4 or IPv6 (%(default)s)")
    add("--peer", choices=["a", "b", "b20"], help="also with a Go program at the other end")
    add("--role", choices=["client", "server"], default="client", help="ours then (%(default)s)")
    add("--idle", type=int, nargs="?", const=IDLE_MAX, default=0, help="s of nothing afterwards")
    add("--delay", type=float, default=usual.delay, help="ms, each way (%(default)s)")
    add("--loss", type=float, default=usual.loss, help="percent, each way (%(default)s)")
    add("--much", action="store_true", help="100 MB, 200 connections")
    add("--rate", type=float, default=usual.rate, help="Mbit/s, each way (as fast as it goes)")
    add("--json", action="store_true", help="figures instead of the table")
    add("--keep", type=Path, metavar="FOLDER", help="put the captures there")
    options = parser.parse_args()
    if options.peer and options.look == "connect":
        parser.error("--look connect: a Go program has no handshake")
    if not 0 <= options.idle <= IDLE_MAX:
        parser.error(f"--idle: 0 to {IDLE_MAX}")
    if not (0 <= options.loss <= 20 and 0 <= options.delay <= 200):
        parser.error("--loss: 0 to 20, --delay: 0 to 200")
    return options


def differs(look: str, values: dict[str, dict[str, Any]], work: Work) -> bool:
    """Says what differs from both runs of the kernel's, whose counts lie a factor of two apart at times;
    whether it is not all documented."""
    ours, kernel = values.get(f"ours {look}"), values.get(KERNEL)
    if not ours or not kernel:
        return False
    found, known = compare.compare(look, ours, kernel)
    if again := values.get(AGAIN):
        still, _ = compare.compare(look, ours, again)
        found = {name: f"{cells}; {still[name]}" for name, cells in found.items() if name in still}
    for text, rows in (("differs", found), ("differs, see docs/detection.md", known)):
        for name, cells in rows.items():
            print(f"observe: {text}: {name}: {cells}", file=sys.stderr)
    return bool(found)


def main() -> int:
    options = parse_arguments()
    look, ip6 = options.look, options.family == "6"
    work = Work(idle=options.idle, delay=options.delay, loss=options.loss, rate=options.rate, ip6=ip6)
    if options.much:
        work = replace(work, pages=MUCH_FLOWS, flows=MUCH_FLOWS, download=MUCH)
    runs: dict[str, Callable[[Work], Seen]] = {
        f"ours {look}": partial(run_ours, look),
        KERNEL: run_kernel,
        AGAIN: run_kernel,
    }
    if options.peer:
        other = {"client": "server", "server": "client"}[options.role]
        runs[f"ours {look}, Go {other} {options.peer}"] = partial(
            run_with_go, look, options.peer, options.role, original(options.peer)
        )
    table: dict[str, dict[str, str]] = {}
    values: dict[str, dict[str, Any]] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, run in runs.items():
            folder = (options.keep or Path(scratch)) / re.sub(r"\W+", "-", name.lower())
            try:
                with time_limit(MUCH_LIMIT if options.much else LIMIT):
                    seen = run(replace(work, folder=folder))
                title = name.replace(look, "classic") if seen.note else name
                table[title], values[title] = describe(seen)
            except (Failure, Skip, OSError, SocksError) as reason:
                print(f"observe: {name}: {reason}", file=sys.stderr)
                failed += 1
    for name, each in values.items():
        if each["note"]:
            print(f"observe: {name}: {each['note']}", file=sys.stderr)
    if observers.missing():
        print(f"observe: not installed: {', '.join(observers.missing())}", file=sys.stderr)
    if options.json:
        print(json.dumps(values, indent=2))
    elif table:
        print_table(table)
    unlike = look != "classic" and differs(look, values, work)
    return 2 if not table else 1 if failed else 3 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
