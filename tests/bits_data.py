"""Rows and targets of the networks of `test_bits.py`. They are always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import _core

Array = NDArray[Any]


def compressed(x: Array) -> _core.CompressedMatrix:
    """Returns the nonzero elements of `x` (n, ...) as compressed rows."""
    rows = x.reshape(len(x), -1)
    there = rows != 0
    begins = np.concatenate([[0], there.sum(axis=1).cumsum()])
    columns = np.ascontiguousarray(there.nonzero()[1])
    return _core.CompressedMatrix(begins, columns, rows[there].astype(np.float32), rows.shape[1])


def words(rows: int, vocabulary: int) -> Array:
    """Returns rows in which a few elements are not zero."""
    rng = np.random.default_rng(vocabulary)
    counts = rng.integers(1, 5, (rows, vocabulary)) * (rng.random((rows, vocabulary)) < 0.02)
    return counts.astype(np.float32)


def pixels(rows: int, width: int, dtype: str) -> Array:
    x = np.random.default_rng(width).integers(0, 256, (rows, width)).astype(np.uint8)
    return x if dtype == "uint8" else (x / 127.5 - 1).astype(dtype)


def labels(rows: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, rows).astype(np.int32)


def reals(rows: int, width: int) -> Array:
    return np.random.default_rng(2).uniform(0, 1, (rows, width)).astype(np.float32)
