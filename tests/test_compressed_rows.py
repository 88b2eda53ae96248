"""Tests of compressed rows in the core: the same bits as with dense rows, and errors for invalid matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bits_worker import (
    ADAM,
    RESCALE,
    SGD,
    Array,
    Case,
    Spec,
    build,
    compressed,
    dense,
    dropout,
    labels,
    train,
)
from numerics import same_bits
from reference_optimizers import read_slots

from engine import _core

ROWS = 340

pytestmark = pytest.mark.usefixtures("threads_as_before")


def rows_of(inputs: int, share: float) -> Array:
    """Returns rows with random elements of either sign. Two rows are empty and one is full."""
    rng = np.random.default_rng(inputs)
    x = rng.normal(size=(ROWS, inputs)) * (rng.random((ROWS, inputs)) < share)
    x[0] = x[20] = 0
    x[30] = rng.normal(size=inputs)
    return x.astype(np.float32)


def assert_same(case: Case) -> None:
    """Checks that training, evaluation and prediction have the same bits on dense and on compressed rows."""
    found = []
    for sparse in (False, True):
        data = case._replace(sparse=sparse)
        program, run = train(data)
        judged = program.begin("evaluate", _core.Dataset(data.rows(), case.y), 50)
        judged.advance(0, judged.batches)
        slots = [slot for slots in read_slots(program) for slot in slots]
        found.append(
            (
                [
                    *program.variables,
                    *slots,
                    program.predict(data.rows()),
                    program.predict(data.rows(slice(0, 3))),
                ],
                [run.totals.loss, judged.totals.loss, judged.totals.metrics],
            )
        )
    (arrays, totals), (others, other_totals) = found
    assert totals == other_totals
    assert all(same_bits(a, b) for a, b in zip(arrays, others, strict=True))


def case_of(x: Array, layers: list[Spec], batch_size: int, optimizer: Spec = ADAM) -> Case:
    layers = [*layers, dense(10, "softmax")]
    return Case(x, labels(len(x), 10), layers, "sparse_categorical_crossentropy", optimizer, batch_size)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("inputs", "share", "units", "batch_size"),
    [
        (1, 0.5, 1, 32),
        (1, 0.5, 17, 7),
        (15, 0.2, 16, 1),
        (16, 0.5, 1, 64),
        (17, 0.3, 16, 256),
        (255, 0.01, 33, 257),
        (257, 0.2, 48, 340),
        (300, 0.9, 16, 32),
        (1000, 0.03, 1, 100),
        (12_000, 0.004, 1, 340),
        (784, 0.2, 128, 300),
        (1025, 0.02, 65, 33),
        (4097, 0.01, 16, 300),
        (12_000, 0.004, 16, 340),
        (12_000, 0.004, 90, 100),
    ],
)
def test_training_has_the_same_bits(
    inputs: int, share: float, units: int, batch_size: int, threads: int
) -> None:
    _core.set_threads(threads)
    assert_same(case_of(rows_of(inputs, share), [dense(units, "relu")], batch_size))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("units", [1, 10, 40])
@pytest.mark.parametrize(
    "optimizer",
    [SGD, {**ADAM, "global_clipnorm": 0.5}, {**ADAM, "accumulate": 2}, {**ADAM, "averages": True}],
)
def test_every_way_of_stepping_has_the_same_bits(optimizer: Spec, units: int, threads: int) -> None:
    _core.set_threads(threads)
    assert_same(case_of(rows_of(500, 0.03), [dense(units, "tanh", l2=1e-3)], 300, optimizer))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "first",
    [
        [RESCALE],
        [{**RESCALE, "scale": -0.3}],
        [{**RESCALE, "offset": 0.7}],
        [dropout(0.4, 3)],
        [{"kind": "activation", "activation": "exponential"}],
        [],
    ],
    ids=["scale", "negative scale", "offset", "dropout", "activation", "nothing"],
)
def test_what_comes_first_makes_no_difference(first: list[Spec], threads: int) -> None:
    _core.set_threads(threads)
    x = rows_of(600, 0.05)
    assert_same(case_of(x, [*first, dense(64, "relu")], 64))
    assert_same(case_of(x, first, 64))  # a model with a single layer, whose sums are the logits


def test_explicit_zeros_change_nothing() -> None:
    x = rows_of(300, 0.05)
    begins = np.arange(len(x) + 1) * x.shape[1]
    full = _core.CompressedMatrix(begins, np.tile(np.arange(300), len(x)), x.reshape(-1), 300)
    program, _ = train(case_of(x, [dense(16, "relu")], 32))
    assert same_bits(program.predict(full), program.predict(x))
    other = build(case_of(x, [dense(16, "relu")], 32))
    for epoch in range(2):
        run = other.begin("train", _core.Dataset(full, labels(len(x), 10)), 32, "rows", 3, epoch)
        run.advance(0, run.batches, 0.01 / (1 + np.arange(run.batches)))
    assert all(same_bits(a, b) for a, b in zip(other.variables, program.variables, strict=True))


@pytest.mark.parametrize("units", [16, 40])
def test_rows_may_all_be_empty(units: int) -> None:
    assert_same(case_of(np.zeros((50, 300), np.float32), [dense(units, "relu")], 32))


def test_a_run_may_be_fed_with_either() -> None:
    x = rows_of(300, 0.05)
    case = case_of(x, [dense(40, "relu")], 32)
    found = []
    for kinds in ((False, False), (True, False), (False, True)):
        program = build(case)
        first, second = (_core.Dataset(case._replace(sparse=sparse).rows(), case.y) for sparse in kinds)
        run = program.begin("train", first, 32)
        run.advance(0, 5, np.full(5, 0.01))
        run.feed(second, 32)
        run.advance(5, 9, np.full(4, 0.01))
        found.append(program.variables)
    assert all(same_bits(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_parts_are_the_rows_that_they_name() -> None:
    x = rows_of(300, 0.05)
    program = build(case_of(x, [dense(16, "relu")], 32))
    rows = compressed(x)
    assert len(rows) == ROWS
    part = rows[10:-40][5:40]
    assert len(part) == 35
    assert same_bits(program.predict(part), program.predict(x[15:50]))
    for none in (
        slice(5, 5),
        slice(7, 3),
        slice(ROWS, ROWS + 1),
        slice(None, None, 2),
        slice(None, None, -1),
    ):
        with pytest.raises(ValueError, match="at least one row, without a step"):
            rows[none]


def test_changing_the_places_later_does_no_harm() -> None:
    begins, columns = np.array([0, 2, 3]), np.array([0, 4, 2])
    rows = _core.CompressedMatrix(begins, columns, np.ones(3, np.float32), 5)
    program = _core.Program(5, [dense(1, "linear")])
    program.write_variables([np.arange(5, dtype=np.float32)[:, np.newaxis], np.zeros((1,), np.float32)])
    begins[:], columns[:] = 10**9, 10**9
    assert program.predict(rows).tolist() == [[4.0], [2.0]]


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("begins", "columns", "message"),
    [
        ([0, 2, 1, 3], [0, 1, 2], "`indptr` must not descend, but row 1 goes from 2 to 1"),
        ([0, 1, 2, 4], [0, 1, 2], r"`indptr` must lie in \[0, 3\], but entry 3 is 4"),
        ([0, -1, 2, 3], [0, 1, 2], r"`indptr` must lie in \[0, 3\], but entry 1 is -1"),
        ([1, 1, 2, 3], [0, 1, 2], "`indptr` must begin with 0, got 1"),
        ([0], [], "`indptr` must have at least two entries, got 1"),
        ([], [], "`indptr` must have at least two entries, got 0"),
        ([0, 1, 2, 3], [0, 1, 5], r"`indices` must lie in \[0, 4\], but entry 2 is 5"),
        ([0, 1, 2, 3], [0, -1, 4], r"`indices` must lie in \[0, 4\], but entry 1 is -1"),
    ],
)
def test_what_is_no_matrix_is_an_error(
    begins: list[int], columns: list[int], message: str, kind: Any
) -> None:
    places = np.array(begins, kind), np.array(columns, kind)
    with pytest.raises(ValueError, match=message):
        _core.CompressedMatrix(*places, np.ones(len(columns), np.float32), 5)


@pytest.mark.parametrize(("columns", "in_order"), [([3, 4, 1], True), ([3, 1, 4], False), ([3, 3, 4], False)])
def test_columns_must_ascend_where_rows_are_read(columns: list[int], in_order: bool) -> None:
    rows = _core.CompressedMatrix(np.array([0, 2, 3]), np.array(columns), np.ones(3, np.float32), 5)
    assert rows.in_order == in_order
    assert rows[1:].in_order == in_order
    program = build(case_of(np.ones((2, 5), np.float32), [dense(3, "relu")], 1))
    if in_order:
        program.predict(rows)
        return
    for read in (program.predict, lambda rows: _core.Dataset(rows, labels(2, 10))):
        with pytest.raises(ValueError, match="`indices` must ascend within each row"):
            read(rows)


def test_other_arrays_are_errors() -> None:
    begins, columns, values = np.array([0, 1, 2]), np.array([0, 1]), np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"`indices` must lie in \[0, 4\], but entry 1 is 4294967297"):
        _core.CompressedMatrix(begins, np.array([0, 2**32 + 1]), values, 5)
    with pytest.raises(ValueError, match="`data` must have one entry for each of the 2 `indices`, got 3"):
        _core.CompressedMatrix(begins, columns, np.ones(3, np.float32), 5)
    with pytest.raises(ValueError, match="`indptr` must be int32 or int64, got float64"):
        _core.CompressedMatrix(begins.astype(float), columns, values, 5)
    with pytest.raises(ValueError, match="`indices` must have one axis, got 2"):
        _core.CompressedMatrix(begins, columns[np.newaxis], values, 5)
    with pytest.raises(ValueError, match="must be C-contiguous"):
        _core.CompressedMatrix(begins, np.array([0, 9, 1, 9])[::2], values, 5)
    for width in (0, 2**31):
        with pytest.raises(ValueError, match=f"1 to 2\\*\\*31 - 1 columns, got {width}"):
            _core.CompressedMatrix(begins, columns, values, width)
    rows = _core.CompressedMatrix(begins, columns, values, 5)
    program = build(case_of(np.ones((3, 4), np.float32), [dense(3, "relu")], 1))
    with pytest.raises(ValueError, match="rows of `x` have 5 values, expected 4"):
        program.predict(rows)
    with pytest.raises(ValueError, match="rows of `x` have 5 values, expected 4"):
        program.begin("train", _core.Dataset(rows, labels(2, 10)), 1)
    with pytest.raises(ValueError, match="`x` must be an array or a CompressedMatrix"):
        program.predict([[1.0]])  # type: ignore[arg-type]
