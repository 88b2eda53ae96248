"""What the core asks Python for while it trains: penalties and constraints of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine._base.cpp import Float32
from engine.optimizers.variables import Tracked
from engine.regularizers import Regularizer


def answer(weights: Sequence[Tracked], question: Mapping[str, Any]) -> Any:
    """What the core wants to know of one weight array.

    Args:
        weights: all of the model's.
        question: `task`, `variable` (index), `weights` (float32), `wants_slope`.

    Returns:
        The penalty and its derivative by the weights, or the weights as their constraint makes them.
    """
    weight, values = weights[question["variable"]], question["weights"]
    if question["task"] == "constraint":
        constrained = values if weight.constraint is None else weight.constraint(values)
        return _numbers(constrained, f"the constraint of {weight.path!r}")
    penalty = weight.regularizer or Regularizer()
    slope = None
    if question["wants_slope"]:
        slope = _numbers(penalty.gradient(values), f"`gradient` of the regularizer of {weight.path!r}")
    return float(penalty(values)), slope


def _numbers(value: object, source: str) -> Float32:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        msg = f"{source} must return real numbers, got {array.dtype}"
        raise TypeError(msg)
    return array.astype(np.float32)
