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
from case import Failure, Skip
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
        self.pid = self.start()

    def build(self) -> None:
        for folder in ("dev/net", "etc", "proc", "root", "run", "tmp"):
            (self.root / folder).mkdir(parents=True)
        for name, numbers in NODES.items():
            subprocess.run(["mknod", "-m", "666", str(self.root / "dev" / name), "c", *numbers.split()], check=True)
        shutil.copy(paqet.program(), self.root / "root/paqet")
        for library in libraries(paqet.program()):
            self.add(library)

    def start(self) -> int:
        script = f"mount -t tmpfs none {self.root}/run && mount -t proc none {self.root}/proc && echo ready; sleep 600"
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        self.holder: Process = self.host.start("machine", unshare)
        self.holder.wait_log("^ready", 10)
        return self.first_process()

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

    def run(
        self, *command: str, text: str = "", limit: float = 60, more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The program with these arguments; `text` on its standard input, `more` in its environment."""
        try:
            return subprocess.run(
                self.inside("/root/paqet", *command),
                input=text,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **(more or {})},
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


SYSTEMD = "/lib/systemd/systemd"

# An overlay of this machine's root, in which systemd finds nothing to start but its journal.
BOOT = """
set -e
mount -t tmpfs none {root}
mkdir {root}/upper {root}/work {root}/all
mount -t overlay -o lowerdir=/,upperdir={root}/upper,workdir={root}/work none {root}/all
cd {root}/all
mount -t proc none proc
mount -t tmpfs none run
mount -t tmpfs none tmp
mount -t sysfs none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs none dev
mkdir dev/net dev/pts dev/shm
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    set -- $node
    mknod -m 666 dev/$1 c $2 $3
done
mknod -m 600 dev/net/tun c 10 200
mknod -m 600 dev/console c 5 1
mkdir -p root etc/systemd/system
cp {program} root/paqet
for unit in sysinit basic network-online; do
    printf '[Unit]\nDefaultDependencies=no\n' >etc/systemd/system/$unit.target
done
cat >etc/systemd/system/little.target <<END
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
END
exec chroot . env container=docker {systemd} --system --unit=little.target --log-target=console --show-status=0
"""


class SystemdMachine(Machine):
    """One that systemd runs, whose files are those of this machine, changes aside."""

    def build(self) -> None:
        if not Path(SYSTEMD).exists():
            raise Skip(f"no {SYSTEMD}")
        self.root.mkdir()
        self.group = f"paqet-lab-{self.host.namespace}"
        self.host.lab.at_close(self.remove_group)

    def start(self) -> int:
        """systemd gets a control group of its own: all of the tree would be its else."""
        boot = BOOT.format(root=self.root, program=paqet.program(), systemd=SYSTEMD)
        join = (
            f"mount -t cgroup2 none {self.root} && mkdir {self.root}/{self.group} && "
            f"echo $$ >{self.root}/{self.group}/cgroup.procs && umount {self.root} && "
            'exec unshare --pid --fork --uts --ipc --cgroup --kill-child sh -c "$0"'
        )
        self.holder = self.host.start("machine", ["unshare", "--mount", "sh", "-c", join, boot])
        wait_until(self.is_up, 15, "systemd")
        return self.first_process()

    def is_up(self) -> bool:
        if not self.holder.alive():
            raise Skip(f"systemd does not run here: {self.holder.last_lines()}")
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        if not children:
            return False
        argv = ["nsenter", "-t", children[0], "--all", "--root", "--wdns=/", "systemctl", "is-active", "little.target"]
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "--all", "--root", "--wdns=/", *command]

    def remove_group(self) -> None:
        script = (
            "mount -t cgroup2 none /mnt; for i in 1 2 3 4 5 6 7 8 9; do "
            "find /mnt/$0 -depth -type d -exec rmdir {} + && break; sleep 0.2; done"
        )
        subprocess.run(["unshare", "--mount", "sh", "-c", script, self.group], capture_output=True, timeout=20, check=False)
