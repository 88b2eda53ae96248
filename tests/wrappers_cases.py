"""Build functions and data for the tests of `engine.wrappers`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from common import compiled
from sklearn.datasets import load_iris, make_classification, make_regression

import engine as keras
from engine.wrappers import KerasClassifier, KerasRegressor

X, Y = make_classification(160, 8, n_informative=6, class_sep=1.5, random_state=7)
X3, Y3 = load_iris(return_X_y=True)
NAMES = [f"Iris-{('setosa', 'versicolor', 'virginica')[number]}" for number in Y3]
XR, YR = make_regression(120, 5, n_informative=5, random_state=0)
YR = YR / YR.std()


def hidden(inputs: int, units: int, outputs: int, activation: str) -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )


def for_any_labels(meta: dict[str, Any], units: int = 16) -> keras.Sequential:
    """Returns a model whose outputs fit the labels, without compiling it."""
    inputs, kind = meta["n_features_in_"], meta["target_type_"]
    if kind == "multiclass":
        return hidden(inputs, units, meta["n_classes_"], "softmax")
    return hidden(inputs, units, meta["n_classes_"] if kind == "multilabel-indicator" else 1, "sigmoid")


def compiled_for_any_labels(meta: dict[str, Any], units: int = 16, learning_rate: float = 0.01) -> Any:
    model = for_any_labels(meta, units)
    several = meta["target_type_"] == "multiclass"
    loss = "sparse_categorical_crossentropy" if several else "binary_crossentropy"
    return compiled(model, keras.optimizers.Adam(learning_rate), loss=loss)


def for_numbers(meta: dict[str, Any], units: int = 16) -> keras.Sequential:
    return hidden(meta["n_features_in_"], units, meta["n_outputs_"], "linear")


def compiled_for_numbers(meta: dict[str, Any]) -> keras.Sequential:
    return compiled(for_numbers(meta), keras.optimizers.Adam(0.01), "mse")


class Named:
    """A function whose `repr` has no address, so that the names of tests are the same in every process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return str(self.__name__)  # type: ignore[attr-defined]


def binary_model() -> keras.Sequential:
    model = hidden(8, 12, 1, "sigmoid")
    return compiled(model, loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])


def classifier(**options: Any) -> KerasClassifier:
    defaults = {"epochs": 8, "batch_size": 16, "verbose": 0, "random_state": 0}
    return KerasClassifier(compiled_for_any_labels, **(defaults | options))


def regressor(**options: Any) -> KerasRegressor:
    defaults: dict[str, Any] = {
        "epochs": 30,
        "batch_size": 16,
        "verbose": 0,
        "random_state": 0,
        "loss": "mse",
    }
    defaults |= {"optimizer": "adam", "optimizer__learning_rate": 0.01}
    return KerasRegressor(for_numbers, **(defaults | options))
