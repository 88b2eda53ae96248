"""Data sets that others publish as four IDX files: read from a folder or the cache, else downloaded and checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.datasets import _idx, cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Seconds after which a connection without data fails.
_PATIENCE = 30
# More than the number of bytes by which gzip enlarges a file that it can't pack.
_MORE = 2**16


class Published(NamedTuple):
    """A data set that isn't in the package.

    Attributes:
        title: the name of the data set in messages.
        name: the name of its cache file.
        shapes: the shape of each uint8 array, in the order of `_idx.FILES`.
        sha256: the SHA-256 of each unpacked IDX file.
        folders: the folders in which packages of the system put the files.
        url: the address to which the names of the files, with `.gz`, are appended.
        hint: what the user can do without a network, for messages.
    """

    title: str
    name: str
    shapes: tuple[tuple[int, ...], ...]
    sha256: tuple[str, ...]
    folders: tuple[str, ...]
    url: str
    hint: str

    def load(self, path: str | None) -> list[NDArray[np.uint8]]:
        """Returns the arrays: from the folder `path`, else the cache, else a folder of the system, else the network.

        Raises:
            FileNotFoundError: `path` lacks one of the files.
            ValueError: a file in `path` isn't the IDX file of a uint8 array.
            OSError: nothing was found and the download failed, or brought something else.
        """
        if path is not None:
            return [_idx.parse(_idx.read_idx(Path(path), file)) for file in _idx.FILES]
        sizes = [_idx.size(shape) for shape in self.shapes]
        key = bytes.fromhex("".join(self.sha256))
        return [_idx.parse(buffer) for buffer in cache.through(f"{self.name}.idx", key, sizes, self.obtain)]

    def obtain(self) -> list[NDArray[np.uint8]]:
        """Returns the bytes of each IDX file, from a folder of the system that has all of them, else from the network."""
        for folder in map(Path, self.folders):
            try:
                buffers = [_idx.read_idx(folder, file) for file in _idx.FILES]
            except (OSError, ValueError):
                continue
            if self._genuine(buffers):
                return buffers
        buffers = [
            self._download(f"{self.url}{file}.gz", _idx.size(shape))
            for file, shape in zip(_idx.FILES, self.shapes, strict=True)
        ]
        if not self._genuine(buffers):
            msg = f"{self.url} has other files than those of {self.title}, by their SHA-256. {self.hint}"
            raise OSError(msg)
        return buffers

    def _genuine(self, buffers: list[NDArray[np.uint8]]) -> bool:
        return tuple(hashlib.sha256(buffer.data).hexdigest() for buffer in buffers) == self.sha256

    def _download(self, url: str, size: int) -> NDArray[np.uint8]:
        """Downloads an IDX file of so many bytes, packed by gzip, from `url`."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import urlopen

        try:
            with urlopen(url, timeout=_PATIENCE) as answer:
                return _idx.unpack(answer.read(size + _MORE), "the answer", size)
        except (HTTPException, OSError, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()  # the error holds the open response
            folders_text = ", ".join([str(cache.folder()), *self.folders])
            msg = f"{self.title} is in none of {folders_text}, and can't be downloaded from {url}: {error}. {self.hint}"
            raise OSError(msg) from error
