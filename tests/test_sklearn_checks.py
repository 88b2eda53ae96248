"""Runs all of scikit-learn's checks of estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from engine.sklearn import MLPClassifier, MLPRegressor

# The checks train with the defaults for a few epochs, or until losses stay as they are.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn.exceptions.SkipTestWarning",
)


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_defaults(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@parametrize_with_checks(
    [
        MLPClassifier(hidden_layer_sizes=(10,), solver="lbfgs"),
        MLPRegressor(hidden_layer_sizes=(10,), solver="lbfgs"),
    ]
)
def test_lbfgs(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
