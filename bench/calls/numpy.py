"""The calls of NumPy, which has no networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.calls import matrices


def compiled(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: np.tanh(x) * y


def eager(rows: int) -> Callable[[], Any]:
    x, y = matrices(rows)
    return lambda: np.sum(np.add(np.tanh(x), y))


CALLS = {"compiled": compiled, "eager": eager}
