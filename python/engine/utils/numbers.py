"""Seeds, labels, lengths, and sequences of unequal ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine import _random
from engine._checks import REAL, choice, integer

ENDS = ("pre", "post")


def set_random_seed(seed: int) -> None:
    """Make everything random that follows repeatable to the bit: weights, dropout and the order of samples.

    Python's `random` and NumPy's global generator are seeded too, as scripts expect.

    Args:
        seed: in [0, 2**32).
    """
    seed = integer(seed, "seed", 0, 2**64 - 1)
    if seed >= 2**32:
        msg = f"`seed` must be less than 2**32, got {seed}"
        raise ValueError(msg)
    import random

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 # scripts draw their data from it
    _random.set_seed(seed)


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> NDArray[np.float64]:
    """One-hot rows for class indices.

    Args:
        x: integers in [0, num_classes), any shape; a last axis of 1 is dropped.
        num_classes: width of the rows; default `max(x) + 1`.

    Returns:
        float64 of shape `x.shape + (num_classes,)`.

    Raises:
        TypeError: if `x` does not hold integers.
        ValueError: for an index out of range; the message names the first.
    """
    labels: NDArray[Any] = np.asarray(x)
    if labels.dtype.kind not in "biu" and not (
        labels.dtype.kind == "f" and bool(np.all(labels == np.rint(labels)))
    ):
        msg = f"`x` must hold class indices, integers; got dtype {labels.dtype}"
        raise TypeError(msg)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if labels.size == 0:
            msg = "`x` is empty: give `num_classes`"
            raise ValueError(msg)
        num_classes = max(int(labels.max()) + 1, 1)
    else:
        num_classes = integer(num_classes, "num_classes", 1)
    wrong = (labels < 0) | (labels >= num_classes)
    if bool(wrong.any()):
        row = np.argwhere(wrong)[0].tolist()
        position = row[0] if len(row) == 1 else tuple(row)
        msg = f"`x` must hold class indices in [0, {num_classes}), got {labels[wrong][0]} at {position}"
        raise ValueError(msg)
    one_hot = np.zeros((*labels.shape, num_classes))
    np.put_along_axis(one_hot, labels.astype(np.intp)[..., np.newaxis], 1.0, axis=-1)
    return one_hot


def normalize(x: ArrayLike, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """`x` divided by its norms along `axis`, where they aren't zero.

    Args:
        x: array of real numbers; a single number is taken as an array of one.
        axis: along which the norms are taken.
        order: of the norm: 2 is the Euclidean one.

    Returns:
        An array in the shape of `x`, float64 or as precise as `x`.
    """
    values = np.atleast_1d(np.asarray(x))
    if values.dtype.kind not in REAL:
        msg = f"`x` must hold real numbers, got dtype {values.dtype}"
        raise TypeError(msg)
    if not -values.ndim <= integer(axis, "axis", -values.ndim) < values.ndim:
        msg = f"`axis` must be less than {values.ndim}, as `x` has shape {values.shape}, got {axis}"
        raise ValueError(msg)
    norms = np.atleast_1d(np.linalg.norm(values, integer(order, "order", 1), axis))
    norms[norms == 0] = 1
    return np.asarray(values / np.expand_dims(norms, axis))


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
