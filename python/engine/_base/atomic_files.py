"""Atomic writing: a file gets its name only when all of it is on the disk, alone or together with other files.

Everything that writes a file of the user's calls this: saving and exporting models, checkpoints, backups and logs.
"""

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

# The temporary name of a file begins with so many characters of its name. File names have at most 255 bytes.
_KEPT_CHARACTERS = 32
# The suffixes of files of weights in scripts for TensorFlow, which writes several files with longer ones.
_OF_CHECKPOINTS = ("", ".ckpt", ".tf")

Opener = Callable[..., AbstractContextManager[IO[Any]]]


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Yields a file to write, which is renamed to `path` at the end of the block.

    Until then the file has a temporary name in the same folder. If the block raises, or the machine stops, `path` is as
    it was before. A new file has the permissions that the umask gives. A file that replaces another one gets its
    permissions, and its owner and group if the process may set them. If `path` is a symbolic link, its target is replaced.

    This function also removes temporary files of killed processes, if they were written for the same path on this machine
    and no process is still writing them. Their name says the former, a file lock the latter. A file that can't be locked
    (on Windows, and on some network file systems) gets a name that is never removed.

    Args:
        path: the path of the file. Its folder must exist.
        mode: as for `open`: "wb", "w+b" for a writer that also reads, or "w" for UTF-8 text with line feeds.

    Raises:
        OSError: if the file can't be written, with the reason. Nothing has changed then.
    """
    with replacing_together() as opened, opened(path, mode) as file:
        yield file


@contextmanager
def replacing_together() -> Iterator[Opener]:
    """Yields a function like `replacing`; all files opened by it are renamed to their paths at the end of this block.

    They are renamed in the order in which they were opened. If one can't be renamed, the old files are restored. A process
    that is killed in between leaves some new files and some old ones. Each old file that was already replaced then lies
    beside the new one, with a name that begins with a dot and ends in `.old`.

    Raises:
        OSError: if a file can't be written, with the reason. Nothing has changed then.
    """
    files: list[_Unfinished] = []

    @contextmanager
    def opened(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
        unfinished = _Unfinished(path)
        # First into the list, so that a KeyboardInterrupt at any later moment finds it there and removes the file.
        files.append(unfinished)
        file = unfinished.open(mode)
        with unfinished.explained():
            yield file
            file.flush()
            os.fsync(file.fileno())

    try:
        yield opened
        for file in files:
            with file.explained():
                file.rename_to_target(keep_old=file is not files[-1])
    except BaseException:
        # A KeyboardInterrupt may come when all files are in place already.
        if not (files and files[-1].in_place):
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
    finally:  # also after a KeyboardInterrupt in `_sync`, which waits for the disk
        _remove_old(files)


@contextmanager
def making_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a folder with its missing parents, and removes what it made if the block raises.

    Args:
        path: the path of the folder, which may exist.

    Raises:
        NotADirectoryError: if the path or one of its parents is a file.
        OSError: if a folder can't be made.
    """
    folder = Path(path)
    missing = [ancestor for ancestor in (folder, *folder.parents) if not ancestor.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            wrong = next(
                (
                    ancestor
                    for ancestor in (folder, *folder.parents)
                    if ancestor.exists() and not ancestor.is_dir()
                ),
                folder,
            )
            msg = f"can't make the folder {str(folder)!r}, as {str(wrong)!r} is a file: give another path"
            raise NotADirectoryError(msg) from error
        yield
    except BaseException:
        for ancestor in missing:
            with suppress(OSError):  # the folder was never made, or other processes have put files into it
                ancestor.rmdir()
        raise


def require_folder_of(path: Path) -> None:
    """Raises FileNotFoundError or NotADirectoryError unless the folder of a file that is to be written exists."""
    if path.parent.exists() and not path.parent.is_dir():
        msg = f"can't write {str(path)!r}: {str(path.parent)!r} is a file: give another path"
        raise NotADirectoryError(msg)
    if not path.parent.is_dir():
        msg = f"can't write {str(path)!r}: there is no folder {str(path.parent)!r}: make it first"
        raise FileNotFoundError(msg)


class _Unfinished:
    """A file that is written under a temporary name in the folder of its target.

    Args:
        path: the path of the target.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.target = Path(os.path.realpath(path))
        _require_writable(self.target)
        _remove_leftovers(self.target)
        name, number = f".{self.target.name[:_KEPT_CHARACTERS]}", os.urandom(4).hex()
        # A locked file has another temporary name than one that could not be locked: only the former may be removed
        # by other processes.
        self.path = self._unlocked = self.target.with_name(f"{name}.{number}.tmp")
        self._locked = self.target.with_name(f"{_locked_prefix(self.target)}{number}.tmp")
        self.old = self.target.with_name(f"{name}.{number}.old")
        self._file: IO[Any] | None = None
        self._status: os.stat_result | None = None
        self._may_exist = self._is_new = False

    def open(self, mode: str) -> IO[Any]:
        """Makes and returns the file.

        Args:
            mode: as for `open`.

        Raises:
            OSError: if the file can't be made.
        """
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        self._may_exist = True  # set before the file is made, since a KeyboardInterrupt may come right after
        try:
            file: IO[Any] = self.path.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload] # text or not
        except OSError as error:
            self._may_exist = False
            msg = f"can't write {str(self.target)!r}: {error.strerror}, in folder {str(self.target.parent)!r}"
            raise type(error)(error.errno, msg) from error
        self._file, self._status = file, os.fstat(file.fileno())
        if _lock(file.fileno()):
            # Renamed after it is locked, so that a file with the name of locked files is never unlocked while it is written.
            self.path = self.path.rename(self._locked)
        if self.target.exists():
            self._copy_ownership(self._status, self.target.stat())
        return file

    def _copy_ownership(self, new: os.stat_result, old: os.stat_result) -> None:
        """Gives the new file the owner, the group and the permissions of the old one."""
        if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with suppress(OSError):  # most users may not change the owner
                os.chown(self.path, old.st_uid, old.st_gid)
        self.path.chmod(old.st_mode & 0o7777)  # after `chown`, which clears some permissions

    @property
    def in_place(self) -> bool:
        """Whether the file has been renamed to its target."""
        if self._status is None:
            return False
        try:
            return os.path.samestat(self._status, self.target.stat())
        except OSError:
            return False

    def rename_to_target(self, keep_old: bool) -> None:
        """Renames the file to its target.

        Args:
            keep_old: whether to keep the file that it replaces, under the name `old`.
        """
        if self.path != self._unlocked:
            # The file must be closed, and so unlocked, before it gets its final name: Windows can't rename an open file,
            # and other processes must not find the target locked. So it first gets a name that no process removes.
            self.path = self.path.rename(self._unlocked)
        if self._file is not None:
            self._file.close()  # this may write the last bytes
        if keep_old:
            self._is_new = not self.target.exists()
            if not self._is_new:
                try:
                    os.link(self.target, self.old)
                except OSError:  # the file system has no hard links
                    self.target.replace(self.old)
        self.path.replace(self.target)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Names the target in the message of an OSError that the block raises for this file."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename not in {None, *map(str, (self.path, self.target))}:
                raise
            msg = f"can't write {str(self.target)!r}: {error.strerror}; what was there before is unchanged"
            raise type(error)(error.errno, msg) from error

    def undo(self) -> bool:
        """Restores the target as it was before. Returns False if that is impossible."""
        in_place = self.in_place
        with suppress(OSError):
            if not in_place and self._may_exist:
                # Both names, since a KeyboardInterrupt may come between a renaming and the assignment of `self.path`.
                for path in (self._locked, self._unlocked):
                    path.unlink(missing_ok=True)
            if in_place and self._is_new:
                self.target.unlink()
            elif self.old.exists():
                if in_place or not self.target.exists():
                    self.old.replace(self.target)
                else:
                    self.old.unlink()
            return True
        return False

    def close(self) -> None:
        """Closes the file, which also unlocks it."""
        with suppress(OSError):  # errors of writing were raised before
            if self._file is not None:
                self._file.close()


def _remove_old(files: Sequence[_Unfinished]) -> None:
    """Removes the old files that have been replaced."""
    for file in files:
        with suppress(OSError):
            file.old.unlink(missing_ok=True)


def _undo(files: Sequence[_Unfinished]) -> None:
    """Restores all targets. If some can't be restored, raises OSError that says where their old files are."""
    not_restored = [file for file in reversed(files) if not file.undo() and file.old.exists()]
    if not_restored:
        names = ", ".join(f"{str(file.old)!r} to {str(file.target)!r}" for file in not_restored)
        msg = f"the files could not all be replaced, nor the old ones be put back: rename {names}"
        raise OSError(msg)


def _locked_prefix(target: Path) -> str:
    """Returns how the names of all locked temporary files begin that this machine writes for `target`."""
    machine_and_name = f"{os.uname().nodename}/{target.name}".encode(errors="surrogateescape")
    return f".{target.name[:_KEPT_CHARACTERS]}.{zlib.crc32(machine_and_name):08x}."


def _lock(descriptor: int) -> bool:
    """Locks an open file until it is closed. Returns False if another process holds its lock, or locks don't exist here."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_leftovers(target: Path) -> None:
    """Removes temporary files for `target` that no process is writing any more."""
    if sys.platform == "win32":
        return
    prefix = _locked_prefix(target)
    with suppress(OSError), os.scandir(target.parent) as entries:  # a writable folder may be unreadable
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
        for name in names:
            if name.endswith(".tmp"):
                _remove_unless_locked(target.with_name(name))


def _remove_unless_locked(path: Path) -> None:
    with suppress(OSError):  # the file is gone, or belongs to another user
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if _lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _require_writable(target: Path) -> None:
    """Raises OSError if `target` can't be a file, or if it is a file without write permission."""
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
        error = PermissionError
        problem = "it may not be written to: change its permissions, or give another path"
    msg = f"can't write {str(target)!r}: {problem}"
    raise error(msg)


def _sync(folder: Path) -> None:
    """Writes the new names in a folder to the disk, if the system can do that."""
    with suppress(OSError):  # Windows can't open folders, and an unreadable folder can't be opened either
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_checkpoint(path: str) -> bool:
    """Returns whether a file of weights has a name as TensorFlow's checkpoints have, such as "model" or "model.ckpt"."""
    return bool(Path(path).name) and Path(path).suffix in _OF_CHECKPOINTS
