"""What travels to workers: a message for each job, and large values, which are sent once."""

from __future__ import annotations

import io
import mmap
import pickle
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine._base.extras import extra
from engine._cluster.workers import Workers

# Arrays with as many bytes or more are held by the workers; smaller ones are a part of the message.
_LARGE = 1 << 15


class Cargo:
    """Packs messages for workers. A large array or frame in several of them is sent once, as long as it exists here.

    Args:
        workers: which hold the values.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._held: dict[int, tuple[Any, Any]] = {}
        self._pickling = extra("cloudpickle", "joblib", "`backend`")

    def packed(self, content: Any) -> tuple[bytes, list[Any]]:
        """Returns a message that `unpacked` understands, and what stands for the values that workers hold."""
        held: list[Any] = []
        file = io.BytesIO()
        pickler = type("_Pickler", (self._pickling.Pickler,), {"persistent_id": partial(self._place, held)})(
            file
        )
        pickler.dump(content)
        return file.getvalue(), held

    def forget(self) -> None:
        """Has values sent again, since workers that held them may be gone."""
        self._held.clear()

    def _place(self, held: list[Any], value: Any) -> int | None:
        """Returns the place in `held` of what stands for a value; None if the value is a part of the message."""
        if not _is_large(value):
            return None
        known, standing = self._held.get(id(value), (None, None))
        if known is None or known() is not value:
            standing = self._workers.hold(self._as_file(value) or value)
            self._held[id(value)] = weakref.ref(value, partial(self._drop, id(value))), standing
        held.append(standing)
        return len(held) - 1

    def _drop(self, key: int, gone: Any) -> None:
        if self._held.get(key, (None, None))[0] is gone:
            del self._held[key]

    def _as_file(self, value: Any) -> MappedFile | None:
        """Returns the file that a mapped array shows, if all workers can read it; otherwise None."""
        base: object = getattr(value, "base", None)
        if not (isinstance(value, np.memmap) and isinstance(base, mmap.mmap) and value.filename):
            return None
        file = MappedFile.of(value)
        return file if all(self._workers.each(file.is_here).values()) else None


class MappedFile(NamedTuple):
    """An array in a file that workers can read themselves."""

    path: str
    bytes: int
    changed: int
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> MappedFile:
        """Returns the file of an array."""
        path = Path(str(array.filename)).resolve()
        status = path.stat()
        order = "C" if array.flags.c_contiguous else "F"
        return cls(
            str(path), status.st_size, status.st_mtime_ns, array.offset, array.dtype, array.shape, order
        )

    def is_here(self) -> bool:
        """Whether this process can read the file, and finds it as it was."""
        try:
            status = Path(self.path).stat()
            with Path(self.path).open("rb"):
                return (status.st_size, status.st_mtime_ns) == (self.bytes, self.changed)
        except OSError:
            return False

    def opened(self) -> Any:
        """Returns the array."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)  # type: ignore[call-overload]


def unpacked(message: bytes, held: Sequence[Any]) -> Any:
    """Returns what `Cargo.packed` was given.

    Args:
        message: the message.
        held: the values that the worker holds.
    """
    unpickler = _Unpickler(io.BytesIO(message))
    unpickler.held = [value.opened() if isinstance(value, MappedFile) else value for value in held]
    return unpickler.load()


class _Unpickler(pickle.Unpickler):
    held: Sequence[Any] = ()

    def persistent_load(self, pid: int) -> Any:
        return self.held[pid]


def _is_large(value: Any) -> bool:
    """Whether a value is an array, a frame, or a column of one, that is worth being held."""
    if isinstance(value, np.ndarray):
        return type(value) in {np.ndarray, np.memmap} and value.nbytes >= _LARGE
    if type(value).__module__.startswith("pandas.") and type(value).__name__ in {"DataFrame", "Series"}:
        return int(np.sum(value.memory_usage(index=True))) >= _LARGE
    return False
