# SPDX-License-Identifier: MIT
"""Configurations as the Go programs read them (goccy/go-yaml 1.19.2 in both), and the command line
as theirs takes it."""

from __future__ import annotations

import re
import socket
import subprocess

import paqet
from case import Failure, expect, test
from lab import Lab, Process, wait_until
from paqet import PORT, SOCKS, Settings
from test_commands import refused

# What a text in the file means where a string is wanted: numbers and booleans in their usual
# spelling, everything else as it stands. Each was seen in the Go program.
SPELLINGS = {
    "0123": "83",
    "007": "7",
    "00": "0",
    "0": "0",
    "-0": "0",
    "-0123": "-83",
    "+12": "12",
    "-5": "-5",
    "12_34": "1234",
    "1__2": "12",
    "12_": "12",
    "0x1f": "31",
    "0x_1f": "31",
    "0o17": "15",
    "0b101": "5",
    "1.10": "1.1",
    "1.10_0": "1.1",
    "1_0.5": "10.5",
    "1.0": "1",
    "5.": "5",
    ".5": "0.5",
    "-.5": "-0.5",
    "+.5": "0.5",
    "0.10": "0.1",
    "1.5e3": "1500",
    "1.0e3": "1000",
    "100000.0": "100000",
    "0.000001": "1e-06",
    "0.0001": "0.0001",
    "123456.7": "123456.7",
    "999999.0": "999999",
    "1000000.0": "1e+06",
    "1.5e6": "1.5e+06",
    "1.0e21": "1e+21",
    "16777217.0": "1.6777217e+07",
    "123456789.123456789": "1.2345678912345679e+08",
    "3.14159265358979": "3.14159265358979",
    ".inf": "+Inf",
    ".Inf": "+Inf",
    "-.inf": "-Inf",
    ".nan": "NaN",
    "18446744073709551615": "18446744073709551615",
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "!!binary aGVsbG8=": "hello",
    "0123 # of the lab": "83",
    "&a 0123": "83",
    # as they stand
    "1e3": "1e3",
    "1E3": "1E3",
    "1e+3": "1e+3",
    "1e-7": "1e-7",
    "12e03": "12e03",
    "1e400": "1e400",
    "1e5.0": "1e5.0",
    "+.inf": "+.inf",
    "08": "08",
    "089": "089",
    "0x": "0x",
    "0X1F": "0X1F",
    "0O17": "0O17",
    "0b2": "0b2",
    "_12": "_12",
    "1,000": "1,000",
    "1:30": "1:30",
    "0123a": "0123a",
    "2001-01-01": "2001-01-01",
    "18446744073709551616": "18446744073709551616",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "true": "true",
    "false": "false",
    "yes": "yes",
    "no": "no",
    "on": "on",
    '"0123"': "0123",
    "'0123'": "0123",
    '"1.10"': "1.10",
    '"True"': "True",
}


def lets_in(lab: Lab, port: int, user: str, password: str) -> bool:
    """Whether the SOCKS port takes them."""
    with lab.c.entered():
        connection = socket.create_connection(("127.0.0.1", port), 3)
    with connection:
        connection.sendall(b"\x05\x01\x02")
        expect(paqet.read_exactly(connection, 2) == b"\x05\x02", "no password is asked for")
        message = b"\x01"
        for text in (user, password):
            message += bytes([len(text)]) + text.encode()
        connection.sendall(message)
        return paqet.read_exactly(connection, 2)[1:] == b"\0"


def wrong_spellings(lab: Lab, spellings: dict[str, str]) -> list[str]:
    """A port for each of them as the password; what is not taken for what it means."""
    entries = ""
    for port, text in enumerate(spellings, 2000):
        entries += f'  - listen: "127.0.0.1:{port}"\n    username: me\n    password: {text}\n'
    config = paqet.client_config(lab, Settings()).replace("socks5:\n", f"socks5:\n{entries}", 1)
    client = paqet.start(lab.c, "client", config)
    wait_until(lambda: paqet.ended(client) or paqet.can_connect(lab), 10, "the SOCKS port")
    wrong = []
    for port, (text, want) in enumerate(spellings.items(), 2000):
        if not lets_in(lab, port, "me", want):
            plain = text.split(" ")[0].strip("\"'")
            as_text = f" but {plain}" if lets_in(lab, port, "me", plain) else ""
            wrong.append(f"{text} is not {want}{as_text}")
    client.kill()
    return wrong


@test()
def test_numbers_as_passwords() -> None:
    with Lab() as lab:
        wrong = []
        items = list(SPELLINGS.items())
        for at in range(0, len(items), 15):  # ports of a client are bounded
            wrong += wrong_spellings(lab, dict(items[at : at + 15]))
        expect(not wrong, f"{len(wrong)} of {len(items)} passwords: {'; '.join(wrong)}")


def expect_login(as_written: tuple[str, str], as_meant: tuple[str, str]) -> None:
    """User name and password, as they stand in the file and as the proxy takes them."""
    name, password = as_written
    with Lab() as lab:
        socks5 = f"    username: {name}\n    password: {password}\n"
        client = paqet.start(lab.c, "client", paqet.client_config(lab, Settings(socks5=socks5)))
        wait_until(lambda: paqet.ended(client) or paqet.can_connect(lab), 10, "the SOCKS port")
        expect(lets_in(lab, SOCKS, *as_meant), f"{as_written} are not {as_meant}")


@test()
def test_number_as_user_name() -> None:
    expect_login(("0123", "x"), ("83", "x"))


def with_key(config: str, key: str) -> str:
    """Another text of the key, as it stands in the file."""
    changed = config.replace(f'key: "{paqet.KEY}"', f"key: {key}")
    expect(changed != config, "no key was replaced: the test is void")
    return changed


def start_server(lab: Lab, config: str) -> Process:
    server = paqet.start(lab.s, "server", config)
    paqet.wait_ready(server)
    return server


@test()
def test_numbers_as_keys() -> None:
    with Lab() as lab:
        lab.origin()
        for text, want in (("0123", "83"), ("1.10", "1.1"), ("!!binary aGVsbG8=", "hello")):
            server = start_server(lab, with_key(paqet.server_config(lab, Settings()), text))
            client = paqet.start_client(lab, Settings(key=want))
            try:
                paqet.seconds_to_work(lab, 4, patience=1)
            except Failure as failure:
                expect(False, f"key: {text} is not {want}: {failure}")
            client.stop()
            server.stop()


# ---- forms of the file


# All mean 99999, which is out of range for each of these keys.
LARGE = {
    "conn": '"99999"',
    "mtu": "99_999",
    "rcvwnd": "99999.0",
    "sndwnd": "0o303237",
    "smuxkalive": "0b11000011010011111",
    "smuxktimeout": "9.9999e4",
    "packet_workers": "0x1869f",
}
ELSEWHERE = ("conn", "packet_workers")  # not under kcp


@test()
def test_numbers_in_other_forms() -> None:
    with Lab() as lab:
        settings = Settings(
            transport=f"  conn: {LARGE['conn']}\n",
            kcp="".join(f"    {key}: {LARGE[key]}\n" for key in LARGE if key not in ELSEWHERE),
            extra=f"performance:\n  packet_workers: {LARGE['packet_workers']}\n",
        )
        config = paqet.client_config(lab, settings)
        text = refused(lab, config)
        wrong = []
        for key in LARGE:
            number = next(i for i, line in enumerate(config.splitlines(), 1) if f" {key}:" in line)
            found = re.search(rf"(?m)\.yaml:{number}: (.*)$", text)
            if not found or "99999 is out of range" not in found[1]:
                wrong.append(f"{key}: {LARGE[key]}: {found[1] if found else 'nothing'}")
        expect(not wrong, f"not taken for 99999: {'; '.join(wrong)}")


USUAL = {
    "mtu": ['"1350"', "1_350", "1350.0", "1.35e3", "0o2506", "02506", "0b10101000110", "0x546"],
    "sndwnd": ["1_024", '"1_024"', "1e3"],
}


@test()
def test_numbers_in_other_forms_work() -> None:
    with Lab() as lab:
        forms = [f"    {key}: {form}\n" for key, texts in USUAL.items() for form in texts]
        for form in forms:
            process = paqet.start(lab.s, "server", paqet.server_config(lab, Settings(kcp=form)))
            try:
                paqet.wait_ready(process)
            except Failure as failure:
                expect(False, f"{form.strip()}: {failure}")
            process.kill()


@test()
def test_config_merge_key() -> None:
    """<<: takes over what another part of the file says, here the key."""
    with Lab() as lab:
        lab.origin()
        plain = paqet.server_config(lab, Settings(kcp="    <<: *common\n"))
        config = plain.replace(f'    key: "{paqet.KEY}"\n', "")
        expect(config != plain, "no key was taken out: the test is void")
        start_server(lab, f'common: &common\n  key: "{paqet.KEY}"\n{config}')
        client = paqet.start_client(lab, Settings())
        paqet.seconds_to_work(lab, 4, patience=1)
        expect(client.alive(), "the client ended")


@test()
def test_config_text_that_begins_with_percent() -> None:
    expect_login(("me", "%x"), ("me", "%x"))


def refused_bytes(lab: Lab, config: bytes) -> str:
    path = lab.new_file("latin1.yaml")
    path.write_bytes(config)
    result = lab.c.run([paqet.program(), "run", "-c", str(path)], 5)
    expect(result.returncode == 1, f"exit code {result.returncode}: {result.stdout[-200:]}")
    return result.stdout + result.stderr


@test()
def test_config_not_utf8() -> None:
    """An editor of another time: the message names the line."""
    with Lab() as lab:
        lines = paqet.client_config(lab, Settings()).encode().splitlines()
        for at in (1, 4, len(lines) - 1):
            broken = [*lines[:at], lines[at] + " # für uns".encode("latin-1"), *lines[at + 1 :]]
            text = refused_bytes(lab, b"\n".join(broken) + b"\n")
            expect(f".yaml:{at + 1}:" in text, f"nothing about line {at + 1}: {text}")
            expect("UTF-8" in text, f"it does not say UTF-8: {text}")


# ---- the command line


def paqet_says(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return lab.c.run([paqet.program(), *arguments], 5)


@test()
def test_command_line_names_the_file() -> None:
    with Lab() as lab:
        path = lab.new_file("client.yaml")
        path.write_text(paqet.client_config(lab, Settings(mode="turbo")))
        for text in (
            "run -c FILE",
            "run -c=FILE",
            "run -cFILE",
            "run --config FILE",
            "run --config=FILE",
            "-c FILE run",
            "-c=FILE run",
            "--config FILE run",
            "--config=FILE run",
            "ping -c=FILE --packet",
            "ping --config=FILE --payload=x",
            "-c FILE ping --payload x",
            "dump -c=FILE",
        ):
            result = paqet_says(lab, *text.replace("FILE", str(path)).split())
            said = result.stdout + result.stderr
            expect(result.returncode == 1, f"{text}: exit code {result.returncode}")
            expect("turbo" in said, f"{text}: the file was not read: {said}")


@test()
def test_command_line_help() -> None:
    with Lab() as lab:
        commands = ("run", "ping", "dump", "iface", "secret", "version")
        for command in commands:
            for line in ((command, "--help"), (command, "-h"), ("help", command)):
                result, shown = paqet_says(lab, *line), " ".join(line)
                expect(result.returncode == 0, f"{shown}: exit code {result.returncode}")
                expect(not result.stderr, f"{shown}: on stderr: {result.stderr}")
                expect(f"paqet {command}" in result.stdout, f"{shown}: no usage: {result.stdout}")
                if command in ("run", "ping", "dump"):
                    expect("--config" in result.stdout, f"{shown}: no --config: {result.stdout}")
        for line in (("--help",), ("-h",), ("help",)):
            result = paqet_says(lab, *line)
            expect(result.returncode == 0, f"{line}: exit code {result.returncode}")
            expect(all(f"{c} " in result.stdout for c in commands), f"{line}: {result.stdout}")


@test()
def test_command_line_suggestions() -> None:
    """What was probably meant, of commands, options and keys."""
    with Lab() as lab:
        for line, meant in (
            ("pign", "paqet ping"),
            ("statsu", "paqet status"),
            ("ping --cuont 3", "--count"),
            ("init server --adress x", "--address"),
            ("init server --bridg=443", ""),  # the beginning of one, as getopt takes it
            ("quite-another", ""),
        ):
            result = paqet_says(lab, *line.split(), "--dry-run") if "bridg" in line else paqet_says(lab, *line.split())
            said = result.stderr
            expect(bool(meant) == ("did you mean" in said.lower()), f"{line}: {said}")
            expect(meant in said, f"{line}: {said}")
            expect(result.returncode == (0 if "bridg" in line else 1), f"{line}: exit code {result.returncode}")


@test()
def test_command_line_examples() -> None:
    """The help of each command has examples; all of its options fit on a screen."""
    with Lab() as lab:
        listing = paqet_says(lab, "help").stdout
        expect(len(listing.splitlines()) <= 24, f"the help is longer than a screen: {listing}")
        for command in re.findall(r"(?m)^  (\w+) +\S", listing):
            shown = paqet_says(lab, command, "--help").stdout
            expect(command in ("iface", "version") or "Examples:" in shown, f"no examples: {shown}")
            usage = shown.partition("Usage: ")[2].partition("\n")[0]
            expect(usage.count("[") == usage.count("]"), f"the form of {command} is cut: {usage}")
            expect(max(map(len, shown.splitlines())) <= 110, f"long lines: {shown}")


@test()
def test_command_line_unknown_flag() -> None:
    with Lab() as lab:
        path = lab.new_file("client.yaml")
        path.write_text(paqet.client_config(lab, Settings()))
        for line in (
            f"run -c {path} --nosuch",
            f"run --nosuch -c {path}",
            f"run -c {path} -x",
            "ping --nosuch",
            "dump --nosuch",
            "secret --nosuch",
            "iface --nosuch",
            "version --nosuch",
            "--nosuch",
        ):
            result = paqet_says(lab, *line.split())
            flag = "x" if line.endswith("-x") else "nosuch"  # how, the C library says
            expect(result.returncode == 1, f"{line}: exit code {result.returncode}")
            expect(flag in result.stderr, f"{line}: the flag is not named: {result.stderr}")
            expect(not result.stdout, f"{line}: it did something: {result.stdout}")
        for line in ("run -c", "run --config", "ping --payload"):
            result = paqet_says(lab, *line.split())
            expect(result.returncode == 1, f"{line}: exit code {result.returncode}")
            expect("argument" in result.stderr, f"{line}: {result.stderr}")


@test()
def test_command_line_port_of_dump() -> None:
    """A part of a number is none."""
    with Lab() as lab:
        for port in (f"{PORT}x", "x", "70000", "-1"):
            result = paqet_says(lab, "dump", "-i", lab.c.device, "-p", port)
            expect(result.returncode == 1, f"-p {port}: exit code {result.returncode}")
