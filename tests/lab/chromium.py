# SPDX-License-Identifier: MIT
"""A browser that a test drives: headless Chromium over its own protocol, through two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import time
from pathlib import Path

from case import Failure
from lab import Host, Process, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update"]


def program() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise Failure("needs a browser: script/bootstrap full")
    return found


def settled(host: Host) -> bool:
    """False while the kernel still tries out an address: once it takes it, a browser gives up all
    that it is loading, since "the network has changed"."""
    return host.check(["ip", "-o", "addr", "show", "tentative"]).strip() == ""


class Browser:
    """One page. What it complains about, on its console or elsewhere, is gathered in `complaints`."""

    def __init__(self, host: Host, language: str = "en"):
        wait_until(lambda: settled(host), 10, "addresses that the kernel has tried out")
        self.complaints: list[str] = []
        self.number = 0
        self.buffer = b""
        child_in, self.out = os.pipe()
        self.answers, child_out = os.pipe()
        profile = host.lab.folder / f"browser{self.out}"
        argv = [program(), *QUIET, "--remote-debugging-pipe", f"--user-data-dir={profile}", f"--lang={language}"]
        argv += [f"--accept-lang={language}", "--hide-scrollbars", "about:blank"]
        shell = f'exec "$@" 3<&{child_in} 4>&{child_out}'
        command = host.inside(["bash", "-c", shell, "bash", *argv])

        self.process = Process(command, host.lab.new_file("browser.log"), (child_in, child_out))
        host.lab.processes.append(self.process)
        os.close(child_in)
        os.close(child_out)
        self.session = ""
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def read(self, limit: float) -> dict:
        end = time.monotonic() + limit
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.answers, 1 << 20) if ready else b""
            if not piece:
                raise Failure(f"the browser says nothing: {self.process.last_lines()}")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: object) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read(20)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise Failure(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def note(self, event: dict) -> None:
        kind, what = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif kind == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.complaints.append(what["entry"]["text"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def screen(self, width: int, height: int, phone: bool = False, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression: str) -> object:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failure(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression: str, limit: float) -> None:
        def holds() -> bool:
            time.sleep(0.1)
            return bool(self.evaluate(expression))

        wait_until(holds, limit, expression)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.process.kill()
        os.close(self.out)
        os.close(self.answers)
