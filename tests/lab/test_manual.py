# SPDX-License-Identifier: MIT
"""The manual pages and completions against what the program itself says, and what is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gopeer
import paqet
from case import expect, test
from lab import ROOT, Lab
from roots import SystemdMachine

UNIT = "systemd/system/paqet@.service"


def run(*argv: str | Path) -> str:
    """Of a command that must succeed."""
    result = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=30, check=False)
    expect(result.returncode == 0, f"{argv}: {result.stderr}")
    return result.stdout


@contextlib.contextmanager
def manual() -> Iterator[Path]:
    """A folder with the pages and completions."""
    with tempfile.TemporaryDirectory(prefix="paqet-lab-") as folder:
        run(sys.executable, "-B", ROOT / "script/manual", "1.2.3", folder)
        yield Path(folder)


def plain(roff: str) -> str:
    """A page as somebody reads it, in one line."""
    roff = re.sub(r"(?m)^\.\S+ ?|\\f[BIR]|\\&", "", roff)
    roff = re.sub(r"\\\[u([0-9A-F]+)\]", lambda c: chr(int(c[1], 16)), roff)
    return " ".join(roff.replace("\\-", "-").replace("\\e", "\\").split())


def commands() -> dict[str, str]:
    """Name and what --help says of it."""
    names = re.findall(r"(?m)^  (\w+) ", run(paqet.program(), "--help"))
    expect(len(names) >= 15, f"only {names}")
    return {name: run(paqet.program(), name, "--help") for name in names}


def flags(told: str) -> set[str]:
    """The options at the beginning of lines, both forms."""
    return {flag for row in re.findall(r"(?m)^ {2,6}(-\w, --[a-z-]+|--[a-z-]+)", told) for flag in row.split(", ")}


@test()
def test_manual_commands() -> None:
    with manual() as folder:
        page = (folder / "paqet.1").read_text()
        parts = {part.split()[1].strip('"'): plain(part) for part in page.split('.SS "')[1:]}
        for name, told in commands().items():
            expect(name in parts, f"paqet(1) does not have {name}")
            options = told.partition("\nOptions:\n")[2].partition("\nExamples:\n")
            wanted = [told.splitlines()[0], *options[0].splitlines(), *options[2].splitlines()]
            for line in wanted:
                expect(" ".join(line.split()).lower() in parts[name].lower(), f"paqet(1), {name}, does not have: {line!r}")


@test()
def test_manual_keys() -> None:
    source = (ROOT / "src/conf/keys.c").read_text()
    found = re.findall(r'(MAP\(|[({])"([a-z0-9_.\[\]]+)",? ?(KEY_LIST_OF_MAPS)?', source)
    keys = {key for kind, key, maps in found if kind != "MAP(" and not maps}
    expect(len(keys) > 100, f"only {len(keys)} keys are found in keys.c")
    with manual() as folder:
        page = (folder / "paqet.yaml.5").read_text().replace("\\-", "-")
        named = set(re.findall(r"\\fB([^\\]+)\\fR", page))
        missing = sorted(keys - named)
        expect(not missing, f"paqet.yaml(5) does not have {missing}")


@test()
def test_manual_reads() -> None:
    """Without a warning of those who show it."""
    judges = {"mandoc": ["mandoc", "-Tlint", "-Wwarning"], "groff": ["groff", "-man", "-Tutf8", "-ww", "-z"]}
    with manual() as folder:
        for page in ("paqet.1", "paqet.yaml.5"):
            for name, argv in judges.items():
                if shutil.which(name):
                    result = subprocess.run([*argv, str(folder / page)], capture_output=True, text=True, timeout=30, check=False)
                    said = result.stdout + result.stderr
                    expect(not said, f"{name} of {page}: {said[:600]}")


def bash_offers(folder: Path, *words: str) -> set[str]:
    """What the completion offers for the last of the words."""
    script = 'source "$0"; COMP_WORDS=(paqet "$@"); COMP_CWORD=$#; _paqet; printf "%s\\n" "${COMPREPLY[@]}"'
    return set(run("bash", "-c", script, folder / "paqet", *words).split())


@test()
def test_completions_bash() -> None:
    with manual() as folder:
        table = commands()
        expect(set(table) <= bash_offers(folder, ""), "not all commands")
        for name, told in table.items():
            offers = bash_offers(folder, name, "-")
            wanted = flags(told) | {"--help"}
            expect(offers == wanted, f"{name}: offered {offers - wanted}, not offered {wanted - offers}")
        expect(bash_offers(folder, "init", "") >= {"server", "client", "bridge"}, "init: no words")
        offers = bash_offers(folder, "init", "client", "-")
        expect("--tun" in offers and "--dry-run" in offers and "--port" not in offers, f"init client: {offers}")
        expect("debug" in bash_offers(folder, "log", "--level", ""), "no levels")
        expect(bash_offers(folder, "dump", "-i", "l") == {"lo"}, "no interfaces")
        expect(str(folder / "paqet.1") in bash_offers(folder, "run", "-c", f"{folder}/"), "no files")
        expect(str(folder / "paqet.1") in bash_offers(folder, "init", "client", f"{folder}/"), "no file of a link")


@test()
def test_completions_others() -> None:
    """zsh and fish: each option of each command, and by their own judgement where they are there."""
    with manual() as folder:
        zsh, fish = (folder / "_paqet").read_text(), (folder / "paqet.fish").read_text()
        for name, told in commands().items():
            part = re.search(rf"(?ms)^    {name}\)$(.*?);;", zsh)
            expect(part and f"'{name}:" in zsh, f"zsh: no {name}")
            rows = [row for row in fish.splitlines() if f"'__fish_seen_subcommand_from {name}'" in row]
            expect(f" -a {name} " in fish, f"fish: no {name}")
            for flag in flags(told):
                expect(part and re.search(rf"[ '{{,*]{flag}[ '}},\[)]", part[1]), f"zsh: {name} has no {flag}")
                form = f" -l {flag[2:]} " if flag.startswith("--") else f" -s {flag[1:]} "
                expect(any(form in row for row in rows), f"fish: {name} has no {flag}")
        if shutil.which("zsh"):
            run("zsh", "-n", folder / "_paqet")
        if shutil.which("fish"):
            script = f'source {folder}/paqet.fish; complete -C "paqet init client --t"'
            expect("--tun" in run("fish", "--no-config", "-c", script), "fish offers no --tun")


def install(folder: str) -> Path:
    """"meson install" of the build, as the one who builds."""
    os.chmod(folder, 0o777)
    argv = ["meson", "install", "-C", str(ROOT / "build"), "--no-rebuild", "--quiet", "--destdir", f"{folder}/all"]
    run(*gopeer.as_caller(argv))
    return Path(folder, "all", "usr/local")


@test()
def test_install() -> None:
    with tempfile.TemporaryDirectory(prefix="paqet-lab-") as folder:
        root = install(folder)
        wanted = [
            *("bin/paqet", "share/man/man1/paqet.1", "share/man/man5/paqet.yaml.5", "share/bash-completion/completions/paqet"),
            *("share/zsh/site-functions/_paqet", "share/fish/vendor_completions.d/paqet.fish", f"lib/{UNIT}"),
            *("lib/sysusers.d/paqet.conf", "share/doc/paqet/examples/client.yaml", "share/doc/paqet/examples/server-tun.yaml"),
        ]
        missing = [name for name in wanted if not (root / name).is_file()]
        expect(not missing, f"not installed: {missing}")
        expect("Version:" in run(root / "bin/paqet", "version"), "the program does not run")
        unit = (root / f"lib/{UNIT}").read_text()
        expect("ExecStart=/usr/local/bin/paqet run -c /etc/paqet/%i.yaml\n" in unit, f"the unit: {unit}")
        expect(not re.search(r"@[A-Z]+@", unit), f"something is not filled in: {unit}")


@test()
def test_install_then_init() -> None:
    """Where the unit is installed, init uses that, and leaves it where it is."""
    with tempfile.TemporaryDirectory(prefix="paqet-lab-") as folder, Lab() as lab:
        unit = install(folder) / f"lib/{UNIT}"
        machine = SystemdMachine(lab.s)
        there = f"/usr/local/lib/{UNIT}"
        text = unit.read_text()
        machine.host.check(machine.inside("sh", "-c", f"mkdir -p {Path(there).parent} && cat >{there} <<'END'\n{text}END"))
        machine.check("init", "server", "--address", lab.s.ip4)
        ls = machine.inside("sh", "-c", f"ls /etc/{UNIT}; systemctl show --property=FragmentPath --value paqet@server")
        expect(machine.host.run(ls).stdout.split() == [there], "init has written a unit of its own")
        machine.check("init", "--remove")
        machine.host.check(machine.inside("test", "-e", there))
