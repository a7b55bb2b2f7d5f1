# SPDX-License-Identifier: MIT
"""The configuration changes while the program runs: what stays goes on, what is wrong changes
nothing, and a user who is taken away is out at once."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import signal
import socket
import threading
import time
from pathlib import Path

import looks
import paqet
from case import Failure, add, expect, test
from lab import Lab, Process, wait_until
from paqet import PORT, Settings
from test_forward import answer_with_port, leads_to
from test_keys import Keys
from test_main import MB
from test_rules import names

GONE = 1.0  # s for a user who was taken away


def config_of(process: Process) -> Path:
    return Path(process.popen.args[-1])


def change(process: Process, old: str, new: str) -> None:
    path = config_of(process)
    text = path.read_text()
    expect(old in text, f"{old!r} is not in {path}")
    path.write_text(text.replace(old, new))


def reload(lab: Lab, who: str, code: int = 0) -> str:
    """What the command says."""
    result = paqet.ask(lab, who, "reload")
    said = result.stdout + result.stderr
    expect(result.returncode == code, f"reload: exit code {result.returncode}: {said}")
    return said


def listens(lab: Lab, port: int) -> bool:
    return paqet.can_connect(lab, port)


class Download(threading.Thread):
    """A long download, whose bytes are checked."""

    def __init__(self, lab: Lab, size: int):
        super().__init__(daemon=True)
        self.lab, self.size = lab, size
        self.result: dict = {}
        self.start()

    def run(self) -> None:
        self.result = self.lab.load("fetch", "--bytes", self.size, "--timeout", 50, limit=55)

    def finish(self) -> None:
        self.join(55)
        expect(self.result.get("failed") == 0, f"download: {self.result}")


def reload_client(workers: int) -> None:
    """Listeners appear, change and go beside a download; a wrong file changes nothing."""
    with Lab() as lab:
        targets = answer_with_port(lab, 7001, 7003)
        more = f"performance:\n  packet_workers: {workers}\n" if workers > 1 else ""
        conn = f"  conn: {workers}\n"
        extra = f"{more}forward:\n  - {{listen: ':8001', target: '127.0.0.1:7001', protocol: tcp}}\n"
        pair = paqet.start_pair(lab, client=Settings(control=True, extra=extra, transport=conn))
        echo = paqet.Echo(lab)
        download = Download(lab, 200 * MB)
        expect(leads_to(lab, 8001, 7001), "the forward")
        for round_ in range(10):  # back and forth
            a, b = ("7001", "7002") if round_ % 2 == 0 else ("7002", "7001")
            change(pair.client, f"127.0.0.1:{a}'", f"127.0.0.1:{b}'")
            reload(lab, "client")
            expect(leads_to(lab, 8001, int(b)), f"round {round_}: 8001 does not lead to {b}")
        new = "\n  - {listen: '127.0.0.1:8002-8003', target: 127.0.0.1:7003, protocol: 'tcp,udp'}\n"
        change(pair.client, "\nforward:\n", f"\nforward:{new}")
        said = reload(lab, "client")
        expect("listening: 4 new, 0 closed, 2 as before" in said, said)
        expect(leads_to(lab, 8002, 7003) and leads_to(lab, 8003, 7003), "the new forwards")
        change(pair.client, "8002-8003", "8003")
        change(pair.client, "127.0.0.1:1080", "127.0.0.1:1090")
        said = reload(lab, "client")
        expect("listening: 1 new, 3 closed, 3 as before" in said, said)
        expect(not listens(lab, 8002) and not listens(lab, 1080), "they still listen")
        expect(listens(lab, 1090) and leads_to(lab, 8003, 7003), "what stays does not listen")
        wrong_files(lab, pair.client)
        expect(listens(lab, 1090) and leads_to(lab, 8003, 7003), "a wrong file changed something")
        said = needs_restart(lab, pair.client)
        expect("transport.kcp.mtu" in said and "transport.kcp.key" in said, said)
        download.finish()
        echo.check()
        expect("session from port" not in pair.client.log(), "a session ended")
        for target in targets:
            target.close()


def wrong_files(lab: Lab, client: Process) -> None:
    """Each is refused, with all that is wrong, and what runs goes on as it was."""
    path = config_of(client)
    good = path.read_text()
    bad = good.replace("listen: '127.0.0.1:8003'", "listen: '127.0.0.1:0'").replace("fast", "slow")
    path.write_text(bad.replace("127.0.0.1:1090", "127.0.0.1:1091"))
    said = reload(lab, "client", 1)
    expect("the port must be 1" in said and "is not normal, fast" in said, said)
    expect("nothing was changed" in said, said)
    expect(re.search(r"\.yaml:\d+: transport.kcp.mode", said), f"no line is named: {said}")
    path.unlink()
    expect("cannot be opened" in reload(lab, "client", 1), "a file that is missing")
    server = good.replace('role: "client"', 'role: "server"').replace("look: connect", "look: plausible")
    path.write_text(server + "listen: {addr: ':1'}\n")
    expect("role" in reload(lab, "client", 1), "another role")
    taken = lab.c.listen("127.0.0.1", 8009, lambda connection: connection.close())
    entry = "{listen: '127.0.0.1:8010', target: 'h:1', protocol: tcp}"
    path.write_text(good.replace("\nforward:\n", f"\nforward:\n  - {entry}\n"
                                 f"  - {entry.replace('8010', '8009')}\n"
                                 ).replace("127.0.0.1:1090", "127.0.0.1:1091"))
    said = reload(lab, "client", 1)
    expect("forward[1].listen: cannot listen on 127.0.0.1:8009" in said, said)
    expect(not listens(lab, 8010) and not listens(lab, 1091), "half of it was taken over")
    taken.close()
    path.write_text(good)


def needs_restart(lab: Lab, client: Process) -> str:
    change(client, "mode: \"fast\"", "mode: \"fast\"\n    mtu: 1200")
    change(client, paqet.KEY, paqet.KEY + " or another")
    said = reload(lab, "client")
    change(client, paqet.KEY + " or another", paqet.KEY)
    change(client, "\n    mtu: 1200", "")
    expect("needs a restart" not in reload(lab, "client"), "what is as it was needs a restart")
    return said


for _workers in (1, 3):
    add(f"reload_client_{_workers}_workers", functools.partial(reload_client, _workers))


@test()
def test_reload_hang_up() -> None:
    """SIGHUP reads the file again, level of the log included; the log says what came of it."""
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(control=True))
        for process, who in ((pair.client, "client"), (pair.server, "server")):
            change(process, 'level: "info"', 'level: "debug"')
            process.popen.send_signal(signal.SIGHUP)
            process.wait_log("log.level: is debug now", 2)
            change(process, 'mode: "fast"', 'mode: "slow"')
            process.popen.send_signal(signal.SIGHUP)
            process.wait_log("nothing was changed", 2)
            expect("transport.kcp.mode" in process.log(), f"{who}: not why")
        paqet.wait_working(lab)


@test()
def test_reload_many_times() -> None:
    """Neither memory nor descriptors grow."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        settings = keys.server_settings(", allow: [any]")
        settings.control = True
        server = paqet.start_server(lab, settings)
        client = paqet.start_client(lab, keys.client_settings(control=True))
        paqet.wait_working(lab)
        sizes: dict[str, list] = {"client": [], "server": []}
        for round_ in range(30):
            a, b = ("any", "'10.0.0.0/8'") if round_ % 2 == 0 else ("'10.0.0.0/8'", "any")
            change(server, f"allow: [{a}]", f"allow: [{b}]")
            a, b = ("1080", "1081") if round_ % 2 == 0 else ("1081", "1080")
            change(client, f"127.0.0.1:{a}", f"127.0.0.1:{b}")
            for process, who in ((server, "server"), (client, "client")):
                reload(lab, who)
                status = Path(f"/proc/{process.pid}/status").read_text()
                rss = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
                sizes[who].append((rss, len(list(Path(f"/proc/{process.pid}/fd").iterdir()))))
        paqet.wait_working(lab)
        for who, all_ in sizes.items():
            (rss, files), (rss_end, files_end) = all_[9], all_[-1]
            process = server if who == "server" else client
            wait_until(lambda p=process, n=files: p.open_files() <= n, 5, f"{who}: {files} descriptors, then {files_end}")
            expect("san" in paqet.program() or rss_end < rss + 500, f"{who}: {rss}, {rss_end} KB")


def forget(queries: socket.socket) -> None:
    """Those that have come."""
    limit = queries.gettimeout()
    queries.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            queries.recv(512)
    queries.settimeout(limit)


@test()
def test_reload_silent_resolver() -> None:
    """A name server that says nothing keeps a reload waiting, and nothing else."""
    with Lab(third=True) as lab, names(lab.c, "", f"nameserver {lab.x.ip4}\noptions timeout:6 attempts:1\n"):
        silent = lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind((lab.x.ip4, 53))
        silent.settimeout(10)
        pair = paqet.start_pair(lab, Settings(control=True))
        echo = paqet.Echo(lab)
        change(pair.client, f"{lab.s.ip4}:{PORT}", f"server.example:{PORT}")
        said: dict[int, str] = {}
        asked = threading.Thread(target=lambda: said.update({1: reload(lab, "client", 1)}))
        began = time.monotonic()
        asked.start()
        silent.recv(512)  # it asks now
        change(pair.client, "127.0.0.1:1080", "127.0.0.1:1081")
        second = threading.Thread(target=lambda: said.update({2: reload(lab, "client")}))
        second.start()
        expect(paqet.ask(lab, "client", "status", limit=2).returncode == 0, "status waits for a name")
        echo.check()
        change(pair.client, f"server.example:{PORT}", f"{lab.s.ip4}:{PORT}")  # for the second, which comes after
        pair.client.popen.send_signal(signal.SIGHUP)
        asked.join(20)
        expect(time.monotonic() - began > 3, "the reload has not waited for the name")
        expect("'server.example' cannot be resolved" in said[1] and "nothing was changed" in said[1], said[1])
        second.join(5)
        expect("1 new, 1 closed" in said[2] and listens(lab, 1081), f"the second reload: {said}")
        change(pair.client, f"{lab.s.ip4}:{PORT}", f"server.example:{PORT}")
        forget(silent)
        pair.client.popen.send_signal(signal.SIGHUP)
        silent.recv(512)
        began = time.monotonic()
        expect(pair.client.stop() == 0 and time.monotonic() - began < 3, "the client did not end at once")


# ---- users


class OtherClient:
    """A second client on the client's host; a forward leads to the origin's echo."""

    def __init__(self, lab: Lab, keys: Keys):
        settings = keys.client_settings(
            key=keys.sara[0],
            extra="forward:\n  - {listen: '127.0.0.1:7100', target: '127.0.0.1:8080', protocol: tcp}\n",
        )
        text = paqet.client_config(lab, settings).replace("127.0.0.1:1080", "127.0.0.1:1081")
        self.process = paqet.start(lab.c, "sara", text)
        paqet.wait_ready(self.process)
        self.connection = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.connection.settimeout(10)
        wait_until(self.connected, 10, "her forward")
        self.connection.sendall(b"ECHO\r\n\r\n")
        self.check()

    def connected(self) -> bool:
        return self.connection.connect_ex(("127.0.0.1", 7100)) == 0

    def check(self) -> None:
        self.connection.sendall(b"still here")
        expect(paqet.read_exactly(self.connection, 10) == b"still here", "her connection is broken")


def user_lines(keys: Keys, *names: str) -> str:
    lines = "".join(f"  - {{name: {n}, public_key: {getattr(keys, n)[1]}}}\n" for n in names)
    return f"users:\n{lines}"


def revoke(workers: int) -> None:
    """A user who is taken away is out within a second, others go on; he may come back."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        settings = keys.server_settings(control=True)
        settings.extra = user_lines(keys, "ali", "sara")
        settings.extra += f"performance:\n  packet_workers: {workers}\n" if workers > 1 else ""
        server = paqet.start_server(lab, settings)
        client = paqet.start_client(lab, keys.client_settings())
        paqet.wait_working(lab)
        sara = OtherClient(lab, keys)
        echo = paqet.Echo(lab)
        change(server, user_lines(keys, "ali", "sara"), user_lines(keys, "sara"))
        said = reload(lab, "server")
        paqet.seconds_to_end(echo.connection, GONE)
        expect("users: 0 new, 1 gone; 1 of their sessions ended" in said, said)
        server.wait_log(r"\(ali\) gone: no user of this server any more", 1)
        expect(not paqet.fetch_by_hand(lab), "he can still ask for something")
        sara.check()
        change(server, user_lines(keys, "sara"), user_lines(keys, "sara", "ali"))
        expect("users: 1 new, 0 gone" in reload(lab, "server"), "he is not back")
        paqet.seconds_to_work(lab, 15)
        sara.check()
        wait_until(lambda: server.log().count("(ali) connected") >= 2, 5, "his name in the log")
        expect(client.alive() and sara.process.alive(), "a client ended")
        text = config_of(server).read_text()
        config_of(server).write_text(text.replace(user_lines(keys, "sara", "ali"), "users: []\n"))
        reload(lab, "server")
        expect(not paqet.fetch_by_hand(lab), "without users everybody is let in")


for _workers in (1, 3):
    add(f"reload_revokes_user_{_workers}_workers", functools.partial(revoke, _workers), timed=True)


def user(lab: Lab, server: Process, *argv: str) -> tuple[int, str, str]:
    path, socket_path = str(config_of(server)), str(paqet.control_path(lab, "server"))
    result = lab.s.run([paqet.program(), "user", *argv, "-c", path, "-s", socket_path])
    return result.returncode, result.stdout, result.stderr


@test(timed=True)
def test_user_command() -> None:
    """A user is added, uses what was printed for him, and is taken away again: all at once."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        server = paqet.start_server(lab, keys.server_settings(control=True))
        before = config_of(server).read_text()
        wait_until(paqet.control_path(lab, "server").exists, 5, "the socket")
        code, config, said = user(lab, server, "add", "reza")
        expect(code == 0 and "users: 1 new, 0 gone" in said, said)
        expect("ADDRESS-OF-THE-SERVER" in config and "in place of ADDRESS" in said, config + said)
        config = config.replace("ADDRESS-OF-THE-SERVER", lab.s.ip4) + 'control: "off"\n'
        client = paqet.start(lab.c, "reza", config)
        paqet.wait_ready(client)
        paqet.wait_working(lab)
        server.wait_log(r"\(reza\) connected", 2)
        echo = paqet.Echo(lab)
        private = re.search(r"private_key: \"(\w+)\"", config)
        expect(private and private[1] not in config_of(server).read_text() + server.log(), "his key")
        code, listed, _ = user(lab, server, "list")
        expect([line.split("  ")[1] for line in listed.splitlines()] == ["ali", "sara", "reza"], listed)
        for argv, part in (
            (("add", "ali"), "ali is there already"),
            (("del", "nobody"), "there is no user nobody"),
            (("add", "x", "--public-key", "12"), "is not a key of 64 hex digits"),
            (("add", "x" * 65), "a name has 1 to 64 bytes"),
            (("add", "ali reza"), "has a blank in it"),
            (("add", " "), "has a blank in it"),
            (("add", "ali\u00a0reza"), "has a blank in it"),
            (("add",), "say add NAME"),
            (("rub", "out"), "say add NAME"),
        ):
            code, _, said = user(lab, server, *argv)
            expect(code == 1 and part in said, f"{argv}: {code}, {said}")
        echo.check()
        code, _, said = user(lab, server, "del", "reza")
        expect(code == 0, said)
        paqet.seconds_to_end(echo.connection, GONE)
        expect(config_of(server).read_text() == before, "the file is not as it was")
        code, config, said = user(lab, server, "add", "mina", "--public-key", keys.ali[1][::-1])
        expect(code == 0 and "THE-PRIVATE-KEY" in config, said + config)
        server.stop()
        code, _, said = user(lab, server, "del", "mina")
        expect(code == 2 and "still lets him in" in said, said)
        expect(config_of(server).read_text() == before, "the file is not as it was")
        for name in ("ali", "sara"):
            code, _, said = user(lab, server, "del", name)
        expect(code == 1 and "sara is the only user" in said, said)


@test()
def test_reload_rules() -> None:
    """Rules are those of the file for new connections; what is connected goes on."""
    with Lab() as lab:
        settings = Settings(control=True, extra="allow: any\n")
        pair = paqet.start_pair(lab, settings, client=Settings(socks5="    reply: real\n"))
        echo = paqet.Echo(lab)
        change(pair.server, "allow: any", "allow: '192.0.2.0/24'")
        expect("allow, deny" in reload(lab, "server"), "it does not say so")
        with contextlib.suppress(paqet.SocksError):
            paqet.socks_connect(lab, "127.0.0.1", 8080)
            raise Failure("the new rule is not followed")
        echo.check()
        change(pair.server, "allow: '192.0.2.0/24'", "deny: '*:25'")
        reload(lab, "server")
        paqet.Echo(lab).close()


@test(timed=True)
def test_reload_servers() -> None:
    """A client goes to another server, without a restart and without the old one ending."""
    with Lab(third=True) as lab:
        lab.origin()
        paqet.start_server(lab, Settings())
        config = paqet.server_config(lab, Settings(network=False))
        other = paqet.start(lab.x, "other", config)
        paqet.wait_ready(other)
        here = lab.x.listen("127.0.0.1", 8081, lambda c: (c.sendall(b"x"), c.close()))
        settings = Settings(control=True, network=False)
        client = paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        change(client, f'addr: "{lab.s.ip4}:{PORT}"', f'addr: "{lab.s.ip4}:{PORT}"\nservers:\n'
               f'  - {{{looks.public_key()}addr: "{lab.x.ip4}:{PORT}"}}')
        expect("server: 2 ways to them; 0 sessions to others ended" in reload(lab, "client"), "two")
        echo.check()
        change(client, f'server:\n{looks.public_key(True)}  addr: "{lab.s.ip4}:{PORT}"\n', "")
        said = reload(lab, "client")
        expect("server: 1 ways to them; 1 sessions to others ended" in said, said)
        paqet.seconds_to_end(echo.connection, 2)

        def at_other() -> bool:
            with contextlib.suppress(paqet.SocksError, OSError):
                with paqet.socks_connect(lab, "127.0.0.1", 8081) as connection:
                    return connection.recv(1) == b"x"
            return False

        wait_until(at_other, 10, "the other server")
        here.close()


# ---- the socket itself


@test()
def test_control_socket() -> None:
    """Owner only; bounded requests and clients; wrong ones are answered; a stale one is replaced."""
    with Lab() as lab:
        path = paqet.control_path(lab, "client")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(control=True))
        wait_until(lambda: paqet.ask(lab, "client", "reload").returncode == 0, 5, "the socket")
        expect(path.stat().st_mode & 0o777 == 0o600, f"mode {path.stat().st_mode:o}")
        first = dial(path)
        for request, part in (
            (b"nonsense\n", "one JSON object"),
            (b"{}\n", '"v" must be 1'),
            (b'{"v":2,"do":"reload"}\n', '"v" must be 1'),
            (b'{"v":1,"do":"nothing"}\n', '"do" names nothing'),
            (b'{"v":1}\n', '"do" names nothing'),
            (b'[' * 4000 + b"\n", "one JSON object"),
            (b"\x00\xff\n", "one JSON object"),
        ):
            answer = ask_raw(first, request)
            expect(answer["ok"] is False and part in answer["error"], f"{request[:30]}: {answer}")
        first.sendall(b'{"v":1,"do":"nothing"}\n' * 300)  # pipelined: one answer each
        for _ in range(300):
            expect(read_line(first)["ok"] is False, "one of many")
        long = dial(path)
        expect("one JSON object" in ask_raw(long, b"x" * 5000)["error"], "a long line")
        expect(long.recv(1) == b"", "the connection goes on behind a line that is too long")
        many = [dial(path) for _ in range(40)]
        ask_raw(many[-1], b'{"v":1,"do":"nothing"}\n')
        wait_until(lambda: open_files(client, "socket") < 40, 5, "old clients are closed")
        expect(paqet.ask(lab, "client", "reload").returncode == 0, "reload, beside them")
        for each in many:
            each.close()
        text = config_of(client).read_text().replace("127.0.0.1:1080", "127.0.0.1:1081")
        second = paqet.start(lab.c, "second", text)
        expect(second.wait(10) == 1, "two at one socket")
        expect("another paqet listens there" in second.log(), second.log())
        expect(paqet.ask(lab, "client", "reload").returncode == 0, "the first one has lost it")
        client.stop()
        expect(not path.exists(), "the socket is left behind")
        result = paqet.ask(lab, "client", "reload")
        expect(result.returncode == 1 and "no paqet listens there" in result.stderr, result.stderr)


def dial(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(10)
    return connection


def read_line(connection: socket.socket) -> dict:
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        expect(byte, f"the connection ended behind {line!r}")
        line += byte
    return json.loads(line)


def ask_raw(connection: socket.socket, request: bytes) -> dict:
    connection.sendall(request)
    return read_line(connection)


def open_files(process: Process, kind: str) -> int:
    count = 0
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(file.readlink()).startswith(kind)
    return count


@test()
def test_control_stopped_reader() -> None:
    """Who does not read his answers is closed, and holds up nobody meanwhile."""
    with Lab() as lab:
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(control=True))
        path = paqet.control_path(lab, "client")
        wait_until(path.exists, 5, "the socket")
        before = open_files(client, "socket")
        mute = dial(path)
        mute.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                mute.send(b'{"v":1,"do":"nothing"}\n' * 100)
        begin = time.monotonic()
        expect(paqet.ask(lab, "client", "reload").returncode == 0, "another one is not served")
        expect(time.monotonic() - begin < 5, "it took long")
        wait_until(lambda: open_files(client, "socket") == before, 15, "it is closed")
        mute.close()


# ---- transport.kcp.key is changed


@test()
def test_reload_key() -> None:
    """The one before is accepted for as long as it is in the file; what lives goes on."""
    new = "another key, of somebody who was locked out"
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        server = paqet.start_server(lab, keys.server_settings(control=True))
        first = keys.start_client()
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        old = f'key: "{paqet.KEY}"\n'
        change(server, old, f'key: "{new}"\n    key_before: "{paqet.KEY}"\n')
        said = reload(lab, "server")
        expect("key_before is accepted, too" in said and "restart" not in said, f"it says: {said}")
        echo.check()
        expect_client(lab, keys, 1081, paqet.KEY, True)
        server.wait_log(r"\(sara\) connected, with transport.(kcp|quic).key_before", 2)
        expect_client(lab, keys, 1082, new, True)
        change(server, f'    key_before: "{paqet.KEY}"\n', "")
        said = reload(lab, "server")
        expect("and no other" in said, f"it says: {said}")
        echo.check()
        expect_client(lab, keys, 1083, paqet.KEY, False)
        echo.check()
        echo.close()
        expect(first.alive() and server.alive(), "a program ended")
        expect(new not in server.log() and paqet.KEY not in server.log(), "a key is in the log")


def expect_client(lab: Lab, keys: Keys, port: int, key: str, works: bool) -> None:
    """Whether a client of the other user with this key gets through."""
    config = paqet.client_config(lab, keys.client_settings(key=keys.sara[0]))
    config = config.replace(f":{paqet.SOCKS}", f":{port}").replace(paqet.KEY, key)
    client = paqet.start(lab.c, f"client-{port}", config)
    wait_until(lambda: paqet.can_connect(lab, port), 10, "its port")
    argv = ["curl", "-s", "-m", "3", "-x", f"socks5h://127.0.0.1:{port}", "-o", "/dev/null"]
    argv += ["-w", "%{size_download}", "http://127.0.0.1:8080/1000"]
    size = lab.c.run(argv).stdout
    expect((size == "1000") == works, f"with {key!r}: {size} bytes")
    client.stop()
