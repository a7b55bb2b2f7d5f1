# SPDX-License-Identifier: MIT
"""The main job, our client to our server: what a user does with it all day."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial

import paqet
from case import Skip, add, expect, test
from lab import ROOT, Lab, tool, wait_until
from paqet import Settings

MB = 1_000_000


def check_download(lab: Lab, size: int, *options: object) -> None:
    result = lab.load("fetch", "--bytes", size, *options, limit=55)
    expect(result["failed"] == 0, f"download: {result}")


def check_upload(lab: Lab, size: int, *options: object) -> None:
    result = lab.load("send", "--bytes", size, *options, limit=55)
    expect(result["failed"] == 0, f"upload: {result}")


@test()
def test_download_100_mb() -> None:
    with Lab() as lab:
        paqet.start_pair(lab)
        check_download(lab, 100 * MB)


@test()
def test_upload_100_mb() -> None:
    with Lab() as lab:
        paqet.start_pair(lab)
        check_upload(lab, 100 * MB)


@test()
def test_both_directions_at_once() -> None:
    with Lab() as lab:
        paqet.start_pair(lab)
        upload = lab.c.start("upload", upload_command(20 * MB))
        check_download(lab, 20 * MB)
        expect(upload.wait(50) == 0, f"upload beside a download: {upload.last_lines()}")


def upload_command(size: int) -> list[str]:
    argv = [tool("lab-load"), "send", "--socks", str(paqet.SOCKS), "--bytes", str(size)]
    return [*argv, "127.0.0.1", "8080"]


@test()
def test_200_parallel_requests() -> None:
    with Lab() as lab:
        paqet.start_pair(lab)
        check_download(lab, 10_000, "--parallel", 200, "--count", 200)
        check_upload(lab, 10_000, "--parallel", 200, "--count", 200)


@test()
def test_1000_connections_in_sequence() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        before = [process.open_files() for process in (pair.client, pair.server)]
        check_download(lab, 1000, "--count", 1000)
        pair.check_alive()
        time.sleep(1)
        after = [process.open_files() for process in (pair.client, pair.server)]
        grown = max(b - a for a, b in zip(before, after, strict=True))
        expect(grown <= 4, f"open files of client and server: {before} before, {after} after")


@test()
def test_server_restart() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        code = pair.server.stop()
        expect(code == 0, f"the server ended with {code} on SIGTERM")
        pair.server = paqet.start_server(lab, Settings())
        paqet.wait_working(lab, 30)
        check_download(lab, MB)
        pair.check_alive()


@test()
def test_server_killed_and_restarted() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        pair.server.kill()
        pair.server = paqet.start_server(lab, Settings())
        paqet.wait_working(lab, 30)
        pair.check_alive()


@test()
def test_client_restart() -> None:
    """The same port again: the server must take the new session for the old one."""
    with Lab() as lab:
        settings = Settings(client_port=40001)
        pair = paqet.start_pair(lab, settings)
        pair.client.kill()
        pair.client = paqet.start_client(lab, settings)
        paqet.wait_working(lab, 30)
        pair.check_alive()


@test()
def test_stop_by_signal() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        os.kill(pair.client.pid, signal.SIGINT)
        code = pair.client.wait(5)
        expect(code == 0, f"the client ended with {code} on SIGINT")
        code = pair.server.stop()
        expect(code == 0, f"the server ended with {code} on SIGTERM")


@test()
def test_no_secret_in_the_log() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        for process in (pair.client, pair.server):
            expect(paqet.KEY not in process.log(), f"{process.log_path.stem} logs the key")


@test()
def test_ipv6() -> None:
    with Lab() as lab:
        paqet.start_pair(lab, Settings(ip6=True))
        check_download(lab, 10 * MB)
        check_upload(lab, 10 * MB)


@test()
def test_network_found_out_by_itself() -> None:
    """No network block: interface, own address and the router's MAC come from the kernel."""
    with Lab() as lab:
        lab.c.check(["ip", "route", "add", "default", "via", lab.s.ip4])
        lab.s.check(["ip", "route", "add", "default", "via", lab.c.ip4])
        paqet.start_pair(lab, Settings(network=False))
        check_download(lab, MB)


@test()
def test_libpcap_backend() -> None:
    if not paqet.built_with("pcap"):
        raise Skip("this program is built without libpcap")
    with Lab() as lab:
        pair = paqet.start_pair(lab, Settings(network_extra="  backend: pcap\n"))
        check_download(lab, 5 * MB)
        check_upload(lab, 5 * MB)
        pair.check_alive()


@test()
def test_two_workers() -> None:
    with Lab() as lab:
        two_workers(lab)


@test(limit=120)
def test_two_workers_under_tsan() -> None:
    binary = os.environ.get("PAQET_TSAN") or str(ROOT / "build-tsan" / "paqet")
    if not os.path.exists(binary):
        raise Skip("no build-tsan/paqet: run script/build --tsan")
    with Lab() as lab:
        expect_no_race(two_workers(lab, binary))


def expect_no_race(pair: paqet.Pair) -> None:
    """Ends programs that run under the sanitizer, which has nothing to say."""
    for process in (pair.client, pair.server):
        code = process.stop(20)
        report = process.log().partition("WARNING: ThreadSanitizer:")[2]
        expect(not report, f"{process.log_path.stem}:{report}")
        expect(code == 0, f"{process.log_path.stem} ended with {code}: {process.last_lines()}")


def two_workers(lab: Lab, binary: str = "") -> paqet.Pair:
    settings = Settings(transport="  conn: 2\n", extra="performance:\n  packet_workers: 2\n")
    pair = paqet.start_pair(lab, settings, client_binary=binary, server_binary=binary)
    check_download(lab, 5 * MB, "--parallel", 4, "--count", 8)
    check_upload(lab, 5 * MB, "--parallel", 4, "--count", 8)
    pair.check_alive()
    return pair


@test()
def test_bad_wan() -> None:
    """Delay, jitter, loss, reordering, duplicates and corruption: slower, but byte-exact."""
    faults = "--delay 10 --jitter 5 --loss 2 --reorder 2 --duplicate 2 --corrupt 1 --rate 100"
    with Lab(wan=faults.split()) as lab:
        paqet.start_pair(lab)
        check_download(lab, 2 * MB)
        check_upload(lab, 2 * MB)
        counters = lab.stop_wan()
        for link in counters:
            expect(link["lost"] > 0 and link["corrupted"] > 0, f"the WAN did nothing: {link}")


@test()
def test_two_clients_at_once() -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        config = paqet.client_config(lab, Settings()).replace(":1080", ":1081")
        second = paqet.start(lab.c, "second", config)
        wait_until(lambda: paqet.can_connect(lab, 1081), 10, "the second SOCKS port")
        result = lab.load("fetch", "--bytes", 5 * MB, socks=1081)
        expect(result["failed"] == 0, f"through the second client: {result}")
        check_download(lab, 5 * MB)
        pair.check_alive()
        expect(second.alive(), f"the second client ended: {second.last_lines()}")


@test()
def test_reader_that_does_not_read() -> None:
    """What nobody reads must not pile up, and must not hold up others."""
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        echo = paqet.Echo(lab)
        stuck = paqet.socks_connect(lab, "127.0.0.1", 8080)
        stuck.sendall(b"GET /inf HTTP/1.1\r\n\r\n")
        for _ in range(20):
            time.sleep(0.1)
            echo.check()
        for process in (pair.client, pair.server):
            memory = process.memory_mb()
            expect(memory < 64, f"{process.log_path.stem} takes {memory:.0f} MB")
        check_download(lab, MB)
        stuck.close()
        echo.check()


@test(alone=True)
def test_idle_memory() -> None:
    if re.search("asan|tsan", paqet.program()):
        raise Skip("a sanitizer takes memory of its own")
    with Lab() as lab:
        pair = paqet.start_pair(lab)
        time.sleep(1)
        for process in (pair.client, pair.server):
            memory = process.memory_mb()
            most = 6 if "musl" in lab.c.check([paqet.program(), "version"]) else 8
            expect(memory <= most, f"{process.log_path.stem} takes {memory:.1f} MB when idle")


@test()
def test_authentication() -> None:
    with Lab() as lab:
        login = "    username: lab\n    password: secret\n"
        settings = Settings()
        lab.origin()
        paqet.start_server(lab, settings)
        config = paqet.client_config(lab, settings)
        listen = f'  - listen: "127.0.0.1:{paqet.SOCKS}"\n'
        client = paqet.start(lab.c, "client", config.replace(listen, listen + login))
        wait_until(lambda: paqet.can_connect(lab), 10, "the SOCKS port")
        right = fetch_as(lab, "lab:secret@")
        expect(right == "1000", f"with the right password: {right}")
        for user in ("lab:wrong@", ""):
            answer = fetch_as(lab, user)
            expect(answer != "1000", f"let in as '{user}'")
        expect(client.alive(), "the client ended")


def fetch_as(lab: Lab, user: str) -> str:
    """How many bytes curl got of a download of 1000."""
    proxy = f"socks5h://{user}127.0.0.1:{paqet.SOCKS}"
    argv = ["curl", "-s", "--max-time", "15", "-x", proxy, "-o", "/dev/null"]
    return lab.c.run([*argv, "-w", "%{size_download}", "http://127.0.0.1:8080/1000"]).stdout


def small_exchange(settings: Settings) -> None:
    with Lab() as lab:
        pair = paqet.start_pair(lab, settings)
        check_download(lab, MB)
        check_upload(lab, MB)
        pair.check_alive()


for _block in paqet.BLOCKS:
    add(f"cipher_{_block}", partial(small_exchange, Settings(block=_block)))
for _mode in ("normal", "fast2", "fast3"):
    add(f"mode_{_mode}", partial(small_exchange, Settings(mode=_mode)))
for _header in ("gob", "binary", "auto"):
    add(f"header_{_header}", partial(small_exchange, Settings(header=_header)))
