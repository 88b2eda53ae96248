"""Downloads of files, which are kept in a folder: `get_file`."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from engine._base.atomic_files import replacing
from engine._base.checks import choice, path_of
from engine._printing.progress import Progbar, print_message
from engine.utils.archives import extract_archive

_CHUNK = 1 << 16
# The number of seconds without an answer after which a download fails.
_PATIENCE = 60
_SHA256_DIGITS = 64
_ARCHIVES = ("tar", "zip")


def get_file(  # noqa: PLR0917 # Keras' signature
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | Sequence[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file, unless it is there already, and return its path.

    The file appears under its name when all of it has come and its checksum is right, and so does the folder with the contents
    of an archive. That folder is written again only if the archive is another one than before, or the folder is gone.

    Args:
        fname: name of the file, without folders; default the last part of `origin`.
        origin: URL, such as "https://..." or "file:///...".
        untar: whether to extract a tar archive; the same as `extract` with `archive_format="tar"`.
        md5_hash: the MD5 checksum in hexadecimal digits; `file_hash` goes before it.
        file_hash: the checksum in hexadecimal digits. A file that is there with another one is downloaded again.
        cache_subdir: folder below `cache_dir`, or an absolute path.
        hash_algorithm: "sha256", "md5", or "auto", which goes by the number of digits.
        extract: whether to extract a tar or zip archive.
        archive_format: "auto", "tar", "zip", several of these, or None for no extraction.
        cache_dir: default `$KERAS_HOME`, or `~/.keras`.
        force_download: whether to download also what is there.

    Returns:
        The path of the file; of an archive that is extracted, the path of the folder with its contents.

    Raises:
        ValueError: without `origin`, for a checksum that differs, or an archive with files or links that lead outside of
            its folder; nothing is left of that file or folder then.
        OSError: if the file can't be downloaded (urllib.error.URLError) or written.
    """
    if origin is None:
        msg = "`origin` must be the URL of the file to download, got None"
        raise ValueError(msg)
    digits, algorithm = (file_hash, hash_algorithm) if md5_hash is None or file_hash else (md5_hash, "md5")
    choice(algorithm, "hash_algorithm", ("auto", "sha256", "md5"))
    formats = ("tar",) if untar else _formats(archive_format)
    folder = _folder(cache_dir, cache_subdir)
    target, extracted = _places(folder, fname, origin, extract or untar)

    def fetch() -> Path:
        if force_download or not _is_complete(target, digits, algorithm):
            _download(origin, target, digits, algorithm)
        return target

    if extracted is None:
        return str(fetch())
    if not extract_archive(fetch, extracted, formats):
        warnings.warn(
            f"{str(target)!r} is no archive of the format {archive_format!r}: not extracted", stacklevel=2
        )
    return str(extracted)


def _formats(archive_format: str | Sequence[str] | None) -> Sequence[str]:
    if archive_format is None:
        return ()
    if archive_format == "auto":
        return _ARCHIVES
    formats = [archive_format] if isinstance(archive_format, str) else list(archive_format)
    for format_ in formats:
        choice(format_, "archive_format", _ARCHIVES)
    return formats


def _folder(cache_dir: str | os.PathLike[str] | None, cache_subdir: str) -> Path:
    """Returns the folder of the file, and makes it."""
    if cache_dir is None:
        base = Path(os.environ.get("KERAS_HOME") or Path("~") / ".keras")
    else:
        base = Path(path_of(cache_dir, "cache_dir"))
    folder = base.expanduser() / path_of(cache_subdir, "cache_subdir")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _places(
    folder: Path, fname: str | os.PathLike[str] | None, origin: str, extract: bool
) -> tuple[Path, Path | None]:
    """Returns the paths of the file and of what is extracted from it."""
    from urllib.parse import unquote, urlsplit

    file_name = "" if fname is None else path_of(fname, "fname")
    name = file_name or unquote(urlsplit(origin).path).rpartition("/")[2]
    if not file_name and name in ("", ".", ".."):
        msg = f"Can't parse the file name from the origin: {origin!r} ends with no name of a file, so give `fname`"
        raise ValueError(msg)
    if name in (".", "..") or PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        msg = f"`fname` must be the name of a file without folders, got {name!r}: give the folder as `cache_dir`"
        raise ValueError(msg)
    if not extract:
        return folder / name, None
    if file_name and "." in name:
        return folder / name, folder / f"{name.partition('.')[0]}_extracted"
    return folder / f"{name}_archive", folder / name


def _is_complete(target: Path, digits: str | None, algorithm: str) -> bool:
    """Returns whether the file exists and has the right checksum."""
    if not target.exists():
        return False
    if digits is None:
        return True
    hasher = _hasher(digits, algorithm)
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    same: bool = hasher.hexdigest() == digits.lower()
    if not same:
        print_message(
            f"{str(target)!r} has another {hasher.name} checksum than {digits}: downloading it again"
        )
    return same


def _download(origin: str, target: Path, digits: str | None, algorithm: str) -> None:
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    print_message(f"Downloading data from {origin}")
    hasher = _hasher(digits, algorithm)
    try:
        with urlopen(origin, timeout=_PATIENCE) as source, replacing(target) as file:
            _copy(source, file, hasher)
            if digits is not None and hasher.hexdigest() != digits.lower():
                msg = (
                    f"{origin} has the {hasher.name} checksum {hasher.hexdigest()}, expected {digits}: "
                    "it is incomplete, or not the file that is meant"
                )
                raise ValueError(msg)
    except HTTPError as error:
        msg = f"can't download {origin}: {error.code} {error.reason}"
        raise URLError(msg) from error
    except URLError as error:
        msg = f"can't download {origin}: {error.reason}"
        raise URLError(msg) from error


def _copy(source: Any, file: IO[bytes], hasher: Any) -> None:
    """Copies all of `source` to `file` and shows a progress bar."""
    length = source.headers.get("Content-Length")
    expected = int(length) if length and length.isdecimal() else None
    bar, done = Progbar(expected, unit_name="byte"), 0
    while chunk := source.read(_CHUNK):
        file.write(chunk)
        hasher.update(chunk)
        done += len(chunk)
        bar.update(done if expected is None else min(done, expected))
    if expected is not None and done < expected:
        msg = f"the connection ended after {done} of {expected} bytes"
        raise ConnectionError(msg)


def _hasher(digits: str | None, algorithm: str) -> Any:
    long = algorithm == "auto" and digits is not None and len(digits) == _SHA256_DIGITS
    if algorithm == "sha256" or long:
        return hashlib.sha256()
    return hashlib.md5(usedforsecurity=False)
