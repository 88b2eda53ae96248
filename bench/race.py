"""Contenders on one task: in turn, never two at once, each in its own process unless they are forms of one library."""

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

PAUSE_SECONDS = 0.1  # before a time is taken: the threads of the contender before stop spinning
LIMIT_SECONDS = 900.0  # for one reply; compilers take their time
FEWEST_ROUNDS = 2  # of a contender that is so slow that its ratio needs no more digits

ENGINE = "engine"
MISSING = 'not installed: pip install ".[bench]" in a checkout'


@dataclass
class Result:
    """How a contender did.

    Attributes:
        status: "ok", "missing" (not installed), "unsupported", "failed", or "doubtful" (timed, but it didn't learn).
        message: why it isn't "ok".
        rounds: seconds, in the task's measure. The first ones of all contenders were taken in turns.
        facts: what the worker told beside.
        suite: that the task belongs to.
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
        accuracy, bounds = self.facts.get("test_accuracy"), self.task.accuracy_range
        if not math.isfinite(self.facts.get("train_loss", 0.0)):
            self.status = "doubtful"
            self.message = f"training loss {self.facts['train_loss']}"
            self.facts["train_loss"] = None  # JSON has no NaN
        elif accuracy is not None and bounds and not bounds[0] <= accuracy <= bounds[1]:
            self.status = "doubtful"
            self.message = f"test accuracy {accuracy:.4f}, expected {bounds[0]} to {bounds[1]}"

    def record(self) -> dict[str, Any]:
        """As JSON takes it; `from_record` makes it a result again."""
        told = {
            key: getattr(self, key) for key in ("suite", "contender", "status", "message", "rounds", "facts")
        }
        return to_fields(self.task) | told | {"median": self.median}

    @staticmethod
    def from_record(record: dict[str, Any]) -> Result:
        told = {key: record[key] for key in ("suite", "contender", "status", "message", "rounds", "facts")}
        return Result(task=from_fields(record), **told)


class Worker:
    """The process of one contender or of several, and the file that takes what it says beside its replies."""

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
def started(names: Sequence[str], threads: int, folder: Path) -> Iterator[Worker]:
    """A worker for these contenders, ended afterwards."""
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
            with suppress(BrokenPipeError):  # a request that it never read
                if process.stdin:
                    process.stdin.close()


class Entrant:
    """A contender in a race, with the seconds that its rounds have taken."""

    def __init__(self, worker: Worker, result: Result) -> None:
        self.worker = worker
        self.result = result
        self.seconds = 0.0

    def ask(self, request: str) -> None:
        """Note what the worker replies."""
        self.result.take(self.worker.ask(f"{self.result.contender} {request}"))

    def run(self, patience: float) -> None:
        """Take part in a round, unless it can't or has used up the patience."""
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
    """Time every contender, in rounds that go forth and back through them; the results of each task.

    Args:
        tasks: what is timed, one after the other, in the same processes; all with the same number of threads.
        groups: the contenders, by the process that they share.
        rounds: times per contender, after one untimed run.
        patience: seconds of its rounds after which a contender gets no more of them, once it has `FEWEST_ROUNDS`.
        folder: where MNIST has been put.
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
            yield [entrant.result for entrant in entrants]
