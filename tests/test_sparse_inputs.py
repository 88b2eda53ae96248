"""Tests of matrices of scipy.sparse as inputs of fit, evaluate and predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, Blobs, same_weights, trained

import engine as keras


@pytest.fixture
def sparse(blobs: Blobs) -> tuple[Any, Blobs]:
    """Returns a sparse matrix, and the same as an array."""
    scipy = pytest.importorskip("scipy.sparse")
    x = np.where(np.random.default_rng(2).random(blobs.x.shape) < 0.7, np.float32(0), blobs.x)
    return scipy.csr_matrix(x), blobs._replace(x=x)


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_sparse_rows_train_as_dense_ones_do(shuffle: Any, sparse: Any) -> None:
    matrix, dense = sparse
    options: dict[str, Any] = {"shuffle": shuffle, "validation_split": 0.2, "class_weight": {0: 2.0}}
    model = trained(matrix, dense.y, **options)
    expected = trained(dense.x, dense.y, **options)
    assert same_weights(model, expected)
    assert model.history.history == expected.history.history
    assert np.array_equal(model.predict(matrix), model.predict(dense.x))
    assert np.array_equal(model.predict(matrix, batch_size=10, steps=2), model.predict(dense.x[:20]))
    assert np.array_equal(model(matrix[:3]), model(dense.x[:3]))
    assert model.evaluate(matrix, dense.y) == pytest.approx(model.evaluate(dense.x, dense.y))
    assert model.test_on_batch(matrix, dense.y) == model.test_on_batch(dense.x, dense.y)
    out = np.empty((150, CLASSES), np.float32)
    assert model.predict(matrix, out=out) is out


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "bsr"])
def test_sparse_formats(form: str, sparse: Any) -> None:
    matrix, dense = sparse
    assert same_weights(trained(matrix.asformat(form), dense.y), trained(dense.x, dense.y))


def test_sparse_mistakes(sparse: Any) -> None:
    matrix, dense = sparse
    holed = matrix.copy()
    holed[17, 3] = np.nan
    with pytest.raises(ValueError, match=r"`x` must be finite .* but row 17 holds nan in column 3"):
        trained(holed, dense.y)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 6\), got \(150, 5\)"):
        trained(matrix[:, :5], dense.y)
    with pytest.raises(ValueError, match=r"`x` has 10 samples but `y` has 150"):
        trained(matrix[:10], dense.y)
    with pytest.raises(TypeError, match="got dtype complex"):
        trained(matrix.astype(complex), dense.y)


def duplicated(kind: Any) -> tuple[Any, Any]:
    """Returns a matrix with unsorted entries, up to 40 for one element, and the same as an array."""
    scipy = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(5)
    indptr = np.concatenate([[0], rng.integers(0, 120, 150).cumsum()])
    indices = rng.integers(0, 6, indptr[-1]) if kind != np.int64 else rng.integers(0, 3, indptr[-1])
    data = (rng.normal(size=indptr[-1]) * 10).astype(kind)
    matrix = scipy.csr_matrix((data, indices, indptr), (150, 6))
    return matrix, matrix.toarray()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.int8, np.uint8, np.bool_])
def test_places_that_are_there_twice_add_up_as_in_scipy(kind: Any, blobs: Blobs) -> None:
    matrix, dense = duplicated(kind)
    before = matrix.copy()
    model = trained(matrix, blobs.y)
    assert same_weights(model, trained(dense, blobs.y))
    assert np.array_equal(model.predict(matrix), model.predict(dense))
    assert all(
        np.array_equal(getattr(matrix, part), getattr(before, part)) for part in ("indptr", "indices", "data")
    )


def test_places_of_64_bits_and_rows_without_entries(sparse: Any) -> None:
    matrix, dense = sparse
    x = dense.x.copy()
    x[7] = x[149] = 0
    wide = type(matrix)(x)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert wide.indices.dtype == np.int64
    assert same_weights(trained(wide, dense.y), trained(x, dense.y))


DAMAGES = [
    ("indices", 3, 10**6, r"`indices` must lie in \[0, \d+\], but entry 3 is 1000000"),
    ("indices", 0, -1, r"`indices` must lie in \[0, \d+\], but entry 0 is -1"),
    ("indptr", 2, 10**6, r"`indptr` must lie in \[0, \d+\], but entry 2 is 1000000"),
    ("indptr", 3, 0, "`indptr` must not descend, but row 2 goes from"),
]


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict", "predict_on_batch", "__call__"])
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_malformed_sparse_matrices_are_errors(
    damage: tuple[str, int, int, str], form: str, verb: str, sparse: Any
) -> None:
    part, entry, value, message = damage
    matrix, dense = sparse
    model = trained(matrix, dense.y)
    broken = matrix.asformat(form, copy=True)
    getattr(broken, part)[entry] = value
    arguments = (broken, dense.y) if verb in ("fit", "evaluate") else (broken,)
    with pytest.raises(ValueError, match=f"`x` is no valid sparse matrix: {message}"):
        getattr(model, verb)(*arguments)


@pytest.mark.parametrize(
    ("kind", "place"),
    [(np.int32, n) for n in (6, 2**31 - 1, -(2**31))]
    + [(np.int64, n) for n in (6, 2**32 + 1, 1 - 2**32, 2**63 - 1, -(2**63))],
)
def test_no_place_beyond_the_columns_is_taken_for_one_within(kind: type, place: int, sparse: Any) -> None:
    matrix, dense = sparse
    broken = matrix.copy()
    broken.indices, broken.indptr = matrix.indices.astype(kind), matrix.indptr.astype(kind)
    broken.indices[3] = place
    with pytest.raises(ValueError, match=rf"`indices` must lie in \[0, 5\], but entry 3 is {place}"):
        trained(broken, dense.y)


def test_sparse_parts_that_do_not_fit_are_errors(sparse: Any) -> None:
    matrix, dense = sparse
    for part in ("indptr", "indices", "data"):
        broken = matrix.copy()
        setattr(broken, part, getattr(broken, part)[:-1])
        with pytest.raises(ValueError, match="`x` is no valid sparse matrix"):
            trained(broken, dense.y)


def test_entries_that_belong_to_no_row_are_left_out(sparse: Any) -> None:
    matrix, dense = sparse
    rows = zip(matrix.indptr, matrix.indptr[1:], strict=False)
    backwards = np.concatenate([np.arange(begin, end)[::-1] for begin, end in rows])
    for order in (np.arange(matrix.nnz), backwards):
        longer = matrix.copy()
        longer.indices = np.append(matrix.indices[order], [0, 5]).astype(np.int32)
        longer.data = np.append(matrix.data[order], [7, 7]).astype(np.float32)
        assert same_weights(trained(longer, dense.y), trained(dense.x, dense.y))


def test_sparse_tokens_are_checked() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    rows = np.array([[0, 4, 0, 1], [2, 0, 0, 0]])
    assert np.array_equal(model.predict(scipy.csr_matrix(rows)), model.predict(rows))
    rows[1, 3] = 5
    with pytest.raises(ValueError, match=r"`x` must hold indices.*but row 1 holds 5"):
        model.predict(scipy.csr_matrix(rows))


def test_a_sparse_matrix_is_never_made_dense_as_a_whole() -> None:
    import resource

    scipy = pytest.importorskip("scipy.sparse")
    rows, features = 50_000, 4096  # 780 MiB if it were dense
    columns = np.random.default_rng(2).integers(0, features, 5 * rows)
    matrix = scipy.csr_matrix(
        (np.ones(5 * rows, np.float32), columns, np.arange(0, 5 * rows + 1, 5)), (rows, features)
    )
    model = keras.Sequential([keras.layers.Dense(2, "softmax", input_shape=(features,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = np.arange(rows) % 2
    model.fit(matrix[:64], y[:64], verbose=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.fit(matrix, y, batch_size=512, verbose=0, validation_split=0.1)
    model.evaluate(matrix, y)
    model.predict(matrix)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10
