"""The format `.keras`: Keras' archive of a config, metadata and weights. The same three files may be in a folder."""

from __future__ import annotations

import io
import os
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
                name: _zip.text_member(archive, name)
                for name in (CONFIG, METADATA, *assets)
                if _is_text(name)
            }
            with opened(weights, info.compress_size) as root:
                yield KerasReader(root, texts.get)


@contextmanager
def opened_folder(path: Path) -> Iterator[Reader]:
    """Opens a folder with the files of a `.keras` archive for reading."""
    if not (path / CONFIG).exists():
        msg = f"the folder {str(path)!r} holds no saved model, as it has no {CONFIG}: give one that model.save() has written"
        raise FileNotFoundError(msg)
    with opened(_file_of_folder(path, WEIGHTS)) as root:
        yield KerasReader(root, partial(_text, path))


class KerasReader(Reader):
    """An open archive or folder.

    Args:
        root: the root group of the file of weights.
        text: returns the text of a name; None if there is none.
    """

    def __init__(self, root: H5Group, text: Callable[[str], str | None]) -> None:
        self._weights = H5Reader(root)
        self._text = text

    def text(self, name: str) -> str | None:
        """Returns the text of a name; None if there is none."""
        return self._text(name)

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


def _text(folder: Path, name: str) -> str | None:
    """Returns the text in a file of a folder; None if there is no such file."""
    path = _file_of_folder(folder, name)
    return text_in(path) if path.exists() else None


def _files_of_snapshot(folder: Path) -> list[Path]:
    """Returns the folder of a cache of Hugging Face to whose files a snapshot links; nothing for other folders.

    Args:
        folder: a snapshot or a folder in it, without links: `models--NAME/snapshots/REVISION`.
    """
    return [
        ancestor.parent / "blobs"
        for ancestor in folder.parents
        if ancestor.name == "snapshots" and ancestor.parent.name.startswith("models--")
    ]


def _file_of_folder(folder: Path, name: str) -> Path:
    """Returns the path of a file of a folder.

    Raises:
        ValueError: if a link leads out of the folder, since the file would be one that the folder doesn't hold. In a cache of
            Hugging Face it may lead to the files of the same model.
    """
    path = folder / name
    target = Path(os.path.realpath(path))
    real = Path(os.path.realpath(folder))
    if not any(map(target.is_relative_to, [real, *_files_of_snapshot(real)])):
        msg = f"{name!r} is a link to {str(target)!r}, outside of the folder: copy the file into the folder, if you trust it"
        raise ValueError(msg)
    return path
