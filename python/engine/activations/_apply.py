"""How an activation becomes an operation of the core, and how it is applied to an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import REAL
from engine._base.cpp import Float32, Operation, build


def operation(name: str, *parameters: float) -> Operation:
    """The fields of a core operation that name its activation.

    Args:
        name: of the formula in the core.
        parameters: its constants, in the order in which the core takes them.
    """
    return {"activation": name, "parameters": parameters} if parameters else {"activation": name}


def apply(lowered: Operation, x: ArrayLike) -> Float32:
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
    layers: list[dict[str, Any]] = [{"kind": "activation", **lowered}]
    return build(flat.shape[1], layers, []).predict(flat).reshape(rows.shape)
