"""Compares `fit` with Keras: steps, sample weights, validation, data in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import assert_same_histories, twins

import engine

SAMPLES = 70
rng = np.random.default_rng(3)
X = rng.random((SAMPLES, 6), np.float32)
Y = rng.integers(0, 3, SAMPLES)
ONE_HOT = np.eye(3, dtype=np.float32)[Y]
WEIGHTS = rng.random(SAMPLES).astype(np.float32)


def classifier(loss: str, outputs: int = 3) -> Callable[[Any], Any]:
    def make(api: Any) -> Any:
        activation = "softmax" if outputs > 1 else "sigmoid"
        layers = [api.Input((6,)), api.layers.Dense(8, "relu"), api.layers.Dense(outputs, activation)]
        return compiled(api.Sequential(layers), "adam", loss, metrics=["accuracy"])

    return make


sparse, categorical = classifier("sparse_categorical_crossentropy"), classifier("categorical_crossentropy")
binary = classifier("binary_crossentropy", 1)

FITS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "steps alone": (sparse, (X, Y), {"steps_per_epoch": 4, "epochs": 3}),
    "steps and batches": (sparse, (X, Y), {"steps_per_epoch": 2, "batch_size": 20, "epochs": 2}),
    "batches": (sparse, (X, Y), {"batch_size": 16, "epochs": 2}),
    "positional": (sparse, (X, Y, 16, 2, 0, None, 0.2), {}),
    "split": (sparse, (X, Y), {"validation_split": 0.33, "validation_batch_size": 7}),
    "both validations": (sparse, (X, Y), {"validation_split": 0.5, "validation_data": (X[:9], Y[:9])}),
    "weighted validation": (sparse, (X, Y), {"validation_data": (X, Y, WEIGHTS)}),
    "validation steps": (
        sparse,
        (X, Y),
        {"validation_data": (X, Y), "validation_steps": 1, "batch_size": 10},
    ),
    "validation steps alone": (sparse, (X, Y), {"validation_data": (X, Y), "validation_steps": 2}),
    "sample weights": (sparse, (X, Y), {"sample_weight": WEIGHTS}),
    "class weights": (sparse, (X, Y), {"class_weight": {0: 2.0, 2: 0.5}, "epochs": 2}),
    "class weights of a column": (sparse, (X, Y[:, None]), {"class_weight": {0: 2.0, 2: 0.5}}),
    "class weights of one-hot labels": (categorical, (X, ONE_HOT), {"class_weight": {0: 2.0, 2: 0.5}}),
    "class weights of two classes": (binary, (X, (Y > 0).astype("float32")), {"class_weight": {1: 3.0}}),
    "class weights beside a split": (
        sparse,
        (X, Y),
        {"class_weight": {0: 2.0, 2: 0.5}, "validation_split": 0.3, "epochs": 2},
    ),
    "last epochs": (sparse, (X, Y), {"initial_epoch": 2, "epochs": 4}),
    "list of frequencies": (
        sparse,
        (X, Y),
        {"validation_split": 0.2, "validation_freq": [2, 3], "epochs": 4},
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_same_fit(case: str) -> None:
    make, data, options = FITS[case]
    pair = twins(make)
    results = [
        model.fit(*data, shuffle=False, **({"verbose": 0} if len(data) < 5 else {}) | options)
        for model in pair
    ]
    assert results[1].epoch == results[0].epoch
    assert results[1].params["steps"] == results[0].params["steps"]
    assert_same_histories(results[0].history, results[1].history)
    pair.assert_same_weights(atol=1e-5)


def batches(size: int = 16, parts: int = 2) -> Iterator[Any]:
    while True:
        for begin in range(0, SAMPLES, size):
            yield tuple(array[begin : begin + size] for array in (X, Y, WEIGHTS)[:parts])


def numbered(api: Any, parts: int = 2) -> Any:
    class Data(api.utils.PyDataset):  # of either library
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            return tuple(array[index * 16 : index * 16 + 16] for array in (X, Y, WEIGHTS)[:parts])

    return Data()


STREAMS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "generator": lambda api: {"x": batches(), "steps_per_epoch": 3, "epochs": 3},
    "weighted generator": lambda api: {"x": batches(parts=3), "steps_per_epoch": 3},
    "numbered": lambda api: {"x": numbered(api), "epochs": 2, "validation_data": numbered(api)},
    "weighted numbered": lambda api: {"x": numbered(api, 3)},
    "class weights": lambda api: {"x": numbered(api), "class_weight": {0: 2.0}},
    "steps of numbered": lambda api: {"x": numbered(api), "steps_per_epoch": 2, "epochs": 2},
    "validation steps": lambda api: {"x": X, "y": Y, "validation_data": numbered(api), "validation_steps": 2},
}


@pytest.mark.parametrize("case", STREAMS)
def test_same_streams(case: str) -> None:
    pair = twins(sparse)
    results = [
        model.fit(shuffle=False, verbose=0, **STREAMS[case](api))
        for model, api in zip(pair, (keras, engine), strict=True)
    ]
    assert results[1].params["steps"] == results[0].params["steps"]
    assert_same_histories(results[0].history, results[1].history)
    pair.assert_same_weights(atol=1e-5)
    theirs, ours = (
        model.evaluate(numbered(api), verbose=0) for model, api in zip(pair, (keras, engine), strict=True)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    theirs, ours = (
        model.predict(numbered(api), verbose=0) for model, api in zip(pair, (keras, engine), strict=True)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_same_sparse_rows() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    matrix = scipy.csr_matrix(np.where(X < 0.7, 0, X))
    pair = twins(sparse)
    assert_same_histories(*pair.fit(matrix, Y, epochs=2))
    pair.assert_same_weights(atol=1e-5)


def test_same_single_batches() -> None:
    pair = twins(sparse)
    for verb, options in (
        ("train_on_batch", {}),
        ("train_on_batch", {"sample_weight": WEIGHTS}),
        ("train_on_batch", {"class_weight": {1: 2.0}, "return_dict": True}),
        ("test_on_batch", {"return_dict": True}),
        ("test_on_batch", {"sample_weight": WEIGHTS}),
    ):
        theirs, ours = (getattr(model, verb)(X, Y, **options) for model in pair)
        if isinstance(theirs, dict):
            assert sorted(ours) == sorted(theirs)
            theirs, ours = [theirs[name] for name in sorted(theirs)], [ours[name] for name in sorted(ours)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    theirs, ours = (
        model.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0, return_dict=True) for model in pair
    )
    assert sorted(ours) == sorted(theirs)
    np.testing.assert_allclose(
        [ours[k] for k in sorted(ours)], [theirs[k] for k in sorted(theirs)], rtol=1e-5
    )
    theirs, ours = (model.predict_on_batch(X) for model in pair)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_shuffled_batches_keep_their_rows() -> None:
    pair = twins(sparse)
    assert_same_histories(*pair.fit(X, Y, batch_size=16, epochs=2, shuffle="batch"))
    pair.assert_same_weights(atol=1e-5)


FORMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "lists": (lambda x: [x], lambda y: [y]),
    "tuples": (lambda x: (x,), lambda y: (y,)),
    "dict": (lambda x: {"given": x}, lambda y: y),
    "dict_and_more": (lambda x: {"other": x, "given": x}, lambda y: [y]),
}


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples", [SAMPLES, 1])
def test_one_array_in_a_list_or_a_dict(form: str, samples: int) -> None:
    """For a model with one input and one output, data may be in a list or dict, in batches too."""
    of_x, of_y = FORMS[form]
    x, y, weights = X[:samples], ONE_HOT[:samples], WEIGHTS[:samples]

    def make(api: Any) -> Any:
        inputs = api.Input((6,), name="given")
        model = api.Model(inputs, api.layers.Dense(3, "softmax")(api.layers.Dense(8, "relu")(inputs)))
        return compiled(model, api.optimizers.SGD(0.1), "categorical_crossentropy", metrics=["mae"])

    pair = twins(make)
    given = (of_x(x), of_y(y))
    options = {"sample_weight": of_y(weights), "validation_data": given, "epochs": 2}
    assert_same_histories(*pair.fit(*given, **options))
    found = []
    for model in pair:
        model.fit((given for _ in range(2)), verbose=0)
        results = [model.train_on_batch(*given), model.test_on_batch(*given)]
        results += [model.evaluate(*given, sample_weight=of_y(weights), verbose=0)]
        results += [model.predict(given[0], verbose=0), model.predict_on_batch(given[0]), model(given[0])]
        results += [model.predict((given for _ in range(2)), verbose=0)]
        found.append([np.asarray(result, np.float32) for result in results])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    pair.assert_same_weights(atol=1e-5)
