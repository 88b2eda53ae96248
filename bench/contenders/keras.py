"""Keras 3 with a plain `fit`; the variant is its back end: `keras:tensorflow`, `keras:jax`, `keras:torch`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contenders import Learner, Training, UnsupportedError
from bench.data import Data
from bench.graphs.keras import build_with
from bench.tasks import Graph, Program, Task

MODULES = ("keras", "tensorflow", "jax", "torch", "numpy")

BACK_ENDS = ("tensorflow", "jax", "torch")


def choose(back_end: str) -> Any:
    """Imports `keras` with this back end. Keras reads the choice only once, when it is imported."""
    if back_end not in BACK_ENDS:
        msg = f"a back end follows the colon: {', '.join(f'keras:{name}' for name in BACK_ENDS)}"
        raise UnsupportedError(msg)
    os.environ["KERAS_BACKEND"] = back_end
    return importlib.import_module("keras")


class Network:
    def __init__(self, task: Task, data: Data, keras: Any) -> None:
        self.task = task
        self.data = data.as_float32()
        problem = task.problem
        hidden = [keras.layers.Dense(units, activation="relu") for units in problem.hidden]
        last = keras.layers.Dense(problem.outputs, activation=problem.activation)
        self.model = keras.Sequential([keras.Input((problem.inputs,)), *hidden, last])
        adam = task.optimizer == "adam"
        self.model.compile(
            optimizer=keras.optimizers.Adam() if adam else keras.optimizers.SGD(0.01, momentum=0.9),
            loss=problem.loss,
            metrics=["accuracy"] if problem.classifies else None,
        )
        self.model.optimizer.build(self.model.trainable_variables)
        # A new model would be compiled again, so `reset` restores the initial values of this one.
        self.variables = [*self.model.weights, *self.model.optimizer.variables]
        self.start = [keras.ops.convert_to_numpy(variable).copy() for variable in self.variables]

    def reset(self) -> None:
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)

    def train(self, epochs: int) -> Training:
        history = self.model.fit(
            self.data.x, self.data.y, batch_size=self.task.batch, epochs=epochs, verbose=0
        ).history
        return Training(
            history["loss"][-1], history["accuracy"][-1] if self.task.problem.classifies else None
        )

    def predict(self) -> NDArray[Any]:
        # `predict` would split it into batches.
        return np.asarray(self.model.predict_on_batch(self.data.x_test))

    def predict_one(self) -> NDArray[Any]:
        return np.asarray(self.model.predict_on_batch(self.data.x_test[:1]))


def prepare(task: Task, data: Data, variant: str) -> Network:
    return Network(task, data, choose(variant))


def build(task: Graph, folder: Path, variant: str) -> Learner:
    return build_with(choose(variant), task, folder, "")


def command(task: Program, folder: Path, variant: str) -> list[str]:
    choose(variant)  # raises an error if something is missing
    if task.what == "import":
        code = f"import os; os.environ['KERAS_BACKEND'] = {variant!r}; import keras"
        return [sys.executable, "-c", code]
    return [sys.executable, "-m", "bench.textbook", variant, str(folder)]
