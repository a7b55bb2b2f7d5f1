# SPDX-License-Identifier: MIT
"""What the pages of docs/how-to say to do beyond paqet init, done as they say it."""

from __future__ import annotations

import re

import paqet
from case import expect, test
from lab import Host, Lab, Process, wait_until
from roots import Machine
from test_rules import Service, ask

SITE = "8.8.4.4"  # on the server itself, for devices that reach nothing else there


def link_in(text: str) -> str:
    found = re.search(r"(?m)^paqet://\S+$", text)
    expect(found, f"no link in: {text}")
    assert found
    return found[0]


def change(machine: Machine, path: str, old: str, new: str) -> None:
    text = machine.read(path)
    expect(text.count(old) == 1, f"{path} has not one {old!r}: {text}")
    (machine.root / path).write_text(text.replace(old, new))


def serve(machine: Machine, name: str) -> Process:
    return machine.host.start(name, machine.inside("/root/paqet", "run", "-c", "/etc/paqet/server.yaml"))


def shared_key(machine: Machine) -> str:
    """The line that grep ' key:' shows."""
    found = re.findall(r"(?m)^.* key:.*$", machine.read("etc/paqet/server.yaml"))
    expect(len(found) == 1, f"grep ' key:' shows {found}")
    return found[0]


@test()
def test_howto_several_servers() -> None:
    """A client of one server gets a second one, which goes on when the first one is cut off."""
    with Lab(third=True) as lab:
        first, second, client = Machine(lab.s), Machine(lab.x), Machine(lab.c)
        link = link_in(first.check("init", "server", "--address", lab.s.ip4, "--no-service"))
        second.check("init", "server", "--address", lab.x.ip4, "--no-service")
        serve(first, "first").wait_log("listening on port", 5)
        client.check("init", "client", link)
        users = first.check("user", "list", "-c", "/etc/paqet/server.yaml")
        key = re.search(r"\b[0-9a-f]{64}\b", users)
        expect(key, f"no key is listed: {users}")
        change(second, "etc/paqet/server.yaml", shared_key(second), shared_key(first))
        serve(second, "second").wait_log("listening on port", 5)
        said = second.check("user", "add", "ali", "--public-key", key[0], "-c", "/etc/paqet/server.yaml")
        port = re.search(r"addr: \S+:(\d+)", said)
        public = re.search(r'public_key: "(\w+)"', said)
        expect(port and public, f"it prints: {said}")
        more = f"servers:\n  - addr: {lab.x.ip4}:{port[1]}\n    public_key: {public[1]}\n"
        with (client.root / "etc/paqet/client.yaml").open("a") as file:
            file.write(more)
        client.check("reload", "-c", "/etc/paqet/client.yaml")
        lab.s.check(["ip", "link", "set", lab.s.device, "down"])
        # no target is reached, but only a server can say that its rules do not allow this one
        argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-x", "http://127.0.0.1:1080"]
        wait_until(lambda: lab.c.run([*argv, "http://127.0.0.1:9/"]).stdout == "403", 15, "the second server's answer")


def page(host: Host) -> str:
    argv = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{size_download}"]
    return host.run([*argv, f"http://{SITE}/1000"]).stdout


@test()
def test_howto_router() -> None:
    """A device behind a client with TUN, which gives it the inner address of its user."""
    with Lab(third=True) as lab:
        server, router, device = Machine(lab.s), Machine(lab.c), lab.x
        lab.s.check(["ip", "addr", "add", f"{SITE}/32", "dev", "lo"])
        argv = [paqet.ROOT / "build" / "tests" / "lab" / "lab-load", "origin", "--seconds", "600", "80"]
        lab.s.start("site", [*map(str, argv)]).wait_log("^ready", 5)
        link = link_in(server.check("init", "server", "--address", lab.s.ip4, "--no-service"))
        change(server, "etc/paqet/server.yaml", "allow: public", "allow: any")
        serve(server, "server").wait_log("listening on port", 5)
        router.check("init", "client", link, "--tun")
        name = re.search(r'(?m)name: "(\w+)"', router.read("etc/paqet/client.yaml"))
        expect(name, "the client's file does not name the device")
        wait_until(lambda: page(lab.c) == "1000", 10, "a page for the router itself")
        lab.c.check(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        device.check(["ip", "route", "add", SITE, "via", lab.c.ip4])
        expect(page(device) == "0", "the server takes packets from addresses that are not the user's")
        chain = f'type nat hook postrouting priority 100; oifname "{name[1]}" masquerade;'
        lab.c.check(["nft", f"table ip lan {{ chain out {{ {chain} }}; }}"])
        wait_until(lambda: page(device) == "1000", 10, "a page for a device behind the router")


def yaml_blocks(name: str) -> list[str]:
    text = (paqet.ROOT / "docs" / "how-to" / name).read_text()
    return re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)


@test()
def test_howto_split() -> None:
    """Some sites go directly: what the page says to append, with its reload, and its lists."""
    with Lab(third=True) as lab:
        server, client = Machine(lab.s), Machine(lab.c)
        ways = ["", ""]
        for host in (lab.c, lab.s):
            host.check(["ip", "route", "add", f"{SITE}/32", "via", lab.x.ip4])
        lab.x.check(["ip", "addr", "add", f"{SITE}/32", "dev", "lo"])
        site = Service(lab.x, SITE)
        link = link_in(server.check("init", "server", "--address", lab.s.ip4, "--no-service"))
        serve(server, "server").wait_log("listening on port", 5)
        client.check("init", "client", link)
        conf = client.root / "etc/paqet/client.yaml"
        before = conf.read_text()
        (conf.parent / "ads.txt").write_text("ads.example\n")
        (conf.parent / "sites.txt").write_text("shop.example\n")
        (conf.parent / "networks.txt").write_text(f"{SITE}/32\n")
        wait_until(lambda: ask(lab, SITE)[1].endswith(lab.s.ip4.encode()), 15, "the tunnel")
        for block in yaml_blocks("split.md"):
            conf.write_text(before + block)
            said = client.check("reload", "-c", "/etc/paqet/client.yaml")
            expect("rules: " in said, f"reload says: {said}")
            ways = [*ways[1:], ask(lab, SITE)[1].decode()]
        expect(ways[0].endswith(lab.s.ip4) and ways[1].endswith(lab.c.ip4), f"{ways}, {site}")
        expect(ask(lab, "ads.example")[0] == 2, "not blocked")
