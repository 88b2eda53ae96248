"""Layers that look up terms in a vocabulary: `StringLookup` and `IntegerLookup`."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, checked_config, choice, flag, integer, require
from engine._data.strings import strings_in
from engine.layers._encoding import MODES, encoded_shape, output_mode_of, require_samples
from engine.layers._vocabulary import LookupOptions, Vocabulary, integer_term
from engine.layers.layer import register
from engine.layers.values import (
    ValueLayer,
    as_shape,
    batches_of_values,
    integers_in,
    is_whole,
    rows_to_count,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["IntegerLookup", "StringLookup"]

LOOKUP_MODES = (*MODES, "tf_idf")
# The name of the file with the terms, in Keras' archives.
VOCABULARY_FILE = "vocabulary.txt"
# The key of the factors of terms among a layer's variables.
IDF_WEIGHTS = "idf_weights"


class VocabularyLayer(ValueLayer):
    """Base class of layers with a vocabulary.

    Args:
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    _vocabulary: Vocabulary

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Makes the vocabulary from data, in the order of how often terms occur; it replaces a previous one.

        Args:
            data: an array, a column of a frame or lists of samples; or batches of samples from a generator, a `PyDataset` or
                another iterable. If batches are tuples, (x, y) or (x, y, sample_weight), only x is used.
            steps: number of batches to use; None uses all.

        Raises:
            TypeError: for data of another type.
            ValueError: if the layer was created with a vocabulary.
        """
        self.reset_state()
        whole = is_whole(data)
        for batch in batches_of_values(data, steps):
            self._vocabulary.count(self._rows(batch, whole))
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Counts the terms in a batch, for `finalize_state`."""
        self._vocabulary.count(self._rows(data, False))

    def finalize_state(self) -> None:
        """Makes the vocabulary from all data given to `update_state`."""
        self._vocabulary.finish()

    def reset_state(self) -> None:
        """Forgets the data given to `update_state`."""
        self._vocabulary.forget_counts()

    def _rows(self, data: Any, whole: bool) -> Iterator[Sequence[Any]]:
        """Yields the terms of each document in a batch."""
        raise NotImplementedError

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Returns the terms in the order of their indices.

        Args:
            include_special_tokens: whether the mask and the token of unknown terms are among them, so that the place of a term
                in the list is its index.
        """
        return self._vocabulary.all_terms() if include_special_tokens else list(self._vocabulary.terms)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the terms instead of `adapt`.

        Args:
            vocabulary: list or array of the terms, with or without the mask and the token of unknown terms before them; or the
                path of a file with one term in each line.
            idf_weights: for the output mode "tf_idf", one number for each of the terms.

        Raises:
            ValueError: for terms that occur twice, an empty vocabulary, or one with more than `max_tokens` entries. The
                vocabulary is unchanged then.
        """
        self._vocabulary.set(vocabulary, idf_weights)

    def vocabulary_size(self) -> int:
        """Returns the number of indices, those of the mask and of unknown terms included."""
        return len(self._vocabulary)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Writes the weights of the mode "tf_idf" into `store`, a dict, under the key "idf_weights"."""
        if self._vocabulary.idf_weights is not None:
            store[IDF_WEIGHTS] = self._vocabulary.idf_weights

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Sets the weights of the mode "tf_idf" from `store`, as written by `save_own_variables`."""
        if self._vocabulary.options.output_mode == "tf_idf" and IDF_WEIGHTS in store:
            self._vocabulary.idf_weights = np.asarray(store[IDF_WEIGHTS], np.float32)

    def save_assets(self, dir_path: str) -> None:
        """Writes the vocabulary to the file `vocabulary.txt`, one term in each line, unless the config has it as an argument.

        Args:
            dir_path: the folder.
        """
        from pathlib import Path  # on first use, since few programs need these two

        from engine._base.atomic_files import replacing

        if self._vocabulary.terms and not self._vocabulary.given:
            with replacing(Path(dir_path, VOCABULARY_FILE), "w") as file:
                file.write("\n".join(map(str, self.get_vocabulary())))

    def load_assets(self, dir_path: str) -> None:
        """Sets the vocabulary from the file that `save_assets` has written, here or in Keras.

        Args:
            dir_path: the folder.
        """
        from pathlib import Path

        if not self._vocabulary.terms:
            self._read_vocabulary(Path(dir_path, VOCABULARY_FILE).read_text(encoding="utf-8"))

    def _read_vocabulary(self, text: str) -> None:
        """Sets the terms, with those of the mask and unknown ones, from the text of a file."""
        lines = text.split("\n")
        while lines and not lines[-1]:
            lines.pop()
        options, known = self._vocabulary.options, self._vocabulary.idf_weights
        terms = lines if options.encoding is not None else [*map(int, lines)]
        self._vocabulary.set(terms, None if known is None else known[: len(terms)])

    def _config_of_vocabulary(self) -> dict[str, Any]:
        """Returns the entries of the config for the vocabulary. Unlike Keras', they hold one that `adapt` has found, too."""
        vocabulary, mode = self._vocabulary, self._vocabulary.options.output_mode
        weights = vocabulary.idf_weights
        known, first = list(vocabulary.terms) or None, vocabulary.first_term
        config: dict[str, Any] = {
            "vocabulary": known,
            "idf_weights": None
            if weights is None or not known
            else weights[first : len(vocabulary)].tolist(),
            "vocabulary_size": len(vocabulary) if known and mode != "int" else vocabulary._size,
        }
        return config if vocabulary.given or not known else {**config, "has_input_vocabulary": False}


class _Lookup(VocabularyLayer):
    """Base class of `StringLookup` and `IntegerLookup`, whose docstrings describe the arguments.

    Args:
        max_tokens: as there.
        num_oov_indices: as there.
        mask_token: as there.
        oov_token: as there.
        vocabulary: as there.
        idf_weights: as there.
        invert: as there.
        output_mode: as there.
        sparse: as there.
        pad_to_max_tokens: as there.
        oov_method: as there.
        salt: as there.
        encoding: how bytes are decoded; None for integers.
        vocabulary_size: from a config: the number of indices before a file of the vocabulary is read.
        has_input_vocabulary: from a config: whether the vocabulary was given, so that `adapt` is refused.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(
        self,
        *,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        oov_method: str,
        salt: Any,
        encoding: str | None,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**_without_dtype(options))
        self.max_tokens = None if max_tokens is None else integer(max_tokens, "max_tokens", 2)
        self.num_oov_indices = integer(num_oov_indices, "num_oov_indices", 0)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert = flag(invert, "invert")
        self.output_mode = output_mode_of(output_mode, LOOKUP_MODES)
        self.sparse = flag(sparse, "sparse")
        self.pad_to_max_tokens = flag(pad_to_max_tokens, "pad_to_max_tokens")
        self.oov_method = choice(oov_method, "oov_method", ("floormod", "farmhash"))
        self.salt = salt_of(salt)
        if self.salt is not None and encoding is None and oov_method != "farmhash":
            msg = f"`salt` can only be used when `oov_method='farmhash'`, got oov_method={oov_method!r}"
            raise ValueError(msg)
        self._require_fitting()
        wanted = LookupOptions(
            self.max_tokens, self.num_oov_indices, mask_token, oov_token, self.invert, self.output_mode,
            self.pad_to_max_tokens, self.oov_method, self.salt, encoding,
        )  # fmt: skip
        given = vocabulary is not None if has_input_vocabulary is None else bool(has_input_vocabulary)
        self._vocabulary = vocabulary_of(
            self.name, wanted, vocabulary, idf_weights, size=vocabulary_size, given=given
        )

    def _require_fitting(self) -> None:
        if self.pad_to_max_tokens and self.max_tokens is None:
            msg = "`pad_to_max_tokens=True` needs `max_tokens`, got None: give the number of entries"
            raise ValueError(msg)
        if self.invert and self.output_mode != "int":
            msg = f"`output_mode` must be 'int' when `invert` is true, got {self.output_mode!r}"
            raise ValueError(msg)
        if self.sparse and self.output_mode == "int":
            msg = "`sparse=True` belongs to `output_mode` 'one_hot', 'multi_hot', 'count' or 'tf_idf', got 'int'"
            raise ValueError(msg)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        if self.invert:
            msg = (
                f"layer {self.name!r} with `invert=True` returns {self._kind}, and the layers of a model compute numbers: "
                "call it on the outputs of the model instead"
            )
            raise ValueError(msg)
        depth = self._vocabulary.depth
        if depth is None and self.output_mode != "int":
            self._vocabulary.encode(
                np.zeros((1, 1), np.int64)
            )  # raises the error about the missing vocabulary
        return encoded_shape(as_shape(input_shape), self.output_mode, depth)

    @property
    def _dtype_of_indices(self) -> str | None:
        return "int64" if self.output_mode == "int" else None

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        require_samples(self.name, self.output_mode, input_shape)
        return super()._output_shape_for(input_shape)

    _kind = "terms"

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the vocabulary."""
        names = (
            "invert", "max_tokens", "num_oov_indices", "oov_token", "mask_token", "output_mode", "sparse",
            "pad_to_max_tokens", "oov_method", "salt",
        )  # fmt: skip
        config = {
            "name": self.name,
            "trainable": self.trainable,
            **{name: getattr(self, name) for name in names},
        }
        return {**config, **self._config_of_vocabulary()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates a layer from `config`, as returned by `get_config` here or in Keras."""
        return cls(**checked_config(config))


@register()
class StringLookup(_Lookup):
    """Maps strings to indices in a vocabulary, which is given or found by `adapt`. With `invert=True`, indices to strings.

    Index 0 stands for the mask token, if there is one. Then come the indices of unknown strings, and those of the vocabulary.
    In models, an `Input` with `dtype="string"` goes before the layer.

    Args:
        max_tokens: the largest size of the vocabulary, mask and unknown strings included; None for no limit.
        num_oov_indices: number of indices for strings out of the vocabulary. If there are several, a hash chooses among them;
            with 0, unknown strings are an error.
        mask_token: the string that stands for a missing value. In the mode "int" its index is 0; in the other modes it
            counts for nothing.
        oov_token: what `invert=True` returns for the indices of unknown strings.
        vocabulary: list or array of strings, or the path of a file with one string in each line.
        idf_weights: for the mode "tf_idf", the factor of each string of `vocabulary`.
        invert: whether to map indices to strings.
        output_mode: "int" returns indices, int64. The other modes return float32 vectors with one entry per index: "one_hot"
            one for each string, along the last axis if that has length 1, else along a new one; "multi_hot" one for the strings
            along the last axis together, with 1 for each that occurs; "count" the same with the number of occurrences, and
            "tf_idf" with these multiplied by the inverse document frequency, `log(1 + documents / (1 + documents with it))`.
        pad_to_max_tokens: whether vectors have `max_tokens` entries, also with a smaller vocabulary.
        sparse: Ignored. Outputs are always dense arrays.
        encoding: how bytes are decoded.
        name: name of the layer.
        salt: None, or one or two integers that change the hash of unknown strings.
        options: arguments of every `Layer`, such as `input_shape`.

    Example:
        >>> from engine import layers
        >>> lookup = layers.StringLookup(vocabulary=["cat", "dog"])
        >>> lookup(["dog", "cat", "emu"]).tolist()
        [2, 1, 0]
    """

    _kind = "strings"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **options: Any,
    ) -> None:
        self.encoding = encoding_of(encoding)
        for token, argument in ((mask_token, "mask_token"), (oov_token, "oov_token")):
            require(str, token, argument, "a string")
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            sparse=sparse,
            encoding=encoding,
            salt=salt,
            oov_method=options.pop("oov_method", "floormod"),
            name=name,
            **options,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the vocabulary."""
        return {**super().get_config(), "encoding": self.encoding}

    def _rows(self, data: Any, whole: bool) -> Iterator[Sequence[Any]]:
        values, shape = strings_in(data, "data")
        return rows_to_count(shape, values, whole)

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        if self.invert:
            return self._vocabulary.terms_of(integers_in(inputs))
        values, shape = strings_in(inputs)
        return self._vocabulary.encode(self._vocabulary.indices_of_strings(values).reshape(shape))


@register()
class IntegerLookup(_Lookup):
    """Maps integers to indices in a vocabulary, which is given or found by `adapt`. With `invert=True`, the way back.

    Index 0 stands for the mask token, if there is one. Then come the indices of unknown integers, and those of the vocabulary.
    Inputs of models reach the layer as integers of 64 bits.

    Args:
        max_tokens: the largest size of the vocabulary, mask and unknown integers included; None for no limit.
        num_oov_indices: number of indices for integers out of the vocabulary; with 0, unknown integers are an error.
        mask_token: the integer that stands for a missing value. In the mode "int" its index is 0; in the other modes it
            counts for nothing.
        oov_token: what `invert=True` returns for the indices of unknown integers.
        vocabulary: list or array of integers, or the path of a file with one integer in each line.
        vocabulary_dtype: must be "int64".
        idf_weights: for the mode "tf_idf", the factor of each integer of `vocabulary`.
        invert: whether to map indices to integers.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf", as for `StringLookup`.
        sparse: Ignored. Outputs are always dense arrays.
        pad_to_max_tokens: whether vectors have `max_tokens` entries, also with a smaller vocabulary.
        oov_method: how one of several indices is chosen for an unknown integer: "floormod" takes the remainder of its division,
            "farmhash" a hash, which spreads them evenly.
        salt: None, or one or two integers that change the hash.
        name: name of the layer.
        options: arguments of every `Layer`, such as `input_shape`.

    Example:
        >>> from engine import layers
        >>> layers.IntegerLookup(vocabulary=[12, 1138, 42])([[12, 42], [7, 1138]]).tolist()
        [[1, 3], [0, 2]]
    """

    _reads = "integers"
    _kind = "integers"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if vocabulary_dtype != "int64":
            msg = f"`vocabulary_dtype` must be 'int64', got {vocabulary_dtype!r}"
            raise ValueError(msg)
        self.vocabulary_dtype = vocabulary_dtype
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=None if mask_token is None else integer_term(mask_token, "`mask_token`"),
            oov_token=None if oov_token is None else integer_term(oov_token, "`oov_token`"),
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            sparse=sparse,
            pad_to_max_tokens=pad_to_max_tokens,
            oov_method=oov_method,
            salt=salt,
            encoding=None,
            name=name,
            **options,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, with the vocabulary."""
        return {**super().get_config(), "vocabulary_dtype": self.vocabulary_dtype}

    def _rows(self, data: Any, whole: bool) -> Iterator[Sequence[Any]]:
        values = integers_in(data, "data")
        return rows_to_count(values.shape, values.reshape(-1).tolist(), whole)

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        values = integers_in(inputs)
        if self.invert:
            return self._vocabulary.terms_of(values)
        return self._vocabulary.encode(self._vocabulary.indices_of_integers(values))


def vocabulary_of(
    name: str, options: LookupOptions, terms: Any, idf_weights: Any, *, size: int | None, given: bool
) -> Vocabulary:
    """Returns the vocabulary of a layer.

    Args:
        name: of the layer.
        options: the arguments of the layer.
        terms: the argument `vocabulary`.
        idf_weights: the argument of that name.
        size: the number of indices, from a config.
        given: whether `adapt` is refused.
    """
    if idf_weights is not None and options.output_mode != "tf_idf":
        msg = f"`idf_weights` should only be set if `output_mode` is 'tf_idf', got {options.output_mode!r}"
        raise ValueError(msg)
    vocabulary = Vocabulary(name, options, size if options.output_mode != "int" else None)
    if terms is not None:
        if options.output_mode == "tf_idf" and idf_weights is None:
            msg = (
                "When specifying the `vocabulary` argument, in TF-IDF output mode, the `idf_weights` argument must also be "
                "provided."
            )
            raise ValueError(msg)
        vocabulary.set(terms, idf_weights)
    vocabulary.given = given
    return vocabulary


def encoding_of(value: Any) -> str:
    """Returns the name of an encoding, checked."""
    require(str, value, "encoding", "the name of an encoding, such as 'utf-8'")
    try:
        codecs.lookup(str(value))
        return str(value)
    except LookupError:
        msg = f"`encoding` must be the name of an encoding, such as 'utf-8', got {value!r}"
        raise ValueError(msg) from None


def salt_of(value: Any) -> list[int] | None:
    """Returns the two integers of the argument `salt`, checked."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 2:  # noqa: PLR2004 # the key of the hash
        return [integer(each, "salt", 0, 2**64 - 1) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return [integer(value, "salt", 0, 2**64 - 1)] * 2
    msg = f"`salt` must be one integer or two, got {value!r}"
    raise ValueError(msg)


def _without_dtype(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments without `dtype`, which Keras' look-ups ignore."""
    return {name: value for name, value in options.items() if name != "dtype"}
