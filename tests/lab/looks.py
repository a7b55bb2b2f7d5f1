# SPDX-License-Identifier: MIT
"""The switch that runs the lab in another look: with tests/run --look the files of clients and servers of
ours say network.tcp.look where the test itself does not.

`connect` needs keys: a server without any gets that of the lab, and who asks it its public one. Each
server begins as if it had been stopped in order before, so it answers connections at once.

While the switch is set each lab also watches both kernels beneath our programs: from when one is ready
until it is told to end no reset about the tunnel's port may come from the kernel, and at the end its
connection tracking, turned on for this, may know nothing of it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from case import Case, Skip, expect

if TYPE_CHECKING:
    from lab import Host

USUAL = "plausible"
LOOKS = (USUAL, "connect", "classic")
PORT = 9999  # of all servers whose test does not choose another

PRIVATE = "4816c37333de0df1c5c06228bf4a34d9fe7abccae61f79747318bd8070970ce3"
PUBLIC = "9bd8190c006090c3b16b2bc1e107aa28cff8ba9d85c7a4651bb98b765699fd31"

TABLE = "lab_watch"
RULES = f"""
table inet {TABLE} {{
    counter server_resets {{ }}
    counter client_resets {{ }}
    chain in {{ type filter hook input priority 300; ct state new accept; }}
    chain out {{
        type filter hook output priority 300;
        ct state new accept
        tcp flags & rst == rst tcp sport {PORT} counter name server_resets
        tcp flags & rst == rst tcp dport {PORT} counter name client_resets
    }}
}}
"""
READ = f"""
nft reset counter inet {TABLE} server_resets
nft reset counter inet {TABLE} client_resets
conntrack -L -p tcp
conntrack -L -f ipv6 -p tcp
"""

# Beginnings of names of tests that are the same in each run, with the reason.
OWN = {
    **dict.fromkeys(("connect_", "look_", "decoy_", "dump_", "segments_"), "chooses looks itself"),
    **dict.fromkeys(("setup_", "howto_", "package_", "openwrt_"), "has files as init writes them"),
    **dict.fromkeys(("manual_", "completions_", "install", "secret_"), "sends no packets"),
    "check_": "asks for each look itself",
    "page": "is about the status page",
    "liar_": "has no server of ours, whose kernel keeps still",
}
NOT_IN = {
    "plausible": {},
    "connect": {
        "wrong_cipher": "is about the Go programs' wire, the only one where the cipher is chosen",
        "upgrade_is_not_undone": "begins on the Go programs' wire",
        "keys_strangers_get_nothing": "comes with the server's public key, so it gets a connection",
        "keys_state_": "has a server that answers no connections in its first minutes",
    },
    "classic": {
        "packets_that_a_rule_takes_away": "needs IP ids, to tell packets apart",
        "ports_hop_by_connections": "has a client with handshakes, which such a server leaves alone",
    },
}
MAIN = (  # what --full runs in each of the other looks, too
    *("download_100_mb", "upload_100_mb", "both_directions_at_once", "200_parallel_requests"),
    *("bad_wan", "ipv6", "two_workers", "libpcap_backend", "reader_that_does_not_read", "server_restart"),
    *("server_killed_and_restarted", "stop_by_signal", "ten_uploads_then_half_close", "fec_both_ways"),
    *("keystroke_beside_downloads", "aborted_downloads_cost_nothing", "link_mtu_1280", "link_mtu_9000"),
    *("address_changes", "move_to_another_interface", "nat_port_rebinding", "two_servers"),
    *("flow_dies_after_bytes", "keys_carry_ipv4", "no_conntrack_entry", "many_starts_and_stops"),
    *("udp_associate_ipv4", "udp_1000_flows", "udp_with_loss", "tun_ping", "tun_iperf_tcp"),
    *("reload_servers", "go_client_a_aes_message", "go_server_b_aes-128-gcm_stream"),
)


def again(tests: list[Case]) -> list[Case]:
    """The main ones of these in each look but the usual one."""
    missing = set(MAIN) - {test.name for test in tests}
    if missing:
        raise ValueError(f"there are no such tests: {missing}")
    looks = [look for look in LOOKS if look != USUAL]
    main = [test for test in tests if test.name in MAIN]
    return [replace(test, name=f"{test.name} in {look}", look=look) for look in looks for test in main]


def choose(test: Case) -> None:
    """Runs the test in its look; skips it where that would show nothing."""
    if not test.look:
        return
    for begin, reason in (OWN | NOT_IN[test.look]).items():
        if test.name.startswith(begin):
            raise Skip(f"not in another look: it {reason}")
    os.environ["PAQET_LOOK"] = test.look


def chosen() -> str:
    """The look that the test is run in, or "" for what the program takes by itself."""
    return os.environ.get("PAQET_LOOK", "")


def need_not_connect(what: str) -> None:
    """Skips the test where `what` has no handshake."""
    if chosen() == "connect":
        raise Skip(f"look: connect is not for {what}")


# ---- configuration


def dress(text: str, look: str, folder: Path, quic: bool) -> str:
    """The configuration `text` with this look, if it says nothing of any. In `folder` a server that
    gets a key will keep what it has seen."""
    if not look or "look:" in text:
        return text
    if look == "connect" and re.search(r"wire: *\"?classic|(local|remote)_flag:", text):
        return text  # this is of flags, or of the Go programs' wire
    if look == "connect" and not quic:
        text = add_keys(text, folder)
    if look == "connect" and (quic or "public_key: " not in text and "private_key: " not in text):
        return text
    block, flow = re.search(r"(?m)^network:\n", text), re.search(r"(?m)^network: *{", text)
    if flow:
        return f"{text[: flow.end()]}tcp: {{look: {look}}}, {text[flow.end() :]}"
    if not block:
        return f"{text}network:\n  tcp:\n    look: {look}\n"
    if "\n  tcp:\n" in text:
        return text.replace("\n  tcp:\n", f"\n  tcp:\n    look: {look}\n", 1)
    return f"{text[: block.end()]}  tcp:\n    look: {look}\n{text[block.end() :]}"


def add_keys(text: str, folder: Path) -> str:
    if re.search(r'(?m)^role: "?server', text):
        if "private_key: " in text:
            return text
        keys = f"  private_key: {PRIVATE}\n  state: {folder}/stamps-of-lab\n"
        return text.replace("\ntransport:\n", f"\ntransport:\n{keys}", 1)
    if "public_key: " in text:
        return text
    text = re.sub(r"(?m)^(server:\n  )(addr:)", rf"\1public_key: {PUBLIC}\n  \2", text)
    text = re.sub(r"(?m)^(server: {)", rf"\1public_key: {PUBLIC}, ", text)
    text = re.sub(r"(?m)^(  - )(addr:)", rf"\1public_key: {PUBLIC}\n    \2", text)
    return re.sub(r"(?m)^(  - {)(addr:)", rf"\1public_key: {PUBLIC}, \2", text)


def public_key(alone: bool = False) -> str:
    """What a test writes before the address of one more server; `alone`: as a line of its own."""
    if chosen() != "connect":
        return ""
    return f"  public_key: {PUBLIC}\n" if alone else f"public_key: {PUBLIC}, "


def prepare(text: str, host: Host) -> str:
    """What is written at last, before a server with this configuration starts on `host`."""
    port = re.search(r'(?m)^  addr: ":(\d+)', text)
    if chosen() != "connect" or not port:
        return text
    text = text.replace("/stamps-of-lab\n", f"/stamps-{host.letter}-{port[1]}\n")
    state = re.search(r"(?m)^ +state: (\S+)", text)
    if state:
        Path(f"{state[1]}.syns").write_text("paqet syns 1\nfrom 0\nend\n")
    return text


# ---- the kernels beneath


class Watch:
    """Over one host's kernel."""

    def __init__(self, host: Host):
        self.host = host
        self.running = 0
        self.orphans = False  # there are flows of a client that was killed, which the server goes on with
        self.before: set[str] = set()
        host.check(["nft", RULES])

    def begin(self) -> None:
        """A program of ours is ready. What was before it came is not its fault."""
        if self.running:
            self.check()
        self.running += 1
        self.before |= self.read()[2]

    def end(self, alive: bool) -> None:
        """One is about to end; or it is not alive any more."""
        if alive:
            self.check()
        self.running -= 1
        self.orphans = self.orphans or not alive

    def check(self) -> None:
        of_server, of_client, tracked = self.read()
        resets = of_server + (0 if self.orphans else of_client)
        expect(not resets, f"the kernel of {self.host.letter} has sent {resets} resets")
        more = tracked - self.before
        expect(not more, f"the kernel of {self.host.letter} tracks {sorted(more)}")

    def read(self) -> tuple[int, int, set[str]]:
        """How many resets since this was asked last, from and to the server's port, and what is
        tracked: addresses and ports both ways, and nothing whose addresses the kernel changes."""
        text = self.host.check(["sh", "-ec", READ])
        counts = [int(count) for count in re.findall(r"packets (\d+)", text)]
        expect(len(counts) == 2, text)
        flows = re.findall(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)", text)
        there, back = flows[::2], flows[1::2]
        tracked = {
            " ".join(one)
            for one, other in zip(there, back)
            if str(PORT) in one[2:] and other[:2] == (one[1], one[0])
        }
        return counts[0], counts[1], tracked
