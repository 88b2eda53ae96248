"""Tests of the estimators with tools of scikit-learn and joblib: pickles, searches, threads, signals, imports."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numerics import run_script
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_cases import X, Y, same, small
from threadpoolctl import threadpool_limits

import engine
from engine.callbacks import LambdaCallback
from engine.sklearn import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fits_go_on_after_a_pickle(solver: str, tmp_path: Path) -> None:
    def begun() -> MLPClassifier:
        estimator = small(solver=solver, random_state=np.random.RandomState(0))
        return estimator.partial_fit(X[:120], Y[:120], classes=[0, 1, 2])

    straight, pickled, copied = begun(), begun(), begun()
    joblib.dump(pickled, tmp_path / "estimator.joblib")
    pickled, copied = joblib.load(tmp_path / "estimator.joblib"), copy.deepcopy(copied)
    for estimator in (straight, pickled, copied):
        estimator.partial_fit(X[120:], Y[120:])
    assert same(straight, pickled)
    assert same(straight, copied)
    assert not same(
        straight,
        begun().set_params(solver="adam" if solver == "sgd" else "sgd").partial_fit(X[120:], Y[120:]),
    )


def test_a_pickle_holds_arrays_and_no_handles() -> None:
    estimator = small().fit(X, Y)
    state = pickle.dumps(estimator)
    assert b"engine._core" not in state
    assert b"Sequential" not in state
    np.testing.assert_array_equal(pickle.loads(state).predict_proba(X), estimator.predict_proba(X))


def test_in_pipelines_and_searches() -> None:
    pipeline = make_pipeline(StandardScaler(), small(max_iter=60))
    assert cross_val_score(pipeline, X, Y, cv=3).min() > 0.9
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.9


class Threads(MLPClassifier):
    """An estimator that records the engine's number of threads when it is fitted."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Threads:  # noqa: N803
        super().fit(X, y, sample_weight)
        self.threads_ = engine.config.get_threads()
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        return float(self.threads_)


def test_workers_share_the_cores() -> None:
    """joblib sets OMP_NUM_THREADS in each process, and the engine obeys it."""
    search = GridSearchCV(Threads((4,), max_iter=2), {"alpha": [0.0, 0.1]}, cv=2, n_jobs=2, refit=False)
    search.fit(X, Y)
    share = max(1, joblib.cpu_count() // 2)
    scores = np.concatenate([search.cv_results_[f"split{i}_test_score"] for i in range(2)])
    assert set(scores) == {float(share)}
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        search.fit(X, Y)
    assert set(search.cv_results_["mean_test_score"]) == {1.0}


def threads_on_one_core() -> tuple[int, int]:
    """Returns the engine's numbers of threads with all cores of this process, and with one."""
    cores, before = os.sched_getaffinity(0), engine.config.get_threads()
    os.sched_setaffinity(0, {min(cores)})
    try:
        return before, engine.config.get_threads()
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't pin processes")
def test_workers_keep_to_the_cores_that_they_may_use() -> None:
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=2):
        found = joblib.Parallel()(joblib.delayed(threads_on_one_core)() for _ in range(2))
    assert found == [(min(2, len(os.sched_getaffinity(0))), 1)] * 2


def test_limits_of_threadpoolctl_count() -> None:
    with threadpool_limits(1, user_api="openmp"):
        assert engine.config.get_threads() == 1


def test_threads_may_share_an_estimator() -> None:
    estimator = small().fit(X, Y)
    expected = estimator.predict_proba(X)
    with joblib.parallel_config("threading", n_jobs=4):
        found = joblib.Parallel()(joblib.delayed(estimator.predict_proba)(X) for _ in range(20))
    assert all((one == expected).all() for one in found)


def test_ctrl_c_keeps_what_was_learnt() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread alone")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = LambdaCallback(
        on_epoch_end=lambda epoch, logs: signal.raise_signal(signal.SIGINT) if epoch == 4 else None
    )
    try:
        with pytest.warns(UserWarning, match="interrupted by user"):
            estimator = small(callbacks=[stop]).fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert estimator.n_iter_ == 5
    assert estimator.predict(X).shape == Y.shape


WITHOUT = """
    import sys
    sys.modules["sklearn"] = None
    import engine
    try:
        import engine.sklearn
    except ImportError as error:
        print(error)
"""


def test_without_scikit_learn_the_message_says_what_brings_it() -> None:
    assert 'pip install "scikit-learn>=1.7"' in run_script(WITHOUT)


def test_it_is_imported_on_first_use() -> None:
    code = (
        "import sys, engine; assert 'sklearn' not in sys.modules; engine.sklearn.MLPClassifier; print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"
