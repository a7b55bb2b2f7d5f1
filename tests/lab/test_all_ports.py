# SPDX-License-Identifier: MIT
"""A bridge that leads all its ports to the server, and what has to stay with it all the same."""

from __future__ import annotations

import contextlib
import socket
import threading

import paqet
from case import expect, test
from lab import Host, Lab, wait_until
from paqet import Settings
from without import all_rules, without_nftables

PORTS = (21, 443, 8443, 40000, 61001)  # of targets, some where the bridge's own connections begin
KEPT = 30000  # in the list of exceptions
SSH = 2222  # somebody listens there
ALL = (
    "forward:\n  - {{listen: all, target: '127.0.0.1', protocol: 'tcp,udp', except: '22,{}'}}\n"
    "performance:\n  packet_workers: {}\n"
)


def serve_tcp(host: Host, port: int, word: str, address: str = "::") -> socket.socket:
    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(word.encode())

    return host.listen(address, port, serve)


def serve_udp(host: Host, port: int, word: str, address: str = "::") -> socket.socket:
    """Says the word and what has come."""
    server = host.open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind((address, port))

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = server.recvfrom(65535)
                server.sendto(word.encode() + data, peer)

    threading.Thread(target=run, daemon=True).start()
    return server


def tcp(host: Host, address: str, port: int) -> str:
    """What comes from there, or the error."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.open_socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect((address, port))
            return connection.recv(100).decode()
        except OSError as error:
            return type(error).__name__


def udp(host: Host, address: str, port: int, size: int = 10) -> str:
    """The word in front of what was sent, once all of it has come back from where it went to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.open_socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        sent = bytes(i % 251 for i in range(size))
        asking.connect((address, port))  # what comes from elsewhere is not heard
        asking.send(sent)
        try:
            data = asking.recv(65535)
        except OSError as error:
            return type(error).__name__
        expect(data.endswith(sent), f"{len(data)} bytes of {size} have come back, or others")
        return data[: len(data) - size].decode()


def check_phone(lab: Lab) -> None:
    """What a phone reaches at the bridge: the server's ports, but for what is the bridge's."""
    for address in (lab.c.ip4, lab.c.ip6):
        for port in PORTS:
            said = tcp(lab.x, address, port)
            expect(said == f"far {port}", f"TCP {address} {port}: {said}")
            said = udp(lab.x, address, port)
            expect(said == f"far {port} ", f"UDP {address} {port}: {said}")
        said = tcp(lab.x, address, SSH), udp(lab.x, address, SSH)
        expect(said == ("near", "near "), f"what listens on the bridge: {said}")
        expect(tcp(lab.x, address, KEPT) == "ConnectionRefusedError", "an exception was taken")
        expect(udp(lab.x, address, KEPT) == "ConnectionRefusedError", "an exception was taken, UDP")
        expect(tcp(lab.x, address, 9) == "ConnectionResetError", "nobody listens on port 9")
        said = udp(lab.x, address, PORTS[1], 20000)
        expect(said == f"far {PORTS[1]} ", f"a large datagram: {said}")


def check_own(lab: Lab) -> None:
    """The bridge's own connections and datagrams, and those that it masquerades, get answers."""
    for address in (lab.x.ip4, lab.x.ip6):
        said = tcp(lab.c, address, 7100), udp(lab.c, address, 7100)
        expect(said == ("phone", "phone"), f"the bridge's own: {said}")
    said = tcp(lab.c, lab.c.ip4, 443), tcp(lab.c, "127.0.0.1", 443)
    expect(said == ("ConnectionRefusedError",) * 2, f"the bridge to itself: {said}")
    said = tcp(lab.x, "10.99.0.1", 7200), udp(lab.x, "10.99.0.1", 7200)
    expect(said == ("behind", "behind"), f"masqueraded: {said}")


def masquerade(lab: Lab) -> None:
    """The bridge is also the router of x on the way to an address of s."""
    lab.s.check(["ip", "addr", "add", "10.99.0.1/32", "dev", "lo"])
    lab.x.check(["ip", "route", "add", "10.99.0.1", "via", lab.c.ip4])
    lab.c.check(["ip", "route", "add", "10.99.0.1", "via", lab.s.ip4])
    lab.c.check(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0"])
    rules = "add table ip lab_nat; add chain ip lab_nat out { type nat hook postrouting priority 100; };"
    lab.c.check(["nft", f"{rules} add rule ip lab_nat out ip daddr 10.99.0.1 masquerade"])


def check_all(workers: int, iptables: bool = False) -> None:
    with Lab(third=True) as lab, contextlib.ExitStack() as opened:
        program = without_nftables(lab) if iptables else ""
        for port in (*PORTS, KEPT, SSH):
            opened.enter_context(serve_tcp(lab.s, port, f"far {port}"))
            opened.enter_context(serve_udp(lab.s, port, f"far {port} "))
        opened.enter_context(serve_tcp(lab.c, SSH, "near"))
        opened.enter_context(serve_udp(lab.c, SSH, "near "))
        masquerade(lab)
        for host, address, port, word in (
            (lab.x, "::", 7100, "phone"),
            (lab.s, "::ffff:10.99.0.1", 7200, "behind"),
        ):
            opened.enter_context(serve_tcp(host, port, word, address))
            opened.enter_context(serve_udp(host, port, word, address))
        before = lab.c.firewall(), all_rules(lab.c)
        paqet.start_server(lab, Settings())
        settings = Settings(extra=ALL.format(KEPT, workers), transport=f"  conn: {workers}\n", control=True)
        client = paqet.start_client(lab, settings, program)
        wait_until(lambda: tcp(lab.x, lab.c.ip4, 443) == "far 443", 15, "the tunnel")
        check_phone(lab)
        check_own(lab)
        path = client.popen.args[-1]
        text = open(path).read()
        for except_, want in (("443", "ConnectionRefusedError"), ("444", "far 443")):
            with open(path, "w") as file:
                file.write(text.replace(f"22,{KEPT}", except_))
            reload = paqet.ask(lab, "client", "reload")
            expect(reload.returncode == 0, f"reload: {reload.stderr}")
            said = tcp(lab.x, lab.c.ip4, 443)
            expect(said == want, f"without {except_}: {said}")
        if workers > 1:
            expect(client.stop() == 0, "the exit code")
        else:
            client.kill()
        if iptables:
            client = paqet.start_client(lab, Settings(client_port=4711), program)
            client.wait_log("session to", 10)
            expect(client.stop(20) == 0, "the exit code of the next one")
        left = lab.c.firewall(), all_rules(lab.c)
        expect(left == before, f"rules are left: {left}")
        expect(tcp(lab.x, lab.c.ip4, 443) == "ConnectionRefusedError", "a port is still taken")


@test()
def test_all_ports() -> None:
    """All ports lead to the server, TCP and UDP, IPv4 and IPv6; what listens on the bridge, what
    is excepted, and the bridge's own connections stay; nothing is left when it was killed."""
    check_all(1)


@test()
def test_all_ports_workers() -> None:
    """The same with two workers, that ends in order."""
    check_all(2)


@test(limit=90)
def test_all_ports_iptables() -> None:
    """The same without nf_tables; what a killed client leaves, the next one removes."""
    check_all(1, iptables=True)
