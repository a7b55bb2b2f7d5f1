# SPDX-License-Identifier: MIT
"""Whether what others see of ours is what they see of the kernel's TCP, as script/observe has found it.

Counts below 20 may differ by 10, others by a factor of two. Of what is lost, and comes again, the
kernel's count is that for as many packets with data up as ours has: it loses so many of each 1,000.
What is known to differ, and stands in docs/detection.md, is told apart from what is not.
"""

from __future__ import annotations

import re
from typing import Any

SMALL, APART, TIMES = 20, 10, 2

# What single packets, or one direction alone, show of it: also without a handshake it must be alike.
SIDE_COUNTS = ("jumps", "altered", "acks_beyond", "acks_backwards", "tsval_back", "no_timestamp")
SIDE_PERCENT = {"one_packet_rule": 0.5, "tsecr_known": 1, "ip_id_zero": 1, "tos_not_zero": 0.5}
# What tshark calls a packet that fills a hole depends on how fast others follow.
FILLS = "out of order", "retransmission"
ALSO_FILLS = "fast retransmission"  # some of these, named once more
# What adds to these for each packet with data that is lost on its way up. At the client it has been
# sent twice, at the server one is lacking and then comes.
LOST_UP = (
    *("up: seq not where the last one ended", "up: packets repeating"),
    *("tshark: lost", "tshark: fills a hole", "tshark at the client: fills a hole"),
    "tcptrace: outoforder pkts",
)


def alike(ours: float, kernel: float) -> bool:
    if ours < SMALL and kernel < SMALL:
        return abs(ours - kernel) <= APART
    return max(ours, kernel) <= TIMES * min(ours, kernel)


def one_direction(name: str, ours: dict[str, Any], kernel: dict[str, Any]) -> dict[str, str]:
    found = {}
    for key in SIDE_COUNTS:
        if not alike(ours[key], kernel[key]):
            found[f"{name}: {key}"] = f"{ours[key]}, kernel {kernel[key]}"
    for key, apart in SIDE_PERCENT.items():
        if ours[key] is not None and abs(ours[key] - kernel[key]) > apart:
            found[f"{name}: {key}"] = f"{ours[key]:.1f} %, kernel {kernel[key]:.1f} %"
    if abs(ours["tsval_rate"] - kernel["tsval_rate"]) > 10:
        found[f"{name}: TSval for each second"] = f"{ours['tsval_rate']:.0f}"
    if ours["ttl"] != kernel["ttl"]:
        found[f"{name}: TTL"] = f"{ours['ttl']}, kernel {kernel['ttl']}"
    return found


def counts_of(values: dict[str, Any]) -> dict[str, float]:
    """What is counted by a connection's both directions, or by others."""
    counts: dict[str, float] = {"flows without SYN": values["flows_without_syn"]}
    for side in ("up", "down"):
        counts[f"{side}: seq not where the last one ended"] = values[side]["astray"]
        counts[f"{side}: packets repeating"] = values[side]["repeats"]
    for name, text in values["observers"].items():
        if name.startswith("tshark") and text.isdigit():
            place, kind = name.split(": ", 1)
            if kind in FILLS:
                name = f"{place}: fills a hole"
            if kind != ALSO_FILLS:
                counts[name] = counts.get(name, 0) + int(text)
        elif name.startswith("tcptrace") and (pair := re.fullmatch(r"(\d+) / (\d+)", text)):
            if "bytes" not in name:
                counts[name] = int(pair[1]) + int(pair[2])
        elif name.startswith("tcptrace") and (of := re.fullmatch(r"(\d+) of (\d+)", text)):
            counts[f"{name}: not"] = int(of[2]) - int(of[1])
    return counts


def more_up(ours: dict[str, Any], kernel: dict[str, Any]) -> float:
    """So many more packets with data the kernel would have repeated, had it sent as many up as ours has."""
    sides = kernel["up"], kernel["down"]
    sent = sum(side["data_packets"] for side in sides)
    again = sum(side["repeats"] for side in sides)
    more = max(0, ours["up"]["data_packets"] - kernel["up"]["data_packets"])
    return again / sent * more if sent else 0


def share_of_acks(values: dict[str, Any]) -> float:
    """Packets up for each thousand down: mostly acknowledgements of them."""
    return 1000 * values["up"]["packets"] / values["down"]["packets"]


def named(text: str) -> set[str]:
    """Names without what is counted of them."""
    names = {re.sub(r" \(\d+\)$", "", name) for name in text.split(", ")}
    return names - {"nothing", "none", "???", "0/Unknown"}


def whole(ours: dict[str, Any], kernel: dict[str, Any]) -> dict[str, str]:
    """What shows only where a connection is seen from its beginning, both ways."""
    found = {}
    mine, theirs = counts_of(ours), counts_of(kernel)
    more = more_up(ours, kernel)
    for name, count in theirs.items():
        would = count + (more if name in LOST_UP else 0)
        if not alike(mine.get(name, 0), would):
            as_many = f", {would:.0f} for as much data up" if would > count else ""
            found[name] = f"{mine.get(name, 0)}, kernel {count}{as_many}"
    up, other = share_of_acks(ours), share_of_acks(kernel)
    if not alike(up, other):
        found["packets up for 1,000 down"] = f"{up:.0f}, kernel {other:.0f}"
    for name in ("p0f: client", "p0f: server"):
        if name in kernel["observers"]:
            new = named(ours["observers"][name]) ^ named(kernel["observers"][name])
            if new:
                found[name] = f"{ours['observers'][name]}, kernel {kernel['observers'][name]}"
    for name in ("nDPI: protocol", "nDPI: risks"):
        if name in kernel["observers"]:
            new = named(ours["observers"][name]) - named(kernel["observers"][name])
            if new:
                found[name] = ", ".join(new)
    for side, first in ours["first_payload"].items():
        if first["suspect"]:
            found[f"{side}: the rule against random beginnings"] = f"{first['suspect']} flows"
    return found


def compare(
    look: str, ours: dict[str, Any], kernel: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """What differs, and what differs as documented; name to text."""
    found = one_direction("up", ours["up"], kernel["up"])
    found |= one_direction("down", ours["down"], kernel["down"])
    rest = whole(ours, kernel)
    known = [] if look == "connect" else list(rest)
    found |= {name: text for name, text in rest.items() if name not in known}
    return found, {name: rest[name] for name in known}
