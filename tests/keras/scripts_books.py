"""Scripts like those of books and of competition notebooks, with callbacks and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import BINARY, LABELS, ONE_HOT, QUIET, TARGETS, X, begin, end, mlp, script

SPARSE = "sparse_categorical_crossentropy"


@script
def folds(api: Any, folder: Path) -> Any:
    found = []
    for part in np.split(np.arange(60), 2):
        rest = np.setdiff1d(np.arange(60), part)
        model = compiled(mlp(api, 1, None), "rmsprop", "mean_squared_error", metrics=["mean_absolute_error"])
        data = (X[part], TARGETS[part, 0])
        history = model.fit(X[rest], TARGETS[rest, 0], validation_data=data, epochs=2, batch_size=16, **QUIET)
        found.append([history.history, *model.evaluate(*data, verbose=0)])
    return found


@script
def one_cycle(api: Any, folder: Path) -> Any:
    class OneCycle(api.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, steps: int, peak: float) -> None:
            super().__init__()
            self.steps, self.peak, self.step = steps, peak, 0
            self.rates: list[float] = []
            self.losses: list[float] = []

        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            half = self.steps / 2
            self.model.optimizer.learning_rate = self.peak * (1.01 - abs(self.step - half) / half)
            self.step += 1

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.rates.append(float(np.asarray(self.model.optimizer.learning_rate)))
            self.losses.append(float(logs["loss"]))

    cycle, model = OneCycle(18, 0.05), mlp(api)
    model.compile(api.optimizers.SGD(), SPARSE, metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=3, batch_size=10, callbacks=[cycle], **QUIET)
    return end(model, history.history, cycle.rates, cycle.losses)


@script
def cloned_and_frozen(api: Any, folder: Path) -> Any:
    base = compiled(mlp(api), "sgd", SPARSE)
    base.fit(X, LABELS, **QUIET)
    base.save(folder / "base.keras")
    base = api.models.load_model(folder / "base.keras")
    clone = api.models.clone_model(base)
    clone.set_weights(base.get_weights())
    model = api.Sequential(clone.layers[:-1])
    model.add(api.layers.Dense(1, activation="sigmoid"))
    model.build((None, 6))
    model.layers[-1].set_weights([np.full((8, 1), 0.1), np.zeros(1)])
    found = []
    for learns, rate in ((False, 1e-2), (True, 1e-3)):
        for layer in model.layers[:-1]:
            layer.trainable = learns
        model.compile(api.optimizers.SGD(rate), "binary_crossentropy", metrics=["accuracy"])
        found.append(model.fit(X, BINARY, epochs=2, validation_data=(X, BINARY), **QUIET).history)
    return end(model, *found, *base.get_weights())


@script
def metric_of_metrics(api: Any, folder: Path) -> Any:
    class F1(api.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "f1", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.precision, self.recall = api.metrics.Precision(), api.metrics.Recall()

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.precision.update_state(y_true, y_pred, sample_weight)
            self.recall.update_state(y_true, y_pred, sample_weight)

        def result(self) -> Any:
            precision, recall = self.precision.result(), self.recall.result()
            return 2 * precision * recall / (precision + recall + api.backend.epsilon())

        def reset_state(self) -> None:
            self.precision.reset_state()
            self.recall.reset_state()

    model = compiled(mlp(api, 1, "sigmoid"), "adam", "binary_crossentropy", metrics=[F1(), "accuracy"])
    history = model.fit(X, BINARY[:, None], epochs=3, batch_size=16, validation_split=0.25, **QUIET)
    return end(model, history.history, model.evaluate(X, BINARY[:, None], verbose=0, return_dict=True))


@script
def metric_by_operations(api: Any, folder: Path) -> Any:
    ops = api.ops

    class MacroF1(api.metrics.Metric):  # type: ignore[misc]
        def __init__(self, classes: int = 3, name: str = "macro", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.classes = classes
            self.hits = self.add_weight(shape=(classes,), initializer="zeros", name="hits")
            self.seen = self.add_weight(shape=(classes,), initializer="zeros", name="seen")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            wanted = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.classes)
            given = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes)
            self.hits.assign_add(ops.sum(wanted * given, axis=0))
            self.seen.assign_add(ops.sum(wanted + given, axis=0))

        def result(self) -> Any:
            return ops.mean(2 * self.hits / (self.seen + 1e-7))

    model = compiled(mlp(api), "adam", SPARSE, metrics=[MacroF1()])
    return end(model, model.fit(X, LABELS, epochs=2, batch_size=16, **QUIET).history)


@script
def every_hook(api: Any, folder: Path) -> Any:
    calls: list[Any] = []

    def noting(name: str) -> Any:
        def hook(self: Any, *arguments: Any, logs: Any = None) -> None:
            *numbers, last = (*arguments, logs)
            given = numbers[-1] if numbers and last is None else last
            calls.append((name, [n for n in numbers if isinstance(n, int)], sorted(given or {})))

        return hook

    stages = ("train", "test", "predict")
    names = [f"on_{stage}_{end}" for stage in stages for end in ("begin", "end")]
    names += [f"on_{stage}_batch_{end}" for stage in stages for end in ("begin", "end")]
    names += ["on_epoch_begin", "on_epoch_end"]
    hooks = type("Hooks", (api.callbacks.Callback,), {name: noting(name) for name in names})()
    model = compiled(mlp(api), "sgd", SPARSE, metrics=["accuracy"])
    model.fit(X, LABELS, epochs=2, batch_size=30, validation_split=0.2, callbacks=[hooks], **QUIET)
    model.evaluate(X, LABELS, callbacks=[hooks], verbose=0)
    model.predict(X, callbacks=[hooks], verbose=0)
    return calls


@script
def files_of_checkpoints(api: Any, folder: Path) -> Any:
    keep = api.callbacks.ModelCheckpoint
    folder = folder / api.__name__
    hooks = [
        keep(str(folder / "{epoch:02d}-{val_loss:.2f}.keras")),
        keep(str(folder / "{epoch}.weights.h5"), save_weights_only=True),
        keep(str(folder / "best.keras"), monitor="val_accuracy", mode="max", save_best_only=True),
        keep(str(folder / "often.keras"), save_freq=3),
    ]
    folder.mkdir()
    model = compiled(mlp(api), "adam", SPARSE, metrics=["accuracy"])
    model.fit(X, LABELS, epochs=3, batch_size=20, validation_data=(X, LABELS), callbacks=hooks, **QUIET)
    best = api.models.load_model(folder / "best.keras")
    model.load_weights(folder / "1.weights.h5")
    return end(model, sorted(path.name for path in folder.iterdir()), best.evaluate(X, LABELS, verbose=0))


@script
def weights_of_many_epochs(api: Any, folder: Path) -> Any:
    kept: list[Any] = []
    keep = api.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(model.get_weights()))
    model = compiled(mlp(api), "sgd", SPARSE)
    model.fit(X, LABELS, epochs=3, callbacks=[keep], **QUIET)
    model.set_weights([np.mean(arrays, axis=0) for arrays in zip(*kept, strict=True)])
    return end(model)


@script
def metrics_of_classes(api: Any, folder: Path) -> Any:
    metrics = [
        api.metrics.AUC(20, "PR", name="area"),
        api.metrics.Recall(class_id=1, name="recall"),
        api.metrics.Precision(top_k=2, name="precision"),
        api.metrics.F1Score(average="macro"),
        api.metrics.PrecisionAtRecall(0.5, name="trade_off"),
        api.metrics.TopKCategoricalAccuracy(2, name="top_2"),
        api.metrics.CategoricalCrossentropy(label_smoothing=0.1),
    ]
    model = compiled(mlp(api), "adam", "categorical_crossentropy", metrics=metrics)
    return end(model, model.fit(X, ONE_HOT, epochs=2, validation_split=0.2, **QUIET).history)


@script
def time_windows(api: Any, folder: Path) -> Any:
    series = np.sin(np.arange(80) / 5).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(series, 6)[:70]
    model = begin(api.Sequential([api.Input((6,)), api.layers.Dense(8, "relu"), api.layers.Dense(1)]))
    model.compile(api.optimizers.Adam(0.01), api.losses.Huber(delta=0.7), metrics=["mae"])
    history = model.fit(windows, series[6:76], epochs=3, validation_split=0.25, **QUIET)
    future = list(series[-6:])
    for _ in range(4):
        future.append(float(model.predict(np.array(future[-6:])[None], verbose=0)[0, 0]))
    return end(model, history.history, future)
