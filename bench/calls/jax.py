"""The calls of JAX. Arrays are its own but for samples, which an agent has in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.calls import FAMILIES, RATES, WIDTHS, labels, matrices, samples


def compiled(rows: int) -> Callable[[], Any]:
    x, y = map(jax.device_put, matrices(rows))
    function = jax.jit(lambda x, y: jnp.tanh(x) * y)
    return lambda: function(x, y).block_until_ready()


def eager(rows: int) -> Callable[[], Any]:
    x, y = map(jax.device_put, matrices(rows))
    return lambda: jnp.sum(jnp.add(jnp.tanh(x), y)).block_until_ready()


def alone(name: str) -> Callable[[int], Callable[[], Any]]:
    def prepared(rows: int) -> Callable[[], Any]:
        x, y = map(jax.device_put, matrices(rows))
        return lambda: FAMILIES[name](jnp, x, y).block_until_ready()

    return prepared


def weights() -> Any:
    keys = jax.random.split(jax.random.key(0), len(WIDTHS))
    return [
        (jax.random.normal(key, shape) / jnp.sqrt(shape[0]), jnp.zeros(shape[1]))
        for key, shape in zip(keys, pairwise(WIDTHS), strict=False)
    ]


def outputs(layers: Any, x: Any) -> Any:
    for kernel, bias in layers[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = layers[-1]
    return x @ kernel + bias


def loss(layers: Any, x: Any, y: Any) -> Any:
    return jnp.mean((outputs(layers, x) - y) ** 2)


def predict(rows: int) -> Callable[[], Any]:
    layers, (x, _), function = weights(), samples(rows), jax.jit(outputs)
    return lambda: np.asarray(function(layers, x))


def sgd(layers: Any, x: Any, y: Any) -> Any:
    value, slopes = jax.value_and_grad(loss)(layers, x, y)
    return jax.tree.map(lambda weight, slope: weight - RATES["sgd"] * slope, layers, slopes), value


def adam(state: Any, x: Any, y: Any) -> Any:
    layers, first, second, count = state
    value, slopes = jax.value_and_grad(loss)(layers, x, y)
    count += 1
    first = jax.tree.map(lambda m, slope: 0.9 * m + 0.1 * slope, first, slopes)
    second = jax.tree.map(lambda v, slope: 0.999 * v + 0.001 * slope * slope, second, slopes)
    rate = RATES["adam"] * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), layers, first, second)
    return (layers, first, second, count), value


def update(rule: str, reads: bool = False) -> Callable[[int], Callable[[], Any]]:
    """Returns what prepares a step; `reads` makes a float of the loss."""

    def prepared(rows: int) -> Callable[[], Any]:
        (x, y), function = samples(rows), jax.jit({"sgd": sgd, "adam": adam}[rule], donate_argnums=0)
        state: Any = weights()
        if rule == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, state) for _ in range(2)]
            state = (state, *zeros, jnp.float32(0))

        def step() -> Any:
            nonlocal state
            state, value = function(state, x, y)
            return float(value) if reads else value.block_until_ready()

        return step

    return prepared


def descended(layers: Any, slopes: Any) -> Any:
    return jax.tree.map(lambda weight, slope: weight - RATES["sgd"] * slope, layers, slopes)


def labelled_step(layers: Any, x: Any, y: Any) -> Any:
    def crossentropy(layers: Any) -> Any:
        logits = outputs(layers, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), logits

    (value, logits), slopes = jax.value_and_grad(crossentropy, has_aux=True)(layers)
    return descended(layers, slopes), (value, (logits.argmax(1) == y).mean())


def measured_step(layers: Any, x: Any, y: Any) -> Any:
    def squares(layers: Any) -> Any:
        found = outputs(layers, x)
        return jnp.mean((found - y) ** 2), found

    (value, found), slopes = jax.value_and_grad(squares, has_aux=True)(layers)
    return descended(layers, slopes), (value, jnp.abs(found - y).mean())


def train_on_labels(rows: int) -> Callable[[], Any]:
    layers, (x, _), y = weights(), samples(rows), labels(rows).astype(np.int32)
    function = jax.jit(labelled_step, donate_argnums=0)

    def step() -> Any:
        nonlocal layers
        layers, found = function(layers, x, y)
        value, _ = map(float, jax.device_get(found))
        return value

    return step


def own_step(rows: int) -> Callable[[], Any]:
    layers, (x, y), function = weights(), samples(rows), jax.jit(measured_step, donate_argnums=0)

    def step() -> Any:
        nonlocal layers
        layers, found = function(layers, x, y)
        value, _ = map(float, jax.device_get(found))  # the means over a batch are those of its metrics
        return value

    return step


CALLS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "compiled": compiled,
    "eager": eager,
    **{name: alone(name) for name in FAMILIES},
    "predict": predict,
    "train_on_batch": update("sgd", reads=True),
    "train_on_labels": train_on_labels,
    "own_step": own_step,
    "update_sgd": update("sgd"),
    "update_adam": update("adam"),
}
