"""JAX as its experts use it: one jitted call per epoch, a scan over batches, donated state, data on the device.

The variant "cuda" trains on a GPU.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from bench.contenders import Learner, Training, UnsupportedError, call_among
from bench.data import Data
from bench.functions import function_of, namespace
from bench.tasks import ArrayFunction, Call, Graph, Problem, Program, Task

MODULES = ("jax", "jaxlib", "numpy")

Parameters = list[tuple[jax.Array, jax.Array]]


Rows = jax.Array | tuple[jax.Array, jax.Array]  # sparse rows are columns and values, padded with zeros


def product(x: Rows, kernel: jax.Array) -> jax.Array:
    if isinstance(x, tuple):
        columns, values = x
        return jnp.einsum("mk,mkn->mn", values, kernel[columns])
    return x @ kernel


def logits(parameters: Parameters, x: Rows) -> jax.Array:
    *hidden, (kernel, bias) = parameters
    for matrix, offset in hidden:
        x = jax.nn.relu(product(x, matrix) + offset)
    return product(x, kernel) + bias


def filled(x: Any) -> Any:
    """Returns rows in the form that `logits` takes. A CSR matrix is padded to the length of its longest row."""
    if not hasattr(x, "indptr"):
        return x
    lengths = np.diff(x.indptr)
    inside = np.arange(lengths.max()) < lengths[:, None]
    columns, values = np.zeros(inside.shape, np.int32), np.zeros(inside.shape, np.float32)
    columns[inside], values[inside] = x.indices, x.data
    return columns, values


def judge(problem: Problem, parameters: Parameters, x: Rows, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss and the number of correct rows (0 for a regression)."""
    z = logits(parameters, x)
    if problem.loss == "mse":
        return jnp.mean((z - y) ** 2), jnp.int32(0)
    if problem.loss == "binary_crossentropy":
        return jnp.mean(jax.nn.softplus(z) - z * y), jnp.sum((z > 0) == y)
    chosen = jnp.take_along_axis(z, y[:, None], 1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(z, 1) - chosen), jnp.sum(z.argmax(1) == y)


def adam(state: Any, gradients: Any) -> Any:
    parameters, m, v, count = state
    count += 1
    rate = 0.001 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    m = jax.tree.map(lambda old, g: 0.9 * old + 0.1 * g, m, gradients)
    v = jax.tree.map(lambda old, g: 0.999 * old + 0.001 * g * g, v, gradients)
    parameters = jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-7), parameters, m, v)
    return parameters, m, v, count


def momentum(state: Any, gradients: Any) -> Any:
    parameters, m = state
    m = jax.tree.map(lambda old, g: 0.9 * old - 0.01 * g, m, gradients)
    return jax.tree.map(jnp.add, parameters, m), m


def epoch(task: Task, state: Any, key: jax.Array, x: Rows, y: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """Trains on all rows once. Returns the new state, the mean loss, and the accuracy."""
    update = adam if task.optimizer == "adam" else momentum
    gradient = jax.value_and_grad(partial(judge, task.problem), has_aux=True)

    def step(state: Any, rows: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        chosen = jax.tree.map(lambda part: part[rows], x)
        (loss, right), gradients = gradient(state[0], chosen, y[rows])
        return update(state, gradients), (loss * len(rows), right)

    order = jax.random.permutation(key, len(y))
    full = len(y) // task.batch * task.batch
    state, (losses, right) = lax.scan(step, state, order[:full].reshape(-1, task.batch))
    loss, hits = losses.sum(), right.sum()
    if full < len(y):
        state, (last_loss, last_right) = step(state, order[full:])
        loss, hits = loss + last_loss, hits + last_right
    return state, loss / len(y), hits / len(y)


class Network:
    def __init__(self, task: Task, data: Data) -> None:
        self.task = task
        problem = task.problem
        data = data.as_float32()
        labels = data.y.reshape(len(data.y), -1) if problem.outputs == 1 else data.y
        self.x = jax.device_put(filled(data.x))
        self.y = jax.device_put(labels.astype(np.float32 if labels.ndim == 2 else np.int32))
        self.x_test, self.first = filled(data.x_test), filled(data.x_test[:1])
        self.rng = np.random.default_rng(0)
        self.epoch = jax.jit(partial(epoch, task), donate_argnums=0)
        last = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "linear": lambda z: z}[
            problem.activation
        ]
        self.outputs = jax.jit(lambda parameters, x: last(logits(parameters, x)))
        self.reset()

    def reset(self) -> None:
        parameters = []
        for inputs, outputs in pairwise(self.task.problem.widths):
            limit = math.sqrt(6 / (inputs + outputs))
            kernel = self.rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
            parameters.append((jnp.asarray(kernel), jnp.zeros(outputs)))
        slots = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
        self.state: Any = (parameters, *slots, jnp.float32(0))
        if self.task.optimizer == "momentum":
            self.state = self.state[:2]
        self.key = jax.random.key(int(self.rng.integers(2**31)))

    def train(self, epochs: int) -> Training:
        for _ in range(epochs):
            self.key, key = jax.random.split(self.key)
            self.state, loss, accuracy = self.epoch(self.state, key, self.x, self.y)
        jax.block_until_ready(self.state)
        return Training(float(loss), float(accuracy) if self.task.problem.classifies else None)

    def predict(self) -> NDArray[Any]:
        return np.asarray(self.outputs(self.state[0], self.x_test))

    def predict_one(self) -> NDArray[Any]:
        return np.asarray(self.outputs(self.state[0], self.first))


def prepare(task: Task, data: Data, variant: str) -> Network:
    if variant not in {"", "cuda"}:
        msg = f"jax:{variant} is not jax or jax:cuda"
        raise UnsupportedError(msg)
    try:
        device = jax.devices("gpu" if variant == "cuda" else "cpu")[0]
    except RuntimeError as error:
        raise UnsupportedError(str(error)) from error
    jax.config.update("jax_default_device", device)
    return Network(task, data)


def small_call(task: Call) -> Callable[[], Any]:
    from bench.calls.jax import CALLS

    return call_among(CALLS, task)


ARRAYS = namespace(
    jnp,
    erf=jax.scipy.special.erf,
    scan=lax.scan,
    while_loop=lambda condition, body, value, most: lax.while_loop(condition, body, value),
    fori_loop=lax.fori_loop,
    sums_of_groups=jax.ops.segment_sum,
    with_rows=lambda x, rows, y: x.at[rows].set(y, unique_indices=True),
)


def compile(task: ArrayFunction, arguments: list[NDArray[Any]]) -> Callable[[], Any]:
    compiled = jax.jit(function_of(ARRAYS, jax, task.function, task.result))
    arrays = [jax.device_put(array) for array in arguments]
    return lambda: jax.block_until_ready(compiled(*arrays))


def build(task: Graph, folder: Path, variant: str) -> Learner:
    from bench.graphs import jax as graphs

    return graphs.build(task, folder, adam)


def command(task: Program, folder: Path, variant: str) -> list[str]:
    if task.what != "import":
        msg = "the textbook script needs Keras"
        raise UnsupportedError(msg)
    return [sys.executable, "-c", "import jax.numpy"]
