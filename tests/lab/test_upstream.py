# SPDX-License-Identifier: MIT
"""Servers whose connections leave through a SOCKS5 proxy."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading

import paqet
from case import Failure, expect, test
from lab import Host, Lab, wait_until
from paqet import Settings, SocksError, read_exactly
from test_rules import (
    GREETING,
    OUTSIDE,
    REAL,
    SERVICE,
    Service,
    add_public,
    answers,
    ask,
    expect_codes,
    names,
    start,
)

USER, PASSWORD = "lab user", "s3cret"


class Upstream:
    """A SOCKS5 proxy that asks for a password, notes what it is asked for, and answers itself."""

    def __init__(self, host: Host, port: int = 1081):
        self.asked: list[tuple[str, int]] = []
        self.listener = host.listen(host.ip4, port, self.serve)

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError, SocksError):
            methods = read_exactly(connection, read_exactly(connection, 2)[1])
            if 2 not in methods:
                connection.sendall(b"\x05\xff")
                return
            connection.sendall(b"\x05\x02")
            user = read_exactly(connection, read_exactly(connection, 2)[1])
            password = read_exactly(connection, read_exactly(connection, 1)[0])
            if (user, password) != (USER.encode(), PASSWORD.encode()):
                connection.sendall(b"\x01\x01")
                return
            connection.sendall(b"\x01\x00")
            self.answer(connection)

    def answer(self, connection: socket.socket) -> None:
        kind = read_exactly(connection, 4)[3]
        if kind == 3:
            host = read_exactly(connection, read_exactly(connection, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, read_exactly(connection, 4 if kind == 1 else 16))
        port = struct.unpack("!H", read_exactly(connection, 2))[0]
        self.asked.append((host, port))
        if port < 10:  # the code to answer with
            connection.sendall(bytes([5, port, 0, 1]) + bytes(6))
            return
        # The first words of the target in one piece with a reply that names a host.
        connection.sendall(b"\x05\x00\x00\x03\x04name\x00\x07" + GREETING)
        while piece := connection.recv(65536):
            connection.sendall(piece)


def outgoing_socks5(lab: Lab, password: str = PASSWORD) -> str:
    lines = f"  socks5: '{lab.x.ip4}:1081'\n  username: {USER}\n  password: {password}\n"
    return f"outgoing:\n{lines}"


def expect_greeting_and_echo(lab: Lab, host: str, size: int) -> None:
    with paqet.socks_connect(lab, host, SERVICE) as connection:
        said = read_exactly(connection, len(GREETING))
        expect(said == GREETING, f"{host} said {said!r}")
        data = os.urandom(size)
        sender = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
        sender.start()
        expect(read_exactly(connection, size) == data, "the echo has other bytes")
        sender.join(5)


@test()
def test_upstream() -> None:
    """Without rules names are passed on as they are; replies come back; UDP does not leak."""
    with Lab(third=True) as lab:
        upstream = Upstream(lab.x)
        services = [Service(lab.x, "0.0.0.0")]
        server = start(lab, f"allow: any\n{outgoing_socks5(lab)}")
        wait_until(lambda: ask(lab, "127.0.0.1", 5)[0] == 5, 10, "a request of the proxy")
        upstream.asked.clear()
        for host in ("name.invalid", "192.0.2.1", "2001:db8::1"):
            expect_greeting_and_echo(lab, host, 300_000)
        wanted = [(host, SERVICE) for host in ("name.invalid", "192.0.2.1", "2001:db8::1")]
        expect(upstream.asked == wanted, f"the proxy was asked for {upstream.asked}")
        codes = {("a.invalid", code): code for code in (1, 2, 3, 4, 5)}
        expect_codes(lab, {**codes, ("a.invalid", 6): 4, ("a.invalid", 7): 1})
        expect(not answers(lab, lab.x.ip4), "a datagram went past the proxy")
        expect("refused beside outgoing.socks5" in server.log(), "no word about UDP in the log")
        expect(PASSWORD not in server.log(), "the password is in the log")
        del services


@test()
def test_upstream_with_rules() -> None:
    """Names are looked up here if the rules need the address."""
    with Lab(third=True) as lab:
        upstream = Upstream(lab.x)
        add_public(lab)
        with names(lab.s, f"{OUTSIDE} open.example\n127.0.0.1 loop.example\n"):
            start(lab, f"allow: public\n{outgoing_socks5(lab)}")
            wait_until(lambda: ask(lab, OUTSIDE, 5)[0] == 5, 10, "a request of the proxy")
            upstream.asked.clear()
            expect_codes(
                lab,
                {
                    ("open.example", 5): 5,
                    ("loop.example", 5): 2,
                    ("127.0.0.1", 5): 2,
                    (lab.x.ip4, 5): 2,
                    ("no-such-name.example", 5): 4,
                },
            )
            expect(upstream.asked == [(OUTSIDE, 5)], f"the proxy was asked for {upstream.asked}")


def complaint_of(lab: Lab, extra: str, wanted: str) -> None:
    server = paqet.start_server(lab, Settings(extra=extra))
    client = paqet.start_client(lab, Settings(socks5=REAL))
    wait_until(lambda: ask(lab, OUTSIDE)[0] == 1, 10, "reply 1")
    expect(wanted in server.log(), f"no '{wanted}' in: {server.last_lines()}")
    client.stop()
    server.stop()


@test()
def test_upstream_mistakes() -> None:
    with Lab(third=True) as lab:
        upstream = Upstream(lab.x)
        services = [Service(lab.x, lab.x.ip4)]
        proxy = f"allow: any\noutgoing:\n  socks5: '{lab.x.ip4}:"
        login = "refuses outgoing.username and outgoing.password"
        complaint_of(lab, f"allow: any\n{outgoing_socks5(lab, 'wrong')}", login)
        complaint_of(lab, f"{proxy}1081'\n", "asks for a login: set outgoing.username")
        complaint_of(lab, f"{proxy}1082'\n", "connection refused")
        complaint_of(lab, f"{proxy}{SERVICE}'\n", "does not speak SOCKS5")
        expect(upstream.asked == [], f"the proxy was asked for {upstream.asked}")
        del services


def proxied(lab: Lab) -> int:
    """How many connections of the server to port 1081 are open."""
    return lab.s.check(["ss", "-Htn", "state", "established", "dport = 1081"]).count(":1081")


@test(timed=True)
def test_upstream_silent() -> None:
    """Of a client that goes while the proxy is silent nothing is left, and the server ends at
    once with others waiting."""
    with Lab(third=True) as lab, lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM) as silent:
        silent.bind((lab.x.ip4, 1081))
        silent.listen(64)
        server = paqet.start_server(lab, Settings(extra=f"allow: any\n{outgoing_socks5(lab)}"))
        for last in (False, True):
            client = paqet.start_client(lab, Settings(socks5=REAL))
            waiting = [paqet.socks_socket(lab) for _ in range(20)]
            for connection in waiting:
                connection.sendall(b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50")
            wait_until(lambda: proxied(lab) == 20, 10, "connections to the proxy")
            if last:
                code = server.stop(3)
                expect(code == 0, f"exit code {code}: {server.last_lines()}")
            else:
                client.stop()
                wait_until(lambda: proxied(lab) == 0, 3, "all of them closed")
            for connection in waiting:
                connection.close()


@test(limit=90)
def test_upstream_is_paqet() -> None:
    """Our own client as the upstream proxy of our server."""
    with Lab(third=True) as lab:
        services = [Service(lab.x, "0.0.0.0")]
        inner = paqet.server_config(lab, Settings()).replace(str(paqet.PORT), "9998")
        second_server = paqet.start(lab.s, "server2", f"{inner}allow: any\n")
        paqet.wait_ready(second_server)
        text = paqet.client_config(lab, Settings(network=False))
        text = text.replace(f"{lab.s.ip4}:{paqet.PORT}", f"{lab.s.ip4}:9998")
        text = text.replace(f"127.0.0.1:{paqet.SOCKS}", f"{lab.c.ip4}:1085")
        second_client = paqet.start(lab.c, "client2", text)
        paqet.wait_ready(second_client)
        start(lab, f"allow: any\noutgoing:\n  socks5: '{lab.c.ip4}:1085'\n")
        wait_until(lambda: ask(lab, lab.x.ip4)[1] != b"", 15, "the target through both tunnels")
        for _ in range(5):
            code, said = ask(lab, lab.x.ip4)
            expect(said == GREETING + lab.s.ip4.encode(), f"{code}: {said!r}")
        if not (second_client.alive() and second_server.alive()):
            raise Failure("the second tunnel ended")
        del services
