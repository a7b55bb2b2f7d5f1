# SPDX-License-Identifier: MIT
"""The links that a tunnel can run over: TUN devices, loopback, VLANs, and of every MTU."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial

import paqet
from case import Skip, add, expect, test
from lab import Host, Lab, tool
from packets import Segment
from paqet import PORT, Settings
from test_flags import plain_wire, tcp_block
from test_peers import exchange

MB = 1_000_000


def interface(name: str) -> str:
    return f"network:\n  interface: {name}\n"


def over(lab: Lab, device_c: str, device_s: str, server: str, settings: Settings) -> paqet.Pair:
    """A tunnel between two devices that find out the rest by themselves."""
    lab.origin()
    base = settings.extra
    settings.network = False
    settings.extra = base + interface(device_s)
    config = paqet.server_config(lab, settings)
    server_process = paqet.start(lab.s, "server", config)
    paqet.wait_ready(server_process)
    settings.extra = base + interface(device_c)
    settings.server = f'server:\n  addr: "{server}:{PORT}"\n'
    pair = paqet.Pair(paqet.start_client(lab, settings), server_process)
    paqet.wait_working(lab)
    return pair


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def open_tun(host: Host, name: str, address: str, address6: str, mtu: int) -> int:
    """A tun device, without Ethernet header, that lives as long as its descriptor."""
    with host.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    host.check(["ip", "link", "set", name, "mtu", str(mtu), "up"])
    host.check(["ip", "addr", "add", address, "dev", name])
    host.check(["ip", "addr", "add", address6, "dev", name, "nodad"])
    return fd


@contextlib.contextmanager
def joined(a: int, b: int) -> Iterator[None]:
    """What one tun device sends, the other receives; both are closed at the end."""
    end, stop = os.pipe()

    def carry() -> None:
        while True:
            readable, _, _ = select.select([a, b, end], [], [])
            if end in readable:
                return
            for source, target in ((a, b), (b, a)):
                with contextlib.suppress(OSError):  # nothing there, or the device is down
                    while source in readable:
                        os.write(target, os.read(source, 65536))

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(stop, b"x")
        thread.join(5)
        for fd in (a, b, end, stop):
            os.close(fd)


@contextlib.contextmanager
def tun_pair(lab: Lab, mtu: int = 1500) -> Iterator[None]:
    """tunc in c and tuns in s, joined."""
    a = open_tun(lab.c, "tunc", "10.99.0.1/24", "fd99::1/64", mtu)
    b = open_tun(lab.s, "tuns", "10.99.0.2/24", "fd99::2/64", mtu)
    with joined(a, b):
        yield


def over_tun(server: str, mtu: int) -> None:
    with Lab() as lab, tun_pair(lab, mtu):
        pair = over(lab, "tunc", "tuns", server, Settings())
        exchange(lab, 2 * MB)
        pair.check_alive()


add("link_tun", partial(over_tun, "10.99.0.2", 1500))
add("link_tun_ipv6", partial(over_tun, "[fd99::2]", 1420))


def over_loopback(server: str) -> None:
    with Lab() as lab:
        host = lab.c
        argv = [tool("lab-load"), "origin", "--seconds", "600", "8080"]
        host.start("origin", argv).wait_log("^ready", 5)
        config = paqet.server_config(lab, Settings(network=False, extra=interface("lo")))
        process = paqet.start(host, "server", config)
        paqet.wait_ready(process)
        server_block = f'server:\n  addr: "{server}:{PORT}"\n'
        client = paqet.start_client(lab, Settings(network=False, server=server_block))
        paqet.wait_working(lab)
        exchange(lab, 5 * MB)
        paqet.Pair(client, process).check_alive()


add("link_loopback", partial(over_loopback, "127.0.0.1"))
add("link_loopback_ipv6", partial(over_loopback, "[::1]"))


@test()
def test_link_vlan() -> None:
    with Lab() as lab:
        for host, number in ((lab.c, 1), (lab.s, 2)):
            name = f"{host.device}.5"
            add_vlan = ["ip", "link", "add", "link", host.device, "name", name]
            result = host.run([*add_vlan, "type", "vlan", "id", "5"])
            if "Unknown device type" in result.stderr:
                raise Skip("this kernel has no VLAN devices")
            expect(result.returncode == 0, result.stderr)
            host.check(["ip", "addr", "add", f"10.78.0.{number}/24", "dev", name])
            host.check(["ip", "link", "set", name, "up"])
        capture = lab.sniff("vlan 5")
        pair = over(lab, "c0.5", "s0.5", "10.78.0.2", Settings())
        exchange(lab, 2 * MB)
        pair.check_alive()
        capture.stop()
        sizes = [path.stat().st_size for _, path in capture.parts]
        expect(min(sizes) > 5000, f"the captures of tagged frames have {sizes} bytes")


ETH_P_ALL, PACKET_OUTGOING = 3, 4
PRIORITY_TAG = b"\x81\x00\xa0\x00"  # 802.1Q with VLAN 0: "no VLAN, priority 5"


@contextlib.contextmanager
def tagging_wire(lab: Lab) -> Iterator[None]:
    """Carries frames between both hosts and puts a tag into each."""
    sockets = {}
    for device in ("wc", "ws"):
        raw = lab.middle.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        raw.bind((device, ETH_P_ALL))
        sockets[device] = raw
    other = {sockets["wc"]: sockets["ws"], sockets["ws"]: sockets["wc"]}
    end, stop = os.pipe()

    def carry() -> None:
        while True:
            readable, _, _ = select.select([*other, end], [], [])
            if end in readable:
                return
            for raw in readable:
                frame, address = raw.recvfrom(65536)
                if address[2] != PACKET_OUTGOING:
                    with contextlib.suppress(OSError):
                        other[raw].send(frame[:12] + PRIORITY_TAG + frame[12:])

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(stop, b"x")
        thread.join(5)
        for raw in other:
            raw.close()
        os.close(end)
        os.close(stop)


@test()
def test_link_priority_tags() -> None:
    """Frames that a switch has put a priority tag into are frames like all others."""
    with Lab(wan=[]) as lab:
        assert lab.wan
        lab.wan.stop()
        with tagging_wire(lab):
            capture = lab.sniff("vlan")
            pair = paqet.start_pair(lab)
            exchange(lab, MB)
            pair.check_alive()
            capture.stop()
            sizes = [path.stat().st_size for _, path in capture.parts]
            expect(min(sizes) > 5000, f"the captures of tagged frames have {sizes} bytes")


def set_mtu(lab: Lab, mtu: int) -> None:
    for host in (lab.c, lab.s):
        host.check(["ip", "link", "set", host.device, "mtu", str(mtu)])


def link_with_mtu(mtu: int, settings: Settings, ip6: bool = False) -> None:
    """The link carries so much; nothing on it may be longer."""
    with Lab() as lab:
        set_mtu(lab, mtu)
        plain_wire(lab)
        settings.ip6 = ip6
        capture = lab.sniff("ip6" if ip6 else f"tcp port {PORT}")
        pair = paqet.start_pair(lab, settings)
        exchange(lab, MB)
        pair.check_alive()
        longest = max(map(packet_length, capture.stop()))
        expect(longest <= mtu, f"a packet of {longest} bytes on a link of {mtu}")


def packet_length(segment: Segment) -> int:
    """Of the IP packet, as its header says."""
    if ":" in segment.source:
        return 40 + int.from_bytes(segment.frame[18:20], "big")
    return int.from_bytes(segment.frame[16:18], "big")


add("link_mtu_1280", partial(link_with_mtu, 1280, Settings()))
add("link_mtu_1280_ipv6", partial(link_with_mtu, 1280, Settings(), True))
add("link_mtu_9000", partial(link_with_mtu, 9000, Settings()))
add("link_mtu_9000_full", partial(link_with_mtu, 9000, Settings(kcp="    mtu: 1500\n")))
add("link_mtu_1500_largest", partial(link_with_mtu, 1500, Settings(kcp="    mtu: 1448\n")))
_syn = tcp_block("S,PA", "S")
add("link_mtu_1280_syn", partial(link_with_mtu, 1280, Settings(network_extra=_syn)))


@test()
def test_mtu_too_large_for_the_link() -> None:
    """An error at the start that names the number that fits: 52 bytes of headers, 72 with IPv6."""
    with Lab() as lab:
        for link, ip6, right in ((1500, False, 1448), (1280, False, 1228), (1500, True, 1428)):
            set_mtu(lab, link)
            settings = Settings(ip6=ip6, kcp=f"    mtu: {right + 1}\n")
            for host, text in (
                (lab.s, paqet.server_config(lab, settings)),
                (lab.c, paqet.client_config(lab, settings)),
            ):
                process = paqet.start(host, "refused", text)
                code = process.wait(10)
                said = process.last_lines()
                expect(code == 1, f"exit code {code}: {said}")
                numbers = re.findall(r"\d+", said)
                expect(str(right) in numbers and str(link) in numbers, f"the error says: {said}")


@test()
def test_mtu_with_syn_options() -> None:
    """SYN has 8 bytes more of options: an mtu that only fits without them is refused, or works."""
    with Lab() as lab:
        settings = Settings(kcp="    mtu: 1448\n", network_extra=tcp_block("S,PA", "S,PA"))
        plain_wire(lab)
        lab.origin()
        server = paqet.start(lab.s, "server", paqet.server_config(lab, settings))
        time.sleep(1)
        if not server.alive():
            expect("1440" in server.log(), f"the error says: {server.last_lines()}")
            return
        paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        exchange(lab, MB)
