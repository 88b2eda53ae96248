"""Rows that aren't in memory as arrays that the core reads: sparse ones, and files of other numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape
from engine._base.cpp import CompressedMatrix, Rows
from engine._data.array_conversion import (
    Array,
    as_float32,
    lies_readable,
    readable,
    require_finite,
    require_shape,
    shaped,
)
from engine._data.memory_maps import in_a_file, require_whole_file

Index = slice | NDArray[np.intp] | NDArray[np.int32]

# Of a block in memory: enough work for the core between two calls, yet within a cache or two.
BLOCK_BYTES = 16 << 20


class LazyRows(ABC):
    """Samples (n, ...); `rows[index]` has them as the core reads them.

    Args:
        count: n.
        sample_shape: of one.
    """

    def __init__(self, count: int, sample_shape: Shape) -> None:
        self.shape: tuple[int, ...] = (count, *sample_shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def per_block(self) -> int:
        """Samples in `BLOCK_BYTES`."""
        return max(1, BLOCK_BYTES // (4 * math.prod(self.shape[1:])))

    @abstractmethod
    def __getitem__(self, index: Index) -> Rows:
        """Some rows, C-contiguous; slices have no step."""

    @abstractmethod
    def part(self, begin: int, end: int) -> LazyRows:
        """Rows `begin` to `end`, as lazy as these."""

    @property
    @abstractmethod
    def arrays(self) -> list[Array]:
        """The arrays that the rows are read from; they may be memory-mapped."""


class SparseMatrix(LazyRows):
    """Rows of a matrix of scipy.sparse, which the core reads as they are; made dense for whoever asks for some here.

    Args:
        rows: in the CSR format, checked, columns ascending within each row.
        compressed: the same as the core takes them.
    """

    def __init__(self, rows: Any, compressed: CompressedMatrix) -> None:
        super().__init__(rows.shape[0], (rows.shape[1],))
        self._rows, self.compressed = rows, compressed

    def __getitem__(self, index: Index) -> Rows:
        return readable(self._rows[index].toarray())

    def part(self, begin: int, end: int) -> SparseMatrix:
        """Rows `begin` to `end`; scipy copies their entries."""
        return SparseMatrix(self._rows[begin:end], self.compressed[begin:end])

    @property
    def arrays(self) -> list[Array]:
        """The arrays of the CSR format."""
        return [self._rows.data, self._rows.indices, self._rows.indptr]

    def picked(self, index: NDArray[np.intp]) -> SparseMatrix:
        """Rows `index`; scipy copies their entries."""
        rows = self._rows[index]
        return SparseMatrix(rows, _compressed(rows))


class MappedRows(LazyRows):
    """Rows of a memory-mapped array of numbers that the core doesn't read, or not in the way they lie.

    Args:
        array: (n, ...).
        name: what messages call it.
        first: number of the first row, for messages.
    """

    def __init__(self, array: Array, name: str, first: int = 0) -> None:
        super().__init__(len(array), array.shape[1:])
        self._array, self._name, self._first = array, name, first

    @property
    def arrays(self) -> list[Array]:
        """The memory-mapped array."""
        return [self._array]

    def __getitem__(self, index: Index) -> Rows:
        require_whole_file(self._array, self._name)
        given = self._array[index]
        rows = readable(given)
        if rows.dtype != np.uint8:
            row_numbers = np.arange(self._first, self._first + len(self))[index]
            require_finite(rows, given, self._name, row_numbers=row_numbers)
        return rows

    def part(self, begin: int, end: int) -> MappedRows:
        """Rows `begin` to `end`, without reading them."""
        return MappedRows(self._array[begin:end], self._name, self._first + begin)


def lazy_rows(x: object, shape: Shape | None, name: str = "x") -> LazyRows | None:
    """`x` as lazy rows, where making an array of it at once could take more memory than there is; else None."""
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in REAL or x.ndim == 0 or lies_readable(x) or not in_a_file(x):
            return None
        array = x[:, np.newaxis] if x.ndim == 1 else np.asarray(x)
        require_shape(array.shape, shape, name)
        require_whole_file(array, name)
        return MappedRows(array, name)
    return _sparse_matrix(x, shape, name) if hasattr(x, "tocsr") else None


def part_of(rows: Rows | LazyRows, begin: int, end: int) -> Rows | LazyRows:
    """Rows `begin` to `end`, without making them readable."""
    return rows.part(begin, end) if isinstance(rows, LazyRows) else rows[begin:end]


def for_core(rows: Rows | LazyRows) -> Rows | LazyRows | CompressedMatrix:
    """`rows` as the core takes them; lazy ones of which it takes only what they give remain so."""
    return rows.compressed if isinstance(rows, SparseMatrix) else rows


def taken_at_once(rows: Rows | LazyRows) -> Rows | CompressedMatrix:
    """All `rows` as the core takes them."""
    taken = for_core(rows)
    return taken[:] if isinstance(taken, LazyRows) else taken


def unchecked_rows(x: object, shape: Shape | None, name: str = "x") -> Rows | LazyRows:
    """`x` as the core reads it, for a reader who looks for numbers that aren't finite; see `complaint`."""
    if isinstance(x, np.ndarray):  # the shortest way for what comes most often
        array = shaped(x, shape, name)
        if lies_readable(array):
            return array if array.itemsize > 1 else array.view(np.uint8)
    lazy = lazy_rows(x, shape, name)
    return readable(shaped(x, shape, name)) if lazy is None else lazy


def _sparse_matrix(matrix: Any, shape: Shape | None, name: str) -> SparseMatrix:
    """A matrix of scipy.sparse in any format, checked as a whole: its entries are in memory."""
    if len(matrix.shape) != 2:  # noqa: PLR2004 # a matrix
        msg = f"`{name}` must be a sparse matrix (n, features), got shape {matrix.shape}"
        raise ValueError(msg)
    require_shape(tuple(matrix.shape), shape, name)
    if matrix.dtype.kind not in REAL:
        part = ": take the part that counts, such as its .real" if matrix.dtype.kind == "c" else ""
        msg = f"`{name}` must hold real numbers, got dtype {matrix.dtype}{part}"
        raise TypeError(msg)
    rows, compressed = _canonical(matrix, name)
    wrong = ~np.isfinite(as_float32(rows.data))
    if wrong.any():
        entry = int(wrong.argmax())
        row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
        where = f"{rows.data[entry]} in column {rows.indices[entry]}"
        msg = f"`{name}` must be finite and within float32's range, but row {row} holds {where}"
        raise ValueError(msg)
    return SparseMatrix(rows, compressed)


def _canonical(matrix: Any, name: str) -> tuple[Any, CompressedMatrix]:
    """`matrix` in the CSR format, the columns of every row in ascending order, each there once; also for the core."""
    try:
        if matrix.format == "csc":  # before scipy, which takes places on trust
            _compressed(matrix, matrix.shape[0])
        rows = matrix.tocsr()
        if len(rows.indptr) != rows.shape[0] + 1:
            msg = f"`indptr` must have {rows.shape[0] + 1} entries for so many rows, got {len(rows.indptr)}"
            raise ValueError(msg)
        compressed = _compressed(rows)
    except ValueError as error:
        msg = f"`{name}` is no valid sparse matrix: {error}. Make it with scipy.sparse, which checks what it is given"
        raise ValueError(msg) from None
    if not compressed.in_order:
        rows = _in_order(rows)
        compressed = _compressed(rows)
    return rows, compressed


def _compressed(matrix: Any, width: int | None = None) -> CompressedMatrix:
    """A matrix of the CSR format, or of the CSC format with `width` rows, as the core takes it."""
    return CompressedMatrix(
        np.ascontiguousarray(matrix.indptr),
        np.ascontiguousarray(matrix.indices),
        as_float32(matrix.data),
        matrix.shape[1] if width is None else width,
    )


def _in_order(rows: Any) -> Any:
    """`rows` with ascending columns. scipy sorts them too, but what is there twice not in the order of `toarray`."""
    entries = rows.indptr[-1]  # there may be more that belong to no row
    indices, row = rows.indices[:entries], np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((indices, row))
    ordered = type(rows)((rows.data[order], indices[order], rows.indptr.copy()), shape=rows.shape)
    ordered.sum_duplicates()
    return ordered


def require_tokens(rows: Rows | LazyRows, tokens: int | None, name: str) -> None:
    """Raise ValueError that names the first row with something else than indices below `tokens`; None takes all."""
    if tokens is None:
        return
    if isinstance(rows, LazyRows):
        for begin in range(0, len(rows), rows.per_block):
            _require_token_rows(rows[begin : begin + rows.per_block], tokens, name, begin)
        return
    _require_token_rows(rows, tokens, name, 0)


def _require_token_rows(rows: Rows, tokens: int, name: str, first: int) -> None:
    wrong = ~((rows >= 0) & (rows < tokens))
    if rows.dtype != np.uint8:
        wrong |= rows != np.floor(rows)
    if wrong.any():
        row = int(wrong.reshape(len(rows), -1).any(axis=1).argmax())
        value = rows[row][wrong[row]].reshape(-1)[0]
        msg = (
            f"`{name}` must hold indices, whole numbers in [0, {tokens}), as the model's first layer has {tokens} "
            f"entries, but row {first + row} holds {value}"
        )
        raise ValueError(msg)
