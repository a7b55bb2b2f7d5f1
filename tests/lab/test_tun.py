# SPDX-License-Identifier: MIT
"""TUN end to end: the tunnel as a network interface.

    c 10.9.0.2, fd09::2 ═══ tunnel ═══ s 10.9.0.1, fd09::1
    x (10.77.0.3, and 203.0.113.5 "in the Internet") is a host behind the server, or a second client
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import threading
import time
from functools import partial

import paqet
from case import Failure, Skip, add, expect, test
from lab import Host, Lab, Process, tool, wait_until
from paqet import PORT, Settings
from test_interop import NO_POOL

FAR = "203.0.113.5"
TCP_FLOOR = 200  # Mbit/s, on a machine that does other things too
UDP_RATE = 30  # Mbit/s, far below capacity


def need(path: str) -> None:
    if not (os.path.exists(path) or shutil.which(path)):
        raise Skip(f"needs {path}")


def tun(number: int, more: str = "", ip6: bool = True) -> str:
    text = f'tun:\n  enabled: true\n  name: "tun0"\n  addr: "10.9.0.{number}/24"\n  mtu: 1400\n'
    return text + (f'  addr6: "fd09::{number}/64"\n' if ip6 else "") + more


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ping(host: Host, target: str, size: int = 56, source: str = "", limit: float = 1) -> bool:
    """One echo request of an even size; whether it was answered."""
    ip6 = ":" in target
    family = socket.AF_INET6 if ip6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if ip6 else socket.IPPROTO_ICMP
    mark, request, reply, skip = os.urandom(4), *((128, 129, 0) if ip6 else (8, 0, 20))
    body = mark + bytes(size)
    packet = struct.pack("!BBH", request, 0, 0) + body  # for IPv6 the kernel fills the checksum
    if not ip6:
        packet = struct.pack("!BBH", request, 0, checksum(packet)) + body
    with host.open_socket(family, socket.SOCK_RAW, protocol) as raw:
        if source:
            raw.bind((source, 0))
        end = time.monotonic() + limit
        with contextlib.suppress(OSError):
            raw.sendto(packet, (target, 0))
            while (left := end - time.monotonic()) > 0:
                raw.settimeout(left)
                answer = raw.recv(70000)[skip:]
                if answer[0] == reply and answer[4:] == body:
                    return True
    return False


def wait_ping(host: Host, target: str, limit: float = 15) -> None:
    wait_until(lambda: ping(host, target), limit, f"a ping of {host.letter} to {target}")


def start_pair(lab: Lab, client: str = "", server: str = "") -> paqet.Pair:
    need("/dev/net/tun")
    # both find out by themselves: a router_mac of the server would be that of one client
    there = paqet.start_server(lab, Settings(network=False, extra=tun(1, server)))
    here = paqet.start_client(lab, Settings(network=False, extra=tun(2, client)))
    wait_ping(lab.c, "10.9.0.1")
    return paqet.Pair(here, there)


@test()
def test_tun_ping() -> None:
    with Lab() as lab:
        pair = start_pair(lab)
        for size in (0, 56, 1300, 8000, 60000):
            expect(ping(lab.c, "10.9.0.1", size), f"no answer to {size} bytes")
            expect(ping(lab.c, "fd09::1", size), f"no answer to {size} bytes over IPv6")
            expect(ping(lab.s, "10.9.0.2", size), f"no answer of the client to {size} bytes")
            expect(ping(lab.s, "fd09::2", size), f"no answer of the client to {size}, IPv6")
        pair.check_alive()
        for process, host in ((pair.client, lab.c), (pair.server, lab.s)):
            expect(process.stop() == 0, "exit code")
            expect("tun0" not in host.check(["ip", "link"]), "the device is still there")


# ---- default route


def internet(lab: Lab) -> None:
    """x has an address that both others reach only by routing; it knows no way to 10.9.0.0/24."""
    lab.x.check(["ip", "addr", "add", f"{FAR}/32", "dev", "lo"])
    for host in (lab.c, lab.s):
        host.check(["ip", "route", "add", "default", "via", lab.x.ip4])


def seen_by_far(lab: Lab, port: int = 0) -> str:
    """Connects from c to the far host, from that port, which says from whom it came."""
    with lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 7100))
        listener.listen(1)
        listener.settimeout(5)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.bind(("0.0.0.0", port))
            client.connect((FAR, 7100))
            connection, (address, _) = listener.accept()
            connection.close()
    return address


@test()
def test_tun_default_route() -> None:
    with Lab(third=True) as lab:
        lab.watched = False  # inside the tunnel somebody uses the same port
        internet(lab)
        lab.x.start("far", [tool("lab-load"), "origin", "--seconds", "600", "8080"]).wait_log(
            "^ready", 5
        )
        expect(seen_by_far(lab) == lab.c.ip4, "the lab itself")
        pair = start_pair(lab, "  routes: [default]\n", "  masquerade: true\n")
        expect(seen_by_far(lab) == lab.s.ip4, "not through the server, or not masqueraded")
        expect(seen_by_far(lab, PORT) == lab.s.ip4, "from the port that is the tunnel's outside")
        curl = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{size_download}"]
        result = lab.c.run([*curl, f"http://{FAR}:8080/20000000"])
        expect(result.stdout == "20000000", f"curl: {result.stdout} bytes")
        expect(ping(lab.c, FAR) and ping(lab.c, FAR, 1300), "no ping to the far host")
        expect(ping(lab.x, lab.c.ip4), "the client's own address is not reached any more")
        pair.server.kill()  # what was there by itself must go on without the tunnel
        expect(ping(lab.c, lab.x.ip4), "the local network went into the tunnel")
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        wait_ping(lab.c, FAR, 20)
        pair.client.stop()
        expect(seen_by_far(lab) == lab.c.ip4, "routes were left behind")


@test()
def test_tun_client_killed() -> None:
    """The machine has its network again at once."""
    with Lab(third=True) as lab:
        internet(lab)
        pair = start_pair(lab, "  routes: [default]\n", "  masquerade: true\n")
        expect(seen_by_far(lab) == lab.s.ip4, "not through the server")
        pair.client.kill()
        expect(seen_by_far(lab) == lab.c.ip4, "not direct")
        paqet.start_client(lab, Settings(network=False, extra=tun(2, "  routes: [default]\n")))
        wait_ping(lab.c, "10.9.0.1")
        expect(seen_by_far(lab) == lab.s.ip4, "not through the server again")
        rules = lab.c.check(["ip", "rule"])
        expect(rules.count("suppress_prefixlength") == 1, f"rules twice: {rules}")


# ---- packets of other forms


def echoes(lab: Lab, client: socket.socket, target: tuple[str, int], size: int) -> None:
    """Connects and sends; the server's end sends everything back."""
    data = os.urandom(size)
    with client, lab.s.open_socket(client.family, socket.SOCK_STREAM) as listener:
        listener.bind(target)
        listener.listen(1)
        listener.settimeout(5)
        client.settimeout(5)
        client.connect(target)
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            for sender, receiver in ((client, server), (server, client)):
                pump = threading.Thread(target=sender.sendall, args=(data,))
                pump.start()
                expect(paqet.read_exactly(receiver, size) == data, "other bytes came")
                pump.join()


@test()
def test_tun_extension_headers() -> None:
    """TCP behind destination options of IPv6, in both directions."""
    with Lab() as lab:
        pair = start_pair(lab)
        client = lab.c.open_socket(socket.AF_INET6, socket.SOCK_STREAM)
        padding = b"\0\0\1\4\0\0\0\0"
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, padding)
        echoes(lab, client, ("fd09::1", 7200), 300000)
        pair.check_alive()


@test()
def test_tun_inside_vxlan() -> None:
    """The checksum that the kernel leaves open is that of the TCP inside."""
    with Lab() as lab:
        pair = start_pair(lab)
        for host, number in ((lab.c, 2), (lab.s, 1)):
            vxlan = ["ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789"]
            ends = ["local", f"10.9.0.{number}", "remote", f"10.9.0.{3 - number}"]
            if host.run([*vxlan, *ends]).returncode != 0:
                raise Skip("this kernel has no VXLAN devices")
            host.check(["ip", "addr", "add", f"10.10.0.{number}/24", "dev", "vx0"])
            host.check(["ip", "link", "set", "vx0", "mtu", "1350", "up"])
        client = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        echoes(lab, client, ("10.10.0.1", 7200), 300000)
        pair.check_alive()


# ---- speed


def iperf(lab: Lab, *options: str) -> dict:
    """iperf3 from the client host to the server's end of the tunnel."""
    need("iperf3")
    server = lab.s.start("iperf3", ["iperf3", "-s", "-1", "-B", "10.9.0.1"])
    server.may_end = True

    def listens() -> bool:
        return ":5201" in lab.s.check(["ss", "-ltn"])

    wait_until(listens, 5, "iperf3's port")
    result = lab.c.run(["iperf3", "-c", "10.9.0.1", "-t", "4", "-J", *options], 30)
    answer = json.loads(result.stdout)
    if "error" in answer:
        raise Failure(f"iperf3 {' '.join(options)}: {answer['error']}")
    return answer["end"]


@test(alone=True)
def test_tun_iperf_tcp() -> None:
    with Lab() as lab:
        pair = start_pair(lab)
        for options in ((), ("-R",)):
            rate = iperf(lab, *options)["sum_received"]["bits_per_second"] / 1e6
            print(f"  TUN, TCP {' '.join(options) or 'up'}: {rate:.0f} Mbit/s", flush=True)
            expect(rate >= TCP_FLOOR, f"{rate:.0f} Mbit/s {options}")
        pair.check_alive()


@test(limit=120, tries=3, alone=True)
def test_tun_iperf_udp() -> None:
    with Lab() as lab:
        pair = start_pair(lab)
        for options in ((), ("-R",)):
            total = iperf(lab, "-u", "-b", f"{UDP_RATE}M", "-l", "1300", *options)["sum"]
            lost, sent = total["lost_packets"], total["packets"]
            expect(sent > 1000, f"{sent} packets {options}")
            expect(lost <= sent / 1000, f"{lost} of {sent} packets lost {options}")
        pair.check_alive()


@test(alone=True)
def test_tun_small_packets() -> None:
    """While the server is silent, many of the smallest TCP packets take little memory."""
    with Lab(wan=["--delay", "20"]) as lab:
        pair = start_pair(lab)
        iperf(lab, "-t", "2")
        os.kill(pair.server.pid, signal.SIGSTOP)
        before = pair.client.memory_mb()
        addresses = socket.inet_aton("10.9.0.2") + socket.inet_aton("10.9.0.1")
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + addresses
        packet += struct.pack("!HHLLBBHHH", 1, 2, 0, 0, 0x50, 0x10, 0, 0, 0)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for _ in range(60000):
                raw.sendto(packet, ("10.9.0.1", 0))
        after = pair.client.memory_mb()
        os.kill(pair.server.pid, signal.SIGCONT)
        print(f"  {after - before:.1f} MB for small packets, {after:.1f} MB in all", flush=True)
        expect(after < 28, f"{after:.0f} MB in all, {before:.0f} MB before")
        pair.check_alive()


# ---- several clients


def start_second(lab: Lab) -> Process:
    """A client on x, as 10.9.0.3."""
    text = paqet.client_config(lab, Settings(network=False, extra=tun(3)))
    process = paqet.start(lab.x, "second", text)
    wait_ping(lab.x, "10.9.0.1")
    return process


@test()
def test_tun_two_clients() -> None:
    with Lab(third=True) as lab:
        pair = start_pair(lab)
        second = start_second(lab)
        for _ in range(5):
            expect(ping(lab.c, "10.9.0.1") and ping(lab.x, "fd09::1"), "to the server")
            expect(ping(lab.s, "10.9.0.2") and ping(lab.s, "10.9.0.3"), "to the clients")
        # one of them takes the other's address too
        lab.c.check(["ip", "addr", "add", "10.9.0.3/24", "dev", "tun0"])
        for _ in range(3):
            expect(not ping(lab.c, "10.9.0.1", source="10.9.0.3"), "spoofed, and answered")
            expect(ping(lab.s, "10.9.0.3"), "the address was taken away from its client")
        expect(ping(lab.c, "10.9.0.1"), "its own address")
        second.stop()
        pair.check_alive()


def beside(lab: Lab, number: int, routes: str) -> str:
    """The configuration of one more client on c: device tun3, address 10.9.0.3, and so on."""
    device = tun(number, f"  routes: [{routes}]\n", ip6=False).replace("tun0", f"tun{number}").replace(f".{number}/24", f".{number}/32")
    text = paqet.client_config(lab, Settings(network=False, extra=device))
    return text.replace(f":{paqet.SOCKS}", f":{paqet.SOCKS + number}")


@test()
def test_tun_several_on_one_machine() -> None:
    """Each with networks of its own; none is disturbed by another's end, however it ends."""
    with Lab(third=True) as lab:
        internet(lab)
        other = "198.51.100.7"
        lab.x.check(["ip", "addr", "add", f"{other}/32", "dev", "lo"])
        pair = start_pair(lab, "  routes: [203.0.113.0/24, 'fd77::/16']\n", "  masquerade: true\n")
        second = paqet.start(lab.c, "second", beside(lab, 3, "198.51.100.0/24, 203.0.113.128/25"))
        wait_until(lambda: "10.9.0.3" in lab.c.check(["ip", "route", "get", other]), 10, "the second one's route")

        def device(target: str) -> str:
            return lab.c.check(["ip", "route", "get", target]).split(" dev ")[1].split()[0]

        expect([device(FAR), device(other), device("203.0.113.200")] == ["tun0", "tun3", "tun3"], "the devices")
        for target in (FAR, other):
            wait_ping(lab.c, target)
        third = paqet.start(lab.c, "third", beside(lab, 4, "198.51.100.0/24"))
        third.may_end = True
        expect(third.wait(10) == 1, "the same network twice")
        expect("198.51.100.0/24 already leads to tun3" in third.log(), f"it says: {third.last_lines()}")
        pair.client.kill()
        expect(device(FAR) == lab.c.device and ping(lab.c, other), "after the first one was killed")
        pair.client = paqet.start_client(lab, Settings(network=False, extra=tun(2, "  routes: [default]\n")))
        wait_until(lambda: device(FAR) == "tun0", 10, "the default route of the first one")
        expect(device(other) == "tun3" and ping(lab.c, other), "the second one")
        expect(second.stop() == 0, "exit code")
        expect(device(other) == "tun0", "after the second one has ended")
        wait_ping(lab.c, FAR)
        expect(pair.client.stop() == 0, "exit code")
        for family in ("-4", "-6"):
            rules = lab.c.check(["ip", family, "rule"])
            expect("2876" not in rules, f"left behind: {rules}")


@test()
def test_tun_server_restart() -> None:
    with Lab() as lab:
        pair = start_pair(lab)
        for end in (Process.stop, Process.kill):
            end(pair.server)
            pair.server = paqet.start_server(lab, Settings(network=False, extra=tun(1)))
            wait_ping(lab.c, "10.9.0.1", 25)
            wait_ping(lab.s, "10.9.0.2", 5)
        pair.check_alive()


# ---- family A


def expect_pings(lab: Lab) -> None:
    wait_ping(lab.c, "10.9.0.1", 20)
    answers = sum(ping(lab.c, "10.9.0.1", size) for size in (2, 56, 500, 1200) * 10)
    expect(answers >= 38, f"{answers} of 40 pings were answered")
    answers = sum(ping(lab.s, "10.9.0.2") for _ in range(20))
    expect(answers >= 19, f"{answers} of 20 pings to the client were answered")


def original_is_server(binary: str) -> None:
    need("/dev/net/tun")
    with Lab() as lab:
        lab.s.keep_kernel_quiet(PORT)
        settings = Settings(extra=tun(1, ip6=False) + NO_POOL)
        paqet.start_server(lab, settings, binary)
        client = paqet.start_client(lab, Settings(extra=tun(2, ip6=False)))
        expect_pings(lab)
        paqet.ended(client)


def original_is_client(binary: str) -> None:
    need("/dev/net/tun")
    with Lab() as lab:
        lab.c.keep_kernel_quiet(PORT)
        server = paqet.start_server(lab, Settings(extra=tun(1, ip6=False)))
        settings = Settings(extra=tun(2, ip6=False) + NO_POOL)
        paqet.start_client(lab, settings, binary)
        expect_pings(lab)
        paqet.ended(server)


_binary = os.environ.get("PAQET_GO_A")
if _binary:
    add("tun_original_a_server", partial(original_is_server, _binary))
    add("tun_original_a_client", partial(original_is_client, _binary))
