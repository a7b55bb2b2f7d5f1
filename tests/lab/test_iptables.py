# SPDX-License-Identifier: MIT
"""Where the kernel has no nf_tables: all that paqet wants of the firewall, by iptables."""

from __future__ import annotations

import re
import signal

import paqet
from case import expect, test
from lab import Host, Lab, wait_until
from packets import RST
from paqet import Settings
from test_dns import Resolver, ask
from test_tun import FAR, internet, need, seen_by_far, tun, wait_ping
from test_tun_leaks import FAR6, Wire, routes
from without import all_rules, without_nftables

def rules(host: Host, family: str = "ip") -> list[str]:
    """What is in the table beside its empty chains."""
    listing = host.check([f"{family}tables-legacy", "-t", "raw", "-S"])
    return [line for line in listing.splitlines() if not line.startswith("-P")]


MORE = "  routes: [default]\n  dns: [198.18.0.53]\n  lan: block\n"


def carry(ip6: bool, resets: str) -> None:
    with Lab() as lab:
        program = without_nftables(lab)
        settings = Settings(ip6=ip6)
        lab.origin()
        capture = lab.sniff(resets)
        server = paqet.start_server(lab, settings, program)
        client = paqet.start_client(lab, settings, program)
        for process in (server, client):
            process.wait_log(r"kept out by iptables \(raw\)", 10)
        result = lab.load("fetch", "--bytes", 2_000_000)
        expect(result["failed"] == 0, f"download: {result}")
        caught = [segment for segment in capture.stop() if segment.flags & RST]
        expect(not caught, f"{len(caught)} RST")
        family = "ip6" if ip6 else "ip"
        for host in (lab.s, lab.c):
            counted = host.check([f"{family}tables-legacy", "-t", "raw", "-L", "-v", "-n", "-x"])
            dropped = re.search(r"(?m)^ +(\d+) +\d+ DROP", counted)
            expect(dropped and int(dropped[1]) > 10, f"nothing was dropped in {host.letter}: {counted}")
        client.kill()
        left = rules(lab.c, family)
        expect(len(left) >= 3, f"a killed client's rules: {left}")
        client = paqet.start_client(lab, settings, program)
        paqet.wait_working(lab)
        chains = [line for line in rules(lab.c, family) if line.startswith("-N")]
        expect(len(chains) == 1 and not set(chains) & set(left), f"chains: {chains}, before: {left}")
        expect(client.stop(20) == 0 and server.stop(20) == 0, "exit codes")
        for host in (lab.s, lab.c):
            for version in ("ip", "ip6"):
                expect(not rules(host, version), f"left in {host.letter}: {rules(host, version)}")


@test(limit=90)
def test_iptables_ipv4() -> None:
    carry(False, "tcp[13] & 4 != 0")


@test(limit=90)
def test_iptables_ipv6() -> None:
    carry(True, "ip6 and ip6[6] == 6 and ip6[53] & 4 != 0")


@test(limit=90)
def test_iptables_beside_others() -> None:
    """Another's rules and chains stay, and those of a paqet that lives."""
    with Lab() as lab:
        program = without_nftables(lab)
        tool = ["iptables-legacy", "-t", "raw"]
        lab.c.check([*tool, "-N", "paqet-1"])
        lab.c.check([*tool, "-A", "PREROUTING", "-s", "192.0.2.1", "-j", "paqet-1"])
        lab.c.check([*tool, "-N", "others"])
        before = rules(lab.c)
        lab.origin()
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(), program)
        paqet.wait_working(lab)
        lives = rules(lab.c)
        config = paqet.client_config(lab, Settings(client_port=4711)).replace(":1080", ":1081")
        second = paqet.start(lab.c, "second", config, program)
        second.wait_log("session to", 10)
        expect(second.stop(20) == 0, "exit code of the second one")
        expect(rules(lab.c) == lives, f"{rules(lab.c)}, before {lives}")
        expect(set(before) < set(rules(lab.c)), f"{rules(lab.c)}")
        client.stop(20)
        expect(rules(lab.c) == before, f"{rules(lab.c)}, before {before}")


@test(limit=90)
def test_iptables_whole_machine() -> None:
    """TUN with masquerading, names and the kill switch; nothing is left of killed ones, nor of those that ended."""
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        program = without_nftables(lab)
        internet(lab)
        routes(lab)
        lab.x.check(["ip", "-6", "addr", "add", f"{FAR6}/128", "dev", "lo"])
        resolver = Resolver(lab, "198.18.0.53")
        before = [all_rules(host) for host in (lab.s, lab.c)]
        server_settings = Settings(network=False, extra=tun(1, "  masquerade: true\n"))
        server = paqet.start_server(lab, server_settings, program)
        settings = {
            switch: Settings(network=False, extra=tun(2, f"{MORE}  kill_switch: {switch}\n"))
            for switch in ("off", "on", "always")
        }
        here = paqet.start_client(lab, settings["always"], program)
        wait_ping(lab.c, FAR)
        expect(seen_by_far(lab) == lab.s.ip4, "not masqueraded")
        for nth, at in enumerate((FAR, FAR6, lab.x.ip4, lab.x.ip6)):
            expect(ask(lab, f"n{nth}.example", (at, 53)), f"no answer from {at}")
        expect(resolver.queries >= 4, f"{resolver.queries} questions")
        wire = Wire(lab)
        server.kill()
        here.kill()
        expect(not ask(lab, "late.example", (FAR, 53), limit=1), "an answer after kill -9")
        wire.expect_nothing("after kill -9")
        server = paqet.start_server(lab, server_settings, program)
        here = paqet.start_client(lab, settings["always"], program)
        wait_ping(lab.c, FAR, 25)
        expect(here.stop(20) == 0, "exit code")
        expect(not ask(lab, "late.example", (FAR, 53), limit=1), "an answer after the end")
        wire.expect_nothing("after the end")
        here = paqet.start_client(lab, settings["on"], program)
        wait_ping(lab.c, FAR, 25)
        wire.expect_nothing("at another start")
        here.kill()
        here = paqet.start_client(lab, settings["off"], program)
        wait_until(lambda: "-kept-" not in str(all_rules(lab.c)), 5, "the end of what was kept")
        wait_ping(lab.c, FAR, 25)
        expect(here.stop(20) == 0 and server.stop(20) == 0, "exit codes")
        left = [all_rules(host) for host in (lab.s, lab.c)]
        expect(left == before, f"left: {left}")


def old(name: str) -> str:
    """A tool that knows neither -w nor how to restore."""
    return (
        f'[ "$1" = --version ] && echo "{name} v1.4.7" && exit\n'
        'for word; do [ "$word" = -w ] && echo "unknown option -w" >&2 && exit 2; done\n'
        f'exec /usr/sbin/{name}-legacy "$@"\n'
    )


@test(limit=90)
def test_iptables_old() -> None:
    """An iptables of many years ago, which changes a line at a time."""
    with Lab() as lab:
        names = ("iptables", "ip6tables")
        tools = {f"{name}-legacy": old(name) for name in names}
        tools |= {f"{name}-legacy-restore": "exit 127\n" for name in names}
        program = without_nftables(lab, tools)
        lab.origin()
        server = paqet.start_server(lab, Settings(), program)
        client = paqet.start_client(lab, Settings(), program)
        paqet.wait_working(lab)
        client.kill()
        client = paqet.start_client(lab, Settings(), program)
        paqet.wait_working(lab)
        made = [line for line in rules(lab.c) if line.startswith("-N")]
        expect(len(made) == 1, f"chains: {made}")
        expect(client.stop(20) == 0 and server.stop(20) == 0, "exit codes")
        expect(not rules(lab.c) and not rules(lab.s), f"left: {rules(lab.c)} {rules(lab.s)}")


@test(limit=90)
def test_iptables_without_a_part() -> None:
    """What is missing is named, and nothing is left of what was made before."""
    no = 'echo "iptables: No chain/target/match by that name." >&2; exit 1'
    with Lab() as lab:
        script = {
            "iptables-legacy": f'case "$*" in *socket*) {no};; esac\nexec /usr/sbin/iptables-legacy "$@"\n',
            "iptables-legacy-restore": 'text=$(cat); case "$text" in *socket*) '
            "echo \"iptables-restore: line 9 failed\" >&2; exit 1;; esac\n"
            'echo "$text" | exec /usr/sbin/iptables-legacy-restore "$@"\n',
        }
        program = without_nftables(lab, script)
        settings = Settings(extra="forward:\n  - {listen: all, target: '127.0.0.1', protocol: tcp}\n")
        client = paqet.start(lab.c, "client", paqet.client_config(lab, settings), program)
        expect(client.wait(10) != 0, "it goes on")
        said = client.log()
        for word in ("-m socket", "xt_socket", "iptables-mod-tproxy", "listen:"):
            expect(word in said, f"{word} is not in: {said[-700:]}")
        expect(not all_rules(lab.c), f"left: {all_rules(lab.c)}")


@test(limit=90)
def test_iptables_stopped_at_the_start() -> None:
    """SIGTERM while the rules are being made: nothing is left of them."""
    slow = '/usr/sbin/iptables-legacy-restore "$@"; code=$?; sleep 0.5; exit $code\n'
    with Lab() as lab:
        program = without_nftables(lab, {"iptables-legacy-restore": slow})
        for host, config in ((lab.s, paqet.server_config), (lab.c, paqet.client_config)):
            for sig in (signal.SIGTERM, signal.SIGINT):
                here = paqet.start(host, "here", config(lab, Settings()), program)
                wait_until(lambda: rules(host), 10, "rules")
                here.may_end = True
                here.popen.send_signal(sig)
                expect(here.wait(20) == 0, f"exit code; log: {here.log()}")
                expect("stopping on" in here.log(), f"log: {here.log()}")
                expect(not rules(host), f"left in {host.letter}: {rules(host)}")
