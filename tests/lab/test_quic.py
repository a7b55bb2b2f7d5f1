# SPDX-License-Identifier: MIT
"""Our client to our server over QUIC: what the same tests find over KCP, and what is its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import looks
import paqet
import test_attacks
import test_flows
import test_keys
import test_main
import test_move
import test_peers
import test_ports
import test_reload
import test_rules
import test_tun
import test_udp
from case import Failure, Skip, add, cases, expect, test
from lab import Lab, Process, wait_until
from paqet import PORT, Settings
from routed import Routed
from test_survive import map_port

QUIC = Settings(protocol="quic")
OPEN = Settings(protocol="quic", quic="    auth: none\n    insecure_skip_verify: true\n")


def have_quic() -> None:
    if not paqet.built_with("quic"):
        raise Skip("the program is built without QUIC (ngtcp2 with GnuTLS)")
    looks.need_not_connect("QUIC")


def over_quic(function: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        have_quic()
        os.environ["PAQET_PROTOCOL"] = "quic"
        try:
            function()
        finally:
            del os.environ["PAQET_PROTOCOL"]

    return run


for same in (
    test_main.test_both_directions_at_once,
    test_main.test_200_parallel_requests,
    test_main.test_bad_wan,
    test_main.test_two_workers,
    test_main.test_server_killed_and_restarted,
    test_main.test_reader_that_does_not_read,
    test_peers.test_ten_uploads_then_half_close,
    test_peers.test_reply_real_many,
    test_rules.test_datagrams_wait_for_name,
    test_tun.test_tun_ping,
    test_flows.test_flow_changes_interface,
    test_move.test_move_to_another_interface,
    test_keys.test_keys_rules_for_each_user,
    test_keys.test_keys_addresses_for_each_user,
    test_reload.test_user_command,
    test_reload.test_reload_key,
    test_ports.test_ports_hop,
    test_ports.test_ports_fixed_client_port,
    test_ports.test_ports_most_are_blocked_at_the_start,
):
    _name = same.__name__.removeprefix("test_")
    _timed = any(known.timed for known in cases if known.name == _name)
    add(f"quic_{_name}", over_quic(same), timed=_timed)
add("quic_flow_dies_between_workers", over_quic(test_flows.test_flow_dies_between_workers), limit=120, full=True)
for _name in "after_10_s", "after_300_kb":
    add(f"quic_flow_dies_{_name}", over_quic(test_flows.LONG[_name]), limit=240, full=True)
add("quic_udp_associate", over_quic(partial(test_udp.associate_to, "127.0.0.1")))


add("quic_keys_recording_killed", over_quic(partial(test_keys.keys_recording, "killed")), timed=True)
add("quic_reload_revokes_user", over_quic(partial(test_reload.revoke, 3)), timed=True)
add("quic_keys_strangers_get_nothing", over_quic(test_keys.test_keys_strangers_get_nothing), full=True, timed=True)
add("quic_keys_client_says_what_may_be_wrong", over_quic(test_keys.test_keys_client_says_what_may_be_wrong), full=True)


@test()
def test_quic_keys() -> None:
    """Users by their keys: the log and status name them, and the common key alone is not enough."""
    have_quic()
    with Lab() as lab:
        keys = test_keys.Keys(lab)
        lab.origin()
        server = paqet.start_server(lab, keys.server_settings(protocol="quic", control=True))
        client = paqet.start_client(lab, keys.client_settings(protocol="quic"))
        paqet.wait_working(lab)
        test_main.check_download(lab, 30 * test_main.MB)
        expect("(ali) connected" in server.log(), f"the log does not name him: {server.log()}")
        session = json.loads(paqet.ask(lab, "server", "status", "--json").stdout)["sessions"][0]
        expect(session["user"] == "ali" and session["transport"] == "quic", f"{session}")
        client.stop()
        for settings in QUIC, keys.client_settings(key=test_keys.pair()[0], protocol="quic"):
            sniffer = lab.sniff(f"tcp src port {PORT}")
            client = paqet.start_client(lab, settings)
            time.sleep(2)  # he asks again meanwhile
            client.stop()
            heard = sniffer.stop()
            expect(not heard, f"{len(heard)} packets for nobody: {heard[:2]}")


@test()
def test_quic_says_what_it_is() -> None:
    """A page through curl, names resolved by the server, and what status tells of it."""
    have_quic()
    with Lab() as lab:
        paqet.start_pair(lab, Settings(protocol="quic", control=True))
        proxy = ["--socks5-hostname", f"127.0.0.1:{paqet.SOCKS}"]
        result = lab.c.run(["curl", "-sf", "-o", "/dev/null", *proxy, "http://localhost:8080/1000"])
        expect(result.returncode == 0, f"curl: {result}")
        for who in ("client", "server"):
            status = json.loads(paqet.ask(lab, who, "status", "--json").stdout)
            session = status["sessions"][0]
            expect(session["transport"] == "quic" and session["wire"] == "quic", f"{who}: {session}")
            expect(session["cipher"].startswith("AES-128-GCM"), f"{who}: {session}")


@test()
def test_quic_module_beside_the_program() -> None:
    """It is loaded if it is of the program's owner and build; never by a program with rights that its user has not."""
    have_quic()
    program = Path(paqet.program())
    if not (program.parent / "quic.so").exists():
        raise Skip("no quic.so lies beside the program: it is linked in, or installed")
    with Lab() as lab:
        folder = lab.new_file("beside")
        folder.mkdir()
        mine, module = (Path(shutil.copy(f, folder)) for f in (program, program.parent / "quic.so"))
        lab.folder.chmod(0o711)
        folder.chmod(0o711)
        code = module.read_bytes()

        def version(program_mode: int = 0o755, owner: int = 0, mode: int = 0o755) -> str:
            for file, its_owner, its_mode in (mine, 0, program_mode), (module, owner, mode):
                os.chown(file, its_owner, 0)
                file.chmod(its_mode)
            nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            result = lab.c.run([*nobody, str(mine), "version"])
            return result.stdout + result.stderr

        expect("kcp, quic" in version(), f"as it was built: {version()}")
        for what in {"owner": 65534}, {"mode": 0o757}:
            expect(f"{module} is not loaded" in version(**what), f"{what}: {version(**what)}")
        words = dict(re.findall(r"^(Version|Git Commit):\s+(\S+)", version(), re.MULTILINE))
        build = f"{words['Version']} {words['Git Commit']}".encode()
        module.write_bytes(code.replace(build, build[:-1] + b"?"))
        expect("of the same build" in version(), f"a module of another build: {version()}")
        said = version(0o4755, owner=65534)  # set-user-ID, as good as with capabilities
        expect("Version:" in said and str(module) not in said, f"a program with rights looks beside it: {said}")


@test()
def test_quic_stranger_hears_nothing() -> None:
    """Who has another key gets no packet of the server's, and the log says so."""
    have_quic()
    with Lab() as lab:
        lab.origin()
        server = paqet.start_server(lab, QUIC)
        sniffer = lab.sniff(f"tcp src port {PORT}")
        stranger = Settings(protocol="quic", key="another key for the lab")
        paqet.start_client(lab, stranger)
        server.wait_log("could not be decrypted", 5)
        time.sleep(2)  # he asks again meanwhile
        heard = sniffer.stop()
        expect(not heard, f"{len(heard)} packets for a stranger: {heard[:2]}")


@test()
def test_quic_goodbye() -> None:
    """Each end tells the other one that it goes, which does not wait for a time-out then."""
    have_quic()
    with Lab() as lab:
        pair = paqet.start_pair(lab, QUIC)
        pair.client.stop()
        pair.server.wait_log("client .* gone", 2)
        client = paqet.start_client(lab, QUIC)
        paqet.wait_working(lab)
        pair.server.stop()
        client.wait_log("session from port .* ended", 2)


@test()
def test_quic_narrow_link() -> None:
    """The least datagram of QUIC just fits an MTU of 1288 over IPv4."""
    have_quic()
    with Lab() as lab:
        for host in (lab.c, lab.s):
            host.check(["ip", "link", "set", host.device, "mtu", "1288"])
        paqet.start_pair(lab, QUIC)
        test_main.check_download(lab, 1_000_000)


@test()
def test_quic_narrow_path() -> None:
    """A router that carries less than the interfaces say, and tells nobody; then still less. One session
    goes on through it, with what it has open."""
    have_quic()
    with Routed() as lab:
        lab.middle.check(["nft", "delete table inet lab_router"])
        mute = "table inet mute { chain out { type filter hook output priority 0; ip protocol icmp drop; }; }"
        lab.middle.check(["nft", mute])
        for mtu in (1400, 1300, 1256):
            for device in ("wc", "ws"):
                lab.middle.check(["ip", "link", "set", device, "mtu", str(mtu)])
            if mtu == 1400:
                pair = paqet.start_pair(lab, Settings(protocol="quic", network=False))
                echo = paqet.Echo(lab)
            echo.check()
            test_main.check_download(lab, 5_000_000)
        expect(pair.server.log().count("connected") == 1, f"another session: {pair.server.log()}")
        pair.check_alive()
        echo.close()


@test()
def test_quic_auth_none() -> None:
    """Without a key at either end, as the Go programs have it; a client with the key beside that."""
    have_quic()
    with Lab() as lab:
        pair = paqet.start_pair(lab, OPEN)
        pair.client.wait_log("the server is a paqet of this kind$", 2)
        test_main.check_download(lab, 1_000_000)
        pair.client.stop()
        client = paqet.start_client(lab, QUIC)
        paqet.wait_working(lab)
        client.wait_log("of this kind, and has the right key", 2)


@test(timed=True)
def test_quic_goes_on_behind_another_port() -> None:
    """A NAT that shows the client's port as another one: the session goes on, and its connections."""
    have_quic()
    with Lab(third=True) as lab:
        settings = Settings(protocol="quic", client_port=40001)
        lab.origin()
        server = paqet.start_server(lab, settings)
        map_port(lab, 40001, 20001)
        paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        map_port(lab, 40001, 20002)
        echo.check()
        server.wait_log(f"client {lab.c.ip4}:20002 goes on", 2)
        expect(server.log().count("connected") == 1, f"another session: {server.log()}")
        echo.close()


def first_request_of_a_session(lab: Lab, quic: str) -> float:
    """Seconds, the least of five: the client is told to leave its session for another one, and asked for
    something at once."""
    keys = test_keys.Keys(lab, ports=f"{PORT}-{PORT + 1}")
    server = paqet.start_server(lab, keys.server_settings(protocol="quic", quic=quic))
    client = paqet.start_client(lab, keys.client_settings(protocol="quic", quic=quic, control=True))
    paqet.wait_working(lab)
    took = []
    for i in range(5):
        time.sleep(0.5)  # its ticket is there
        ports = f":{PORT}-{PORT + 1}\"", f":{PORT + 1}\""
        test_reload.change(client, ports[i % 2], ports[1 - i % 2])
        test_reload.reload(lab, "client")
        begin = time.monotonic()
        with paqet.socks_connect(lab, "127.0.0.1", 8080) as connection:
            connection.sendall(b"GET /100 HTTP/1.0\r\n\r\n")
            expect(connection.recv(1) == b"H", "no answer")
        took.append(time.monotonic() - begin)
    server.wait_log("\\(ali\\) connected", 1)
    client.stop()
    server.stop()
    return min(took)


@test(timed=True)
def test_quic_early() -> None:
    """Over a path of 160 ms there and back a fresh session's first request takes a round trip less."""
    have_quic()
    with Lab(third=True) as lab:
        lab.origin()
        lab.put_far_away(lab.s, ["--delay", "80"])
        late = first_request_of_a_session(lab, "")
        early = first_request_of_a_session(lab, "    early: true\n")
        print(f"{late * 1000:.0f} ms, with tickets {early * 1000:.0f} ms")
        expect(late - early > 0.06, f"{late:.3f} s, with tickets {early:.3f} s")


def seconds_of(process: Process, line: str) -> float:
    """When it was said, as the log has it; without the hour."""
    found = re.search(rf" \d+:(\d+):([\d.]+) \[\w+\] {line}", process.log())
    if not found:
        raise Failure(f"{line!r} was not said")
    return int(found[1]) * 60 + float(found[2])


@test(timed=True)
def test_quic_early_recording() -> None:
    """What a client has sent with a ticket, its first request in it, comes again: beside it, when it has
    gone, and at a server that was restarted. Nothing is asked of the target twice, and nobody answered."""
    have_quic()
    with Lab(third=True) as lab:
        dialled: list[bytes] = []
        lab.s.listen("127.0.0.1", 7001, lambda target: dialled.append(target.recv(100)))
        keys = test_keys.Keys(lab, ports=f"{PORT}-{PORT + 1}")
        settings = keys.server_settings(protocol="quic", quic="    early: true\n")
        server = paqet.start_server(lab, settings)
        lab.put_far_away(lab.s, ["--delay", "50"])
        keys.ports = str(PORT + 1)
        client = paqet.start_client(lab, keys.client_settings(protocol="quic", quic="    early: true\n", control=True))
        client.wait_log("and has the right key", 5)
        time.sleep(0.5)  # its ticket is there
        capture = lab.sniff(f"tcp dst port {PORT}", 2000)
        test_reload.change(client, f":{PORT + 1}\"", f":{PORT}\"")
        test_reload.reload(lab, "client")
        paqet.socks_connect(lab, "127.0.0.1", 7001).sendall(b"once")
        wait_until(lambda: bool(dialled), 3, "the request")
        segments = capture.stop()
        recorded = test_keys.datagrams_of_client(segments, lab)
        begun = seconds_of(client, f"session to .*:{PORT} from")
        took = seconds_of(server, "connected to 127.0.0.1:7001") - begun
        expect(took < 0.14, f"it was sent early, but asked {took:.3f} s after the beginning")
        stranger = test_attacks.Stranger(lab)

        def play() -> None:
            stranger.play(lab.c.ip4, segments[0].source_port, recorded)
            stranger.play(lab.x.ip4, 46000, recorded)

        play()
        client.stop()
        time.sleep(1)
        test_keys.expect_silence(lab, 1, play)
        server.kill()
        server = paqet.start_server(lab, settings)
        server.wait_log("listening on", 10)
        test_keys.expect_silence(lab, 1, play)
        expect(dialled == [b"once"], f"it was asked {dialled}")
        expect("connected" not in server.log(), f"a client was made of it: {server.log()}")
