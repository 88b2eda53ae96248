"""Tests of Ctrl-C and of forked child processes."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
from bits_worker import big_case, build, digest, train
from common import compiled
from numerics import run_script, same_bits
from numpy.typing import NDArray

import engine as keras
from engine import _core
from engine._base import random_state
from engine._base.computed_once import computed_once
from engine._base.locks import JOINING
from engine.models import functions

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")

pytestmark = pytest.mark.usefixtures("threads_as_before")


INTERRUPTED = """
    import os, signal, sys, threading
    import numpy as np
    import engine as keras

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(256, activation="relu"), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.MeanSquaredError())
    x, y = np.zeros((2000, 300), np.float32), np.ones((2000, 10), np.float32)
    model.fit(x, y, epochs=1, verbose=0)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        model.fit(x, y, batch_size=8, epochs=1_000_000, verbose=0)
    except KeyboardInterrupt:
        pass
    else:
        sys.exit("not interrupted")
    before = model.evaluate(x, y, verbose=0)
    assert np.isfinite(before)
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert len(history["loss"]) == 2
    assert np.isfinite(model.predict(x[:3])).all()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_is_heard_within_a_fit() -> None:
    run_script(INTERRUPTED)


def test_ctrl_c_leaves_the_last_finished_step() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread alone")
    case = big_case()
    program = build(case)
    run = program.begin("train", _core.Dataset(case.x, case.y), 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def train_for_ever() -> None:
        while True:
            run.advance(0, run.batches, np.full(run.batches, 1e-4))

    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        train_for_ever()
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert all(np.isfinite(v).all() for v in program.variables)
    assert program.state.iterations > 0
    run.advance(0, 5, np.full(5, 1e-4))


LEFT_AT_WORK = """
    import threading, time
    import numpy as np
    import engine as keras

    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

        def gradient(self, inputs, upstream):
            return 2 * upstream

    def model(*layers):
        made = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), *layers, keras.layers.Dense(10)])
        made.compile("sgd", "mse")
        return made

    x, y = np.ones((64, 64), np.float32), np.ones((64, 10), np.float32)

    def predict(one):
        while True:
            one.predict(x, verbose=0)

    def train(one):
        one.fit(x, y, epochs=1_000_000, verbose=0)

    def multiply(one):
        while True:
            keras.ops.matmul(x, x)

    for work in (predict, predict, train, multiply):
        for layers in ([], [Twice()]):
            threading.Thread(target=work, args=(model(*layers),), daemon=True).start()
    time.sleep(0.1)
    print("done")
"""


def test_the_interpreter_ends_while_threads_are_at_work() -> None:
    for _ in range(3):  # the result depends on what the threads do at that moment
        assert run_script(LEFT_AT_WORK, OMP_NUM_THREADS="1").strip() == "done"


def in_a_child(work: Callable[[], bool]) -> bool:
    """Runs `work` in a forked child. Returns False if it fails, hangs or crashes."""
    with warnings.catch_warnings():
        # Python warns of a fork of a process with threads. The threads of the engine are tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        faulthandler.register(signal.SIGALRM, chain=True)  # prints the stack if it hangs
        signal.alarm(50)
        try:
            code = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@forks
def test_forked_children_can_train() -> None:
    _core.set_threads(4)
    case = big_case(300)
    want = digest(train(case)[0].variables)

    def same() -> bool:
        return digest(train(case)[0].variables) == want

    for _ in range(5):
        assert in_a_child(same)
        assert same(), "the parent goes on"
    assert in_a_child(lambda: in_a_child(same) and same()), "a child of a child"


@forks
def test_a_model_of_the_parent_goes_on_in_the_child() -> None:
    _core.set_threads(2)
    case = big_case(300)
    program = build(case)
    want = program.predict(case.x)
    assert in_a_child(lambda: same_bits(program.predict(case.x), want))
    assert same_bits(program.predict(case.x), want)


UNITS = 64
FORKS = 25


def equal_outputs(outputs: NDArray[np.float32]) -> bool:
    return bool((outputs == outputs[0, 0]).all())


@forks
@pytest.mark.parametrize("threads", [1, 2])
def test_children_forked_beside_threads_use_the_same_model(threads: int) -> None:
    """All weights are equal and change equally in each step. So outputs differ if a child has half a step."""
    _core.set_threads(threads)
    model = keras.Sequential(
        [
            keras.Input((UNITS,)),
            keras.layers.Dense(UNITS, kernel_initializer="ones"),
            keras.layers.Dense(UNITS, kernel_initializer="ones"),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    x, y = np.ones((256, UNITS), np.float32), np.zeros((256, UNITS), np.float32)
    stop = threading.Event()
    works: list[Callable[[], object]] = [
        lambda: model.predict(x, verbose=0),
        lambda: model.fit(x, y, batch_size=8, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.set_weights([np.full_like(array, array.flat[0]) for array in model.get_weights()]),
        lambda: keras.layers.Dense(3)(x),
        lambda: keras.random.normal((3,)),
    ]

    def repeat(work: Callable[[], object]) -> None:
        while not stop.is_set():
            work()

    def use() -> bool:
        good = equal_outputs(model.predict(x, verbose=0))
        model.evaluate(x, y, verbose=0)
        model.fit(x, y, batch_size=64, verbose=0)
        keras.layers.Dense(3)(x)
        keras.random.normal((3,))
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=64, verbose=0)
        return good

    workers = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for worker in workers:
        worker.start()
    try:
        assert all(in_a_child(use) for _ in range(FORKS))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert use()


@forks
def test_locks_that_another_thread_holds_are_free_in_the_child() -> None:
    model = compiled(keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)]), "sgd", "mse")
    model.predict(np.ones((2, 2, 3)), verbose=0)
    by_shape = model._built_graph.by_shape
    assert by_shape is not None
    locks = (model._lock, JOINING, functions._table, by_shape._lock, random_state._sampling)
    held, stop = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as all_of_them:
            for lock in locks[:3]:
                all_of_them.enter_context(lock.held())
            all_of_them.enter_context(random_state._sampling.held())
            held.set()
            stop.wait()

    def hold_by_shape() -> None:
        with by_shape._lock.held():
            held.wait()
            stop.wait()

    def use() -> bool:
        with keras.GradientTape() as tape:
            loss = keras.ops.sum(keras.Variable([1.0, 2.0]) ** 2.0)
        del tape
        model.predict(np.ones((2, 5, 3)), verbose=0)
        model.fit(np.ones((2, 4, 3)), np.ones((2, 4, 2)), verbose=0)
        keras.layers.Dense(3)(np.ones((2, 3)))
        keras.layers.Dropout(0.5)(np.ones((2, 3)), training=True)
        return float(loss) == 5.0

    threads = [threading.Thread(target=work) for work in (hold, hold_by_shape)]
    for thread in threads:
        thread.start()
    held.wait()
    try:
        assert in_a_child(use)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert use()


@forks
def test_a_callback_may_fork() -> None:
    """The training thread continues in the child, where it still has the lock of the model."""
    model = compiled(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "sgd", "mse")
    x, y = np.ones((32, 3), np.float32), np.ones((32, 2), np.float32)
    ended = []

    def refuses_to_compile() -> bool:
        with pytest.raises(RuntimeError, match="compiled"):
            model.compile("adam", "mse")
        return bool(np.isfinite(model.predict(x, verbose=0)).all())

    fork = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ended.append(in_a_child(refuses_to_compile))
    )
    model.fit(x, y, batch_size=16, verbose=0, callbacks=[fork])
    assert ended == [True, True]


@forks
def test_a_data_set_and_a_run_of_another_thread_are_free_in_the_child() -> None:
    _core.set_threads(1)
    case = big_case(2000)
    program = build(case)
    data = _core.Dataset(case.x, case.y)
    run = program.begin("train", data, 8)
    begun, stop = threading.Event(), threading.Event()

    def train() -> None:
        while not stop.is_set():
            run.advance(0, run.batches, np.full(run.batches, 1e-4), poll=lambda _: begun.set())

    def use() -> bool:
        run.feed(data, 8)
        run.advance(0, 2, np.full(2, 1e-4))
        return same_bits(program.predict(case.x), program.predict(case.x))

    trainer = threading.Thread(target=train)
    trainer.start()
    begun.wait(60)
    try:
        assert all(in_a_child(use) for _ in range(3))
    finally:
        stop.set()
        trainer.join()


class Slow:
    """Its number is 1 where `ready` is set before it is read, else it waits for that."""

    def __init__(self) -> None:
        self.computing, self.ready = threading.Event(), threading.Event()

    @computed_once
    def number(self) -> int:
        self.computing.set()
        self.ready.wait()
        return 1


@forks
def test_children_compute_attributes_that_another_thread_is_computing() -> None:
    slow, other = Slow(), Slow()
    other.ready.set()
    worker = threading.Thread(target=lambda: slow.number)
    worker.start()
    slow.computing.wait()
    try:
        assert in_a_child(lambda: other.number == 1)
    finally:
        slow.ready.set()
        worker.join()
    assert vars(slow)["number"] == 1
