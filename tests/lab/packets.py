# SPDX-License-Identifier: MIT
"""Ethernet frames of TCP segments: reading them from pcap files, and forging them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass
class Segment:
    """One TCP segment as it was on the wire."""

    source: str
    destination: str
    source_port: int
    destination_port: int
    sequence: int
    flags: int
    payload: bytes  # cut at the snap length
    frame: bytes


def parse(frame: bytes) -> Segment | None:
    """The TCP segment in an Ethernet frame, None for anything else."""
    if len(frame) < 34:
        return None
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == 0x0800 and frame[14] >> 4 == 4 and frame[23] == 6:
        start = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack("!H", frame[16:18])[0]
        addresses = frame[26:30], frame[30:34]
        family = socket.AF_INET
    elif kind == 0x86DD and len(frame) >= 54 and frame[20] == 6:
        start = 54
        end = 54 + struct.unpack("!H", frame[18:20])[0]
        addresses = frame[22:38], frame[38:54]
        family = socket.AF_INET6
    else:
        return None
    if len(frame) < start + 20:
        return None
    ports = struct.unpack("!HH", frame[start : start + 4])
    body = start + (frame[start + 12] >> 4) * 4
    return Segment(
        socket.inet_ntop(family, addresses[0]),
        socket.inet_ntop(family, addresses[1]),
        ports[0],
        ports[1],
        struct.unpack("!I", frame[start + 4 : start + 8])[0],
        frame[start + 13],
        frame[body:end],
        frame,
    )


def read_pcap(path: Path) -> Iterator[bytes]:
    """The frames of a pcap file as tcpdump writes it; a cut last record is left out."""
    return (frame for _, frame in read_records(path))


def read_records(path: Path) -> Iterator[tuple[float, bytes]]:
    """The same, each with its time: seconds since 1970."""
    data = path.read_bytes()
    if len(data) < 24 or data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return
    unit = 1e9 if data[0] == 0x4D else 1e6
    position = 24
    while position + 16 <= len(data):
        second, fraction, length = struct.unpack_from("<III", data, position)
        position += 16
        if position + length > len(data):
            return
        yield second + fraction / unit, data[position : position + length]
        position += length


def internet_checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Forger:
    """Makes frames from one host's address to another's, right or deliberately wrong."""

    source_mac: str
    destination_mac: str
    source: str
    destination: str

    def ethernet(self, packet: bytes) -> bytes:
        macs = (self.destination_mac + ":" + self.source_mac).replace(":", "")
        return bytes.fromhex(macs) + b"\x08\x00" + packet

    def ipv4(self, body: bytes, total_length: int | None = None) -> bytes:
        length = 20 + len(body) if total_length is None else total_length
        header = struct.pack("!BBHHHBBH", 0x45, 0xB8, length, 0, 0x4000, 64, 6, 0)
        header += socket.inet_aton(self.source) + socket.inet_aton(self.destination)
        checksum = struct.pack("!H", internet_checksum(header))
        return header[:10] + checksum + header[12:] + body

    def segment(
        self,
        source_port: int,
        destination_port: int,
        payload: bytes,
        flags: int = PSH | ACK,
        data_offset: int = 5,
        acknowledges: int = 2000,
    ) -> bytes:
        """A TCP segment. data_offset counts 32-bit words and may lie."""
        header = struct.pack(
            "!HHIIBBHHH",
            source_port,
            destination_port,
            1000,
            acknowledges,
            data_offset << 4,
            flags,
            65535,
            0,
            0,
        )
        pseudo = socket.inet_aton(self.source) + socket.inet_aton(self.destination)
        pseudo += struct.pack("!BBH", 0, 6, len(header) + len(payload))
        checksum = struct.pack("!H", internet_checksum(pseudo + header + payload))
        return header[:16] + checksum + header[18:] + payload

    def frame(self, source_port: int, destination_port: int, payload: bytes) -> bytes:
        return self.ethernet(self.ipv4(self.segment(source_port, destination_port, payload)))
