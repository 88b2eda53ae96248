"""`tf.nn`: activations, losses of logits, and what else networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine import ops, random
from engine.tensorflow import math
from engine.tensorflow._like_ops import like_ops
from engine.tensorflow._tensor import lengths, returns_tensors
from engine.tensorflow.math import (
    bincount,
    in_top_k,
    l2_normalize,
    log_softmax,
    softmax,
    top_k,
    zero_fraction,
)

_SAME = like_ops(
    """
    elu elu features
    relu relu features
    relu6 relu6 features
    selu selu features
    """,
    __name__,
)
globals().update(_SAME)
sigmoid, tanh, softplus, softsign = (
    getattr(math, name) for name in ("sigmoid", "tanh", "softplus", "softsign")
)

__all__ = [
    "batch_normalization",
    "bias_add",
    "bincount",
    "compute_average_loss",
    "crelu",
    "dropout",
    "embedding_lookup",
    "gelu",
    "in_top_k",
    "l2_loss",
    "l2_normalize",
    "leaky_relu",
    "log_poisson_loss",
    "log_softmax",
    "moments",
    "scale_regularization_loss",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "silu",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softplus",
    "softsign",
    "sparse_softmax_cross_entropy_with_logits",
    "swish",
    "tanh",
    "top_k",
    "weighted_cross_entropy_with_logits",
    "weighted_moments",
    "zero_fraction",
]
__all__.extend(_SAME)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # those in `_SAME`


# Activations.


@returns_tensors
def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """Returns x * P(X <= x) for X of a normal distribution. `name` is without effect, here and in all other functions."""
    return ops.gelu(features, approximate)


@returns_tensors
def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    """Returns x for positive numbers, and alpha * x for others."""
    return ops.leaky_relu(features, alpha)


@returns_tensors
def crelu(features: Any, axis: int = -1, name: str | None = None) -> Any:
    """Returns relu(x) and relu(-x), joined along one axis."""
    return ops.concatenate([ops.relu(features), ops.relu(ops.negative(features))], axis)


@returns_tensors
def silu(features: Any, beta: float = 1.0) -> Any:
    """Returns x * sigmoid(beta * x)."""
    return ops.multiply(features, ops.sigmoid(ops.multiply(features, beta)))


swish = silu


@returns_tensors
def dropout(
    x: Any, rate: Any, noise_shape: Any = None, seed: int | None = None, name: str | None = None
) -> Any:
    """Returns the entries divided by 1 - rate, of which a random share `rate` is zero.

    Args:
        x: array.
        rate: probability of a zero, in [0, 1).
        noise_shape: the shape of what is drawn, with 1 where entries share it.
        seed: of the draw.
        name: without effect.
    """
    return random.dropout(x, float(rate), None if noise_shape is None else lengths(noise_shape), seed)


# Losses of logits: one number for each sample.


@returns_tensors
def softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, axis: int = -1, name: str | None = None
) -> Any:
    """Returns -sum(labels * log_softmax(logits)) along one axis."""
    return ops.negative(
        ops.sum(ops.multiply(ops.cast(labels, _dtype(logits)), ops.log_softmax(logits, axis)), axis)
    )


@returns_tensors
def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Any:
    """Returns -log_softmax(logits) at the class that each label is the index of."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


@returns_tensors
def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None, name: str | None = None) -> Any:
    """Returns max(x, 0) - x * label + log(1 + exp(-abs(x))) for each logit x."""
    labels = ops.cast(labels, _dtype(logits))
    bound = ops.subtract(ops.maximum(logits, 0.0), ops.multiply(logits, labels))
    return ops.add(bound, ops.log1p(ops.exp(ops.negative(ops.abs(logits)))))


@returns_tensors
def weighted_cross_entropy_with_logits(
    labels: Any, logits: Any, pos_weight: Any, name: str | None = None
) -> Any:
    """Returns the cross-entropy of logits, with the weight `pos_weight` for positive labels.

    That is (1 - label) * x + (1 + (pos_weight - 1) * label) * log(1 + exp(-x)) for each logit x.
    """
    labels = ops.cast(labels, _dtype(logits))
    weights = ops.add(1.0, ops.multiply(ops.subtract(pos_weight, 1.0), labels))
    losses = ops.softplus(ops.negative(logits))
    return ops.add(ops.multiply(ops.subtract(1.0, labels), logits), ops.multiply(weights, losses))


@returns_tensors
def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Any:
    """Returns exp(log_input) - log_input * targets, for `compute_full_loss` with Stirling's approximation of log(targets!)."""
    loss = ops.subtract(ops.exp(log_input), ops.multiply(log_input, targets))
    if not compute_full_loss:
        return loss
    factorial = ops.add(
        ops.subtract(ops.multiply(targets, ops.log(targets)), targets),
        ops.multiply(0.5, ops.log(ops.multiply(2.0 * np.pi, targets))),
    )
    inside = ops.logical_and(ops.greater_equal(targets, 0.0), ops.less_equal(targets, 1.0))
    return ops.add(loss, ops.where(inside, ops.zeros_like(factorial), factorial))


@returns_tensors
def l2_loss(t: Any, name: str | None = None) -> Any:
    """Returns half of the sum of squares."""
    return ops.multiply(ops.sum(ops.square(t)), 0.5)


@returns_tensors
def compute_average_loss(
    per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None, **others: Any
) -> Any:
    """Returns the sum of losses, with weights if there are any, divided by `global_batch_size`, by default their number."""
    losses = per_example_loss if sample_weight is None else ops.multiply(per_example_loss, sample_weight)
    size = int(np.prod(ops.shape(per_example_loss))) if global_batch_size is None else int(global_batch_size)
    return ops.divide(ops.sum(losses), float(size))


@returns_tensors
def scale_regularization_loss(regularization_loss: Any) -> Any:
    """Returns a penalty as it is, since one machine computes."""
    return ops.sum(regularization_loss)


def _dtype(x: Any) -> str:
    """Returns the name of the dtype of logits."""
    return str(np.dtype(x.dtype).name) if hasattr(x, "dtype") else "float32"


# Layers.


@returns_tensors
def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """Adds a vector along the last axis, or along the second one if `data_format` begins with "NC"."""
    if data_format is not None and data_format.startswith("NC") and ops.ndim(value) > 2:  # noqa: PLR2004 # rows and columns
        bias = ops.reshape(bias, (1, -1) + (1,) * (ops.ndim(value) - 2))
    return ops.add(value, bias)


@returns_tensors
def embedding_lookup(params: Any, ids: Any, max_norm: float | None = None, name: str | None = None) -> Any:
    """Returns the rows of a table by their indices; those longer than `max_norm` are shortened to it."""
    rows = ops.take(params, ids, axis=0)
    if max_norm is None:
        return rows
    norms = ops.sqrt(ops.sum(ops.square(rows), -1, keepdims=True))
    return ops.divide(ops.multiply(rows, max_norm), ops.maximum(norms, max_norm))


@returns_tensors
def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns mean and variance over axes. `shift` is without effect."""
    return ops.moments(x, tuple(np.atleast_1d(np.asarray(axes)).tolist()), keepdims)


@returns_tensors
def weighted_moments(
    x: Any, axes: Any, frequency_weights: Any, keepdims: bool = False, name: str | None = None
) -> Any:
    """Returns mean and variance over axes of entries with weights."""
    places = tuple(np.atleast_1d(np.asarray(axes)).tolist())
    weights = ops.multiply(ops.ones_like(x), frequency_weights)
    total = ops.sum(weights, places, keepdims=True)
    mean = ops.divide(ops.sum(ops.multiply(weights, x), places, keepdims=True), total)
    squares = ops.multiply(weights, ops.square(ops.subtract(x, mean)))
    variance = ops.divide(ops.sum(squares, places, keepdims=True), total)
    return (mean, variance) if keepdims else (ops.squeeze(mean, places), ops.squeeze(variance, places))


@returns_tensors
def batch_normalization(  # TensorFlow's signature
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: str | None = None,
) -> Any:
    """Returns (x - mean) * scale / sqrt(variance + variance_epsilon) + offset; None leaves scale or offset out."""
    factor = ops.rsqrt(ops.add(variance, variance_epsilon))
    if scale is not None:
        factor = ops.multiply(factor, scale)
    result = ops.multiply(ops.subtract(x, mean), factor)
    return result if offset is None else ops.add(result, offset)
