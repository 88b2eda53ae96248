"""Rows are padded to whole cache lines. The numbers in the padding, even NaN, must not change any weight.

Gradients by the input of few samples are summed along the rows, those of many along the batch, so that pads can only
show in the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras

INPUTS, UNITS, SAMPLES, EPOCHS = 20, 24, 2, 6
assert UNITS % 16 != 0


def sgd() -> Any:
    return keras.optimizers.SGD(0.01)


def trained(times: int, optimizer: Any, following: list[Any], **options: Any) -> list[Any]:
    """Returns the weights after steps on the same samples, each of which is repeated."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(SAMPLES, n)).astype(np.float32) for n in (INPUTS, 1))
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((INPUTS,)),
            keras.layers.Dense(INPUTS, activation="tanh"),
            keras.layers.Dense(UNITS, **options),
            *following,
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    x, y = (np.tile(array, (times, 1)) for array in (x, y))
    model.fit(x, y, batch_size=len(x), epochs=EPOCHS, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize(
    ("optimizer", "following", "options"),
    [
        # A mean is subtracted from its gradient, also in the padding.
        (sgd, lambda: [keras.layers.LayerNormalization()], {}),
        # The variance of padding is 0, and without epsilon 0 / 0 is NaN. The same happens in steps of optimizers.
        (sgd, lambda: [keras.layers.BatchNormalization(epsilon=0.0)], {}),
        (lambda: keras.optimizers.Adam(0.01, epsilon=0.0), list, {}),
        (lambda: keras.optimizers.RMSprop(0.01, epsilon=0.0), list, {}),
        (lambda: keras.optimizers.Lamb(0.01, epsilon=0.0), list, {}),
        # Penalties have a gradient at zero.
        (sgd, list, {"activity_regularizer": keras.regularizers.L1(0.1)}),
        (sgd, list, {"kernel_regularizer": keras.regularizers.L1(0.1)}),
    ],
    ids=["layer norm", "batch norm", "Adam", "RMSprop", "Lamb", "activity", "kernel"],
)
def test_pads_show_in_no_weight(optimizer: Any, following: Any, options: dict[str, Any]) -> None:
    few, many = (trained(times, optimizer(), following(), **options) for times in (1, 4))
    for one, other in zip(few, many, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_pads_show_in_no_softmax() -> None:
    """The gradient of softmax has a sum along the row."""
    following = [keras.layers.Softmax(), keras.layers.BatchNormalization(epsilon=0.0)]
    assert all(np.isfinite(array).all() for array in trained(2, sgd(), following))
