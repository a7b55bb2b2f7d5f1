# SPDX-License-Identifier: MIT
"""A strict router between client and server: it forwards only what its connection tracking takes
for a part of a TCP connection that it has seen begin.

    c 10.78.0.1 ── 10.78.0.9 wc  w (router)  ws 10.77.0.9 ── 10.77.0.2 s          Routed()
    c ── xc  lab-wan  xd ── wc  w (router)  ws ── xe  lab-wan  xs ── s            Routed(["--loss", "1"])
"""

from __future__ import annotations

import re

from case import expect
from lab import Host, Lab, tool

RULES = """
table inet lab_router {
    counter bad { }
    counter no_syn { }
    chain through {
        type filter hook forward priority 0;
        ct state invalid counter name bad drop
        ct state new tcp flags & (fin | syn | rst | ack) != syn counter name no_syn drop
    }
}
"""
MASQUERADE = """
table inet lab_nat {
    chain out {
        type nat hook postrouting priority 100;
        oifname "ws" masquerade
    }
}
"""
STRICT = ("tcp_loose=0", "tcp_be_liberal=0", "tcp_max_retrans=3")


class Routed(Lab):
    def __init__(self, wan: list[str] | None = None, nat: bool = False):
        self.between = wan
        self.nat = nat
        super().__init__()

    def build(self, wan: list[str] | None) -> None:
        super().build(wan)
        for host in (self.middle, *([self.x] if self.between is not None else [])):
            self.add(host)
        self.c.check(["ip", "link", "del", self.c.device])
        if self.between is None:
            self.wire(self.c, "c0", self.middle, "wc")
            self.wire(self.s, "s0", self.middle, "ws")
        else:
            for a, name, port in ((self.c, "c0", "xc"), (self.middle, "wc", "xd")):
                self.wire(a, name, self.x, port)
            for a, name, port in ((self.middle, "ws", "xe"), (self.s, "s0", "xs")):
                self.wire(a, name, self.x, port)
        self.address(self.c, "c0", "10.78.0.1/24", self.c.mac)
        self.address(self.s, "s0", "10.77.0.2/24", self.s.mac)
        self.address(self.middle, "wc", "10.78.0.9/24")
        self.address(self.middle, "ws", "10.77.0.9/24")
        self.c.check(["ip", "route", "add", "default", "via", "10.78.0.9"])
        self.s.check(["ip", "route", "add", "default", "via", "10.77.0.9"])
        self.middle.check(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        if self.between is not None:
            self.start_wans(self.between)
        self.middle.check(["nft", RULES + (MASQUERADE if self.nat else "")])
        for name in STRICT:
            self.middle.check(["sysctl", "-q", "-w", f"net.netfilter.nf_conntrack_{name}"])

    def add(self, host: Host) -> None:
        import lab

        lab.command("ip", "netns", "add", host.namespace)
        host.check(["ip", "link", "set", "lo", "up"])

    def address(self, host: Host, device: str, address: str, mac: str = "") -> None:
        if mac:
            host.check(["ip", "link", "set", device, "address", mac])
        host.check(["ip", "addr", "add", address, "dev", device])
        host.check(["ip", "link", "set", device, "up"])

    def start_wans(self, options: list[str]) -> None:
        """One on each side of the router: what is lost, it has seen or has not."""
        off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
        for host, device in ((self.c, "c0"), (self.s, "s0"), (self.middle, "wc"), (self.middle, "ws")):
            host.check(["ethtool", "-K", device, *off])
        for number, (a, b) in enumerate((("xc", "xd"), ("xe", "xs"))):
            for port in (a, b):
                self.x.check(["ethtool", "-K", port, *off])
                self.x.check(["ip", "link", "set", port, "up"])
            argv = [tool("lab-wan"), "--max-seconds", "600", "--seed", str(number + 1)]
            self.x.start(f"wan{number}", [*argv, *options, a, b]).wait_log("^ready", 5)

    def counted(self, name: str) -> int:
        """Packets that the router has dropped for this reason."""
        text = self.middle.check(["nft", "list", "counter", "inet", "lab_router", name])
        found = re.search(r"packets (\d+)", text)
        expect(found, text)
        return int(found[1])

    def tracked(self) -> list[str]:
        """The router's connections to the tunnel's port."""
        lines = self.middle.check(["conntrack", "-L", "-p", "tcp"]).splitlines()
        return [line for line in lines if "dport=9999" in line]
