"""Lets each allocation of a task fail in turn, each in a forked child, and prints what went wrong.

Arguments: number of threads, first allocation, step to the next one, number of allocations that fail in a row, and
names of tasks (default: all).
"""

from __future__ import annotations

import faulthandler
import functools
import math
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from faults import Faults

import engine as keras

FAILED, TIMEOUT = 3, 60
FIRST_USE = "first_use"
ROWS, BATCH = 64, 32
FEATURES, UNITS, CLASSES = 96, 512, 3  # enough for two threads

rng = np.random.default_rng(1)
x = rng.standard_normal((ROWS, FEATURES), np.float32)
y = rng.integers(0, CLASSES, ROWS)
folder = Path(tempfile.mkdtemp())


def build() -> keras.Sequential:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def compile_it(model: keras.Sequential) -> None:
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])


def fit(model: keras.Sequential, **options: Any) -> None:
    keras.utils.set_random_seed(2)
    model.fit(x, y, batch_size=BATCH, verbose=0, **options)


def digest(model: keras.Sequential) -> bytes:
    return b"".join(np.asarray(array).tobytes() for array in model.get_weights())


def ready() -> keras.Sequential:
    """Returns a trained model with optimizer state."""
    model = build()
    compile_it(model)
    fit(model)
    return model


class Subject:
    """The trained model that tasks use, with its weights, its outputs, and files with other weights."""

    def __init__(self) -> None:
        self.model = ready()
        self.before = digest(self.model)
        self.outputs = self.model.predict(x, verbose=0)
        self.others = [np.full(array.shape, 0.5, np.float32) for array in self.model.get_weights()]
        changed = ready()
        changed.set_weights(self.others)
        changed.save_weights(folder / "others.weights.h5")
        changed.save(folder / "others.npz")

    def load_model(self) -> None:
        loaded = keras.models.load_model(folder / "others.npz")
        assert np.isfinite(loaded.predict(x, verbose=0)).all()

    def assign_state(self) -> None:
        variable = max(self.model.optimizer.variables, key=lambda variable: math.prod(variable.shape))
        variable.assign(np.ones(variable.shape, np.float32))

    def states_after(self, change: Callable[[keras.Sequential], object]) -> set[bytes]:
        """Returns the weights before and after `change`; a failed task must leave one of them."""
        twin = ready()
        change(twin)
        return {self.before, digest(twin)}

    def states_of_fit(self) -> set[bytes]:
        """Returns the weights before `fit` and after each of its steps."""
        seen = {self.before}
        twin = ready()
        record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.add(digest(twin)))
        fit(twin, callbacks=[record])
        return seen


@functools.cache
def the_subject() -> Subject:
    return Subject()


class Task(NamedTuple):
    """What is done while allocations fail, and the weights that the model may have afterwards."""

    run: Callable[[Subject], object]
    allowed: Callable[[Subject], set[bytes]] = lambda subject: {subject.before}
    undoes: bool = False  # the task restores the weights after an error, for which it needs memory


def changes(change: Callable[[keras.Sequential, Subject], object], *, undoes: bool = False) -> Task:
    """Returns a task that either changes all weights or none."""
    return Task(
        lambda subject: change(subject.model, subject),
        lambda subject: subject.states_after(lambda twin: change(twin, subject)),
        undoes,
    )


TASKS = {
    "build": Task(lambda subject: build().predict(x, verbose=0)),
    "compile": Task(lambda subject: compile_it(subject.model)),
    "fit": Task(lambda subject: fit(subject.model), Subject.states_of_fit),
    "train_on_batch": changes(lambda model, subject: model.train_on_batch(x, y)),
    "predict": Task(lambda subject: subject.model.predict(x, verbose=0)),
    "evaluate": Task(lambda subject: subject.model.evaluate(x, y, verbose=0)),
    "save_weights": Task(lambda subject: subject.model.save_weights(folder / "saved.weights.h5")),
    "save": Task(lambda subject: subject.model.save(folder / "saved.npz")),
    "load_weights": changes(
        lambda model, subject: model.load_weights(folder / "others.weights.h5"), undoes=True
    ),
    "load_model": Task(Subject.load_model),
    "get_weights": Task(lambda subject: subject.model.get_weights()),
    "set_weights": changes(lambda model, subject: model.set_weights(subject.others)),
    "assign": changes(lambda model, subject: model.layers[0].kernel.assign(subject.others[0])),
    "assign_state": Task(Subject.assign_state),
    "clone": Task(lambda subject: keras.models.clone_model(subject.model).predict(x, verbose=0)),
    "matmul": Task(lambda subject: keras.ops.matmul(x, x.T)),
}


def first_use() -> bytes:
    """Trains, saves and loads in a process that has not used the engine before."""
    model = ready()
    model.evaluate(x, y, verbose=0)
    model.save(folder / "first.npz")
    loaded = keras.models.load_model(folder / "first.npz")
    loaded.layers[-1].bias.assign(np.ones(CLASSES, np.float32))
    return digest(loaded) + loaded.predict(x, verbose=0).tobytes()


class Failing(NamedTuple):
    """Says which allocations fail: `count` of them, beginning with number `first`."""

    faults: Faults
    first: int
    count: int

    def during(self, work: Callable[[], object]) -> None:
        """Calls `work` while the allocations fail. It may raise MemoryError."""
        self.faults.arm(self.first, self.count)
        try:
            work()
        except MemoryError:
            pass
        finally:
            self.faults.disarm()


def attempt(task: Task, subject: Subject, allowed: set[bytes], failing: Failing) -> None:
    """Runs a task in a child, and checks that it raises MemoryError or succeeds and leaves the model usable."""
    failing.during(lambda: task.run(subject))
    model = subject.model
    state = digest(model)
    assert state in allowed or (task.undoes and failing.count > 1), "half-changed weights"
    predicted = model.predict(x, verbose=0)
    assert state != subject.before or predicted.tobytes() == subject.outputs.tobytes(), "other outputs"
    compile_it(model)
    fit(model)
    assert np.isfinite(model.predict(x, verbose=0)).all()


def attempt_first_use(want: bytes, failing: Failing) -> None:
    """Calls `first_use` in a child while allocations fail, and checks that the next call gives the right result."""
    failing.during(first_use)
    assert first_use() == want, "other results"


def in_a_child(work: Callable[[], None]) -> str:
    """Calls `work` in a forked child. Returns what went wrong, or an empty string."""
    with warnings.catch_warnings():
        # Python warns of a fork of a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT)
        try:
            work()
        except BaseException:  # whatever it is, the child must end here
            traceback.print_exc()
            os._exit(FAILED)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.WEXITSTATUS(status)
    return "" if code == 0 else f"exit code {code}"


def sweep(faults: Faults, name: str, first: int, step: int, count: int) -> None:
    """Lets the allocations of a task fail one after the other."""
    counted, result = folder / "count", folder / "result"

    def measure(work: Callable[[], object]) -> None:
        faults.arm(-1)
        came = work()
        counted.write_text(str(faults.disarm()), encoding="ascii")
        result.write_bytes(came if isinstance(came, bytes) else b"")

    if name == FIRST_USE:
        assert not in_a_child(lambda: measure(first_use))

        def run(failing: Failing) -> None:
            attempt_first_use(result.read_bytes(), failing)
    else:
        task, subject = TASKS[name], the_subject()
        allowed = task.allowed(subject)
        assert not in_a_child(lambda: measure(lambda: task.run(subject)))

        def run(failing: Failing) -> None:
            attempt(task, subject, allowed, failing)

    allocations = int(counted.read_text(encoding="ascii"))
    for number in range(first, allocations, step):
        trouble = in_a_child(lambda number=number: run(Failing(faults, number, count)))
        if trouble:
            sys.stdout.write(f"{name}: allocation {number} of {allocations}: {trouble}\n")
    sys.stdout.write(f"{name}: {allocations} allocations\n")


def main(arguments: list[str]) -> None:
    faulthandler.enable()
    threads, first, step, count = map(int, arguments[:4])
    keras.config.set_threads(threads)
    faults = Faults()
    for name in arguments[4:] or [FIRST_USE, *TASKS]:
        sweep(faults, name, first, step, count)


main(sys.argv[1:])
