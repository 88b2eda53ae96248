"""Tests of the core with many threads of one process."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bits_worker import CASES, SGD, Case, big_case, build, dense, digest, train
from numerics import run_script, same_bits
from reference_optimizers import read_slots

from engine import _core

pytestmark = pytest.mark.usefixtures("threads_as_before")


def start_training(program: _core.Program, case: Case, stop: threading.Event) -> threading.Thread:
    def work() -> None:
        for stream in range(1_000_000):
            run = program.begin("train", _core.Dataset(case.x, case.y), case.batch_size, "rows", 0, stream)
            run.advance(0, run.batches, np.full(run.batches, 1e-4))
            if stop.is_set():
                return

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_eight_threads_predict_at_once(threads: int) -> None:
    _core.set_threads(threads)
    case = big_case()
    program = build(case)
    want = program.predict(case.x)
    slices = [slice(i, i + n) for i in range(0, 900, 90) for n in (1, 33, 100)]

    def check(worker: int) -> bool:
        ours = slices[worker:] + slices[:worker]
        return all(same_bits(program.predict(case.x[rows]), want[rows]) for rows in ours)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(8)))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_predict_during_training_sees_whole_steps(threads: int) -> None:
    """The network is linear, and all its weights are equal and change by the same amount in each step. So the outputs of
    a prediction are equal if and only if no step happened during it."""
    _core.set_threads(threads)
    units = 512
    program = _core.Program(64, [dense(units, "linear")])
    program.compile({"kind": "mean_squared_error"}, SGD, [])
    case = Case(np.ones((640, 64), np.float32), np.ones((640, units), np.float32), [], "", SGD, 64)
    stop = threading.Event()
    trainer = start_training(program, case, stop)
    seen: set[float] = set()
    x = np.ones((300, 64), np.float32)
    deadline = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < deadline:
        y = program.predict(x)
        assert (y == y[0, 0]).all()
        seen.add(float(y[0, 0]))
    stop.set()
    trainer.join(60)
    assert not trainer.is_alive()
    assert len(seen) >= 3, "training went on between predictions"


def test_reading_does_not_disturb_training() -> None:
    case = big_case(500)
    want = digest(train(case)[0].variables)
    program = build(case)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            program.predict(case.x[:40])
            read_slots(program)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for epoch in range(2):
        run = program.begin(
            "train", _core.Dataset(case.x, case.y, case.weight), case.batch_size, "rows", 3, epoch
        )
        run.advance(0, run.batches, 0.01 / (1 + np.arange(run.batches)))
    stop.set()
    for reader in readers:
        reader.join(60)
    assert digest(program.variables) == want


def test_writing_weights_during_training_falls_between_steps() -> None:
    program = _core.Program(64, [dense(512, "linear", bias=False)])
    program.compile({"kind": "mean_squared_error"}, SGD, [])
    case = Case(np.ones((640, 64), np.float32), np.ones((640, 512), np.float32), [], "", SGD, 64)
    stop = threading.Event()
    trainer = start_training(program, case, stop)
    for i in range(30):
        program.write_variables([np.full((64, 512), i / 100, np.float32)])
    stop.set()
    trainer.join(60)
    kernel = program.variables[0]
    assert (kernel == kernel[0, 0]).all()


def test_a_writer_gets_its_turn_among_readers() -> None:
    _core.set_threads(2)
    case = big_case(500)
    program = build(case)
    values = [v.copy() for v in program.variables]
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            program.predict(case.x[:40])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()

    def write() -> None:
        for _ in range(30):
            program.write_variables(values)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(60)
    assert not writer.is_alive(), "the readers let it through"
    stop.set()
    for reader in readers:
        reader.join(60)


def test_two_programs_train_at_once() -> None:
    names = ["mnist", "uint8_dropout_l2", "float64_three_layers", "four_hidden_layers"]
    want = [digest(train(CASES[name]())[0].variables) for name in names]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda name: digest(train(CASES[name]())[0].variables), names))
    assert got == want


RECOMPILED = """
    import contextlib, threading, time
    import numpy as np
    from bits_worker import ADAM, SGD, dense
    from engine import _core

    _core.set_threads(1)
    program = _core.Program(4, [dense(2, "linear")])
    loss, x, y = {"kind": "mean_squared_error"}, np.ones((3, 4), np.float32), np.ones((3, 2), np.float32)
    metrics = [{"kind": "mean_squared_error", "weighted": False}] * 3
    program.compile(loss, SGD, [])
    stop = threading.Event()

    def predict():
        while not stop.is_set():
            assert not program.predict(x).any()

    def look():
        while not stop.is_set():
            with contextlib.suppress(IndexError):  # SGD without momentum has no slot
                program.state.read("slot", 0)
            run = program.begin("evaluate", _core.Dataset(x, y), 2)
            try:
                run.advance(0, 2)
            except ValueError as error:
                assert "compiled again" in str(error)
            else:
                assert run.totals.loss == 1.0 and all(total == count for total, count in run.totals.metrics)

    threads = [threading.Thread(target=f) for f in (predict, predict, predict, look, look)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        program.compile(loss, SGD, metrics)
        program.compile(loss, ADAM, [])
    stop.set()
    for thread in threads:
        thread.join()
"""


def test_compiling_while_others_predict_and_evaluate() -> None:
    run_script(RECOMPILED)


def tasks() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_threads_do_not_pile_up() -> None:
    _core.set_threads(4)
    case = big_case(200)
    train(case)
    before = tasks()
    for _ in range(20):
        train(case)
        build(case).predict(case.x)
    assert tasks() <= before
    for _ in range(10):
        thread = threading.Thread(target=train, args=[case])
        thread.start()
        thread.join()
    # The team of a finished thread ends soon after it.
    deadline = time.monotonic() + 60
    while tasks() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tasks() <= before
