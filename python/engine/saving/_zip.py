"""Reading of zip archives that anybody may have made."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath
from typing import IO, Any

from engine.saving.contents import require_plausible

# Of a text: a config with the statistics of a million features.
MOST_TEXT = 2**26
_DATE = (1980, 1, 1, 0, 0, 0)  # the same contents give the same bytes


def opened(file: Any) -> zipfile.ZipFile:
    """The archive in `file`, a path or an open file.

    Raises:
        ValueError: for names that lie outside of it, or occur twice, and for what is no archive.
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
    return archive


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member, opened."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        msg = f"{info.filename!r} is encrypted, or compressed in another way than zip's own"
        raise ValueError(msg)
    require_plausible(info.filename, info.file_size, info.compress_size)
    return archive.open(info)


def bytes_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """All of a member, whose check sum is right."""
    with member(archive, info) as file:
        return file.read()


def text_of(archive: zipfile.ZipFile, name: str) -> str | None:
    """A member as text; None if there is none."""
    if name not in archive.NameToInfo:
        return None
    info = archive.getinfo(name)
    if info.file_size > MOST_TEXT:
        msg = f"{name!r} must not be longer than {MOST_TEXT} bytes, got {info.file_size}"
        raise ValueError(msg)
    return bytes_of(archive, info).decode()


def new_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member to write to."""
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=True)
