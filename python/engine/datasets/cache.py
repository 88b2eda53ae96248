"""Unpacked data sets in the user's cache folder.

A cache file is a magic line, the CRC-32 of the contents, the key that says which data they are, then
the contents. Nothing here fails: without a usable file `read` says None, and `write` gives up quietly.
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_MAGIC = b"mlp-engine data\n"
_CRC_BYTES = 4


def folder() -> Path | None:
    """Returns the cache folder, which may not exist yet; None for a user without a home folder."""
    chosen = os.environ.get("ENGINE_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute() / "mlp-engine"
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg and Path(xdg).is_absolute():  # the XDG specification says to ignore relative paths
        return Path(xdg) / "mlp-engine"
    local = os.environ.get("LOCALAPPDATA")
    if sys.platform == "win32" and local:
        return Path(local) / "mlp-engine"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "mlp-engine"


def locate(name: str) -> Path | None:
    """Returns the path of the cache file `name`: in the cache folder, unless `name` is an absolute path."""
    path = Path(name)
    if path.is_absolute():
        return path
    base = folder()
    return None if base is None else base / path


def is_foreign(file: Path) -> bool:
    """Returns whether `file` is something else than a cache file, so that it must not be replaced."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return start != _MAGIC


def read(file: Path, key: bytes, sizes: Sequence[int]) -> list[NDArray[np.uint8]] | None:
    """Returns the contents of a cache file.

    Args:
        file: the cache file.
        key: identifies the contents that are expected.
        sizes: bytes in each buffer.

    Returns:
        One new uint8 (size,) buffer per size, or None when the file is missing, unreadable, cut
        short, damaged or made for another key.
    """
    start = len(_MAGIC) + _CRC_BYTES + len(key)
    buffers = [np.empty(size, np.uint8) for size in sizes]
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != start + sum(sizes):
                return None
            head = stream.read(start)
            if [stream.readinto(buffer.data) for buffer in buffers] != list(sizes):
                return None
    except OSError:
        return None
    return buffers if head == _header(key, buffers) else None


def write(file: Path, key: bytes, buffers: Sequence[NDArray[np.uint8]]) -> None:
    """Writes a cache file, or does nothing if that is impossible.

    Readers and other writers see the old file or the new one, whole. It isn't synced to the disk:
    after a power failure the checksum finds what is missing.
    """
    draft = file.with_name(f".{file.name}.{os.urandom(8).hex()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as stream:
                stream.write(_header(key, buffers))
                for buffer in buffers:
                    stream.write(buffer.data)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except OSError:
        return


def through(
    name: str, key: bytes, sizes: Sequence[int], make: Callable[[], list[NDArray[np.uint8]]]
) -> list[NDArray[np.uint8]]:
    """Returns buffers from a cache file if possible; else makes and caches them.

    Args:
        name: the name of the cache file in the cache folder, or its absolute path.
        key: identifies the contents that are expected.
        sizes: bytes in each buffer.
        make: makes them.
    """
    file = locate(name)
    buffers = file and read(file, key, sizes)
    if not buffers:
        buffers = make()
        if file and not (Path(name).is_absolute() and is_foreign(file)):
            write(file, key, buffers)
    return buffers


def _header(key: bytes, buffers: Sequence[NDArray[np.uint8]]) -> bytes:
    crc = 0
    for buffer in buffers:
        crc = zlib.crc32(buffer.data, crc)
    return _MAGIC + crc.to_bytes(_CRC_BYTES, "little") + key
