# SPDX-License-Identifier: MIT
"""How a test is declared: a function under @test, or add() for a whole family of them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass


class Skip(Exception):
    """The test cannot run here; the text says what is missing."""


class Failure(Exception):
    """The test failed; the text says how."""


@dataclass
class Case:
    name: str
    function: Callable[[], None]
    limit: float  # seconds; a test that takes longer has failed
    full: bool  # only with --full
    timed: bool  # it holds something to a few seconds: only others that mostly wait run beside it
    alone: bool  # it measures: nothing runs beside it
    look: str = ""  # which it is run in, see looks.py


cases: list[Case] = []


def best_of(tries: int, function: Callable[[], None]) -> Callable[[], None]:
    """For what a busy machine disturbs, losses and delays by the clock: one good run is enough."""

    def run() -> None:
        for left in reversed(range(tries)):
            try:
                return function()
            except Failure:
                if not left:
                    raise

    return run


def add(
    name: str,
    function: Callable[[], None],
    limit: float = 60,
    full: bool = False,
    timed: bool = False,
    alone: bool = False,
) -> None:
    cases.append(Case(name, function, limit, full, timed, alone))


def test(
    limit: float = 60,
    full: bool = False,
    tries: int = 1,
    timed: bool = False,
    alone: bool = False,
) -> Callable:
    """Declares test_SOMETHING as the test "something"; `limit` is for all tries together."""

    def declare(function: Callable[[], None]) -> Callable[[], None]:
        run = best_of(tries, function) if tries > 1 else function
        add(function.__name__.removeprefix("test_"), run, limit, full, timed, alone)
        return function

    return declare


def expect(condition: object, message: str) -> None:
    if not condition:
        raise Failure(message)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """What is done inside fails once it has taken that long. Main thread only, and not nested."""
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def on_alarm(_number: int, _frame: object) -> None:
    raise Failure("took too long")
