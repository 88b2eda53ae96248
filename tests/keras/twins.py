"""The same network in Keras and in the engine: same weights, same batches, numbers side by side.

Every helper takes a `make(api)` that builds with `api.layers`, `api.optimizers` and the rest, where `api` is `keras` or
`engine`. Keras runs on JAX: tests/conftest.py says so.
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

# float32 against float32, both in an order of their own: what the sums of small networks leave.
RTOL, ATOL = 1e-5, 1e-6

# Keras tells one layer's losses from another's by `id`, and keeps the ids of a trace that is gone: a later loss that
# happens to lie at the same address is then lost, once in a hundred times. None is freed here, so none can.
_losses: list[Any] = []
_add_loss = keras.layers.Layer.add_loss


def _add_loss_and_keep(layer: Any, loss: Any) -> None:
    _losses.append(loss)
    _add_loss(layer, loss)


keras.layers.Layer.add_loss = _add_loss_and_keep


# Last layers and their losses, with the labels of the classes that count as 1 where there is one output.
OUTPUTS = {4: ("softmax", "sparse_categorical_crossentropy"), 1: ("sigmoid", "binary_crossentropy")}


def labels_of(classes: Array, outputs: int) -> Array:
    """Targets of so many outputs, from classes 0 to 3."""
    return classes if outputs > 1 else classes > 1


class Twins(NamedTuple):
    """One model per library, with the same weights."""

    keras: Any
    engine: Any

    def fit(
        self, *data: Array, **options: Any
    ) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
        """Train both on the same batches; the histories."""
        options = {"verbose": 0, "shuffle": False} | options
        return self.keras.fit(*data, **options).history, self.engine.fit(*data, **options).history

    def assert_same_weights(self, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Every weight array agrees."""
        for theirs, ours in zip(self.keras.get_weights(), self.engine.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)

    def assert_same_outputs(self, x: Array, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Predictions agree."""
        theirs = self.keras.predict(x, verbose=0)
        np.testing.assert_allclose(self.engine.predict(x, verbose=0), theirs, rtol=rtol, atol=atol)


def twins(make: Make) -> Twins:
    """The models that `make` builds, the engine's with Keras' weights."""
    theirs, ours = make(keras), make(engine)
    ours.set_weights(theirs.get_weights())
    return Twins(theirs, ours)


def assert_same_histories(
    theirs: Mapping[str, list[float]], ours: Mapping[str, list[float]], rtol: float = RTOL, atol: float = ATOL
) -> None:
    """The same names in the same order, and the same numbers."""
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=rtol, atol=atol, err_msg=name)
