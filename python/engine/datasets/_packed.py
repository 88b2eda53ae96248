"""The form of data sets within the package: IDX files end to end, cut into equal streams, each packed by xz.

The streams are unpacked side by side on threads (liblzma runs without the GIL).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.datasets import _idx, cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDER = Path(__file__).with_name("data")

# Streams are unpacked piece by piece, so that there is no second copy. Pieces of 64 KiB to 2 MiB take the same time.
_PIECE = 1 << 18


class Packed(NamedTuple):
    """A packed data set.

    Attributes:
        name: its streams are `data/<name>-<number>.xz`.
        shapes: shape of each uint8 array, in the order of the IDX files.
        sha256: the SHA-256 of each unpacked stream.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    sha256: tuple[str, ...]

    def load(self, path: str | None) -> list[NDArray[np.uint8]]:
        """Returns the arrays: from the cache file if possible, else unpacked and then cached.

        Args:
            path: name of the cache file in the cache folder, or its absolute path.

        Returns:
            One writable array per shape, independent of any file.

        Raises:
            ImportError: Python has no `lzma` module, and the data isn't in the cache.
            OSError: the files of the package are missing or damaged.
        """
        key = bytes.fromhex("".join(self.sha256))
        sizes = [_idx.size(shape) for shape in self.shapes]
        buffers = cache.through(path or f"{self.name}.idx", key, sizes, self.unpack)
        return [_idx.parse(buffer) for buffer in buffers]

    def unpack(self) -> list[NDArray[np.uint8]]:
        """Returns the bytes of each IDX file, unpacked from the streams and checked by their hashes."""
        _require_lzma()
        from concurrent.futures import ThreadPoolExecutor

        buffers = [np.empty(_idx.size(shape), np.uint8) for shape in self.shapes]
        files = [FOLDER / f"{self.name}-{number}.xz" for number in range(len(self.sha256))]
        with ThreadPoolExecutor(len(files)) as pool:
            for digest, expected, file in zip(
                pool.map(_fill, cut(buffers, len(files)), files), self.sha256, files, strict=True
            ):
                if digest != expected:
                    raise OSError(_damaged(file, f"its SHA-256 is {digest}, expected {expected}"))
        return buffers


def cut(buffers: Sequence[NDArray[np.uint8]], streams: int) -> list[list[NDArray[np.uint8]]]:
    """Returns views that cut the buffers, laid end to end, into equal streams (the last may be longer).

    Args:
        buffers: uint8, one-dimensional.
        streams: the number of streams.

    Returns:
        For each stream the views it is made of, in order.
    """
    length = sum(buffer.size for buffer in buffers)
    edges = [length // streams * number for number in range(streams)] + [length]
    parts = []
    for begin, end in pairwise(edges):
        views, offset = [], 0
        for buffer in buffers:
            view = buffer[max(begin - offset, 0) : max(end - offset, 0)]
            if view.size:
                views.append(view)
            offset += buffer.size
        parts.append(views)
    return parts


def _fill(views: Sequence[NDArray[np.uint8]], file: Path) -> str:
    """Unpacks one stream into its views, and returns the SHA-256 of the unpacked bytes."""
    import hashlib
    import lzma

    packed = file.read_bytes()
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    digest = hashlib.sha256()
    for view in views:
        done = 0
        while done < view.size:
            try:
                piece = unpacker.decompress(packed, min(view.size - done, _PIECE))
            except (lzma.LZMAError, EOFError) as error:
                raise OSError(_damaged(file, f"{error}")) from error
            if not piece and unpacker.needs_input:
                raise OSError(_damaged(file, "it ends too early"))
            packed = b""
            digest.update(piece)
            view[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)
    return digest.hexdigest()


def _damaged(file: Path, reason: str) -> str:
    return (
        f"{file} is damaged: {reason}. Install mlp-engine again as it was installed, with pip's option "
        "`--force-reinstall`"
    )


def _require_lzma() -> None:
    try:
        import lzma  # noqa: F401 # to see whether there is one
    except ImportError as error:
        msg = (
            "The data sets are packed with xz, and this Python has no `lzma` module (it was built without"
            " liblzma). Install liblzma's headers (Debian, Ubuntu: apt install liblzma-dev; Fedora: dnf install"
            " xz-devel; macOS: brew install xz) and build Python again, or use a Python that has the module."
        )
        raise ImportError(msg) from error
