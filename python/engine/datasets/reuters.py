"""Newswires of Reuters from 1987, each with one of 46 topics: 11,228 texts as indices of words."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.datasets._archives import (
    PublishedFile,
    Split,
    WordOptions,
    arrays_in,
    limited,
    prepared,
    share_of_tests,
    shuffling,
    split,
)

__all__ = ["get_label_names", "get_word_index", "load_data"]

_FILE = PublishedFile(
    "The data set of newswires (Reuters)",
    "reuters.npz",
    "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
)
_INDEX = PublishedFile(
    "The index of words of the newswires (Reuters)",
    "reuters_word_index.json",
    "4d44cc38712099c9e383dc6e5f11a921",
)
_TOPICS = """
    cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton carcass crude
    nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock retail ipi iron-steel rubber
    heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead"""


def load_data(  # noqa: PLR0917 # Keras' signature
    path: str | os.PathLike[str] = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Split:
    """Loads newswires from the user's cache folder, else from Keras', else from the network.

    A word's index is its rank by how often it occurs, plus `index_from`. Index 0 is left for padding.

    Args:
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.
        num_words: indices from this number on are replaced; None keeps all.
        skip_top: indices below this number are replaced.
        maxlen: only texts shorter than this are kept; None keeps all.
        test_split: share of the texts for testing.
        seed: seed of the order of the texts, which is that of Keras.
        start_char: the index at the start of each text; None for none.
        oov_char: what replaces other indices; None leaves them out.
        index_from: what is added to all ranks.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: arrays of lists of integers, and the topics, int64 (n,) in [0, 46).

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
        ValueError: if `test_split` isn't in [0, 1), or `maxlen` keeps no text.
    """
    test_fraction = share_of_tests(test_split)
    options = WordOptions.of(
        num_words=num_words, skip_top=skip_top, maxlen=maxlen, start_char=start_char, oov_char=oov_char,
        index_from=index_from,
    )  # fmt: skip
    arrays = arrays_in(_FILE.contents(path), _FILE.name)
    texts, topics = shuffling(seed)(arrays["x"], arrays["y"])
    sequences, topics = prepared(texts, topics, options)
    return split(limited(sequences, options), topics, test_fraction)


def get_word_index(path: str | os.PathLike[str] = "reuters_word_index.json") -> dict[str, int]:
    """Returns the rank of each word; its index in `load_data` is larger by `index_from`.

    Args:
        path: name of the file in the cache folder of `mnist.load_data`, or its absolute path.

    Raises:
        OSError: if the file is not found and can't be downloaded. The message lists the places.
    """
    index: dict[str, int] = json.loads(_INDEX.contents(path))
    return index


def get_label_names() -> tuple[str, ...]:
    """Returns the names of the topics, in the order of their numbers."""
    return tuple(_TOPICS.split())


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
