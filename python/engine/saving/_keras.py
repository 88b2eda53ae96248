"""The format `.keras`: Keras' archive of a config, metadata and weights. The same three files may be in a folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from engine.saving import _zip
from engine.saving._h5 import H5Group, H5Reader, opened, write_weights
from engine.saving.contents import ASSETS, CONFIG, METADATA, Contents, Format, Reader, Variables, text_in

WEIGHTS = "model.weights.h5"


class KerasArchive(Format):
    """The format `.keras`."""

    suffixes = (".keras",)
    holds = frozenset({"model"})

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file."""
        with _zip.new(file) as archive:
            write_members(contents, partial(_zip.new_member, archive))

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Opens the file for reading."""
        with _zip.opened(path) as archive:
            if WEIGHTS not in archive.namelist():
                msg = f"expected a {WEIGHTS} file in the archive, got {archive.namelist()}"
                raise ValueError(msg)
            info = archive.getinfo(WEIGHTS)
            weights = io.BytesIO(_zip.bytes_of(archive, info))
            assets = [name for name in archive.namelist() if name.startswith(f"{ASSETS}/")]
            texts = {
                name: _zip.text_of(archive, name) for name in (CONFIG, METADATA, *assets) if _is_text(name)
            }
            with opened(weights, info.compress_size) as root:
                yield KerasReader(root, texts)


@contextmanager
def opened_folder(path: Path) -> Iterator[Reader]:
    """Opens a folder with the files of a `.keras` archive for reading."""
    assets = [each.relative_to(path).as_posix() for each in (path / ASSETS).rglob("*.txt")]
    texts = {name: _text(path / name) for name in (CONFIG, METADATA, *assets)}
    if texts[CONFIG] is None:
        msg = f"the folder {str(path)!r} holds no saved model, as it has no {CONFIG}: give one that model.save() has written"
        raise FileNotFoundError(msg)
    with opened(path / WEIGHTS) as root:
        yield KerasReader(root, texts)


class KerasReader(Reader):
    """An open archive or folder.

    Args:
        root: the root group of the file of weights.
        texts: the texts by name.
    """

    def __init__(self, root: H5Group, texts: dict[str, str | None]) -> None:
        self._weights = H5Reader(root)
        self._texts = texts

    def text(self, name: str) -> str | None:
        """Returns the text of a name; None if there is none."""
        return self._texts.get(name)

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group; empty if there is no such group."""
        return self._weights.group(path)


def write_members(contents: Contents, opened: Callable[[str], AbstractContextManager[IO[bytes]]]) -> None:
    """Writes the files of a model: the texts, then the weights.

    Args:
        contents: what the files hold.
        opened: opens a file of a name for writing.
    """
    for name, text in contents.texts.items():
        with opened(name) as file:
            file.write(text.encode())
    with opened(WEIGHTS) as file:
        write_weights(file, contents)


def _is_text(name: str) -> bool:
    return name.endswith((".json", ".txt"))


def _text(path: Path) -> str | None:
    if not path.exists():
        return None
    return text_in(path)
