"""What the functions of `engine.losses` record: one loss for each sample, or for each row of outputs."""

from __future__ import annotations

import math
from typing import Any

from engine._tracing.arrangement import expand_dims, squeeze
from engine._tracing.code import Term
from engine._tracing.dispatch import records
from engine._tracing.extents import ONE
from engine._tracing.networks import (
    EPSILON,
    categorical_crossentropy,
    normalize,
    sparse_categorical_crossentropy,
)
from engine._tracing.networks import binary_crossentropy as elementwise_crossentropy
from engine._tracing.primitives import elementwise
from engine._tracing.reductions import max_, mean, sum_
from engine._tracing.trace import TracedArray, as_traced, trace_of


def _pair(y_true: Any, y_pred: Any) -> tuple[TracedArray, TracedArray]:
    """Returns targets and predictions as symbols with the same number of axes, as Keras brings them to it."""
    trace = trace_of(y_true, y_pred)
    target, output = as_traced(y_true, trace).as_dtype("float32"), as_traced(y_pred, trace)
    if target.ndim == output.ndim - 1 and output.extents[-1] == ONE:
        target = expand_dims(target, -1)
    elif output.ndim == target.ndim - 1 and target.extents[-1] == ONE:
        target = squeeze(target, -1)
    return target, output


def _mean(formula: Any) -> Any:
    def recorded(y_true: Any, y_pred: Any) -> TracedArray:
        return mean(elementwise(formula, *_pair(y_true, y_pred), dtype="float32"), -1)

    return recorded


def _clipped(x: Term, low: float, high: float) -> Term:
    return x.of("maximum", low).of("minimum", high)


def _log_cosh(t: Term, p: Term) -> Term:
    error = p - t
    return error + (error * -2.0).of("softplus") - math.log(2.0)


def _squared_log(t: Term, p: Term) -> Term:
    one, other = (each.of("maximum", EPSILON).of("log1p") for each in (t, p))
    return (one - other) * (one - other)


_MEANS: dict[str, Any] = {
    "mean_squared_error": lambda t, p: (p - t) * (p - t),
    "mean_absolute_error": lambda t, p: (p - t).of("abs"),
    "mean_absolute_percentage_error": lambda t, p: (
        ((t - p) / t.of("abs").of("maximum", EPSILON)).of("abs") * 100.0
    ),
    "mean_squared_logarithmic_error": _squared_log,
    "log_cosh": _log_cosh,
    "poisson": lambda t, p: p - t * (p + EPSILON).of("log"),
}
for _name, _formula in _MEANS.items():
    records(f"losses.{_name}")(_mean(_formula))


@records("losses.huber")
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> TracedArray:
    """Half the square of small errors, and a line for larger ones."""
    edge = float(delta)

    def formula(t: Term, p: Term) -> Term:
        size = (p - t).of("abs")
        return (size <= edge).choose(size * size * 0.5, size * edge - 0.5 * edge * edge)

    return mean(elementwise(formula, *_pair(y_true, y_pred), dtype="float32"), -1)


@records("losses.kl_divergence")
def kl_divergence(y_true: Any, y_pred: Any) -> TracedArray:
    """The divergence of distributions."""

    def formula(t: Term, p: Term) -> Term:
        target, output = _clipped(t, EPSILON, 1.0), _clipped(p, EPSILON, 1.0)
        return target * (target / output).of("log")

    return sum_(elementwise(formula, *_pair(y_true, y_pred), dtype="float32"), -1)


@records("losses.cosine_similarity")
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> TracedArray:
    """Minus the cosine of the angle between vectors."""
    target, output = _pair(y_true, y_pred)
    return sum_(elementwise(lambda a, b: -(a * b), normalize(target, axis), normalize(output, axis)), axis)


def _signs(t: Term) -> Term:
    """Returns targets of -1 and 1, for 0 as -1."""
    return t.equals(0.0).choose(-1.0, t)


@records("losses.hinge")
def hinge(y_true: Any, y_pred: Any) -> TracedArray:
    """The distance to the margin."""
    pair = _pair(y_true, y_pred)
    return mean(
        elementwise(lambda t, p: (1.0 - _signs(t) * p).of("maximum", 0.0), *pair, dtype="float32"), -1
    )


@records("losses.squared_hinge")
def squared_hinge(y_true: Any, y_pred: Any) -> TracedArray:
    """The square of the distance to the margin."""

    def formula(t: Term, p: Term) -> Term:
        distance = (1.0 - _signs(t) * p).of("maximum", 0.0)
        return distance * distance

    return mean(elementwise(formula, *_pair(y_true, y_pred), dtype="float32"), -1)


@records("losses.categorical_hinge")
def categorical_hinge(y_true: Any, y_pred: Any) -> TracedArray:
    """The distance of the best wrong class to that of the target."""
    target, output = _pair(y_true, y_pred)
    right = sum_(elementwise(lambda t, p: t * p, target, output), -1)
    wrong = max_(elementwise(lambda t, p: (1.0 - t) * p, target, output), -1)
    return elementwise(lambda a, b: (b - a + 1.0).of("maximum", 0.0), right, wrong)


@records("losses.binary_crossentropy")
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> TracedArray:
    """The mean crossentropy of the outputs of a row."""
    target, output = _pair(y_true, y_pred)
    smooth = float(label_smoothing)
    if smooth:
        target = elementwise(lambda t: t * (1.0 - smooth) + 0.5 * smooth, target)
    return mean(elementwise_crossentropy(target, output, from_logits), axis)


@records("losses.categorical_crossentropy")
def categorical(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> TracedArray:
    """The crossentropy of distributions over classes."""
    target, output = _pair(y_true, y_pred)
    smooth, classes = float(label_smoothing), output.extents[axis].fixed
    if smooth:
        target = elementwise(lambda t: t * (1.0 - smooth) + smooth / classes, target)
    return categorical_crossentropy(target, output, from_logits, axis)


@records("losses.sparse_categorical_crossentropy")
def sparse(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> TracedArray:
    """The crossentropy of class indices."""
    trace = trace_of(y_true, y_pred)
    target, output = as_traced(y_true, trace), as_traced(y_pred, trace)
    if ignore_class is None:
        return sparse_categorical_crossentropy(target, output, from_logits, axis)
    if target.ndim == output.ndim and target.extents[-1] == ONE:
        target = squeeze(target, -1)
    ignored = float(ignore_class)
    known = elementwise(lambda t: t.equals(ignored).choose(0.0, t), target)
    losses = sparse_categorical_crossentropy(known, output, from_logits, axis)
    return elementwise(lambda t, a: t.equals(ignored).choose(0.0, a), target, losses, dtype="float32")


def _focal(t: Term, share: Term, gamma: float) -> Term:
    likely = t * share + (1.0 - t) * (1.0 - share)
    return (1.0 - likely).of("maximum", 0.0).of("power", gamma)


@records("losses.binary_focal_crossentropy")
def binary_focal_crossentropy(  # noqa: PLR0917 # Keras' signature
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> TracedArray:
    """The crossentropy, weighted by how unlikely the target is."""
    target, output = _pair(y_true, y_pred)
    smooth = float(label_smoothing)
    if smooth:
        target = elementwise(lambda t: t * (1.0 - smooth) + 0.5 * smooth, target)
    shares = elementwise(lambda x: x.of("sigmoid"), output) if from_logits else output
    losses = elementwise_crossentropy(target, shares, False)

    def formula(t: Term, share: Term, loss: Term) -> Term:
        found = _focal(t, share, float(gamma)) * loss
        return found * (t * alpha + (1.0 - t) * (1.0 - alpha)) if apply_class_balancing else found

    return mean(elementwise(formula, target, shares, losses), axis)


@records("losses.dice")
def dice(y_true: Any, y_pred: Any, axis: Any = None) -> TracedArray:
    """1 minus twice the overlap over the sum."""
    target, output = _pair(y_true, y_pred)
    overlap = sum_(elementwise(lambda t, p: t * p, target, output), axis)
    total = elementwise(lambda a, b: a + b, sum_(target, axis), sum_(output, axis))
    return elementwise(lambda a, b: 1.0 - (a * 2.0 + EPSILON) / (b + EPSILON), overlap, total)
