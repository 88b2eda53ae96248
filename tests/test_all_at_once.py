"""Tests that do in several threads at once everything that a program may do in threads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier
from python_threads import at_once

import engine as keras
from engine import layers


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    yield
    keras.config.set_threads(None)


class Factors(layers.Layer):
    """A layer in Python with a weight and a loss of its own."""

    def build(self, input_shape: Any) -> None:
        self.factors = self.add_weight((input_shape[-1],), "ones")

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.0)
        return inputs * self.factors

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.factors, (upstream * inputs).sum(axis=0)


class Batches(keras.utils.PyDataset):
    """Batches that two threads read."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(workers=2)
        self.blobs = blobs

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        rows = slice(20 * index, 20 * index + 20)
        return self.blobs.x[rows], self.blobs.y[rows]


@pytest.mark.parametrize("between", [layers.BatchNormalization, Factors], ids=["core", "own"])
def test_one_model(between: Any, blobs: Blobs, tmp_path: Path) -> None:
    model = classifier(between(), layers.Dropout(0.2))
    model.fit(blobs.x, blobs.y, verbose=0)
    start, optimizers = model.get_weights(), cycle(["sgd", "adam", "adafactor", "muon"])

    def compile_anew() -> None:
        model.compile(next(optimizers), "sparse_categorical_crossentropy", metrics=["accuracy"])

    def look() -> None:
        assert all(np.isfinite(model.losses))
        model.summary(print_fn=len)
        assert all(np.isfinite(weight).all() for weight in model.get_weights())

    at_once(
        lambda: model.predict(blobs.x),
        lambda: model.predict(blobs.x[:1]),
        lambda: model(blobs.x, training=True),
        lambda: model.evaluate(blobs.x, blobs.y, sample_weight=np.ones(len(blobs.x))),
        lambda: model.fit(blobs.x, blobs.y, validation_split=0.2, verbose=0),
        lambda: model.fit(Batches(blobs), verbose=0),
        lambda: model.train_on_batch(blobs.x, blobs.y),
        lambda: model.set_weights(start),
        lambda: model.save_weights(tmp_path / "model.npz"),
        compile_anew,
        look,
    )


def test_the_process(blobs: Blobs) -> None:
    """Threads use many models that share a layer, and functions with state of the whole process."""
    base = keras.Sequential([keras.Input(blobs.x.shape[1:]), layers.Dense(4)])
    numbers = cycle([1, 2, None])

    def transfer() -> None:
        model = keras.Sequential([base, layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(blobs.x, blobs.y, verbose=0)
        assert np.isfinite(model.predict(blobs.x)).all()

    def seed() -> None:
        keras.utils.set_random_seed(1)
        keras.initializers.GlorotUniform()((3, 4))
        keras.utils.clear_session()

    at_once(
        transfer,
        transfer,
        seed,
        lambda: keras.config.set_threads(next(numbers)),
        lambda: keras.ops.matmul(blobs.x, blobs.x.T, activation="relu"),
        lambda: keras.models.clone_model(base).predict(blobs.x),
        keras.datasets.mnist.load_data,
        lambda: keras.layers.get({"class_name": "Dense", "config": {"units": 3}}),
    )
