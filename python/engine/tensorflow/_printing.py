"""`tf.print`."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np

from engine import tree
from engine._base.tensor_like import StoredArray


def print(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int = 3,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> None:
    """Prints values, of long axes the first and last ones. A function that contains such a call runs as it is written.

    Args:
        inputs: tensors and what else is printed.
        output_stream: the file, by default that of errors.
        summarize: how many entries are printed at each end of an axis; -1 prints all.
        sep: what is between the values.
        end: what is behind them.
        name: without effect.
    """
    texts = [str(tree.map_structure(lambda leaf: _text(leaf, summarize), value)) for value in inputs]
    if isinstance(output_stream, str):
        output_stream = {"stdout": sys.stdout}.get(output_stream, sys.stderr)
    builtins.print(*texts, sep=sep, end=end, file=sys.stderr if output_stream is None else output_stream)


class _Text(str):
    """A text whose representation has no quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _text(value: Any, summarize: int) -> Any:
    if not isinstance(value, (np.ndarray, np.generic, StoredArray)) and not hasattr(value, "numpy"):
        return value
    array = np.asarray(value)
    if not array.ndim:
        return _Text(f"{array.item():.9g}" if array.dtype == np.float64 else str(array))
    few: dict[str, Any] = (
        {"edgeitems": summarize, "threshold": 0} if summarize >= 0 else {"threshold": sys.maxsize}
    )
    return _Text(np.array2string(array, **few))
