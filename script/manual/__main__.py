# SPDX-License-Identifier: MIT
"""python3 script/manual VERSION FOLDER: writes the manual pages paqet.1 and paqet.yaml.5, and the
completions for bash (paqet), zsh (_paqet) and fish (paqet.fish)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import commands  # noqa: E402
import completions  # noqa: E402
import pages  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def date() -> str:
    """Of the commit, or what who packs says; the same for everybody who builds it."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds:
        git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        seconds = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return time.strftime("%Y-%m-%d", time.gmtime(int(seconds))) if seconds else ""


def main() -> None:
    version, folder = sys.argv[1], Path(sys.argv[2])
    table = commands.read(ROOT)
    texts = {
        "paqet.1": pages.paqet_1(ROOT, version, date()),
        "paqet.yaml.5": pages.paqet_yaml_5(ROOT, version, date()),
        "paqet": completions.bash(table),
        "_paqet": completions.zsh(table),
        "paqet.fish": completions.fish(table),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


main()
