# SPDX-License-Identifier: MIT
"""A client whose way to its server leads through another interface from one moment on.

    c c0 10.78.0.1 ── 10.78.0.9 wc w (router) ── 10.77.0.2 s
      c1 10.79.0.1 ── 10.79.0.9 wd            └─ 10.77.0.3 x
"""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import time
from dataclasses import dataclass
from functools import partial

import packets
import paqet
from case import Failure, Skip, add, expect, test
from lab import ROOT, Capture, Host, Lab, wait_until
from paqet import Settings
from test_flags import tcp_block
from test_link import joined, open_tun
from test_main import check_upload, expect_no_race
from test_survive import MB, expect_download, start_download
from test_tun import FAR, need, ping, seen_by_far, tun, wait_ping

TWO_WORKERS = {"transport": "  conn: 2\n", "extra": "performance:\n  packet_workers: 2\n"}


@dataclass
class Way:
    """An interface of the client and the router behind it."""

    device: str
    port: str  # of the router
    network: str

    @property
    def own(self) -> str:
        return f"{self.network}.1"

    @property
    def router(self) -> str:
        return f"{self.network}.9"


WIFI, CABLE = Way("c0", "wc", "10.78.0"), Way("c1", "wd", "10.79.0")


class Roads(Lab):
    def __init__(self) -> None:
        super().__init__(third=True)
        self.wire(self.c, CABLE.device, self.middle, CABLE.port)
        w = self.middle
        w.check(["ip", "link", "set", WIFI.port, "nomaster"])
        w.check(["ip", "addr", "add", "10.77.0.9/24", "dev", "br0"])
        w.check(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        self.c.check(["ip", "addr", "flush", "dev", self.c.device])
        for way in (WIFI, CABLE):
            w.check(["ip", "addr", "add", f"{way.router}/24", "dev", way.port])
            w.check(["ip", "link", "set", way.port, "up"])
        for host in (self.s, self.x):
            host.check(["ip", "route", "add", "10.0.0.0/8", "via", "10.77.0.9"])
        self.up(WIFI)

    def up(self, way: Way, metric: int = 0) -> None:
        """The client has this way too: link, address, router."""
        self.c.check(["ip", "link", "set", way.device, "up"])
        self.c.check(["ip", "addr", "replace", f"{way.own}/24", "dev", way.device])
        route = ["ip", "route", "replace", "default", "via", way.router, "dev", way.device]
        self.c.check([*route, "metric", str(metric)])

    def down(self, way: Way) -> None:
        """As when a network is lost: neither route nor address are left."""
        self.c.check(["ip", "link", "set", way.device, "down"])
        self.c.check(["ip", "addr", "flush", "dev", way.device])

    def change(self, old: Way, new: Way) -> None:
        self.down(old)
        self.up(new)

    def block_uplink(self) -> None:
        """What the client sends by the old way is lost; what the server sends still comes."""
        self.middle.check(
            [
                "nft",
                "add table netdev lab_up;"
                f"add chain netdev lab_up c {{ type filter hook ingress device {WIFI.port} priority 0; }};"
                "add rule netdev lab_up c drop",
            ]
        )

    def watch(self) -> Capture:
        """What reaches the router, from the client and from the server."""
        hosts = []
        for port in (WIFI.port, CABLE.port, "br0"):
            host: Host = copy.copy(self.middle)
            host.device = port
            hosts.append(host)
        return Capture(hosts, f"tcp port {paqet.PORT}", 128)


def expect_quiet(capture: Capture) -> None:
    """Neither kernel has answered a packet of the tunnel."""
    segments = capture.stop()
    expect(len(segments) > 20, f"only {len(segments)} packets were captured")
    resets = [s for s in segments if s.flags & packets.RST]
    shown = [f"{s.source}:{s.source_port} to {s.destination}" for s in resets[:3]]
    expect(not resets, f"{len(resets)} resets: {shown}")


def start(lab: Lab, binary: str = "", server: str = "", **client: str) -> paqet.Pair:
    lab.origin()
    there = paqet.start_server(lab, Settings(network=False, extra=server), binary)
    here = paqet.start_client(lab, Settings(network=False, **client), binary)
    paqet.wait_working(lab)
    return paqet.Pair(here, there)


def expect_all(lab: Lab, count: int, after: float) -> None:
    """From `after` seconds on, each of many requests passes: whichever worker takes it."""
    time.sleep(after)
    passed = sum(paqet.fetch_by_hand(lab, 2) for _ in range(count))
    expect(passed == count, f"{passed} of {count} requests passed after the move")


def expect_covered(lab: Lab, way: Way) -> None:
    expect(f'"{way.device}"' in lab.c.firewall(), f"no rule for {way.device}: {lab.c.firewall()}")


@test(limit=120, timed=True)
def test_move_to_another_interface() -> None:
    with Roads() as lab:
        pair = start(lab)
        capture = lab.watch()
        for old, new in ((WIFI, CABLE), (CABLE, WIFI), (WIFI, CABLE)):
            lab.change(old, new)
            seconds = paqet.seconds_to_work(lab, 4, patience=1)
            print(f"  {old.device} to {new.device}: {seconds:.1f} s", flush=True)
            expect(f"{new.own}:" in pair.server.log(), f"the server never heard {new.own}")
            expect_all(lab, 20, 0)
            expect_covered(lab, new)
        result = lab.load("fetch", "--bytes", 20 * MB)
        expect(result["failed"] == 0, f"download: {result}")
        expect_quiet(capture)
        pair.check_alive()
        expect(pair.client.stop() == 0, "exit code")
        expect(not lab.c.firewall(), "rules were left behind")


def two_workers(lab: Roads, limit: float = 4, binary: str = "") -> paqet.Pair:
    pair = start(lab, binary, **TWO_WORKERS)
    expect_all(lab, 20, 0)
    capture = lab.watch()
    for old, new in ((WIFI, CABLE), (CABLE, WIFI)):
        lab.change(old, new)
        paqet.seconds_to_work(lab, limit, patience=1)
        expect_all(lab, 30, 3)
        expect_covered(lab, new)
    expect_quiet(capture)
    pair.check_alive()
    return pair


@test(full=True, timed=True)
def test_move_two_workers() -> None:
    with Roads() as lab:
        two_workers(lab)


@test(limit=120)
def test_move_two_workers_under_tsan() -> None:
    binary = os.environ.get("PAQET_TSAN") or str(ROOT / "build-tsan" / "paqet")
    if not os.path.exists(binary):
        raise Skip("no build-tsan/paqet: run script/build --tsan")
    with Roads() as lab:
        expect_no_race(two_workers(lab, 15, binary))


@test()
def test_better_way_appears() -> None:
    """The old interface stays up: what still comes in there must not reach the kernel's TCP."""
    with Roads() as lab:
        pair = start(lab, **TWO_WORKERS)
        expect_all(lab, 10, 0)
        capture = lab.watch()
        echo = paqet.Echo(lab)
        download = start_download(lab, 400 * MB, 8)
        lab.c.check(["ip", "route", "del", "default"])
        lab.up(CABLE)
        expect_all(lab, 20, 3)
        lab.block_uplink()
        for _ in range(12):  # the server is still heard: each worker's first request finds out
            paqet.fetch_by_hand(lab, 2.5)
        expect_all(lab, 20, 0)
        expect(f"{CABLE.own}:" in pair.server.log(), "the client stayed where it was")
        download.wait(40)
        echo.close()
        expect_quiet(capture)
        pair.check_alive()


@test(full=True, timed=True)
def test_move_to_modem() -> None:
    """A link of another kind: no Ethernet header, a smaller MTU; and back."""
    need("/dev/net/tun")
    modem = Way("modem", "wm", "10.80.0")
    with Roads() as lab:
        a = open_tun(lab.c, modem.device, f"{modem.own}/24", "fd80::1/64", 1280)
        b = open_tun(lab.middle, modem.port, f"{modem.router}/24", "fd80::9/64", 1280)
        with joined(a, b):
            pair = start(lab, **TWO_WORKERS)
            expect_all(lab, 10, 0)
            for old, new in ((WIFI, modem), (modem, WIFI)):
                lab.change(old, new)
                paqet.seconds_to_work(lab, 4, patience=1)
                expect(f"{new.own}:" in pair.server.log(), f"the server never heard {new.own}")
                expect_all(lab, 20, 3)
                check_upload(lab, 2 * MB)  # the server does not know of the client's MTU
            pair.check_alive()


# ---- the interface stays, its MTU does not


def passes(lab: Lab, mode: str) -> bool:
    with contextlib.suppress(Failure):
        return lab.load(mode, "--bytes", MB, "--timeout", 2, limit=10)["failed"] == 0
    return False


def mtu_lowered(letter: str, mode: str) -> None:
    """`mode`: what needs full packets of that host. With two flags in turn none go as runs, which
    an interface lets pass whatever its MTU."""
    network = "network:\n" + tcp_block("PA,A", "PA,A")
    with Lab() as lab:
        host = lab.c if letter == "c" else lab.s
        pair = start(lab, server=network, extra=network)
        expect(passes(lab, mode), "before the MTU was lowered")
        host.check(["ip", "link", "set", host.device, "mtu", "1280"])
        wait_until(lambda: passes(lab, mode), 15, f"{mode} with another MTU")
        log = (pair.client if letter == "c" else pair.server).log()
        expect(f"the MTU of {host.device} is 1280 now" in log, "not a word about it")
        pair.check_alive()


add("move_mtu_of_client_lowered", partial(mtu_lowered, "c", "send"))
add("move_mtu_of_server_lowered", partial(mtu_lowered, "s", "fetch"))


# ---- the address moves along


class Switched(Lab):
    """Both interfaces lead into the same network."""

    def __init__(self) -> None:
        super().__init__(third=True)
        self.wire(self.c, "c1", self.middle, "wd")
        self.second_mac = "02:00:00:00:01:01"
        self.c.check(["ip", "link", "set", "c1", "address", self.second_mac])
        self.middle.check(["ip", "link", "set", "wd", "master", "br0"])
        self.middle.check(["ip", "link", "set", "wd", "up"])

    def refuse(self, port: str, mac: str) -> None:
        """As an access point does with what comes from an address that it does not know."""
        self.middle.check(
            [
                "nft",
                "add table netdev lab_mac;"
                f"add chain netdev lab_mac {port} "
                f"{{ type filter hook ingress device {port} priority 0; }};"
                f"add rule netdev lab_mac {port} ether saddr {mac} drop",
            ]
        )

    def change(self, old: str, new: str) -> None:
        self.c.check(["ip", "addr", "flush", "dev", old])
        self.c.check(["ip", "link", "set", old, "down"])
        self.c.check(["ip", "link", "set", new, "up"])
        self.c.check(["ip", "addr", "add", f"{self.c.ip4}/24", "dev", new])


@test(timed=True)
def test_address_moves_along() -> None:
    """The same network by another card: what has begun goes on."""
    with Switched() as lab:
        for port, mac in (("wc", lab.second_mac), ("wd", lab.c.mac)):
            lab.refuse(port, mac)
        lab.put_far_away(lab.s, ["--rate", "30", "--delay", "5"])
        lab.origin()
        server = paqet.start_server(lab, Settings(network=False))
        client = paqet.start_client(lab, Settings(network=False))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        download = start_download(lab, 30 * MB, 20)
        for old, new in (("c0", "c1"), ("c1", "c0")):
            time.sleep(1)
            expect(download.alive(), "the download was over before the move")
            lab.change(old, new)
            paqet.seconds_to_work(lab, 4, patience=1)
            echo.check()
        expect_download(download, 40)
        echo.close()
        expect(client.alive() and server.alive(), "a program ended")


# ---- with a default route into the tunnel


@test(timed=True)
def test_move_with_tun() -> None:
    need("/dev/net/tun")
    with Roads() as lab:
        lab.x.check(["ip", "addr", "add", f"{FAR}/32", "dev", "lo"])
        lab.middle.check(["ip", "route", "add", f"{FAR}/32", "via", lab.x.ip4])
        lab.s.check(["ip", "route", "add", f"{FAR}/32", "via", lab.x.ip4])
        server = tun(1, "  masquerade: true\n", ip6=False)
        client = tun(2, "  routes: [default]\n", ip6=False)
        pair = start(lab, server=server, extra=client)
        wait_ping(lab.c, "10.9.0.1")
        expect(seen_by_far(lab) == lab.s.ip4, "not through the server")
        for old, new in ((WIFI, CABLE), (CABLE, WIFI)):
            lab.change(old, new)
            wait_ping(lab.c, "10.9.0.1", 5)
            paqet.seconds_to_work(lab, 4, patience=1)
            expect(seen_by_far(lab) == lab.s.ip4, "not through the server after the move")
            expect(ping(lab.c, new.router), "the local network went into the tunnel")
            expect(ping(lab.x, new.own), f"{new.own} is not reached from outside any more")
        pair.check_alive()
        pair.client.stop()
        wait_until(lambda: ping(lab.c, FAR), 3, "the way without the tunnel")


@test(timed=True)
def test_move_not_into_the_tunnel() -> None:
    """A route made by hand leads the server's address into the TUN device as well."""
    need("/dev/net/tun")
    with Roads() as lab:
        pair = start(lab, server=tun(1, ip6=False), extra=tun(2, ip6=False))
        wait_ping(lab.c, "10.9.0.1")
        lab.c.check(["ip", "route", "add", "10.77.0.0/16", "dev", "tun0"])
        os.kill(pair.server.pid, signal.SIGSTOP)
        for _ in range(3):
            expect(not paqet.fetch_by_hand(lab, 1.5), "a request passed without a server")
        os.kill(pair.server.pid, signal.SIGCONT)
        paqet.seconds_to_work(lab, 8, patience=1)
        log = pair.client.log()
        expect("moving from" not in log, "the client went into its own tunnel")
        expect("tun0, which is the tunnel's own device" in log, "not a word about it")
        pair.check_alive()
        pair.client.stop()
        lab.c.check(["ip", "tuntap", "add", "tun0", "mode", "tun"])
        lab.c.check(["ip", "link", "set", "tun0", "up"])
        lab.c.check(["ip", "route", "add", "10.77.0.0/16", "dev", "tun0"])
        text = paqet.client_config(lab, Settings(network=False, extra=tun(2, ip6=False)))
        expect(paqet.start(lab.c, "refused", text).wait(10) == 1, "it started all the same")
