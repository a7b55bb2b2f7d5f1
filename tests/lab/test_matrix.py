# SPDX-License-Identifier: MIT
"""A chosen dozen of the interop matrix; all of it is script/interop."""

from __future__ import annotations

from functools import partial

import gopeer
import matrix
from case import add
from matrix import Combination, Conditions


def one(combination: Combination) -> None:
    gopeer.path()
    matrix.try_combination(combination, Conditions())


for _combination in matrix.DOZEN:
    _name = "_".join(str(_combination).split())
    add(f"matrix_{_name}", partial(one, _combination), Conditions().limit())
