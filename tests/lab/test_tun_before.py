# SPDX-License-Identifier: MIT
"""The kill switch, and what this machine had begun before it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import paqet
from case import expect, test
from lab import Host, Lab, wait_until
from paqet import Settings
from test_tun import FAR, internet, need, tun, wait_ping
from test_tun_leaks import Wire, client, routes

HIGH = 50022  # as if a program had got it that connects to others


class Talk:
    """Two ends that both send all the time, over TCP or UDP; the one at `at` has begun."""

    def __init__(self, begins: Host, at: str, other: Host, to: tuple[str, int], kind: socket.SocketKind):
        listener = other.open_socket(socket.AF_INET, kind)
        listener.bind(to)
        self.mine = begins.open_socket(socket.AF_INET, kind)
        self.mine.bind((at, 0))
        if kind == socket.SOCK_STREAM:
            listener.listen(1)
            self.mine.settimeout(5)
            self.mine.connect(to)
            self.theirs, _ = listener.accept()
        else:
            self.mine.connect(to)
            self.theirs = listener
            self.theirs.connect(self.mine.getsockname())
        self.running = True
        self.heard = 0
        threading.Thread(target=self.work, args=(self.mine, False), daemon=True).start()
        threading.Thread(target=self.work, args=(self.theirs, True), daemon=True).start()

    def work(self, one: socket.socket, count: bool) -> None:
        one.settimeout(0.05)
        while self.running:
            with contextlib.suppress(OSError):
                one.send(b"more")
            with contextlib.suppress(OSError):
                got = len(one.recv(1000))
                self.heard += got if count else 0


@test(limit=60)
def test_tun_kill_switch_before() -> None:
    """What this machine has begun before stops, also if the other end goes on sending; what others have
    begun goes on, and what they begin."""
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False)))
        ours = [
            Talk(lab.c, lab.c.ip4, lab.x, (FAR, 8081), socket.SOCK_STREAM),
            Talk(lab.c, lab.c.ip4, lab.x, (FAR, 8082), socket.SOCK_DGRAM),
        ]
        theirs = [
            Talk(lab.x, FAR, lab.c, (lab.c.ip4, 22), socket.SOCK_STREAM),
            Talk(lab.x, FAR, lab.c, (lab.c.ip4, 123), socket.SOCK_DGRAM),
        ]
        wait_until(lambda: all(one.heard for one in (*ours, *theirs)), 5, "all of them without a tunnel")
        paqet.start_client(lab, client("on"))
        wait_ping(lab.c, FAR)
        theirs.append(Talk(lab.x, FAR, lab.c, (lab.c.ip4, HIGH), socket.SOCK_STREAM))
        time.sleep(1)
        before = [one.heard for one in (*ours, *theirs)]
        time.sleep(1)
        after = [one.heard for one in (*ours, *theirs)]
        expect(before[:2] == after[:2], f"beside the tunnel: {before}, then {after}")
        expect(all(a > b for a, b in zip(after[2:], before[2:], strict=True)), f"cut: {before}, then {after}")
        for one in theirs:
            one.running = False
            one.mine.close()
            one.theirs.close()
        time.sleep(0.5)
        wire = Wire(lab)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as program:  # no DHCP client's port
            program.bind((lab.c.ip4, 0))
            for port in (67, 547):
                with contextlib.suppress(OSError):
                    program.sendto(b"more", (FAR, port))
        time.sleep(1)
        wire.expect_nothing("of what was there before")
        for one in ours:
            one.running = wire.running = False
