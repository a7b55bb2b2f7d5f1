# SPDX-License-Identifier: MIT
"""Metrics and health over HTTP: in the form that Prometheus reads, and under hostile requests."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time

import paqet
from case import Skip, expect, test
from lab import Lab, wait_until
from paqet import Settings
from test_main import MB

PORT = 9180
TOKEN = "a-token-that-is-long-enough"
LISTEN = f"status:\n  listen: 127.0.0.1:{PORT}\n"


def need_http() -> None:
    if "Metrics:    yes" not in subprocess.check_output([paqet.program(), "version"], text=True):
        raise Skip("this build is without libmicrohttpd")


def talk(lab: Lab, request: bytes, address: str = "127.0.0.1", limit: float = 10) -> bytes:
    """All that comes back until the other end closes."""
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit)
        connection.connect((address, PORT))
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        return answer


def get(lab: Lab, path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    answer = talk(lab, "\r\n".join([*lines, "", ""]).encode()).decode()
    head, _, body = answer.partition("\r\n\r\n")
    code = re.match(r"HTTP/1\.1 (\d+) ", head)
    expect(code, f"{method} {path}: {answer[:200]!r}")
    return int(code[1]), body


def read_metrics(text: str) -> dict[str, float]:
    """As a scraper reads them; what its conventions forbid is a failure."""
    types: dict[str, str] = {}
    values: dict[str, float] = {}
    helped: set[str] = set()
    current = ""
    expect(text.endswith("\n"), "the last line has no end")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, help_ = line[7:].split(" ", 1)
            expect(name not in helped and help_.endswith("."), f"help: {line}")
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            current, kind = line[7:].split(" ")
            expect(current not in types and current in helped, f"type: {line}")
            expect(kind in ("counter", "gauge"), line)
            expect((kind == "counter") == current.endswith("_total"), f"the name of a {kind}: {line}")
            expect(re.fullmatch(r"(paqet|process)_[a-z0-9_]+", current), line)
            types[current] = kind
            continue
        label = r'[a-z]+="(?:[^"\\\n]|\\[\\"n])*"'
        match = re.fullmatch(rf"([a-z_0-9]+)(\{{{label}(?:,{label})*\}})? (\d+(?:\.\d+)?)", line)
        expect(match and match[1] == current, f"no sample of {current}: {line}")
        series = match[1] + (match[2] or "")
        expect(series not in values, f"twice: {series}")
        values[series] = float(match[3])
    return values


def check_by_promtool(text: str) -> None:
    """A second opinion, where Prometheus is installed."""
    promtool = shutil.which("promtool")
    if promtool:
        argv = [promtool, "check", "metrics"]
        result = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=20, check=False)
        expect(result.returncode == 0, f"promtool: {result.stdout} {result.stderr}")


@test()
def test_metrics() -> None:
    need_http()
    with Lab() as lab:
        lab.origin()
        server = Settings(control=True, extra=LISTEN)
        paqet.start_server(lab, server)
        client = paqet.start_client(lab, Settings(extra=LISTEN))
        paqet.wait_working(lab)
        code, before = get(lab, "/metrics")
        expect(code == 200, f"{code}")
        first = read_metrics(before)
        expect(first["paqet_sessions"] == 1, f"{first}")
        expect(lab.load("fetch", "--bytes", 10 * MB)["failed"] == 0, "download")
        time.sleep(0.25)
        second = read_metrics(get(lab, "/metrics")[1])
        series = 'paqet_stream_bytes_total{direction="in"}'
        expect(second[series] - first[series] >= 10 * MB, f"{first[series]}, {second[series]}")
        counters = [name for name in first if "_total" in name]
        expect(all(second[name] >= first[name] for name in counters), "a counter goes down")
        expect(any(name.startswith("paqet_session_rtt_seconds{") for name in second), "no RTT")
        started = second["paqet_start_time_seconds"]
        expect(abs(started - first["paqet_start_time_seconds"]) < 0.1, "another start")
        expect(time.time() - 60 < started < time.time(), "the start")
        expect(paqet.KEY not in before, "a secret")
        result = lab.s.run(["curl", "-s", "-m", "5", f"http://127.0.0.1:{PORT}/metrics"])
        at_server = read_metrics(result.stdout)
        check_by_promtool(before)
        check_by_promtool(result.stdout)
        expect("paqet_sessions_max" in at_server and at_server["paqet_sessions"] == 1, result.stdout)
        expect(client.alive(), "the client")


@test(timed=True)
def test_health() -> None:
    """200 while the tunnel works; 503 once the server is silent, and 200 again."""
    need_http()
    with Lab() as lab:
        lab.origin()
        server = paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(extra=LISTEN))
        paqet.wait_working(lab)
        expect(get(lab, "/healthz") == (200, "ok\n"), "not healthy")
        server.may_end = True
        server.kill()
        wait_until(lambda: get(lab, "/healthz") == (503, "the server is silent\n"), 9, "503")
        paqet.start_server(lab, Settings())
        paqet.seconds_to_work(lab, 15)
        expect(get(lab, "/healthz")[0] == 200, "not healthy again")


@test()
def test_metrics_hostile() -> None:
    """Strange requests get an error or nothing; nothing of it disturbs the tunnel or lasts."""
    need_http()
    with Lab() as lab:
        lab.origin()
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(extra=LISTEN))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X" * 100):
            expect(get(lab, "/metrics", method=method)[0] in (405, 501), method)
        expect(get(lab, "/metrics", method="HEAD") == (200, ""), "HEAD")
        body = "Content-Length: 1000000\r\n\r\n" + "x" * 1000000
        expect(b"405" in talk(lab, f"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n{body}".encode())[:20], "body")
        for path in ("/x", "/metrics/", "//metrics", "/../metrics", "/%2e%2e/etc/passwd"):
            expect(get(lab, path)[0] == 404, path)
        for host, code in (("evil.example", 403), (f"evil.example:{PORT}", 403), ("x" * 5000, 403),
                           (f"localhost:{PORT}", 200), ("[::1]:80", 200), ("192.0.2.1", 200)):
            expect(get(lab, "/metrics", host=host)[0] == code, f"{host[:30]}: not {code}")
        for junk in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 20000,
                     b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n"):
            answer = talk(lab, junk)
            expect(not answer.startswith(b"HTTP/1.1 200"), f"{junk[:20]!r}: {answer[:50]!r}")
        slow = []
        for _ in range(64):  # they say nothing, or not all
            connection = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.connect(("127.0.0.1", PORT))
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /metrics HTT")
            slow.append(connection)
        echo.check()
        wait_until(lambda: talk(lab, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1."), 12, "room again")
        for connection in slow:
            connection.close()
        echo.check()
        expect(client.alive() and get(lab, "/healthz")[0] == 200, "after all that")


@test()
def test_metrics_token() -> None:
    """From elsewhere only with the token; without one it is refused at the start."""
    need_http()
    with Lab() as lab:
        everywhere = f"status:\n  listen: 0.0.0.0:{PORT}\n"
        refused = paqet.start(lab.c, "open", paqet.client_config(lab, Settings(extra=everywhere)))
        expect(refused.wait(10) == 1 and "set status.token" in refused.log(), refused.log())
        client = paqet.start_client(lab, Settings(extra=f"{everywhere}  token: {TOKEN}\n"))
        client.wait_log("status page at", 5)
        for headers in ((), ("Authorization: Bearer x",), (f"Authorization: Basic {TOKEN}",),
                        (f"Authorization: Bearer {TOKEN}x",), (f"X-Token: {TOKEN}",)):
            for path in ("/metrics", "/healthz", "/"):
                expect(get(lab, path, *headers)[0] == 401, f"{path} {headers}")
        expect(get(lab, f"/metrics?token={TOKEN}")[0] == 401, "a token in the path")
        expect(get(lab, "/metrics", f"Authorization: Bearer {TOKEN}")[0] == 200, "the token")
        expect(get(lab, "/metrics", f"authorization: bearer {TOKEN}")[0] == 200, "in other letters")
        expect(TOKEN not in client.log(), "the token is in the log")
        taken = paqet.client_config(lab, Settings(extra=LISTEN)).replace(":1080", ":1081")
        second = paqet.start(lab.c, "second", taken)
        expect(second.wait(10) == 1 and "status.listen: cannot listen" in second.log(), second.log())
