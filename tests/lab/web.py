# SPDX-License-Identifier: MIT
"""A small web server that tells what it was asked, for tests of the HTTP proxy."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from lab import Host


class Web:
    """Answers each request with its own head and body, and keeps connections unless the request
    says close. `heads`: all heads so far. Ways of its own: /silent ends without an answer, and
    a websocket upgrade becomes an echo."""

    def __init__(self, host: Host, address: str = "127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = host.open_socket(family, socket.SOCK_STREAM)
        self.listener.bind((address, 0))
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
        if re.search(r"(?im)^Upgrade: websocket\r$", text):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while piece := reader.read1(65536):
                connection.sendall(piece)
            return False
        if re.search(r"(?im)^Expect: 100-continue\r$", text):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(r"(?im)^Content-Length: (\d+)\r$", text)
        body = head + reader.read(int(length[1]) if length else 0)
        close = re.search(r"(?im)^Connection: close\r$", text)
        connection.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n".encode() + body
        )
        return not close
