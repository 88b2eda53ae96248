"""Tests of the engine beside other programs: a second engine, busy programs, and settings for fewer threads.

`bench/manners.py` measures times. Here, bits, numbers of threads and their states are tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from numerics import import_environment, run_script

CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
pytestmark = [
    pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs, and a system that tells which"),
    pytest.mark.skipif(
        os.environ.get("OMP_NUM_THREADS") == "1", reason="OMP_NUM_THREADS asks for one thread"
    ),
]

# A model with enough work for two threads, and one without.
SETUP = """
    import os, sys, time
    import numpy as np
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
    import engine as keras

    def network(inputs, units):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((inputs,)), keras.layers.Dense(units, activation="relu"), keras.layers.Dense(10)]
        )
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3200, 784)).astype(np.float32), rng.integers(0, 10, 3200)
    model = network(784, 128)

    def train(epochs, rows=3200):
        model.fit(x[:rows], y[:rows], batch_size=32, epochs=epochs, verbose=0)

    def tasks():
        return len(os.listdir("/proc/self/task"))
"""

WORKER = (
    SETUP
    + """
    import hashlib

    train(1)
    print("ready", flush=True)
    for line in sys.stdin:
        model = network(784, 128)
        train(int(line))
        bits = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
        print(bits, flush=True)
"""
)


def script(text: str) -> str:
    return textwrap.dedent(SETUP) + textwrap.dedent(text)


class Engine:
    """A process that trains on request."""

    EPOCHS = 80  # a third of a second

    def __init__(self, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=import_environment(),
                text=True,
            )
        )
        stack.callback(self.process.stdin.close)
        assert self.process.stdout.readline() == "ready\n"

    def start(self) -> None:
        self.process.stdin.write(f"{self.EPOCHS}\n")
        self.process.stdin.flush()

    def finish(self) -> str:
        """Waits for the end, and returns the digest of the weights."""
        return self.process.stdout.readline()


@pytest.fixture
def engines() -> Iterator[tuple[Engine, Engine]]:
    with ExitStack() as stack:
        yield Engine(stack), Engine(stack)


def alone(engine: Engine) -> str:
    engine.start()
    return engine.finish()


def test_two_engines_share_two_cpus(engines: tuple[Engine, Engine]) -> None:
    want = alone(engines[0])
    for engine in engines:
        engine.start()
    assert [engine.finish() for engine in engines] == [want, want]


def test_an_engine_beside_a_busy_program(engines: tuple[Engine, Engine]) -> None:
    """The number of threads changes during the training, and the weights do not depend on it."""
    spin = f"import os; os.sched_setaffinity(0, {set(CPUS[:2])}); print(flush=True)\nwhile True: pass"
    want = alone(engines[0])
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as busy:
        try:
            busy.stdout.readline()
            assert alone(engines[0]) == want
        finally:
            busy.kill()


def test_nothing_runs_on_after_fit() -> None:
    """All threads but the observing one go to sleep."""
    run_script(
        script("""
            train(3)
            assert tasks() > 1

            def state(task):
                with open(f"/proc/self/task/{task}/stat", encoding="ascii") as file:
                    return file.read().rpartition(")")[2].split()[0]

            def awake():
                return [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid() and state(task) == "R"]

            while awake():  # for ever, if they don't
                time.sleep(0.01)
        """)
    )


THREADS = """
    before = tasks()
    train(2)
    print(keras.config.get_threads(), tasks() - before + 1)
"""


def threads(text: str, environment: dict[str, str] | None = None) -> list[int]:
    """Returns the number of threads that the engine reports, and the number that it has used."""
    return [int(word) for word in run_script(script(text), **(environment or {})).split()]


def test_as_many_threads_as_cpus() -> None:
    assert threads(THREADS) == [2, 2]


def test_omp_num_threads_is_obeyed() -> None:
    assert threads(THREADS, {"OMP_NUM_THREADS": "1"}) == [1, 1]
    assert threads(THREADS, {"OMP_NUM_THREADS": "2"}) == [2, 2]


def test_omp_thread_limit_is_obeyed() -> None:
    assert threads(THREADS, {"OMP_THREAD_LIMIT": "1"}) == [1, 1]


def test_threads_end_with_the_thread_that_they_help() -> None:
    run_script(
        script("""
            import threading
            before = tasks()
            thread = threading.Thread(target=train, args=(2,))
            thread.start()
            thread.join()
            while tasks() > before:  # for ever, if they don't
                time.sleep(0.01)
            train(2)
            assert tasks() == before + 1
        """)
    )


def test_affinity_is_obeyed() -> None:
    confine = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert threads(confine + textwrap.dedent(THREADS)) == [1, 1]
    both = [int(word) for word in run_script(confine.join(["import os\n", script(THREADS)])).split()]
    assert both == [1, 1], "before the import"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_set_threads_is_obeyed(n: int) -> None:
    assert threads(f"keras.config.set_threads({n})\n" + textwrap.dedent(THREADS)) == [n, n]


def test_small_models_run_on_one_thread() -> None:
    assert threads("""
        model, x = network(8, 16), x[:, :8].copy()
        before = tasks()
        train(2)
        model.predict(x[:32], verbose=0)
        print(1, tasks() - before + 1)
    """) == [1, 1]
