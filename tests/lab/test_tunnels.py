# SPDX-License-Identifier: MIT
"""Several tunnels in one program: each goes to its own server with its own key, and a dead one is
not in the way of the others."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time

import paqet
import test_tun
from case import expect, test
from lab import Host, Lab, Process, wait_until
from paqet import KEY, PORT, Settings
from test_field import rewrite_names
from test_reload import change, config_of, reload
from test_rules import names
from test_spread import SIGN_PORT, put_up_sign

FIRST, SECOND = 8001, 8002  # forwards of the client


def settings_of(host: Host, key: str, block: str) -> Settings:
    extra = f"network:\n  interface: {host.device}\n"
    return Settings(network=False, protocol="kcp", key=key, block=block, control=True, extra=extra)


def start_server(host: Host, key: str, block: str, more: str = "") -> Process:
    text = paqet.server_config(host.lab, settings_of(host, key, block)) + more
    text = re.sub(r"(?m)^control: .*", 'control: "off"', text)
    process = paqet.start(host, f"server-{host.letter}", text)
    paqet.wait_ready(process)
    return process


def tunnel(lab: Lab, name: str, host: Host, port: int, key: str, block: str, transport: str, more: str) -> str:
    """An entry of `tunnels`."""
    text = f"name: {name}\nserver: {{addr: '{host.ip4}:{PORT}'}}\nnetwork: {{interface: {lab.c.device}}}\n"
    text += f"forward:\n  - {{listen: '127.0.0.1:{port}', target: '127.0.0.1:{SIGN_PORT}', protocol: tcp}}\n"
    text += paqet.transport_block(Settings(key=key, block=block, protocol="kcp", transport=transport)) + more
    return "  - " + text.rstrip().replace("\n", "\n    ") + "\n"


def start(lab: Lab, workers: int = 1) -> tuple[Process, Process, Process]:
    """The servers of the first and of the second tunnel, and the client with both."""
    for host in (lab.s, lab.x):
        put_up_sign(host)
    first, second = start_server(lab.s, KEY, "aes"), start_server(lab.x, KEY + " two", "aes-128-gcm")
    conn, more = f"  conn: {workers}\n", f"performance: {{packet_workers: {workers}}}\n"
    socks = f"socks5: [{{listen: '127.0.0.1:{paqet.SOCKS}'}}]\n"
    text = f"role: client\nlog: {{level: info}}\ncontrol: {paqet.control_path(lab, 'client')}\ntunnels:\n"
    text += tunnel(lab, "one", lab.s, FIRST, KEY, "aes", f"{conn}  wire: classic\n", socks + more)
    text += tunnel(lab, "two", lab.x, SECOND, KEY + " two", "aes-128-gcm", conn, more)
    client = paqet.start(lab.c, "client", text)
    for port in (FIRST, SECOND):
        wait_until(lambda port=port: paqet.ended(client) or paqet.can_connect(lab, port), 10, "the forwards")
    return first, second, client


def comes_out(lab: Lab, port: int, patience: float = 3) -> str:
    """The letter of the host where a connection to this port of the client comes out; "" nowhere."""
    with contextlib.suppress(OSError), lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        connection.connect(("127.0.0.1", port))
        return connection.recv(1).decode()
    return ""


def status(lab: Lab) -> dict[str, dict]:
    """The sessions by their tunnel."""
    said = paqet.ask(lab, "client", "status", "--json").stdout
    return {one["tunnel"]: one for one in json.loads(said)["sessions"]}


def both_work(lab: Lab) -> None:
    expect(comes_out(lab, FIRST) == "s", "the first tunnel does not lead to its server")
    expect(comes_out(lab, SECOND) == "x", "the second tunnel does not lead to its server")


def check_shown(lab: Lab, client: Process) -> None:
    seen = status(lab)
    ciphers = {name: one["cipher"] for name, one in seen.items()}
    expect(ciphers == {"one": "aes", "two": "aes-128-gcm"}, f"status: {ciphers}")
    expect(seen["two"]["peer"] == f"{lab.x.ip4}:{PORT}", f"status: {seen}")
    said = paqet.ask(lab, "client", "status").stdout
    expect(re.search(r"PEER +TUNNEL", said) and re.search(rf"{lab.x.ip4}:{PORT} +two ", said), said)
    for name in ("one", "two"):
        expect(re.search(rf"\[INFO\] {name}: TCP to 127.0.0.1:800", client.log()), f"{name} is not in the log")


@test()
def test_tunnels_one_dead() -> None:
    with Lab(third=True) as lab:
        _, second, client = start(lab)
        both_work(lab)
        check_shown(lab, client)
        tables = set(re.findall(r"paqet_\w+", lab.c.firewall()))
        expect(len(tables) == 2, f"tables of the firewall: {tables}")
        second.kill()
        held = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        held.connect(("127.0.0.1", FIRST))
        expect(held.recv(1) == b"s", "the first tunnel")
        end = time.monotonic() + 4
        while time.monotonic() < end:
            expect(comes_out(lab, SECOND, 0.3) == "", "the dead one works")
            expect(comes_out(lab, FIRST, 1) == "s", "the first tunnel suffers from the second")
        wait_until(lambda: status(lab)["two"]["silent_s"] > 1, 5, "a silent session in the status")
        expect(status(lab)["one"]["silent_s"] < 3, "the first is silent, too")
        client.wait_log("two: the server (is silent|does not answer)", 5)
        expect(not re.search("one: the server (is silent|does not answer)", client.log()), f"the first lost its server: {client.last_lines()}")
        start_server(lab.x, KEY + " two", "aes-128-gcm")
        wait_until(lambda: comes_out(lab, SECOND, 1) == "x", 15, "the second tunnel again")
        held.close()
        expect(client.stop() == 0, "the client did not end well")
        expect("paqet_" not in lab.c.firewall(), "rules stay behind")


def wrong_files(lab: Lab, client: Process) -> None:
    """Nothing changes in any tunnel if something is wrong with one of them."""
    path = config_of(client)
    good = path.read_text()
    taken = lab.c.listen("127.0.0.1", 8009, lambda connection: connection.close())
    moved = good.replace(f":{FIRST}'", ":8005'")
    path.write_text(moved.replace(f":{SECOND}'", ":8009'"))
    said = reload(lab, "client", 1)
    expect("two: forward[0].listen: cannot listen on 127.0.0.1:8009" in said, said)
    taken.close()
    path.write_text(moved.replace(f":{SECOND}'", ":8005'"))
    said = reload(lab, "client", 1)
    expect("tunnels[1]: tunnels[0] already listens on 127.0.0.1:8005, TCP" in said, said)
    path.write_text(moved.replace("name: two", "name: one"))
    expect("tunnels[1].name: tunnels[0] has this name already" in reload(lab, "client", 1), "a name twice")
    path.write_text(moved.replace("tunnels:\n", "spread: true\ntunnels:\n"))
    expect("spread: belongs into the entries" in reload(lab, "client", 1), "a key beside")
    expect(not paqet.can_connect(lab, 8005), "half of a wrong file was taken over")
    path.write_text(good)
    both_work(lab)


def reload_tunnels(workers: int) -> None:
    with Lab(third=True) as lab:
        *_, client = start(lab, workers)
        both_work(lab)
        held = lab.c.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        held.settimeout(5)
        held.connect(("127.0.0.1", FIRST))
        expect(held.recv(1) == b"s", "the first tunnel")
        wrong_files(lab, client)
        change(client, f":{SECOND}'", ":8006'")
        said = reload(lab, "client")
        expect("two: listening: 1 new, 1 closed" in said and "one: listening" not in said, said)
        expect(comes_out(lab, 8006) == "x" and not paqet.can_connect(lab, SECOND), "the other port")
        change(client, f"{lab.x.ip4}:{PORT}", f"{lab.s.ip4}:{PORT}")
        expect("two: server: 1 ways" in reload(lab, "client"), "another server")
        expect(comes_out(lab, 8006, 1) == "", "a server of another key has let the tunnel in")
        change(client, f"'{lab.s.ip4}:{PORT}'}}\n    network: {{interface: {lab.c.device}}}\n    forward:\n      - {{listen: '127.0.0.1:8006'",
               f"'{lab.x.ip4}:{PORT}'}}\n    network: {{interface: {lab.c.device}}}\n    forward:\n      - {{listen: '127.0.0.1:8006'")
        reload(lab, "client")
        wait_until(lambda: comes_out(lab, 8006, 1) == "x", 10, "the second tunnel at its own server")
        change(client, "name: two", "name: three")
        said = reload(lab, "client")
        expect("tunnels, for two to go" in said and "tunnels, for three to come" in said, said)
        expect(comes_out(lab, 8006) == "x", "a tunnel went without a restart")
        change(client, "name: three", "name: two")
        change(client, KEY + " two", KEY + " three")
        expect("two: transport.kcp.key" in reload(lab, "client"), "another key needs a restart")
        held.sendall(b".")
        expect(held.recv(1) == b"", "the stream of the first tunnel did not live")
        held.close()
        expect(client.stop() == 0, "the client did not end well")


@test()
def test_tunnels_reload() -> None:
    reload_tunnels(1)


@test()
def test_tunnels_reload_workers() -> None:
    reload_tunnels(2)


def start_servers(lab: Lab) -> None:
    for host in (lab.s, lab.x):
        put_up_sign(host)
    start_server(lab.s, KEY, "aes")
    start_server(lab.x, KEY + " two", "aes-128-gcm")


def start_named(lab: Lab) -> Process:
    """A client whose second tunnel has a server that is known by its name alone; the first one works."""
    text = f"role: client\nlog: {{level: info}}\ncontrol: {paqet.control_path(lab, 'client')}\ntunnels:\n"
    second = tunnel(lab, "two", lab.x, SECOND, KEY + " two", "aes-128-gcm", "", "")
    text += second.replace(lab.x.ip4, "second.example") + tunnel(lab, "one", lab.s, FIRST, KEY, "aes", "", "")
    started = time.monotonic()
    client = paqet.start(lab.c, "client", text)
    wait_until(lambda: paqet.ended(client) or comes_out(lab, FIRST, 1) == "s", 3, "the first tunnel")
    expect(time.monotonic() - started < 3, "the first tunnel has waited for the second")
    return client


@test()
def test_tunnels_silent_resolver() -> None:
    """A name server that says nothing holds up neither the other tunnel, nor commands, nor the end."""
    with Lab(third=True) as lab, names(lab.c, "", f"nameserver {lab.x.ip4}\noptions timeout:30 attempts:1\n"):
        silent = lab.x.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind((lab.x.ip4, 53))
        start_servers(lab)
        client = start_named(lab)
        said = paqet.ask(lab, "client", "status", limit=3).stdout
        expect("tunnel two waits: the name of its server is being looked up" in said, said)
        expect(comes_out(lab, SECOND, 0.5) == "", "a tunnel without a server")
        change(client, f":{FIRST}'", ":8005'")
        expect("one: listening: 1 new, 1 closed" in reload(lab, "client"), "a reload meanwhile")
        expect(comes_out(lab, 8005) == "s", "the first tunnel")
        began = time.monotonic()
        expect(client.stop() == 0 and time.monotonic() - began < 3, "the client did not end at once")


@test()
def test_tunnels_name_comes_late() -> None:
    """A tunnel begins once its server's name is there, or the file has another one."""
    with Lab(third=True) as lab, names(lab.c, "", "nameserver 127.0.0.1\n"):  # where nobody answers
        start_servers(lab)
        client = start_named(lab)
        client.wait_log("two: waits, and is tried again and again: .*'second.example' cannot be resolved", 3 + paqet.lookup_seconds())
        said = json.loads(paqet.ask(lab, "client", "status", "--json").stdout)["tunnels"]
        expect([one["name"] for one in said] == ["two", "one"] and "waits" not in said[1], f"status: {said}")
        expect("'second.example' cannot be resolved" in said[0]["waits"] and said[1]["silent_s"] < 3, f"status: {said}")
        rewrite_names(lab.c, f"{lab.x.ip4} second.example\n")
        wait_until(lambda: comes_out(lab, SECOND, 1) == "x", 8 + paqet.lookup_seconds(), "the second tunnel")
        both_work(lab)
        said = json.loads(paqet.ask(lab, "client", "status", "--json").stdout)["tunnels"]
        expect(not any("waits" in one for one in said), f"status: {said}")
        expect(client.stop() == 0, "the client did not end well")
        rewrite_names(lab.c, "")
        client = start_named(lab)
        client.wait_log("two: waits", 3 + paqet.lookup_seconds())
        change(client, "second.example", lab.x.ip4)
        change(client, f":{SECOND}'", ":8007'")
        expect("two: was not up yet, and is tried anew" in reload(lab, "client"), "a reload")
        wait_until(lambda: comes_out(lab, 8007, 1) == "x", 2, "the second tunnel after a reload")
        expect(client.stop() == 0, "the client did not end well")


def tun(number: int, end: int, more: str = "") -> str:
    return f"tun: {{enabled: true, name: tun{number}, addr: 10.9.{number}.{end}/24{more}}}\n"


@test()
def test_tunnels_with_devices() -> None:
    """Two tunnels have a TUN device each; what is led into one does not get into the way of the other."""
    test_tun.need("/dev/net/tun")
    with Lab(third=True) as lab:
        far = "198.51.100.7"  # behind the second server
        lab.x.check(["ip", "addr", "add", f"{far}/32", "dev", "lo"])
        start_server(lab.s, KEY, "aes", tun(1, 1))
        second = start_server(lab.x, KEY + " two", "aes-128-gcm", tun(2, 1))
        text = f"role: client\nlog: {{level: info}}\ncontrol: {paqet.control_path(lab, 'client')}\ntunnels:\n"
        text += tunnel(lab, "one", lab.s, FIRST, KEY, "aes", "", tun(1, 2, ", routes: default"))
        text += tunnel(lab, "two", lab.x, SECOND, KEY + " two", "aes-128-gcm", "", tun(2, 2, f", routes: {far}/32"))
        client = paqet.start(lab.c, "client", text)
        for target in ("10.9.1.1", "10.9.2.1", far):
            test_tun.wait_ping(lab.c, target)
        expect(" dev tun2 " in lab.c.check(["ip", "route", "get", far]), "the way to what is behind the second")
        expect(" dev tun1 " in lab.c.check(["ip", "route", "get", "203.0.113.1"]), "the default route")
        seen = json.loads(paqet.ask(lab, "client", "top", "--json").stdout)["streams"]
        expect(sorted(one["tunnel"] for one in seen if one["kind"] == "tun") == ["one", "two"], f"top: {seen}")
        second.kill()
        time.sleep(1)
        expect(test_tun.ping(lab.c, "10.9.1.1") and not test_tun.ping(lab.c, far), "a dead one is in the way")
        start_server(lab.x, KEY + " two", "aes-128-gcm", tun(2, 1))
        test_tun.wait_ping(lab.c, far, 20)
        expect(client.stop() == 0, "the client did not end well")
        left = lab.c.check(["ip", "link"]) + lab.c.check(["ip", "rule"])
        expect("tun" not in left and "2876" not in left, f"left behind: {left}")


@test()
def test_tunnels_commands() -> None:
    """Commands that are about one tunnel: by its name; else they say which there are."""
    with Lab(third=True) as lab:
        *_, client = start(lab)
        path = config_of(client)

        def run(*argv: str) -> subprocess.CompletedProcess[str]:
            return lab.c.run([paqet.program(), *argv, "-c", str(path)], 30)

        for command in (("ping",), ("link",), ("dump",), ("forward", "add", ":1", "h:1")):
            said = run(*command).stderr
            expect("has 2 tunnels; --tunnel says which of these it is about: one, two" in said, f"{command}: {said}")
        said = run("ping", "--tunnel", "three").stderr
        expect("no tunnel 'three'" in said and "one, two" in said, said)
        said = run("ping", "-n", "1", "--tunnel", "two").stdout
        expect(f"server {lab.x.ip4}:{PORT} answers" in said, said)
        said = run("check", "--quick", "--tunnel", "one")
        expect(said.returncode == 0 and "20 of 20 answered" in said.stdout, f"{said}")
        expect("2 tunnels: only the file was looked at" in run("check").stdout, "check looks at one of them")
        said = run("link", "--tunnel", "two").stdout
        expect(said.startswith(f"paqet://v1/{lab.x.ip4}:{PORT}?"), said)


@test()
def test_tunnels_forward() -> None:
    """A forward comes to one tunnel of a client that runs, and goes again; the others stay."""
    with Lab(third=True) as lab:
        *_, client = start(lab)
        path = config_of(client)
        before = path.read_text()
        wait_until(lambda: paqet.ask(lab, "client", "status").returncode == 0, 10, "the control socket")

        def forward(*argv: str, code: int = 0) -> str:
            said = lab.c.run([paqet.program(), "forward", *argv, "-c", str(path)], 30)
            expect(said.returncode == code, f"forward {argv}: {said}")
            return said.stdout + said.stderr

        target = f"127.0.0.1:{SIGN_PORT}"
        forward("add", "127.0.0.1:8300", target, "--name", "new", "--tunnel", "two")
        wait_until(lambda: comes_out(lab, 8300) == "x", 10, "the new forward of the second tunnel")
        expect(forward("list", "--tunnel", "two").count("127.0.0.1:8") == 2, "not two forwards of the second tunnel")
        said = forward("list")
        expect(re.search(r"(?s)# one\n.*# two\n.*8300 .*new", said), f"all: {said}")
        expect("already listens" in forward("add", "127.0.0.1:8300", target, "--tunnel", "one", code=1), "a port twice")
        expect("there is no forward" in forward("del", "other", code=1), "a forward that is not there")
        forward("del", "new")  # only one tunnel has it
        wait_until(lambda: not paqet.can_connect(lab, 8300), 10, "the end of the forward")
        expect(path.read_text() == before, f"another file: {path.read_text()}")
        both_work(lab)
