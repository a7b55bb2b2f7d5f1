# SPDX-License-Identifier: MIT
"""What a server lets its clients reach, and how its connections leave the machine."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import paqet
import udp
from case import expect, test
from lab import Host, Lab, Process, make_names, remove_names, wait_until
from paqet import Settings, SocksError, read_exactly

REAL = "    reply: real\n"
OUTSIDE = "9.9.9.9"  # an address of the third host that counts as public
OWN = "9.9.9.1"  # one of the server
SERVICE = 7000
GREETING = b"hello from "


class Service:
    """Greets each connection with the address that it came from, and answers each datagram."""

    def __init__(self, host: Host, ip: str, port: int = SERVICE):
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self.listener = host.open_socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((ip, port))
        self.listener.listen(64)
        self.datagrams = host.open_socket(family, socket.SOCK_DGRAM)
        self.datagrams.bind((ip, port))
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.echo, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.listener.accept()
                with connection:
                    connection.sendall(GREETING + peer[0].encode())

    def echo(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.datagrams.recvfrom(2000)
                self.datagrams.sendto(data, peer)


@contextlib.contextmanager
def names(host: Host, lines: str, resolver: str = "") -> Iterator[None]:
    """What is started inside the host meanwhile finds these lines in /etc/hosts, and resolver in
    /etc/resolv.conf."""
    folder = make_names(host.namespace)
    try:
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + lines)
        if resolver:
            (folder / "resolv.conf").write_text(resolver)
        yield
    finally:
        remove_names(host.namespace)


def add_public(lab: Lab) -> None:
    """The third host has an address that counts as public, and so has the server."""
    lab.x.check(["ip", "addr", "add", f"{OUTSIDE}/32", "dev", "lo"])
    lab.s.check(["ip", "addr", "add", f"{OWN}/32", "dev", "lo"])
    lab.s.check(["ip", "route", "add", f"{OUTSIDE}/32", "via", lab.x.ip4])


def start(lab: Lab, server_extra: str) -> Process:
    """A pair whose server has this in its configuration, and whose client tells the truth."""
    server = paqet.start_server(lab, Settings(extra=server_extra))
    paqet.start_client(lab, Settings(socks5=REAL))
    return server


def ask(lab: Lab, host: str, port: int = SERVICE, limit: float = 10) -> tuple[int, bytes]:
    """The reply of SOCKS5, and what the target said first."""
    try:
        with paqet.socks_connect(lab, host, port, limit) as connection:
            data = b""
            while piece := connection.recv(1000):
                data += piece
            return 0, data
    except SocksError as error:
        return error.code, b""
    except ConnectionError:
        return -1, b""


def expect_codes(lab: Lab, wanted: dict[tuple[str, int], int]) -> None:
    got = {target: ask(lab, *target)[0] for target in wanted}
    wrong = {target: code for target, code in got.items() if code != wanted[target]}
    expect(not wrong, f"replies {wrong}, wanted {[wanted[target] for target in wrong]}")


def associate(lab: Lab) -> tuple[socket.socket, socket.socket]:
    """A UDP association: the connection that holds it, and a socket connected to its port."""
    connection = paqet.socks_socket(lab)
    connection.sendall(b"\x05\x01\x00")
    read_exactly(connection, 2)
    connection.sendall(b"\x05\x03\x00\x01" + bytes(6))
    reply = read_exactly(connection, 10)
    expect(reply[1] == 0 and reply[3] == 1, f"association: {reply!r}")
    datagrams = lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.connect(("127.0.0.1", struct.unpack("!H", reply[8:])[0]))
    return connection, datagrams


def answers(lab: Lab, host: str, limit: float = 1) -> bool:
    """Whether a datagram to the service there is answered."""
    connection, datagrams = associate(lab)
    with connection, datagrams:
        datagrams.settimeout(limit)
        head = b"\x00\x00\x00\x01" + socket.inet_aton(host) + struct.pack("!H", SERVICE)
        datagrams.send(head + b"ping")
        try:
            return datagrams.recv(100).endswith(b"ping")
        except TimeoutError:
            return False


# ---- allow, deny


@test()
def test_allow_public() -> None:
    """Nothing on the server itself, by no way of writing it; the reply is 2."""
    with Lab(third=True) as lab:
        add_public(lab)
        hosts = f"127.0.0.1 loop.example\n{lab.x.ip4} inside.example\n{OUTSIDE} open.example\n"
        with names(lab.s, f"{hosts}127.0.0.1 both.example\n{OUTSIDE} both.example\n"):
            services = [Service(lab.s, "0.0.0.0"), Service(lab.s, "::1"), Service(lab.x, OUTSIDE)]
            server = start(lab, "allow: public\n")
            wait_until(lambda: ask(lab, OUTSIDE)[0] == 0, 10, "a public target")
            refused = ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "loop.example"]
            refused += ["0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "127.1", "2130706433"]
            refused += [lab.s.ip4, lab.s.ip6, OWN, lab.x.ip4, lab.x.ip6, "inside.example"]
            refused += ["169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::1", "255.255.255.255"]
            expect_codes(lab, {(host, SERVICE): 2 for host in refused})
            expect_codes(
                lab,
                {
                    (OUTSIDE, SERVICE): 0,
                    (OUTSIDE, SERVICE + 1): 5,
                    ("open.example", SERVICE): 0,
                    ("both.example", SERVICE): 0,
                    ("no-such-name.example", SERVICE): 4,
                },
            )
            code, said = ask(lab, "both.example")
            expect(said == GREETING + lab.s.ip4.encode(), f"both.example: {code} {said!r}")
            expect(answers(lab, OUTSIDE, 5), "no answer to a datagram to a public target")
            expect(not answers(lab, "127.0.0.1"), "an answer to a datagram to the server itself")
            hint = 'add "127.0.0.1:7000" to allow'
            expect(hint in server.log(), f"no such hint: {hint}")
            del services


@test()
def test_allow_and_deny() -> None:
    """Names and ports; what a name leads to is no matter, but deny wins."""
    with Lab(third=True) as lab:
        add_public(lab)
        loopback = "127.0.0.1 a.example.com\n127.0.0.1 example.com\n127.0.0.1 no.example.com\n"
        with names(lab.s, f"{loopback}127.0.0.2 b.example.com\n"):
            services = [Service(lab.s, "0.0.0.0", SERVICE + i) for i in range(3)]
            services += [Service(lab.x, "0.0.0.0", SERVICE + i) for i in range(2)]
            rules = f'allow: ["*.example.com:7000-7001", "public:7001", "{lab.x.ip4}"]\n'
            rules += 'deny:\n  - "*:7001"\n  - "no.example.com"\n  - "127.0.0.2/32"\n'
            server = start(lab, rules)
            wait_until(lambda: ask(lab, lab.x.ip4)[0] == 0, 10, "a permitted target")
            expect_codes(
                lab,
                {
                    ("a.example.com", SERVICE): 0,
                    ("A.Example.COM", SERVICE): 0,
                    ("a.example.com", SERVICE + 1): 2,
                    ("a.example.com", SERVICE + 2): 2,
                    ("example.com", SERVICE): 2,
                    ("no.example.com", SERVICE): 2,
                    ("b.example.com", SERVICE): 2,
                    ("127.0.0.1", SERVICE): 2,
                    (lab.x.ip4, SERVICE): 0,
                    (lab.x.ip4, SERVICE + 1): 2,
                    (OUTSIDE, SERVICE + 1): 2,
                    (OUTSIDE, SERVICE): 2,
                },
            )
            expect("allow and deny do not permit" in server.log(), "no word in the log")
            del services


@test()
def test_deny_alone() -> None:
    with Lab() as lab:
        services = [Service(lab.s, "0.0.0.0"), Service(lab.s, "0.0.0.0", 25)]
        server = start(lab, 'deny: "*:25"\n')
        wait_until(lambda: ask(lab, "127.0.0.1")[0] == 0, 10, "a permitted target")
        expect_codes(lab, {("127.0.0.1", 25): 2, ("localhost", 25): 2, (lab.s.ip4, SERVICE): 0})
        expect("take the entry that matches out of deny" in server.log(), "no word in the log")
        del services


class Dns:
    """A name server that knows these names, all at 127.0.0.1, and notes what it is asked."""

    def __init__(self, host: Host, known: set[str]):
        self.known = known
        self.asked: set[str] = set()
        self.socket = host.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host.ip4, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.socket.recvfrom(2000)
                self.socket.sendto(self.answer(query), peer)

    def answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name = ".".join(labels).lower()
        self.asked.add(name)
        wants_a = query[at + 1 : at + 3] == b"\0\x01"
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"
        answer = record if wants_a and name in self.known else b""
        code = b"\x80" if name in self.known else b"\x83"
        counts = b"\0\x01\0" + bytes([bool(record)]) + bytes(4)
        return query[:2] + b"\x81" + code + counts + query[12 : at + 5] + answer


@test()
def test_rules_about_names_spelled_otherwise() -> None:
    """What the resolver would take for a denied name, or complete to one, is not looked up so."""
    with Lab(third=True) as lab:
        services = [Service(lab.s, "127.0.0.1")]
        dns = Dns(lab.x, {"secret.example", "db.corp.example", "open.example", "a.corp.example"})
        resolver = f"nameserver {lab.x.ip4}\nsearch corp.example\noptions ndots:2\n"
        with names(lab.s, "127.0.0.1 inhosts other\n", resolver):
            start(lab, 'deny: ["secret.example", "*.corp.example"]\n')
            wait_until(lambda: ask(lab, "127.0.0.1")[0] == 0, 10, "a permitted target")
            spellings = ["secret\u3002example", "secret\uff0eexample", "s\\101cret.example"]
            spellings += ["secret\\046example", "\uff53ecret.example", "secret.example..", "x@y"]
            codes = {(host, SERVICE): 4 for host in [*spellings, "db", "a", "no.example"]}
            codes |= {(host, SERVICE): 2 for host in ("SECRET.Example.", "db.corp.example")}
            opened = ("open.example", "open.example.", "localhost", "inhosts", "OTHER")
            expect_codes(lab, codes | {(host, SERVICE): 0 for host in opened})
            denied = {name for name in dns.asked if "secret" in name or "corp" in name}
            expect(not denied, f"the server looked up {denied}")
            del services


@test()
def test_rules_without_names_search() -> None:
    """Without names among the rules the system's search list is used, as everywhere else."""
    with Lab(third=True) as lab:
        services = [Service(lab.s, "127.0.0.1")]
        dns = Dns(lab.x, {"db.corp.example"})
        with names(lab.s, "", f"nameserver {lab.x.ip4}\nsearch corp.example\n"):
            start(lab, "deny: '*:25'\n")
            wait_until(lambda: ask(lab, "127.0.0.1")[0] == 0, 10, "a permitted target")
            expect_codes(lab, {("db", SERVICE): 0, ("\xfc.corp.example", SERVICE): 4})
            expect("db.corp.example" in dns.asked, f"the server looked up {dns.asked}")
            del services


@test(full=True, timed=True)
def test_slow_names() -> None:
    """Names wait for a silent DNS server 8 s, and 256 at a time; addresses do not wait."""
    with Lab(third=True) as lab, lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((lab.x.ip4, 53))
        resolver = f"nameserver {lab.x.ip4}\noptions timeout:30 attempts:1\n"
        with names(lab.s, "", resolver):
            services = [Service(lab.x, lab.x.ip4)]
            server = start(lab, "allow: any\n")
            wait_until(lambda: ask(lab, lab.x.ip4)[0] == 0, 10, "the target")
            begin = time.monotonic()
            seconds: list[tuple[float, int]] = []

            def one(number: int) -> None:
                with contextlib.suppress(OSError):
                    code = ask(lab, f"name{number}.example", limit=20)[0]
                    seconds.append((time.monotonic() - begin, code))

            threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(270)]
            for thread in threads:
                thread.start()
            wait_until(lambda: len(seconds) >= 14, 6, "refusals above the bound")
            expect(ask(lab, lab.x.ip4)[0] == 0, "an address has to wait, too")
            for thread in threads:
                thread.join(15)
            early = [second for second, _ in seconds if second < 6]
            late = [second for second, _ in seconds if 7.5 < second < 14]
            counts = f"{len(early)} early and {len(late)} late replies"
            expect((len(early), len(late)) == (14, 256), f"{counts}, not 14 and 256")
            expect({code for _, code in seconds} == {4}, "other replies than 4")
            expect("too many names are waiting for DNS" in server.log(), "no word in the log")
            del services


def answer(server: socket.socket) -> None:
    """A DNS server that says 127.0.0.1 to every question for an A, also to those that wait for it."""
    with contextlib.suppress(OSError):
        while True:
            query, peer = server.recvfrom(2000)
            end = query.index(b"\0", 12) + 5
            wants_a = query[end - 4 : end - 2] == b"\0\x01"
            record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01" if wants_a else b""
            head = query[:2] + b"\x81\x80\0\x01\0" + bytes([bool(record)]) + bytes(4)
            server.sendto(head + query[12:end] + record, peer)


@test(timed=True)
def test_rules_stop_with_slow_names() -> None:
    """Names that are being looked up do not hold the server: for TCP, UDP, or nobody any more."""
    with Lab(third=True) as lab, lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((lab.x.ip4, 53))
        with names(lab.s, "", f"nameserver {lab.x.ip4}\noptions timeout:30 attempts:1\n"):
            lab.origin()
            server = paqet.start_server(lab, Settings(extra="allow: any\n"))
            paqet.start_client(lab, Settings(socks5=REAL))
            paqet.wait_working(lab)
            expect(lab.s.firewall(), "the server has made no firewall rules")
            given_up = [paqet.socks_socket(lab) for _ in range(5)]
            waiting = [paqet.socks_socket(lab) for _ in range(40)]
            for number, connection in enumerate(given_up + waiting):
                name = b"name%d.example" % number
                connection.sendall(b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(name)]) + name)
                connection.sendall(b"\x00\x50")
            with udp.Association(lab) as association:
                association.send(udp.address("slow.example", 53), b"x")
                time.sleep(1)
                for connection in given_up:
                    connection.close()
                time.sleep(0.5)
                expect(silent.recv(2000, socket.MSG_DONTWAIT), "nobody asked the nameserver")
                begin = time.monotonic()
                code = server.stop(20)
                seconds = time.monotonic() - begin
            for connection in waiting:
                connection.close()
            expect(code == 0, f"exit code {code}: {server.last_lines()}")
            expect(seconds < 5, f"the server ended after {seconds:.1f} s")
            expect(not lab.s.firewall(), f"left behind: {lab.s.firewall()}")


@test(timed=True)
def test_datagrams_wait_for_name() -> None:
    """Not more than a few, however small they are."""
    with Lab(third=True) as lab, lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind((lab.x.ip4, 53))
        with names(lab.s, "", f"nameserver {lab.x.ip4}\noptions timeout:30 attempts:1\n"):
            start(lab, "allow: any\n")
            services = [Service(lab.s, "127.0.0.1")]
            wait_until(lambda: ask(lab, "127.0.0.1")[0] == 0, 10, "the target")
            target = udp.Listener(lab, 8)
            with udp.Association(lab) as association:
                for number in range(1000):
                    association.send(udp.address("late.example", target.port), b"x" * (number % 2))
                    time.sleep(0.001)
                threading.Thread(target=answer, args=(late,), daemon=True).start()
                target.receive()
                count = 1 + len(list(target.received(1)))
            expect(32 <= count <= 64, f"{count} datagrams had waited")
            del services


# ---- the way out


@test()
def test_outgoing_address() -> None:
    with Lab(third=True) as lab:
        lab.s.check(["ip", "addr", "add", "10.77.0.50/24", "dev", lab.s.device])
        lab.s.check(["ip", "addr", "add", "fd77::50/64", "dev", lab.s.device, "nodad"])
        services = [Service(lab.x, lab.x.ip4), Service(lab.x, lab.x.ip6)]
        start(lab, "outgoing:\n  ipv4: 10.77.0.50\n  ipv6: fd77::50\n")
        wait_until(lambda: ask(lab, lab.x.ip4)[0] == 0, 10, "the target")
        for target, source in ((lab.x.ip4, b"10.77.0.50"), (lab.x.ip6, b"fd77::50")):
            said = ask(lab, target)[1]
            expect(said == GREETING + source, f"{target} says {said!r}")
        expect(answers(lab, lab.x.ip4, 5), "no answer to a datagram")
        del services


@test()
def test_outgoing_interface() -> None:
    with Lab(third=True) as lab:
        services = [Service(lab.x, "0.0.0.0"), Service(lab.s, "127.0.0.1")]
        start(lab, "outgoing:\n  interface: s0\n")
        wait_until(lambda: ask(lab, lab.x.ip4)[0] == 0, 10, "the target")
        code = ask(lab, "127.0.0.1")[0]
        expect(code != 0, "a connection to loopback, which is on another interface")
        del services


def refused_config(lab: Lab, extra: str) -> str:
    """The log of a server that must not start."""
    config = paqet.server_config(lab, Settings(extra=extra))
    process = paqet.start(lab.s, "refused", config)
    code = process.wait(10)
    expect(code == 1, f"exit code {code}, not 1")
    return process.log()


@test()
def test_outgoing_mistakes() -> None:
    with Lab() as lab:
        mistakes = {
            "ipv4: 10.77.0.99": "outgoing.ipv4: 10.77.0.99 is not an address of this machine",
            "ipv6: fd77::99": "outgoing.ipv6: fd77::99 is not an address of this machine",
            "interface: eth77": "outgoing.interface: there is no interface 'eth77'",
        }
        for line, wanted in mistakes.items():
            log = refused_config(lab, f"allow: any\noutgoing:\n  {line}\n")
            expect(wanted in log, f"{line}: {log.strip()[-200:]}")
