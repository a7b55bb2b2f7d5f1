# SPDX-License-Identifier: MIT
"""Texts in the language of man(7), and the part of Markdown that the documents use turned into it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator

WIDTH = 78
INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)]+)\)")
EMPTY = ("", "–")


def escape(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"[^\x00-\x7f]", lambda c: f"\\[u{ord(c[0]):04X}]", text)


def bold(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escape(text)}\\fR"


def link(text: str, target: str) -> str:
    file = target.partition("#")[0].rpartition("/")[2]
    return escape(text if not file or file in text else f"{text} ({file})")


def inline(text: str) -> str:
    """A line of Markdown."""
    out, at = "", 0
    for found in INLINE.finditer(text):
        code, strong, name, target = found.groups()
        out += escape(text[at : found.start()])
        out += bold(code) if code else f"\\fB{inline(strong)}\\fR" if strong else link(name, target)
        at = found.end()
    return out + escape(text[at:])


def lines(text: str) -> list[str]:
    """Wrapped; none begins with what would make it a request."""
    wrapped = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"\\&{line}" if line[0] in ".'" else line for line in wrapped]


def paragraph(text: str) -> list[str]:
    return [".PP", *lines(text)]


def item(tag: str, text: str) -> list[str]:
    return [".TP", tag, *(lines(text) or ["\\&"])]


def verbatim(text: str) -> list[str]:
    rows = [escape(row) for row in text.rstrip("\n").split("\n")]
    return [".PP", ".in +4", ".nf", *(f"\\&{row}" if row[:1] in (".", "'") else row or "\\&" for row in rows), ".fi", ".in"]


def title(name: str, section: int, version: str, date: str) -> list[str]:
    return [f'.TH {name} {section} "{date}" "paqet {version}" "paqet"']


def section(name: str) -> list[str]:
    return [f'.SH "{escape(name.upper())}"']


def page(out: list[str]) -> str:
    """The lines without paragraphs at once behind a title."""
    kept = [line for before, line in zip(["", *out], out) if line != ".PP" or not before.startswith((".SH", ".SS"))]
    return "\n".join(kept) + "\n"


# ---- Markdown


def cells(row: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", row.strip().strip("|"))
    return [part.strip().replace("\\|", "|") for part in parts]


def table(rows: list[str], tag: Callable[[str], str]) -> list[str]:
    """Each row is an item: its first cell the tag, the others behind what their column is called."""
    head, out = cells(rows[0]), list[str]()
    for row in rows[2:]:
        first, *rest = cells(row)
        told = [(name, cell) for name, cell in zip(head[1:], rest, strict=True) if cell not in EMPTY]
        plain = len(told) == 1 or not any(head[1:])
        said = [inline(cell) if plain else f"{italic(name + ':')} {inline(cell)}" for name, cell in told]
        out += [".TP", tag(first)]
        for i, text in enumerate(said):
            out += ([".br"] if i else []) + lines(text)
    return out


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """("heading" | "code" | "table" | "list" | "text", lines). A list is one block for each entry."""
    kind, found = "", list[str]()
    for row in [*text.splitlines(), ""]:
        if kind == "code":
            if not row.startswith("```"):
                found.append(row)
                continue
            yield kind, found
            kind, found = "", []
            continue
        new = (
            "code" if row.startswith("```")
            else "heading" if row.startswith("#")
            else "table" if row.startswith("|")
            else "list" if row.startswith("* ")
            else "" if not row.strip()
            else kind if kind in ("list", "text") else "text"
        )  # fmt: skip
        if found and (new != kind or row.startswith(("* ", "#"))):
            yield kind, found
            found = []
        kind = new
        if new and new != "code":
            found.append(row)


def markdown(text: str, heading: Callable[[int, str], list[str]], tag: Callable[[str], str]) -> list[str]:
    """heading(level, title) gives the lines for a heading, tag(cell) those for a first cell."""
    out: list[str] = []
    for kind, found in blocks(text):
        joined = " ".join(row.strip() for row in found)
        if kind == "heading":
            marks, _, name = found[0].partition(" ")
            out += heading(len(marks), name)
        elif kind == "code":
            out += verbatim("\n".join(found))
        elif kind == "table":
            out += table(found, tag)
        elif kind == "list":
            out += [".IP \\(bu 2", *lines(inline(joined.removeprefix("* ")))]
        else:
            out += paragraph(inline(joined))
    return out
