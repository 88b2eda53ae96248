"""Losses and penalties of random networks, as functions of JAX's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import nn

from random_networks.forward import Weights
from random_networks.layers import Network

# Losses: functions of targets (n, outputs) or classes (n,), predictions (n, outputs) and options, with a value per sample.


def mean(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda y, p, options: function(y, p).mean(axis=-1)


def huber(y: Any, p: Any, options: Mapping[str, Any]) -> Any:
    error, delta = jnp.abs(y - p), options["delta"]
    return jnp.where(error <= delta, error * error / 2, delta * error - delta * delta / 2).mean(axis=-1)


def categorical(y: Any, p: Any, options: Mapping[str, Any]) -> Any:
    smoothing = options.get("label_smoothing", 0)
    y = y * (1 - smoothing) + smoothing / y.shape[-1]
    logs = nn.log_softmax(p) if options.get("from_logits") else jnp.log(p / p.sum(axis=-1, keepdims=True))
    return -(y * logs).sum(axis=-1)


def sparse_categorical(y: Any, p: Any, options: Mapping[str, Any]) -> Any:
    return categorical(nn.one_hot(y, p.shape[-1], dtype=p.dtype), p, options)


def binary(y: Any, p: Any, options: Mapping[str, Any]) -> Any:
    if options.get("from_logits"):
        return (nn.softplus(p) - p * y).mean(axis=-1)
    return -(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)).mean(axis=-1)


def hinge(y: Any, p: Any) -> Any:
    return jnp.maximum(1 - (2 * y - 1) * p, 0)


LOSSES: dict[str, Callable[[Any, Any, Mapping[str, Any]], Any]] = {
    "losses.MeanSquaredError": mean(lambda y, p: (y - p) ** 2),
    "losses.MeanAbsoluteError": mean(lambda y, p: jnp.abs(y - p)),
    "losses.Huber": huber,
    "losses.LogCosh": mean(lambda y, p: jnp.logaddexp(p - y, y - p) - np.log(2)),
    "losses.Poisson": mean(lambda y, p: p - y * jnp.log(p + 1e-7)),
    "losses.SparseCategoricalCrossentropy": sparse_categorical,
    "losses.CategoricalCrossentropy": categorical,
    "losses.BinaryCrossentropy": binary,
    "losses.Hinge": mean(hinge),
    "losses.SquaredHinge": mean(lambda y, p: hinge(y, p) ** 2),
}

PENALTIES: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "regularizers.L1": lambda w, options: options["l1"] * jnp.abs(w).sum(),
    "regularizers.L2": lambda w, options: options["l2"] * (w * w).sum(),
}


def penalty(network: Network, weights: Weights) -> Any:
    """Returns the sum of the penalties of all kernels."""
    total = 0.0
    for name, layer in network.leaves.items():
        for option in ("kernel_regularizer", "embeddings_regularizer"):
            if made := layer.options.get(option):
                total = total + PENALTIES[made.name](weights[name][0], made.options)
    return total
