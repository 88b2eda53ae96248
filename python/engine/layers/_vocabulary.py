"""`Vocabulary`, which maps terms to indices: what `StringLookup`, `IntegerLookup` and `TextVectorization` have in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import WrongTypeError, with_noun
from engine.layers._encoding import encoded
from engine.layers._fingerprints import fingerprints, keyed_hashes

Terms = Sequence[Any]


class LookupOptions(NamedTuple):
    """The arguments of a layer that looks up terms. The docstring of `StringLookup` describes them."""

    max_tokens: int | None = None
    num_oov_indices: int = 1
    mask_token: Any = None
    oov_token: Any = None
    invert: bool = False
    output_mode: str = "int"
    pad_to_max_tokens: bool = False
    oov_method: str = "floormod"
    salt: list[int] | None = None
    encoding: str | None = "utf-8"
    """How bytes are decoded; None for terms that are integers."""


def integer_term(value: Any, what: str) -> int:
    """Returns a term that is an integer of 64 bits as an int; WrongTypeError for anything else."""
    whole = isinstance(value, (int, np.integer)) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        msg = f"{what} must be integers of 64 bits, got {value!r:.60}"
        raise WrongTypeError(msg)
    return int(value)


class Vocabulary:
    """A vocabulary: terms, each with an index. Indices before theirs stand for the mask and for unknown terms.

    Args:
        owner: the name of the layer, for messages.
        options: the arguments of the layer.
        size: the number of indices that the vocabulary is going to have; None if that is unknown.
    """

    def __init__(self, owner: str, options: LookupOptions, size: int | None = None) -> None:
        self._owner, self.options, self._size = owner, options, size
        self.terms: list[Any] = []
        self.idf_weights: NDArray[np.float32] | None = None
        """The factor of each index in the mode "tf_idf"."""
        self.given = False
        """Whether the user has given the terms, so that `adapt` may not find others."""
        self._of_strings = options.encoding is not None
        self.forget_counts()
        self._make_tables()

    # Sizes.

    @property
    def first_oov(self) -> int:
        """The first index of unknown terms, 1 if index 0 is that of the mask."""
        return int(self.options.mask_token is not None and self.options.output_mode == "int")

    @property
    def first_term(self) -> int:
        """The index of the first term."""
        return self.first_oov + self.options.num_oov_indices

    def __len__(self) -> int:
        return self.first_term + len(self.terms)

    @property
    def depth(self) -> int | None:
        """The number of entries of a vector of an encoded output; None if it is unknown yet."""
        if self.options.pad_to_max_tokens:
            return self.options.max_tokens
        return len(self) if self.terms else self._size

    def all_terms(self) -> list[Any]:
        """Returns the term of each index, beginning with the mask and the token of unknown terms."""
        special = [self.options.mask_token] * self.first_oov
        return [*special, *[self.options.oov_token] * self.options.num_oov_indices, *self.terms]

    # Setting the terms.

    def set(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the terms.

        Args:
            vocabulary: the terms, with or without the mask and the token of unknown terms before them; or the path of a file
                with one term in each line.
            idf_weights: for the mode "tf_idf" one number for each of the terms.

        Raises:
            ValueError: for terms that occur twice, an empty vocabulary or one beyond `max_tokens`. The vocabulary is
                unchanged then.
        """
        mode, special = self.options.output_mode, self.all_terms()[: self.first_term]
        if mode == "tf_idf" and idf_weights is None:
            msg = "`idf_weights` must be set if output_mode is 'tf_idf': give one number for each term"
            raise ValueError(msg)
        if mode != "tf_idf" and idf_weights is not None:
            msg = f"`idf_weights` should only be set if output_mode is 'tf_idf', got output_mode={mode!r}"
            raise ValueError(msg)
        given = self._terms_in(vocabulary)
        if not given:
            msg = f"cannot set an empty vocabulary, got {vocabulary!r}"
            raise ValueError(msg)
        with_special = given[: self.first_term] == special
        terms = given[self.first_term :] if with_special else given
        self._require_terms(terms, special)
        weights = None
        if mode == "tf_idf":
            weights = self._padded(idf_weights, len(given), 0 if with_special else self.first_term)
        self._take(terms, weights)

    def _terms_in(self, vocabulary: Any) -> list[Any]:
        if isinstance(vocabulary, (str, os.PathLike)):
            from pathlib import Path

            if self.options.output_mode == "tf_idf":
                msg = "output_mode 'tf_idf' does not support loading a vocabulary from a file: give the terms in a list"
                raise ValueError(msg)
            path = Path(vocabulary)
            if not path.is_file():
                msg = f"the vocabulary file {str(vocabulary)!r} does not exist: give its path, or the terms in a list"
                raise ValueError(msg)
            vocabulary = path.read_text(self.options.encoding or "utf-8").splitlines()
            vocabulary = vocabulary if self._of_strings else [*map(int, vocabulary)]
        elif not isinstance(vocabulary, (list, tuple)):
            values: NDArray[Any] = np.asarray(vocabulary)
            if values.ndim != 1:
                msg = f"`vocabulary` must be a list of terms or the path of a file with them, got {vocabulary!r:.60}"
                raise WrongTypeError(msg)
            vocabulary = values.tolist()
        return [self.term_of(each) for each in vocabulary]

    def term_of(self, value: Any) -> Any:
        """Returns a term as it is stored: str or int; None stays."""
        if value is None:
            return None
        if not self._of_strings:
            return integer_term(value, f"the terms of layer {self._owner!r}")
        if isinstance(value, bytes):
            return value.decode(self.options.encoding or "utf-8", "surrogateescape")
        if not isinstance(value, str):
            msg = f"the terms of layer {self._owner!r} must be strings, got {value!r:.60}"
            raise WrongTypeError(msg)
        return str(value)

    def _require_terms(self, terms: Terms, special: Terms) -> None:
        options = self.options
        repeated = [term for term, count in Counter(terms).items() if count > 1]
        if repeated:
            msg = (
                "The passed vocabulary has at least one repeated term. Please uniquify your dataset. The repeated terms "
                f"are: {repeated}"
            )
            raise ValueError(msg)
        reserved = {"mask": options.mask_token, "OOV": options.oov_token if options.invert else None}
        for kind, token in reserved.items():
            if token is not None and token in terms:
                msg = (
                    f"Found reserved {kind} token at unexpected location in `vocabulary`: {token!r} at index "
                    f"{terms.index(token)}. Leave out the mask and OOV tokens, or put them first: {[*special]}"
                )
                raise ValueError(msg)
        size = self.first_term + len(terms)
        if options.max_tokens is not None and size > options.max_tokens:
            msg = (
                "Attempted to set a vocabulary larger than the maximum vocab size. Received vocabulary size is "
                f"{size}; `max_tokens` is {options.max_tokens}."
            )
            raise ValueError(msg)

    def _padded(self, idf_weights: Any, count: int, front: int) -> NDArray[np.float32]:
        """Returns the factor of each index; those of unknown terms have the mean of all, those up to `max_tokens` 0."""
        weights: NDArray[Any] = np.asarray(idf_weights, float)
        if weights.ndim != 1 or len(weights) != count:
            msg = (
                f"`idf_weights` must be the same length as vocabulary, {with_noun(count, 'number')}, got an array of shape "
                f"{weights.shape}"
            )
            raise ValueError(msg)
        weights = np.concatenate([np.full(front, weights.mean()), weights]).astype(np.float32)
        most = self.options.max_tokens if self.options.pad_to_max_tokens else None
        return weights if most is None else np.pad(weights, (0, most - len(weights)))

    def _take(self, terms: Sequence[Any], weights: NDArray[np.float32] | None) -> None:
        size = self.first_term + len(terms)
        if self.options.output_mode != "int" and not self.options.pad_to_max_tokens:
            if self._size is not None and self._size != size:
                msg = (
                    f"When using `output_mode={self.options.output_mode}` and `pad_to_max_tokens=False`, the vocabulary size "
                    f"cannot be changed after the layer is called. Old vocab size is {self._size}, new vocab size is {size}"
                )
                raise RuntimeError(msg)
            self._size = size
        self.terms, self.idf_weights = list(terms), weights
        self._make_tables()

    def _make_tables(self) -> None:
        """Makes the tables for looking up: a dict for strings, sorted arrays for integers."""
        terms, mask = self.terms, self._mask_index
        if self._of_strings:
            self._indices = dict(zip(terms, range(self.first_term, len(self)), strict=True))
            if mask is not None:
                self._indices[self.options.mask_token] = mask
            self._indices_of_bytes = {self._bytes_of(term): index for term, index in self._indices.items()}
            return
        values = np.array(terms, np.int64)
        order = np.argsort(values)
        self._sorted = values[order], order + self.first_term

    # Counting terms.

    def count(self, rows: Iterable[Terms]) -> None:
        """Adds the terms of some documents to those from which `finish` makes a vocabulary."""
        if self.given:
            msg = (
                f"Cannot adapt layer '{self._owner}' after setting a static vocabulary via `vocabulary` argument or "
                "`set_vocabulary()` method."
            )
            raise ValueError(msg)
        if self.options.output_mode != "tf_idf":
            self._counts.update(chain.from_iterable(rows))
            return
        for row in rows:
            self._counts.update(row)
            self._documents.update(set(row))
            self._document_count += 1

    def finish(self) -> None:
        """Makes a vocabulary of the counted terms: frequent ones first, those of one frequency in descending order."""
        if self.given or not self._counts:
            return
        counts, special = self._decoded(self._counts), (self.options.mask_token, self.options.oov_token)
        for token in special:
            counts.pop(token, None)
        terms = [term for _, term in sorted(((n, term) for term, n in counts.items()), reverse=True)]
        if self.options.max_tokens:
            terms = terms[: max(0, self.options.max_tokens - self.first_term)]
        weights = None
        if self.options.output_mode == "tf_idf":
            documents = self._decoded(self._documents)
            found = np.array([documents[term] for term in terms], float)
            weights = np.log(1.0 + self._document_count / (1.0 + found)).astype(np.float32)
            weights = self._padded(weights, len(terms), self.first_term)
        self._take(terms, weights)
        self.forget_counts()

    def forget_counts(self) -> None:
        """Forgets the counted terms."""
        self._counts, self._documents = Counter[Any](), Counter[Any]()
        self._document_count = 0

    def _decoded(self, counts: Counter[Any]) -> Counter[Any]:
        """Returns the counts with bytes decoded."""
        if not any(isinstance(term, bytes) for term in counts):
            return counts
        found = Counter[Any]()
        for term, count in counts.items():
            found[self.term_of(term)] += count
        return found

    # Looking up.

    def indices_of_strings(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Returns the index of each string.

        Args:
            values: str or bytes.
        """
        kinds = {*map(type, values)}
        if len(kinds) > 1:
            values = [*map(self.term_of, values)]
        table: dict[Any, int] = self._indices_of_bytes if kinds == {bytes} else self._indices
        found = np.fromiter(map(table.get, values, repeat(-1)), np.int64, len(values))
        unknown = np.flatnonzero(found == -1)
        if len(unknown):
            found[unknown] = self._oov_of_strings([values[place] for place in unknown.tolist()])
        return found

    def indices_of_integers(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the index of each integer."""
        terms, indices = self._sorted
        found = np.full(values.shape, -1, np.int64)
        if len(terms):
            places = np.searchsorted(terms, values).clip(max=len(terms) - 1)
            found = np.where(terms[places] == values, indices[places], -1)
        masked = self._mask_index
        if masked is not None:
            found[values == self.options.mask_token] = masked
        unknown = found == -1
        if unknown.any():
            found[unknown] = self._oov_of_integers(values[unknown])
        return found

    def terms_of(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the term of each index; the token of unknown terms for those that have none."""
        oov, mask = self.options.oov_token, self.options.mask_token
        terms = [*self.all_terms()]
        terms[: self.first_term] = [oov] * self.first_term
        table = np.array([*terms, oov], None if self._of_strings else np.int64)
        found = table[np.where((indices >= 0) & (indices < len(terms)), indices, len(terms))]
        if mask is not None:
            found = np.where(indices == 0, table.dtype.type(mask), found)
        return found

    @property
    def _mask_index(self) -> int | None:
        """The index of the mask; beyond all others in vectors, so that it counts for none of their entries."""
        if self.options.mask_token is None:
            return None
        return 0 if self.options.output_mode == "int" else np.iinfo(np.int64).max

    def _bytes_of(self, term: str | bytes) -> bytes:
        encoding = self.options.encoding or "utf-8"
        return term if isinstance(term, bytes) else term.encode(encoding, "surrogateescape")

    def _oov_of_strings(self, values: Sequence[Any]) -> NDArray[np.int64]:
        fixed = self._fixed_oov(values)
        if fixed is not None:
            return fixed
        distinct = [*dict.fromkeys(values)]
        buckets = self._buckets([*map(self._bytes_of, distinct)])
        known = dict(zip(distinct, buckets.tolist(), strict=True))
        return np.array([*map(known.__getitem__, values)], np.int64)

    def _oov_of_integers(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        fixed = self._fixed_oov(values.tolist())
        if fixed is not None:
            return fixed
        if self.options.oov_method == "floormod":
            return values % self.options.num_oov_indices + self.first_oov
        distinct, places = np.unique(values, return_inverse=True)
        return self._buckets([str(each).encode() for each in distinct.tolist()])[places.reshape(-1)]

    def _fixed_oov(self, values: Sequence[Any]) -> NDArray[np.int64] | None:
        """Returns the indices of unknown terms if they don't depend on the terms."""
        if self.options.num_oov_indices == 0:
            msg = (
                "When `num_oov_indices=0` all inputs should be in vocabulary, found OOV values "
                f"{[*map(self.term_of, dict.fromkeys(values))][:10]}, consider setting `num_oov_indices=1`."
            )
            raise ValueError(msg)
        if self.options.num_oov_indices == 1:
            return np.full(len(values), self.first_oov, np.int64)
        return None

    def _buckets(self, strings: Sequence[bytes]) -> NDArray[np.int64]:
        salt = self.options.salt
        hashes = fingerprints(strings) if salt is None else keyed_hashes(strings, salt)
        return (hashes % np.uint64(self.options.num_oov_indices)).astype(np.int64) + self.first_oov

    # Encoding.

    def encode(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Returns indices (..., k) as the mode says: as they are, or as vectors."""
        mode = self.options.output_mode
        if mode == "int":
            return indices
        depth = self.depth
        if depth is None:
            msg = (
                f"When using `output_mode={mode}` and `pad_to_max_tokens=False`, you must set the layer's vocabulary before "
                "calling it. Either pass a `vocabulary` argument to the layer, or call `adapt` with some sample data."
            )
            raise RuntimeError(msg)
        vectors = encoded(indices, "count" if mode == "tf_idf" else mode, depth)
        if mode != "tf_idf":
            return vectors
        if self.idf_weights is None:
            msg = "When `output_mode` is 'tf_idf', `idf_weights` must be provided: call adapt(), or set_vocabulary() with them"
            raise RuntimeError(msg)
        return vectors * self.idf_weights
