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
@pytest.mark.parametrize("reduction", [None, "none", "sum", "sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("loss", ["MeanSquaredError", "BinaryCrossentropy"])
def test_weights_of_losses(loss: str, reduction: str | None, shape: tuple[int, ...], weights: str) -> None:
    if reduction == "mean_with_sample_weight" and weights == "columns" and len(shape) > 2:
        return  # Keras adds up the weights of samples, though it weighs each timestep: here, as in `fit`, those of timesteps
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


METRICS = [
    "KLDivergence", "CosineSimilarity", "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "BinaryCrossentropy",
    "CategoricalCrossentropy", "Poisson", "LogCoshError", "Hinge", "CategoricalHinge", "MeanSquaredLogarithmicError",
    "BinaryAccuracy", "Accuracy", "CategoricalAccuracy", "TopKCategoricalAccuracy", "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
]  # fmt: skip
# Batches: the shape of the predictions and that of the weights. Batches and sequences of different lengths tell whether
# a batch, a sample or a timestep counts once.
BATCHES: dict[str, list[tuple[Any, Any]]] = {
    "vectors": [((5,), None), ((3,), None)],
    "vectors and numbers": [((5,), 2.0), ((3,), 5.0)],
    "rows": [((4, 3), (4,)), ((2, 3), None), ((2, 3), 3.0), ((2, 3), (2, 1))],
    "columns": [((4, 1), 2.0), ((2, 1), None), ((3, 1), (3,))],
    "sequences": [((4, 2, 3), None), ((2, 5, 3), None)],
    "weighted sequences": [
        ((4, 2, 3), (4,)),
        ((2, 5, 3), (2, 5)),
        ((2, 5, 3), (2, 1)),
        ((3, 2, 3), (3, 2, 1)),
    ],
    "sequences and numbers": [((4, 2, 3), 2.0), ((2, 5, 3), 3.0), ((2, 5, 3), (2, 5))],
}


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("metric", METRICS)
def test_what_counts_once_in_a_metric(metric: str, batches: str) -> None:
    sparse = metric.startswith("Sparse")
    if sparse and batches in ("vectors", "vectors and numbers", "columns"):
        return
    rng = np.random.default_rng(0)
    found = [getattr(api.metrics, metric)() for api in (keras, engine)]
    for shape, weights in BATCHES[batches]:
        outputs = rng.random(shape, np.float32)
        targets = rng.integers(0, 3, shape[:-1]) if sparse else rng.integers(0, 2, shape).astype(np.float32)
        given = rng.random(weights, np.float32) if isinstance(weights, tuple) else weights
        for each in found:
            each.update_state(targets, outputs, sample_weight=given)
    np.testing.assert_allclose(float(found[1].result()), float(found[0].result()), rtol=1e-5, atol=1e-6)
    for own, other in zip(found[1].variables, found[0].variables, strict=True):
        np.testing.assert_allclose(own.numpy(), np.asarray(other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["KLDivergence", "CosineSimilarity", "MeanSquaredError", "CategoricalCrossentropy", "Poisson"]
)
def test_a_metric_of_vectors_is_the_loss_of_its_class(name: str) -> None:
    targets, outputs = RNG.random(6, np.float32), RNG.random(6, np.float32)
    sign = -1.0 if name == "CosineSimilarity" else 1.0
    metric, loss = getattr(engine.metrics, name)(), getattr(engine.losses, name)()
    metric.update_state(targets, outputs)
    assert float(metric.result()) == pytest.approx(sign * float(loss(targets, outputs)), rel=1e-6)
    long = RNG.random(100_001, np.float32), RNG.random(100_001, np.float32)
    metric.reset_state()
    metric.update_state(*long)
    if name == "MeanSquaredError":  # sums of long rows keep their digits
        exact = np.square(long[0].astype(float) - long[1]).mean()
        assert float(metric.result()) == pytest.approx(exact, rel=1e-7)
