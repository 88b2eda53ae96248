"""Tests of `predict`: `out`, inputs that are not finite, bits, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights
from numpy.typing import NDArray

import engine as keras
from engine import _core
from engine.models.predictions import outputs_at_once

Array = NDArray[Any]

pytestmark = pytest.mark.usefixtures("threads_as_before")


def wide(*extra: keras.layers.Layer, inputs: int = 300) -> keras.Sequential:
    """Returns a model with enough work for several threads, which skips zeros."""
    stack = [keras.layers.Dense(96, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    return keras.Sequential([keras.Input((inputs,)), *extra, *stack])


def mixed_rows(count: int, inputs: int = 300) -> NDArray[np.float32]:
    """Returns groups of rows with many zeros and of rows without, which do not end where batches do."""
    rng = np.random.default_rng(count)
    x = rng.standard_normal((count, inputs), np.float32)
    sparse = (np.arange(count) // 37) % 2 == 0
    return np.where(sparse[:, np.newaxis] & (rng.random(x.shape) < 0.8), 0, x).astype(np.float32)


LAYOUTS: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "plain": lambda shape: np.full(shape, 7, np.float32),
    "fortran": lambda shape: np.full(shape, 7, np.float32, order="F"),
    "columns of a table": lambda shape: np.full((shape[0], 2 * shape[1]), 7, np.float32)[:, 1::2],
    "reversed": lambda shape: np.full(shape, 7, np.float32)[::-1],
    "misaligned": lambda shape: (
        np.zeros(4 * shape[0] * shape[1] + 1, np.uint8)[1:].view(np.float32).reshape(shape)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 1000}, {"callbacks": []}, {"verbose": 2}, {"steps": 1}]
)
def test_out_takes_the_result(layout: str, options: dict[str, Any], blobs: Blobs) -> None:
    model = classifier()
    expected = model.predict(blobs.x, **options)
    out = LAYOUTS[layout](expected.shape)
    assert model.predict(blobs.x, **options, out=out) is out
    assert np.array_equal(out, expected)


def test_out_has_the_shape_of_the_result() -> None:
    model = keras.Sequential([keras.layers.Rescaling(2.0)])
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    out = np.empty((2, 3, 4), np.float32)
    assert model.predict(x, out=out) is out
    assert np.array_equal(out, 2 * x)


def test_out_may_be_the_rows_that_are_read() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    x = np.random.default_rng(0).standard_normal((500, 4), np.float32)
    expected = model.predict(x)
    for shift in (0, 1):
        store = np.zeros((501, 4), np.float32)
        store[:500] = x
        out = store[shift : shift + 500]
        assert model.predict(store[:500], out=out) is out
        assert np.array_equal(out, expected)


OUT_MISTAKES: list[tuple[object, type[Exception], str]] = [
    (
        [[0.0] * 3] * 150,
        TypeError,
        r"`out` must be a float32 array, got list: make one with np.empty\(\(150, 3\)",
    ),
    (np.zeros((150, 3)), TypeError, "`out` must be a float32 array, got dtype float64"),
    (np.zeros((150, 3), ">f4"), TypeError, "got dtype >f4"),
    (np.zeros((150, 4), np.float32), ValueError, r"shape of the result, \(150, 3\), got \(150, 4\)"),
    (np.zeros((149, 3), np.float32), ValueError, r"\(150, 3\), got \(149, 3\)"),
    (np.zeros(450, np.float32), ValueError, r"\(150, 3\), got \(450,\)"),
    (np.broadcast_to(np.float32(0), (150, 3)), ValueError, "`out` is read-only: pass an array that can be"),
]


@pytest.mark.parametrize(("out", "kind", "message"), OUT_MISTAKES, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("built", [True, False])
def test_out_mistakes(out: Any, kind: type[Exception], message: str, built: bool, blobs: Blobs) -> None:
    model = classifier() if built else keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(kind, match=message):
        model.predict(blobs.x, out=out)
    assert model.built == built
    assert not np.any(out)


@pytest.mark.parametrize(
    "mistake", [{"batch_size": 0}, {"steps": 0}, {"verbose": 7}, {"callbacks": [3]}], ids=str
)
def test_other_mistakes_leave_out_alone(mistake: dict[str, Any], blobs: Blobs) -> None:
    out = np.full((150, 3), 7, np.float32)
    with pytest.raises((ValueError, TypeError)):
        classifier().predict(blobs.x, **mistake, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_the_first_bad_number_is_named(dtype: str, threads: int) -> None:
    _core.set_threads(threads)
    model, clean = wide(), mixed_rows(1000).astype(dtype)
    for row in (0, 127, 128, 511, 999):
        for bad in (np.nan, np.inf, -np.inf):
            x = clean.copy()
            x[row, 299] = bad
            x[-1, 0] = np.nan
            named = "nan" if row == 999 else str(bad)
            for options in ({}, {"batch_size": 1000}, {"callbacks": []}):
                with pytest.raises(ValueError, match=f"`x` must be finite .* but row {row} holds {named}"):
                    model.predict(x, **options)
            with pytest.raises(ValueError, match=f"but row {row} holds {named}"):
                model(x[: row + 1] if row < 999 else x)
    assert np.isfinite(model.predict(clean)).all()


def test_numbers_beyond_float32_are_named() -> None:
    x = np.zeros((300, 300))
    x[200, 3] = 1e39
    with pytest.raises(ValueError, match=r"but row 200 holds 1e\+39"):
        wide().predict(x)


def test_rows_that_nobody_asks_for_may_hold_anything(blobs: Blobs) -> None:
    model, x = classifier(), blobs.x.copy()
    x[64:] = np.nan
    assert np.array_equal(model.predict(x, steps=2, batch_size=32), model.predict(blobs.x[:64]))


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_row_has_its_bits_in_any_company(dtype: str, scaled: bool) -> None:
    model = wide(*([keras.layers.Rescaling(0.5)] if scaled else []))
    x = mixed_rows(700).astype(dtype) if dtype != "u1" else (mixed_rows(700) > 0.5).astype(dtype)
    _core.set_threads(1)
    expected = model.predict(x).tobytes()
    for threads in (1, 2, 3, 5):
        _core.set_threads(threads)
        assert model.predict(x).tobytes() == expected
        for size in (1, 7, 64, 128, 129, 300):
            parts = [model.predict(x[i : i + size]) for i in range(0, 700, size)]
            assert np.concatenate(parts).tobytes() == expected, (threads, size)


def test_eight_threads_with_models_and_rows_of_their_own() -> None:
    widths = (3, 20, 300, 300, 784)
    models = [wide(inputs=width) for width in widths]
    rows = [mixed_rows(400 + i, width) for i, width in enumerate(widths)]
    expected = [model.predict(x) for model, x in zip(models, rows, strict=True)]

    def check(worker: int) -> bool:
        out = np.empty((400, 10), np.float32)
        good = True
        for turn in range(40):
            i = (worker + turn) % len(models)
            begin = (worker * 31 + turn * 17) % 300
            count = (1, 2, 33, 100)[turn % 4]
            part = slice(begin, begin + count)
            got = models[i].predict(rows[i][part], out=out[:count])
            good = good and got.tobytes() == expected[i][part].tobytes()
        return good

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(8)))


def test_eight_threads_while_the_model_is_fitted(blobs: Blobs) -> None:
    """Each prediction uses the weights of one step, and does not influence the training."""
    alone, model = classifier(), classifier()
    model.set_weights(alone.get_weights())
    stop = threading.Event()

    def ask(worker: int) -> bool:
        good = True
        while not stop.is_set():
            y = model.predict(np.repeat(blobs.x[worker : worker + 1], 50, axis=0))
            good = good and (y == y[0]).all()
        return good

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, worker) for worker in range(8)]
        try:
            model.fit(blobs.x, blobs.y, epochs=5, shuffle=False, verbose=0)
        finally:
            stop.set()
        assert all(answer.result() for answer in answers)
    alone.fit(blobs.x, blobs.y, epochs=5, shuffle=False, verbose=0)
    assert same_weights(model, alone)


def test_rows_that_are_read_only_and_arrays_for_results_are_read_at_once(tmp_path: Path) -> None:
    """Predictions of a few rows in such arrays take the short way, with the same bits."""
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(2)])
    x = np.random.default_rng(3).standard_normal((5, 4, 3)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    np.save(tmp_path / "x.npy", x)
    frozen = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    assert not frozen.flags.writeable
    for rows in (frozen, np.load(tmp_path / "x.npy", mmap_mode="r"), x):
        out = np.empty((5, 4, 2), np.float32)
        assert outputs_at_once(model, rows, "x", out=out) is out
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(outputs_at_once(model, rows, "x"), expected)
        assert model.predict(rows, out=out) is out
    # What needs a check or a copy goes the long way.
    gaps = np.empty((5, 4, 4), np.float32)[:, :, ::2]
    assert outputs_at_once(model, x, "x", out=gaps) is None
    assert model.predict(x, out=gaps, verbose=0) is gaps
    np.testing.assert_array_equal(gaps, expected)
    assert outputs_at_once(model, x, "x", out=x[:, :, :2]) is None
    square = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    own = x[0].copy()
    expected = square.predict(own, verbose=0)
    assert square.predict(own, out=own, verbose=0) is own
    np.testing.assert_array_equal(own, expected)
    for wrong in (np.empty((5, 4, 2)), np.empty((5, 8), np.float32), expected.tolist()):
        with pytest.raises((TypeError, ValueError), match="`out` must"):
            model.predict(x, out=wrong, verbose=0)


def test_rows_of_several_batches_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).standard_normal((200, 4)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    by_batch = np.concatenate([model.predict(x[first : first + 32]) for first in range(0, 200, 32)])
    np.testing.assert_array_equal(
        model.predict(x, callbacks=[keras.callbacks.Callback()], verbose=0), by_batch
    )
    monkeypatch.setattr("engine.models.predictions.read_inputs", None)  # the long way
    np.testing.assert_array_equal(model.predict(x), by_batch)
    out = np.empty((200, 2), np.float32)
    assert model.predict(x, out=out) is out
    np.testing.assert_array_equal(out, by_batch)


def test_batches_that_matter_stay_batches() -> None:
    class Centred(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0, keepdims=True)

    x = np.random.default_rng(3).standard_normal((80, 4)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), Centred()])
    parts = [x[first : first + 32] for first in range(0, 80, 32)]
    expected = np.concatenate([part - part.mean(axis=0) for part in parts])
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-6)
    drawing = keras.Sequential(
        [keras.Input((4,)), keras.layers.Lambda(lambda x: x + keras.random.uniform((4,)))]
    )
    added = (drawing.predict(x) - x).reshape(-1, 4)
    assert not np.allclose(added[0], added[32])


def test_a_limit_of_steps_holds_for_several_batches() -> None:
    x = np.ones((80, 4), np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    keras.config.set_max_steps_per_epoch(2)
    try:
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 2"):
            assert model.predict(x).shape == (64, 2)
    finally:
        keras.config.set_max_steps_per_epoch(None)


def test_a_generator_may_fill_one_array_again() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", steps_per_execution=3)

    def batches() -> Iterator[Array]:
        rows = np.zeros((1, 4), np.float32)
        for number in range(5):
            rows[:] = number
            yield rows

    class EachBatch(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            del batch, logs

    for callbacks in ([], [EachBatch()]):
        found = model.predict(batches(), callbacks=callbacks, verbose=0)
        assert found[:, 0].tolist() == [0, 4, 8, 12, 16]
