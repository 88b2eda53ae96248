"""Writing of zip archives, and reading with checks against damaged and malicious ones, for `.npz` and `.keras`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from engine.saving.contents import MOST_TEXT, require_plausible, size_of

_DATE = (1980, 1, 1, 0, 0, 0)  # a constant, so that the same contents give the same bytes


def opened(file: Path | BytesIO) -> zipfile.ZipFile:
    """Opens the archive in `file`, a path or bytes in memory, for reading.

    Raises:
        ValueError: if it is no archive, if a member's name occurs twice or leads out of the archive, or if members share
            their bytes.
        zipfile.BadZipFile: if a member has one name in the list of members and another one before its bytes. Without this
            check a damaged name would hide an array.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        msg = f"this is no zip archive, or a part of one: {error}"
        raise ValueError(msg) from error
    seen = set()
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or info.filename in seen:
            archive.close()
            msg = f"the archive has a member named {info.filename!r}, which is outside of it or there twice: refused"
            raise ValueError(msg)
        seen.add(info.filename)
    # Without this check a small archive could have many members that unpack the same bytes.
    if sum(info.compress_size for info in archive.infolist()) > size_of(file):
        archive.close()
        msg = "the members of the archive say that they are longer than all of it: refused"
        raise ValueError(msg)
    try:
        for info in archive.infolist():
            archive.open(info).close()  # `open` compares the name with the one before the bytes
    except BaseException:
        archive.close()
        raise
    return archive


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Opens a member for reading."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        msg = f"{info.filename!r} is encrypted, or compressed in another way than zip's own"
        raise ValueError(msg)
    require_plausible(info.filename, info.file_size, info.compress_size)
    return archive.open(info)


def bytes_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns the bytes of a member. Its checksum is checked."""
    with member(archive, info) as file:
        data = file.read(info.file_size)  # without a limit zipfile would unpack whatever is there
    if len(data) != info.file_size:
        msg = f"{info.filename!r} says that it has {info.file_size} bytes, but has {len(data)}"
        raise ValueError(msg)
    return data


def text_member(archive: zipfile.ZipFile, name: str) -> str | None:
    """Returns a member as text; None if there is none of that name."""
    if name not in archive.NameToInfo:
        return None
    info = archive.getinfo(name)
    if info.file_size > MOST_TEXT:
        msg = f"{name!r} must not be longer than {MOST_TEXT} bytes, got {info.file_size}"
        raise ValueError(msg)
    return bytes_of(archive, info).decode()


@contextmanager
def new(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Yields a new archive, which is closed at the end of the block.

    After an exception it is not closed, since closing it while a member is open raises another error.
    """
    archive = zipfile.ZipFile(file, "w")
    try:
        yield archive
    except BaseException:
        archive.fp = None  # the destructor doesn't close it either then
        raise
    archive.close()


def new_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Opens a new member for writing."""
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=True)
