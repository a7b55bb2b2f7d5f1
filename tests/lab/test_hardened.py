# SPDX-License-Identifier: MIT
"""How the program is built, and what of its secrets can be found in a running one."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import looks
import paqet
from case import Skip, add, expect, test
from lab import Host, Lab, Process, wait_until
from paqet import Settings


def readelf(*options: str, program: str = "") -> str:
    argv = ["readelf", "--wide", *options, program or paqet.program()]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    expect(result.returncode == 0, f"{' '.join(argv)}: {result.stderr.strip()}")
    return result.stdout


@test()
def test_hardened_program() -> None:
    segments, dynamic = readelf("--program-headers"), readelf("--dynamic")
    static = is_static()  # with musl, which has no fortified functions, and stripped
    symbols = "" if static else readelf("--symbols", "--dyn-syms")
    flags = " ".join(re.findall(r"\((?:FLAGS|FLAGS_1|BIND_NOW)\).*", dynamic))
    stack = re.search(r"GNU_STACK\s+(?:0x\S+\s+)+([RWE ]+?)\s+0", segments)
    missing = []
    if not re.search(r"^\s*Type:\s+DYN", readelf("--file-header"), re.MULTILINE):
        missing.append("position-independent executable (-fPIE, -pie)")
    if "GNU_RELRO" not in segments:
        missing.append("read-only relocations (-z relro)")
    if "NOW" not in flags:
        missing.append("full of them (-z now)")
    if not static and "__stack_chk_fail" not in symbols:
        missing.append("stack protector (-fstack-protector-strong)")
    if not static and not re.search(r"\b__(?!stack)\w+_chk\b", symbols):
        missing.append("fortified functions (_FORTIFY_SOURCE)")
    if not stack or "E" in stack[1]:
        missing.append("non-executable stack (-z noexecstack)")
    if "TEXTREL" in dynamic:
        missing.append("a text without relocations")
    expect(not missing, f"missing: {', '.join(missing)}")


# ---- no other file


def is_static(program: str = "") -> bool:
    return "INTERP" not in readelf("--program-headers", program=program)


def static_program() -> str:
    """The one that is tested, if it is static, or what script/release has made of some commit."""
    released = paqet.ROOT / "build-release" / f"paqet-{platform.machine()}"
    if is_static():
        return paqet.program()
    if not released.exists():
        raise Skip(f"it needs a static program: script/release {platform.machine()}")
    return str(released)


@test()
def test_alone_in_an_empty_root() -> None:
    """The program that script/release makes needs no other file: it runs where there is none."""
    program = static_program()
    with Lab() as lab:
        root = lab.new_file("empty")
        root.mkdir()
        shutil.copy(program, root / "paqet")
        said = lab.c.check(["chroot", str(root), "/paqet", "version"])
        expect("libgcrypt" in said, f"version says: {said}")
        lab.origin()
        paqet.start_server(lab, Settings())
        (root / "client.yaml").write_text(paqet.client_config(lab, Settings(network=False)))
        argv = ["chroot", str(root), "/paqet", "run", "-c", "/client.yaml"]
        client = lab.c.start("client", argv)
        paqet.wait_ready(client)
        paqet.wait_working(lab)
        expect(client.stop() == 0, "exit code")


@test(limit=90)
def test_container() -> None:
    """An image as Containerfile says, run with the capabilities that its head names, beside buildah's own."""
    if not shutil.which("buildah"):
        raise Skip("buildah is not installed")
    program = static_program()
    with Lab() as lab:
        context = lab.new_file("context")
        (context / "build-release").mkdir(parents=True)
        shutil.copy(paqet.ROOT / "Containerfile", context)
        shutil.copy(program, context / "build-release" / "paqet-x86_64")
        store = lab.new_file("store")
        buildah = ["buildah", "--storage-driver", "vfs", "--root", f"{store}/root", "--runroot", f"{store}/run"]
        env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        subprocess.run([*buildah, "build", "-q", "-t", "paqet", str(context)], env=env, check=True, capture_output=True)
        container = subprocess.check_output([*buildah, "from", "paqet"], env=env, text=True).strip()
        etc = lab.new_file("etc")
        etc.mkdir()
        config = etc / "client.yaml"
        config.write_text(paqet.client_config(lab, Settings(network=False)))
        config.chmod(0o600)
        lab.origin()
        paqet.start_server(lab, Settings())
        options = ["--isolation", "chroot", "--network", "host", "-v", f"{etc}:/etc/paqet:ro"]
        options += ["--cap-add", "CAP_NET_RAW", "--cap-add", "CAP_NET_ADMIN"]  # buildah drops them with "all"
        argv = [*buildah, "run", *options, container, "--", "/usr/bin/paqet", "run", "-c", "/etc/paqet/client.yaml"]
        client = lab.c.start("client", argv)
        wait_until(lambda: paqet.can_connect(lab), 20, f"the proxy: {client.last_lines()}")
        paqet.wait_working(lab)
        client.stop()


# ---- no core file


def start_dumping(lab: Lab, host: Host, name: str, command: list[str]) -> tuple[Process, Path]:
    """A program that may leave a core file of any size, and where. It may not where sudo has set
    the limit to 0, and root lacks the capability to raise it."""
    folder = lab.new_file(f"{name}-core")
    folder.mkdir()
    script = 'cd "$0" && { ulimit -c unlimited || true; } && exec "$@"'
    return host.start(name, ["sh", "-c", script, str(folder), *command]), folder


def abort(process: Process, folder: Path) -> list[str]:
    process.may_end = True
    process.popen.send_signal(signal.SIGABRT)
    process.wait(10)
    return os.listdir(folder)


def running(lab: Lab, who: str, key: str) -> tuple[Host, str]:
    """Where it is to run and its configuration; the other end runs already."""
    settings = Settings(key=key)
    lab.origin()
    if who in ("client", "ping"):
        paqet.start_server(lab, settings)
        return lab.c, paqet.client_config(lab, settings)
    return lab.s, paqet.server_config(lab, settings)


def leaves_no_core(who: str) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if "/" in pattern or pattern.startswith("|"):
        raise Skip(f"core files go elsewhere: {pattern.strip()}")
    with Lab() as lab:
        control, folder = start_dumping(lab, lab.c, "control", ["sleep", "60"])
        wait_until(lambda: "sleep" in command_of(control), 5, "the control program")
        if not abort(control, folder):
            raise Skip("no program leaves a core file here")
        host, config = running(lab, who, paqet.KEY)
        path = lab.new_file(f"{who}.yaml")
        path.write_text(config)
        command = ["ping", "-n", "0"] if who == "ping" else ["run"]
        process, folder = start_dumping(lab, host, who, [paqet.program(), *command, "-c", str(path)])
        if who == "ping":
            process.wait_log("seq=1 ", 10)
        else:
            paqet.wait_ready(process)
        left = abort(process, folder)
        expect(not left, f"it left {left}, in which the keys are")


def command_of(process: Process) -> str:
    return Path(f"/proc/{process.pid}/comm").read_text()


# ---- the passphrase


def memory_holds(process: Process, text: bytes) -> str:
    """In which part of its memory the text is."""
    with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            begin, end = (int(x, 16) for x in line.split()[0].split("-"))
            name = line.split(maxsplit=5)[5] if len(line.split()) > 5 else "anonymous memory"
            if "r" not in line.split()[1] or name.startswith(("[vvar", "[vsyscall")):
                continue
            try:
                memory.seek(begin)
                data = memory.read(end - begin)
            except (OSError, OverflowError) as error:  # of a device, or reserved
                expect(name != "[heap]", f"its heap cannot be read: {error}")
                continue
            if text in data:
                return f"{name} ({begin:x}, at {data.index(text):x})"
    return ""


def passphrase_is_wiped(who: str) -> None:
    key = f"{secrets.token_hex(16)} of the lab"
    with Lab() as lab:
        host, config = running(lab, who, key)
        process = paqet.start(host, who, config)
        paqet.wait_ready(process)
        if who == "server":
            paqet.start_client(lab, Settings(key=key))
        paqet.wait_working(lab)
        expect(memory_holds(process, b"paqet"), "its memory cannot be read")
        for part in (key.encode(), key[:16].encode(), key[16:32].encode()):
            where = memory_holds(process, part)
            expect(not where, f"the passphrase, or a part of it, is in {where}")


for _who in ("client", "server"):
    add(f"no_core_file_of_{_who}", partial(leaves_no_core, _who))
    add(f"passphrase_is_wiped_of_{_who}", partial(passphrase_is_wiped, _who))
add("no_core_file_of_ping", partial(leaves_no_core, "ping"))


# ---- what it may do


def check_confined(process: Process, capabilities: str) -> None:
    """All its threads have these capabilities, and can get no others."""
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        text = status.read_text()
        for line in (f"CapPrm:\t{capabilities}", f"CapEff:\t{capabilities}", f"CapBnd:\t{capabilities}", "NoNewPrivs:\t1"):
            expect(line in text, f"{process.log_path.stem}: not {line!r} in: {text}")


def is_confined(process: Process) -> bool:
    """Which comes last."""
    return "CapEff:\t0000000000003403" in Path(f"/proc/{process.pid}/status").read_text()


def check_flap(lab: Lab, host: Host) -> None:
    """What the program needs to do again later it still may."""
    host.check(["ip", "link", "set", host.device, "down"])
    host.check(["ip", "link", "set", host.device, "up"])
    paqet.seconds_to_work(lab, 15)


@test()
def test_confined_root() -> None:
    """Root has five capabilities left: also files of others, such as its service user's. So have the commands that read
    what comes from the wire."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        files = {}
        for host, config in ((lab.s, paqet.server_config), (lab.c, paqet.client_config)):
            files[host] = lab.new_file(f"{host.letter}.yaml")
            files[host].write_text(looks.prepare(config(lab, Settings()), host))
        commands = (
            (lab.c, ["ping", "-n", "0", "-i", "0.2"], "seq=1 "),
            (lab.c, ["dump", "--stats"], ""),
            (lab.s, ["check", "--listen", "20"], "listening for"),
        )
        for host, (command, *options), says in commands:
            process = host.start(command, [paqet.program(), command, "-c", str(files[host]), *options])
            if says:
                process.wait_log(says, 10)
            wait_until(partial(is_confined, process), 10, f"{command} confined")
            check_confined(process, "0000000000003403")
            process.kill()
        for process in (pair.server, pair.client):
            check_confined(process, "0000000000003403")
        check_flap(lab, lab.s)
        check_flap(lab, lab.c)


@test()
def test_confined_by_root() -> None:
    """Root starts it, and it runs as another user."""
    with Lab() as lab:
        lab.folder.chmod(0o777)  # the server keeps a file there
        lab.origin()
        processes = []
        for host, config in ((lab.s, paqet.server_config), (lab.c, paqet.client_config)):
            path = lab.new_file(f"{host.letter}.yaml")
            path.write_text(looks.prepare(config(lab, Settings()), host))
            argv = [paqet.program(), "run", "--user", "nobody", "-c", str(path)]
            processes.append(host.start(f"nobody-{host.letter}", argv))
            paqet.wait_ready(processes[-1])
        paqet.wait_working(lab)
        for process in processes:
            check_confined(process, "0000000000003400")
            status = Path(f"/proc/{process.pid}/status").read_text()
            for line in ("Uid:" + 4 * "\t65534", "Gid:" + 4 * "\t65534", "Groups:\t \n", "CapAmb:\t0000000000003400"):
                expect(line in status, f"not {line!r} in {status}")
        check_flap(lab, lab.s)
        check_flap(lab, lab.c)
        for user, words in (("root", "has all rights"), ("no-such-user", "is no user")):
            said = lab.s.run([paqet.program(), "run", "--user", user, "-c", str(path)])
            expect(said.returncode == 1 and words in said.stderr, f"{user}: {said.stderr}")
        other = ["setpriv", "--reuid", "61234", "--clear-groups", paqet.program(), "run", "--user", "nobody", "-c", str(path)]
        expect("only root" in lab.s.run(other).stderr, "another user became nobody")


@test()
def test_confined_user() -> None:
    """Anybody with three capabilities will do."""
    wanted = "-all,+net_raw,+net_admin,+net_bind_service"
    with Lab() as lab:
        lab.folder.chmod(0o777)  # the server keeps a file there
        lab.origin()
        processes = []
        for host, config in ((lab.s, paqet.server_config), (lab.c, paqet.client_config)):
            path = lab.new_file(f"{host.letter}.yaml")
            path.write_text(looks.prepare(config(lab, Settings()), host))
            argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            for option in ("--inh-caps", "--ambient-caps", "--bounding-set"):
                argv += [option, wanted]
            processes.append(host.start(f"nobody-{host.letter}", [*argv, paqet.program(), "run", "-c", str(path)]))
            paqet.wait_ready(processes[-1])
        paqet.wait_working(lab)
        for process in processes:
            check_confined(process, "0000000000003400")
        check_flap(lab, lab.s)
        check_flap(lab, lab.c)
