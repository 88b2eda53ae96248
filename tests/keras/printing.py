"""Prints what one library prints, in a process of its own: `python printing.py keras|engine CASE...`.

The clock advances by a second in each batch, so that seconds agree and every batch is shown.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

CLASSES, FEATURES, SAMPLES = 3, 6, 100


SEPARATOR = "==== next ===="


def main(library: str, *cases: str) -> None:
    if library == "keras":
        import keras as api
    else:
        import engine as api
    for case in cases:
        show(api, case)
        sys.stdout.write(SEPARATOR)
        sys.stdout.flush()


def show(api: Any, case: str) -> None:
    kind, verbose = case.split("-")
    now = [1e9]
    time.time = lambda: now[0]  # both libraries use this clock

    class Tick(api.callbacks.Callback):  # of either library
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now[0] += 1.0

        on_test_batch_end = on_predict_batch_end = on_train_batch_end

    model = api.Sequential(
        [api.Input((FEATURES,)), api.layers.Dense(8, activation="relu"), api.layers.Dense(CLASSES)],
        name="net",
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, array.shape).astype(np.float32) for array in model.get_weights()])
    x, y = rng.random((SAMPLES, FEATURES), np.float32), rng.random((SAMPLES, CLASSES), np.float32)
    model.compile(api.optimizers.SGD(0.1), "mse", metrics=["mse"])
    # Keras draws its progress bar into files too, while "auto" prints lines there.
    known = {"auto": 2 if api.__name__ == "keras" and not sys.stdout.isatty() else "auto"}
    options: dict[str, Any] = {"verbose": known[verbose] if verbose in known else int(verbose)}
    if kind == "summary":
        model.summary()
        model.fit(x, y, verbose=0)
        model.summary(line_length=60)
    elif kind == "predict":
        model.predict(x, callbacks=[Tick()], **options)
    elif kind == "evaluate":
        model.evaluate(x, y, callbacks=[Tick()], **options)
    else:
        model.fit(x, y, shuffle=False, callbacks=[Tick(), *callbacks(api, kind)], **options, **FITS[kind])


FITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "epochs": {"epochs": 2},
    "validation": {"epochs": 2, "validation_split": 0.2},
    "frequency": {"epochs": 3, "validation_split": 0.2, "validation_freq": 2},
    "long": {"batch_size": 1},
    "stopping": {"epochs": 5, "validation_split": 0.2},
    "plateau": {"epochs": 3, "validation_split": 0.2},
    "schedule": {"epochs": 2},
}


def callbacks(api: Any, kind: str) -> list[Any]:
    if kind == "stopping":
        return [api.callbacks.EarlyStopping(min_delta=9.0, patience=1, verbose=1, restore_best_weights=True)]
    if kind == "plateau":
        return [api.callbacks.ReduceLROnPlateau(min_delta=9.0, patience=1, verbose=1)]
    if kind == "schedule":
        return [api.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1), verbose=1)]
    return []


if __name__ == "__main__":
    main(*sys.argv[1:])
