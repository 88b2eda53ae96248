"""What stands for arrays to come."""

from __future__ import annotations

from typing import Any

from engine.layers.symbols import KerasTensor


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` stands for an array to come, as `Input()` and calls of layers on such a one return it."""
    return isinstance(x, KerasTensor)
