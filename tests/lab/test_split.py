# SPDX-License-Identifier: MIT
"""The client's own rules: what goes through the tunnel, directly, or nowhere."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time

import paqet
from case import expect, test
from lab import Host, Lab, tool, wait_until
from paqet import SOCKS, Settings
from test_rules import GREETING, SERVICE, Service, answers, ask, names
from test_tun import FAR, internet, seen_by_far, tun, wait_ping

CURL = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-x", f"http://127.0.0.1:{SOCKS}"]


def seen_from(lab: Lab, host: str, port: int = SERVICE) -> str:
    """Which host connects to the service there: "c", "s", or the reply of SOCKS5."""
    code, said = ask(lab, host, port)
    peer = said.removeprefix(GREETING).decode()
    by_address = {lab.c.ip4: "c", lab.c.ip6: "c", lab.s.ip4: "s", lab.s.ip6: "s", "127.0.0.1": "own"}
    return by_address.get(peer, peer) if code == 0 else str(code)


def expect_ways(lab: Lab, wanted: dict[str | tuple[str, int], str]) -> None:
    got = {t: seen_from(lab, *((t,) if isinstance(t, str) else t)) for t in wanted}
    wrong = {t: way for t, way in got.items() if way != wanted[t]}
    expect(not wrong, f"went {wrong}, wanted {[wanted[t] for t in wrong]}")


def start(lab: Lab, rules: str, control: bool = False) -> paqet.Pair:
    there = paqet.start_server(lab, Settings())
    here = paqet.start_client(lab, Settings(extra=rules, control=control, socks5="    reply: real\n"))
    return paqet.Pair(here, there)


HOSTS = "{ip} far.example\n{ip} www.shop.example\n{ip} shop.example\n{ip} ads.example\n"
RULES = """rules:
  - block: [ "*:7003", ads.example ]
  - tunnel: "10.255.0.0/16"
  - direct: [ "list:near.txt", "domain:shop.example", private ]
"""


@test()
def test_split_ways() -> None:
    """By name, list, network and port, over SOCKS and HTTP; and UDP."""
    with Lab(third=True) as lab:
        lists = lab.new_file("near.txt")
        lists.write_text("\ufeff# near\nfull:direct.example # one\ndomain:near.example:@cn\r\n"
                         "keyword:kiosk\n203.0.113.0/24\nregexp:^x[0-9]+$\n2001:db8:5::/48\n",
                         encoding="utf-8")
        for ip in ("203.0.113.5", "198.51.100.7"):
            lab.x.check(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
            for host in (lab.c, lab.s):
                host.check(["ip", "route", "add", f"{ip}/32", "via", lab.x.ip4])
        ip = lab.x.ip4
        for address in (ip, "203.0.113.5", "198.51.100.7"):
            Service(lab.x, address)
        Service(lab.x, ip, 7003)
        Service(lab.c, "127.0.0.1", 7004)
        here = HOSTS.format(ip=ip) + f"{ip} direct.example\n{ip} a.near.example\n{ip} my-kiosk.test\n"
        there = HOSTS.format(ip=ip) + f"{ip} www.direct.example\n"
        with names(lab.c, here), names(lab.s, there):
            rules = RULES.replace("near.txt", lists.name).replace("10.255.0.0/16", f"{ip}/32")
            pair = start(lab, rules)
            wait_until(lambda: seen_from(lab, "far.example") == "s", 10, "the tunnel")
            expect_ways(lab, {
                "shop.example": "c", "WWW.Shop.Example": "c", "direct.example": "c",
                "www.direct.example": "s", "a.near.example": "c", "my-kiosk.test": "c",
                "ads.example": "2", ("shop.example", 7003): "2", ("far.example", 7003): "2",
                ip: "s", "203.0.113.5": "c", "198.51.100.7": "c", ("127.0.0.1", 7004): "own",
                ("127.0.0.1", 7005): "5", "nowhere.shop.example": "4",
            })  # fmt: skip
            http(lab)
            expect(answers(lab, "203.0.113.5"), "no UDP answer of a direct target")
            expect(answers(lab, ip), "no UDP answer through the tunnel")
            pair.server.stop()
            expect(answers(lab, "203.0.113.5"), "UDP of a direct target went through the tunnel")
            expect(not answers(lab, ip), "UDP of a tunnelled target went directly")
            expect_ways(lab, {"shop.example": "c", "203.0.113.5": "c"})
            paqet.ended(pair.client)


def http(lab: Lab) -> None:
    """CONNECT and plain requests, with honest answers, and much in both directions."""
    origin = lab.x.start("origin-x", [tool("lab-load"), "origin", "--seconds", "60", "8080"])
    origin.wait_log("^ready", 5)
    wanted = {
        "http://shop.example:8080/1000": "200",
        "http://far.example:8080/1000": "200",
        "http://ads.example:8080/1000": "403",
        "http://shop.example:7009/": "502",
        "http://nowhere.shop.example/": "504",
    }
    for url, code in wanted.items():
        for ask_for in (["-w", "%{http_code}"], ["-p", "-w", "%{http_connect}"]):
            got = lab.c.run([*CURL, *ask_for, url]).stdout
            expect(got == code, f"{url} {ask_for}: {got}, wanted {code}")
    text = lab.c.run([*CURL[:4], "-x", CURL[-1], "http://ads.example:8080/"]).stdout
    expect("rules of this paqet client" in text, f"the refusal says {text!r}")
    got = lab.load("fetch", "--bytes", 50_000_000, host="shop.example")
    expect(got["failed"] == 0, f"50 MB directly: {got}")
    ends_like_the_target(lab)


def ends_like_the_target(lab: Lab) -> None:
    """Each direction ends for itself: a target that answers once all has come."""
    total = 30_000_000
    with lab.x.open_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", 7010))
        listener.listen(1)
        listener.settimeout(10)
        sums: list[str] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                count, digest = 0, hashlib.sha256()
                while piece := connection.recv(1 << 20):
                    count += len(piece)
                    digest.update(piece)
                    if count < 1 << 20:
                        time.sleep(0.05)  # the pair has to wait for room
                sums.append(digest.hexdigest())
                connection.sendall(digest.hexdigest().encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        data = os.urandom(total)
        with paqet.socks_connect(lab, "shop.example", 7010) as program:
            program.settimeout(20)
            program.sendall(data)
            program.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := program.recv(1000):
                answer += piece
        thread.join(10)
    expect(answer.decode() == hashlib.sha256(data).hexdigest(), f"it said {answer!r}, {sums}")


@test()
def test_split_beside_tun() -> None:
    """What a rule with ports sends directly does not go into the TUN device, kill switch or not; all else of the machine does."""
    with Lab(third=True) as lab:
        internet(lab)
        Service(lab.x, FAR)
        paqet.start_server(lab, Settings(network=False, extra=tun(1, "  masquerade: true\n")))
        for more in ("", "  kill_switch: on\n  lan: block\n"):
            extra = tun(2, f"  routes: [default]\n{more}") + f"rules:\n  - direct: {FAR}:{SERVICE}\n"
            client = paqet.start_client(lab, Settings(network=False, extra=extra))
            wait_ping(lab.c, "10.9.0.1")
            expect(seen_from(lab, FAR) == "c", "a direct target of the proxy went through the tunnel")
            expect(answers(lab, FAR), "no UDP answer of a direct target")
            expect(seen_by_far(lab) == lab.s.ip4, "a program that knows no proxy did not go through the tunnel")
            expect(client.stop() == 0, "exit code")


def code_from(lab: Lab, peer: Host, at: str, host: str, port: int) -> int:
    """What SOCKS5 answers to another machine, or -1."""
    with peer.open_socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect((at, SOCKS))
        connection.sendall(b"\x05\x01\x00")
        paqet.read_exactly(connection, 2)
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
        return paqet.read_exactly(connection, 4)[1]


def udp_from(peer: Host, at: str, host: str) -> bool:
    """Whether the service there answers another machine's datagram."""
    connection, datagrams = (peer.open_socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
    with connection, datagrams:
        connection.settimeout(10)
        connection.connect((at, SOCKS))
        connection.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        port = int.from_bytes(paqet.read_exactly(connection, 12)[-2:], "big")
        datagrams.settimeout(1)
        head = b"\x00\x00\x00\x01" + socket.inet_aton(host) + SERVICE.to_bytes(2, "big")
        datagrams.sendto(head + b"ping", (at, port))
        try:
            return datagrams.recv(100).endswith(b"ping")
        except TimeoutError:
            return False


@test()
def test_split_loopback() -> None:
    """Who asks from another machine does not reach what listens for this one alone, by whatever name."""
    with Lab(third=True) as lab:
        for ip in ("127.0.0.1", "::1", lab.c.ip4):
            Service(lab.c, ip)
        with names(lab.c, "127.0.0.1 loop.example\n::1 six.example\n"):
            rules = "rules:\n  - direct: [ private, 'domain:example' ]\n"
            text = paqet.client_config(lab, Settings(extra=rules)).replace(f"127.0.0.1:{SOCKS}", f"0.0.0.0:{SOCKS}")
            paqet.start_server(lab, Settings())
            paqet.start(lab.c, "client", text)
            wait_until(lambda: paqet.can_connect(lab), 10, "the SOCKS port")
            for host in ("127.0.0.1", "127.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "loop.example", "six.example"):
                expect(code_from(lab, lab.x, lab.c.ip4, host, SERVICE) == 2, f"{host}: another machine is not refused")
                expect(code_from(lab, lab.c, "127.0.0.1", host, SERVICE) == 0, f"{host}: refused to this machine")
            expect(code_from(lab, lab.c, lab.c.ip4, "127.0.0.1", SERVICE) == 0, "refused to this machine, by its address")
            expect(code_from(lab, lab.x, lab.c.ip4, lab.c.ip4, SERVICE) == 0, "an address of the local network is refused")
            expect(udp_from(lab.x, lab.c.ip4, lab.c.ip4), "no answer of a direct target")
            expect(not udp_from(lab.x, lab.c.ip4, "127.0.0.1"), "another machine's datagram came to loopback")
            expect(udp_from(lab.c, "127.0.0.1", "127.0.0.1"), "no answer to this machine")


# ---- reload, mistakes


@test()
def test_split_reload() -> None:
    with Lab(third=True) as lab:
        Service(lab.x, "0.0.0.0")
        lists = lab.new_file("list.txt")
        lists.write_text("")
        rules = f"rules:\n  - direct: [ 'list:{lists}' ]\n"
        pair = start(lab, rules, control=True)
        wait_until(lambda: seen_from(lab, lab.x.ip4) == "s", 10, "the tunnel")
        lists.write_text(lab.x.ip4)
        done = paqet.ask(lab, "client", "reload")
        expect(done.returncode == 0 and "1 networks" in done.stdout, f"{done.stdout}{done.stderr}")
        expect(seen_from(lab, lab.x.ip4) == "c", "the list was not read again")
        lists.write_text(f"{lab.x.ip4}\nfine.example\nwhat is that?\n1.2.3.4/40\n")
        done = paqet.ask(lab, "client", "reload")
        said = done.stdout + done.stderr
        for number in (3, 4):
            expect(f"{lists}:{number}: " in said, f"line {number} is not named: {said}")
        expect(done.returncode == 1 and f"{lists}:2" not in said, f"not refused: {said}")
        expect(seen_from(lab, lab.x.ip4) == "c", "a wrong list has changed something")
        pair.check_alive()


BAD = """rules:
  - direct: [ "list:nowhere.txt", "1.2.3.4/40" ]
  - direct: any
    block: any
  - tunnel: []
  - block: [ "domain:1.2.3.4", "list:{folder}" ]
"""


@test()
def test_split_mistakes() -> None:
    """All of them in one go."""
    with Lab() as lab:
        text = paqet.client_config(lab, Settings(extra=BAD.format(folder=lab.folder)))
        path = lab.new_file("bad.yaml")
        path.write_text(text)
        done = lab.c.run([paqet.program(), "run", "-c", str(path)])
        said = done.stdout + done.stderr
        expect(done.returncode == 1, "it was started")
        for word in ("nowhere.txt cannot be read: No such file", "rules[0].direct[1]: '1.2.3.4/40'",
                     "rules[1]: must have one", "rules[2].tunnel: nothing stands behind it",
                     "rules[3].block[0]: 'domain:1.2.3.4'", "cannot be read: Is a directory"):  # fmt: skip
            expect(word in said, f"nothing of {word!r} in {said}")


@test()
def test_split_large_list() -> None:
    """100,000 lines: quick, and small."""
    with Lab() as lab:
        lists = lab.new_file("large.txt")
        lines = [f"domain:name-{i * 7919 % 1000003}.example" for i in range(50_000)]
        lines += [f"{20 + i // 65536}.{i // 256 % 256}.{i % 256}.0/25" for i in range(50_000)]
        lists.write_text("\n".join(lines))
        paqet.start_server(lab, Settings())
        plain = paqet.start_client(lab, Settings())
        before = plain.memory_mb()
        plain.stop()
        begin = time.monotonic()
        client = paqet.start_client(lab, Settings(extra=f"rules:\n  - direct: 'list:{lists}'\n"))
        seconds, more = time.monotonic() - begin, client.memory_mb() - before
        print(f"  100,000 lines: started in {seconds:.2f} s, {more:.1f} MB more", flush=True)
        expect(more < 12, f"{more:.1f} MB more")
        expect(seconds < 3, f"{seconds:.1f} s")
