# SPDX-License-Identifier: MIT
"""The commands and their options, as "paqet COMMAND --help" tells them, read from the tables in
src/cli/main.c and src/cli/help.c: no program of this machine's kind has to be built for it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*.*?\*/|\w+|\S', re.DOTALL)
FLAG = re.compile(r"(?:  (-\w), |      )(--[a-z-]+)(?: (\S+))?(?: +(\S.*))?$")
CONTINUATION = " " * 16


@dataclass
class Flag:
    short: str  # "-c", or ""
    long: str  # "--config"
    value: str  # "FILE", "[NAME]" if it may be left out, or ""
    text: str


@dataclass
class Section:
    """Of a command's options; those of a word behind the command stand under a title."""

    title: str = ""  # "init server:", "For all:" or none
    lines: list[Flag | str] = field(default_factory=list)  # a text is a remark

    def flags(self) -> list[Flag]:
        return [line for line in self.lines if isinstance(line, Flag)]

    def is_for(self, word: str) -> bool:
        return not self.title.split()[1:] or self.title in ("For all:",) or self.title.rstrip(":").split()[1] == word


@dataclass
class Command:
    name: str
    form: str  # "run -c FILE"
    about: str
    words: list[str]  # that come first behind the name: server, client, bridge
    sections: list[Section]
    examples: str

    def flags(self, word: str = "") -> list[Flag]:
        """All, or those of a word behind the command."""
        return [flag for s in self.sections if not word or s.is_for(word) for flag in s.flags()]


def tokens(text: str) -> list[str]:
    return [token for token in TOKEN.findall(text) if not token.startswith("/*")]


def strings(words: list[str], macros: dict[str, str]) -> str:
    """A C expression of texts and macros, put together."""
    return "".join(ast.literal_eval(w) if w[0] == '"' else macros.get(w, "") for w in words)


def text_macros(source: str) -> dict[str, str]:
    found = re.findall(r'^#define (\w+)\s*\\?\n?((?:[ \t]*"(?:[^"\\\n]|\\.)*"[ \t]*\\?\n)+)', source, re.MULTILINE)
    return {name: strings([t for t in tokens(body) if t[0] == '"'], {}) for name, body in found}


def table(source: str, name: str) -> list[list[str]]:
    """The entries of "name[] = {...};": the texts of each; what is no text or macro is ""."""
    macros = text_macros(source)
    begin = re.search(rf"\b{name}\[\] = ", source)
    if not begin:
        raise SystemExit(f"script/manual: there is no table {name} any more")
    entries: list[list[str]] = []
    depth, words = 0, []
    for token in tokens(source[begin.end() :]):
        if depth == 2 and token in ",}":
            entries[-1].append(strings(words, macros))
            words = []
        elif token == "{" and depth == 1:
            entries.append([])
        elif depth == 2:
            words.append(token)
        depth += (token == "{") - (token == "}")
        if not depth:
            break
    return entries


def parse_flag(line: str, command: str) -> Flag:
    found = FLAG.match(line)
    if not found:
        raise SystemExit(f"script/manual: the help of {command} has a line that is no option: {line!r}")
    short, long, value, text = (part or "" for part in found.groups())
    return Flag(short, long, value, text)


def parse_options(text: str, command: str) -> list[Section]:
    sections = [Section()]
    for line in text.splitlines():
        last = sections[-1].lines[-1] if sections[-1].lines else None
        if line.startswith(CONTINUATION) and isinstance(last, Flag):
            last.text += " " + line.strip()
        elif line.startswith(" "):
            sections[-1].lines.append(parse_flag(line, command))
        elif line.endswith(":"):
            sections.append(Section(line))
        else:
            sections[-1].lines.append(line)
    return [section for section in sections if section.lines]


def parse_command(name: str, help_line: str, options: str, examples: str) -> Command:
    form, colon, about = help_line.partition(": ")
    if not colon:
        form, about = name, help_line
    parts = form.removeprefix(name).split("|")
    words = [part.split()[0] for part in parts if re.match(r"\s*[a-z]", part)]
    return Command(name, form, about, words, parse_options(options, name), examples)


def read(root: Path) -> list[Command]:
    main = (root / "src/cli/main.c").read_text()
    examples = dict(table((root / "src/cli/help.c").read_text(), "examples"))
    return [parse_command(name, line, options, examples.get(name, "")) for name, _, line, options in table(main, "commands")]


def introduction(root: Path) -> str:
    """What "paqet --help" says first."""
    usage = re.search(r"\nstatic void usage\(.*?\n}", (root / "src/cli/main.c").read_text(), re.DOTALL)
    if not usage:
        raise SystemExit("script/manual: src/cli/main.c has no usage() any more")
    return strings([t for t in tokens(usage[0]) if t[0] == '"'], {}).partition("\n\n")[0]
