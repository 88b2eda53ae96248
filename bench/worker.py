"""The process of one contender or more: `python -m bench.worker FOLDER NAME...`, where FOLDER has MNIST.

Each line of stdin is a request: the name of a contender, followed by "start" and a task in JSON, by "measure", or by
"finish". The reply is one line of JSON. A new "start" begins the next task of the contender.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

from bench import contenders
from bench.calls import FAMILIES, matrices
from bench.data import load
from bench.functions import FORMULAS, close_to_float64, slope_error
from bench.tasks import AnyTask, ArrayFunction, Call, Graph, Product, Program, Task, from_json

# Single calls are repeated, and timed in blocks that are long compared with the resolution of the clock.
BLOCK_SECONDS = 0.01
LONG_SECONDS = 0.5  # a call that takes longer is timed once in a round
MEASURED_SECONDS = 0.25
PRODUCT_SECONDS = 0.05  # shorter, because there are many products

FUNCTION_ERROR = 1e-3  # sums of 10 million numbers in float32, and slopes by differences

CHECKED_ROWS = 4  # rows of a product that are compared with float64


class Session(Protocol):
    """A contender at work on one task."""

    def start(self) -> dict[str, Any]:
        """Does everything once, so that compilers and caches are warm."""

    def measure(self) -> dict[str, Any]:
        """Returns the "seconds" of one round."""

    def finish(self) -> dict[str, Any]:
        """Returns facts that show whether the work was done, such as accuracy."""


class TaskSession:
    """Trains or predicts with a network."""

    def __init__(self, name: str, task: Task, folder: Path) -> None:
        self.task = task
        data = load(task, folder)
        self.labels = data.y_test
        begin = time.perf_counter()
        module, variant = contenders.find(name)
        self.contender = module.prepare(task, data, variant)
        self.prepare_seconds = time.perf_counter() - begin

    def start(self) -> dict[str, Any]:
        begin = time.perf_counter()
        if self.task.trains:
            self.training(1)
        else:
            self.training(self.task.epochs)
            self.measure()
        return {
            "prepare_seconds": self.prepare_seconds,
            "warm_up_seconds": time.perf_counter() - begin,
        }

    def measure(self) -> dict[str, Any]:
        if self.task.trains:
            return {"seconds": self.training(self.task.epochs)}
        gc.collect()
        one_row = self.task.measure == "one_row"
        call = self.contender.predict_one if one_row else self.contender.predict
        return {"seconds": repeated(call, MEASURED_SECONDS)}

    def training(self, epochs: int) -> float:
        """Returns the seconds per epoch of a whole training from new initial weights."""
        self.contender.reset()
        gc.collect()
        begin = time.perf_counter()
        self.trained = self.contender.train(epochs)
        seconds = (time.perf_counter() - begin) / epochs
        return self.trained.seconds or seconds

    def finish(self) -> dict[str, Any]:
        return {
            "train_loss": self.trained.loss,
            "train_accuracy": self.trained.accuracy,
            "test_accuracy": self.test_accuracy(),
        }

    def test_accuracy(self) -> float | None:
        try:
            outputs, first = self.contender.predict(), self.contender.predict_one()
        except contenders.UnsupportedError:
            return None
        problem = self.task.problem
        if outputs.shape != (self.task.test_rows, problem.outputs):
            msg = f"`predict` must give {(self.task.test_rows, problem.outputs)} outputs, got {outputs.shape}"
            raise ValueError(msg)
        if problem.activation == "softmax" and not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            msg = "`predict` must give probabilities that add up to 1"
            raise ValueError(msg)
        if not np.allclose(first, outputs[:1], rtol=1e-3, atol=1e-3):
            msg = "`predict_one` and `predict` differ"
            raise ValueError(msg)
        if not problem.classifies:
            return None
        guesses = outputs[:, 0] > 0.5 if problem.outputs == 1 else outputs.argmax(axis=1)
        return float((guesses == self.labels).mean())


class GraphSession:
    """Trains a network with branches or traced Python."""

    def __init__(self, name: str, task: Graph, folder: Path) -> None:
        self.task = task
        begin = time.perf_counter()
        module, variant = contenders.find(name)
        if not isinstance(module, contenders.Builder):
            msg = "it has chains of layers only"
            raise contenders.UnsupportedError(msg)
        self.learner = module.build(task, folder, variant)
        self.prepare_seconds = time.perf_counter() - begin

    def start(self) -> dict[str, Any]:
        begin = time.perf_counter()
        self.training(1)
        return {
            "prepare_seconds": self.prepare_seconds,
            "warm_up_seconds": time.perf_counter() - begin,
            "first_loss": self.loss,
        }

    def measure(self) -> dict[str, Any]:
        return {"seconds": self.training(self.task.epochs)}

    def training(self, epochs: int) -> float:
        """Returns the seconds per epoch of a whole training from new initial weights."""
        self.learner.reset()
        gc.collect()
        begin = time.perf_counter()
        self.loss = self.learner.train(epochs).loss
        return (time.perf_counter() - begin) / epochs

    def finish(self) -> dict[str, Any]:
        return {"train_loss": self.loss}


class ProductSession:
    """Computes a product of matrices."""

    def __init__(self, name: str, task: Product, folder: Path) -> None:
        module, _ = contenders.find(name)
        rng = np.random.default_rng(0)
        a = rng.standard_normal((task.k, task.m) if task.transpose_a else (task.m, task.k), np.float32)
        b = rng.standard_normal((task.n, task.k) if task.transpose_b else (task.k, task.n), np.float32)
        self.first = a.T if task.transpose_a else a
        self.second = b.T if task.transpose_b else b
        self.out = np.empty((task.m, task.n), np.float32)
        if not isinstance(module, contenders.Multiplier):
            msg = "it has no product of matrices"
            raise contenders.UnsupportedError(msg)
        self.call = module.multiply(task, a, b, self.out)

    def start(self) -> dict[str, Any]:
        self.call()
        return {}

    def measure(self) -> dict[str, Any]:
        return {"seconds": repeated(self.call, PRODUCT_SECONDS)}

    def finish(self) -> dict[str, Any]:
        rows = self.first[:CHECKED_ROWS].astype(np.float64)
        expected = rows @ self.second.astype(np.float64)
        error = float(np.abs(self.out[:CHECKED_ROWS] - expected).max())
        # The bound holds for every order of summation: k roundings of sums that are no larger than |a|·|b|.
        bound = float(
            np.finfo(np.float32).eps * len(self.second) * (np.abs(rows) @ np.abs(self.second)).max()
        )
        if not error <= bound:
            msg = f"the product is off by {error:.2e}, more than rounding explains ({bound:.2e})"
            raise ValueError(msg)
        return {"error": error}


class FunctionSession:
    """Calls a compiled function of arrays."""

    def __init__(self, name: str, task: ArrayFunction, folder: Path) -> None:
        module, _ = contenders.find(name)
        if not isinstance(module, contenders.Compiler):
            msg = "it compiles no functions"
            raise contenders.UnsupportedError(msg)
        self.task = task
        self.call = module.compile(task, FORMULAS[task.function].arguments(task.size))

    def start(self) -> dict[str, Any]:
        begin = time.perf_counter()
        self.call()
        return {"warm_up_seconds": time.perf_counter() - begin}

    def measure(self) -> dict[str, Any]:
        return {"seconds": repeated(self.call, PRODUCT_SECONDS)}

    def finish(self) -> dict[str, Any]:
        found, task = self.call(), self.task
        if task.result == "value":
            error = close_to_float64(task.function, task.size, found)
        else:
            gradient = found[1] if task.result == "value and gradient" else found
            error = slope_error(task.function, task.size, gradient)
        if not error <= FUNCTION_ERROR:
            msg = f"the {task.result} is off by {error:.1e}"
            raise ValueError(msg)
        return {"error": error}


class CallSession:
    """Does calls that take microseconds."""

    def __init__(self, name: str, task: Call, folder: Path) -> None:
        module, _ = contenders.find(name)
        if not isinstance(module, contenders.Caller):
            msg = "it has no small calls"
            raise contenders.UnsupportedError(msg)
        self.task, self.call = task, module.small_call(task)

    def start(self) -> dict[str, Any]:
        begin = time.perf_counter()
        self.first = np.asarray(self.call())
        return {"warm_up_seconds": time.perf_counter() - begin}

    def measure(self) -> dict[str, Any]:
        return {"seconds": repeated(self.call, PRODUCT_SECONDS)}

    def finish(self) -> dict[str, Any]:
        found = np.asarray(self.call())
        x, y = (each.astype(np.float64) for each in matrices(self.task.rows))
        computed = {"compiled": np.tanh(x) * y, "eager": np.sum(np.tanh(x) + y)}
        computed |= {name: np.asarray(function(np, x, y)) for name, function in FAMILIES.items()}
        expected = computed.get(self.task.what)
        if expected is not None:
            good = found.shape == expected.shape and np.allclose(found, expected, rtol=1e-4, atol=1e-4)
        elif self.task.what.startswith("predict"):
            good = len(found) == self.task.rows and bool(np.isfinite(found).all())
        else:
            good = found.shape == () and bool(found < self.first)  # the loss
        if not good:
            msg = f"{self.task.what} returned {found!r:.100}"
            raise ValueError(msg)
        return {}


class ProgramSession:
    """Starts a process and waits for its end."""

    def __init__(self, name: str, task: Program, folder: Path) -> None:
        module, variant = contenders.find(name)
        if not isinstance(module, contenders.Launcher):
            msg = "it is not a library"
            raise contenders.UnsupportedError(msg)
        self.command = module.command(task, folder, variant)
        self.output = ""

    def start(self) -> dict[str, Any]:
        return {"warm_up_seconds": self.measure()["seconds"]}

    def measure(self) -> dict[str, Any]:
        begin = time.perf_counter()
        result = subprocess.run(self.command, capture_output=True, text=True, encoding="utf-8", check=False)
        seconds = time.perf_counter() - begin
        if result.returncode:
            msg = f"the process ended with status {result.returncode}: {result.stderr.strip()[-300:]}"
            raise RuntimeError(msg)
        self.output = result.stdout
        return {"seconds": seconds}

    def finish(self) -> dict[str, Any]:
        found = re.search(r"Test accuracy: (\S+)", self.output)
        return {"test_accuracy": float(found[1]) if found else None}


def session(name: str, task: AnyTask, folder: Path) -> Session:
    if isinstance(task, Task):
        return TaskSession(name, task, folder)
    if isinstance(task, Graph):
        return GraphSession(name, task, folder)
    if isinstance(task, ArrayFunction):
        return FunctionSession(name, task, folder)
    if isinstance(task, Call):
        return CallSession(name, task, folder)
    return (
        ProductSession(name, task, folder)
        if isinstance(task, Product)
        else ProgramSession(name, task, folder)
    )


def repeated(call: Callable[[], object], measured: float) -> float:
    """Returns the median seconds per call over blocks of calls that take about `measured` seconds in all."""
    calls, seconds = 1, timed(call, 1)
    if seconds > LONG_SECONDS:
        return seconds
    while seconds < BLOCK_SECONDS:
        calls *= 2
        seconds = timed(call, calls)
    blocks = max(3, round(measured / seconds))
    return median(timed(call, calls) for _ in range(blocks)) / calls


def timed(call: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - begin


def surroundings(name: str) -> dict[str, Any]:
    """Returns the versions of the contender's modules, and the libraries of this process that use threads."""
    modules = contenders.find(name)[0].MODULES
    versions = {name: sys.modules[name].__version__ for name in modules if name in sys.modules}
    return {"versions": versions, "blas": blas() if modules else []}


def blas() -> list[str]:
    """Returns descriptions of these libraries, such as "openblas 0.3.31 SkylakeX, 2 threads"."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return []
    return [
        f"{pool['internal_api']} {pool['version'] or ''} {pool.get('architecture', '')}".rstrip()
        + f", {pool['num_threads']} threads"
        for pool in threadpool_info()
    ]


def answer(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the reply to a request: its facts, or the reason for a failure."""
    try:
        return {"status": "ok"} | request()
    except contenders.UnsupportedError as error:
        return {"status": "unsupported", "message": str(error)}
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bench"):
            raise
        return {"status": "missing", "message": error.name}
    except Exception as error:  # the main process reports it and continues with other contenders
        traceback.print_exc()
        return {"status": "failed", "message": f"{type(error).__name__}: {error}"}


class Desk:
    """Passes requests of one contender to the session that the last "start" has begun."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.session: Session | None = None

    def take(self, words: str) -> dict[str, Any]:
        request, _, argument = words.partition(" ")
        if request == "start":
            return answer(lambda: self.start(from_json(argument)))
        if self.session is None:
            msg = f"{request!r} before a start"
            raise ValueError(msg)
        return answer(self.session.measure if request == "measure" else self.session.finish)

    def start(self, task: AnyTask) -> dict[str, Any]:
        self.session = None  # frees its memory before the next one needs some
        self.session = session(self.name, task, self.folder)
        return self.session.start() | surroundings(self.name)


def main() -> None:
    # Libraries may print to stdout, but only replies may reach the main process.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        folder, *names = sys.argv[1:]
        desks = {name: Desk(name, Path(folder)) for name in names}
        for line in sys.stdin:
            name, _, request = line.strip().partition(" ")
            print(json.dumps(desks[name].take(request)), file=replies, flush=True)


if __name__ == "__main__":
    main()
