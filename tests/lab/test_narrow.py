# SPDX-License-Identifier: MIT
"""Our own wire through a router that carries less than the interfaces say, and tells nobody."""

from __future__ import annotations

import json
import time
from functools import partial

import paqet
import udp
from case import add, expect, test
from lab import wait_until
from paqet import Settings
from routed import Routed
from test_connect import LOOK, expect_valid
from test_keys import GCM, Keys
from test_main import MB, check_download, check_upload
from test_survive import expect_download, start_download

MUTE = "table inet mute { chain out { type filter hook output priority 0; ip protocol icmp drop; }; }"
TWO_WAYS = (
    "table inet ways { chain through { type filter hook forward priority 0; "
    "meta length > 1300 numgen random mod 2 == 0 drop; }; }"
)
SHAPE = ["--delay", "10", "--rate", "20"]


def set_mtu(lab: Routed, mtu: int) -> None:
    for device in ("wc", "ws"):
        lab.middle.check(["ip", "link", "set", device, "mtu", str(mtu)])


def packets(lab: Routed) -> list[int]:
    """Bytes of the longest ones that each end sends."""
    asked = [json.loads(paqet.ask(lab, who, "status", "--json").stdout) for who in ("client", "server")]
    return [session["packet"] for one in asked for session in one["sessions"]]


def through(look: str) -> None:
    """Narrow from the start; then narrower, in the middle of a download; then still less. One
    session goes on through it, with what it has open. Without a look: by an upgrade."""
    with Routed(SHAPE) as lab:
        lab.middle.check(["nft", MUTE])
        keys = Keys(lab)
        keys.know_all()
        lab.origin()
        server, client = keys.server_settings(control=True), keys.client_settings(control=True)
        if not look:
            server = client = Settings(block=GCM, control=True)
        server.network = client.network = False
        if look:
            server.extra += LOOK.format("plausible")
            client.extra += LOOK.format(look)
        if look != "connect":  # the router sees no connection begin
            lab.middle.check(["nft", "delete table inet lab_router"])
        set_mtu(lab, 1400)
        served = paqet.start_server(lab, server)
        served.wait_log("listening on port", 10)
        paqet.start_client(lab, client)
        paqet.wait_working(lab)
        echo = paqet.Echo(lab)
        check_download(lab, 3 * MB)
        for mtu in (1300, 1260):
            download = start_download(lab, 6 * MB, patience=4)
            time.sleep(1)
            set_mtu(lab, mtu)
            expect_download(download, 20)
            echo.check()
        check_download(lab, 3 * MB)  # where all is slow the one before was over before it became narrow
        check_upload(lab, 3 * MB)
        expect(all(n <= 1260 for n in packets(lab)), f"packets of {packets(lab)} bytes at 1260")
        expect(served.log().count(") connected" if look else "connected") == 1, f"another session: {served.log()}")
        if look == "connect":
            expect_valid(lab)
        echo.close()


def pair_with_keys(lab: Routed) -> None:
    """A client that the router lets through, and its server: a session that is wide."""
    keys = Keys(lab)
    keys.know_all()
    lab.middle.check(["nft", MUTE])
    server, client = keys.server_settings(control=True), keys.client_settings(control=True)
    server.network = client.network = False
    server.extra += LOOK.format("plausible")
    client.extra += LOOK.format("connect")
    paqet.start_server(lab, server).wait_log("listening on port", 10)
    paqet.start_client(lab, client)
    paqet.wait_working(lab)
    wait_until(lambda: all(n > 1300 for n in packets(lab)), 5, "long packets")


@test(timed=True)
def test_narrow_path_udp_alone() -> None:
    """A flow of long datagrams and nothing else, on a path that becomes narrow: both ends notice."""
    with Routed(SHAPE) as lab:
        lab.origin()
        udp.start_echo(lab)
        pair_with_keys(lab)
        set_mtu(lab, 1300)
        flow = ["--socks", paqet.SOCKS, "--flows", 1, "--rate", 50, "--size", 1250, "--seconds"]
        first = udp.flows(lab, *flow, 6)
        expect(first["received"] < first["sent"], f"the path is not narrow: {first}")
        udp.expect_all_back(udp.flows(lab, *flow, 1))
        expect(all(n <= 1300 for n in packets(lab)), f"packets of {packets(lab)} bytes")


@test(timed=True)
def test_narrow_path_of_two() -> None:
    """Half of what is long is lost, as where packets go over two paths in turn."""
    with Routed(SHAPE) as lab:
        lab.origin()
        pair_with_keys(lab)
        lab.middle.check(["nft", TWO_WAYS])
        check_download(lab, 4 * MB)
        expect(packets(lab)[1] <= 1300, f"the server sends packets of {packets(lab)[1]} bytes")


for _name, _look in (("upgraded", ""), ("plausible", "plausible"), ("connect", "connect")):
    add(f"narrow_path_{_name}", partial(through, _look))
