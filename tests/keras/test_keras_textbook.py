"""Compares the textbook network with Keras, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_same_histories, twins


@pytest.mark.parametrize("sparse", [True, False])
def test_classifier(sparse: bool) -> None:
    kind = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"

    def make(api: Any) -> Any:
        model = api.Sequential(
            [
                api.Input((8, 8)),
                api.layers.Flatten(),
                api.layers.Dense(32, activation="relu"),
                api.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(optimizer="adam", loss=kind, metrics=["accuracy"])
        return model

    rng = np.random.default_rng(0)
    x = rng.random((100, 8, 8), np.float32)
    y = rng.integers(0, 10, 100)
    pair = twins(make)
    pair.assert_same_outputs(x)
    histories = pair.fit(x, y if sparse else np.eye(10, dtype=np.float32)[y], batch_size=32, epochs=5)
    assert_same_histories(*histories)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
