"""NumPy as an expert uses it: float32, no allocation in the loop, all parameters in one array.

The operations have the order of a textbook. Each is one call that writes into an existing buffer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contenders import Float32, Training, UnsupportedError, call_among
from bench.data import Data
from bench.functions import FORMULAS, NUMPY
from bench.tasks import ArrayFunction, Call, Problem, Product, Program, Task

MODULES = ("numpy",)

# An optimizer makes ten passes over the parameters. It makes them piece by piece, so that a piece stays in the cache.
PIECE = 1 << 15

TINY = 1e-7  # epsilon of Adam, and the least probability in a logarithm


def small_call(task: Call) -> Callable[[], Any]:
    from bench.calls.numpy import CALLS

    return call_among(CALLS, task)


def compile(task: ArrayFunction, arguments: list[NDArray[Any]]) -> Callable[[], Any]:
    if task.result != "value":
        msg = "it has no gradients"
        raise UnsupportedError(msg)
    compute = FORMULAS[task.function].compute
    return lambda: compute(NUMPY, *arguments)


def views(flat: Float32, widths: tuple[int, ...]) -> list[tuple[Float32, Float32]]:
    """Returns (kernel (in, out), bias (out,)) of every layer as views of `flat`, one after the other."""
    layers, start = [], 0
    for rows, columns in pairwise(widths):
        middle = start + rows * columns
        kernel, bias = flat[start:middle].reshape(rows, columns), flat[middle : middle + columns]
        layers.append((kernel, bias))
        start = middle + columns
    return layers


def activate(z: Float32, loss: str) -> None:
    """Applies the activation of the last layer to its `z` (rows, outputs), in place."""
    if loss == "sparse_categorical_crossentropy":
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
    elif loss == "binary_crossentropy":
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.reciprocal(z, out=z)


def adam(iterations: int, weights: Float32, gradient: Float32, m: Float32, v: Float32) -> None:
    """Makes a step of Adam. `m` is stored divided by 1 - beta_1, and `v` by 1 - beta_2, which saves two passes."""
    beta_1, beta_2 = 0.9, 0.999
    correction = math.sqrt(1 - beta_2**iterations) / (1 - beta_1**iterations)
    scale = math.sqrt(1 - beta_2)
    m *= beta_1
    m += gradient
    np.multiply(gradient, gradient, out=gradient)
    v *= beta_2
    v += gradient
    np.sqrt(v, out=gradient)
    gradient += TINY / scale
    np.divide(m, gradient, out=gradient)
    gradient *= 0.001 * correction * (1 - beta_1) / scale
    weights -= gradient


def momentum(weights: Float32, gradient: Float32, m: Float32) -> None:
    m *= 0.9
    gradient *= 0.01
    m -= gradient
    weights += m


class Score:
    """Collects loss and accuracy of an epoch, batch by batch."""

    def __init__(self, problem: Problem, samples: int) -> None:
        self.loss = problem.loss
        self.probabilities = np.empty(samples, np.float32)  # of the true classes
        self.right = np.empty(samples, np.bool_)
        self.squares = 0.0
        self.outputs = problem.outputs

    def note(self, out: Float32, y: NDArray[Any], part: slice, rows: NDArray[np.intp]) -> None:
        """Adds the outputs `out` of a batch with labels `y`, and replaces them by dLoss/dlogits."""
        if self.loss == "mse":
            out -= y
            self.squares += float(np.vdot(out, out))
            out *= np.float32(2 / out.size)
            return
        if self.loss == "binary_crossentropy":
            p, true = out[:, 0], y > 0
            np.greater(p, 0.5, out=self.right[part])
            np.equal(self.right[part], true, out=self.right[part])
            self.probabilities[part] = np.where(true, p, 1 - p)
            p -= y
        else:
            np.equal(out.argmax(axis=1), y, out=self.right[part])
            self.probabilities[part] = out[rows, y]
            out[rows, y] -= 1
        out *= np.float32(1 / len(y))

    def training(self) -> Training:
        if self.loss == "mse":
            return Training(self.squares / (len(self.right) * self.outputs))
        loss = -float(np.log(np.maximum(self.probabilities, TINY)).mean())
        return Training(loss, float(self.right.mean()))


class Network:
    def __init__(self, task: Task, data: Data) -> None:
        self.task = task
        self.loss = task.problem.loss
        self.data = data.as_float32()
        kinds = {
            "sparse_categorical_crossentropy": np.intp,
            "binary_crossentropy": np.float32,
            "mse": np.float32,
        }
        self.labels = data.y.astype(kinds[self.loss])
        size, widths = task.problem.parameters, task.problem.widths
        self.weights, self.gradient, self.m, self.v = np.zeros((4, size), np.float32)
        self.layers = views(self.weights, widths)
        self.gradients = views(self.gradient, widths)
        states = (self.weights, self.gradient, self.m, self.v)
        self.pieces = [[state[i : i + PIECE] for state in states] for i in range(0, size, PIECE)]
        self.x = np.empty((task.batch, widths[0]), np.float32)
        self.outputs = [np.empty((task.batch, width), np.float32) for width in widths[1:]]
        self.deltas = [np.empty((task.batch, width), np.float32) for width in widths[1:-1]]
        self.masks = [np.empty((task.batch, width), np.bool_) for width in widths[1:-1]]
        self.rows = np.arange(task.batch)
        self.rng = np.random.default_rng(0)
        self.reset()

    def reset(self) -> None:
        for state in (self.weights, self.m, self.v):
            state.fill(0)
        self.iterations = 0
        for kernel, _ in self.layers:
            limit = math.sqrt(6 / sum(kernel.shape))
            kernel[:] = self.rng.uniform(-limit, limit, kernel.shape)

    def train(self, epochs: int) -> Training:
        samples, batch = len(self.labels), self.task.batch
        step = self.adam if self.task.optimizer == "adam" else self.momentum
        for _ in range(epochs):
            score = Score(self.task.problem, samples)
            order = self.rng.permutation(samples)
            labels = self.labels[order]
            for start in range(0, samples, batch):
                part = slice(start, start + batch)
                y = labels[part]
                x = self.x[: len(y)]
                # With mode "raise", NumPy would use a buffer.
                np.take(self.data.x, order[part], axis=0, out=x, mode="clip")
                score.note(self.forward(x), y, part, self.rows[: len(y)])
                self.backward(x)
                step()
        return score.training()

    def forward(self, x: Float32) -> Float32:
        """Returns the outputs. Each layer has a buffer for its own."""
        for (kernel, bias), buffer in zip(self.layers, self.outputs, strict=True):
            out = buffer[: len(x)]
            np.matmul(x, kernel, out=out)
            out += bias
            if buffer is not self.outputs[-1]:
                np.maximum(out, 0, out=out)
            x = out
        activate(x, self.loss)
        return x

    def backward(self, x: Float32) -> None:
        """Computes the gradients. The buffer of the last layer contains dLoss/dlogits."""
        rows = len(x)
        dz = self.outputs[-1][:rows]
        for layer in reversed(range(len(self.layers))):
            below = self.outputs[layer - 1][:rows] if layer else x
            kernel, bias = self.gradients[layer]
            np.matmul(below.T, dz, out=kernel)
            np.add.reduce(dz, axis=0, out=bias)
            if layer:
                mask, delta = self.masks[layer - 1][:rows], self.deltas[layer - 1][:rows]
                np.greater(below, 0, out=mask)
                np.matmul(dz, self.layers[layer][0].T, out=delta)
                delta *= mask
                dz = delta

    def adam(self) -> None:
        self.iterations += 1
        for piece in self.pieces:
            adam(self.iterations, *piece)

    def momentum(self) -> None:
        for piece in self.pieces:
            momentum(*piece[:3])

    def predict(self) -> NDArray[Any]:
        return self.results(self.data.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.results(self.data.x_test[:1])

    def results(self, x: Float32) -> Float32:
        *hidden, (kernel, bias) = self.layers
        for matrix, offset in hidden:
            x = x @ matrix
            x += offset
            np.maximum(x, 0, out=x)
        x = x @ kernel
        x += bias
        activate(x, self.loss)
        return x


def prepare(task: Task, data: Data, variant: str) -> Network:
    if task.data == "words":
        msg = "it has no sparse matrices"
        raise UnsupportedError(msg)
    return Network(task, data)


def multiply(task: Product, a: Float32, b: Float32, out: Float32) -> Callable[[], object]:
    first = a.T if task.transpose_a else a
    second = b.T if task.transpose_b else b
    return lambda: np.matmul(first, second, out=out)


def command(task: Program, folder: Path, variant: str) -> list[str]:
    if task.what != "import":
        msg = "the textbook script needs Keras"
        raise UnsupportedError(msg)
    return [sys.executable, "-c", "import numpy"]
