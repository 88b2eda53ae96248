"""Archives that are extracted to a folder of their own, and write nowhere else."""

from __future__ import annotations

import lzma
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

_READERS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "tar": (tarfile.is_tarfile, tarfile.open),
    "zip": (zipfile.is_zipfile, zipfile.ZipFile),
}


def extract_archive(fetch: Callable[[], Path], folder: Path, formats: Sequence[str]) -> bool:
    """Extracts an archive to a folder, unless that has been done before. Returns False if it has none of the formats.

    A file beside the folder says which archive was extracted. The folder appears when it is complete; if there is one of another
    archive, it takes its place. Several processes wait for each other, so that one of them downloads and extracts.

    Args:
        fetch: downloads the archive if needed, and returns its path.
        folder: where the contents go. If it is a symbolic link, they go to its target.
        formats: the formats that the archive may have, "tar" and "zip".

    Raises:
        ValueError: if the archive has a device, or a file or link that leads outside of the folder.
        OSError: if the archive can't be read, or the folder not be written. Nothing has changed then.
    """
    with _exclusive_file(folder.with_name(f".{folder.name}.extracted")) as note:
        archive = fetch()
        status = archive.stat()
        extracted = f"{status.st_size} bytes of {status.st_mtime_ns}"
        named = [_READERS[name] for name in _READERS if name in formats]
        opening = next((opened for is_one, opened in named if is_one(archive)), None)
        if opening is None:
            return False
        if folder.is_dir() and note.read() == extracted:
            return True
        _extract(opening, archive, Path(os.path.realpath(folder)))
        note.seek(0)
        note.truncate()
        note.write(extracted)
    return True


@contextmanager
def _exclusive_file(path: Path) -> Iterator[IO[str]]:
    """Opens a small text file for reading and writing, which no other process opens meanwhile."""
    try:
        file = path.open("a+", encoding="utf-8")
    except PermissionError:  # what is extracted already may be read by all
        file = path.open(encoding="utf-8")
    with file:
        if sys.platform != "win32":
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _extract(opening: Callable[[Any], Any], archive: Path, folder: Path) -> None:
    """Extracts an archive beside `folder`, and then gives the contents that name."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:32]}.", dir=folder.parent) as unfinished:
        contents = Path(unfinished) / "contents"
        contents.mkdir()
        try:
            with opening(archive) as opened:
                (_unzip if isinstance(opened, zipfile.ZipFile) else _untar)(opened, contents)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            msg = f"{str(archive)!r} is a damaged archive, or not all of one: {error}"
            raise ValueError(msg) from error
        before = Path(unfinished) / "before"
        if folder.exists():
            folder.rename(before)
        try:
            contents.rename(folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise


def _unzip(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in archive.namelist():
        _parts_of(name)
    archive.extractall(folder)  # which writes links as files


def _untar(archive: tarfile.TarFile, folder: Path) -> None:
    """Extracts the members one by one, since the filters of tarfile have let links out of the folder (CVE-2025-4517).

    Symbolic links are made when all files are written, so that no file is written through one.
    """
    links = dict[Path, str]()
    for member in archive:
        path = folder.joinpath(*_parts_of(member.name))
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # an earlier member of this name
        links.pop(path, None)
        if member.issym():
            _require_within(member)
            links[path] = member.linkname
        elif member.islnk():
            os.link(folder.joinpath(*_parts_of(member.linkname)), path)
        elif member.isreg():
            _write(archive, member, path)
        else:
            msg = f"the archive holds a device, {member.name!r}: extract it by hand, if you trust it"
            raise ValueError(msg)
    for path, target in links.items():
        path.symlink_to(target)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        msg = f"the archive holds no contents of {member.name!r}"
        raise ValueError(msg)
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
    if member.mode & 0o100:
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o444) >> 2)  # those who may read it may run it


def _parts_of(name: str) -> tuple[str, ...]:
    """Returns the names of the folders and of the file in a path of an archive; ValueError if it leads out of the folder."""
    paths = PurePosixPath(name), PureWindowsPath(name)
    if any(path.is_absolute() or path.anchor or ".." in path.parts for path in paths):
        msg = f"the archive holds {name!r}, which would lie outside of its folder: extract it by hand, if you trust it"
        raise ValueError(msg)
    return paths[0].parts


def _require_within(member: tarfile.TarInfo) -> None:
    """Raises ValueError unless a symbolic link leads to a place within the folder, whatever the links on the way to it.

    So ".." may only be at its beginning, before any name that could be a link itself.
    """
    target = PurePosixPath(member.linkname).parts
    up = next((number for number, part in enumerate(target) if part != ".."), len(target))
    if up < len(_parts_of(member.name)):
        _parts_of("/".join(target[up:]))
        return
    msg = (
        f"the archive holds the link {member.name!r} to {member.linkname!r}, outside of its folder: extract it by hand, if you "
        "trust it"
    )
    raise ValueError(msg)
