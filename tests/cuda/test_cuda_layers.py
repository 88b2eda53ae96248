"""Layers on a GPU do what they do on the CPU, in training and in predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, ops

Build = Callable[[], keras.Model]


def around(*stack: Callable[[], Any], units: int = 24, classes: int = 5) -> Build:
    """Returns a function that builds a classifier with the layers between two dense ones."""

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), layers.Dense(units, activation="tanh")])
        for layer in stack:
            model.add(layer())
        model.add(layers.Flatten())
        model.add(layers.Dense(classes, activation="softmax"))
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def samples(rng: np.random.Generator, rows: int = 40, inputs: int = 20, classes: int = 5) -> tuple[Any, Any]:
    return rng.standard_normal((rows, inputs)).astype("float32"), rng.integers(0, classes, rows)


def reshaped(*stack: Callable[[], Any]) -> tuple[Callable[[], Any], ...]:
    """Layers on samples of 4 rows of 6 numbers."""
    return (lambda: layers.Reshape((4, 6)), *stack)


STACKS: dict[str, tuple[Callable[[], Any], ...]] = {
    # Columns that are chosen.
    "permute": reshaped(lambda: layers.Permute((2, 1))),
    "repeat": (lambda: layers.RepeatVector(3),),
    "dropout of whole columns": reshaped(lambda: layers.Dropout(0.4, noise_shape=(None, 1, 6), seed=1)),
    "spatial dropout": reshaped(lambda: layers.SpatialDropout1D(0.4, seed=1)),
    "flatten channels first": reshaped(
        lambda: layers.Reshape((4, 3, 2)), lambda: layers.Flatten("channels_first")
    ),
    # Normalization of columns.
    "batch normalization": (lambda: layers.BatchNormalization(momentum=0.7),),
    "batch normalization of timesteps": reshaped(lambda: layers.BatchNormalization(momentum=0.7)),
    "batch normalization without gain": (lambda: layers.BatchNormalization(scale=False, center=False),),
    "batch normalization that is frozen": (lambda: layers.BatchNormalization(trainable=False),),
    "batch renormalization": (
        lambda: layers.BatchNormalization(momentum=0.7, renorm=True, renorm_clipping={"rmax": 1.5, "rmin": 0.5, "dmax": 2.0}),
    ),
    # Normalization of rows.
    "layer normalization": (layers.LayerNormalization,),
    "layer normalization of two axes": reshaped(lambda: layers.LayerNormalization(axis=(1, 2))),
    "rms normalization": (layers.RMSNormalization,),
    "group normalization": reshaped(lambda: layers.GroupNormalization(3)),
    "unit normalization": (layers.UnitNormalization,),
    # Slopes of columns.
    "prelu": (lambda: layers.PReLU(alpha_initializer="random_normal"),),
    "prelu with shared axes": reshaped(lambda: layers.PReLU(shared_axes=(1,), alpha_initializer="random_normal")),
    # Pooling.
    "average pooling": reshaped(layers.GlobalAveragePooling1D),
    "max pooling": reshaped(layers.GlobalMaxPooling1D),
    "masked average pooling": reshaped(
        layers.ReLU, lambda: layers.Masking(0.0), layers.GlobalAveragePooling1D
    ),
    "masked batch normalization": reshaped(
        layers.ReLU, lambda: layers.Masking(0.0), layers.BatchNormalization,
        layers.GlobalAveragePooling1D,
    ),
    # Penalties.
    "activity regularization": (lambda: layers.ActivityRegularization(0.01, 0.02),),
    "activity regularizer": (lambda: layers.Dense(7, activity_regularizer="l2"),),
    "orthogonal rows": (
        lambda: layers.Dense(24, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.01, "rows")),
    ),
    "orthogonal columns": (
        lambda: layers.Dense(7, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.01, "columns")),
    ),
    # Recorded arrays.
    "lambda": (lambda: layers.Lambda(lambda x: ops.sin(x) * 2.0 + ops.mean(x, axis=1, keepdims=True)),),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_layers(name: str, same_training: Any, rng: Any) -> None:
    x, y = samples(rng)
    same_training(around(*STACKS[name]), x, y, batch_size=16)


@pytest.mark.parametrize("columns", [1, 31, 33, 100])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_normalization_of_any_size(columns: int, rows: int, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, rows)
    build = around(layers.LayerNormalization, layers.BatchNormalization, units=columns)
    same_training(build, x, y, batch_size=rows)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum", "clipped"])
@pytest.mark.parametrize("columns", [1, 33, 150])
def test_embeddings(optimizer: str, columns: int, same_training: Any, rng: Any) -> None:
    """Tokens repeat in a batch, and some never come."""
    x, y = rng.integers(0, 30, (40, 9)), rng.integers(0, 5, 40)
    x[:, 3] = 7

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((9,)), layers.Embedding(50, columns), layers.Flatten()])
        model.add(layers.Dense(5, activation="softmax"))
        chosen = {
            "sgd": keras.optimizers.SGD(0.1),
            "adam": keras.optimizers.Adam(0.01),
            "momentum": keras.optimizers.SGD(0.1, momentum=0.9),
            "clipped": keras.optimizers.SGD(0.1, clipvalue=0.01),
        }
        return compiled(model, chosen[optimizer], "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)


def test_embeddings_of_masked_tokens(same_training: Any, rng: Any) -> None:
    x, y = rng.integers(0, 4, (40, 9)), rng.integers(0, 5, 40)

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((9,)), layers.Embedding(4, 6, mask_zero=True)])
        model.add(layers.GlobalAveragePooling1D())
        model.add(layers.Dense(5, activation="softmax"))
        return compiled(model, "adam", "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_encoding_of_tokens(mode: str, same_training: Any, rng: Any) -> None:
    x, y = rng.integers(0, 30, (40, 1 if mode == "one_hot" else 6)), rng.integers(0, 5, 40)

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input(x.shape[1:], dtype="int32")])
        model.add(layers.CategoryEncoding(30, output_mode=mode))
        model.add(layers.Dense(5, activation="softmax"))
        return compiled(model, "adam", "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)


def test_normalization_by_a_data_set(same_training: Any, rng: Any) -> None:
    x, y = samples(rng)

    def build() -> keras.Model:
        normalization = layers.Normalization()
        normalization.adapt(x)
        model = keras.Sequential([keras.Input((20,)), normalization, layers.Dense(5, activation="softmax")])
        return compiled(model, "adam", "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)


AUGMENTATIONS: dict[str, Callable[..., Any]] = {
    "translation": lambda **fill: layers.RandomTranslation(0.3, 0.4, seed=1, **fill),
    "rotation": lambda **fill: layers.RandomRotation(0.4, seed=1, **fill),
    "zoom": lambda **fill: layers.RandomZoom(0.4, (-0.3, 0.5), seed=1, **fill),
    "elastic": lambda **fill: layers.RandomElastic(9.0, 1.5, seed=1, **fill),
}


@pytest.mark.parametrize("fill", ["constant", "nearest", "reflect", "wrap"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_images_that_are_changed_at_random(name: str, fill: str, interpolation: str, rng: Any) -> None:
    """The pixels are those of the CPU, to rounding, and but for a few whose coordinate is rounded to another pixel."""
    x = rng.random((9, 7, 10, 3)).astype("float32")
    found = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            layer = AUGMENTATIONS[name](fill_mode=fill, interpolation=interpolation, fill_value=0.5)
            model = keras.Sequential([keras.Input((7, 10, 3)), layer, layers.Flatten()])
            found.append(np.asarray(model(x, training=True)))
    assert not np.allclose(found[1], x.reshape(9, -1))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_training_with_images_that_are_changed_at_random(same_training: Any, rng: Any) -> None:
    x, y = rng.integers(0, 255, (40, 6, 6, 1)).astype("uint8"), rng.integers(0, 5, 40)

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((6, 6, 1)), layers.Rescaling(1 / 255)])
        model.add(layers.RandomFlip(seed=1))
        model.add(layers.RandomRotation(0.1, seed=2))
        model.add(layers.Flatten())
        model.add(layers.Dense(5, activation="softmax"))
        return compiled(model, "sgd", "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=16)
