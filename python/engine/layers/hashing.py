"""Layers that hash: `Hashing`, and `HashedCrossing` for several features together."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape, WrongTypeError, choice, dtype_of, flag, integer
from engine._core_interface.cpp import Operation
from engine._core_interface.host_steps import LayerStep
from engine._core_interface.operations import ConcatenateOperation, LayerOperation
from engine._data.exact_integers import with_dtype
from engine._data.strings import Strings, contains_strings
from engine.layers._encoding import encoded, encoded_shape, output_mode_of, require_samples
from engine.layers._fingerprints import crossed, fingerprints, keyed_hashes
from engine.layers.layer import register
from engine.layers.lookup import salt_of
from engine.layers.symbols import Call, symbols_of
from engine.layers.values import ValueLayer, as_shape, result_of, values_in
from engine.layers.weights import WeightSpec

__all__ = ["HashedCrossing", "Hashing"]

_INTEGERS = ("int32", "int64")


@register()
class Hashing(ValueLayer):
    """Maps strings or integers to one of `num_bins` bins, by a hash. There is no vocabulary, and two values may share a bin.

    The bins are those of Keras: the hash is Fingerprint64 of FarmHash, and with a `salt` SipHash-2-4. Integers are hashed as
    their decimal digits.

    Args:
        num_bins: number of bins, that of `mask_value` included.
        mask_value: the value that stands for a missing one, whose bin is 0. With None there is no such value.
        salt: None, or one or two integers that change the hash.
        output_mode: "int" returns the bins. "one_hot", "multi_hot" and "count" return float32 vectors with one entry per bin, as
            for `StringLookup`.
        sparse: Ignored. Outputs are always dense arrays.
        dtype: dtype of the bins, "int64" or "int32"; float32 for vectors.
        options: arguments of every `Layer`, such as `name` and `input_shape`.

    Example:
        >>> from engine import layers
        >>> layers.Hashing(num_bins=3)([["A"], ["B"], ["C"]]).tolist()
        [[1], [0], [1]]
    """

    _reads = "both"

    def __init__(  # Keras' signature
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        *,
        dtype: object = None,
        **options: Any,
    ) -> None:
        self.output_mode = output_mode_of(output_mode)
        super().__init__(dtype=None if self.output_mode == "int" else dtype, **options)
        if self.output_mode == "int":
            self.dtype = _dtype_of_bins(dtype)
        self.num_bins = integer(num_bins, "num_bins", 1)
        self.mask_value, self.salt = mask_value, salt_of(salt)
        self.sparse = flag(sparse, "sparse")
        _refuse_sparse(self.sparse, self.output_mode)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        return encoded_shape(as_shape(input_shape), self.output_mode, self.num_bins)

    @property
    def _dtype_of_indices(self) -> str | None:
        return self.dtype if self.output_mode == "int" else None

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        require_samples(self.name, self.output_mode, input_shape)
        return super()._output_shape_for(input_shape)

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        values = values_in(inputs)
        if isinstance(values, Strings):
            found = self._bins_of(values.values).reshape(values.shape)
        else:
            distinct, places = np.unique(values, return_inverse=True)
            found = self._bins_of(distinct.tolist())[places.reshape(values.shape)]
        if self.output_mode == "int":
            return found.astype(self.dtype)
        return encoded(found, self.output_mode, self.num_bins)

    def _bins_of(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Returns the bin of each value. Each different value is hashed once."""
        distinct = [*dict.fromkeys(values)]
        texts = [_bytes_of(each) for each in distinct]
        masked = self.mask_value is not None and self.num_bins > 1
        hashes = fingerprints(texts) if self.salt is None else keyed_hashes(texts, self.salt)
        bins = (hashes % np.uint64(self.num_bins - masked)).astype(np.int64) + masked
        found = dict(zip(distinct, bins.tolist(), strict=True))
        if masked:
            mask = _bytes_of(self.mask_value)
            found |= {each: 0 for each, text in zip(distinct, texts, strict=True) if text == mask}
        return np.fromiter(map(found.__getitem__, values), np.int64, len(values))


@register()
class HashedCrossing(ValueLayer):
    """Maps each combination of several features to one of `num_bins` bins, by a hash.

    The bins are those of Keras: the fingerprints of the features, or integers themselves, are mixed one after the other.

    Args:
        num_bins: number of bins.
        output_mode: "int" returns the bins, "one_hot" float32 vectors with one entry per bin.
        sparse: Ignored. Outputs are always dense arrays.
        name: name of the layer.
        dtype: dtype of the bins, "int64" or "int32"; float32 for vectors.
        options: arguments of every `Layer`.

    Example:
        >>> from engine import layers
        >>> layers.HashedCrossing(num_bins=5)((["A", "B", "A"], [101, 101, 102])).tolist()
        [1, 4, 3]
    """

    _reads = "both"

    def __init__(  # Keras' signature
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: object = None,
        **options: Any,
    ) -> None:
        self.output_mode = output_mode_of(output_mode, ("int", "one_hot"))
        super().__init__(name=name, dtype=None if self.output_mode == "int" else dtype, **options)
        if self.output_mode == "int":
            self.dtype = _dtype_of_bins(dtype)
        self.num_bins = integer(num_bins, "num_bins", 1)
        self.sparse = flag(sparse, "sparse")
        _refuse_sparse(self.sparse, self.output_mode)

    def __call__(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the bins for a list of features, or the symbolic output for a list of symbolic inputs.

        Args:
            inputs: list of two features or more, each (n,) or (n, 1), of strings or integers.
            training: changes nothing.
            mask: must be None.

        Raises:
            ValueError: for fewer than two features, or features of other or different shapes.
            TypeError: for features that are neither integers nor strings.
        """
        if not isinstance(inputs, (list, tuple)):
            msg = f"`HashedCrossing` should be called on a list or tuple of inputs, got {inputs!r:.60}"
            raise ValueError(msg)
        if len(inputs) < 2:  # noqa: PLR2004
            msg = f"`HashedCrossing` should be called on at least two inputs, got {len(inputs)}"
            raise ValueError(msg)
        symbols = symbols_of(inputs)
        if symbols is not None:
            return Call(self, symbols).outputs[0]
        for each in inputs:
            kind = np.asarray(each).dtype.kind
            if kind not in "iu" and not contains_strings(each):
                msg = f"all inputs of `HashedCrossing` must be integers or strings, got {each!r:.60}"
                raise WrongTypeError(msg)
        return result_of(self._outputs_of(inputs))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: list of the shapes of the inputs, each with the batch axis first.
        """
        first, *others = [as_shape(each) for each in input_shape]
        if len(first) > 2 or first[1:] not in ((), (1,)) or any(other != first for other in others):  # noqa: PLR2004
            msg = f"the inputs of `HashedCrossing` must all have the shape (n,) or (n, 1), got {[first, *others]}"
            raise ValueError(msg)
        return encoded_shape(first, self.output_mode, self.num_bins)

    @property
    def _dtype_of_indices(self) -> str | None:
        return self.dtype if self.output_mode == "int" else None

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        _, *shape = self.compute_output_shape([(None, *sample) for sample in samples])
        return [tuple(shape)]

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        self._ensure_arrays_for(samples[0])

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        del input_shape
        return []

    def _packed_inputs(self, values: Sequence[Any]) -> list[Any]:
        return list(values)

    def _operations_for(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        del lowered
        (outputs,) = self._output_shapes_for(samples)
        join: Operation = {**ConcatenateOperation(kind="concatenate", groups=1)}
        host = CrossingHost(weakref.ref(self))
        cross: Operation = {
            "kind": "custom",
            "units": math.prod(outputs),
            "variables": [],
            "groups": 1,
            "host": host,
        }
        return [join, cross]

    def _outputs_of(self, inputs: Any) -> NDArray[Any]:
        features = [values_in(each) for each in inputs]
        shape = features[0].shape
        if len(shape) > 2 or (len(shape) == 2 and shape[-1] != 1):  # noqa: PLR2004 # samples and an axis of length 1
            msg = f"the inputs of `HashedCrossing` must have the shape (), (n,) or (n, 1), got {shape}"
            raise ValueError(msg)
        if any(each.shape != shape for each in features):
            msg = (
                f"the inputs of `HashedCrossing` must have one shape, got {[each.shape for each in features]}"
            )
            raise ValueError(msg)
        hashes = crossed(
            fingerprints([_bytes_of(value) for value in each.values])
            if isinstance(each, Strings)
            else each.reshape(-1).astype(np.uint64)
            for each in features
        )
        bins = (hashes % np.uint64(self.num_bins)).astype(np.int64).reshape(shape)
        if self.output_mode == "int":
            return bins.astype(self.dtype)
        return encoded(bins, self.output_mode, self.num_bins)


class CrossingHost(NamedTuple):
    """The host step of a `HashedCrossing` in a model.

    Args:
        layer: its model owns the core's program as well, so that a strong reference would be a cycle.
        dtypes: of the features.
        coded: for each feature whether codes of integers may be among its numbers.
    """

    layer: weakref.ref[HashedCrossing]
    dtypes: tuple[str, ...] = ()
    coded: tuple[bool, ...] = ()

    def __call__(self, step: LayerStep) -> None:
        """Computes the bins, or the gradient by the features, which is zero."""
        if step["kind"] == "backward":
            if step["gradient"] is not None:
                step["gradient"][...] = 0
            return
        layer = self.layer()
        if layer is None:
            msg = "the layer that this program needs does not exist any more"
            raise RuntimeError(msg)
        features = [with_dtype(*each) for each in zip(step["inputs"].T, self.dtypes, self.coded, strict=True)]
        step["outputs"][...] = layer._outputs_of(features).reshape(len(step["outputs"]), -1)


def _bytes_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _dtype_of_bins(value: Any) -> str:
    """Returns the argument `dtype` of a layer that returns bins, checked; it may be the config of a dtype policy."""
    config = value.get("config") if isinstance(value, Mapping) else None
    named = config.get("name", value) if isinstance(config, Mapping) else getattr(value, "name", value)
    return str(choice(dtype_of("int64" if value is None else named, "dtype").name, "dtype", _INTEGERS))


def _refuse_sparse(sparse: bool, mode: str) -> None:
    if sparse and mode == "int":
        msg = "`sparse=True` belongs to `output_mode` 'one_hot', 'multi_hot' or 'count', got 'int'"
        raise ValueError(msg)
