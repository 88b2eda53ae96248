"""Scripts like published ones, about training and monitoring."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
from common import compiled
from scripting import BINARY, LABELS, ONE_HOT, QUIET, TARGETS, X, begin, end, mlp, script


@script
def tabular_regression(api: Any, folder: Path) -> Any:
    normalization = api.layers.Normalization(axis=-1)
    normalization.adapt(X * 3 + 1)
    model = api.Sequential([normalization, api.layers.Dense(8, "relu"), api.layers.Dense(2)])
    model.build((None, 6))
    start = [
        w if i < 3 else np.linspace(-0.4, 0.4, w.size).reshape(w.shape)
        for i, w in enumerate(model.get_weights())
    ]
    model.set_weights(start)
    model.compile(optimizer=api.optimizers.Adam(0.01), loss="mean_absolute_error", metrics=["mse"])
    history = model.fit(X, TARGETS, epochs=5, validation_split=0.2, **QUIET)
    return end(model, history.history)


@script
def multi_label(api: Any, folder: Path) -> Any:
    model = mlp(api, 3, "sigmoid")
    metrics = [api.metrics.BinaryAccuracy(), api.metrics.AUC(multi_label=True, name="auc")]
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    tags = (X[:, :3] > 0).astype(np.float32)
    history = model.fit(X, tags, epochs=3, batch_size=16, **QUIET)
    return end(model, history.history, model.evaluate(X, tags, verbose=0))


@script
def imbalanced(api: Any, folder: Path) -> Any:
    rare = (X[:, 0] > 1.0).astype(np.int64)
    weight = {0: 1.0, 1: len(rare) / rare.sum()}
    model = mlp(api, 1, "sigmoid")
    metrics = [
        "accuracy",
        api.metrics.Precision(name="p"),
        api.metrics.Recall(name="r"),
        api.metrics.AUC(name="prc", curve="PR"),
    ]
    model.compile(api.optimizers.Adam(1e-3), api.losses.BinaryCrossentropy(), metrics=metrics)
    history = model.fit(X, rare, epochs=4, batch_size=16, class_weight=weight, **QUIET)
    return end(model, history.history)


@script
def autoencoder(api: Any, folder: Path) -> Any:
    model = api.Sequential(name="autoencoder")
    model.add(api.Input(shape=(6,)))
    model.add(
        api.layers.Dense(3, activation="relu", name="code", activity_regularizer=api.regularizers.L1(1e-3))
    )
    model.add(api.layers.Dense(6, activation="linear", name="decoded"))
    begin(model)
    model.compile(optimizer="rmsprop", loss="mse")
    history = model.fit(X, X, epochs=4, batch_size=20, validation_data=(X[:10], X[:10]), **QUIET)
    encoder = api.Sequential([api.Input((6,)), api.layers.Dense(3, activation="relu")])
    encoder.layers[0].set_weights(model.get_layer("code").get_weights())
    return end(model, history.history, encoder.predict(X, verbose=0))


@script
def embeddings(api: Any, folder: Path) -> Any:
    words = np.random.default_rng(0).integers(0, 20, (60, 4))
    layers = [api.layers.Embedding(20, 5), api.layers.Flatten(), api.layers.Dense(1, "sigmoid")]
    model = begin(api.Sequential([api.Input((4,)), *layers]))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(words, BINARY, epochs=3, **QUIET)
    return end(model, history.history, x=words)


@script
def training_by_hand(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.compile(
        api.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    found = []
    for epoch in range(3):
        parts = [slice(first, first + 20) for first in range(0, 60, 20)]
        found += [model.train_on_batch(X[part], LABELS[part]) for part in parts]
        found.append(model.test_on_batch(X, LABELS, return_dict=True))
        found.append([epoch, *model.evaluate(X, LABELS, verbose=0)])
    return end(model, found, model.predict_on_batch(X[:4]))


@script
def summary(api: Any, folder: Path) -> Any:
    layers = [
        api.layers.Dense(8, activation="relu", name="first"),
        api.layers.BatchNormalization(name="norm"),
        api.layers.Dropout(0.5, name="drop"),
        api.layers.Dense(3, name="last"),
    ]
    model = api.Sequential([api.Input((6,)), *layers], name="net")
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=70)
    shapes = [model.input_shape, model.output_shape, model.count_params(), len(model.layers)]
    named = [(w.name, tuple(w.shape)) for w in model.weights]
    counts = [len(model.trainable_variables), len(model.non_trainable_weights), len(model.weights)]
    return ["\n".join(lines).split(), shapes, named, counts]


@script
def schedules(api: Any, folder: Path) -> Any:
    found = []
    for schedule in (
        api.optimizers.schedules.ExponentialDecay(0.1, decay_steps=5, decay_rate=0.9, staircase=True),
        api.optimizers.schedules.CosineDecay(0.05, 20, warmup_target=0.1, warmup_steps=4),
        api.optimizers.schedules.PiecewiseConstantDecay([4, 9], [0.1, 0.05, 0.01]),
    ):
        model = mlp(api)
        model.compile(api.optimizers.SGD(learning_rate=schedule), "sparse_categorical_crossentropy")
        found += [model.fit(X, LABELS, epochs=3, batch_size=20, **QUIET).history, *model.get_weights()]
        found.append(float(model.optimizer.learning_rate))
    return found


@script
def callbacks(api: Any, folder: Path) -> Any:
    seen: list[Any] = []
    path = folder / f"{api.__name__}.csv"
    hooks = [
        api.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: seen.append(("begin", epoch)),
            on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs))),
            on_train_end=lambda logs: seen.append(sorted(logs)),
        ),
        api.callbacks.CSVLogger(str(path)),
        api.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True),
        api.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_lr=1e-4),
        api.callbacks.TerminateOnNaN(),
    ]
    model = mlp(api)
    model.compile(api.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        X[:40], LABELS[:40], epochs=12, validation_data=(X[40:], LABELS[40:]), callbacks=hooks, **QUIET
    )
    with path.open(newline="") as file:
        rows = [
            [float(value) if number else value for value in row]
            for number, row in enumerate(csv.reader(file))
        ]
    found = [hooks[2].stopped_epoch, hooks[2].best_epoch, hooks[3].in_cooldown()]
    return end(model, history.history, history.epoch, seen, rows, *found)


@script
def callback_of_ones_own(api: Any, folder: Path) -> Any:
    class Recorder(api.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.batches: list[Any] = []
            self.params_seen = {k: self.params[k] for k in ("epochs", "steps")}

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches.append((batch, float(logs["loss"])))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs["accuracy"] > 0.3:
                self.model.stop_training = True

    model, recorder = mlp(api), Recorder()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=30, batch_size=16, callbacks=[recorder], **QUIET)
    return end(model, history.history, recorder.batches, recorder.params_seen)


@script
def metric_of_ones_own(api: Any, folder: Path) -> Any:
    ops = keras.ops if api is keras else np

    class Share(api.metrics.Metric):
        def __init__(self, name: str = "share", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.hits = self.add_weight(name="hits", initializer="zeros")
            self.seen = self.add_weight(name="seen", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.hits.assign_add(ops.sum(ops.max(y_pred, axis=-1)))
            self.seen.assign_add(ops.sum(ops.ones_like(y_pred[:, 0])))

        def result(self) -> Any:
            return self.hits / self.seen

    def spread(y_true: Any, y_pred: Any) -> Any:
        return ops.max(y_pred, axis=-1) - ops.min(y_pred, axis=-1)

    model = compiled(mlp(api), "adam", "categorical_crossentropy", metrics=[Share(), spread, "accuracy"])
    history = model.fit(X, ONE_HOT, epochs=3, validation_split=0.25, **QUIET)
    return end(model, history.history, model.evaluate(X, ONE_HOT, return_dict=True, verbose=0))


@script
def layer_of_ones_own(api: Any, folder: Path) -> Any:
    class Scale(api.layers.Layer):
        def __init__(self, start: float = 1.0, **options: Any) -> None:
            super().__init__(**options)
            self.start = start

        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(
                shape=(input_shape[-1],), initializer="ones", trainable=True, name="factor"
            )

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor * self.start

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream * self.factor * self.start, (upstream * inputs * self.start).sum(axis=0)

        def get_config(self) -> Any:
            return {**super().get_config(), "start": self.start}

    model = begin(
        api.Sequential([api.Input((6,)), api.layers.Dense(5, "relu"), Scale(2.0), api.layers.Dense(2)])
    )
    model.compile("adam", "mse")
    history = model.fit(X, TARGETS, epochs=3, **QUIET)
    copy = Scale.from_config(model.layers[1].get_config())
    return end(model, history.history, copy.start, model.count_params())


@script
def loss_of_ones_own(api: Any, folder: Path) -> Any:
    ops = keras.ops if api is keras else np

    class Quantile(api.losses.Loss):
        def __init__(self, q: float = 0.8, name: str = "quantile", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.q = q

        def call(self, y_true: Any, y_pred: Any) -> Any:
            error = y_true - y_pred
            return ops.mean(ops.maximum(self.q * error, (self.q - 1) * error), axis=-1)

        def gradient(self, y_true: Any, y_pred: Any) -> Any:
            return np.where(y_true > y_pred, -self.q, 1 - self.q) / y_pred.shape[-1]

    model = compiled(mlp(api, 2, None), "adam", Quantile(), metrics=["mae"])
    history = model.fit(X, TARGETS, epochs=3, sample_weight=np.linspace(0, 2, 60), **QUIET)
    return end(model, history.history)


@script
def one_hot_and_sparse(api: Any, folder: Path) -> Any:
    found = []
    for loss, y in (("categorical_crossentropy", ONE_HOT), ("sparse_categorical_crossentropy", LABELS)):
        model = mlp(api)
        model.compile(
            "adam",
            loss,
            metrics=[
                "accuracy",
                "top_k_categorical_accuracy" if y is ONE_HOT else "sparse_top_k_categorical_accuracy",
            ],
        )
        found += end(model, model.fit(X, y, epochs=2, **QUIET).history)
    logits = mlp(api, 3, None)
    logits.compile("adam", api.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return [*found, *end(logits, logits.fit(X, LABELS, epochs=2, **QUIET).history)]


@script
def quickstart(api: Any, folder: Path) -> Any:
    images = np.random.default_rng(1).integers(0, 256, (60, 4, 4)).astype(np.uint8) / 255.0
    layers = [api.layers.Dense(16, activation="relu"), api.layers.Dropout(0.0), api.layers.Dense(10)]
    model = begin(api.models.Sequential([api.layers.Flatten(input_shape=(4, 4)), *layers]))
    predictions = np.asarray(model(images[:1]))
    loss_fn = api.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss_fn, metrics=["accuracy"])
    first = float(loss_fn(LABELS[:1], predictions))
    history = model.fit(images, LABELS, epochs=2, **QUIET).history
    probability_model = api.Sequential([model, api.layers.Softmax()])
    found = [predictions, first, history, np.asarray(probability_model(images[:5]))]
    return end(model, *found, probability_model.count_params(), len(probability_model.layers), x=images)
