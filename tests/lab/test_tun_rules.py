# SPDX-License-Identifier: MIT
"""The client's rules for packets of its own TUN device: past it, into it, or refused."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

import paqet
from case import expect, test
from lab import Host, Lab, Process, wait_until
from paqet import Settings
from test_tun import FAR, beside, internet, need, ping, start_pair, tun, wait_ping

NEAR, BAD = "198.51.100.7", "198.51.100.200"
NEAR6, BAD6, FAR6 = "2001:db8:7::7", "2001:db8:8::8", "2001:db8:5::5"
SERVICE = 7100
RULES = "rules:\n  - block: [198.51.100.128/25, '2001:db8:8::/48', 'any:25']\n  - direct: ['any:2222', 'list:{}']\n"
RESET = (OSError, TimeoutError)
RESET_BY_CLIENT = "refused: ConnectionRefusedError"


def seen(lab: Lab, target: str, port: int = SERVICE) -> str:
    """From where a connection comes to that address of x, or the error with which it is refused at once."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with lab.x.open_socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((target, port))
        listener.listen(1)
        listener.settimeout(4)
        with lab.c.open_socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(4)
            begin = time.monotonic()
            try:
                client.connect((target, port))
            except RESET as error:
                return f"refused: {type(error).__name__}" if time.monotonic() - begin < 3 else "nowhere"
            connection, (address, *_) = listener.accept()
            connection.close()
    return {lab.c.ip4: "c", lab.c.ip6: "c", lab.s.ip4: "s", lab.s.ip6: "s"}.get(address, address)


def expect_seen(lab: Lab, wanted: dict[str, str], when: str) -> None:
    got = {target: seen(lab, target) for target in wanted}
    wrong = {t: way for t, way in got.items() if not way.startswith(wanted[t])}
    expect(not wrong, f"{when}: went {wrong}, wanted {[wanted[t] for t in wrong]}")


def expect_ports(lab: Lab, when: str) -> None:
    """What goes by its port: 2222 directly, 25 nowhere, wherever its network goes."""
    got = {(t, p): seen(lab, t, p).split(":")[0] for t in (NEAR, FAR, NEAR6, FAR6) for p in (25, 2222)}
    wrong = {k: way for k, way in got.items() if way != ("refused" if k[1] == 25 else "c")}
    expect(not wrong, f"{when}: went {wrong}")


def rules_by_port(host: Host) -> int:
    return sum(host.check(["ip", family, "rule"]).count("dport") for family in ("-4", "-6"))


def past(host: Host) -> str:
    return "".join(host.run(["ip", f, "route", "show", "type", "throw", "table", "28769"]).stdout for f in ("-4", "-6"))


@contextlib.contextmanager
def places(lab: Lab):
    internet(lab)
    for host in (lab.c, lab.s):
        host.check(["ip", "-6", "route", "add", "default", "via", lab.x.ip6])
    for ip in (NEAR, BAD):
        lab.x.check(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
    for ip in (NEAR6, BAD6, FAR6):
        lab.x.check(["ip", "-6", "addr", "add", f"{ip}/128", "dev", "lo"])
    yield


@test(limit=60)
def test_tun_rules() -> None:
    """With the kill switch on: direct, blocked and the rest; other rules; and what kill -9 leaves."""
    need("/dev/net/tun")
    with Lab(third=True) as lab, places(lab):
        lists = lab.new_file("near.txt")
        lists.write_text("198.51.100.0/24\n2001:db8:7::/48\n2001:db8:8::/47\n")
        server = paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        more = "  routes: [default]\n  kill_switch: on\n  lan: block\n"
        extra = tun(2, more) + RULES.format(lists)
        client = paqet.start_client(lab, Settings(network=False, extra=extra, control=True))
        wait_ping(lab.c, "10.9.0.1")
        expect_seen(lab, {NEAR: "c", NEAR6: "c", FAR: "s", FAR6: "s", BAD: RESET_BY_CLIENT, BAD6: RESET_BY_CLIENT}, "first")
        expect_ports(lab, "first")
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as beside_it:
            beside_it.bind((lab.c.ip4, 0))
            beside_it.settimeout(2)
            with contextlib.suppress(OSError):
                beside_it.connect((FAR, SERVICE))
                expect(False, "the kill switch let more past than the rules say")
        expect(not ping(lab.c, lab.x.ip4), "the kill switch lets the local network past")
        lists.write_text("203.0.113.0/24\n2001:db8:5::/48\n")
        done = paqet.ask(lab, "client", "reload")
        expect(done.returncode == 0 and "2 ranges of addresses go past" in done.stdout, f"{done.stdout}{done.stderr}")
        expect_seen(lab, {NEAR: "s", NEAR6: "s", FAR: "c", FAR6: "c", BAD: RESET_BY_CLIENT, BAD6: RESET_BY_CLIENT}, "after reload")
        expect_ports(lab, "after reload")
        server.kill()
        expect(ping(lab.c, FAR) and not ping(lab.c, NEAR), "without a server")
        client.kill()
        expect_seen(lab, {NEAR: "c", NEAR6: "c", BAD: "c", BAD6: "c", FAR: "c"}, "after kill -9")
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        client = paqet.start_client(lab, Settings(network=False, extra=tun(2, "  routes: [default]\n")))
        wait_ping(lab.c, "10.9.0.1")
        expect(not past(lab.c) and not rules_by_port(lab.c), f"left behind: {past(lab.c)}")
        expect_seen(lab, {NEAR: "s", FAR6: "s", BAD: "s"}, "a client without rules")
        expect(client.stop() == 0, "exit code")


def device(lab: Lab, target: str) -> str:
    return lab.c.check(["ip", "route", "get", target]).split(" dev ")[1].split()[0]


def start_beside(lab: Lab, rules: str) -> Process:
    """A second client on c with 198.51.100.128/25."""
    process = paqet.start(lab.c, "second", beside(lab, 3, "198.51.100.128/25") + rules)
    wait_until(lambda: device(lab, "198.51.100.129") == "tun3", 10, "the second one's route")
    return process


@test(limit=60)
def test_tun_rules_of_several() -> None:
    """What one client lets past its device does not undo what another leads to its own."""
    with Lab(third=True) as lab, places(lab):
        rules = "rules:\n  - direct: [198.51.100.0/24, 10.0.0.0/8]\n"
        pair = start_pair(lab, "  routes: [default]\n" + rules, "  masquerade: true\n")
        expect([device(lab, NEAR), device(lab, FAR)] == [lab.c.device, "tun0"], "the first one alone")
        second = start_beside(lab, "rules:\n  - direct: [198.51.100.192/27, 203.0.113.0/24]\n")
        wanted = [lab.c.device, "tun3", lab.c.device, "tun0"]
        wait_until(lambda: [device(lab, t) for t in (NEAR, "198.51.100.129", BAD, FAR)] == wanted, 5, "both")
        os.kill(pair.client.pid, signal.SIGHUP)
        pair.client.wait_log("ranges of addresses go past the TUN device", 5)
        got = [device(lab, t) for t in (NEAR, "198.51.100.129", BAD, FAR)]
        expect(got == wanted and past(lab.c).count("throw") == 3, f"a reload of the same: {got}, {past(lab.c)}")
        expect(pair.client.stop() == 0, "exit code")
        expect([device(lab, t) for t in ("198.51.100.129", BAD)] == ["tun3", lab.c.device], "after the first one")
        pair.client = paqet.start_client(lab, Settings(network=False, extra=tun(2, "  routes: [default]\n") + rules))
        wait_until(lambda: [device(lab, t) for t in (NEAR, "198.51.100.129", BAD, FAR)] == wanted, 5, "both again")
        second.kill()
        expect(device(lab, BAD) == lab.c.device, "after the second one was killed: the main table")
        paqet.start(lab.c, "third", beside(lab, 4, "192.0.2.0/24"))
        wait_until(lambda: device(lab, BAD) == "tun0", 5, "what the killed one had let past")
        expect(pair.client.stop() == 0, "exit code")


@test(limit=90)
def test_tun_rules_many() -> None:
    """20,000 networks: quick, and small; a reload changes what differs."""
    with Lab() as lab:
        lists = lab.new_file("many.txt")
        lines = [f"{20 + i // 65536}.{i // 256 % 256}.{i % 256}.0/25" for i in range(15_000)]
        lines += [f"2001:db8:{i:x}::/49" for i in range(5_000)]
        lists.write_text("\n".join(lines))
        paqet.start_server(lab, Settings(network=False, extra=tun(1)))
        extra = tun(2, "  routes: [default]\n  kill_switch: on\n  lan: allow\n") + f"rules:\n  - direct: 'list:{lists}'\n"
        begin = time.monotonic()
        config = paqet.client_config(lab, Settings(network=False, extra=extra, control=True))
        client = paqet.start(lab.c, "client", config)
        client.wait_log("session to", 30)
        started, memory = time.monotonic() - begin, client.memory_mb()
        count = past(lab.c).count("throw")
        expect(count == 20_000, f"{count} routes")
        lists.write_text("\n".join(lines[1:]))
        begin = time.monotonic()
        done = paqet.ask(lab, "client", "reload")
        changed = time.monotonic() - begin
        expect(done.returncode == 0 and "19999 ranges" in done.stdout, f"{done.stdout}{done.stderr}")
        expect(past(lab.c).count("throw") == 19_999, "the route that is gone")
        begin = time.monotonic()
        expect(client.stop(20) == 0, "exit code")
        ended = time.monotonic() - begin
        expect(not past(lab.c), "left behind")
        print(f"  20,000 networks: started in {started:.2f} s, reload {changed:.2f} s, end {ended:.2f} s, {memory:.1f} MB",
              flush=True)
        expect(started < 20 and changed < 10 and ended < 10, "too slow")
