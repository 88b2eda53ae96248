"""The tokenizer of Keras 1 and 2, and its functions on texts. Each of their results is that of Keras."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import choice
from engine._base.lazy_imports import on_first_use

__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODES = ("binary", "count", "freq", "tfidf")


def text_to_word_sequence(
    input_text: str, filters: str = _FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """Splits a text into words.

    Args:
        input_text: the text.
        filters: characters that separate words as `split` does.
        lower: whether words are turned into lower case.
        split: what separates words.

    Example:
        >>> from engine.preprocessing.text import text_to_word_sequence
        >>> text_to_word_sequence("The cat, the dog!")
        ['the', 'cat', 'the', 'dog']
    """
    text = input_text.lower() if lower else input_text
    text = text.translate({ord(character): split for character in filters})
    return [word for word in text.split(split) if word]


def one_hot(  # noqa: PLR0917 # Keras' signature
    input_text: str,
    n: int,
    filters: str = _FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Returns an index for each word of a text, by Python's `hash`, which differs from one process to the next.

    Args:
        input_text: the text.
        n: indices are in [1, n).
        filters: characters that separate words as `split` does.
        lower: whether words are turned into lower case.
        split: what separates words.
        analyzer: a function that splits a text instead.
    """
    return hashing_trick(input_text, n, hash, filters, lower, split, analyzer)


def hashing_trick(  # noqa: PLR0917 # Keras' signature
    text: str,
    n: int,
    hash_function: Callable[[str], int] | str | None = None,
    filters: str = _FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Returns an index for each word of a text, by a hash. Two words may have one index.

    Args:
        text: the text.
        n: indices are in [1, n).
        hash_function: a function of a word; "md5", which gives the same indices in every process; None for Python's `hash`.
        filters: characters that separate words as `split` does.
        lower: whether words are turned into lower case.
        split: what separates words.
        analyzer: a function that splits a text instead.
    """
    function: Callable[[str], int] = hash
    if callable(hash_function):
        function = hash_function
    elif hash_function is not None:
        choice(hash_function, "hash_function", ("md5",))
        function = _md5
    words = text_to_word_sequence(text, filters, lower, split) if analyzer is None else analyzer(text)
    return [function(word) % (n - 1) + 1 for word in words]


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


class Tokenizer:
    """Turns texts into lists of indices of words, or into rows of a matrix.

    Index 1 is that of the most frequent word, or of `oov_token`. Index 0 is left for padding.

    Args:
        num_words: indices from this number on are left out, or replaced by that of `oov_token`; None keeps all.
        filters: characters that separate words as `split` does.
        lower: whether words are turned into lower case.
        split: what separates words.
        char_level: whether the words are single characters.
        oov_token: stands for unknown words; None leaves them out.
        analyzer: a function that splits a text instead.
        kwargs: `document_count`, the number of texts so far, and `nb_words`, the older name of `num_words`.

    Attributes:
        word_index: dict from words to indices.
        index_word: dict from indices to words.
        word_counts: dict from words to how often they occurred.
        word_docs: dict from words to the number of texts with them.
        index_docs: the same by index.
        document_count: the number of texts.

    Example:
        >>> from engine.preprocessing.text import Tokenizer
        >>> tokenizer = Tokenizer()
        >>> tokenizer.fit_on_texts(["the cat sat", "the dog"])
        >>> tokenizer.texts_to_sequences(["the dog sat"])
        [[1, 4, 3]]
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_words: int | None = None,
        filters: str = _FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Iterable[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        if "nb_words" in kwargs:
            warnings.warn(
                "The `nb_words` argument in `Tokenizer` has been renamed `num_words`.", stacklevel=2
            )
            num_words = kwargs.pop("nb_words")
        self.document_count: int = kwargs.pop("document_count", 0)
        if kwargs:
            msg = f"Unrecognized keyword arguments: {kwargs}"
            raise TypeError(msg)
        self.num_words, self.filters, self.lower, self.split = num_words, filters, lower, split
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer
        self.word_counts: dict[str, int] = OrderedDict()
        self.word_docs: dict[str, int] = defaultdict(int)
        self.index_docs: dict[int, int] = defaultdict(int)
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Any) -> Sequence[str]:
        """Returns the words of a text, or of a list of words."""
        if isinstance(text, list):
            return [word.lower() for word in text] if self.lower else text
        if self.char_level:
            characters: str = text.lower() if self.lower else text
            return characters
        if self.analyzer is not None:
            return [*self.analyzer(text)]
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Adds texts to the counts, and numbers all words by how often they occurred.

        Args:
            texts: strings, or lists of words.
        """
        for text in texts:
            self.document_count += 1
            words = Counter(self._words(text))
            for word, count in words.items():
                self.word_counts[word] = self.word_counts.get(word, 0) + count
                self.word_docs[word] = self.word_docs.get(word, 0) + 1
        first = [] if self.oov_token is None else [self.oov_token]
        ordered = sorted(self.word_counts, key=lambda word: -self.word_counts[word])
        self.word_index = {word: index for index, word in enumerate([*first, *ordered], 1)}
        self.index_word = {index: word for word, index in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Sequence[Iterable[int]]) -> None:
        """Counts in how many of `sequences`, lists of indices, each index occurs."""
        self.document_count += len(sequences)
        for sequence in sequences:
            for index in set(sequence):
                self.index_docs[index] = self.index_docs.get(index, 0) + 1

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """Returns a list of indices for each of `texts`."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """Yields a list of indices for each of `texts`."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        word_limit = self.num_words
        for text in texts:
            indices_of_words = (self.word_index.get(word) for word in self._words(text))
            indices = (
                unknown if index is None or (word_limit and index >= word_limit) else index
                for index in indices_of_words
            )
            yield [index for index in indices if index is not None]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Returns the words of each of `sequences`, lists of indices, joined by spaces."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable[Iterable[int]]) -> Iterator[str]:
        """Yields the words of each of `sequences`, lists of indices, joined by spaces."""
        word_limit = self.num_words
        for sequence in sequences:
            pairs = ((index, self.index_word.get(index)) for index in sequence)
            words = (
                self.oov_token if word is None or (word_limit and index >= word_limit) else word
                for index, word in pairs
            )
            yield " ".join(word for word in words if word is not None)

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> NDArray[np.float64]:
        """Returns a row for each of `texts`, as `sequences_to_matrix` does.

        Args:
            texts: strings, or lists of words.
            mode: "binary", "count", "freq" or "tfidf".
        """
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(
        self, sequences: Sequence[Sequence[int]], mode: str = "binary"
    ) -> NDArray[np.float64]:
        """Returns a row for each list of indices, float64 (n, words).

        Args:
            sequences: the lists of indices.
            mode: what a row holds for each word: "binary" 1 if it occurs, "count" how often, "freq" the share of the
                list, "tfidf" `(1 + log(count)) * log(1 + texts / (1 + texts with the word))`.

        Raises:
            ValueError: for an unknown mode; if the number of words is unknown; for "tfidf" without texts to count.
        """
        choice(mode, "mode", _MODES)
        width = self.num_words or (len(self.word_index) + 1 if self.word_index else None)
        if width is None:
            msg = "Specify a dimension (`num_words` argument), or fit on some text data first."
            raise ValueError(msg)
        if mode == "tfidf" and not self.document_count:
            msg = "Fit the Tokenizer on some data before using tfidf mode."
            raise ValueError(msg)
        matrix = np.zeros((len(sequences), width))
        for row, sequence in zip(matrix, sequences, strict=True):
            counts = np.bincount([index for index in sequence if index < width], minlength=width)
            present = counts > 0
            if mode == "binary":
                row[present] = 1.0
            elif mode == "tfidf":
                row[present] = 1.0 + np.log(counts[present])
            else:
                row[:] = counts / (len(sequence) or 1) if mode == "freq" else counts
        if mode == "tfidf":
            texts = np.array([self.index_docs.get(index, 0) for index in range(width)])
            matrix *= np.log(1.0 + self.document_count / (1.0 + texts))
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments and the counts, dicts as JSON."""
        names = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        dicts = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        plain = {name: getattr(self, name) for name in names}
        return plain | {name: json.dumps(getattr(self, name)) for name in dicts}

    def to_json(self, **kwargs: Any) -> str:
        """Returns the tokenizer as JSON, which `tokenizer_from_json` reads.

        Args:
            kwargs: arguments of `json.dumps`.
        """
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """Returns the tokenizer that `Tokenizer.to_json` described, here or in Keras.

    Args:
        json_string: the JSON.
    """
    config = dict(json.loads(json_string)["config"])
    counts, documents, index_docs, index_word, word_index = (
        json.loads(config.pop(name))
        for name in ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
    )
    tokenizer = Tokenizer(**config)
    tokenizer.word_counts, tokenizer.word_docs, tokenizer.word_index = counts, documents, word_index
    # JSON has strings as keys alone.
    tokenizer.index_docs = {int(index): count for index, count in index_docs.items()}
    tokenizer.index_word = {int(index): word for index, word in index_word.items()}
    return tokenizer


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
