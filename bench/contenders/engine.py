"""The engine, used as its documentation says: uint8 rows with a Rescaling layer, float rows without.

The variants "dropout", "l2" and "validation" add a feature to show what it costs. "sklearn" is the estimator of
`engine.sklearn`. Of networks with branches, "own" are those with a loss, layers or branches that a user writes, and "tape"
is an agent whose update uses a `GradientTape`, which "function" compiles by `keras.function`. "cuda" trains on a GPU,
"cuda-steps" there with a kernel for each step of a batch, "cuda-own" without cuBLASLt, "cuda-tf32" and "cuda-bfloat16" with
products in TensorFloat32 and in bfloat16.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import engine
from bench.contenders import Contender, Float32, Learner, Training, UnsupportedError, call_among
from bench.data import Data
from bench.functions import function_of, namespace
from bench.graphs.keras import build_with
from bench.tasks import ArrayFunction, Call, Graph, Product, Program, Task
from engine import layers, ops, optimizers, regularizers

MODULES = ("engine", "numpy")

VARIANTS = ("", "dropout", "l2", "validation", "cuda", "cuda-steps", "cuda-own", "cuda-tf32", "cuda-bfloat16")
SCRIPT = Path(__file__).parents[2] / "examples" / "mnist_script.py"


class Network:
    def __init__(self, task: Task, data: Data, variant: str) -> None:
        self.task = task
        self.data = data
        self.variant = variant
        self.device = "cuda" if variant.startswith("cuda") else "cpu"
        if variant == "cuda-steps":
            os.environ["ENGINE_CUDA_EXECUTION"] = "steps"
        if variant == "cuda-own":
            os.environ["ENGINE_CUDA_PRODUCTS"] = "own"
        if variant == "cuda-tf32":
            engine.config.set_matmul_precision("tensorfloat32")
        if variant == "cuda-bfloat16":
            engine.config.set_dtype_policy("mixed_bfloat16")
        self.fit_options: dict[str, Any] = {"batch_size": task.batch, "verbose": 0}
        if variant == "validation":
            self.fit_options["validation_data"] = (data.x_test, data.y_test)
        self.reset()

    def reset(self) -> None:
        problem = self.task.problem
        penalty = regularizers.L2(1e-4) if self.variant == "l2" else None
        stack: list[layers.Layer] = []
        if self.data.x.dtype == "uint8":
            stack.append(layers.Rescaling(1 / 255))
        for units in problem.hidden:
            stack.append(layers.Dense(units, activation="relu", kernel_regularizer=penalty))
            if self.variant == "dropout":
                stack.append(layers.Dropout(0.2))
        stack.append(layers.Dense(problem.outputs, activation=problem.activation, kernel_regularizer=penalty))
        self.model = engine.Sequential([engine.Input((problem.inputs,)), *stack])
        adam = self.task.optimizer == "adam"
        # Only where it is asked for, so that older versions of the engine can be measured, too.
        place = {} if self.device == "cpu" else {"device": self.device}
        self.model.compile(
            optimizer=optimizers.Adam() if adam else optimizers.SGD(0.01, momentum=0.9),
            loss=problem.loss,
            metrics=["accuracy"] if problem.classifies else None,
            **place,
        )

    def train(self, epochs: int) -> Training:
        history = self.model.fit(self.data.x, self.data.y, epochs=epochs, **self.fit_options).history
        return Training(
            history["loss"][-1], history["accuracy"][-1] if self.task.problem.classifies else None
        )

    def predict(self) -> NDArray[Any]:
        return self.model.predict(self.data.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.model.predict(self.data.x_test[:1])


def prepare(task: Task, data: Data, variant: str) -> Contender:
    if variant == "sklearn":
        from bench.contenders import sklearn
        from engine.sklearn import MLPClassifier

        return sklearn.Network(task, data, MLPClassifier, sklearn.DEFAULT_ALPHA)
    if variant not in VARIANTS:
        msg = f"engine:{variant} is none of {', '.join(filter(None, VARIANTS))}"
        raise UnsupportedError(msg)
    if variant.startswith("cuda"):
        try:
            with engine.device("cuda"):
                pass
        except (AttributeError, ValueError) as error:
            raise UnsupportedError(str(error)) from error
    return Network(task, data, variant)


def build(task: Graph, folder: Path, variant: str) -> Learner:
    return build_with(engine, task, folder, variant)


def small_call(task: Call) -> Callable[[], Any]:
    from bench.calls.engine import CALLS

    return call_among(CALLS, task)


ARRAYS = namespace(
    ops,
    erf=ops.erf,
    scan=ops.scan,
    while_loop=ops.while_loop,
    fori_loop=ops.fori_loop,
    sums_of_groups=ops.segment_sum,
    with_rows=lambda x, rows, y: ops.scatter_update(x, rows[:, None], y),
)


def compile(task: ArrayFunction, arguments: list[NDArray[Any]]) -> Callable[[], Any]:
    compiled = engine.function(function_of(ARRAYS, engine, task.function, task.result))
    return lambda: compiled(*arguments)


def multiply(task: Product, a: Float32, b: Float32, out: Float32) -> Callable[[], object]:
    try:
        matmul = importlib.import_module("engine.ops").matmul
    except (ModuleNotFoundError, AttributeError) as error:
        msg = "this engine has no `ops.matmul`"
        raise UnsupportedError(msg) from error
    return lambda: matmul(a, b, transpose_a=task.transpose_a, transpose_b=task.transpose_b, out=out)


def command(task: Program, folder: Path, variant: str) -> list[str]:
    return [sys.executable, *(["-c", "import numpy, engine"] if task.what == "import" else [str(SCRIPT)])]
