"""`.weights.json`: which of the `.weights.h5` beside it hold which arrays; Keras' form of weights that fill many files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from engine._atomic import replacing
from engine._checks import real
from engine.saving import _zip
from engine.saving._h5 import H5Reader, h5py, opened, write_groups
from engine.saving.contents import Contents, Format, Group, Reader, Stored, Variables, vars_of

INDEX, SHARD = ".weights.json", ".weights.h5"


class Shards(Format):
    """Weights in many files, which `write_shards` writes."""

    suffixes = (INDEX,)
    holds = frozenset()

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Open the index for reading, and the files in it when they are asked for."""
        with ExitStack() as stack:
            yield ShardsReader(path, stack)

    def write(self, file: Any, contents: Contents) -> None:
        """Write one file, of the groups in `contents`."""
        with h5py().File(file.name, "w") as handle:
            write_groups(handle, contents)


class ShardsReader(Reader):
    """An open index.

    Args:
        path: of it.
        stack: closes the files.
    """

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self._places = places_in(path)
        self._readers: dict[str, H5Reader] = {}

    def text(self, name: str) -> str | None:
        """None: there is nothing but weights."""
        del name
        return None

    def group(self, path: str) -> Variables:
        """The arrays of that path, from all files that have some; empty if there is no such group."""
        found: dict[str, Stored] = {}
        for name in self._places.get(f"/{vars_of(path)[:-1]}", ()):
            if name not in self._readers:
                file = self._stack.enter_context(opened(self._path.with_name(name)))
                self._readers[name] = H5Reader(file)
            found |= self._readers[name].group(path).stored
        return Variables(found)


def places_in(path: Path) -> dict[str, list[str]]:
    """The names of the files that have the arrays of each group.

    Raises:
        ValueError: for an index that is none, or names files elsewhere.
    """
    if path.stat().st_size > _zip.MOST_TEXT:
        msg = f"an index must not be longer than {_zip.MOST_TEXT} bytes"
        raise ValueError(msg)
    given = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    places = {group: [names] if isinstance(names, str) else list(names) for group, names in given.items()}
    for name in (name for names in places.values() for name in names):
        if not name.endswith(SHARD) or any(mark in name for mark in "/\\:"):
            msg = f"the index must name files such as 'm_00000{SHARD}' beside it, got {name!r}"
            raise ValueError(msg)
    return places


def write_shards(path: Path, contents: Contents, most: float) -> None:
    """Write arrays into files of at most `most` GiB, then the index, then remove the files of the index before.

    Those never have the same names, so that the index at `path` is at no time one of half the files. Keras wants to open
    the file of number 0 in any case: where its arrays would have to be replaced, it stays behind without any.

    Args:
        path: of the index.
        contents: of the model.
        most: size of a file's arrays, in GiB.

    Raises:
        ValueError: if an array is larger than that.
    """
    parts, total = _parted(contents, real(most, "max_shard_size") * 2**30)
    base = path.name[: -len(INDEX)]

    def shard(number: int) -> Path:
        return path.with_name(f"{base}_{number:05}{SHARD}")

    before: set[Path] = set()
    with suppress(AttributeError, LookupError, OSError, TypeError, ValueError):  # no index, or a damaged one
        before = {path.with_name(name) for names in places_in(path).values() for name in names}
    first = next(n for n in count() if not any(shard(n + i).exists() for i in range(len(parts))))
    places: dict[str, list[str]] = {}
    for number, groups in enumerate(parts, first):
        with replacing(shard(number)) as file:
            Shards().write(file, Contents(groups, {}))
        for group in groups:
            places.setdefault(f"/{vars_of(group)[:-1]}", []).append(shard(number).name)
    with replacing(path, "w") as file:
        weight_map = {group: names if len(names) > 1 else names[0] for group, names in places.items()}
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=4)
    if first and (shard(0) in before or not shard(0).exists()):
        with replacing(shard(0)) as file:
            Shards().write(file, Contents({}, {}))
    for old in before - {shard(0)}:
        old.unlink(missing_ok=True)


def _parted(contents: Contents, most: float) -> tuple[list[Mapping[str, Group]], int]:
    """The arrays of each file, and the size of all of them."""
    parts: list[dict[str, Group]] = [{}]
    size = total = 0
    for path, group in contents.groups.items():
        for key, array in group.arrays.items():
            if array.nbytes > most:
                msg = (
                    f"array {key!r} of {path!r} has {array.nbytes} bytes, more than the {most:.0f} of a file: raise "
                    "`max_shard_size`, which counts GiB"
                )
                raise ValueError(msg)
            total, size = total + array.nbytes, size + array.nbytes
            if size > most:
                parts.append({})
                size = array.nbytes
            arrays = parts[-1].setdefault(path, Group(group.name, {}, ())).arrays
            arrays[key] = array  # type: ignore[index] # made just now
    return list(parts), total
