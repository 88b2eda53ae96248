"""One seed gives the same weights for any number of threads, any instruction set, and any division of a run."""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from typing import Any

import bits_worker
import numpy as np
import pytest
from bits_worker import CASES, SGD, THREADS, build, digest, threads_of, train
from core_for_tests import Kernels
from numerics import run_python, same_bits
from numpy.typing import NDArray
from reference import ACTIVATIONS

import engine as keras
from engine import _core

Array = NDArray[Any]

ISAS = ("baseline", "avx2", "avx512")

pytestmark = pytest.mark.usefixtures("threads_as_before")


@lru_cache
def worker(isa: str) -> subprocess.CompletedProcess[str]:
    return run_python([bits_worker.__file__], ENGINE_ISA=isa)


def outcomes(isa: str) -> dict[str, Any]:
    """Returns the results of all cases from a process that uses the instruction set `isa`."""
    assert worker(isa).returncode == 0, worker(isa).stderr
    found: dict[str, Any] = json.loads(worker(isa).stdout)
    assert found["isa"] == isa
    return found


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    if request.param not in _core.build_info()["runnable"]:
        pytest.skip(f"{request.param} isn't compiled in or this CPU lacks it")
    return str(request.param)


@pytest.mark.parametrize("case", [*CASES, "fit"])
def test_weights_are_the_same_on_any_number_of_threads(case: str, isa: str) -> None:
    one, *others = (outcomes(isa)[case][str(threads)] for threads in threads_of(isa))
    for threads, other in zip(threads_of(isa)[1:], others, strict=True):
        if _core.build_info()["openmp"]:
            assert other["threads"] >= threads, "the schedule used fewer threads: this case proves nothing"
        assert {**other, "threads": one["threads"]} == one, threads


@pytest.mark.parametrize("case", [*CASES, "fit"])
def test_weights_are_the_same_under_every_instruction_set(case: str, isa: str) -> None:
    first = _core.build_info()["runnable"][0]
    # Threads of the previous case may still exist, so the number of threads is not compared here.
    one, other = ({**outcomes(name)[case]["1"], "threads": 1} for name in (first, isa))
    assert other == one


def test_an_unknown_instruction_set_is_an_error() -> None:
    result = run_python(["-c", "import engine._core"], ENGINE_ISA="mmx")
    assert result.returncode != 0
    assert "ENGINE_ISA" in result.stderr
    assert "'mmx'" in result.stderr
    with pytest.raises(ValueError, match=r"mmx.*baseline"):
        Kernels("mmx")


@pytest.mark.parametrize("case", CASES)
def test_where_a_run_is_cut_changes_nothing(case: str) -> None:
    whole, run = train(CASES[case]())
    for cuts in (range(run.batches), (1,), (2, 3)):
        other, other_run = train(CASES[case](), cuts=cuts)
        assert digest(other.variables) == digest(whole.variables)
        assert (other_run.totals.loss, other_run.totals.metrics) == (run.totals.loss, run.totals.metrics)


@pytest.mark.parametrize("case", CASES)
def test_the_seed_decides(case: str) -> None:
    data = CASES[case]()
    first, again, other = (digest(train(data, seed)[0].variables) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_the_seeds_of_order_and_dropout_matter_by_themselves() -> None:
    case = CASES["uint8_dropout_l2"]()
    found = set()
    for order, mask in [(0, 0), (1, 0), (0, 1)]:
        layers = [{**layer, "seed": mask} if layer["kind"] == "dropout" else layer for layer in case.layers]
        program = build(case._replace(layers=layers))
        run = program.begin("train", _core.Dataset(case.x, case.y), case.batch_size, "rows", order, 0)
        run.advance(0, run.batches, np.full(run.batches, 0.01))
        found.add(digest(program.variables))
    assert len(found) == 3


@pytest.mark.parametrize("case", CASES)
def test_a_prediction_does_not_depend_on_its_neighbours(case: str) -> None:
    data = CASES[case]()
    program = build(data)
    whole = program.predict(data.rows())
    for i in {0, 1, len(data.x) // 2, len(data.x) - 1}:
        assert same_bits(program.predict(data.rows(slice(i, i + 1))), whole[i : i + 1])
    for rows in (slice(0, 2), slice(1, 4), slice(len(data.x) // 3, None)):
        assert same_bits(program.predict(data.rows(rows)), whole[rows])


@pytest.mark.parametrize("case", CASES)
def test_sparse_rows_give_the_bits_of_dense_ones(case: str) -> None:
    found = []
    for sparse in (False, True):
        data = CASES[case]()._replace(sparse=sparse)
        program, run = train(data)
        predictions = program.predict(data.rows())
        found.append((digest([*program.variables, predictions]), run.totals.loss, run.totals.metrics))
    assert found[0] == found[1]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_prediction_does_not_depend_on_threads_or_rows(activation: str) -> None:
    x = np.random.default_rng(0).normal(size=(700, 300)).astype(np.float32)
    layers = [bits_worker.dense(150, activation), bits_worker.dense(20, activation)]
    program = build(bits_worker.Case(x, x, layers, "mean_squared_error", SGD, 1))
    _core.set_threads(1)
    want = program.predict(x)
    for threads in THREADS:
        _core.set_threads(threads)
        assert same_bits(program.predict(x), want)
        for i in (0, 311, 699):
            assert same_bits(program.predict(x[i : i + 1]), want[i : i + 1])


def test_a_prediction_with_dropout_does_not_depend_on_threads() -> None:
    x = np.ones((1000, 7), np.float32)
    program = _core.Program(7, [bits_worker.dropout(0.5, 3)])
    found = []
    for threads in THREADS:
        _core.set_threads(threads)
        found.append(program.predict(x, training=True, seed=5))
        assert same_bits(program.predict(x[:300], training=True, seed=5), found[0][:300])
    assert all(same_bits(y, found[0]) for y in found)
    assert not np.array_equal(program.predict(x, training=True, seed=6), found[0])
    assert abs((found[0] == 2).mean() - 0.5) <= 5 * 0.5 / np.sqrt(x.size)
    assert same_bits(program.predict(x), x)


def test_rows_of_every_type_give_the_same_bits() -> None:
    case = CASES["mnist"]()
    digests = {
        digest(train(case._replace(x=np.ascontiguousarray(case.x, dtype)))[0].variables)
        for dtype in ("uint8", "float32", "float64")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("batch_size", [1, 32, 63, 64, 300])
def test_rows_read_where_they_lie_give_the_bits_of_gathered_ones(batch_size: int) -> None:
    case = CASES["mnist"]()
    x = np.random.default_rng(0).standard_normal(case.x.shape, np.float32)
    of_floats, of_doubles = (
        digest(train(case._replace(x=rows, batch_size=batch_size))[0].variables)
        for rows in (x, np.float64(x))
    )
    assert of_floats == of_doubles


def test_an_evaluation_does_not_depend_on_the_batch_size() -> None:
    case = CASES["mnist"]()
    program = build(case)
    found = set()
    for batch_size in (1, 7, 32, 650):
        run = program.begin("evaluate", _core.Dataset(case.x, case.y), batch_size)
        run.advance(0, run.batches)
        found.add((run.totals.loss, *map(tuple, run.totals.metrics)))
    assert len(found) == 1


def test_shuffling_by_batches_moves_rows_within_batches() -> None:
    x = np.arange(50, dtype=np.float32)[:, None].copy()
    program = _core.Program(1, [bits_worker.dense(1, "linear")])
    program.compile({"kind": "host"}, SGD, [])
    seen: list[list[int]] = []

    def record(batch: Any) -> None:
        seen.append(batch["indices"].tolist())
        batch["gradient"][...] = batch["losses"][...] = 0

    run = program.begin("train", _core.Dataset(x, x), 8, "batches", 1, 2)
    run.advance(0, run.batches, np.zeros(run.batches), host=record)
    places = [list(range(begin, min(begin + 8, 50))) for begin in range(0, 50, 8)]
    assert [sorted(rows) for rows in seen] == places
    assert sum(rows != sorted(rows) for rows in seen) > 4


def test_trying_other_numbers_of_threads_changes_nothing() -> None:
    """Batches so short that a run tries, while it trains, whether fewer threads are quicker (cpu/thread_policy.h)."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(64_000, 30)).astype(np.float32), rng.integers(0, 2, 64_000)

    def weights(threads: int | None) -> list[NDArray[Any]]:
        keras.config.set_threads(threads)
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
        model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(64, activation="relu"), *layers])
        model.compile("adam", "binary_crossentropy")
        model.fit(x, y, batch_size=32, epochs=3, verbose=0)
        return model.get_weights()

    try:
        tried, alone = weights(None), weights(1)
    finally:
        keras.config.set_threads(None)
    assert all(same_bits(a, b) for a, b in zip(tried, alone, strict=True))
