# SPDX-License-Identifier: MIT
"""Fresh machines: each a root of its own with nothing but the program in it, in the network of a
host of the lab. Processes that it leaves in the background end with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import paqet
from case import Failure
from lab import Host, Process, die_with_parent, wait_until

NODES = {"null": "1 3", "zero": "1 5", "urandom": "1 9", "net/tun": "10 200"}


def libraries(program: str) -> list[str]:
    """Files that a dynamic program needs; none for a static one."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=20, check=False)
    return re.findall(r"(/\S+) \(0x", result.stdout)


class Machine:
    """A root in which the program is /root/paqet, as if it had been carried there."""

    def __init__(self, host: Host):
        self.host = host
        self.root = host.lab.folder / f"root-{host.letter}"
        self.build()
        script = f"mount -t tmpfs none {self.root}/run && mount -t proc none {self.root}/proc && echo ready; sleep 600"
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        self.holder: Process = host.start("machine", unshare)
        self.holder.wait_log("^ready", 10)
        self.pid = self.first_process()

    def build(self) -> None:
        for folder in ("dev/net", "etc", "proc", "root", "run", "tmp"):
            (self.root / folder).mkdir(parents=True)
        for name, numbers in NODES.items():
            subprocess.run(["mknod", "-m", "666", str(self.root / "dev" / name), "c", *numbers.split()], check=True)
        shutil.copy(paqet.program(), self.root / "root/paqet")
        for library in libraries(paqet.program()):
            self.add(library)

    def add(self, path: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    def first_process(self) -> int:
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        wait_until(lambda: children.read_text().split(), 5, "the machine's first process")
        return int(children.read_text().split()[0])

    def inside(self, *command: str) -> list[str]:
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--pid", "--net", "chroot", str(self.root)]
        return [*enter, *command]

    def run(self, *command: str, text: str = "", limit: float = 60) -> subprocess.CompletedProcess[str]:
        """The program with these arguments; `text` on its standard input."""
        program = "/root/paqet" if (self.root / "root/paqet").exists() else "/usr/local/bin/paqet"
        try:
            return subprocess.run(
                self.inside(program, *command),
                input=text,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                preexec_fn=die_with_parent,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"paqet {' '.join(command[:2])}: no end within {limit:g} s") from error

    def check(self, *command: str, text: str = "") -> str:
        result = self.run(*command, text=text)
        if result.returncode != 0:
            raise Failure(f"paqet {' '.join(command[:2])}: {result.stdout}{result.stderr}")
        return result.stdout

    def files(self) -> set[str]:
        """All that is on its disk."""
        found = set()
        for folder, names, files in os.walk(self.root):
            if Path(folder) == self.root:
                names[:] = [name for name in names if name not in ("proc", "dev", "run")]
            found |= {os.path.relpath(os.path.join(folder, name), self.root) for name in (*names, *files)}
        return found

    def mode(self, path: str) -> int:
        return (self.root / path).stat().st_mode & 0o7777

    def read(self, path: str) -> str:
        return (self.root / path).read_text()
