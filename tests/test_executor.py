"""Tests of runs of a program: host steps, polling, errors, learning rates, iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from bits_worker import ADAM, MOMENTUM, SGD, dense, digest, dropout
from common import assert_all_close, assert_all_equal, compiled
from numpy.typing import NDArray
from reference import loss_rows, one_hot

from engine import _core

Array = NDArray[Any]
Spec = dict[str, Any]

ROWS, INPUTS, OUTPUTS, BATCH, BATCHES = 75, 13, 5, 8, 10
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
LABELS = rng.integers(0, OUTPUTS, ROWS).astype(np.int32)
REAL = rng.normal(size=(ROWS, OUTPUTS)).astype(np.float32)
WEIGHT = rng.uniform(0.2, 2, ROWS).astype(np.float32)
RATES = np.full(BATCHES, 0.01)


def program_of(last: str, loss: Spec, optimizer: Spec = ADAM) -> _core.Program:
    layers = [dense(33, "relu", l2=0.01), dropout(0.2, 4), dense(17, "tanh"), dense(OUTPUTS, last)]
    program = _core.Program(INPUTS, layers)
    draw = np.random.default_rng(1)
    program.write_variables([(draw.normal(size=v.shape) * 0.2).astype(np.float32) for v in program.variables])
    return compiled(program, loss, optimizer, [{"kind": "mean_squared_error", "weighted": False}])


class HostLoss:
    """A loss of the reference as a host step."""

    def __init__(self, spec: Spec, y: Array, fail_at: int = -1) -> None:
        self.spec, self.y, self.fail_at, self.calls = spec, y, fail_at, 0

    def __call__(self, batch: Mapping[str, Array]) -> None:
        if self.calls == self.fail_at:
            msg = "no more"
            raise RuntimeError(msg)
        self.calls += 1
        y_pred, indices, weight = batch["y_pred"].astype(float), batch["indices"], batch["sample_weight"]
        losses, gradient = loss_rows(self.spec, y_pred, self.y[indices])
        batch["losses"][...] = losses
        batch["gradient"][...] = gradient * (weight / len(weight))[:, None]


def kernels_mean_squared_error(batch: Mapping[str, Array]) -> None:
    """Computes the mean squared error with the same operations as the kernel."""
    error = batch["y_pred"] - REAL[batch["indices"]]
    scale = np.float32(1) / np.float32(len(error)) * batch["sample_weight"]
    batch["gradient"][...] = (error + error) * (np.float32(1 / OUTPUTS) * scale)[:, None]
    batch["losses"][...] = (error * error).mean(axis=1)


@pytest.mark.parametrize("optimizer", [SGD, MOMENTUM, ADAM], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_step_in_python_changes_no_bit(weight: Array | None, optimizer: Spec) -> None:
    data = _core.Dataset(X, REAL, weight)
    found, losses = [], []
    for loss in ({"kind": "mean_squared_error"}, {"kind": "host"}):
        program = program_of("linear", loss, optimizer)
        run = program.begin("train", data, BATCH, "rows", 5, 6)
        run.advance(0, BATCHES, RATES, host=kernels_mean_squared_error)
        assert program.state.iterations == BATCHES
        found.append((digest(program.variables), run.totals.metrics))
        losses.append(run.totals.loss)
    assert found[0] == found[1]
    # NumPy sums losses in another order, so their bits differ. No weight depends on them.
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


ONE_HOT = one_hot(LABELS, OUTPUTS, np.float32)
HOST_LOSSES = [
    ("linear", {"kind": "categorical_crossentropy", "from_logits": True}),
    ("softmax", {"kind": "categorical_crossentropy"}),
]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("last", "spec"), HOST_LOSSES, ids=["logits", "softmax"])
def test_a_loss_in_python_trains_like_the_built_in_one(last: str, spec: Spec, weight: Array | None) -> None:
    data = _core.Dataset(X, ONE_HOT, weight)
    built_in, host = program_of(last, spec, MOMENTUM), program_of(last, {"kind": "host"}, MOMENTUM)
    runs = []
    for program, callback in ((built_in, None), (host, HostLoss(spec, ONE_HOT))):
        run = program.begin("train", data, BATCH, "rows", 5, 6)
        run.advance(0, BATCHES, RATES, host=callback)
        runs.append(run)
    assert runs[1].totals.loss == pytest.approx(runs[0].totals.loss, rel=1e-6)
    np.testing.assert_allclose(runs[1].totals.metrics, runs[0].totals.metrics, rtol=1e-6)
    # Gradients of about 1 differ by about 8 roundings, and momentum multiplies these by at most ten.
    tolerance = BATCHES * RATES[0] * 10 * 8 * 2.0**-24
    assert_all_close(host.variables, built_in.variables, rtol=0, atol=tolerance)


def test_a_loss_in_python_evaluates_too() -> None:
    spec, data = {"kind": "mean_squared_error"}, _core.Dataset(X, REAL, WEIGHT)
    totals = []
    for loss, callback in ((spec, None), ({"kind": "host"}, HostLoss(spec, REAL))):
        run = program_of("linear", loss).begin("evaluate", data, BATCH)
        run.advance(0, BATCHES, host=callback)
        totals.append([run.totals.loss, *np.ravel(run.totals.metrics)])
    assert totals[1] == pytest.approx(totals[0], rel=1e-6)


def test_the_next_run_goes_on_counting_steps() -> None:
    """Adam's bias correction and the masks of dropout depend on the steps since `compile`, and not on those of the run."""
    data, spec = _core.Dataset(X, REAL), {"kind": "mean_squared_error"}
    whole, parts = program_of("linear", spec), program_of("linear", spec)
    whole.begin("train", data, BATCH).advance(0, BATCHES, RATES)
    parts.begin("train", data, BATCH).advance(0, 4, RATES[:4])
    parts.begin("train", data, BATCH).advance(4, BATCHES, RATES[4:])
    assert parts.state.iterations == BATCHES
    assert digest(parts.variables) == digest(whole.variables)


def test_where_a_run_with_python_in_it_is_cut_changes_nothing() -> None:
    found = set()
    for step in (1, 3, BATCHES):
        program = program_of("linear", {"kind": "host"})
        run = program.begin("train", _core.Dataset(X, REAL), BATCH)
        callback = HostLoss({"kind": "mean_squared_error"}, REAL)
        for begin in range(0, BATCHES, step):
            end = min(begin + step, BATCHES)
            run.advance(begin, end, RATES[begin:end], host=callback)
        found.add((digest(program.variables), run.totals.loss))
    assert len(found) == 1


def test_an_error_in_the_loss_leaves_the_last_finished_step() -> None:
    spec, data = {"kind": "mean_squared_error"}, _core.Dataset(X, REAL)
    broken, stopped = program_of("linear", {"kind": "host"}), program_of("linear", {"kind": "host"})
    with pytest.raises(RuntimeError, match="no more"):
        broken.begin("train", data, BATCH).advance(0, BATCHES, RATES, host=HostLoss(spec, REAL, fail_at=3))
    stopped.begin("train", data, BATCH).advance(0, 3, RATES[:3], host=HostLoss(spec, REAL))
    assert broken.state.iterations == stopped.state.iterations == 3
    assert digest(broken.variables) == digest(stopped.variables)
    for program in (broken, stopped):
        program.begin("train", data, BATCH).advance(0, BATCHES, RATES, host=HostLoss(spec, REAL))
    assert digest(broken.variables) == digest(stopped.variables)


def test_a_host_step_needs_its_callback() -> None:
    program = program_of("linear", {"kind": "host"})
    with pytest.raises(ValueError, match="host"):
        program.begin("train", _core.Dataset(X, REAL), BATCH).advance(0, 1, RATES[:1])
    assert program.state.iterations == 0


def test_views_of_a_batch_outlive_the_run() -> None:
    kept: list[Array] = []
    program = program_of("linear", {"kind": "host"})
    run = program.begin("train", _core.Dataset(X, REAL), BATCH)
    run.advance(
        0,
        1,
        RATES[:1],
        host=lambda batch: kept.extend(v for v in batch.values() if isinstance(v, np.ndarray)),
    )
    copies = [a.copy() for a in kept]
    del run, program
    assert_all_equal(kept, copies)


def long_run(loss: Spec | None = None) -> tuple[_core.Program, _core.Run, Array]:
    """Returns a run of 160 GFLOP on one thread, which takes at least half a second."""
    rows = 200_000
    x = np.zeros((rows, 256), np.uint8)
    program = _core.Program(256, [dense(512, "relu"), dense(1, "linear")])
    program.compile(loss or {"kind": "mean_squared_error"}, SGD, [])
    run = program.begin("train", _core.Dataset(x, np.zeros((rows, 1), np.float32)), 1)
    return program, run, np.zeros(rows)


def zero_loss(batch: Mapping[str, Array]) -> None:
    batch["losses"][...] = batch["gradient"][...] = 0


@pytest.mark.parametrize("host", [None, zero_loss], ids=["built_in", "host"])
def test_poll_is_called_at_batch_boundaries(host: Any) -> None:
    program, run, rates = long_run(None if host is None else {"kind": "host"})
    polled: list[tuple[int, int]] = []

    def poll(done: int) -> None:
        polled.append((done, program.state.iterations))
        if len(polled) == 4:
            msg = "enough"
            raise KeyError(msg)

    with pytest.raises(KeyError, match="enough"):
        run.advance(0, run.batches, rates, poll=poll, host=host)
    assert [done for done, _ in polled] == [steps for _, steps in polled]
    assert len({done for done, _ in polled}) == 4
    assert program.state.iterations == polled[-1][0], "the run ended after the last finished batch"
    assert run.totals.samples == polled[-1][0]


def test_an_error_in_poll_leaves_the_program_usable() -> None:
    program, run, rates = long_run()

    def stop(done: int) -> None:
        raise StopIteration(done)

    with pytest.raises(StopIteration) as caught:
        run.advance(0, run.batches, rates, poll=stop)
    done = caught.value.value
    assert 0 < done < run.batches
    run.advance(done, done + 5, rates[:5])
    assert program.state.iterations == done + 5
    assert run.totals.samples == done + 5


def test_each_batch_has_its_own_learning_rate() -> None:
    """For these rows, the gradient by each weight is 1, so that each step changes it by the learning rate."""
    program = compiled(_core.Program(1, [dense(1, "linear", bias=False)]), {"kind": "host"}, SGD, [])
    x = np.ones((6, 1), np.float32)
    rates = np.array([0.5, 0.25, 0.125, 0.0, 2.0, 1.0])
    seen = []

    def unit(batch: Mapping[str, Array]) -> None:
        seen.append(float(batch["y_pred"][0, 0]))
        batch["gradient"][...] = 1
        batch["losses"][...] = 0

    program.begin("train", _core.Dataset(x, x), 1).advance(0, 6, rates, host=unit)
    np.testing.assert_array_equal(seen, -np.cumsum([0, *rates[:-1]]))


@pytest.mark.parametrize("rates", [None, np.zeros(BATCHES - 1), np.zeros(BATCHES + 1)])
def test_training_needs_a_learning_rate_per_batch(rates: Array | None) -> None:
    program = program_of("linear", {"kind": "mean_squared_error"})
    with pytest.raises(ValueError, match=r"learning rate.*10"):
        program.begin("train", _core.Dataset(X, REAL), BATCH).advance(0, BATCHES, rates)
    assert program.state.iterations == 0


@pytest.mark.parametrize(("begin", "end"), [(-1, 1), (2, 1), (0, BATCHES + 1)])
def test_batches_out_of_range(begin: int, end: int) -> None:
    program = program_of("linear", {"kind": "mean_squared_error"})
    run = program.begin("evaluate", _core.Dataset(X, REAL), BATCH)
    with pytest.raises(ValueError, match="batches"):
        run.advance(begin, end)


def test_totals_of_a_part_and_their_reset() -> None:
    program = program_of("linear", {"kind": "mean_squared_error"})
    run = program.begin("evaluate", _core.Dataset(X, REAL), BATCH)
    run.advance(0, 3)
    part = run.totals
    run.advance(3, BATCHES)
    assert (part.samples, run.totals.samples) == (24, ROWS)
    run.reset_totals()
    assert run.totals.samples == 0
    run.advance(0, 3)
    assert run.totals.loss == part.loss


def test_a_run_ends_with_the_training_it_was_made_for() -> None:
    program = program_of("linear", {"kind": "mean_squared_error"})
    run = program.begin("train", _core.Dataset(X, REAL), BATCH)
    program.compile({"kind": "mean_squared_error"}, SGD, [])
    with pytest.raises(ValueError, match="compiled again"):
        run.advance(0, 1, RATES[:1])


def test_denormals_are_flushed_only_within_a_run() -> None:
    program = program_of("linear", {"kind": "mean_squared_error"})
    run = program.begin("train", _core.Dataset(X, REAL), BATCH)
    tiny = np.array([1e-40, 1.5e-38], np.float32)  # a denormal number, and one whose half is denormal
    run.advance(0, BATCHES, RATES)
    program.predict(X)
    assert (tiny * np.float32(0.5) > 0).all()
    halver = _core.Program(1, [{"kind": "rescaling", "scale": 0.5, "offset": 0.0}])
    assert not halver.predict(tiny[:, None].copy()).any()


@pytest.mark.parametrize("batch", [6000, 7990])
def test_short_rows_of_large_batches_may_be_read_where_they_lie(batch: int) -> None:
    """float32 rows are read in place and prefetched, up to the last one. float64 rows are gathered."""
    x = rng.normal(size=(8000, INPUTS)).astype(np.float32)
    y = rng.normal(size=(8000, OUTPUTS)).astype(np.float32)
    found = []
    for rows in (x, x.astype(np.float64)):
        program = program_of("linear", {"kind": "mean_squared_error"})
        run = program.begin("train", _core.Dataset(rows, y), batch, "rows", 5, 6)
        run.advance(0, 2, RATES[:2])
        found.append(digest(program.variables))
    assert found[0] == found[1]
