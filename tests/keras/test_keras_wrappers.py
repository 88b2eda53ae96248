"""Compares the wrappers of `keras.wrappers` with those of Keras: arguments, attributes, predictions, messages."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import keras.wrappers
import numpy as np
import pytest
from twins import Make, twins
from wrappers_cases import NAMES, X3, XR, Y3, YR

import engine

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras' variables

NAMES_OF_WRAPPERS = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def make(outputs: int) -> Make:
    """Returns a function that builds a compiled model. It is written for either library."""

    def build(api: Any) -> Any:
        activation, loss = ("softmax", "categorical_crossentropy") if outputs > 1 else ("linear", "mse")
        model = api.Sequential(
            [
                api.Input((4 if outputs > 1 else 5,)),
                api.layers.Dense(6, activation="tanh"),
                api.layers.Dense(outputs, activation=activation),
            ]
        )
        model.compile(api.optimizers.SGD(0.05), loss)
        return model

    return build


@pytest.mark.parametrize("name", NAMES_OF_WRAPPERS)
def test_arguments(name: str) -> None:
    theirs, ours = getattr(keras.wrappers, name), getattr(engine.wrappers, name)
    for method in ("__init__", "fit", "predict", "transform", "decision_function", "score"):
        if hasattr(theirs, method):
            parameters = [inspect.signature(getattr(each, method)).parameters for each in (theirs, ours)]
            assert [each.default for each in parameters[0].values()] == [
                each.default for each in parameters[1].values()
            ]
            assert list(parameters[0]) == list(parameters[1])
    members = {member for member in dir(theirs) if not member.startswith("_")}
    assert members <= set(dir(ours))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("y", [Y3, np.array(NAMES), Y3.reshape(-1, 1)], ids=["numbers", "strings", "column"])
def test_classifiers(y: Any) -> None:
    pair = twins(make(3))
    options = {"epochs": 5, "shuffle": False, "verbose": 0}
    theirs = keras.wrappers.SKLearnClassifier(pair.keras, warm_start=True, fit_kwargs=options)
    ours = engine.wrappers.SKLearnClassifier(pair.engine, warm_start=True, fit_kwargs=options)
    # Keras copies the model in spite of `warm_start`: it gets the weights by a function.
    theirs.set_params(model=lambda X, y: pair.keras)  # noqa: N803
    theirs.fit(X3, y)
    ours.fit(X3, y)
    np.testing.assert_allclose(ours.decision_function(X3), theirs.decision_function(X3), rtol=1e-4, atol=1e-5)
    for found in (ours, theirs):
        assert found.classes_.tolist() == np.unique(y).tolist()
    np.testing.assert_array_equal(ours.predict(X3), theirs.predict(X3))
    assert ours.predict(X3).shape == theirs.predict(X3).shape
    assert ours.score(X3, y) == theirs.score(X3, y)
    np.testing.assert_allclose(
        ours.history_.history["loss"], theirs.history_.history["loss"], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES_OF_WRAPPERS[1:])
def test_regressors_and_transformers(name: str) -> None:
    pair = twins(make(1))
    options = {"epochs": 3, "shuffle": False, "verbose": 0}
    found = [
        getattr(api.wrappers, name)(lambda X, y, model=model: model, fit_kwargs=dict(options)).fit(XR, YR)  # noqa: N803
        for api, model in ((keras, pair.keras), (engine, pair.engine))
    ]
    predictions = [each.transform(XR) if name == "SKLearnTransformer" else each.predict(XR) for each in found]
    assert predictions[0].shape == predictions[1].shape
    np.testing.assert_allclose(predictions[1], predictions[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.stack([Y3, Y3], 1), "y should be a 1d array"),
        (Y3 + 0.5, "Only binary and multiclass target types are supported. Target type: continuous"),
        (np.zeros(150), "Classifier can't train when only one class is present"),
    ],
)
def test_what_both_refuse(y: Any, message: str) -> None:
    for api in (keras, engine):
        with pytest.raises(ValueError, match=message):
            api.wrappers.SKLearnClassifier(make(3)(api)).fit(X3, y)


def test_models_that_are_not_compiled() -> None:
    for api in (keras, engine):
        model = api.Sequential([api.Input((4,)), api.layers.Dense(3)])
        with pytest.raises(RuntimeError, match=r"model (needs to|must) be compiled"):
            api.wrappers.SKLearnClassifier(model).fit(X3, Y3)
