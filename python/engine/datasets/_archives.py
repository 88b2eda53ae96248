"""Data sets that Keras publishes as one file each: read from a cache folder, else downloaded and checked."""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.atomic_files import replacing
from engine._base.checks import REAL, below_one, choice, integer, path_of
from engine.datasets import cache
from engine.datasets._pickled_lists import lists_in

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

# Seconds after which a connection without data fails.
_PATIENCE = 30
# More than the largest of the files, 17 MB: what is longer isn't one of them.
_MOST_BYTES = 2**27
_SHA256_DIGITS = 64
# A member of an archive that unpacks to more than so many times its size is refused, unless it is small.
_MOST_EXPANSION, _SMALL = 100, 2**20
# The most integers in texts for each byte of an archive. The data sets have less than one.
_INTEGERS_OF_BYTE = 4

Split = tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


class PublishedFile(NamedTuple):
    """A file of a data set that isn't in the package.

    Attributes:
        title: the name of the data set in messages.
        name: the name of the file.
        checksum: its SHA-256 or MD5 in hexadecimal digits, as Keras publishes it.
        url: the address to which `name` is appended.
    """

    title: str
    name: str
    checksum: str
    url: str = URL

    def contents(self, path: str | os.PathLike[str] | None) -> bytes:
        """Returns the contents of the file: from a cache folder if possible, else from the network.

        Args:
            path: the name of the file in the cache folder, or its absolute path. A file that is at an absolute path is read as it
                is.

        Raises:
            OSError: if the file is not found and can't be downloaded, or is another one.
        """
        requested_path = Path(path_of(self.name if path is None else path, "path"))
        if requested_path.is_absolute() and requested_path.is_file():
            return requested_path.read_bytes()
        target = cache.locate(str(requested_path))
        folders = [folder for folder in (target, self._cache_of_keras()) if folder is not None]
        for place in folders:
            content = self._genuine_in(place)
            if content is not None:
                return content
        contents = self._download(folders)
        if target is not None:
            self._keep(target, contents)
        return contents

    def _cache_of_keras(self) -> Path | None:
        try:
            base = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        except RuntimeError:  # a user without a home folder
            return None
        return base / "datasets" / self.name

    def _genuine_in(self, folder: Path) -> bytes | None:
        try:
            contents = folder.read_bytes()
        except OSError:
            return None
        return contents if self._sum_of(contents) == self.checksum else None

    def _sum_of(self, contents: bytes) -> str:
        long = len(self.checksum) == _SHA256_DIGITS
        return (hashlib.sha256 if long else hashlib.md5)(contents, usedforsecurity=False).hexdigest()

    def _download(self, folders: Sequence[Path]) -> bytes:
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import urlopen

        url = f"{self.url}{self.name}"
        folder = folders[-1].parent if folders else "~/.keras/datasets"
        hint = f"Download that file elsewhere, and pass its absolute path as `path`, or put it into {folder}"
        try:
            with urlopen(url, timeout=_PATIENCE) as answer:
                contents: bytes = answer.read(_MOST_BYTES)
        except (HTTPException, OSError, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()  # the error holds the open response
            places_text = " nor ".join(map(str, folders))
            msg = f"{self.title} is in neither {places_text}, and can't be downloaded from {url}: {error}. {hint}"
            raise OSError(msg) from error
        if self._sum_of(contents) != self.checksum:
            msg = f"{url} has another file than that of {self.title}, by its checksum. {hint}"
            raise OSError(msg)
        return contents

    def _keep(self, target: Path, contents: bytes) -> None:
        """Writes the file into the cache folder, or does nothing if that is impossible."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(str(target)) as file:
                file.write(contents)
        except OSError:
            return


def arrays_in(contents: bytes, name: str) -> Mapping[str, NDArray[Any]]:
    """Returns the arrays in an `.npz` file: of numbers, or of lists of integers.

    Args:
        contents: the contents of the file.
        name: of the file, for messages.

    Raises:
        ValueError: if it is no such file, or a part of one, or it would unpack to far more than its size.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            for info in archive.infolist():
                if info.file_size > max(_MOST_EXPANSION * min(info.compress_size, len(contents)), _SMALL):
                    msg = f"{info.filename!r} claims to hold {info.file_size} bytes, far more than are there"
                    raise ValueError(msg)
                arrays[info.filename.removesuffix(".npy")] = _array_in(
                    archive.read(info), _INTEGERS_OF_BYTE * len(contents) + _SMALL
                )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        msg = f"{name} is no archive of arrays, or damaged: {error}"
        raise ValueError(msg) from error
    return arrays


def _array_in(contents: bytes, limit: int) -> NDArray[Any]:
    """Returns the array in an `.npy` file; `limit` is the largest number of integers in lists."""
    file = io.BytesIO(contents)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = header(file)
    data = contents[file.tell() :]
    if dtype.hasobject:
        lists = lists_in(data, limit)
        if shape != (len(lists),):
            msg = f"an array of shape {shape} is announced, but one of shape {(len(lists),)} is there"
            raise ValueError(msg)
        values = np.empty(len(lists), object)
        values[:] = lists
        return values
    if dtype.kind not in REAL or math.prod(shape) * dtype.itemsize != len(data):
        msg = f"an array of shape {shape} and dtype {dtype} is announced, but {len(data)} bytes are there"
        raise ValueError(msg)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C").copy()


Shuffle = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


def shuffling(seed: int) -> Shuffle:
    """Returns a function that returns samples and their targets in a random order, which is Keras' for the same seed."""
    rng = np.random.RandomState(seed)  # the generator of Keras

    def shuffled(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        order = np.arange(len(x))
        rng.shuffle(order)
        return x[order], y[order]

    return shuffled


def split(x: NDArray[Any], y: NDArray[Any], test_split: float) -> Split:
    """Returns the first samples for training and the last ones for testing."""
    cut = int(len(x) * (1 - test_split))
    return (np.array(x[:cut]), np.array(y[:cut])), (np.array(x[cut:]), np.array(y[cut:]))


def share_of_tests(value: object) -> float:
    """Returns the argument `test_split`, checked."""
    return below_one(value, "test_split")


class WordOptions(NamedTuple):
    """The arguments of a data set of texts; `load_data` describes them."""

    num_words: int | None
    skip_top: int
    maxlen: int | None
    start_char: int | None
    oov_char: int | None
    index_from: int

    @classmethod
    def of(cls, **options: Any) -> WordOptions:
        """Returns the arguments, checked."""
        for name in ("num_words", "maxlen", "start_char", "oov_char"):
            if options[name] is not None:
                integer(options[name], name, 0)
        for name in ("skip_top", "index_from"):
            integer(options[name] or 0, name, 0)
        return cls(**options)


def prepared(
    texts: Iterable[Sequence[int]], labels: NDArray[Any], options: WordOptions
) -> tuple[list[list[int]], NDArray[Any]]:
    """Returns the texts with the start character and shifted indices, and their labels, without those that are too long."""
    shift = options.index_from or 0
    start = [] if options.start_char is None else [options.start_char]
    shifted = [[*start, *(word + shift for word in text)] for text in texts]
    if options.maxlen:
        short_enough = np.array([len(text) < options.maxlen for text in shifted], bool)
        shifted, labels = (
            [text for text, keep in zip(shifted, short_enough, strict=True) if keep],
            labels[short_enough],
        )
        if not shifted:
            msg = (
                f"After filtering for sequences shorter than maxlen={options.maxlen}, no sequence was kept. Increase "
                "maxlen."
            )
            raise ValueError(msg)
    return shifted, labels


def limited(texts: Sequence[list[int]], options: WordOptions) -> NDArray[np.object_]:
    """Returns the texts as an array of lists, in which words that are too rare or too frequent are replaced or left out."""
    lengths = np.array([len(text) for text in texts], np.intp)
    words = np.fromiter((word for text in texts for word in text), np.int64, int(lengths.sum()))
    # As in Keras, the default leaves out the rarest word.
    limit = options.num_words or int(words.max(initial=0))
    frequent = (words >= options.skip_top) & (words < limit)
    if options.oov_char is None:
        groups = np.repeat(np.arange(len(texts)), lengths)
        lengths = np.bincount(groups[frequent], minlength=len(texts))
        words = words[frequent]
    else:
        words = np.where(frequent, words, options.oov_char)
    sequences = np.empty(len(texts), object)
    ends = lengths.cumsum().tolist()
    flat = words.tolist()
    sequences[:] = [flat[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return sequences


def version_of(value: object) -> str:
    """Returns the argument `version` of the Californian houses, checked."""
    return str(choice(value, "version", ("small", "large")))
