# SPDX-License-Identifier: MIT
"""A small web server that tells what it was asked, for tests of the HTTP proxy."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from lab import Host

HINTS = b"HTTP/1.1 103 Early Hints\r\nConnection: keep-alive\r\nLink: </x>\r\n\r\n"


class Web:
    """Answers each request with its own head and body, and keeps connections unless the request
    says close; a `stubborn` one keeps them all the same. `heads`: all heads so far. Ways of its own:
    /silent ends without an answer, /hints is answered in pieces, beginning with 103, and a websocket
    upgrade of /chat becomes an echo."""

    def __init__(
        self, host: Host, address: str = "127.0.0.1", stubborn: bool = False, port: int = 0
    ):
        self.stubborn = stubborn
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = host.open_socket(family, socket.SOCK_STREAM)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.address = f"[{address}]" if ":" in address else address
        self.port = self.listener.getsockname()[1]
        self.heads: list[str] = []
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, path: str = "/", host: str = "") -> str:
        return f"http://{host or self.address}:{self.port}{path}"

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while self.answer(connection, reader):
                pass

    def answer(self, connection: socket.socket, reader) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return False
            head += line
        text = head.decode("latin-1")
        self.heads.append(text)
        if text.startswith("GET /silent "):
            return False
        if re.search(r"(?im)^GET /chat [^\0]*^Upgrade: websocket\r$", text):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while piece := reader.read1(65536):
                connection.sendall(piece)
            return False
        if re.search(r"(?im)^Expect: 100-continue\r$", text):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(r"(?im)^Content-Length: (\d+)\r$", text)
        body = head + reader.read(int(length[1]) if length else 0)
        if re.search(r"(?im)^Transfer-Encoding: chunked\r$", text):
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += reader.readline()
        close = re.search(r"(?im)^Connection: close\r$", text) and not self.stubborn
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
        answer += f"Connection: {'close' if close else 'keep-alive'}\r\n"
        answer += "" if close else "Keep-Alive: timeout=60\r\n"
        message = answer.encode() + b"\r\n" + body
        if text.startswith("GET /hints "):
            for byte in HINTS + message[:100]:
                connection.sendall(bytes([byte]))
                time.sleep(0.002)
            message = message[100:]
        connection.sendall(message)
        return not close
