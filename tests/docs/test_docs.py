#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What README and docs say to type exists, their links lead somewhere, and each language says to type
the same; fuzz harnesses are all told of.

    test_docs.py PAQET

Each mistake is a line "[  ERROR   ] FILE: ..."; exit code 1 if there is one.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORD = re.compile(r"[a-z]+$")
FLAG = re.compile(r"(--[a-z][a-z-]*|-[a-zA-Z]$)")


@dataclass
class Page:
    path: Path
    prose: str  # without the blocks
    blocks: list[str]  # of code, in their order, as they are shown

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


def read_page(path: Path) -> Page:
    """Blocks are between fences, or indented by four behind an empty line."""
    prose: list[str] = []
    blocks: list[list[str]] = []
    fence = ""
    indented = empty = False
    for line in path.read_text().split("\n"):
        if fence:
            if line.strip() == fence:
                fence = ""
            else:
                blocks[-1].append(line)
        elif line.startswith("```"):
            fence = "```"
            blocks.append([])
        elif line.startswith("    ") and line.strip() and (empty or indented):
            if not indented:
                blocks.append([])
            indented = True
            blocks[-1].append(line[4:])
        else:
            indented = indented and not line.strip()  # an empty line may be in the middle
            if indented:
                blocks[-1].append("")
            prose.append(line)
        empty = not line.strip()
    return Page(path, "\n".join(prose), ["\n".join(block).rstrip("\n") for block in blocks])


def pages() -> list[Page]:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [read_page(path) for path in sorted(paths)]


# ---- links


def anchors(page: Page) -> set[str]:
    """The names of its headings, as GitHub and GitLab make them."""
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ +(.*?)\s*$", page.prose):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        again = sum(other == name or re.fullmatch(re.escape(name) + r"-\d+", other) is not None for other in found)
        found.add(f"{name}-{again}" if again else name)
    return found


def check_links(page: Page, by_path: dict[Path, Page]) -> list[str]:
    wrong = []
    text = re.sub(r"`[^`\n]*`", "", page.prose)
    for target in re.findall(r"\]\(\s*([^)\s]+)[^)]*\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        if not path.exists():
            wrong.append(f"{page}: there is no {target}")
        elif anchor and (path not in by_path or anchor not in anchors(by_path[path])):
            wrong.append(f"{page}: {target}: there is no such heading")
    return wrong


# ---- commands


def typed(page: Page) -> list[list[str]]:
    """The command lines of paqet in its blocks, and those in the text that begin with it, without
    the word paqet itself."""
    lines = [line for block in page.blocks for line in block.split("\n")]
    if page.path.name != "protocol.md":  # which quotes labels that begin so
        lines += re.findall(r"`((?:sudo )?(?:\./)?paqet [^`]*)`", page.prose.replace("\n", " "))
    found = []
    for line in lines:
        for part in re.split(r"&&|\|\||[|;]|\s#\s", line):
            words = [word for word in part.split() if word not in ("$", "sudo")]
            if len(words) > 1 and words[0] in ("paqet", "./paqet") and WORD.match(words[1]):
                found.append([word.strip("[]'\"") for word in words[1:]])
    return found


@functools.cache
def help_of(program: str, command: str) -> str:
    """What it says about a command; nothing if there is none of that name."""
    result = subprocess.run([program, command, "--help"], capture_output=True, text=True, timeout=20, check=False)
    return result.stdout if result.returncode == 0 else ""


def check_commands(page: Page, program: str) -> list[str]:
    wrong = []
    for command, *words in typed(page):
        said = help_of(program, command)
        if not said:
            wrong.append(f"{page}: paqet {command}: there is no such command")
            continue
        options = set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", said))
        for word in words:
            flag = FLAG.match(word)
            if flag and flag[0] not in options:
                wrong.append(f"{page}: paqet {command} {' '.join(words)}: {flag[0]} is no option of it")
    return wrong


# ---- languages


def check_languages(page: Page, by_path: dict[Path, Page]) -> list[str]:
    """A page NAME.fa.md has the blocks of NAME.md, byte for byte and in the same order."""
    original = by_path.get(page.path.with_name(page.path.name.replace(".fa.md", ".md")))
    if not page.path.name.endswith(".fa.md"):
        return []
    if original is None:
        return [f"{page}: there is no page that it translates"]
    for n, (here, there) in enumerate(zip(page.blocks, original.blocks), 1):
        if here != there:
            return [f"{page}: block {n} is not that of {original}: {here!r} instead of {there!r}"]
    if len(page.blocks) != len(original.blocks):
        return [f"{page}: {len(page.blocks)} blocks, but {original} has {len(original.blocks)}"]
    return []


# ---- harnesses


def check_harnesses() -> list[str]:
    """Each harness of tests/fuzz has its row in the table of docs/testing.md, and a corpus; each row its harness."""
    there = {path.stem.removeprefix("fuzz_") for path in (ROOT / "tests/fuzz").glob("fuzz_*.c")}
    table = (ROOT / "docs/testing.md").read_text().partition("| harness | bytes |")[2].partition("\n\n")[0]
    told = set(re.findall(r"(?m)^\| (\w+) \|", table))
    wrong = [f"docs/testing.md: the harness {name} is in one of table and tests/fuzz alone" for name in there ^ told]
    return wrong + [
        f"tests/fuzz/corpus/{name}: no inputs" for name in there if not any((ROOT / f"tests/fuzz/corpus/{name}").glob("*"))
    ]


def main() -> int:
    program = sys.argv[1]
    all_pages = pages()
    by_path = {page.path: page for page in all_pages}
    wrong = []
    for page in all_pages:
        wrong += check_links(page, by_path) + check_commands(page, program) + check_languages(page, by_path)
    wrong += check_harnesses()
    commands = sum(len(typed(page)) for page in all_pages)
    if commands < 100 or not any(page.path.name.endswith(".fa.md") for page in all_pages):
        wrong.append(f"only {commands} commands were found in {len(all_pages)} pages: the test reads them no more")
    for line in wrong:
        print(f"[  ERROR   ] {line}")
    print(f"{len(all_pages)} pages, {commands} commands, {len(wrong)} mistakes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
