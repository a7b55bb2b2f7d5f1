# SPDX-License-Identifier: MIT
"""Sessions that survive: servers that go and come, paths that go silent, addresses that change."""

from __future__ import annotations

import re
import time
from functools import partial

import goserver
import gopeer
import paqet
from case import add, expect, test
from goserver import GoServer, go_servers
from lab import Host, Lab, Process, tool, wait_until
from paqet import PORT, Settings

MB = 1_000_000
SLOW = ["--rate", "30", "--delay", "5"]  # a download that is still running when something happens


def start_download(lab: Lab, size: int, patience: int) -> Process:
    """A download in the background that waits up to `patience` seconds for each piece."""
    argv = [tool("lab-load"), "fetch", "--socks", str(paqet.SOCKS), "--bytes", str(size)]
    argv += ["--timeout", str(patience), "127.0.0.1", "8080"]
    process = lab.c.start("download", argv)
    process.may_end = True
    return process


def expect_download(process: Process, limit: float) -> None:
    """It has come to its end, and every byte was right."""
    expect(process.wait(limit) == 0, f"the download: {process.last_lines()}")


# ---- a server that goes and comes


@test(timed=True)
def test_server_stops_and_the_client_knows() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        before = len(pair.client.log())
        expect(pair.server.stop() == 0, "the server ended with an error on SIGTERM")
        wait_until(lambda: "ended" in pair.client.log()[before:], 3, "a word of the client")
        pair.server = paqet.start_server(lab, Settings())
        paqet.seconds_to_work(lab, 3, patience=1)
        pair.check_alive()


@test(timed=True)
def test_stopped_server_ends_connections() -> None:
    """An open connection through a server that says goodbye ends at once, it does not hang."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        pair.server.stop()
        seconds = paqet.seconds_to_end(echo.connection, 5)
        expect(seconds < 3, f"the connection ended after {seconds:.1f} s")
        echo.close()


@test(timed=True)
def test_client_stops_and_the_server_knows() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        pair.client.stop()
        pair.server.wait_log("client .* gone", 1)


@test(timed=True)
def test_server_killed_and_back() -> None:
    """It said nothing: the new one does not know the session."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        pair.server.kill()
        pair.server = paqet.start_server(lab, Settings())
        paqet.seconds_to_work(lab, 4)
        pair.check_alive()


@test(full=True, timed=True)
def test_server_killed_and_back_later() -> None:
    """Ten seconds without a server, with requests that fail meanwhile."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        pair.server.kill()
        for _ in range(5):
            expect(not paqet.fetch_by_hand(lab, 2), "a request passed without a server")
        pair.server = paqet.start_server(lab, Settings())
        paqet.seconds_to_work(lab, 4)
        pair.check_alive()


def go_server_killed(server: GoServer) -> None:
    """A Go server says nothing when it comes back, but acknowledges what it does not know."""
    server.need()
    with Lab() as lab:
        program = goserver.start(lab, server)
        client = paqet.start_client(lab, Settings())
        paqet.wait_working(lab)
        program.kill()
        server.start(lab)
        paqet.seconds_to_work(lab, 4)
        expect(client.alive(), f"the client ended: {client.last_lines()}")


for _server in go_servers():
    add(f"server_killed_and_back_{_server.name}", partial(go_server_killed, _server), timed=True)


# ---- several servers


def second_server(lab: Lab, where: Host) -> Process:
    """A server on the third host, and what it leads to."""
    where.start("origin", [tool("lab-load"), "origin", "--seconds", "600", "8080"])
    config = paqet.server_config(lab, Settings(network=False, extra=server_side(where)))
    server = paqet.start(where, "second", config)
    paqet.wait_ready(server)
    return server


def two_servers(list_text: str) -> None:
    with Lab(third=True) as lab:
        lab.origin()
        first = paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        second = second_server(lab, lab.x)
        client = paqet.start_client(lab, Settings(network=False, server=list_text))
        paqet.wait_working(lab)
        expect("connected" in first.log(), "the first server of the list was not taken first")
        first.kill()
        paqet.seconds_to_work(lab, 3, patience=0.5)
        expect("connected" in second.log(), "the second server was not asked")
        paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        second.kill()
        paqet.seconds_to_work(lab, 6, patience=0.5)
        expect(client.alive(), f"the client ended: {client.last_lines()}")


def server_side(host: Host) -> str:
    return f"network:\n  interface: {host.device}\n"


FIRST, SECOND = f"10.77.0.2:{PORT}", f"10.77.0.3:{PORT}"
for _name, _text in (
    ("two_servers", f"servers:\n  - addr: {FIRST}\n  - addr: {SECOND}\n"),
    ("two_servers_one_named_apart", f"server:\n  addr: {FIRST}\nservers:\n  - addr: {SECOND}\n"),
):
    add(_name, partial(two_servers, _text), timed=True)


@test(timed=True)
def test_first_server_never_there() -> None:
    with Lab(third=True) as lab:
        second_server(lab, lab.x)
        servers = f"servers:\n  - addr: {FIRST}\n  - addr: {SECOND}\n"
        client = paqet.start_client(lab, Settings(network=False, server=servers))
        paqet.seconds_to_work(lab, 8, patience=1)
        expect(client.alive(), f"the client ended: {client.last_lines()}")


@test(timed=True)
def test_server_that_stops_gives_way_at_once() -> None:
    """It says goodbye, so the client need not find out."""
    with Lab(third=True) as lab:
        lab.origin()
        first = paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        second_server(lab, lab.x)
        servers = f"servers:\n  - addr: {FIRST}\n  - addr: {SECOND}\n"
        paqet.start_client(lab, Settings(network=False, server=servers))
        paqet.wait_working(lab)
        first.stop()
        paqet.seconds_to_work(lab, 3, patience=1)


# ---- a path that goes silent


def cut(lab: Lab) -> None:
    """From now on everything is lost."""
    assert lab.wan
    lab.wan.kill()


@test(limit=150, full=True, timed=True)
def test_silence_of_30_s() -> None:
    with Lab(wan=SLOW) as lab:
        pair = paqet.start_pair(lab)
        download = start_download(lab, 40 * MB, 90)
        time.sleep(3)
        expect(download.alive(), "the download was over before the silence")
        cut(lab)
        begin = time.monotonic()
        while time.monotonic() - begin < 30:
            expect(not paqet.fetch_by_hand(lab, 3), "a request passed a path that is cut")
            pair.check_alive()
        expect(download.alive(), f"the download gave up: {download.last_lines()}")
        lab.start_wan(SLOW)
        paqet.seconds_to_work(lab, 4)
        expect_download(download, 60)
        pair.check_alive()


@test(limit=60, timed=True)
def test_silence_of_5_s() -> None:
    with Lab(wan=SLOW) as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        download = start_download(lab, 8 * MB, 30)
        time.sleep(1)
        expect(download.alive(), "the download was over before the silence")
        cut(lab)
        time.sleep(5)
        lab.start_wan(SLOW)
        paqet.seconds_to_work(lab, 4)
        expect_download(download, 20)
        echo.check()
        pair.check_alive()


@test(limit=120, full=True, timed=True)
def test_silence_that_does_not_end() -> None:
    """C peers give a silent session up after 60 s: its connections end, they do not hang."""
    with Lab(wan=[]) as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        cut(lab)
        seconds = paqet.seconds_to_end(echo.connection, 80)
        expect(40 < seconds < 75, f"the connection ended after {seconds:.0f} s")
        pair.server.wait_log("client .* gone", 20)
        pair.check_alive()


@test(limit=90, full=True, timed=True)
def test_silent_go_server_ends_connections() -> None:
    """Go peers know 8 s: a connection through a dead one ends after that, it does not hang."""
    gopeer.path()
    with Lab() as lab:
        lab.origin()
        server = gopeer.start_server(lab, "b", gopeer.Options())
        paqet.start_client(lab, Settings())
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        server.kill()
        seconds = paqet.seconds_to_end(echo.connection, 25)
        expect(seconds < 20, f"the connection ended after {seconds:.0f} s")


SELDOM = "    smuxkalive: 10\n    smuxktimeout: 40\n"


def expect_no_silence(lab: Lab, client: Process) -> None:
    """Requests with pauses between them stay on the first session."""
    for _ in range(3):
        time.sleep(3.5)
        expect(paqet.fetch_by_hand(lab), "a request failed")
    expect("is silent" not in client.log(), f"a healthy session was given up: {client.log()}")


@test(timed=True)
def test_silence_is_not_a_long_keepalive() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(kcp=SELDOM))
        expect_no_silence(lab, pair.client)
        pair.check_alive()


def long_keepalive_of_go(family: str) -> None:
    """The server sends NOPs seldom, too: it is heard by its acknowledgements."""
    gopeer.path()
    with Lab() as lab:
        lab.origin()
        gopeer.start_server(lab, family, gopeer.Options(keepalive=10))
        client = paqet.start_client(lab, Settings(kcp=SELDOM))
        paqet.wait_working(lab)
        expect_no_silence(lab, client)


for _family in ("a", "b"):
    _silence = partial(long_keepalive_of_go, _family)
    add(f"silence_is_not_a_long_keepalive_go_{_family}", _silence, timed=True)


# ---- the client's own network


@test(limit=60, timed=True)
def test_interface_down_and_up() -> None:
    with Lab(wan=SLOW) as lab:
        pair = paqet.start_pair(lab)
        download = start_download(lab, 10 * MB, 30)
        time.sleep(1)
        expect(download.alive(), "the download was over before the interface went down")
        lab.c.check(["ip", "link", "set", lab.c.device, "down"])
        time.sleep(4)
        paqet.fetch_by_hand(lab, 1)
        pair.check_alive()
        lab.c.check(["ip", "link", "set", lab.c.device, "up"])
        paqet.seconds_to_work(lab, 4)
        expect_download(download, 30)
        pair.check_alive()


@test(limit=60, full=True, timed=True)
def test_server_interface_down_and_up() -> None:
    with Lab(wan=SLOW) as lab:
        pair = paqet.start_pair(lab)
        download = start_download(lab, 8 * MB, 30)
        time.sleep(1)
        expect(download.alive(), "the download was over before the interface went down")
        lab.s.check(["ip", "link", "set", lab.s.device, "down"])
        time.sleep(4)
        lab.s.check(["ip", "link", "set", lab.s.device, "up"])
        paqet.seconds_to_work(lab, 4)
        expect_download(download, 30)
        pair.check_alive()


NEW_ADDRESS = "10.77.0.77"


@test(timed=True)
def test_address_changes() -> None:
    """The client moves to another network: its old address leads nowhere from one moment on."""
    with Lab(third=True) as lab:
        lab.origin()
        server = paqet.start_server(lab, Settings(network=False, extra=server_side(lab.s)))
        client = paqet.start_client(lab, Settings(network=False))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        drop(lab, lab.c.ip4)
        lab.c.check(["ip", "addr", "add", f"{NEW_ADDRESS}/24", "dev", lab.c.device])
        lab.c.check(["ip", "addr", "del", f"{lab.c.ip4}/24", "dev", lab.c.device])
        lab.c.check(["ip", "addr", "replace", f"{NEW_ADDRESS}/24", "dev", lab.c.device])
        paqet.seconds_to_work(lab, 4)
        server.wait_log(f"client {NEW_ADDRESS}:.* goes on", 5)
        echo.check()
        expect(client.alive() and server.alive(), "a program ended")
        echo.close()


def drop(lab: Lab, address: str) -> None:
    """The switch carries nothing from or to an address any more."""
    lab.middle.check(
        [
            "nft",
            "add table netdev lab_drop;"
            "add chain netdev lab_drop c { type filter hook ingress device wc priority 0; };"
            "add chain netdev lab_drop s { type filter hook ingress device ws priority 0; };"
            f"add rule netdev lab_drop c ip saddr {address} drop;"
            f"add rule netdev lab_drop s ip daddr {address} drop",
        ]
    )


def map_port(lab: Lab, inner: int, outer: int) -> None:
    """The switch becomes a NAT that shows the client's port `inner` as `outer`."""
    lab.middle.run(["nft", "delete table netdev lab_nat"])
    lab.middle.check(
        [
            "nft",
            "add table netdev lab_nat;"
            "add chain netdev lab_nat c { type filter hook ingress device wc priority 0; };"
            "add chain netdev lab_nat s { type filter hook ingress device ws priority 0; };"
            f"add rule netdev lab_nat c tcp sport {inner} tcp sport set {outer};"
            f"add rule netdev lab_nat s tcp dport {outer} tcp dport set {inner};"
            # what comes for the mapping of before leads nowhere
            "add rule netdev lab_nat s tcp dport 20000-20999 drop",
        ]
    )


def nat_rebinds(client_port: int) -> None:
    with Lab(third=True) as lab:
        settings = Settings(client_port=client_port)
        lab.origin()
        server = paqet.start_server(lab, settings)
        drop(lab, lab.c.ip4)  # until the NAT is there: the port is known only afterwards
        client = paqet.start_client(lab, settings)
        mapped = 0

        def through_nat() -> bool:
            """The newest session's port is mapped: where all is slow the client has begun another."""
            nonlocal mapped
            ports = re.findall(r"session to \S+ from port (\d+)", client.log())
            if ports and int(ports[-1]) != mapped:
                mapped = int(ports[-1])
                map_port(lab, mapped, 20001)
                lab.middle.run(["nft", "delete table netdev lab_drop"])
            return f"{lab.c.ip4}:20001 connected" in server.log()

        wait_until(through_nat, 20, "a session through the NAT")
        paqet.wait_working(lab)
        paqet.Echo(lab).close()
        map_port(lab, mapped, 20002)
        paqet.seconds_to_work(lab, 4)
        expect(client.alive() and server.alive(), "a program ended")


add("nat_port_rebinding", partial(nat_rebinds, 0), timed=True)
add("nat_port_rebinding_fixed_port", partial(nat_rebinds, 40001), timed=True)


# ---- a server with several addresses


def answers_from_the_address_asked(ip6: bool, named: bool) -> None:
    """`named`: the server's configuration names its other address."""
    with Lab() as lab:
        lab.s.check(["ip", "addr", "add", "10.77.0.3/24", "dev", lab.s.device])
        lab.s.check(["ip", "addr", "add", "fd77::3/64", "dev", lab.s.device, "nodad"])
        asked = "fd77::3" if ip6 else "10.77.0.3"
        lab.origin()
        extra = "" if named else server_side(lab.s)
        server = paqet.start_server(lab, Settings(ip6=ip6, network=named, extra=extra))
        address = f"[{asked}]" if ip6 else asked
        client_server = f'server:\n  addr: "{address}:{PORT}"\n'
        capture = lab.sniff("tcp" if not ip6 else "ip6")
        paqet.start_client(lab, Settings(ip6=ip6, server=client_server))
        paqet.wait_working(lab)
        result = lab.load("fetch", "--bytes", MB)
        expect(result["failed"] == 0, f"download: {result}")
        sources = {s.source for s in capture.stop() if s.source_port == PORT}
        expect(sources == {asked}, f"asked {asked}, answered from {sources}")
        expect(server.alive(), "the server ended")


for _ip6 in (False, True):
    for _named in (False, True):
        _name = f"{'ipv6' if _ip6 else 'ipv4'}_{'named' if _named else 'found'}"
        add(f"several_addresses_{_name}", partial(answers_from_the_address_asked, _ip6, _named))
