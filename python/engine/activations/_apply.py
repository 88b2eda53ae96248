"""How an activation becomes an operation of the core, and how it is applied to an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import REAL
from engine._base.cpp import Float32, build
from engine._base.operations import ActivationFields, activation_operation


def operation(name: str, *parameters: float) -> ActivationFields:
    """The fields of a core operation that name its activation.

    Args:
        name: of the formula in the core.
        parameters: its constants, in the order in which the core takes them.
    """
    return {"activation": name, "parameters": parameters} if parameters else {"activation": name}


def apply(lowered: ActivationFields, x: ArrayLike) -> Float32:
    """The activation over the last axis of `x`, by the kernels that a layer would use.

    Raises:
        TypeError: if `x` holds anything but real numbers.
    """
    given = np.asarray(x)
    if given.dtype.kind not in REAL:
        msg = f"`x` must hold real numbers, got dtype {given.dtype}"
        raise TypeError(msg)
    rows = np.asarray(given, np.float32, order="C")
    flat = rows.reshape(-1, rows.shape[-1] if rows.ndim else 1) if rows.size else rows
    if not flat.size:
        return rows
    return build(flat.shape[1], [activation_operation(lowered)], []).predict(flat).reshape(rows.shape)
