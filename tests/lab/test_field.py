# SPDX-License-Identifier: MIT
"""Networks as users have them: names, interfaces and routers that change or come late, and ways out
that are not the simplest."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import paqet
from case import add, expect, test
from lab import Host, Lab, Process, wait_until
from paqet import PORT, Settings
from test_move import WIFI, Roads
from test_rules import names
from test_survive import second_server, server_side

NAME = "server.test"
BY_NAME = f'server:\n  addr: "{NAME}:{PORT}"\n'
ROUTER = "02:aa:bb:cc:dd:01"


def expect_alive(process: Process) -> None:
    expect(process.alive(), f"{process.log_path.stem} ended: {process.last_lines()}")


# ---- the server's interface


def plug(lab: Lab) -> None:
    """The server's wire to the switch, made anew: another interface with the same name."""
    host, port = lab.s, "ws"
    lab.wire(host, host.device, lab.middle, port)
    host.check(["ip", "link", "set", host.device, "address", host.mac])
    host.check(["ip", "addr", "add", f"{host.ip4}/24", "dev", host.device])
    host.check(["ip", "link", "set", host.device, "up"])
    lab.middle.check(["ip", "link", "set", port, "master", "br0", "up"])
    wait_until(lab.switch_forwards, 10, "the switch's ports forward")


def server_interface_made_anew(settings: Settings) -> None:
    with Lab(third=True) as lab:
        lab.origin()
        server = paqet.start_server(lab, settings)
        paqet.start_client(lab, Settings(network=False))
        paqet.wait_working(lab)
        lab.s.check(["ip", "link", "del", lab.s.device])
        time.sleep(2)
        expect_alive(server)
        plug(lab)
        paqet.seconds_to_work(lab, 5, patience=1)
        rules = lab.s.firewall()
        expect(f'"{lab.s.device}"' in rules, f"no firewall rule for the new interface: {rules}")
        expect(server.stop() == 0, "exit code")


_found = Settings(network=False, extra="network: {interface: s0}\n")
for _name, _settings in (("", Settings()), ("_found", _found)):
    _check = partial(server_interface_made_anew, _settings)
    add(f"server_interface_made_anew{_name}", _check, timed=True)


# ---- the name of the server


def rewrite_names(host: Host, lines: str) -> None:
    """Inside `names`: from now on these, also for programs that run."""
    Path("/etc/netns", host.namespace, "hosts").write_text(f"127.0.0.1 localhost\n{lines}")


def both_families(lab: Lab) -> str:
    """The client's network block, so that it need not ask who is there."""
    return (
        f"network:\n  interface: {lab.c.device}\n"
        f'  ipv4: {{addr: "{lab.c.ip4}:0", router_mac: "{lab.s.mac}"}}\n'
        f'  ipv6: {{addr: "[{lab.c.ip6}]:0", router_mac: "{lab.s.mac}"}}\n'
    )


def drop_family(lab: Lab, rule: str) -> None:
    """The switch loses what the client sends in this family, and nobody says so."""
    lab.middle.check(
        [
            "nft",
            "add table netdev lab_family;"
            "add chain netdev lab_family c { type filter hook ingress device wc priority 0; };"
            f"add rule netdev lab_family c {rule} drop",
        ]
    )


def name_with_two_families(silent: str, configured: bool, limit: float) -> None:
    with Lab(third=True) as lab, names(lab.c, f"{lab.s.ip4} {NAME}\n{lab.s.ip6} {NAME}\n"):
        drop_family(lab, f"{silent} tcp")
        lab.origin()
        server = paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        extra = both_families(lab) if configured else ""
        settings = Settings(network=False, server=BY_NAME, extra=extra)
        client = paqet.start_client(lab, settings)
        paqet.seconds_to_work(lab, limit, patience=1)
        expect("connected" in server.log(), "the server has no client")
        if silent.startswith("ip6"):
            first = re.search(r"session to (\S+)", client.log())
            expect(first and first[1].startswith(lab.s.ip4), f"not IPv4 first: {client.log()}")
        expect_alive(client)


for _configured in (False, True):
    _how = "configured" if _configured else "found"
    for _name, _silent, _limit in (("4", "ip6 nexthdr", 2.5), ("6", "ip protocol", 8)):
        add(
            f"name_where_only_ipv{_name}_answers_{_how}",
            partial(name_with_two_families, _silent, _configured, _limit),
            timed=True,
        )


@test(timed=True)
def test_name_is_looked_up_again() -> None:
    """The server moves to another address, and its name says so."""
    with Lab(third=True) as lab, names(lab.c, f"{lab.s.ip4} {NAME}\n"):
        lab.origin()
        first = paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        client = paqet.start_client(lab, Settings(network=False, server=BY_NAME))
        paqet.wait_working(lab)
        second = second_server(lab, lab.x)
        first.kill()
        rewrite_names(lab.c, f"{lab.x.ip4} {NAME}\n")
        paqet.seconds_to_work(lab, 8, patience=1)
        expect("connected" in second.log(), "the new address was not asked")
        expect_alive(client)


# ---- a network that comes late


@contextlib.contextmanager
def waiting_client(lab: Lab, settings: Settings, seconds: float = 5) -> Iterator[None]:
    """A client that cannot reach its server; inside, the network comes, and it must work soon."""
    lab.origin()
    paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
    client = paqet.start(lab.c, "client", paqet.client_config(lab, settings))
    time.sleep(2)
    expect_alive(client)
    yield
    paqet.seconds_to_work(lab, seconds, patience=1)
    lines = client.log().count("\n")
    expect(lines < 40, f"{lines} lines in the client's log: not rate-limited")
    expect(client.stop() == 0, "exit code")
    expect(not lab.c.firewall(), "rules were left behind")


def network_comes_late(settings: Settings) -> None:
    with Roads() as lab:
        lab.down(WIFI)
        with waiting_client(lab, settings):
            lab.up(WIFI)


for _name, _extra in (
    ("network_comes_late", ""),
    ("network_comes_late_interface_named", f"network: {{interface: {WIFI.device}}}\n"),
):
    _check = partial(network_comes_late, Settings(network=False, extra=_extra))
    add(_name, _check, timed=True)


@test(timed=True)
def test_route_comes_late() -> None:
    with Roads() as lab:
        lab.c.check(["ip", "route", "del", "default"])
        with waiting_client(lab, Settings(network=False)):
            lab.up(WIFI)


@test(timed=True)
def test_name_comes_late() -> None:
    with Lab() as lab, names(lab.c, "", "nameserver 127.0.0.1\n"):  # where nobody answers
        settings = Settings(network=False, server=BY_NAME)
        with waiting_client(lab, settings, 4 + paqet.lookup_seconds()):
            rewrite_names(lab.c, f"{lab.s.ip4} {NAME}\n")


@test()
def test_client_that_waits_can_be_stopped() -> None:
    with Roads() as lab:
        lab.down(WIFI)
        config = paqet.client_config(lab, Settings(network=False))
        client = paqet.start(lab.c, "client", config)
        time.sleep(1)
        expect_alive(client)
        code = client.stop(2)
        expect(code == 0, f"exit code {code} on SIGTERM")


# ---- the router


@test(timed=True)
def test_router_with_another_mac() -> None:
    """A new one at the old address; the client's kernel, which sends nothing, does not notice."""
    with Roads() as lab:
        lab.origin()
        paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        client = paqet.start_client(lab, Settings(network=False))
        paqet.wait_working(lab)
        w, neighbour = lab.middle, ["ip", "neigh", "replace"]
        old = w.check(["cat", f"/sys/class/net/{WIFI.port}/address"]).strip()
        w.check(["ip", "link", "set", WIFI.port, "address", ROUTER])
        to_client = [WIFI.own, "lladdr", lab.c.mac, "dev", WIFI.port, "nud", "permanent"]
        w.check([*neighbour, *to_client])  # so that the new router does not ask, either
        stale = [WIFI.router, "lladdr", old, "dev", WIFI.device, "nud", "stale"]
        lab.c.check([*neighbour, *stale])
        paqet.seconds_to_work(lab, 6, patience=1)
        expect_alive(client)


# ---- the way out


class Ways(Lab):
    """The client host has two interfaces with nobody behind, e0 and e1, beside the wire to s."""

    def __init__(self, wire: bool = False) -> None:
        super().__init__()
        if not wire:
            self.c.check(["ip", "link", "set", self.c.device, "down"])
        for device in ("e0", "e1"):
            self.wire(self.c, device, self.c, f"{device}p")
            for each in (device, f"{device}p"):
                self.c.check(["ip", "link", "set", each, "up"])

    def ip(self, text: str) -> None:
        self.c.check(["ip", *text.split()])

    def two_addresses(self) -> None:
        self.ip("addr add 10.1.0.7/24 dev e0")
        self.ip("addr add 10.2.0.7/24 dev e1")

    def server_listens_on(self, device: str) -> None:
        config = paqet.server_config(self, Settings(network=False, extra="allow: any\n"))
        server = paqet.start(self.c, "server", config)
        server.wait_log(f"listening on port {PORT} of {device}\n", 3)

    def client(self, extra: str = "") -> Process:
        far = f'server:\n  addr: "203.0.113.9:{PORT}"\n'
        config = paqet.client_config(self, Settings(network=False, server=far, extra=extra))
        return paqet.start(self.c, "client", config)


def ear(host: Host, device: str) -> socket.socket:
    raw = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((device, 3))
    return raw


def hears_client(raw: socket.socket, limit: float) -> bytes:
    """The Ethernet header of the first packet to the server; nothing if there is none."""
    end = time.monotonic() + limit
    while (left := end - time.monotonic()) > 0:
        raw.settimeout(left)
        with contextlib.suppress(TimeoutError):
            frame = raw.recv(2048)
            if socket.inet_aton("203.0.113.9") in frame[14:40] and frame[23:24] == b"\x06":
                return frame[:14]
    return b""


@test()
def test_way_out_of_least_metric() -> None:
    with Ways() as lab:
        lab.two_addresses()
        lab.ip("route add default via 10.1.0.1 dev e0 metric 600")
        lab.ip("route add default via 10.2.0.1 dev e1 metric 50")
        lab.server_listens_on("e1")


@test()
def test_way_out_of_the_main_table() -> None:
    with Ways() as lab:
        lab.two_addresses()
        lab.ip("route add default via 10.1.0.1 dev e0 table 100")
        lab.ip("route add default via 10.2.0.1 dev e1")
        lab.server_listens_on("e1")


@test()
def test_way_out_without_a_gateway() -> None:
    """As with PPP, or where the provider's route is on-link."""
    with Ways() as lab:
        lab.ip("addr add 10.1.0.7/24 dev e0")
        lab.ip("addr add 203.0.113.7/32 dev e1")
        lab.ip("route add default dev e1")
        lab.server_listens_on("e1")


@test()
def test_ipv4_through_an_ipv6_router() -> None:
    with Ways() as lab:
        lab.ip("addr add 198.18.5.7/32 dev e0")
        lab.ip("addr add fe80::7/64 dev e0 nodad")
        lab.ip("neigh add fe80::1 lladdr fe:ff:ff:ff:ff:ff dev e0")
        lab.ip("-4 route add 0.0.0.0/0 via inet6 fe80::1 dev e0")
        with ear(lab.c, "e0p") as raw:
            client = lab.client()
            header = hears_client(raw, 4)
        expect(header, f"no packet left: {client.last_lines()}")
        expect(header[:6] == bytes.fromhex("feffffffffff"), f"not to the router: {header.hex(':')}")
        client.wait_log(rf"session to 203\.0\.113\.9:{PORT}", 1)


@test()
def test_configured_address_chooses_the_way() -> None:
    """Only network.ipv4.addr is set, and a rule for this source leads to the other interface."""
    with Ways() as lab:
        lab.two_addresses()
        for n in (0, 1):
            lab.ip(f"neigh add 10.{n + 1}.0.1 lladdr 02:00:00:00:00:0{n} dev e{n}")
        lab.ip("route add default via 10.1.0.1 dev e0")
        lab.ip("route add default via 10.2.0.1 dev e1 table 100")
        lab.ip("rule add from 10.2.0.7 table 100")
        with ear(lab.c, "e0p") as wrong, ear(lab.c, "e1p") as right:
            client = lab.client('network:\n  ipv4: {addr: "10.2.0.7:0"}\n')
            header = hears_client(right, 3)
            expect(not hears_client(wrong, 0.3), "packets leave by e0")
        expect(header, f"no packet left by e1: {client.last_lines()}")
        expect(header[:6] == bytes.fromhex("020000000001"), f"not to the router: {header.hex(':')}")


@test(timed=True)
def test_router_is_found_behind_a_firewall() -> None:
    """Nothing may leave but by lo, so the kernel is not to be had to ask for the router's MAC."""
    with Ways(wire=True) as lab:
        lab.s.check(["ip", "addr", "add", "203.0.113.9/32", "dev", "lo"])
        lab.ip(f"route add default via {lab.s.ip4}")
        lab.origin()
        paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        lab.ip(f"neigh flush dev {lab.c.device}")
        lab.c.check(
            [
                "nft",
                "add table inet lab_strict;"
                "add chain inet lab_strict o { type filter hook output priority 0; policy drop; };"
                "add rule inet lab_strict o oif lo accept",
            ]
        )
        client = lab.client()
        paqet.seconds_to_work(lab, 5, patience=1)
        expect_alive(client)


@test()
def test_server_with_many_addresses() -> None:
    """Clients may come to any of them; where there are more than 16, no firewall rule names them."""
    with Lab() as lab:
        lab.origin()
        address = ""
        for number in range(101, 131):
            address = lab.s.ip4.rsplit(".", 1)[0] + f".{number}"
            lab.s.check(["ip", "addr", "add", f"{address}/24", "dev", lab.s.device])
        server = paqet.start_server(lab, Settings(network=False, interface=lab.s.device))
        client = paqet.start_client(lab, Settings(server=f'server:\n  addr: "{address}:{PORT}"\n'))
        paqet.wait_working(lab, 5)
        expect_alive(server)
        expect_alive(client)
