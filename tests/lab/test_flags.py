# SPDX-License-Identifier: MIT
"""The TCP flags that are configured, as others see them: in turn, both ways, also beside Go programs."""

from __future__ import annotations

from functools import partial

import gopeer
import paqet
from case import add, expect, test
from lab import Host, Lab
from packets import Segment
from paqet import PORT, Settings
from test_peers import exchange

MB = 1_000_000
BITS = "FSRPAUECN"


def cycle(text: str) -> list[int]:
    return [sum(1 << BITS.index(letter) for letter in item) for item in text.split(",")]


def tcp_block(local: str, remote: str = "") -> str:
    def words(text: str) -> str:
        return ", ".join(f'"{item}"' for item in text.split(","))

    lines = f"  tcp:\n    local_flag: [{words(local)}]\n"
    return lines + (f"    remote_flag: [{words(remote)}]\n" if remote else "")


def flags_of(segment: Segment) -> int:
    """All nine, of an IPv4 frame without options."""
    return (segment.frame[46] & 1) << 8 | segment.flags


def follows(flags: list[int], wanted: list[int], restarts: int = 0) -> bool:
    """Whether a list runs through the cycle, from any entry on, and begins anew so many times at
    most: each TCPF restarts it, and family B sends one before each stream."""
    at = [start for start, flag in enumerate(wanted) if flag == flags[0]]
    left = dict.fromkeys(at, restarts)  # entry of the cycle -> restarts that remain
    for flag in flags[1:]:
        after: dict[int, int] = {}
        for entry, budget in left.items():
            following = (entry + 1) % len(wanted)
            if flag == wanted[following]:
                after[following] = max(budget, after.get(following, 0))
            if flag == wanted[0] and budget:
                after[0] = max(budget - 1, after.get(0, 0))
        left = after
    return bool(left)


def names(flags: list[int]) -> str:
    return ",".join("".join(c for i, c in enumerate(BITS) if f >> i & 1) or "-" for f in flags)


def plain_wire(lab: Lab) -> None:
    """What a capture sees is what would be on a wire: no frames that offload glued together."""
    for host in (lab.c, lab.s):
        off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
        host.check(["ethtool", "-K", host.device, *off])


def expect_cycle(
    segments: list[Segment], host: Host, wanted: str, skip: int = 0, restarts: int = 0
) -> None:
    """The segments from this host run through the cycle; `skip`: those before TCPF has arrived."""
    flags = [flags_of(s) for s in segments if s.source == host.ip4][skip:]
    expect(len(flags) > 30, f"only {len(flags)} segments from {host.letter}")
    expect(
        follows(flags, cycle(wanted), restarts),
        f"from {host.letter}: {names(flags[:12])} ... {names(flags[-6:])}, not {wanted}",
    )


def check_syn_options(segments: list[Segment]) -> None:
    """SYN brings MSS, SACK, timestamps and scale; all others timestamps only."""
    for segment in segments:
        length = (segment.frame[46] >> 4) * 4
        wanted = 40 if segment.flags & 2 else 32
        expect(length == wanted, f"{length} bytes of TCP header with {names([segment.flags])}")
        head = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" if segment.flags & 2 else b"\x01\x01\x08\x0a"
        options = segment.frame[54 : 54 + len(head)]
        expect(options == head, f"options {options.hex()} with {names([segment.flags])}")


def flags_both_ways(local: str, remote: str) -> None:
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        capture = lab.sniff(f"tcp port {PORT}")
        paqet.start_client(lab, Settings(network_extra=tcp_block(local, remote)))
        paqet.wait_working(lab)
        exchange(lab, 200_000)
        segments = capture.stop()
        expect_cycle(segments, lab.c, local)
        from_server = [s for s in segments if s.source == lab.s.ip4]
        first = flags_of(from_server[0])
        expect(first == cycle("A")[0], f"the server began with {names([first])}, not with its own")
        own = next((i for i, s in enumerate(from_server) if flags_of(s) not in cycle("A")), 0)
        expect(0 < own < 20, f"the server's flags changed with its segment {own}")
        expect_cycle(segments, lab.s, remote, own)
        check_syn_options(segments)


for _name, _local, _remote in (
    ("plain", "PA,P,PAU", "SA,PAE,PA"),
    ("syn", "S,SA,PA,PAC", "SPA,S,PAN"),
    ("fin", "FA,PA", "F,PAN"),
):
    add(f"flags_{_name}", partial(flags_both_ways, _local, _remote))


@test()
def test_flags_end_with_the_session() -> None:
    """The same port again: the server begins with its own flags, whatever was asked for before."""
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        settings = Settings(client_port=40001, network_extra=tcp_block("PA", "SA"))
        for _ in range(2):
            capture = lab.sniff(f"tcp src port {PORT}")
            client = paqet.start_client(lab, settings)
            paqet.wait_working(lab)
            client.stop()
            flags = [flags_of(s) for s in capture.stop()]
            expect(flags[0] == cycle("A")[0], f"the server began with {names(flags[:3])}")
            expect(cycle("SA")[0] in flags, "TCPF had no effect")


def flags_with_go_server(family: str) -> None:
    gopeer.path()
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        gopeer.start_server(lab, family, gopeer.Options(flags="A"))
        capture = lab.sniff(f"tcp port {PORT}")
        paqet.start_client(lab, Settings(network_extra=tcp_block("S,PA,A", "SA,PAU")))
        paqet.wait_working(lab)
        exchange(lab, 200_000)
        segments = capture.stop()
        expect_cycle(segments, lab.c, "S,PA,A")
        from_server = [flags_of(s) for s in segments if s.source == lab.s.ip4]
        own = next((i for i, flag in enumerate(from_server) if flag not in cycle("A")), 0)
        expect(0 < own < 20, f"the peer's flags changed with its segment {own}")
        expect_cycle(segments, lab.s, "SA,PAU", own)


def flags_with_go_client(family: str) -> None:
    gopeer.path()
    with Lab() as lab:
        plain_wire(lab)
        gopeer.start_echo(lab)
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        capture = lab.sniff(f"tcp port {PORT}")
        wanted = "S,PAU,PA"
        options = gopeer.Options(flags=wanted)
        gopeer.run_job(lab, family, options, "echo", "-bytes", "200000")
        segments = capture.stop()
        from_server = [flags_of(s) for s in segments if s.source == lab.s.ip4]
        own = next((i for i, flag in enumerate(from_server) if flag not in cycle("A")), 0)
        expect(own < 20, f"our flags changed with segment {own}")
        expect_cycle(segments, lab.s, wanted, own, restarts=family == "b")


for _family in ("a", "b"):
    add(f"flags_go_server_{_family}", partial(flags_with_go_server, _family))
    add(f"flags_go_client_{_family}", partial(flags_with_go_client, _family))
