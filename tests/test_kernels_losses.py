"""Compares losses, softmax and metrics of rows with float64, on every instruction set of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import KERNELS, SMALLEST_NORMAL, U, agreed, place, same_bits
from numpy.typing import NDArray
from reference import loss_rows, metric_rows, one_hot, sigmoid, softmax, targets
from reference_losses import CASES, example

from engine import _core

Array = NDArray[Any]

WIDTHS = [1, 2, 7, 10, 15, 16, 17, 31, 33, 100]
ROWS = 6
# A row is summed in 16 lanes, which are added in a tree of 4 levels.
EXP, LOG = 3, 2  # errors of exp and log in units of U: twice their ulps in test_kernels_math.py


def summing(n: int) -> int:
    return -(-n // 16) + 4


def logits(n: int, spread: float) -> Array:
    return (np.random.default_rng(n).normal(size=(ROWS, n)) * spread).astype(np.float32)


def probabilities(n: int) -> Array:
    """Returns numbers within the clipping, not normalized. The last rows have exact zeros and ones."""
    p = np.random.default_rng(n).uniform(0.01, 0.99, (ROWS, n)).astype(np.float32)
    p[-2], p[-1] = np.eye(n, dtype=np.float32)[[0, n - 1]]
    return p


def labels(n: int) -> NDArray[np.int32]:
    return np.random.default_rng(1).integers(0, n, ROWS).astype(np.int32)


def dense_targets(n: int, kind: str) -> Array:
    rng = np.random.default_rng(2)
    if kind == "mean_squared_error":
        return rng.normal(size=(ROWS, n)).astype(np.float32)
    if kind.startswith("binary"):
        return rng.integers(0, 2, (ROWS, n))
    # One-hot rows, and two whose targets don't add up to 1.
    return np.concatenate([rng.uniform(0, 1, (2, n)), one_hot(labels(n)[2:], n, float)]).astype(np.float32)


SCALE = np.random.default_rng(3).uniform(0.1, 2, ROWS).astype(np.float32)


def computed(
    spec: dict[str, Any], y_pred: Array, y: Array, scale: Array = SCALE, *, binary: bool = False
) -> tuple[Array, Array]:
    y = y if y.dtype == np.int32 else y.astype(np.float32)

    def run(kernels: Kernels) -> list[Array]:
        gradient = place(np.zeros_like(y_pred))
        return [kernels.loss(spec, place(y_pred), y, scale, gradient, binary), gradient.copy()]

    losses, gradient = agreed(run)
    return losses, gradient


def check(
    got: tuple[Array, Array], spec: dict[str, Any], y_pred: Array, y: Array, bounds: tuple[Array, Array]
) -> None:
    """Compares losses and scaled gradients. `bounds` are in U, for rows and for elements of the unscaled gradient."""
    losses, gradient = loss_rows(spec, y_pred.astype(float), y)
    scale = SCALE[:, None].astype(float)
    # Numbers below 2**-126 are flushed, before and after scaling.
    assert (np.abs(got[0] - losses) <= U * bounds[0] + SMALLEST_NORMAL).all()
    # One more rounding for the product with the scale.
    bound = U * scale * (bounds[1] + np.abs(gradient)) + (1 + scale) * SMALLEST_NORMAL
    assert (np.abs(got[1] - gradient * scale) <= bound).all()


CATEGORICAL = [
    ("sparse_categorical_crossentropy", 0.0),
    ("categorical_crossentropy", 0.0),
    ("categorical_crossentropy", 0.1),
]


@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize(("kind", "smoothing"), CATEGORICAL)
def test_crossentropy_from_logits(kind: str, n: int, spread: float, smoothing: float) -> None:
    spec = {"kind": kind, "from_logits": True, "label_smoothing": smoothing}
    z = logits(n, spread)
    y = labels(n) if kind.startswith("sparse") else dense_targets(n, kind)
    t, p = targets(spec, y, z.astype(float)), softmax(z.astype(float))
    distance = (z.max(axis=1, keepdims=True) - z).astype(float)
    # z - max rounds once, which becomes a relative error of exp, weighted by p in the sum.
    sum_error = EXP + summing(n) + (p * distance).sum(axis=1, keepdims=True)
    log_sum = np.log(np.exp(-distance).sum(axis=1, keepdims=True))
    surprise = log_sum + distance
    surprise_error = LOG * log_sum + sum_error + distance + surprise
    # t rounds up to three times, then the products are summed.
    loss_bound = (t * (surprise_error + (summing(n) + 4) * surprise)).sum(axis=1)
    p_error = EXP + distance + sum_error + 1
    mass = t.sum(axis=1, keepdims=True)
    gradient_bound = p * mass * (p_error + summing(n) + 4) + 3 * t + np.abs(p * mass - t)
    check(computed(spec, z, y), spec, z, y, (loss_bound, gradient_bound))


@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize(("kind", "smoothing"), CATEGORICAL)
def test_crossentropy_of_probabilities(kind: str, n: int, smoothing: float) -> None:
    spec = {"kind": kind, "from_logits": False, "label_smoothing": smoothing}
    x = probabilities(n)
    y = labels(n) if kind.startswith("sparse") else dense_targets(n, kind)
    t = targets(spec, y, x.astype(float))
    total = x.sum(axis=1, keepdims=True).astype(float)
    p = np.clip(x / total, 1e-7, 1)
    # The errors of the sum and the division in p become an absolute error of log.
    relative = summing(n) + 1
    loss_bound = (t * (relative + (LOG + summing(n) + 4) * np.abs(np.log(p)))).sum(axis=1)
    slope = t / p
    moment = (slope * p).sum(axis=1, keepdims=True)
    gradient_bound = ((2 * relative + 4) * (slope + moment) + (summing(n) + 3) * moment) / total
    check(computed(spec, x, y), spec, x, y, (loss_bound, gradient_bound))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize("n", WIDTHS)
def test_binary_crossentropy_from_logits(n: int, spread: float, smoothing: float) -> None:
    spec = {"kind": "binary_crossentropy", "from_logits": True, "label_smoothing": smoothing}
    z, y = logits(n, spread), dense_targets(n, "binary")
    t = targets(spec, y, z.astype(float))
    # max(z, 0) - z t + log1p(exp(-|z|)): two products of |z|, the sums, and a log1p of at most log 2.
    element = np.abs(z) * (4 + 2 * t) + (EXP + LOG + 6) * np.log1p(np.exp(-np.abs(z).astype(float)))
    loss_bound = element.mean(axis=1) + (summing(n) + 2) * loss_rows(spec, z.astype(float), y)[0]
    p = sigmoid(z.astype(float))
    gradient_bound = ((EXP + 3) * p + 3 * t + 3 * np.abs(p - t)) / n
    check(computed(spec, z, y), spec, z, y, (loss_bound, gradient_bound))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("n", WIDTHS)
def test_binary_crossentropy_of_probabilities(n: int, smoothing: float) -> None:
    spec = {"kind": "binary_crossentropy", "from_logits": False, "label_smoothing": smoothing}
    x, y = probabilities(n), dense_targets(n, "binary")
    t = targets(spec, y, x.astype(float))
    p = np.clip(x, np.float32(1e-7), np.float32(1 - 1e-7)).astype(float)
    # Products, logs (of 1 - p with its rounding, an absolute error of 1) and the sums; t itself rounds twice.
    element = (LOG + 4) * (np.abs(t * np.log(p)) + np.abs((1 - t) * np.log(1 - p))) + (1 - t)
    loss_bound = element.mean(axis=1) + (summing(n) + 2) * loss_rows(spec, x.astype(float), y)[0]
    gradient_bound = (2 * (p + t) + 6 * np.abs(p - t)) / (p * (1 - p)) / n
    check(computed(spec, x, y), spec, x, y, (loss_bound, gradient_bound))


@pytest.mark.parametrize("n", WIDTHS)
def test_mean_squared_error(n: int) -> None:
    spec = {"kind": "mean_squared_error", "from_logits": False, "label_smoothing": 0.0}
    y_pred, y = logits(n, 2.0), dense_targets(n, "mean_squared_error")
    losses, gradient = loss_rows(spec, y_pred.astype(float), y)
    # The difference, its square, the sum, the division by n; nothing cancels after the difference.
    bounds = (summing(n) + 5) * losses, 4 * np.abs(gradient)
    check(computed(spec, y_pred, y), spec, y_pred, y, bounds)


def test_losses_of_far_logits_are_finite() -> None:
    z = np.array([[3e4, -3e4, 0.0], [-3e38, 1.0, 0.0], [-200.0, 0.0, 200.0]], np.float32)
    for kind, y in (
        ("sparse_categorical_crossentropy", np.array([0, 0, 1], np.int32)),
        ("binary_crossentropy", np.eye(3, dtype=np.float32)),
    ):
        spec = {"kind": kind, "from_logits": True, "label_smoothing": 0.0}
        scale = np.ones(3, np.float32)

        def run(kernels: Kernels, spec: Any = spec, y: Array = y, scale: Array = scale) -> list[Array]:
            gradient = place(np.zeros_like(z))
            return [kernels.loss(spec, place(z), y, scale, gradient), gradient.copy()]

        losses, gradient = agreed(run)
        want, want_gradient = loss_rows(spec, z.astype(float), y)
        np.testing.assert_allclose(losses, want, rtol=4 * U)
        np.testing.assert_allclose(gradient, want_gradient, rtol=0, atol=4 * U)


# -log of the clipped probabilities 1e-7 and 1 - 1e-7, which is 1 - 2**-23 in float32, and of 1 minus the latter.
LOW, HIGH, ONE_MINUS_HIGH = -np.log(1e-7), 2.0**-23, 23 * np.log(2)


@pytest.mark.parametrize(
    ("kind", "y", "want"),
    [
        ("sparse_categorical_crossentropy", np.zeros(2, np.int32), [HIGH, LOW]),
        ("categorical_crossentropy", np.eye(3)[[0, 0]], [HIGH, LOW]),
        ("binary_crossentropy", np.eye(3)[[0, 0]], [HIGH, (LOW + ONE_MINUS_HIGH + HIGH) / 3]),
    ],
)
def test_probabilities_are_clipped(kind: str, y: Array, want: list[float]) -> None:
    spec = {"kind": kind, "from_logits": False, "label_smoothing": 0.0}
    losses, gradient = computed(spec, np.eye(3, dtype=np.float32)[:2], y, np.ones(2, np.float32))
    np.testing.assert_allclose(losses, want, rtol=1e-6)
    assert not gradient.any()


@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("n", WIDTHS)
def test_softmax(n: int, spread: float) -> None:
    z = logits(n, spread)

    def run(kernels: Kernels) -> list[Array]:
        out = place(np.zeros_like(z))
        kernels.row_activation("softmax", place(z), None, out)
        return [out.copy()]

    (got,) = agreed(run)
    want = softmax(z.astype(float))
    distance = z.max(axis=1, keepdims=True) - z
    relative = distance + (want * distance).sum(axis=1, keepdims=True) + 2 * EXP + summing(n) + 1
    assert (np.abs(got - want) <= relative * U * want + SMALLEST_NORMAL).all()
    for kernels in KERNELS:
        single = place(np.zeros((1, n)))
        kernels.row_activation("softmax", place(z[3:4]), None, single)
        assert same_bits(single[0], got[3])


METRICS = [
    ("sparse_categorical_accuracy", 0),
    ("categorical_accuracy", 0),
    ("binary_accuracy", 2),
    ("mean_squared_error", 5),
]


@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize(("kind", "roundings"), METRICS)
def test_metrics(kind: str, roundings: int, n: int) -> None:
    spec = {"kind": kind, "weighted": False, "threshold": 0.5}
    y_pred = probabilities(n)
    y_pred[0] = 0.5  # of equal numbers the first wins; the threshold itself counts as below
    y = labels(n) if kind.startswith("sparse") else dense_targets(n, kind).astype(np.float32)
    (got,) = agreed(lambda kernels: [kernels.metric(spec, place(y_pred), y)])
    want = metric_rows(spec, y_pred.astype(float), y)
    assert (np.abs(got - want) <= (roundings + (summing(n) if roundings > 2 else 0)) * U * want).all()


@pytest.mark.parametrize("n", [1, 10, 16, 17])
@pytest.mark.parametrize("sparse", [True, False])
def test_rows_of_a_batch_are_as_they_are_alone(n: int, sparse: bool) -> None:
    """Narrow rows share vectors. Neither the position of a row nor the number of rows changes a bit."""
    rng, rows = np.random.default_rng(n), 37
    y_pred, scale = (
        rng.normal(size=(rows, n)).astype(np.float32),
        rng.uniform(0.1, 2, rows).astype(np.float32),
    )
    y: Array = (
        rng.integers(0, n, rows).astype(np.int32)
        if sparse
        else rng.uniform(size=(rows, n)).astype(np.float32)
    )
    kind = "sparse_categorical" if sparse else "categorical"
    loss = {"kind": f"{kind}_crossentropy", "from_logits": True, "label_smoothing": 0.0 if sparse else 0.1}
    metric = {"kind": f"{kind}_accuracy", "weighted": False, "threshold": 0.5}

    def at(kernels: Kernels, part: slice) -> list[Array]:
        gradient = place(np.zeros_like(y_pred[part]))
        losses = kernels.loss(loss, place(y_pred[part]), y[part], scale[part], gradient)
        return [losses, gradient.copy(), kernels.metric(metric, place(y_pred[part]), y[part])]

    whole = agreed(lambda kernels: at(kernels, slice(None)))
    for kernels in KERNELS:
        for part in (slice(0, 1), slice(20, 21), slice(3, 22), slice(36, 37)):
            for one, of_all in zip(at(kernels, part), whole, strict=True):
                assert same_bits(one, of_all[part])


BY_ELEMENT: list[dict[str, Any]] = [
    {"kind": "binary_crossentropy", "label_smoothing": 0.1},
    {"kind": "binary_crossentropy", "from_logits": True},
    {"kind": "binary_focal_crossentropy", "parameters": [0.25, 2.0, 0.0, 1.0]},
    {"kind": "huber", "parameters": [0.5]},
    *(
        {"kind": kind}
        for kind in (
            "mean_squared_error",
            "mean_absolute_error",
            "mean_absolute_percentage_error",
            "mean_squared_logarithmic_error",
            "log_cosh",
            "kl_divergence",
            "poisson",
            "hinge",
            "squared_hinge",
        )
    ),
]


@pytest.mark.parametrize("n", [1, 2, 16, 17])
@pytest.mark.parametrize("spec", BY_ELEMENT, ids=lambda spec: spec["kind"])
def test_elements_of_narrow_rows_are_as_they_are_alone(spec: dict[str, Any], n: int) -> None:
    rng, rows = np.random.default_rng(n), 21
    x, y = (rng.uniform(0.01, 0.99, (rows, n)).astype(np.float32) for _ in range(2))
    scale = rng.uniform(0.1, 2, rows).astype(np.float32)

    def at(kernels: Kernels, part: slice) -> list[Array]:
        gradient = place(np.zeros_like(x[part]))
        return [kernels.loss(spec, place(x[part]), y[part], scale[part], gradient), gradient.copy()]

    whole = agreed(lambda kernels: at(kernels, slice(None)))
    for kernels in KERNELS:
        for part in (slice(0, 1), slice(4, 6), slice(20, 21)):
            for one, of_all in zip(at(kernels, part), whole, strict=True):
                assert same_bits(one, of_all[part])


# Compares the other losses with float64, on every instruction set of this machine.


# Roundings of an element, its exp, log and power among them, and of the sum over a row; relative to the largest
# term, as differences cancel.
ROUNDINGS = 64


def check_roundings(spec: dict[str, Any], y_pred: Array, y: Array, *, binary: bool = False) -> None:
    losses, gradient = loss_rows(spec, y_pred.astype(float), y.astype(float) if y.dtype == np.float32 else y)
    got = computed(spec, y_pred, y, binary=binary)
    bound = ROUNDINGS * U * (1 + np.abs(losses))
    assert (np.abs(got[0] - losses) <= bound).all()
    gradient = gradient * SCALE[:, None]
    bound = ROUNDINGS * U * (1 / y_pred.shape[1] + np.abs(gradient).max(axis=1, keepdims=True))
    assert (np.abs(got[1] - gradient) <= bound).all()


@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize(("kind", "parameters"), CASES)
def test_losses(kind: str, parameters: list[float], n: int) -> None:
    y_pred, y = example(kind, parameters, ROWS, n)
    binary = bool(np.isin(y, (0, 1)).all())
    check_roundings({"kind": kind, "parameters": parameters}, y_pred, y, binary=binary)


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize(("kind", "parameters"), [case for case in CASES if "focal" in case[0]])
def test_smoothing(kind: str, parameters: list[float], smoothing: float) -> None:
    y_pred, y = example(kind, parameters, ROWS, 17)
    check_roundings({"kind": kind, "parameters": parameters, "label_smoothing": smoothing}, y_pred, y)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [1, 17])
def test_what_is_certain_has_a_focal_gradient(gamma: float, n: int) -> None:
    """At an error of 0, the derivative of the power is infinite, and that of the sigmoid or softmax is 0."""
    logits = np.full((ROWS, n), 100, np.float32)
    spec = {"kind": "binary_focal_crossentropy", "parameters": [0.25, gamma, 1.0, 0.0]}
    assert (computed(spec, logits, np.ones_like(logits))[1] == 0).all()
    spec["parameters"] = [0.25, gamma, 0.0, 0.0]
    probabilities = np.ones_like(logits)
    assert np.isfinite(computed(spec, probabilities, probabilities)[1]).all()


CLASSES = np.array([0, 16, 3, 15, 1, 2], np.int32)


@pytest.mark.parametrize("logits", [False, True])
def test_a_class_index_is_read_as_its_one_hot_row(logits: bool) -> None:
    y_pred = np.random.default_rng(0).uniform(0.1, 1, (ROWS, 17)).astype(np.float32)
    sparse, dense = (
        {"kind": f"{prefix}categorical_crossentropy", "from_logits": logits} for prefix in ("sparse_", "")
    )
    want = computed(dense, y_pred, one_hot(CLASSES, 17, np.float32))
    for a, b in zip(computed(sparse, y_pred, CLASSES), want, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_generalized_crossentropy_of_a_class_index(q: float) -> None:
    y_pred = np.random.default_rng(0).uniform(0, 1, (ROWS, 17)).astype(np.float32)
    y_pred[2, 3] = 0  # where the derivative of the power would be infinite, it is only large
    spec = {"kind": "categorical_generalized_cross_entropy", "parameters": [q]}
    losses, gradient = computed(spec, y_pred, CLASSES)
    want = computed(spec, y_pred, one_hot(CLASSES, 17, np.float32))
    assert np.array_equal(losses, want[0])
    assert np.array_equal(gradient, want[1])
    assert losses[2] == np.float32(1) / np.float32(q)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("kind", "parameters"), [case for case in CASES if "generalized" not in case[0]])
def test_other_losses_take_no_class_indices(kind: str, parameters: list[float]) -> None:
    y_pred, _ = example(kind, parameters, ROWS, 17)
    spec, message = {"kind": kind, "parameters": parameters}, f"'{kind}' takes float32 .* not class indices"
    kernels = Kernels("baseline")
    with pytest.raises(ValueError, match=message):
        kernels.loss(spec, y_pred, CLASSES, SCALE, place(y_pred))
    with pytest.raises(ValueError, match=message):
        kernels.metric(spec, y_pred, CLASSES)
    with pytest.raises(ValueError, match=message):
        _core.accumulate(spec, y_pred, CLASSES, None, None)
    program, optimizer = _core.Program(17, []), {"kind": "sgd", "momentum": 0.0}
    with pytest.raises(ValueError, match=message):
        program.compile({"kind": "sparse_categorical_crossentropy"}, optimizer, [spec])


@pytest.mark.parametrize("kind", ["hinge", "squared_hinge"])
def test_hinges_take_both_kinds_of_labels(kind: str) -> None:
    y_pred, y = example(kind, [], ROWS, 7)
    for a, b in zip(
        computed({"kind": kind}, y_pred, y, binary=True),
        computed({"kind": kind}, y_pred, 2 * y - 1),
        strict=True,
    ):
        assert np.array_equal(a, b)


def test_kinks_are_where_keras_has_them() -> None:
    on = np.array([[1.0, -1.0, 0.0]] * ROWS, np.float32)
    scale = SCALE[:, None] / 3
    hinge = computed({"kind": "hinge"}, on, np.ones_like(on))[1]
    np.testing.assert_allclose(hinge, [[-0.5, -1, -1]] * scale, rtol=1e-6)
    absolute = computed({"kind": "mean_absolute_error"}, on, np.ones_like(on))[1]
    np.testing.assert_allclose(absolute, [[0, -1, -1]] * scale, rtol=1e-6)
    # The two largest other classes are equal, and share the gradient.
    labels, tied = np.array([[0, 1, 0]] * ROWS, np.float32), np.array([[0.3, 0.1, 0.3]] * ROWS, np.float32)
    shared = computed({"kind": "categorical_hinge"}, tied, labels)[1]
    np.testing.assert_allclose(shared, [[0.5, -1, 0.5]] * SCALE[:, None], rtol=1e-6)


def test_vectors_of_no_length_have_no_direction() -> None:
    zeros = np.zeros((ROWS, 5), np.float32)
    losses, gradient = computed({"kind": "cosine_similarity", "parameters": [-1.0]}, zeros, zeros)
    assert not losses.any()
    assert not gradient.any()


def test_ignored_classes_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    labels, y_pred = np.array([2, 0, 7, 2, 1, 4], np.int32), rng.uniform(0.1, 1, (ROWS, 9)).astype(np.float32)
    for logits in (False, True):
        spec = {"kind": "sparse_categorical_crossentropy", "from_logits": logits}
        losses, gradient = computed({**spec, "ignored": 2}, y_pred, labels)
        plain, plain_gradient = computed(spec, y_pred, labels)
        kept = labels != 2
        assert not losses[~kept].any()
        assert not gradient[~kept].any()
        assert np.array_equal(losses[kept], plain[kept])
        assert np.array_equal(gradient[kept], plain_gradient[kept])
