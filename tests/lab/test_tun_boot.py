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
