"""Helpers that build the same network in Keras and in the engine, train both, and compare the numbers.

Every helper takes a function `make(api)` that builds a model with `api.layers`, `api.optimizers` and so on, where `api`
is `keras` or `engine`. Keras runs on JAX, which tests/conftest.py chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

import engine

Array = NDArray[Any]
Make = Callable[[Any], Any]

# Tolerance between float32 sums in different orders, for small networks.
RTOL, ATOL = 1e-5, 1e-6

# Keras identifies losses of layers by `id`, and keeps ids of old traces. A later loss at the same address is then ignored,
# in about one of a hundred runs. So no loss is freed here.
_losses: list[Any] = []
_add_loss = keras.layers.Layer.add_loss


def _add_loss_and_keep(layer: Any, loss: Any) -> None:
    _losses.append(loss)
    _add_loss(layer, loss)


keras.layers.Layer.add_loss = _add_loss_and_keep


# Last layers and their losses, with the labels of the classes that mean 1 if there is one output.
OUTPUTS = {4: ("softmax", "sparse_categorical_crossentropy"), 1: ("sigmoid", "binary_crossentropy")}


def labels_of(classes: Array, outputs: int) -> Array:
    """Returns targets for `outputs` outputs, from classes 0 to 3."""
    return classes if outputs > 1 else classes > 1


class Twins(NamedTuple):
    """A model in each library, with the same weights."""

    keras: Any
    engine: Any

    def fit(
        self, *data: Array, **options: Any
    ) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
        """Trains both models on the same batches, and returns the histories."""
        options = {"verbose": 0, "shuffle": False} | options
        return self.keras.fit(*data, **options).history, self.engine.fit(*data, **options).history

    def assert_same_weights(self, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Checks that all weights agree."""
        for theirs, ours in zip(self.keras.get_weights(), self.engine.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)

    def assert_same_outputs(self, x: Array, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Checks that predictions agree."""
        theirs = self.keras.predict(x, verbose=0)
        np.testing.assert_allclose(self.engine.predict(x, verbose=0), theirs, rtol=rtol, atol=atol)


def twins(make: Make) -> Twins:
    """Returns the models that `make` builds, with the weights of the Keras model."""
    theirs, ours = make(keras), make(engine)
    ours.set_weights(theirs.get_weights())
    return Twins(theirs, ours)


def assert_same_histories(
    theirs: Mapping[str, list[float]], ours: Mapping[str, list[float]], rtol: float = RTOL, atol: float = ATOL
) -> None:
    """Checks that histories have the same names in the same order, and the same numbers."""
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=rtol, atol=atol, err_msg=name)
