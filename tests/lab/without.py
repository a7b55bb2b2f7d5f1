# SPDX-License-Identifier: MIT
"""paqet as on a kernel without nf_tables: a filter of system calls keeps it from it."""

from __future__ import annotations

import platform
import shutil
import sys

import paqet
from case import Skip
from lab import Host, Lab

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


def without_nftables(lab: Lab, tools: dict[str, str] | None = None) -> str:
    """A program that starts paqet so, with these scripts in place of what they are named after."""
    if platform.machine() != "x86_64" or not shutil.which("iptables-legacy"):
        raise Skip("it needs x86-64, and iptables-legacy")
    if lab.c.run(["iptables-legacy", "-t", "raw", "-S"]).returncode:
        raise Skip("this kernel has no iptables of its own")
    folder = lab.new_file("tools")
    folder.mkdir()
    for name, script in (tools or {}).items():
        (folder / name).write_text(f"#!/bin/sh\n{script}")
        (folder / name).chmod(0o755)
    wrapper = lab.new_file("without-nftables")
    wrapper.write_text(WRAPPER.format(python=sys.executable, tools=str(folder), program=paqet.program()))
    wrapper.chmod(0o755)
    return str(wrapper)


def all_rules(host: Host) -> list[str]:
    """What is in the tables of iptables, beside the empty chains of the kernel; none where there are none."""
    found = []
    for family in ("iptables-legacy", "ip6tables-legacy"):
        for table in ("raw", "mangle", "nat", "filter"):
            lines = host.run([family, "-t", table, "-S"]).stdout.splitlines() if shutil.which(family) else []
            found += [f"{family} {table} {line}" for line in lines if not line.startswith("-P")]
    return found
