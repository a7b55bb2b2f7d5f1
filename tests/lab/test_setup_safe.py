# SPDX-License-Identifier: MIT
"""What paqet init leaves to others of the machine: modes of files, and what is there when it is killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import paqet
from case import Skip, expect, test
from lab import Host, Lab, die_with_parent, wait_until
from roots import Machine, libraries


def secrets_of(text: str) -> list[str]:
    """Keys of a configuration."""
    return re.findall(r"(?m)^ *(?:private_key|key): \"(\w{32,})\"", text)


def open_files(machine: Machine) -> list[str]:
    """Files of the machine that init may have made and others may write, or that hold a key and others may read."""
    inside = Path(f"/proc/{machine.pid}/root{machine.root}")
    wrong, texts = [], {}
    for top in ("etc", "run", "usr", "var"):
        for folder, names, files in os.walk(inside / top):
            for name in (*names, *files):
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):  # of a program that ends
                    status = path.lstat()
                    if status.st_mode & 0o022 and stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                        wrong.append(f"{path.relative_to(inside)} {status.st_mode & 0o7777:o}")
                    if stat.S_ISREG(status.st_mode) and status.st_size < 100000:
                        texts[path] = status.st_mode, path.read_text(errors="replace")
    keys = {key for _, text in texts.values() for key in secrets_of(text)}
    for path, (mode, text) in texts.items():
        if mode & 0o004 and (any(key in text for key in keys) or "paqet://" in text):
            wrong.append(f"{path.relative_to(inside)} holds a key")
    return wrong


@test()
def test_setup_umask() -> None:
    """Whatever the caller's umask is."""
    with Lab() as lab:
        machine = Machine(lab.s)
        for umask in (0, 0o077):
            argv = machine.inside("/root/paqet", "init", "server", "--user", "a", "--user", "b", "--bundle", "/root/a.tar")
            result = subprocess.run(argv, capture_output=True, text=True, timeout=40, check=False, umask=umask, preexec_fn=die_with_parent)
            expect(result.returncode == 0, f"umask {umask:o}: {result.stdout}{result.stderr}")
            wrong = open_files(machine)
            expect(not wrong, f"umask {umask:o}: {wrong}")
            expect(machine.mode("root/a.tar") == 0o600, "the archive is open to others")
            (machine.root / "root/a.tar").unlink()
            machine.check("init", "--remove")


def processes(machine: Machine) -> list[int]:
    """Those of paqet in the machine, by their numbers outside."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "root") == str(machine.root) and (entry / "comm").read_text() == "paqet\n":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@test(limit=180)
def test_setup_killed() -> None:
    """By SIGKILL, at any moment: what is left holds no key that others may read, and --remove takes all of it back."""
    with Lab() as lab:
        machine = Machine(lab.s)
        before, moments, ended, after = machine.files(), 0, False, 0.05
        while not ended and after < 20:
            moments += 1
            after *= 1.2
            argv = machine.inside("/root/paqet", "init", "server", "--no-tun")
            init = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            time.sleep(after)
            children = Path(f"/proc/{init.pid}/task/{init.pid}/children")
            for child in children.read_text().split() if children.exists() else []:
                os.kill(int(child), 9)
            ended = init.wait(30) == 0
            when = f"killed after {after:.2f} s"
            wrong = open_files(machine)
            expect(not wrong, f"{when}: {wrong}")
            if not (machine.root / "etc/paqet/made-by-init").exists() or "service" not in machine.read("etc/paqet/made-by-init"):
                wait_until(lambda: not processes(machine), 20, f"{when}: what was tried ends")
            result = machine.run("init", "--remove")
            expect(machine.files() == before, f"{when}, left: {machine.files() - before}; {result.stdout}{result.stderr}")
            wait_until(lambda: not processes(machine), 5, f"{when}: the end of what was there")
        expect(moments > 5, "it was killed too seldom")


# Another's paqet of the version before, which has got the number that a file in /run names.
UPGRADE = """
set -e
mount -t tmpfs none "$0"
cd "$0"
mount -t tmpfs none /run
for folder in bin etc; do
    mkdir up-$folder work-$folder
    case $folder in bin) at=/usr/bin ;; *) at=/etc ;; esac
    mount -t overlay -o lowerdir=$at,upperdir=up-$folder,workdir=work-$folder none $at
done
printf '#!/bin/sh\\n' >/usr/bin/systemd-sysusers
chmod 755 /usr/bin/systemd-sysusers
cp "$1" /usr/bin/paqet
chmod 755 . /usr/bin/paqet
mkfifo -m 666 config
setpriv --reuid=$3 --regid=$3 --clear-groups /usr/bin/paqet run -c "$0/config" >/dev/null 2>&1 &
until grep -q paqet /proc/$!/comm; do sleep 0.05; done
echo $! >/run/paqet-server.pid
printf '#!/bin/sh\\necho "$@" >"%s/started"\\n' "$0" >new
chmod 755 new
mv new /usr/bin/paqet
sh "$2/postinstall.sh"
sleep 1
kill -0 $! && echo alive
ls started || true
"""


@test()
def test_package_other_number() -> None:
    """A package's script starts anew what root runs, and nothing of anybody else's, whatever has the number of a process now."""
    with Lab() as lab:
        folder = lab.new_file("upgrade")
        for uid, name in ((65534, "other"), (0, "root")):
            place = folder.with_name(f"upgrade-{name}")
            place.mkdir()
            argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", UPGRADE]
            argv += [str(place), paqet.program(), str(paqet.ROOT / "package"), str(uid)]
            said = lab.s.run(argv, 30)
            root = uid == 0
            expect(("started" in said.stdout.split()) == root, f"of {name}: {said.stdout}{said.stderr}")
            expect(("alive" in said.stdout.split()) != root, f"of {name}: {said.stdout}{said.stderr}")


# As OpenRC does it, without its supervisor.
OPENRC_RUN = """#!/bin/sh
checkpath() {
    owner=root:root
    while [ $# -gt 0 ]; do
        case $1 in
        --directory) kind=d ;;
        --file) kind=f ;;
        --mode) mode=$2 && shift ;;
        --owner) owner=$2 && shift ;;
        *) path=$1 ;;
        esac
        shift
    done
    if [ $kind = d ]; then mkdir -p "$path"; else : >>"$path"; fi
    chmod "$mode" "$path" && chown "$owner" "$path"
}
. "$1"
pid=/run/openrc/pid
stop() { [ ! -e $pid ] || kill $(cat $pid); }
start() {
    start_pre || exit 1
    setsid $command $command_args >>$output_log 2>&1 </dev/null &
    echo $! >$pid
}
case $2 in
status) [ -e $pid ] && kill -0 $(cat $pid) ;;
restart) stop && sleep 1 && start ;;
*) $2 ;;
esac
"""
BUSYBOX_USERS = {
    "addgroup": """[ "$*" = "-S paqet" ] && echo paqet:x:990: >>/etc/group""",
    "adduser": """echo "$*" >/etc/asked && echo paqet:x:990:990::/nonexistent:/sbin/nologin >>/etc/passwd""",
    "deluser": """sed -i /^paqet:/d /etc/passwd""",
}


def with_openrc(host: Host, users: dict[str, str], passwd: str = "") -> Machine:
    """A machine with busybox, these programs for users, these users, and enough of OpenRC."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise Skip("busybox is not installed")
    machine = Machine(host)
    for path in (busybox, *libraries(busybox)):
        machine.add(path)
    (machine.root / "bin").mkdir(exist_ok=True)
    host.check(machine.inside(busybox, "--install", "-s", "/bin"))
    scripts = {"openrc-run": OPENRC_RUN, "rc-service": '#!/bin/sh\nexec "/etc/init.d/$1" "$2"\n', "rc-update": "#!/bin/sh\n"}
    scripts |= {name: f"#!/bin/sh\n{text}\n" for name, text in users.items()}
    (machine.root / "sbin").mkdir(exist_ok=True)
    for name, text in scripts.items():
        path = machine.root / "sbin" / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for folder in ("etc/init.d", "var/log"):
        (machine.root / folder).mkdir(parents=True)
    (machine.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n" + passwd)
    (machine.root / "etc/group").write_text("root:x:0:\n")
    host.check(machine.inside("/bin/mkdir", "/run/openrc"))
    return machine


def status_of(machine: Machine) -> str:
    pid = machine.host.check(machine.inside("/bin/cat", "/run/openrc/pid")).strip()
    return machine.host.check(machine.inside("/bin/cat", f"/proc/{pid}/status"))


@test(limit=90)
def test_setup_openrc() -> None:
    """A server with OpenRC runs as the user that init makes, a client as root where there is no program to make one with."""
    with Lab() as lab:
        server, client = with_openrc(lab.s, BUSYBOX_USERS), with_openrc(lab.c, {})
        before = [machine.files() for machine in (server, client)]
        said = server.check("init", "server", "--address", lab.s.ip4)
        expect("the server runs (OpenRC)" in said, said)
        expect("-G paqet" in server.read("etc/asked"), f"in a group with others: {server.read('etc/asked')}")
        found = re.search(r"(?m)^paqet://\S+$", said)
        assert found
        said = client.check("init", "client", found[0])
        expect("the client runs (OpenRC)" in said and "the server answers" in said, said)
        for machine, uid, capabilities in ((server, 990, "3400"), (client, 0, "3403")):
            text = status_of(machine)
            for line in ("Uid:" + 4 * f"\t{uid}", "Gid:" + 4 * f"\t{uid}", f"CapEff:\t000000000000{capabilities}"):
                expect(line in text, f"not {line!r} in: {text}")
        for path, mode in (("var/lib/paqet", 0o700), ("etc/paqet/server.yaml", 0o640)):
            expect(server.mode(path) == mode, f"{path}: {server.mode(path):o}")
        expect((server.root / "var/lib/paqet").stat().st_uid == 990, "whose state it is")
        for machine, was in zip((server, client), before):
            machine.check("init", "--remove")
            left = {path for path in machine.files() - was if path not in ("etc/asked", "var", "var/log", "var/lib")}
            expect(not left, f"left: {left}")
        expect("paqet" not in server.read("etc/passwd"), "its user stays")


@test()
def test_setup_login_user() -> None:
    """A person who is named as the service's user does not get the service."""
    for home, shell, refused in (("/home/paqet", "/bin/sh", True), ("/home/paqet", "", True), ("/", "/sbin/nologin", False)):
        with Lab() as lab:
            machine = with_openrc(lab.s, {}, f"paqet:x:990:990::{home}:{shell}\n")
            before = machine.files()
            said = machine.run("init", "server", "--address", lab.s.ip4)
            told = "a user paqet already who can log in" in said.stderr and "usermod --login" in said.stderr
            expect(told == refused, f"{shell}: {said.stdout}{said.stderr}")
            expect(said.returncode == (1 if refused else 0), f"exit code: {said.stdout}{said.stderr}")
            if refused:
                expect(machine.files() == before, f"left: {machine.files() - before}")
            else:
                expect("Uid:\t990" in status_of(machine), status_of(machine))
                machine.check("init", "--remove")
                expect("paqet" in machine.read("etc/passwd"), "a user whom init has not made is gone")


@test()
def test_setup_group_of_others() -> None:
    """The service's user is there already, in a group of others, who could read the keys then."""
    for group, refused in (("nogroup:x:990:", True), ("paqet:x:990:", False)):
        with Lab() as lab:
            machine = with_openrc(lab.s, {}, "paqet:x:990:990::/:/sbin/nologin\nother:x:991:990::/:/sbin/nologin\n")
            with (machine.root / "etc/group").open("a") as file:
                file.write(f"{group}\n")
            before = machine.files()
            said = machine.run("init", "server", "--address", lab.s.ip4)
            told = "in a group that is not his own" in said.stderr and "usermod --gid paqet paqet" in said.stderr
            expect(told == refused, f"{group}: {said.stdout}{said.stderr}")
            expect(said.returncode == (1 if refused else 0), f"exit code: {said.stdout}{said.stderr}")
            if refused:
                expect(machine.files() == before, f"left: {machine.files() - before}")
            else:
                expect(machine.mode("etc/paqet/server.yaml") == 0o640, "the configuration")
                machine.check("init", "--remove")


@test()
def test_setup_log_of_others() -> None:
    """A log that was there before is not taken for one that init has made, nor for what its service says."""
    with Lab() as lab:
        machine = Machine(lab.s)
        log = machine.root / "var/log/paqet-server.log"
        log.parent.mkdir(parents=True)
        log.write_text("somebody's own\n")
        said = machine.check("init", "server", "--address", lab.s.ip4)
        expect("it is kept as /var/log/paqet-server.log.before" in said, said)
        expect("listening on" in log.read_text(), "its own log")
        machine.check("init", "--remove")
        left = sorted(path.name for path in log.parent.iterdir())
        expect(left == ["paqet-server.log.before"], f"left: {left}")
        expect(log.with_name(left[0]).read_text() == "somebody's own\n", "it was changed")


@test()
def test_setup_takes_no_neighbours() -> None:
    """A stranger's link, with --tun, for the network that the machine is in: its neighbours would be reached through his server."""
    with Lab() as lab:
        machine = Machine(lab.c)
        before = machine.files()
        key = "A" * 43
        inner = {f"{lab.c.ip4}/25": 1, "127.0.0.2/32": 1, f"{lab.c.ip6}/64": 1, "10.200.0.2/24": 0, "10.0.0.2/8": 0}
        for net, code in inner.items():
            link = f"paqet://v1/{lab.s.ip4}:9999?s={key}&u={key}&t={net}&k={key}"
            result = machine.run("init", "client", link, "--tun", "--no-service")
            expect(result.returncode == code, f"{net}: {result.stdout}{result.stderr}")
            if code:
                expect("would not be reached any more" in result.stderr and machine.files() == before, f"{net}: {result.stderr}")
                result = machine.run("init", "client", link, "--no-service")
                expect(result.returncode == 0, f"{net}, without --tun: {result.stdout}{result.stderr}")
            machine.check("init", "--remove")
