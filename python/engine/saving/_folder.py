"""Folders that are whole or as they were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def replace_folder(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Let a new folder take the place of what is at `path`.

    It is on the disk before. Where the machine stops in between the two, the old one is beside it.

    Args:
        path: of the folder, which may exist.
        files: contents by name.

    Raises:
        NotADirectoryError: if there is a file.
    """
    target = Path(os.path.realpath(path))
    if target.is_file():
        msg = f"{path} is a file: give the name of a folder"
        raise NotADirectoryError(msg)
    new, old = (target.with_name(f".{os.urandom(8).hex()}.tmp") for _ in range(2))
    new.mkdir()
    try:
        for name, content in files.items():
            with (new / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            target.replace(old)
        new.replace(target)
    finally:
        for rest in (new, old) if target.exists() else (new,):
            shutil.rmtree(rest, ignore_errors=True)
