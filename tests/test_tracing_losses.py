"""Losses and activations of the package on symbols: in losses, layers and models of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, losses, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype(np.float32)
SHARES = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
OTHER = SHARES[::-1].copy()
HOT = np.eye(4, dtype=np.float32)[[0, 3, 1, 2, 0, 1]]

LOSSES: dict[str, tuple[np.ndarray, np.ndarray, dict[str, Any]]] = {
    "mean_squared_error": (X, SHARES, {}),
    "mean_absolute_error": (X, SHARES, {}),
    "mean_absolute_percentage_error": (X, SHARES, {}),
    "mean_squared_logarithmic_error": (OTHER, SHARES, {}),
    "huber": (X, SHARES, {"delta": 0.5}),
    "log_cosh": (X, SHARES, {}),
    "poisson": (OTHER, SHARES, {}),
    "kl_divergence": (OTHER, SHARES, {}),
    "cosine_similarity": (X, SHARES, {}),
    "hinge": (HOT, X, {}),
    "squared_hinge": (2 * HOT - 1, X, {}),
    "categorical_hinge": (HOT, X, {}),
    "binary_crossentropy": (HOT, SHARES, {"label_smoothing": 0.1}),
    "categorical_crossentropy": (HOT, X, {"from_logits": True, "label_smoothing": 0.1}),
    "sparse_categorical_crossentropy": (HOT.argmax(axis=1)[:, None], SHARES, {"ignore_class": 3}),
    "binary_focal_crossentropy": (HOT, X, {"from_logits": True, "apply_class_balancing": True}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_symbols(name: str) -> None:
    y_true, y_pred, options = LOSSES[name]
    function = getattr(losses, name)
    inputs = [keras.Input(array.shape[1:]) for array in (y_true, y_pred)]
    model = keras.Model(inputs, function(*inputs, **options))
    found = model.predict([np.asarray(y_true, np.float32), y_pred], verbose=0)
    np.testing.assert_allclose(found, function(y_true, y_pred, **options), rtol=1e-4, atol=1e-5)


SHAPES: dict[tuple[int, ...], list[tuple[int, ...]]] = {
    (6, 3): [(6, 3), (3,), (6,), (6, 1), (1, 3), (6, 3, 1), (1,), (), (2, 3), (18,)],
    (6, 1): [(6, 1), (6,), (6, 1, 1), (1,), (3,), (6, 3), ()],
    (6,): [(6,), (6, 1), (1,), (), (6, 3)],
    (2, 3, 4): [(2, 3, 4), (2, 3), (2, 3, 1), (4,), (3, 4), (2, 1, 4), (2, 3, 4, 1)],
}
FUNCTIONS = sorted(
    {*LOSSES, "categorical_focal_crossentropy", "dice", "tversky", "categorical_generalized_cross_entropy"}
)


def result_or_error(function: Any) -> Any:
    try:
        return np.asarray(function(), np.float32)
    except ValueError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore:In loss categorical:SyntaxWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_way_takes_targets_of_the_same_shapes(name: str, shape: tuple[int, ...]) -> None:
    """What a direct call refuses, tapes refuse, also for an array that they watch, and so do compiled functions."""
    options = {"q": 0.5} if "generalized" in name else {}
    y_pred = RNG.uniform(0.1, 0.9, shape).astype(np.float32)
    for target_shape in SHAPES[shape]:
        y_true = RNG.integers(0, min(2, shape[-1]), target_shape).astype(np.int32)

        def loss(predictions: Any, y_true: Any = y_true) -> Any:
            return getattr(losses, name)(y_true, predictions, **options)

        def on_tape(function: Any, loss: Any = loss) -> Any:
            with keras.GradientTape() as tape:
                x = ops.convert_to_tensor(y_pred)
                tape.watch(x)
                return loss(function(x))

        wanted = result_or_error(lambda loss=loss: loss(y_pred))
        for found in (
            result_or_error(lambda on_tape=on_tape: on_tape(lambda x: x)),
            result_or_error(lambda on_tape=on_tape: on_tape(lambda x: x * 1.0)),
            result_or_error(lambda loss=loss: keras.function(lambda x: loss(x * 1.0))(y_pred)),
        ):
            assert isinstance(found, str) == isinstance(wanted, str), (target_shape, wanted, found)
            if not isinstance(wanted, str):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=str(target_shape))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_nan_stays_visible_in_gradients(target: float, from_logits: bool) -> None:
    x = ops.convert_to_tensor(np.array([[0.3, np.nan, 0.7]], np.float32))
    with keras.GradientTape() as tape:
        tape.watch(x)
        loss = losses.binary_focal_crossentropy(np.full((1, 3), target), x, from_logits=from_logits)
    assert np.isnan(tape.gradient(loss, x)).tolist() == [[False, True, False]]


def test_losses_in_losses() -> None:
    crossentropy = losses.BinaryCrossentropy(from_logits=True)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return crossentropy(y_true, y_pred) + 0.5 * losses.mse(y_true, ops.sigmoid(y_pred))

    x = keras.Input((4,))
    model = compiled(keras.Model(x, layers.Dense(4)(x)), "sgd", loss)
    found = model.evaluate(X, HOT, verbose=0)
    outputs = model.predict(X, verbose=0)
    wanted = crossentropy(HOT, outputs) + 0.5 * np.mean((HOT - 1 / (1 + np.exp(-outputs))) ** 2)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert model.fit(X, HOT, epochs=2, verbose=0).history["loss"][1] < found


@pytest.mark.parametrize(
    "name", ["relu", "gelu", "elu", "mish", "tanh", "exponential", "linear", "softmax", "hard_tanh"]
)
def test_activations_of_symbols(name: str) -> None:
    function = getattr(keras.activations, name)
    x = keras.Input((4,))
    model = keras.Model(x, function(x) + 0)
    np.testing.assert_allclose(model.predict(X, verbose=0), function(X), rtol=1e-4, atol=1e-5)
    clipped = keras.Model(x, keras.activations.relu(x, negative_slope=0.1, max_value=0.5, threshold=0.2))
    wanted = keras.activations.relu(X, negative_slope=0.1, max_value=0.5, threshold=0.2)
    np.testing.assert_allclose(clipped.predict(X, verbose=0), wanted, rtol=1e-5)


def test_parts_of_batches_must_fit_the_smallest_batch() -> None:
    def joins(y_true: Any, y_pred: Any) -> Any:  # of one sample, y_pred[2:] would have a length of -1
        return ops.mean(ops.concatenate([y_pred[2:], y_pred], axis=0))

    def slices(y_true: Any, y_pred: Any) -> Any:  # of two samples, it would be one row of none
        twice = ops.concatenate([y_pred, y_pred], axis=0)
        return ops.mean(twice[5:][: ops.shape(y_pred)[0] - 1])

    for loss, message in (
        (joins, "in a batch of one sample"),
        (slices, "in a batch of any number of samples"),
    ):
        model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(1)]), "sgd", loss=loss)
        with pytest.raises(ValueError, match=message):
            model.evaluate(X, X[:, :1], verbose=0)


class Centered(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs - ops.mean(inputs, axis=0, keepdims=True)


def test_what_combines_samples_is_evaluated_by_batches() -> None:
    def pairs(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.expand_dims(y_pred, 0) - ops.expand_dims(y_true, 1)))

    def model_with(*more: Any, **arguments: Any) -> Any:
        return compiled(keras.Sequential([keras.Input((4,)), layers.Dense(1), *more]), "sgd", **arguments)

    for model in (
        model_with(loss=pairs),
        model_with(Centered(), loss="mse"),
        model_with(loss="mse", metrics=[pairs]),
    ):
        halves = [model.evaluate(X[part], X[part, :1], verbose=0) for part in (slice(0, 3), slice(3, 6))]
        found = model.evaluate(X, X[:, :1], batch_size=3, verbose=0)
        np.testing.assert_allclose(found, np.mean(halves, axis=0), rtol=1e-5)
        assert not np.allclose(found, model.evaluate(X, X[:, :1], verbose=0), rtol=1e-3)


@pytest.mark.parametrize("module", [losses, ops])
def test_a_batch_may_have_a_class_for_each_sample(module: Any) -> None:
    """As in contrastive losses, whose labels are the numbers of the samples."""

    def contrastive(targets: Any, outputs: Any) -> Any:
        alike = outputs @ ops.transpose(outputs)
        return module.sparse_categorical_crossentropy(
            ops.arange(ops.shape(outputs)[0]), alike, from_logits=True
        )

    model = compiled(keras.Sequential([keras.Input((4,)), layers.Activation("linear")]), loss=contrastive)
    alike = X.astype(np.float64) @ X.T.astype(np.float64)
    expected = np.log(np.exp(alike).sum(axis=1)) - np.diag(alike)
    assert model.evaluate(X, X, batch_size=6, verbose=0) == pytest.approx(expected.mean(), rel=1e-5)
