"""The process of one contender: `python -m bench.worker NAME TASK FOLDER`, TASK in JSON, FOLDER holding MNIST.

Each line of stdin is a request, "start", "measure" or "finish"; each is answered by one line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import contenders
from bench.data import load
from bench.tasks import OUTPUTS, TESTS, Task

# A call that is timed by itself is repeated in blocks too long for the clock to matter.
BLOCK_SECONDS = 0.01
MEASURED_SECONDS = 0.25


class Session:
    def __init__(self, name: str, task: Task, folder: Path) -> None:
        self.name = name
        self.task = task
        self.folder = folder

    def start(self) -> dict[str, Any]:
        """Import and prepare the contender and run everything once: compilers and caches are warm after it."""
        data = load(self.task.data, self.folder)
        self.labels = data.y_test
        begin = time.perf_counter()
        module, variant = contenders.find(self.name)
        self.contender = module.prepare(self.task, data, variant)
        prepared = time.perf_counter()
        if self.task.measure != "epoch":
            self.training()
        self.measure()
        return {
            "prepare_seconds": prepared - begin,
            "warm_up_seconds": time.perf_counter() - prepared,
            "versions": {name: sys.modules[name].__version__ for name in module.MODULES},
            "blas": blas() if module.MODULES else [],
        }

    def measure(self) -> dict[str, Any]:
        if self.task.measure == "epoch":
            return {"seconds": self.training()}
        gc.collect()
        one_row = self.task.measure == "one_row"
        return {"seconds": repeated(self.contender.predict_one if one_row else self.contender.predict)}

    def training(self) -> float:
        """Seconds per epoch of a whole training from fresh weights."""
        self.contender.reset()
        gc.collect()
        begin = time.perf_counter()
        self.trained = self.contender.train(self.task.epochs)
        seconds = (time.perf_counter() - begin) / self.task.epochs
        return self.trained.seconds or seconds

    def finish(self) -> dict[str, Any]:
        """What shows whether the work was done."""
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
        if outputs.shape != (TESTS, OUTPUTS) or not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            msg = f"`predict` must give {TESTS} rows of {OUTPUTS} probabilities, got shape {outputs.shape}"
            raise ValueError(msg)
        if not np.allclose(first, outputs[:1], atol=1e-3):
            msg = "`predict_one` and `predict` differ"
            raise ValueError(msg)
        return float((outputs.argmax(axis=1) == self.labels).mean())


def repeated(call: Callable[[], object]) -> float:
    """Median seconds per call."""
    calls, seconds = 1, timed(call, 1)
    while seconds < BLOCK_SECONDS:
        calls *= 2
        seconds = timed(call, calls)
    blocks = max(3, round(MEASURED_SECONDS / seconds))
    return median(timed(call, calls) for _ in range(blocks)) / calls


def timed(call: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - begin


def blas() -> list[str]:
    """Libraries with threads in this process, such as "openblas 0.3.31 SkylakeX, 2 threads"."""
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
    """The reply to a request: its facts, or why there are none."""
    try:
        return {"status": "ok"} | request()
    except contenders.UnsupportedError as error:
        return {"status": "unsupported", "message": str(error)}
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bench"):
            raise
        return {"status": "missing", "message": error.name}
    except Exception as error:  # the driver reports it, and goes on with the others
        traceback.print_exc()
        return {"status": "failed", "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    # Libraries may print; only replies may reach the driver.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        name, task, folder = sys.argv[1:]
        session = Session(name, Task.from_json(task), Path(folder))
        requests = {"start": session.start, "measure": session.measure, "finish": session.finish}
        for line in sys.stdin:
            print(json.dumps(answer(requests[line.strip()])), file=replies, flush=True)


if __name__ == "__main__":
    main()
