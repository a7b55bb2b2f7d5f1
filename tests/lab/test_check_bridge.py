# SPDX-License-Identifier: MIT
"""paqet check at a bridge: who has its ports, what this machine's firewall does with them, and whether the server
reaches what they lead to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import paqet
from case import expect, test
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
            expect("inet lab_fw input drops" in said[0][1] and "none names 8006-8010:" in said[0][1], f"{policy}: {said}")
        said = firewall(lab, path, "drop", "udp dport 7443 accept")
        expect("none names 7443, 8006-8010:" in said[0][1], f"a rule about UDP: {said}")
        said = firewall(lab, path, "drop", "tcp dport != 7443 accept")
        expect("none names 7443, 8006-8010:" in said[0][1], f"a rule about all others: {said}")
        said = firewall(lab, path, "accept", "tcp dport 7443 drop")
        expect(len(said) == 1 and "drops or rejects what comes to 7443," in said[0][1], f"{said}")
        lab.c.check(["iptables", "-A", "INPUT", "-p", "tcp", "-m", "multiport", "--dports", "7053,8001", "-j", "REJECT"])
        said = texts(findings(lab.c, path, "--quick", "-w", "1", bad=True), "firewall")
        expect(len(said) == 1 and "INPUT drops or rejects what comes to 8001, 7053," in said[0][1], f"iptables: {said}")


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
