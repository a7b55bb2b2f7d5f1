# SPDX-License-Identifier: MIT
"""A server with a range of ports, and a client that hops among them [docs/protocol.md 12.7]."""

from __future__ import annotations

import re
import socket
from functools import partial

import paqet
from case import add, expect, test
from lab import Host, Lab, Process, wait_until
from test_flows import MB, MOVED, Ends, expect_one_session, goes_on
from test_kernel import expect_refusal
from test_survive import expect_download, start_download

FIRST, LAST = 20000, 20100
RANGE = f"{FIRST}-{LAST}"


def server_ports(client: Process) -> list[int]:
    """Those that the client went to, in turn."""
    went = re.findall(r"session to [^ ]*:(\d+) from|goes on from port \d+, to [^ ]*:(\d+)", client.log())
    return [int(a or b) for a, b in went]


def expect_hopped(client: Process, least: int) -> None:
    ports = server_ports(client)
    expect(len(ports) >= least, f"only {len(ports)} ports: {ports}")
    expect(all(FIRST <= port <= LAST for port in ports), f"not all in {RANGE}: {ports}")
    expect(all(a != b for a, b in zip(ports, ports[1:])), f"one came twice: {ports}")


def expect_covered(host: Host, side: str) -> None:
    rules = host.firewall()
    expect(f"tcp {side} {RANGE}" in rules, f"{host.letter}: {rules}")


def hops(look: str, workers: int) -> None:
    """Each flow dies after 1.5 s: the download goes on, each time at another port of both ends."""
    with Lab(wan=["--delay", "20", "--rate", "20", "--kill-ms", "1500"]) as lab:
        keys = Ends(lab, ports=RANGE)
        keys.know_all()
        lab.origin()
        settings = keys.server_settings()
        settings.extra += f"performance:\n  packet_workers: {workers}\n"
        server = paqet.start_server(lab, settings)
        server.wait_log(f"listening on port {RANGE} of s0", 10)
        client = keys.start_client(network=False, extra=f"network:\n  tcp:\n    look: {look}\n")
        paqet.wait_working(lab)
        download = start_download(lab, 8 * MB, patience=15)
        wait_until(lambda: client.log().count(MOVED) >= 2, 15, "two moves")
        expect_covered(lab.s, "dport")
        expect_covered(lab.c, "sport")
        expect_download(download, 30)
        expect_hopped(client, 3)
        expect_one_session(server)


@test(timed=True)
def test_ports_hop() -> None:
    hops("plausible", 1)


@test(timed=True)
def test_ports_hop_by_connections() -> None:
    hops("connect", 4)


def blocked(rate: int, megabytes: int, moves: int) -> None:
    """The server's ports are blocked one after the other, each 1.5 s after its first packet."""
    box = ["--kill-by", "server", "--kill-ms", "1500"]
    with Lab(wan=["--delay", "20", "--rate", str(rate), *box]) as lab:
        client = goes_on(lab, Ends(lab, ports=RANGE), megabytes, moves, 60, network=False)
        expect_hopped(client, moves + 1)


add("ports_blocked", partial(blocked, 20, 4, 2), timed=True)
add("ports_blocked_long", partial(blocked, 8, 15, 10), limit=120, full=True)


@test(timed=True)
def test_ports_most_are_blocked_at_the_start() -> None:
    """A session begins at another port where nobody answers; what was asked for meanwhile waits."""
    with Lab(third=True) as lab:
        keys = Ends(lab, ports="20000-20003")
        lab.origin()
        keys.start_server()
        lab.middle.check(
            [
                "nft",
                "add table netdev lab_drop;"
                "add chain netdev lab_drop c { type filter hook ingress device wc priority 0; };"
                "add rule netdev lab_drop c tcp dport 20000-20002 drop",
            ]
        )
        keys.start_client(network=False)
        seconds = paqet.seconds_to_work(lab, 8, patience=12)
        print(f"  {seconds:.1f} s", flush=True)


@test(timed=True)
def test_ports_fixed_client_port() -> None:
    """Where only one port of the client may be used, the server's alone change."""
    with Lab(wan=["--delay", "20", "--kill-by", "server", "--kill-ms", "1500"]) as lab:
        client = goes_on(lab, Ends(lab, ports=RANGE), 1, 2, 20, client_port=41000)
        expect_hopped(client, 3)
        expect(client.log().count("goes on from port 41000, to") >= 2, f"from another port: {client.log()}")


@test()
def test_ports_refused() -> None:
    """What stands against it is said, with what to do: the kernel gives them away, somebody has one."""
    with Lab() as lab:
        keys = Ends(lab, ports="40000-40100")
        argv = ["sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=32768 60999"]
        lab.s.check(argv)
        lab.s.check(["sysctl", "-q", "-w", "net.ipv4.ip_local_reserved_ports=8080,50000-50010"])
        refused = paqet.start(lab.s, "given", paqet.server_config(lab, keys.server_settings()))
        wanted = "net.ipv4.ip_local_reserved_ports = 8080,50000-50010,40000-40100"
        expect_refusal(refused, re.escape(wanted))
        lab.s.check(["sysctl", "-q", "-w", wanted.replace(" ", "")])
        keys.start_server().stop()

        for address in ("0.0.0.0", "127.0.0.1", "::", "::1"):
            listener = lab.s.listen(address, 40077, lambda connection: connection.close())
            busy = paqet.start(lab.s, "busy", paqet.server_config(lab, keys.server_settings()))
            expect_refusal(busy, "port 40077 is in use")
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        lab.s.check(["sysctl", "-q", "-w", "net.ipv4.ip_local_reserved_ports=39000-42000"])
        server = keys.start_server()
        for other in ("40050-40060", "40100-40200", "40077", "39000-41000"):
            keys.ports = other
            second = paqet.start(lab.s, "second", paqet.server_config(lab, keys.server_settings()))
            expect_refusal(second, r"port 4\d+ is in use by another program \(another paqet server\?\)")
        expect(server.alive(), "the first one ended")
