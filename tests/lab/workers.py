# SPDX-License-Identifier: MIT
"""Jobs in processes of their own, some at a time: a lab names its hosts after its process.

However the parent ends, its workers end too, and each takes down what it has built.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import lab

FORK = multiprocessing.get_context("fork")
PATIENCE = 30  # s that a worker has to take down its lab
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Ended:
    job: Any
    result: Any  # what the function returned for the job
    death: str  # otherwise what became of the worker; "" if it ended well
    output: str  # all that it printed


class Worker:
    def __init__(self, function: Callable[[Any], Any], job: Any):
        self.job = job
        self.output = tempfile.TemporaryFile()
        self.pipe, theirs = FORK.Pipe(duplex=False)
        arguments = (function, job, theirs, self.output.fileno(), os.getpid())
        self.process = FORK.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def ended(self) -> Ended:
        """Takes the result that is there, or that will not come any more."""
        result, death = None, ""
        try:
            result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            code = self.process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            death = f"its process died: {how}"
        self.end()
        self.output.seek(0)
        with self.output:
            return Ended(self.job, result, death, self.output.read().decode(errors="replace"))

    def end(self) -> None:
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def work(
    function: Callable[[Any], Any], job: Any, pipe: Connection, output: int, parent: int
) -> None:
    """All that a worker does."""
    signal.signal(signal.SIGINT, ignore)  # a terminal sends it to all; the parent tells
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    lab.libc.prctl(lab.PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout.reconfigure(line_buffering=True)
    try:
        if os.getppid() == parent:
            result = function(job)
            lab.close_all()
            pipe.send(result)
    finally:
        lab.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # whatever threads there are


def ignore(_number: int, _frame: object) -> None:
    """Unlike SIG_IGN this is not inherited by programs."""


def leave(number: int, _frame: object) -> None:
    for each in SIGNALS:
        signal.signal(each, ignore)
    sys.exit(128 + number)


def leave_on_signals() -> None:
    """For a program that runs workers: signals end it with all its blocks of "finally"."""
    for number in SIGNALS:
        signal.signal(number, leave)


def run_all(
    jobs: Iterable[Any], function: Callable[[Any], Any], at_once: int, seconds: float = float("inf")
) -> Iterator[Ended]:
    """Each job in a worker, begun in this order. None is begun after so many seconds. To be closed
    if it is not run to its end."""
    end = time.monotonic() + seconds
    waiting = deque(jobs)
    running: dict[Connection, Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once and time.monotonic() < end:
                worker = Worker(function, waiting.popleft())
                running[worker.pipe] = worker
            if not running:
                return
            for pipe in wait(list(running)):
                yield running.pop(pipe).ended()
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            worker.end()
        with contextlib.suppress(OSError):
            lab.remove_leftovers()
