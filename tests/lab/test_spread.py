# SPDX-License-Identifier: MIT
"""Streams spread over several servers: the near one gets most, the far one its part under load."""

from __future__ import annotations

import contextlib
import socket
import time

import paqet
from case import expect, test
from lab import Host, Lab, Process, wait_until
from paqet import PORT, Settings, SocksError

NEAR, FAR = ["--delay", "10"], ["--delay", "50"]
SIGN_PORT = 7000


def put_up_sign(host: Host) -> None:
    """A target on the host's loopback that says on which host it is, and stays to the end."""
    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(host.letter.encode())
            connection.recv(1)

    host.listen("127.0.0.1", SIGN_PORT, serve)


def ask(lab: Lab, patience: float = 2) -> tuple[str, socket.socket]:
    """A new connection through the tunnel, and the letter of the host where it came out."""
    connection = paqet.socks_connect(lab, "127.0.0.1", SIGN_PORT, patience)
    try:
        return paqet.read_exactly(connection, 1).decode(), connection
    except BaseException:
        connection.close()
        raise


def ask_often(lab: Lab, count: int) -> str:
    """One after the other."""
    letters = ""
    for _ in range(count):
        letter, connection = ask(lab)
        connection.close()
        letters += letter
    return letters


def wait_for(lab: Lab, letter: str, limit: float) -> None:
    """A user tries again until a connection comes out there."""

    def came_out() -> bool:
        with contextlib.suppress(SocksError, OSError):
            found, connection = ask(lab, 0.5)
            connection.close()
            return found == letter
        return False

    wait_until(came_out, limit, f"a connection that comes out at {letter}")


def start_server(host: Host) -> Process:
    extra = f"network:\n  interface: {host.device}\n"
    config = paqet.server_config(host.lab, Settings(network=False, extra=extra))
    server = paqet.start(host, "server", config)
    paqet.wait_ready(server)
    return server


def start(lab: Lab, workers: int = 1) -> tuple[Process, Process]:
    """The near server, the far server, and a client that knows both; the near server's process and
    the client's."""
    lab.put_far_away(lab.s, NEAR)
    lab.put_far_away(lab.x, FAR)
    for host in (lab.s, lab.x):
        put_up_sign(host)
    near, _ = start_server(lab.s), start_server(lab.x)
    # the far one first: its place in the list must not decide
    servers = "".join(f"  - addr: {host.ip4}:{PORT}\n" for host in (lab.x, lab.s))
    settings = Settings(
        network=False,
        server=f"spread: true\nservers:\n{servers}",
        transport=f"  conn: {workers}\n",
        extra=f"performance:\n  packet_workers: {workers}\n",
    )
    client = paqet.start_client(lab, settings)
    answers = "a paqet of this kind"
    wait_until(lambda: client.log().count(answers) == 2 * workers, 5, "an answer to each session")
    return near, client


@test(limit=120, tries=2, timed=True)
def test_spread_prefers_the_near_server() -> None:
    with Lab(third=True) as lab:
        near, client = start(lab)
        letters = ask_often(lab, 20)
        expect(letters.count("s") >= 18, f"they came out at {letters}")
        near.kill()
        killed = time.monotonic()
        wait_for(lab, "x", 3)
        time.sleep(max(0, killed + 3 - time.monotonic()))
        letters = ask_often(lab, 10)
        expect(letters == "xxxxxxxxxx", f"with one server they came out at {letters}")
        start_server(lab.s)
        wait_for(lab, "s", 15)
        letters = ask_often(lab, 10)
        expect(letters.count("s") >= 9, f"later they came out at {letters}")
        expect(client.alive(), f"the client ended: {client.last_lines()}")


@test(timed=True)
def test_spread_under_load() -> None:
    with Lab(third=True) as lab:
        start(lab)
        open_ones = [ask(lab) for _ in range(40)]
        letters = "".join(letter for letter, _ in open_ones)
        expect(letters.count("x") >= 3, f"the far server got nothing: {letters}")
        expect(letters.count("s") > letters.count("x"), f"the near one got less: {letters}")
        for _, connection in open_ones:
            connection.close()


@test(timed=True)
def test_spread_with_two_workers() -> None:
    """Each worker has a session to each server."""
    with Lab(third=True) as lab:
        _, client = start(lab, 2)
        expect("spread: 4 sessions instead of transport.conn: 2" in client.log(), client.log())
        letters = ask_often(lab, 20)
        expect(letters.count("s") >= 18, f"they came out at {letters}")


@test(full=True, timed=True)
def test_spread_with_one_server_missing() -> None:
    """It was never there: requests do not wait for it."""
    with Lab(third=True) as lab:
        put_up_sign(lab.s)
        start_server(lab.s)
        servers = "".join(f"  - addr: {host.ip4}:{PORT}\n" for host in (lab.s, lab.x))
        server = f"spread: true\nservers:\n{servers}"
        client = paqet.start_client(lab, Settings(network=False, server=server))
        wait_for(lab, "s", 2)
        end = time.monotonic() + 12  # longer than a session to nobody lives
        while time.monotonic() < end:
            letters = ask_often(lab, 5)
            expect(letters == "sssss", f"they came out at {letters}")
            time.sleep(0.5)
        expect(client.alive(), f"the client ended: {client.last_lines()}")
