"""Programs that are compiled for the sizes of one network and measure their own time; README.md describes them.

ENGINE_YARDSTICK names the folder of the programs. It contains MNIST as IDX files in `idx`, unless MNIST_IDX names
another folder.
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
MOST_EPOCHS = 12  # the programs come with the row orders of this many epochs


class Program:
    def __init__(self, task: Task, file: Path) -> None:
        self.task = task
        self.file = file

    def reset(self) -> None:
        """Does nothing, since every run of the program starts with new weights."""

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
    """Returns whether the CPU has AVX-512; True if the system does not say."""
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
