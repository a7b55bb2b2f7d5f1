# SPDX-License-Identifier: MIT
"""What two peers of our kind do better than a Go peer could, that none of it harms a Go peer, and
the links that a tunnel can run over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import goserver
import gopeer
import paqet
from case import Failure, Skip, add, expect, test
from goserver import GoServer, go_servers
from lab import Host, Lab, Process, tool
from packets import Segment
from paqet import PORT, Settings

MB = 1_000_000
REAL = "    reply: real\n"
EARLY = "    reply: early\n"


def exchange(lab: Lab, size: int) -> None:
    for mode in ("fetch", "send"):
        result = lab.load(mode, "--bytes", size, limit=50)
        expect(result["failed"] == 0, f"{mode}: {result}")


# ---- Go servers


def with_go_server(server: GoServer, settings: Settings, check: Callable[[Lab], None]) -> None:
    server.need()
    with Lab() as lab:
        program = goserver.start(lab, server)
        client = paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        check(lab)
        expect(client.alive(), f"the client ended: {client.last_lines()}")
        expect(program.alive(), f"the server ended: {program.last_lines()}")


# ---- half-close


class Counter:
    """A service on the server host that reads to the end of a connection, and only then answers:
    how many bytes came."""

    def __init__(self, lab: Lab):
        self.listener = lab.s.listen("127.0.0.1", 0, self.serve)
        self.port = self.listener.getsockname()[1]

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        count = 0
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                count += len(piece)
            connection.sendall(f"{count} bytes".encode() + b"." * 100_000)


def upload_and_shut(lab: Lab, port: int, size: int) -> bytes:
    """Sends, closes its half, and reads to the end."""
    with paqet.socks_connect(lab, "127.0.0.1", port) as connection:
        connection.settimeout(10)
        connection.sendall(b"u" * size)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        return answer


def expect_counted(lab: Lab, port: int, size: int) -> None:
    answer = upload_and_shut(lab, port, size)
    expect(answer.startswith(f"{size} bytes.".encode()), f"{size} bytes sent: {answer[:40]!r}")
    expect(answer.endswith(b".") and len(answer) > 100_000, f"an answer of {len(answer)} bytes")


@test()
def test_upload_then_half_close() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        counter = Counter(lab)
        for size in (0, 1, 5000, 3 * MB):
            expect_counted(lab, counter.port, size)
        pair.check_alive()


@test()
def test_ten_uploads_then_half_close() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        counter = Counter(lab)
        failures: list[str] = []

        def one(size: int) -> None:
            try:
                expect_counted(lab, counter.port, size)
            except (Failure, OSError, paqet.SocksError) as error:
                failures.append(str(error) or type(error).__name__)

        threads = [threading.Thread(target=one, args=(MB + i,)) for i in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        expect(not failures, f"{len(failures)} of 10: {failures[:2]}")
        pair.check_alive()


@test()
def test_first_request_half_closes() -> None:
    """All of it waits for the server's first word, and then comes at once."""
    with Lab(wan=["--delay", "100"]) as lab:
        paqet_at_once(lab)
        counter = Counter(lab)
        expect_counted(lab, counter.port, 5000)
        expect_counted(lab, counter.port, 0)


def paqet_at_once(lab: Lab, socks5: str = "") -> None:
    """A tunnel that nothing has passed yet."""
    lab.origin()
    paqet.start_server(lab, Settings())
    paqet.start_client(lab, Settings(socks5=socks5))


@test()
def test_target_half_closes_first() -> None:
    """The other way round: the target has said all, the user goes on sending."""
    with Lab() as lab:
        paqet.start_pair(lab)
        listener = lab.s.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.settimeout(5)
        with paqet.socks_connect(lab, "127.0.0.1", listener.getsockname()[1]) as near:
            far, _ = listener.accept()
            far.settimeout(5)
            far.sendall(b"all there is")
            far.shutdown(socket.SHUT_WR)
            near.settimeout(5)
            expect(paqet.read_exactly(near, 12) == b"all there is", "other bytes")
            expect(near.recv(1) == b"", "no end of the stream after the target's last byte")
            near.sendall(b"x" * 200_000)
            expect(len(paqet.read_exactly(far, 200_000)) == 200_000, "what was sent afterwards")
            near.shutdown(socket.SHUT_WR)
            expect(far.recv(1) == b"", "no end for the target")
            far.close()


def half_close_ends(lab: Lab) -> None:
    """A Go server ends both directions; all that matters is that nothing hangs."""
    counter = Counter(lab)
    begin = time.monotonic()
    upload_and_shut(lab, counter.port, 100_000)
    expect(time.monotonic() - begin < 5, f"the end after {time.monotonic() - begin:.1f} s")
    exchange(lab, 100_000)


for _server in go_servers():
    _check = partial(with_go_server, _server, Settings(), half_close_ends)
    add(f"half_close_{_server.name}", _check)


# ---- dial result

UNKNOWN = "no-such-name.invalid"


def connect_code(lab: Lab, host: str, port: int) -> int:
    """The reply of SOCKS5 to a request; -1 if the connection ended without one."""
    try:
        paqet.socks_connect(lab, host, port).close()
    except paqet.SocksError as error:
        return error.code
    except ConnectionError:
        return -1
    return 0


@test()
def test_reply_real() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, client=Settings(socks5=REAL))
        codes = [connect_code(lab, *target) for target in (("127.0.0.1", 1), (UNKNOWN, 80))]
        expect(codes == [5, 4], f"refused and unknown: {codes}, not [5, 4]")
        lab.s.check(["ip", "route", "add", "unreachable", "192.0.2.0/24"])
        code = connect_code(lab, "192.0.2.1", 80)
        expect(code in (3, 4), f"no route: {code}, not 3 or 4")
        exchange(lab, MB)
        pair.check_alive()


@test()
def test_reply_real_many() -> None:
    """Good and bad targets at once, and bytes that were sent before the reply."""
    with Lab() as lab:
        paqet.start_pair(lab, client=Settings(socks5=REAL))
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda p=p: codes.append(connect_code(lab, "127.0.0.1", p)))
            for p in [1, 8080] * 15
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
        expect(sorted(codes) == [0] * 15 + [5] * 15, f"replies: {sorted(codes)}")


@test()
def test_reply_real_to_the_first_request() -> None:
    """Asked before the server has said what it can: the answer must wait for that, too."""
    with Lab(wan=["--delay", "100"]) as lab:
        paqet_at_once(lab, REAL)
        code = connect_code(lab, "127.0.0.1", 1)
        expect(code == 5, f"refused: {code}, not 5")


@test(timed=True)
def test_reply_early() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, client=Settings(socks5=EARLY))
        for host, port, most in (("127.0.0.1", 1, 1), (UNKNOWN, 80, paqet.lookup_seconds())):
            with paqet.socks_connect(lab, host, port) as connection:
                seconds = paqet.seconds_to_end(connection, most + 5)
                expect(seconds < most, f"{host}:{port} ended after {seconds:.1f} s")
        with paqet.socks_connect(lab, "127.0.0.1", 1) as connection:
            connection.settimeout(5)
            reset = False
            try:
                connection.recv(1)
            except ConnectionResetError:
                reset = True
            expect(reset, "the end was no reset")
        pair.check_alive()


def refused_ends(lab: Lab) -> None:
    with contextlib.suppress(paqet.SocksError, ConnectionError):
        with paqet.socks_connect(lab, "127.0.0.1", 1) as connection:
            paqet.seconds_to_end(connection, 5)
    exchange(lab, 100_000)


for _server in go_servers():
    for _reply in (REAL, EARLY):
        _check = partial(with_go_server, _server, Settings(socks5=_reply), refused_ends)
        add(f"reply_{_reply.split()[1]}_{_server.name}", _check)


# ---- header settings against Go servers


def right_header(lab: Lab) -> None:
    exchange(lab, MB)
    many = lab.load("fetch", "--bytes", 3000, "--parallel", 20, "--count", 40, limit=30)
    expect(many["failed"] == 0, f"20 requests at once: {many}")


def wrong_header(server: GoServer, header: str) -> None:
    """Requests fail, and the client says why instead of trying for ever without a word."""
    server.need()
    with Lab() as lab:
        program = goserver.start(lab, server)
        client = paqet.start_client(lab, Settings(header=header))
        for _ in range(8):
            expect(not paqet.fetch_by_hand(lab, 2), "a request passed with the wrong header")
            time.sleep(0.7)
        expect(client.alive(), f"the client ended: {client.last_lines()}")
        expect(program.alive(), f"the server ended: {program.last_lines()}")
        log = client.log()
        expect(client.stop() == 0, "the client did not stop")
        warnings = re.findall(r"(?m)^.*\[(?:WARN|ERROR)\].*$", log)
        expect("header" in " ".join(warnings), f"no warning names the header: {warnings[:3]}")


RIGHT = {"a": "gob", "b": "binary", "b20": "binary20"}
WRONG = {"a": "binary", "b": "gob", "b20": "gob"}
for _server in go_servers():
    for _header in ("auto", RIGHT[_server.family]):
        _check = partial(with_go_server, _server, Settings(header=_header), right_header)
        add(f"header_{_header}_{_server.name}", _check)
    _wrong = WRONG[_server.family]
    add(f"header_wrong_{_wrong}_{_server.name}", partial(wrong_header, _server, _wrong))


# ---- flags

BITS = "FSRPAUECN"


def cycle(text: str) -> list[int]:
    return [sum(1 << BITS.index(letter) for letter in item) for item in text.split(",")]


def tcp_block(local: str, remote: str = "") -> str:
    def words(text: str) -> str:
        return ", ".join(f'"{item}"' for item in text.split(","))

    lines = f"  tcp:\n    local_flag: [{words(local)}]\n"
    return lines + (f"    remote_flag: [{words(remote)}]\n" if remote else "")


def flags_of(segment: Segment) -> int:
    """All nine, of an IPv4 frame without options."""
    return (segment.frame[46] & 1) << 8 | segment.flags


def follows(flags: list[int], wanted: list[int], restarts: int = 0) -> bool:
    """Whether a list runs through the cycle, from any entry on, and begins anew so many times at
    most: each TCPF restarts it, and family B sends one before each stream."""
    at = [start for start, flag in enumerate(wanted) if flag == flags[0]]
    left = dict.fromkeys(at, restarts)  # entry of the cycle -> restarts that remain
    for flag in flags[1:]:
        after: dict[int, int] = {}
        for entry, budget in left.items():
            following = (entry + 1) % len(wanted)
            if flag == wanted[following]:
                after[following] = max(budget, after.get(following, 0))
            if flag == wanted[0] and budget:
                after[0] = max(budget - 1, after.get(0, 0))
        left = after
    return bool(left)


def names(flags: list[int]) -> str:
    return ",".join("".join(c for i, c in enumerate(BITS) if f >> i & 1) or "-" for f in flags)


def plain_wire(lab: Lab) -> None:
    """What a capture sees is what would be on a wire: no frames that offload glued together."""
    for host in (lab.c, lab.s):
        off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
        host.check(["ethtool", "-K", host.device, *off])


def expect_cycle(
    segments: list[Segment], host: Host, wanted: str, skip: int = 0, restarts: int = 0
) -> None:
    """The segments from this host run through the cycle; `skip`: those before TCPF has arrived."""
    flags = [flags_of(s) for s in segments if s.source == host.ip4][skip:]
    expect(len(flags) > 30, f"only {len(flags)} segments from {host.letter}")
    expect(
        follows(flags, cycle(wanted), restarts),
        f"from {host.letter}: {names(flags[:12])} ... {names(flags[-6:])}, not {wanted}",
    )


def check_syn_options(segments: list[Segment]) -> None:
    """SYN brings MSS, SACK, timestamps and scale; all others timestamps only."""
    for segment in segments:
        length = (segment.frame[46] >> 4) * 4
        wanted = 40 if segment.flags & 2 else 32
        expect(length == wanted, f"{length} bytes of TCP header with {names([segment.flags])}")
        head = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" if segment.flags & 2 else b"\x01\x01\x08\x0a"
        options = segment.frame[54 : 54 + len(head)]
        expect(options == head, f"options {options.hex()} with {names([segment.flags])}")


def flags_both_ways(local: str, remote: str) -> None:
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        capture = lab.sniff(f"tcp port {PORT}")
        paqet.start_client(lab, Settings(network_extra=tcp_block(local, remote)))
        paqet.wait_working(lab)
        exchange(lab, 200_000)
        segments = capture.stop()
        expect_cycle(segments, lab.c, local)
        from_server = [s for s in segments if s.source == lab.s.ip4]
        first = flags_of(from_server[0])
        expect(first == cycle("A")[0], f"the server began with {names([first])}, not with its own")
        own = next((i for i, s in enumerate(from_server) if flags_of(s) not in cycle("A")), 0)
        expect(0 < own < 20, f"the server's flags changed with its segment {own}")
        expect_cycle(segments, lab.s, remote, own)
        check_syn_options(segments)


for _name, _local, _remote in (
    ("plain", "PA,P,PAU", "SA,PAE,PA"),
    ("syn", "S,SA,PA,PAC", "SPA,S,PAN"),
    ("fin", "FA,PA", "F,PAN"),
):
    add(f"flags_{_name}", partial(flags_both_ways, _local, _remote))


@test()
def test_flags_end_with_the_session() -> None:
    """The same port again: the server begins with its own flags, whatever was asked for before."""
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        settings = Settings(client_port=40001, network_extra=tcp_block("PA", "SA"))
        for _ in range(2):
            capture = lab.sniff(f"tcp src port {PORT}")
            client = paqet.start_client(lab, settings)
            paqet.wait_working(lab)
            client.stop()
            flags = [flags_of(s) for s in capture.stop()]
            expect(flags[0] == cycle("A")[0], f"the server began with {names(flags[:3])}")
            expect(cycle("SA")[0] in flags, "TCPF had no effect")


def flags_with_go_server(family: str) -> None:
    gopeer.path()
    with Lab() as lab:
        plain_wire(lab)
        lab.origin()
        gopeer.start_server(lab, family, gopeer.Options(flags="A"))
        capture = lab.sniff(f"tcp port {PORT}")
        paqet.start_client(lab, Settings(network_extra=tcp_block("S,PA,A", "SA,PAU")))
        paqet.wait_working(lab)
        exchange(lab, 200_000)
        segments = capture.stop()
        expect_cycle(segments, lab.c, "S,PA,A")
        from_server = [flags_of(s) for s in segments if s.source == lab.s.ip4]
        own = next((i for i, flag in enumerate(from_server) if flag not in cycle("A")), 0)
        expect(0 < own < 20, f"the peer's flags changed with its segment {own}")
        expect_cycle(segments, lab.s, "SA,PAU", own)


def flags_with_go_client(family: str) -> None:
    gopeer.path()
    with Lab() as lab:
        plain_wire(lab)
        gopeer.start_echo(lab)
        paqet.start_server(lab, Settings(network_extra=tcp_block("A")))
        capture = lab.sniff(f"tcp port {PORT}")
        wanted = "S,PAU,PA"
        options = gopeer.Options(flags=wanted)
        gopeer.run_job(lab, family, options, "echo", "-bytes", "200000")
        segments = capture.stop()
        from_server = [flags_of(s) for s in segments if s.source == lab.s.ip4]
        own = next((i for i, flag in enumerate(from_server) if flag not in cycle("A")), 0)
        expect(own < 20, f"our flags changed with segment {own}")
        expect_cycle(segments, lab.s, wanted, own, restarts=family == "b")


for _family in ("a", "b"):
    add(f"flags_go_server_{_family}", partial(flags_with_go_server, _family))
    add(f"flags_go_client_{_family}", partial(flags_with_go_client, _family))


# ---- links of all kinds


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


# ---- fairness


def background(lab: Lab, mode: str, *options: object) -> Process:
    argv = [tool("lab-load"), mode, "--socks", str(paqet.SOCKS), *map(str, options)]
    process = lab.c.start(mode, [*argv, "127.0.0.1", "8080"])
    process.may_end = True
    return process


def ping_beside_downloads(lab: Lab) -> float:
    downloads = background(lab, "get", "--parallel", 4, "--seconds", 5)
    time.sleep(1)
    busy = lab.load("ping", "--seconds", 3)["p50_ms"]
    expect(downloads.wait(10) == 0, f"the downloads: {downloads.last_lines()}")
    return busy


@test(alone=True)
def test_keystroke_beside_downloads() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        idle = lab.load("ping", "--seconds", 2)["p50_ms"]
        for tries_left in (2, 1, 0):  # the machine may have other work to do: the best of three
            busy = ping_beside_downloads(lab)
            numbers = f"echo p50 {busy:.2f} ms beside 4 downloads, idle {idle:.2f} ms"
            print(f"    {numbers}", file=sys.stderr, flush=True)
            if busy - idle <= 2:
                break
            expect(tries_left > 0, numbers)
        pair.check_alive()


@test()
def test_stream_not_read_stops_only_itself() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        stuck = paqet.socks_connect(lab, "127.0.0.1", 8080)
        stuck.sendall(b"GET /inf HTTP/1.1\r\n\r\n")
        time.sleep(1)
        result = lab.load("fetch", "--bytes", MB, "--parallel", 20, "--count", 20, limit=30)
        expect(result["failed"] == 0, f"20 downloads beside it: {result}")
        expect(result["seconds"] < 10, f"20 MB took {result['seconds']} s")
        stuck.settimeout(5)
        expect(len(paqet.read_exactly(stuck, 100_000)) == 100_000, "it does not go on")
        stuck.close()
        pair.check_alive()


@test(alone=True)
def test_aborted_downloads_cost_nothing() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        downloads = background(lab, "get", "--parallel", 4, "--seconds", 30)
        time.sleep(1)
        expect(downloads.alive(), f"the downloads ended: {downloads.last_lines()}")
        downloads.kill()
        time.sleep(2)
        capture = lab.sniff(f"tcp port {PORT}")
        begin = time.monotonic()
        time.sleep(3)
        seconds = time.monotonic() - begin
        rate = len(capture.stop()) / seconds
        expect(rate < 20, f"{rate:.0f} packets per second after the abort")
        pair.check_alive()


@test(alone=True)
def test_aborted_download_on_a_long_path() -> None:
    """200 ms there and back, 20 Mbit/s: after 2 round trips there is nothing but keepalives."""
    with Lab(wan=["--delay", "100", "--rate", "20"]) as lab:
        paqet.start_pair(lab)
        download = background(lab, "get", "--seconds", 30)
        time.sleep(3)
        expect(download.alive(), f"the download ended: {download.last_lines()}")
        capture = lab.sniff(f"tcp port {PORT}")
        download.kill()
        time.sleep(0.5)  # 2 RTT, and the queue of 100 ms
        at_the_end = [(path, path.stat().st_size) for _, path in capture.parts]
        time.sleep(2)
        grown = sum(path.stat().st_size - before for path, before in at_the_end)
        segments = capture.stop()
        expect(len(segments) > 50, "nothing was captured before")
        expect(grown < 40 * 300, f"{grown} bytes captured in 2 s, long after the abort")


# ---- FEC


@test(limit=90)
def test_fec_both_ways() -> None:
    shards = "    dshard: 10\n    pshard: 3\n"
    with Lab(wan=["--loss", "5", "--delay", "50"]) as lab:
        pair = paqet.start_pair(lab, Settings(kcp=shards, level="debug"))
        exchange(lab, 3 * MB)
        for process in (pair.client, pair.server):
            process.stop()
            rebuilt = sum(map(int, re.findall(r"(\d+) rebuilt by FEC", process.log())))
            expect(rebuilt > 0, f"{process.log_path.stem} has rebuilt nothing")
