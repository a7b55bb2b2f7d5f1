# SPDX-License-Identifier: MIT
"""The .deb of script/package, if it has been made, in a machine that systemd runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from case import Skip, expect, test
from lab import ROOT, Lab, wait_until
from roots import SystemdMachine
from test_setup import command, main_process

FOLDER = ROOT / "build-release/packages"


def bring_deb(machine: SystemdMachine) -> None:
    """The newest one, as /root/paqet.deb."""
    found = sorted(FOLDER.glob("paqet_*_amd64.deb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise Skip("no .deb there: script/package deb")
    shutil.copy(found[-1], f"/proc/{machine.pid}/root/root/paqet.deb")


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
        command(machine, "dpkg", "-i", "/root/paqet.deb")
        expect(command(machine, "stat", "-c", "%U %G %a", "/etc/paqet") == "root paqet 710", "mode of /etc/paqet")
        expect(state(machine) == "inactive", "something was started")
        command(machine, "paqet", "init", "server", "--address", lab.s.ip4)
        expect(state(machine) == "active", "the server does not run")
        shown = command(machine, "systemctl", "show", "--property=FragmentPath", "--value", "paqet@server")
        expect(shown.endswith("/lib/systemd/system/paqet@.service") and shown.startswith(("/usr", "/lib")), f"unit: {shown}")

        process = main_process(machine, "paqet@server")
        command(machine, "dpkg", "-i", "/root/paqet.deb")
        wait_until(lambda: state(machine) == "active" and main_process(machine, "paqet@server") not in ("0", process), 20, "the new program")

        command(machine, "dpkg", "-r", "paqet")
        expect(state(machine) in ("inactive", "failed"), "it still runs")
        command(machine, "test", "-e", "/etc/paqet/server.yaml")
        command(machine, "dpkg", "-i", "/root/paqet.deb")
        command(machine, "systemctl", "start", "paqet@server")
        command(machine, "dpkg", "-P", "paqet")
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
        command(machine, "dpkg", "-i", "/root/paqet.deb")
        wait_until(lambda: state(machine) == "active", 20, "the server")
        command(machine, "dpkg", "-P", "paqet")
        command(machine, "test", "-e", "/etc/paqet/server.yaml")
        expect(state(machine) == "active", "the server that is not of the package does not run any more")
