"""`TextVectorization`, which turns texts into the indices of their words, or into vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, WrongTypeError, checked_config, choice, flag, integer, only_default
from engine._base.spec import described, registered_or_same
from engine._data.strings import Strings, strings_in
from engine.layers._encoding import output_mode_of
from engine.layers._vocabulary import LookupOptions
from engine.layers.layer import register
from engine.layers.lookup import LOOKUP_MODES, VocabularyLayer, encoding_of, vocabulary_of
from engine.layers.values import as_shape

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TextVectorization"]

# The argument `delete` and the table of bytes.translate, by the argument `standardize`. As in Keras, letters beyond ASCII
# stay as they are.
_PUNCTUATION = bytes(each for each in range(33, 127) if not bytes([each]).isalnum())
_TO_LOWER = bytes(range(256)).lower()
_STANDARDIZED: Mapping[str, tuple[bytes | None, bytes]] = {
    "lower_and_strip_punctuation": (_TO_LOWER, _PUNCTUATION),
    "lower": (_TO_LOWER, b""),
    "strip_punctuation": (None, _PUNCTUATION),
}
_PAD, _UNKNOWN = "", "[UNK]"


class _Words(NamedTuple):
    """The words of texts."""

    rows: list[Sequence[Any]]
    """For each text its words."""
    shape: Shape
    """The shape of the array of texts."""


@register()
class TextVectorization(VocabularyLayer):
    """Turns texts into the indices of their words, or into vectors with one entry per word.

    Each text is standardized, split into words, and joined to n-grams if asked; the words are looked up in a vocabulary, which
    `adapt` finds or which is given. In the mode "int", index 0 is padding and index 1 stands for unknown words; in the other
    modes, index 0 stands for unknown words. In models, an `Input((1,), dtype="string")` goes before the layer.

    Args:
        max_tokens: the largest size of the vocabulary, padding and unknown words included; None for no limit.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function that gets an array of
            strings and returns one. As in Keras, the names change letters and punctuation of ASCII alone.
        split: "whitespace", "character", None, or a function that gets an array of strings (n,) and returns n lists of words.
        ngrams: an integer n for words and sequences of up to n of them, a tuple of such lengths, or None for words alone.
        output_mode: "int" returns int64 indices (n, words), padded with 0 at the end. "multi_hot", "count" and "tf_idf" return
            float32 vectors (n, vocabulary), as for `StringLookup`.
        output_sequence_length: for the mode "int", the length to which indices are cut or padded; None takes that of the
            longest text. In a model it must be given.
        pad_to_max_tokens: whether vectors have `max_tokens` entries, also with a smaller vocabulary.
        vocabulary: list or array of words, or the path of a file with one word in each line.
        idf_weights: for the mode "tf_idf", the factor of each word of `vocabulary`.
        sparse: Ignored. Outputs are always dense arrays.
        ragged: must be False.
        encoding: how bytes are decoded.
        name: name of the layer.
        vocabulary_size: from a config: the size before a file of the vocabulary is read.
        has_input_vocabulary: from a config: whether the vocabulary was given, so that `adapt` is refused.
        options: arguments of every `Layer`, such as `input_shape`.

    Example:
        >>> from engine import layers
        >>> vectorize = layers.TextVectorization(output_sequence_length=4)
        >>> vectorize.adapt(["The cat sat.", "A cat!"])
        >>> vectorize.get_vocabulary()
        ['', '[UNK]', 'cat', 'the', 'sat', 'a']
        >>> vectorize(["The dog sat"]).tolist()
        [[3, 1, 4, 0]]
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        *,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **{key: value for key, value in options.items() if key != "dtype"})
        self._standardize = _rule(standardize, "standardize", tuple(_STANDARDIZED))
        self._split = _rule(split, "split", ("whitespace", "character"))
        self._ngrams_arg = ngrams
        self._ngrams = _lengths_of(ngrams)
        self._output_mode = output_mode_of(output_mode, LOOKUP_MODES)
        self._ragged = only_default(
            flag(ragged, "ragged"), "ragged", False, "support for rows of different lengths"
        )
        self._length = (
            None
            if output_sequence_length is None
            else integer(output_sequence_length, "output_sequence_length", 1)
        )
        if self._length is not None and self._output_mode != "int":
            msg = (
                "`output_sequence_length` must not be set if `output_mode` is not 'int', got "
                f"{self._length} and {self._output_mode!r}"
            )
            raise ValueError(msg)
        self._sparse, self._encoding = flag(sparse, "sparse"), encoding_of(encoding)
        most = None if max_tokens is None else integer(max_tokens, "max_tokens", 2)
        if flag(pad_to_max_tokens, "pad_to_max_tokens") and most is None:
            msg = "`pad_to_max_tokens=True` needs `max_tokens`, got None: give the number of entries"
            raise ValueError(msg)
        wanted = LookupOptions(
            most, 1, _PAD, _UNKNOWN, False, self._output_mode, pad_to_max_tokens, encoding=encoding
        )
        given = vocabulary is not None if has_input_vocabulary is None else bool(has_input_vocabulary)
        self._vocabulary = vocabulary_of(
            self.name, wanted, vocabulary, idf_weights, size=vocabulary_size, given=given
        )

    def adapt(  # type: ignore[override] # Keras' signature
        self, data: Any, batch_size: int | None = None, steps: int | None = None
    ) -> None:
        """Makes the vocabulary from texts, in the order of how often words occur; it replaces a previous one.

        Args:
            data: an array, a column of a frame or a list of texts; or batches of them from a generator, a `PyDataset` or another
                iterable. If batches are tuples, (x, y) or (x, y, sample_weight), only x is used.
            batch_size: Ignored, as in Keras.
            steps: number of batches to use; None uses all.

        Raises:
            TypeError: for data of another type.
            ValueError: if the layer was created with a vocabulary.
        """
        del batch_size
        super().adapt(data, steps)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        batch, *sample = as_shape(input_shape)
        if self._output_mode == "int":
            if self._length is None:
                return (batch, None)
            kept = sample if self._split is not None and sample != [1] else sample[:-1]
            return (batch, *kept, self._length)
        depth = self._vocabulary.depth
        if depth is None:
            self._vocabulary.encode(
                np.zeros((1, 1), np.int64)
            )  # raises the error about the missing vocabulary
        return (batch, depth)

    @property
    def _dtype_of_indices(self) -> str | None:
        return "int64" if self._output_mode == "int" else None

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        if self._output_mode == "int" and self._length is None:
            msg = (
                f"layer {self.name!r} needs `output_sequence_length` in a model, so that all its outputs have one length: give "
                "it, or call the layer on the texts before"
            )
            raise ValueError(msg)
        return super()._output_shape_for(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the vocabulary."""
        options = self._vocabulary.options
        return {
            "name": self.name,
            "trainable": self.trainable,
            "max_tokens": options.max_tokens,
            "standardize": _config_of_rule(self._standardize),
            "split": _config_of_rule(self._split),
            "ngrams": self._ngrams_arg,
            "output_mode": self._output_mode,
            "output_sequence_length": self._length,
            "pad_to_max_tokens": options.pad_to_max_tokens,
            "sparse": self._sparse,
            "ragged": self._ragged,
            "encoding": self._encoding,
            **self._config_of_vocabulary(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates a layer from `config`, as returned by `get_config` here or in Keras."""
        given = dict(checked_config(config))
        for name in ("standardize", "split"):
            if isinstance(given.get(name), Mapping):
                found = registered_or_same(given[name])
                if not callable(found):
                    msg = (
                        f"`{name}` is an unknown function {found!r}: pass it in `custom_objects`, or register it with "
                        "@register_keras_serializable()"
                    )
                    raise ValueError(msg)
                given[name] = found
        return cls(**given)

    def _rows(self, data: Any, whole: bool) -> Iterator[Sequence[Any]]:
        del whole  # each text is a document, in either case
        return iter(self._words_of(strings_in(data, "data")).rows)

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        rows, shape = self._words_of(strings_in(inputs))
        if self._output_mode == "int" and self._length is not None:
            rows = [row[: self._length] for row in rows]
        lengths = np.fromiter(map(len, rows), np.intp, len(rows))
        length = max(int(lengths.max(initial=0)), self._length or 0)
        present = np.arange(length) < lengths[:, np.newaxis]
        empty = 0 if self._output_mode == "int" else -1  # which counts for no entry of a vector
        indices = np.full((len(rows), length), empty, np.int64)
        indices[present] = self._vocabulary.indices_of_strings([*chain.from_iterable(rows)])
        return self._vocabulary.encode(indices.reshape(*shape, length))

    def _words_of(self, texts: Strings) -> _Words:
        """Returns the words of each text, or their n-grams."""
        values, shape = texts
        if self._split is not None and len(shape) > 1:
            if shape[-1] != 1:
                msg = (
                    "When using `TextVectorization` to tokenize strings, the input rank must be 1 or the last shape "
                    f"dimension must be 1. Received: inputs.shape={shape} with rank={len(shape)}"
                )
                raise ValueError(msg)
            shape = shape[:-1]
        values = self._standardized(values)
        rows = self._separated(values)
        if self._split is None:
            length, shape = (shape[-1], shape[:-1]) if len(shape) > 1 else (1, shape)
            words = [each for (each,) in rows]
            rows = [words[begin : begin + length] for begin in range(0, len(words), length)]
        if self._ngrams is not None:
            rows = [self._joined(row) for row in rows]
        return _Words(rows, shape)

    def _standardized(self, values: list[Any]) -> list[Any]:
        rule = self._standardize
        if rule is None:
            return values
        if isinstance(rule, str):
            table, deleted = _STANDARDIZED[rule]
            return [each.translate(table, deleted) for each in self._as_bytes(values)]
        found = rule(self._as_array(values))
        return strings_in(np.asarray(found).reshape(-1).tolist(), "standardize").values

    def _separated(self, values: list[Any]) -> list[Sequence[Any]]:
        rule: Any = self._split
        if rule is None:
            return [[each] for each in values]
        if rule == "whitespace":
            return [each.split() for each in self._as_bytes(values)]
        if rule == "character":
            return [[*each.decode("utf-8", "replace")] for each in self._as_bytes(values)]
        found = rule(self._as_array(values))
        if len(found) != len(values):
            msg = f"`split` must return a list of words for each of the {len(values)} texts, got {len(found)}"
            raise ValueError(msg)
        return [strings_in([*each], "split").values for each in found]

    def _joined(self, words: Sequence[Any]) -> list[bytes]:
        """Returns the n-grams of the words of one text: those of the first length, then those of the next."""
        parts = self._as_bytes(words)
        return [
            b" ".join(parts[begin : begin + length])
            for length in self._ngrams or ()
            for begin in range(len(parts) - length + 1)
        ]

    def _as_bytes(self, values: Sequence[Any]) -> list[bytes]:
        return [
            each if isinstance(each, bytes) else each.encode("utf-8", "surrogateescape") for each in values
        ]

    def _as_array(self, values: Sequence[Any]) -> NDArray[Any]:
        return np.array([self._vocabulary.term_of(each) for each in values], dtype=str)


def _rule(value: Any, name: str, names: tuple[str, ...]) -> str | Callable[..., Any] | None:
    if value is None or callable(value):
        rule: Callable[..., Any] | None = value
        return rule
    return str(choice(value, name, names))


def _config_of_rule(rule: Any) -> Any:
    return described(rule, "function", rule.__name__) if callable(rule) else rule


def _lengths_of(ngrams: Any) -> tuple[int, ...] | None:
    """Returns the lengths of n-grams in the order in which they come."""
    if ngrams is None:
        return None
    if isinstance(ngrams, int) and not isinstance(ngrams, bool):
        return tuple(range(1, integer(ngrams, "ngrams", 1) + 1))
    if isinstance(ngrams, (list, tuple)):
        return tuple(integer(each, "ngrams", 1) for each in ngrams)
    msg = f"`ngrams` must be None, an integer, or a tuple of integers, got {ngrams!r}"
    raise WrongTypeError(msg)
