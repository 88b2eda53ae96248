"""Trains with BackupAndRestore. `test_backup.py` kills this process and starts it again."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import engine as keras
from engine import callbacks, layers, optimizers
from engine._base import random_state

SAMPLES, FEATURES, CLASSES, EPOCHS = 230, 6, 3, 6


class Slow(callbacks.Callback):
    """Waits after each batch, so that the process can be killed there."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        time.sleep(0.02)


class Random(callbacks.Callback):
    """Draws random numbers from every generator in each call."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        import random

        self.model.optimizer.learning_rate = 0.01 * (1 + np.random.random() + random.random())  # noqa: NPY002 # backups contain the state of this generator too


class Widest(keras.metrics.Metric):
    """A metric with its own variable."""

    def __init__(self, name: str = "widest") -> None:
        super().__init__(name=name)
        self.seen = self.add_variable((), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen.assign(np.maximum(self.seen, np.ptp(y_pred)))

    def result(self) -> Any:
        return self.seen


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, SAMPLES)


def generated() -> Iterator[Any]:
    x, y = data()
    while True:
        rows = np.random.permutation(SAMPLES)[:32]  # noqa: NPY002 # drawn from NumPy's stream
        yield x[rows], y[rows]


class Batches(keras.utils.PyDataset):
    """Batches that are read by their number."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        x, y = data()
        return x[index * 28 : index * 28 + 28], y[index * 28 : index * 28 + 28]


def spread(y_true: Any, y_pred: Any) -> Any:
    return np.ptp(y_pred, axis=-1)


def network(optimizer: Any, python_metrics: bool = False, again: bool = False) -> keras.Sequential:
    hidden, drop, norm = layers.Dense(16, "relu"), layers.Dropout(0.3), layers.BatchNormalization()
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(16, "relu"),
            drop,
            norm,
            *([hidden, drop, hidden, norm] if again else []),
            layers.GaussianNoise(0.1),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    metrics = ["accuracy", keras.metrics.AUC(exact=True)]
    own = [Widest(), spread] if python_metrics else []
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=[*metrics, *own])
    return model


def stopping() -> list[Any]:
    return [
        callbacks.EarlyStopping("loss", patience=1, min_delta=0.02, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.05, factor=0.5),
    ]


Case = tuple[Callable[[], Any], dict[str, Any], Callable[[], list[Any]], dict[str, Any]]
CASES: dict[str, Case] = {
    "epochs": (lambda: optimizers.Adam(0.01), {}, list, {}),
    "batches": (lambda: optimizers.Adam(0.01), {"python_metrics": True}, list, {"save_freq": 3}),
    "double": (lambda: optimizers.Nadam(0.01), {}, list, {"save_freq": 5, "double_checkpoint": True}),
    "averages": (
        lambda: optimizers.Adam(optimizers.schedules.CosineDecay(0.02, 40), use_ema=True, ema_momentum=0.9),
        {},
        lambda: [callbacks.SwapEMAWeights(swap_on_epoch=True)],
        {},
    ),
    "accumulation": (
        lambda: optimizers.AdamW(0.01, gradient_accumulation_steps=3, amsgrad=True),
        {},
        list,
        {"save_freq": 2},
    ),
    "layers used again": (lambda: optimizers.Adam(0.01), {"again": True}, list, {"save_freq": 3}),
    "callbacks": (lambda: optimizers.SGD(0.1, momentum=0.9), {}, lambda: [*stopping(), Random()], {}),
    "steps": (lambda: optimizers.Adafactor(0.01), {"steps_per_epoch": 5}, lambda: [Random()], {"save_freq": 4}),
    "generator": (lambda: optimizers.RMSprop(0.01), {"x": generated, "steps_per_epoch": 7}, list, {"save_freq": 3}),
    "numbers": (lambda: optimizers.Lion(0.001), {"x": Batches}, list, {"save_freq": 3}),
    "validation": (
        lambda: optimizers.Ftrl(0.05),
        {"validation_split": 0.2, "shuffle": "batch", "class_weight": "balanced"},
        lambda: [callbacks.ReduceLROnPlateau(patience=1, min_delta=0.1)],
        {"save_freq": 2},
    ),
}  # fmt: skip


def digest(name: str, folder: str | None, extra: list[Any]) -> tuple[str, Any]:
    """Runs the training of that name. Returns the SHA-256 of weights and optimizer state, and the history."""
    make, options, more, backup = CASES[name]
    keras.utils.set_random_seed(7)
    options = dict(options)
    model = network(make(), options.pop("python_metrics", False), options.pop("again", False))
    x, y = data()
    source = options.pop("x", None)
    fed = {"x": x, "y": y} if source is None else {"x": source()}
    listed = [callbacks.BackupAndRestore(folder, **backup)] if folder else []
    history = model.fit(**fed, epochs=EPOCHS, verbose=0, callbacks=[*listed, *more(), *extra], **options)
    sha = hashlib.sha256()
    for array in [*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)]:
        sha.update(np.ascontiguousarray(array).tobytes())
    sha.update(repr(random_state.next_key()).encode())
    return sha.hexdigest(), history


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdout.write(digest(sys.argv[1], sys.argv[2], [Slow()])[0])
