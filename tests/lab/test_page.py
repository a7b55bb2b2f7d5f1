# SPDX-License-Identifier: MIT
"""The status page: what it is made of, who gets it, what a browser makes of it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import paqet
from case import Failure, expect, test
from chromium import Browser
from lab import ROOT, Lab, Process, wait_until
from paqet import Settings
from test_keys import Keys
from test_main import MB
from test_metrics import LISTEN, PORT, TOKEN, get, need_http, talk

URL = f"http://127.0.0.1:{PORT}/"
PHONE = (390, 844)


def headers(lab: Lab, path: str) -> dict[str, str]:
    answer = talk(lab, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    lines = answer.decode().partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@test()
def test_page() -> None:
    """The page asks for nothing from elsewhere, and its data are those of the control socket."""
    need_http()
    with Lab() as lab:
        lab.origin()
        paqet.start_server(lab, Settings())
        paqet.start_client(lab, Settings(control=True, extra=LISTEN))
        paqet.wait_working(lab)
        code, page = get(lab, "/")
        expect(code == 200 and "<script>" in page, f"{code}: {page[:100]}")
        expect(not re.search(r"(src|href)=\"(?!data:,|/status\.json)|url\(|@import|https?:", page), "something from elsewhere")
        expect("innerHTML" not in page and "eval(" not in page, "text that becomes more than text")
        sent = headers(lab, "/")
        policy = sent["content-security-policy"]
        expect("default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy, policy)
        expect("frame-ancestors 'none'" in policy and sent["referrer-policy"] == "no-referrer", f"{sent}")
        expect(sent["x-content-type-options"] == "nosniff" and sent["cache-control"] == "no-store", f"{sent}")
        expect("access-control-allow-origin" not in headers(lab, "/status.json"), "others may read it")
        told = json.loads(get(lab, "/status.json")[1])
        asked = json.loads(paqet.ask(lab, "client", "status", "--json").stdout)
        expect(told.keys() == asked.keys() and told["pid"] == asked["pid"], f"{told}")
        expect(told["sessions"][0].keys() == asked["sessions"][0].keys(), "a session")
        echo = paqet.Echo(lab)
        streams = json.loads(get(lab, "/top.json")[1])["streams"]
        expect([s["port"] for s in streams] == [8080], f"{streams}")
        echo.close()
        lines = json.loads(get(lab, "/log.json")[1])
        expect(any("session to" in line for line in lines["lines"]), f"{lines}")
        rest = json.loads(get(lab, f"/log.json?after={lines['next']}")[1])
        expect(rest["lines"] == [] and rest["next"] == lines["next"], f"{rest}")
        for wrong in ("x", "-1", "", "1" * 19, "1;2", "%00"):
            expect(get(lab, f"/log.json?after={wrong}")[0] == 400, f"after={wrong}")
        said = page + json.dumps([told, streams, lines])
        expect(paqet.KEY not in said, "a secret")


@test()
def test_page_token() -> None:
    """A browser gives the token as a password; without it there is not even the page."""
    need_http()
    with Lab() as lab:
        client = paqet.start_client(lab, Settings(extra=f"status:\n  listen: 0.0.0.0:{PORT}\n  token: {TOKEN}\n"))
        client.wait_log("status page at", 5)

        def basic(text: str) -> str:
            return f"Authorization: Basic {base64.b64encode(text.encode()).decode()}"

        expect(headers(lab, "/")["www-authenticate"].startswith("Basic "), "no question for the token")
        expect("paqet" not in get(lab, "/")[1], "it says what it is to strangers")
        for credentials in (f"x:{TOKEN}", f":{TOKEN}", f"paqet:{TOKEN}"):
            expect(get(lab, "/", basic(credentials))[0] == 200, credentials)
            expect(get(lab, "/status.json", basic(credentials))[0] == 200, credentials)
        for wrong in (f"{TOKEN}:x", TOKEN, "x:", "", f"x:{TOKEN}x", f"x:{TOKEN[:-1]}", "x:" + "y" * 3000, f"x:{TOKEN}\0"):
            expect(get(lab, "/top.json", basic(wrong))[0] == 401, wrong[:40])
        for junk in ("Basic", "Basic ", "Basic ====", "Basic !", "Basic " + "A" * 8000):
            expect(get(lab, "/", f"Authorization: {junk}")[0] == 401, junk[:20])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path):
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(str(self.path))


@test()
def test_page_unix_socket() -> None:
    """At a Unix socket, for its owner alone; it goes with the program, and a stale one is replaced."""
    need_http()
    with Lab() as lab:
        path = lab.folder / "page"
        settings = Settings(extra=f"status:\n  listen: {path}\n")
        for end in (signal.SIGKILL, signal.SIGTERM):
            client = paqet.start_client(lab, settings)
            client.wait_log("status page at the socket", 5)
            expect(path.stat().st_mode & 0o777 == 0o600, f"mode {path.stat().st_mode:o}")
            for target, code in (("/", 200), ("/status.json", 200), ("/metrics", 200), ("/x", 404)):
                connection = UnixConnection(path)
                connection.request("GET", target)
                expect(connection.getresponse().status == code, target)
                connection.close()
            client.may_end = True
            os.kill(client.pid, end)
            client.wait(5)
        expect(not path.exists(), "the socket is left behind")
        long = paqet.start(lab.c, "long", paqet.client_config(lab, Settings(extra=f"status:\n  listen: /{'x' * 200}\n")))
        expect(long.wait(10) == 1 and "is longer than" in long.log(), long.log())


def trickle(lab: Lab, address: str, count: int) -> list[socket.socket]:
    """Connections that have begun a request."""
    all_of_them = []
    for _ in range(count):
        connection = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.bind((address, 0))
        connection.settimeout(0.2)
        with contextlib.suppress(OSError):
            connection.connect(("127.0.0.1", PORT))
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        all_of_them.append(connection)
    return all_of_them


@test(limit=90, full=True)
def test_page_hostile() -> None:
    """Connections that send a byte a second, a thousand at once, readers that do not read: each ends,
    memory stays where it is, the tunnel does not notice, and there is room again."""
    need_http()
    with Lab() as lab:
        lab.origin()
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(extra=LISTEN))
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        get(lab, "/")
        files, memory = client.open_files(), client.memory_mb()
        slow = trickle(lab, "127.0.0.1", 20) + trickle(lab, "127.0.0.2", 20)
        begin = time.monotonic()

        def feed() -> int:
            """How many of them still take a byte a second."""
            alive = 0
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")
                    connection.setblocking(False)
                    try:
                        alive += connection.recv(1) != b""
                    except BlockingIOError:
                        alive += 1
            time.sleep(1)
            return alive

        expect(feed() >= 32, "slow ones are let in")
        while feed():  # those that wait for room come in meanwhile, and go as well
            expect(time.monotonic() - begin < 50, "a slow connection stays")
            expect(client.open_files() <= files + 33, f"{client.open_files()} descriptors")
        print(f"slow connections had ended after {time.monotonic() - begin:.0f} s")
        for connection in slow:
            connection.close()
        many = trickle(lab, "127.0.0.1", 1000)
        echo.check()
        expect(client.open_files() <= files + 33, f"{client.open_files()} descriptors")
        for connection in many:
            connection.close()
        readers = []
        for _ in range(16):  # they ask, again and again, and read nothing
            connection = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", PORT))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
            readers.append(connection)
        time.sleep(1)
        echo.check()
        wait_until(lambda: talk(lab, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1."), 30, "room again")
        for connection in readers:
            connection.close()
        wait_until(lambda: client.open_files() <= files, 10, "all descriptors back")
        grown = client.memory_mb() - memory
        print(f"memory grew by {grown:.1f} MB")
        expect(grown < 4, f"memory grew by {grown:.1f} MB")
        echo.check()


class Scene:
    """A server with two users, each of whom has a client that does something, over a path that loses."""

    def __init__(self, lab: Lab):
        self.lab = lab
        keys = Keys(lab)
        lab.origin()
        server = keys.server_settings(control=True)
        server.level = "info"
        server.extra += LISTEN
        self.server = paqet.start_server(lab, server)
        paqet.start_client(lab, keys.client_settings(extra=LISTEN))
        second = paqet.client_config(lab, keys.client_settings(key=keys.sara[0])).replace(":1080", ":1081")
        paqet.wait_ready(paqet.start(lab.c, "sara", second))
        paqet.wait_working(lab)
        self.traffic = [self.load("get", "--seconds", 120), self.load("ping", "--seconds", 120, socks=1081)]

    def load(self, mode: str, *options: object, socks: int = 1080) -> Process:
        argv = [paqet.program().replace("build/paqet", "build/tests/lab/lab-load"), mode, "--socks", str(socks)]
        process = self.lab.c.start(mode, [*argv, *map(str, options), "127.0.0.1", "8080"])
        process.may_end = True
        return process


def visible_problems(browser: Browser) -> object:
    """What sticks out of the screen; heads of tables are for screen readers alone there."""
    return browser.evaluate(
        "[...document.querySelectorAll('main *, header *')].filter(e => { const r = e.getBoundingClientRect();"
        " return r.width && !e.closest('thead') && (r.right > innerWidth + 1 || r.left < -1) }).map(e => e.tagName + '.' + e.id + e.className).join()"
    )


def look(browser: Browser, seconds: float) -> None:
    browser.open(URL)
    browser.wait("document.querySelector('#state') && document.querySelector('#state').className == 'ok'", 15)
    browser.wait("!document.querySelector('#rate-in').textContent.includes('–')", 5)
    time.sleep(seconds)


@test(limit=120, full=True)
def test_page_in_browser() -> None:
    """On a phone, in the dark, in Persian: figures that are true, nothing beside the screen, no complaint."""
    need_http()
    with Lab(wan=["--delay", "20", "--rate", "40", "--loss", "1"]) as lab:
        scene = Scene(lab)
        for host, who in ((lab.s, "server"), (lab.c, "client")):
            browser = Browser(host)
            browser.screen(*PHONE, phone=True, dark=True)
            look(browser, 3)
            rates = browser.evaluate("[...document.querySelectorAll('.rates b')].map(e => e.textContent).join()")
            expect("Mbit/s" in str(rates), f"{who}: rates {rates}")
            rtt = str(browser.evaluate("document.querySelector('#rtt').textContent"))
            expect(40 <= float(rtt.split()[0]) < 250, f"{who}: round trip {rtt}")
            text = str(browser.evaluate("document.body.innerText"))
            expect("127.0.0.1:8080" in text and "own" in text, f"{who}: {text}")
            expect(who == "client" or ("ali" in text and "sara" in text), f"{who}: {text}")
            expect(not visible_problems(browser), f"{who}: beside the screen: {visible_problems(browser)}")
            dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
            browser.evaluate("document.querySelector('#language').click()")
            expect(browser.evaluate("document.documentElement.dir") == "rtl", "no right-to-left")
            browser.screen(*PHONE, phone=True)
            expect(browser.evaluate("getComputedStyle(document.body).backgroundColor") != dark, "the dark is as the light")
            time.sleep(1.5)
            text = str(browser.evaluate("document.querySelector('main').innerText"))
            expect(re.search("[۰-۹]", text) and "Mbit" not in text, f"not Persian: {text[:300]}")
            expect(not visible_problems(browser), f"{who}: beside the screen: {visible_problems(browser)}")
            browser.open(URL)
            browser.wait("document.documentElement.lang == 'fa'", 5)
            if who == "client":
                scene.server.may_end = True
                scene.server.kill()
                browser.wait("document.querySelector('#state').className == 'bad'", 15)
            expect(not browser.complaints, f"{who}: {browser.complaints}")
            browser.close()
        persian = Browser(lab.c, "fa-IR")
        persian.open(URL)
        persian.wait("document.documentElement.dir == 'rtl'", 5)
        persian.close()


@test(limit=60, full=True)
def test_page_in_browser_token() -> None:
    """A browser that has the token shows the page and its figures; no address that it asks for has it."""
    need_http()
    with Lab() as lab:
        paqet.start_server(lab, Settings(extra=f"status:\n  listen: 0.0.0.0:{PORT}\n  token: {TOKEN}\n"))
        browser = Browser(lab.s)
        browser.open(URL.replace("//", f"//x:{TOKEN}@"))
        browser.wait("document.querySelector('#state') && document.querySelector('#state').className == 'ok'", 10)
        asked = str(browser.evaluate("performance.getEntriesByType('resource').map(e => e.name).join(' ')"))
        expect("/status.json" in asked and TOKEN not in asked, asked)
        expect(not browser.complaints, f"{browser.complaints}")
        browser.close()


@test()
def test_page_knows_reasons() -> None:
    """Every reason for which a packet is dropped has its words in Persian."""
    source = (ROOT / "src" / "base" / "err.c").read_text()
    names = re.findall(r'\[PQ_DROP_(?!NONE)\w+\] = "([^"]+)"', source)
    texts = (ROOT / "src" / "app" / "page" / "texts.js").read_text()
    missing = [name for name in names if f'"{name}": "' not in texts]
    expect(len(names) > 20 and not missing, f"without Persian words: {missing}")
    english, persian = texts.split("fa: {")
    keys = [set(re.findall(r"^ {4}.*", part, re.MULTILINE)) for part in (english, persian)]
    named = [set(re.findall(r"(?:^ *|, |\{ )(\w+):", "\n".join(lines), re.MULTILINE)) for lines in keys]
    expect(named[0] <= named[1] and named[1] <= named[0] | {"reasons"}, f"texts: {named[0] ^ named[1]}")


def shots(folder: Path) -> None:
    """The pictures of docs/: script/screenshots."""
    with Lab(wan=["--delay", "35", "--rate", "60", "--loss", "1"]) as lab:
        scene = Scene(lab)
        pages = {}
        for host, name in ((lab.s, "server"), (lab.c, "client")):
            pages[name] = Browser(host)
            pages[name].screen(920, 700)
            look(pages[name], 0)
        for _ in range(9):
            lab.load("fetch", "--bytes", 3 * MB, "--parallel", 2, socks=1081)
            lab.load("send", "--bytes", 4 * MB, socks=1081)
            time.sleep(2)
        pages["server"].picture(folder / "page.png")
        pages["server"].screen(920, 700, dark=True)
        pages["server"].picture(folder / "page-dark.png")
        pages["client"].screen(*PHONE, phone=True)
        time.sleep(1.2)
        pages["client"].picture(folder / "page-phone.png")
        pages["client"].evaluate("document.querySelector('#language').click()")
        pages["client"].screen(*PHONE, phone=True, dark=True)
        time.sleep(1.2)
        pages["client"].picture(folder / "page-fa.png")
        for name, page in pages.items():
            if page.complaints:
                raise Failure(f"{name}: {page.complaints}")
            page.close()
        scene.server.stop()
