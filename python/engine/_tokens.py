"""Inputs that are indices: checked where they come in, since the core takes every number for one."""

from __future__ import annotations

import numpy as np

from engine._lazy import LazyRows
from engine._program import Rows


def require_tokens(rows: Rows | LazyRows, tokens: int | None, name: str) -> None:
    """Raise ValueError that names the first row with something else than indices below `tokens`; None takes all."""
    if tokens is None:
        return
    if isinstance(rows, LazyRows):
        for begin in range(0, len(rows), rows.per_block):
            _require(rows[begin : begin + rows.per_block], tokens, name, begin)
        return
    _require(rows, tokens, name, 0)


def _require(rows: Rows, tokens: int, name: str, first: int) -> None:
    wrong = ~((rows >= 0) & (rows < tokens))
    if rows.dtype != np.uint8:
        wrong |= rows != np.floor(rows)
    if wrong.any():
        row = int(wrong.reshape(len(rows), -1).any(axis=1).argmax())
        value = rows[row][wrong[row]].reshape(-1)[0]
        msg = (
            f"`{name}` must hold indices, whole numbers in [0, {tokens}), as the model's first layer has {tokens} "
            f"entries, but row {first + row} holds {value}"
        )
        raise ValueError(msg)
