# SPDX-License-Identifier: MIT
"""xdp.py DEVICE COMMAND...: runs the command while a program that passes everything is at the XDP of
the device; as root."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys

# the system call; 280 on all machines that came after these
BPF = {"x86_64": 321, "s390x": 351, "i686": 357, "armv7l": 386}.get(os.uname().machine, 280)
LOAD, LINK = 5, 28
XDP, AT_XDP = 6, 37  # type of program; where it is attached

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    """Returns a descriptor; the program stays where it is as long as that is open."""
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    fd = libc.syscall(BPF, command, buffer, 128)
    if fd < 0:
        sys.exit(f"bpf: {os.strerror(ctypes.get_errno())}")
    return fd


def main() -> int:
    device, *command = sys.argv[1:]
    # r0 = XDP_PASS; exit
    code = ctypes.create_string_buffer(struct.pack("<BBhi BBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))
    text = ctypes.create_string_buffer(b"MIT")
    program = bpf(LOAD, struct.pack("<IIQQ", XDP, 2, ctypes.addressof(code), ctypes.addressof(text)))
    bpf(LINK, struct.pack("<IIII", program, socket.if_nametoindex(device), AT_XDP, 0))
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
