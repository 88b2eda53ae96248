"""Folders some of whose files are replaced together."""

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
    """Yields a function that opens a file of a folder for writing, by name.

    At the end of the block the files take their places together; all others in the folder stay. After an exception all
    of them are as they were.

    Args:
        path: of the folder, which is made, with those that it lies in, if it is missing.

    Raises:
        OSError: if a file or the folder can't be written.
    """
    folder = Path(os.path.realpath(path))
    with making_folder(folder), replacing_together() as opened:
        yield lambda name: opened(folder / name)
