# SPDX-License-Identifier: MIT
"""Go servers of both families: the test peer of tests/interop, and the originals if they are given
(PAQET_GO_A, PAQET_GO_B, PAQET_GO_B20)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import gopeer
import looks
import paqet
from lab import Lab, Process
from paqet import PORT, Settings
from test_interop import NO_POOL


@dataclass(frozen=True)
class GoServer:
    name: str  # for names of tests
    family: str
    binary: str = ""  # of an original; otherwise the test peer

    def need(self) -> None:
        """Skips the test if there is none."""
        looks.need_not_connect("a Go program, which has no handshake")
        if not self.binary:
            gopeer.path()

    def start(self, lab: Lab) -> Process:
        if not self.binary:
            return gopeer.start_server(lab, self.family, gopeer.Options())
        return paqet.start_server(lab, Settings(extra=NO_POOL, look=""), self.binary)


def go_servers() -> list[GoServer]:
    servers = [GoServer("go_a", "a"), GoServer("go_b", "b"), GoServer("go_b20", "b20")]
    for family in ("a", "b", "b20"):
        binary = os.environ.get(f"PAQET_GO_{family.upper()}")
        if binary:
            servers.append(GoServer(f"original_{family}", family, binary))
    return servers


def start(lab: Lab, server: GoServer) -> Process:
    """The origin and the server in front of it, for the first time in this lab."""
    lab.origin()
    lab.s.keep_kernel_quiet(PORT)
    return server.start(lab)
