# SPDX-License-Identifier: MIT
"""What other users of the machine can do to a paqet: take names that it uses, and put things where it writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import paqet
from case import expect, test
from lab import Host, Lab, Process
from test_flows import Ends
from test_iptables import rules
from test_kernel import expect_refusal
from test_tun import FAR, internet, need, tun, wait_ping
from test_tun_leaks import client, routes
from without import all_rules, without_nftables

STRANGER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--ambient-caps=-all", "python3", "-c"]

TAKE = """
import socket, sys, time
held = []
for name in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        held.append(socket.socket(socket.AF_UNIX, kind))
        held[-1].bind(chr(0) + name)
print("taken", flush=True)
time.sleep(60)
"""

MARK = """
import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 0xE4)
except PermissionError:
    print("refused")
"""


def stranger_takes(host: Host, *names: str) -> Process:
    process = host.start("stranger", [*STRANGER, TAKE, *names])
    process.wait_log("taken", 10)
    return process


@test(limit=60)
def test_local_user_takes_names() -> None:
    """Names in the network that any user can take, and that this program once used, do not hinder it."""
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        stranger_takes(lab.s, "paqet-ports-20000-20100")
        stranger_takes(lab.c, "paqet-kill-switch", "paqet-tun-rules")
        expect("refused" in lab.s.check([*STRANGER, MARK]), "a stranger can set a mark")
        internet(lab)
        routes(lab)
        ends = Ends(lab, ports="20000-20100")
        ends.know_all()
        settings = ends.server_settings()
        settings.extra += tun(1, "  masquerade: true\n", ip6=False)
        server = paqet.start_server(lab, settings)
        server.wait_log("listening on port 20000-20100 of s0", 10)
        ends.ports = "20100-20200"
        second = paqet.start(lab.s, "second", paqet.server_config(lab, ends.server_settings()))
        expect_refusal(second, r"port 20100 is in use by another program \(another paqet server\?\)")


@test(limit=60)
def test_local_user_keeps_kill_switch() -> None:
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        stranger_takes(lab.c, "paqet-kill-switch", "paqet-tun-rules")
        paqet.start_server(lab, paqet.Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False)))
        first = paqet.start_client(lab, client("always"))
        wait_ping(lab.c, FAR)
        expect(first.stop() == 0, "exit code")
        other = paqet.start_client(lab, client("off"))
        other.wait_log("kill switch: the one that was kept is taken away", 10)
        wait_ping(lab.c, FAR)


@test(limit=90)
def test_local_version_before() -> None:
    """One that runs yet has no marks, but such a name: its chains and its kill switch stay while it runs, no longer."""
    need("/dev/net/tun")
    with Lab(third=True) as lab:
        program = without_nftables(lab)
        internet(lab)
        routes(lab)
        tool = ["iptables-legacy", "-t", "raw"]
        lab.c.check([*tool, "-N", "paqet-4711-beef-raw"])
        lab.c.check([*tool, "-A", "PREROUTING", "-s", "192.0.2.1", "-j", "paqet-4711-beef-raw"])
        theirs = rules(lab.c)
        paqet.start_server(lab, paqet.Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False)))
        first = paqet.start_client(lab, client("always"), program)
        wait_ping(lab.c, FAR)
        expect("beef" not in str(rules(lab.c)), "chains of nobody stay")
        expect(first.stop(20) == 0, "exit code")
        kept = all_rules(lab.c)
        expect(any("paqet-kept-out" in rule for rule in kept), f"no kill switch is kept: {kept}")
        for rule in theirs:
            lab.c.check([*tool, *rule.split()])
        before = lab.c.start("before", ["python3", "-c", TAKE, "paqet-4711-beef", "paqet-kill-switch"])
        before.wait_log("taken", 10)
        for names, words in ((True, "that of another client, which runs, stays"), (False, "the one that was kept is taken away")):
            other = paqet.start_client(lab, client("off"), program)
            other.wait_log(f"kill switch: {words}", 10)
            expect(("beef" in str(rules(lab.c))) == names, f"{names}: {rules(lab.c)}")
            expect(other.stop(20) == 0, "exit code")
            expect((set(kept) <= set(all_rules(lab.c))) == names, f"{names}: {all_rules(lab.c)}")
            before.kill()


UID = 61234  # who runs paqet here
OTHER = 61235
SECOND = 61236  # in a test beside that of UID


def clear(uid: int = UID) -> None:
    for path in Path("/tmp").glob(f"paqet-{uid}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def unprivileged(lab: Lab, program: str, uid: int) -> list[str]:
    """What runs a client as that user, with a configuration of his and the rights that it needs."""
    config = lab.new_file("client.yaml")
    config.write_text(paqet.client_config(lab, paqet.Settings()))
    os.chown(config, uid, uid)
    config.chmod(0o600)
    drop = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
    rights = [f"--{kind}=+net_raw,+net_admin" for kind in ("inh-caps", "ambient-caps")]
    return ["setpriv", *drop, *rights, program, "run", "-c", str(config)]


@test(limit=90)
def test_local_user_waits_at_the_lock() -> None:
    """A FIFO, a link or a folder of another user where an unprivileged paqet has its lock for iptables."""
    with Lab() as lab:
        program = without_nftables(lab)
        clear()
        lab.at_close(clear)
        victim = lab.new_file("victim")
        victim.write_text("")
        victim.chmod(0o600)
        os.mkfifo(f"/tmp/paqet-{UID}-xtables.lock", 0o666)
        os.chown(f"/tmp/paqet-{UID}-xtables.lock", OTHER, OTHER)
        lab.origin()
        paqet.start_server(lab, paqet.Settings())
        run = unprivileged(lab, program, UID)
        for trap in ("none", "folder", "link"):
            own = Path(f"/tmp/paqet-{UID}")
            if trap == "folder":
                shutil.rmtree(own)
                own.mkdir(0o777)
                os.mkfifo(own / "xtables.lock", 0o666)
                os.chown(own, OTHER, OTHER)
            elif trap == "link":
                shutil.rmtree(own)
                own.symlink_to(victim)
            here = lab.c.start(f"client-{trap}", run)
            here.wait_log(r"kept out by iptables \(raw\)", 10)
            paqet.wait_working(lab)
            expect(rules(lab.c), "no rules")
            expect(here.stop(20) == 0 and not rules(lab.c), f"{trap}: left: {rules(lab.c)}")
            expect(own.is_dir() == (trap != "link") and victim.read_text() == "", f"{trap}: {own}")


@test(limit=60)
def test_local_user_names_the_lock() -> None:
    """Where no folder for that lock can be made it is at a path that nobody else can make, from the first call to the last."""
    read_only = 'mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp && exec "$@"'
    with Lab() as lab:
        program = without_nftables(lab)
        clear(SECOND)
        lab.at_close(lambda: clear(SECOND))
        own = Path(f"/tmp/paqet-{SECOND}")
        own.mkdir(0o777)
        os.chown(own, OTHER, OTHER)
        argv = ["unshare", "-m", "sh", "-c", read_only, "sh", *unprivileged(lab, program, SECOND)]
        here = lab.c.start("client", argv)
        here.wait_log("lock file", 10)
        said = here.log_path.read_text()
        expect("/nonexistent/xtables.lock" in said and f"{own}-" not in said, said)
