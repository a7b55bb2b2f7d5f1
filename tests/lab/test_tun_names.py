# SPDX-License-Identifier: MIT
"""The client's rules about names, for packets: what a name's addresses are is seen where it is asked for."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from pathlib import Path

import paqet
from case import expect, test
from lab import Host, Lab, make_names, wait_until
from paqet import Settings, read_exactly
from test_dns import ask, encode, query, question_of
from test_metrics import LISTEN, get, read_metrics
from test_tun import FAR, internet, need, tun, wait_ping
from test_tun_leaks import FAR6, routes
from test_tun_rules import expect_seen, past

INSIDE = "198.18.0.53"  # the resolver behind the tunnel
D1, D2, D3, T1, T2 = (f"198.51.100.{n}" for n in (1, 2, 3, 11, 12))
D6 = "2001:db8:6::6"
RULES = """rules:
  - tunnel: wiki.near.example
  - block: [domain:ads.example, 'list:{0}/block.txt']
  - direct: ['list:{0}/near.txt', 198.51.100.12]
"""
NO_NAME = 3


class Names:
    """A resolver over UDP and TCP, with its own idea of where names lead; counts who asks."""

    def __init__(self, host: Host, ip: str, names: dict[str, str]):
        self.names = names
        self.asked: list[str] = []
        self.listener = host.listen(ip, 53, self.serve)
        self.udp = host.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((ip, 53))
        threading.Thread(target=self.datagrams, daemon=True).start()

    def answer(self, asked: bytes, how: str) -> bytes:
        at, labels = 12, []
        while asked[at]:
            labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        name, kind = ".".join(labels), struct.unpack("!H", asked[at + 1 : at + 3])[0]
        self.asked.append(f"{how} {name}")
        ip = self.names.get(name.lower(), "")
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        records = b""
        if ip and kind == (28 if ":" in ip else 1):
            data = socket.inet_pton(family, ip)
            alias = encode("cdn.example")
            records = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(alias)) + alias
            records += alias + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
        code = 0x8180 if ip else 0x8183
        return asked[:2] + struct.pack("!5H", code, 1, 2 if records else 0, 0, 0) + question_of(asked) + records

    def datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asked, peer = self.udp.recvfrom(2000)
                self.udp.sendto(self.answer(asked, "udp"), peer)

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, paqet.SocksError):
            while True:
                asked = read_exactly(connection, *struct.unpack("!H", read_exactly(connection, 2)))
                answer = self.answer(asked, "tcp")
                connection.sendall(struct.pack("!H", len(answer)) + answer)


def ask_tcp(lab: Lab, name: str) -> bytes:
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.settimeout(5)
        tcp.connect((FAR, 53))
        asked = query(name, 7)
        tcp.sendall(struct.pack("!H", len(asked)) + asked)
        return read_exactly(tcp, *struct.unpack("!H", read_exactly(tcp, 2)))


@contextlib.contextmanager
def world(lab: Lab):
    internet(lab)
    routes(lab)
    for ip in (D1, D2, D3, T1, T2):
        lab.x.check(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
    for ip in (FAR6, D6):
        lab.x.check(["ip", "-6", "addr", "add", f"{ip}/128", "dev", "lo"])
    lab.s.check(["ip", "-6", "route", "add", "default", "via", lab.x.ip6])
    lab.s.check(["ip", "addr", "add", f"{INSIDE}/32", "dev", "lo"])
    (make_names(lab.c.namespace) / "resolv.conf").write_text(f"nameserver 127.0.0.1\nnameserver {lab.x.ip4}\n")
    near = {"a.near.example": D1, "b.near.example": D2, "tcp.near.example": D3, "six.near.example": D6}
    far = {"wiki.near.example": T2, "far.example": T1, "shared.example": D2, "later.example": D3}
    yield Names(lab.x, lab.x.ip4, near), Names(lab.s, INSIDE, far)


def connect(lab: Lab, target: str) -> tuple[socket.socket, socket.socket]:
    with lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((target, 7300))
        listener.listen(1)
        listener.settimeout(5)
        client = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect((target, 7300))
        return client, listener.accept()[0]


def talks(pair: tuple[socket.socket, socket.socket]) -> bool:
    with contextlib.suppress(OSError):
        pair[0].sendall(b"?")
        pair[1].settimeout(5)
        return pair[1].recv(1) == b"?"
    return False


def first_names(lab: Lab, near: Names, far: Names) -> None:
    at = (FAR, 53)
    expect_seen(lab, {D1: "s", D6: "s"}, "before anybody asks")
    expect(ask(lab, "A.Near.Example", at).endswith(socket.inet_aton(D1)), "a name that goes directly")
    expect(near.asked == ["udp A.Near.Example"] and not far.asked, f"asked: {near.asked}, {far.asked}")
    blocked = [ask(lab, name, at) for name in ("ads.example", "x.ads.example", "listed.example")]
    expect([a[3] & 15 for a in blocked] == [NO_NAME] * 3 and not far.asked, f"blocked: {blocked}")
    expect(ask_tcp(lab, "x.ads.example")[3] & 15 == NO_NAME, "blocked, over TCP")
    for name in ("far.example", "wiki.near.example"):
        expect(ask(lab, name, at), name)
    expect(len(far.asked) == 2 and len(near.asked) == 1, f"asked: {near.asked}, {far.asked}")
    expect(ask_tcp(lab, "tcp.near.example").endswith(socket.inet_aton(D3)), "over TCP")
    expect(near.asked[-1] == "tcp tcp.near.example", f"asked: {near.asked}")
    six = struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + encode("six.near.example") + b"\0\x1c\0\1"
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.sendto(six, at)
        expect(udp.recv(2000).endswith(socket.inet_pton(socket.AF_INET6, D6)), "AAAA")
    expect_seen(lab, {D1: "c", D6: "c", D3: "c", T1: "s", T2: "s", FAR: "s"}, "names")


def shared(lab: Lab, kill_switch: bool) -> None:
    """An address of two names goes through the tunnel. What went directly goes on, but for a kill switch."""
    at = (FAR, 53)
    expect(ask(lab, "b.near.example", at), "b.near.example")
    directly = connect(lab, D2)
    expect(directly[1].getpeername()[0] == lab.c.ip4, "not directly")
    expect(ask(lab, "shared.example", at), "shared.example")
    expect_seen(lab, {D2: "s"}, "an address of two names")
    expect(talks(directly) != kill_switch, "a connection that went directly")


def counted(lab: Lab) -> None:
    """Status, in words and as JSON, and the metrics say what was decided."""
    status = json.loads(paqet.ask(lab, "client", "status", "--json").stdout)
    rules, dns = status["rules"], status["dns"]
    expect(rules["block"] == 4 and rules["direct"] == 4 and rules["tunnel"] == 3, f"{rules}")
    expect(dns["questions"] == 11 and dns["blocked"] == 4 and dns["direct"] == 4 and dns["failed"] == 0, f"{dns}")
    expect(dns["addresses_direct"] == 3 and status["kill_switch"] == "on", f"{dns}, {status['kill_switch']}")
    said = paqet.ask(lab, "client", "status").stdout
    for text in ("rules: 4 direct, 3 through the tunnel, 4 blocked;", "dns: 11 questions,", "kill switch: on"):
        expect(text in said, f"{text!r} is not in {said}")
    if paqet.built_with("Metrics:    yes"):
        metrics = read_metrics(get(lab, "/metrics")[1])
        wanted = {'paqet_rule_decisions_total{way="block"}': 4, "paqet_dns_questions_total": 11, "paqet_kill_switch": 1}
        expect({k: metrics.get(k) for k in wanted} == wanted, f"{metrics}")


def reloaded(lab: Lab, lists: Path) -> None:
    at = (FAR, 53)
    through = connect(lab, T1)
    expect(through[1].getpeername()[0] == lab.s.ip4, "not through the tunnel")
    (lists / "near.txt").write_text("far.example\n")
    done = paqet.ask(lab, "client", "reload")
    expect(done.returncode == 0, f"{done.stdout}{done.stderr}")
    expect_seen(lab, {T1: "c", D1: "s", D6: "s", T2: "s"}, "after a reload, without asking again")
    expect(talks(through), "a connection through the tunnel was cut")
    expect(ask(lab, "a.near.example", at)[3] & 15 == NO_NAME, "asked of whom?")
    (lists / "near.txt").write_text("near.example\n")
    expect(paqet.ask(lab, "client", "reload").returncode == 0, "the second reload")
    expect_seen(lab, {T1: "s"}, "as before")


@test(limit=90)
def test_tun_names() -> None:
    need("/dev/net/tun")
    with Lab(third=True) as lab, world(lab) as (near, far):
        lists = lab.new_file("lists")
        lists.mkdir()
        (lists / "block.txt").write_text("full:listed.example\n")
        (lists / "near.txt").write_text("near.example\n")
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        rules = RULES.format(lists)
        more = f"  routes: [default]\n  dns: {INSIDE}\n  kill_switch: on\n  lan: block\n"
        http = LISTEN if paqet.built_with("Metrics:    yes") else ""
        settings = Settings(network=False, extra=tun(2, more) + rules + http, control=True)
        client = paqet.start_client(lab, settings)
        wait_ping(lab.c, "10.9.0.1")
        first_names(lab, near, far)
        shared(lab, kill_switch=True)
        lab.x.listen(D1, 7400, lambda c: c.sendall(b"directly" if c.getpeername()[0] == lab.c.ip4 else b"tunnel"))
        counted(lab)
        with paqet.socks_connect(lab, "a.near.example", 7400) as directly:
            expect(directly.recv(9) == b"directly", "a proxy's own look-up of such a name")
        reloaded(lab, lists)
        client.kill()
        expect_seen(lab, {T1: "c", FAR: "c"}, "after kill -9")
        client = paqet.start_client(lab, settings)
        wait_ping(lab.c, "10.9.0.1")
        expect(past(lab.c).split()[1::6] == [T2], f"left behind: {past(lab.c)}")
        wait_until(lambda: ask(lab, "a.near.example", (FAR, 53)), 10, "a name")
        expect(D1 in past(lab.c), "no route")
        expect(client.stop() == 0 and not past(lab.c), f"left behind: {past(lab.c)}")
        expect("addresses4" not in lab.c.firewall(), "left behind in the firewall")


@test(limit=60)
def test_tun_names_many() -> None:
    """A silent resolver does no harm, and many names at once none to others."""
    need("/dev/net/tun")
    with Lab(third=True) as lab, world(lab) as (near, _):
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        more = f"  routes: [default]\n  dns: {INSIDE}\n  dns_direct: [{FAR}, {lab.x.ip4}]\n"
        rules = "rules:\n  - direct: domain:near.example\n"
        client = paqet.start_client(lab, Settings(network=False, extra=tun(2, more) + rules))
        wait_ping(lab.c, "10.9.0.1")
        begin = time.monotonic()
        expect(ask(lab, "a.near.example", (FAR, 53)), "the second resolver was not asked")
        expect(2 < time.monotonic() - begin < 5, "by which?")
        near.names |= {f"n{i}.near.example": f"10.77.{i // 256}.{i % 256}" for i in range(120)}
        waiting = [threading.Thread(target=ask, args=(lab, f"n{i}.near.example", (FAR, 53))) for i in range(120)]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join(20)
        expect(ask(lab, "far.example", (FAR, 53)), "other names")
        shared(lab, kill_switch=False)
        expect(client.stop() == 0 and not past(lab.c), f"left behind: {past(lab.c)}")
