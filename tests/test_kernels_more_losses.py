"""Compares the other losses with float64, on every instruction set of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import U, agreed, place
from numpy.typing import NDArray
from reference import loss_rows, one_hot
from reference_losses import CASES, example

from engine import _core

Array = NDArray[Any]

WIDTHS = [1, 2, 15, 16, 17, 33, 100]
ROWS = 5
SCALE = np.random.default_rng(3).uniform(0.1, 2, ROWS).astype(np.float32)
# Roundings of an element, its exp, log and power among them, and of the sum over a row; relative to the largest
# term, as differences cancel.
ROUNDINGS = 64


def computed(spec: dict[str, Any], y_pred: Array, y: Array, *, binary: bool = False) -> tuple[Array, Array]:
    def run(kernels: Kernels) -> list[Array]:
        gradient = place(np.zeros_like(y_pred))
        return [kernels.loss(spec, place(y_pred), y, SCALE, gradient, binary), gradient.copy()]

    losses, gradient = agreed(run)
    return losses, gradient


def check(spec: dict[str, Any], y_pred: Array, y: Array, *, binary: bool = False) -> None:
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
    check({"kind": kind, "parameters": parameters}, y_pred, y, binary=binary)


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize(("kind", "parameters"), [case for case in CASES if "focal" in case[0]])
def test_smoothing(kind: str, parameters: list[float], smoothing: float) -> None:
    y_pred, y = example(kind, parameters, ROWS, 17)
    check({"kind": kind, "parameters": parameters, "label_smoothing": smoothing}, y_pred, y)


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


CLASSES = np.array([0, 16, 3, 15, 1], np.int32)


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
    labels, y_pred = np.array([2, 0, 7, 2, 1], np.int32), rng.uniform(0.1, 1, (ROWS, 9)).astype(np.float32)
    for logits in (False, True):
        spec = {"kind": "sparse_categorical_crossentropy", "from_logits": logits}
        losses, gradient = computed({**spec, "ignored": 2}, y_pred, labels)
        plain, plain_gradient = computed(spec, y_pred, labels)
        kept = labels != 2
        assert not losses[~kept].any()
        assert not gradient[~kept].any()
        assert np.array_equal(losses[kept], plain[kept])
        assert np.array_equal(gradient[kept], plain_gradient[kept])
