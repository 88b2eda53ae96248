"""Tests of `backend=` of searches in `engine.sklearn`: scikit-learn's results to the bit on processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import model_selection
from sklearn.base import clone
from sklearn_cases import X, Y, small
from workers import cluster_of_dask, head_of_ray

import engine.sklearn

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:sklearn"),
]
GRID = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    pytest.importorskip("distributed")
    with cluster_of_dask() as client:
        yield client


@pytest.fixture(scope="module")
def ray() -> Iterator[str]:
    pytest.importorskip("ray")
    with head_of_ray():
        yield "ray"


@pytest.fixture(params=["joblib", "dask", "ray"])
def backend(request: pytest.FixtureRequest) -> Any:
    return "joblib" if request.param == "joblib" else request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", ["GridSearchCV", "HalvingGridSearchCV"])
def test_searches_have_the_results_of_scikit_learn(name: str, backend: Any) -> None:
    seeds = {"random_state": 3} if name.startswith("Halving") else {}
    theirs = getattr(model_selection, name)(small(), GRID, cv=3, **seeds).fit(X, Y)
    ours = getattr(engine.sklearn, name)(small(), GRID, cv=3, backend=backend, **seeds).fit(X, Y)
    for key, values in theirs.cv_results_.items():
        if not key.endswith("_time"):
            np.testing.assert_array_equal(np.asarray(ours.cv_results_[key]), np.asarray(values), key)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_a_pickled_search_has_the_address_of_the_scheduler(dask: Any) -> None:
    search = engine.sklearn.GridSearchCV(small(), GRID, backend=dask)
    assert pickle.loads(pickle.dumps(search)).backend == dask.scheduler.address


def test_workers_have_their_threads_back(dask: Any) -> None:
    before = dask.run(engine.config.get_threads)
    engine.sklearn.GridSearchCV(small(), GRID, cv=2, backend=dask).fit(X, Y)
    assert dask.run(engine.config.get_threads) == before


@pytest.mark.parametrize(
    "name", ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"]
)
def test_backend_is_an_argument_like_the_others(name: str) -> None:
    search = getattr(engine.sklearn, name)(small(), GRID, backend="joblib")
    theirs = getattr(model_selection, name)(small(), GRID)
    assert search.get_params(deep=False).keys() - theirs.get_params(deep=False).keys() == {"backend"}
    assert clone(search).backend == "joblib"
    assert "backend='joblib'" in repr(search)
    assert search.set_params(backend=None).backend is None
    with pytest.raises(ValueError, match="`backend` must be None, 'joblib'"):
        search.set_params(backend="spark").fit(X, Y)
