"""Scripts with custom layers, losses, metrics, initializers, penalties and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import compiled
from scripting import LABELS, QUIET, TARGETS, X, begin, end, mlp, script

SPARSE = "sparse_categorical_crossentropy"


def build(api: Any, *layers: Any, shape: Any = (6,)) -> Any:
    return begin(api.Sequential([api.Input(shape), *layers]))


@script
def custom_linear_layer(api: Any, folder: Path) -> Any:
    class Linear(api.layers.Layer):
        def __init__(self, units=32, **kw):
            super().__init__(**kw)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True, name="w"
            )
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="b")

        def call(self, inputs):
            return api.ops.matmul(inputs, self.w) + self.b

        def gradient(self, inputs, upstream):
            return upstream @ np.asarray(self.w).T, inputs.T @ upstream, upstream.sum(0)

        def get_config(self):
            c = super().get_config()
            c.update({"units": self.units})
            return c

    model = begin(
        api.Sequential([api.Input((6,)), Linear(4), api.layers.ReLU(), Linear(3), api.layers.Softmax()])
    )
    model.compile("adam", SPARSE)
    history = model.fit(X, LABELS, epochs=2, **QUIET)
    model.save(folder / "l.keras")
    n = api.models.load_model(folder / "l.keras", custom_objects={"Linear": Linear})
    return end(model, history.history, n.predict(X[:2], verbose=0), [w.name for w in model.layers[0].weights])


@script
def registered_layer(api: Any, folder: Path) -> Any:
    @api.saving.register_keras_serializable(package="MyL")
    class Scale(api.layers.Layer):
        def __init__(self, f, **kw):
            super().__init__(**kw)
            self.f = f

        def call(self, x):
            return x * self.f

        def gradient(self, x, up):
            return up * self.f

        def get_config(self):
            return {**super().get_config(), "f": self.f}

    model = compiled(begin(api.Sequential([api.Input((6,)), Scale(2.0), api.layers.Dense(1)])), "sgd", "mse")
    model.fit(X, TARGETS[:, 0], **QUIET)
    model.save(folder / "s.keras")
    return [
        api.models.load_model(folder / "s.keras").predict(X[:2], verbose=0),
        model.get_config()["layers"][1]["registered_name"],
    ]


@script
def lambda_layer(api: Any, folder: Path) -> Any:
    model = begin(
        api.Sequential([api.Input((6,)), api.layers.Lambda(lambda x: x / 2.0), api.layers.Dense(2)])
    )
    return [model.predict(X[:3], verbose=0), model.output_shape]


@script
def loss_with_arg(api: Any, folder: Path) -> Any:
    ops = api.ops

    def make_huber(threshold=1.0):
        def huber(t, p):
            e = t - p
            s = ops.abs(e) < threshold
            return ops.where(s, ops.square(e) / 2, threshold * ops.abs(e) - threshold**2 / 2)

        huber.gradient = lambda t, p: np.clip(p - t, -threshold, threshold)
        return huber

    model = compiled(mlp(api, 1, None), "sgd", loss=make_huber(2.0))
    hh = model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model, hh.history)


@script
def streaming_metric(api: Any, folder: Path) -> Any:
    class HuberMetric(api.metrics.Metric):
        def __init__(self, threshold=1.0, **kw):
            super().__init__(**kw)
            self.threshold = threshold
            self.total = self.add_weight(name="total", initializer="zeros")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            ops = api.ops
            model = ops.abs(y_true - y_pred)
            self.total.assign(self.total + ops.sum(model))
            self.count.assign(self.count + ops.cast(ops.size(y_true), "float32"))

        def result(self):
            return self.total / self.count

        def get_config(self):
            return {**super().get_config(), "threshold": self.threshold}

    model = compiled(mlp(api, 2, None), "sgd", "mse", metrics=[HuberMetric(2.0)])
    history = model.fit(X, TARGETS, epochs=2, **QUIET)
    return end(model, history.history, [v.name for v in model.metrics[-1].variables])


@script
def monte_carlo(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((6,)),
                k.Dense(16, activation="relu"),
                k.Dropout(0.5),
                k.Dense(3, activation="softmax"),
            ]
        )
    )
    ps = np.stack([np.asarray(model(X[:5], training=True)) for _ in range(10)])
    return [ps.shape, bool(ps.std(axis=0).max() > 0), np.asarray(model(X[:5], training=False))]


@script
def max_norm(api: Any, folder: Path) -> Any:
    k = api.layers
    model = begin(
        api.Sequential(
            [
                api.Input((6,)),
                k.Dense(8, activation="relu", kernel_constraint=api.constraints.MaxNorm(0.5)),
                k.Dense(3, activation="softmax", kernel_constraint="non_neg"),
            ]
        )
    )
    model.compile(api.optimizers.SGD(0.5), SPARSE)
    model.fit(X, LABELS, epochs=3, **QUIET)
    return end(model, np.linalg.norm(model.layers[0].get_weights()[0], axis=0).max() <= 0.5001)


@script
def own_schedule(api: Any, folder: Path) -> Any:
    class Warm(api.optimizers.schedules.LearningRateSchedule):
        def __init__(self, d, warm=10):
            self.d = d
            self.warm = warm

        def __call__(self, step):
            ops = api.ops
            step = ops.cast(step, "float32")
            return self.d**-0.5 * ops.minimum(ops.rsqrt(step + 1e-9), step * self.warm**-1.5)

        def get_config(self):
            return {"d": self.d, "warm": self.warm}

    model = compiled(mlp(api), api.optimizers.Adam(Warm(64.0)), SPARSE)
    history = model.fit(X, LABELS, epochs=2, batch_size=20, **QUIET)
    return end(model, history.history)


@script
def get_config_custom_metric_saved(api: Any, folder: Path) -> Any:
    @api.saving.register_keras_serializable()
    class MyMean(api.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(api.ops.abs(y_true - y_pred))

    model = compiled(mlp(api, 2, None), "sgd", "mse", metrics=[MyMean(name="mm")])
    history = model.fit(X, TARGETS, **QUIET)
    model.save(folder / "m.keras")
    n = api.models.load_model(folder / "m.keras")
    return [history.history, n.evaluate(X, TARGETS, verbose=0)]


@script
def saved_with_custom_loss(api: Any, folder: Path) -> Any:
    def my(t, p):
        return api.ops.mean(api.ops.abs(t - p), axis=-1)

    my.gradient = lambda t, p: np.sign(p - t) / p.shape[-1]
    model = compiled(mlp(api, 2, None), "sgd", my)
    model.fit(X, TARGETS, **QUIET)
    model.save(folder / "m.keras")
    n = api.models.load_model(folder / "m.keras", custom_objects={"my": my})
    return [n.evaluate(X, TARGETS, verbose=0)]


@script
def custom_initializer(api: Any, folder: Path) -> Any:
    def ini(shape, dtype=None):
        return api.ops.ones(shape) * 0.1

    class I2(api.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(shape, 0.2, "float32")

    k = api.layers
    model = api.Sequential(
        [
            api.Input((6,)),
            k.Dense(4, kernel_initializer=ini, activation="relu"),
            k.Dense(1, kernel_initializer=I2()),
        ]
    )
    return [model.predict(X[:2], verbose=0)]


@script
def custom_regularizer(api: Any, folder: Path) -> Any:
    class Penalty(api.regularizers.Regularizer):
        def __init__(self, s):
            self.s = s

        def __call__(self, x):
            return self.s * api.ops.sum(api.ops.square(x))

        def gradient(self, x):
            return 2 * self.s * x

        def get_config(self):
            return {"s": self.s}

    k = api.layers
    model = begin(api.Sequential([api.Input((6,)), k.Dense(4, kernel_regularizer=Penalty(0.01)), k.Dense(1)]))
    model.compile("sgd", "mse")
    history = model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model, history.history)


@script
def custom_constraint(api: Any, folder: Path) -> Any:
    class C(api.constraints.Constraint):
        def __call__(self, w):
            return w - api.ops.mean(w)

    k = api.layers
    model = begin(api.Sequential([api.Input((6,)), k.Dense(4, kernel_constraint=C()), k.Dense(1)]))
    model.compile("sgd", "mse")
    model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model)


@script
def custom_activation(api: Any, folder: Path) -> Any:
    def act(x):
        return x * api.ops.sigmoid(1.5 * x)

    def slope(x, up):
        s = 1 / (1 + np.exp(-1.5 * x))
        return up * (s + 1.5 * x * s * (1 - s))

    act.gradient = slope
    k = api.layers
    model = begin(
        api.Sequential([api.Input((6,)), k.Dense(4, activation=act), k.Activation(act), k.Dense(1)])
    )
    model.compile("sgd", "mse")
    history = model.fit(X, TARGETS[:, 0], epochs=2, **QUIET)
    return end(model, history.history)


@script
def config_roundtrip(api: Any, folder: Path) -> Any:
    model = mlp(api)
    c = model.get_config()
    n = api.Sequential.from_config(c)
    layer = api.layers.Dense.from_config(model.layers[0].get_config())
    return [
        n.output_shape,
        layer.units,
        layer.get_config()["activation"],
        sorted(api.layers.serialize(layer)),
    ]
