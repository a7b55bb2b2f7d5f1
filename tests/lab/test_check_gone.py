# SPDX-License-Identifier: MIT
"""paqet check and ping while the server goes away."""

from __future__ import annotations

import re
import time

import paqet
from case import expect, test
from lab import Lab
from test_check import write
from test_keys import Keys


@test(limit=90)
def test_check_server_gone() -> None:
    """The server goes away half way, on a bad path: ping and check end soon, and say so; no look is blamed."""
    with Lab(wan=["--delay", "125", "--loss", "30"]) as lab:
        keys = Keys(lab)
        client = write(lab, "client.yaml", paqet.client_config(lab, keys.client_settings()))

        def asked(after: float, *argv: str) -> tuple[str, int, float]:
            server = paqet.start_server(lab, keys.server_settings())
            paqet.wait_ready(server)
            process = lab.c.start("asks", [paqet.program(), argv[0], "-c", str(client), *argv[1:]])
            if argv[0] == "ping":
                process.wait_log("seq=1 time", 20)
            time.sleep(after)
            server.kill()
            start = time.monotonic()
            code = process.wait(60)
            return process.log(), code, time.monotonic() - start

        said, code, seconds = asked(0.5, "ping", "-n", "6", "-w", "4")
        expect(code == 0 and seconds < 13 and re.search(r"the last [345] have no answer: the server does not run", said), said)
        said, code, seconds = asked(4, "check", "-w", "20")
        expect(code == 1 and seconds < 40, f"{code} after {seconds} s: {said}")
        if "round trips" in said:  # it has answered before
            expect("answers no more" in said or "no answer after the first" in said, said)
            expect(not re.search(r"BAD +look", said), said)
