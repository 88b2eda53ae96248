"""How the engine and other programs on the same cores affect each other: `python -m bench.manners` prints a table.

A classifier of MNIST trains at batch size 32: alone, beside a second engine, and beside a process that only keeps a
CPU busy. The table also has the CPU time that is used after `fit` has returned, and the time of a `fit` after a product
of NumPy.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np

import engine
from bench import machine
from bench.table import markdown
from engine import layers
from engine.datasets import mnist

ROUNDS = 5
EPOCHS = 10  # enough for two processes to overlap most of the time
SHORT_STEPS, BATCH = 50, 32
PRODUCT = 700  # rows and columns; large enough for every thread of NumPy's BLAS


class Clock(engine.callbacks.Callback):
    """Measures the seconds of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.begin)


class Trainer:
    """Runs in a process of its own and answers requests."""

    def __init__(self) -> None:
        (x, self.y), _ = mnist.load_data()
        self.x = x.reshape(len(x), 784)
        self.model = engine.Sequential(
            [
                engine.Input((784,)),
                layers.Rescaling(1 / 255),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        self.model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        self.matrix = np.ones((PRODUCT, PRODUCT), np.float32)
        self.train(1)

    def train(self, epochs: int, rows: int | None = None) -> list[float]:
        clock = Clock()
        self.model.fit(
            self.x[:rows], self.y[:rows], batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock]
        )
        return clock.seconds

    def epochs(self) -> dict[str, float]:
        seconds = self.train(EPOCHS)
        return {"mean": sum(seconds) / EPOCHS, "worst": max(seconds)}

    def after(self) -> dict[str, float]:
        """Returns the CPU seconds that the process uses after its work."""
        self.train(1)
        begin = time.process_time()
        time.sleep(0.001)
        first = time.process_time() - begin
        time.sleep(0.3)
        return {"first": first, "then": time.process_time() - begin - first}

    def single(self) -> dict[str, float]:
        """Returns the seconds of a `train_on_batch` after another one, and after a product of NumPy."""

        def step() -> float:
            begin = time.perf_counter()
            self.model.train_on_batch(self.x[:BATCH], self.y[:BATCH])
            return time.perf_counter() - begin

        return self.compare(step, 60)

    def product(self) -> dict[str, float]:
        """Returns the seconds per step of a short `fit` after another one, and after a product of NumPy."""

        def step() -> float:
            return self.train(1, SHORT_STEPS * BATCH)[0] / SHORT_STEPS

        return self.compare(step, 20)

    def compare(self, step: Callable[[], float], times: int) -> dict[str, float]:
        plain = [step() for _ in range(times)]
        after = []
        for _ in range(times):
            self.matrix @ self.matrix
            after.append(step())
        return {
            "plain": median(plain),
            "plain worst": max(plain),
            "after": median(after),
            "after worst": max(after),
        }


def answer_requests() -> None:
    trainer = Trainer()
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(getattr(trainer, line.strip())()), flush=True)


class Process:
    """A `Trainer` in a process of its own."""

    def __init__(self, stack: ExitStack) -> None:
        command = [sys.executable, "-m", "bench.manners", "answer"]
        self.pipe = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.pipe.stdin.close)
        self.answer()

    def ask(self, request: str) -> None:
        self.pipe.stdin.write(request + "\n")
        self.pipe.stdin.flush()

    def answer(self) -> dict[str, Any]:
        return json.loads(self.pipe.stdout.readline())


def beside_a_busy_process(process: Process) -> dict[str, float]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.1)
        process.ask("epochs")
        return process.answer()
    finally:
        busy.kill()
        busy.wait()


def measure() -> dict[str, list[dict[str, float]]]:
    with ExitStack() as stack:
        first, second = Process(stack), Process(stack)

        def ask(request: str) -> Callable[[], dict[str, float]]:
            def alone() -> dict[str, float]:
                first.ask(request)
                return first.answer()

            return alone

        def both() -> dict[str, float]:
            first.ask("epochs")
            second.ask("epochs")
            one, other = first.answer(), second.answer()
            return {name: max(one[name], other[name]) for name in one}

        tasks = {
            "alone": ask("epochs"),
            "two": both,
            "busy": lambda: beside_a_busy_process(first),
            "after": ask("after"),
            "product": ask("product"),
            "single": ask("single"),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in tasks}
        for _ in range(ROUNDS):
            for name, task in tasks.items():
                found[name].append(task())
                time.sleep(0.5)  # so that the measurement before has no effect
    return found


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Returns the medians of the rounds, their ratios to the first row of their kind, and the worst values."""

    def middle(task: str, name: str) -> float:
        return median(one[name] for one in found[task])

    def row(label: str, task: str, name: str, worst: str, to: float | None) -> list[str]:
        ratio = f"{middle(task, name) / to:.2f}" if to else ""
        return [label, *(f"{1e3 * t:.3g} ms" for t in (middle(task, name), most(task, worst))), ratio]

    def most(task: str, name: str) -> float:
        return max(one[name] for one in found[task])

    epoch, step, single = middle("alone", "mean"), middle("product", "plain"), middle("single", "plain")
    return markdown(
        [
            ["", "median", "worst", "ratio"],
            row("epoch, alone", "alone", "mean", "worst", None),
            row("epoch, the slower of two engines", "two", "mean", "worst", epoch),
            row("epoch, beside a busy process", "busy", "mean", "worst", epoch),
            row(f"one of {SHORT_STEPS} steps, after a fit", "product", "plain", "plain worst", None),
            row(f"one of {SHORT_STEPS} steps, after a product", "product", "after", "after worst", step),
            row("train_on_batch, after another", "single", "plain", "plain worst", None),
            row("train_on_batch, after a product", "single", "after", "after worst", single),
            row("CPU time in the millisecond after fit", "after", "first", "first", None),
            row("CPU time in the 300 ms after that", "after", "then", "then", None),
        ]
    )


def main() -> None:
    print("\n".join(table(measure())))
    here = machine.describe(len(machine.allowed_cpus()))
    print(f"\n{here['cpu']}, {here['system']}, {here['cpus']} CPUs")


if __name__ == "__main__":
    answer_requests() if sys.argv[1:] == ["answer"] else main()
