"""Tests that products that skip zeros have the same bits as those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bits_worker import ADAM, RESCALE, Array, Case, build, dense, labels
from numerics import same_bits

from engine import _core

ROWS = 340

pytestmark = pytest.mark.usefixtures("threads_as_before")


def mostly_zeros(inputs: int, dtype: str) -> Array:
    """Returns rows in which a fifth is not zero, with 255 values. One row has only zeros, and one has none."""
    rng = np.random.default_rng(inputs)
    x = rng.integers(1, 256, (ROWS, inputs)) * (rng.random((ROWS, inputs)) < 0.2)
    x[20], x[30] = 0, rng.integers(1, 256, inputs)
    return x.astype(np.uint8) if dtype == "uint8" else (x / -255.0).astype(dtype)


def case_of(x: Array, units: int, batch_size: int) -> Case:
    layers = [dense(units, "relu"), dense(10, "softmax")]
    if x.dtype == np.uint8:
        layers = [RESCALE, *layers]
    y = np.resize(labels(ROWS, 10), len(x))
    return Case(x, y, layers, "sparse_categorical_crossentropy", ADAM, batch_size)


def trained(case: Case) -> tuple[list[Array], float]:
    """Returns weights and mean loss after two epochs of whole batches of the first `ROWS` rows."""
    program = build(case)
    loss = 0.0
    for _ in range(2):
        run = program.begin("train", _core.Dataset(case.x, case.y), case.batch_size)
        steps = ROWS // case.batch_size
        run.advance(0, steps, np.full(steps, 0.01))
        loss = run.totals.loss
    return program.variables, loss


def with_full_rows(x: Array) -> Array:
    """Returns `x` followed by so many rows without zeros that the engine does not skip zeros."""
    return np.concatenate([x, np.full((2 * len(x), x.shape[1]), 3, x.dtype)])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize(
    ("inputs", "units", "batch_size"),
    [
        (30, 64, 32),
        (31, 64, 31),
        (301, 128, 33),
        (256, 40, 63),
        (257, 130, 64),
        (300, 112, 65),
        (784, 128, 1),
        (784, 200, 300),
    ],
)
def test_training_has_the_same_bits(
    inputs: int, units: int, batch_size: int, dtype: str, threads: int
) -> None:
    _core.set_threads(threads)
    x = mostly_zeros(inputs, dtype)
    sparse, sparse_loss = trained(case_of(x, units, batch_size))
    full, full_loss = trained(case_of(with_full_rows(x), units, batch_size))
    assert sparse_loss == full_loss
    assert all(same_bits(a, b) for a, b in zip(sparse, full, strict=True))


def drawn(values: int, dtype: str) -> Array:
    """Rows with so many different values besides 0, large enough to be recorded by several threads: the first half of
    the rows and the second meet them in another order, and some are in one half alone.
    """
    rng = np.random.default_rng(values)
    numbers = rng.normal(size=values)
    where = rng.random((ROWS, 784)) < 0.3
    x = np.zeros((ROWS, 784))
    x[where] = np.resize(numbers, where.sum())
    x[ROWS // 2 :] = np.where(x[ROWS // 2 :] == numbers[0], 0, x[ROWS // 2 :])[:, ::-1]
    x[: ROWS // 2][x[: ROWS // 2] == numbers[-1]] = 0
    return x.astype(dtype)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", [1, 2, 254, 255, 256, 257, 60_000])
def test_few_values_get_codes_and_many_are_kept(values: int, dtype: str, threads: int) -> None:
    _core.set_threads(threads)
    x = drawn(values, dtype)
    case, full = case_of(x, 64, 32), case_of(with_full_rows(x), 64, 32)
    assert all(same_bits(a, b) for a, b in zip(trained(case)[0], trained(full)[0], strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_values_that_a_codebook_looks_for_at_its_last_slot(threads: int) -> None:
    """The searches for these numbers between 2^-8 and 2^8 begin at the last slot, so all but one continue at the first."""
    _core.set_threads(threads)
    last_slot = np.arange(0xFFF80000, 2**32, dtype=np.uint64)  # their products with the multiplier
    words = (last_slot * pow(0x297A2D39, -1, 2**32)).astype(np.uint32)
    numbers = words.view(np.float32)
    numbers = numbers[(np.abs(numbers) > 2.0**-8) & (np.abs(numbers) < 2.0**8)][:200]
    x = np.where(mostly_zeros(300, "uint8") > 0, np.resize(numbers, (ROWS, 300)), np.float32(0))
    case, full = case_of(x, 64, 20), case_of(with_full_rows(x), 64, 20)
    assert all(same_bits(a, b) for a, b in zip(trained(case)[0], trained(full)[0], strict=True))


def test_values_that_appear_late_are_kept() -> None:
    x = drawn(20, "float32")
    x[-1, :300] = np.linspace(1, 2, 300)
    case, full = case_of(x, 64, 20), case_of(with_full_rows(x), 64, 20)
    assert all(same_bits(a, b) for a, b in zip(trained(case)[0], trained(full)[0], strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("change", [{"down": [-0.2, 0.2]}, {"turns": [-0.1, 0.1]}, {"fill": "constant"}])
def test_changed_images_have_the_same_bits(change: dict[str, Any], threads: int) -> None:
    """Zeros of augmented images are found in every batch, except with callbacks for batches."""
    _core.set_threads(threads)
    x = np.zeros((ROWS, 28, 28), np.uint8)
    x[:, 9:19, 9:19] = np.random.default_rng(0).integers(0, 256, (ROWS, 10, 10))
    x[100:150] = 7  # some batches without zeros, and one with both kinds of rows
    warp = {
        "kind": "image_augmentation",
        "height": 28,
        "width": 28,
        "channels": 1,
        "seed": 1,
        "fill": "reflect",
    }
    layers = [warp | change, RESCALE, dense(130, "relu"), dense(10, "softmax")]
    case = Case(x.reshape(ROWS, 784), labels(ROWS, 10), layers, "sparse_categorical_crossentropy", ADAM, 32)
    found = []
    for looks in (False, True):
        program = build(case)
        program.compile({"kind": case.loss}, case.optimizer, [], looks)
        run = program.begin("train", _core.Dataset(case.x, case.y), case.batch_size)
        run.advance(0, run.batches, np.full(run.batches, 0.01), host=lambda _: None)
        found.append((program.variables, run.totals.loss))
    (sparse, sparse_loss), (full, full_loss) = found
    assert sparse_loss == full_loss
    assert all(same_bits(a, b) for a, b in zip(sparse, full, strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_prediction_has_the_same_bits_beside_full_rows(dtype: str) -> None:
    x = mostly_zeros(784, dtype)
    program = build(case_of(x, 128, 32))
    alone = program.predict(x)
    # A batch with some full rows is computed as a dense one.
    mixed = np.repeat(with_full_rows(x)[len(x) :][:1], 2 * len(x), axis=0)
    mixed[1::2] = x
    assert same_bits(alone, program.predict(mixed)[1::2])


@pytest.mark.parametrize("scale", [0.5, -2.0])
def test_the_scale_is_that_of_the_program_at_hand(scale: float) -> None:
    x = mostly_zeros(300, "uint8")
    data: dict[float, Any] = {}
    shared = _core.Dataset(x, labels(ROWS, 10))
    for factor in (0.25, scale):
        layers = [{**RESCALE, "scale": factor}, dense(64, "relu"), dense(10, "softmax")]
        case = case_of(x, 64, 32)._replace(layers=layers)
        for name, dataset in {"shared": shared, "own": _core.Dataset(x, labels(ROWS, 10))}.items():
            program = build(case)
            program.begin("train", dataset, 32).advance(0, 5, np.full(5, 0.01))
            data[factor, name] = program.variables
        assert all(same_bits(a, b) for a, b in zip(data[factor, "shared"], data[factor, "own"], strict=True))
