"""Compares masks that custom layers read and make, and masks given in calls, with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from padded import BITS, COUNTS, NUMBERS, STEPS, TARGETS, WEIGHINGS, assert_twins, steps
from twins import assert_same_histories, twins

import engine


def test_layers_of_ones_own_with_masks() -> None:
    """The layers read masks in `call`, and pass them on or drop them in `compute_mask`."""

    def make(api: Any) -> Any:
        class Centred(api.layers.Layer):  # type: ignore[misc]
            def call(self, inputs: Any, mask: Any = None) -> Any:
                return inputs - self.mean(inputs, mask)

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
                return mask

            def gradient(self, inputs: Any, upstream: Any, mask: Any = None) -> Any:
                counts = np.asarray(mask, np.float32)[..., np.newaxis]
                shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                return upstream - shares * upstream.sum(axis=1, keepdims=True)

            def mean(self, inputs: Any, mask: Any) -> Any:
                counts = api.ops.cast(mask, "float32")[..., None]
                total = api.ops.sum(inputs * counts, axis=1, keepdims=True)
                return total / api.ops.maximum(api.ops.sum(counts, axis=1, keepdims=True), 1)

        stack = [api.layers.Dense(4, "tanh"), Centred(), api.layers.BatchNormalization(), api.layers.Dense(2)]
        model = steps(api, *stack, api.layers.GlobalAveragePooling1D())
        return compiled(model, api.optimizers.SGD(0.1), "mse")

    pair = twins(make)
    pair.assert_same_outputs(STEPS)
    assert_same_histories(*pair.fit(STEPS, TARGETS, batch_size=16, epochs=2), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def masking_layer(api: Any, drop: int = 1) -> Any:
    """Returns a custom layer that keeps every `drop`-th timestep, and masks small ones and those masked before."""

    class Making(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs[:, ::drop] * 2.0

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
            first = np.arange(inputs.shape[1]) == 0  # in Keras the mean of no timestep is NaN
            counts = api.ops.logical_or(api.ops.any(inputs > 0.5, axis=-1), first)
            if previous_mask is not None:
                counts = api.ops.logical_and(counts, previous_mask)
            return counts[:, ::drop]

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            gradient = np.zeros_like(inputs)
            gradient[:, ::drop] = 2.0 * upstream
            return gradient

    return Making()


MADE: dict[str, Any] = {
    "mean": lambda api: [masking_layer(api), api.layers.GlobalAveragePooling1D(), api.layers.Dense(2)],
    "fewer_steps": lambda api: [
        api.layers.Dense(4, "tanh"),
        masking_layer(api, 2),
        api.layers.BatchNormalization(),
        api.layers.GlobalAveragePooling1D(),
        api.layers.Dense(2),
    ],
    "of_another_mask": lambda api: [
        api.layers.Masking(),
        api.layers.Dense(4, "tanh"),
        masking_layer(api),
        masking_layer(api),
        api.layers.Dense(3),
        api.layers.GlobalAveragePooling1D(),
        api.layers.Dense(2),
    ],
}


@pytest.mark.parametrize("name", MADE)
def test_masks_of_layers_of_ones_own(name: str) -> None:
    x = np.where(COUNTS[..., np.newaxis], STEPS, 0.0).astype(np.float32)
    x[:, 0] = np.where(x[:, 0] == 0, 0.1, x[:, 0])

    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((7, 3)), *MADE[name](api)])
        return compiled(model, api.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])

    pair = twins(make)
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, TARGETS, batch_size=16, epochs=3), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


@WEIGHINGS
def test_masks_of_layers_of_ones_own_reach_losses_and_metrics(weights: Any) -> None:
    def make(api: Any) -> Any:
        model = steps(api, api.layers.Dense(4, "tanh"), masking_layer(api), api.layers.Dense(2, "sigmoid"))
        model.compile(api.optimizers.SGD(0.1), "binary_crossentropy", metrics=["mae", "binary_accuracy"])
        return model

    assert_twins(twins(make), STEPS, BITS, weights)


def test_masks_of_whole_samples_of_layers_of_ones_own() -> None:
    def make(api: Any) -> Any:
        class Filled(api.layers.Layer):  # type: ignore[misc]
            def call(self, inputs: Any) -> Any:
                return inputs * 1.0

            def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
                return api.ops.any(api.ops.not_equal(inputs, 0.0), axis=-1)

            def gradient(self, inputs: Any, upstream: Any) -> Any:
                return upstream

        stack = [api.layers.Dense(4, "relu"), Filled(), api.layers.Dense(1)]
        model = api.Sequential([api.Input((3,)), *stack])
        return compiled(model, api.optimizers.SGD(0.1), "mse", metrics=["mae"])

    assert_twins(twins(make), STEPS[:, 0], NUMBERS[:, 0, :1], validation_freq=1)


def test_masks_of_arrays() -> None:
    """Masks are arguments of a call, or attached by the layer before."""
    values = np.where(COUNTS[..., np.newaxis], STEPS, 0.0).astype(np.float32)
    found = []
    for api in (keras, engine):
        norm, mean = api.layers.BatchNormalization(momentum=0.5), api.layers.GlobalAveragePooling1D()
        parts = [norm(values, training=True, mask=COUNTS), *norm.get_weights(), mean(values, mask=COUNTS)]
        masked = api.layers.Masking()(values)
        dense = api.layers.Dense(3, kernel_initializer="ones")(masked)
        made = masking_layer(api)(dense)
        parts += [masked._keras_mask, dense._keras_mask, made._keras_mask, mean(dense)]
        assert getattr(mean(dense), "_keras_mask", None) is None
        with pytest.raises(TypeError, match="mask"):
            api.layers.Dense(2)(values, mask=COUNTS)
        with pytest.warns(UserWarning, match="was passed an input with a mask attached to it"):
            parts.append(api.layers.Flatten()(masked))
        found.append([np.asarray(part) for part in parts])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
