# SPDX-License-Identifier: MIT
"""The static program, made twice, in two places: whoever builds a commit can tell whether a file is what it says."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import paqet
from case import Skip, expect, test

ROOT = paqet.ROOT
OUT = ROOT / "build-release"
SHARED = ("downloads", "sources")  # and the compiler: what a second clone would download again


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_this_commit(program: Path) -> bool:
    argv = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    commit = subprocess.check_output(argv, text=True).strip()
    return not commit.endswith("+") and commit.encode() + b"\0" in program.read_bytes()


def make_again(folder: Path, arch: str) -> Path:
    """A clone somewhere else makes its libraries and its program from the same sources."""
    clone = folder / "a-second-clone-with-a-longer-name"
    git = ["git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", str(ROOT), str(clone)]
    subprocess.run(git, check=True, capture_output=True)
    (clone / "build-release").mkdir()
    for shared in (*(OUT / name for name in SHARED), *OUT.glob("zig-[0-9]*")):
        subprocess.run(["cp", "-a", str(shared), str(clone / "build-release")], check=True)
    env = {**os.environ, "BUILD_USER": "root"}
    made = subprocess.run([str(clone / "script/release"), arch], env=env, capture_output=True, text=True, check=False)
    expect(made.returncode == 0, f"script/release: {made.stdout[-500:]}{made.stderr[-500:]}")
    return clone / "build-release" / f"paqet-{arch}"


@test(limit=3000, full=True)
def test_release_twice() -> None:
    """Two runs of script/release of one commit, in two folders, make the same bytes."""
    arch = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    program = OUT / f"paqet-{arch}"
    if not program.exists() or not of_this_commit(program):
        raise Skip(f"it needs what script/release {arch} makes of this commit, with nothing changed since")
    with tempfile.TemporaryDirectory(prefix="paqet-release-") as folder:
        again = make_again(Path(folder), arch)
        expect(sha256(again) == sha256(program), f"{sha256(program)} first, then {sha256(again)}")
        sums = (again.parent / "SHA256SUMS").read_text().split()
        expect(sums == [sha256(program), f"paqet-{arch}"], f"SHA256SUMS: {sums}")
