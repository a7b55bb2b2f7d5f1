# SPDX-License-Identifier: MIT
"""Our own wire: sessions with keys and users, upgrades of old files, and what strangers get."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field

import gopeer
import paqet
import test_tun
from case import add, expect, test
from lab import Lab, Process, wait_until
from paqet import PORT, Settings
from test_attacks import CLIENT_PORT, CLASSIC, Stranger
from test_bad_input import datagrams_of_client
from test_main import MB, check_download, check_upload

GCM = "aes-128-gcm"


def pair() -> tuple[str, str]:
    """A private key and its public one, as a user makes them."""
    argv = [paqet.program(), "secret", "--pair"]
    text = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.fullmatch(r"private_key: ([0-9a-f]{64})\npublic_key: ([0-9a-f]{64})\n", text)
    expect(found, f"paqet secret --pair printed: {text}")
    return found[1], found[2]


@dataclass
class Keys:
    """Those of a server and of two users, and where the server keeps what it has seen."""

    lab: Lab
    require: bool = True
    ports: str = ""  # of the server; else PORT
    server: tuple[str, str] = field(default_factory=pair)
    ali: tuple[str, str] = field(default_factory=pair)
    sara: tuple[str, str] = field(default_factory=pair)

    def __post_init__(self) -> None:
        self.state = self.lab.new_file("stamps")
        self.state.unlink(missing_ok=True)

    def know_all(self) -> None:
        """As if the server had been stopped in order before: it answers connections at once."""
        path = self.state.with_name(self.state.name + ".syns")
        path.write_text("paqet syns 1\nfrom 0\nend\n")

    def server_settings(self, ali: str = "", sara: str = "", **options: object) -> Settings:
        """`ali`, `sara`: more keys of theirs, each with a comma in front."""
        transport = f"  private_key: {self.server[0]}\n  state: {self.state}\n"
        if self.require:
            transport += "  require: keys\n"
        users = (
            "users:\n"
            f"  - {{name: ali, public_key: {self.ali[1]}{ali}}}\n"
            f"  - {{name: sara, public_key: {self.sara[1]}{sara}}}\n"
        )
        options = {"listen": self.ports, "network": not self.ports} | options
        return Settings(block=GCM, transport=transport, extra=users, level="debug", **options)

    def client_settings(self, key: str | None = None, ip6: bool = False, **options: object) -> Settings:
        address = f"[{self.lab.s.ip6}]" if ip6 else self.lab.s.ip4
        server = f'server:\n  addr: "{address}:{self.ports or PORT}"\n  public_key: {self.server[1]}\n'
        passed = self.state.with_name(f"{self.state.name}.passed")
        transport = f"  private_key: {key or self.ali[0]}\n  state: {passed}\n"
        return Settings(block=GCM, server=server, transport=transport, ip6=ip6, **options)

    def start_server(self) -> Process:
        """Its port is kept from the kernel, too, which would send resets."""
        process = paqet.start_server(self.lab, self.server_settings())
        process.wait_log("listening on port", 10)
        return process

    def start_client(self, **options: object) -> Process:
        return paqet.start_client(self.lab, self.client_settings(**options))


@test()
def test_secret_public() -> None:
    """The public half of a private key on standard input; what is none is refused."""
    private, public = pair()
    argv = [paqet.program(), "secret", "--public"]
    run = functools.partial(
        subprocess.run, argv, capture_output=True, text=True, timeout=10, check=False
    )
    expect(run(input=private + "\n").stdout == public + "\n", "another public key")
    for wrong in ("", "abc", private[:-1] + "\n", private + "0\n", "g" * 64):
        result = run(input=wrong)
        expect(result.returncode == 1, f"{wrong!r}: exit code {result.returncode}")
        expect("64 hex digits" in result.stderr, f"{wrong!r}: {result.stderr}")
        expect(not wrong or wrong.strip() not in result.stderr, "the key is shown")


def keys_carry(ip6: bool) -> None:
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        server = paqet.start_server(lab, keys.server_settings(ip6=ip6))
        client = keys.start_client(ip6=ip6)
        paqet.wait_working(lab)
        check_download(lab, 60 * MB)
        check_upload(lab, 30 * MB)
        expect("(ali) connected" in server.log(), f"the log does not name him: {server.log()}")
        expect("could not be decrypted" not in server.log() + client.log(), "odd packets")
        client.stop()
        server.wait_log(r"\(ali\) gone", 2)
        keys.start_client(key=keys.sara[0], ip6=ip6)
        paqet.wait_working(lab)
        expect("(sara) connected" in server.log(), f"the log does not name her: {server.log()}")


add("keys_carry_ipv4", functools.partial(keys_carry, False))
add("keys_carry_ipv6", functools.partial(keys_carry, True))


@test(timed=True)
def test_keys_with_many_sessions_and_workers() -> None:
    with Lab() as lab:
        keys = Keys(lab)
        workers = "performance:\n  packet_workers: 4\n"
        lab.origin()
        settings = keys.server_settings()
        settings.extra += workers
        server = paqet.start_server(lab, settings)
        settings = keys.client_settings()
        settings.transport += "  conn: 8\n"
        settings.extra = workers
        client = paqet.start_client(lab, settings)
        wait_until(lambda: server.log().count("connected") == 8, 5, "eight sessions")
        result = lab.load("fetch", "--parallel", 16, "--bytes", 2 * MB, limit=50)
        expect(result["failed"] == 0, f"downloads: {result}")
        expect(client.alive() and server.alive(), "a program ended")


# ---- each user for himself


@test()
def test_keys_rules_for_each_user() -> None:
    """Rules of a user stand in place of those for all."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        settings = keys.server_settings(sara=", deny: any")
        settings.extra += "deny: 10.0.0.0/8\n"
        server = paqet.start_server(lab, settings)
        client = keys.start_client(key=keys.sara[0])
        server.wait_log(r"\(sara\) connected", 5)
        expect(not paqet.fetch_by_hand(lab, 3), "her request has passed")
        expect("deny does not permit" in server.log(), f"nothing was said: {server.log()}")
        client.stop()
        keys.start_client()
        paqet.seconds_to_work(lab, 4)


@test()
def test_keys_addresses_for_each_user() -> None:
    """Inside TUN an address of one user is nobody else's, and he has no other."""
    test_tun.need("/dev/net/tun")
    with Lab() as lab:
        keys = Keys(lab)
        settings = keys.server_settings(sara=", tun: [10.9.0.3, 'fd09::3']", network=False)
        settings.extra += test_tun.tun(1)
        server = paqet.start_server(lab, settings)
        for key, number, works in ((keys.ali, 2, True), (keys.ali, 3, False), (keys.sara, 3, True)):
            settings = keys.client_settings(key=key[0], network=False)
            settings.extra = test_tun.tun(number)
            client = paqet.start_client(lab, settings)
            if works:
                test_tun.wait_ping(lab.c, "10.9.0.1")
            else:
                ping = functools.partial(test_tun.ping, lab.c, "10.9.0.1", limit=0.3)
                wait_until(lambda: ping() or "not his by users" in server.log(), 10, "a word of it")
                expect(not ping(), "he has her address")
            client.stop()


@test()
def test_keys_tun_after_a_restart() -> None:
    """A session that takes the place of another speaks TUN as it did: with what the server is able
    to do, which it says together with the keys."""
    test_tun.need("/dev/net/tun")
    with Lab() as lab:
        keys = Keys(lab)
        settings = keys.server_settings(network=False)
        settings.extra += test_tun.tun(1)
        server = paqet.start_server(lab, settings)
        client_settings = keys.client_settings(network=False)
        client_settings.extra = test_tun.tun(2)
        client = paqet.start_client(lab, client_settings)
        test_tun.wait_ping(lab.c, "10.9.0.1")
        server.kill()
        paqet.start_server(lab, settings)
        test_tun.wait_ping(lab.c, "10.9.0.1")
        expect("one packet at a time" not in client.log(), "the two ends frame packets differently")
        lab.origin()
        download = lab.load("fetch", "--bytes", 1000000, host="10.9.0.1", socks=0)
        expect(download["failed"] == 0, f"{download}")


# ---- strangers


def expect_silence(lab: Lab, seconds: float, do: object) -> None:
    """Not one packet of the server, whatever `do` does."""
    capture = lab.sniff(f"tcp src port {PORT}", 2000)
    do()
    time.sleep(seconds)
    packets = capture.stop()
    flags = [packet.flags for packet in packets]
    expect(not packets, f"the server sent {len(packets)} packets, their flags: {flags[:5]}")


@test(timed=True)
def test_keys_strangers_get_nothing() -> None:
    """A key of nobody, another secret, the old wire, a Go client."""
    with Lab() as lab:
        keys = Keys(lab)
        server = keys.start_server()
        nobody = keys.client_settings(key=pair()[0])
        other = keys.client_settings()
        other.key = "another key for the lab"
        for settings in (nobody, other, Settings(block=GCM), Settings(block=GCM, transport=CLASSIC)):

            def try_it(settings: Settings = settings) -> None:
                client = paqet.start_client(lab, settings)
                expect(not paqet.fetch_by_hand(lab, 4), "a request has passed")
                client.stop()

            expect_silence(lab, 0.2, try_it)
        expect("connected" not in server.log(), f"somebody was let in: {server.log()}")


@test(timed=True)
def test_keys_client_says_what_may_be_wrong() -> None:
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        keys.start_server()
        client = keys.start_client(key=pair()[0], control=True)
        for _ in range(3):
            paqet.fetch_by_hand(lab, 3)
        argv = [paqet.program(), "status", "-s", str(paqet.control_path(lab, "client")), "--json"]
        wanted = {"quic" if os.environ.get("PAQET_PROTOCOL") else "asking"}
        wires: set[str] = set()

        def tries() -> bool:
            wires.update(session["wire"] for session in json.loads(lab.c.check(argv))["sessions"])
            return bool(wires)

        wait_until(tries, 10, "a session that asks")
        expect(wires == wanted, f"it speaks {wires}")
        expect("public_key" in client.log(), f"it does not say where to look: {client.log()}")


def record(lab: Lab, keys: Keys) -> list[bytes]:
    """All that a client with a fixed port says from its start on."""
    lab.c.send_singly()
    capture = lab.sniff(f"tcp dst port {PORT}", 2000)
    client = keys.start_client(client_port=CLIENT_PORT)
    paqet.wait_working(lab)
    client.stop()
    datagrams = datagrams_of_client(capture.stop(), lab)
    expect(len(datagrams) >= 3, f"only {len(datagrams)} datagrams were recorded")
    return datagrams


def keys_recording(how: str) -> None:
    """A server that was restarted, by itself or by a kill, or has lost its file, answers nothing."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        lab.origin()
        server = keys.start_server()
        recorded = record(lab, keys)
        if how == "killed":
            server.kill()
        else:
            server.stop()
        if how == "forgetful":
            keys.state.unlink()
        server = keys.start_server()
        stranger = Stranger(lab)

        def play() -> None:
            stranger.play(lab.c.ip4, CLIENT_PORT, recorded)
            for port in (46000, 46001):
                stranger.play(lab.x.ip4, port, recorded)

        expect_silence(lab, 1, play)
        expect("connected" not in server.log(), f"a client was made of it: {server.log()}")
        keys.start_client(client_port=CLIENT_PORT)
        paqet.seconds_to_work(lab, 4, patience=1)


for _how in ("stopped", "killed", "forgetful"):
    add(f"keys_recording_{_how}", functools.partial(keys_recording, _how), timed=True)


@test(timed=True)
def test_keys_recording_beside_the_living() -> None:
    """What was recorded of a session, thrown at it while it lives, from its own address."""
    with Lab(third=True) as lab:
        keys = Keys(lab)
        lab.origin()
        server = keys.start_server()
        recorded = record(lab, keys)
        keys.start_client(client_port=CLIENT_PORT)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        capture = lab.sniff(f"tcp dst port {PORT}", 2000)
        check_download(lab, 5 * MB)
        own = datagrams_of_client(capture.stop(), lab)
        before = server.log().count(") connected")
        stranger = Stranger(lab)
        stranger.play(lab.c.ip4, CLIENT_PORT, recorded + own[:300])
        echo.check()
        check_download(lab, 5 * MB)
        expect(server.log().count(") connected") == before, "a session was made of it")
        expect("gone" not in server.log()[-200:], f"the session ended: {server.log()}")


@test(timed=True)
def test_keys_state_cannot_be_written() -> None:
    """It is said, and clients with right clocks are let in all the same."""
    with Lab() as lab:
        keys = Keys(lab)
        keys.state.mkdir()
        lab.origin()
        server = keys.start_server()
        time.sleep(1.2)  # stamps have to be later than the server's start
        keys.start_client()
        paqet.wait_working(lab)
        expect("transport.state" in server.log(), f"nothing was said: {server.log()}")


@test()
def test_keys_state_links() -> None:
    """A server that root runs in the service user's folder writes to no file that this one has linked
    there, nor gives it away."""
    with Lab() as lab:
        victim = lab.new_file("victim")
        folder = lab.folder / "state"
        for name, hard in ((".lock", False), (".new", False), (".lock", True), (".new", True)):
            victim.write_text("of root")
            folder.mkdir()
            os.chown(folder, 65534, 65534)
            keys = Keys(lab)
            keys.state = folder / "stamps"
            link = folder / f"stamps{name}"
            link.hardlink_to(victim) if hard else link.symlink_to(victim)
            server = paqet.start_server(lab, keys.server_settings())
            expect(victim.read_text() == "of root", f"{name}, hard: {hard}: written")
            expect(victim.stat().st_uid == 0, f"{name}, hard: {hard}: given away")
            if name == ".new":
                expect(keys.state.stat().st_uid == 65534, "the stamps are not the service user's")
            elif not hard:
                expect("transport.state" in server.log(), f"nothing was said: {server.log()}")
            server.stop()
            shutil.rmtree(folder)


@test()
def test_keys_state_of_another_server() -> None:
    """Two servers do not write over each other's file: the second one says what to do."""
    with Lab() as lab:
        keys = Keys(lab)
        lab.origin()
        with keys.state.with_name(keys.state.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = keys.start_server()
            time.sleep(1.2)  # stamps have to be later than the server's start
            keys.start_client()
            paqet.wait_working(lab)
        said = f"{keys.state} cannot be kept: another server has it open"
        expect(said in server.log(), f"not said: {server.log()}")


# ---- beside the old world


@test(timed=True)
def test_keys_beside_upgrades_and_go() -> None:
    """One port serves a user with keys, an old file of ours that upgrades, and a Go client."""
    gopeer.path()
    with Lab() as lab:
        keys = Keys(lab, require=False)
        lab.origin()
        server = keys.start_server()
        expect("transport.require" in server.log(), "no warning of what is not required")
        client = keys.start_client()
        paqet.wait_working(lab)
        client.stop()
        client = paqet.start_client(lab, Settings(block=GCM))
        paqet.wait_working(lab)
        server.wait_log("has keys of its own session", 2)
        check_download(lab, 20 * MB)
        client.stop()
        client = paqet.start_client(lab, Settings(block=GCM, transport=CLASSIC))
        paqet.wait_working(lab)
        client.stop()
        gopeer.start_echo(lab)
        for family in ("a", "b"):
            gopeer.run_job(lab, family, gopeer.Options(block=GCM), "echo")


@test(timed=True)
def test_upgrade_is_not_undone() -> None:
    """A server that had keys for each session and comes back without is refused."""
    with Lab() as lab:
        pair_ = paqet.start_pair(lab, Settings(block=GCM))
        pair_.server.kill()
        pair_.server = paqet.start_server(lab, Settings(block=GCM, transport=CLASSIC))
        time.sleep(4)
        expect(not paqet.fetch_by_hand(lab, 4), "a request went to it")
        pair_.client.wait_log("had keys for each session", 10)


@test()
def test_keys_bad_configuration() -> None:
    """Every mistake is named, none of the keys is shown."""
    with Lab() as lab:
        keys = Keys(lab)
        good = paqet.server_config(lab, keys.server_settings())
        cases = {
            "transport.private_key: is missing": good.replace(f"  private_key: {keys.server[0]}\n", ""),
            "users[1].public_key: users[0] has the same key": good.replace(
                keys.sara[1], keys.ali[1]
            ),
            "users[0].public_key: is not a key": good.replace(keys.ali[1], keys.ali[1][:-2]),
            "users[0].name": good.replace("name: ali, ", ""),
            "transport.require: 'key' is not": good.replace("require: keys", "require: key"),
            "transport.wire": good.replace("  require: keys\n", "  require: keys\n  wire: classic\n"),
        }
        for wanted, text in cases.items():
            path = lab.new_file("bad.yaml")
            path.write_text(text)
            result = lab.s.run([paqet.program(), "run", "-c", str(path)])
            expect(result.returncode == 1, f"{wanted}: it has started")
            expect(wanted in result.stderr, f"{wanted}: {result.stderr}")
            expect(keys.server[0] not in result.stderr, f"{wanted}: a private key is shown")
