# SPDX-License-Identifier: MIT
"""A browser through the tunnel: a page with many small pictures. Only with --full, since a browser
is much to install."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import socketserver
import struct
import threading
import zlib

import paqet
import test_tun
from case import Failure, expect, test
from lab import Host, Lab, wait_until
from paqet import SOCKS

PICTURES = 100
PORT = 8000
ADDRESS = "10.88.0.1"  # of the web server: no route but the tunnel leads there
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!L", len(data)) + kind + data + struct.pack("!L", zlib.crc32(kind + data))


def picture(number: int) -> bytes:
    """A PNG of about 3 KB, 31 x 31 pixels, each number another."""
    rows = b"".join(b"\x00" + os.urandom(31 * 3) for _ in range(31))
    size = struct.pack("!LLBBBBB", 31, 31, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", size), chunk(b"tEXt", b"number\x00%d" % number)]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def page() -> bytes:
    images = "\n".join(f'<img src="/{i}.png">' for i in range(PICTURES))
    script = (
        "onload = () => { let whole = [...document.images].filter(i => i.complete &&"
        " i.naturalWidth == 31).length; document.body.dataset.whole = whole; }"
    )
    return f"<!doctype html><html><body>{images}<script>{script}</script></body></html>".encode()


class WebServer:
    """On the server host: the page and its pictures, and how often each was fetched."""

    def __init__(self, lab: Lab):
        lab.s.check(["ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo"])
        self.fetched: dict[str, int] = {}
        self.lock = threading.Lock()
        self.contents = {f"/{i}.png": picture(i) for i in range(PICTURES)} | {"/": page()}
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:  # noqa: N802: the name that http.server calls
                web.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler, False)
        self.server.socket.close()
        self.server.socket = lab.s.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        socketserver.TCPServer.server_bind(self.server)  # HTTPServer's asks DNS for its name
        self.server.server_activate()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        content = self.contents.get(request.path)
        if content is None:
            request.send_error(404)
            return
        with self.lock:
            self.fetched[request.path] = self.fetched.get(request.path, 0) + 1
        request.send_response(200)
        kind = "text/html" if request.path == "/" else "image/png"
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def settled(host: Host) -> bool:
    """False while the kernel still tries out an address: once it takes it, a browser gives up all
    that it is loading, since "the network has changed"."""
    return host.check(["ip", "-o", "addr", "show", "tentative"]).strip() == ""


def browse(host: Host, *options: str) -> str:
    """The page as the browser has it once all is loaded."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        raise Failure("needs a browser: script/bootstrap full")
    wait_until(lambda: settled(host), 10, "addresses that the kernel has tried out")
    argv = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    argv += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    argv += [f"--user-data-dir={host.lab.folder}/browser", "--dump-dom", "--timeout=30000"]
    return host.run([*argv, *options, f"http://{ADDRESS}:{PORT}/"], 50).stdout


def expect_loaded(web: WebServer, dom: str) -> None:
    pictures = sum(path.endswith(".png") for path in web.fetched)
    found = re.search(r'data-whole="(\d+)"', dom)
    shown = int(found[1]) if found else 0
    expect(pictures == PICTURES, f"{pictures} of {PICTURES} pictures were fetched, {shown} shown")
    expect(shown == PICTURES, f"{shown} of {PICTURES} pictures are shown: {dom[:200]}")


@test(limit=90, full=True)
def test_browser_through_socks5() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        web = WebServer(lab)
        try:
            expect_loaded(web, browse(lab.c, f"--proxy-server=socks5://127.0.0.1:{SOCKS}"))
        finally:
            web.close()
        pair.check_alive()


@test(limit=90, full=True)
def test_browser_through_tun() -> None:
    with Lab() as lab:
        pair = test_tun.start_pair(lab, f"  routes: {ADDRESS}/32\n")
        web = WebServer(lab)
        try:
            expect_loaded(web, browse(lab.c, "--no-proxy-server"))
        finally:
            web.close()
        pair.check_alive()
