# SPDX-License-Identifier: MIT
"""Where the kernel has no nf_tables: the kernel's TCP is kept out by iptables. A filter of system calls keeps
the programs from it here."""

from __future__ import annotations

import platform
import re
import shutil
import sys

import paqet
from case import Skip, expect, test
from lab import Host, Lab
from packets import RST
from paqet import Settings

# Netlink of the netfilter family is refused, as by a kernel without it.
WRAPPER = """#!{python}
import ctypes, os, struct, sys
NR, ARG0, ARG2 = 0, 16, 32
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
code = [
    (LOAD, 0, 0, NR), (EQUAL, 0, 5, 41),
    (LOAD, 0, 0, ARG0), (EQUAL, 0, 3, 16),
    (LOAD, 0, 0, ARG2), (EQUAL, 0, 1, 12),
    (RETURN, 0, 0, 0x00050000 | 93),
    (RETURN, 0, 0, 0x7FFF0000),
]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(text)))
if ctypes.CDLL(None, use_errno=True).prctl(22, 2, program, 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.environ["PATH"] = {tools!r}
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


def without_nftables(lab: Lab) -> str:
    """A program that starts paqet so, with the iptables that need no nf_tables."""
    if platform.machine() != "x86_64" or not shutil.which("iptables-legacy"):
        raise Skip("it needs x86-64, and iptables-legacy")
    if lab.c.run(["iptables-legacy", "-t", "raw", "-S"]).returncode:
        raise Skip("this kernel has no iptables of its own")
    tools = lab.new_file("tools")
    tools.mkdir()
    for name in ("iptables", "ip6tables"):
        (tools / name).symlink_to(shutil.which(f"{name}-legacy"))
    wrapper = lab.new_file("without-nftables")
    wrapper.write_text(WRAPPER.format(python=sys.executable, tools=str(tools), program=paqet.program()))
    wrapper.chmod(0o755)
    return str(wrapper)


def rules(host: Host, family: str = "ip") -> list[str]:
    """What is in the table beside its empty chains."""
    listing = host.check([f"{family}tables-legacy", "-t", "raw", "-S"])
    return [line for line in listing.splitlines() if not line.startswith("-P")]


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
        expect(client.stop() == 0 and server.stop() == 0, "exit codes")
        for host in (lab.s, lab.c):
            for version in ("ip", "ip6"):
                expect(not rules(host, version), f"left in {host.letter}: {rules(host, version)}")


@test()
def test_iptables_ipv4() -> None:
    carry(False, "tcp[13] & 4 != 0")


@test()
def test_iptables_ipv6() -> None:
    carry(True, "ip6 and ip6[6] == 6 and ip6[53] & 4 != 0")


@test()
def test_iptables_beside_others() -> None:
    """Another's rules and chains, and those of a paqet that lives, stay."""
    with Lab() as lab:
        program = without_nftables(lab)
        tool = ["iptables-legacy", "-t", "raw"]
        lab.c.check([*tool, "-N", "paqet-1"])  # that process lives
        lab.c.check([*tool, "-A", "PREROUTING", "-s", "192.0.2.1", "-j", "paqet-1"])
        lab.c.check([*tool, "-N", "others"])
        before = rules(lab.c)
        lab.origin()
        paqet.start_server(lab, Settings())
        client = paqet.start_client(lab, Settings(), program)
        paqet.wait_working(lab)
        expect(set(before) < set(rules(lab.c)), f"{rules(lab.c)}")
        client.stop()
        expect(rules(lab.c) == before, f"{rules(lab.c)}, before {before}")
