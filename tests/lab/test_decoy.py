# SPDX-License-Identifier: MIT
"""listen.decoy: strangers get what the server's machine has on the port; clients notice nothing."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time

import paqet
from case import add, expect, test
from lab import Capture, Host, Lab, Process
from packets import ACK, RST, SYN, Forger
from paqet import PORT
from test_attacks import CLIENT_PORT, Stranger
from test_connect import from_stranger, record, start_client
from test_keys import Keys
from test_main import MB, check_download, check_upload
from without import without_nftables

PAGE = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes"


def serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.recv(1000)
        connection.sendall(PAGE)


def start_server(keys: Keys, ip6: bool = False, extra: str = "", program: str = "") -> Process:
    settings = keys.server_settings(ip6=ip6)
    settings.extra += extra
    process = paqet.start(
        keys.lab.s,
        "server",
        paqet.server_config(keys.lab, settings).replace("listen:\n", "listen:\n  decoy: true\n"),
        program,
    )
    process.wait_log("listening on port", 10)
    return process


def browse(host: Host, address: str, limit: float = 3) -> tuple[bytes, float]:
    """What a stranger gets, and how long that took."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    begin = time.monotonic()
    with host.open_socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(limit)
        probe.connect((address, PORT))
        probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return probe.recv(1000), time.monotonic() - begin


def real_checksums(lab: Lab) -> None:
    """A virtual wire leaves them out."""
    for host in lab.hosts:
        host.check(["ethtool", "-K", host.device, "tx", "off"])


def decoy(look: str, ip6: bool, iptables: bool = False) -> None:
    """A stranger sees a page, beside a client that works; no kernel answers the client."""
    with Lab(third=True) as lab:
        program = without_nftables(lab) if iptables else ""
        real_checksums(lab)
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        address = lab.s.ip6 if ip6 else lab.s.ip4
        lab.s.listen(address, PORT, serve)
        server = start_server(keys, ip6, program=program)
        for host in (lab.x, lab.c):
            host.run(["ping", "-c", "1", "-W", "2", address])
        capture = lab.sniff(f"tcp port {PORT} and host {lab.c.ip6 if ip6 else lab.c.ip4}", 128)
        options = {"network_extra": f"  tcp:\n    look: {look}\n"}
        client = paqet.start_client(lab, keys.client_settings(ip6=ip6, **options))
        paqet.wait_working(lab)
        for _ in range(20):
            page, seconds = browse(lab.x, address)
            expect(page == PAGE and seconds < 0.7, f"{page!r} after {seconds:.2f} s")
        check_download(lab, 20 * MB)
        check_upload(lab, 5 * MB)
        client.stop()
        seen = capture.stop()
        answers = [s for s in seen if s.flags & (SYN | ACK) == SYN | ACK]
        expect(len(answers) == (look == "connect"), f"{len(answers)} SYN+ACKs")
        expect(not any(s.flags & RST for s in seen), "a reset")
        page, _ = browse(lab.c, address)
        expect(page == PAGE, "the client's own machine gets no page")
        expect(server.alive(), "the server ended")


for _look in ("plausible", "connect"):
    add(f"decoy_{_look}", functools.partial(decoy, _look, False), timed=True)
add("decoy_connect_ipv6", functools.partial(decoy, "connect", True), timed=True)
add("decoy_iptables", functools.partial(decoy, "connect", False, iptables=True), timed=True)


@test(timed=True)
def test_decoy_recordings() -> None:
    """A recorded SYN gets what any other SYN gets, so it tells nothing; nor does what follows it."""
    with Lab(third=True) as lab:
        real_checksums(lab)
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        lab.s.listen(lab.s.ip4, PORT, serve)
        server = start_server(keys)
        recorded = record(lab, keys)
        before = server.log().count(") connected")
        stranger = Stranger(lab)
        capture = Capture([lab.x], f"tcp src port {PORT}", 128)
        played = from_stranger(lab, recorded)
        stranger.send(played[0])
        time.sleep(0.3)
        stranger.send(*played[1:])
        time.sleep(0.3)
        flags = [s.flags for s in capture.stop()]
        expect(SYN | ACK in flags, f"a recorded SYN gets no answer: {flags}")
        expect(server.log().count(") connected") == before, "a client was made of it")
        start_client(keys)
        paqet.seconds_to_work(lab, 3, patience=1)


@test()
def test_decoy_nobody_listens() -> None:
    """A reset, as of any machine."""
    with Lab(third=True) as lab:
        real_checksums(lab)
        keys = Keys(lab)
        start_server(keys)
        lab.x.run(["ping", "-c", "1", "-W", "2", lab.s.ip4])
        with lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(3)
            expect(probe.connect_ex((lab.s.ip4, PORT)) == 111, "it is not refused")


def syn(lab: Lab, source: str, port: int) -> bytes:
    forge = Forger(lab.x.mac, lab.s.mac, source, lab.s.ip4)
    return forge.ethernet(forge.ipv4(forge.segment(port, PORT, b"", SYN)))


@test(timed=True)
def test_decoy_in_a_clients_name() -> None:
    """A SYN from where a client is does not lead its packets to the kernel, which would reset it;
    nor does the kernel get one from where none can come from."""
    with Lab(third=True) as lab:
        real_checksums(lab)
        keys = Keys(lab)
        lab.origin()
        lab.s.listen(lab.s.ip4, PORT, serve)
        workers = "performance:\n  packet_workers: 2\n"
        start_server(keys, extra=workers)
        for host in (lab.x, lab.c):
            host.run(["ping", "-c", "1", "-W", "2", lab.s.ip4])
        paqet.start_client(lab, keys.client_settings(client_port=CLIENT_PORT))
        paqet.wait_working(lab)
        capture = lab.sniff(f"tcp src port {PORT} and host {lab.c.ip4}", 128)
        for _ in range(3):
            Stranger(lab).send(syn(lab, lab.c.ip4, CLIENT_PORT))
            check_download(lab, MB)
        answers = [s.flags for s in capture.stop()]
        expect(len(answers) > 100, "no client was seen: the test is void")
        wrong = [f for f in answers if f & (SYN | RST)]
        expect(not wrong, f"the kernel answers a client: {wrong[:5]}")
        local = Capture([lab.s], "tcp", 128, device="lo")
        for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", lab.s.ip4):
            Stranger(lab).send(syn(lab, source, CLIENT_PORT))
        Stranger(lab).send(syn(lab, lab.x.ip4, CLIENT_PORT))
        time.sleep(0.3)
        sources = [s.source for s in local.stop() if s.flags & (SYN | ACK) == SYN]
        expect(sources == [lab.x.ip4], f"over lo come SYNs of {sources}")


@test(timed=True, full=True, limit=150)
def test_decoy_flood() -> None:
    """Who sends SYNs from more tuples than may be let through at a time, and goes on, keeps no
    client from working."""
    with Lab(third=True) as lab:
        real_checksums(lab)
        keys = Keys(lab)
        lab.origin()
        lab.s.listen(lab.s.ip4, PORT, serve)
        start_server(keys)
        lab.x.run(["ping", "-c", "1", "-W", "2", lab.s.ip4])
        paqet.start_client(lab, keys.client_settings())
        paqet.wait_working(lab)
        stranger = Stranger(lab)

        def flood(first: int, n: int) -> None:
            begin = time.monotonic()
            for i in range(first, first + n):
                stranger.send(syn(lab, *tuple_of(i)), nothing(lab, *tuple_of(i - 100)))
                time.sleep(max(0, begin + (i - first) / 900 - time.monotonic()))

        before = seconds_of(lab)
        flood(100, 68000)
        worker = threading.Thread(target=flood, args=(70000, 4500))
        worker.start()
        time.sleep(1)
        during = seconds_of(lab)
        worker.join()
        expect(during < 3 * before + 0.5, f"{before:.2f} s, with a flood {during:.2f} s")


def tuple_of(i: int) -> tuple[str, int]:
    return f"10.77.{1 + i // 60000}.9", 1024 + i % 60000


def nothing(lab: Lab, source: str, port: int) -> bytes:
    """What has that connection let through for longer."""
    forge = Forger(lab.x.mac, lab.s.mac, source, lab.s.ip4)
    return forge.ethernet(forge.ipv4(forge.segment(port, PORT, b"x")))


def seconds_of(lab: Lab) -> float:
    begin = time.monotonic()
    check_download(lab, 5 * MB)
    return time.monotonic() - begin
