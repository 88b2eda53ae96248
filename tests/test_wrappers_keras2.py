"""Tests of `engine.wrappers.scikit_learn`, the wrappers of Keras 2, with the scripts that were written for them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from common import compiled
from engine.wrappers.scikit_learn import KerasClassifier, KerasRegressor
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from wrappers_cases import NAMES, X3, XR, YR, X, Y

import engine as keras
from engine.layers import Dense, Dropout
from engine.models import Sequential
from engine.utils import to_categorical


def create_model(optimizer: str = "rmsprop", init: str = "glorot_uniform", dropout_rate: float = 0.0) -> Any:
    model = Sequential()
    model.add(Dense(12, input_dim=8, kernel_initializer=init, activation="relu"))
    model.add(Dropout(dropout_rate))
    model.add(Dense(8, kernel_initializer=init, activation="relu"))
    model.add(Dense(1, kernel_initializer=init, activation="sigmoid"))
    return compiled(model, loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])


def baseline_model() -> Any:
    model = Sequential()
    model.add(Dense(8, input_dim=4, activation="relu"))
    model.add(Dense(3, activation="softmax"))
    return compiled(model, loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])


def larger_model() -> Any:
    model = Sequential()
    model.add(Dense(20, input_dim=5, kernel_initializer="normal", activation="relu"))
    model.add(Dense(6, kernel_initializer="normal", activation="relu"))
    model.add(Dense(1, kernel_initializer="normal"))
    return compiled(model, loss="mean_squared_error", optimizer="adam")


def test_the_script_of_ten_folds() -> None:
    model = KerasClassifier(build_fn=create_model, epochs=5, batch_size=10, verbose=0)
    kfold = StratifiedKFold(n_splits=10, shuffle=True, random_state=7)
    assert cross_val_score(model, X, Y, cv=kfold).shape == (10,)


def test_the_script_of_the_grid() -> None:
    model = KerasClassifier(build_fn=create_model, verbose=0)
    grid = {
        "optimizer": ["rmsprop", "adam"],
        "epochs": [2, 3],
        "batch_size": [20],
        "init": ["normal", "uniform"],
    }
    result = GridSearchCV(estimator=model, param_grid=grid, n_jobs=2, cv=3).fit(X, Y)
    assert set(result.best_params_) == set(grid)
    assert len(result.cv_results_["params"]) == 8
    best = result.best_estimator_
    assert type(best.model.optimizer).__name__.lower() == result.best_params_["optimizer"]


def test_the_script_of_the_flowers() -> None:
    encoder = LabelEncoder().fit(NAMES)
    one_hot = to_categorical(encoder.transform(NAMES))
    keras.utils.set_random_seed(1)
    estimator = KerasClassifier(build_fn=baseline_model, epochs=60, batch_size=5, verbose=0)
    scores = cross_val_score(estimator, X3, one_hot, cv=KFold(n_splits=3, shuffle=True, random_state=1))
    assert scores.mean() > 0.7
    estimator.fit(X3, NAMES)
    assert encoder.inverse_transform(encoder.transform(estimator.predict(X3)))[0] == NAMES[0]


def test_the_script_of_the_houses() -> None:
    estimators = [
        ("standardize", StandardScaler()),
        ("mlp", KerasRegressor(build_fn=larger_model, epochs=5, batch_size=5, verbose=0)),
    ]
    scores = cross_val_score(Pipeline(estimators), XR, YR, cv=KFold(n_splits=3))
    assert (scores < 0).all()


def test_fit_returns_the_history() -> None:
    model = KerasClassifier(build_fn=create_model, epochs=3, batch_size=10, verbose=0)
    history = model.fit(X, Y, validation_split=0.25, epochs=2)
    assert set(history.history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert history.epoch == [0, 1]
    assert isinstance(model.model, Sequential)
    assert model.predict(X).shape == Y.shape
    assert model.predict_proba(X).shape == (160, 2)
    assert model.score(X, Y) == model.model.evaluate(X, Y, verbose=0)[1]


def test_the_score_of_a_regressor_is_the_negative_loss() -> None:
    model = KerasRegressor(build_fn=larger_model, batch_size=120, verbose=0)
    model.fit(XR, YR)
    assert model.score(XR, YR) == pytest.approx(-np.mean((model.predict(XR) - YR) ** 2), rel=1e-5)


def test_class_weights_are_by_index() -> None:
    model = KerasClassifier(build_fn=create_model, epochs=20, class_weight={0: 1e-3, 1: 100.0}, verbose=0)
    model.fit(X, np.array(["no", "yes"])[Y])
    assert (model.predict(X) == "yes").mean() > 0.9


def test_parameters() -> None:
    model = KerasClassifier(build_fn=create_model, epochs=3, init="normal")
    assert model.get_params() == {"build_fn": create_model, "epochs": 3, "init": "normal"}
    assert clone(model).get_params() == model.get_params()
    model.set_params(dropout_rate=0.5, verbose=0)
    assert clone(model).get_params()["dropout_rate"] == 0.5
    assert len(model.fit(X, Y).epoch) == 3
    assert pickle.loads(pickle.dumps(model)).predict(X).shape == Y.shape
    with pytest.raises(ValueError, match="'unit' is not a legal parameter: the build function"):
        model.set_params(unit=3)
    with pytest.raises(ValueError, match="'inti' is not a legal parameter"):
        KerasClassifier(build_fn=create_model, inti="normal")


class Own(KerasClassifier):
    def __call__(self, optimizer: str = "adam") -> Any:
        return create_model(optimizer)


def test_a_derived_class_may_be_the_build_function() -> None:
    assert Own(verbose=0, optimizer="sgd").fit(X, Y).epoch == [0]
