"""Calls that take microseconds: what a library does around its kernels.

Each contender has a module with the dict `CALLS`: for the name of a call a function that gets the number of rows, and returns
what does the call, with the work of `WORK`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 4
"""Of the matrices of "compiled" and "eager"."""
WIDTHS = (4, 64, 64, 2)
"""Of the network of an agent, with the activation relu but for the last layer."""
RATES = {"sgd": 0.01, "adam": 1e-3}

FAMILIES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "tanh": lambda xp, x, y: xp.tanh(x),
    "add": lambda xp, x, y: xp.add(x, y),
    "sum": lambda xp, x, y: xp.sum(x, 1),
    "argmax": lambda xp, x, y: xp.argmax(x, 1),
    "reshape": lambda xp, x, y: xp.reshape(x, (-1,)),
    "concatenate": lambda xp, x, y: xp.concatenate([x, y], 1),
}
"""A function for each family of those that are called alone, without a compiler: the namespace of a library and two matrices."""

WORK = {
    "compiled": "a compiled tanh(x) * y of matrices (rows, 4)",
    "eager": "tanh, add and sum of matrices (rows, 4), without a compiler",
    **{name: f"{name} of matrices (rows, 4) alone, without a compiler" for name in FAMILIES},
    "predict": "the outputs of a network 4-64-64-2, as an array of NumPy",
    "predict_read_only": "the same of rows that can't be written to",
    "train_on_batch": "a step with the mean squared error and SGD by what the library has for it, and the loss as a float",
    "train_on_labels": "a step of the same network with two classes: crossentropy of int64 labels, SGD, loss and accuracy as floats",
    "own_step": "a step as in `train_on_batch` that a script writes itself, which also keeps the mean of the loss and the mean "
    "absolute error, and returns both as floats",
    "update_sgd": "such a step by a function that is compiled, if the library compiles any, without waiting for the loss",
    "update_adam": "the same with Adam",
    "tape": "such a step with SGD by derivatives of code that is not compiled",
}
"""What each call does."""


def matrices(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns two matrices (rows, 4)."""
    rng = np.random.default_rng(rows)
    first, second = rng.normal(size=(2, rows, SIDE)).astype(np.float32)
    return first, second


def labels(rows: int) -> NDArray[np.int64]:
    """Returns the classes of the samples: whether their first number is positive."""
    return (samples(rows)[0][:, 0] > 0).astype(np.int64)


def samples(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns samples and targets of the network."""
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, WIDTHS[0])), rng.normal(size=(rows, WIDTHS[-1]))
    return x.astype(np.float32), y.astype(np.float32)
