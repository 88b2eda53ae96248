"""Tests of searches and of the backend "engine" of joblib: scikit-learn's results to the bit, and shared threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn import model_selection
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_cases import X, Y, small

import engine as keras
import engine.sklearn
from engine.sklearn import MLPClassifier, MLPRegressor
from engine.wrappers import KerasClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:sklearn"),
]


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    keras.config.set_threads(request.param)
    yield request.param
    keras.config.set_threads(None)


def assert_same_results(ours: Any, theirs: Any) -> None:
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, values in theirs.cv_results_.items():
        if not name.endswith("_time"):
            np.testing.assert_array_equal(np.asarray(ours.cv_results_[name]), np.asarray(values), name)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


SEARCHES: dict[str, dict[str, Any]] = {
    "GridSearchCV": {"param_grid": {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}},
    "RandomizedSearchCV": {
        "param_distributions": {"alpha": loguniform(1e-5, 1)},
        "n_iter": 5,
        "random_state": 3,
    },
    "HalvingGridSearchCV": {"param_grid": {"alpha": [1e-5, 1e-4, 1e-3, 1e-2]}, "random_state": 3},
    "HalvingRandomSearchCV": {"param_distributions": {"alpha": loguniform(1e-5, 1)}, "random_state": 3},
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_have_the_results_of_scikit_learn(name: str, threads: int) -> None:
    arguments = {"estimator": small(), "cv": 3, "return_train_score": True, **SEARCHES[name]}
    theirs = getattr(model_selection, name)(**arguments).fit(X, Y)
    ours = getattr(engine.sklearn, name)(**arguments)
    assert isinstance(ours, getattr(model_selection, name))
    assert ours.fit(X, Y) is ours
    assert_same_results(ours, theirs)
    assert keras.config.get_threads() == threads


def wrapped() -> KerasClassifier:
    def build(units: int = 4) -> Any:
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(3, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    return KerasClassifier(build, units=4, epochs=3, verbose=0, random_state=1)


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (make_pipeline(StandardScaler(), small()), {"mlpclassifier__alpha": [1e-4, 1e-1]}),
        (BaggingClassifier(small(max_iter=5), 3, random_state=0), {"estimator__alpha": [1e-4, 1e-1]}),
        (wrapped(), {"units": [3, 9]}),
        (make_pipeline(StandardScaler(), wrapped()), {"kerasclassifier__units": [3, 9]}),
    ],
    ids=["pipeline", "bagging", "wrapper", "pipeline of a wrapper"],
)
def test_estimators_within_others(estimator: Any, grid: dict[str, Any]) -> None:
    keras.config.set_threads(3)
    try:
        theirs = model_selection.GridSearchCV(clone(estimator), grid, cv=2).fit(X, Y)
        ours = engine.sklearn.GridSearchCV(clone(estimator), grid, cv=2).fit(X, Y)
    finally:
        keras.config.set_threads(None)
    assert_same_results(ours, theirs)


class Recording(MLPClassifier):
    """Scores the number of threads of its fit."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Recording:  # noqa: N803
        super().fit(X, y, sample_weight)
        self.threads_ = keras.config.get_threads()
        self.is_mapped_ = isinstance(X.base, np.memmap) or isinstance(X, np.memmap)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        return float(self.threads_)


@pytest.mark.parametrize(("n_jobs", "share"), [(None, 1), (-1, 1), (2, 2), (3, 1), (100, 1), (-2, 1), (1, 4)])
def test_jobs_share_the_threads(n_jobs: int | None, share: int) -> None:
    keras.config.set_threads(4)
    try:
        estimator = Recording((3,), max_iter=1, random_state=0)
        search = engine.sklearn.GridSearchCV(
            estimator, {"alpha": [0.1, 0.2]}, cv=2, n_jobs=n_jobs, refit=False
        ).fit(X, Y)
        assert keras.config.get_threads() == 4
    finally:
        keras.config.set_threads(None)
    assert set(search.cv_results_["mean_test_score"]) == {share}


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="`n_jobs` must not be 0"):
        engine.sklearn.GridSearchCV(small(), {"alpha": [0.1]}, cv=2, n_jobs=0).fit(X, Y)


def of_members(bagging: Any) -> Any:
    """Returns the predictions of each estimator. scikit-learn adds them up in an order that depends on the number of jobs."""
    return np.stack([member.predict(X) for member in bagging.fit(X, Y).estimators_])


def regressor() -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0)


TOOLS = {
    "cross_val_score": lambda: cross_val_score(small(), X, Y, cv=4),
    "cross_validate": lambda: cross_validate(make_pipeline(StandardScaler(), small()), X, Y, cv=4)[
        "test_score"
    ],
    "BaggingClassifier": lambda: of_members(BaggingClassifier(small(), 4, random_state=1, n_jobs=4)),
    "BaggingRegressor": lambda: of_members(BaggingRegressor(regressor(), 4, random_state=1, n_jobs=4)),
    "MultiOutputClassifier": lambda: (
        MultiOutputClassifier(small(), n_jobs=2).fit(X, np.stack([Y, Y > 0], 1)).predict(X)
    ),
    "MultiOutputRegressor": lambda: MultiOutputRegressor(regressor(), n_jobs=2).fit(X, X[:, :2]).predict(X),
    "OneVsRestClassifier": lambda: OneVsRestClassifier(small(), n_jobs=3).fit(X, Y).predict_proba(X),
}


@pytest.mark.parametrize("name", TOOLS)
def test_other_tools_on_this_backend(name: str, threads: int) -> None:
    tool = TOOLS[name]
    with joblib.parallel_config(backend="sequential"):
        expected = tool()
    with joblib.parallel_config(backend="engine"):
        found = tool()
    np.testing.assert_array_equal(found, expected)
    assert keras.config.get_threads() == threads


def test_jobs_within_jobs_run_one_after_the_other() -> None:
    keras.config.set_threads(2)
    try:
        with joblib.parallel_config(backend="engine"):
            bagging = BaggingClassifier(Recording((3,), max_iter=1, random_state=0), 2, n_jobs=2)
            scores = cross_validate(bagging, X, Y, cv=2, return_estimator=True)
    finally:
        keras.config.set_threads(None)
    assert {member.threads_ for fitted in scores["estimator"] for member in fitted.estimators_} == {1}


def test_searches_over_other_estimators_are_those_of_scikit_learn() -> None:
    class Backend(LogisticRegression):
        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
            return float(type(joblib.parallel.get_active_backend()[0]).__name__ == "EngineThreads")

    search = engine.sklearn.GridSearchCV(Backend(), {"C": [0.1, 1.0]}, cv=2, refit=False).fit(X, Y)
    assert set(search.cv_results_["mean_test_score"]) == {0.0}


def test_a_candidate_that_fails_has_the_score_of_an_error() -> None:
    search = engine.sklearn.GridSearchCV(small(), {"alpha": [1e-4, -1.0]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, Y)
    np.testing.assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [False, True])
    with pytest.raises(ValueError, match="alpha"):
        engine.sklearn.GridSearchCV(small(), {"alpha": [-1.0]}, cv=2, error_score="raise").fit(X, Y)


def test_parameters_and_copies_of_searches() -> None:
    search = engine.sklearn.GridSearchCV(small(), {"alpha": [1.0]}, cv=KFold(2))
    parameters = search.get_params(deep=False)
    assert parameters.pop("backend") is None
    assert parameters == model_selection.GridSearchCV(**parameters).get_params(deep=False)
    assert type(clone(search)) is engine.sklearn.GridSearchCV
    assert repr(search).startswith("GridSearchCV(")


def test_processes_map_large_data_into_their_memory() -> None:
    """joblib writes arrays of more than a megabyte to one file, which all workers read."""
    x, y = load_digits(return_X_y=True)
    x = np.tile(x, (3, 1))
    with joblib.parallel_config(backend="loky", n_jobs=2):
        fits = joblib.Parallel()(
            joblib.delayed(Recording((2,), max_iter=1, random_state=0).fit)(x, np.tile(y, 3))
            for _ in range(2)
        )
    assert all(fitted.is_mapped_ for fitted in fits)
    assert {fitted.threads_ for fitted in fits} == {max(1, joblib.cpu_count() // 2)}
