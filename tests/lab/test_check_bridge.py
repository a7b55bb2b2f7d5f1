# SPDX-License-Identifier: MIT
"""paqet check at a bridge: who has its ports, what this machine's firewall does with them, and whether the server
reaches what they lead to."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import paqet
from case import Skip, expect, test
from lab import Lab
from paqet import Settings
from test_check import findings, only, write

FORWARD = 'forward:\n  - listen: [":7443", ":8000-8010", ":7053"]\n    target: "127.0.0.1:{}"\n    protocol: {}\n'
RULES = """table inet lab_fw {{
    chain more {{
        tcp dport {{ 7053, 8000-8005 }} accept
    }}
    chain input {{
        type filter hook input priority 0; policy {policy};
        iif lo accept
        {rule}
        jump more
        {last}
    }}
    chain other {{
        tcp dport 8000-9000 accept
    }}
}}
"""


def bridge(forward: str) -> Settings:
    return Settings(extra=forward)


def texts(topics: dict[str, list[dict]], topic: str) -> list[tuple[str, str]]:
    return [(each["level"], each["text"]) for each in topics.get(topic, [])]


@test()
def test_check_bridge_ports() -> None:
    """A port that another program has is bad, and whose it is; free ones mean that the client does not run."""
    with Lab() as lab:
        text = paqet.client_config(lab, bridge(FORWARD.format("8080", "[tcp, udp]")))
        path = write(lab, "bridge.yaml", text)
        lab.c.listen("127.0.0.1", 8003, lambda connection: connection.close())
        said = texts(findings(lab.c, path, "--quick", "-w", "1", bad=True), "forward")
        other = [text for level, text in said if level == "bad"]
        expect(len(other) == 1 and f"process {os.getpid()} has 8003: " in other[0], f"{said}")
        free = [text for level, text in said if level == "note"]
        expect(len(free) == 1 and "7443, 7443/udp, 8000" in free[0] and "does not run" in free[0], f"{said}")
        away = write(lab, "away.yaml", text.replace(":7443", "192.0.2.99:7443"))
        said = texts(findings(lab.c, away, "--quick", "-w", "1", bad=True), "forward")
        expect(sum("192.0.2.99:7443: that is no address of this machine" in text for _, text in said) == 2, f"{said}")


@test()
def test_check_bridge_low_port() -> None:
    """Without the right to take a port below 1024 it is said, and with it not."""
    with Lab() as lab:
        text = paqet.client_config(lab, bridge('forward:\n  - listen: ":443"\n    target: "127.0.0.1:8080"\n    protocol: tcp\n'))
        path = write(lab, "bridge.yaml", text)
        path.chmod(0o644)
        argv = [paqet.program(), "check", "-c", str(path), "--json", "--quick", "-w", "1"]
        for ambient, level, words in (("-all", "bad", "may not listen on 443"), ("+net_bind_service", "note", "does not run")):
            drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", ambient, "--ambient-caps"]
            said = json.loads(lab.c.run([*drop, ambient, *argv]).stdout)["findings"]
            found = [f for f in said if f["topic"] == "forward"]
            expect(len(found) == 1 and found[0]["level"] == level and words in found[0]["text"], f"{ambient}: {found}")


def firewall(lab: Lab, path: Path, policy: str, rule: str, last: str = "") -> list[tuple[str, str]]:
    rules = lab.new_file("rules.nft")
    rules.write_text(RULES.format(policy=policy, rule=rule, last=last))
    lab.c.check(["nft", "-f", str(rules)])
    said = texts(findings(lab.c, path, "--quick", "-w", "1", bad=True), "firewall")
    lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])
    return said


@test()
def test_check_bridge_firewall() -> None:
    """A chain that drops by itself, by its policy or its last rule, and which ports its rules let in."""
    with Lab() as lab:
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(FORWARD.format("8080", "tcp"))))
        said = texts(findings(lab.c, path, "--quick", "-w", "1", bad=True), "firewall")
        expect([level for level, _ in said] == ["ok"], f"no firewall: {said}")
        for policy, last in (("drop", ""), ("accept", "counter reject with icmpx admin-prohibited")):
            said = firewall(lab, path, policy, "tcp dport 7443 accept", last)
            expect(len(said) == 1 and said[0][0] == "note", f"{policy}: {said}")
            expect("inet lab_fw input drops" in said[0][1] and "none lets in 8006-8010:" in said[0][1], f"{policy}: {said}")
        said = firewall(lab, path, "drop", "udp dport 7443 accept")
        expect("none lets in 7443, 8006-8010:" in said[0][1], f"a rule about UDP: {said}")
        said = firewall(lab, path, "drop", "tcp dport != 7443 accept")
        expect("none lets in 7443:" in said[0][1], f"a rule about all others: {said}")
        said = firewall(lab, path, "accept", "tcp dport 7443 drop")
        expect(len(said) == 1 and "drops or rejects what comes to 7443" in said[0][1], f"{said}")
        lab.c.check(["iptables", "-A", "INPUT", "-p", "tcp", "-m", "multiport", "--dports", "7053,8001", "-j", "REJECT"])
        said = texts(findings(lab.c, path, "--quick", "-w", "1", bad=True), "firewall")
        expect(len(said) == 1 and "INPUT drops or rejects what comes to 8001, 7053" in said[0][1], f"iptables: {said}")


ONE = 'forward:\n  - listen: ":7443"\n    target: "127.0.0.1:8080"\n    protocol: tcp\n'
IN, SHUT, REFUSED = "no rule was found", "none lets in 7443", "drops or rejects what comes to 7443"
SOME, KEPT = "let in only some of what comes to 7443: ", "keep out some of what comes to 7443: "
NOT = "let in what comes to 7443 is not known: it depends on what is not understood here: "
JUDGED = (  # policy, rules, what is said
    ("drop", "ct state established,related accept; ct state invalid drop; tcp dport 7443 accept", IN),
    ("drop", "ct state established tcp dport 7443 accept", SHUT),
    ("drop", "ct state { established, related } accept; ct state { new } tcp dport 7443 accept", IN),
    ("drop", "ct state vmap { established : accept, related : accept, invalid : drop }; tcp dport 7443 accept", IN),
    ("accept", "ct state vmap { established : accept, new : drop }", SHUT),
    ("accept", "ct state new drop", SHUT),
    ("accept", "ct state != { established, related } drop", SHUT),
    ("accept", "tcp flags & (fin | syn | rst | ack) == syn drop", SHUT),
    ("accept", "tcp flags & (fin | syn | rst | ack) != syn drop", IN),
    ("drop", "ip saddr 10.0.0.0/8 tcp dport 7443 accept", SOME + "from 10.0.0.0/8"),
    ("drop", "ip saddr 10.77.1.0/25 accept", SOME + "from 10.77.1.0/25"),
    ("drop", "ip6 saddr 2001:db8::/32 tcp dport 7443 accept", SOME + "over IPv6"),
    ("drop", "ip saddr { 192.0.2.1, 192.0.2.7 } tcp dport 7443 accept", SOME + "from some addresses"),
    ("accept", "ip saddr 10.0.0.0/8 drop", KEPT + "from 10.0.0.0/8"),
    ("accept", "ip saddr != 192.0.2.7 drop", KEPT + "not from 192.0.2.7"),
    ("accept", "ip saddr != { 192.0.2.7, 192.0.2.9 } tcp dport 7443 reject", KEPT + "not from some addresses"),
    ("accept", "ip daddr 192.0.2.7 tcp dport 7443 drop", KEPT + "to 192.0.2.7"),
    ("accept", "iifname != lo tcp dport 7443 drop", REFUSED),
    ("accept", "iifname lo tcp dport 7443 drop", IN),
    ("accept", 'iifname "eth7" tcp dport 7443 drop', KEPT + "through eth7"),
    ("accept", "tcp dport 7443 accept; tcp dport 7443 drop", IN),  # the first that decides
    ("accept", "tcp dport 7443 drop; tcp dport 7443 accept", REFUSED),
    ("drop", "tcp dport 7000-7100 accept; tcp dport { 7443 } accept", IN),
    ("drop", "tcp dport 7443 limit rate 10/second accept", NOT + "limit"),
    ("accept", "tcp dport vmap { 22 : accept, 7443 : drop }", REFUSED),
    ("drop", "tcp dport vmap { 22 : accept, 7443 : accept }", IN),
    ("drop", "tcp dport vmap { 22-25 : accept, 7000-7500 : accept }", IN),
    ("drop", "tcp dport vmap { 22-25 : accept, 7000-7442 : accept, 7444-7500 : accept }", SHUT),
    ("drop", "meta l4proto tcp accept", IN),
    ("drop", "meta l4proto != tcp accept", SHUT),
    ("accept", "tcp dport 7443 jump other; tcp dport 7443 drop", REFUSED),
    ("accept", "tcp dport 7443 return; drop", IN),  # to the policy
    ("drop", "ip saddr 10.0.0.0/8 jump every", SOME + "from 10.0.0.0/8"),
    ("drop", "jump every", IN),
    ("drop", "goto back; accept", SHUT),
    ("drop", "jump back; accept", IN),
    # what is not about ports: each rule says its own reason, and one that is not understood does not hide what is
    ("drop", "ip saddr 10.0.0.0/8 tcp dport 22 accept; ip saddr 192.0.2.0/24 tcp dport 7443 accept", SOME + "from 192.0.2.0/24"),
    ("drop", "ct status dnat accept", SHUT),
    ("drop", "meta l4proto { icmp, ipv6-icmp } accept", SHUT),
    ("drop", "meta l4proto { tcp, udp } th dport { 53, 7443 } accept", IN),
    ("drop", "meta l4proto != { icmp, ipv6-icmp } accept", IN),
    ("drop", "meta pkttype { broadcast, multicast } drop; tcp dport 7443 accept", IN),
    ("drop", "fib daddr type { broadcast, multicast } drop; fib daddr type local tcp dport 7443 accept", IN),
    ("drop", "meta mark 5 accept", SHUT),
    ("drop", "meta mark 5 accept", "unless by what is not understood here: a comparison"),
    ("drop", "meta mark 5 tcp dport 7443 accept", NOT + "a comparison"),
    ("drop", "ct state established,related accept; iif lo accept; ip protocol icmp accept; tcp dport 7443 accept", IN),
    ("drop", "ct state established,related accept; iif lo accept; ip protocol icmp accept; tcp dport 22 accept", SHUT),
    ("drop", "ip saddr 127.0.0.0/8 drop; ip daddr 224.0.0.0/4 drop; tcp dport 7443 accept", IN),
    # maps of verdicts
    ("drop", "iifname vmap { lo : accept, eth7 : jump every }", SOME + "through eth7"),
    ("accept", "iifname vmap { lo : accept, eth7 : drop }", KEPT + "through eth7"),
    ("accept", "iif vmap { lo : drop }", IN),
    ("drop", "meta l4proto vmap { tcp : jump every, udp : drop }", IN),
    ("accept", "meta l4proto vmap { icmp : accept, tcp : drop }", SHUT),
    ("drop", "ip saddr vmap { 10.0.0.0/8 : accept, 192.0.2.0/24 : drop }", SOME + "from some addresses"),
    ("accept", "ip saddr vmap { 10.0.0.0/8 : accept, 192.0.2.0/24 : drop }", KEPT + "from some addresses"),
    ("accept", "ip saddr . tcp dport vmap { 192.0.2.1 . 7443 : drop }", NOT + "a map"),
    ("drop", "ip saddr . tcp dport { 192.0.2.1 . 7443 } accept", NOT + "a set"),
    ("accept", "ct state vmap { established : accept, * : drop }", SHUT),
    ("accept", "tcp dport vmap { 22 : accept, * : drop }", REFUSED),
    ("drop", "meta mark set tcp dport map { 7443 : 1 } accept", IN),
    ("accept", "tcp dport 7443 meta mark set tcp dport map { 22 : 1 } drop", IN),
    ("drop", "meta l4proto . th dport { tcp . 22, tcp . 7443, udp . 53 } accept", IN),
    ("drop", "meta l4proto . th dport { tcp . 22, udp . 7443 } accept", SHUT),
    ("accept", "meta l4proto . th dport vmap { tcp . 22 : accept, tcp . 7443 : drop }", REFUSED),
    ("drop", "meta l4proto . th dport { tcp . 7000-7500 } accept", NOT + "byteorder"),
    # ports that are asked for twice, or in parts
    ("drop", "tcp dport 7000-8000 tcp dport != 7443 accept", NOT + "ports, twice"),
    ("drop", "tcp dport != 7443-7500 accept", SHUT),
    ("accept", "tcp dport & 0xfff0 == 0x1d10 drop", NOT + "a comparison"),
    ("accept", "tcp sport 1024-65535 tcp dport 7443 drop", KEPT + "from some ports"),
    ("accept", "tcp dport > 7442 tcp dport < 7444 drop", NOT + "ports, twice"),
)
CHAINS = """table inet lab_fw {{
    chain other {{ tcp dport 8000-9000 accept; }}
    chain every {{ accept; }}
    chain back {{ tcp dport 7443 return; accept; }}
    chain input {{ type filter hook input priority 0; policy {policy}; iif lo accept; {rules}; }}
}}
"""


def judged(lab: Lab, path: Path) -> list[tuple[str, str]]:
    """What is said of the firewall."""
    said = json.loads(lab.c.run([paqet.program(), "check", "-c", str(path), "--json", "--quick"], 20).stdout)
    return [(each["level"], each["text"]) for each in said["findings"] if each["topic"] == "firewall"]


def gets_in(lab: Lab) -> bool:
    """Whether a connection from outside does."""
    connection = lab.s.open_socket(socket.AF_INET, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(0.3)
        return connection.connect_ex((lab.c.ip4, 7443)) == 0


@test(limit=90)
def test_check_bridge_firewall_judged() -> None:
    """Rules are gone through as the kernel does for a connection that begins outside: addresses, states, interfaces,
    order; what is so for some alone, or not understood, is said to be that. The kernel itself says whether that is right."""
    with Lab() as lab:
        config = paqet.client_config(lab, bridge(ONE))  # with a router that is not there nobody is asked, nor waited for
        path = write(lab, "bridge.yaml", config.replace(lab.s.mac, "02:00:00:00:00:77"))
        lab.c.listen("0.0.0.0", 7443, lambda connection: connection.close())
        for policy, rules, words in JUDGED:
            file = lab.new_file("rules.nft")
            file.write_text(CHAINS.format(policy=policy, rules=rules))
            lab.c.check(["nft", "-f", str(file)])
            said = judged(lab, path)
            if words in (IN, SHUT, REFUSED):
                expect(gets_in(lab) == (words == IN), f"the kernel does otherwise: {policy}: {rules}: {said}")
            lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])
            text = f"{policy}: {rules}: {said}"
            expect(len(said) == 1 and words in said[0][1], text)
            expect((said[0][0] == "ok") == (words == IN), text)
        for rules, words in (
            ("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT|-p tcp --dport 7443 -m conntrack --ctstate NEW -j ACCEPT", IN),
            ("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT|-p tcp --dport 7443 -m conntrack ! --ctstate NEW -j ACCEPT", SHUT),
            ("-p tcp -m multiport --dports 22,7400:7500 -j ACCEPT", IN),
            ("-p tcp -m multiport ! --dports 22,7400:7500 -j ACCEPT", SHUT),
            ("-p tcp ! --dport 7443 -j ACCEPT", SHUT),
            ("-p tcp --syn -j ACCEPT", IN),
            ("-p tcp ! --syn -j ACCEPT", SHUT),
            ("-s 192.0.2.0/24 -p tcp --dport 7443 -j ACCEPT", SOME + "from 192.0.2.0/24"),
            ("-p tcp --dport 7443 -m recent --name a --update -j ACCEPT", NOT + "recent"),
        ):
            lab.c.check(["iptables", "-P", "INPUT", "DROP"])
            for rule in rules.split("|"):
                lab.c.check(["iptables", "-A", "INPUT", *rule.split()])
            said = judged(lab, path)
            expect(len(said) == 1 and words in said[0][1], f"iptables {rules}: {said}")
            if words in (IN, SHUT):
                expect(gets_in(lab) == (words == IN), f"the kernel does otherwise: iptables {rules}: {said}")
            lab.c.check(["iptables", "-F", "INPUT"])
            lab.c.check(["iptables", "-P", "INPUT", "ACCEPT"])


@test()
def test_check_bridge_firewall_all_ports() -> None:
    """Of `listen: all` it is said whether a chain drops what no rule lets in, else which ports a rule keeps out."""
    with Lab() as lab:
        every = 'forward:\n  - listen: all\n    target: "127.0.0.1"\n    protocol: tcp\n'
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(every)).replace(lab.s.mac, "02:00:00:00:00:77"))
        for policy, rules, words in (
            ("accept", "udp dport 22 drop", IN),
            ("accept", "tcp dport { 22, 8000-8010 } drop", "drops or rejects what comes to 22, 8000-8010"),
            ("accept", "ip saddr 10.0.0.0/8 tcp dport 22 drop", "keep out some of what comes to 22: from 10.0.0.0/8"),
            ("drop", "tcp dport { 22, 443 } accept", "of all ports only those get here that its rules name"),
            ("drop", "tcp dport { 0-999, 1001-65535 } accept", "of all ports only those get here that its rules name"),
        ):
            file = lab.new_file("rules.nft")
            file.write_text(CHAINS.format(policy=policy, rules=rules))
            lab.c.check(["nft", "-f", str(file)])
            said = judged(lab, path)
            expect(len(said) == 1 and words in said[0][1] and (said[0][0] == "ok") == (words == IN), f"{rules}: {said}")
            lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])


@test()
def test_check_bridge_firewall_names() -> None:
    """Names of chains and sets that are as long as they may be are not taken for others that begin so."""
    with Lab() as lab:
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(ONE)).replace(lab.s.mac, "02:00:00:00:00:77"))
        long = "a" * 250
        for end, words in (("x", SHUT), ("y", IN)):
            file = lab.new_file("rules.nft")
            file.write_text(f"""table inet lab_fw {{
                set {long}x {{ type inet_service; elements = {{ 22 }}; }}
                set {long}y {{ type inet_service; elements = {{ 7443 }}; }}
                chain {long}x {{ tcp dport 22 accept; }}
                chain {long}y {{ tcp dport @{long}y accept; }}
                chain input {{ type filter hook input priority 0; policy drop; tcp dport @{long}x accept; jump {long}{end}; }}
            }}""")
            lab.c.check(["nft", "-f", str(file)])
            said = judged(lab, path)
            expect(len(said) == 1 and words in said[0][1], f"{end}: {said}")
            lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])


@test()
def test_check_bridge_firewall_asleep() -> None:
    """The chains of a table that sleeps keep nothing out."""
    with Lab() as lab:
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(ONE)).replace(lab.s.mac, "02:00:00:00:00:77"))
        file = lab.new_file("rules.nft")
        file.write_text(CHAINS.format(policy="drop", rules="tcp dport 22 accept"))
        lab.c.check(["nft", "-f", str(file)])
        expect(SHUT in judged(lab, path)[0][1], f"{judged(lab, path)}")
        lab.c.check(["nft", "add", "table", "inet", "lab_fw", "{ flags dormant; }"])
        expect([level for level, _ in judged(lab, path)] == ["ok"], f"{judged(lab, path)}")


@test()
def test_check_bridge_firewall_too_much() -> None:
    """Where there is more than is gone through, nothing is said of the ports but that."""
    with Lab() as lab:
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(ONE)).replace(lab.s.mac, "02:00:00:00:00:77"))
        chain = "chain c{0} {{ type filter hook input priority {0}; policy accept; {1}; }}\n"
        for n, level, words in ((32, "ok", IN), (33, "note", "not all rules of this machine could be gone through")):
            file = lab.new_file("rules.nft")
            file.write_text("table inet lab_fw {\n" + "".join(chain.format(i, "iif lo accept") for i in range(n)) + "}\n")
            lab.c.check(["nft", "-f", str(file)])
            expect([(said[0], words in said[1]) for said in judged(lab, path)] == [(level, True)], f"{n}: {judged(lab, path)}")
            lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])


@test()
def test_check_bridge_firewall_of_old() -> None:
    """Rules of the iptables of old are not read, and it is said that there are any."""
    with Lab() as lab:
        path = write(lab, "bridge.yaml", paqet.client_config(lab, bridge(ONE)).replace(lab.s.mac, "02:00:00:00:00:77"))
        expect(not any("old iptables" in text for _, text in judged(lab, path)), "there are none")
        rule = ["-A", "INPUT", "-p", "tcp", "--dport", "7443", "-j", "DROP"]
        if not shutil.which("iptables-legacy") or lab.c.run(["iptables-legacy", *rule]).returncode:
            raise Skip("no iptables of old here, or a kernel without it")
        expect(any(level == "note" and "old iptables" in text for level, text in judged(lab, path)), f"{judged(lab, path)}")


@test()
def test_check_bridge_targets() -> None:
    """The server reaches a target, nobody is there, or its rules do not allow it; the first of each run is asked for."""
    with Lab() as lab:
        paqet.start_pair(lab, Settings(extra='allow: ["127.0.0.1:8080", "127.0.0.1:7000-7100"]\n'), client=Settings())
        entry = 'forward:\n  - listen: ":{0}"\n    target: "127.0.0.1:{1}"\n    protocol: tcp\n'
        for listen, port, level, words, bad in (
            ("7443", "8080", "ok", "127.0.0.1:8080 is reached", False),
            ("7443", "7010", "note", "does not reach 127.0.0.1:7010: nothing listens there", False),
            ("7443", "9", "bad", "rules do not allow 127.0.0.1:9", True),
        ):
            path = write(lab, f"{port}.yaml", paqet.client_config(lab, bridge(entry.format(listen, port))))
            said = only(findings(lab.c, path, "--quick", bad=bad), "target")
            expect(said["level"] == level and words in said["text"], f"{port}: {said}")
        several = 'forward:\n  - listen: ":7000-7010,7020"\n    target: 127.0.0.1\n    protocol: tcp\n'
        said = texts(
            findings(lab.c, write(lab, "several.yaml", paqet.client_config(lab, bridge(several))), "--quick", bad=False), "target"
        )
        expect([text.split(":")[1] for _, text in said] == ["7000", "7020"], f"{said}")
