# SPDX-License-Identifier: MIT
"""paqet check: what is in the way, seen from both ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import goserver
import paqet
from case import Skip, add, expect, test
from goserver import GoServer, go_servers
from lab import Host, Lab, tool, wait_until
from paqet import PORT, Settings
from test_keys import GCM, Keys


def write(lab: Lab, name: str, text: str) -> Path:
    path = lab.new_file(name)
    path.write_text(text)
    path.chmod(0o600)
    return path


def findings(host: Host, path: Path, *options: str, bad: bool) -> dict[str, list[dict]]:
    """What check says, by topic."""
    result = host.run([paqet.program(), "check", "-c", str(path), "--json", *options], 60)
    expect(result.returncode == int(bad), f"exit code {result.returncode}: {result.stdout}{result.stderr}")
    said = json.loads(result.stdout)
    expect(said["ok"] is not bad, f"ok: {said}")
    topics: dict[str, list[dict]] = {}
    for finding in said["findings"]:
        topics.setdefault(finding["topic"], []).append(finding)
    return topics


def only(topics: dict[str, list[dict]], topic: str) -> dict:
    expect(len(topics.get(topic, [])) == 1, f"{topic}: {topics}")
    return topics[topic][0]


@test()
def test_check_works() -> None:
    """All is well: said of both ends, beside programs that run."""
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(block=GCM))
        client = write(lab, "same.yaml", paqet.client_config(lab, Settings(block=GCM)))
        topics = findings(lab.c, client, "--quick", bad=False)
        for topic in ("configuration", "rights", "file", "interface", "route", "router", "server", "loss"):
            expect(all(f["level"] != "bad" for f in topics[topic]), f"{topic}: {topics[topic]}")
        expect("as configured" in only(topics, "router")["text"], f"{topics['router']}")
        expect("20 of 20" in topics["round trips"][0]["text"], f"{topics['round trips']}")
        proxy = only(topics, "proxy")
        expect(proxy["level"] == "ok" and re.match(r"\S+, process \d+ listens on 127", proxy["text"]), f"{proxy}")
        server = write(lab, "server.yaml", paqet.server_config(lab, Settings(block=GCM)))
        topics = findings(lab.s, server, bad=False)
        expect(f"somebody has {PORT}" in only(topics, "port")["text"], f"{topics['port']}")
        expect(only(topics, "rules")["level"] == "note", "a server without rules is not remarked on")
        pair.check_alive()
        text = lab.c.check([paqet.program(), "check", "-c", str(client), "--quick"])
        expect("Nothing is in the way." in text, f"it prints: {text}")


@test()
def test_check_here() -> None:
    """Mistakes on this machine, with what to do, and the server is not asked then."""
    with Lab() as lab:
        config = paqet.client_config(lab, Settings())
        wrong = write(lab, "router.yaml", config.replace(lab.s.mac, "02:00:00:00:00:77"))
        topics = findings(lab.c, wrong, bad=True)
        router = only(topics, "router")
        expect(router["level"] == "bad" and lab.s.mac in router["text"], f"a wrong MAC: {router}")
        expect("not asked" in only(topics, "server")["text"], f"{topics['server']}")
        broken = write(lab, "broken.yaml", config.replace("aes", "aes-512"))
        topics = findings(lab.c, broken, bad=True)
        expect("aes-512" in topics["configuration"][0]["text"], f"{topics}")
        open_to_all = write(lab, "open.yaml", config)
        open_to_all.chmod(0o644)
        argv = ["setpriv", "--reuid", "65534", "--clear-groups", paqet.program(), "check", "-c", str(open_to_all), "--json"]
        said = lab.c.run(argv).stdout
        expect("raw packets are not permitted" in said, f"it says: {said}")
        expect("others can read" in said, f"it says: {said}")


@test()
def test_check_others() -> None:
    """What of other programs is between the packet socket and the wire is read from the kernel."""
    with Lab() as lab:
        device = lab.s.device
        server = write(lab, "server.yaml", paqet.server_config(lab, Settings()))
        expect(only(findings(lab.s, server, bad=False), "others")["level"] == "ok", "something is said to be there")
        chain = f"add chain netdev lab_other out {{ type filter hook egress devices = {{ lo, {device} }} priority 0; }}"
        lab.s.check(["nft", f"add table netdev lab_other; {chain}"])
        lab.s.check(["tc", "qdisc", "add", "dev", device, "clsact"])
        lab.s.check(["tc", "filter", "add", "dev", device, "ingress", "bpf", "bytecode", "1,6 0 0 0"])  # behind us
        said = only(findings(lab.s, server, bad=False), "others")
        expect("chains" in said["text"] and "lab_other out" in said["remedy"], f"{said}")
        lab.s.check(["nft", "delete table netdev lab_other"])
        lab.s.check(["tc", "filter", "add", "dev", device, "egress", "bpf", "bytecode", "1,6 0 0 4294967295"])
        lab.s.check(["ethtool", "-K", device, "gso", "off", "tso", "off"])
        topics = findings(lab.s, server, bad=False)
        expect("1 filter of tc sees" in only(topics, "others")["text"], f"{topics['others']}")
        expect("gso on" in only(topics, "offloads")["remedy"], f"{topics['offloads']}")
        lab.s.check(["tc", "qdisc", "del", "dev", device, "clsact"])
        lab.s.check(["tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "10mbit", "burst", "64k", "latency", "50ms"])
        expect("(tbf)" in only(findings(lab.s, server, bad=False), "others")["text"], "a queue that limits the rate")
        lab.s.check(["tc", "qdisc", "del", "dev", device, "root"])
        with_xdp = ["python3", str(Path(__file__).with_name("xdp.py")), device]
        said = json.loads(lab.s.check([*with_xdp, paqet.program(), "check", "-c", str(server), "--json"]))
        expect(any("at XDP sees" in f["text"] for f in said["findings"]), f"XDP: {said}")


@test()
def test_check_silence() -> None:
    """Nobody there, a kernel that resets, another family: the client tells them apart."""
    with Lab() as lab:
        client = write(lab, "client.yaml", paqet.client_config(lab, Settings()))
        lab.s.keep_kernel_quiet(PORT)
        expect("nothing comes back" in only(findings(lab.c, client, "-w", "2", bad=True), "server")["text"], "nobody is there")
        lab.s.check(["nft", "delete", "table", "inet", "lab_go"])
        expect("only empty packets" in only(findings(lab.c, client, "-w", "2", bad=True), "server")["text"], "the kernel resets")


@test()
def test_check_ports() -> None:
    """Whose port it is: nobody's, or another program's, which is named; a client asks its server all the same."""
    with Lab() as lab:
        settings = Settings(block=GCM)
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))
        client = write(lab, "client.yaml", paqet.client_config(lab, settings))
        lab.s.listen("0.0.0.0", PORT, lambda connection: connection.close())
        port = only(findings(lab.s, server, bad=True), "port")
        here = f"process {os.getpid()} listens on "
        expect(port["level"] == "bad" and f"{here}{PORT}:" in port["text"], f"{port}")
        topics = findings(lab.c, client, "--quick", "-w", "1", bad=True)
        proxy = only(topics, "proxy")
        expect(proxy["level"] == "note" and f"-c {client}" in proxy["remedy"], f"nobody has it: {proxy}")
        lab.c.listen("127.0.0.1", 1080, lambda connection: connection.close())
        topics = findings(lab.c, client, "--quick", "-w", "1", bad=True)
        proxy = only(topics, "proxy")
        expect(proxy["level"] == "bad" and f"{here}127.0.0.1:1080:" in proxy["text"], f"{proxy}")
        expect("only empty" in only(topics, "server")["text"], f"not asked: {topics['server']}")


@test()
def test_check_several_servers() -> None:
    """Each of them is asked, and named: one of two is silent, so the tunnel works, but not for good."""
    with Lab() as lab:
        settings = Settings(block=GCM)
        paqet.start_pair(lab, settings)
        config = paqet.client_config(lab, settings)
        ours = f"{lab.s.ip4}:{PORT}"
        expect(config.count(ours) == 1, f"no {ours} in {config}")
        config = config.replace(ours, f"{lab.s.ip4}:{PORT + 1}") + f"servers:\n  - addr: {ours}\n"
        said = findings(lab.c, write(lab, "two.yaml", config), "--quick", "-w", "2", bad=True)["server"]
        texts = [(f["level"], f["text"]) for f in said]
        expect(len(texts) == 2 and [level for level, _ in texts] == ["bad", "ok"], f"{texts}")
        expect(texts[0][1].startswith(f"{lab.s.ip4}:{PORT + 1}: only empty"), f"{texts}")
        expect(texts[1][1].startswith(f"{ours} answers"), f"{texts}")


def need_own_clock() -> None:
    """The library in front of the program changes its clock alone; a static program takes none."""
    if b"ld-linux" not in Path(paqet.program()).read_bytes()[:4096]:
        raise Skip("the program is static: its clock cannot be changed without the whole machine's")


def client_off(lab: Lab, client: Path, seconds: int, *, bad: bool) -> dict[str, list[dict]]:
    """What check says where the client's clock is wrong."""
    off = lab.new_file("off")
    off.write_text(str(seconds))
    argv = ["env", f"LD_PRELOAD={tool('lab-clock.so')}", f"LAB_CLOCK={off}", paqet.program(), "check", "-c", str(client)]
    result = lab.c.run([*argv, "--json", "--quick", "-w", "4"], 60)
    said = json.loads(result.stdout)
    expect(result.returncode == int(bad), f"{seconds} s: {result.returncode}: {said}")
    topics: dict[str, list[dict]] = {}
    for finding in said["findings"]:
        topics.setdefault(finding["topic"], []).append(finding)
    if "clock" in said:
        expect(abs(said["clock"]["server_ahead_s"] + seconds) <= said["clock"]["give_or_take_s"] + 0.1, f"{said['clock']}")
    return topics


@test(limit=60)
def test_check_clock() -> None:
    """How far both clocks are apart, and whether that is too far; with look: connect silence may come of it."""
    need_own_clock()
    with Lab() as lab:
        keys = Keys(lab)
        paqet.wait_ready(paqet.start_server(lab, keys.server_settings()))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))
        for seconds, level, words in (
            (0, "ok", "they may differ by 120 s"),
            (90, "note", "behind this one"),
            (500, "bad", "8 minutes behind this one"),
        ):
            said = client_off(lab, client, seconds, bad=level == "bad")["clock"]
            expect(any(f["level"] == level and words in f["text"] for f in said), f"{seconds} s: {said}")
        connect = write(lab, "connect.yaml", paqet.client_config(lab, keys.client_settings(look="connect")))
        said = client_off(lab, connect, 500, bad=True)["server"]
        expect("or a clock" in said[0]["text"] and "compare the clocks" in said[0]["remedy"], f"connect: {said}")


def measured(lab: Lab, client: Path, *options: str, bad: bool) -> tuple[dict, dict[str, list[dict]]]:
    """The figures of check, and what it says of them."""
    argv = [paqet.program(), "check", "-c", str(client), "--json", *options]
    result = lab.c.run(argv, 60)
    said = json.loads(result.stdout)
    expect(result.returncode == int(bad) and said["ok"] is not bad, f"{result.returncode}: {said['findings']}")
    topics: dict[str, list[dict]] = {}
    for finding in said["findings"]:
        topics.setdefault(finding["topic"], []).append(finding)
    return said.get("measured", {}), topics


@test(limit=60)
def test_check_progress() -> None:
    """At a terminal it says how far it is, with the rate, and leaves nothing of that behind."""
    with Lab() as lab:
        keys = Keys(lab)
        paqet.wait_ready(paqet.start_server(lab, keys.server_settings()))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))
        argv = [paqet.program(), "check", "-c", str(client), "--speed", "2"]
        said = lab.c.run(["script", "-qec", shlex.join(argv), "/dev/null"], 50).stdout  # each \r as \n
        bars = re.findall(r"\n\[([# ]{20})\] +(\d+) %  ([^\x1b\n]*)\x1b\[K", said)
        parts = [int(part) for _, part, _ in bars]
        expect(len(bars) > 50 and parts == sorted(parts) and parts[-1] >= 95, f"how far it is: {parts}")
        expect(all(abs(bar.count("#") - int(part) / 5) <= 1 for bar, part, _ in bars), "the bar's length")
        expect(any("Mbit/s" in what for _, _, what in bars), f"no rate: {bars[-1]}")
        left = said.rpartition("\n\x1b[K")[2]
        expect(left.lstrip().startswith("ok ") and "\x1b" not in left, f"what is left: {left[:80]!r}")
        quiet = lab.c.run(argv, 50)
        expect("[#" not in quiet.stdout + quiet.stderr, "a bar where nobody watches")


def look(figures: dict, name: str, flags: str) -> dict:
    return next(each for each in figures["looks"] if each["look"] == name and each["flags"] == flags)


def arrived(figures: dict, name: str, flags: str) -> tuple[bool, bool]:
    """Whether half of them and more do, up and down."""
    both = [look(figures, name, flags)[way] for way in ("up", "down")]
    return both[0]["arrived"] >= 5, both[1]["arrived"] >= 5


@test(limit=90)
def test_check_measures() -> None:
    """Each way by itself: flags that a box drops, a link that swallows long packets, losses, speed and the queue."""
    wan = ["--delay", "20", "--rate", "40", "--queue", "400", "--flags-up", "2", "--flags-down", "12"]
    with Lab(wan=wan) as lab:
        keys = Keys(lab)
        paqet.wait_ready(paqet.start_server(lab, keys.server_settings()))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))
        figures, topics = measured(lab, client, "--speed", "3", bad=False)
        expect(arrived(figures, "plausible", "PA") == (True, True), f"PA: {figures}")
        expect(arrived(figures, "plausible", "S") == (False, True), f"SYN does not pass up: {figures}")
        expect(arrived(figures, "plausible", "SA") == (True, False), f"SYN+ACK does not pass down: {figures}")
        expect(figures["packet_bytes"]["up"] == figures["packet_bytes"]["down"] == 1500, f"{figures['packet_bytes']}")
        for way in ("up", "down"):
            expect(figures["loss"][way]["arrived"] >= 118, f"{figures['loss']}")
            rate = figures["speed"][way]["bits_per_second"]
            expect(20e6 < rate < 42e6, f"speed {way} at 40 Mbit/s: {figures['speed']}")
            expect(40 <= figures["speed"][way]["rtt_ms"] < 500, f"{figures['speed']}")
        expect(len(topics["speed"]) == 2, f"{topics['speed']}")


@test(limit=90)
def test_check_measures_sizes_and_losses() -> None:
    """Long packets are swallowed on the way back alone: said, with the remedy where the ends do not
    find it out."""
    for longest in (1300, 1240):
        with Lab(wan=["--delay", "20", "--longest-down", str(longest), "--loss", "8"]) as lab:
            keys = Keys(lab)
            paqet.wait_ready(paqet.start_server(lab, keys.server_settings()))
            client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))
            figures, topics = measured(lab, client, "--speed", "0", bad=longest < 1252)
            size = figures["packet_bytes"]
            text = f"{size}"
            expect(size["up"] >= 1450 and longest - 30 <= size["down"] <= longest < size["in_use"], text)
            found = only(topics, "size")
            if longest < 1252:
                remedy = f"transport.kcp.mtu: {size['down'] - 52}"
                expect(found["level"] == "bad" and remedy in found["remedy"], f"{found}")
            else:
                expect(found["level"] == "ok" and "both ends find it out" in found["text"], f"{found}")
            lost = any("small packets are lost" in f["text"] and f["level"] == "note" for f in topics["loss"])
            expect(lost, f"{topics['loss']}")


@test()
def test_check_cannot_measure() -> None:
    """A server on the classic wire."""
    with Lab() as lab:
        settings = Settings(block=GCM, transport="  wire: classic\n")
        paqet.start_pair(lab, settings)
        client = write(lab, "same.yaml", paqet.client_config(lab, settings))
        figures, topics = measured(lab, client, "--speed", "1", bad=False)
        expect("cannot be measured" in only(topics, "measure")["text"], f"{topics['measure']}")
        expect(not figures["looks"] and figures["speed"]["down"]["bits_per_second"] > 1e6, f"{figures}")


def check_go(server: GoServer) -> None:
    """Of a Go server the round trips; and that no more can be measured."""
    server.need()
    with Lab() as lab:
        goserver.start(lab, server)
        client = write(lab, "client.yaml", paqet.client_config(lab, Settings()))
        figures, topics = measured(lab, client, bad=False)
        expect("of 20 answered" in topics["round trips"][0]["text"], f"{topics['round trips']}")
        expect("another program" in only(topics, "measure")["text"] and not figures, f"{topics['measure']}")


for _server in go_servers():
    add(f"check_{_server.name}", partial(check_go, _server))


def listen(lab: Lab, server: Path, client: Path | None) -> dict:
    """What the server says that arrives, while a client asks."""

    def ping() -> None:
        lab.c.run([paqet.program(), "ping", "-c", str(client), "-n", "1", "-w", "1.5"])

    return listen_while(lab, server, 2 if client else 1, ping if client else lambda: None)


def listen_while(lab: Lab, server: Path, seconds: int, do: Callable[[], object]) -> dict:
    found = heard(lab, server, seconds, do)["arrivals"]
    expect(len(found) == 1, f"arrivals: {found}")
    return found[0]


def heard(lab: Lab, server: Path, seconds: int, do: Callable[[], object]) -> dict[str, list[dict]]:
    """What check says that arrives meanwhile, by topic."""
    argv = [paqet.program(), "check", "-c", str(server), "--json", "--listen", str(seconds)]
    process = lab.s.start("check", argv)
    wait_until(process.has_packet_socket, 10, "the packet socket of check")
    do()
    process.wait(30)
    topics: dict[str, list[dict]] = {}
    for finding in json.loads(process.log().strip().splitlines()[-1])["findings"]:
        topics.setdefault(finding["topic"], []).append(finding)
    return topics


@test(limit=90)
def test_check_listen() -> None:
    """The server's side of silence, beside a server that runs; nothing of its is disturbed."""
    with Lab() as lab:
        keys = Keys(lab)
        settings = keys.server_settings()
        process = paqet.start_server(lab, settings)
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))
        good = keys.client_settings()
        other_user = keys.client_settings(key="77" * 32)
        other_key = keys.client_settings()
        other_key.key = "another key of the lab"
        for client_settings, words, level in (
            (good, "with the right key", "ok"),
            (other_user, "of no user", "bad"),
            (other_key, "cannot be opened", "bad"),
        ):
            client = write(lab, "client.yaml", paqet.client_config(lab, client_settings))
            said = listen(lab, server, client)
            expect(words in said["text"] and said["level"] == level, f"{words}: {said}")
            expect(lab.c.ip4 in said["text"], f"from whom: {said}")
        said = listen(lab, server, None)
        expect("no packet came" in said["text"], f"nobody asks: {said}")
        paqet.ended(process)
        lab.origin()
        keys.start_client()
        paqet.seconds_to_work(lab, 5)


def ask_off(lab: Lab, client: Path, seconds: int) -> bool:
    """Asks once, with a clock that is wrong by so much; whether the server has answered."""
    off = lab.new_file("off")
    off.write_text(str(seconds))
    argv = ["env", f"LD_PRELOAD={tool('lab-clock.so')}", f"LAB_CLOCK={off}", paqet.program(), "ping", "-c", str(client)]
    return lab.c.run([*argv, "-n", "1", "-w", "1.5"], 20).returncode == 0


@test(limit=90)
def test_check_listen_clock() -> None:
    """Of a client with a wrong clock it says what the server does, which lets in who sends nothing older than before;
    and by how much it is wrong."""
    need_own_clock()
    for known, seconds, level in ((True, -300, "ok"), (True, 86400, "ok"), (True, -3, "ok"), (False, -300, "bad")):
        with Lab() as lab:
            keys = Keys(lab)
            if known:  # the server has run before
                keys.state.write_text("paqet stamps 1\nend\n")
            settings = keys.server_settings()
            paqet.wait_ready(paqet.start_server(lab, settings))
            server = write(lab, "server.yaml", paqet.server_config(lab, settings))
            client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))
            let_in: list[bool] = []
            said = heard(lab, server, 2, lambda: let_in.append(ask_off(lab, client, seconds)))
            texts = [(f["level"], f["text"]) for f in said["arrivals"] + said.get("clock", [])]
            text = f"known: {known}, {seconds} s: {let_in}, {texts}"
            expect(let_in == [level == "ok"] and texts[0][0] == level, text)
            clocks = [f["text"] for f in said.get("clock", []) if lab.c.ip4 in f["text"]]
            expect(bool(clocks) == (level == "ok" and abs(seconds) > 60), text)
            named = {-300: "5 minutes behind", 86400: "24.0 hours before"}.get(seconds)
            expect(not named or any(named in word for _, word in texts), text)
    with Lab() as lab:
        keys = Keys(lab)
        keys.know_all()
        settings = keys.server_settings()
        paqet.wait_ready(paqet.start_server(lab, settings))
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings(look="connect")))
        for seconds in (-3600, 1800):
            found = listen_while(lab, server, 3, lambda ahead=seconds: ask_off(lab, client, ahead))
            text = re.search(r"its clock is some (\d+) minutes (behind|before)", found["text"])
            expect(found["level"] == "bad" and text, f"connect, {seconds} s: {found}")
            expect(abs(int(text[1]) * 60 - abs(seconds)) <= 90 and (text[2] == "behind") == (seconds < 0), f"{found}")


@test()
def test_check_listen_among_strangers() -> None:
    """Who has the key is found among any number of addresses from which strangers look at the port."""
    with Lab() as lab:
        keys = Keys(lab)
        settings = keys.server_settings()
        paqet.start_server(lab, settings)
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))

        def come() -> None:
            raw = lab.c.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            tcp = struct.pack("!HHIIBBHHH", 5000, PORT, 1, 0, 5 << 4, 2, 1000, 0, 0)
            for i in range(400):  # again and again: it may not listen yet
                time.sleep(0.005)
                ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes((10, 77, 8, i % 40 + 1)), socket.inet_aton(lab.s.ip4))
                raw.sendto(ip + tcp, (lab.s.ip4, 0))
            lab.c.run([paqet.program(), "ping", "-c", str(client), "-n", "1", "-w", "1.5"])

        argv = [paqet.program(), "check", "-c", str(server), "--json", "--listen", "6"]
        process = lab.s.start("check", argv)
        wait_until(process.has_packet_socket, 10, "the packet socket of check")
        come()
        process.wait(30)
        found = [f["text"] for f in json.loads(process.log().strip().splitlines()[-1])["findings"] if f["topic"] == "arrivals"]
        expect(sum("without content" in text for text in found) == 15, f"strangers: {found}")
        expect(any(lab.c.ip4 in text and "with the right key" in text for text in found), f"who has the key: {found}")


@test()
def test_check_listen_to_syns_alone() -> None:
    """Of a client whose connections nobody answers only SYNs come; those prove that it has the key."""
    with Lab() as lab:
        keys = Keys(lab)
        server = write(lab, "server.yaml", paqet.server_config(lab, keys.server_settings()))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings(look="connect")))
        said = listen(lab, server, client)
        expect("with the right key" in said["text"] and said["level"] == "ok", f"a way back that is cut: {said}")


OPEN = {"protocol": "quic", "quic": "    auth: none\n    insecure_skip_verify: true\n"}


def need_quic() -> None:
    if not paqet.built_with("quic"):
        raise Skip("the program is built without QUIC (ngtcp2 with GnuTLS)")


@test(limit=90)
def test_check_quic_silence() -> None:
    """Over QUIC, who has not the keys gets nothing; the server tells why, and ping the rest."""
    need_quic()
    with Lab() as lab:
        keys = Keys(lab)
        settings = keys.server_settings(protocol="quic")
        paqet.start_server(lab, settings).wait_log("listening on port", 10)
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))
        for asks, words in (
            (keys.client_settings(protocol="quic", key="77" * 32), "of no user"),
            (Settings(protocol="quic"), "without this server's public_key"),
            (Settings(**OPEN), "of QUIC without a key"),
        ):
            client = write(lab, "client.yaml", paqet.client_config(lab, asks))
            said = listen(lab, server, client)
            expect(words in said["text"] and said["level"] == "bad", f"{words}: {said}")
        other_key = keys.client_settings(protocol="quic")
        other_key.key = "another key of the lab"
        client = write(lab, "client.yaml", paqet.client_config(lab, other_key))
        said = lab.c.run([paqet.program(), "ping", "-c", str(client), "-n", "1", "-w", "1"])
        expect(said.returncode == 1 and "either the way or the keys" in said.stderr, f"ping: {said}")


@test()
def test_check_quic_of_open_server() -> None:
    """Of one that lets everybody in, as Go programs do: a key, and a certificate that is not trusted."""
    need_quic()
    with Lab() as lab:
        keys = Keys(lab)
        paqet.start_server(lab, Settings(**OPEN)).wait_log("listening on port", 10)
        server = write(lab, "server.yaml", paqet.server_config(lab, Settings(**OPEN)))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings(protocol="quic")))
        said = listen(lab, server, client)
        expect("want a server with a public_key" in said["text"] and said["level"] == "bad", f"a key: {said}")
        careful = Settings(protocol="quic", quic="    auth: none\n")
        client = write(lab, "careful.yaml", paqet.client_config(lab, careful))
        found = only(findings(lab.c, client, "-w", "2", bad=True), "server")
        expect("its certificate" in found["text"], f"a certificate: {found}")
        client = write(lab, "open.yaml", paqet.client_config(lab, Settings(**OPEN)))
        said = lab.c.check([paqet.program(), "ping", "-c", str(client), "-n", "2"])
        expect("over QUIC" in said and "2 answered" in said, f"ping: {said}")


@test(limit=60)
def test_check_quic_measures() -> None:
    """What is lost each way, the speed both ways, and the round trips under it."""
    need_quic()
    with Lab(wan=["--delay", "20", "--rate", "40", "--queue", "400", "--loss", "10"]) as lab:
        keys = Keys(lab)
        paqet.wait_ready(paqet.start_server(lab, keys.server_settings(protocol="quic")))
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings(protocol="quic")))
        figures, topics = measured(lab, client, "--speed", "2", bad=False)
        for way in ("up", "down"):
            lost = figures["loss"][way]["sent"] - figures["loss"][way]["arrived"]
            expect(0 < lost < 40, f"10 % of 120 are lost {way}: {figures['loss']}")
            rate = figures["speed"][way]["bits_per_second"]
            expect(4e6 < rate < 60e6, f"speed {way} at 40 Mbit/s: {figures['speed']}")  # counts come each 200 ms
            expect(40 <= figures["speed"][way]["rtt_ms"] < 500, f"{figures['speed']}")
        up, down = figures["loss"]["up"], figures["loss"]["down"]
        expect(up["sent"] == 120 and down["sent"] == up["arrived"], f"what arrives is answered: {figures['loss']}")
        expect("over QUIC" in only(topics, "measure")["text"] and not figures["looks"], f"{topics['measure']}")


@test(timed=True)
def test_check_listen_to_connections() -> None:
    """A client with look: connect that begins, is there already, and has another key."""
    with Lab() as lab:
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        look = {"network_extra": "  tcp:\n    look: connect\n"}
        settings = keys.server_settings()
        paqet.start_server(lab, settings)
        server = write(lab, "server.yaml", paqet.server_config(lab, settings))

        def begin() -> paqet.Process:
            client = paqet.start_client(lab, keys.client_settings(**look))
            paqet.seconds_to_work(lab, 3, patience=1)
            return client

        clients: list[paqet.Process] = []
        said = listen_while(lab, server, 3, lambda: clients.append(begin()))
        expect("with the right key" in said["text"] and said["level"] == "ok", f"it begins: {said}")
        said = listen_while(lab, server, 3, lambda: paqet.fetch_by_hand(lab))
        expect("there before this look" in said["text"] and said["level"] == "note", f"it is there: {said}")
        clients[0].stop()
        other = keys.client_settings(**look)
        other.key = "another key of the lab"
        said = listen_while(lab, server, 3, lambda: paqet.start_client(lab, other))
        expect("has another key" in said["text"] and said["level"] == "note", f"another key: {said}")


@test(limit=60)
def test_check_is_named_in_the_log() -> None:
    """A client whose server never answers says how to find out why, once, and names the clocks where they matter."""
    with Lab() as lab:
        lab.s.keep_kernel_quiet(PORT)
        keys = Keys(lab)
        for look, words in (("plausible", ""), ("connect", "the clocks of both ends must be right to a minute")):
            client = paqet.start(lab.c, f"client-{look}", paqet.client_config(lab, keys.client_settings(look=look)))
            client.wait_log(r"no server has answered yet; \"paqet check\" with this file tells why", 20)
            expect(words in client.log() if words else "clocks" not in client.log(), f"{look}: {client.last_lines()}")
            client.stop()
