"""Compares losses with Keras: by class, function, name and config, alone and in training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

Array = NDArray[Any]

ROWS, WIDTH = 10, 4
# Tolerance: sums in different orders; a logarithm of nearly 1 loses digits.
RTOL, ATOL = 1e-5, 2e-6

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("MeanSquaredError", {}),
    ("MeanAbsoluteError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("Huber", {}),
    ("Huber", {"delta": 0.4}),
    ("LogCosh", {}),
    ("CosineSimilarity", {}),
    ("KLDivergence", {}),
    ("Poisson", {}),
    ("Hinge", {}),
    ("SquaredHinge", {}),
    ("CategoricalHinge", {}),
    ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("BinaryFocalCrossentropy", {}),
    (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "from_logits": True},
    ),
    ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
    ("CategoricalFocalCrossentropy", {}),
    (
        "CategoricalFocalCrossentropy",
        {"alpha": 0.6, "gamma": 3.0, "from_logits": True, "label_smoothing": 0.1},
    ),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1, "from_logits": True}),
    ("CategoricalGeneralizedCrossEntropy", {}),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.8}),
    ("Dice", {"axis": -1}),
    ("Dice", {}),
    ("Tversky", {"alpha": 0.3, "beta": 0.6, "axis": -1}),
    ("Tversky", {"alpha": 0.3, "beta": 0.6}),
]
CONFIGS += [  # others with the arguments that they have by default
    (name, {})
    for name in engine.losses.__all__
    if isinstance(getattr(engine.losses, name), type) and hasattr(keras.losses, name)
    if name not in {"Circle", "Loss", *(known for known, _ in CONFIGS)}
]
REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None]
WEIGHT = np.random.default_rng(5).uniform(0, 2, ROWS).astype(np.float32)

by_config = pytest.mark.parametrize(
    ("name", "config"), CONFIGS, ids=lambda value: str(value).replace(" ", "")
)


def data(name: str, config: dict[str, Any], rows: int = ROWS) -> tuple[Array, Array]:
    """Returns targets and predictions in the domain of the loss."""
    rng = np.random.default_rng(len(name))
    if name.startswith("Sparse") or "Generalized" in name:
        y = rng.integers(0, WIDTH, rows)
        y[:2] = config.get("ignore_class", y[:2])
    elif "Categorical" in name:
        y = np.eye(WIDTH, dtype=np.float32)[rng.integers(0, WIDTH, rows)]
    elif "Binary" in name or name in {"Hinge", "SquaredHinge", "Dice", "Tversky"}:
        y = rng.integers(0, 2, (rows, WIDTH)).astype(np.float32)
    else:
        y = rng.uniform(0.05, 1, (rows, WIDTH)).astype(np.float32)
    unit = any(part in name for part in ("Cross", "KL", "Poisson", "Logarithmic", "Dice", "Tversky"))
    if unit and not config.get("from_logits"):
        return y, rng.uniform(0.05, 0.95, (rows, WIDTH)).astype(np.float32)
    return y, rng.normal(0, 1.5, (rows, WIDTH)).astype(np.float32)


@by_config
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_alone(name: str, config: dict[str, Any], reduction: str | None) -> None:
    y, p = data(name, config)
    theirs = getattr(keras.losses, name)(**config, reduction=reduction)
    ours = getattr(engine.losses, name)(**config, reduction=reduction)
    assert ours.get_config().items() >= theirs.get_config().items()  # the config in Keras lacks `delta`
    assert ours.from_config(ours.get_config()).get_config() == ours.get_config()
    for weight in (None, WEIGHT, WEIGHT[:, None]):
        if reduction in {"none", None} and np.ndim(weight) > 1:
            continue  # in Keras, losses get the shape of the weights
        if config.get("axis", 0) is None or (name in {"Dice", "Tversky"} and weight is not None):
            continue
        np.testing.assert_allclose(ours(y, p, weight), theirs(y, p, weight), rtol=RTOL, atol=ATOL)


@by_config
def test_functions(name: str, config: dict[str, Any]) -> None:
    y, p = data(name, config)
    if "Generalized" in name:
        config = {"q": 0.5} | config  # the functions have no default for it
    snake = engine.losses.serialize(type(getattr(engine.losses, name)())._function)
    theirs, ours = getattr(keras.losses, snake), getattr(engine.losses, snake)
    np.testing.assert_allclose(ours(y, p, **config), theirs(y, p, **config), rtol=RTOL, atol=ATOL)
    assert engine.losses.get(snake) is ours
    assert engine.losses.deserialize(engine.losses.serialize(ours)) is ours


@by_config
@pytest.mark.parametrize("weighted", [False, True])
def test_in_training(name: str, config: dict[str, Any], weighted: bool) -> None:
    logits = config.get("from_logits") or name in {
        "Hinge",
        "SquaredHinge",
        "CategoricalHinge",
        "CosineSimilarity",
    }
    regression = "Cross" not in name and name not in {"KLDivergence", "Dice", "Tversky", "Poisson"}
    link = "linear" if logits or regression else "softmax" if "Categorical" in name else "sigmoid"
    y, _ = data(name, config, 22)
    x = np.random.default_rng(1).normal(size=(22, 5)).astype(np.float32)
    options: dict[str, Any] = {"sample_weight": np.resize(WEIGHT, 22)} if weighted else {}

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((5,)), api.layers.Dense(6, activation="tanh"), api.layers.Dense(WIDTH, link)]
        )
        loss = getattr(api.losses, name)(**config)
        # Gradients of percentages are a hundred times as large, and their sign can change by rounding.
        rate = 5e-4 if name == "MeanAbsolutePercentageError" else 0.05
        return compiled(model, api.optimizers.SGD(rate), loss, run_eagerly=True)

    pair = twins(make)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=2, **options), rtol=2e-5)
    pair.assert_same_weights(rtol=1e-4, atol=5e-6)
    theirs, ours = (model.evaluate(x, y, batch_size=8, verbose=0, **options) for model in pair)
    np.testing.assert_allclose(ours, theirs, rtol=5e-5, atol=ATOL)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_class", [None, 1])
@pytest.mark.parametrize("reduction", REDUCTIONS[1:4])
def test_reductions_in_training(reduction: str, ignore_class: int | None, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(22, 5)).astype(np.float32), rng.integers(0, 3, 22)
    options: dict[str, Any] = {"sample_weight": np.resize(WEIGHT, 22)} if weighted else {}

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((5,)), api.layers.Dense(3, "softmax", kernel_regularizer=api.regularizers.L2(0.1))]
        )
        loss = api.losses.SparseCategoricalCrossentropy(ignore_class=ignore_class, reduction=reduction)
        model.compile(
            api.optimizers.SGD(0.05), loss, loss_weights=1.5, metrics=["accuracy"], run_eagerly=True
        )
        return model

    pair = twins(make)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=2, validation_split=0.2, **options), rtol=2e-5)
    pair.assert_same_weights(rtol=1e-4, atol=5e-6)
    theirs, ours = (model.evaluate(x, y, batch_size=8, verbose=0, **options) for model in pair)
    np.testing.assert_allclose(ours, theirs, rtol=5e-5)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize("sparse", [False, True])
def test_crossentropy_suits_the_labels(name: str, outputs: int, sparse: bool) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 5)).astype(np.float32), rng.integers(0, max(outputs, 2), 12)
    targets = y if sparse else y[:, None].astype(float) if outputs == 1 else np.eye(outputs)[y]

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((5,)), api.layers.Dense(outputs, "sigmoid" if outputs == 1 else "softmax")]
        )
        return compiled(model, "sgd", name, metrics=["accuracy"], run_eagerly=True)

    if outputs == 1 and sparse:
        targets = targets.astype(np.float32)
    pair = twins(make)
    assert_same_histories(*pair.fit(x, targets, epochs=2, batch_size=8))


def test_a_loss_of_ones_own() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)

    def make(api: Any) -> Any:
        class Quartic(api.losses.Loss):  # type: ignore[misc, name-defined] # whichever library
            def call(self, y_true: Any, y_pred: Any) -> Any:
                errors = (y_pred - y_true) ** 4
                return (errors[:, 0] + errors[:, 1]) / 2

            def gradient(self, y_true: Any, y_pred: Any) -> Any:
                return 4 * (y_pred - y_true) ** 3 / 2

        model = api.Sequential([api.Input((5,)), api.layers.Dense(4, "relu"), api.layers.Dense(2)])
        return compiled(model, api.optimizers.SGD(0.01), Quartic(reduction="sum"), run_eagerly=True)

    pair = twins(make)
    weights = np.resize(WEIGHT, 20)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=3, sample_weight=weights), rtol=5e-5)
    pair.assert_same_weights(rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("most", [2, 40])
def test_counts_for_a_loss_of_ones_own(most: int) -> None:
    """Trains with the zero-inflated Poisson likelihood of counts (n,). Outputs are a log mean and log odds of extra zeros."""
    rng = np.random.default_rng(2)
    x, counts = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, most, 40)

    def make(api: Any) -> Any:
        ops = api.ops

        def loss(y_true: Any, y_pred: Any) -> Any:
            y_true = ops.cast(ops.reshape(y_true, (-1,)), "float32")
            return ops.exp(y_pred[:, 0]) - y_true * y_pred[:, 0] + ops.square(y_pred[:, 1] - y_true / most)

        def gradient(y_true: Any, y_pred: Any) -> Any:
            y_true = np.asarray(y_true, np.float32).reshape(-1)
            slopes = [np.exp(y_pred[:, 0]) - y_true, 2 * (y_pred[:, 1] - y_true / most)]
            return np.stack(slopes, axis=1)

        loss.gradient = gradient  # type: ignore[attr-defined] # for us
        model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
        return compiled(model, api.optimizers.SGD(0.01), loss)

    pair = twins(make)
    options = {"epochs": 2, "batch_size": 8, "validation_data": (x, counts[:, np.newaxis])}
    assert_same_histories(*pair.fit(x, counts, **options))
    pair.assert_same_weights()


@pytest.mark.parametrize(
    "name",
    ["kl_divergence", "mean_squared_error", "mean_absolute_error", "poisson", "huber", "log_cosh", "hinge"],
)
def test_one_target_for_all_predictions(name: str) -> None:
    predictions = np.array([[0.3, 0.6, 0.9]], np.float32)
    expected = np.asarray(getattr(keras.losses, name)(0.5, predictions))
    loss = getattr(engine.losses, name)
    np.testing.assert_allclose(loss(0.5, predictions), expected, rtol=1e-5)
    layer = engine.layers.Lambda(lambda x: loss(0.5, x))
    model = engine.Sequential([engine.Input((3,)), layer])
    np.testing.assert_allclose(model.predict(predictions, verbose=0), expected, rtol=1e-5)
