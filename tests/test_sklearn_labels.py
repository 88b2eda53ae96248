"""Compares the classes of classifiers with those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer

import engine.sklearn as ours
from engine.sklearn.labels import Labels

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
