# SPDX-License-Identifier: MIT
"""The kill switch: what leaves the machine is watched on the wire, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import paqet
from case import expect, test
from lab import Lab, wait_until
from paqet import PORT, Settings
from test_tun import FAR, internet, need, ping, seen_by_far, tun, wait_ping

FAR6 = "2001:db8:5::5"
PACKET_OUTGOING = 4


class Wire:
    """All that leaves the client's machine, but for ARP, IPv6 neighbours and the tunnel itself."""

    def __init__(self, lab: Lab):
        self.raw = lab.c.open_socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.raw.bind((lab.c.device, 3))
        self.raw.settimeout(0.2)
        self.server = socket.inet_aton(lab.s.ip4)
        self.seen: list[str] = []
        self.running = True
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while self.running:
            with contextlib.suppress(OSError):
                data, (_, protocol, kind, *_) = self.raw.recvfrom(2000)
                if kind == PACKET_OUTGOING and protocol != 0x806 and not self.may_leave(protocol, data):
                    self.seen.append(f"{protocol:04x} {data[:48].hex()}")

    def may_leave(self, protocol: int, data: bytes) -> bool:
        if protocol == 0x86DD:
            return data[6] == 58 and 133 <= data[40] <= 136
        tunnel = data[9] == 6 and data[16:20] == self.server
        return tunnel and struct.unpack("!H", data[22:24])[0] == PORT

    def expect_nothing(self, when: str) -> None:
        time.sleep(0.3)
        expect(not self.seen, f"{len(self.seen)} packets left beside the tunnel {when}, first {self.seen[:3]}")


class Noise:
    """What programs of the client's machine try all the time: names, pages, IPv4 and IPv6, from any and from
    its own address, and on sockets that were there before the tunnel."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.running = True
        self.sent = 0
        before = lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        before.connect((FAR, 53))
        bound = lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((lab.c.ip4, 0))
        bound.connect((FAR, 53))
        six = lab.c.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
        four = lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.connected = [before, bound]
        self.others = [(six, (FAR6, 53)), (four, (FAR, 53)), (four, (lab.x.ip4, 53)), (six, (lab.x.ip6, 53))]
        self.thread = threading.Thread(target=self.make, daemon=True)
        self.thread.start()

    def make(self) -> None:
        while self.running:
            for one in self.connected:
                with contextlib.suppress(OSError):
                    one.send(b"name?")
            for one, target in self.others:
                with contextlib.suppress(OSError):
                    one.sendto(b"name?", target)
            for family, target in ((socket.AF_INET, FAR), (socket.AF_INET6, FAR6)):
                with self.lab.c.open_socket(family, socket.SOCK_STREAM) as tcp:
                    tcp.setblocking(False)
                    tcp.connect_ex((target, 80))
            self.sent += 1
            time.sleep(0.02)


def routes(lab: Lab) -> None:
    lab.c.check(["ip", "route", "replace", "default", "via", lab.x.ip4])
    lab.c.check(["ip", "-6", "route", "replace", "default", "via", lab.x.ip6])


def client(kill_switch: str) -> Settings:
    more = f"  routes: [default]\n  kill_switch: {kill_switch}\n  lan: block\n"
    return Settings(network=False, extra=tun(2, more, ip6=False))


def heard_by_far(lab: Lab) -> bool:
    """Whether a datagram comes through, by whatever way; it asks from a socket of its own."""
    with lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind((FAR, 5353))
        far.settimeout(0.5)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
            with contextlib.suppress(OSError):
                asks.sendto(b"?", (FAR, 5353))
                return bool(far.recv(10))
    return False


@test(limit=90)
def test_tun_kill_switch() -> None:
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        lab.x.check(["ip", "-6", "addr", "add", f"{FAR6}/128", "dev", "lo"])
        server_settings = Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False))
        server = paqet.start_server(lab, server_settings)
        noise = Noise(lab)
        wire = Wire(lab)
        wait_until(lambda: len(wire.seen) > 20, 5, "the noise on the wire without a tunnel")
        here = paqet.start_client(lab, client("always"))
        wait_ping(lab.c, FAR)
        wire.seen.clear()
        wait_until(lambda: heard_by_far(lab), 5, "a datagram through the tunnel")
        wire.expect_nothing("while it was up")
        expect(ping(lab.x, lab.c.ip4), "nobody can reach this machine any more")
        wait_until(lambda: wire.seen, 5, "the answer to that on the wire")
        time.sleep(0.5)
        wire.seen.clear()
        server.kill()
        time.sleep(3)
        wire.expect_nothing("while the server was dead")
        for state in ("down", "up"):
            lab.c.check(["ip", "link", "set", lab.c.device, state])
            time.sleep(1)
        lab.c.run(["ip", "addr", "add", f"{lab.c.ip6}/64", "dev", lab.c.device, "nodad"])
        routes(lab)
        time.sleep(1)
        wire.expect_nothing("while the interface flapped")
        server = paqet.start_server(lab, server_settings)
        wait_ping(lab.c, FAR, 25)
        wire.expect_nothing("while it reconnected")
        here.kill()
        time.sleep(2)
        wire.expect_nothing("after kill -9")
        here = paqet.start_client(lab, client("always"))
        wait_ping(lab.c, FAR, 25)
        wire.expect_nothing("during the restart")
        expect(here.stop() == 0, "exit code")
        expect(not heard_by_far(lab), "always: open after the end")
        wire.expect_nothing("after the end")
        here = paqet.start_client(lab, client("on"))
        wait_ping(lab.c, FAR, 25)
        server.kill()
        time.sleep(1)
        wire.expect_nothing("with kill_switch: on")
        expect(noise.sent > 300, f"too little noise: {noise.sent}")
        here.kill()
        expect(seen_by_far(lab) == lab.c.ip4, "on: not open after the end")
        wait_until(lambda: wire.seen, 5, "the noise on the wire again")
        noise.running = wire.running = False
