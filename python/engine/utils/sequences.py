"""Sequences of unequal length as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine._checks import choice, integer

ENDS = ("pre", "post")


def pad_sequences(  # noqa: PLR0917 # Keras' signature
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Sequences cut and filled up to one length.

    Args:
        sequences: such as lists of indices, of any lengths.
        maxlen: the length; default that of the longest.
        dtype: of the result.
        padding: "pre" fills up before a sequence, "post" after it.
        truncating: the end that longer ones lose.
        value: what fills up.

    Returns:
        An array (len(sequences), maxlen, ...).

    Raises:
        ValueError: if an entry is no sequence, or its entries have another shape than those of the others.
    """
    choice(padding, "padding", ENDS)
    choice(truncating, "truncating", ENDS)
    if not hasattr(sequences, "__len__"):
        msg = f"`sequences` must be a list of sequences, got {sequences!r}"
        raise TypeError(msg)
    if not all(hasattr(entry, "__len__") for entry in sequences):
        msg = f"`sequences` must hold sequences, such as lists of indices, got {sequences!r}"
        raise ValueError(msg)
    arrays: list[NDArray[Any]] = [np.asarray(entry) for entry in sequences]
    shapes = {array.shape[1:] for array in arrays if len(array)}
    if len(shapes) > 1:
        msg = f"`sequences` must have entries of one shape, got {sorted(shapes)}"
        raise ValueError(msg)
    longest = max((len(array) for array in arrays), default=0)
    length = longest if maxlen is None else integer(maxlen, "maxlen", 0)
    wanted = np.dtype(dtype)
    if isinstance(value, str) and wanted.kind not in "OUS":
        msg = f"`dtype` {wanted} doesn't hold `value` {value!r}: set `dtype=object` for strings of any length"
        raise ValueError(msg)
    padded = np.full((len(arrays), length, *next(iter(shapes), ())), value, wanted)
    for row, array in zip(padded, arrays, strict=True):
        kept = array[max(0, len(array) - length) :] if truncating == "pre" else array[:length]
        if len(kept):
            start = 0 if padding == "post" else length - len(kept)
            row[start : start + len(kept)] = kept
    return padded
