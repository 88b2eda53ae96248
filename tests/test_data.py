"""Arrays of every dtype and layout give the same results."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

import engine as keras
from engine._core_interface.cpp import Rows
from engine._data.array_conversion import input_rows

SMALL = {"min_value": 0, "max_value": 100}
DTYPES = [
    "?", "u1", "i1", "<u2", ">u2", "<i4", ">i4", "<i8", "<u8", ">i8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8",
]  # fmt: skip


def layouts(x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Returns views and copies of `x` with the same numbers in various memory layouts."""
    padded = np.zeros((2 * len(x), *[size + 1 for size in x.shape[1:]]), x.dtype)
    strided = padded[(slice(None, None, 2), *[slice(1, None)] * (x.ndim - 1))]
    strided[...] = x
    reverse = x[::-1].copy()[::-1]
    frozen = x.copy()
    frozen.flags.writeable = False
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return {
        "as it is": x,
        "fortran": np.asfortranarray(x),
        "strided": strided,
        "reversed": reverse,
        "read-only": frozen,
        "misaligned": shifted,
    }


@st.composite
def samples(draw: st.DrawFn) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5))
    elements = None if dtype.kind == "b" else SMALL
    return draw(arrays.arrays(dtype, shape, elements=elements))


@given(samples())
@settings(max_examples=150, deadline=None)
def test_input_rows_keeps_the_numbers(x: NDArray[Any]) -> None:
    for layout, given_rows in layouts(x).items():
        rows: Rows = input_rows(given_rows, x.shape[1:])
        assert rows.dtype in (np.uint8, np.float32, np.float64), layout
        assert rows.flags.c_contiguous, layout
        assert rows.dtype.isnative, layout
        assert rows.flags.aligned, layout
        assert np.array_equal(rows.astype(np.float32), x.astype(np.float32)), layout


@given(samples())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_predict_takes_every_dtype_and_layout(x: NDArray[Any]) -> None:
    model = keras.Sequential([keras.layers.Rescaling(2.0, 1.0, input_shape=x.shape[1:])])
    for layout, given_rows in layouts(x).items():
        assert np.array_equal(model.predict(given_rows), 2 * x.astype(np.float32) + 1), layout
    assert np.array_equal(model.predict(x.tolist()), 2 * x.astype(np.float32) + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.float64])
def test_what_the_core_reads_is_not_copied(dtype: type) -> None:
    x = np.ones((3, 4), dtype)
    assert np.shares_memory(input_rows(x, (4,)), x)


@pytest.mark.parametrize("dtype", ["u1", ">i4", "<f2", ">f4", "<f8"])
def test_training_on_the_same_numbers_gives_the_same_bits(dtype: str, blobs: Blobs) -> None:
    x = np.clip(np.rint(10 * blobs.x), 0, 200)

    def trained(rows: NDArray[Any], labels: NDArray[Any], weight: NDArray[Any]) -> keras.Sequential:
        keras.utils.set_random_seed(4)
        model = classifier()
        model.fit(rows, labels, epochs=2, sample_weight=weight, verbose=0)
        return model

    expected = trained(x.astype(np.float32), blobs.y, np.ones(150))
    for rows in layouts(x.astype(dtype)).values():
        assert same_weights(trained(rows, blobs.y.astype(dtype), np.ones(150, dtype)), expected)


def test_one_hot_labels_of_every_layout(blobs: Blobs) -> None:
    model = classifier(loss="categorical_crossentropy")
    expected = model.evaluate(blobs.x, blobs.one_hot)
    for dtype in ("?", "u1", ">i8", "<f2", ">f4", "<f8"):
        for y in layouts(blobs.one_hot.astype(dtype)).values():
            assert model.evaluate(blobs.x, y) == expected


def test_to_categorical() -> None:
    assert keras.utils.to_categorical([0, 2]).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert keras.utils.to_categorical([[1], [0]], 2).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert keras.utils.to_categorical(np.array([True, False])).dtype == np.float64
    assert keras.utils.to_categorical([[0, 1], [1, 0]]).shape == (2, 2, 2)
    with pytest.raises(ValueError, match=r"indices in \[0, 2\), got 2 at 1"):
        keras.utils.to_categorical([0, 2], 2)
    with pytest.raises(ValueError, match=r"got -1 at \(0, 1\)"):
        keras.utils.to_categorical([[0, -1]])
    with pytest.raises(TypeError, match="must hold class indices, integers; got dtype float64"):
        keras.utils.to_categorical([0.5])
    with pytest.raises(ValueError, match="`x` is empty: give `num_classes`"):
        keras.utils.to_categorical([])


def test_set_random_seed_seeds_numpy_and_python_too() -> None:
    import random

    keras.utils.set_random_seed(11)
    first = (random.random(), np.random.rand())  # noqa: NPY002 # generators that scripts use
    keras.utils.set_random_seed(11)
    assert (random.random(), np.random.rand()) == first  # noqa: NPY002 # scripts draw from it
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="`seed` must be"):
            keras.utils.set_random_seed(seed)
