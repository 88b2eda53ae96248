"""Reviews of films, each with whether it is positive (Maas and others, 2011): 50,000 texts as indices of words."""

from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import on_first_use
from engine.datasets._archives import (
    PublishedFile,
    Split,
    WordOptions,
    arrays_in,
    limited,
    prepared,
    shuffling,
)

__all__ = ["get_word_index", "load_data"]

_FILE = PublishedFile(
    "The data set of film reviews (IMDB)",
    "imdb.npz",
    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
_INDEX = PublishedFile(
    "The index of words of the film reviews (IMDB)",
    "imdb_word_index.json",
    "bfafd718b763782e994055a2d397834f",
)


def load_data(  # noqa: PLR0917 # Keras' signature
    path: str | os.PathLike[str] = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    **kwargs: Any,
) -> Split:
    """Loads film reviews from the user's cache folder, else from Keras', else from the network.

    A word's index is its rank by how often it occurs, plus `index_from`. Index 0 is left for padding.

    Args:
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.
        num_words: indices from this number on are replaced; None keeps all.
        skip_top: indices below this number are replaced.
        maxlen: only reviews shorter than this are kept; None keeps all.
        seed: seed of the order of the reviews, which is that of Keras.
        start_char: the index at the start of each review; None for none.
        oov_char: what replaces other indices; None leaves them out.
        index_from: what is added to all ranks.
        kwargs: `nb_words`, the older name of `num_words`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: arrays of 25,000 lists of integers, and int64 (25000,), 1 for positive reviews.

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
        ValueError: if `maxlen` keeps no review.
    """
    if "nb_words" in kwargs:
        warnings.warn(
            "`nb_words` is of an older version of Keras: use `num_words`", DeprecationWarning, stacklevel=2
        )
        num_words = kwargs.pop("nb_words")
    if kwargs:
        msg = f"Unrecognized keyword arguments: {kwargs}"
        raise TypeError(msg)
    options = WordOptions.of(
        num_words=num_words, skip_top=skip_top, maxlen=maxlen, start_char=start_char, oov_char=oov_char,
        index_from=index_from,
    )  # fmt: skip
    arrays = arrays_in(_FILE.contents(path), _FILE.name)
    shuffled = shuffling(seed)
    train, y_train = prepared(*shuffled(arrays["x_train"], arrays["y_train"]), options)
    test, y_test = prepared(*shuffled(arrays["x_test"], arrays["y_test"]), options)
    texts = limited([*train, *test], options)
    return (texts[: len(train)], y_train), (texts[len(train) :], y_test)


def get_word_index(path: str | os.PathLike[str] = "imdb_word_index.json") -> dict[str, int]:
    """Returns the rank of each word; its index in `load_data` is larger by `index_from`.

    Args:
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
    """
    index: dict[str, int] = json.loads(_INDEX.contents(path))
    return index


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
