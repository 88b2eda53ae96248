"""Tests of `engine.wrappers` with tools of scikit-learn and joblib: searches, pipelines, copies, processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import AdaBoostClassifier, BaggingRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from wrappers_cases import (
    NAMES,
    X3,
    XR,
    Y3,
    YR,
    X,
    Y,
    binary_model,
    classifier,
    compiled_for_numbers,
    regressor,
)

from engine.callbacks import EarlyStopping
from engine.wrappers import KerasClassifier, KerasRegressor


def test_cross_validation() -> None:
    folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=7)
    scores = cross_val_score(classifier(epochs=20), X, Y, cv=folds)
    assert scores.shape == (3,)
    assert scores.mean() > 0.7
    several = cross_validate(
        classifier(),
        X,
        Y,
        cv=3,
        scoring=["accuracy", "roc_auc", "neg_log_loss", "f1"],
        return_train_score=True,
    )
    assert several["test_roc_auc"].shape == (3,)
    assert cross_val_predict(classifier(), X3, NAMES, cv=3, method="predict_proba").shape == (150, 3)
    assert cross_val_score(classifier(), X3, NAMES, cv=3, scoring="roc_auc_ovr").shape == (3,)


@pytest.mark.parametrize("jobs", [1, 2])
def test_grid_search(jobs: int) -> None:
    grid = {
        "batch_size": [10, 20],
        "epochs": [2, 5],
        "model__units": [4, 8],
        "model__learning_rate": [0.001, 0.01],
    }
    search = GridSearchCV(classifier(), grid, cv=3, n_jobs=jobs).fit(X, Y)
    assert set(search.best_params_) == set(grid)
    assert len(search.cv_results_["mean_test_score"]) == 16
    assert search.best_estimator_.model_.layers[0].units == search.best_params_["model__units"]
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.score(X, Y) > 0.7


def test_processes_compute_the_same_scores() -> None:
    scores = [
        cross_val_score(classifier(callbacks=EarlyStopping(monitor="loss")), X, Y, cv=3, n_jobs=jobs)
        for jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


def test_search_for_optimizers_and_losses() -> None:
    grid = {
        "optimizer": ["sgd", "adam", "rmsprop"],
        "optimizer__learning_rate": [0.001, 0.01],
        "loss": ["mse", "huber"],
    }
    search = RandomizedSearchCV(regressor(epochs=3), grid, n_iter=4, cv=2, random_state=0).fit(XR, YR)
    assert type(search.best_estimator_.model_.optimizer).__name__.lower() == search.best_params_["optimizer"]


def test_search_in_a_pipeline() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("mlp", classifier())])
    search = GridSearchCV(
        pipeline, {"mlp__model__units": [4, 8], "mlp__optimizer__learning_rate": [0.1]}, cv=2
    )
    assert search.fit(X3, NAMES).score(X3, NAMES) > 0.5
    pipeline.fit(X3, NAMES, mlp__epochs=3, mlp__sample_weight=np.ones(150))
    assert len(pipeline["mlp"].history_["loss"]) == 3


def test_in_estimators_of_estimators() -> None:
    voting = VotingClassifier([("net", classifier(epochs=30)), ("line", LogisticRegression())], voting="soft")
    assert voting.fit(X, Y).score(X, Y) > 0.7
    boosted = AdaBoostClassifier(classifier(epochs=5), n_estimators=3, random_state=0).fit(X, Y)
    assert boosted.score(X, Y) > 0.6
    assert CalibratedClassifierCV(classifier(), cv=2).fit(X3, Y3).predict_proba(X3).shape == (150, 3)
    bagged = BaggingRegressor(regressor(epochs=3), n_estimators=2, random_state=0, n_jobs=2)
    assert bagged.fit(XR, YR).predict(XR).shape == (120,)
    several = MultiOutputRegressor(regressor(epochs=1)).fit(XR, np.stack([YR, YR], 1))
    assert several.predict(XR).shape == (120, 2)
    logs = TransformedTargetRegressor(regressor(epochs=1), transformer=StandardScaler())
    assert logs.fit(XR, YR).predict(XR).shape == (120,)
    assert is_classifier(classifier())
    assert is_regressor(regressor())


def test_metadata_routing() -> None:
    with config_context(enable_metadata_routing=True):
        estimator = (
            classifier(epochs=2).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        )
        scores = cross_val_score(estimator, X, Y, cv=2, params={"sample_weight": np.ones(160)})
    assert scores.shape == (2,)


def test_copies_and_pickles(tmp_path: Path) -> None:
    found = classifier(callbacks=[EarlyStopping(monitor="loss")], class_weight="balanced").fit(X3, NAMES)
    expected = found.predict_proba(X3)
    joblib.dump(found, tmp_path / "estimator.joblib")
    for copied in (
        pickle.loads(pickle.dumps(found)),
        copy.deepcopy(found),
        joblib.load(tmp_path / "estimator.joblib"),
    ):
        np.testing.assert_array_equal(copied.predict_proba(X3), expected)
        assert copied.history_ == found.history_
        # It goes on with the state of the optimizer.
        weights = [copy.deepcopy(found).partial_fit(X3, NAMES), copied.partial_fit(X3, NAMES)]
        np.testing.assert_array_equal(*[each.predict_proba(X3) for each in weights])
    fresh = clone(found)
    assert not fresh.initialized_
    np.testing.assert_array_equal(fresh.fit(X3, NAMES).predict_proba(X3), expected)


def test_copies_of_parameters_are_independent() -> None:
    found = classifier(model__units=3)
    other = clone(found).set_params(model__units=4)
    assert found.get_params()["model__units"] == 3
    assert other.get_params()["model__units"] == 4


def test_a_saved_model_in_a_new_estimator(tmp_path: Path) -> None:
    import engine as keras

    found = classifier().fit(X3, NAMES)
    found.model_.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    again = KerasClassifier(model, verbose=0).initialize(X3, NAMES)
    np.testing.assert_array_equal(again.predict(X3), found.predict(X3))


def test_a_loaded_model_of_one_hot_rows_takes_labels() -> None:
    """The loss of a model from a file or a pickle is a config."""
    import engine as keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", keras.losses.CategoricalCrossentropy())
    found = KerasClassifier(copy.deepcopy(model), loss="categorical_crossentropy", verbose=0)
    assert found.fit(X3, NAMES).predict(X3).shape == (150,)
    assert clone(KerasClassifier(model, verbose=0)).fit(X3, NAMES).predict(X3).shape == (150,)


def test_threads_may_share_an_estimator() -> None:
    found = classifier().fit(X, Y)
    expected = found.predict_proba(X)
    with joblib.parallel_config("threading", n_jobs=4):
        outputs = joblib.Parallel()(joblib.delayed(found.predict_proba)(X) for _ in range(12))
    assert all((one == expected).all() for one in outputs)


def test_threads_may_train() -> None:
    expected = cross_val_score(classifier(), X, Y, cv=3)
    with joblib.parallel_config("threading", n_jobs=3):
        np.testing.assert_array_equal(cross_val_score(classifier(), X, Y, cv=3), expected)


def test_scores_of_a_published_regression_script() -> None:
    estimator = KerasRegressor(model=compiled_for_numbers, epochs=20, batch_size=5, verbose=0)
    pipeline = make_pipeline(StandardScaler(), estimator)
    scores = cross_val_score(pipeline, XR, YR, cv=KFold(n_splits=3), scoring="neg_mean_squared_error")
    assert scores.shape == (3,)
    assert (scores < 0).all()


def test_scores_of_a_published_classification_script() -> None:
    estimator: Any = KerasClassifier(model=binary_model, epochs=15, batch_size=10, verbose=0)
    kfold = StratifiedKFold(n_splits=3, shuffle=True, random_state=7)
    assert cross_val_score(estimator, X, Y, cv=kfold).mean() > 0.6
