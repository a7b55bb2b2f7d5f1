# SPDX-License-Identifier: MIT
"""The short form of script/soak: each fault once or twice."""

from __future__ import annotations

from case import expect, test
from soak import soak


@test(limit=360, full=True, timed=True)
def test_soak() -> None:
    result, wrong = soak(3)
    expect(not wrong, f"{'; '.join(wrong)}: {result}")
