# SPDX-License-Identifier: MIT
"""Programs that nobody here wrote, asked about a capture: tshark, p0f, nDPI and tcptrace.

Each returns rows of a table, name to text; none if it is not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

LIMIT = 200  # s for each program
# Random bytes may look like the beginning of a long message, which tshark would put together anew with each segment.
TSHARK = ("tshark", "-n", "-o", "tcp.desegment_tcp_streams:FALSE")
ANALYSIS = (
    *("ack_lost_segment", "lost_segment", "out_of_order", "retransmission"),
    *("spurious_retransmission", "fast_retransmission", "duplicate_ack", "keep_alive"),
    *("reused_ports", "window_full", "zero_window"),
)


def ask(argv: list[str]) -> str:
    """What the program prints. What it says about itself goes to stderr and is dropped."""
    result = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False
    )
    return result.stdout.decode(errors="replace")


def short(name: str) -> str:
    return name.replace("_segment", "").replace("_", " ")


def tshark(pcap: Path) -> dict[str, str]:
    """Its analysis of the sequence numbers, and how much its experts have to say about TCP."""
    fields = [text for name in ANALYSIS for text in ("-e", f"tcp.analysis.{name}")]
    flagged = ask(
        [*TSHARK, "-r", str(pcap), "-Y", "tcp.analysis.flags", "-T", "fields", *fields]
    )
    counts: Counter[str] = Counter()
    for line in flagged.splitlines():
        counts.update(
            name for name, text in zip(ANALYSIS, line.split("\t"), strict=False) if text
        )
    rows = {f"tshark: {short(name)}": f"{counts[name]}" for name in ANALYSIS}
    experts: Counter[str] = Counter()
    severity = ""
    for line in ask([*TSHARK, "-r", str(pcap), "-q", "-z", "expert"]).splitlines():
        if heading := re.match(r"(Errors|Warns|Notes|Chats) \(\d+\)", line):
            severity = heading[1].lower()
        elif entry := re.match(r"\s*(\d+)\s+\w+\s+TCP\s", line):
            experts[severity] += int(entry[1])
    kinds = ("errors", "warns", "notes", "chats")
    rows["tshark: experts on TCP"] = ", ".join(f"{experts[kind]} {kind}" for kind in kinds)
    return rows


def p0f(pcap: Path) -> dict[str, str]:
    """Whom it takes the two ends for."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        ask(["p0f", "-r", str(pcap), "-o", str(log)])
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    seen: dict[str, Counter[str]] = {"cli": Counter(), "srv": Counter()}
    for line in lines:
        entry = dict(part.split("=", 1) for part in line.split("|")[1:] if "=" in part)
        if "os" in entry and entry.get("subj") in seen:
            seen[entry["subj"]][entry["os"]] += 1
    names = {"cli": "client", "srv": "server"}
    return {
        f"p0f: {names[end]}": ", ".join(found) if found else "nothing"
        for end, found in seen.items()
    }


def ndpi(pcap: Path) -> dict[str, str]:
    """What it takes the flows for, and what it warns of."""
    text = ask(["ndpiReader", "-v", "2", "-t", "-i", str(pcap)])
    flows = [line for line in text.splitlines() if re.match(r"\s+\d+\s+TCP ", line)]
    names = (re.search(r"\[proto: ([^\]]+)", line) for line in flows)
    protocols = Counter(name[1] for name in names if name)
    risks = Counter(risk for line in flows for risk in re.findall(r"\*\* ([^*]+) \*\*", line))
    return {
        "nDPI: protocol": ", ".join(f"{name} ({n})" for name, n in protocols.items()) or "nothing",
        "nDPI: risks": ", ".join(f"{name} ({n})" for name, n in risks.items()) or "none",
    }


def tcptrace(pcap: Path) -> dict[str, str]:
    """Sums over its connections, both directions as it sorts them: a to b, b to a."""
    text = ask(["tcptrace", "-n", "-l", str(pcap)])
    rows = {}
    for name in ("rexmt data pkts", "outoforder pkts", "unique bytes sent"):
        pairs = re.findall(rf"{name}:\s+(\d+)\s+{name}:\s+(\d+)", text)
        sums = [sum(int(pair[i]) for pair in pairs) for i in (0, 1)]
        rows[f"tcptrace: {name}"] = f"{sums[0]} / {sums[1]}" if pairs else "-"
    complete = len(re.findall(r"complete conn: yes", text))
    rows["tcptrace: complete"] = f"{complete} of {len(re.findall('complete conn:', text))}"
    return rows


OBSERVERS = {"tshark": tshark, "p0f": p0f, "ndpiReader": ndpi, "tcptrace": tcptrace}


def look(pcap: Path) -> dict[str, str]:
    """The rows of all that are installed."""
    rows: dict[str, str] = {}
    for name, observer in OBSERVERS.items():
        if not shutil.which(name):
            continue
        try:
            rows |= observer(pcap)
        except subprocess.TimeoutExpired:
            rows[f"{name}"] = f"no end within {LIMIT} s"
    return rows


def missing() -> list[str]:
    return [name for name in OBSERVERS if not shutil.which(name)]
