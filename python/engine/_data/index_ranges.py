"""The indices that an array may hold: class indices of a loss, or entries of an embedding's table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class IndexRange(NamedTuple):
    """The whole numbers from 0 to `size` - 1.

    `expected` says which array must hold which of them, for messages, such as "`y` must hold class indices".
    """

    size: int
    expected: str
    ignored: int | None = None
    """Another number that the array may hold."""

    def check(self, array: NDArray[Any]) -> None:
        """Raises ValueError that names the first row of `array`, (n, ...), with another number."""
        is_integer = array.dtype.kind in "biu" and array.size > 0
        if is_integer and int(array.min()) >= 0 and int(array.max()) < self.size:
            return
        wrong = ~((array >= 0) & (array < self.size) & (array == np.floor(array)))
        if self.ignored is not None:
            wrong &= array != self.ignored
        if not wrong.any():
            return
        row = int(wrong.reshape(max(len(wrong), 1), -1).any(axis=1).argmax()) if array.ndim else 0
        value = array[wrong].flat[0]
        msg = f"{self.expected} in [0, {self.size}), but row {row} holds {value}"
        raise ValueError(msg)
