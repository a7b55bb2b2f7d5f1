# SPDX-License-Identifier: MIT
"""What a running client and server tell about themselves, and that no secret is among it."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import time

import looks
import paqet
from case import Failure, add, expect, test
from lab import Lab, Process, wait_until
from paqet import Settings
from test_keys import Keys
from test_main import MB
from test_reload import Download, config_of, dial, read_line

PASSWORD = "a password of the proxy"


def status(lab: Lab, who: str, *options: str) -> str:
    result = paqet.ask(lab, who, "status", *options)
    expect(result.returncode == 0, f"status: {result.stderr}")
    return result.stdout


def data(lab: Lab, who: str) -> dict:
    return json.loads(status(lab, who, "--json"))


def start_keys(lab: Lab, workers: int = 1) -> tuple[Keys, Process, Process]:
    keys = Keys(lab)
    lab.origin()
    more = f"performance:\n  packet_workers: {workers}\n"
    settings = keys.server_settings(control=True)
    settings.extra += more
    server = paqet.start_server(lab, settings)
    client = keys.client_settings(control=True, extra=more)
    client.transport += f"  conn: {workers}\n"
    process = paqet.start_client(lab, client)
    paqet.wait_working(lab)
    return keys, server, process


def status_of_both(workers: int) -> None:
    """Sessions, users, bytes and overhead are what they are, at both ends."""
    with Lab() as lab:
        _, server, client = start_keys(lab, workers)
        result = lab.load("fetch", "--bytes", 20 * MB, "--timeout", 30)
        expect(result["failed"] == 0, f"download: {result}")
        at_client, at_server = data(lab, "client"), data(lab, "server")
        expect(at_client["role"] == "client" and at_client["workers"] == workers, "role, workers")
        expect(at_client["file"] == str(config_of(client)), at_client["file"])
        expect(at_server["pid"] == server.pid, "pid")
        expect(len(at_server["sessions"]) == workers == at_server["totals"]["sessions"], "sessions")
        for one in at_server["sessions"]:
            expect(one["user"] == "ali" and one["wire"] == "own", f"{one}")
            expect(one["cipher"] in ("aes-128-gcm", "chacha20-poly1305"), one["cipher"])
            expect(one["ours"] and not one["half_open"] and one["rtt_ms"] > 0, f"{one}")
            expect(one["came"] == one["expected"] > 0, f"loss on a wire without: {one}")
        for who, direction, other in ((at_client, "in", "out"), (at_server, "out", "in")):
            total = who["totals"]
            expect(20 * MB <= total[f"bytes_{direction}"] < 21 * MB, f"{total}")
            expect(total[f"bytes_{other}"] < MB, f"{total}")
            of_sessions = sum(s[f"bytes_{direction}"] for s in who["sessions"])
            expect(of_sessions == total[f"bytes_{direction}"], "sessions and their sum")
            wire = sum(s[f"wire_{direction}"] for s in who["sessions"])
            expect(1.01 < wire / of_sessions < 1.12, f"overhead {wire / of_sessions:.3f}")
        expect(at_client["memory"]["resident"] > 1e6, "memory")
        expect(at_client["memory"]["queues"] < at_client["memory"]["queues_max"], "queues")
        expect(at_client["events"]["sessions_opened"] == workers, f"{at_client['events']}")


for _workers in (1, 3):
    add(f"status_{_workers}_workers", functools.partial(status_of_both, _workers))


@test()
def test_status_text() -> None:
    """The table for people, once and again and again, while something is going on."""
    with Lab(wan=["--delay", "5", "--rate", "100"]) as lab:
        start_keys(lab)
        download = Download(lab, 50 * MB)
        wait_until(lambda: data(lab, "client")["totals"]["bytes_in"] > MB, 10, "the download")
        text = status(lab, "server")
        row = next(line for line in text.splitlines() if "ali" in line)
        look = looks.chosen() or looks.USUAL
        expect(re.search(rf"ali +kcp/own +\S+-\S+ +{look} +\d+\.\d +[\d.-]+ +[\d.-]+ ", row), f"{text}")
        expect(re.search(r"\d+ Mbit/s", row), f"no rate: {text}")
        expect("1 session of" in text and "memory" in text, text)
        with contextlib.suppress(Failure):
            watching = lab.s.start("watch", [paqet.program(), "status", "--watch", "-s",
                                             str(paqet.control_path(lab, "server"))])
            wait_until(lambda: watching.log().count("PEER") >= 2, 5, "two tables")
        expect(watching.log().count("PEER") >= 2, watching.log())
        watching.kill()
        download.finish()


@test()
def test_status_unread() -> None:
    """What has come and is not read yet has come: it makes the tunnel no dearer."""
    with Lab(wan=["--delay", "5"]) as lab, contextlib.ExitStack() as opened:
        start_keys(lab)

        def send(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(bytes(30 * MB))

        opened.enter_context(lab.s.listen("127.0.0.1", 7300, send))
        opened.enter_context(paqet.socks_connect(lab, "127.0.0.1", 7300))

        def of(who: str) -> dict:
            return max(data(lab, who)["sessions"], key=lambda one: one["wire_in"])

        wait_until(lambda: of("client")["carried_in"] > of("client")["bytes_in"] + MB, 20, "bytes that lie unread")
        for who in ("client", "server"):
            now = of(who)
            cost = (now["wire_in"] + now["wire_out"]) / (now["carried_in"] + now["carried_out"])
            expect(1 < cost < 1.2, f"{who}: {cost:.3f}, {now}")


@test()
def test_status_strangers_packets() -> None:
    """What is dropped is counted, with a reason in words."""
    with Lab() as lab:
        start_keys(lab)
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM):
            pass
        other = paqet.client_config(lab, Settings(key="another key than that")).replace("1080", "1099")
        stranger = paqet.start(lab.c, "stranger", other)
        paqet.wait_ready(stranger)

        def counted() -> bool:
            drops = {d["reason"]: d["count"] for d in data(lab, "server")["drops"]}
            return sum(drops.values()) > 0

        wait_until(counted, 10, "packets of a stranger among the drops")
        expect("dropped packets:" in status(lab, "server"), status(lab, "server"))


@test()
def test_top_and_kill() -> None:
    """Streams by rate, with target and user; one is ended and the others go on."""
    with Lab(wan=["--delay", "5", "--rate", "100"]) as lab:
        start_keys(lab)
        quiet, doomed = paqet.Echo(lab), paqet.Echo(lab)
        download = Download(lab, 50 * MB)
        wait_until(lambda: data(lab, "client")["totals"]["bytes_in"] > MB, 10, "the download")
        for who in ("client", "server"):
            result = paqet.ask(lab, who, "top")
            lines = result.stdout.splitlines()
            expect(result.returncode == 0 and len(lines) >= 4, result.stdout + result.stderr)
            expect("127.0.0.1:8080" in lines[1] and "Mbit/s" in lines[1], f"{who}: {lines}")
            expect(who == "client" or " ali " in lines[1], f"{who}: {lines}")
        download.finish()
        streams = json.loads(paqet.ask(lab, "client", "top", "--json").stdout)["streams"]
        expect(len(streams) == 2, f"{streams}")
        newest = max(streams, key=lambda s: int(s["id"].split(".")[1]))
        expect(newest["kind"] == "tcp" and 32 <= newest["bytes_in"] < 100, f"{newest}")
        result = paqet.ask(lab, "client", "top", "--kill", newest["id"])
        expect(result.returncode == 0, result.stderr)
        paqet.seconds_to_end(doomed.connection, 1)
        quiet.check()
        for wrong in (newest["id"], "7.1", "0.99999", "0.", "x"):
            result = paqet.ask(lab, "client", "top", "--kill", wrong)
            expect(result.returncode == 1, f"{wrong} could be ended")
        victim = json.loads(paqet.ask(lab, "server", "top", "--json").stdout)["streams"]
        expect(len(victim) == 1, f"{victim}")
        paqet.ask(lab, "server", "top", "--kill", victim[0]["id"])
        paqet.seconds_to_end(quiet.connection, 1)
        paqet.Echo(lab).close()


@test()
def test_log_command() -> None:
    """The last lines, those that come, and a level that changes while it runs."""
    with Lab() as lab:
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(control=True))
        lab.origin()
        paqet.wait_working(lab)
        shown = paqet.ask(lab, "client", "log").stdout
        written = [line for line in client.log().splitlines() if "[" in line]
        expect("session to" in shown and all(l in written for l in shown.splitlines()), shown)
        expect(len(paqet.ask(lab, "client", "log", "-n", "2").stdout.splitlines()) == 2, "-n")
        path = str(paqet.control_path(lab, "client"))
        follow = lab.c.start("follow", [paqet.program(), "log", "-f", "-s", path])
        expect(paqet.ask(lab, "client", "log", "--level", "debug").returncode == 0, "--level")
        follow.wait_log("the level of the log is debug now", 3)
        both = lab.c.start("both", [paqet.program(), "log", "-f", "--level", "info", "-n", "1", "-s", path])
        both.wait_log("the level of the log is info now", 3)
        expect(paqet.ask(lab, "client", "log", "--level", "debug").returncode == 0, "debug again")
        both.wait_log("the level of the log is debug now", 3)
        both.kill()
        expect(paqet.ask(lab, "client", "log", "--level", "loud").returncode == 1, "a wrong level")
        expect(paqet.ask(lab, "client", "log", "--level", "none").returncode == 0, "none")
        size = len(client.log())
        paqet.ask(lab, "client", "reload")
        expect(len(client.log()) == size, "lines in spite of level none")
        follow.kill()


@test()
def test_status_without_secrets() -> None:
    """Nothing that is asked for, and no line of the log, holds a key or a password."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        settings = keys.server_settings(control=True)
        settings.extra += f"outgoing: {{username: '', password: '{PASSWORD}'}}\n"
        server = paqet.start_server(lab, settings)
        login = f"    username: u\n    password: {PASSWORD}\n"
        client = paqet.start_client(lab, keys.client_settings(control=True, socks5=login))
        client.wait_log("has the right key|keys of its own", 10)
        secrets = [paqet.KEY, PASSWORD, keys.server[0], keys.ali[0], keys.sara[0]]
        for process, who in ((server, "server"), (client, "client")):
            path = config_of(process)
            path.write_text(path.read_text().replace("mode:", "mod:"))
            said = ""
            for argv in (("status", "--json"), ("status",), ("top",), ("log",), ("reload",)):
                result = paqet.ask(lab, who, *argv)
                said += result.stdout + result.stderr
            connection = dial(paqet.control_path(lab, who))
            for request in ("status", "top", "log", "reload", "kill", "level"):
                connection.sendall(f'{{"v":1,"do":"{request}"}}\n'.encode())
                said += json.dumps(read_line(connection), ensure_ascii=False)
            said += process.log()
            for secret in secrets:
                expect(secret not in said, f"{who}: a secret is told")


@test(timed=True)
def test_status_costs_nothing() -> None:
    """One question after the other, for two seconds and more than 50 of them, does not disturb a
    connection; nobody waits long."""
    with Lab() as lab:
        start_keys(lab)
        echo = paqet.Echo(lab)
        connection = dial(paqet.control_path(lab, "client"))
        slowest, end, asked = 0.0, time.monotonic() + 2, 0
        while asked <= 50 or time.monotonic() < end:  # a busy machine asks more slowly
            connection.sendall(b'{"v":1,"do":"status"}\n')
            begin = time.monotonic()
            echo.check()
            slowest = max(slowest, time.monotonic() - begin)
            expect(read_line(connection)["ok"], "no answer")
            asked += 1
        print(f"{asked} questions, the slowest echo {1000 * slowest:.1f} ms")
        expect(slowest < 0.5, f"{asked} questions, echo after {slowest:.3f} s")
