"""Tests of the kinds of targets that `engine.wrappers` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from wrappers_cases import NAMES, X3, XR, Y3, YR, X, Y, classifier, hidden, regressor

import engine as keras
from engine.losses import CategoricalCrossentropy, categorical_crossentropy
from engine.utils import to_categorical
from engine.wrappers import ClassifierLabelEncoder, KerasClassifier, KerasRegressor, RegressorTargetEncoder

LABELS = {
    "numbers": Y3,
    "other numbers": Y3 * 10 - 7,
    "floats": Y3.astype(float),
    "strings": np.array(NAMES),
    "objects": np.array(NAMES, dtype=object),
    "list": NAMES,
    "series": pd.Series(NAMES),
    "categories": pd.Series(NAMES, dtype="category"),
    "a column": Y3.reshape(-1, 1),
    "frame": pd.DataFrame({"species": NAMES}),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name: str) -> None:
    y = LABELS[name]
    found = classifier(epochs=60, batch_size=10).fit(X3, y)
    predictions = found.predict(X3)
    assert predictions.shape == np.shape(y)
    assert (predictions == np.asarray(y)).mean() > 0.9
    assert found.score(X3, y) > 0.9
    assert found.classes_.tolist() == sorted(set(np.asarray(y).reshape(-1).tolist()))
    assert found.n_classes_ == 3
    assert found.target_type_ == "multiclass"
    probabilities = found.predict_proba(X3)
    assert probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (found.classes_[probabilities.argmax(axis=1)] == predictions.reshape(-1)).all()


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("names", [[0, 1], ["no", "yes"], [False, True]])
def test_two_classes(names: list[Any], outputs: int) -> None:
    loss = ("binary_crossentropy", "sparse_categorical_crossentropy")[outputs - 1]
    y = np.array(names)[Y]
    found = KerasClassifier(
        lambda: hidden(8, 12, outputs, ("sigmoid", "softmax")[outputs - 1]),
        loss=loss, optimizer="adam", epochs=30, batch_size=10, verbose=0, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert found.predict(X).dtype == y.dtype
    assert found.score(X, y) > 0.8
    assert found.predict_proba(X[:1]).shape == (1, 2)
    assert found.target_type_ == "binary"
    raw = found.model_.predict(X, verbose=0)
    np.testing.assert_array_equal(found.predict_proba(X)[:, 1], raw[:, -1])


@pytest.mark.parametrize(
    ("outputs", "loss"),
    [(1, "BinaryCrossentropy"), (3, "SparseCategoricalCrossentropy"), (3, "CategoricalCrossentropy")],
)
def test_logits_become_probabilities(outputs: int, loss: str) -> None:
    x, y = (X, Y) if outputs == 1 else (X3, Y3)
    found = KerasClassifier(
        lambda meta: hidden(meta["n_features_in_"], 12, outputs, "linear"),
        loss=loss, loss__from_logits=True, optimizer="adam", epochs=20, batch_size=10, verbose=0, random_state=0,
    ).fit(x, y)  # fmt: skip
    probabilities = found.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert probabilities.min() >= 0
    logits = found.model_.predict(x, verbose=0)
    expected = (logits[:, 0] > 0) if outputs == 1 else logits.argmax(axis=1)
    np.testing.assert_array_equal(found.predict(x), expected)


def test_one_class() -> None:
    found = classifier(epochs=2).fit(X, np.full(len(X), "same"))
    assert set(found.predict(X)) == {"same"}
    assert found.classes_.tolist() == ["same"]


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        CategoricalCrossentropy,
        CategoricalCrossentropy(),
        categorical_crossentropy,
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "y", [Y3, np.array(NAMES), to_categorical(Y3)], ids=["numbers", "strings", "one-hot"]
)
def test_one_hot_rows_are_made_for_the_categorical_crossentropy(loss: Any, compiled: bool, y: Any) -> None:
    def build() -> Any:
        model = hidden(4, 12, 3, "softmax")
        if compiled:
            model.compile("adam", loss() if isinstance(loss, type) else loss)
        return model

    options = {} if compiled else {"loss": loss, "optimizer": "adam"}
    found = KerasClassifier(build, epochs=40, batch_size=10, verbose=0, random_state=0, **options).fit(X3, y)
    assert found.predict(X3).shape == y.shape
    assert found.score(X3, y) > 0.8


def test_one_hot_rows_come_back_as_such() -> None:
    y = to_categorical(Y3)
    found = KerasClassifier(
        lambda meta: hidden(4, 12, meta["n_classes_"], "softmax"),
        loss="categorical_crossentropy", optimizer="adam", epochs=40, batch_size=10, verbose=0, random_state=0,
    ).fit(X3, y)  # fmt: skip
    assert set(found.predict(X3).sum(axis=1)) == {1}
    assert found.classes_.tolist() == [0, 1, 2]
    assert found.target_type_ == "multilabel-indicator"
    np.testing.assert_array_equal(found.predict(X3).argmax(axis=1), found.predict_proba(X3).argmax(axis=1))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_several_labels_at_once(kind: Any) -> None:
    y = np.stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 0] > X[:, 1]], 1).astype(int)
    found = classifier(epochs=40).fit(X, kind(y))
    predictions = found.predict(X)
    assert type(predictions) is type(kind(y))
    dense = predictions.toarray() if sparse.issparse(predictions) else predictions
    assert (dense == y).mean() > 0.8
    np.testing.assert_array_equal(dense, found.predict_proba(X) > 0.5)
    assert found.score(X, kind(y)) == (dense == y).all(axis=1).mean()


def test_columns_of_several_classes() -> None:
    y = np.stack([Y3, (Y3 + 1) % 3], 1)
    found = KerasClassifier(
        lambda: hidden(4, 12, 2, "linear"), loss="mse", optimizer="adam", epochs=1, verbose=0
    ).fit(X3, y)
    assert found.target_type_ == "multiclass-multioutput"
    assert found.classes_ is None
    assert found.predict_proba(X3).shape == (150, 2)
    with pytest.raises(ValueError, match="override `target_encoder` with a transformer that returns them"):
        found.predict(X3)


def test_numbers_are_no_labels() -> None:
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(XR, YR)


def test_labels_that_were_not_in_fit() -> None:
    found = classifier(warm_start=True, epochs=1).fit(X3, NAMES)
    with pytest.raises(ValueError, match=r"\['other'\] in `y`: the classes are \['Iris-setosa'"):
        found.fit(X3, [*NAMES[:-1], "other"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2)])
def test_numbers(dtype: Any, shape: tuple[int, ...]) -> None:
    y = (np.round(YR * 10)).astype(dtype).reshape(-1, 1)
    y = np.repeat(y, 2, axis=1) if shape == (-1, 2) else y.reshape(shape)
    found = regressor().fit(XR, y)
    predictions = found.predict(XR)
    assert predictions.shape == y.shape
    assert predictions.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert found.n_outputs_ == shape[-1] or shape == (-1,)
    assert found.score(XR, y) > 0.5


def test_another_number_of_targets() -> None:
    found = regressor(warm_start=True, epochs=1).fit(XR, np.stack([YR, YR], 1))
    with pytest.raises(ValueError, match=r"`y` of shape \(120, 3\) has 3 outputs, but 2 are expected"):
        found.fit(XR, np.stack([YR] * 3, 1))
    with pytest.raises(ValueError, match="`y` has 1 axes, but 2 are expected as in `fit`"):
        found.fit(XR, YR)


def test_samples_of_another_shape() -> None:
    found = KerasRegressor(
        lambda meta: keras.Sequential([keras.Input(meta["X_shape_"][1:]), keras.layers.Flatten(), keras.layers.Dense(1)]),
        loss="mse", verbose=0,
    )  # fmt: skip
    images = np.random.default_rng(0).random((40, 4, 3))
    assert found.fit(images, images.mean(axis=(1, 2))).predict(images).shape == (40,)
    assert found.n_features_in_ == 4
    with pytest.raises(ValueError, match=r"each sample of `X` has shape \(4, 2\), but \(4, 3\) is expected"):
        found.predict(images[:, :, :2])


def test_a_model_of_several_outputs_needs_an_encoder() -> None:
    def build() -> Any:
        inputs = keras.Input((4,))
        model = keras.Model(inputs, [keras.layers.Dense(3, "softmax")(inputs), keras.layers.Dense(1)(inputs)])
        model.compile("adam", ["sparse_categorical_crossentropy", "mse"])
        return model

    with pytest.raises(ValueError, match=r"2 outputs, but 1 is expected.*`target_encoder`"):
        KerasClassifier(build, verbose=0).fit(X3, Y3)


def test_encoders_by_themselves() -> None:
    encoder = ClassifierLabelEncoder().fit(np.array(["b", "a", "b"]))
    np.testing.assert_array_equal(encoder.transform(np.array(["b", "a"])), np.float32([[1], [0]]))
    np.testing.assert_array_equal(encoder.inverse_transform(np.float32([[0.2], [0.7]])), ["a", "b"])
    np.testing.assert_allclose(
        encoder.inverse_transform(np.float32([[0.25]]), return_proba=True), [[0.75, 0.25]]
    )
    assert encoder.get_metadata()["n_classes_"] == 2
    known = ClassifierLabelEncoder(categories=[np.array([2, 0, 1])]).fit(np.array([2, 2]))
    assert known.classes_.tolist() == [0, 1, 2]
    assert known.inverse_transform(np.float32([[0.1, 0.2, 0.7]])).tolist() == [2]
    numbers = RegressorTargetEncoder().fit(np.float32([[1, 2]]))
    assert numbers.inverse_transform(np.float32([[3, 4]])).tolist() == [[3, 4]]
