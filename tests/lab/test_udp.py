# SPDX-License-Identifier: MIT
"""UDP through the tunnel: SOCKS5 UDP ASSOCIATE and forwards, as games, calls and resolvers use
them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import threading
import time
from functools import partial

import paqet
import udp
from case import Failure, Skip, add, expect, test
from lab import Lab, tool, wait_until
from paqet import SOCKS, Settings
from udp import ECHO, Association, Listener

TARGET = udp.address("127.0.0.1", ECHO)
FORWARD = 6000
# The edges: of a segment, of what B carries, of an IP packet; SOCKS5's header takes 10 bytes.
SIZES = [1, 2, 100, 1310, 1311, 1500, 4096, 4097, 9000, 60000]
LARGEST = 65507


def forwards(*entries: str) -> str:
    return "forward:\n" + "".join(entries)


def start(lab: Lab, extra: str = "", ports: int = 1) -> paqet.Pair:
    """A working tunnel with the UDP echo behind it."""
    udp.start_echo(lab, ports)
    return paqet.start_pair(lab, client=Settings(extra=extra))


def expect_sizes(association: Association, sizes: list[int]) -> None:
    for size in sizes:
        payload = os.urandom(size)
        try:
            answer = association.ask(TARGET, payload)
        except Failure as failure:
            raise Failure(f"{size} bytes: {failure}") from failure
        expect(answer == payload, f"{size} bytes came back as {len(answer)} (or other ones)")
    association.expect_silence()


# ---- UDP ASSOCIATE


def associate_to(host: str) -> None:
    with Lab() as lab:
        pair = start(lab)
        with Association(lab) as association:
            for payload in (b"a", b"b" * 1000):
                answer = association.ask(udp.address(host, ECHO), payload)
                expect(answer == payload, f"other bytes: {answer[:40]!r}")
        pair.check_alive()


for _name, _host in (("ipv4", "127.0.0.1"), ("ipv6", "::1"), ("name", "localhost")):
    add(f"udp_associate_{_name}", partial(associate_to, _host))


@test()
def test_udp_sizes() -> None:
    with Lab() as lab:
        pair = start(lab)
        with Association(lab) as association:
            expect_sizes(association, [*SIZES, LARGEST - 10])
        pair.check_alive()


@test()
def test_udp_empty_datagram() -> None:
    with Lab() as lab:
        pair = start(lab, forwards(udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")))
        with Association(lab) as association:
            for first in (True, False):
                association.send(TARGET, b"")
                association.send(TARGET, b"after it")
                answer = association.receive(TARGET)
                if answer == b"":  # it may be carried
                    answer = association.receive(TARGET)
                expect(answer == b"after it", f"{'first' if first else 'later'}: {answer!r}")
                drain(association.socket)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as direct:
            direct.settimeout(2)
            direct.connect(("127.0.0.1", FORWARD))
            direct.send(b"")
            direct.send(b"after it")
            expect((direct.recv(100) or direct.recv(100)) == b"after it", "through the forward")
        pair.check_alive()


def drain(receiver: socket.socket) -> None:
    receiver.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            receiver.recv(70000)


@test()
def test_udp_fragments_are_dropped() -> None:
    with Lab() as lab:
        pair = start(lab)
        with Association(lab) as association:
            for fragment in (b"\x00\x00\x01", b"\x00\x00\x80", b"\x00\x00\x7f"):
                association.send(TARGET, b"a piece", fragment)
            association.expect_silence()
            expect(association.ask(TARGET, b"whole") == b"whole", "other bytes")
        pair.check_alive()


@test()
def test_udp_association_ends_with_its_connection() -> None:
    with Lab() as lab:
        pair = start(lab)
        processes = (pair.client, pair.server)
        time.sleep(0.5)
        before = [process.open_files() for process in processes]
        associations = [Association(lab) for _ in range(20)]
        for association in associations:
            association.ask(TARGET, b"one")
        during = [process.open_files() for process in processes]
        grown = [b - a for a, b in zip(before, during, strict=True)]
        expect(min(grown) >= 20, f"descriptors grew by {grown}: what would their end show?")
        for association in associations[1:]:
            association.control.close()

        def freed() -> bool:
            now = [process.open_files() for process in processes]
            return max(b - a for a, b in zip(before, now, strict=True)) <= 4

        wait_until(freed, 5, "the descriptors of 19 ended associations free")
        expect(associations[0].ask(TARGET, b"two") == b"two", "the one that has not ended")
        associations[1].send(TARGET, b"late")
        associations[1].expect_silence()
        for association in associations:
            association.close()
        pair.check_alive()


@test()
def test_udp_only_of_its_owner() -> None:
    """The request leaves the port open: the first datagram from the owner's address sets it."""
    with Lab() as lab:
        pair = start(lab)
        listener = Listener(lab)
        target = udp.address("127.0.0.1", listener.port)
        with Association(lab) as association:
            other_address = association.new_socket("127.0.0.2")
            other_port = association.new_socket()
            first = udp.NO_FRAGMENT + target + b"other address, first"
            other_address.sendto(first, association.relay)
            association.send(target, b"owner")
            for other, text in ((other_address, b"other address"), (other_port, b"other port")):
                other.sendto(udp.NO_FRAGMENT + target + text, association.relay)
            association.send(target, b"owner again")
            got = list(listener.received(1))
            expect(got == [b"owner", b"owner again"], f"the target got {got}")
            other_address.close()
            other_port.close()
        pair.check_alive()


@test()
def test_udp_owner_named_in_the_request() -> None:
    with Lab() as lab:
        pair = start(lab)
        listener = Listener(lab)
        target = udp.address("127.0.0.1", listener.port)
        with Association(lab, ("127.0.0.1", 4321)) as association:
            association.send(target, b"from another port")
            with association.new_socket(port=4321) as named:
                named.sendto(udp.NO_FRAGMENT + target + b"from the named port", association.relay)
                payload, sender = listener.receive()
                expect(payload == b"from the named port", f"the target got {payload!r}")
                listener.socket.sendto(b"answer", sender)
                expect(named.recv(100).endswith(b"answer"), "another answer")
        pair.check_alive()


@test()
def test_udp_answers_come_from_the_target_only() -> None:
    """What somebody else sends to the server's socket is not for the user."""
    with Lab() as lab:
        start(lab)
        listener, stranger = Listener(lab), Listener(lab)
        target = udp.address("127.0.0.1", listener.port)
        with Association(lab) as association:
            association.send(target, b"hello")
            _, sender = listener.receive()
            stranger.socket.sendto(b"from a stranger", sender)
            listener.socket.sendto(b"first", sender)
            listener.socket.sendto(b"second", sender)
            got = {association.receive(target) for _ in range(2)}
            expect(got == {b"first", b"second"}, f"the user got {got}")
            association.expect_silence()


GARBAGE = [
    *(b"", b"\x00", b"\x00\x00", b"\x00\x00\x00", b"\x00\x00\x00\x01", b"\xff" * 300),
    b"\x00\x00\x00\x01\x7f\x00\x00\x01\x1b",  # half a port
    b"\x00\x00\x00\x02\x7f\x00\x00\x01\x1b\x5f of no known type",
    b"\x00\x00\x00\x03\xffshort name\x00\x35",
    b"\x00\x00\x00\x03\x00\x00\x35 empty name",
    b"\x00\x00\x00\x03\x05a\x00b\nc\x00\x35 strange name",
    b"\x00\x00\x00\x03\x13no-such-name.invali\x00\x35 unknown name",
    b"\x00\x00\x00\x04" + bytes(17),
    b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x00 port 0",
    b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x01 refused",
    b"\x00\x00\x00\x01\xe0\x00\x00\x01\x00\x35 multicast",
    b"\x00\x00\x00\x01\xff\xff\xff\xff\x00\x35 broadcast",
]


@test()
def test_udp_garbage() -> None:
    with Lab() as lab:
        pair = start(lab)
        with Association(lab) as association:
            for _ in range(3):
                for datagram in [*GARBAGE, os.urandom(60000), bytes(60000)]:
                    association.socket.sendto(datagram, association.relay)
                expect(association.ask(TARGET, b"still there") == b"still there", "other bytes")
        pair.check_alive()
        expect(paqet.fetch_by_hand(lab), "a download afterwards")


@test()
def test_udp_survives_server_restart() -> None:
    with Lab() as lab:
        pair = start(lab)
        with Association(lab) as association:
            association.ask(TARGET, b"before")
            pair.server.stop()
            pair.server = paqet.start_server(lab, Settings())
            begin = time.monotonic()
            while True:
                with contextlib.suppress(Failure):
                    association.ask(TARGET, b"after", 0.5)
                    break
                seconds = time.monotonic() - begin
                expect(seconds < 20, f"no datagram for {seconds:.0f} s after the restart")
        pair.check_alive()


@test()
def test_udp_associations_with_password() -> None:
    socks5 = '    username: "user"\n    password: "secret"\n'
    with Lab() as lab:
        udp.start_echo(lab)
        paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(socks5=socks5))
        with paqet.socks_socket(lab) as control:
            control.sendall(b"\x05\x01\x00")
            expect(paqet.read_exactly(control, 2) == b"\x05\xff", "let in without a password")
        with paqet.socks_socket(lab) as control:
            control.sendall(b"\x05\x01\x02")
            expect(paqet.read_exactly(control, 2) == b"\x05\x02", "the method is not password")
            control.sendall(b"\x01\x04user\x06secret")
            expect(paqet.read_exactly(control, 2) == b"\x01\x00", "the password is refused")
            control.sendall(b"\x05\x03\x00" + udp.address("0.0.0.0", 0))
            reply = paqet.read_exactly(control, 10)
            expect(reply[1] == 0, f"UDP ASSOCIATE: reply {reply[1]}")
            with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                relay = (socket.inet_ntoa(reply[4:8]), struct.unpack("!H", reply[8:])[0])
                sender.settimeout(10)
                sender.sendto(udp.NO_FRAGMENT + TARGET + b"hello", relay)
                expect(sender.recv(100).endswith(b"hello"), "other bytes")


# ---- many


@test(limit=200, tries=3, alone=True)
def test_udp_1000_flows() -> None:
    with Lab() as lab:
        entry = udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")
        pair = start(lab, forwards(entry), ports=1000)
        many = ("--flows", 1000, "--rate", 3, "--seconds", 4, "--size", "32-1200")
        shared = udp.flows(lab, "--socks", SOCKS, "--shared", "--ports", 1000, *many)
        udp.expect_all_back(shared)
        udp.expect_all_back(udp.flows(lab, *many, port=FORWARD))
        own = ("--flows", 300, "--rate", 5, "--seconds", 3, "--size", "32-1200")
        udp.expect_all_back(udp.flows(lab, "--socks", SOCKS, *own))
        pair.check_alive()
        expect(paqet.fetch_by_hand(lab), "a download afterwards")


@test(limit=150, tries=3, alone=True)
def test_udp_sizes_mixed() -> None:
    """Small ones beside large ones, which go another way: none cut, joined or lost."""
    with Lab() as lab:
        pair = start(lab)
        many = ("--flows", 10, "--rate", 20, "--seconds", 4)
        for sizes in ("32-3000", "32-30000"):
            udp.expect_all_back(udp.flows(lab, "--socks", SOCKS, *many, "--size", sizes))
        pair.check_alive()


@test(limit=150, tries=3, alone=True)
def test_udp_beside_downloads() -> None:
    with Lab(wan=["--delay", "25", "--rate", "100"]) as lab:
        pair = start(lab)
        argv = [tool("lab-load"), "get", "--socks", str(SOCKS), "--parallel", "4"]
        load = lab.c.start("load", [*argv, "--seconds", "30", "127.0.0.1", "8080"])
        time.sleep(2)
        report = udp.flows(lab, "--socks", SOCKS, "--seconds", 8)
        expect(load.alive(), f"the downloads ended: {load.last_lines()}")
        expect(report["percent"] >= 98 and report["damaged"] == 0, f"{report}")
        expect(report["p50_ms"] < 50 + 15, f"p50 beside 4 downloads: {report}")
        pair.check_alive()


@test(limit=200, tries=3, alone=True)
def test_udp_with_loss() -> None:
    """Each way loses 5 %, so 90.25 % come back, or more; and none waits for one that was lost: they are
    not much later than those that go past the tunnel at the same time, on a busy machine neither."""
    with Lab(wan=["--loss", "5", "--delay", "50"]) as lab:
        pair = start(lab)
        options = ("--warmup", 1, "--seconds", 20)
        beside = lab.c.start("udp-past", udp.flows_command(*options, host=lab.s.ip4))
        report = udp.flows(lab, "--socks", SOCKS, *options, limit=40)
        expect(beside.wait(10) == 0, f"past the tunnel: {beside.last_lines()}")
        past = udp.read_report(beside.log())
        print(f"  p99 {report['p99_ms']:.1f} ms, past the tunnel {past['p99_ms']:.1f} ms")
        expect(past["percent"] < 95, f"the link has lost nothing: {past}")
        expect(report["percent"] >= 86.5, f"too few came back: {report}")
        expect(report["damaged"] == 0 and report["duplicates"] == 0, f"{report}")
        expect(report["p99_ms"] <= past["p99_ms"] + 15, f"some were held back: {report}, past the tunnel {past}")
        pair.check_alive()


# ---- forwards


@test()
def test_udp_forward_sizes() -> None:
    with Lab() as lab:
        entry = udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")
        pair = start(lab, forwards(entry))
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
            user.settimeout(2)
            user.connect(("127.0.0.1", FORWARD))
            for size in [*SIZES, LARGEST]:
                payload = os.urandom(size)
                user.send(payload)
                with contextlib.suppress(TimeoutError):
                    answer = user.recv(70000)
                    expect(answer == payload, f"{size} bytes came back as {len(answer)}")
                    continue
                raise Failure(f"{size} bytes did not come back")
        pair.check_alive()


@test()
def test_udp_forwards_several() -> None:
    """Two UDP and one TCP, over both versions of IP, to an address and to a name."""
    with Lab() as lab:
        entries = [
            udp.forward(f"127.0.0.1:{FORWARD}", f"[::1]:{ECHO}"),
            udp.forward(f"[::1]:{FORWARD}", f"localhost:{ECHO}"),
            udp.forward(f"127.0.0.1:{FORWARD}", "127.0.0.1:8080", "tcp"),
        ]
        pair = start(lab, forwards(*entries))
        for host in ("127.0.0.1", "::1"):
            many = ("--flows", 20, "--seconds", 2)
            udp.expect_all_back(udp.flows(lab, *many, host=host, port=FORWARD))
        result = lab.load("fetch", "--bytes", 100_000, socks=0, port=FORWARD)
        expect(result["failed"] == 0, f"through the TCP forward: {result}")
        pair.check_alive()


def link_local(lab: Lab) -> tuple[str, int]:
    """The client host's address that is one only together with its interface."""
    show = ["ip", "-6", "-o", "addr", "show", "dev", lab.c.device, "scope", "link"]
    wait_until(lambda: "tentative" not in lab.c.check(show), 5, "a link-local address")
    with lab.c.entered():
        scope = socket.if_nametoindex(lab.c.device)
    return lab.c.check(show).split()[3].split("/")[0], scope


@test()
def test_udp_link_local() -> None:
    """An association and a forward for programs that know the client by such an address."""
    with Lab() as lab:
        port = 1081
        udp.start_echo(lab)
        entry = forwards(udp.forward(f"[::]:{FORWARD}", f"127.0.0.1:{ECHO}"))
        settings = Settings(socks5=f'  - listen: "[::]:{port}"\n', extra=entry)
        pair = paqet.start_pair(lab, client=settings)
        host, scope = link_local(lab)
        control = lab.c.open_socket(socket.AF_INET6, socket.SOCK_STREAM)
        control.settimeout(5)
        control.connect((host, port, 0, scope))
        with Association(lab, control=control) as association:
            expect(association.ask(TARGET, b"associated") == b"associated", "other bytes")
        with lab.c.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as user:
            user.settimeout(2)
            user.connect((host, FORWARD, 0, scope))
            user.send(b"forwarded")
            expect(user.recv(100) == b"forwarded", "other bytes through the forward")
        pair.check_alive()


class Dns:
    """A name server on the server host, both versions of IP: every name has the same address."""

    ADDRESS = "192.0.2.77"

    def __init__(self, lab: Lab):
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            server = lab.s.open_socket(family, socket.SOCK_DGRAM)
            server.bind((host, 53))
            threading.Thread(target=self.serve, args=(server,), daemon=True).start()

    def serve(self, server: socket.socket) -> None:
        while True:
            query, sender = server.recvfrom(4096)
            with contextlib.suppress(IndexError):
                server.sendto(self.answer(query), sender)

    def answer(self, query: bytes) -> bytes:
        end = 12
        while query[end] != 0:
            end += query[end] + 1
        question = query[12 : end + 5]
        flags = 0x8400 | (query[2] & 1) << 8  # an answer with authority, the recursion bit as asked
        header = query[:2] + struct.pack("!HHHHH", flags, 1, 1, 0, 0)
        record = struct.pack("!HHHLH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(self.ADDRESS)
        return header + question + record


def need(program: str) -> None:
    if not shutil.which(program):
        raise Skip(f"needs {program}")


def dig(lab: Lab, server: str, port: int) -> None:
    argv = ["dig", "+short", "+tries=1", "+time=5", f"@{server}", "-p", str(port)]
    for i in range(5):
        answer = lab.c.run([*argv, f"name{i}.example", "A"]).stdout.strip()
        expect(answer == Dns.ADDRESS, f"dig @{server} -p {port}: {answer!r}")


@test()
def test_udp_forward_dig() -> None:
    need("dig")
    with Lab() as lab:
        entries = [
            udp.forward("127.0.0.1:5301", "127.0.0.1:53"),
            udp.forward("[::1]:5302", "[::1]:53"),
            udp.forward("127.0.0.1:5303", "localhost:53"),
        ]
        paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(extra=forwards(*entries)))
        Dns(lab)
        dig(lab, "127.0.0.1", 5301)
        dig(lab, "::1", 5302)
        dig(lab, "127.0.0.1", 5303)


def iperf3(lab: Lab, *options: str) -> dict:
    """A UDP run through the forwards; its sum."""
    server = lab.s.start("iperf3", ["iperf3", "-s", "-1", "-p", "5201", "--forceflush"])
    server.wait_log("listening", 5)
    argv = ["iperf3", "-c", "127.0.0.1", "-p", "5201", "-u", "-J", "-t", "4", "-l", "1200"]
    result = json.loads(lab.c.run([*argv, *options], 30).stdout)
    expect("error" not in result, f"iperf3: {result.get('error')}")
    server.wait(5)
    return result["end"]["sum"]


@test(limit=150, tries=3, alone=True)
def test_udp_forward_iperf3() -> None:
    need("iperf3")
    with Lab() as lab:
        entries = [
            udp.forward("127.0.0.1:5201", "127.0.0.1:5201", protocol) for protocol in ("tcp", "udp")
        ]
        pair = start(lab, forwards(*entries))
        for options in ([], ["-R"]):
            end = iperf3(lab, "-b", "50M", *options)
            lost, packets = end["lost_packets"], end["packets"]
            expect(packets > 15000, f"{packets} datagrams {options}")
            expect(lost == 0, f"{lost} of {packets} datagrams lost {options}")
        pair.check_alive()


@test(limit=120, full=True, timed=True)
def test_udp_idle_flows_end() -> None:
    """After the default of 60 s; and the next datagram opens a flow again."""
    with Lab() as lab:
        entry = udp.forward(f"127.0.0.1:{FORWARD}", f"127.0.0.1:{ECHO}")
        pair = start(lab, forwards(entry), ports=50)
        with Association(lab) as association:
            association.ask(TARGET, b"first")
            before = pair.server.open_files()
            udp.expect_all_back(
                udp.flows(lab, "--socks", SOCKS, "--flows", 50, "--ports", 50, "--seconds", 1)
            )
            udp.expect_all_back(udp.flows(lab, "--flows", 50, "--seconds", 1, port=FORWARD))
            expect(pair.server.open_files() >= before + 50, "no descriptors to be freed")
            time.sleep(45)
            association.ask(TARGET, b"in use")
            time.sleep(25)
            left = pair.server.open_files()
            expect(left <= before + 3, f"{left} descriptors after 70 s, {before} before the flows")
            association.ask(TARGET, b"this one goes on")
            udp.expect_all_back(udp.flows(lab, "--flows", 50, "--seconds", 1, port=FORWARD))
        pair.check_alive()
