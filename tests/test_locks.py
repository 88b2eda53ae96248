"""Locks: interrupts, the order in which they are acquired, and code of users, which runs under none but those of objects."""

from __future__ import annotations

import contextvars
import copy
import dis
import itertools
import pickle
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from common import compiled
from python_threads import at_once

import engine as keras
from engine import layers, ops
from engine._base.locks import JOINING, Lock, Order
from engine._base.tensor_like import open_recorder
from engine._gradients import tape as tape_module
from engine._tracing.lazy import recorder
from engine._tracing.symbolic import current, outside_of_traces
from engine.models import lock as lock_module
from engine.models import model as model_module

X, Y = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
# Only a thread that waits for ever takes longer than this, in seconds.
AGES = 60


def small_model() -> keras.Sequential:
    return compiled(keras.Sequential([keras.Input((3,)), layers.Dense(2)]), "sgd", "mse")


def in_a_thread(work: Callable[[], object]) -> list[Any]:
    """Calls `work` in a thread, and returns a list with the result or the error; an empty one if it goes on for ever."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(AGES)
    return found


# Interrupts.


# CPython handles signals at these bytecodes. Those of entering and leaving a `with` block are none of them, up to 3.13.
LISTENING = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


def interrupted(
    number: int, work: Callable[[], object], files: set[str], after: tuple[str, ...] = ("",)
) -> KeyboardInterrupt | None:
    """Raises KeyboardInterrupt after bytecode `number` of those that `work` runs in `files`; returns it with its traceback.

    None if `work` ends before. Bytecodes whose names begin with none of `after` don't count.
    """
    numbers, last = itertools.count(), dict[FrameType, str]()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before = last.get(frame, "RESUME")
            last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith(after) and next(numbers) == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(before)
    return None


def interrupts(work: Callable[[], object], *modules: Any, after: tuple[str, ...] = ("",)) -> int:
    """Interrupts `work` after each of its bytecodes here and in `modules`, and returns the number of them.

    The error is alive meanwhile, and with it the frames of its traceback: an interactive session keeps them.
    """
    files = {__file__, *(module.__file__ for module in modules)}
    for number in itertools.count():
        error = interrupted(number, work, files, after)
        check_nothing_is_left()
        if error is None:
            return number
    raise AssertionError


def check_nothing_is_left() -> None:
    assert open_recorder.get() is None
    assert current.get() is None
    assert not JOINING.is_held
    assert not any(each.is_held for each in _watched)


_watched: list[Lock] = []


@pytest.fixture
def watched() -> Any:
    _watched.clear()
    yield _watched
    _watched.clear()


def test_an_interrupt_leaves_no_lock_behind(watched: list[Lock]) -> None:
    lock = Lock("a test", Order.OBJECT)
    watched.append(lock)

    def hold() -> None:
        with lock.held():
            with lock.held():
                pass
            with JOINING.held():
                pass

    assert interrupts(hold) > 10
    assert in_a_thread(hold) == [None]


def test_an_interrupt_leaves_no_model_lent_or_held(watched: list[Lock]) -> None:
    lock = lock_module.ModelLock()
    watched.append(lock._lock)

    def lend() -> None:
        with lock.held(), lock.lent(), lock.borrowed():
            pass

    assert interrupts(lend, lock_module) > 10
    assert in_a_thread(lend) == [None]


@pytest.mark.parametrize("name", ["train_on_batch", "test_on_batch", "set_weights", "reset_metrics"])
def test_an_interrupt_of_a_method_leaves_the_model_free(name: str, watched: list[Lock]) -> None:
    model = small_model()
    model.train_on_batch(X, Y)
    watched.append(model._lock._lock)
    arguments = {"set_weights": [model.get_weights()], "reset_metrics": []}.get(name, [X, Y])

    def call() -> None:
        getattr(model, name)(*arguments)

    assert interrupts(call, model_module, lock_module) > 10
    assert not isinstance(in_a_thread(lambda: model.train_on_batch(X, Y))[0], BaseException)


def test_an_interrupt_leaves_no_tape_open() -> None:
    x = ops.convert_to_tensor([1.0, 2.0])

    def record() -> None:
        with keras.GradientTape() as tape:
            tape.watch(x)
            with keras.GradientTape() as inner:
                inner.watch(x)

    assert interrupts(record, tape_module, after=LISTENING) > 30
    assert type(ops.add(x, 1.0)) is type(ops.add(x.numpy(), 1.0)), "nothing is recorded"


def test_an_interrupt_of_a_tape_within_another_leaves_the_outer_one_open() -> None:
    for number in itertools.count():
        with keras.GradientTape() as outer:

            def record() -> None:
                with keras.GradientTape() as tape:
                    tape.watch(ops.ones(1))

            error = interrupted(number, record, {__file__, tape_module.__file__}, LISTENING)
            open_ones = recorder()
            assert open_ones is not None
            assert open_ones.open_tapes() == [outer]
        if error is None:
            break
    check_nothing_is_left()


def test_an_interrupt_leaves_what_is_recorded_as_it_was() -> None:
    def leave() -> None:
        with outside_of_traces():
            pass

    assert interrupts(leave) > 3


# The order.


def test_locks_are_acquired_in_one_order() -> None:
    inner, other = Lock("an inner lock", Order.VALUES), Lock("another one", Order.VALUES)
    with JOINING.held(), inner.held(), inner.held(), JOINING.held():  # what it has it may acquire again
        with pytest.raises(RuntimeError, match="must not be acquired while that of an inner lock is held"):
            other.held()
        with pytest.raises(RuntimeError, match="a model must not be acquired"):
            small_model_lock.held()
    with inner.held(), pytest.raises(RuntimeError, match="see the order of locks"):
        JOINING.held()
    assert not inner.is_held
    assert not JOINING.is_held


small_model_lock = lock_module.ModelLock()


def test_threads_that_would_wait_for_each_other_get_an_error() -> None:
    locks = [Lock(f"object {number}", Order.OBJECT) for number in range(3)]
    start = threading.Barrier(3)
    found: list[Any] = []

    def acquire(number: int) -> None:
        try:
            with locks[number].held():
                start.wait()
                with locks[(number + 1) % 3].held():
                    found.append(number)
        except RuntimeError as error:
            found.append(error)

    threads = [threading.Thread(target=acquire, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AGES)
    assert len(found) == 3
    errors = [each for each in found if isinstance(each, RuntimeError)]
    assert len(errors) == 1
    assert "threads would wait for each other for ever" in str(errors[0])


def test_threads_get_a_lock_in_the_order_in_which_they_ask() -> None:
    lock, order, threads = Lock("a queue", Order.OBJECT), list[int](), list[threading.Thread]()

    def take(number: int) -> None:
        asked[number].set()
        with lock.held():
            order.append(number)

    asked = [threading.Event() for _ in range(5)]
    with lock.held():
        for number in range(5):
            thread = threading.Thread(target=take, args=(number,))
            thread.start()
            asked[number].wait()
            while lock.waiting <= number:
                time.sleep(0.001)
            threads.append(thread)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_copy_of_a_lock_is_free() -> None:
    lock = Lock("an original", Order.JOINING)
    with lock.held():
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            assert not other.is_held
            with pytest.raises(RuntimeError, match="an original"):
                other.held()  # of the same rank


# Code of users.


def probe(*_: object) -> None:
    """Fails if this thread holds a lock that is not that of an object: it couldn't wait for another thread."""
    with Lock("a thread of the user's", Order.OBJECT).held():
        pass


class Probing(layers.Layer):
    """A layer whose methods probe."""

    def build(self, input_shape: Any) -> None:
        probe()

        def initializer(shape: Any, dtype: Any = None) -> Any:
            probe()
            return np.ones(shape, np.float32)

        self.kernel = self.add_weight((input_shape[-1], 2), initializer)
        start = keras.Variable([1.0, 2.0])
        with keras.GradientTape() as tape:
            loss = ops.sum(start * start)
        assert np.array(tape.gradient(loss, start)).tolist() == [2.0, 4.0]

    def call(self, inputs: Any) -> Any:
        probe()
        return ops.matmul(inputs, self.kernel)


class ProbingByNumPy(layers.Layer):
    """A layer that can't be recorded."""

    def build(self, input_shape: Any) -> None:
        probe()

    def call(self, inputs: Any) -> Any:
        probe()
        return np.array(inputs) * 2.0

    def gradient(self, inputs: Any, output_gradient: Any) -> Any:
        probe()
        return output_gradient * 2.0

    def compute_output_shape(self, input_shape: Any) -> Any:
        probe()
        return input_shape


class ProbingRegularizer(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        probe()
        return ops.sum(ops.square(x))


class ProbingInitializer(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        probe()
        return np.ones(shape, np.float32)


def probing_activation(x: Any) -> Any:
    probe()
    return ops.tanh(x)


def probing_loss(y_true: Any, y_pred: Any) -> Any:
    probe()
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def probing_metric(y_true: Any, y_pred: Any) -> Any:
    probe()
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class ProbingCallback(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        probe()


class ProbingModel(keras.Model):
    """A model with a `call` and a `train_step` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Probing()

    def call(self, inputs: Any) -> Any:
        probe()
        return self.inner(inputs)

    def train_step(self, data: Any) -> Any:
        probe()
        x, y = data
        with keras.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


def probing_layers() -> list[layers.Layer]:
    return [
        layers.Dense(
            3,
            activation=probing_activation,
            kernel_initializer=ProbingInitializer(),
            kernel_regularizer=ProbingRegularizer(),
            activity_regularizer=ProbingRegularizer(),
        ),
        Probing(),
        ProbingByNumPy(),
    ]


def test_code_of_users_runs_under_no_inner_lock() -> None:
    model = keras.Sequential([keras.Input((3,)), *probing_layers()])
    model.compile("sgd", probing_loss, metrics=[probing_metric])
    model.fit(X, Y, verbose=0, callbacks=[ProbingCallback()])
    model.evaluate(X, Y, verbose=0)
    lengths = compiled(keras.Sequential([keras.Input((None, 3)), *probing_layers()]), "sgd", "mse")
    for length in (2, 3):
        x, y = np.ones((4, length, 3), np.float32), np.ones((4, length, 2), np.float32)
        lengths.fit(x, y, verbose=0)
        lengths.predict(x, verbose=0)
    for layer in probing_layers():
        layer(X)
    own = compiled(ProbingModel(), "sgd", probing_loss)
    own(X)
    own.fit(X, Y, verbose=0)
    own.predict(X, verbose=0)
    model.add(Probing())


def test_code_of_users_runs_under_no_inner_lock_in_a_loop_of_ones_own() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, kernel_initializer=ProbingInitializer()), Probing()]
    )
    optimizer = keras.optimizers.Adam()
    for _ in range(2):
        with keras.GradientTape() as tape:
            loss = probing_loss(Y, model(X, training=True))
        gradients = tape.gradient(ops.sum(loss), model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


class WaitsForAThread(layers.Layer):
    """A layer whose `build` and `call` wait for a thread that takes a step of its own and builds layers."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], 2))
        assert in_a_thread(first_step) == [True]

    def call(self, inputs: Any) -> Any:
        assert in_a_thread(first_step) == [True]
        return ops.matmul(inputs, self.kernel)


units = itertools.count(1)


def first_step() -> bool:
    """A step of a new structure, so that a function is compiled, with layers and a model that are built in it."""
    layer, scale = layers.Dense(next(units)), keras.Variable(2.0)
    with keras.GradientTape() as tape:
        loss = ops.mean(layer(X) * scale)
    gradient = tape.gradient(loss, scale)
    return bool(np.isfinite(gradient)) and small_model().predict(X, verbose=0).shape == (8, 2)


def test_code_of_users_may_wait_for_a_thread() -> None:
    waits = WaitsForAThread()
    with keras.GradientTape() as tape:
        loss = ops.mean(waits(X))
    tape.gradient(loss, waits.kernel)
    model = compiled(keras.Sequential([keras.Input((3,)), WaitsForAThread()]), "sgd", "mse")
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


class AsksForAGradient(layers.Layer):
    def build(self, input_shape: Any) -> None:
        start = keras.Variable(np.full(next(units) % 50 + 1, 0.5))
        with keras.GradientTape() as tape:
            loss = ops.sum(start * start)
        self.scale = self.add_weight((), keras.initializers.Constant(float(tape.gradient(loss, start)[0])))

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


def test_building_layers_and_first_steps_of_other_threads_do_not_wait_for_each_other() -> None:
    def build_one() -> None:
        assert float(AsksForAGradient()(X)[0, 0]) == 1.0

    at_once(build_one, first_step, build_one, first_step)


# Traces.


def test_weights_change_while_other_threads_open_tapes() -> None:
    model, weight = small_model(), keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.SGD(0.0)

    kept = []  # of the thread that changes weights, which goes through its traces while the others let them go

    def open_tapes() -> None:
        mine = keras.Variable(1.0)
        for _ in range(200):
            with keras.GradientTape() as tape:
                loss = mine * 2.0
            del tape, loss
            if kept:
                kept.pop()

    def change() -> None:
        for _ in range(300):
            with keras.GradientTape() as tape:
                kept.append((tape, keras.Variable(1.0) * 2.0))
        for _ in range(20):
            weight.assign([3.0, 4.0])
            optimizer.apply_gradients([(np.ones(2, np.float32), weight)])
            model.train_on_batch(X, Y)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once(change, open_tapes, open_tapes)
    finally:
        sys.setswitchinterval(before)


def test_a_tape_records_in_its_own_thread_alone() -> None:
    x = ops.convert_to_tensor([1.0, 2.0])
    with keras.GradientTape() as tape:
        tape.watch(x)
        assert in_a_thread(lambda: type(x * 2.0) is np.ndarray) == [True]
        y = ops.sum(x * 2.0)
    assert np.array(tape.gradient(y, x)).tolist() == [2.0, 2.0]


def calls_of(work: Callable[[], object]) -> int:
    """Returns how many functions of Python `work` calls."""
    work()
    count = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_tapes_of_other_threads_cost_nothing() -> None:
    model, layer, weight = small_model(), layers.Dense(2), keras.Variable([1.0, 2.0])

    def work() -> None:
        layer(X)
        model(X)
        weight.assign([3.0, 4.0])

    def both() -> tuple[int, int]:
        alone = calls_of(work)
        other = in_a_thread(open_tapes)
        found = alone, calls_of(work)
        del other
        return found

    def open_tapes() -> list[Any]:
        kept = list[Any]()
        for _ in range(20):
            with keras.GradientTape() as tape:
                kept.append((tape, ops.sum(layer(X)), weight * 2.0))
        return kept

    ((alone, beside),) = in_a_thread(both)
    assert alone == beside


def test_a_thread_in_the_context_of_another_keeps_what_its_tape_has_read() -> None:
    """As `asyncio.to_thread` runs a function."""
    weight = keras.Variable([1.0, 2.0])
    with keras.GradientTape() as tape:
        loss = ops.sum(weight * weight)
        context = contextvars.copy_context()
        assert in_a_thread(lambda: context.run(weight.assign, [5.0, 6.0])) == [weight]
        after = ops.sum(weight)
    assert (float(loss), float(after)) == (5.0, 11.0)
    assert np.array(tape.gradient(loss, weight)).tolist() == [2.0, 4.0]
