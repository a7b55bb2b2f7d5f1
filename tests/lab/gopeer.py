# SPDX-License-Identifier: MIT
"""The Go test peer of tests/interop: found or built, or the reason why not, and run in the lab."""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass

import looks
from case import Failure, Skip, expect
from lab import ROOT, Host, Lab, Process
from paqet import KEY, PORT

ECHO = "127.0.0.1:7007"
NEEDED = (1, 24)
NETWORK_TROUBLE = r"dial tcp|lookup |i/o timeout|connection refused|proxy|no such host"


def as_caller(argv: list[str]) -> list[str]:
    """The command as the user who called sudo, so that nothing root-owned lies in the build."""
    user = os.environ.get("BUILD_USER")
    if os.geteuid() != 0 or not user or user == "root":
        return argv
    home = pwd.getpwnam(user).pw_dir
    return ["runuser", "-u", user, "--", "env", f"HOME={home}", *argv]


def find_go() -> tuple[str, str]:
    """Path and version of the newest go that is installed."""
    found: list[tuple[tuple[int, ...], str, str]] = []
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK):
            argv = as_caller(["env", "GOTOOLCHAIN=local", candidate, "version"])
            result = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
            version = re.search(r"go(\d+(?:\.\d+)+)", result.stdout)
            if version:
                key = tuple(map(int, version[1].split(".")))
                found.append((key, candidate, version[1]))
    if not found:
        raise Skip("needs Go >= 1.24, found none")
    key, path, version_text = max(found)
    if key[:2] < NEEDED:
        raise Skip(f"needs Go >= 1.24, found {version_text}")
    return path, version_text


@functools.cache
def outcome() -> tuple[str, Exception | None]:
    """Builds the peer once. Its path, or the exception that every test of it raises."""
    try:
        return build(), None
    except (Skip, Failure) as reason:
        return "", reason


def build() -> str:
    ready = os.environ.get("PAQET_PEER")
    if ready:
        return ready
    go, version = find_go()
    target = ROOT / "build" / "tests" / "peer"
    build_command = [go, "build", "-buildvcs=false", "-o", str(target), "."]
    argv = as_caller(["env", "CGO_ENABLED=0", *build_command])
    try:
        result = subprocess.run(
            argv,
            cwd=ROOT / "tests" / "interop",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Skip(f"Go {version} could not build the peer within 300 s") from error
    if result.returncode != 0:
        message = " | ".join(result.stderr.strip().splitlines()[-2:])
        if re.search(NETWORK_TROUBLE, result.stderr):
            raise Skip(f"Go {version} could not fetch the modules of the peer: {message}")
        raise Failure(f"the peer does not build: {message}")
    return str(target)


def path() -> str:
    looks.need_not_connect("a Go program, which has no handshake")
    peer, reason = outcome()
    if reason:
        raise reason
    return peer


@dataclass
class Options:
    block: str = "aes"
    mode: str = ""  # "message" or "stream", otherwise that of the family
    flags: str = "PA"
    ip6: bool = False
    shards: tuple[int, int] = (0, 0)  # FEC: data and parity
    keepalive: int = 2  # s
    transport: str = "kcp"

    def address(self, host: Host) -> str:
        return f"[{host.ip6}]" if self.ip6 else host.ip4


def arguments(me: Host, other: Host, port: int, family: str, options: Options) -> list[str]:
    argv = ["-family", family, "-block", options.block, "-key", KEY, "-drop-rst"]
    if options.mode:
        argv += ["-stream=true" if options.mode == "stream" else "-stream=false"]
    argv += ["-flags", options.flags, "-remote-flags", options.flags]
    argv += ["-dshard", str(options.shards[0]), "-pshard", str(options.shards[1])]
    argv += ["-keepalive", f"{options.keepalive}s", "-transport", options.transport]
    argv += ["-iface", me.device, "-router-mac", other.mac]
    return [*argv, "-local", f"{options.address(me)}:{port}"]


def start_server(lab: Lab, family: str, options: Options, limit: int = 60) -> Process:
    argv = [path(), "-role", "server", "-timeout", f"{limit}s"]
    server = lab.s.start("peer", argv + arguments(lab.s, lab.c, PORT, family, options))
    server.wait_log("^ready", 10)
    return server


def start_echo(lab: Lab, limit: int = 60) -> None:
    """An echo service on the server host, as the target of the client's jobs."""
    argv = [path(), "-role", "echo", "-listen", ECHO, "-timeout", f"{limit}s"]
    lab.s.start("echo", argv).wait_log("^ready", 10)


def job_command(
    lab: Lab, family: str, options: Options, port: int, job: str, *more: str, limit: int = 40
) -> list[str]:
    """A client from that port (0: any) that does one job against our server, then ends."""
    argv = [path(), "-role", "client", "-server", f"{options.address(lab.s)}:{PORT}"]
    argv += arguments(lab.c, lab.s, port, family, options)
    return [*argv, "-timeout", f"{limit}s", "-target", ECHO, "-job", job, *more]


def run_job(lab: Lab, family: str, options: Options, job: str, *more: str, limit: int = 40) -> None:
    result = lab.c.run(job_command(lab, family, options, 0, job, *more, limit=limit), limit + 10)
    expect(result.returncode == 0, (result.stdout + result.stderr).strip())
