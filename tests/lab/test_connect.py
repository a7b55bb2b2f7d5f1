# SPDX-License-Identifier: MIT
"""network.tcp.look: connect, past a router that lets nothing through but TCP connections whose
beginning it has seen [docs/protocol.md 12.9]; and who gets an answer to a SYN."""

from __future__ import annotations

import functools
import socket
import struct
import time

import packets
import paqet
import udp
from case import Failure, add, expect, test
from lab import Capture, Host, Lab, Process, wait_until
from packets import ACK, SYN
from paqet import PORT, Settings
from routed import Routed
from test_attacks import CLIENT_PORT, Stranger
from test_keys import Keys, expect_silence
from test_main import MB, check_download, check_upload
from test_move import CABLE, WIFI, Roads
from test_survive import expect_download, start_download

LOOK = "network:\n  tcp:\n    look: {}\n"
MOVED = "goes on from port"
WINDOWS = "connect\n    os: windows"
KERNEL_PORT = PORT + 1


def start_server(keys: Keys, look: str = "plausible", extra: str = "") -> Process:
    settings = keys.server_settings()
    settings.network = False
    settings.extra += LOOK.format(look) + extra
    process = paqet.start_server(keys.lab, settings)
    process.wait_log("listening on port", 10)
    return process


def start_client(keys: Keys, look: str = "connect", **options: object) -> Process:
    settings = keys.client_settings(**options)
    settings.network = False
    settings.extra += LOOK.format(look)
    settings.level = "debug"
    return paqet.start_client(keys.lab, settings)


def resets(lab: Lab) -> object:
    """Captures them at both ends, each as it comes in."""
    return lab.sniff(f"tcp port {PORT} and tcp[tcpflags] & tcp-rst != 0", 128)


def expect_established(lab: Routed, count: int, more: int = 0) -> None:
    """So many connections live, or more whose end was lost, and the router has found nothing wrong
    in any packet."""
    lines = [line for line in lab.tracked() if "ESTABLISHED" in line]
    text = f"{len(lines)} connections are established: {lab.tracked()}"
    expect(count <= len(lines) <= count + more, text)
    expect(all("[ASSURED]" in line for line in lines), f"not assured: {lines}")
    expect_valid(lab)


def expect_valid(lab: Routed) -> None:
    expect(lab.counted("bad") == 0, f"the router found {lab.counted('bad')} packets invalid")
    expect(lab.counted("no_syn") == 0, "something began without a SYN")


# ---- through the router


def through(wan: list[str] | None, nat: bool, size: int, look: str = "connect") -> None:
    with Routed(wan, nat) as lab:
        keys = Keys(lab)
        keys.know_all()
        watchers = {host: host.watch_conntrack() for host in (lab.c, lab.s)}
        lab.origin()
        udp.start_echo(lab)
        server, client = start_server(keys), start_client(keys, look)
        captured = resets(lab)
        paqet.wait_working(lab)
        check_download(lab, size)
        check_upload(lab, size)
        report = udp.flows(lab, "--socks", paqet.SOCKS, "--flows", 5, "--rate", 100, "--seconds", 1)
        expect_valid(lab)
        lost = wan is not None and "--loss" in wan
        if not lost:
            if report["received"] != report["sent"]:  # their logs say what they have dropped, and why
                client.stop()
                server.stop()
            udp.expect_all_back(report)
        expect(report["received"] > 0 and report["damaged"] == 0, f"UDP: {report}")
        expect_established(lab, 1, 2 if lost else 0)
        for host, watcher in watchers.items():
            tracked = [line for line in watcher.log().splitlines() if f"port={PORT}" in line]
            expect(not tracked, f"tracked in {host.letter}: {tracked[:1]}")
        expect(client.stop() == 0, "exit code")
        if not lost:
            server.wait_log("gone", 3)
            time.sleep(0.1)
            expect(not captured.stop(), "somebody has sent a reset")
            expect(any("TIME_WAIT" in line for line in lab.tracked()), f"no end: {lab.tracked()}")
        expect_valid(lab)


for _nat in (False, True):
    _after = "_nat" if _nat else ""
    add(f"connect_through_router{_after}", functools.partial(through, None, _nat, 60 * MB))
    for _loss in (1, 5):
        _wan = ["--delay", "10", "--loss", str(_loss), "--rate", "60"]
        _run = functools.partial(through, _wan, _nat, 15 * MB)
        add(f"connect_through_router_loss_{_loss}{_after}", _run)


for _system in ("android", "windows", "apple"):
    _run = functools.partial(through, None, True, 20 * MB, f"connect\n    os: {_system}")
    add(f"connect_through_router_as_{_system}", _run)


@test(timed=True)
def test_connect_router_is_strict() -> None:
    """The same without a handshake: nothing passes."""
    with Routed() as lab:
        keys = Keys(lab)
        lab.origin()
        start_server(keys)
        start_client(keys, "plausible")
        expect(not paqet.fetch_by_hand(lab, 3), "a request has passed")
        expect(lab.counted("bad") > 0, "the router has let all of it through")


@test(timed=True, limit=90)
def test_connect_moves_through_router() -> None:
    """A box behind the NAT kills each flow: the next one is another connection."""
    with Routed(["--delay", "10", "--rate", "20", "--kill-ms", "3000"], nat=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        workers = "performance:\n  packet_workers: 4\n"  # any of which may get the next SYN
        server, client = start_server(keys, extra=workers), start_client(keys)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        download = start_download(lab, 25 * MB, patience=5)
        wait_until(lambda: client.log().count(MOVED) >= 3, 30, "three moves")
        expect_download(download, 40)
        echo.check()
        echo.close()
        expect(server.log().count(") connected") == 1, f"not one session: {server.log()}")
        expect_valid(lab)
        ports = {line.split("sport=")[1].split()[0] for line in lab.tracked()}
        expect(len(ports) >= 4, f"the router has seen {len(ports)} connections")


@test(timed=True)
def test_connect_many_sessions_and_workers() -> None:
    """Eight handshakes at once, each to the worker that has its flow."""
    with Routed() as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        workers = "performance:\n  packet_workers: 4\n"
        server = start_server(keys, extra=workers)
        settings = keys.client_settings()
        settings.network = False
        settings.transport += "  conn: 8\n"
        settings.extra = LOOK.format("connect") + workers
        client = paqet.start_client(lab, settings)
        wait_until(lambda: server.log().count(") connected") == 8, 5, "eight sessions")
        result = lab.load("fetch", "--parallel", 16, "--bytes", 2 * MB, limit=50)
        expect(result["failed"] == 0, f"downloads: {result}")
        expect_established(lab, 8)
        expect(client.alive() and server.alive(), "a program ended")


@test(timed=True)
def test_connect_small_mtu_behind_router() -> None:
    """The router tells both ends by their SYNs that its link is small; it says nothing else."""
    with Routed(nat=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        clamp = (
            "add chain inet lab_router clamp { type filter hook forward priority -150; };"
            "add rule inet lab_router clamp tcp flags syn tcp option maxseg size set 1160"
        )
        lab.middle.check(["nft", clamp])
        for port in ("wc", "ws"):
            lab.middle.check(["ip", "link", "set", port, "mtu", "1200"])
        lab.origin()
        start_server(keys)
        start_client(keys)
        paqet.wait_working(lab)
        check_download(lab, 5 * MB)
        check_upload(lab, 5 * MB)
        expect_established(lab, 1)


@test(timed=True)
def test_connect_by_itself_where_needed() -> None:
    """look: auto, past the router, and where there is none."""
    with Routed() as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        start_server(keys)
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 6, patience=1)
        expect("reached by whole connections" in client.log(), f"nothing is said: {client.log()}")
        expect(client.log().count("; trying") == 1, f"not one change: {client.log()}")
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        start_server(keys)
        capture = lab.sniff(f"tcp port {PORT} and tcp[tcpflags] & tcp-syn != 0", 128)
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 2, patience=1)
        expect(not capture.stop(), "a handshake without need")


@test(timed=True)
def test_connect_by_itself_when_idle() -> None:
    """Nobody asks for anything: it finds out all the same."""
    with Routed() as lab:
        keys = Keys(lab)
        keys.know_all()
        server = start_server(keys)
        start_client(keys, "auto")
        server.wait_log(r"\(ali\) connected", 8)


PASSES = {
    # what a box on the way drops, of segments with payload or of all; what gets through it
    "A": "tcp flags & psh == psh drop",
    "S": "tcp flags & (syn | ack) == ack drop",
    "SA": "tcp flags & (syn | ack) != (syn | ack) drop",
}


def put_box(lab: Lab, flags: str) -> None:
    rules = "add table bridge box; add chain bridge box f { type filter hook forward priority 0; };"
    rules += f"add rule bridge box f tcp dport {PORT} {PASSES[flags]};"
    rules += f"add rule bridge box f tcp sport {PORT} {PASSES[flags]}"
    lab.middle.check(["nft", rules])


def finds_flags(flags: str) -> None:
    """look: auto, where neither plausible packets pass nor connections: other flags do, and at the
    next start at once."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        put_box(lab, flags)
        start_server(keys)
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 20, patience=1)
        expect(f'local_flag: ["{flags}"]' in client.log(), f"not said: {client.log()}")
        check_download(lab, 5 * MB)
        check_upload(lab, 5 * MB)
        client.stop()
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 2, patience=1)
        expect("as it passed last time" in client.log(), f"not said: {client.log()}")


for _flags in ("A", "S"):
    _run = functools.partial(finds_flags, _flags)
    add(f"connect_by_itself_with_flags_{_flags}", _run, timed=True)


@test(timed=True)
def test_connect_by_itself_as_known() -> None:
    """What has passed last time is begun with; where that is not true any more it is forgotten."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        put_box(lab, "SA")
        start_server(keys)
        passed = keys.state.with_name(f"{keys.state.name}.passed")
        known = f"paqet passed 1\n{lab.s.ip4} {PORT} {{}} {int(time.time() * 1000)}\nend\n"
        passed.write_text(known.format(4))
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 2, patience=1)
        check_download(lab, 5 * MB)
        client.stop()
        lab.middle.check(["nft", "delete table bridge box"])
        put_box(lab, "A")
        passed.write_text(known.format(4) + "garbage")
        start_client(keys, "auto").stop()
        passed.write_text(known.format(1))
        client = start_client(keys, "auto")
        paqet.seconds_to_work(lab, 8, patience=1)
        wait_until(lambda: f"{PORT} 2 " in passed.read_text(), 2, "that it is known")


def roams(look: str) -> None:
    """To another interface and address and back: what has begun goes on."""
    with Roads() as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        server = start_server(keys)
        start_client(keys, look)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        for old, new in ((WIFI, CABLE), (CABLE, WIFI)):
            lab.change(old, new)
            paqet.seconds_to_work(lab, 4, patience=3)
            echo.check()
            expect(f"client {new.own}:" in server.log(), f"the server never heard {new.own}")
        echo.close()
        expect(server.log().count(") connected") == 1, f"not one session: {server.log()}")


for _look in ("plausible", "connect"):
    add(f"connect_roams_{_look}", functools.partial(roams, _look), timed=True)


# ---- who gets an answer


def record(lab: Lab, keys: Keys, look: str = "connect") -> list[packets.Segment]:
    """All packets of a client from its SYN on."""
    lab.c.send_singly()
    capture = lab.sniff(f"tcp dst port {PORT}", 2000)
    client = start_client(keys, look, client_port=CLIENT_PORT)
    paqet.wait_working(lab)
    client.stop()
    frames = capture.stop()
    expect(frames[0].flags == SYN and frames[1].flags == ACK, "it began otherwise")
    return frames


def connect(host: Host, address: str) -> bool:
    """As a scanner does it."""
    with host.open_socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.5)
        try:
            probe.connect((address, PORT))
        except OSError:
            return False
        return True


def from_stranger(
    lab: Lab, recorded: list[packets.Segment], port: int = PORT
) -> list[bytes]:
    """The same packets, from the third host's address, with right checksums."""
    forge = packets.Forger(lab.x.mac, lab.s.mac, lab.x.ip4, lab.s.ip4)
    frames = []
    for segment in recorded:
        tcp = bytearray(segment.frame[34:])
        tcp[2:4] = struct.pack("!H", port)
        tcp[16:18] = b"\0\0"
        pseudo = socket.inet_aton(lab.x.ip4) + socket.inet_aton(lab.s.ip4)
        pseudo += struct.pack("!BBH", 0, 6, len(tcp))
        tcp[16:18] = struct.pack("!H", packets.internet_checksum(pseudo + tcp))
        frames.append(forge.ethernet(forge.ipv4(bytes(tcp))))
    return frames


def answers_nothing(how: str, look: str = "connect") -> None:
    """To a scanner, and to a recording, from its own address and another: while the server runs, and
    after it was stopped, or killed, and started again; whoever comes new is let in, if it can be."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        server = start_server(keys)
        recorded = record(lab, keys, look)
        if how == "killed":
            server.kill()
        elif how == "stopped":
            server.stop()
        if how != "running":
            server = start_server(keys, "connect")
        before = server.log().count(") connected")
        stranger = Stranger(lab)

        def play() -> None:
            expect(not connect(lab.x, lab.s.ip4), "a stranger was connected")
            stranger.send(*(segment.frame for segment in recorded))
            stranger.send(*from_stranger(lab, recorded))
            stranger.send(*from_stranger(lab, recorded))

        expect_silence(lab, 1, play)
        expect(server.log().count(") connected") == before, "a client was made of it")
        says = "connections are answered in" in server.log()
        expect(says == (how == "killed"), f"when it answers: {server.log()}")
        if how != "killed":
            start_client(keys)
            paqet.seconds_to_work(lab, 2, patience=1)


for _how in ("running", "stopped", "killed"):
    add(f"connect_strangers_{_how}", functools.partial(answers_nothing, _how), timed=True)
_run = functools.partial(answers_nothing, "running", WINDOWS)
add("connect_strangers_as_windows", _run, timed=True)


def answers_as_kernel(look: str) -> None:
    """The server's SYN+ACK has the window and options with which its own kernel answers this SYN."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        keys.know_all()
        start_server(keys)
        both = lab.sniff(f"tcp port {PORT} and tcp[tcpflags] & tcp-syn != 0", 200)
        client = start_client(keys, look)
        client.wait_log("has the right key", 5)
        client.stop()
        ours, syn = both.stop()  # what came to the client, then what came to the server
        listener = lab.s.listen(lab.s.ip4, KERNEL_PORT, lambda connection: connection.close())
        answers = Capture([lab.x], f"tcp src port {KERNEL_PORT}", 200)
        (frame,) = from_stranger(lab, [syn], KERNEL_PORT)
        Stranger(lab).send(frame)
        time.sleep(0.3)
        kernel = answers.stop()[0]
        listener.close()
        expect(kernel.flags == ours.flags == SYN | ACK, f"flags: {ours.flags}, {kernel.flags}")
        mine, its = (hide_stamps(answer.frame[34:]) for answer in (ours, kernel))
        expect(mine == its, f"answered by {mine.hex()}, by the kernel {its.hex()}")


def hide_stamps(tcp: bytes) -> bytes:
    """What is the same in each SYN+ACK of a system: lengths, flags, window, options."""
    at = tcp.find(b"\x08\x0a", 20)
    return tcp[12:16] + (tcp[20 : at + 2] + tcp[at + 10 :] if at >= 0 else tcp[20:])


for _look, _name in (("connect", "host"), (WINDOWS, "windows")):
    add(f"connect_answers_as_kernel_{_name}", functools.partial(answers_as_kernel, _look))


@test(timed=True)
def test_connect_says_what_may_be_wrong() -> None:
    """The server has just begun: the client names what keeps a server from answering."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        start_server(keys)
        client = start_client(keys)
        for _ in range(2):
            expect(not paqet.fetch_by_hand(lab, 3), "a request has passed")
        expect("look: connect" in client.log(), f"it does not say why: {client.log()}")


@test()
def test_connect_after_a_stop_without_users() -> None:
    """A server that lets in everybody who has its keys answers at once, too, when it is back."""
    with Lab() as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        for _ in range(2):
            settings = keys.server_settings()
            settings.extra = ""
            server = paqet.start_server(lab, settings)
            client = start_client(keys)
            paqet.seconds_to_work(lab, 4, patience=1)
            expect("connections are answered in" not in server.log(), f"later: {server.log()}")
            client.stop()
            expect(server.stop() == 0, "exit code")


@test()
def test_connect_not_with_classic_server() -> None:
    with Lab() as lab:
        keys = Keys(lab)
        keys.know_all()
        start_server(keys, "classic")
        expect_silence(lab, 0.5, lambda: start_client(keys).stop())


@test()
def test_connect_bad_configuration() -> None:
    with Lab() as lab:
        keys = Keys(lab)
        look = LOOK.format("connect")
        client = paqet.client_config(lab, keys.client_settings(extra=""))
        good = client.replace("network:\n", look)
        cases = {
            "connect needs keys: the public_key": good.replace(
                f"  public_key: {keys.server[1]}\n", ""
            ),
            "local_flag": good.replace("connect\n", 'connect\n    local_flag: ["A"]\n'),
            "'beos' is not host, android, windows or apple": good.replace(
                "connect\n", "connect\n    os: beos\n"
            ),
            "'conect' is not plausible, connect, auto or classic": good.replace("connect", "conect"),
        }
        for wanted, text in cases.items():
            path = lab.new_file("bad.yaml")
            path.write_text(text)
            result = lab.c.run([paqet.program(), "run", "-c", str(path)])
            expect(result.returncode == 1, f"{wanted}: it has started")
            expect(wanted in result.stderr, f"{wanted}: {result.stderr}")
