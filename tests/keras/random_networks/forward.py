"""The forward pass of a random network in training, as functions of JAX's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import nn
from jax_functions import JaxOps

from random_networks.layers import Network
from random_networks.parts import Made

Weights = dict[str, list[Any]]  # of each layer, in the order of its `get_weights`


class Value(NamedTuple):
    """An array (samples, width) or (samples, steps, width), and a mask (samples, steps) of the steps to keep, or None."""

    numbers: Any
    mask: Any = None


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": nn.sigmoid,
    "gelu": partial(nn.gelu, approximate=False),
    "silu": nn.silu,
    "elu": nn.elu,
    "selu": nn.selu,
    "softplus": nn.softplus,
    "leaky_relu": partial(nn.leaky_relu, negative_slope=0.2),
    "relu6": nn.relu6,
    "softmax": nn.softmax,
}


class Pass:
    """One pass of a batch in training.

    Args:
        weights: of all layers.
        real: 1 for the samples of the batch, 0 for those that fill it up, shape (n,).
        further: the samples of further inputs, by the names of these.
        kept: what the dropout layers keep, in this batch.

    Attributes:
        moved: the moving averages of layers after the batch.
    """

    def __init__(
        self, weights: Weights, real: Any, further: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> None:
        self._weights, self._real, self._further, self._kept = dict(weights), real, further, kept
        self.moved: Weights = {}

    def output(self, network: Network, value: Value, frozen: bool = False) -> Value:
        """Returns the output for a batch; `frozen` says whether no layer of the network is trained."""
        values = [value]
        for call in network.calls:
            layer, inputs = network.layers[call.layer], [values[i] for i in call.values]
            if isinstance(layer, Network):
                values.append(self.output(layer, inputs[0], frozen or call.layer in network.frozen))
                continue
            if not inputs:
                values.append(Value(self._further[call.layer]))
                continue
            self._name, self._frozen = call.layer, frozen or call.layer in network.frozen
            method = Pass.of_user if layer.code else METHODS[layer.name]
            values.append(method(self, layer, self._weights.get(call.layer, []), *inputs))
        return values[-1]

    def dense(self, layer: Made, weights: Sequence[Any], x: Value) -> Value:
        kernel, *bias = weights
        y = x.numbers @ kernel
        return Value(ACTIVATIONS[layer.options["activation"]](y + bias[0] if bias else y), x.mask)

    def activation(self, layer: Made, _: Sequence[Any], x: Value) -> Value:
        return Value(ACTIVATIONS[layer.options["activation"]](x.numbers), x.mask)

    def rescaling(self, layer: Made, _: Sequence[Any], x: Value) -> Value:
        return Value(x.numbers * layer.options["scale"])

    def embedding(self, layer: Made, weights: Sequence[Any], x: Value) -> Value:
        indices = x.numbers.astype(int)
        return Value(weights[0][indices], indices != 0 if layer.options.get("mask_zero") else None)

    def average_steps(self, layer: Made, _: Sequence[Any], x: Value) -> Value:
        kept = (
            jnp.ones(x.numbers.shape[:2], x.numbers.dtype)
            if x.mask is None
            else x.mask.astype(x.numbers.dtype)
        )
        return Value((x.numbers * kept[..., None]).sum(axis=1) / kept.sum(axis=1)[:, None])

    def flatten(self, layer: Made, _: Sequence[Any], x: Value) -> Value:
        return Value(x.numbers.reshape(len(x.numbers), -1))

    def dropout(self, layer: Made, _: Sequence[Any], x: Value) -> Value:
        return Value(x.numbers * self._kept[self._name] / (1 - layer.options["rate"]), x.mask)

    def layer_normalization(self, layer: Made, weights: Sequence[Any], x: Value) -> Value:
        gamma, beta = weights
        centred = x.numbers - x.numbers.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return Value(centred / jnp.sqrt(variance + layer.options["epsilon"]) * gamma + beta, x.mask)

    def batch_normalization(self, layer: Made, weights: Sequence[Any], x: Value) -> Value:
        gamma, beta, moving_mean, moving_variance = weights
        mean, variance = moving_mean, moving_variance
        if not self._frozen:
            share = self._real[:, None] / self._real.sum()
            mean = (x.numbers * share).sum(axis=0)
            variance = ((x.numbers - mean) ** 2 * share).sum(axis=0)
            momentum = layer.options["momentum"]
            moved = [
                momentum * moving_mean + (1 - momentum) * mean,
                momentum * moving_variance + (1 - momentum) * variance,
            ]
            self._weights[self._name] = [gamma, beta, *moved]
            self.moved[self._name] = moved
        return Value((x.numbers - mean) / jnp.sqrt(variance + layer.options["epsilon"]) * gamma + beta)

    def of_user(self, layer: Made, weights: Sequence[Any], x: Value) -> Value:
        return Value(in_jax(layer, "x", "w")(x.numbers, *weights))

    def average(self, layer: Made, _: Sequence[Any], *values: Value) -> Value:
        total = _folded(jnp.add, values)
        return Value(total.numbers / len(values), total.mask)

    def concatenate(self, layer: Made, _: Sequence[Any], *values: Value) -> Value:
        return Value(jnp.concatenate([value.numbers for value in values], axis=-1), values[0].mask)


def _folded(function: Callable[[Any, Any], Any], values: Sequence[Value]) -> Value:
    return Value(reduce(function, [value.numbers for value in values]), values[0].mask)


def merging(function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    return lambda _, layer, weights, *values: _folded(function, values)


METHODS: dict[str, Callable[..., Value]] = {
    "layers.Dense": Pass.dense,
    "layers.Activation": Pass.activation,
    "layers.Rescaling": Pass.rescaling,
    "layers.Embedding": Pass.embedding,
    "layers.GlobalAveragePooling1D": Pass.average_steps,
    "layers.Flatten": Pass.flatten,
    "layers.Dropout": Pass.dropout,
    "layers.LayerNormalization": Pass.layer_normalization,
    "layers.BatchNormalization": Pass.batch_normalization,
    "layers.Concatenate": Pass.concatenate,
    "layers.Average": Pass.average,
    "layers.Add": merging(jnp.add),
    "layers.Subtract": merging(jnp.subtract),
    "layers.Multiply": merging(jnp.multiply),
    "layers.Maximum": merging(jnp.maximum),
    "layers.Minimum": merging(jnp.minimum),
}


def in_jax(made: Made, *arguments: str) -> Callable[..., Any]:
    """Returns the formula in the code of a class, as a function of JAX's arrays."""
    indent = " " * 8
    body = [line for line in made.code if line.startswith(indent) and "self" not in line]
    names: dict[str, Any] = {"ops": JaxOps()}
    exec("\n".join([f"def formula({', '.join(arguments)}):", *body]), names)
    return names["formula"]
