# SPDX-License-Identifier: MIT
"""paqet and the kernel it works beneath: firewall, resets, connection tracking, ports."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import struct
import threading
import time
from functools import partial

import packets
import paqet
from case import add, expect, test
from lab import Host, Lab, Process, wait_until
from packets import RST, Forger, Segment, internet_checksum
from paqet import Settings

CLIENT_PORT = 40001
TCP_REPAIR = 19


@test()
def test_no_reset_on_the_wire() -> None:
    with Lab() as lab:
        expect_no_reset(lab, Settings(client_port=CLIENT_PORT), "tcp[13] & 4 != 0")


@test()
def test_no_reset_on_the_wire_ipv6() -> None:
    with Lab() as lab:
        settings = Settings(ip6=True, client_port=CLIENT_PORT)
        expect_no_reset(lab, settings, "ip6 and ip6[6] == 6 and ip6[53] & 4 != 0")


def expect_no_reset(lab: Lab, settings: Settings, resets: str) -> None:
    capture = lab.sniff(resets)
    paqet.start_pair(lab, settings)
    result = lab.load("fetch", "--bytes", 5_000_000)
    expect(result["failed"] == 0, f"download: {result}")
    caught = [segment for segment in capture.stop() if segment.flags & RST]
    expect(not caught, f"{len(caught)} RST, the first from {describe(caught)}")


def describe(segments: list[Segment]) -> str:
    if not segments:
        return "nobody"
    return f"{segments[0].source} port {segments[0].source_port}"


@test()
def test_no_reset_after_a_server_restart() -> None:
    """The client finds a server that does not know its session: no kernel may speak up."""
    with Lab() as lab:
        settings = Settings(client_port=CLIENT_PORT)
        pair = paqet.start_pair(lab, settings)
        pair.server.stop()
        pair.server = paqet.start_server(lab, settings)
        capture = lab.sniff("tcp[13] & 4 != 0")
        paqet.wait_working(lab, 30)
        caught = [segment for segment in capture.stop() if segment.flags & RST]
        expect(not caught, f"{len(caught)} RST, the first from {describe(caught)}")


class Caller:
    """Somebody who goes on sending to a server's port, as a client does that knows of nothing. Each
    frame acknowledges its own number, so that a reset tells which one it answers, however late it
    comes on a busy machine."""

    def __init__(self, lab: Lab):
        self.forge = Forger(lab.c.mac, lab.s.mac, lab.c.ip4, lab.s.ip4)
        self.raw = lab.c.packet_socket()
        self.ear = lab.c.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self.ear.bind((lab.c.device, 3))
        self.ear.setblocking(False)
        self.sent: list[float] = []  # when each frame was about to leave
        self.refused: list[int] = []  # the numbers of those that were answered by a reset
        self.ends = False
        self.thread = threading.Thread(target=self.call, daemon=True)
        self.thread.start()

    def call(self) -> None:
        while not self.ends:
            body = self.forge.segment(CLIENT_PORT, paqet.PORT, bytes(100), acknowledges=len(self.sent))
            frame = self.forge.ethernet(self.forge.ipv4(body))
            self.sent.append(time.monotonic())
            self.raw.send(frame)
            with contextlib.suppress(BlockingIOError):
                while True:
                    segment = packets.parse(self.ear.recv(200))
                    if segment and segment.flags & RST:
                        self.refused.append(segment.sequence)

    def stop(self) -> list[float]:
        """When those were sent that a reset has answered."""
        self.ends = True
        self.thread.join()
        return [self.sent[number] for number in self.refused]


@test()
def test_no_reset_while_a_server_starts() -> None:
    """From when it has a packet socket on: its rules come first."""
    with Lab() as lab:
        caller = Caller(lab)
        wait_until(lambda: len(caller.refused) > 10, 5, "resets of a kernel without a server")
        settings = Settings(extra="performance: {packet_workers: 8}\n")
        server = paqet.start(lab.s, "server", paqet.server_config(lab, settings))
        begin = time.monotonic()
        while not server.has_packet_socket():
            expect(time.monotonic() < begin + 30, "no packet socket")
        begin = time.monotonic()
        server.wait_log("kept out", 10)
        time.sleep(0.5)
        late = [moment for moment in caller.stop() if moment > begin]
        expect(not late, f"{len(late)} resets, the last {(late or [0])[-1] - begin:.4f} s after it")


@test()
def test_packets_that_a_rule_takes_away() -> None:
    """Somebody's rule at the server's way out takes one packet of 32, whenever it is tried: these are
    lost, and hold up no others."""
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        hook = f"type filter hook egress device {lab.s.device} priority 0;"
        lab.s.check(
            [
                "nft",
                f"add table netdev lab; add chain netdev lab out {{ {hook} }};"
                "add rule netdev lab out ip id & 0x1f == 7 counter drop",
            ]
        )
        result = lab.load("fetch", "--bytes", 30_000_000, limit=30)
        expect(result["failed"] == 0, f"download: {result}")
        pair.server.wait_log("a firewall rule here drops what leaves", 3)
        expect("counter packets 0 " not in lab.s.firewall(), "no packet was taken away")


@test()
def test_no_conntrack_entry() -> None:
    with Lab() as lab:
        watchers = {host: host.watch_conntrack() for host in (lab.c, lab.s)}
        paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        lab.load("fetch", "--bytes", 1_000_000)
        control = lab.load("fetch", "--bytes", 1000, host=lab.s.ip4, socks=0)
        expect(control["failed"] == 0, "the control connection failed")
        for host, watcher in watchers.items():
            watcher.wait_log(f"dst={lab.s.ip4} sport=[0-9]+ dport=8080", 3)
            tracked = [line for line in watcher.log().splitlines() if f"port={paqet.PORT}" in line]
            expect(not tracked, f"tracked in {host.letter}: {len(tracked)}, {tracked[:1]}")


@test()
def test_firewall_rules_go_on_kill() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        for host in (lab.c, lab.s):
            expect(host.firewall(), f"no firewall rule in {host.letter} while paqet runs")
        pair.client.kill()
        pair.server.kill()
        for host in (lab.c, lab.s):
            wait_until(partial(is_bare, host), 3, "the rules of a killed paqet gone")


def is_bare(host: Host) -> bool:
    return not host.firewall()


@test()
def test_firewall_rules_go_on_stop() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        pair.client.stop()
        pair.server.stop()
        for host in (lab.c, lab.s):
            rules = host.firewall()
            expect(not rules, f"left behind in {host.letter}: {rules}")


@test()
def test_marked_tables() -> None:
    """Tables of before Linux 5.12, which do not go with their process, told by its number: those of one that is there
    stay, also where /proc hides it, as the unit of systemd has it; those of one that is gone are removed."""
    with Lab() as lab:
        binary = lab.folder / "paqet"
        shutil.copy(paqet.program(), binary)
        config = lab.new_file("server.yaml")
        config.write_text(paqet.server_config(lab, Settings()))
        other, gone = lab.s.start("other", ["sleep", "60"]), lab.s.start("gone", ["sleep", "60"])
        for process in (other, gone):
            lab.s.check(["nft", "add", "table", "inet", f"paqet_{process.pid}_abcd"])
        gone.kill()
        lab.s.check(["nft", "add", "table", "inet", f"paqet_{gone.pid}_backup"])
        drop = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+net_raw,+net_admin --ambient-caps=+net_raw,+net_admin"
        script = f'mount -t proc -o hidepid=invisible proc /proc && exec {drop} "$0" run -c "$1"'
        server = lab.s.start("server", ["unshare", "--mount", "sh", "-c", script, str(binary), str(config)])
        server.wait_log("listening on port", 5)
        rules = lab.s.firewall()
        expect(f"paqet_{other.pid}_abcd" in rules, f"the table of one that runs is gone: {rules}")
        expect(f"paqet_{gone.pid}_backup" in rules, f"somebody's own table is gone: {rules}")
        expect(f"paqet_{gone.pid}_abcd" not in rules, f"that of one that is gone stays: {rules}")


@test()
def test_other_firewall_rules_stay() -> None:
    with Lab() as lab:
        lab.s.check(["nft", "add table inet mine; add chain inet mine c"])
        before = lab.s.firewall()
        pair = paqet.start_pair(lab)
        pair.server.stop()
        expect(lab.s.firewall() == before, "a rule of somebody else has changed")


class Exchange:
    """A plain kernel TCP connection that sends and hears, and can be asked whether it lives."""

    def __init__(self, source: Host, target: Host, source_port: int, target_port: int):
        listener = target.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((target.ip4, target_port))
        listener.listen(1)
        listener.settimeout(5)
        self.near = source.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.near.settimeout(5)
        if source_port:
            bind_taken_port(self.near, source_port)
        self.near.connect((target.ip4, target_port))
        self.far, _ = listener.accept()
        self.far.settimeout(5)
        listener.close()

    def lives(self) -> bool:
        try:
            for here, there in ((self.near, self.far), (self.far, self.near)):
                here.sendall(b"x" * 5000)
                paqet.read_exactly(there, 5000)
        except (OSError, paqet.SocksError):
            return False
        return True

    def close(self) -> None:
        self.near.close()
        self.far.close()


def bind_taken_port(connection: socket.socket, port: int) -> None:
    """paqet holds its port with a socket of its own. To share it needs the address reuse of both,
    or a socket in repair mode, to which bind() denies nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        connection.bind(("", port))
    except OSError:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        connection.bind(("", port))
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)


def expect_undisturbed(source_port: int, target_port: int) -> None:
    with Lab(third=True) as lab:
        lab.watched = target_port != paqet.PORT
        pair = paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        try:
            exchange = Exchange(lab.c, lab.x, source_port, target_port)
        except OSError as error:
            expect(False, f"the other connection could not be opened: {error}")
            return
        lab.load("fetch", "--bytes", 1_000_000)
        expect(exchange.lives(), "the other connection was cut")
        pair.client.kill()
        expect(exchange.lives(), "the other connection was cut when the client ended")
        exchange.close()


@test()
def test_other_connection_from_our_port() -> None:
    expect_undisturbed(CLIENT_PORT, 7000)


@test()
def test_other_connection_to_the_server_port_elsewhere() -> None:
    expect_undisturbed(0, paqet.PORT)


@test()
def test_other_connection_with_both_ports() -> None:
    expect_undisturbed(CLIENT_PORT, paqet.PORT)


@test()
def test_other_connection_to_the_same_server() -> None:
    """Another port of the server's host, from our port: only the triple may be cut."""
    with Lab() as lab:
        paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        exchange = Exchange(lab.c, lab.s, CLIENT_PORT, 7000)
        expect(exchange.lives(), "the other connection was cut")
        exchange.close()


@test()
def test_port_is_reserved() -> None:
    """An ordinary program cannot take the port that paqet uses."""
    with Lab() as lab:
        paqet.start_pair(lab, Settings(client_port=CLIENT_PORT))
        for host, port in ((lab.c, CLIENT_PORT), (lab.s, paqet.PORT)):
            with host.open_socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                taken = False
                try:
                    probe.bind(("", port))
                except OSError:
                    taken = True
                expect(taken, f"port {port} in {host.letter} is free for others")


def expect_refusal(process: Process, pattern: str) -> None:
    """The program ends with exit code 1 and says why."""
    code = process.wait(10)
    expect(code == 1, f"exit code {code}: {process.last_lines()}")
    expect(re.search(pattern, process.log()), f"no /{pattern}/ in: {process.last_lines()}")


def taken_pattern(port: int) -> str:
    said = "(in use|taken|used by)"
    return f"{port}.*{said}|{said}.*{port}"


@test()
def test_port_in_use_by_another_paqet() -> None:
    with Lab() as lab:
        settings = Settings(client_port=CLIENT_PORT)
        pair = paqet.start_pair(lab, settings)
        server = paqet.start(lab.s, "second-server", paqet.server_config(lab, settings))
        expect_refusal(server, taken_pattern(paqet.PORT))
        other = paqet.client_config(lab, settings).replace(":1080", ":1081")
        client = paqet.start(lab.c, "second-client", other)
        expect_refusal(client, taken_pattern(CLIENT_PORT))
        pair.check_alive()
        result = lab.load("fetch", "--bytes", 100_000)
        expect(result["failed"] == 0, "the first pair was disturbed")


@test()
def test_socks_port_in_use() -> None:
    with Lab() as lab:
        taken = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.bind(("127.0.0.1", paqet.SOCKS))
        taken.listen(1)
        client = paqet.start(lab.c, "client", paqet.client_config(lab, Settings()))
        expect_refusal(client, str(paqet.SOCKS))
        taken.close()


@test()
def test_missing_interface() -> None:
    with Lab() as lab:
        settings = Settings(interface="nosuch7")
        for config in (paqet.server_config(lab, settings), paqet.client_config(lab, settings)):
            expect_refusal(paqet.start(lab.s, "paqet", config), "nosuch7")


@test()
def test_no_permission() -> None:
    with Lab() as lab:
        binary = lab.folder / "paqet"
        shutil.copy(paqet.program(), binary)
        config = lab.new_file("server.yaml")
        config.write_text(paqet.server_config(lab, Settings()))
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        process = lab.s.start("server", [*drop, str(binary), "run", "-c", str(config)])
        expect_refusal(process, "(?i)root|permi|capabilit|CAP_NET")


@test()
def test_without_net_admin() -> None:
    """CAP_NET_RAW alone is enough to run; the missing firewall rule is told once, in our words."""
    with Lab() as lab:
        binary = lab.folder / "paqet"
        shutil.copy(paqet.program(), binary)
        config = lab.new_file("server.yaml")
        config.write_text(paqet.server_config(lab, Settings()))
        some = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--bounding-set=-all,+net_raw"]
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *some]
        process = lab.s.start("server", [*drop, str(binary), "run", "-c", str(config)])
        process.wait_log("listening on port", 5)
        log = process.log()
        expect("Type this yourself" in log, f"no advice: {log}")
        expect("must be root" not in log, f"a library's own words: {log}")


def well_formed(look: str, service: int) -> None:
    """Every segment on the wire is well-formed: the kernel of the other side can parse it."""
    with Lab() as lab:
        capture = lab.sniff(f"tcp port {paqet.PORT}", 2000)
        paqet.start_pair(lab, Settings(network_extra=f"  tcp:\n    look: {look}\n"))
        lab.load("fetch", "--bytes", 20_000)
        segments = capture.stop()
        expect(len(segments) > 20, "nothing was captured")
        for segment in segments:
            check_header(segment.frame, service)


for _look, _service in (("classic", 0xB8), ("plausible", 0)):
    add(f"segments_are_well_formed_{_look}", partial(well_formed, _look, _service))


def check_header(frame: bytes, service: int) -> None:
    packet = frame[14:]
    length = struct.unpack("!H", packet[2:4])[0]
    expect(internet_checksum(packet[:20]) == 0, "wrong IPv4 header checksum")
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 6, length - 20)
    # a run gets its checksums where it is cut: until then it has the sum of the pseudo header
    to_be_cut = internet_checksum(pseudo) ^ 0xFFFF == struct.unpack("!H", packet[36:38])[0]
    whole = internet_checksum(pseudo + packet[20:length]) == 0
    expect(whole or to_be_cut, "wrong TCP checksum")
    expect(packet[1] == service and packet[8] == 64, f"TOS {packet[1]}, TTL {packet[8]}")


@test()
def test_many_starts_and_stops() -> None:
    """Rules, ports and sockets come and go without a trace."""
    with Lab() as lab:
        settings = Settings(client_port=CLIENT_PORT)
        lab.origin()
        for round_number in range(5):
            server = paqet.start_server(lab, settings)
            client = paqet.start_client(lab, settings)
            paqet.wait_working(lab)
            for process in (client, server):
                if round_number % 2:
                    process.kill()
                else:
                    process.stop()
        for host in (lab.c, lab.s):
            expect(not host.firewall(), f"rules left in {host.letter}")
