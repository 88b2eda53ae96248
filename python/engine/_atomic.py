"""Files that are either whole or as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

# Of a file's name, how much is kept in that of the unfinished one; names have at most 255 bytes.
_KEPT = 32


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """A file to be written, which takes the place of `path` at the end of the block.

    It lies beside `path` under another name until all of it is on the disk. After an exception, or where the machine
    stops, `path` is as it was: its old contents, or nothing. What is replaced keeps its permissions, and a link keeps
    pointing where it does.

    Args:
        path: of the file, in a folder that exists.
        mode: as of `open`: "wb"; "w+b" for what reads as it writes; "w" for UTF-8 with line feeds.

    Yields:
        The open file. Its `name` is for libraries that open a path themselves, and close it before the block ends.

    Raises:
        OSError: where the file can't be made, with the reason; nothing has changed then.
    """
    target = Path(os.path.realpath(path))
    _require_place(target)
    unfinished = target.with_name(f".{target.name[:_KEPT]}.{os.urandom(4).hex()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        file: IO[Any] = unfinished.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload] # text or not
    except OSError as error:
        msg = f"can't write {str(target)!r}: {error.strerror}, in folder {str(target.parent)!r}"
        raise type(error)(error.errno, msg) from error
    try:
        with file:
            if target.exists():
                unfinished.chmod(target.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _require_place(target: Path) -> None:
    """Raise OSError where no file can be, or one that its owner doesn't want changed."""
    error: type[OSError] = OSError
    if target.is_dir():
        error, problem = IsADirectoryError, "it is a folder: give the path of a file"
    elif not target.parent.is_dir():
        error, problem = FileNotFoundError, f"there is no folder {str(target.parent)!r}: make it first"
    elif not target.exists():
        return
    elif not target.is_file():
        problem = "it is a device or the like: give the path of a file"
    elif os.access(target, os.W_OK):
        return
    else:
        error, problem = (
            PermissionError,
            "it may not be written to: change its permissions, or give another path",
        )
    msg = f"can't write {str(target)!r}: {problem}"
    raise error(msg)


def _sync(folder: Path) -> None:
    """Have the new name on the disk as well, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders, and others none that may not be read
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
