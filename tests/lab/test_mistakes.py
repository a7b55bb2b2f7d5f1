# SPDX-License-Identifier: MIT
"""Mistakes of people who have read half a page: each is named, with what to do, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess

import paqet
from case import expect, test
from lab import Lab, die_with_parent
from paqet import Settings
from roots import Machine
from test_check import findings, only, write

K43 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
LINK = f"paqet://v1/192.0.2.1:4443?l=plausible&k={K43}"
NO_BREAK, MARK, NOTHING = "\u00a0", "\u200e", "\u200b"


@test()
def test_mistakes_links_taken() -> None:
    """What messengers, mails and editors add to a link does not matter."""
    with Lab() as lab:
        client = Machine(lab.c)
        before = client.files()
        links = [MARK + LINK, LINK + MARK, f"{NO_BREAK}{LINK}{NO_BREAK}", LINK.replace("&", f"&{NOTHING}")]
        links += [LINK.replace("&", "&amp;"), LINK.replace("?", "?\r\n  "), LINK.replace("paqet:", "Paqet:")]
        for i, link in enumerate(links):
            (client.root / "root" / "link.txt").write_text("\ufeff" + link + "\r\n")
            for words in ([link], ["/root/link.txt"]):
                client.check("init", "client", *words, "--no-service")
                expect('"192.0.2.1:4443"' in client.read("etc/paqet/client.yaml"), f"link {i}")
                client.check("init", "--remove")
            (client.root / "root" / "link.txt").unlink()
        expect(client.files() == before, "something is left behind")


@test()
def test_mistakes_named_before() -> None:
    """An address that is none of the machine's, a file that is not there, the client's file in place of the server's."""
    with Lab() as lab:
        client = Machine(lab.c)
        before = client.files()
        result = client.run("init", "bridge", LINK, "--ports", "8080", "--listen", "192.0.2.77")
        expect(result.returncode == 1 and "--listen: 192.0.2.77 is no address of this machine" in result.stderr, f"{result}")
        expect("removed" not in result.stdout and client.files() == before, f"it was tried: {result}")
        for command in ("reload", "status"):
            result = client.run(command, "-c", "/etc/paqet/clent.yaml")
            said = "/etc/paqet/clent.yaml: there is no such file"
            expect(result.returncode == 1 and said in result.stderr, f"{result}")
        path = write(lab, "client.yaml", paqet.client_config(lab, Settings()))
        said = only(findings(lab.c, path, "--quick", "-w", "1", "--listen", "5", bad=True), "arrivals")
        expect("--listen is for the server" in said["text"] and "server.yaml --listen" in said["remedy"], f"{said}")


@test()
def test_mistakes_file_of_ones_own() -> None:
    """A configuration that init has not made is kept by --force, a second one too, and stays when all is taken back."""
    with Lab() as lab:
        client = Machine(lab.c)
        folder = client.root / "etc/paqet"
        folder.mkdir()
        (folder / "client.yaml").write_text("role: client # by hand\n")
        said = client.check("init", "client", LINK, "--no-service", "--force")
        expect("kept as /etc/paqet/client.yaml.before" in said, f"it says: {said}")
        client.check("init", "client", LINK, "--no-service", "--force")
        client.check("init", "client", LINK, "--no-service", "--force")
        client.check("init", "--remove")
        left = {path.name: path.read_text() for path in folder.iterdir()}
        expect(left == {"client.yaml.before": "role: client # by hand\n"}, f"left: {left}")


@test()
def test_mistakes_program_of_ones_own() -> None:
    """Files that init has not made, and that it cannot replace, or not before it is killed: they are what they were."""
    with Lab() as lab:
        client = Machine(lab.c)
        for path in ("usr/local/bin/paqet", "var/lib/paqet/stamps-4444"):
            (client.root / path).parent.mkdir(parents=True)
            (client.root / path).write_text("by hand")
        (client.root / "var/lib/paqet/stamps-4444.new").mkdir()

        def check(said: str) -> None:
            for path in ("usr/local/bin/paqet", "var/lib/paqet/stamps-4444"):
                expect((client.root / path).exists() and client.read(path) == "by hand", f"{path} is not what it was: {said}")

        init = client.inside("/root/paqet", "init", "client", LINK, "--no-service", "--force")
        little = ["prlimit", "--core=0", "--fsize=65536"]  # SIGXFSZ ends what writes more, or the write fails
        for ignored in (True, False):
            argv = [*(["env", "--ignore-signal=XFSZ"] if ignored else []), *little, *init]
            result = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, preexec_fn=die_with_parent)
            said = result.stdout + result.stderr
            expect((result.returncode == 1 and "cannot be written" in said) if ignored else result.returncode < 0, f"it ends otherwise: {said}")
            check(said)
        check(client.check("init", "--remove"))
        (client.root / "usr/local/bin/paqet.new").unlink()
        server = client.run("init", "server", "--no-service", "--force", "--no-tun", "--port", "4444")
        expect(server.returncode == 1 and "stamps-4444 cannot be written" in server.stderr, f"it says: {server.stderr}")
        expect(client.read("var/lib/paqet/stamps-4444") == "by hand", f"it is not what it was: {server.stdout}")


@test()
def test_mistakes_other_ip_version() -> None:
    """A server of the IP version that this machine has not, and a machine without any route."""
    with Lab() as lab:
        client = Machine(lab.c)
        for command, link, words in (
            (["-6", "addr", "flush", "dev", lab.c.device], LINK.replace("192.0.2.1", "[2001:db8:9::1]"), "has IPv4 alone"),
            (["-4", "addr", "flush", "dev", lab.c.device], LINK, "is this machine connected?"),
        ):
            lab.c.check(["ip", *command])
            if "IPv4" in words:
                lab.c.check(["ip", "route", "add", "default", "via", lab.s.ip4])
            client.check("init", "client", link, "--no-service")
            result = client.run("check", "--quick")
            expect(result.returncode == 1 and words in " ".join(result.stdout.split()), f"it says: {result.stdout}")
            client.check("init", "--remove")


@test()
def test_mistakes_tun_without_ipv6() -> None:
    """With IPv6 switched off the tunnel is made for IPv4 alone, which is said."""
    with Lab() as lab:
        client = Machine(lab.c)
        link = LINK.replace("?", "?t=10.9.8.2/24&t=fd01::2/64&")
        for off, six in ((1, False), (0, True)):
            lab.c.check(["sysctl", "-qw", f"net.ipv6.conf.default.disable_ipv6={off}"])
            said = client.check("init", "client", link, "--tun", "--no-service")
            expect(("IPv6 is off" in said) is not six, f"it says: {said}")
            expect(("addr6" in client.read("etc/paqet/client.yaml")) is six, "the inner address")
            client.check("init", "--remove")


@test()
def test_mistakes_words() -> None:
    """Wrong words are named, with the right ones."""
    with Lab() as lab:
        client = Machine(lab.c)
        before = client.files()
        for words, said in (
            (["init", "client"], "the link is missing"),
            (["init", "client", "192.0.2.1:4443"], "no link (it begins with paqet://)"),
            (["init", "client", LINK[:-8]], "was the link cut off?"),
            (["init", "client", LINK.split("&")[0]], "in a shell it belongs in quotes"),
            (["init", "client", f"\u2018{LINK}\u2019"], "a shell takes plain quotes alone"),
            (["init", "client", LINK.replace("4443", "\u06f4\u06f4\u06f4\u06f3")], "in the digits 0 to 9"),
            (["init", "client", LINK, "--socks", "127.0.0.1:\u06f1\u06f0\u06f8\u06f0"], "in the digits 0 to 9"),
            (["init", "bridge", LINK, "--ports", "\u06f4\u06f4\u06f3"], "in the digits 0 to 9"),
            (["init", "client", LINK, "\u2013tun"], "type two plain ones: --tun"),
            (["init", "client", LINK, "\u2014force"], "type two plain ones: --force"),
            (["init", "client", LINK, "--name", "my tunnel"], "is no name of letters"),
            (["init", "--remove"], "nothing was made by init here"),
        ):
            result = client.run(*words)
            expect(result.returncode == 1 and said in result.stderr, f"{words}: {result.stderr}")
            expect(K43[8:30] not in result.stderr, f"{words}: a key is shown: {result.stderr}")
            expect(client.files() == before, f"{words}: something is left behind")
        for content, said in (
            (LINK.encode("utf-16"), "save it as UTF-8"),
            (f"\u201c{LINK}\u201d".encode(), "does not belong to the link"),
            (b"nothing here", "there is no link"),
        ):
            (client.root / "root" / "link.txt").write_bytes(content)
            result = client.run("init", "client", "/root/link.txt")
            expect(result.returncode == 1 and said in result.stderr, f"{content[:20]!r}: {result.stderr}")


@test()
def test_mistakes_commands_of_others() -> None:
    """Words that other programs have as commands, and a port that another one has."""
    with Lab() as lab:
        client = Machine(lab.c)
        for word, said in (
            ("uninstall", "paqet init --remove"),
            ("restart", "systemctl restart paqet@NAME"),
            ("install", "paqet init client LINK"),
            ("chekc", "Did you mean 'paqet check'?"),
        ):
            result = client.run(word)
            expect(result.returncode == 1 and said in result.stderr, f"{word}: {result.stderr}")
        path = write(lab, "client.yaml", paqet.client_config(lab, Settings()))
        lab.c.listen("127.0.0.1", 1080, lambda connection: connection.close())
        said = lab.c.run([paqet.program(), "run", "-c", str(path)], 20).stderr
        expect("cannot listen on 127.0.0.1:1080" in said and "tells who has it" in said, f"it says: {said}")


@test()
def test_mistakes_on_the_server_itself() -> None:
    """A link is used on the machine that it leads to: refused, with nothing left behind."""
    with Lab() as lab:
        machine = Machine(lab.c)
        before = machine.files()
        result = machine.run("init", "client", LINK.replace("192.0.2.1", lab.c.ip4))
        expect(result.returncode == 1 and "which is this machine" in result.stderr, f"{result.stderr}")
        expect(machine.files() == before, "something is left behind")


@test()
def test_mistakes_forwarding_shut() -> None:
    """A server whose firewall passes nothing on, as with Docker: init and check say so until a rule names the device."""
    with Lab() as lab:
        server = Machine(lab.s)
        lab.s.check(["iptables", "-P", "FORWARD", "DROP"])
        said = server.check("init", "server", "--no-service", "--address", lab.s.ip4)
        expect("ip filter FORWARD of this machine's firewall drops" in said, f"it says: {said}")
        rules = re.findall(r"iptables -I FORWARD -[io] \S+ -j ACCEPT", said)
        expect(len(rules) == 2, f"it says: {said}")
        said = " ".join(server.run("check").stdout.split())
        expect("ip filter FORWARD drops what no rule lets on" in said, f"it says: {said}")
        device = rules[0].split()[4]
        for rule in (
            rules[0],
            f"iptables -I FORWARD -i {device[:-1]}+ -j ACCEPT",
            f"nft insert rule ip filter FORWARD iifname {{ eth7, {device} }} accept",
            f"nft insert rule ip filter FORWARD iifname vmap {{ eth7 : drop, {device} : accept }}",
        ):
            lab.s.check(rule.split())
            said = server.run("check").stdout
            expect("FORWARD" not in said, f"{rule}: it says: {said}")
            lab.s.check(["iptables", "-F", "FORWARD"])
        lab.s.check("iptables -I FORWARD -i eth7+ -j ACCEPT".split())
        said = " ".join(server.run("check").stdout.split())
        expect("ip filter FORWARD drops what no rule lets on" in said, f"of another device: it says: {said}")


@test(limit=60)
def test_mistakes_link_of_before() -> None:
    """The server was made anew, on another port: the client with the old link hears where today's is, in words alone."""
    with Lab() as lab:
        server, client = Machine(lab.s), Machine(lab.c)
        link = re.search(r"(?m)^paqet://\S+$", server.check("init", "server", "--address", lab.s.ip4, "-p", "4443"))
        expect(link, "no link")
        assert link
        server.check("init", "server", "--address", lab.s.ip4, "-p", "4444", "--force")
        result = client.run("init", "client", link[0])
        expect(result.returncode == 1 and "paqet link" in result.stderr, f"it says: {result.stderr}")
        expect("{" not in result.stderr, f"not only words: {result.stderr}")
        client.check("init", "--remove")
        server.check("init", "--remove")


@test()
def test_mistakes_no_default_route() -> None:
    """A server that reaches nothing of the Internet is remarked on, until it does."""
    with Lab() as lab:
        path = write(lab, "server.yaml", paqet.server_config(lab, Settings()))
        expect(only(findings(lab.s, path, bad=False), "route")["level"] == "note", "without a default route")
        lab.s.check(["ip", "route", "add", "default", "via", lab.c.ip4])
        expect("route" not in findings(lab.s, path, bad=False), "with one")


@test()
def test_mistakes_in_files() -> None:
    """Tabs, quotes of text programs and digits of another script, in a configuration."""
    with Lab() as lab:
        text = paqet.client_config(lab, Settings())
        for wrong, words in (
            (text.replace("  level:", "\tlevel:"), "a tab is in front of the line: indent with blanks"),
            (text.replace('"127.0.0.1:1080"', "\u201c127.0.0.1:1080\u201d"), "write it in plain quotes"),
            (text.replace(f"{lab.s.ip4}:{paqet.PORT}", f"{lab.s.ip4}:\u06f9\u06f9"), "the digits 0 to 9"),
        ):
            expect(wrong != text, f"nothing was replaced for {words!r}")
            said = findings(lab.c, write(lab, "wrong.yaml", wrong), bad=True)["configuration"]
            expect(any(words in f["text"] for f in said), f"{words}: {said}")


@test()
def test_mistakes_killed_at_once() -> None:
    """An init that was killed while it wrote its list for the first time: --remove takes that back, too."""
    with Lab() as lab:
        machine = Machine(lab.c)
        before = machine.files()
        (machine.root / "etc/paqet").mkdir()
        (machine.root / "etc/paqet/made-by-init.new").write_text("half")
        machine.check("init", "--remove")
        expect(machine.files() == before, f"left: {machine.files() - before}")
