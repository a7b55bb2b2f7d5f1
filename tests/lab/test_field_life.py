# SPDX-License-Identifier: MIT
"""Life under a terminal, a service manager and small limits: hang-ups, logs that nobody reads,
descriptors that run out, and programs with an old habit."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import looks
import paqet
from case import add, expect, test
from lab import Host, Lab, Process, wait_until
from paqet import Settings
from test_survive import server_side
from test_tun import start_pair as start_tun_pair
from web import Web

# ---- a terminal that is closed


def in_terminal(host: Host, old: Process) -> tuple[Process, int]:
    """The same program again, in the foreground of a terminal, and that terminal."""
    terminal, inner = os.openpty()
    script = (
        "import fcntl, os, sys, termios; os.setsid(); "
        "fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    os.set_inheritable(inner, True)
    command = host.inside([sys.executable, "-c", script, str(inner), *program_of(old)])
    log = host.lab.new_file(f"terminal-{host.letter}.log")
    process = Process(command, log, pass_fds=(inner,))
    host.lab.processes.append(process)
    os.close(inner)
    paqet.wait_ready(process)
    return process, terminal


def program_of(process: Process) -> list[str]:
    args = process.popen.args
    return args[args.index(paqet.program()):]


def hangs_up(who: str) -> None:
    with Lab() as lab:
        pair = start_tun_pair(lab, client="  routes: [203.0.113.0/24]\n")
        process, host = (pair.client, lab.c) if who == "client" else (pair.server, lab.s)
        process.stop()
        process, terminal = in_terminal(host, process)
        process.wait_log("connected|a paqet of this kind", 5)
        rules = ("ip", "rule"), ("ip", "-6", "rule"), ("ip", "route", "show", "table", "all")
        expect(host.firewall(), "no firewall rule: the test is void")
        process.popen.send_signal(signal.SIGHUP)  # from somebody: the terminal is there
        time.sleep(0.3)
        expect(process.alive(), "it ends on a SIGHUP that is none of its terminal")
        process.may_end = True
        os.close(terminal)
        code = process.wait(5)
        expect(code == 0, f"exit code {code} on a closed terminal")
        expect(not host.firewall(), f"rules were left behind: {host.firewall()}")
        expect("tun0" not in host.check(["ip", "link"]), "the device is still there")
        for command in rules:
            text = host.check([*command])
            expect("tun0" not in text and "203.0.113" not in text, f"left behind: {text}")
        if who == "server":  # it said goodbye
            wait_until(lambda: "ended" in pair.client.log(), 3, "a word of the client")


for _who in ("client", "server"):
    add(f"hang_up_of_{_who}", partial(hangs_up, _who))


# ---- logs


class Pipe:
    """A program whose log goes into a pipe."""

    def __init__(self, host: Host, name: str, config: str):
        fifo = host.lab.new_file(f"{name}.fifo")
        os.mkfifo(fifo)
        path = host.lab.new_file(f"{name}.yaml")
        path.write_text(looks.prepare(config, host))
        self.reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # so that the pipe does not end
        command = host.inside([paqet.program(), "run", "-c", str(path)])
        self.process = Process(command, fifo)
        self.process.log_path = host.lab.new_file(f"{name}.log")  # for those who want to show it
        self.process.log_path.touch()
        host.lab.processes.append(self.process)
        self.text = ""

    def read(self) -> str:
        """All that has come so far."""
        with contextlib.suppress(BlockingIOError), self.process.log_path.open("a") as log:
            while piece := os.read(self.reader, 65536).decode(errors="replace"):
                self.text += piece
                log.write(piece)
        return self.text

    def fill(self) -> None:
        """From now on nothing fits in any more."""
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(self.writer, b"." * (size - 1) + b"\n")

    def close(self) -> None:
        """Nobody reads it any more, as after `head -1`."""
        os.close(self.reader)
        os.close(self.writer)


@test()
def test_log_goes_to_head() -> None:
    """paqet run ... | head -1"""
    with Lab() as lab:
        lab.origin()
        server = Pipe(lab.s, "server", paqet.server_config(lab, Settings()))
        wait_until(lambda: "\n" in server.read(), 5, "the server's first line")
        server.close()
        client = Pipe(lab.c, "client", paqet.client_config(lab, Settings()))
        wait_until(lambda: "session" in client.read(), 5, "the client's first line")
        client.close()
        paqet.wait_working(lab)
        result = lab.load("fetch", "--bytes", 5_000_000)
        expect(result["failed"] == 0, f"download: {result}")
        time.sleep(0.5)
        for process in (server.process, client.process):
            expect(process.alive(), f"a program ended with {process.popen.poll()}")
            expect(process.stop() == 0, "exit code")


LOST = r"(?i)\b[1-9]\d* (log )?(lines?|messages?)\b.*\b(lost|dropped|missing)\b"


@test(timed=True)
def test_log_that_nobody_reads() -> None:
    """The pipe is full: the tunnel goes on, and what was lost is told once there is room."""
    with Lab(third=True) as lab:
        lab.origin()
        settings = Settings(network=False, level="debug", extra=server_side(lab.s))
        server = Pipe(lab.s, "server", paqet.server_config(lab, settings))
        wait_until(lambda: "listening" in server.read(), 5, "the server")
        paqet.start_client(lab, Settings(network=False))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        server.read()
        server.fill()
        download = slow_download(lab, seconds=3)
        others = [second_client(lab) for _ in range(3)]  # the server has a lot to say
        expect(all(others), "another client did not get in")
        expect(download.wait(8) == 0, f"the download: {download.last_lines()}")
        echo.check()
        before = len(server.read())
        expect(second_client(lab), "another client did not get in")
        wait_until(lambda: "connected" in server.read()[before:], 5, "a line afterwards")
        expect(re.search(LOST, server.read()[before:]), f"no count in: {server.text[before:]}")
        expect(server.process.stop() == 0, "exit code")


def slow_download(lab: Lab, seconds: int) -> Process:
    """20 MB a second through the tunnel, or curl ends with an error."""
    proxy = f"socks5h://127.0.0.1:{paqet.SOCKS}"
    argv = ["curl", "-sS", "-f", "-o", "/dev/null", "-x", proxy, "--limit-rate", "20M"]
    argv += ["--speed-limit", "1000000", "--speed-time", "2", "-m", str(2 * seconds + 4)]
    process = lab.c.start("curl", [*argv, f"http://127.0.0.1:8080/{seconds * 20_000_000}"])
    process.may_end = True
    return process


def second_client(lab: Lab) -> bool:
    """A client on the third host comes, asks for something, and goes."""
    config = paqet.client_config(lab, Settings(network=False))
    client = paqet.start(lab.x, "another", config)
    argv = ["curl", "-s", "-m", "2", "-x", f"socks5h://127.0.0.1:{paqet.SOCKS}", "-o", "/dev/null"]
    argv += ["-w", "%{size_download}", "http://127.0.0.1:8080/1000"]
    end, works = time.monotonic() + 4, False
    while not works and time.monotonic() < end:
        works = lab.x.run(argv).stdout == "1000"
        time.sleep(0.05)
    client.stop()
    return works


# ---- descriptors


def with_few_files(lab: Lab, count: int) -> str:
    path: Path = lab.new_file("few-files")
    path.write_text(f'#!/bin/sh\nexec prlimit --nofile={count} -- {paqet.program()} "$@"\n')
    path.chmod(0o755)
    return str(path)


FILES = 48
SAYS_SO = r"(?i)(descriptor|open files|LimitNOFILE|ulimit)"


def descriptors_run_out(who: str) -> None:
    with Lab() as lab:
        few = with_few_files(lab, FILES)
        server, client = (few, "") if who == "server" else ("", few)
        pair = paqet.start_pair(lab, client_binary=client, server_binary=server)
        process = pair.server if who == "server" else pair.client
        connections = []
        for _ in range(100):
            with contextlib.suppress(OSError, paqet.SocksError):
                connection = paqet.socks_connect(lab, "127.0.0.1", 8080, limit=0.3)
                connections.append(connection)
        most = process.open_files()
        expect(most >= FILES - 3, f"only {most} descriptors are in use: the test is void")
        process.wait_log(SAYS_SO, 3)
        lines = process.log().count("\n")
        expect(lines < 40, f"{lines} lines in its log: not rate-limited")
        for connection in connections:
            connection.close()
        paqet.seconds_to_work(lab, 4, patience=1)
        result = lab.load("fetch", "--bytes", 5000, "--parallel", 10, "--count", 50)
        expect(result["failed"] == 0, f"requests afterwards: {result}")
        pair.check_alive()


for _who in ("client", "server"):
    add(f"descriptors_of_{_who}_run_out", partial(descriptors_run_out, _who), timed=True)


# ---- an empty line before a request


def first_line(lab: Lab, *pieces: bytes) -> str:
    """What the proxy answers to the pieces, which come one after the other."""
    with paqet.socks_socket(lab, 3) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.1)
            return connection.recv(200).decode(errors="replace").partition("\r\n")[0]
        except OSError as error:
            return str(error)


@test()
def test_proxy_empty_line_before_a_request() -> None:
    """Some programs end the body of the request before with one too many [RFC 9112, 2.2]."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        web = Web(lab.s)
        get = f"GET {web.url('/page')} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode()
        connect = f"CONNECT 127.0.0.1:{web.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for name, request in (("plain", get), ("CONNECT", connect)):
            for pieces in ((b"\r\n" + request,), (b"\r\n", request), (b"\r", b"\n" + request)):
                answer = first_line(lab, *pieces)
                expect(answer.split(" ")[1:2] == ["200"], f"{name}, {len(pieces)} pieces: {answer}")
        expect(web.heads[0].startswith("GET /page "), f"the target got {web.heads[0]!r}")
        pair.check_alive()


@test()
def test_socket_that_only_connects() -> None:
    """A health check that connects and sends nothing but an empty line disturbs nobody."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        for message in (b"", b"\r\n"):
            connection: socket.socket = paqet.socks_socket(lab)
            connection.sendall(message)
            connection.close()
        expect(paqet.fetch_by_hand(lab), "a request afterwards")
        pair.check_alive()
