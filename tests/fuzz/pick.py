#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Picks a small corpus: tests/fuzz/pick.py CONTROL_FILE FOLDER FILES BYTES

CONTROL_FILE is what libFuzzer's -merge=1 has noted of each input. Those go into FOLDER that reach
most for their size, until FILES or BYTES of them are there. Files that bear a name of their own,
not a hash, stay in any case and come first.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

BY_HASH = re.compile(r"[0-9a-f]{40}")


def read_features(control: Path) -> dict[Path, set[int]]:
    """What each input reaches; one that crashed has no such line and is left out."""
    lines = control.read_text().splitlines()
    count = int(lines[0])
    paths = [Path(line) for line in lines[2 : 2 + count]]
    features = {}
    for line in lines[2 + count :]:
        kind, number, *rest = line.split()
        if kind == "FT":
            features[paths[int(number)]] = {int(feature) for feature in rest}
    return features


def pick(features: dict[Path, set[int]], reached: set[int], files: int, budget: int) -> list[Path]:
    chosen: list[Path] = []
    rest = dict(features)
    while rest and len(chosen) < files:
        rest = {path: new - reached for path, new in rest.items()}
        rest = {p: n for p, n in rest.items() if n and p.stat().st_size <= budget}
        if not rest:
            break
        best = max(sorted(rest), key=lambda path: len(rest[path]) / (64 + path.stat().st_size))
        chosen.append(best)
        budget -= best.stat().st_size
        reached |= rest.pop(best)
    return chosen


def main() -> int:
    control, folder = Path(sys.argv[1]), Path(sys.argv[2])
    files, budget = int(sys.argv[3]), int(sys.argv[4])
    features = read_features(control)
    named = [p for p in folder.iterdir() if not BY_HASH.fullmatch(p.name)]
    reached = set().union(*(features.get(path, set()) for path in named))
    others = {path: new for path, new in features.items() if path not in named}
    left = max(budget - sum(path.stat().st_size for path in named), 0)
    chosen = {}
    for path in pick(others, reached, files - len(named), left):
        content = path.read_bytes()
        chosen[hashlib.sha1(content).hexdigest()] = content
    for path in folder.iterdir():
        if BY_HASH.fullmatch(path.name) and path.name not in chosen:
            path.unlink()
    for name, content in chosen.items():
        (folder / name).write_bytes(content)
    print(f"{folder}: {len(named)} named inputs and {len(chosen)} others")
    return 0


if __name__ == "__main__":
    sys.exit(main())
