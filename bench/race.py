"""Contenders on one task: each in its own process, in turn, never two at once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Timer
from typing import IO, Any

from bench.machine import environment
from bench.tasks import Task

PAUSE_SECONDS = 0.1  # before a time is taken: the threads of the contender before stop spinning
LIMIT_SECONDS = 900.0  # for one reply; compilers take their time

ENGINE = "engine"
MISSING = 'not installed: pip install "mlp-engine[bench]"'


@dataclass
class Result:
    """How a contender did.

    Attributes:
        status: "ok", "missing" (not installed), "unsupported", "failed", or "doubtful" (timed, but it didn't learn).
        message: why it isn't "ok".
        rounds: seconds, in the task's measure.
        facts: what the worker told beside.
    """

    contender: str
    task: Task
    status: str = "ok"
    message: str = ""
    rounds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        return median(self.rounds) if self.rounds and self.status in {"ok", "doubtful"} else None

    @property
    def spread(self) -> float:
        """Slowest round less the fastest, as a share of the median."""
        middle = self.median
        return (max(self.rounds) - min(self.rounds)) / middle if middle else 0.0

    def take(self, reply: dict[str, Any]) -> None:
        """Note a worker's reply."""
        self.status = reply.pop("status")
        self.message = reply.pop("message", "")
        if self.status == "missing":
            self.message = (
                "not installed: pip install ." if self.contender == ENGINE else f"{MISSING} ({self.message})"
            )
        if "seconds" in reply:
            self.rounds.append(reply.pop("seconds"))
        self.facts |= reply

    def judge(self) -> None:
        """Doubt a contender that hasn't learned what the task teaches."""
        if self.status != "ok":
            return
        accuracy, bounds = self.facts["test_accuracy"], self.task.accuracy_range
        if not math.isfinite(self.facts["train_loss"]):
            self.status = "doubtful"
            self.message = f"training loss {self.facts['train_loss']}"
            self.facts["train_loss"] = None  # JSON has no NaN
        elif accuracy is not None and bounds and not bounds[0] <= accuracy <= bounds[1]:
            self.status = "doubtful"
            self.message = f"test accuracy {accuracy:.4f}, expected {bounds[0]} to {bounds[1]}"


class Worker:
    """The process of one contender, and the file that takes what it says beside its replies."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.process = process
        self.errors = errors

    def ask(self, request: str) -> dict[str, Any]:
        """The reply to a request; of a process that has died, its last words."""
        timer = Timer(LIMIT_SECONDS, self.process.kill)
        timer.start()
        try:
            print(request, file=self.process.stdin, flush=True)
            line = self.process.stdout.readline() if self.process.stdout else ""
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        status = self.process.wait()
        self.errors.seek(0)
        last = self.errors.read().strip().rpartition("\n")[2]
        return {"status": "failed", "message": f"the process ended with status {status}: {last}"}


@contextmanager
def started(name: str, task: Task, folder: Path) -> Iterator[Worker]:
    """A worker, ended afterwards."""
    command = [sys.executable, "-m", "bench.worker", name, task.to_json(), str(folder)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command,
            env=environment(task.threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        try:
            yield Worker(process, errors)
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # a request that it never read
                if process.stdin:
                    process.stdin.close()


def race(task: Task, names: Sequence[str], rounds: int, folder: Path) -> list[Result]:
    """Time every contender, in rounds that go forth and back through them.

    Args:
        task: what is timed.
        names: the contenders.
        rounds: times per contender, after one untimed run.
        folder: where MNIST has been put.
    """
    results = [Result(name, task) for name in names]
    with ExitStack() as stack:
        entrants: list[tuple[Worker, Result]] = []
        for result in results:
            worker = stack.enter_context(started(result.contender, task, folder))
            entrants.append((worker, result))
            result.take(worker.ask("start"))
        for number in range(rounds):
            for worker, result in entrants if number % 2 == 0 else reversed(entrants):
                if result.status == "ok":
                    time.sleep(PAUSE_SECONDS)
                    result.take(worker.ask("measure"))
        for worker, result in entrants:
            if result.status == "ok":
                result.take(worker.ask("finish"))
                result.judge()
    return results
