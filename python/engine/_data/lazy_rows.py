"""Samples that are converted block by block while they are used, since all of them at once might not fit into memory.

These are the rows of sparse matrices of scipy, and of memory-mapped arrays whose dtype or layout the core can't read.
`checked_samples` and the methods of models make them with `lazy_rows`; training and prediction ask them for blocks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape
from engine._core_interface.cpp import CompressedMatrix, DeviceArray, Rows
from engine._data.array_conversion import (
    Array,
    as_float32,
    is_readable,
    readable,
    require_finite,
    require_shape,
    shaped,
)
from engine._data.device_arrays import summary_of
from engine._data.memory_maps import in_a_file, require_whole_file

Index = slice | NDArray[np.intp] | NDArray[np.int32]

# The size of a block in memory: enough work for one call of the core, and not much more than the caches hold.
BLOCK_BYTES = 16 << 20


class LazyRows(ABC):
    """Samples (n, ...), of which `rows[index]` converts some into an array that the core can read.

    Args:
        count: n.
        sample_shape: the shape of one sample.
    """

    def __init__(self, count: int, sample_shape: Shape) -> None:
        self.shape: tuple[int, ...] = (count, *sample_shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def per_block(self) -> int:
        """How many samples a block of `BLOCK_BYTES` holds."""
        return max(1, BLOCK_BYTES // (4 * math.prod(self.shape[1:])))

    @abstractmethod
    def __getitem__(self, index: Index) -> Rows:
        """Returns some rows as a C-contiguous array. Slices have no step."""

    @abstractmethod
    def part(self, begin: int, end: int) -> LazyRows:
        """Returns rows `begin` to `end` without converting them."""

    @property
    @abstractmethod
    def arrays(self) -> list[Array]:
        """The arrays that the rows are read from; they may be memory-mapped."""


class SparseMatrix(LazyRows):
    """Rows of a sparse matrix of scipy. The core reads `compressed`; `rows[index]` makes dense rows.

    Args:
        rows: a checked matrix in the CSR format, with ascending columns within each row.
        compressed: the same matrix as an object of the core.
    """

    def __init__(self, rows: Any, compressed: CompressedMatrix) -> None:
        super().__init__(rows.shape[0], (rows.shape[1],))
        self._rows, self.compressed = rows, compressed

    def __getitem__(self, index: Index) -> Rows:
        return readable(self._rows[index].toarray())

    def part(self, begin: int, end: int) -> SparseMatrix:
        """Returns rows `begin` to `end`, whose entries scipy copies."""
        return SparseMatrix(self._rows[begin:end], self.compressed[begin:end])

    @property
    def arrays(self) -> list[Array]:
        """The arrays of the CSR format."""
        return [self._rows.data, self._rows.indices, self._rows.indptr]

    def take(self, index: NDArray[np.intp]) -> SparseMatrix:
        """Returns the rows `index`, whose entries scipy copies."""
        rows = self._rows[index]
        return SparseMatrix(rows, _compressed(rows))


class MappedRows(LazyRows):
    """Rows of a memory-mapped array whose dtype or layout the core can't read.

    Args:
        array: (n, ...).
        name: the name of the argument, for messages.
        first: the number of the first row, for messages.
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
        selected = self._array[index]
        rows = readable(selected)
        if rows.dtype != np.uint8:
            row_numbers = np.arange(self._first, self._first + len(self))[index]
            require_finite(rows, selected, self._name, row_numbers=row_numbers)
        return rows

    def part(self, begin: int, end: int) -> MappedRows:
        """Returns rows `begin` to `end` without reading them."""
        return MappedRows(self._array[begin:end], self._name, self._first + begin)


def lazy_rows(x: object, shape: Shape | None, name: str = "x") -> LazyRows | None:
    """Returns `x` as lazy rows if converting all of it at once might take too much memory; else None."""
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in REAL or x.ndim == 0 or is_readable(x) or not in_a_file(x):
            return None
        array = x[:, np.newaxis] if x.ndim == 1 else np.asarray(x)
        require_shape(array.shape, shape, name)
        require_whole_file(array, name)
        return MappedRows(array, name)
    return _sparse_matrix(x, shape, name) if hasattr(x, "tocsr") else None


def part_of(rows: Rows | LazyRows, begin: int, end: int) -> Rows | LazyRows:
    """Returns rows `begin` to `end` without converting them."""
    return rows.part(begin, end) if isinstance(rows, LazyRows) else rows[begin:end]


def selected_rows(rows: Any, index: NDArray[np.intp]) -> Any:
    """Returns a copy of the rows `index` of an array or of lazy rows."""
    return rows.take(index) if isinstance(rows, SparseMatrix) else rows[index]


def for_core(rows: Rows | LazyRows) -> Rows | LazyRows | CompressedMatrix:
    """Returns `rows` in the form that the core reads, if it can read all of them; else the lazy rows as they are."""
    return rows.compressed if isinstance(rows, SparseMatrix) else rows


def all_for_core(rows: Rows | LazyRows) -> Rows | CompressedMatrix:
    """Returns all `rows` in a form that the core reads, converting them if necessary."""
    readable_rows = for_core(rows)
    return readable_rows[:] if isinstance(readable_rows, LazyRows) else readable_rows


def unchecked_rows(x: object, shape: Shape | None, name: str = "x") -> Rows | LazyRows:
    """Returns `x` as rows for the core, without checking that the numbers are finite.

    The core checks them while it computes a prediction. If it finds one that isn't finite, `complaint` makes the message.
    """
    if isinstance(x, np.ndarray):  # the most frequent case, decided quickly
        array = shaped(x, shape, name)
        if is_readable(array):
            return array if array.itemsize > 1 else array.view(np.uint8)  # type: ignore[no-any-return] # rows
    lazy = lazy_rows(x, shape, name)
    return readable(shaped(x, shape, name)) if lazy is None else lazy


def _sparse_matrix(matrix: Any, shape: Shape | None, name: str) -> SparseMatrix:
    """Returns a sparse matrix of scipy in any format as lazy rows, after checking all entries, which are in memory."""
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
    """Returns `matrix` in the CSR format, with ascending columns and no duplicates in each row, and the core's form of it."""
    try:
        if matrix.format == "csc":  # the core checks the indices, which scipy would use unchecked in `tocsr`
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
    """Returns the core's form of a matrix in the CSR format, or in the CSC format with `width` rows."""
    return CompressedMatrix(
        np.ascontiguousarray(matrix.indptr),
        np.ascontiguousarray(matrix.indices),
        as_float32(matrix.data),
        matrix.shape[1] if width is None else width,
    )


def _in_order(rows: Any) -> Any:
    """Returns `rows` with ascending columns, and duplicates added in the order in which `toarray` adds them.

    scipy's own `sort_indices` would add them in another order, which changes the last bits.
    """
    entries = rows.indptr[-1]  # the arrays may hold more entries, which belong to no row
    indices, row = rows.indices[:entries], np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((indices, row))
    ordered = type(rows)((rows.data[order], indices[order], rows.indptr.copy()), shape=rows.shape)
    ordered.sum_duplicates()
    return ordered


def require_tokens(rows: Rows | LazyRows, tokens: int | None, name: str) -> None:
    """Raises ValueError if rows hold anything but indices below `tokens`; None means that they need not be indices.

    The core would use any number as an index of an embedding, so models check the samples before.
    """
    if tokens is None:
        return
    if isinstance(rows, LazyRows):
        for begin in range(0, len(rows), rows.per_block):
            _require_token_rows(rows[begin : begin + rows.per_block], tokens, name, begin)
        return
    _require_token_rows(rows, tokens, name, 0)


def _require_token_rows(rows: Rows, tokens: int, name: str, first: int) -> None:
    if isinstance(rows, DeviceArray):
        numbers = summary_of(rows)
        if numbers.whole and numbers.within(0, tokens - 1):
            return
        rows = rows.numpy()
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
