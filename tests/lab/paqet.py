# SPDX-License-Identifier: MIT
"""paqet in the lab: its configuration, a running pair, and a small SOCKS5 client."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import looks
from case import Failure
from lab import ROOT, Host, Lab, Process, wait_until

PORT = 9999
SOCKS = 1080
KEY = "a key for the lab"
BLOCKS = [
    *("aes", "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish", "twofish", "cast5"),
    *("3des", "tea", "xtea", "xor", "sm4", "none", "null"),
]


def program() -> str:
    return os.environ.get("PAQET") or str(ROOT / "build" / "paqet")


def built_with(word: str) -> bool:
    """Whether the program says that a library or backend is in it."""
    return word in subprocess.check_output([program(), "version"], text=True)


def lookup_seconds() -> float:
    """How long a name may take whose name server is not there: musl does not notice that."""
    return 6 if built_with("musl") else 1


@dataclass
class Settings:
    """What a test may choose. `extra` is YAML put at the end of the file."""

    ip6: bool = False
    client_port: int = 0
    protocol: str = field(default_factory=lambda: os.environ.get("PAQET_PROTOCOL", "kcp"))
    look: str | None = None  # None: that of the run, see looks.py
    block: str = "aes"
    mode: str = "fast"
    key: str = KEY
    header: str = ""
    interface: str = ""
    extra: str = ""
    network_extra: str = ""  # more lines under "network:", indented by two blanks
    transport: str = ""  # more lines under "transport:", indented by two blanks
    kcp: str = ""  # more lines under "transport: kcp:", indented by four blanks
    quic: str = ""  # more lines under "transport: quic:", indented by four blanks
    network: bool = True  # false: no network block, paqet finds out by itself
    socks5: str = ""  # more lines under the entry of "socks5:", indented by four blanks
    server: str = ""  # client: lines instead of the "server:" block
    listen: str = ""  # server: ports instead of PORT; not with `network`
    level: str = "info"
    control: bool = False  # a control socket, see control_path()


def control_path(lab: Lab, who: str) -> Path:
    return lab.folder / f"{who}.sock"


def control_line(lab: Lab, who: str, settings: Settings) -> str:
    return f"control: {control_path(lab, who)}\n" if settings.control else 'control: "off"\n'


def ask(lab: Lab, who: str, *argv: str, limit: float = 20) -> subprocess.CompletedProcess:
    """Runs a command of paqet that asks the client or server that runs."""
    host = lab.c if who.startswith("client") else lab.s
    return host.run([program(), argv[0], "-s", str(control_path(lab, who)), *argv[1:]], limit)


def network_block(me: Host, peer: Host, port: int, settings: Settings) -> str:
    address, router = (f"[{me.ip6}]", "ipv6") if settings.ip6 else (me.ip4, "ipv4")
    return (
        "network:\n"
        f'  interface: "{settings.interface or me.device}"\n'
        f"  {router}:\n"
        f'    addr: "{address}:{port}"\n'
        f'    router_mac: "{peer.mac}"\n'
        f"{settings.network_extra}"
    )


def transport_block(settings: Settings) -> str:
    header = f'  header: "{settings.header}"\n' if settings.header else ""
    if settings.protocol == "quic":
        key = f'    key: "{settings.key}"\n'
        return f'transport:\n  protocol: "quic"\n{settings.transport}  quic:\n{key}{settings.quic}'
    return (
        "transport:\n"
        '  protocol: "kcp"\n'
        f"{header}{settings.transport}"
        "  kcp:\n"
        f'    block: "{settings.block}"\n'
        f'    mode: "{settings.mode}"\n'
        f'    key: "{settings.key}"\n'
        f"{settings.kcp}"
    )


def server_config(lab: Lab, settings: Settings) -> str:
    text = f'role: "server"\nlog:\n  level: "{settings.level}"\nlisten:\n  addr: ":{settings.listen or PORT}"\n'
    text += control_line(lab, "server", settings)
    if settings.network:
        text += network_block(lab.s, lab.c, PORT, settings)
    return dressed(lab, text + transport_block(settings) + settings.extra, settings)


def client_config(lab: Lab, settings: Settings) -> str:
    server = f"[{lab.s.ip6}]" if settings.ip6 else lab.s.ip4
    text = f'role: "client"\nlog:\n  level: "{settings.level}"\n'
    text += control_line(lab, "client", settings)
    text += settings.server or f'server:\n  addr: "{server}:{PORT}"\n'
    text += f'socks5:\n  - listen: "127.0.0.1:{SOCKS}"\n{settings.socks5}'
    if settings.network:
        text += network_block(lab.c, lab.s, settings.client_port, settings)
    return dressed(lab, text + transport_block(settings) + settings.extra, settings)


def dressed(lab: Lab, text: str, settings: Settings) -> str:
    look = looks.chosen() if settings.look is None else settings.look
    return looks.dress(text, look, lab.folder, settings.protocol == "quic")


def start(host: Host, name: str, config: str, binary: str = "") -> Process:
    path = host.lab.new_file(f"{name}.yaml")
    path.write_text(looks.prepare(config, host))
    argv = [binary or program(), "run", "-c", str(path)]
    if "tsan" in argv[0]:  # the sanitizer cannot live with much address randomization
        argv = ["setarch", "-R", *argv]
    process = host.start(name, argv)
    process.host = None if binary else host
    return process


def start_server(lab: Lab, settings: Settings, binary: str = "") -> Process:
    """A server that hears its port."""
    process = start(lab.s, "server", server_config(lab, settings), binary)
    wait_ready(process)
    return process


def start_client(lab: Lab, settings: Settings, binary: str = "") -> Process:
    """A client whose SOCKS port is open."""
    process = start(lab.c, "client", client_config(lab, settings), binary)
    wait_ready(process)
    wait_until(lambda: ended(process) or can_connect(lab), 10, "the client's SOCKS port")
    return process


def ended(process: Process) -> bool:
    if not process.alive():
        raise Failure(f"{process.log_path.stem} ended: {process.last_lines()}")
    return False


def wait_ready(process: Process) -> None:
    limit = 30  # s: under a sanitizer, beside other tests, the key alone takes some
    wait_until(lambda: ended(process) or process.has_packet_socket(), limit, "its packet socket")
    if process.host:
        process.host.watch_kernel(process)


def can_connect(lab: Lab, port: int = SOCKS) -> bool:
    with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_working(lab: Lab, limit: float = 20) -> float:
    """Waits until a request passes through the tunnel; the seconds that took."""
    begin = time.monotonic()

    def works() -> bool:
        lab.check_alive()
        with contextlib.suppress(Failure):
            options = ("--bytes", 1000, "--timeout", 2)
            return lab.load("fetch", *options, limit=10)["failed"] == 0
        return False

    wait_until(works, limit, "the first request through the tunnel")
    return time.monotonic() - begin


def fetch_by_hand(lab: Lab, limit: float = 3) -> bool:
    """One small request, as a user makes it with curl."""
    proxy = f"socks5h://127.0.0.1:{SOCKS}"
    argv = ["curl", "-s", "-m", str(limit), "-x", proxy, "-o", "/dev/null"]
    argv += ["-w", "%{size_download}", "http://127.0.0.1:8080/1000"]
    return lab.c.run(argv).stdout == "1000"


def seconds_to_work(lab: Lab, limit: float, patience: float = 1) -> float:
    """A user tries again until a request passes, each time for `patience` seconds. Returns how long
    that took; a Failure if none passes that has begun within `limit` seconds: how long a busy machine
    takes to carry one is another matter, unless `patience` lets it wait for more than a second."""
    begin, seconds, works = time.monotonic(), 0.0, False
    while not works and seconds < limit:
        lab.check_alive()
        works = fetch_by_hand(lab, patience)
        seconds = time.monotonic() - begin
    if not works or (patience > 1 and seconds > limit):
        raise Failure(f"{'a' if works else 'no'} request passed within {seconds:.1f} s")
    return seconds


@dataclass
class Pair:
    client: Process
    server: Process

    def check_alive(self) -> None:
        ended(self.client)
        ended(self.server)


def start_pair(
    lab: Lab,
    settings: Settings | None = None,
    client: Settings | None = None,
    client_binary: str = "",
    server_binary: str = "",
) -> Pair:
    """A working tunnel with the origin behind it. `client`: where it differs from `settings`."""
    settings = settings or Settings()
    lab.origin()
    server = start_server(lab, settings, server_binary)
    pair = Pair(start_client(lab, client or settings, client_binary), server)
    wait_working(lab)
    return pair


class SocksError(Exception):
    def __init__(self, message: str, code: int = -1):
        super().__init__(message)
        self.code = code  # the reply of SOCKS5, if there was one


def socks_socket(lab: Lab, limit: float = 10) -> socket.socket:
    """A connection to the client's SOCKS port."""
    connection = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(limit)
    connection.connect(("127.0.0.1", SOCKS))
    return connection


def socks_connect(lab: Lab, host: str, port: int, limit: float = 10) -> socket.socket:
    """A connection to host:port through the tunnel; SocksError if the proxy says no."""
    connection = socks_socket(lab, limit)
    try:
        connection.sendall(b"\x05\x01\x00")
        if read_exactly(connection, 2) != b"\x05\x00":
            raise SocksError("no authentication method")
        name = host.encode()
        request = b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", port)
        connection.sendall(request)
        reply = read_exactly(connection, 4)
        if reply[1] != 0:
            raise SocksError(f"reply {reply[1]}", reply[1])
        read_exactly(connection, 6 if reply[3] == 1 else 18)
    except BaseException:
        connection.close()
        raise
    return connection


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise SocksError("closed")
        data += piece
    return data


def seconds_to_end(connection: socket.socket, limit: float) -> float:
    """Reads until the other side ends the connection; how long that took."""
    begin = time.monotonic()
    connection.settimeout(limit)
    try:
        while connection.recv(65536):
            if time.monotonic() - begin > limit:
                raise TimeoutError
    except ConnectionError:
        pass
    except TimeoutError as error:
        raise Failure(f"the connection is still open after {limit:g} s") from error
    return time.monotonic() - begin


class Echo:
    """A long-lived connection to the origin's echo, to see whether it lives on."""

    def __init__(self, lab: Lab):
        self.connection = socks_connect(lab, "127.0.0.1", 8080)
        self.connection.sendall(b"ECHO\r\n\r\n")
        self.check()

    def check(self) -> None:
        message = os.urandom(32)
        self.connection.sendall(message)
        try:
            answer = read_exactly(self.connection, len(message))
        except (SocksError, OSError) as error:
            raise Failure(f"a connection that lived before is broken: {error}") from error
        if answer != message:
            raise Failure("the echo answered other bytes")

    def close(self) -> None:
        self.connection.close()
