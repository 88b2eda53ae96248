"""Scripts about training: callbacks, learning rates, loops over batches, inspection."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import LABELS, ONE_HOT, QUIET, TARGETS, X, end, mlp, script

SPARSE = "sparse_categorical_crossentropy"


@script
def custom_metric_fn(api: Any, folder: Path) -> Any:
    ops = api.ops

    def within(y_true, y_pred):
        return ops.mean(ops.cast(ops.abs(y_true - y_pred) < 0.5, "float32"), axis=-1)

    model = compiled(mlp(api, 2, None), "sgd", "mse", metrics=[within, "mae"])
    history = model.fit(X, TARGETS, epochs=2, **QUIET)
    return end(model, history.history)


@script
def f1_by_metric(api: Any, folder: Path) -> Any:
    model = mlp(api)
    model.compile(
        "adam",
        "categorical_crossentropy",
        metrics=[
            api.metrics.F1Score(average="macro"),
            api.metrics.Precision(name="p"),
            api.metrics.Recall(name="r"),
            api.metrics.AUC(multi_label=True, num_labels=3, name="a"),
        ],
    )
    history = model.fit(X, ONE_HOT, epochs=2, **QUIET)
    return end(model, history.history, model.get_metrics_result())


@script
def train_on_batches(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "sgd", SPARSE, metrics=["accuracy"])
    out = []
    for _e in range(2):
        for i in range(0, 60, 20):
            r = model.train_on_batch(X[i : i + 20], LABELS[i : i + 20])
            out.append([float(v) for v in r])
        out.append([float(v) for v in model.test_on_batch(X, LABELS)])
    return end(model, out, model.predict_on_batch(X[:2]))


@script
def pydataset(api: Any, folder: Path) -> Any:
    class DS(api.utils.PyDataset):
        def __init__(self, x, y, bs, **kw):
            super().__init__(**kw)
            self.x, self.y, self.bs = x, y, bs

        def __len__(self):
            return int(np.ceil(len(self.x) / self.bs))

        def __getitem__(self, i):
            return self.x[i * self.bs : (i + 1) * self.bs], self.y[i * self.bs : (i + 1) * self.bs]

        def on_epoch_end(self):
            pass

    model = compiled(mlp(api), "adam", SPARSE, metrics=["accuracy"])
    d = DS(X, LABELS, 16)
    history = model.fit(d, epochs=2, validation_data=DS(X, LABELS, 30), **QUIET)
    return end(
        model, history.history, model.evaluate(d, verbose=0), model.predict(DS(X, LABELS, 7), verbose=0)
    )


@script
def backup_restore(api: Any, folder: Path) -> Any:
    class Interrupt(api.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("x")

    model = compiled(mlp(api), "sgd", SPARSE)
    cb = api.callbacks.BackupAndRestore(str(folder / "b"))
    with contextlib.suppress(RuntimeError):
        model.fit(X, LABELS, epochs=4, callbacks=[cb, Interrupt()], **QUIET)
    history = model.fit(X, LABELS, epochs=4, callbacks=[cb], **QUIET)
    return end(model, len(history.history["loss"]))


@script
def checkpoint_weights_best(api: Any, folder: Path) -> Any:
    p = str(folder / "w.{epoch:02d}-{val_loss:.2f}.weights.h5")
    model = compiled(mlp(api), "adam", SPARSE)
    model.fit(
        X,
        LABELS,
        epochs=3,
        validation_split=0.2,
        callbacks=[
            api.callbacks.ModelCheckpoint(
                p, monitor="val_loss", save_weights_only=True, save_best_only=False, verbose=0
            )
        ],
        **QUIET,
    )
    names = sorted(f.name for f in folder.iterdir())
    n = mlp(api)
    n.load_weights(folder / names[0])
    return [names, n.predict(X[:2], verbose=0)]


@script
def history_df(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "sgd", SPARSE, metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=3, validation_split=0.3, **QUIET)
    import pandas as pd

    df = pd.DataFrame(history.history)
    df["epoch"] = history.epoch
    return [list(df.columns), df.tail(1).values]


@script
def torch_like_loop(api: Any, folder: Path) -> Any:
    model = mlp(api, 1, None)
    opt = api.optimizers.Adam(1e-2)
    model.compile(opt, "mse")
    ls = []
    for step in range(10):
        idx = np.arange(step * 6, step * 6 + 6) % 60
        ls.append(float(model.train_on_batch(X[idx], TARGETS[idx, 0])))
    return end(model, ls, int(opt.iterations))


@script
def clip_options(api: Any, folder: Path) -> Any:
    out = []
    for kw in (
        {"clipnorm": 0.1},
        {"clipvalue": 0.05},
        {"global_clipnorm": 0.2},
        {"weight_decay": 0.01},
        {"use_ema": True, "ema_momentum": 0.9},
        {"gradient_accumulation_steps": 2},
    ):
        model = compiled(mlp(api), api.optimizers.Adam(1e-2, **kw), SPARSE)
        history = model.fit(X, LABELS, epochs=2, batch_size=20, **QUIET)
        out.append(end(model, history.history))
    return out


@script
def lr_read_write(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), api.optimizers.Adam(1e-3), SPARSE)
    a = float(model.optimizer.learning_rate)
    model.optimizer.learning_rate = 0.02
    b = float(model.optimizer.learning_rate)
    model.optimizer.learning_rate.assign(0.03)
    c = float(model.optimizer.learning_rate)
    model.fit(X, LABELS, **QUIET)
    return end(model, a, b, c, int(model.optimizer.iterations))


@script
def set_value_lr(api: Any, folder: Path) -> Any:
    class LRF(api.callbacks.Callback):
        def __init__(self, f):
            super().__init__()
            self.f = f
            self.r = []
            self.l = []

        def on_batch_end(self, b, logs):
            self.r.append(float(self.model.optimizer.learning_rate))
            self.l.append(float(logs["loss"]))
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * self.f

    model = compiled(mlp(api), api.optimizers.SGD(1e-3), SPARSE)
    c = LRF(1.1)
    model.fit(X, LABELS, epochs=2, batch_size=20, callbacks=[c], **QUIET)
    return [c.r, c.l]


@script
def continue_training(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", SPARSE)
    history = model.fit(X, LABELS, epochs=2, **QUIET)
    h2 = model.fit(X, LABELS, initial_epoch=2, epochs=4, **QUIET)
    return end(model, history.history, h2.history, h2.epoch)


@script
def early_stop_max(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", SPARSE, metrics=["accuracy"])
    es = api.callbacks.EarlyStopping(
        monitor="val_accuracy",
        mode="max",
        patience=1,
        min_delta=0.01,
        restore_best_weights=True,
        start_from_epoch=1,
    )
    history = model.fit(X, LABELS, validation_split=0.3, epochs=8, callbacks=[es], **QUIET)
    return end(
        model,
        history.history,
        es.stopped_epoch,
        es.best_epoch if hasattr(es, "best_epoch") else 0,
        float(es.best),
    )


@script
def gradient_norm_callback(api: Any, folder: Path) -> Any:
    class W(api.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.n = []

        def on_epoch_end(self, epoch, logs=None):
            self.n.append([float(np.linalg.norm(w)) for w in self.model.get_weights()])
            logs = logs or {}
            logs["wnorm"] = self.n[-1][0]

    model = compiled(mlp(api), "sgd", SPARSE)
    c = W()
    history = model.fit(X, LABELS, epochs=2, callbacks=[c], **QUIET)
    return [c.n, sorted(history.history)]


@script
def predict_in_callback(api: Any, folder: Path) -> Any:
    class P(api.callbacks.Callback):
        def __init__(self, x):
            super().__init__()
            self.x = x
            self.out = []

        def on_epoch_end(self, epoch, logs=None):
            self.out.append(self.model.predict(self.x, verbose=0))
            self.out.append(self.model.evaluate(X, LABELS, verbose=0))

    model = compiled(mlp(api), "sgd", SPARSE)
    c = P(X[:2])
    model.fit(X, LABELS, epochs=2, callbacks=[c], **QUIET)
    return [c.out]


@script
def params_in_callback(api: Any, folder: Path) -> Any:
    class P(api.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.p = dict(self.params)
            self.l = float(self.model.optimizer.learning_rate)

        def on_predict_end(self, logs=None):
            self.q = True

    model = compiled(mlp(api), "sgd", SPARSE)
    c = P()
    model.fit(X, LABELS, epochs=3, batch_size=16, callbacks=[c], **QUIET)
    model.predict(X, callbacks=[c], verbose=0)
    return [c.p["epochs"], c.p["steps"], c.l, c.q]


@script
def compile_again(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), "adam", SPARSE)
    model.fit(X, LABELS, **QUIET)
    model.compile(api.optimizers.SGD(1e-3), SPARSE, metrics=["accuracy"])
    history = model.fit(X, LABELS, **QUIET)
    return end(model, history.history)


@script
def swap_ema(api: Any, folder: Path) -> Any:
    model = compiled(mlp(api), api.optimizers.Adam(1e-2, use_ema=True, ema_overwrite_frequency=3), SPARSE)
    history = model.fit(
        X,
        LABELS,
        epochs=2,
        batch_size=20,
        validation_data=(X, LABELS),
        callbacks=[api.callbacks.SwapEMAWeights(swap_on_epoch=True)],
        **QUIET,
    )
    return end(model, history.history)
