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


@test()
def test_howto_several_servers() -> None:
    """Two servers with one link, which goes on when the first one is cut off; his address inside TUN
    is the same at both."""
    with Lab(third=True) as lab:
        first, second, client = Machine(lab.s), Machine(lab.x), Machine(lab.c)
        one = link_in(first.check("init", "server", "--address", lab.s.ip4, "--user", "ali", "--no-service"))
        wrong = second.run("init", "server", "--key-of", "paqet://192.0.2.1:9?key=x&enc=aes", "--no-service")
        expect(wrong.returncode == 1 and "none that" in wrong.stderr, f"a link of others: {wrong.stderr}")
        said = second.check("init", "server", "--key-of", one, "--user", "ali", "--address", lab.x.ip4, "--no-service")
        both = link_in(said)
        inner = re.search(r'(?m)^    tun: \["([0-9.]+)"', first.read("etc/paqet/server.yaml"))
        expect(inner and f'tun: ["{inner[1]}"' in second.read("etc/paqet/server.yaml"), "another inner address")
        for machine, name in ((first, "first"), (second, "second")):
            serve(machine, name).wait_log("listening on port", 5)
        client.check("init", "client", one)
        client.check("init", "client", both, "--force")
        expect(client.read("etc/paqet/client.yaml").count("public_key") == 2, "the client has not both")
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
