# SPDX-License-Identifier: MIT
"""paqet dump: each layer of what comes in, live and from files that tcpdump has written."""

from __future__ import annotations

import functools
import re
import struct
from pathlib import Path

import paqet
from case import add, expect, test
from lab import Host, Lab, Process, wait_until
from paqet import PORT, Settings
from test_keys import Keys
from test_reload import config_of

FEC = "    dshard: 4\n    pshard: 2\n"
ECHOED = 1000


def start_dump(lab: Lab, server: Process, *options: str) -> Process:
    return start_dump_at(lab.s, config_of(server), *options)


def start_dump_at(host: Host, config: Path, *options: str) -> Process:
    process = host.start("dump", [paqet.program(), "dump", "-c", str(config), *options])
    wait_until(process.has_packet_socket, 10, "the packet socket of dump")
    return process


def dump(lab: Lab, *options: object, code: int = 0) -> str:
    result = lab.s.run([paqet.program(), "dump", *map(str, options)])
    expect(result.returncode == code, f"dump {options}: exit code {result.returncode}: {result.stderr}")
    return result.stdout + result.stderr


def counts(text: str) -> dict[str, tuple[int, ...]]:
    """What --stats has said: packets and bytes to the port, and from it."""
    rows = re.findall(r"(?m)^ *(\d+) +(\d+) +(\d+) +(\d+)  (\S.*)$", text)
    return {row[4]: tuple(map(int, row[:4])) for row in rows}


def visit(lab: Lab) -> None:
    result = lab.load("fetch", "--bytes", 50_000)
    expect(result["failed"] == 0, f"{result}")


def of_old_wire(block: str, kcp: str) -> None:
    """Cipher, FEC, segments, frames and headers, in the order of the layers."""
    with Lab() as lab:
        lab.origin()
        settings = Settings(block=block, kcp=kcp, transport="  wire: classic\n")
        server = paqet.start_server(lab, settings)
        live = start_dump(lab, server)
        paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        visit(lab)
        live.wait_log(r"header: TCP 127\.0\.0\.1:8080", 5)
        live.stop()
        said = live.log()
        opened = rf"\| \d+ B \| {block}: ok "
        fec = r"\| FEC data \d+ " if kcp else ""
        segment = r"\| KCP conv [0-9a-f]{8} una \d+ wnd \d+: (PUSH|FRAMES) \d+ \d+ B"
        ends = rf"{lab.c.ip4}:\d+ > {lab.s.ip4}:{PORT}"
        first = rf"(?m)^\d\d:\d\d:\d\d\.\d{{6}} {ends} .*ACK seq \d+ ack \d+ win \d+ .*{opened}{fec}{segment} \| smux: SYN 3"
        expect(re.search(first, said), said[:3000])
        expect(re.search(rf"{opened}.*smux: SYN \d+, .*header: TCP 127\.0\.0\.1:8080 \(family ", said), "no header")
        expect(bool(kcp) == ("FEC parity" in said), "parity")
        expect("cannot" not in said and "malformed" not in said and "another" not in said, said[:3000])


add("dump_aes", functools.partial(of_old_wire, "aes", ""))
add("dump_gcm_fec", functools.partial(of_old_wire, "aes-128-gcm", FEC))


@test()
def test_dump_own_wire() -> None:
    """Connections that prove the key, handshakes with their user, and that the rest is sealed."""
    with Lab() as lab:
        lab.origin()
        keys = Keys(lab)
        keys.know_all()
        server = paqet.start_server(lab, keys.server_settings())
        live, stats = start_dump(lab, server), start_dump(lab, server, "--stats")
        client = keys.client_settings()
        client.network_extra += "  tcp:\n    look: connect\n"
        paqet.start_client(lab, client)
        paqet.wait_working(lab)
        visit(lab)
        with lab.c.packet_socket():
            stranger = paqet.client_config(lab, Settings(key="another key than that", block="aes-128-gcm"))
            paqet.wait_ready(paqet.start(lab.c, "stranger", stranger.replace("1080", "1099")))
            live.wait_log("another key or cipher", 10)
        live.stop()
        said = live.log()
        expect(re.search(r"SYN seq .*no payload: the SYN proves the key", said), said[:2000])
        first = r"own wire, ok under K: first message of a session with keys, try 0, stamp 20\S+ \S+ UTC, behind a lead of \d+ \| user: ali"
        expect(re.search(first, said), said[:3000])
        expect(said.count("own wire, sealed") > 5, said[:3000])
        stats.stop()
        counted = counts(stats.log())
        expect(counted["own wire: handshake"][0] >= 1 and counted["own wire: sealed"][0] > 5, f"{counted}")
        expect(counted["TCP: SYN that proves the key"][0] == 1, f"{counted}")
        expect(counted["cannot be opened"][0] >= 1, f"{counted}")
        expect(all(row[2] == 0 for row in counted.values()), f"from the port: {counted}")
        expect(keys.server[0] not in said and paqet.KEY not in said, "a secret")


@test()
def test_dump_files() -> None:
    """A capture by tcpdump, of one and of all interfaces, read with the file of either end; what -w
    keeps is the same again; both ends count the same."""
    with Lab() as lab:
        for host in (lab.c, lab.s):
            host.send_singly()
        lab.origin()
        settings = Settings(block="aes-128-gcm", transport="  wire: classic\n")
        server = paqet.start_server(lab, settings)
        files = {}
        tcpdumps = []
        for name, host, device in (("c", lab.c, lab.c.device), ("s", lab.s, lab.s.device), ("any", lab.s, "any")):
            files[name] = lab.new_file(f"{name}.pcap")
            argv = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-B", "16384"]
            argv += ["-i", device, "-w", str(files[name]), "tcp"]
            tcpdumps.append(host.start("tcpdump", argv))
            tcpdumps[-1].wait_log("listening on", 10)
        kept = lab.new_file("kept.pcap")
        live = start_dump(lab, server, "--stats", "-w", str(kept))
        config = lab.new_file("clients.yaml")
        config.write_text(paqet.client_config(lab, settings))
        at_client = start_dump_at(lab.c, config, "--stats")
        client = paqet.start_client(lab, settings)
        paqet.wait_working(lab)
        visit(lab)
        client.stop()
        for process in (*tcpdumps, live, at_client):
            process.stop()
        of_server, of_client = config_of(server), config_of(client)
        at = {name: counts(dump(lab, "-c", of_server, "--stats", "-r", path)) for name, path in files.items()}
        expect(at["c"] == at["s"] == at["any"], f"{at}")
        expect(at["c"]["old wire: data"][0] > 0 and at["c"]["old wire: data"][2] > 30, f"{at['c']}")
        expect(counts(dump(lab, "-c", of_client, "--stats", "-r", files["c"])) == at["c"], "by the client's file")
        arrived = {kind: row[:2] for kind, row in at["s"].items() if row[0]}
        expect({kind: row[:2] for kind, row in counts(live.log()).items()} == arrived, f"{live.log()} {arrived}")
        arrived = {kind: row[2:] for kind, row in at["c"].items() if row[2]}
        expect({kind: row[2:] for kind, row in counts(at_client.log()).items()} == arrived, f"{at_client.log()} {arrived}")
        expect(counts(dump(lab, "-c", of_server, "--stats", "-r", kept)) == counts(live.log()), "what -w has kept")
        lines = dump(lab, "-c", of_server, "-r", files["any"])
        expect("header: TCP 127.0.0.1:8080" in lines, lines[:2000])
        copy = lab.new_file("copy.pcap")
        dump(lab, "-c", of_server, "-r", files["s"], "-w", copy)
        expect(dump(lab, "-c", of_server, "-r", copy) == dump(lab, "-c", of_server, "-r", files["s"]), "another copy")
        expect(len(dump(lab, "-r", files["s"], "-p", PORT).split("PAYLOAD")) > 30, "bytes without a configuration")
        other = lab.new_file("other.yaml")
        other.write_text(of_server.read_text().replace("aes-128-gcm", "salsa20"))
        expect("not salsa20, but aes-128-gcm under the same key" in dump(lab, "-c", other, "-r", files["s"]), "the other cipher")
        expect("is there already" in dump(lab, "-c", of_server, "-r", files["s"], "-w", copy, code=1), "overwritten")


@test()
def test_dump_wrong_files() -> None:
    """What is no capture, or cut, is said so; nothing is asked for without root."""
    with Lab() as lab:
        path = lab.new_file("x.pcap")
        packet = b"\0" * 12 + b"\x08\x00" + b"\x45" + b"\0" * 40
        head = struct.pack("<LHHlLLL", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
        record = struct.pack("<LLLL", 1, 2, len(packet), len(packet)) + packet
        for content, words in (
            (b"", "is no pcap file"),
            (b"\0" * 100, "is no pcap file"),
            (b"\x0a\x0d\x0d\x0a" + b"\0" * 100, "pcapng"),
            (head[:20] + struct.pack("<L", 147), "of a link that is not known"),
            (head + record[:-1], "ends within packet 1"),
            (head + record + struct.pack("<LLLL", 1, 2, 1 << 30, 1 << 30), "packet 2 is malformed"),
        ):
            path.write_bytes(content)
            expect(words in dump(lab, "-r", path, code=1), f"not: {words}")
        path.write_bytes(head + record)
        expect(dump(lab, "-r", path) == "", "bytes that are no payload")
        expect("No such file" in dump(lab, "-r", Path("/nonexistent/x"), code=1), "no file")
        expect("--stats needs -c" in dump(lab, "--stats", "-i", "s0", "-p", "1", code=1), "stats without a file")
