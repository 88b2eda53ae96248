"""The calls of NumPy, which has no networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.calls import FAMILIES, matrices


def compiled(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: np.tanh(x) * y


def eager(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: np.sum(np.add(np.tanh(x), y))


def alone(name: str) -> Callable[[int], Callable[[], Any]]:
    def prepared(rows: int) -> Callable[[], Any]:
        x, y = matrices(rows)
        return lambda: FAMILIES[name](np, x, y)

    return prepared


CALLS = {"compiled": compiled, "eager": eager, **{name: alone(name) for name in FAMILIES}}
