"""Functions for arrays, seeds and dtypes: `set_random_seed`, `to_categorical`, `normalize`, `pad_sequences`, `standardize_dtype`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine._base import random_state
from engine._base.checks import REAL, choice, integer
from engine._base.promotion import standard

ENDS = ("pre", "post")


def set_random_seed(seed: int) -> None:
    """Seeds all random numbers, so that initial weights, dropout and the order of samples can be reproduced.

    Results are reproduced bit for bit. It also seeds Python's `random` and NumPy's global generator. All Python threads draw from one
    stream, so models that several of them make or fit at the same time get other numbers each time; `fit_many` has a seed for each model.

    Args:
        seed: an int in [0, 2**32).
    """
    seed = integer(seed, "seed", 0, 2**64 - 1)
    if seed >= 2**32:
        msg = f"`seed` must be less than 2**32, got {seed}"
        raise ValueError(msg)
    import random

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 # scripts draw their data from it
    random_state.set_seed(seed)


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> NDArray[np.float64]:
    """Returns one-hot vectors for class indices.

    Args:
        x: array of integers in [0, num_classes), of any shape. A last axis of length 1 is dropped.
        num_classes: length of the vectors; default `max(x) + 1`.

    Returns:
        A float64 array of shape `x.shape + (num_classes,)`.

    Raises:
        TypeError: if `x` doesn't consist of integers.
        ValueError: if an index is out of range. The message names the first.
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
    """Returns `x` divided by its norms along `axis`. Vectors of norm 0 are unchanged.

    Args:
        x: array of real numbers. A single number becomes an array of one element.
        axis: axis of the norms.
        order: order of the norm; 2 is the Euclidean norm.

    Returns:
        An array in the shape of `x`, with its floating-point dtype, or float64 for other dtypes.
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
    """Pads or truncates sequences to a common length.

    Args:
        sequences: list of sequences of any lengths, such as lists of indices.
        maxlen: the common length; default the length of the longest sequence.
        dtype: dtype of the result.
        padding: "pre" pads before a sequence, "post" after it.
        truncating: "pre" removes values from the start of longer sequences, "post" from their end.
        value: padding value.

    Returns:
        Array (len(sequences), maxlen, ...).

    Raises:
        ValueError: if an entry is not a sequence, or the shapes of their elements differ.
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
    result_dtype = np.dtype(dtype)
    if isinstance(value, str) and result_dtype.kind not in "OUS":
        msg = f"`dtype` {result_dtype} doesn't hold `value` {value!r}: set `dtype=object` for strings of any length"
        raise ValueError(msg)
    padded = np.full((len(arrays), length, *next(iter(shapes), ())), value, result_dtype)
    for row, array in zip(padded, arrays, strict=True):
        shown_part = array[max(0, len(array) - length) :] if truncating == "pre" else array[:length]
        if len(shown_part):
            start = 0 if padding == "post" else length - len(shown_part)
            row[start : start + len(shown_part)] = shown_part
    return padded


def standardize_dtype(dtype: Any) -> str:
    """Returns the name of a dtype.

    Args:
        dtype: a name, a dtype of NumPy or another library, or a type of Python, which is a 32-bit one; None is float32.
            "bfloat16" is "float32", in which it is computed here.

    Raises:
        ValueError: for something else.

    Example:
        >>> from engine.utils import standardize_dtype
        >>> standardize_dtype(int), standardize_dtype(None)
        ('int32', 'float32')
    """
    return str(standard(dtype).name)
