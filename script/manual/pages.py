# SPDX-License-Identifier: MIT
"""paqet(1), from what "paqet --help" says, and paqet.yaml(5), from docs/configuration.md."""

from __future__ import annotations

import re
from pathlib import Path

import commands
import roff
from commands import Command, Flag, Section

# Sections of docs/configuration.md whose tables name keys without what stands in front of them.
PREFIXES = ("transport.kcp", "transport.quic", "performance")
KEY = re.compile(r"\.?[a-z0-9_]+(\[\])?(\.[a-z0-9_*]+(\[\])?)*$")


# ---- paqet(1)


def flag_item(flag: Flag) -> list[str]:
    names = ", ".join(roff.bold(name) for name in (flag.short, flag.long) if name)
    return roff.item(f"{names} {roff.italic(flag.value)}" if flag.value else names, roff.escape(flag.text))


def option_lines(section: Section) -> list[str]:
    out = roff.paragraph(roff.escape(section.title)) if section.title else []
    for line in section.lines:
        out += flag_item(line) if isinstance(line, Flag) else roff.paragraph(roff.escape(line))
    return out


def command_lines(command: Command) -> list[str]:
    about = command.about[:1].upper() + command.about[1:] + "."
    out = [f'.SS "paqet {roff.escape(command.form)}"', *roff.lines(roff.escape(about))]
    for section in command.sections:
        out += option_lines(section)
    if command.examples:
        out += [*roff.paragraph("Examples:"), *roff.verbatim(re.sub(r"(?m)^  ", "", command.examples))]
    return out


def files_table(root: Path) -> list[str]:
    """The table of what is where in docs/setup.md."""
    found = re.search(r"(?m)^\| file \|.*\n(?:\|.*\n)+", (root / "docs/setup.md").read_text())
    if not found:
        raise SystemExit("script/manual: docs/setup.md has no table of files any more")
    return roff.table(found[0].splitlines(), roff.inline)


def paqet_1(root: Path, version: str, date: str) -> str:
    out = roff.title("PAQET", 1, version, date)
    out += roff.section("Name") + ["paqet \\- TCP and UDP inside forged TCP packets"]
    out += roff.section("Synopsis") + ["\\fBpaqet\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]"]
    out += roff.section("Description") + roff.lines(roff.escape(commands.introduction(root)))
    out += roff.paragraph("Each command tells its options with \\fB\\-\\-help\\fR, too.")
    out += roff.section("Commands")
    for command in commands.read(root):
        out += command_lines(command)
    out += roff.section("Files")
    out += roff.lines("What \\fBpaqet init\\fR makes; of the configuration \\fINAME\\fR:")
    out += files_table(root)
    out += roff.section("Exit status")
    out += roff.lines("0 if what was asked for has been done, else 1; what went wrong is on standard error.")
    return roff.page(out + roff.section("See also") + ["\\fBpaqet.yaml\\fR(5)"])


# ---- paqet.yaml(5)


def full_names(cell: str, prefix: str) -> list[str]:
    """The keys in a first cell: "socks5[].username, .password" is two of them. None if it is no list
    of keys."""
    parts = cell.split(", ")
    if not all(KEY.match(part) for part in parts):
        return []
    names: list[str] = []
    for part in parts:
        if part.startswith(".") and names:
            names.append(names[-1].rpartition(".")[0] + part)
        elif prefix and part != prefix and not part.startswith(prefix + "."):
            names.append(f"{prefix}.{part}")
        else:
            names.append(part)
    return names


def paqet_yaml_5(root: Path, version: str, date: str) -> str:
    prefix = keys = ""

    def heading(level: int, name: str) -> list[str]:
        nonlocal prefix, keys
        if level == 1:
            return roff.section("Description")
        prefix = name if name in PREFIXES else ""
        keys = name
        return roff.section(name) if level == 2 else [f'.SS "{roff.escape(name)}"']

    def tag(cell: str) -> str:
        names = [] if keys == "Limits" else full_names(cell, prefix)
        return ", ".join(map(roff.bold, names)) or f"\\fB{roff.inline(cell)}\\fR"

    out = roff.title("PAQET.YAML", 5, version, date)
    out += roff.section("Name") + ["paqet.yaml \\- configuration of paqet"]
    out += roff.section("Synopsis") + ["\\fBpaqet run \\-c\\fR \\fIFILE\\fR"]
    out += roff.markdown((root / "docs/configuration.md").read_text(), heading, tag)
    out += roff.section("Examples")
    for name in ("server.yaml", "client.yaml"):
        out += roff.verbatim((root / "examples" / name).read_text())
    return roff.page(out + roff.section("See also") + ["\\fBpaqet\\fR(1)"])
