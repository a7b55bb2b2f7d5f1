# SPDX-License-Identifier: MIT
"""What script/package has made, if it has: the .deb in a machine that systemd runs; what apk and opkg ask of theirs."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
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
    control, files = read_apk(newest("*.apk"))
    fields = fields_of(control.pop(".PKGINFO"))
    expect(fields["datahash"] == hashlib.sha256(members[1][0]).hexdigest(), "the digest is of something else")
    expect(fields["pkgname"] == "paqet", f"{fields}")
    scripts = {".post-install", ".post-upgrade", ".pre-deinstall", ".post-deinstall"}
    expect(set(control) == scripts, f"scripts: {set(control)}")
    check_files(files, control)


def read_apk(path: Path) -> tuple[dict[str, bytes], dict[str, tuple[tarfile.TarInfo, bytes]]]:
    """Control and data."""
    members = gzip_members(path.read_bytes())
    return {name: text for name, (_, text) in read_archive(members[0][1] + bytes(1024)).items()}, read_archive(members[1][1])


def fields_of(text: bytes) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in text.decode().splitlines() if not line.startswith("#"))


def read_ipk(path: Path) -> tuple[dict[str, bytes], dict[str, tuple[tarfile.TarInfo, bytes]]]:
    """Control and data."""
    parts = read_archive(path.read_bytes(), "gz")
    expect(set(parts) == {"debian-binary", "control.tar.gz", "data.tar.gz"}, f"{set(parts)}")
    expect(parts["debian-binary"][1] == b"2.0\n", "debian-binary")
    control = {name: text for name, (_, text) in read_archive(parts["control.tar.gz"][1], "gz").items()}
    return control, read_archive(parts["data.tar.gz"][1], "gz")


@test()
def test_package_ipk() -> None:
    """Three members, the program and its license."""
    control, files = read_ipk(newest("*.ipk"))
    for line in ("Package: paqet", "Architecture: all"):
        expect(f"{line}\n" in control["control"].decode(), f"no {line} in {control['control']!r}")
    check_files(files, {name: control[name] for name in ("preinst", "postinst", "prerm", "postrm")})


# OpenWrt's names of devices, and for whose program they are.
DEVICES = {
    "x86_64": "x86_64",
    "aarch64_cortex-a53": "arm64",
    "aarch64_generic": "arm64",
    "arm_cortex-a7_neon-vfpv4": "armv7",
    "arm_cortex-a9_vfpv3-d16": "armv7",
    "mipsel_24kc": "mipsel",
    "mipsel_74kc": "mipsel",
    "mips_24kc": "mips",
    "riscv64_riscv64": "riscv64",
    "arm_cortex-a9": "none of them",  # no FPU
    "arm_arm1176jzf-s_vfp": "none of them",  # ARMv6
    "mipsel_mips32": "none of them",  # before release 2
    "i386_pentium4": "none of them",
}


@test()
def test_package_ipk_of_another_device() -> None:
    """It says that it is for all devices, and before it is unpacked that it is not for this one."""
    newest("*.ipk")
    for arch in sorted(set(DEVICES.values())):
        for path in sorted(FOLDER.glob(f"*_{arch}.ipk"), key=lambda path: path.stat().st_mtime)[-1:]:
            script = read_ipk(path)[0]["preinst"]
            for device, program in DEVICES.items():
                with tempfile.TemporaryDirectory() as root:
                    (Path(root) / "etc").mkdir()
                    (Path(root) / "etc/openwrt_release").write_text(f"DISTRIB_ID='OpenWrt'\nDISTRIB_ARCH='{device}'\n")
                    env = os.environ | {"IPKG_INSTROOT": root}
                    ran = subprocess.run(["sh", "-s"], input=script, env=env, capture_output=True, timeout=20, check=False)
                said = ran.stderr.decode()
                right = ran.returncode == 0 and not said if program == arch else ran.returncode == 1 and arch in said and device in said
                expect(right, f"{path.name} on {device}: exit code {ran.returncode}, {said!r}")


# ---- the names that each format has for a kind of machine

# What script/release calls it: machine and byte order in an ELF header; Debian's, Fedora's, Alpine's, Arch's name.
MACHINES = {
    "x86_64": (62, "<", "amd64", "x86_64", "x86_64", "x86_64"),
    "arm64": (183, "<", "arm64", "aarch64", "aarch64", "aarch64"),
    "armv7": (40, "<", "armhf", "armv7hl", "armv7", "armv7h"),
    "mipsel": (8, "<", "mipsel", "mipsel", None, None),
    "mips": (8, ">", "mips", "mips", None, None),
    "riscv64": (243, "<", "riscv64", "riscv64", "riscv64", "riscv64"),
    "s390x": (22, ">", "s390x", "s390x", "s390x", None),
}


def output_of(*argv: str | Path) -> bytes:
    return subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout


def rpm_machine(path: Path) -> str:
    """Tag 1022 of the second header, which begins behind the lead and the signature."""
    raw = path.read_bytes()
    at = 96
    for _ in range(2):
        expect(raw[at : at + 3] == b"\x8e\xad\xe8", "no header")
        count, size = struct.unpack_from(">II", raw, at + 8)
        first = at
        at += 16 + 16 * count + size
        at += -at % 8
    for i in range(count):
        tag, _, offset, _ = struct.unpack_from(">IIII", raw, first + 16 + 16 * i)
        if tag == 1022:
            return raw[first + 16 + 16 * count + offset :].split(b"\0", 1)[0].decode()
    return ""


def describe(path: Path) -> tuple[str, bytes]:
    """What the package says that it is for, and the head of its program where that can be read here."""
    if path.suffix == ".deb":
        files = read_archive(output_of("dpkg-deb", "--fsys-tarfile", path))
        return output_of("dpkg-deb", "-f", path, "Architecture").decode().strip(), files["usr/bin/paqet"][1]
    if path.suffix == ".apk":
        control, files = read_apk(path)
        return fields_of(control[".PKGINFO"])["arch"], files["usr/bin/paqet"][1]
    if path.suffix == ".ipk":
        return "all", read_ipk(path)[1]["usr/bin/paqet"][1]
    if path.suffix == ".rpm":
        return rpm_machine(path), b""
    if not shutil.which("zstd"):
        return "", b""
    files = read_archive(output_of("zstd", "-dc", path))
    return fields_of(files[".PKGINFO"][1])["arch"], files["usr/bin/paqet"][1]


@test()
def test_package_machines() -> None:
    """Each kind of package has the name that its distribution has for the machine, in it and in its file's name."""
    newest("paqet*")
    for arch, (machine, order, deb, rpm, apk, archlinux) in MACHINES.items():
        names = {f"*_{deb}.deb": deb, f"*.{rpm}.rpm": rpm, f"*_{apk}.apk": apk, f"*_{arch}.ipk": "all", f"*-{archlinux}.pkg.tar.zst": archlinux}
        for pattern, name in names.items():
            for path in sorted(FOLDER.glob(pattern), key=lambda path: path.stat().st_mtime)[-1:]:
                said, program = describe(path)
                expect(said in (name, ""), f"{path.name} is for {said!r}")
                if program:
                    expect(program[5] == (1 if order == "<" else 2), f"{path.name}: byte order of another machine")
                    expect(struct.unpack_from(order + "H", program, 18)[0] == machine, f"{path.name}: program of another machine")


@test()
def test_package_formats() -> None:
    """What no distribution could install is refused before anything is made."""
    for arch, names in MACHINES.items():
        there = dict(zip(("deb", "rpm", "apk", "archlinux"), names[2:], strict=True)) | {"ipk": None if arch == "s390x" else "all"}
        for kind in [kind for kind, name in there.items() if name is None]:
            ran = subprocess.run([ROOT / "script/package", "--arch", arch, kind], capture_output=True, text=True, timeout=20, check=False)
            expect(ran.returncode == 1 and f"no {kind} for {arch}" in ran.stderr, f"{arch} {kind}: {ran.stdout} {ran.stderr}")
