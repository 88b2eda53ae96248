"""Tests of files of functional models in which an array is no batch, such as a mean over the samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import ops

RNG = np.random.default_rng(0)
CUBES = RNG.normal(size=(3, 4, 2)).astype(np.float32)
PLACES = np.array([[1, 0], [0, 0], [0, 0]], np.int32)

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mean over samples": lambda x, i: x - ops.mean(x, axis=0),
    "all rows as samples": lambda x, i: x + ops.reshape(ops.reshape(x, (-1, 2)) * 2, (-1, 4, 2)),
    "one sample": lambda x, i: x * ops.sum(x[0]),
    "one timestep of one sample": lambda x, i: x * x[0, 1],
    "two samples": lambda x, i: x * ops.sum(x[[0, 1]], axis=0),
    "two timesteps": lambda x, i: x[:, [2, 0]],
    "slice from a symbol": lambda x, i: ops.slice(x, [0, i[0, 0], 0], (-1, 2, 2)),
    "number of elements": lambda x, i: x * ops.cast(ops.size(i), "float32"),
    "number of samples in a shape": lambda x, i: ops.reshape(x, (ops.shape(x)[0], -1)),
}


@pytest.mark.parametrize("form", ["config", "keras", "h5"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_model_comes_back(operation: Any, form: str, tmp_path: Path) -> None:
    x, i = keras.Input((4, 2)), keras.Input((2,), dtype="int32")
    model = keras.Model([x, i], operation(x, i))
    expected = model.predict([CUBES, PLACES], verbose=0)
    if form == "config":
        back = keras.Model.from_config(model.get_config())
    else:
        path = tmp_path / f"model.{form}"
        model.save(path)
        back = keras.models.load_model(path)
    np.testing.assert_array_equal(back.predict([CUBES, PLACES], verbose=0), expected)
