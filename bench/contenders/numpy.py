"""What an expert writes in plain NumPy: float32, no allocation in the loop, all parameters in one array.

The order of operations is the textbook's; each is one call on whole arrays into a buffer made beforehand.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contenders import Training
from bench.data import Data
from bench.tasks import INPUTS, OUTPUTS, Task

MODULES = ("numpy",)

Float32 = NDArray[np.float32]
TINY = 1e-7  # Adam's epsilon, and the smallest probability whose logarithm is taken


def views(flat: Float32, widths: tuple[int, ...]) -> list[tuple[Float32, Float32]]:
    """(kernel (in, out), bias (out,)) of every layer, laid end to end in `flat`."""
    layers, start = [], 0
    for rows, columns in pairwise(widths):
        middle = start + rows * columns
        kernel, bias = flat[start:middle].reshape(rows, columns), flat[middle : middle + columns]
        layers.append((kernel, bias))
        start = middle + columns
    return layers


def softmax(z: Float32) -> None:
    """Replace the logits `z` (rows, classes) by probabilities."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)


class Network:
    def __init__(self, task: Task, data: Data) -> None:
        self.task = task
        self.data = data.as_float32()
        self.labels = data.y.astype(np.intp)
        self.widths = (INPUTS, *task.hidden, OUTPUTS)
        size = sum((rows + 1) * columns for rows, columns in pairwise(self.widths))
        self.weights, self.gradient, self.m, self.v = np.zeros((4, size), np.float32)
        self.layers = views(self.weights, self.widths)
        self.gradients = views(self.gradient, self.widths)
        self.x = np.empty((task.batch, INPUTS), np.float32)
        self.outputs = [np.empty((task.batch, width), np.float32) for width in self.widths[1:]]
        self.deltas = [np.empty((task.batch, width), np.float32) for width in task.hidden]
        self.masks = [np.empty((task.batch, width), np.bool_) for width in task.hidden]
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
        probabilities = np.empty(samples, np.float32)  # of the true classes
        guesses = np.empty(samples, np.intp)
        step = self.adam if self.task.optimizer == "adam" else self.momentum
        loss = accuracy = math.nan
        for _ in range(epochs):
            order = self.rng.permutation(samples)
            labels = self.labels[order]
            for start in range(0, samples, batch):
                part = slice(start, start + batch)
                y = labels[part]
                x = self.x[: len(y)]
                np.take(self.data.x, order[part], axis=0, out=x, mode="clip")  # "raise" would buffer
                z = self.forward(x)
                guesses[part] = z.argmax(axis=1)
                rows = self.rows[: len(y)]
                probabilities[part] = z[rows, y]
                z[rows, y] -= 1
                z *= np.float32(1 / len(y))
                self.backward(x)
                step()
            loss = -float(np.log(np.maximum(probabilities, TINY)).mean())
            accuracy = float((guesses == labels).mean())
        return Training(loss, accuracy)

    def forward(self, x: Float32) -> Float32:
        """Probabilities, in the last of the buffers that keep every layer's output."""
        for (kernel, bias), buffer in zip(self.layers, self.outputs, strict=True):
            out = buffer[: len(x)]
            np.matmul(x, kernel, out=out)
            out += bias
            if buffer is not self.outputs[-1]:
                np.maximum(out, 0, out=out)
            x = out
        softmax(x)
        return x

    def backward(self, x: Float32) -> None:
        """Fill in the gradients; the last output holds dLoss/dlogits."""
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
        """One step. m is kept divided by 1 - beta_1, v by 1 - beta_2: that saves two passes."""
        beta_1, beta_2 = 0.9, 0.999
        self.iterations += 1
        correction = math.sqrt(1 - beta_2**self.iterations) / (1 - beta_1**self.iterations)
        scale = math.sqrt(1 - beta_2)
        gradient = self.gradient
        self.m *= beta_1
        self.m += gradient
        np.multiply(gradient, gradient, out=gradient)
        self.v *= beta_2
        self.v += gradient
        np.sqrt(self.v, out=gradient)
        gradient += TINY / scale
        np.divide(self.m, gradient, out=gradient)
        gradient *= 0.001 * correction * (1 - beta_1) / scale
        self.weights -= gradient

    def momentum(self) -> None:
        self.m *= 0.9
        self.gradient *= 0.01
        self.m -= self.gradient
        self.weights += self.m

    def predict(self) -> NDArray[Any]:
        return self.probabilities(self.data.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.probabilities(self.data.x_test[:1])

    def probabilities(self, x: Float32) -> Float32:
        *hidden, (kernel, bias) = self.layers
        for matrix, offset in hidden:
            x = x @ matrix
            x += offset
            np.maximum(x, 0, out=x)
        x = x @ kernel
        x += bias
        softmax(x)
        return x


def prepare(task: Task, data: Data, variant: str) -> Network:
    return Network(task, data)
