"""Compares the float64 reference with central differences, and its optimizers with steps computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import reference_losses
import reference_optimizers
from numpy.typing import NDArray
from reference import Network, dense

Array = NDArray[Any]
Spec = dict[str, Any]

# The errors of central differences at step h are h**2 |f'''| / 6 and eps |f| / h: 4e-10 each for |f'''| <= 2 / .2**3
# and |f| <= 10.
STEP = 3e-6
TOLERANCE = 2e-9

LABELS = np.array([3, 0, 1, 3])
ONE_HOT = reference.one_hot(LABELS, 4, float)
UNIT = np.random.default_rng(7).uniform(0.2, 0.8, (4, 4))
LOSSES = [
    ("sparse_categorical_crossentropy", LABELS, 0.0),
    ("categorical_crossentropy", ONE_HOT, 0.0),
    ("categorical_crossentropy", ONE_HOT, 0.1),
    ("categorical_crossentropy", UNIT, 0.0),
    ("binary_crossentropy", ONE_HOT, 0.0),
    ("binary_crossentropy", ONE_HOT, 0.2),
]
SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False}


def central(f: Callable[[Array], float], x: Array) -> Array:
    """Returns df/dx of a scalar function by central differences."""
    d = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += STEP
        down[i] -= STEP
        d[i] = (f(up) - f(down)) / (2 * STEP)
    return d


def agree(got: Array, want: Array) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_activation_backward(name: str) -> None:
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    value = reference.ACTIVATIONS[name]
    got = reference.activation_backward(name, z, value(z), dy)
    agree(got, central(lambda a: float((value(a) * dy).sum()), z))


def test_activations_are_finite_far_out() -> None:
    z = np.array([[-1e4, -800.0, 800.0, 1e4]])
    for name, value in reference.ACTIVATIONS.items():
        assert np.isfinite(value(z)).all(), name
    agree(reference.log_softmax(z), np.array([[-2e4, -10800.0, -9200.0, 0.0]]))
    agree(reference.log_sigmoid(z), np.array([[-1e4, -800.0, 0.0, 0.0]]))


@pytest.mark.parametrize("operand", range(3))
def test_dense_backward(operand: int) -> None:
    rng = np.random.default_rng(1)
    x, w, b, dz = (rng.normal(size=s) for s in ((4, 3), (3, 5), (5,), (4, 5)))

    def value(a: Array) -> float:
        x_, w_, b_ = (a if i == operand else v for i, v in enumerate((x, w, b)))
        return float((reference.dense_forward(x_, w_, b_) * dz).sum())

    agree(reference.dense_backward(x, w, dz)[operand], central(value, (x, w, b)[operand]))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(("kind", "y", "smoothing"), LOSSES)
def test_crossentropy_gradient(kind: str, y: Array, smoothing: float, from_logits: bool) -> None:
    spec = {"kind": kind, "from_logits": from_logits, "label_smoothing": smoothing}
    y_pred = np.random.default_rng(2).normal(size=(4, 4)) if from_logits else UNIT
    _, gradient = reference.loss_rows(spec, y_pred, y)
    agree(gradient, central(lambda p: float(reference.loss_rows(spec, p, y)[0].sum()), y_pred))


@pytest.mark.parametrize(("kind", "parameters"), reference_losses.CASES)
def test_other_gradients(kind: str, parameters: list[float]) -> None:
    spec = {"kind": kind, "parameters": parameters}
    y_pred, y = (array.astype(float) for array in reference_losses.example(kind, parameters, 4, 4))
    _, gradient = reference.loss_rows(spec, y_pred, y)
    size = max(1.0, np.abs(gradient).max())
    agree(gradient / size, central(lambda p: float(reference.loss_rows(spec, p, y)[0].sum()), y_pred) / size)


def test_mean_squared_error_gradient() -> None:
    spec = {"kind": "mean_squared_error"}
    y_pred = np.random.default_rng(3).normal(size=(4, 4))
    _, gradient = reference.loss_rows(spec, y_pred, UNIT)
    agree(gradient, central(lambda p: float(reference.loss_rows(spec, p, UNIT)[0].sum()), y_pred))


def test_probabilities_are_renormalised_then_clipped() -> None:
    spec = {"kind": "sparse_categorical_crossentropy", "from_logits": False}
    y_pred = np.array([[2.0, 6.0], [0.0, 1.0], [1.0, 0.0]])
    losses, gradient = reference.loss_rows(spec, y_pred, np.zeros(3, int))
    np.testing.assert_allclose(losses, [np.log(4), -np.log(1e-7), 2.0**-23], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-3 / 8, 1 / 8], [0, 0], [0, 0]], rtol=1e-12)


@pytest.mark.parametrize(("kind", "y", "smoothing"), LOSSES)
def test_loss_and_its_link_agree_fused_or_not(kind: str, y: Array, smoothing: float) -> None:
    rng = np.random.default_rng(4)
    layers = [dense(4, reference.LINKS[kind])]
    spec = {"kind": kind, "label_smoothing": smoothing}
    net = Network(layers, [rng.normal(size=(3, 4)), rng.normal(size=4)], spec, SGD)
    assert net.fused
    loss, gradients = net.gradients(x := rng.normal(size=(4, 3)), y)
    net.fused = False
    other, others = net.gradients(x, y)
    assert loss == pytest.approx(other, rel=1e-12)
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("kind", "y", "smoothing"), [*LOSSES, ("mean_squared_error", UNIT, 0.0)])
def test_network_gradients(kind: str, y: Array, smoothing: float) -> None:
    rng = np.random.default_rng(5)
    layers = [
        {"kind": "rescaling", "scale": 0.5, "offset": -0.25},
        dense(6, "silu", l2=0.01),
        {"kind": "dropout", "rate": 0.25},
        dense(5, "tanh", bias=False, l2=0.02),
        {"kind": "activation", "activation": "sigmoid"},
        dense(4, "sigmoid" if kind.startswith("binary") else "softmax"),
    ]
    shapes: list[tuple[int, ...]] = [(3, 6), (6,), (6, 5), (5, 4), (4,)]
    variables = [rng.normal(size=s) for s in shapes]
    x, weight, kept = rng.normal(size=(4, 3)), rng.uniform(0.5, 2, 4), [rng.random((4, 6)) < 0.75]
    net = Network(layers, variables, {"kind": kind, "label_smoothing": smoothing}, SGD)
    _, gradients = net.gradients(x, y, weight, kept)
    for i, gradient in enumerate(gradients):

        def value(v: Array, i: int = i) -> float:
            net.variables[i] = v
            return net.gradients(x, y, weight, kept)[0]

        agree(gradient, central(value, variables[i]))
        net.variables[i] = variables[i]


def test_frozen_layers_keep_their_weights_and_add_no_penalty() -> None:
    layers = [dense(2, "linear", l2=1.0, trainable=False), dense(1, "linear", bias=False)]
    variables = [np.ones((2, 2)), np.ones(2), np.ones((2, 1))]
    net = Network(layers, variables, {"kind": "mean_squared_error"}, SGD)
    assert net.train_step(np.ones((1, 2)), np.ones((1, 1)), 0.1) == 25.0
    np.testing.assert_array_equal(net.variables[0], variables[0])
    np.testing.assert_allclose(net.variables[2], [[1 - 0.1 * 2 * 5 * 3]] * 2)


# Weight and slots after each of two steps from w = 1, gradients 0.5 and -0.25, learning rate 0.1, by hand:
# momentum: m = -.05, then .9 * -.05 + .025 = -.02. nesterov adds .9 m - .1 g: -.045 - .05, then -.018 + .025.
# adam (eps = .01): m = .05, v = .00025, alpha = .1 sqrt(.001) / .1; then m = .9 * .05 - .025 = .02,
# v = .999 * .00025 + .001 * .0625 = .00031225, alpha = .1 sqrt(.001999) / .19.
STEPS = [
    (SGD, [(0.95,), (0.975,)]),
    ({"kind": "sgd", "momentum": 0.9, "nesterov": False}, [(0.95, -0.05), (0.93, -0.02)]),
    ({"kind": "sgd", "momentum": 0.9, "nesterov": True}, [(0.905, -0.05), (0.912, -0.02)]),
    (
        {"kind": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 0.01},
        [(0.9387425886722793, 0.05, 0.00025), (0.9217341573090426, 0.02, 0.00031225)],
    ),
]


@pytest.mark.parametrize(("optimizer", "after"), STEPS, ids=["sgd", "momentum", "nesterov", "adam"])
def test_optimizer_steps_by_hand(optimizer: Spec, after: list[tuple[float, ...]]) -> None:
    w = np.array([1.0])
    slots = [np.zeros(1) for _ in range(reference_optimizers.slot_count(optimizer))]
    for step, (gradient, want) in enumerate(zip((0.5, -0.25), after, strict=True), start=1):
        reference_optimizers.update(optimizer, w, np.array([gradient]), slots, learning_rate=0.1, step=step)
        np.testing.assert_allclose([a[0] for a in (w, *slots)], want, rtol=1e-14)


def test_metrics() -> None:
    y_pred = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    one_hot = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    for kind, y, want in [
        ("sparse_categorical_accuracy", np.array([1, 1]), [1, 0]),
        ("categorical_accuracy", one_hot, [1, 0]),
        ("binary_accuracy", one_hot, [1, 1 / 3]),
        ("mean_squared_error", one_hot, [0.14 / 3, 0.86 / 3]),
    ]:
        got = reference.metric_rows({"kind": kind, "threshold": 0.5}, y_pred, y)
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_dropout_keeps_the_scale() -> None:
    kept = np.array([True, False, True, True])
    np.testing.assert_allclose(reference.dropout(np.ones(4), kept, 0.25), [4 / 3, 0, 4 / 3, 4 / 3])
    np.testing.assert_array_equal(reference.dropout(np.ones(4), kept, 1.0), np.zeros(4))
