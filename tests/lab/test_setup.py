# SPDX-License-Identifier: MIT
"""From nothing to a tunnel: paqet init and paqet link, as somebody does it who has just got the file."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import tarfile
import time
from pathlib import Path

import paqet
from case import Skip, expect, test
from lab import Lab, wait_until
from roots import Machine, SystemdMachine, libraries

SITE = "8.8.4.4"  # a public address, for the rules; it is on the third host


def make_internet(lab: Lab) -> None:
    """A site that the server reaches, and the client does not."""
    lab.x.check(["ip", "addr", "add", f"{SITE}/32", "dev", "lo"])
    lab.s.check(["ip", "route", "add", "default", "via", lab.x.ip4])
    argv = [paqet.ROOT / "build" / "tests" / "lab" / "lab-load", "origin", "--seconds", "600", "80"]
    lab.x.start("site", [*map(str, argv)]).wait_log("^ready", 5)


def link_in(text: str) -> str:
    found = re.search(r"(?m)^paqet://\S+$", text)
    expect(found, f"no link in: {text}")
    assert found
    return found[0]


def commands_of_readme() -> dict[str, list[str]]:
    """What README says to type: the arguments of paqet, by role."""
    text = (paqet.ROOT / "README.md").read_text()
    lines = re.findall(r"(?m)^    sudo \./paqet init (\S+)(.*)$", text)
    return {role: ["init", role, *rest.split()] for role, rest in lines}


def fetch(lab: Lab, proxy: str = "", limit: float = 5) -> str:
    """Fetches a page of the site with curl; its bytes, or "" on failure."""
    argv = ["curl", "-s", "-m", str(limit), "-o", "/dev/null", "-w", "%{size_download}"]
    argv += ["-x", proxy] if proxy else []
    return lab.c.run([*argv, f"http://{SITE}/1000"], limit + 5).stdout


def check_page(lab: Lab, proxy: str = "") -> None:
    size = fetch(lab, proxy)
    expect(size == "1000", f"the page has {size} bytes")


@test()
def test_setup_one_command_each() -> None:
    """The measure: less than 60 s from nothing to a page, one command on each side; then everything
    is taken back, to the last file."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = Machine(lab.s), Machine(lab.c)
        before = server.files(), client.files()
        expect(fetch(lab, limit=1) == "0", "the client reaches the site without a tunnel")
        begin = time.monotonic()
        readme = commands_of_readme()
        said = server.check(*readme["server"])
        link = link_in(said)
        expect(f"sudo ./paqet init client '{link}'\n" in said, f"no command for the other side: {said}")
        client_said = client.check(*[link if word == "LINK" else word for word in readme["client"]])
        proxy = re.search(r"curl -x (\S+)", client_said)
        expect(proxy, f"no proxy is named: {client_said}")
        check_page(lab, proxy[1])
        seconds = time.monotonic() - begin
        expect(seconds < 60, f"it took {seconds:.0f} s")
        for machine, name in ((server, "server"), (client, "client")):
            expect(machine.mode("etc/paqet") == 0o700, "/etc/paqet is open to others")
            expect(machine.mode(f"etc/paqet/{name}.yaml") == 0o600, f"{name}.yaml is open to others")
        check_refusals(server, said)
        check_shown_again(server, link)
        check_found(server, client)
        lab.s.listen("0.0.0.0", 5555, lambda connection: connection.close())
        failed = server.run("init", "server", "--force", "--port", "5555")
        expect(failed.returncode == 1 and "5555 is in use" in failed.stderr, f"it says: {failed.stderr}")
        check_shown_again(server, link)
        wait_until(lambda: fetch(lab, proxy[1]) == "1000", 20, "a page of the server that was there before")
        server.check("init", "--remove")
        client.check("init", "--remove")
        expect((server.files(), client.files()) == before, f"left: {server.files() - before[0]}, {client.files() - before[1]}")
        expect(fetch(lab, proxy[1], 2) in ("", "0"), "the client still runs")
        none = client.run("check")
        expect(none.returncode == 1 and "have 'paqet init' make one" in none.stderr, f"none: {none.stderr}")
        again = client.run("init", "--remove")
        expect(again.returncode == 1 and "nothing" in again.stderr, f"removed twice: {again.stderr}")


def check_refusals(server: Machine, said: str) -> None:
    """What is there is not touched."""
    kept = server.read("etc/paqet/server.yaml")
    second = server.run("init", "server")
    expect(second.returncode == 1, "a second server was made over the first")
    expect("--force" in second.stderr, f"it says: {second.stderr}")
    expect(server.read("etc/paqet/server.yaml") == kept, "it was changed")
    secret = re.search(r"private_key: \"(\w+)\"", kept)
    expect(secret and secret[1] not in said, "the server's private key was printed")


def check_found(server: Machine, client: Machine) -> None:
    """Commands find the only configuration by themselves, and name those that there are."""
    expect("2 answered" in client.check("ping", "-n", "2", "-i", "0.1"), "ping")
    expect("Nothing is in the way" in client.check("check", "--quick"), "check")
    expect("user" in server.check("user", "list"), "user")
    run = client.run("run")
    expect(run.returncode == 1 and "say which it is: -c /etc/paqet/client.yaml\n" in run.stderr, f"run: {run.stderr}")
    second = client.root / "etc/paqet/second.yaml"
    second.write_text("role: client\n")
    both = client.run("ping")
    named = {word for word in both.stderr.split() if word.startswith("/etc")}
    expect(both.returncode == 1 and named == {f"/etc/paqet/{name}.yaml" for name in ("client", "second")}, f"two: {both.stderr}")
    second.unlink()


def check_shown_again(server: Machine, link: str) -> None:
    expect(server.check("link", "--user", "user").strip() == link, "another link is shown")
    expect(server.mode("etc/paqet/links") == 0o700, "others see the links' names")
    expect(server.mode("etc/paqet/links/server-user") == 0o600, "others can read the link")
    none = server.run("link", "--user", "nobody")
    expect(none.returncode == 1 and "nobody" in none.stderr, f"a link of nobody: {none.stderr}")


@test()
def test_setup_whole_machine() -> None:
    """--tun: programs that know of no proxy; and the link comes by file, from a client without a TUN device, and by
    standard input. The server has a range of ports."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = Machine(lab.s), Machine(lab.c)
        ports = ("--port", "20000-20100")
        link = link_in(server.check("init", "server", "--address", lab.s.ip4, *ports, "--user", "ali", "--user", "sara"))
        expect(f"{lab.s.ip4}:20000-20100?" in link, f"not with all ports: {link}")
        client.check("init", "client", "-", "--tun", text=f"\n{link}\n")
        wait_until(lambda: fetch(lab) == "1000", 10, "a page without a proxy")
        said = client.check("init", "server", "--dry-run")
        expect(f"interface {lab.c.device}, " in said, f"a server listens on the device of the tunnel: {said}")
        client.check("init", "--remove", "client")
        sara = server.check("link", "--user", "sara").strip()
        client.check("init", "client", sara, "--no-service", "--name", "plain")  # whose link is as good
        (client.root / "tmp/link").write_text(client.check("link", "-c", "/etc/paqet/plain.yaml"))
        client.check("init", "--remove", "plain")
        client.check("init", "client", "/tmp/link", "--tun", "--socks", "127.0.0.1:1234")
        wait_until(lambda: fetch(lab) == "1000", 10, "a page for the second user")
        check_page(lab, "socks5h://127.0.0.1:1234")
        expect("(sara)" in server.read("var/log/paqet-server.log"), "the server does not know the second user")


@test()
def test_setup_at_a_terminal() -> None:
    """Behind NAT it asks for the public address, and the link is shown as a QR code, too."""
    with Lab() as lab:
        server = Machine(lab.s)
        argv = shlex.join(server.inside("/root/paqet", "init", "server", "--no-service"))
        asked = f"(sleep 1; echo 203.0.113.9; sleep 2) | script -qec {shlex.quote(argv)} /dev/null"
        said = lab.s.run(["sh", "-c", asked], 60).stdout
        expect(f"{lab.s.ip4} is a private address" in said and "type that one" in said, f"it does not ask: {said}")
        link = link_in(said)
        port = re.match(r"paqet://v1/203\.0\.113\.9:(\d+)\?", link)
        expect(port and int(port[1]) >= 10000, f"another address, or a port of others: {link}")
        plain = server.check("link", "--qr")
        for text in (said, plain):
            bare = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines()]
            code = [line for line in bare if re.fullmatch("[ \u2580\u2584\u2588]{20,}", line)]
            width = max(map(len, code), default=0)
            expect(width >= 45 and abs(len(code) * 2 - width) <= 8, f"no square: {len(code)} lines of {width}: {text}")


@test()
def test_setup_without_tun() -> None:
    """A server without a TUN device: --tun is refused with what to do; so it is for no link at all."""
    with Lab() as lab:
        server, client = Machine(lab.s), Machine(lab.c)
        link = link_in(server.check("init", "server", "--no-tun"))
        result = client.run("init", "client", link, "--tun")
        expect(result.returncode == 1 and "TUN" in result.stderr, f"it says: {result.stderr}")
        result = client.run("init", "client", "paqet://v1/a,b:0?k=x&b=z")
        expect(result.returncode == 1, "a broken link was taken")
        expect(result.stderr.count("the link:") == 4, f"not all mistakes in one go: {result.stderr}")
        expect("etc/paqet" not in client.files(), f"something was made: {client.files()}")
        (server.root / "dev/net/tun").unlink()
        said = server.check("init", "server", "--no-service", "--name", "more")
        expect("no /dev/net/tun" in said and "&t=" not in link_in(said), f"of the device it says: {said}")


@test()
def test_setup_bridge() -> None:
    """Ports of one server lead to those of another, whose rules have to permit it."""
    with Lab(third=True) as lab:
        server, client = Machine(lab.s), Machine(lab.c)
        lab.origin(8080)
        lab.origin(8091)
        arguments = ("--address", lab.s.ip4)
        link = link_in(server.check("init", "server", *arguments))
        bridge = ("init", "bridge", link, "--ports", "8080,8090-8092,5353/udp")
        said = client.check(*bridge)
        expect("rules do not allow 127.0.0.1:8080" in said, f"it says: {said}")
        expect("--bridge 8080,8090-8092,5353/udp" in said, f"no advice: {said}")
        permit(server, client, said)
        said = server.check("init", "server", "--force", *arguments, "--bridge", "8080,8090-8092,5353/udp")
        expect("Links of before open nothing" in said, f"of the links of before it says: {said}")
        refused = client.run(*bridge)
        expect(refused.returncode == 1 and "--force" in refused.stderr, f"overwritten: {refused.stderr}")
        said = client.check("init", "bridge", link_in(said), *bridge[3:], "--force")
        expect("127.0.0.1:8080 is reached" in said, f"it says: {said}")
        for port in (8080, 8091):
            argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}"]
            size = lab.x.run([*argv, f"http://{lab.c.ip4}:{port}/1000"]).stdout
            expect(size == "1000", f"port {port}: {size} bytes")
        before = client.read("etc/paqet/bridge.yaml")
        lab.c.listen("0.0.0.0", 7777, lambda connection: connection.close())
        busy = client.run("init", "bridge", link, "--ports", "7776-7778", "--name", "other")
        expect(busy.returncode == 1 and "7777" in busy.stderr, f"a port that is taken: {busy.stderr}")
        expect(client.read("etc/paqet/bridge.yaml") == before, "the other bridge was changed")


def permit(server: Machine, client: Machine, said: str) -> None:
    """Does what init bridge says of the server's rules."""
    allow = re.search(r"(?m)^allow:\n(?:  - .*\n)+", said)
    expect(allow, f"no rules to write: {said}")
    assert allow
    rules = allow[0]
    text, n = re.subn(r"(?m)^allow: public.*\n", lambda _: rules, server.read("etc/paqet/server.yaml"))
    expect(n == 1, f"the server's file: {text}")
    (server.root / "etc/paqet/server.yaml").write_text(text)
    server.check("reload", "-c", "/etc/paqet/server.yaml")
    for port in (8080, 8091):
        reached = client.check("ping", "-n", "1", "-t", f"127.0.0.1:{port}")
        expect("1 answered" in reached, f"port {port}: {reached}")
    refused = client.run("ping", "-n", "1", "-t", "127.0.0.1:8093")
    expect("rules do not allow" in refused.stdout + refused.stderr, f"port 8093: {refused}")


@test()
def test_setup_bridge_all() -> None:
    """All ports of one server lead to those of another, but for exceptions, from a service without root."""
    with Lab(third=True) as lab:
        server, client = Machine(lab.s), SystemdMachine(lab.c)
        lab.origin(8080)
        lab.origin(8099)
        arguments = ("--address", lab.s.ip4)
        bridge = ("--all-ports", "--except", "22,8099")
        said = client.check("init", "bridge", link_in(server.check("init", "server", *arguments)), *bridge)
        expect("rules do not allow 127.0.0.1:443" in said, f"it says: {said}")
        said = server.check("init", "server", "--force", *arguments, "--bridge", "all")
        expect("--all-ports" in said, f"no advice: {said}")
        link = link_in(said)
        said = client.check("init", "bridge", link, *bridge, "--force")
        expect("but for 22,8099" in said and "allow" not in said, f"it says: {said}")
        for port, want in ((8080, "1000"), (8099, "0")):
            argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}"]
            size = lab.x.run([*argv, f"http://{lab.c.ip4}:{port}/1000"]).stdout
            expect(size == want, f"port {port}: {size} bytes")
        sshd = "#!/bin/sh\necho port 2200\necho x11displayoffset 10\necho listenaddress [::]:2201\n"
        file = "/usr/local/sbin/sshd"
        lab.c.check(client.inside("sh", "-c", f"printf '%s' '{sshd}' >{file} && chmod 755 {file}"))
        here = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 2022"}
        said = client.run("init", "bridge", link, "--all-ports", "--dry-run", "--force", more=here).stdout
        expect("22,2022,2200-2201" in said, f"ports of SSH: {said}")
        for wrong in (("--ports", "1", "--except", "1"), ("--all-ports", "--ports", "1"), ("--all-ports", "--except", "1/udp")):
            result = client.run("init", "bridge", link, "--name", "other", *wrong)
            expect(result.returncode == 1 and wrong[-2] in result.stderr, f"{wrong}: {result.stderr}")


@test()
def test_setup_silence() -> None:
    """Nobody answers: all is installed, what it may be is said, and the exit code tells."""
    with Lab() as lab:
        server, client = Machine(lab.s), Machine(lab.c)
        link = link_in(server.check("init", "server", "--no-service"))
        expect("var/log/paqet-server.log" not in server.files(), "it was started")
        result = client.run("init", "client", link)
        expect(result.returncode == 1, f"exit code {result.returncode}: {result.stdout}")
        expect("does not answer yet" in result.stderr, f"it says: {result.stderr}")
        expect("no paqet has that port" in result.stderr, f"why: {result.stderr}")
        lab.s.keep_kernel_quiet(int(link.split(":")[2].split("?")[0]))
        result = client.run("init", "client", link, "--force")
        expect("check -c /etc/paqet/server.yaml --listen" in result.stderr, f"what it may be: {result.stderr}")
        lab.s.start("server", server.inside("/root/paqet", "run", "-c", "/etc/paqet/server.yaml"))
        argv = ("ping", "-c", "/etc/paqet/client.yaml", "-n", "1", "-w", "15")
        expect("1 answered" in client.check(*argv), "no answer later either")
        before = server.read("etc/paqet/server.yaml")
        beside = server.run("init", "server", "--force")
        expect(beside.returncode == 1 and "was started by hand" in beside.stderr, f"beside one that runs: {beside.stderr}")
        expect(server.read("etc/paqet/server.yaml") == before, "its file was changed")


@test()
def test_setup_more_users() -> None:
    """A user who is added later gets in with the link of his configuration."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = Machine(lab.s), Machine(lab.c)
        server.check("init", "server", "--address", lab.s.ip4)
        config = server.check("user", "add", "sara", "-c", "/etc/paqet/server.yaml")
        (server.root / "tmp/sara.yaml").write_text(config)
        said = server.check("link", "-c", "/tmp/sara.yaml", "--address", lab.s.ip4, "--user", "sara")
        client.check("init", "client", link_in(said))
        check_page(lab, "socks5h://127.0.0.1:1080")
        expect("(sara)" in server.read("var/log/paqet-server.log"), "the server does not know her")
        client.check("init", "--remove")
        check_added_with_link(lab, server, client)


def check_added_with_link(lab: Lab, server: Machine, client: Machine) -> None:
    """One command lets somebody in for all of his machine: the address is that of the links of init, and the
    inner address one that nobody has."""
    link = link_in(server.check("user", "add", "reza", "--link"))
    expect(link.startswith(f"paqet://v1/{lab.s.ip4}:") and link.endswith("#reza"), f"his link: {link}")
    inner = re.findall(r"(?m)^    tun: \[(.*)\]$", server.read("etc/paqet/server.yaml"))
    expect(len(inner) == 3 and len(set(inner)) == 3 and all("10." in each for each in inner), f"inner addresses: {inner}")
    own = re.search(r"&t=([0-9.]+)/24", link)
    expect(own and f'"{own[1]}"' in inner[2], f"not his inner address: {link}, {inner}")
    client.check("init", "client", link, "--tun")
    wait_until(lambda: fetch(lab) == "1000", 10, "a page without a proxy")
    expect("(reza)" in server.read("var/log/paqet-server.log"), "the server does not know him")
    moved = link_in(server.check("user", "add", "nima", "--link", "--address", "s.example"))
    expect(moved.startswith("paqet://v1/s.example:"), f"another address: {moved}")
    before = server.read("etc/paqet/server.yaml")
    for argv, words in (
        (("add", "x", "--link", "--address", "a b"), "neither a name nor"),
        (("add", "x", "--qr"), "--link"),
        (("del", "nima", "--link"), "add NAME"),
        (("add", "x", "--link", "--public-key", "00" * 32), "made here"),
    ):
        said = server.run("user", *argv)
        expect(said.returncode == 1 and words in said.stderr, f"{argv}: {said.stderr}")
    shutil.rmtree(server.root / "etc/paqet/links")
    said = server.run("user", "add", "x", "--link")
    expect(said.returncode == 1 and "--address HOST" in said.stderr, f"nobody says where it is: {said.stderr}")
    expect(server.read("etc/paqet/server.yaml") == before, "somebody was added all the same")

@test()
def test_setup_dry_run() -> None:
    with Lab() as lab:
        machine = Machine(lab.s)
        before = machine.files()
        said = machine.check("init", "server", "--dry-run", "--port", "4443")
        expect("port 4443" in said and "require: keys" in said, f"it says: {said}")
        link = "paqet://192.0.2.1:9?key=the%20key%20of%20a%20friend&enc=aes"
        said = machine.check("init", "client", link, "--dry-run")
        expect("192.0.2.1:9" in said and "friend" not in said, f"it says: {said}")
        result = machine.run("init", "bridge", link, "--ports", "10000-19999", "--dry-run")
        expect(result.returncode == 1 and "4096" in result.stderr, f"too many ports: {result.stderr}")
        expect(machine.files() == before, f"made: {machine.files() - before}")


@test()
def test_setup_wrong_words() -> None:
    """What is mistyped is named, with what to do; nothing is made."""
    with Lab() as lab:
        machine = Machine(lab.c)
        before = machine.files()
        key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
        link = f"paqet://v1/192.0.2.1:9?s={key}&u={key}&k={key}"
        lab.c.listen("127.0.0.1", 1080, lambda connection: connection.close())
        for argv, words in (
            (("client", link.split("&")[0]), "in a shell it belongs in quotes"),
            (("client", f"\N{LEFT DOUBLE QUOTATION MARK}{link}"), "plain quotes alone"),
            (("client", "paqet://..."), "the dots stand for"),
            (("client", "-"), "it is empty"),
            (("client", link, "--socks", "127.0.0.1:1080"), "another program does; choose another port"),
            (("client", link, "--socks", "192.0.2.77:1080"), "no address of this machine"),
            (("client", link, "--port", "9"), "--port is not for init client"),
            (("bridge", link, "--ports"), "paqet init: option"),
        ):
            result = machine.run("init", *argv)
            expect(result.returncode == 1 and words in result.stderr, f"{argv}: {result.stderr}")
            expect(key not in result.stderr, f"{argv}: a key is printed: {result.stderr}")
        expect(machine.files() == before, f"made: {machine.files() - before}")


@test()
def test_setup_bundle() -> None:
    """One archive is enough for the other machine."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = Machine(lab.s), Machine(lab.c)
        said = server.check("init", "server", "--address", lab.s.ip4, "--bundle", "/tmp/for-ali.tar")
        expect(("needs libraries" in said) == bool(libraries(paqet.program())), f"of what the program needs it says: {said}")
        expect(server.mode("tmp/for-ali.tar") == 0o600, "others can read the archive")
        check_bundle_stays(server)
        server.check("link", "--bundle", "/tmp/again.tar")
        archive = (server.root / "tmp/again.tar").read_bytes()
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(client.root / "tmp", filter="data")
        (client.root / "root/paqet").unlink()
        (client.root / "tmp/paqet/paqet").rename(client.root / "root/paqet")
        client.check("init", "client", "/tmp/paqet/link")
        check_page(lab, "socks5h://127.0.0.1:1080")


def check_bundle_stays(server: Machine) -> None:
    """No file is overwritten, and what cannot be written is told before anything is made; under sudo it is the caller's."""
    before = server.files()
    for path, words in (("/tmp/for-ali.tar", "is there already"), ("/nowhere/x.tar", "folder /nowhere")):
        for argv in (("link", "--bundle", path), ("init", "server", "--name", "more", "--bundle", path)):
            result = server.run(*argv)
            expect(result.returncode == 1 and words in result.stderr, f"{argv}: {result.stderr}")
    expect(server.files() == before, f"made: {server.files() - before}")
    server.run("link", "--bundle", "/tmp/hers.tar", more={"SUDO_UID": "1234", "SUDO_GID": "1235"})
    st = (server.root / "tmp/hers.tar").stat()
    expect((st.st_uid, st.st_gid) == (1234, 1235), f"it belongs to {st.st_uid}, {st.st_gid}")


@test()
def test_setup_with_quic() -> None:
    """The program of a build folder brings its module of QUIC along, if that may be trusted; both go again."""
    with Lab() as lab:
        module = Path(paqet.program()).with_name("quic.so")
        if not module.exists():
            raise Skip("this program has no module of QUIC")
        machine = Machine(lab.s)
        shutil.copy(module, machine.root / "root/quic.so")
        for library in libraries(str(module)):
            machine.add(library)
        before = machine.files()
        os.chown(machine.root / "root/quic.so", 1234, 1234)
        said = machine.run("init", "server", "--no-service", "--address", lab.s.ip4)
        expect(said.returncode == 0 and "not the program's owner's" in said.stderr, f"somebody else's module: {said}")
        expect(not list((machine.root / "usr").rglob("quic.so")), "somebody else's module was installed")
        os.chown(machine.root / "root/quic.so", 0, 0)
        said = machine.check("init", "server", "--no-service", "--address", lab.s.ip4, "--name", "second")
        expect("sudo paqet init --remove second\n" in said, f"what takes this one back alone: {said}")
        (machine.root / "root/quic.so").rename(machine.root / "root/away.so")
        said = lab.s.check(machine.inside("/usr/local/bin/paqet", "version"))
        expect("kcp, quic" in said, f"the installed program has no QUIC: {said}")
        (machine.root / "root/away.so").rename(machine.root / "root/quic.so")
        machine.check("init", "--remove")
        expect(machine.files() == before, f"left: {machine.files() - before}")


def bring_quic(*machines: Machine) -> None:
    """The module beside the program, as in a build folder, and what it needs; a static program has it inside."""
    if not paqet.built_with("quic"):
        raise Skip("the program is built without QUIC (ngtcp2 with GnuTLS)")
    module = Path(paqet.program()).with_name("quic.so")
    for machine in machines if module.exists() else ():
        shutil.copy(module, machine.root / "root/quic.so")
        for library in libraries(str(module)):
            machine.add(library)


@test()
def test_setup_quic() -> None:
    """One command on each side, over QUIC: two users by their keys, of whom one uses a bundle, the
    other all of his machine. Nobody else gets an answer."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = Machine(lab.s), Machine(lab.c)
        bring_quic(server, client)
        before = server.files(), client.files()
        users = ("--user", "ali", "--user", "sara", "--bridge", "80")
        said = server.check("init", "server", "--quic", "--address", lab.s.ip4, "--port", "20000-20100", *users)
        expect("&p=quic" in link_in(said) and "It speaks QUIC" in said, f"it says: {said}")
        whose = server.run("link", "--bundle", "/tmp/for-one.tar")
        expect(whose.returncode == 1 and "--user: ali, " in whose.stderr, f"of two users: {whose.stderr}")
        server.check("link", "--user", "ali", "--bundle", "/tmp/for-ali.tar")
        with tarfile.open(server.root / "tmp/for-ali.tar") as tar:
            tar.extractall(client.root / "tmp", filter="data")
        said = client.check("init", "client", "/tmp/paqet/link")
        expect("the proxy has brought an answer" in said, f"it says: {said}")
        check_page(lab, "socks5h://127.0.0.1:1080")
        check_quic_session(server, "ali")
        again = client.check("link", "-c", "/etc/paqet/client.yaml", "--user", "x")
        first = client.read("tmp/paqet/link")
        expect(again.split("#")[0] == first.split("#")[0], f"another link: {again} instead of {first}")
        client.check("init", "--remove")
        client.check("init", "client", "-", "--tun", text=server.check("link", "--user", "sara"))
        wait_until(lambda: fetch(lab) == "1000", 10, "a page without a proxy")
        check_quic_session(server, "sara")
        client.check("init", "--remove")
        check_quic_bridge(lab, server, client)
        (client.root / "tmp/paqet").rename(client.root / "root/carried")
        server.check("init", "--remove")
        client.check("init", "--remove")
        shutil.rmtree(client.root / "root/carried")
        (server.root / "tmp/for-ali.tar").unlink()
        expect((server.files(), client.files()) == before, f"left: {server.files() - before[0]}, {client.files() - before[1]}")


def check_quic_session(server: Machine, user: str) -> None:
    status = server.check("status", "-c", "/etc/paqet/server.yaml", "--json")
    found = {(session["transport"], session["user"]) for session in json.loads(status)["sessions"]}
    expect(("quic", user) in found, f"sessions: {found}")


def check_quic_bridge(lab: Lab, server: Machine, client: Machine) -> None:
    """A port of the client's machine leads to the server's own; and the link of one more server speaks QUIC, too."""
    lab.origin(80)
    link = server.check("link", "--user", "sara").strip()
    said = client.check("init", "bridge", link, "--ports", "80")
    expect("127.0.0.1:80 is reached" in said, f"it says: {said}")
    size = lab.x.run(["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}", f"http://{lab.c.ip4}/1000"]).stdout
    expect(size == "1000", f"the bridge brings {size} bytes")
    more = ("--key-of", link, "--no-service", "--name", "more", "--address", "192.0.2.9", "--port", "30000")
    said = server.check("init", "server", *more)
    expect("protocol: quic" in server.read("etc/paqet/more.yaml"), "another transport than the link's")
    kcp = re.sub("&p=quic", "", link)
    said = server.run("init", "server", "--key-of", kcp, "--quic", "--dry-run", "--name", "other")
    expect(said.returncode == 1 and "a link over kcp" in said.stderr, f"two transports in one link: {said}")


@test()
def test_setup_quic_is_not_there() -> None:
    """A program whose module is missing: said at once, with what to do, and nothing is made."""
    with Lab() as lab:
        machine = Machine(lab.s)
        if not Path(paqet.program()).with_name("quic.so").exists():
            raise Skip("this program has no module of QUIC")
        before = machine.files()
        key = "A" * 42 + "A"
        for argv in (("server", "--quic"), ("client", f"paqet://v1/192.0.2.1:9?k={key}&p=quic")):
            result = machine.run("init", *argv)
            expect(result.returncode == 1 and "cannot speak QUIC" in result.stderr, f"it says: {result.stderr}")
            expect("kcp" in result.stderr, f"no way out: {result.stderr}")
        expect(machine.files() == before, f"left: {machine.files() - before}")


def command(machine: SystemdMachine, *argv: str) -> str:
    return machine.host.check(machine.inside(*argv)).strip()


def main_process(machine: SystemdMachine, unit: str) -> str:
    return command(machine, "systemctl", "show", "--property=MainPID", "--value", unit)


@test()
def test_setup_systemd() -> None:
    """A server as systemd runs it: without root, with three capabilities, behind a filter of system
    calls, with its TUN device; a client that way, too; what hangs is started again."""
    with Lab(third=True) as lab:
        make_internet(lab)
        server, client = SystemdMachine(lab.s), SystemdMachine(lab.c)
        link = link_in(server.check("init", "server", "--address", lab.s.ip4))
        client.check("init", "client", "-", "--tun", text=link)
        wait_until(lambda: fetch(lab) == "1000", 10, "a page through the TUN device")
        for machine, unit in ((server, "paqet@server"), (client, "paqet@client")):
            status = command(machine, "cat", f"/proc/{main_process(machine, unit)}/status")
            for line in ("CapEff:\t0000000000003400", "CapBnd:\t0000000000003400", "NoNewPrivs:\t1", "Seccomp:\t2"):
                expect(line in status, f"{unit}: not {line!r} in {status}")
            expect("Uid:\t0" not in status, f"{unit} runs as root")
        check_while_it_runs(server)
        stop_hanging(server)
        wait_until(lambda: fetch(lab) == "1000", 20, "a page of the server that was started again")
        server.check("init", "--remove")
        client.check("init", "--remove")
        for machine in (server, client):
            left = "ls /etc/paqet /var/lib/paqet /etc/systemd/system/paqet* /usr/local/bin/paqet; ls -d /run/paqet; id paqet"
            said = machine.host.run(machine.inside("sh", "-c", left)).stdout
            expect(not said, f"left: {said}")


def check_while_it_runs(server: SystemdMachine) -> None:
    """Its own user or not, root looks at it, changes its file and has it read again."""
    said = server.check("status", "-c", "/etc/paqet/server.yaml")
    expect("user" in said, f"the status names no user: {said}")
    before = command(server, "stat", "-c", "%U %G %a", "/etc/paqet/server.yaml")
    server.check("user", "add", "sara", "-c", "/etc/paqet/server.yaml")
    said = server.check("user", "list", "-c", "/etc/paqet/server.yaml")
    expect("sara" in said and "user" in said, f"its users: {said}")
    after = command(server, "stat", "-c", "%U %G %a", "/etc/paqet/server.yaml")
    expect(before == after == "root paqet 640", f"the file belongs to {after}, before to {before}")
    for mode, others in (("640", False), ("644", True), ("640", False)):
        command(server, "chmod", mode, "/etc/paqet/server.yaml")
        said = server.run("dump", "-c", "/etc/paqet/server.yaml", "-r", "/dev/null").stderr
        expect(("other users of this machine" in said) == others, f"mode {mode}: {said}")
    if "asan" not in paqet.program():  # it looks for leaks in a way that the unit does not permit
        command(server, "systemctl", "reload", "paqet@server")


def stop_hanging(server: SystemdMachine) -> None:
    """The watchdog, with less patience than usual."""
    drop_in = "/run/systemd/system/paqet@server.service.d"
    command(server, "sh", "-c", f"mkdir {drop_in} && printf '[Service]\\nWatchdogSec=1\\n' >{drop_in}/quick.conf")
    command(server, "systemctl", "daemon-reload")
    command(server, "systemctl", "restart", "paqet@server")
    before = main_process(server, "paqet@server")
    time.sleep(2)
    expect(main_process(server, "paqet@server") == before, "one that works was started again")
    command(server, "kill", "-STOP", before)
    wait_until(lambda: main_process(server, "paqet@server") not in (before, "0"), 15, "another process")
