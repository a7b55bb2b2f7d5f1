# SPDX-License-Identifier: MIT
"""paqet check at a bridge whose machine has the rules of ufw, of firewalld, of a router or of a plain file: an open port
is fine, a shut one is not, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import paqet
from case import expect, test
from lab import Lab
from test_check import write
from test_check_bridge import IN, ONE, SHUT, bridge, gets_in

# chains of ufw, as its own are built; a port is let in by lines in the last of them
UFW = (
    "before -i lo -j ACCEPT",
    "before -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "before -m conntrack --ctstate INVALID -j deny-log",
    "before -m conntrack --ctstate INVALID -j DROP",
    "before -p {icmp} -j ACCEPT",
    "before -p udp --sport 67 --dport 68 -j ACCEPT",
    "before -j not-local",
    "not-local -m addrtype --dst-type LOCAL -j RETURN",
    "not-local -m addrtype --dst-type MULTICAST -j RETURN",
    "not-local -m addrtype --dst-type BROADCAST -j RETURN",
    "not-local -m limit --limit 3/min --limit-burst 10 -j deny-log",
    "not-local -j DROP",
    "deny-log -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN",
    "before -p udp -d {group} --dport 5353 -j ACCEPT",
    "before -j user",
    "after -p udp --dport 137 -j skip",
    "after -p tcp --dport 445 -j skip",
    "after -m addrtype --dst-type BROADCAST -j skip",
    "skip -j DROP",
)
UFW_CHAINS = ("user", "not-local", "deny-log", "skip", "before", "after")


def ufw(lab: Lab, user: list[str]) -> None:
    """Both of its families; IPv6 has no broadcasts, and a header more."""
    for program, icmp, group in (("iptables", "icmp", "224.0.0.251"), ("ip6tables", "ipv6-icmp", "ff02::fb")):
        ruleset = [f":ufw-{name} - [0:0]" for name in UFW_CHAINS]
        lines = [line.format(icmp=icmp, group=group) for line in UFW] + [f"user {line}" for line in user]
        if program == "ip6tables":
            lines = ["before -m rt --rt-type 0 -j DROP"] + [line for line in lines if "BROADCAST" not in line]
        for line in lines:
            words = [f"ufw-{word}" if word in UFW_CHAINS else word for word in line.split()]
            ruleset.append("-A " + " ".join(words))
        ruleset += ["-A INPUT -j ufw-before", "-A INPUT -j ufw-after"]
        file = lab.new_file("ufw.rules")
        file.write_text("\n".join(["*filter", ":INPUT DROP [0:0]", *ruleset, "COMMIT", ""]))
        lab.c.check([f"{program}-restore", str(file)])


@test(limit=60)
def test_check_firewalls_ufw() -> None:
    """Its rules ask whose the destination is, before those of its user; the port is open by them, or it is not."""
    with Lab() as lab:
        path = away(lab)
        lab.c.listen("0.0.0.0", 7443, lambda connection: connection.close())
        for user, words in (
            (["-p tcp --dport 7443 -j ACCEPT", "-p udp --dport 7443 -j ACCEPT"], IN),
            (["-p tcp -m multiport --dports 7000:7500 -j ACCEPT"], IN),
            (["-p tcp --dport 22 -j ACCEPT"], SHUT),
            (["-p tcp --dport 7443 -j DROP"], "drops or rejects what comes to 7443"),
        ):
            ufw(lab, user)
            says(lab, path, f"ufw {user}", words)


def away(lab: Lab) -> Path:
    """The file of a client whose router is not there: nobody is asked, nor waited for."""
    return write(lab, "bridge.yaml", paqet.client_config(lab, bridge(ONE)).replace(lab.s.mac, "02:00:00:00:00:77"))


def says(lab: Lab, path: Path, what: str, words: str) -> None:
    """One finding, which the kernel agrees with; each that is not fine has a remedy."""
    said = json.loads(lab.c.run([paqet.program(), "check", "-c", str(path), "--json", "--quick"], 20).stdout)["findings"]
    said = [each for each in said if each["topic"] == "firewall"]
    expect(bool(said) and all(words in each["text"] for each in said), f"{what}: {said}")
    expect(not any("not understood" in each["text"] for each in said), f"{what}: {said}")
    expect(all((each["level"] == "ok") == (words == IN) for each in said), f"{what}: {said}")
    expect(words == IN or all(each.get("remedy") for each in said), f"{what}: {said}")
    expect(gets_in(lab) == (words == IN), f"the kernel does otherwise: {what}: {said}")


# a zone by the device, and the same one for all others; ports are let in by lines in its last chain
FIREWALLD = """table inet lab_fw {{
    chain zone_allow {{ {allow}; }}
    chain zone_pre {{ }}
    chain zone {{
        jump zone_pre
        jump zone_allow
        meta l4proto {{ icmp, ipv6-icmp }} accept
        reject with icmpx admin-prohibited
    }}
    chain zones {{
        iifname "{device}" goto zone
        goto zone
    }}
    chain input {{
        type filter hook input priority filter + 10; policy accept;
        ct state {{ established, related }} accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        jump zones
        reject with icmpx admin-prohibited
    }}
}}
"""


@test(limit=60)
def test_check_firewalls_zones() -> None:
    """firewalld's shape: what comes through a device goes to its zone for good, and all else to one, too."""
    with Lab() as lab:
        path = away(lab)
        lab.c.listen("0.0.0.0", 7443, lambda connection: connection.close())
        for allow, words in (
            ("tcp dport 22 accept; tcp dport 7443 accept", IN),
            ("tcp dport 7443 ct state { new, untracked } accept", IN),
            ("tcp dport 7443 ct state new,untracked accept", IN),
            ("tcp dport 22 ct state { new, untracked } accept", SHUT),
            ("ip6 daddr fe80::/64 udp dport 546 ct state { new, untracked } accept", SHUT),
            ("tcp dport 7443 drop", "drops or rejects what comes to 7443"),
        ):
            for device in (lab.c.device, "eth7"):
                file = lab.new_file("rules.nft")
                file.write_text(FIREWALLD.format(allow=allow, device=device))
                lab.c.check(["nft", "-f", str(file)])
                says(lab, path, f"{device}: {allow}", words)
                lab.c.check(["nft", "delete", "table", "inet", "lab_fw"])
