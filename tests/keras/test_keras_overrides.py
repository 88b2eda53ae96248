"""Overrides in subclasses of library classes work as in Keras or raise an error. They are never ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from common import assert_all_close, compiled
from scripting import LABELS, ONE_HOT, QUIET, TARGETS, X, begin, mlp
from twins import assert_same_histories

import engine

Write = Callable[[Any], Any]


def mean_of_the_first(api: Any) -> Any:
    class First(api.metrics.MeanSquaredError):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true[:, :1], y_pred[:, :1], sample_weight)

    return First(name="first")


def auc_of_a_class(api: Any) -> Any:
    class OfClass(api.metrics.AUC):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true[:, 1], y_pred[:, 1], sample_weight)

    return OfClass(name="of_class")


def accuracy_of_two_classes(api: Any) -> Any:
    class Coarse(api.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true % 2, y_pred[:, :2], sample_weight)

        def result(self) -> Any:
            return 100 * super().result()

    return Coarse(name="coarse")


METRICS: dict[str, tuple[Write, str, Any, tuple[int, str | None]]] = {
    "mean": (mean_of_the_first, "mse", TARGETS, (2, None)),
    "auc": (auc_of_a_class, "categorical_crossentropy", ONE_HOT, (3, "softmax")),
    "class indices": (accuracy_of_two_classes, "sparse_categorical_crossentropy", LABELS, (3, "softmax")),
}


@pytest.mark.parametrize("case", METRICS)
def test_metrics(case: str) -> None:
    write, loss, y, (outputs, activation) = METRICS[case]
    histories = []
    for api in (keras, engine):
        model = mlp(api, outputs, activation)
        model.compile("sgd", loss, metrics=[write(api), "mse"] if y.ndim > 1 else [write(api)])
        histories.append(model.fit(X, y, epochs=2, batch_size=16, validation_split=0.2, **QUIET).history)
    assert_same_histories(*histories, rtol=1e-4)


def test_constraints() -> None:
    def trained(api: Any) -> Any:
        class NonPositive(api.constraints.NonNeg):  # type: ignore[misc]
            def __call__(self, w: Any) -> Any:
                return -super().__call__(-w)

        dense = api.layers.Dense(2, kernel_constraint=NonPositive())
        model = compiled(begin(api.Sequential([api.Input((6,)), dense])), "sgd", "mse")
        model.fit(X, TARGETS, **QUIET)
        return model.get_weights()

    assert_all_close(trained(engine), trained(keras), rtol=1e-5, atol=1e-6)


def test_regularizers() -> None:
    def history(api: Any) -> Any:
        class Twice(api.regularizers.L2):  # type: ignore[misc]
            def __call__(self, x: Any) -> Any:
                return 2 * super().__call__(x)

            def gradient(self, x: Any) -> Any:
                return 4 * self.l2 * np.asarray(x)

        dense = api.layers.Dense(2, kernel_regularizer=Twice(0.1))
        model = compiled(begin(api.Sequential([api.Input((6,)), dense])), "sgd", "mse")
        return model.fit(X, TARGETS, epochs=2, **QUIET).history

    assert_same_histories(history(keras), history(engine))


def test_a_penalty_of_ones_own_needs_its_gradient() -> None:
    class Twice(engine.regularizers.L2):
        def __call__(self, x: Any) -> float:
            return 2 * float(np.sum(np.square(np.asarray(x))))  # a symbol is no array

    model = engine.Sequential([engine.Input((6,)), engine.layers.Dense(2, kernel_regularizer=Twice(0.1))])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="Twice needs a method gradient"):
        model.fit(X, TARGETS, **QUIET)


@pytest.mark.parametrize(
    ("base", "method", "message"),
    [
        (engine.layers.Dense, "call", r"Mine can't override `call` of Dense"),
        (engine.layers.Dense, "build", "Mine can't override `build` of Dense"),
        (engine.optimizers.SGD, "update_step", "Mine can't have an `update_step` of its own"),
        (engine.optimizers.Optimizer, "update_step", "Mine can't have an `update_step` of its own"),
        (engine.Sequential, "make_train_function", "Mine can't have a `make_train_function`"),
        (engine.Sequential, "call", "Mine can't have a `call` of its own"),
    ],
)
def test_what_nobody_would_call_is_refused(base: Any, method: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Mine", (base,), {method: lambda self, *_: None})


def test_what_layers_ask_themselves() -> None:
    for api in (keras, engine):
        layer = api.layers.Dense(2)
        assert (layer.compute_dtype, layer.variable_dtype) == ("float32", "float32")


def test_symbols_have_no_numbers() -> None:
    for api in (keras, engine):
        hidden = api.layers.Dense(2)(api.Input((6,)))
        with pytest.raises(ValueError, match=r"numerical value|has no value"):
            np.asarray(hidden)


def test_models_are_named_after_their_class() -> None:
    names = []
    for api in (keras, engine):
        api.utils.clear_session()
        kind = type("WideNet", (api.Sequential,), {})
        names.append([kind().name, kind().name, api.Sequential().name])
    assert names[1] == names[0]


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (1, TARGETS[:, 0]),
        (1, LABELS.astype(bool)),
        (1, pd.Series(TARGETS[:, 0])),
        (3, ONE_HOT.astype(np.uint8)),
        (3, LABELS),
        (3, LABELS[:, np.newaxis]),
    ],
)
def test_what_ones_own_metrics_and_losses_get(outputs: int, targets: Any) -> None:
    """The targets are the same, except that class indices stay integers for losses."""
    seen: list[Any] = []

    def form(array: Any) -> tuple[Any, str]:
        return tuple(array.shape), np.dtype(array.dtype).name

    def parts(api: Any) -> tuple[Any, Any, Any, Any]:
        class Own(api.metrics.Metric):  # type: ignore[misc]
            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                seen.append(("metric", form(y_true), sample_weight is None))

            def result(self) -> float:
                return 0.0

        class Error(api.losses.Loss):  # type: ignore[misc]
            def call(self, y_true: Any, y_pred: Any) -> Any:
                seen.append(("loss", form(y_true)[0], form(y_pred)))
                return y_pred[:, 0] * 0.0

            def gradient(self, y_true: Any, y_pred: Any) -> Any:
                return y_pred * 0.0

        def value(y_true: Any, y_pred: Any) -> Any:
            seen.append(("function", form(y_true), form(y_pred)))
            return y_pred[:, 0]

        def error(y_true: Any, y_pred: Any) -> Any:
            seen.append(("loss function", form(y_true)[0], form(y_pred)))
            return y_pred[:, 0] * 0.0

        error.gradient = lambda y_true, y_pred: y_pred * 0.0  # type: ignore[attr-defined] # for us
        return Own(), value, Error(), error

    found = []
    for api in (keras, engine):
        metric, value, own_loss, error = parts(api)
        for each, weights in ((own_loss, None), (error, np.ones(len(X)))):
            model = mlp(api, outputs, "softmax" if outputs > 1 else None)
            weighted = None if weights is None else [metric]
            model.compile("sgd", each, metrics=[metric, value], weighted_metrics=weighted)
            model.evaluate(X, targets, sample_weight=weights, batch_size=len(X), verbose=0)
        found.append(set(map(str, seen)))
        seen.clear()
    assert found[0] == found[1]
