"""Times contenders in turns, never two at once. Each has its own process, unless they are variants of one library."""

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
from bench.tasks import AnyTask, from_fields, to_fields, to_json

PAUSE_SECONDS = 0.1  # before each measurement, so that the threads of the last contender stop spinning
LIMIT_SECONDS = 900.0  # for one reply; compilers may take minutes
FEWEST_ROUNDS = 2  # of a contender so slow that its ratio needs no more precision

ENGINE = "engine"
MISSING = 'not installed: pip install ".[bench]" in a checkout'


@dataclass
class Result:
    """The result of a contender in one task.

    Attributes:
        status: "ok", "missing" (not installed), "unsupported", "failed", or "doubtful" (timed, but it did not learn).
        message: the reason if the status is not "ok".
        rounds: seconds of each round, of what the task measures. Rounds of the same number were timed in turns.
        facts: what else the worker has reported, such as accuracy.
        suite: name of the suite that the task belongs to.
    """

    contender: str
    task: AnyTask
    status: str = "ok"
    message: str = ""
    rounds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    suite: str = ""

    @property
    def median(self) -> float | None:
        return median(self.rounds) if self.rounds and self.status in {"ok", "doubtful"} else None

    @property
    def spread(self) -> float:
        """The time of the slowest round minus that of the fastest, divided by the median."""
        middle = self.median
        return (max(self.rounds) - min(self.rounds)) / middle if middle else 0.0

    def take(self, reply: dict[str, Any]) -> None:
        """Stores a worker's reply."""
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
        """Sets the status to "doubtful" if the contender has not learned enough."""
        if self.status != "ok":
            return
        accuracy, bounds = self.facts.get("test_accuracy"), self.task.accuracy_range
        if not math.isfinite(self.facts.get("train_loss", 0.0)):
            self.status = "doubtful"
            self.message = f"training loss {self.facts['train_loss']}"
            self.facts["train_loss"] = None  # JSON has no NaN
        elif accuracy is not None and bounds and not bounds[0] <= accuracy <= bounds[1]:
            self.status = "doubtful"
            self.message = f"test accuracy {accuracy:.4f}, expected {bounds[0]} to {bounds[1]}"

    def agree(self, engine: Result) -> None:
        """Sets the status to "doubtful" if the training loss is far from the engine's."""
        loss, expected = (result.facts.get("train_loss") for result in (self, engine))
        tolerance = self.task.loss_tolerance
        if tolerance is None or self.status != "ok" or engine.status != "ok" or loss is None:
            return
        if not abs(loss - expected) <= tolerance * abs(expected):
            self.status = "doubtful"
            self.message = f"training loss {loss:.4g}, the engine's {expected:.4g}"

    def record(self) -> dict[str, Any]:
        """Returns a dict for JSON, from which `from_record` restores the result."""
        told = {
            key: getattr(self, key) for key in ("suite", "contender", "status", "message", "rounds", "facts")
        }
        return to_fields(self.task) | told | {"median": self.median}

    @staticmethod
    def from_record(record: dict[str, Any]) -> Result:
        told = {key: record[key] for key in ("suite", "contender", "status", "message", "rounds", "facts")}
        return Result(task=from_fields(record), **told)


class Worker:
    """The process of one contender or of several, and the file that its error messages go to."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.process = process
        self.errors = errors

    def ask(self, request: str) -> dict[str, Any]:
        """Returns the reply to a request, or the last line of the error messages if the process has ended."""
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
def started(names: Sequence[str], threads: int, folder: Path) -> Iterator[Worker]:
    """Yields a worker for these contenders, and ends it afterwards."""
    command = [sys.executable, "-m", "bench.worker", str(folder), *names]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command,
            env=environment(threads),
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
            with suppress(BrokenPipeError):  # if the process has not read the last request
                if process.stdin:
                    process.stdin.close()


class Entrant:
    """A contender, its worker, and the total seconds of its rounds."""

    def __init__(self, worker: Worker, result: Result) -> None:
        self.worker = worker
        self.result = result
        self.seconds = 0.0

    def ask(self, request: str) -> None:
        """Sends a request to the worker and stores the reply."""
        self.result.take(self.worker.ask(f"{self.result.contender} {request}"))

    def run(self, patience: float) -> None:
        """Runs one round, unless the contender has failed or its rounds have taken `patience` seconds."""
        if self.result.status != "ok":
            return
        if len(self.result.rounds) >= FEWEST_ROUNDS and self.seconds > patience:
            return
        time.sleep(PAUSE_SECONDS)
        begin = time.monotonic()
        self.ask("measure")
        self.seconds += time.monotonic() - begin


def race(
    tasks: Sequence[AnyTask],
    groups: Sequence[Sequence[str]],
    rounds: int,
    patience: float,
    folder: Path,
) -> Iterator[list[Result]]:
    """Times every contender, and yields the results of each task. Every other round has the reverse order.

    Args:
        tasks: what is timed, one after the other, in the same processes; all with the same number of threads.
        groups: names of the contenders; those of one group share a process.
        rounds: number of measurements of each contender, after one run that is not timed.
        patience: seconds after which a contender gets no more rounds, if it has had `FEWEST_ROUNDS`.
        folder: where `save_mnist` has written MNIST.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(started(names, tasks[0].threads, folder)) for names in groups]
        for task in tasks:
            entrants = [
                Entrant(worker, Result(name, task))
                for worker, names in zip(workers, groups, strict=True)
                for name in names
            ]
            for entrant in entrants:
                entrant.ask(f"start {to_json(task)}")
            for number in range(rounds):
                for entrant in entrants if number % 2 == 0 else reversed(entrants):
                    entrant.run(patience)
            for entrant in entrants:
                if entrant.result.status == "ok":
                    entrant.ask("finish")
                    entrant.result.judge()
            results = [entrant.result for entrant in entrants]
            for engine in (result for result in results if result.contender == ENGINE):
                for result in results:
                    result.agree(engine)
            yield results
