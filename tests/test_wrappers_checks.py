"""Runs all of scikit-learn's checks of estimators on the wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from common import compiled
from sklearn.utils.estimator_checks import parametrize_with_checks
from wrappers_cases import Named, compiled_for_any_labels, compiled_for_numbers, hidden

import engine as keras
from engine.wrappers import (
    KerasClassifier,
    KerasRegressor,
    SKLearnClassifier,
    SKLearnRegressor,
    SKLearnTransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")

BATCHES = (
    "a batch is a number of samples: a sample given twice makes other batches than one of twice the weight"
)
WEIGHTED_BATCHES = {
    "check_sample_weight_equivalence_on_dense_data": BATCHES,
    "check_sample_weight_equivalence_on_sparse_data": BATCHES,
}
COLUMNS = "decision_function has a column for each of two classes, as Keras' has"
EXPECTED = {
    "KerasClassifier": WEIGHTED_BATCHES,
    "KerasRegressor": WEIGHTED_BATCHES,
    "SKLearnClassifier": {
        "check_classifiers_classes": COLUMNS,
        "check_classifiers_train": COLUMNS,
    },
}


def from_arrays(X: Any, y: Any, loss: str, activation: str) -> keras.Sequential:  # noqa: N803
    """Returns a compiled model; its weights are the same every time, as the checks compare two trainings."""
    keras.utils.set_random_seed(0)
    return compiled(hidden(X.shape[1], 20, y.shape[1] if y.ndim > 1 else 1, activation), "rmsprop", loss)


def expected(estimator: Any) -> dict[str, str]:
    return EXPECTED.get(type(estimator).__name__, {})


NUMBERS = {"loss": "mse", "activation": "linear"}
QUIET = {"verbose": 0}


@parametrize_with_checks(
    [
        KerasClassifier(Named(compiled_for_any_labels), epochs=20, batch_size=8, verbose=0),
        KerasRegressor(Named(compiled_for_numbers), epochs=50, batch_size=8, verbose=0),
        SKLearnClassifier(
            Named(from_arrays),
            model_kwargs={"loss": "categorical_crossentropy", "activation": "softmax"},
            fit_kwargs={"epochs": 50, "verbose": 0},
        ),
        SKLearnRegressor(Named(from_arrays), model_kwargs=NUMBERS, fit_kwargs=QUIET),
        SKLearnTransformer(Named(from_arrays), model_kwargs=NUMBERS, fit_kwargs=QUIET),
    ],
    expected_failed_checks=expected,
)
def test_checks_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
