"""Compares the estimators with scikit-learn's: from the same initial weights and order they get the same losses."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from common import assert_all_close
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

import engine
import engine.sklearn as ours
from engine import regularizers
from engine.sklearn._network import _SquaredError

CLASSIFIERS = (neural_network.MLPClassifier, ours.MLPClassifier)
REGRESSORS = (neural_network.MLPRegressor, ours.MLPRegressor)
EXTRAS = {"class_weight", "dropout", "callbacks", "validation_data"}

# Tolerance: float32 rounds every product to 6e-8, and the errors add up over 8 epochs of 5 steps.
LOSS_TOLERANCE = 2e-5
# If a gradient is as small as its rounding error, the step of Adam has its full length nevertheless.
WEIGHT_TOLERANCE = {"adam": 5e-4, "sgd": 2e-5}


class Problem:
    """Rows with targets of every kind; the last batch is not full."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(150, 7))
        scores = np.tanh(self.x @ rng.normal(size=(7, 4))) + rng.normal(0, 0.1, (150, 4))
        self.several = np.array(["a", "b", "c", "d"])[scores.argmax(axis=1)]
        self.two = np.where(scores[:, 0] > 0, "yes", "no")
        self.labels = (scores[:, :3] > 0).astype(int)
        self.number = scores[:, 0]
        self.numbers = scores[:, :3]
        self.counts = rng.poisson(np.exp(scores[:, :2])).astype(float)
        self.weights = rng.uniform(0.2, 3.0, 150)


PROBLEM = Problem()


def fitted(
    kinds: tuple[type[Any], type[Any]], y: NDArray[Any], weights: Any = None, **options: Any
) -> tuple[Any, Any]:
    """Returns scikit-learn's estimator and the engine's, trained in the same way."""
    given = {
        "hidden_layer_sizes": (9, 5),
        "batch_size": 32,
        "max_iter": 8,
        "shuffle": False,
        "random_state": 3,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs, mine = (kind(**(given | options)).fit(PROBLEM.x, y, weights) for kind in kinds)
    return theirs, mine


def require_same(theirs: Any, mine: Any) -> None:
    np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol=LOSS_TOLERANCE)
    assert_all_close(
        mine.coefs_ + mine.intercepts_, theirs.coefs_ + theirs.intercepts_, atol=WEIGHT_TOLERANCE[mine.solver]
    )
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, name) == getattr(theirs, name)
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=LOSS_TOLERANCE)
    assert mine.best_loss_ == pytest.approx(theirs.best_loss_, rel=LOSS_TOLERANCE)


@pytest.mark.parametrize("kinds", [CLASSIFIERS, REGRESSORS])
def test_arguments_are_those_of_scikit_learn(kinds: tuple[type[Any], type[Any]]) -> None:
    theirs, mine = (list(inspect.signature(kind).parameters.values()) for kind in kinds)
    ours_alone = [p for p in mine if p.name in EXTRAS]
    assert [(p.name, p.kind, p.default) for p in mine if p.name not in EXTRAS] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in ours_alone)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam", "learning_rate_init": 0.01, "alpha": 0.3},
        {"solver": "sgd", "learning_rate_init": 0.05, "alpha": 0.3},
        {
            "solver": "sgd",
            "learning_rate_init": 0.05,
            "nesterovs_momentum": False,
            "learning_rate": "invscaling",
        },
        {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "alpha": 0.0},
    ],
)
def test_several_classes(activation: str, options: dict[str, Any]) -> None:
    theirs, mine = fitted(CLASSIFIERS, PROBLEM.several, activation=activation, **options)
    require_same(theirs, mine)
    np.testing.assert_array_equal(mine.classes_, theirs.classes_)
    np.testing.assert_allclose(mine.predict_proba(PROBLEM.x), theirs.predict_proba(PROBLEM.x), atol=1e-3)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weights", [None, PROBLEM.weights])
@pytest.mark.parametrize("target", ["several", "two", "labels"])
def test_classes_and_weights(target: str, weights: Any, solver: str) -> None:
    y = getattr(PROBLEM, target)
    theirs, mine = fitted(CLASSIFIERS, y, weights, solver=solver, learning_rate_init=0.01, alpha=0.1)
    require_same(theirs, mine)
    np.testing.assert_array_equal(mine.predict(PROBLEM.x), theirs.predict(PROBLEM.x))
    np.testing.assert_allclose(
        mine.predict_log_proba(PROBLEM.x), theirs.predict_log_proba(PROBLEM.x), rtol=2e-3
    )


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weights", [None, PROBLEM.weights])
@pytest.mark.parametrize(("target", "loss"), [("number", "squared_error"), ("counts", "poisson")])
def test_numbers(target: str, loss: str, weights: Any, solver: str) -> None:
    y = getattr(PROBLEM, target)
    # With sample weights, the constant in the deviance of a batch differs from that of all samples.
    alone = loss == "poisson" and weights is not None
    options = {"batch_size": 150} if alone else {}
    theirs, mine = fitted(
        REGRESSORS, y, weights, loss=loss, solver=solver, learning_rate_init=0.01, **options
    )
    require_same(theirs, mine)
    np.testing.assert_allclose(mine.predict(PROBLEM.x), theirs.predict(PROBLEM.x), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_several_numbers(solver: str) -> None:
    """scikit-learn's gradient is that of the sum over outputs, and its loss is the mean."""
    theirs, mine = fitted(REGRESSORS, PROBLEM.numbers, solver=solver, learning_rate_init=0.01, alpha=0.5)
    require_same(theirs, mine)


def test_rate_that_adapts() -> None:
    options = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "tol": 0.02}
    theirs, mine = fitted(CLASSIFIERS, PROBLEM.two, max_iter=60, n_iter_no_change=2, **options)
    assert mine.n_iter_ == theirs.n_iter_ < 60
    np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol=1e-3)


@pytest.mark.parametrize("target", ["several", "two", "labels", "number"])
@pytest.mark.parametrize("weights", [None, PROBLEM.weights])
def test_early_stopping(target: str, weights: Any) -> None:
    """Both hold out the same samples, and the same scores end the training."""
    kinds = REGRESSORS if target == "number" else CLASSIFIERS
    y = getattr(PROBLEM, target)
    if y.dtype.kind == "U":  # scikit-learn 1.7 fails here
        y = np.unique(y, return_inverse=True)[1]
    options = {"learning_rate_init": 0.01, "early_stopping": True, "validation_fraction": 0.2}
    theirs, mine = fitted(kinds, y, weights, max_iter=40, n_iter_no_change=3, **options)
    np.testing.assert_allclose(mine.validation_scores_, theirs.validation_scores_, atol=1e-4)
    assert mine.best_validation_score_ == pytest.approx(theirs.best_validation_score_, abs=1e-4)
    assert mine.best_loss_ is None
    np.testing.assert_allclose(mine.coefs_[0], theirs.coefs_[0], atol=2e-3)


@pytest.mark.parametrize(
    ("kinds", "target", "options"),
    [
        (CLASSIFIERS, "several", {}),
        (CLASSIFIERS, "two", {}),
        (CLASSIFIERS, "labels", {}),
        (REGRESSORS, "number", {}),
        (REGRESSORS, "counts", {"loss": "poisson"}),
    ],
)
@pytest.mark.parametrize("weights", [None, PROBLEM.weights])
def test_lbfgs(kinds: Any, target: str, options: dict[str, Any], weights: Any) -> None:
    """With a strong penalty there is one minimum, which both find."""
    given = {"hidden_layer_sizes": (), "alpha": 5.0, "max_iter": 500} | options
    theirs, mine = fitted(kinds, getattr(PROBLEM, target), weights, solver="lbfgs", **given)
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=1e-5)
    np.testing.assert_allclose(mine.coefs_[0], theirs.coefs_[0], atol=2e-3)
    assert mine.n_iter_ >= 1
    assert not hasattr(mine, "loss_curve_")


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for kind in CLASSIFIERS:
        kind((4,), verbose=True, max_iter=6, random_state=0, shuffle=False, tol=10.0, n_iter_no_change=2).fit(
            PROBLEM.x, PROBLEM.two
        )
        printed.append(capsys.readouterr().out)
    theirs, mine = ([line.partition("loss =")[0] for line in text.splitlines()] for text in printed)
    assert mine == theirs
    assert "Stopping." in mine[-1]


def test_partial_fits() -> None:
    theirs, mine = (
        kind((6,), random_state=1, shuffle=False, batch_size=40, learning_rate_init=0.01)
        for kind in CLASSIFIERS
    )
    classes = np.unique(PROBLEM.several)
    for _ in range(3):
        for part in (slice(0, 70), slice(70, 150)):
            for estimator in (theirs, mine):
                estimator.partial_fit(PROBLEM.x[part], PROBLEM.several[part], classes=classes)
    require_same(theirs, mine)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.int64])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("kinds", "target"), [(CLASSIFIERS, "several"), (CLASSIFIERS, "two"), (REGRESSORS, "numbers")]
)
def test_types_of_attributes_and_predictions(kinds: Any, target: str, solver: str, kind: Any) -> None:
    rows, found = (10 * np.abs(PROBLEM.x)).astype(kind), []
    for estimator in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = estimator(hidden_layer_sizes=(4,), solver=solver, max_iter=2)
            fitted.fit(rows, getattr(PROBLEM, target))
        predict = getattr(fitted, "predict_proba", fitted.predict)
        outputs = [predict(rows.astype(kind)) for kind in (np.float32, np.float64)]
        found.append([array.dtype for array in (*fitted.coefs_, *fitted.intercepts_, *outputs)])
    assert found[0] == found[1]


def test_probabilities_add_up_for_scores() -> None:
    """scikit-learn warns, which is an error here, unless sums are 1 in half of the digits of their dtype."""
    estimator = ours.MLPClassifier((9,), max_iter=3, tol=9, n_iter_no_change=1, random_state=0)
    for kind in (np.float64, np.float32):
        rows = PROBLEM.x.astype(kind)
        assert 0 < log_loss(PROBLEM.several, estimator.fit(rows, PROBLEM.several).predict_proba(rows)) < 3


class Cubes(regularizers.Regularizer):
    """A penalty written in NumPy."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Any) -> float:
        return self.factor * float(np.sum(np.abs(x) ** 3))

    def gradient(self, x: Any) -> NDArray[Any]:
        return 3 * self.factor * np.abs(x) * x


@pytest.mark.parametrize("kind", [regularizers.L1, regularizers.L2, Cubes])
def test_every_penalty_is_divided_by_the_weight_of_the_batch(kind: Any) -> None:
    x, y = PROBLEM.x[:20], PROBLEM.number[:20]
    weights = PROBLEM.weights[:20]
    total = float(weights.sum())

    def stepped(loss: Any, factor: float) -> tuple[float, list[NDArray[Any]]]:
        engine.utils.set_random_seed(0)
        dense = engine.layers.Dense(4, kernel_regularizer=kind(factor))
        model = engine.Sequential([engine.Input((7,)), dense, engine.layers.Dense(1)])
        model.compile(engine.optimizers.SGD(0.1), loss)
        loss = model.train_on_batch(x, y, sample_weight=weights)
        return loss, model.get_weights()

    divided, plain = (
        stepped(_SquaredError("mean_with_sample_weight"), 3.0),
        stepped(engine.losses.MeanSquaredError("mean_with_sample_weight"), 3.0 / total),
    )
    assert divided[0] == pytest.approx(plain[0], rel=1e-6)
    assert_all_close(divided[1], plain[1], atol=1e-6)
