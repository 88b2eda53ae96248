"""Losses in float64: a value for each row, and the derivatives by the predictions. `reference.py` has the crossentropies.

`FORMULAS` maps the names in the core to functions of predictions (m, n), targets (m, n) and parameters of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Formula = Callable[[Array, Array, Sequence[float]], tuple[Array, Array]]

EPSILON = 1e-7
# Keras clips in float32, where 1 - 1e-7 is 1 - 2**-23.
LOW, HIGH = float(np.float32(1e-7)), float(np.float32(1 - 1e-7))


def mean(values: Array, slopes: Array) -> tuple[Array, Array]:
    return values.mean(axis=1), slopes / values.shape[1]


def mean_absolute_error(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    return mean(np.abs(p - t), np.sign(p - t))


def mean_absolute_percentage_error(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    size = np.maximum(np.abs(t), EPSILON) / 100
    return mean(np.abs(p - t) / size, np.sign(p - t) / size)


def mean_squared_logarithmic_error(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    grown = np.maximum(p, EPSILON) + 1
    e = np.log(grown) - np.log(np.maximum(t, EPSILON) + 1)
    return mean(e * e, np.where(p > EPSILON, 2 * e / grown, 0))


def huber(p: Array, t: Array, parameters: Sequence[float]) -> tuple[Array, Array]:
    (delta,) = parameters
    e = p - t
    near = np.abs(e) <= delta
    return mean(
        np.where(near, e * e / 2, delta * np.abs(e) - delta * delta / 2),
        np.where(near, e, delta * np.sign(e)),
    )


def log_cosh(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    e = p - t
    return mean(np.abs(e) + np.log1p(np.exp(-2 * np.abs(e))) - np.log(2), np.tanh(e))


def cosine_similarity(p: Array, t: Array, parameters: Sequence[float]) -> tuple[Array, Array]:
    (factor,) = parameters
    of_p = 1 / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), EPSILON)
    of_t = 1 / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), EPSILON)
    cosine = (p * t).sum(axis=1, keepdims=True) * of_p * of_t
    return factor * cosine[:, 0], factor * (t * of_t - cosine * p * of_p) * of_p


def kl_divergence(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    q, t = np.clip(p, LOW, 1), np.clip(t, LOW, 1)
    return (t * np.log(t / q)).sum(axis=1), np.where(q == p, -t / q, 0)


def poisson(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    return mean(p - t * np.log(p + EPSILON), 1 - t / (p + EPSILON))


def signs(t: Array) -> Array:
    return 2 * t - 1 if np.isin(t, (0, 1)).all() else t


def hinge(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    margin = 1 - signs(t) * p
    return mean(np.maximum(margin, 0), -signs(t) * (margin > 0))


def squared_hinge(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    margin = np.maximum(1 - signs(t) * p, 0)
    return mean(margin**2, -2 * signs(t) * margin)


def categorical_hinge(p: Array, t: Array, _: Sequence[float]) -> tuple[Array, Array]:
    others = (1 - t) * p
    rival = others.max(axis=1, keepdims=True)
    margin = rival - (t * p).sum(axis=1, keepdims=True) + 1
    tied = others == rival
    slope = (1 - t) * tied / tied.sum(axis=1, keepdims=True) - t
    return np.maximum(margin[:, 0], 0), slope * (margin > 0)


def binary_focal_crossentropy(p: Array, t: Array, parameters: Sequence[float]) -> tuple[Array, Array]:
    alpha, gamma, logits, balanced = parameters
    outer = np.ones_like(p)
    if logits:
        p = 1 / (1 + np.exp(-p))
        outer = p * (1 - p)
    q = np.clip(p, LOW, HIGH)
    surprise = -(t * np.log(q) + (1 - t) * np.log(1 - q))
    miss = 1 - (t * p + (1 - t) * (1 - p))
    weight = t * alpha + (1 - t) * (1 - alpha) if balanced else 1.0
    by_surprise = np.where(p == q, (q - t) / (q * (1 - q)), 0)
    slope = miss**gamma * by_surprise - gamma * miss ** (gamma - 1) * (2 * t - 1) * surprise
    return mean(weight * miss**gamma * surprise, weight * slope * outer)


def categorical_focal_crossentropy(p: Array, t: Array, parameters: Sequence[float]) -> tuple[Array, Array]:
    alpha, gamma, logits = parameters[:3]
    total = p.sum(axis=1, keepdims=True)
    share = p / total
    if logits:
        e = np.exp(p - p.max(axis=1, keepdims=True))
        share = e / e.sum(axis=1, keepdims=True)
    q = np.clip(share, LOW, HIGH)
    values = alpha * (1 - q) ** gamma * t * -np.log(q)
    by_q = -alpha * t * ((1 - q) ** gamma / q - gamma * (1 - q) ** (gamma - 1) * np.log(q))
    by_q = np.where(q == share, by_q, 0)
    moment = (by_q * share).sum(axis=1, keepdims=True)
    return values.sum(axis=1), (by_q - moment) * (share if logits else 1 / total)


def tversky(p: Array, t: Array, parameters: Sequence[float]) -> tuple[Array, Array]:
    alpha, beta, epsilon = parameters
    both = (t * p).sum(axis=1, keepdims=True)
    total = (
        both
        + alpha * (t * (1 - p)).sum(axis=1, keepdims=True)
        + beta * (p * (1 - t)).sum(axis=1, keepdims=True)
        + epsilon
    )
    growth = t * (1 - alpha) + beta * (1 - t)
    return (1 - both / total)[:, 0], growth * both / total**2 - t / total


def categorical_generalized_cross_entropy(
    p: Array, t: Array, parameters: Sequence[float]
) -> tuple[Array, Array]:
    q = parameters[0]
    of_class = (t * p).sum(axis=1, keepdims=True)
    return (1 - of_class[:, 0] ** q) / q, -t * of_class ** (q - 1)


FORMULAS: dict[str, Formula] = {
    function.__name__: function
    for function in (
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_logarithmic_error,
        huber,
        log_cosh,
        cosine_similarity,
        kl_divergence,
        poisson,
        hinge,
        squared_hinge,
        categorical_hinge,
        binary_focal_crossentropy,
        categorical_focal_crossentropy,
        tversky,
        categorical_generalized_cross_entropy,
    )
}
# Parameters with which the tests compute each formula.
PARAMETERS: dict[str, list[list[float]]] = {
    "huber": [[1.0], [0.3]],
    "cosine_similarity": [[-1.0], [1.0]],
    "binary_focal_crossentropy": [[0.25, 2.0, 0.0, 0.0], [0.3, 1.5, 1.0, 1.0], [0.3, 0.0, 0.0, 1.0]],
    "categorical_focal_crossentropy": [[0.25, 2.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.0, 0.0]],
    "categorical_generalized_cross_entropy": [[0.5], [0.1], [0.9]],
    "tversky": [[0.3, 0.7, EPSILON], [0.5, 0.5, EPSILON / 2]],
}
CASES = [(kind, parameters) for kind in FORMULAS for parameters in PARAMETERS.get(kind, [[]])]


def example(
    kind: str, parameters: Sequence[float], rows: int, n: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns predictions and targets in the domain of the loss, where it is differentiable."""
    rng = np.random.default_rng(seed + n)
    if kind == "categorical_generalized_cross_entropy":
        labels = rng.integers(0, n, rows)
        return rng.uniform(0.05, 0.95, (rows, n)).astype(np.float32), np.eye(n, dtype=np.float32)[labels]
    if kind == "categorical_hinge":
        return rng.normal(size=(rows, n)).astype(np.float32), np.eye(n, dtype=np.float32)[
            rng.integers(0, n, rows)
        ]
    if kind.endswith("hinge"):
        return rng.normal(size=(rows, n)).astype(np.float32), rng.integers(0, 2, (rows, n)).astype(np.float32)
    if kind in {"kl_divergence", "poisson", "tversky", "mean_squared_logarithmic_error"} or "focal" in kind:
        logits = "focal" in kind and parameters[2]
        p = rng.normal(size=(rows, n)) if logits else rng.uniform(0.05, 0.95, (rows, n))
        return p.astype(np.float32), rng.uniform(0.1, 0.9, (rows, n)).astype(np.float32)
    return rng.normal(size=(rows, n)).astype(np.float32), (1 + rng.normal(size=(rows, n))).astype(np.float32)
