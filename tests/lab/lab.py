# SPDX-License-Identifier: MIT
"""The lab: hosts in network namespaces, wires between them, processes, captures.

    c (client, 10.77.0.1) ───────────────── s (server, 10.77.0.2)      Lab()
    c ───── lab-wan ───── s                                            Lab(wan=[...])
    c ───── switch ─────┬ s                                            Lab(third=True)
                        └ x (third host, 10.77.0.3)

Nothing outside the lab's own namespaces is touched, and no firewall rule is set. Everything is
taken down by close(), at the end of the program and on signals; LAB_KEEP=1 in the environment
keeps the folder with logs, configurations and captures. Every wait has a limit.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import looks
import packets
from case import Failure

ROOT = Path(__file__).resolve().parent.parent.parent
PREFIX = "pq"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def tool(name: str) -> str:
    """Path of a lab program: beside the build, or in $LAB_TOOLS."""
    folder = os.environ.get("LAB_TOOLS")
    return str(Path(folder) / name if folder else ROOT / "build" / "tests" / "lab" / name)


def wait_until(condition: Callable[[], object], limit: float, what: str) -> None:
    """Polls until the condition holds; a Failure that names `what` after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {limit:g} s")
        time.sleep(0.02)


def die_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """A program that runs inside a host, with both outputs in one log file."""

    def __init__(self, command: list[str], log: Path, pass_fds: tuple[int, ...] = ()):
        self.log_path = log
        self.may_end = False  # set once somebody asked it to end, or waits for that
        self.host: Host | None = None  # of a program of ours
        self.watch: looks.Watch | None = None  # over the kernel beneath, while that runs
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern: str, limit: float) -> None:
        def found() -> bool:
            if re.search(pattern, self.log()):
                return True
            if not self.alive():
                raise Failure(f"{self.log_path.stem} ended: {self.last_lines()}")
            return False

        wait_until(found, limit, f"/{pattern}/ in the log of {self.log_path.stem}")

    def wait(self, limit: float) -> int:
        """Its exit code once it has ended by itself."""
        self.leave_watch(False)
        self.may_end = True
        try:
            return self.popen.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.log_path.stem} still runs after {limit:g} s") from error

    def stop(self, limit: float = 5) -> int:
        """SIGTERM; to have to kill it after the limit is a Failure. Returns the exit code."""
        self.leave_watch(self.alive())
        self.may_end = True
        if self.alive():
            self.popen.terminate()
        try:
            return self.popen.wait(limit)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise Failure(f"{self.log_path.stem} ignored SIGTERM for {limit:g} s") from error

    def leave_watch(self, alive: bool) -> None:
        watch, self.watch = self.watch, None
        if watch:
            watch.end(alive)

    def kill(self) -> None:
        self.leave_watch(self.alive())
        if self.host and self.host.watch:
            self.host.watch.orphans = True
        self.may_end = True
        if self.alive():
            self.popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(5)

    def last_lines(self, count: int = 3) -> str:
        return " | ".join(self.log().strip().splitlines()[-count:]) or "(empty log)"

    def memory_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def has_packet_socket(self) -> bool:
        """True once the program has an AF_PACKET socket: then it hears its port."""
        inodes = set()
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(OSError):
                    link = os.readlink(f"/proc/{self.pid}/fd/{entry}")
                    inodes.update(re.findall(r"^socket:\[(\d+)\]$", link))
            table = Path(f"/proc/{self.pid}/net/packet").read_text().splitlines()[1:]
            return any(line.split()[-1] in inodes for line in table)
        return False


class Capture:
    """tcpdump on one or more interfaces, each seeing what comes in there."""

    def __init__(self, hosts: list[Host], expression: str, snap_length: int, device: str = ""):
        self.parts: list[tuple[Process, Path]] = []
        for host in hosts:
            path = host.lab.new_file(f"{host.letter}.pcap")
            command = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-B", "16384"]
            command += ["-i", device or host.device, "-Q", "in", "-s", str(snap_length)]
            command += ["-w", str(path)]
            process = host.start("tcpdump", [*command, *expression.split()])
            self.parts.append((process, path))
        for process, _ in self.parts:
            process.wait_log("listening on", 10)

    def stop(self) -> list[packets.Segment]:
        """Ends the capture; the segments of all interfaces, host by host."""
        time.sleep(0.2)
        segments = []
        for process, path in self.parts:
            process.stop()
            segments += [parsed for parsed in map(packets.parse, packets.read_pcap(path)) if parsed]
        return segments


class Host:
    def __init__(self, lab: Lab, letter: str, number: int):
        self.lab = lab
        self.letter = letter
        self.namespace = f"{PREFIX}{os.getpid()}{lab.name}{letter}"
        self.device = f"{letter}0"
        self.mac = f"02:00:00:00:00:{number:02x}"
        self.ip4 = f"10.77.0.{number}"
        self.ip6 = f"fd77::{number}"
        self.watch: looks.Watch | None = None

    def send_singly(self) -> None:
        """Packets go one by one, so that what captures them does not see several as one."""
        self.check(["ethtool", "-K", self.device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])

    def pace_nothing(self) -> None:
        """Cubic for TCP, as on a system that nobody changed, or Reno, which is always there: BBR, where
        it is this machine's default, has a timer for each piece of a local transfer, too."""
        name = "net.ipv4.tcp_congestion_control="
        for kind in ("cubic", "reno"):
            if self.run(["sysctl", "-q", "-w", name + kind]).returncode == 0:
                return
        raise Failure(f"{self.namespace}: no congestion control can be chosen")

    def inside(self, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, command: list[str], limit: float = 20) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                self.inside(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                preexec_fn=die_with_parent,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{Path(command[0]).name}: no end within {limit:g} s") from error

    def check(self, command: list[str]) -> str:
        result = self.run(command)
        if result.returncode != 0:
            raise Failure(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout

    def start(self, name: str, command: list[str]) -> Process:
        process = Process(self.inside(command), self.lab.new_file(f"{name}-{self.letter}.log"))
        self.lab.processes.append(process)
        return process

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the host's namespace; sockets made meanwhile stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(1)  # never go on in the wrong namespace
            os.close(home)
            os.close(there)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind, protocol)

    def listen(
        self, address: str, port: int, serve: Callable[[socket.socket], None]
    ) -> socket.socket:
        """A listener, each connection of which is served in a thread, until it is closed."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = self.open_socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(256)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def packet_socket(self) -> socket.socket:
        raw = self.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind((self.device, 0))
        return raw

    def firewall(self) -> str:
        """All rules but those of the lab's own watch."""
        rules = self.check(["nft", "list", "ruleset"])
        return re.sub(rf"(?ms)^table inet {looks.TABLE} {{.*?^}}\n", "", rules).strip()

    def watch_kernel(self, process: Process) -> None:
        """In a run in one look: from now on, while this program of ours is there."""
        if looks.chosen() and self.lab.watched and not process.watch:
            self.watch = self.watch or looks.Watch(self)
            self.watch.begin()
            process.watch = self.watch

    def turn_conntrack_on(self) -> None:
        """The kernel tracks connections in a namespace only once a rule asks for their state."""
        self.check(
            [
                "nft",
                "add table inet lab_conntrack;"
                "add chain inet lab_conntrack in { type filter hook input priority 0; };"
                "add chain inet lab_conntrack out { type filter hook output priority 0; };"
                "add rule inet lab_conntrack in ct state new accept;"
                "add rule inet lab_conntrack out ct state new accept",
            ]
        )

    def watch_conntrack(self) -> Process:
        """Logs each connection that the kernel begins to track. Looking at the table afterwards
        would not do: a reset that the kernel sends removes the entry again."""
        self.turn_conntrack_on()
        watcher = self.start("conntrack", ["conntrack", "-E", "-e", "NEW", "-o", "timestamp"])
        probe = ["conntrack", "-I", "-p", "udp", "-s", "192.0.2.1", "-d", "192.0.2.2"]
        probe += ["--sport", "1", "--dport", "1", "-t", "60"]
        self.check(probe)
        wait_until(lambda: self.probed(watcher, probe), 5, "events of connection tracking")
        return watcher

    def probed(self, watcher: Process, probe: list[str]) -> bool:
        """Whether the watcher has seen the probe; if not, sends it again."""
        if "192.0.2.1" in watcher.log():
            return True
        self.run(["conntrack", "-D", "-s", "192.0.2.1"])
        self.check(probe)
        return False

    def keep_kernel_quiet(self, port: int) -> None:
        """The firewall rules that the Go programs expect their user to make."""
        self.check(
            [
                "nft",
                "add table inet lab_go;"
                "add chain inet lab_go out { type filter hook output priority 0; };"
                f"add rule inet lab_go out tcp sport {port} tcp flags & rst == rst drop;"
                f"add rule inet lab_go out tcp dport {port} tcp flags & rst == rst drop",
            ]
        )


class Lab:
    open_labs: list[Lab] = []

    def __init__(self, third: bool = False, wan: list[str] | None = None, name: str = ""):
        """`name`: small letters, for a program that has several labs at once."""
        if third and wan is not None:
            raise ValueError("a third host and a WAN at once are not supported")
        self.folder = Path(tempfile.mkdtemp(prefix="paqet-lab-"))
        self.folder.chmod(0o755)
        self.name = name
        self.files = 0
        self.processes: list[Process] = []
        self.last: list[Callable[[], None]] = []
        self.watched = True  # false: the kernels have connections of their own on the tunnel's port
        self.c = Host(self, "c", 1)
        self.s = Host(self, "s", 2)
        self.x = Host(self, "x", 3)
        self.middle = Host(self, "w", 9)  # the switch or the WAN
        self.wan: Process | None = None
        self.boxes: dict[str, int] = {}
        self.hosts = [self.c, self.s] + ([self.x] if third else [])
        Lab.open_labs.append(self)
        try:
            self.build(wan)
        except BaseException:
            self.close()
            raise

    def build(self, wan: list[str] | None) -> None:
        remove_leftovers()
        through_middle = wan is not None or len(self.hosts) > 2
        namespaces = [*self.hosts, self.middle] if through_middle else self.hosts
        for host in namespaces:
            command("ip", "netns", "add", host.namespace)
            host.check(["ip", "link", "set", "lo", "up"])
        if through_middle:
            for host in self.hosts:
                self.wire(host, host.device, self.middle, f"w{host.letter}")
        else:
            self.wire(self.c, "c0", self.s, "s0")
        for host in self.hosts:
            ip = ["ip", "link", "set", host.device]
            host.check([*ip, "address", host.mac])
            host.check(["ip", "addr", "add", f"{host.ip4}/24", "dev", host.device])
            host.check(["ip", "addr", "add", f"{host.ip6}/64", "dev", host.device, "nodad"])
            host.check([*ip, "up"])
        if wan is not None:
            self.start_wan(wan)
        elif through_middle:
            self.start_switch()

    def wire(self, a: Host, device_a: str, b: Host, device_b: str) -> None:
        link = ["ip", "link", "add", device_a, "netns", a.namespace, "type", "veth"]
        command(*link, "peer", "name", device_b, "netns", b.namespace)

    def start_switch(self) -> None:
        self.middle.check(["ip", "link", "add", "br0", "type", "bridge"])
        self.middle.check(["ip", "link", "set", "br0", "up"])
        for host in self.hosts:
            port = f"w{host.letter}"
            self.middle.check(["ip", "link", "set", port, "master", "br0"])
            self.middle.check(["ip", "link", "set", port, "up"])
        wait_until(self.switch_forwards, 10, "the switch's ports forward")

    def switch_forwards(self) -> bool:
        """A port is deaf until the kernel has noticed its carrier, which may take seconds."""
        links = json.loads(self.middle.check(["ip", "-j", "-d", "link", "show", "master", "br0"]))
        states = [link["linkinfo"]["info_slave_data"]["state"] for link in links]
        return len(states) == len(self.hosts) and set(states) == {"forwarding"}

    def make_wire_real(self, host: Host) -> None:
        """Real wires carry whole checksums and single segments."""
        off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
        host.send_singly()
        self.middle.check(["ethtool", "-K", f"w{host.letter}", *off])

    def put_far_away(self, host: Host, options: list[str]) -> None:
        """In a lab with a third host: a WAN between the switch and this host."""
        outer, inner, port = f"w{host.letter}", f"d{host.letter}", f"p{host.letter}"
        for each in self.hosts:
            self.make_wire_real(each)
        self.middle.check(["ip", "link", "set", outer, "nomaster"])
        self.wire(self.middle, inner, self.middle, port)
        self.middle.check(["ip", "link", "set", port, "master", "br0"])
        for device in (inner, port):
            self.middle.check(["ip", "link", "set", device, "up"])
        argv = [tool("lab-wan"), "--max-seconds", "600", *options, inner, outer]
        self.middle.start("wan", argv).wait_log("^ready", 5)

    def start_wan(self, options: list[str]) -> None:
        for host in self.hosts:
            self.make_wire_real(host)
            self.middle.check(["ip", "link", "set", f"w{host.letter}", "up"])
        argv = [tool("lab-wan"), "--max-seconds", "600", *options, "wc", "ws"]
        self.wan = self.middle.start("wan", argv)
        self.wan.wait_log("^ready", 5)

    def stop_wan(self) -> list[dict]:
        """Ends the WAN; the counters of its links, client to server first. Those of its boxes are in
        self.boxes."""
        assert self.wan
        self.wan.stop()
        *links, self.boxes = json.loads(self.wan.log().splitlines()[-1])
        return links

    def check_alive(self) -> None:
        """A Failure if a program has ended that nobody asked to."""
        for process in self.processes:
            if not process.may_end and not process.alive():
                raise Failure(f"{process.log_path.stem} ended: {process.last_lines()}")

    def new_file(self, name: str) -> Path:
        self.files += 1
        return self.folder / f"{self.files:02d}-{name}"

    def sniff(self, expression: str = "tcp", snap_length: int = 256) -> Capture:
        """Captures what arrives at both ends of the wire, so both directions once."""
        return Capture([self.c, self.s], expression, snap_length)

    def origin(self, port: int = 8080) -> Process:
        """The traffic origin, on the server host."""
        argv = [tool("lab-load"), "origin", "--seconds", "600", str(port)]
        process = self.s.start("origin", argv)
        process.wait_log("^ready", 5)
        return process

    def load(
        self,
        mode: str,
        *options: object,
        host: str = "127.0.0.1",
        port: int = 8080,
        socks: int = 1080,
        limit: float = 60,
    ) -> dict:
        """Runs the load client on the client host, against the origin; socks 0: directly."""
        argv = [tool("lab-load"), mode, "--socks", str(socks), *map(str, options), host, str(port)]
        result = self.c.run(argv, limit)
        if not result.stdout:
            raise Failure(f"lab-load {mode}: {result.stderr.strip()}")
        return json.loads(result.stdout)

    def at_close(self, function: Callable[[], None]) -> None:
        """Called when all processes have ended."""
        self.last.append(function)

    def close(self) -> None:
        if self not in Lab.open_labs:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)  # the limit of a test must not cut this short
        for process in reversed(self.processes):
            process.watch = None
            process.kill()
        for function in self.last:
            function()
        for host in (self.c, self.s, self.x, self.middle):
            remove_namespace(host.namespace)
        if not os.environ.get("LAB_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        Lab.open_labs.remove(self)  # only now: a signal meanwhile begins anew

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error:
            for process in self.processes:
                error.add_note(f"{process.log_path.name}: {process.last_lines(5)}")
        try:
            if not error:
                self.check_kernels()
        finally:
            self.close()

    def check_kernels(self) -> None:
        for process in self.processes:
            if process.watch and process.alive():
                process.watch.check()


def command(*argv: str) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {result.stderr.strip()}")


def remove_namespace(name: str) -> None:
    if Path("/run/netns", name).exists():
        subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)


def remove_leftovers() -> None:
    """Namespaces of a lab whose program was killed, and what they had in /etc."""
    for folder, remove in (("/run/netns", remove_namespace), ("/etc/netns", remove_names)):
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                owner = re.fullmatch(rf"{PREFIX}(\d+)[a-z]*[csxw]", name)
                if owner and not Path("/proc", owner[1]).exists():
                    remove(name)


def make_names(namespace: str) -> Path:
    """A folder for files that programs inside find in /etc."""
    folder = Path("/etc/netns", namespace)
    while not folder.exists():
        with contextlib.suppress(FileNotFoundError):  # somebody else removed /etc/netns just now
            folder.mkdir(parents=True)
    return folder


def remove_names(namespace: str) -> None:
    """The folder, and the one around it if no one has anything in it."""
    shutil.rmtree(Path("/etc/netns", namespace), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir("/etc/netns")


def close_all() -> None:
    for lab in list(Lab.open_labs):
        lab.close()


def end_on_signal(number: int, _frame: object) -> None:
    close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


atexit.register(close_all)
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, end_on_signal)
