"""Tests of outputs with several rows per sample: targets, weights, errors. tests/keras compares the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import _core, layers, metrics

Array = NDArray[Any]

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(30, 4, 5)).astype(np.float32), RNG.integers(0, 3, (30, 4))
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def network(loss: object = "sparse_categorical_crossentropy", **options: Any) -> keras.Sequential:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4, 5)), layers.Dense(6, "relu"), layers.Dense(3, "softmax")])
    model.compile("adam", loss, **options)
    return model


def test_rows_are_samples_of_a_flat_network() -> None:
    """With one weight per row, each row is trained on like a sample."""
    weight = RNG.uniform(0, 2, LABELS.shape).astype(np.float32)
    rows = network(weighted_metrics=["accuracy", metrics.ConfusionMatrix()])
    flat = keras.Sequential([keras.Input((5,)), layers.Dense(6, "relu"), layers.Dense(3, "softmax")])
    flat.compile(
        "adam",
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy", metrics.ConfusionMatrix()],
    )
    flat.set_weights(rows.get_weights())
    options = {"shuffle": False, "verbose": 0, "epochs": 3}
    theirs = flat.fit(
        X.reshape(-1, 5), LABELS.reshape(-1), 40, sample_weight=weight.reshape(-1), **options
    ).history
    ours = rows.fit(X, LABELS, 10, sample_weight=weight, **options).history
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(
        rows.predict(X, verbose=0).reshape(-1, 3), flat.predict(X.reshape(-1, 5), verbose=0), rtol=1e-4
    )


def test_shuffled_rows_keep_their_targets() -> None:
    one, other = network(), network("categorical_crossentropy")
    for model, y in ((one, LABELS), (other, ONE_HOT)):
        keras.utils.set_random_seed(9)
        model.fit(X, y, epochs=4, batch_size=7, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_class_weights_count_for_each_row() -> None:
    by_class, by_row = network(), network()
    by_class.fit(X, LABELS, class_weight={0: 3.0, 2: 0.5}, verbose=0, shuffle=False)
    weights = np.array([3.0, 1.0, 0.5], np.float32)[LABELS]
    by_row.fit(X, LABELS, sample_weight=weights, verbose=0, shuffle=False)
    assert all(
        np.array_equal(a, b) for a, b in zip(by_class.get_weights(), by_row.get_weights(), strict=True)
    )
    network("categorical_crossentropy").fit(
        X, ONE_HOT, class_weight="balanced", sample_weight=np.ones(30), verbose=0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: network().fit(X, LABELS[:, :3], verbose=0), r"\(n, 4\), one class index per row"),
        (lambda: network().fit(X, ONE_HOT, verbose=0), r"one-hot labels, .*argmax\(axis=-1\)"),
        (
            lambda: network("categorical_crossentropy").fit(X, LABELS, verbose=0),
            "class indices, but the loss",
        ),
        (lambda: network().fit(X, LABELS + 1, verbose=0), r"class indices in \[0, 3\), .* holds 3"),
        (
            lambda: network().fit(X, LABELS, sample_weight=np.ones((30, 3)), verbose=0),
            r"\(30,\), one weight per sample, or \(30, 4\), one per row of outputs, got \(30, 3\)",
        ),
        (
            lambda: network().fit(X, LABELS, validation_split=0.2, stratify=True, verbose=0),
            "`stratify=True` needs one class per sample, but each has 4",
        ),
        (lambda: network(metrics=[metrics.F1Score()]), "'f1_score' needs one row per sample"),
        (
            lambda: network(keras.losses.CategoricalCrossentropy(axis=1)),
            "`axis=1` of the loss .* not that of",
        ),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_core_checks_rows() -> None:
    layer = {"kind": "dense", "units": 6, "use_bias": True, "activation": "linear", "trainable": True}
    with pytest.raises(ValueError, match="an output of 6 numbers can't be cut into 4 rows"):
        _core.Program(5, [layer], 4)
    program = _core.Program(5, [layer], 2)
    assert (program.output_size, program.output_width) == (6, 3)
    program.compile({"kind": "sparse_categorical_crossentropy"}, {"kind": "sgd", "momentum": 0.0}, [])
    x, y = np.zeros((3, 5), np.float32), np.zeros((3, 2), np.int32)
    program.begin("train", _core.Dataset(x, y), 2)
    with pytest.raises(ValueError, match="int32 class indices, 2 by sample"):
        program.begin("train", _core.Dataset(x, y[:, 0].copy()), 2)
    with pytest.raises(ValueError, match="`sample_weight` must hold 1 or 2 numbers by sample, got 3"):
        program.begin("train", _core.Dataset(x, y, np.ones((3, 3), np.float32)), 2)
