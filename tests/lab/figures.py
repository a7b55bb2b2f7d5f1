# SPDX-License-Identifier: MIT
"""What the headers of a capture give away, in figures.

Each direction is captured at its sender's interface. Only there it is certain what has been sent,
and what had arrived at the sender when it acknowledged: behind a link that loses, a hole and an
acknowledgement of what was lost later look the same as a lie.
"""

from __future__ import annotations

import struct
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import packets
from packets import ACK, FIN, PSH, SYN

BOUNDS = (0, 99, 399, 999, 1299)  # payload sizes up to these, and above the last
HEADS = (b"GET ", b"PUT ", b"POST", b"HEAD")

Flow = tuple[str, int, str, int]  # client and its port, server and its port


@dataclass(slots=True)
class Packet:
    time: float  # s
    up: bool  # from the client
    flow: Flow
    length: int  # bytes, from the IP header on
    flags: int
    seq: int
    ack: int
    window: int  # as in the header, not scaled
    tsval: int | None
    tsecr: int | None
    ip_id: int | None
    tos: int
    ttl: int
    label: int
    payload: bytes

    @property
    def span(self) -> int:
        """What it takes of the sequence numbers."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


def timestamps(options: bytes) -> tuple[int, int] | tuple[None, None]:
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if options[at] == 8 and length == 10 and at + 10 <= len(options):
            return struct.unpack_from("!II", options, at + 2)
        if length < 2:
            break
        at += length
    return None, None


def parse(time: float, frame: bytes, port: int) -> Packet | None:
    """A packet to or from the server's port, None for anything else."""
    segment = packets.parse(frame)
    if not segment or port not in (segment.source_port, segment.destination_port):
        return None
    up = segment.destination_port == port
    client = segment.source, segment.source_port
    server = segment.destination, segment.destination_port
    flow = client + server if up else server + client
    if frame[14] >> 4 == 4:
        tcp = 14 + (frame[14] & 15) * 4
        length, ip_id = struct.unpack_from("!HH", frame, 16)
        tos, ttl, label = frame[15], frame[22], 0
    else:
        tcp = 54
        first, body = struct.unpack_from("!IH", frame, 14)
        length, ip_id = 40 + body, None
        tos, ttl, label = first >> 20 & 0xFF, frame[21], first & 0xFFFFF
    seq, ack = struct.unpack_from("!II", frame, tcp + 4)
    window = struct.unpack_from("!H", frame, tcp + 14)[0]
    tsval, tsecr = timestamps(frame[tcp + 20 : tcp + (frame[tcp + 12] >> 4) * 4])
    flags, payload = segment.flags, segment.payload
    numbers = (flags, seq, ack, window, tsval, tsecr, ip_id, tos, ttl, label)
    return Packet(time, up, flow, length, *numbers, payload)


def read(path: Path, port: int) -> list[Packet]:
    """In the order in which the kernel saw them."""
    parsed = (parse(time, frame, port) for time, frame in packets.read_records(path))
    return [packet for packet in parsed if packet]


def near(number: int, reference: int) -> int:
    """A 32-bit number without its wrapping: that one which is nearest to the reference."""
    return reference + (number - reference + 0x80000000) % 0x100000000 - 0x80000000


@dataclass
class Sent:
    """One direction of one flow, fed with all that passes at the sender's interface."""

    high: int | None = None  # the end of what was sent, in sequence numbers
    pieces: list[tuple[int, int, bytes]] = field(default_factory=list)  # begin, end, content
    astray: int = 0  # packets, also without payload, that do not begin at that end
    jumps: int = 0  # packets that begin past that end
    repeats: int = 0  # packets with bytes sent before
    altered: int = 0  # of these, packets where the bytes are others

    peer_high: int | None = None  # the end of what has arrived
    arrivals: list[tuple[int, float]] = field(default_factory=list)  # that end, and since when
    peer_tsvals: set[int] = field(default_factory=set)
    acks: set[int] = field(default_factory=set)
    last_ack: int | None = None
    beyond: int = 0  # packets that acknowledge what has not arrived
    backwards: int = 0  # packets that acknowledge less than one before
    stand: float = 0  # s; the oldest data that a packet sent later does not acknowledge
    blind: list[int] = field(default_factory=list)  # acks before anything has arrived
    contradicted: int = 0  # of these, acks that are not where the peer then begins

    timed: int = 0  # packets with a TSecr, once anything has arrived
    known: int = 0  # of these, packets whose TSecr is a TSval that has arrived
    clock: list[tuple[float, int]] = field(default_factory=list)  # time, TSval
    clock_back: int = 0
    ids: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)

    def take_sent(self, packet: Packet) -> None:
        self.take_sequence(packet)
        if packet.flags & ACK:
            self.take_ack(packet)
        if packet.tsval is not None:
            self.take_time(packet)
        if packet.ip_id is not None:
            self.ids.append(packet.ip_id)
        self.windows.append(packet.window)

    def take_sequence(self, packet: Packet) -> None:
        if self.high is None:
            self.high = packet.seq
        begin = near(packet.seq, self.high)
        self.astray += begin != self.high
        if not packet.span:
            return
        end = begin + packet.span
        self.jumps += begin > self.high
        self.high = max(self.high, end)
        self.insert(begin, end, packet.payload if packet.span == len(packet.payload) else b"")

    def insert(self, begin: int, end: int, content: bytes) -> None:
        """Only what was not there before; what was is compared."""
        repeated = altered = False
        at = begin
        first = max(0, bisect_right(self.pieces, begin, key=lambda piece: piece[0]) - 1)
        new = []
        for old_begin, old_end, old in self.pieces[first:]:
            if old_begin >= end:
                break
            if old_end <= at:
                continue
            if old_begin > at:
                new.append((at, old_begin))
            low, top = max(at, old_begin), min(end, old_end)
            repeated = True
            if old and content:
                mine = content[low - begin : top - begin]
                altered |= mine != old[low - old_begin : top - old_begin]
            at = top
        if at < end:
            new.append((at, end))
        for low, top in new:
            insort(self.pieces, (low, top, content[low - begin : top - begin]))
        self.repeats += repeated
        self.altered += altered

    def holes(self) -> int:
        """Gaps in what was sent that were never filled."""
        pairs = zip(self.pieces, self.pieces[1:], strict=False)
        return sum(after[0] > before[1] for before, after in pairs)

    def take_ack(self, packet: Packet) -> None:
        self.acks.add(packet.ack)
        if self.peer_high is None:
            self.blind.append(packet.ack)
            return
        ack = near(packet.ack, self.peer_high)
        self.backwards += self.last_ack is not None and ack < self.last_ack
        self.last_ack = ack
        self.beyond += ack > self.peer_high
        if ack < self.peer_high:
            waiting = bisect_right(self.arrivals, ack, key=lambda arrival: arrival[0])
            self.stand = max(self.stand, packet.time - self.arrivals[waiting][1])

    def take_time(self, packet: Packet) -> None:
        last = self.clock[-1][1] if self.clock else packet.tsval
        tsval = near(packet.tsval, last)
        self.clock_back += tsval < last
        self.clock.append((packet.time, tsval))
        if self.peer_tsvals:
            self.timed += 1
            self.known += packet.tsecr in self.peer_tsvals

    def take_arrived(self, packet: Packet) -> None:
        if packet.tsval is not None:
            self.peer_tsvals.add(packet.tsval)
        if self.peer_high is None:
            if not packet.span:
                return
            self.peer_high = packet.seq
            self.contradicted = sum(ack != packet.seq for ack in self.blind)
        end = near(packet.seq, self.peer_high) + packet.span
        if end > self.peer_high:
            self.peer_high = end
            self.arrivals.append((end, packet.time))

    def clock_rate(self) -> float:
        """TSval steps for each second, 0 if it is not known."""
        if not self.clock:
            return 0
        seconds = self.clock[-1][0] - self.clock[0][0]
        return (self.clock[-1][1] - self.clock[0][1]) / seconds if seconds > 0.5 else 0


def follow(seen: list[Packet], up: bool) -> dict[Flow, Sent]:
    """The flows of one direction, from a capture at its sender's interface."""
    flows: dict[Flow, Sent] = defaultdict(Sent)
    for packet in seen:
        if packet.up == up:
            flows[packet.flow].take_sent(packet)
        else:
            flows[packet.flow].take_arrived(packet)
    return flows


def share(part: float, whole: float) -> float:
    """Percent."""
    return 100 * part / whole if whole else 0


def one_packet_rule(packet: Packet) -> bool:
    """What the inherited packets show, each of them: ack and TSecr made from seq and TSval."""
    if packet.tsval is None:
        return False
    ahead = (packet.ack - packet.seq) % 0x100000000
    behind = (packet.tsval - packet.tsecr) % 0x100000000
    return 377 <= ahead <= 1400 and 50 <= behind <= 249


def direction(seen: list[Packet], up: bool) -> dict[str, Any]:
    """All figures of one direction; `seen` is from its sender's interface."""
    flows = [sent for sent in follow(seen, up).values() if sent.windows]
    sent = [packet for packet in seen if packet.up == up]
    data = [packet for packet in sent if packet.payload]

    def total(name: str) -> int:
        return sum(getattr(flow, name) for flow in flows)

    steps = Counter(
        (b - a) % 0x10000 for flow in flows for a, b in zip(flow.ids, flow.ids[1:], strict=False)
    )
    changes = sum(
        a != b for flow in flows for a, b in zip(flow.windows, flow.windows[1:], strict=False)
    )
    sizes = Counter(sum(len(packet.payload) > bound for bound in BOUNDS) for packet in sent)
    longest = max(flows, key=lambda flow: len(flow.clock), default=Sent())
    ids = [packet.ip_id for packet in sent if packet.ip_id is not None]
    return {
        "packets": len(sent),
        "data_packets": len(data),
        "bytes": sum(packet.length for packet in sent),
        "one_packet_rule": share(sum(map(one_packet_rule, data)), len(data)),
        "astray": total("astray"),
        "jumps": total("jumps"),
        "holes": sum(flow.holes() for flow in flows),
        "repeats": total("repeats"),
        "altered": total("altered"),
        "acks_beyond": total("beyond"),
        "acks_backwards": total("backwards"),
        "acks_different": len(set().union(*(flow.acks for flow in flows))),
        "ack_stands_ms": 1000 * max((flow.stand for flow in flows), default=0),
        "blind_acks_contradicted": total("contradicted"),
        "tsecr_known": share(total("known"), total("timed")),
        "tsval_back": total("clock_back"),
        "tsval_rate": longest.clock_rate(),
        "no_timestamp": sum(packet.tsval is None for packet in sent),
        "ip_id_zero": share(ids.count(0), len(ids)) if ids else None,
        "ip_id_steps": {step: share(n, steps.total()) for step, n in steps.most_common(3)},
        "tos": sorted({packet.tos for packet in sent}),
        "tos_not_zero": share(sum(packet.tos != 0 for packet in sent), len(sent)),
        "ttl": sorted({packet.ttl for packet in sent}),
        "labels": sorted({packet.label for packet in sent}),
        "windows": len({packet.window for packet in sent}),
        "window_changes": share(changes, len(sent)),
        "psh": share(sum(packet.flags & PSH > 0 for packet in data), len(data)),
        "without_payload": share(len(sent) - len(data), len(sent)),
        "sizes": [share(sizes[i], len(sent)) for i in range(len(BOUNDS) + 1)],
    }


def printable(byte: int) -> bool:
    return 0x20 <= byte <= 0x7E


def longest_run(payload: bytes) -> int:
    longest = run = 0
    for byte in payload:
        run = run + 1 if printable(byte) else 0
        longest = max(longest, run)
    return longest


def exempt(payload: bytes) -> list[str]:
    """Why the fully-encrypted rule (USENIX Security 2023) leaves a first payload alone."""
    ones = mean(byte.bit_count() for byte in payload)
    tls = payload[0] in (0x16, 0x17) and payload[1:2] == b"\x03" and payload[2:3] <= b"\x09"
    reasons = {
        f"{ones:.2f} ones": not 3.4 < ones < 4.6,
        "6 printable": len(payload) >= 6 and all(map(printable, payload[:6])),
        "half printable": sum(map(printable, payload)) > len(payload) / 2,
        "printable run": longest_run(payload) > 20,
        "TLS": len(payload) > 2 and tls,
        "HTTP": payload.startswith(HEADS),
    }
    return [reason for reason, holds in reasons.items() if holds]


def first_payloads(seen: list[Packet], up: bool) -> dict[str, Any]:
    """How the fully-encrypted rule judges the first payload of each flow in this direction."""
    first: dict[Flow, bytes] = {}
    for packet in seen:
        if packet.up == up and packet.payload:
            first.setdefault(packet.flow, packet.payload)
    verdicts = [exempt(payload) for payload in first.values()]
    ones = [mean(byte.bit_count() for byte in payload) for payload in first.values()]
    return {
        "flows": len(first),
        "suspect": sum(not reasons for reasons in verdicts),
        "ones": median(ones) if ones else 0,
        "exempt_for": sorted(set().union(*verdicts)),
    }


def flows_without_syn(seen: list[Packet]) -> tuple[int, int]:
    """How many flows begin without a SYN, and how many flows there are."""
    first: dict[Flow, int] = {}
    for packet in seen:
        first.setdefault(packet.flow, packet.flags)
    return sum(not flags & SYN for flags in first.values()), len(first)


def intervals(seen: list[Packet], up: bool, begin: float, end: float) -> list[float]:
    """Seconds between packets of a direction, within some time."""
    times = [packet.time for packet in seen if packet.up == up and begin <= packet.time < end]
    return [b - a for a, b in zip(times, times[1:], strict=False)]
