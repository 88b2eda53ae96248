"""Tests of the estimators: additions to scikit-learn's, and data and arguments of all kinds."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import LabelBinarizer
from sklearn_cases import RNG, X, Y, same, small

import engine
import engine.sklearn as ours
from engine.callbacks import Callback, EarlyStopping, History
from engine.sklearn import MLPClassifier, MLPRegressor
from engine.sklearn.labels import Labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_one_random_state_gives_the_same_bits(solver: str) -> None:
    engine.utils.set_random_seed(1)
    first = small(solver=solver, dropout=0.0 if solver == "lbfgs" else 0.2).fit(X, Y)
    engine.utils.set_random_seed(2)
    assert same(first, clone(first).fit(X, Y))
    assert not same(first, clone(first).set_params(random_state=1).fit(X, Y))


def test_the_engines_own_seed_stays() -> None:
    engine.utils.set_random_seed(3)
    expected = engine.layers.Dropout(0.1)._seed_in_use
    before = int(engine.Sequential().name.rpartition("_")[2].replace("sequential", "0"))
    engine.utils.set_random_seed(3)
    small(dropout=0.5).fit(X, Y)
    assert engine.layers.Dropout(0.1)._seed_in_use == expected
    assert engine.Sequential().name == f"sequential_{before + 1}"


def test_a_generator_goes_on() -> None:
    state = np.random.RandomState(0)
    first, second = small(random_state=state), small(random_state=state)
    assert not same(first.fit(X, Y), second.fit(X, Y))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_types_of_numbers(kind: type[Any]) -> None:
    rows = (X > 0).astype(kind)
    estimator = small().fit(rows, Y)
    narrow = small().fit(rows.astype(np.float32), Y)
    for one, other in zip(estimator.coefs_, narrow.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.coo_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows(make: Any, solver: str) -> None:
    rows = np.where(np.abs(X) > 1, X, 0)
    dense, thin = small(solver=solver).fit(rows, Y), small(solver=solver).fit(make(rows), Y)
    assert same(dense, thin)
    np.testing.assert_array_equal(dense.predict_proba(rows), thin.predict_proba(make(rows)))


def test_predictions_follow_the_coefs() -> None:
    estimator = small().fit(X, Y)
    estimator.coefs_[-1] = np.zeros_like(estimator.coefs_[-1])
    estimator.intercepts_[-1] = np.array([0.0, 1.0, 0.0])
    assert set(estimator.predict(X)) == {1}
    estimator.intercepts_[-1][:] = [0, 0, 1]  # the array is a writable copy
    assert set(estimator.predict(X)) == {2}
    with pytest.raises(ValueError, match="read-only"):
        estimator.coefs_[0][:] = 0
    estimator.coefs_, estimator.intercepts_ = [np.eye(6)[:, :3] * 9], [np.zeros(3)]
    np.testing.assert_array_equal(estimator.predict(X), X[:, :3].argmax(axis=1))


def test_one_batch_of_everything_has_no_order() -> None:
    order = RNG.permutation(len(X))
    for options in ({"batch_size": len(X)}, {"solver": "lbfgs"}):
        first = small(**options).fit(X, Y)
        assert same(first, small(**options).fit(X[order], Y[order]))
        weights = RNG.integers(0, 3, len(X))
        options["batch_size"] = 10_000
        with pytest.warns(UserWarning, match="clipped") if "solver" not in options else nullcontext():
            weighted = small(**options).fit(X, Y, sample_weight=weights)
            assert same(weighted, small(**options).fit(X.repeat(weights, 0), Y.repeat(weights)))


def test_class_weights() -> None:
    plain = small().fit(X, Y)
    heavy = small(class_weight={0: 1.0, 1: 1e4, 2: 1.0}, max_iter=60).fit(X, Y)
    assert (heavy.predict(X) == 1).mean() > (plain.predict(X) == 1).mean()
    uneven = np.r_[np.flatnonzero(Y == 0)[:4], np.flatnonzero(Y == 1)]
    by_hand = np.where(Y[uneven] == 0, len(uneven) / 8, len(uneven) / (2 * (len(uneven) - 4)))
    balanced = small(class_weight="balanced").fit(X[uneven], Y[uneven])
    assert same(balanced, small().fit(X[uneven], Y[uneven], sample_weight=by_hand))
    named = MLPClassifier((4,), class_weight={"a": 2.0, "b": 1.0}, max_iter=3)
    assert named.fit(X[:60], np.array(["a", "b"])[Y[:60] % 2]).classes_.tolist() == ["a", "b"]


def test_class_weights_count_in_scores() -> None:
    weights = {0: 5.0, 1: 1.0, 2: 0.5}
    history = History()
    held_out = (X[:90], Y[:90], np.linspace(0.5, 2.0, 90))
    options = {"validation_data": held_out, "callbacks": [history], "max_iter": 3}
    estimator = small(class_weight=weights, **options).fit(X[90:], Y[90:])
    both = held_out[2] * np.array([weights[y] for y in held_out[1]])
    assert estimator.validation_scores_[-1] == pytest.approx(estimator.score(X[:90], Y[:90], both))
    assert history.history["val_accuracy"] == pytest.approx(estimator.validation_scores_, abs=1e-6)


def test_balanced_weights_need_all_labels() -> None:
    with pytest.raises(ValueError, match=r"`class_weight='balanced'`.*compute_class_weight"):
        small(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_dropout() -> None:
    assert not same(small().fit(X, Y), small(dropout=0.5).fit(X, Y))
    one_each = MLPClassifier((8, 4), dropout=[0.1, 0.0], max_iter=2).fit(X, Y)
    assert [layer.name for layer in one_each._solver.model.layers] == [
        "hidden_0",
        "dropout_0",
        "hidden_1",
        "outputs",
    ]
    with pytest.raises(ValueError, match="or 2 rates, one per hidden layer, got"):
        MLPClassifier((8, 4), dropout=[0.1]).fit(X, Y)
    with pytest.raises(ValueError, match="'dropout' parameter of MLPClassifier"):
        small(dropout=1.0).fit(X, Y)
    with pytest.raises(ValueError, match="lbfgs"):
        small(dropout=0.1, solver="lbfgs").fit(X, Y)


def test_callbacks_see_scikit_learns_loss() -> None:
    history = History()
    estimator = small(callbacks=[history], validation_data=(X[:60], Y[:60])).fit(X[60:], Y[60:])
    assert history.history["loss"] == estimator.loss_curve_
    assert history.history["val_accuracy"] == pytest.approx(estimator.validation_scores_, abs=1e-6)
    assert history.model is None
    labels = (X[:, :3] > 0).astype(int)
    counted = small(callbacks=history, max_iter=2).fit(X, labels)
    assert history.history["loss"][-2:] == counted.loss_curve_
    clone(estimator)
    pickle.loads(pickle.dumps(estimator))


def test_callbacks_end_a_training_and_set_rates() -> None:
    stop = EarlyStopping(monitor="loss", min_delta=100.0, patience=2)
    assert small(callbacks=stop).fit(X, Y).n_iter_ == 3

    class Rates(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = 0.0

    still = small(callbacks=[Rates()]).fit(X, Y)
    start = small(max_iter=1, learning_rate_init=1e-30).fit(X, Y)
    np.testing.assert_array_equal(still.coefs_[0], start.coefs_[0])


def test_validation_data_takes_the_place_of_what_is_held_out() -> None:
    estimator = small(early_stopping=True, validation_data=(X[:50], Y[:50])).fit(X[50:], Y[50:])
    assert estimator.t_ % 190 == 0
    assert estimator.score(X[:50], Y[:50]) == pytest.approx(estimator.best_validation_score_, abs=1e-6)
    noted = small(validation_data=(X[:50], Y[:50], np.ones(50))).fit(X, Y)
    assert len(noted.validation_scores_) == len(noted.loss_curve_)
    assert noted.best_loss_ is not None
    with pytest.raises(ValueError, match="`validation_data` must be"):
        small(validation_data=(X,)).fit(X, Y)
    with pytest.raises(ValueError, match="classes not in"):
        small(validation_data=(X, Y + 5)).fit(X, Y)


def test_fits_go_on_with_warm_start() -> None:
    estimator = small(warm_start=True, max_iter=3)
    for fits in (1, 2, 3):
        estimator.fit(X, Y)
        assert len(estimator.loss_curve_) == 3 * fits
        assert estimator.n_iter_ == 3
        assert estimator.t_ == 3 * fits * len(X)
    assert estimator.loss_curve_[3] < estimator.loss_curve_[2]
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        estimator.fit(X, np.minimum(Y, 1))


def test_the_last_epoch_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        small(max_iter=2).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="lbfgs stopped after 2 iterations"):
        small(solver="lbfgs", max_iter=2).fit(X, Y)


def test_frames_and_their_names() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    estimator = small().fit(frame, pd.Series(Y))
    assert estimator.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[list("fedcba")])


@pytest.mark.parametrize(
    ("options", "y", "weights", "message"),
    [
        ({"solver": "newton"}, Y, None, "'solver' parameter of MLPClassifier"),
        ({"alpha": -1}, Y, None, "'alpha' parameter"),
        ({"hidden_layer_sizes": (3, 0)}, Y, None, "hidden_layer_sizes must be > 0"),
        ({}, Y[:-1], None, "inconsistent numbers of samples"),
        ({}, Y, np.ones(3), r"`sample_weight` must have shape \(240,\)"),
        ({}, Y, -np.ones(240), "must not be negative"),
        ({}, Y, np.zeros(240), "non-zero"),
        ({}, X[:, 0], None, "Unknown label type"),
        ({"early_stopping": True, "validation_fraction": 0.001}, Y, None, "validation"),
    ],
)
def test_what_is_wrong_is_said(options: Any, y: NDArray[Any], weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().set_params(**options).fit(X, y, weights)


def test_more_that_is_wrong() -> None:
    with pytest.raises(NotFittedError):
        small().predict(X)
    with pytest.raises(AttributeError, match="partial_fit"):
        small(solver="lbfgs").partial_fit(X, Y)
    with pytest.raises(ValueError, match="early_stopping"):
        small(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be passed"):
        small().partial_fit(X, Y)
    begun = small().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes not in"):
        begun.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="not the same as on last call"):
        begun.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="negative"):
        MLPRegressor(loss="poisson").fit(X, X[:, 0])
    with pytest.raises(TypeError, match="`callbacks` must hold objects"):
        small(callbacks=[print]).fit(X, Y)
    with pytest.raises(TypeError, match="`callbacks` must hold objects"):
        small(callbacks=3).fit(X, Y)
    with pytest.raises(ValueError, match=r"asks for layers of \(6, 9, 3\), but those of the earlier"):
        begun.set_params(hidden_layer_sizes=(9,)).partial_fit(X, Y)
    with pytest.raises(ValueError, match="columns as in the previous call"):
        MLPRegressor(hidden_layer_sizes=(4,), warm_start=True, max_iter=2).fit(X, Y).fit(X, X[:, :2])


# Simple data skip the checks of scikit-learn. The results must be the same.
ROWS = np.random.default_rng(0).random((40, 4)).astype(np.float32)
UNALIGNED = np.frombuffer(b" " + ROWS.tobytes(), np.float32, offset=1).reshape(ROWS.shape)
LAYOUTS = {
    "plain": ROWS,
    "columns first": np.asfortranarray(ROWS),
    "every other": np.repeat(ROWS, 2, axis=0)[::2],
    "read-only": np.frombuffer(ROWS.tobytes(), np.float32).reshape(ROWS.shape),
    "unaligned": UNALIGNED,
    "other byte order": ROWS.astype(">f4"),
    "masked": np.ma.masked_array(ROWS),
    "lists": ROWS.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_and_labels_of_every_layout_give_the_same(layout: str) -> None:
    y = np.arange(40) % 3
    expected = MLPClassifier((4,), random_state=0, max_iter=3).fit(ROWS, y)
    for labels in (y, y.astype(np.uint8), y.astype(np.float64), list(y)):
        found = MLPClassifier((4,), random_state=0, max_iter=3).fit(LAYOUTS[layout], labels)
        assert found.n_features_in_ == 4
        np.testing.assert_array_equal(found.coefs_[0].astype(np.float32), expected.coefs_[0])
        np.testing.assert_array_equal(found.predict(LAYOUTS[layout]), expected.predict(ROWS))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.where(np.arange(160).reshape(40, 4) == 7, np.nan, 1.0), "Input X contains NaN"),
        (np.where(np.arange(160).reshape(40, 4) == 7, np.inf, ROWS), "Input X contains infinity"),
        (ROWS[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features"),
        (ROWS[0], "Expected 2D array, got 1D array"),
        (ROWS[:0], "Found array with 0 sample"),
        (ROWS[:, :0], "Found array with 0 feature"),
        (ROWS[None], "Found array with dim 3"),
    ],
)
def test_plain_rows_are_checked_as_others(x: NDArray[Any], message: str) -> None:
    model = MLPClassifier((4,), max_iter=1).fit(ROWS, np.arange(40) % 3)
    with pytest.raises(ValueError, match=message):
        model.predict(x)
    if x.shape != (40, 3):
        with pytest.raises(ValueError, match=message):
            MLPClassifier((4,), max_iter=1).fit(x, np.arange(len(x)) % 3)


def test_plain_labels_must_be_as_many_as_rows() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPClassifier().fit(ROWS, np.arange(39))
    named = MLPClassifier((4,), max_iter=1).fit(pd.DataFrame(ROWS, columns=list("abcd")), np.arange(40) % 3)
    assert not hasattr(named.fit(ROWS, np.arange(40) % 3), "feature_names_in_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["binary", "classes", "numbers", "several"])
def test_the_network_by_itself(kind: str, solver: str, tmp_path: Path) -> None:
    targets = {
        "binary": Y > 0,
        "classes": Y % 3,
        "numbers": X[:, 0],
        "several": X[:, :2],
    }[kind]
    maker = MLPClassifier if kind in ("binary", "classes") else MLPRegressor
    options: dict[str, Any] = {"dropout": 0.2} if solver == "adam" else {}
    estimator = maker(hidden_layer_sizes=(6, 5), solver=solver, max_iter=5, random_state=0, **options)
    assert not hasattr(estimator, "model_")
    with pytest.raises(NotFittedError):
        _ = estimator.model_
    engine.utils.set_random_seed(3)
    expected = engine.layers.Dropout(0.1)._seed_in_use
    estimator.fit(X, targets)
    engine.utils.set_random_seed(3)
    model = estimator.model_
    assert engine.layers.Dropout(0.1)._seed_in_use == expected
    assert isinstance(model, engine.Sequential)
    ours = estimator.predict_proba(X) if maker is MLPClassifier else estimator.predict(X)
    wanted = ours[:, 1:] if kind == "binary" else ours.reshape(len(X), -1)
    np.testing.assert_allclose(model.predict(X), wanted, rtol=1e-5, atol=1e-6)
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert np.array_equal(again.model_.predict(X), model.predict(X))
    assert not hasattr(clone(estimator), "model_")
    model.set_weights([0 * array for array in model.get_weights()])
    after = estimator.predict_proba(X) if maker is MLPClassifier else estimator.predict(X)
    assert np.array_equal(after, ours)
    # Exported models compute the same. Other tests check the files.
    estimator.model_.export(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X.astype(np.float32)})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    estimator.model_.export(tmp_path / "net.h")
    assert "net_predict" in (tmp_path / "net.h").read_text()


# Compares the classes of classifiers with those of scikit-learn.


LABELS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]])
TARGETS = {
    "several": np.array([3, 5, -1, 5]),
    "text": np.array(["b", "a", "c", "a"]),
    "objects": np.array(["b", "a", "c", "a"], dtype=object),
    "two": np.array(["yes", "no", "no", "yes"]),
    "booleans": np.array([True, False, True, True]),
    "floats": np.array([0.0, 2.0, 1.0, 2.0]),
    "one": np.array([7, 7, 7, 7]),
    "at once": LABELS,
    "at once, booleans": LABELS.astype(bool),
    "at once, sparse": sparse.csr_matrix(LABELS),
    "list": ["b", "a", "c", "a"],
}


@pytest.mark.parametrize("name", TARGETS)
def test_labels_are_encoded_and_decoded_as_scikit_learn_does(name: str) -> None:
    y = TARGETS[name]
    labels, expected = Labels(y), LabelBinarizer().fit(y)
    assert labels.kind == expected.y_type_
    np.testing.assert_array_equal(labels.classes, expected.classes_)
    assert labels.classes.dtype == expected.classes_.dtype

    encoded, wanted = labels.encoded(y), expected.transform(y)
    if encoded.ndim == 1:
        assert encoded.dtype == np.int32
        encoded = np.eye(len(labels.classes))[encoded]
    np.testing.assert_array_equal(encoded, wanted.toarray() if sparse.issparse(wanted) else wanted)

    outputs = np.random.default_rng(0).random(encoded.shape, np.float32)
    flat = outputs[:, 0] if outputs.shape[1] == 1 else outputs
    found, right = labels.decoded(outputs), expected.inverse_transform(flat)
    assert type(found) is type(right)
    assert found.dtype == right.dtype
    both = (one.toarray() if sparse.issparse(one) else one for one in (found, right))
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0.5, 1.5, 2.2]), "Unknown label type: continuous"),
        (np.array([[1, 2], [3, 1], [0, 0]]), r"`y` of shape \(3, 2\): fit a classifier per column"),
        (np.array([None, 1, 2], dtype=object), "Unknown label type: unknown"),
    ],
)
def test_what_tells_no_classes_is_refused(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labels(y)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", [name for name in TARGETS if name != "list"])
def test_predictions_have_the_form_of_scikit_learns(name: str) -> None:
    x, y = np.random.default_rng(0).random((4, 5)), TARGETS[name]
    predictions = [
        kind(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(x, y).predict(x)
        for kind in (neural_network.MLPClassifier, ours.MLPClassifier)
    ]
    assert type(predictions[0]) is type(predictions[1])
    assert predictions[0].dtype == predictions[1].dtype
    assert predictions[0].shape == predictions[1].shape


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_series_of_categories() -> None:
    x, y = np.random.default_rng(0).random((4, 5)), pd.Series(["b", "a", "c", "a"], dtype="category")
    assert ours.MLPClassifier((3,), max_iter=2).fit(x, y).classes_.tolist() == ["a", "b", "c"]
