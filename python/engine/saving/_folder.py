"""Writing of several files of a folder at once, for models that are saved with `zipped=False`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

from engine._base.atomic_files import making_folder, replacing_together


@contextmanager
def replacing_in_folder(
    path: str | os.PathLike[str],
) -> Iterator[Callable[[str], AbstractContextManager[IO[Any]]]]:
    """Yields a function that opens a file of a folder for writing, by its name.

    At the end of the block all these files are replaced together. Other files in the folder are kept. After an exception
    the folder is unchanged.

    Args:
        path: the path of the folder. It is made with its parents if it is missing.

    Raises:
        OSError: if a file or the folder can't be written.
    """
    folder = Path(os.path.realpath(path))
    with making_folder(folder), replacing_together() as opened:
        yield lambda name: opened(folder / name)
