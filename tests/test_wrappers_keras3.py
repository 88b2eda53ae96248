"""Tests of `SKLearnClassifier`, `SKLearnRegressor` and `SKLearnTransformer`, the wrappers of Keras 3."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from common import compiled
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from wrappers_cases import NAMES, X3, XR, YR, X, Y, hidden

import engine as keras
from engine.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

QUIET = {"epochs": 20, "verbose": 0}


def build(X: Any, y: Any, loss: str, units: int = 8) -> Any:  # noqa: N803
    activation = "linear" if loss == "mse" else "softmax"
    return compiled(hidden(X.shape[1], units, y.shape[1], activation), keras.optimizers.Adam(0.02), loss)


def classifier(**options: Any) -> SKLearnClassifier:
    return SKLearnClassifier(
        build, model_kwargs={"loss": "categorical_crossentropy"}, fit_kwargs=QUIET, **options
    )


def regressor(**options: Any) -> SKLearnRegressor:
    return SKLearnRegressor(build, model_kwargs={"loss": "mse"}, fit_kwargs=QUIET, **options)


def test_a_classifier() -> None:
    found = classifier().fit(X3, NAMES)
    assert found.classes_.tolist() == sorted(set(NAMES))
    assert found.score(X3, NAMES) > 0.8
    outputs = found.decision_function(X3)
    assert outputs.shape == (150, 3)
    assert (found.classes_[outputs.argmax(axis=1)] == found.predict(X3)).all()
    assert found.predict(X3[:1]).shape == (1,)
    with pytest.warns(DataConversionWarning):
        assert classifier().fit(X, Y.reshape(-1, 1)).predict(X).shape == (160,)


def test_a_regressor() -> None:
    assert regressor().fit(XR, YR).score(XR, YR) > 0.5
    two = np.stack([YR, -YR], 1)
    assert regressor().fit(XR, two).predict(XR).shape == (120, 2)


def test_a_transformer() -> None:
    found = SKLearnTransformer(build, model_kwargs={"loss": "mse"}, fit_kwargs=QUIET)
    assert found.fit(XR, YR).transform(XR).shape == (120, 1)
    assert make_pipeline(found, LogisticRegression()).fit(XR, YR > 0).score(XR, YR > 0) > 0.6


def test_arguments_of_fit_come_first() -> None:
    found = classifier().fit(X3, NAMES, epochs=2)
    assert found.history_.epoch == [0, 1]
    assert found.epoch_ == 2
    assert found.fit_kwargs == QUIET
    assert classifier().epoch_ == 0


def test_a_model_is_copied_unless_it_starts_warm() -> None:
    model = build(X, np.eye(2)[Y], "categorical_crossentropy")
    before = model.get_weights()
    found = SKLearnClassifier(model, fit_kwargs=QUIET).fit(X, Y)
    assert found.model_ is not model
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    warm = SKLearnClassifier(model, warm_start=True, fit_kwargs=QUIET).fit(X, Y)
    assert warm.model_ is model
    assert model.optimizer.iterations == 100
    assert warm.fit(X, Y).model_ is model
    assert model.optimizer.iterations == 200


def test_warm_start_of_a_function_continues() -> None:
    found = classifier(warm_start=True).fit(X, Y)
    first = found.model_
    assert found.fit(X, Y).model_ is first


def test_searches_and_copies() -> None:
    assert cross_val_score(classifier(), X3, NAMES, cv=3, n_jobs=2).shape == (3,)
    kinds = [{"loss": "categorical_crossentropy", "units": units} for units in (4, 8)]
    search = GridSearchCV(classifier(), {"model_kwargs": kinds}, cv=2).fit(X, Y)
    assert search.best_estimator_.model_.layers[0].units == search.best_params_["model_kwargs"]["units"]
    copied = clone(classifier())
    assert copied.fit_kwargs == QUIET
    model = build(X, np.eye(2)[Y], "categorical_crossentropy")
    copied = clone(SKLearnClassifier(model))
    assert copied.model is not model
    np.testing.assert_array_equal(copied.model.get_weights()[0], model.get_weights()[0])
    found = classifier().fit(X, Y)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(found)).decision_function(X), found.decision_function(X)
    )


def test_what_is_refused() -> None:
    with pytest.raises(RuntimeError, match="the model must be compiled with a loss and an optimizer"):
        SKLearnClassifier(hidden(8, 4, 2, "softmax")).fit(X, Y)
    with pytest.raises(RuntimeError, match="the model must be compiled"):
        SKLearnClassifier(lambda X, y: hidden(8, 4, 2, "softmax")).fit(X, Y)  # noqa: N803
    with pytest.raises(ValueError, match=r"supported\. Target type: continuous"):
        classifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="y should be a 1d array"):
        classifier().fit(X, np.stack([Y, 1 - Y], 1))
    with pytest.raises(ValueError, match="Classifier can't train when only one class is present"):
        classifier().fit(X, np.zeros(160))
    with pytest.raises(NotFittedError):
        classifier().predict(X)


def test_requests_of_metadata() -> None:
    with pytest.raises(RuntimeError, match="requests need metadata routing"):
        classifier().set_fit_request(sample_weight=True)
    seen: list[Any] = []

    class Seeing(SKLearnClassifier):
        def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:  # noqa: N803
            seen.extend(kwargs)
            return super().fit(X, y, **kwargs)

    found = Seeing(build, model_kwargs={"loss": "categorical_crossentropy"}, fit_kwargs=QUIET)
    with config_context(enable_metadata_routing=True):
        found.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        assert cross_val_score(found, X, Y, cv=2, params={"sample_weight": np.ones(160)}).shape == (2,)
    assert seen == ["sample_weight"] * 2
