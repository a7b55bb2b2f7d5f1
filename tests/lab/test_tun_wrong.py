# SPDX-License-Identifier: MIT
"""TUN when things are not as they should be: what is said, what is refused."""

from __future__ import annotations

import os
import re
import socket
import time

import paqet
from case import Skip, expect, test
from lab import Host, Lab, wait_until
from paqet import Settings

IP_TRANSPARENT = 19  # of Linux: any source address
TUN = 'tun:\n  enabled: true\n  name: "tun0"\n  addr: "10.9.0.%d/24"\n'


def need_tun() -> None:
    if not os.path.exists("/dev/net/tun"):
        raise Skip("needs /dev/net/tun")


@test()
def test_tun_refused() -> None:
    """By a server that has none: said once, and nothing that is not true."""
    need_tun()
    with Lab() as lab:
        pair = paqet.start_pair(lab, client=Settings(extra=TUN % 2))
        pair.client.wait_log("the server refuses TUN", 10)
        time.sleep(3)
        log = pair.client.log()
        expect("TUN: connected" not in log, "it says that TUN is connected")
        expect(log.count("refuses TUN") == 1, "more than one word about it")
        pair.check_alive()


@test(full=True, timed=True)
def test_tun_silent_server() -> None:
    need_tun()
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(extra=TUN % 1), client=Settings(extra=TUN % 2))
        pair.client.wait_log("TUN: connected", 10)
        pair.server.kill()
        pair.client.wait_log("TUN: disconnected", 10)
        time.sleep(6)
        expect(pair.client.log().count("TUN: connected") == 1, "connected to nobody")
        paqet.start_server(lab, Settings(extra=TUN % 1))
        pair.client.wait_log("TUN: connected(.*\n)+.*TUN: connected", 15)


@test()
def test_tun_removed() -> None:
    need_tun()
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(extra=TUN % 1), client=Settings(extra=TUN % 2))
        for host, process in ((lab.c, pair.client), (lab.s, pair.server)):
            host.check(["ip", "link", "del", "tun0"])
            process.wait_log("the TUN device was removed", 5)
        paqet.wait_working(lab)
        time.sleep(1)
        expect(pair.client.log().count("was removed") == 1, "more than one word about it")
        expect((pair.client.stop(), pair.server.stop()) == (0, 0), "exit code")


@test()
def test_tun_no_host_address() -> None:
    """Nobody gets the network's own address, its broadcast, or that of the server."""
    need_tun()
    with Lab() as lab:
        server = Settings(level="debug", extra=TUN % 1)  # addresses at once are told one by one
        pair = paqet.start_pair(lab, server, client=Settings(extra=TUN % 2))
        pair.client.wait_log("TUN: connected", 10)
        for address in ("10.9.0.255", "10.9.0.0", "10.9.0.77"):
            lab.c.check(["ip", "addr", "add", f"{address}/32", "dev", "tun0"])
            with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((address, 0))
                sender.sendto(b"from nobody", ("10.9.0.1", 9))
            lab.c.check(["ip", "addr", "del", f"{address}/32", "dev", "tun0"])
        pair.server.wait_log("has the address 10.9.0.77", 5)
        expect("has the address 10.9.0.255" not in pair.server.log(), "the broadcast address")
        expect(not re.search(r"has the address 10\.9\.0\.0\b", pair.server.log()), "the network's")


@test()
def test_tun_denied() -> None:
    """What the log says is what a list takes, also of a packet that has no port."""
    need_tun()
    with Lab() as lab:
        server = Settings(extra=TUN % 1 + 'allow: ["public", "127.0.0.1"]\n')
        pair = paqet.start_pair(lab, server, client=Settings(extra=TUN % 2))
        pair.client.wait_log("TUN: connected", 10)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.sendto(b"\x08\0\xf7\xff\0\0\0\0", ("10.9.0.1", 0))
        pair.server.wait_log('add "10.9.0.1" to allow', 5)


@test()
def test_tun_address_is_not_public() -> None:
    """The server's end of the tunnel is the server's own, whatever address it has."""
    need_tun()
    with Lab() as lab:
        device = 'tun:\n  enabled: true\n  name: "tun0"\n  addr: "9.9.9.1/24"\n'
        lab.origin()
        server = paqet.start_server(lab, Settings(extra=device + "allow: public\n"))
        paqet.start_client(lab, Settings(socks5="    reply: real\n"))
        code = 0
        try:
            paqet.socks_connect(lab, "9.9.9.1", 8080).close()
        except paqet.SocksError as error:
            code = error.code
        expect(code == 2, f"reply {code} instead of 2, not allowed")
        server.wait_log("do not permit", 5)


def send_from(host: Host, address: str) -> None:
    """A datagram into the tunnel, whether the host has the address or not."""
    with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sender.bind((address, 0))
        sender.sendto(b"one of many", ("10.9.0.1", 9))


@test(timed=True)
def test_tun_many_addresses() -> None:
    """256 of one client; a further one is refused, and the log says why. So is one of a client that
    has gone, which anybody else may have."""
    need_tun()
    server, client, second = (
        Settings(network=False, level=level, extra=(TUN % number).replace("/24", "/22"))
        for number, level in ((1, "debug"), (2, "info"), (3, "info"))
    )
    with Lab(third=True) as lab:
        there = paqet.start_server(lab, server)
        here = paqet.start_client(lab, client)
        other = paqet.start(lab.x, "second", paqet.client_config(lab, second))
        here.wait_log("TUN: connected", 10)
        other.wait_log("TUN: connected", 10)
        send_from(lab.x, "10.9.3.1")
        there.wait_log(r"has the address 10\.9\.3\.1", 5)
        other.kill()
        for number in range(2, 300):
            send_from(lab.c, f"10.9.{number // 200}.{number % 200 + 1}")
        there.wait_log("for which there is no room", 5)
        count = len(re.findall(rf"{lab.c.ip4}:\d+ has the address", there.log()))
        expect(count == 256, f"{count} addresses")
        lines = re.findall(r"\[INFO\] TUN: client .* has the address", there.log())
        expect(0 < len(lines) < 10, f"{len(lines)} lines about addresses at level info")
        before = len(there.log())
        time.sleep(10)  # the server keeps silent for so long, and believes that the other lives
        send_from(lab.c, "10.9.3.1")
        wait_until(lambda: "sends from 10.9.3.1, for which" in there.log()[before:], 5, "a word")
