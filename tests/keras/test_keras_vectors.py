"""Compares special shapes with Keras: weights (n, 1) of losses, vectors of category indices. Also names of metrics."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

RNG = np.random.default_rng(0)
N = 5
WEIGHTS = {
    "none": None,
    "samples": np.arange(1.0, 1 + N),
    "columns": np.arange(1.0, 1 + N)[:, np.newaxis],
    "number": 2.0,
    "one": np.array([2.0]),
}


@pytest.mark.parametrize(
    ("shape", "weights"),
    # Keras doesn't broadcast (n,) to losses (n, 2).
    [
        (shape, weights)
        for shape in ((N, 3), (N, 1), (N, 2, 3))
        for weights in WEIGHTS
        if weights != "samples" or len(shape) == 2
    ],
    ids=str,
)
@pytest.mark.parametrize("reduction", [None, "none", "sum", "sum_over_batch_size"])
@pytest.mark.parametrize("loss", ["MeanSquaredError", "BinaryCrossentropy"])
def test_weights_of_losses(loss: str, reduction: str | None, shape: tuple[int, ...], weights: str) -> None:
    targets, outputs = RNG.random(shape, np.float32), RNG.random(shape, np.float32)
    found = [
        np.asarray(
            getattr(api.losses, loss)(reduction=reduction)(targets, outputs, sample_weight=WEIGHTS[weights])
        )
        for api in (keras, engine)
    ]
    assert found[1].shape == found[0].shape
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


MODES = pytest.mark.parametrize("mode", ["multi_hot", "one_hot", "count"])
INDICES = [np.array(2), np.array([2]), np.array([1, 2, 2]), np.array([[1], [2]]), np.array([[1, 2], [0, 0]])]


@MODES
@pytest.mark.parametrize("indices", INDICES, ids=lambda indices: str(indices.tolist()))
def test_category_encoding(indices: Any, mode: str) -> None:
    found = [np.asarray(api.layers.CategoryEncoding(4, output_mode=mode)(indices)) for api in (keras, engine)]
    assert found[1].shape == found[0].shape
    assert np.array_equal(found[1], found[0])


def test_category_encoding_with_weights() -> None:
    for indices, weights in (([1, 2, 2], [0.5, 1.0, 2.0]), ([[1, 2], [0, 0]], [[0.5, 1.0], [2.0, 3.0]])):
        given = np.array(indices), np.array(weights, np.float32)
        found = [
            np.asarray(api.layers.CategoryEncoding(4, output_mode="count")(given[0], count_weights=given[1]))
            for api in (keras, engine)
        ]
        np.testing.assert_allclose(found[1], found[0])


@MODES
def test_category_encoding_in_models(mode: str) -> None:
    for shape in ((1,), (3,)):
        shapes = [
            api.layers.CategoryEncoding(4, output_mode=mode)(api.Input(shape)).shape
            for api in (keras, engine)
        ]
        assert shapes[1] == shapes[0]
    scalars = keras.Input(())
    if mode == "one_hot":
        theirs = keras.layers.CategoryEncoding(4, output_mode=mode)(scalars).shape
        assert engine.layers.CategoryEncoding(4, output_mode=mode)(engine.Input(())).shape == theirs
        return
    # The output has no batch axis.
    assert keras.layers.CategoryEncoding(4, output_mode=mode)(scalars).shape == (4,)
    with pytest.raises(ValueError, match=r"would leave no samples: use Input\(\(1,\)\)"):
        engine.layers.CategoryEncoding(4, output_mode=mode)(engine.Input(()))


@pytest.mark.parametrize(
    ("metrics", "weighted"),
    [
        (["accuracy", "accuracy"], None),
        (["accuracy"] * 3, None),
        (["accuracy", "acc"], None),
        (["accuracy"], ["accuracy"]),
        ([], ["accuracy", "accuracy"]),
        (["accuracy", "accuracy"], ["accuracy", "accuracy"]),
        (["mae", "mae"], ["mae"]),
        (["AUC", "auc"], None),
    ],
)
def test_names_of_metrics(metrics: list[str], weighted: list[str] | None) -> None:
    x = RNG.standard_normal((16, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    names = []
    for api in (keras, engine):
        model = api.Sequential([api.Input((4,)), api.layers.Dense(1, activation="sigmoid")])
        model.compile("sgd", "binary_crossentropy", metrics=metrics, weighted_metrics=weighted)
        history = model.fit(x, y, verbose=0, validation_data=(x, y)).history
        names.append([sorted(history), sorted(model.evaluate(x, y, verbose=0, return_dict=True))])
    assert names[1] == names[0]


@pytest.mark.parametrize("penalty", [None, "l2"])
def test_config_of_embedding(penalty: str | None) -> None:
    for api in (keras, engine):
        config = api.layers.Embedding(3, 4, activity_regularizer=penalty).get_config()
        assert (config["activity_regularizer"] is None) == (penalty is None)
        again = api.layers.Embedding.from_config(config)
        assert (again.activity_regularizer is None) == (penalty is None)
