"""Weights in several files: `.weights.json` is an index that says which `.weights.h5` beside it holds which arrays.

This is Keras' form for weights that are too large for one file. `save_weights` writes it if `max_shard_size` is given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from engine._base.atomic_files import replacing, replacing_together
from engine._base.checks import above_zero
from engine.saving._h5 import H5Reader, opened, write_weights
from engine.saving.contents import Contents, Format, Group, Reader, Stored, Variables, text_in, vars_of

INDEX, SHARD = ".weights.json", ".weights.h5"
# The key under which the index and its files hold the random number of the call that wrote them.
SAVE = "save"


class Shards(Format):
    """The format of weights in several files. `write_shards` writes it."""

    suffixes = (INDEX,)
    holds = frozenset()

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Opens the index for reading, and the files that it names."""
        with ExitStack() as stack:
            yield _open_all(path, stack)

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes the groups in `contents` to one file."""
        write_weights(file, contents)


class ShardsReader(Reader):
    """An open index.

    Args:
        places: for each group the names of the files that hold it.
        readers: the files by name.
    """

    def __init__(self, names_of_groups: dict[str, list[str]], readers: dict[str, H5Reader]) -> None:
        self._places, self._readers = names_of_groups, readers

    def text(self, name: str) -> str | None:
        """Returns None: these files hold only weights."""
        del name
        return None

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group from all files that hold some of them; empty if there is no such group."""
        arrays: dict[str, Stored] = {}
        for name in dict.fromkeys(self._places.get(f"/{vars_of(path)[:-1]}", ())):
            arrays |= self._readers[name].group(path).stored
        return Variables(arrays)


def _open_all(path: Path, stack: ExitStack) -> ShardsReader:
    """Opens the index at `path` and the files that it names, which `stack` closes.

    Another process that saves to this path removes the files of the earlier index. Then the new index is read.
    """
    while True:
        names_of_groups, save = index_in(path)
        names = dict.fromkeys(name for names in names_of_groups.values() for name in names)
        with ExitStack() as attempt:
            try:
                readers = {name: attempt.enter_context(_shard(path, name, save)) for name in names}
            except (OSError, ValueError):
                if index_in(path) == (names_of_groups, save):
                    raise
                continue
            stack.push(attempt.pop_all())
            return ShardsReader(names_of_groups, readers)


@contextmanager
def _shard(path: Path, name: str, save: str | None) -> Iterator[H5Reader]:
    """Opens a file that the index at `path` names: beside the index, or beside the target of a symbolic link."""
    here = path.with_name(name)
    with opened(here if here.exists() else Path(os.path.realpath(path)).with_name(name)) as root:
        if save is not None and root.text(SAVE) != save:
            msg = (
                f"{name!r} was not written by the save that wrote the index: give an index and its own files"
            )
            raise ValueError(msg)
        yield H5Reader(root)


def index_in(path: Path) -> tuple[dict[str, list[str]], str | None]:
    """Returns the names of the files for each group, and the number of the call that wrote them, or None without one.

    Raises:
        ValueError: if the file is no index, or names files in other folders.
    """
    index = json.loads(text_in(path))
    weight_map = index["weight_map"]
    names_of_groups = {
        group: [names] if isinstance(names, str) else list(names) for group, names in weight_map.items()
    }
    for name in (name for names in names_of_groups.values() for name in names):
        if not name.endswith(SHARD) or any(mark in name for mark in "/\\:"):
            msg = f"the index must name files such as 'm_00000{SHARD}' beside it, got {name!r}"
            raise ValueError(msg)
    return names_of_groups, index.get("metadata", {}).get(SAVE)


def write_shards(path: Path, contents: Contents, max_gigabytes: float) -> None:
    """Writes arrays to files of at most `max_gigabytes` GiB and an index, then removes the files of an earlier index at `path`.

    The new files have other names than the earlier ones, so that the index names complete files at any time. A file is
    removed only if the earlier index names it, if its name has the form of these files, and if it holds the number of
    the call that wrote that index. Keras always opens the file with number 0, so this one is emptied and not removed.

    Args:
        path: the path of the index. If it is a symbolic link, the files are written beside its target.
        contents: the arrays of the model.
        max_gigabytes: the largest size of the arrays in a file, in GiB.

    Raises:
        ValueError: if one array is larger.
        OSError: if a file can't be written. Nothing has changed then.
    """
    parts, total = _parted(contents, above_zero(max_gigabytes, "max_shard_size") * 2**30)
    path = _target_of(path)
    base, save = path.name[: -len(INDEX)], os.urandom(8).hex()

    def shard(number: int) -> Path:
        return path.with_name(f"{base}_{number:05}{SHARD}")

    before = _written_with(path)
    first = next(n for n in count() if not any(os.path.lexists(shard(n + i)) for i in range(len(parts))))
    files_of_groups: dict[str, list[str]] = {}
    with replacing_together() as open_file:
        for number, groups in enumerate(parts, first):
            with open_file(shard(number)) as file:
                write_weights(file, Contents(groups, {}), {SAVE: save})
            for group in groups:
                files_of_groups.setdefault(f"/{vars_of(group)[:-1]}", []).append(shard(number).name)
        if not (first == 0 or os.path.lexists(shard(0))):
            with open_file(shard(0)) as file:
                write_weights(file, Contents({}, {}))
        with open_file(path, "w") as file:
            weight_map = {
                group: names if len(names) > 1 else names[0] for group, names in files_of_groups.items()
            }
            index = {"metadata": {"total_size": total, SAVE: save}, "weight_map": weight_map}
            json.dump(index, file, indent=4)
    for old in before:
        with suppress(OSError):  # the new files are complete, so a failure to remove old ones is no error
            if old == shard(0):
                with replacing(old) as file:
                    write_weights(file, Contents({}, {}))
            else:
                old.unlink()


def _target_of(path: Path) -> Path:
    """Returns the target of a symbolic link, if that has the suffix of an index too; else `path`."""
    target = Path(os.path.realpath(path))
    return target if target.name.endswith(INDEX) else path


def _written_with(path: Path) -> set[Path]:
    """Returns the files that the index at `path` names and that hold the same number of a call as the index."""
    files: set[Path] = set()
    with suppress(Exception):  # without a readable index no file is known to belong to it
        names_of_groups, save = index_in(path)
        name = re.compile(f"{re.escape(path.name[: -len(INDEX)])}_[0-9]{{5,}}{re.escape(SHARD)}")
        for file in {
            path.with_name(file_name)
            for names in names_of_groups.values()
            for file_name in names
            if name.fullmatch(file_name)
        }:
            with suppress(Exception), opened(file) as handle:
                if save is not None and handle.text(SAVE) == save:
                    files.add(file)
    return files


def _parted(contents: Contents, max_bytes: float) -> tuple[list[Mapping[str, Group]], int]:
    """Returns the groups for each file, and the size of all arrays in bytes."""
    parts: list[dict[str, Group]] = [{}]
    size = total = 0
    for path, group in contents.groups.items():
        for key, array in group.arrays.items():
            if array.nbytes > max_bytes:
                msg = (
                    f"array {key!r} of {path!r} has {array.nbytes} bytes, more than the {max_bytes:.0f} of a file: raise "
                    "`max_shard_size`, which counts GiB"
                )
                raise ValueError(msg)
            total, size = total + array.nbytes, size + array.nbytes
            if size > max_bytes:
                parts.append({})
                size = array.nbytes
            arrays = parts[-1].setdefault(path, Group(group.name, {}, ())).arrays
            arrays[key] = array  # type: ignore[index] # made just now
    return list(parts), total
