"""The check for symbolic tensors."""

from __future__ import annotations

from typing import Any

from engine.layers.symbols import ModelSymbol


def is_keras_tensor(x: Any) -> bool:
    """Returns whether `x` is a symbolic tensor, as returned by `Input()` or by a layer called on one."""
    return isinstance(x, ModelSymbol)
