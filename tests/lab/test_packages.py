# SPDX-License-Identifier: MIT
"""What script/package has made, if it has: the .deb in a machine that systemd runs; what apk and opkg ask of theirs."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

from case import Skip, expect, test
from lab import ROOT, Lab, wait_until
from roots import SystemdMachine
from test_setup import command, main_process

FOLDER = ROOT / "build-release/packages"


def newest(pattern: str) -> Path:
    found = sorted(FOLDER.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise Skip(f"no {pattern} there: script/package")
    return found[-1]


def bring_deb(machine: SystemdMachine) -> None:
    """The newest one, as /root/paqet.deb."""
    shutil.copy(newest("paqet_*_amd64.deb"), f"/proc/{machine.pid}/root/root/paqet.deb")


def dpkg(machine: SystemdMachine, *argv: str) -> None:
    """Without what other packages do at that: man-db would index all pages of this machine, which may take minutes."""
    command(machine, "dpkg", "--no-triggers", *argv)


def listing(machine: SystemdMachine) -> set[str]:
    """Files that a package or init may have made."""
    where = "/etc /var/lib/paqet /run/paqet* /usr/bin /usr/local /usr/lib/systemd /usr/lib/sysusers.d /usr/share"
    find = f"find {where} -iname '*paqet*' ! -path '/etc/alternatives/*' 2>/dev/null; find /etc -newer /root/begin -type f"
    noise = {"/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/shadow-", "/etc/group", "/etc/group-"}
    noise |= {"/etc/gshadow", "/etc/gshadow-", "/etc/machine-id", "/etc/.pwd.lock"}
    return set(machine.host.run(machine.inside("sh", "-c", find)).stdout.split()) - noise


def state(machine: SystemdMachine) -> str:
    return machine.host.run(machine.inside("systemctl", "is-active", "paqet@server")).stdout.strip()


@test(full=True, limit=120)
def test_package_deb() -> None:
    """Installed, set up, upgraded, removed, installed again, purged."""
    with Lab() as lab:
        machine = SystemdMachine(lab.s)
        bring_deb(machine)
        command(machine, "sh", "-c", "rm /root/paqet; touch /root/begin")
        before = listing(machine)
        dpkg(machine, "-i", "/root/paqet.deb")
        expect(command(machine, "stat", "-c", "%U %G %a", "/etc/paqet") == "root paqet 710", "mode of /etc/paqet")
        expect(state(machine) == "inactive", "something was started")
        command(machine, "paqet", "init", "server", "--address", lab.s.ip4)
        expect(state(machine) == "active", "the server does not run")
        shown = command(machine, "systemctl", "show", "--property=FragmentPath", "--value", "paqet@server")
        expect(shown.endswith("/lib/systemd/system/paqet@.service") and shown.startswith(("/usr", "/lib")), f"unit: {shown}")

        process = main_process(machine, "paqet@server")
        dpkg(machine, "-i", "/root/paqet.deb")
        wait_until(lambda: state(machine) == "active" and main_process(machine, "paqet@server") not in ("0", process), 20, "the new program")

        dpkg(machine, "-r", "paqet")
        expect(state(machine) in ("inactive", "failed"), "it still runs")
        command(machine, "test", "-e", "/etc/paqet/server.yaml")
        dpkg(machine, "-i", "/root/paqet.deb")
        command(machine, "systemctl", "start", "paqet@server")
        dpkg(machine, "-P", "paqet")
        expect(state(machine) in ("inactive", "failed"), "it still runs")
        left = listing(machine) - before
        expect(not left, f"left: {left}")
        expect(machine.host.run(machine.inside("id", "paqet")).returncode != 0, "the user is left")


@test(full=True, limit=120)
def test_package_beside_another() -> None:
    """Purged where "paqet init" of a program without the package has set up what runs: that stays."""
    with Lab() as lab:
        machine = SystemdMachine(lab.s)
        bring_deb(machine)
        machine.check("init", "server", "--address", lab.s.ip4)
        dpkg(machine, "-i", "/root/paqet.deb")
        wait_until(lambda: state(machine) == "active", 20, "the server")
        dpkg(machine, "-P", "paqet")
        command(machine, "test", "-e", "/etc/paqet/server.yaml")
        expect(state(machine) == "active", "the server that is not of the package does not run any more")


# ---- apk and ipk: what their package managers ask, which are not in Debian


def gzip_members(packed: bytes) -> list[tuple[bytes, bytes]]:
    """Each member as it is and unpacked."""
    members = []
    while packed:
        unpacker = zlib.decompressobj(31)
        text = unpacker.decompress(packed)
        members.append((packed[: len(packed) - len(unpacker.unused_data)], text))
        packed = unpacker.unused_data
    return members


def check_headers(archive: bytes) -> None:
    """Numbers in octal, as apk reads them: a mode with more than the permissions in it would not be."""
    offset = 0
    while archive[offset : offset + 1].strip(b"\0"):
        header = archive[offset : offset + 512]
        for field in (header[100:108], header[108:116], header[116:124], header[124:136], header[136:148]):
            expect(re.fullmatch(rb"[0-7]+[ \0]*", field), f"{header[:100]!r}: no octal number: {field!r}")
        offset += 512 + (int(header[124:136].strip(b" \0"), 8) + 511) // 512 * 512


def read_archive(archive: bytes, packed: str = "") -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode=f"r:{packed}") as tar:
        return {m.name.removeprefix("./"): (m, (tar.extractfile(m).read() if m.isfile() else b"")) for m in tar.getmembers()}


def check_files(files: dict[str, tuple[tarfile.TarInfo, bytes]], scripts: dict[str, bytes]) -> None:
    for name, (member, _) in files.items():
        expect(member.uid == member.gid == 0, f"{name} belongs to {member.uid}")
        mode = 0o755 if member.isdir() or name == "usr/bin/paqet" else 0o644
        expect(member.mode == mode and not name.startswith("/"), f"{name}: {member.mode:o}")
    expect(files["usr/bin/paqet"][1][:4] == b"\x7fELF", "the program is none")
    for name, text in scripts.items():
        checked = subprocess.run(["sh", "-n"], input=text, capture_output=True, timeout=20, check=False)
        expect(checked.returncode == 0 and text.startswith(b"#!/bin/sh\n"), f"{name}: {checked.stderr!r}")


@test()
def test_package_apk() -> None:
    """Control and data, the first naming the digest of the second, one line for each field."""
    members = gzip_members(newest("*.apk").read_bytes())
    expect(len(members) == 2, f"{len(members)} parts; unsigned ones have two")
    for _, archive in members:
        check_headers(archive)
    control = {name: text for name, (_, text) in read_archive(members[0][1] + bytes(1024)).items()}
    fields = dict(line.split(" = ", 1) for line in control.pop(".PKGINFO").decode().splitlines() if not line.startswith("#"))
    expect(fields["datahash"] == hashlib.sha256(members[1][0]).hexdigest(), "the digest is of something else")
    expect(fields["pkgname"] == "paqet" and fields["arch"] == "x86_64", f"{fields}")
    scripts = {".post-install", ".post-upgrade", ".pre-deinstall", ".post-deinstall"}
    expect(set(control) == scripts, f"scripts: {set(control)}")
    check_files(read_archive(members[1][1]), control)


@test()
def test_package_ipk() -> None:
    """Three members, the program and its license."""
    parts = read_archive(newest("*.ipk").read_bytes(), "gz")
    expect(set(parts) == {"debian-binary", "control.tar.gz", "data.tar.gz"}, f"{set(parts)}")
    expect(parts["debian-binary"][1] == b"2.0\n", "debian-binary")
    control = {name: text for name, (_, text) in read_archive(parts["control.tar.gz"][1], "gz").items()}
    for line in ("Package: paqet", "Architecture: all"):
        expect(f"{line}\n" in control["control"].decode(), f"no {line} in {control['control']!r}")
    check_files(read_archive(parts["data.tar.gz"][1], "gz"), {name: control[name] for name in ("postinst", "prerm", "postrm")})
