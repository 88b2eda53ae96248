"""Layers of every kind within a network: the same outputs before and after some steps of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import Make, assert_same_histories, twins

# A stack of layers by name, each with the shape of one sample.
STACKS: dict[str, tuple[tuple[int, ...], Any]] = {
    "reshape": ((4, 6), lambda k: [k.Reshape((3, -1)), k.Dense(5, "relu"), k.Flatten()]),
    "permute": (
        (4, 6, 2),
        lambda k: [k.Permute((3, 1, 2)), k.Dense(3, "tanh"), k.Permute((2, 3, 1)), k.Flatten()],
    ),
    "repeat_vector": ((7,), lambda k: [k.Dense(6), k.RepeatVector(3), k.Dense(17, "relu"), k.Flatten()]),
    "channels_first": ((3, 4), lambda k: [k.Dense(5), k.Flatten(data_format="channels_first"), k.Identity()]),
    "dense_on_last_axis": ((5, 3), lambda k: [k.Dense(16, "relu"), k.Dense(4, use_bias=False), k.Flatten()]),
    "softmax_on_last_axis": (
        (5, 3),
        lambda k: [k.Dense(4), k.Activation("softmax"), k.Dense(2), k.Flatten()],
    ),
    "single_numbers": ((), lambda k: [k.Flatten(), k.Dense(4, "tanh")]),
}


def network(shape: tuple[int, ...], stack: Any, last: int = 3) -> Make:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input(shape), *stack(api.layers), api.layers.Dense(last)])
        model.compile(optimizer=api.optimizers.SGD(0.05, momentum=0.9), loss="mse")
        return model

    return make


@pytest.mark.parametrize("name", STACKS)
def test_training_and_inference(name: str) -> None:
    shape, stack = STACKS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, *shape)).astype(np.float32)
    y = rng.normal(size=(50, 3)).astype(np.float32)
    pair = twins(network(shape, stack))
    assert pair.engine.output_shape == pair.keras.output_shape
    for theirs, ours in zip(pair.keras.layers, pair.engine.layers, strict=True):
        assert ours.count_params() == theirs.count_params()
    pair.assert_same_outputs(x)
    # Each step adds its roundings to those of the steps before.
    assert_same_histories(*pair.fit(x, y, batch_size=16, epochs=3), rtol=1e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(x, rtol=1e-4, atol=1e-5)
