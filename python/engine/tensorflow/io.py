"""`tf.io`: files as texts and bytes."""

from __future__ import annotations

import shutil
from glob import glob as _glob
from pathlib import Path
from typing import Any

import numpy as np

from engine.tensorflow._tensor import constant

__all__ = ["gfile", "read_file", "write_file"]


def read_file(filename: Any, name: str | None = None) -> Any:
    """Returns the text of a file. `name` is without effect."""
    return constant(Path(str(filename)).read_text(encoding="utf-8"))


def write_file(filename: Any, contents: Any, name: str | None = None) -> None:
    """Writes a text to a file, whose folder is made if it is missing."""
    path = Path(str(filename))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(np.asarray(constant(contents))), encoding="utf-8")


class gfile:  # noqa: N801 # a module in TensorFlow
    """Files and folders, by the functions of Python."""

    GFile = staticmethod(open)

    @staticmethod
    def exists(path: Any) -> bool:
        """Returns whether there is a file or folder."""
        return Path(path).exists()

    @staticmethod
    def isdir(path: Any) -> bool:
        """Returns whether there is a folder."""
        return Path(path).is_dir()

    @staticmethod
    def glob(pattern: Any) -> list[str]:
        """Returns the paths that match a pattern."""
        return sorted(_glob(str(pattern)))  # noqa: PTH207 # patterns begin anywhere

    @staticmethod
    def listdir(path: Any) -> list[str]:
        """Returns the names in a folder."""
        return sorted(each.name for each in Path(path).iterdir())

    @staticmethod
    def makedirs(path: Any) -> None:
        """Makes a folder, and those around it."""
        Path(path).mkdir(parents=True, exist_ok=True)

    mkdir = makedirs

    @staticmethod
    def remove(path: Any) -> None:
        """Deletes a file."""
        Path(path).unlink()

    @staticmethod
    def rmtree(path: Any) -> None:
        """Deletes a folder and all in it."""
        shutil.rmtree(path)

    @staticmethod
    def copy(src: Any, dst: Any, overwrite: bool = False) -> None:
        """Copies a file.

        Raises:
            FileExistsError: if there is a file at the new path already, unless `overwrite` is true.
        """
        if Path(dst).exists() and not overwrite:
            msg = f"there is a file {str(dst)!r} already: pass overwrite=True to replace it"
            raise FileExistsError(msg)
        shutil.copyfile(src, dst)

    @staticmethod
    def rename(src: Any, dst: Any, overwrite: bool = False) -> None:
        """Renames a file.

        Raises:
            FileExistsError: if there is a file at the new path already, unless `overwrite` is true.
        """
        if Path(dst).exists() and not overwrite:
            msg = f"there is a file {str(dst)!r} already: pass overwrite=True to replace it"
            raise FileExistsError(msg)
        Path(src).replace(dst)
