# SPDX-License-Identifier: MIT
"""The kill switch from boot on, as configuration.md tells: its table is saved, and loaded before the network is up."""

from __future__ import annotations

import paqet
from case import expect, test
from lab import Lab
from test_tun import FAR, internet, need, ping, tun, wait_ping
from test_tun_leaks import client, routes

TABLE = ["table", "inet", "paqet_kill_switch"]


@test(limit=60)
def test_kill_switch_at_boot() -> None:
    need("/dev/net/tun")
    need("nft")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        settings = client("always")
        paqet.start_server(lab, paqet.Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False)))
        first = paqet.start_client(lab, settings)
        wait_ping(lab.c, FAR)
        expect(first.stop() == 0, "exit code")
        saved = lab.new_file("saved.nft")
        saved.write_text(lab.c.check(["nft", "list", *TABLE]))
        lab.c.check(["nft", "delete", *TABLE])
        expect(ping(lab.c, FAR), "the network without it")
        lab.c.check(["nft", "-f", str(saved)])
        expect(not ping(lab.c, FAR), "what was loaded lets packets past")
        second = paqet.start_client(lab, settings)
        wait_ping(lab.c, FAR)
        expect(second.stop() == 0 and not ping(lab.c, FAR), "kept by the client")
        lab.c.check(["nft", "delete", *TABLE])
        expect(ping(lab.c, FAR), "left behind")


@test(limit=60)
def test_kill_switch_of_another() -> None:
    """While the client runs that keeps it, neither another client's start nor "init --remove" opens the machine."""
    need("/dev/net/tun")
    need("nft")
    with Lab(third=True) as lab:
        internet(lab)
        routes(lab)
        paqet.start_server(lab, paqet.Settings(network=False, extra=tun(1, "  masquerade: true\n", ip6=False)))
        first = paqet.start_client(lab, client("always"))
        wait_ping(lab.c, FAR)
        config = lab.new_file("other.yaml")
        text = tun(2, "  routes: [10.66.0.0/16]\n", ip6=False).replace("tun0", "tun7").replace("10.9.0.2", "10.8.0.2")
        other_text = paqet.client_config(lab, paqet.Settings(network=False, extra=text))
        config.write_text(other_text.replace(f"127.0.0.1:{paqet.SOCKS}", "127.0.0.1:1099"))
        folder = lab.new_file("folder")
        remove = [paqet.program(), "init", "--remove", "--config-dir", str(folder)]
        for _ in range(2):
            other = lab.c.start("other", [paqet.program(), "run", "-c", str(config)])
            other.wait_log("kill switch: ", 10)
            other.wait_log("session to ", 10)  # before that a signal may end it as any program
            there = lab.c.run(["nft", "list", *TABLE]).returncode == 0
            expect(there == first.alive(), f"a client without one was started: {other.log()}")
            expect(other.stop() == 0, "exit code")
            folder.mkdir()
            (folder / "made-by-init").write_text(
                '# What "paqet init" has made here; "paqet init --remove" takes it back.\n' + f"client\tfile\t0\t{folder}/none\n"
            )
            said = lab.c.check(remove)
            expect(("stays" in said) == first.alive(), f"init --remove: {said}")
            there = lab.c.run(["nft", "list", *TABLE]).returncode == 0
            expect(there == first.alive(), f"init --remove: {said}")
            if first.alive():
                first.kill()
                expect(lab.c.run(["nft", "list", *TABLE]).returncode == 0, "it went with its client")
