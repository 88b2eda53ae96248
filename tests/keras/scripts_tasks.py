"""Scripts for various tasks: custom losses and metrics, masks, callbacks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import BINARY, LABELS, ONE_HOT, QUIET, TARGETS, X, begin, end, mlp, script

FIRST = TARGETS[:, 0]


@script
def quantiles(api: Any, folder: Path) -> Any:
    def pinball(y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return api.ops.mean(api.ops.maximum(0.9 * error, -0.1 * error), axis=-1)

    pinball.gradient = lambda y_true, y_pred: np.where(y_true >= y_pred, -0.9, 0.1)  # type: ignore[attr-defined] # for us
    model = compiled(mlp(api, 1, None), api.optimizers.Adam(0.01), loss=pinball)
    return end(model, model.fit(X, FIRST, epochs=3, **QUIET).history)


@script
def mixed_samples(api: Any, folder: Path) -> Any:
    class Mixed(api.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return math.ceil(len(X) / 16)

        def __getitem__(self, index: int) -> Any:
            rows, rng = slice(16 * index, 16 * index + 16), np.random.default_rng(index)
            share, order = rng.beta(0.4, 0.4), rng.permutation(len(X[rows]))
            return tuple(share * part[rows] + (1 - share) * part[rows][order] for part in (X, ONE_HOT))

    model = mlp(api)
    model.compile("adam", api.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"])
    return end(model, model.fit(Mixed(), epochs=3, **QUIET).history)


@script
def weighted_crossentropy(api: Any, folder: Path) -> Any:
    def weighted(y_true: Any, y_pred: Any) -> Any:
        y = api.ops.cast(y_true, "float32")
        p = api.ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return api.ops.mean(-(3 * y * api.ops.log(p) + (1 - y) * api.ops.log(1 - p)), axis=-1)

    weighted.gradient = lambda y, p: (1 - y) / (1 - p) - 3 * y / p  # type: ignore[attr-defined] # for us
    model = compiled(mlp(api, 1, "sigmoid"), "adam", weighted, metrics=["accuracy"])
    return end(model, model.fit(X, BINARY.astype(int), epochs=3, **QUIET).history)


@script
def metrics_of_targets_of_one_axis(api: Any, folder: Path) -> Any:
    class Error(api.metrics.Metric):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(name="error", **options)
            self.total = self.add_weight(name="total", initializer="zeros")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(api.ops.sum(api.ops.abs(y_pred[:, 0] - y_true)))
            self.count.assign_add(api.ops.cast(api.ops.shape(y_true)[0], "float32"))

        def result(self) -> Any:
            return self.total / self.count

    def bias(y_true: Any, y_pred: Any) -> Any:
        return api.ops.squeeze(y_pred, -1) - y_true

    model = compiled(mlp(api, 1, None), "adam", "mse", metrics=[Error(), "mae", bias])
    return end(model, model.fit(X, FIRST, epochs=2, validation_split=0.2, **QUIET).history)


@script
def score_of_metrics_within(api: Any, folder: Path) -> Any:
    class Score(api.metrics.Metric):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(name="score", **options)
            self.precision, self.recall = api.metrics.Precision(), api.metrics.Recall()

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.precision.update_state(y_true, y_pred, sample_weight)
            self.recall.update_state(y_true, y_pred, sample_weight)

        def result(self) -> Any:
            p, r = self.precision.result(), self.recall.result()
            return 2 * p * r / (p + r + 1e-7)

    model = compiled(mlp(api, 1, "sigmoid"), "adam", "binary_crossentropy", metrics=[Score()])
    return end(model, model.fit(X, BINARY, epochs=3, validation_split=0.3, **QUIET).history)


@script
def normalized_words(api: Any, folder: Path) -> Any:
    words = np.random.default_rng(0).integers(0, 9, (60, 5))
    words[:, 0] = 1
    layers = [
        api.layers.Embedding(9, 4, mask_zero=True),
        api.layers.BatchNormalization(),
        api.layers.GlobalAveragePooling1D(),
        api.layers.Dense(1),
    ]
    model = begin(api.Sequential([api.Input((5,)), *layers]))
    model.layers[1].set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)])
    model.compile(api.optimizers.SGD(0.1), "mse")
    return end(model, model.fit(words, FIRST, epochs=3, **QUIET).history, x=words)


@script
def pooling_of_ones_own(api: Any, folder: Path) -> Any:
    steps = np.stack([X[:, :3], X[:, 3:], np.zeros_like(X[:, :3])], axis=1)

    class Mean(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, mask: Any = None) -> Any:
            counts = api.ops.cast(mask, "float32")[..., None]
            return api.ops.sum(inputs * counts, axis=1) / api.ops.sum(counts, axis=1)

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return None

        def gradient(self, inputs: Any, upstream: Any, mask: Any = None) -> Any:
            counts = np.asarray(mask, np.float32)[..., np.newaxis]
            return counts / counts.sum(axis=1, keepdims=True) * upstream[:, np.newaxis]

    layers = [api.layers.Masking(), api.layers.Dense(4, "tanh"), Mean(), api.layers.Dense(1)]
    model = compiled(begin(api.Sequential([api.Input((3, 3)), *layers])), "adam", "mse")
    return end(model, model.fit(steps, FIRST, epochs=2, **QUIET).history, x=steps)


@script
def stopped_within_an_epoch(api: Any, folder: Path) -> Any:
    found: list[Any] = []

    class Watch(api.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            found.append(self.model.evaluate(X[:16], LABELS[:16], verbose=0))
            logs["extra"] = 1.5

    model = compiled(mlp(api), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=3, batch_size=16, callbacks=[Watch()], **QUIET)
    return end(model, history.history, history.epoch, found, int(model.optimizer.iterations))


@script
def decoder_of_an_autoencoder(api: Any, folder: Path) -> Any:
    pixels = api.Input((6,))
    code = api.layers.Dense(2, activation="tanh", name="code")(pixels)
    whole = compiled(begin(api.Model(pixels, api.layers.Dense(6, name="pixels")(code))), "adam", "mse")
    whole.fit(X, X, epochs=2, **QUIET)
    start = api.Input((2,))
    decoder = api.Model(start, whole.get_layer("pixels")(start))
    encoder = api.Model(pixels, code)
    return [decoder.predict(encoder.predict(X, verbose=0), verbose=0), whole.predict(X, verbose=0)]
