"""Files that take their places when they are whole, one or several together; and the folders that they are in."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

# How many characters of a file's name its temporary name keeps; names have at most 255 bytes.
_KEPT = 32

Opener = Callable[..., AbstractContextManager[IO[Any]]]


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Yields a file to write, which takes the place of `path` at the end of the block.

    The file has a temporary name beside `path` until all of it is on the disk. After an exception, or where the machine
    stops, `path` is as it was: its old contents, or nothing. A new file has the permissions that the umask gives, one
    that replaces another has those of the old one, with its owner and group where the system lets the process give them;
    a symbolic link keeps its target.

    Temporary files that killed processes left beside `path` are removed, if they were written for the same file and on
    this machine, and if no process is still writing them. The temporary name tells the former, a lock the latter. Where
    a file can't be locked (on Windows, and on some network file systems) it gets a name that is never removed.

    Args:
        path: of the file, in a folder that exists.
        mode: as of `open`: "wb"; "w+b" for what reads as it writes; "w" for UTF-8 with line feeds.

    Raises:
        OSError: if the file can't be written, with the reason; nothing has changed then.
    """
    with replacing_together() as opened, opened(path, mode) as file:
        yield file


@contextmanager
def replacing_together() -> Iterator[Opener]:
    """Yields a function with the arguments of `replacing`, whose files take their places at the end of this block.

    They do so one after the other, in the order in which they were opened. If one of them can't, those before it are
    put back. A process that is killed between two of them leaves new files and old ones; each old file that has been
    replaced is then beside the new one, with a name that begins with a dot and ends in `.old`.

    Raises:
        OSError: if a file can't be written, with the reason; nothing has changed then.
    """
    files: list[_Unfinished] = []

    @contextmanager
    def opened(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
        unfinished = _Unfinished(path)
        files.append(
            unfinished
        )  # before there is a file, which is then removed whenever a KeyboardInterrupt comes
        file = unfinished.open(mode)
        with unfinished.explained():
            yield file
            file.flush()
            os.fsync(file.fileno())

    try:
        yield opened
        for file in files:
            with file.explained():
                file.take_place(keep_old=file is not files[-1])
    except BaseException:
        if not (files and files[-1].taken):  # all of them are, if a KeyboardInterrupt came that late
            _undo(files)
        else:
            _remove_old(files)
        raise
    finally:
        for file in files:
            file.close()
    try:
        for folder in {file.target.parent for file in files}:
            _sync(folder)
    finally:  # also where a KeyboardInterrupt comes while the disk is waited for
        _remove_old(files)


@contextmanager
def making_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a folder and those that it lies in, where they are missing, and removes them again if the block raises.

    Args:
        path: of the folder, which may exist.

    Raises:
        NotADirectoryError: if there is a file in its place, or on the way to it.
        OSError: if a folder can't be made.
    """
    folder = Path(path)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            wrong = next(
                (each for each in (folder, *folder.parents) if each.exists() and not each.is_dir()), folder
            )
            msg = f"can't make the folder {str(folder)!r}, as {str(wrong)!r} is a file: give another path"
            raise NotADirectoryError(msg) from error
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):  # not made, or not empty, as others use it meanwhile
                each.rmdir()
        raise


def require_folder_of(path: Path) -> None:
    """Raise FileNotFoundError, or NotADirectoryError, unless there is the folder that a file is to be in."""
    if path.parent.exists() and not path.parent.is_dir():
        msg = f"can't write {str(path)!r}: {str(path.parent)!r} is a file: give another path"
        raise NotADirectoryError(msg)
    if not path.parent.is_dir():
        msg = f"can't write {str(path)!r}: there is no folder {str(path.parent)!r}: make it first"
        raise FileNotFoundError(msg)


class _Unfinished:
    """A file that is written beside its target under a temporary name, from `open` on.

    Args:
        path: of the target.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.target = Path(os.path.realpath(path))
        _require_place(self.target)
        _remove_leftovers(self.target)
        name, number = f".{self.target.name[:_KEPT]}", os.urandom(4).hex()
        self.path = self._unlocked = self.target.with_name(f"{name}.{number}.tmp")
        self._marked = self.target.with_name(f"{_mark(self.target)}{number}.tmp")
        self.old = self.target.with_name(f"{name}.{number}.old")
        self._file: IO[Any] | None = None
        self._status: os.stat_result | None = None
        self._may_exist = self._is_new = False

    def open(self, mode: str) -> IO[Any]:
        """Make the file.

        Args:
            mode: as of `open`.

        Raises:
            OSError: if it can't be made.
        """
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        self._may_exist = True  # before it does, as a KeyboardInterrupt may come right after
        try:
            file: IO[Any] = self.path.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload] # text or not
        except OSError as error:
            self._may_exist = False
            msg = f"can't write {str(self.target)!r}: {error.strerror}, in folder {str(self.target.parent)!r}"
            raise type(error)(error.errno, msg) from error
        self._file, self._status = file, os.fstat(file.fileno())
        if _locked(file.fileno()):
            # Only now, so that a file with this name is locked for as long as a process writes it.
            self.path = self.path.rename(self._marked)
        if self.target.exists():
            self._take_over(self._status, self.target.stat())
        return file

    def _take_over(self, new: os.stat_result, old: os.stat_result) -> None:
        """Have the owner, the group and the permissions of the file that is replaced."""
        if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with suppress(OSError):  # few may give files away
                os.chown(self.path, old.st_uid, old.st_gid)
        self.path.chmod(old.st_mode & 0o7777)  # afterwards, as a change of the owner takes some of them away

    @property
    def taken(self) -> bool:
        """Whether the file has taken its place."""
        if self._status is None:
            return False
        try:
            return os.path.samestat(self._status, self.target.stat())
        except OSError:
            return False

    def take_place(self, keep_old: bool) -> None:
        """Rename it.

        Args:
            keep_old: whether to keep the file that it replaces, as `old`.
        """
        if self.path != self._unlocked:
            # No process removes a file with the name that it gets now, so that its lock can go: Windows renames no open
            # file, and others that open the target must not find it locked.
            self.path = self.path.rename(self._unlocked)
        if self._file is not None:
            self._file.close()  # which may write the last of it
        if keep_old:
            self._is_new = not self.target.exists()
            if not self._is_new:
                try:
                    os.link(self.target, self.old)
                except OSError:  # a file system without hard links
                    self.target.replace(self.old)
        self.path.replace(self.target)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Within the block, name the target in errors of writing it."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename not in {None, *map(str, (self.path, self.target))}:
                raise
            msg = f"can't write {str(self.target)!r}: {error.strerror}; what was there before is unchanged"
            raise type(error)(error.errno, msg) from error

    def undo(self) -> bool:
        """Have the target as it was; returns False if that can't be."""
        taken = self.taken
        with suppress(OSError):
            if not taken and self._may_exist:
                for path in (
                    self._marked,
                    self._unlocked,
                ):  # a KeyboardInterrupt may come right after a renaming
                    path.unlink(missing_ok=True)
            if taken and self._is_new:
                self.target.unlink()
            elif self.old.exists():
                if taken or not self.target.exists():
                    self.old.replace(self.target)
                else:
                    self.old.unlink()
            return True
        return False

    def close(self) -> None:
        """Close the file, which also gives up the lock."""
        with suppress(OSError):  # what couldn't be written has been reported
            if self._file is not None:
                self._file.close()


def _remove_old(files: Sequence[_Unfinished]) -> None:
    """Remove the files that have been replaced."""
    for file in files:
        with suppress(OSError):
            file.old.unlink(missing_ok=True)


def _undo(files: Sequence[_Unfinished]) -> None:
    """Have all targets as they were; an OSError names those that could not be put back, and where their old files are."""
    kept = [file for file in reversed(files) if not file.undo() and file.old.exists()]
    if kept:
        names = ", ".join(f"{str(file.old)!r} to {str(file.target)!r}" for file in kept)
        msg = f"the files could not all be replaced, nor the old ones be put back: rename {names}"
        raise OSError(msg)


def _mark(target: Path) -> str:
    """What begins the names of locked temporary files of this machine for `target`."""
    of = f"{os.uname().nodename}/{target.name}".encode(errors="surrogateescape")
    return f".{target.name[:_KEPT]}.{zlib.crc32(of):08x}."


def _locked(number: int) -> bool:
    """Lock an open file for as long as it is open; False if another has locked it, or files can't be locked here."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files for `target` that no process is writing any more."""
    if sys.platform == "win32":
        return
    mark = _mark(target)
    with suppress(OSError), os.scandir(target.parent) as entries:  # a folder may be written to but not listed
        names = [entry.name for entry in entries if entry.name.startswith(mark)]
        for name in names:
            if name.endswith(".tmp"):
                _remove_unless_locked(target.with_name(name))


def _remove_unless_locked(path: Path) -> None:
    with suppress(OSError):  # gone meanwhile, or of another user
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if _locked(number):
                path.unlink()
        finally:
            os.close(number)


def _require_place(target: Path) -> None:
    """Raise OSError where no file can be, or one that its owner doesn't want changed."""
    require_folder_of(target)
    error: type[OSError] = OSError
    if target.is_dir():
        error, problem = IsADirectoryError, "it is a folder: give the path of a file"
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
