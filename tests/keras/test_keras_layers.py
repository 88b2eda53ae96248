"""Compares networks with every kind of layer with Keras: outputs before and after some training steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled
from twins import Make, assert_same_histories, twins

import engine

# Stacks of layers by name, each with the shape of one sample.
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
    "batch_normalization": ((7,), lambda k: [k.Dense(17), k.BatchNormalization(), k.Activation("relu")]),
    "batch_normalization_bare": (
        (7,),
        lambda k: [k.BatchNormalization(momentum=0.5, epsilon=0.1, center=False, scale=False), k.Dense(5)],
    ),
    "batch_normalization_of_an_axis": (
        (4, 5, 3),
        lambda k: [k.BatchNormalization(axis=2, momentum=0.9), k.BatchNormalization(axis=-1), k.Flatten()],
    ),
    "batch_normalization_frozen": (
        (6,),
        lambda k: [
            k.Dense(5),
            k.BatchNormalization(trainable=False, moving_mean_initializer="ones"),
            k.Dense(4),
        ],
    ),
    "batch_renormalization": (
        (7,),
        lambda k: [
            k.Dense(17),
            k.BatchNormalization(momentum=0.6, renorm=True, renorm_momentum=0.8),
            k.Activation("relu"),
        ],
    ),
    "batch_renormalization_within_bounds": (
        (4, 5),
        lambda k: [
            k.Dense(5),
            k.BatchNormalization(
                1, center=False, renorm=True, renorm_clipping={"rmin": 0.8, "rmax": 1.1, "dmax": 0.2}
            ),
            k.Flatten(),
        ],
    ),
    "layer_normalization": ((7,), lambda k: [k.Dense(18, "relu"), k.LayerNormalization(), k.Dense(4)]),
    "layer_normalization_of_axes": (
        (4, 3, 5),
        lambda k: [
            k.LayerNormalization(axis=[1, -1], scale=False),
            k.LayerNormalization(axis=2),
            k.Flatten(),
        ],
    ),
    "rms_normalization": (
        (5, 6),
        lambda k: [k.RMSNormalization(), k.RMSNormalization(axis=[1, 2], epsilon=0.1), k.Flatten()],
    ),
    "unit_normalization": ((5, 6), lambda k: [k.Dense(5), k.UnitNormalization(axis=(1, 2)), k.Flatten()]),
    "group_normalization": ((3, 8), lambda k: [k.Dense(12), k.GroupNormalization(4), k.Flatten()]),
    "group_normalization_of_an_axis": ((8, 3), lambda k: [k.GroupNormalization(-1, axis=1), k.Flatten()]),
    "prelu": ((9,), lambda k: [k.Dense(20), k.PReLU("ones"), k.Dense(5), k.PReLU()]),
    "prelu_shared": (
        (4, 5, 3),
        lambda k: [k.PReLU(shared_axes=[2]), k.PReLU(shared_axes=[1, 2]), k.Flatten()],
    ),
    "rescaling": (
        (4, 3),
        lambda k: [k.Rescaling([2.0, 3.0, 0.5], offset=-1.0), k.Rescaling(0.5, 1), k.Flatten()],
    ),
    "normalization": (
        (4, 3),
        lambda k: [k.Normalization(mean=[1.0, 2, 3], variance=[4.0, 0.25, 9]), k.Flatten()],
    ),
    "normalization_of_all": ((4,), lambda k: [k.Normalization(axis=None, mean=0.5, variance=2.0)]),
    "normalization_inverted": ((4,), lambda k: [k.Normalization(mean=2.0, variance=9.0, invert=True)]),
    "normalization_unadapted": ((3, 4), lambda k: [k.Normalization(axis=1), k.Flatten()]),
    "discretization_indices": (
        (4, 3),
        lambda k: [k.Dense(5), k.Discretization(bin_boundaries=[-1.0, 0.0, 0.5]), k.Flatten()],
    ),
    "discretization_vectors": (
        (4, 3),
        lambda k: [k.Discretization(bin_boundaries=[-1.0, 0.5], output_mode="one_hot"), k.Flatten()],
    ),
    "discretization_of_one": (
        (4, 1),
        lambda k: [k.Discretization(bin_boundaries=[-1.0, 0.5], output_mode="one_hot"), k.Flatten()],
    ),
    "discretization_counts": (
        (7,),
        lambda k: [k.Discretization(bin_boundaries=[-1.0, 0.5], output_mode="count")],
    ),
    "discretization_of_matrices": (
        (4, 3),
        lambda k: [k.Discretization(bin_boundaries=[-1.0, 0.5], output_mode="multi_hot"), k.Flatten()],
    ),
    "no_noise": (
        (4, 3),
        lambda k: [
            k.GaussianNoise(0.0),
            k.AlphaDropout(0.0),
            k.GaussianDropout(0),
            k.SpatialDropout1D(0),
            k.Flatten(),
        ],
    ),
    "global_average": (
        (5, 3),
        lambda k: [k.Dense(17, "relu"), k.GlobalAveragePooling1D(), k.Dense(4)],
    ),
    "global_averages_of_more_axes": (
        (4, 3, 5, 6),
        lambda k: [
            k.Dense(4),
            k.Reshape((4, 15, 4)),
            k.GlobalAveragePooling2D(data_format="channels_first", keepdims=True),
            k.Flatten(),
        ],
    ),
    "global_average_of_volumes": (
        (2, 3, 4, 5),
        lambda k: [
            k.GlobalAveragePooling3D(keepdims=True),
            k.Reshape((5, 1)),
            k.GlobalAveragePooling1D("channels_first"),
        ],
    ),
    "global_max": (
        (5, 3),
        lambda k: [k.Dense(17, "relu"), k.GlobalMaxPooling1D(), k.Dense(4)],  # with ties
    ),
    "global_max_of_more_axes": (
        (4, 3, 5, 6),
        lambda k: [
            k.Dense(4),
            k.GlobalMaxPool3D(keepdims=True),
            k.Flatten(),
            k.Dense(12),
            k.Reshape((2, 2, 3)),
            k.GlobalMaxPooling2D(data_format="channels_first", keepdims=True),
            k.Flatten(),
        ],
    ),
    "single_numbers": ((), lambda k: [k.Flatten(), k.Dense(4, "tanh")]),
}


def network(shape: tuple[int, ...], stack: Any, last: int = 3) -> Make:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input(shape), *stack(api.layers), api.layers.Dense(last)])
        return compiled(model, optimizer=api.optimizers.SGD(0.05, momentum=0.9), loss="mse")

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
    # The roundings of all steps add up.
    assert_same_histories(*pair.fit(x, y, batch_size=16, epochs=3), rtol=1e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    pair.assert_same_outputs(x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["embedding", "one_hot", "multi_hot", "count"])
def test_indices(mode: str) -> None:
    def stack(k: Any) -> list[Any]:
        first = k.Embedding(9, 5) if mode == "embedding" else k.CategoryEncoding(9, output_mode=mode)
        return [first, k.Flatten()]

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (50, 4)), rng.normal(size=(50, 3)).astype(np.float32)
    pair = twins(network((4,), stack))
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, y, batch_size=16, epochs=3), rtol=1e-5)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_a_layer_by_itself_follows_its_running_averages() -> None:
    x = np.random.default_rng(4).normal(2, 3, (64, 4)).astype(np.float32)
    theirs, ours = (
        api.layers.BatchNormalization(momentum=0.5, renorm=True, renorm_momentum=0.8)
        for api in (keras, engine)
    )
    for training in (False, True, True, False):
        np.testing.assert_allclose(
            np.asarray(ours(x, training=training)),
            np.asarray(theirs(x, training=training)),
            rtol=1e-4,
            atol=1e-5,
        )
    assert_all_close(ours.get_weights(), theirs.get_weights(), rtol=1e-5)


def test_normalization_by_a_variance_of_zero() -> None:
    """The numbers become too large for a training: both libraries divide by the square root of a small constant."""
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    twins(
        network((3,), lambda k: [k.Normalization(mean=[1.0, 2, 3], variance=[4.0, 0, 9])])
    ).assert_same_outputs(x)
