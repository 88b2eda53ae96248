"""Arrays that are memory-mapped to a file: how to recognize them, and a check that the file is still whole.

Whatever reads rows calls `require_whole_file` first, since reading past the end of a file that has become shorter ends the
process. The other modules of this folder, training, prediction and the estimators of `engine.sklearn` do so.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Files = tuple[tuple[str, NDArray[Any]], ...]
"""Memory-mapped arrays, each with the name of the argument that it was passed as, for messages."""


def in_a_file(array: object) -> bool:
    """Returns whether `array` is memory-mapped. Such an array may be larger than the memory."""
    return _mapped(array) is not None


def require_whole_file(array: NDArray[Any], name: str) -> None:
    """Raises OSError if the file of a memory-mapped `array` has become shorter than the array.

    Reading the missing part would end the process with SIGBUS, so this is called before rows are read.

    Args:
        array: any array; those that are not memory-mapped pass.
        name: the name of the argument, for messages.
    """
    if array.base is None:  # the most frequent case, decided quickly
        return
    mapped = _mapped(array)
    if mapped is None:
        return
    end = np.lib.array_utils.byte_bounds(array)[1] - np.lib.array_utils.byte_bounds(mapped)[0]
    expected, actual = mapped.offset + end, cast(Any, mapped.base).size()  # `size` of an mmap asks the file
    if actual < expected:
        msg = (
            f"the file of `{name}`, {mapped.filename or 'memory-mapped'}, has become shorter while it was in use: "
            f"{expected} bytes expected, {actual} found. Write it again, and leave it as it is until the call returns"
        )
        raise OSError(msg)


def _mapped(array: object) -> np.memmap[Any, Any] | None:
    """Returns the `np.memmap` that `array` is a view of, with the whole mapped part of the file; None without one."""
    owner: object = array
    memory_map = None
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap):
            memory_map = owner
        owner = owner.base
    # `owner` is now an object of the class `mmap.mmap`. It is recognized by `size`, since importing `mmap` takes time.
    return (
        memory_map if memory_map is not None and memory_map.base is owner and hasattr(owner, "size") else None
    )


def require_whole_files(files: Files) -> None:
    """Raises OSError if a file has become shorter than the array that is mapped to it."""
    for name, array in files:
        require_whole_file(array, name)
