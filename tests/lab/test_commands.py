# SPDX-License-Identifier: MIT
"""The commands beside run, and what a bad configuration gets."""

from __future__ import annotations

import json
import re
import socket
import time

import paqet
from case import expect, test
from lab import Host, Lab, wait_until
from paqet import Settings


def output(host: Host, *arguments: str) -> str:
    """Of a command that must succeed."""
    return host.check([paqet.program(), *arguments])


@test()
def test_command_secret() -> None:
    with Lab() as lab:
        secrets = {output(lab.c, "secret").strip() for _ in range(3)}
        expect(len(secrets) == 3, "the same secret twice")
        for secret in secrets:
            expect(re.fullmatch("[0-9a-f]{64}", secret), f"not 64 hex digits: {secret}")


@test()
def test_command_version() -> None:
    with Lab() as lab:
        text = output(lab.c, "version")
        expect(re.search(r"(?m)^Version:\s+\S", text), f"no version in: {text}")


@test()
def test_command_iface() -> None:
    with Lab() as lab:
        text = output(lab.c, "iface")
        for wanted in (lab.c.device, lab.c.mac, lab.c.ip4, lab.c.ip6):
            expect(wanted in text, f"{wanted} is not in: {text}")


@test()
def test_command_iface_gateway() -> None:
    with Lab() as lab:
        lab.c.check(["ip", "route", "add", "default", "via", lab.s.ip4])
        with lab.c.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"fills the neighbour table", (lab.s.ip4, 9))
        time.sleep(0.3)
        text = output(lab.c, "iface")
        for wanted in (lab.s.ip4, lab.s.mac):
            expect(wanted in text, f"{wanted} is not in: {text}")


@test()
def test_command_unknown() -> None:
    with Lab() as lab:
        result = lab.c.run([paqet.program(), "nosuch"])
        expect(result.returncode == 1, f"exit code {result.returncode}")
        expect("nosuch" in result.stderr, f"stderr: {result.stderr}")


@test()
def test_command_ping() -> None:
    with Lab() as lab:
        config = lab.new_file("client.yaml")
        config.write_text(paqet.client_config(lab, Settings()))
        capture = lab.sniff(f"tcp dst port {paqet.PORT}")
        output(lab.c, "ping", "-c", str(config), "--packet", "--payload", "hello lab")
        segments = capture.stop()
        payloads = [segment.payload for segment in segments]
        expect(payloads == [b"hello lab"], f"on the wire: {payloads}")
        expect(segments[0].source_port > 0, "source port 0")


@test()
def test_command_ping_tunnel() -> None:
    """Round trips through the tunnel, beside a client that runs with the same configuration."""
    with Lab() as lab:
        paqet.start_pair(lab)
        config = lab.new_file("again.yaml")
        config.write_text(paqet.client_config(lab, Settings()))
        ping = [paqet.program(), "ping", "-c", str(config), "-i", "0.05", "--json"]
        figures = json.loads(lab.c.check([*ping, "-n", "5"]))
        expect(figures["answered"] == 5, f"{figures}")
        expect(0 < figures["rtt_ms"]["min"] <= figures["rtt_ms"]["max"] < 1000, f"{figures}")
        figures = json.loads(lab.c.check([*ping, "-n", "2", "--target", "127.0.0.1:8080"]))
        expect(figures["answered"] == 2 and figures["refused"] == 0, f"to a target: {figures}")
        closed = lab.c.run([*ping, "-n", "2", "--target", "127.0.0.1:1"])
        expect(closed.returncode == 1, "a closed port counts as reached")
        expect(json.loads(closed.stdout)["refused"] == 2, closed.stdout)


@test()
def test_command_not_root() -> None:
    """A file that is root's alone: it is said to be root."""
    with Lab() as lab:
        config = lab.new_file("client.yaml")
        config.write_text(paqet.client_config(lab, Settings()))
        config.chmod(0o600)
        config.parent.chmod(0o755)
        for command in ("ping", "check", "run"):
            argv = ["setpriv", "--reuid", "65534", "--clear-groups", paqet.program(), command, "-c", str(config)]
            result = lab.c.run(argv)
            said = result.stdout + result.stderr
            expect(result.returncode == 1 and "run it as root" in " ".join(said.split()), f"{command}: {said}")


@test()
def test_command_ping_silence() -> None:
    """Nothing answers: said with what it may be, and an exit code."""
    with Lab() as lab:
        config = lab.new_file("client.yaml")
        config.write_text(paqet.client_config(lab, Settings()))
        result = lab.c.run([paqet.program(), "ping", "-c", str(config), "--wait", "0.5"])
        expect(result.returncode == 1, f"exit code {result.returncode}")
        expect("no answer from the server" in result.stderr, f"it says: {result.stderr}")


@test()
def test_command_dump() -> None:
    with Lab() as lab:
        config = lab.new_file("client.yaml")
        config.write_text(paqet.client_config(lab, Settings()))
        command = [paqet.program(), "dump", "-i", lab.s.device, "-p", str(paqet.PORT)]
        dump = lab.s.start("dump", command)
        wait_until(dump.has_packet_socket, 10, "the packet socket of dump")
        output(lab.c, "ping", "-c", str(config), "--packet", "--payload", "hello lab")
        dump.wait_log(r"\|hello lab\|", 5)
        ends = rf"{lab.c.ip4}:\d+ -> {lab.s.ip4}:{paqet.PORT}\S*"
        dump.wait_log(rf"Packet: {ends} \| Length: 9 bytes", 1)
        dump.stop()


def refused(lab: Lab, config: str) -> str:
    """What the program says to a configuration that it must not start with."""
    process = paqet.start(lab.c, "refused", config)
    code = process.wait(10)
    expect(code == 1, f"exit code {code}: {process.last_lines()}")
    expect(not lab.c.firewall(), "it has made firewall rules")
    return process.log()


@test()
def test_config_all_mistakes_at_once() -> None:
    with Lab() as lab:
        config = paqet.client_config(lab, Settings(block="aes-512", mode="turbo"))
        config = config.replace('"info"', '"loud"').replace("127.0.0.1:1080", "127.0.0.1:99999")
        text = refused(lab, config)
        lines = config.splitlines()
        for value in ("aes-512", "turbo", "loud", "99999"):
            number = next(i for i, line in enumerate(lines, 1) if value in line)
            pattern = rf"(?m)\.yaml:{number}\b.*"
            expect(re.search(pattern, text), f"nothing about line {number} ({value}): {text}")


@test()
def test_config_not_yaml() -> None:
    with Lab() as lab:
        text = refused(lab, "role: [client\n\tx: }{")
        expect(".yaml:" in text, f"no file and line: {text}")


@test()
def test_config_missing_file() -> None:
    with Lab() as lab:
        result = lab.c.run([paqet.program(), "run", "-c", "/nonexistent/paqet.yaml"])
        said = result.stdout + result.stderr
        expect(result.returncode == 1, f"exit code {result.returncode}")
        expect("/nonexistent/paqet.yaml" in said, f"the file is not named: {said}")


@test()
def test_config_unknown_key() -> None:
    """A warning that names the nearest known key, and the program runs."""
    with Lab() as lab:
        config = paqet.server_config(lab, Settings()).replace("listen:", "lisen: {}\nlisten:")
        server = paqet.start(lab.s, "server", config)
        paqet.wait_ready(server)
        expect(re.search("lisen.*listen", server.log()), f"no hint in: {server.log()}")


@test()
def test_config_quic_is_named() -> None:
    """transport.protocol left out with a quic block: an error that names both choices."""
    with Lab() as lab:
        config = paqet.client_config(lab, Settings()).replace('  protocol: "kcp"\n', "")
        config = config.replace("  kcp:\n", "  quic: {}\n  kcp:\n")
        text = refused(lab, config)
        expect("kcp" in text and "quic" in text, f"not both choices in: {text}")


@test()
def test_config_without_protocol() -> None:
    """transport.protocol left out with only a kcp block means kcp."""
    with Lab() as lab:
        config = paqet.server_config(lab, Settings()).replace('  protocol: "kcp"\n', "")
        server = paqet.start(lab.s, "server", config)
        paqet.wait_ready(server)
