"""Regularizers and constraints written in Python, which the core calls for one weight array at a time while it trains.

The host step of a compiled model, in `compile_arguments`, passes the core's calls on to `weights_step_result`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine._core_interface.cpp import Float32
from engine._core_interface.host_steps import Penalty, WeightsStep
from engine.optimizers.variables import Tracked
from engine.regularizers import Regularizer


def weights_step_result(weights: Sequence[Tracked], step: WeightsStep) -> Penalty | Float32:
    """Returns the result of a step for one weight array.

    Args:
        weights: all weight arrays of the model.
        step: says which of them is meant, and holds its values.

    Returns:
        The penalty and, if it is wanted, its gradient; or the values after the constraint.
    """
    weight, values = weights[step["variable"]], step["weights"]
    if step["kind"] == "constraint":
        constrained = values if weight.constraint is None else weight.constraint(values)
        return _numbers(constrained, f"the constraint of {weight.path!r}")
    penalty = weight.regularizer or Regularizer()
    gradient = None
    if step["wants_gradient"]:
        gradient = _numbers(penalty.gradient(values), f"`gradient` of the regularizer of {weight.path!r}")
    return float(penalty(values)), gradient


def _numbers(value: object, source: str) -> Float32:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        msg = f"{source} must return real numbers, got {array.dtype}"
        raise TypeError(msg)
    return array.astype(np.float32)
