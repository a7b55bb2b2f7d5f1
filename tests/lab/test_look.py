# SPDX-License-Identifier: MIT
"""What others see of our packets, as script/observe judges it."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import compare
import figures
import gopeer
import observe
import observers
import paqet
from case import Skip, add, best_of, expect, test
from lab import Lab
from observe import MB, Seen, Work
from packets import FIN, PSH
from paqet import Settings

WORK = Work(pages=10, download=8 * MB)
WIDER = 0.2 * MB  # what has to come before a window grows
STAND = 200  # ms that an acknowledgement may stand while data arrives, ...
HOLE = 400  # ... and before a hole: 200, two round trips, and a busy machine


@test()
def test_look_classic() -> None:
    """The inherited packets give themselves away; where not, the observer is blind. Downstream the
    kernel cuts most packets out of runs, which the rule misses."""
    seen = observe.run_ours("classic", WORK)
    up, down = seen.up(), seen.down()
    expect(up["one_packet_rule"] > 60, f"one-packet rule: {up['one_packet_rule']:.0f} %")
    expect(down["one_packet_rule"] > 0, "one-packet rule: never downstream")
    for name, side in (("up", up), ("down", down)):
        expect(side["tos_not_zero"] == 100, f"{name}: TOS {side['tos']}")
        expect(side["windows"] == 1, f"{name}: {side['windows']} windows")
        expect(side["altered"] > 0, f"{name}: no sequence number twice")
    expect(figures.flows_without_syn(seen.server) == (1, 1), "a SYN, or not one flow")


@test(tries=2, alone=True)
def test_look_kernel() -> None:
    """The observer finds nothing where there is nothing to be found."""
    seen = observe.run_kernel(WORK)
    expect(figures.flows_without_syn(seen.server) == (0, 1), "no SYN, or not one flow")
    for name, side in (("up", seen.up()), ("down", seen.down())):
        for key in ("one_packet_rule", "jumps", "altered", "acks_beyond", "acks_backwards"):
            expect(side[key] == 0, f"{name}: {key} {side[key]}")
        expect(side["tsecr_known"] == 100, f"{name}: TSecr known: {side['tsecr_known']:.1f} %")
        expect(side["tos_not_zero"] == 0, f"{name}: TOS {side['tos']}")
        expect(990 < side["tsval_rate"] < 1010, f"{name}: TSval steps {side['tsval_rate']} / s")
    expect(seen.down()["repeats"] > 0, "the link lost nothing")


# ---- plausible


def need_look(seen: Seen) -> None:
    if seen.note:
        raise Skip(seen.note)


def expect_plausible(
    name: str, side: dict[str, Any], came: float = MB, stand: float = STAND, again: int = 0
) -> None:
    """One direction, whose sender is ours and has got so many bytes."""
    expect(side["data_packets"] > 50, f"{name}: {side['data_packets']} packets of data")
    expect(side["one_packet_rule"] == 0, f"{name}: one-packet rule {side['one_packet_rule']} %")
    expect(side["no_timestamp"] == 0, f"{name}: {side['no_timestamp']} without timestamps")
    expect(side["tsecr_known"] >= 99, f"{name}: TSecr known: {side['tsecr_known']:.1f} %")
    expect(side["tsval_back"] == 0, f"{name}: TSval goes back {side['tsval_back']} times")
    if side["ip_id_zero"] is not None:
        expect(side["ip_id_zero"] < 1, f"{name}: IP id 0 in {side['ip_id_zero']:.0f} %")
    expect(side["tos_not_zero"] == 0, f"{name}: TOS {side['tos']}")
    expect(side["windows"] > 1 or came < WIDER, f"{name}: always the same window")
    expect(side["astray"] == again, f"{name}: seq is not the next in {side['astray']} packets")
    expect(side["acks_beyond"] == 0, f"{name}: {side['acks_beyond']} acks of what never arrived")
    stands = side["ack_stands_ms"]
    expect(stands <= stand, f"{name}: data not acknowledged for {stands:.0f} ms")


def psh_of_download(seen: Seen) -> float:
    """Percent, of the packets with data that the server sent meanwhile."""
    begin, end = seen.download
    data = [p for p in seen.server if not p.up and p.payload and begin <= p.time <= end]
    return figures.share(sum(packet.flags & PSH > 0 for packet in data), len(data))


def look_plausible(work: Work) -> None:
    seen = observe.run_ours("plausible", work)
    need_look(seen)
    expect_plausible("up", seen.up(), seen.down()["bytes"])
    expect_plausible("down", seen.down(), seen.up()["bytes"])
    psh = psh_of_download(seen)
    expect(psh < 50, f"PSH in {psh:.0f} % of the download")


def look_plausible_go_peer(role: str) -> None:
    """Towards Go, whose receive offload would glue packets without PSH together."""
    seen = observe.run_with_go("plausible", "b", role, "", WORK)
    need_look(seen)
    side = seen.up() if role == "client" else seen.down()
    expect_plausible(f"our {role}", side)
    expect(side["psh"] == 100, f"PSH in {side['psh']:.1f} %")


for _name, _work in (("", WORK), ("_ipv6", Work(WORK.pages, WORK.download, ip6=True))):
    add(f"look_plausible{_name}", best_of(2, partial(look_plausible, _work)), alone=True)
for _role in ("client", "server"):
    _run = partial(look_plausible_go_peer, {"client": "server", "server": "client"}[_role])
    add(f"look_plausible_go_peer_{_role}", best_of(2, _run), limit=90, alone=True)


# ---- connect


def look_connect(work: Work) -> None:
    """What an observer finds nothing wrong with in the kernel's TCP, he does not here."""
    seen = observe.run_ours("connect", work)
    expect(figures.flows_without_syn(seen.server) == (0, 1), "no SYN, or not one flow")
    up, down = seen.up(), seen.down()
    for name, side, other in (("up", up, down), ("down", down, up)):
        expect_plausible(name, side, other["bytes"], HOLE, side["repeats"])
        for key in ("jumps", "altered", "acks_backwards"):
            expect(side[key] == 0, f"{name}: {key} {side[key]}")
        expect(side["tsecr_known"] == 100, f"{name}: TSecr known: {side['tsecr_known']:.1f} %")
        expect(990 < side["tsval_rate"] < 1010, f"{name}: TSval steps {side['tsval_rate']} / s")
    holes = figures.direction(seen.client, up=False)["holes"]
    expect(holes <= compare.APART, f"{holes} holes are never filled")
    expect(holes < down["repeats"] < 100, f"{down['repeats']} packets fill holes")
    for name, at, is_up in (("up", seen.client, True), ("down", seen.server, False)):
        first = figures.first_payloads(at, is_up)
        expect(first["suspect"] == 0, f"{name}: the fully-encrypted rule knows it")
    expect(up["without_payload"] > 8, f"bare acknowledgements: {up['without_payload']:.0f} %")
    expect(down["without_payload"] > 0, "the server never acknowledges without data")
    psh = psh_of_download(seen)
    expect(psh < 50, f"PSH in {psh:.0f} % of the download")
    ends = [packet.up for packet in seen.server if packet.flags & FIN]
    expect(sorted(set(ends)) == [False, True] and len(ends) <= 4, f"FIN: {ends}")


for _name, _work in (("", WORK), ("_ipv6", Work(WORK.pages, WORK.download, ip6=True))):
    add(f"look_connect{_name}", best_of(2, partial(look_connect, _work)), alone=True)


def look_connect_compares() -> None:
    """Where nothing is lost, neither we nor others find anything that the kernel's has not."""
    values = []
    for run in (partial(observe.run_ours, "connect"), observe.run_kernel):
        with tempfile.TemporaryDirectory() as folder:
            seen = run(Work(WORK.pages, WORK.download, loss=0, rate=60, folder=Path(folder)))
            values.append(observe.describe(seen)[1])
    found, known = compare.compare("connect", *values)
    expect(not found and not known, f"differs: {found} {known}")
    ours, kernel = values
    ours["up"]["altered"] = compare.SMALL
    ours["up"]["packets"] *= 5
    ours["flows_without_syn"] = 1 + compare.APART
    found, _ = compare.compare("connect", ours, kernel)
    expect(len(found) == 3, f"it has not found all that was put there: {found}")


add("look_connect_compares", best_of(2, look_connect_compares), limit=90, alone=True)


def look_connect_as(system: str, name: str, ttl: int) -> None:
    """Whom p0f takes the client for."""
    if not shutil.which("p0f"):
        raise Skip("p0f is not installed")
    with tempfile.TemporaryDirectory() as folder:
        work = Work(pages=5, download=4 * MB, loss=0, folder=Path(folder))
        seen = observe.run_ours("connect", work, system)
        said = observers.p0f(Path(folder, "server.pcap"))["p0f: client"]
        expect(said == name, f"p0f says {said}")
        up = seen.up()
        expect(up["ttl"] == [ttl], f"TTL: {up['ttl']}")
        for key in ("astray", "acks_beyond", "altered"):
            expect(up[key] == 0 and seen.down()[key] == 0, f"{key}: {up[key]}, {seen.down()[key]}")


add("look_connect_as_android", partial(look_connect_as, "android", "Linux 2.2.x-3.x", 64))
add("look_connect_as_apple", partial(look_connect_as, "apple", "Mac OS X", 64))
add("look_connect_as_windows", partial(look_connect_as, "windows", "Windows NT kernel", 128))


# ---- Go peers


def go_peer_with_receive_offload(flags: str) -> None:
    """The Go peer takes one captured packet for one datagram: its kernel must glue none together."""
    with Lab() as lab:
        for host in (lab.c, lab.s):
            # a virtual wire leaves it to the receiver only where the sender has no offload itself
            host.check(["ethtool", "-K", host.device, "gro", "on", "tso", "off", "tx", "off"])
            # each packet has a poll of its own here: what is held outlives it, as on a real card
            wait = f"echo 2000000 > /sys/class/net/{host.device}/gro_flush_timeout"
            host.check(["sh", "-c", wait])
        lab.s.keep_kernel_quiet(paqet.PORT)
        lab.origin()
        gopeer.start_server(lab, "b", gopeer.Options(flags=flags))
        extra = f'  tcp:\n    local_flag: ["{flags}"]\n'
        client = paqet.start_client(lab, Settings(network_extra=extra, level="debug"))
        paqet.wait_working(lab)
        capture = lab.sniff(f"tcp dst port {paqet.PORT}", 100)
        result = lab.load("send", "--bytes", 20_000_000, limit=40)
        longest = max(int.from_bytes(s.frame[16:18], "big") for s in capture.stop())
        expect(result["failed"] == 0, f"{result}")
        expect(longest <= 1500, f"the kernel has glued packets together: {longest} bytes")
        client.stop()


for _flags in ("PA", "A"):
    add(f"look_receive_offload_at_go_peer_{_flags}", partial(go_peer_with_receive_offload, _flags))
