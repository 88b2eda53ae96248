"""Compares validation with batches from generators and data sets with Keras, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
import numpy as np
import pytest

import engine

X = np.zeros((64, 4), np.float32)
Y = np.zeros((64, 1), np.float32)


def numbered(batches: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Yields batches with the number of the batch added to their targets."""
    for number in count() if batches is None else range(batches):
        yield X[:8], Y[:8] + number


def data_set(api: Any) -> Any:
    class Numbered(api.utils.PyDataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, number: int) -> Any:
            return X[:8], Y[:8] + number

    return Numbered()


CASES = {
    "endless": (lambda _: numbered(), {"validation_steps": 2}),
    "endless_3": (lambda _: numbered(), {"validation_steps": 3}),
    "one_step": (lambda _: numbered(), {"validation_steps": 1}),
    "finite": (lambda _: numbered(9), {"validation_steps": 3}),
    "all": (lambda _: numbered(4), {}),
    "one": (lambda _: numbered(1), {}),
    "every_second": (lambda _: numbered(), {"validation_steps": 3, "validation_freq": 2}),
    "data_set": (data_set, {}),
    "data_set_2": (data_set, {"validation_steps": 2}),
    "data_set_4": (data_set, {"validation_steps": 4, "validation_freq": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_validation_streams(case: str) -> None:
    make, options = CASES[case]
    found = []
    for api in (keras, engine):
        model = api.Sequential([api.Input((4,)), api.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(api.optimizers.SGD(0.0), "mse")
        options = {"shuffle": False, "verbose": 0, **options}
        found.append(model.fit(X, Y, epochs=4, validation_data=make(api), **options).history["val_loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
