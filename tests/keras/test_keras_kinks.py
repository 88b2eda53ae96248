"""Values, slopes and second derivatives of elementwise functions at corners are those of Keras with JAX, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np
import pytest
from corners import PLACES, RELU_OPTIONS, assert_same, derivatives

import engine

NAMES = ["exp", "exp2", "expm1", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh", "erf", "erfc", "deg2rad", "rad2deg", "fabs", "sinc", "negative", "absolute", "square", "sign", "floor", "ceil", "trunc", "round", "relu", "relu6", "selu", "sigmoid", "hard_sigmoid", "sparse_sigmoid", "log_sigmoid", "silu", "hard_silu", "softplus", "sparse_plus", "softsign", "hard_tanh", "tanh_shrink", "leaky_relu", "elu", "celu", "gelu", "squareplus", "soft_shrink", "hard_shrink", "mish"]  # fmt: skip
CASES: dict[str, Callable[[Any, Any], Any]] = {
    **{name: lambda ops, x, name=name: getattr(ops, name)(x) for name in NAMES if hasattr(keras.ops, name)},
    "exact gelu": lambda ops, x: ops.gelu(x, approximate=False),
    "threshold": lambda ops, x: ops.threshold(x, 0.5, 2.0),
    "clip": lambda ops, x: ops.clip(x, -1.0, 1.0),
    "where": lambda ops, x: ops.where(x > 0, x, 0.0),
    "heaviside": lambda ops, x: ops.heaviside(x, 0.5),
    "mod": lambda ops, x: ops.mod(x, -2.0),
    "fmod": lambda ops, x: ops.fmod(x, 1.5),
    "floor_divide": lambda ops, x: ops.floor_divide(x, 2.0),
    "hypot": lambda ops, x: ops.hypot(x, 1.0),
    "logaddexp": lambda ops, x: ops.logaddexp(x, 0.0),
    "logaddexp of equal numbers": lambda ops, x: ops.logaddexp(x, x),
    "logaddexp2": lambda ops, x: ops.logaddexp2(0.0, x),
    "arctan2": lambda ops, x: ops.arctan2(x, 1.0),
    **{
        f"{name} {number}": lambda ops, x, name=name, number=number: getattr(ops, name)(x, number)
        for name in ("maximum", "minimum", "fmax", "fmin")
        for number in (-1.0, 0.0, 3.0)
    },
    **{
        f"power {number}": lambda ops, x, number=number: ops.power(x, number) for number in (0, 1, 2, 3, 4, 5)
    },
}


def in_keras(function: Callable[[Any], Any], at: Sequence[float] = PLACES) -> list[Any]:
    slope = jax.grad(function)
    with jax.enable_x64(True):
        places = jax.numpy.asarray(at, jax.numpy.float64)
        return [np.asarray(jax.vmap(each)(places)) for each in (function, slope, jax.grad(slope))]


@pytest.mark.parametrize("name", CASES)
def test_functions(name: str) -> None:
    function = CASES[name]
    assert_same(derivatives(lambda x: function(engine.ops, x)), in_keras(lambda x: function(keras.ops, x)))


@pytest.mark.parametrize("max_value", [None, 1.0, 2.0, 6.0])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0, -1.0])
def test_relu_at_its_corners_and_infinities(max_value: float | None, threshold: float) -> None:
    places = (-np.inf, -7.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 6.0, 7.0, np.inf)
    for negative_slope in (0.0, 0.1, 1.0):
        options = {"max_value": max_value, "threshold": threshold, "negative_slope": negative_slope}
        value, slope, _ = in_keras(lambda x, options=options: keras.activations.relu(x, **options), places)
        found = derivatives(lambda x, options=options: engine.activations.relu(x, **options), places)
        x = np.float32(places)[:, None]
        for each in (found[0], engine.activations.relu(x, **options)[:, 0]):
            np.testing.assert_allclose(each, value, rtol=1e-6, err_msg=str(options))
        np.testing.assert_allclose(found[1], slope, rtol=1e-6, err_msg=str(options))


@pytest.mark.parametrize("options", RELU_OPTIONS)
def test_relu_with_arguments(options: dict[str, float]) -> None:
    wanted = in_keras(lambda x: keras.activations.relu(x, **options))
    assert_same(derivatives(lambda x: engine.activations.relu(x, **options)), wanted)


# Losses with targets at which they have corners among the places, and the places that float32 can tell from a bound.
NEAR = tuple(place for place in PLACES if abs(place) <= 6)
INSIDE = (-0.5, 0.0, 1e-8, 0.25, 0.5, 0.75)
LOSSES: dict[str, tuple[str, float, dict[str, Any], tuple[float, ...]]] = {
    "squared error": ("mean_squared_error", 0.5, {}, PLACES),
    "absolute error": ("mean_absolute_error", 0.5, {}, PLACES),
    "percentage error": ("mean_absolute_percentage_error", 0.5, {}, PLACES),
    "percentage error of 0": ("mean_absolute_percentage_error", 0.0, {}, (-1.0, 0.5, 3.0)),
    "logarithmic error": ("mean_squared_logarithmic_error", 0.5, {}, PLACES),
    "huber": ("huber", 0.5, {"delta": 2.0}, PLACES),
    "log cosh": ("log_cosh", 0.5, {}, PLACES),
    "hinge": ("hinge", -1.0, {}, PLACES),
    "squared hinge": ("squared_hinge", -1.0, {}, PLACES),
    "poisson": ("poisson", 0.5, {}, PLACES),
    "divergence": ("kl_divergence", 0.25, {}, (*INSIDE, 1.0, 2.5)),
    "crossentropy": ("binary_crossentropy", 0.3, {"label_smoothing": 0.1}, INSIDE),
    "crossentropy of logits": ("binary_crossentropy", 0.3, {"from_logits": True}, PLACES),
    "focal": ("binary_focal_crossentropy", 0.3, {"apply_class_balancing": True}, INSIDE),
    "focal of logits": ("binary_focal_crossentropy", 1.0, {"from_logits": True, "gamma": 1.5}, NEAR),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    kind, target, options, places = LOSSES[name]

    def ours(x: Any) -> Any:
        losses = getattr(engine.losses, kind)(np.full(x.shape, target, np.float32), x, **options)
        return engine.ops.expand_dims(losses, -1)

    def theirs(x: Any) -> Any:
        return getattr(keras.losses, kind)(jax.numpy.asarray([target]), x[None], **options)

    assert_same(derivatives(ours, places), in_keras(theirs, places), places)


ROWS = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4)).astype(np.float32)
HOT = np.eye(4, dtype=np.float32)[[0, 3, 1]]
ROW_LOSSES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "categorical": ("categorical_crossentropy", HOT, {"label_smoothing": 0.1}),
    "categorical of logits": ("categorical_crossentropy", HOT, {"from_logits": True, "label_smoothing": 0.1}),
    "sparse": ("sparse_categorical_crossentropy", HOT.argmax(1), {}),
    "sparse of logits": ("sparse_categorical_crossentropy", HOT.argmax(1), {"from_logits": True}),
    "sparse, ignored": ("sparse_categorical_crossentropy", HOT.argmax(1), {"ignore_class": 3}),
    "focal": ("categorical_focal_crossentropy", HOT, {"gamma": 1.5}),
    "focal of logits": ("categorical_focal_crossentropy", HOT, {"from_logits": True}),
    "generalized": ("categorical_generalized_cross_entropy", HOT.argmax(1), {"q": 0.7}),
    "cosine": ("cosine_similarity", HOT[::-1] + 0.5, {}),
    "cosine along the batch": ("cosine_similarity", HOT[::-1] + 0.5, {"axis": 0}),
    "divergence": ("kl_divergence", ROWS[::-1].copy(), {}),
    "categorical hinge": ("categorical_hinge", HOT, {}),
    "dice": ("dice", HOT, {}),
    "tversky of rows": ("tversky", HOT, {"alpha": 0.3, "axis": -1}),
    "tversky of columns": ("tversky", HOT, {"beta": 0.7, "axis": 0}),
    "binary along the batch": ("binary_crossentropy", HOT, {"label_smoothing": 0.1, "axis": 0}),
}


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_losses_of_rows(name: str) -> None:
    """Values, gradients and the gradients of a weighted sum of gradients."""
    kind, target, options = ROW_LOSSES[name]
    weights = np.linspace(-1, 2, ROWS.size).reshape(ROWS.shape)
    x = engine.ops.convert_to_tensor(ROWS)
    with engine.GradientTape() as outer:
        outer.watch(x)
        with engine.GradientTape() as inner:
            inner.watch(x)
            losses = getattr(engine.losses, kind)(target, x, **options)
            total = engine.ops.sum(losses)
        gradient = inner.gradient(total, x)
        weighted = engine.ops.sum(gradient * weights.astype(np.float32))
    found = losses, gradient, outer.gradient(weighted, x)

    def theirs(x: Any) -> Any:
        return getattr(keras.losses, kind)(jax.numpy.asarray(target), x, **options)

    with jax.enable_x64(True):
        places = jax.numpy.asarray(ROWS, jax.numpy.float64)
        slope = jax.grad(lambda x: theirs(x).sum())
        wanted = theirs(places), slope(places), jax.grad(lambda x: (slope(x) * weights).sum())(places)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("padding", [0.0, -np.inf, np.nan, np.inf])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("axis", [-1, 1])
def test_predictions_that_are_ignored(padding: float, from_logits: bool, axis: int) -> None:
    """Whatever stands there, as padding may: their losses and slopes are 0, and those of the others Keras'."""
    labels = np.array([[2, -1, 0], [-1, 1, -1]])
    predictions = np.random.default_rng(1).uniform(0.1, 0.9, (2, 3, 4)).astype(np.float32)
    predictions[labels == -1] = padding
    options = {"from_logits": from_logits, "ignore_class": -1, "axis": axis}
    finite = np.where(labels[..., None] == -1, np.float32(1), predictions)
    x = engine.ops.convert_to_tensor(np.moveaxis(predictions, -1, axis))
    with engine.GradientTape() as tape:
        tape.watch(x)
        losses = engine.losses.sparse_categorical_crossentropy(labels, x, **options)
        total = engine.ops.sum(losses)

    def theirs(x: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(jax.numpy.asarray(labels), x, from_logits, -1)

    np.testing.assert_allclose(np.asarray(losses), np.asarray(theirs(predictions)), rtol=2e-5)
    slopes = np.moveaxis(np.asarray(tape.gradient(total, x)), axis, -1)
    assert not slopes[labels == -1].any()
    np.testing.assert_allclose(
        slopes, np.asarray(jax.grad(lambda x: theirs(x).sum())(finite)), rtol=1e-4, atol=1e-6
    )
    compiled = engine.function(lambda x: engine.losses.sparse_categorical_crossentropy(labels, x, **options))
    np.testing.assert_allclose(np.asarray(compiled(x)), np.asarray(theirs(predictions)), rtol=2e-5)
