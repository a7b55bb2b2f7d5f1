# SPDX-License-Identifier: MIT
"""The client's port as programs use it: SOCKS4, SOCKS4a, SOCKS5 and HTTP proxy; TCP forwards."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import struct
import time
from functools import partial

import paqet
from case import Failure, add, expect, test
from goserver import go_servers
from lab import Lab, Process, wait_until
from paqet import SOCKS, Settings
from test_peers import with_go_server
from web import HINTS, Web

REAL = "    reply: real\n"
LOGIN = '    username: "me"\n    password: "pa:ss word"\n'
UNKNOWN = "no-such-name.invalid"
PROXY = f"127.0.0.1:{SOCKS}"
SCHEMES = {  # how curl is told, and whether the target may be an IPv6 address
    "socks4": (["--socks4", PROXY], False),
    "socks4a": (["--socks4a", PROXY], False),
    "socks5": (["--socks5", PROXY], True),
    "socks5h": (["--socks5-hostname", PROXY], True),
    "http": (["--proxy", f"http://{PROXY}"], True),
    "connect": (["--proxytunnel", "--proxy", f"http://{PROXY}"], True),
}


def curl(lab: Lab, *argv: str) -> tuple[str, int]:
    """What curl got, and its exit code."""
    result = lab.c.run(["curl", "-sS", "-m", "10", "--noproxy", "", *argv])
    return result.stdout or result.stderr, result.returncode


def codes(lab: Lab, *argv: str) -> tuple[int, int]:
    """The status of the answer, and that of the proxy's answer to CONNECT."""
    result = lab.c.run(
        ["curl", "-s", "-m", "12", "--noproxy", "", "-o", "/dev/null", *argv]
        + ["-w", "%{http_code} %{http_connect}"]
    )
    answer, connect = result.stdout.split()
    return int(answer), int(connect)


def expect_page(lab: Lab, where: str, *argv: str) -> str:
    text, code = curl(lab, *argv)
    expect(code == 0 and text.startswith("GET /page "), f"{where}: curl {code}: {text[:200]}")
    return text


@test()
def test_proxy_every_scheme() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        four, six = Web(lab.s), Web(lab.s, "::1")
        for name, (argv, has_ip6) in SCHEMES.items():
            expect_page(lab, name, *argv, four.url("/page"))
            if has_ip6:
                expect_page(lab, f"{name}, IPv6", *argv, six.url("/page"))
            if name not in ("socks4", "socks5"):  # those ask DNS here
                expect_page(lab, f"{name}, name", *argv, four.url("/page", "localhost"))
        pair.check_alive()


@test()
def test_proxy_password() -> None:
    with Lab() as lab:
        lab.origin()
        server = paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(socks5=LOGIN))
        pair = paqet.Pair(client, server)
        web = Web(lab.s)
        right, wrongs = "me:pa:ss word", ("me:pa:ss wor", "me:pa:ss word ", "m:x", ":", "me:")
        wait_until(lambda: curl(lab, "-U", right, *SCHEMES["http"][0], web.url())[1] == 0, 20, "it")
        for name in ("socks5", "socks5h", "http", "connect"):
            argv = SCHEMES[name][0]
            expect_page(lab, name, *argv, "-U", right, web.url("/page"))
            seen = len(web.heads)
            for wrong in wrongs:
                answer = codes(lab, *argv, "-U", wrong, web.url("/page"))
                want = {"http": (407, 0), "connect": (0, 407)}.get(name, (0, 0))
                expect(answer == want, f"{name} with {wrong}: {answer}, not {want}")
            answer = codes(lab, *argv, web.url("/page"))
            expect(answer == want, f"{name} without password: {answer}, not {want}")
            expect(len(web.heads) == seen, f"{name}: a request passed with a wrong password")
        expect("roxy-auth" not in "".join(web.heads), "the target was told the password")
        for name in ("socks4", "socks4a"):
            _, code = curl(lab, *SCHEMES[name][0], web.url())
            expect(code == 97, f"{name}, which has no password: curl ended with {code}, not 97")
        expect(client.log().count("SOCKS4, which knows no password") == 1, "hints about SOCKS4")
        expect("ss word" not in client.log(), "the password is in the log")
        pair.check_alive()


@test()
def test_proxy_plain_request() -> None:
    """What the target sees, also of bodies and with other programs than curl."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        web = Web(lab.s)
        http = SCHEMES["http"][0]
        text, _ = curl(lab, *http, "-A", "me", "-H", "X-Odd:  a ,b", web.url("/p?q=1&r"))
        want = f"Host: 127.0.0.1:{web.port}\r\nUser-Agent: me\r\nAccept: */*\r\nX-Odd:  a ,b"
        want = f"GET /p?q=1&r HTTP/1.1\r\n{want}\r\nConnection: close\r\n\r\n"
        text = text.replace("\n", "\r\n")  # which run() has taken out
        expect(text == want, f"the target got {text!r}")

        upload = lab.new_file("upload")
        upload.write_bytes(b"u" * 5_000_000)  # curl waits for "100 Continue"
        result = lab.c.run(
            ["curl", "-sS", "-m", "20", *http, "-w", "%{size_download}", "-o", "/dev/null"]
            + ["-T", str(upload), web.url("/put")]
        )
        expect(int(result.stdout or 0) > 5_000_000, f"5 MB up and down: {result}")

        environment = ["env", f"http_proxy=http://{PROXY}", "no_proxy="]
        result = lab.c.run([*environment, "wget", "-q", "-T", "5", "-O", "-", web.url("/wget")])
        expect(result.stdout.startswith("GET /wget "), f"wget: {result}")
        program = f"import urllib.request as r; print(r.urlopen('{web.url('/py')}').read())"
        result = lab.c.run([*environment, "python3", "-c", program])
        expect("GET /py " in result.stdout, f"urllib: {result}")
        pair.check_alive()


@test()
def test_proxy_two_requests_of_one_program() -> None:
    """A program that would keep its connection to the proxy must make a second one, also if the
    target keeps its own although it was told to close it."""
    with Lab() as lab:
        paqet.start_pair(lab)
        for stubborn in (False, True):
            one, two = Web(lab.s, stubborn=stubborn), Web(lab.s, stubborn=stubborn)
            result = lab.c.run(
                ["curl", "-sS", "-m", "10", *SCHEMES["http"][0], "-w", "%{num_connects}\n"]
                + ["-o", "/dev/null", one.url("/1"), "-o", "/dev/null", two.url("/2")]
                + ["-o", "/dev/null", one.url("/3")]
            )
            expect(result.stdout.split() == ["1", "1", "1"], f"connections: {result}")
            asked = [[head.split()[1] for head in web.heads] for web in (one, two)]
            expect(asked == [["/1", "/3"], ["/2"]], f"asked: {asked}")


def read_head(connection: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += paqet.read_exactly(connection, 1)
    return head.decode()


FIRST = {  # what follows the first line of a request
    "GET": "Accept: */*\r\n\r\n",
    "POST": "Content-Length: 5\r\n\r\nhello",
    "chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "upgrade": "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",  # which is refused
}


@test()
def test_proxy_second_request_on_a_connection() -> None:
    """It never reaches the target of the first one, whenever it comes; the program is told."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        one, two = Web(lab.s, stubborn=True), Web(lab.s)
        second = f"GET {two.url('/2')} HTTP/1.1\r\nCookie: secret\r\n\r\n".encode()
        for name, rest in FIRST.items():
            first = f"POST {one.url('/1')} HTTP/1.1\r\nHost: x\r\n{rest}".encode()
            for cut in (0, len(first), len(first) + len(second)):
                with paqet.socks_socket(lab) as connection:
                    connection.sendall((first + second)[:cut])
                    time.sleep(0.1)
                    connection.sendall((first + second)[cut:])
                    head = read_head(connection)
                    length = int(re.search(r"Content-Length: (\d+)", head)[1])
                    body = paqet.read_exactly(connection, length)
                    expect(body.startswith(b"POST /1 "), f"{name}, cut at {cut}: {body!r}")
                    said = re.findall(r"(?im)^(?:connection|keep-alive):.*\r$", head)
                    expect(said == ["Connection: close\r"], f"{name}: the program is told {said}")
                    connection.sendall(second)
                    time.sleep(0.2)
        heads = [head.split("\r\n")[0] for head in one.heads]
        expect(heads == ["POST /1 HTTP/1.1"] * 3 * len(FIRST), f"the first one got {heads}")
        expect(not two.heads, f"the second one got {two.heads}")
        expect("secret" not in "".join(one.heads), "the cookie of another site")
        pair.check_alive()


@test()
def test_proxy_answer_in_pieces() -> None:
    """What comes before the answer (103) passes as it is; the answer's body, too."""
    with Lab() as lab:
        paqet.start_pair(lab)
        web = Web(lab.s, stubborn=True)
        with paqet.socks_socket(lab) as connection:
            connection.sendall(f"GET {web.url('/hints')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            expect(read_head(connection) == HINTS.decode(), "other hints")
            want = f"HTTP/1.1 200 OK\r\nContent-Length: {len(web.heads[0])}\r\n"
            head = read_head(connection)
            expect(head == f"{want}Connection: close\r\n\r\n", f"the answer: {head!r}")
            body = paqet.read_exactly(connection, len(web.heads[0]))
            expect(body.decode() == web.heads[0], f"the body: {body!r}")


@test()
def test_proxy_websocket() -> None:
    with Lab() as lab:
        paqet.start_pair(lab)
        web = Web(lab.s)
        ask = f"GET {web.url('/chat')} HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n"
        ask += "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with paqet.socks_socket(lab) as connection:
            connection.sendall(ask.encode() + b"first")
            answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
            expect(paqet.read_exactly(connection, len(answer)) == answer, "no switch")
            connection.sendall(b", second")
            expect(paqet.read_exactly(connection, 13) == b"first, second", "another echo")
        want = "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        expect(web.heads == [want], f"the target got {web.heads}")


def greetings(web: Web) -> dict[str, list[tuple[bytes, int]]]:
    """For each protocol what a program sends, and how many bytes are answered before it goes on.
    Behind each is a request to the target that was not waited for."""
    port = struct.pack("!H", web.port)
    ask = b"GET /page HTTP/1.1\r\nConnection: close\r\n\r\n"
    target = f"127.0.0.1:{web.port}".encode()
    return {
        "SOCKS4": [(b"\x04\x01" + port + b"\x7f\0\0\x01me\0" + ask, 8)],
        "SOCKS4a": [(b"\x04\x01" + port + b"\0\0\0\x07\0localhost\0" + ask, 8)],
        "SOCKS5": [
            (b"\x05\x02\x02\x00", 2),
            (b"\x05\x01\x00\x03\x09localhost" + port + ask, 10),
        ],
        "CONNECT": [(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n" + ask, 39)],
        "GET": [(b"GET http://" + target + b"/page HTTP/1.1\r\nAccept: */*\r\n\r\n", 0)],
    }


def talk(lab: Lab, messages: list[tuple[bytes, int]], pause: float) -> bytes:
    """Sends byte by byte, or all at once if the pause is 0; what the target answers."""
    with paqet.socks_socket(lab) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for message, answered in messages:
            for byte in [bytes([b]) for b in message] if pause else [message]:
                connection.sendall(byte)
                time.sleep(pause)
            paqet.read_exactly(connection, answered)
        text = b""
        while piece := connection.recv(65536):
            text += piece
        return text


@test(limit=90)
def test_proxy_byte_by_byte() -> None:
    for reply in ("", REAL):
        with Lab() as lab:
            pair = paqet.start_pair(lab, client=Settings(socks5=reply))
            for pause in (0, 0.001):
                for name, messages in greetings(Web(lab.s)).items():
                    try:
                        text = talk(lab, messages, pause)
                    except (OSError, paqet.SocksError) as error:
                        raise Failure(f"{name}, pause {pause}: {error}") from error
                    good = text.startswith(b"HTTP/1.1 200 OK") and b"\nGET /page " in text
                    expect(good, f"{name}, pause {pause}: {text[:100]!r}")
            pair.check_alive()


def socks4_code(lab: Lab, host: str, port: int) -> int:
    """The reply to a SOCKS4a request; -1 if the connection ended without one."""
    with paqet.socks_socket(lab, 14) as connection:
        ask = b"\x04\x01" + struct.pack("!H", port) + b"\0\0\0\x01\0" + host.encode() + b"\0"
        connection.sendall(ask)
        with contextlib.suppress(ConnectionError, paqet.SocksError):
            return paqet.read_exactly(connection, 8)[1]
    return -1


@test()
def test_proxy_reply_real() -> None:
    """Each protocol's own way to say what went wrong."""
    with Lab() as lab:
        denying = Settings(extra='allow: any\ndeny: "127.0.0.9"\n')
        pair = paqet.start_pair(lab, denying, client=Settings(socks5=REAL))
        web = Web(lab.s)
        targets = (("127.0.0.1", 1), (UNKNOWN, 80), ("127.0.0.9", 80))
        found = [socks4_code(lab, *target) for target in targets]
        found.append(socks4_code(lab, "127.0.0.1", web.port))
        expect(found == [0x5B, 0x5B, 0x5B, 0x5A], f"SOCKS4: {found}")
        for name, place in (("http", 0), ("connect", 1)):
            argv = SCHEMES[name][0]
            urls = ("http://127.0.0.1:1/", f"http://{UNKNOWN}/", "http://127.0.0.9/", web.url())
            found = [codes(lab, *argv, url)[place] for url in urls]
            expect(found == [502, 504, 403, 200], f"{name}: {found}")
        pair.check_alive()


@test()
def test_proxy_reply_early() -> None:
    """Success is told at once; plain requests are answered by the target, so they are honest."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        expect(socks4_code(lab, "127.0.0.1", 1) == 0x5A, "SOCKS4")
        expect(codes(lab, *SCHEMES["connect"][0], "http://127.0.0.1:1/") == (0, 200), "CONNECT")
        plain = SCHEMES["http"][0]
        expect(codes(lab, *plain, "http://127.0.0.1:1/") == (502, 0), "plain, refused")
        expect(codes(lab, *plain, f"http://{UNKNOWN}/") == (504, 0), "plain, unknown")
        expect(codes(lab, *plain, Web(lab.s).url("/silent")) == (502, 0), "plain, no answer")
        pair.check_alive()


def plain_request_fails(lab: Lab) -> None:
    """A Go server says nothing about the target, but an end without a byte is telling."""
    plain, web = SCHEMES["http"][0], Web(lab.s)
    expect(codes(lab, *plain, web.url()) == (200, 0), "a good target")
    expect(codes(lab, *plain, "http://127.0.0.1:1/") == (502, 0), "refused")
    expect(codes(lab, *plain, web.url("/silent")) == (502, 0), "no answer")


for _server in go_servers():
    _check = partial(with_go_server, _server, Settings(), plain_request_fails)
    add(f"proxy_plain_request_{_server.name}", _check)


REFUSED = {
    "own page": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "other scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no port": (b"CONNECT a HTTP/1.1\r\n\r\n", 400),
    "LF alone": (b"GET http://a/ HTTP/1.1\nHost: a\n\n", 400),
    "two lengths": (b"GET http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "folded line": (b"GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "too long": (b"GET http://a/ HTTP/1.1\r\nA: " + b"b" * 40_000, 431),
    "name too long": (b"CONNECT " + b"a" * 255 + b":1 HTTP/1.1\r\n\r\n", 400),
}


@test()
def test_proxy_refuses_in_words() -> None:
    """And without a reset, which could destroy the words, although the program goes on sending."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        for name, (message, status) in REFUSED.items():
            with paqet.socks_socket(lab) as connection:
                connection.sendall(message)
                answer = b""
                while piece := connection.recv(4096):
                    answer += piece
                text = answer.decode()
                expect(text.startswith(f"HTTP/1.1 {status} "), f"{name}: {text!r}")
                expect(re.search(r"\r\n\r\npaqet: .{10,}\n$", text), f"{name}: {text!r}")
        pair.check_alive()


@test(limit=90)
def test_proxy_client_that_goes_away() -> None:
    """At every point of every protocol, by a close and by a reset."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        before = pair.client.open_files()
        for messages in greetings(Web(lab.s)).values():
            whole = b"".join(message for message, _ in messages)
            for cut in range(len(whole) + 1):
                connection = paqet.socks_socket(lab)
                if cut % 2:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(whole[:cut])
                connection.close()
        result = lab.load("fetch", "--bytes", 1_000_000)
        expect(result["failed"] == 0, f"a request afterwards: {result}")
        wait_until(lambda: pair.client.open_files() <= before + 4, 5, "its sockets closed")
        pair.check_alive()


@test(full=True, timed=True)
def test_proxy_many_that_say_nothing() -> None:
    """Programs that connect and say nothing push each other out, and nobody else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with Lab() as lab, contextlib.ExitStack() as stack:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        silent = [stack.enter_context(paqet.socks_socket(lab)) for _ in range(1500)]
        expect(paqet.seconds_to_end(silent[0], 5) < 5, "the oldest")
        silent[-1].settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            expect(silent[-1].recv(1), "the newest has been ended")
        result = lab.load("fetch", "--bytes", 1000)
        expect(result["failed"] == 0, f"a request meanwhile: {result}")
        count = pair.client.open_files()
        expect(count < 1100, f"the client has {count} open files")
        echo.check()
        expect(paqet.seconds_to_end(silent[-1], 12) > 5, "the limit of a negotiation")
        wait_until(lambda: pair.client.open_files() < 60, 3, "all of them gone")
        pair.check_alive()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@test()
def test_proxy_stops_amid_negotiations() -> None:
    """Some have said nothing, some half, some wait for a target that does not answer."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        pair = paqet.start_pair(lab, client=Settings(socks5=REAL))
        lab.s.check(["ip", "route", "add", "192.0.2.0/24", "via", lab.c.ip4])
        lab.c.check(["ip", "route", "add", "blackhole", "192.0.2.0/24"])
        for message in (
            b"",
            b"\x05",
            b"\x04\x01",
            b"GET http://a/ HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50",
            b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00",
            b"CONNECT 192.0.2.1:1 HTTP/1.1\r\n\r\n",
            b"GET http://192.0.2.1/ HTTP/1.1\r\n\r\n",
        ):
            stack.enter_context(paqet.socks_socket(lab)).sendall(message)
        time.sleep(0.5)
        expect(pair.client.stop() == 0, f"the client: {pair.client.last_lines()}")
        expect(pair.server.stop() == 0, f"the server: {pair.server.last_lines()}")


# ---- forwards


def start_forwards(lab: Lab, forwards: dict[str, str]) -> Process:
    """A client that listens at each key and forwards to its value."""
    text = "".join(
        f'  - listen: "{listen}"\n    target: "{target}"\n    protocol: "tcp"\n'
        for listen, target in forwards.items()
    )
    paqet.start_server(lab, Settings())
    client = paqet.start_client(lab, Settings(extra=f"forward:\n{text}"))
    lab.origin()
    paqet.wait_working(lab)
    return client


@test()
def test_forward_tcp() -> None:
    with Lab() as lab:
        four, six = Web(lab.s), Web(lab.s, "::1")
        client = start_forwards(
            lab,
            {
                "127.0.0.1:7001": f"127.0.0.1:{four.port}",
                "127.0.0.1:7002": f"localhost:{four.port}",
                "[::1]:7003": f"[::1]:{six.port}",
                ":7004": "127.0.0.1:1",
                "127.0.0.1:7005": "127.0.0.1:8080",
            },
        )
        for where in ("127.0.0.1:7001", "127.0.0.1:7002", "[::1]:7003"):
            expect_page(lab, where, f"http://{where}/page")
        result = lab.c.run(
            ["curl", "-sS", "-m", "20", "-w", "%{size_download}", "-o", "/dev/null"]
            + ["http://127.0.0.1:7005/30000000"]
        )
        expect(result.stdout == "30000000", f"30 MB: {result}")
        for _ in range(20):
            with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                connection.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    connection.connect((lab.c.ip4, 7004))
                    expect(connection.recv(1), "an end instead of a reset")
        expect(client.alive(), client.last_lines())
        expect(client.stop() == 0, "the client's exit code")


@test()
def test_forward_port_taken() -> None:
    with Lab() as lab:
        taken = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.bind(("127.0.0.1", 7001))
        taken.listen(1)
        extra = 'forward:\n  - listen: "127.0.0.1:7001"\n    target: "a:1"\n    protocol: "tcp"\n'
        config = paqet.client_config(lab, Settings(extra=extra))
        client = paqet.start(lab.c, "client", config)
        expect(client.wait(5) == 1, "the exit code")
        said = "forward[0].listen: cannot listen on 127.0.0.1:7001: "
        expect(said in client.log(), f"it said {client.log()}")
