"""Programs with one network's sizes compiled in, and a clock of their own; see README.md.

The folder in ENGINE_YARDSTICK holds them with their data: MNIST as IDX files in `idx` (or where MNIST_IDX says).
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.contenders import Training, UnsupportedError
from bench.data import Data
from bench.tasks import MNIST, SAMPLES, Task

MODULES = ()

BATCHES = (32, 64, 128, 256, 512, 1024)
MOST_THREADS = 2
MOST_EPOCHS = 12  # so many orders of the rows lie beside the programs


class Program:
    def __init__(self, task: Task, file: Path) -> None:
        self.task = task
        self.file = file

    def reset(self) -> None:
        """Every run of the program starts afresh."""

    def train(self, epochs: int) -> Training:
        command = [str(self.file), str(self.task.batch), str(self.task.threads), str(epochs)]
        folder = self.file.parent
        result = subprocess.run(
            command,
            cwd=folder,
            env={"MNIST_IDX": str(folder / "idx")} | os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"s/epoch med (\S+).*mean loss last epoch (\S+)", result.stdout)
        if found is None:
            msg = f"{self.file.name} printed no time: {result.stdout.strip()!r}"
            raise RuntimeError(msg)
        return Training(loss=float(found[2]), seconds=float(found[1]))

    def predict(self) -> NDArray[Any]:
        msg = "the yardstick does not predict"
        raise UnsupportedError(msg)

    predict_one = predict


def has_avx512() -> bool:
    """Where the system tells no flags, the program may find out."""
    file = Path("/proc/cpuinfo")
    return not file.exists() or "avx512f" in file.read_text(encoding="utf-8").split()


def prepare(task: Task, data: Data, variant: str) -> Program:
    if not has_avx512():
        msg = "the yardstick's programs need AVX-512, which this CPU lacks"
        raise UnsupportedError(msg)
    folder = os.environ.get("ENGINE_YARDSTICK")
    if not folder:
        msg = "set ENGINE_YARDSTICK to the folder of the programs"
        raise UnsupportedError(msg)
    fits = (
        (task.measure, task.problem, task.optimizer, task.rows) == ("epoch", MNIST, "adam", SAMPLES)
        and task.data == "mnist-uint8"
        and task.batch in BATCHES
        and task.threads <= MOST_THREADS
        and task.epochs <= MOST_EPOCHS
    )
    if not fits:
        msg = f"the yardstick trains 784-128-10 with Adam on mnist-uint8, batch {BATCHES}, 1 or 2 threads, <= 12 epochs"
        raise UnsupportedError(msg)
    file = Path(folder).absolute() / (variant or "mlp")
    if not file.exists():
        msg = f"ENGINE_YARDSTICK has no program {file.name}"
        raise UnsupportedError(msg)
    return Program(task, file)
