"""Layers that join the outputs of several layers: sums, products, extremes, `Dot` and `Concatenate`."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine._base.checks import LARGEST, Shape, flag, integer, text_of_shape, without_batch
from engine._base.tensor_like import Tensor, mask_of
from engine._core_interface.cpp import Operation, build
from engine._core_interface.operations import AddOperation, ConcatenateOperation, LayerOperation
from engine._data.array_conversion import as_float32, real_array, require_finite
from engine._tracing.extents import FullShape
from engine._tracing.lazy import RecordedArray, as_recorded, recorded_inputs, trace_for
from engine._tracing.recordings import Recording, recording, shapes_by_trial
from engine._tracing.symbolic import Symbolic, contains, current
from engine.layers.layer import Layer, register
from engine.layers.part import Part
from engine.layers.recorded_calls import mask_of_symbol
from engine.layers.symbols import called_on, symbols_of

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]


class _Merging(Layer):
    """Base class of layers that compute one output from a list of inputs.

    Args:
        options: arguments of every `Layer`, such as `name`.
    """

    supports_masking = _merges_inputs = True
    _input_shapes: list[Shape] | None = None

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """Returns the outputs for a list of inputs, or the symbolic output for a list of symbolic inputs.

        Args:
            inputs: list of arrays (n, ...), or of symbolic inputs, as returned by `Input` or a layer.
            args: `training`, which changes nothing.
            options: the same by keyword.

        Raises:
            TypeError: if some inputs are arrays and others symbolic.
            ValueError: if `inputs` is no list, or the shapes of the inputs don't fit together.
        """
        unknown = ", ".join(repr(name) for name in options if name != "training")
        if unknown or len(args) > 1:
            msg = (
                f"layer {self.name!r} takes `training` beside its inputs, got {unknown or args}: leave it out"
            )
            raise TypeError(msg)
        training = options.get("training", args[0] if args else None)
        training = None if training is None else flag(training, "training")
        if not isinstance(inputs, (list, tuple)) or not inputs:
            msg = f"layer {self.name!r} must be called on a list of inputs, got {inputs!r:.80}: put them into [...]"
            raise ValueError(msg)
        inputs = [recorded_inputs(each, self) for each in inputs]
        if current.get() is None and contains(inputs, RecordedArray):
            trace = trace_for(inputs)
            inputs = inputs if trace is None else [as_recorded(each, trace) for each in inputs]
        symbols: list[Any] | None = symbols_of(inputs)
        if symbols is not None and isinstance(symbols[0], RecordedArray):
            self._require_same_count(symbols)
            (outputs,) = called_on(self, symbols, training)
            self._note_penalty(outputs)
            return outputs
        if symbols is not None:
            return called_on(self, symbols, training)[0]
        if contains(inputs, Symbolic):
            msg = (
                f"layer {self.name!r} must be called on arrays or on symbolic inputs, as returned by Input() or a layer, got "
                "both in one list: make the array an Input() of the model"
            )
            raise TypeError(msg)
        return self._of_arrays(list(inputs))

    def _checked_arrays(self, inputs: Sequence[Any]) -> list[NDArray[Any]]:
        """Returns inputs as float32 arrays with equally many samples."""
        arrays = [real_array(each, f"inputs[{number}]") for number, each in enumerate(inputs)]
        rows = [as_float32(array) for array in arrays]
        for number, (row, array) in enumerate(zip(rows, arrays, strict=True)):
            require_finite(row, array, f"inputs[{number}]")
        self._require_same_count(rows)
        return rows

    def _require_same_count(self, inputs: Sequence[Any]) -> None:
        """Raises ValueError unless all inputs, arrays of NumPy or recorded ones, have equally many samples."""
        counts = [each.shape[0] for each in inputs]
        if len(set(counts)) > 1:
            msg = f"the inputs of layer {self.name!r} must have the same number of samples, got {counts}"
            raise ValueError(msg)

    def _of_arrays(self, inputs: Sequence[Any]) -> Tensor:
        rows = self._checked_arrays(inputs)
        samples = [each.shape[1:] for each in rows]
        self._build_for_inputs(samples)
        masks = [mask_of(each) for each in inputs]
        outputs = self._merged(rows, samples, masks)
        self._note_penalty(outputs)
        return outputs.view(Tensor).masked(self.compute_mask(rows, masks))

    def _merged(
        self, rows: Sequence[NDArray[Any]], samples: Sequence[Shape], masks: Sequence[Any]
    ) -> NDArray[np.float32]:
        """Returns the outputs for float32 arrays whose samples have the shapes `samples`, computed by the core.

        Args:
            rows: the arrays.
            samples: the shapes.
            masks: of the arrays, or None.
        """
        del masks
        joined = np.concatenate([each.reshape(len(each), -1) for each in rows], axis=1)
        reads = {"inputs": [-1 - number for number in range(len(rows))]}
        operations: list[Operation] = [{**self._operation_for(samples), **reads}]
        program = build([math.prod(sample) for sample in samples], operations, [])
        outputs = program.predict(joined, None, False, False, 0)
        return outputs.reshape(len(joined), *self._merged_shape(samples))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: list of the shapes of the inputs, each with the batch axis first.
        """
        (shape,) = self._output_shapes_for([without_batch(shape) for shape in input_shape])
        return (next((size for size, *_ in input_shape if size is not None), None), *shape)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> NDArray[np.bool_] | None:
        """Returns the mask of the outputs, or None.

        Args:
            inputs: the inputs of a call.
            previous_mask: list of the masks of the inputs, bool (n, ...) or None.
        """
        masks = self._checked_masks(inputs, previous_mask)
        if any(mask is None for mask in masks):
            return None
        return cast("NDArray[np.bool_]", functools.reduce(np.logical_or, masks))

    def _checked_masks(self, inputs: Any, masks: Any) -> list[Any]:
        """Returns the mask of each input, or None, from the arguments of `compute_mask`.

        Raises:
            ValueError: if they are no lists of one length.
        """
        if masks is None:
            return [None]
        for name, given in (("mask", masks), ("inputs", inputs)):
            if not isinstance(given, (list, tuple)):
                msg = f"`{name}` should be a list. Layer {self.name!r} joins several inputs, but got {given!r:.80}"
                raise ValueError(msg)
        if len(masks) != len(inputs):
            msg = (
                f"`inputs` and `mask` of layer {self.name!r} should have the same length. Got {len(inputs)} inputs and "
                f"{len(masks)} masks: give None for an input without a mask"
            )
            raise ValueError(msg)
        return list(masks)

    def get_build_config(self) -> dict[str, Any] | None:
        """`{"input_shape": [(None, ...), ...]}`, for `build_from_config`; None before the layer is built."""
        known = self._input_shapes
        return None if known is None else {"input_shape": [(None, *shape) for shape in known]}

    def build_from_config(self, config: Any) -> None:
        """Checks the shapes in the result of `get_build_config`.

        Args:
            config: with the key `input_shape`; None or empty does nothing.
        """
        if config:
            self.build(config["input_shape"])

    _needs_all_masks = True
    """Whether the outputs have a mask only if all inputs have one."""

    @abstractmethod
    def _merged_shape(self, samples: Sequence[Shape]) -> Shape:
        """Returns the shape of one output for inputs whose samples have the shapes `samples`; ValueError if they don't fit."""

    @abstractmethod
    def _operation_for(self, samples: Sequence[Shape]) -> LayerOperation:
        """Returns the operation that joins inputs whose samples have the shapes `samples`."""

    def _call_in_model(self, inputs: Sequence[Any], training: bool | None, arguments: Any) -> Tensor:
        del training, arguments
        return self._of_arrays(inputs)

    def _packed_inputs(self, values: Sequence[Any]) -> list[Any]:
        return list(values)

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        self._merged_shape(samples)
        with self._build_lock.held():
            self._input_shapes = list(samples)
            if not self._has_weights:
                self._weights = []

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The layer is called on a list with one input."""
        return self._merged_shape([input_shape])

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        return [self._merged_shape(samples)]

    def _operations_for(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        del lowered
        joined: list[Operation] = [self._operation_for(samples)]
        if (
            self.activity_regularizer is None
            or self._recorded_penalty_on(self._merged_shape(samples)) is not None
        ):
            return joined
        return [*joined, self._penalty_on_outputs(self._merged_shape(samples))]

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        found = {source for source in sources if source is not None}
        if not found or (self._needs_all_masks and None in sources):
            return None
        if len(found) > 1 or None in sources:
            msg = (
                f"layer {self.name!r} joins inputs with different masks, which isn't supported: let all of them have the "
                "mask of one layer, or remove the masks before it, such as by GlobalAveragePooling1D()"
            )
            raise ValueError(msg)
        return found.pop()

    def _shapes_text(self, samples: Sequence[Shape]) -> str:
        return ", ".join(text_of_shape(sample) for sample in samples)


class _Formula(_Merging):
    """Base class of layers that compute one output from several by a formula of `engine.ops`."""

    _count: int | None = None
    """The number of inputs; None for any."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._recordings: dict[tuple[Shape, ...], Recording] = {}

    @abstractmethod
    def _merge(self, inputs: list[Any]) -> Any:
        """Returns the output for arrays or symbols."""

    def _recording_for(
        self, samples: Sequence[Any], training: bool | None, arguments: Any, masked: bool = False
    ) -> Recording | None:
        del training, arguments, masked
        key = tuple(samples)
        if key not in self._recordings:
            dtypes = ["float32"] * len(samples)
            self._recordings[key] = recording(lambda *symbols: self._merge(list(symbols)), samples, dtypes)
        return self._recordings[key]

    def _merged_shape(self, samples: Sequence[Shape]) -> Shape:
        self._require_count(samples)
        try:
            (found,) = shapes_by_trial(self._shapes_of, samples, or_unknown=True)
        except ValueError as error:
            raise self._misfit(samples) from error
        return found  # type: ignore[no-any-return] # the shape of a sample

    def _shapes_of(self, samples: Sequence[Shape]) -> list[Any]:
        found = _Formula._recording_for(self, samples, None, None)
        return [] if found is None else found.shapes

    def _require_count(self, samples: Sequence[object]) -> None:
        if self._count not in (None, len(samples)):
            msg = f"layer {self.name!r} takes a list of {self._count} inputs, got {len(samples)}"
            raise ValueError(msg)

    def _recording_by_masks(self, samples: Sequence[Any], sources: Sequence[int | None]) -> Any:
        if (None in sources and not self._merges_masked) or not any(source is not None for source in sources):
            return None
        if len(set(sources)) == 1 and not self._merges_masked:
            return None
        key = (tuple(samples), tuple(source is not None for source in sources))
        if key not in self._recordings:

            def merged(*symbols: Any) -> Any:
                masks = [
                    mask_of_symbol(each) if known else None
                    for each, known in zip(symbols, key[1], strict=True)
                ]
                output, mask = self._merge_masked(list(symbols), masks)
                return output if mask is None else [output, mask]

            self._recordings[key] = recording(merged, samples, ["float32"] * len(samples))
        return self._recordings[key]

    _merges_masked = False
    """Whether masked rows have another output than others."""

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        """Returns the output and its mask, or None. A row is kept if one of the inputs keeps it.

        Args:
            inputs: the symbols.
            masks: of each input, or None.
        """
        return self._merge(inputs), None if None in masks else functools.reduce(ops.logical_or, masks)

    def _misfit(self, samples: Sequence[Shape]) -> ValueError:
        return ValueError(
            f"layer {self.name!r} combines inputs of one shape, or of shapes that can be broadcast, got "
            f"{self._shapes_text(samples)}: bring them to one shape before it, such as by a Dense layer"
        )

    def _operation_for(self, samples: Sequence[Shape]) -> LayerOperation:
        """Never called, as the formula is recorded."""
        raise NotImplementedError

    def _merged(
        self, rows: Sequence[NDArray[Any]], samples: Sequence[Shape], masks: Sequence[Any]
    ) -> NDArray[np.float32]:
        """Returns the outputs for float32 arrays, computed by the functions of `engine.ops`."""
        del samples
        if self._merges_masked and any(mask is not None for mask in masks):
            return np.asarray(self._merge_masked(list(rows), list(masks))[0], np.float32)
        return np.asarray(self._merge(list(rows)), np.float32)


class _Elementwise(_Formula):
    """Base class of layers that combine their inputs element by element.

    Inputs with fewer axes get axes of length 1 behind that of the samples, as in Keras, and lengths of 1 are broadcast.
    """

    def _merge(self, inputs: list[Any]) -> Any:
        most = max(len(each.shape) for each in inputs)
        found = []
        for each in inputs:
            missing = list(range(1, 1 + most - len(each.shape)))
            found.append(ops.expand_dims(each, missing) if missing else each)
        return self._combined(found)

    @abstractmethod
    def _combined(self, inputs: list[Any]) -> Any:
        """Returns the output for inputs with equally many axes."""


@register()
class Add(_Elementwise):
    """Adds its inputs: `inputs[0] + inputs[1] + ...`. Lengths of 1 are broadcast.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Add()([np.ones((1, 2)), np.full((1, 2), 3.0)]).tolist()
        [[4.0, 4.0]]
    """

    def _combined(self, inputs: list[Any]) -> Any:
        return functools.reduce(ops.add, inputs)

    def _recording_for(
        self, samples: Sequence[Any], training: bool | None, arguments: Any, masked: bool = False
    ) -> Recording | None:
        """Inputs of one shape are added by an operation of the core."""
        if all(sample == samples[0] for sample in samples) and not isinstance(samples[0], FullShape):
            return None
        return super()._recording_for(samples, training, arguments, masked)

    def _operation_for(self, samples: Sequence[Shape]) -> LayerOperation:
        del samples
        return AddOperation(kind="add")

    def _merged(
        self, rows: Sequence[NDArray[Any]], samples: Sequence[Shape], masks: Sequence[Any]
    ) -> NDArray[np.float32]:
        """Returns the sum; inputs of one shape are added by the core."""
        if all(sample == samples[0] for sample in samples):
            return _Merging._merged(self, rows, samples, masks)
        return super()._merged(rows, samples, masks)


@register()
class Subtract(_Elementwise):
    """Subtracts the second of two inputs from the first: `inputs[0] - inputs[1]`.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Subtract()([np.ones((1, 2)), np.full((1, 2), 3.0)]).tolist()
        [[-2.0, -2.0]]
    """

    _count = 2

    def _combined(self, inputs: list[Any]) -> Any:
        return ops.subtract(*inputs)


@register()
class Multiply(_Elementwise):
    """Multiplies its inputs element by element. Lengths of 1 are broadcast.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Multiply()([np.full((1, 2), 2.0), np.full((1, 2), 3.0)]).tolist()
        [[6.0, 6.0]]
    """

    _merges_masked = True

    def _combined(self, inputs: list[Any]) -> Any:
        return functools.reduce(ops.multiply, inputs)

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        # As in Keras, masked rows of one input are those of the others, and rows that all mask are 0.
        ones = [
            each if mask is None else ops.where(ops.expand_dims(mask, -1), each, 1.0)
            for each, mask in zip(inputs, masks, strict=True)
        ]
        output = self._merge(ones)
        if any(mask is None for mask in masks):
            return output, None
        mask = functools.reduce(ops.logical_or, masks)
        return ops.where(ops.expand_dims(mask, -1), output, 0.0), mask


@register()
class Average(_Elementwise):
    """The mean of its inputs, element by element. Lengths of 1 are broadcast.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Average()([np.ones((1, 2)), np.full((1, 2), 3.0)]).tolist()
        [[2.0, 2.0]]
    """

    def _combined(self, inputs: list[Any]) -> Any:
        return ops.divide(functools.reduce(ops.add, inputs), len(inputs))


@register()
class Maximum(_Elementwise):
    """The largest of its inputs, element by element. Lengths of 1 are broadcast.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Maximum()([np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])]).tolist()
        [[3.0, 5.0]]
    """

    _merges_masked = True

    def _combined(self, inputs: list[Any]) -> Any:
        return functools.reduce(ops.maximum, inputs)

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        return _extreme_of_kept(ops.maximum, inputs, masks)


@register()
class Minimum(_Elementwise):
    """The smallest of its inputs, element by element. Lengths of 1 are broadcast.

    Args:
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Minimum()([np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])]).tolist()
        [[1.0, 2.0]]
    """

    _merges_masked = True

    def _combined(self, inputs: list[Any]) -> Any:
        return functools.reduce(ops.minimum, inputs)

    def _merge_masked(self, inputs: list[Any], masks: list[Any]) -> tuple[Any, Any]:
        return _extreme_of_kept(ops.minimum, inputs, masks)


def _extreme_of_kept(function: Any, inputs: list[Any], masks: list[Any]) -> tuple[Any, Any]:
    """Returns the largest or smallest of the inputs and its mask, or None. As in Keras, masked rows don't compete."""
    output, mask = inputs[0], masks[0]
    for each, own in zip(inputs[1:], masks[1:], strict=True):
        other = each if own is None else ops.where(ops.expand_dims(own, -1), each, output)
        if mask is not None:
            output = ops.where(ops.expand_dims(mask, -1), output, other)
        mask = None if mask is None or own is None else ops.logical_or(mask, own)
        output = function(output, other)
    return output, mask


@register()
class Dot(_Formula):
    """The sum of products of two inputs along one axis of each, sample by sample.

    Args:
        axes: the axis of both inputs, or a pair of one for each, counted with the batch axis, which is 0 and can't be taken.
        normalize: whether to divide both inputs by their Euclidean norms along these axes, so that vectors give the cosine
            of their angle.
        options: arguments of every `Layer`, such as `name`.

    Raises:
        TypeError: if `axes` is neither an integer nor a pair.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Dot(axes=1)([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).tolist()
        [[11.0]]
    """

    _count = 2

    def __init__(self, axes: Any, normalize: bool = False, **options: Any) -> None:
        if not isinstance(axes, (int, list, tuple)) or isinstance(axes, bool):
            msg = f"`axes` must be an integer or a pair of integers, got {axes!r}"
            raise TypeError(msg)
        if not isinstance(axes, int) and (len(axes) != 2 or not all(isinstance(each, int) for each in axes)):  # noqa: PLR2004 # a pair
            msg = f"`axes` must be an integer or a pair of integers, got {axes!r}"
            raise ValueError(msg)
        self.axes = axes if isinstance(axes, int) else list(axes)
        self.normalize = flag(normalize, "normalize")
        super().__init__(**options)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: the outputs have no mask. `inputs` and `previous_mask` are ignored."""
        del inputs, previous_mask

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        del sources
        return None

    def _recording_by_masks(self, samples: Sequence[Any], sources: Sequence[int | None]) -> None:
        del samples, sources

    def _axes_for(self, ranks: Sequence[int]) -> list[int]:
        """Returns the axis of each input, 1 or above."""
        given = [self.axes, self.axes] if isinstance(self.axes, int) else self.axes
        found = [axis + rank if axis < 0 else axis for axis, rank in zip(given, ranks, strict=True)]
        for place, rank in zip(found, ranks, strict=True):
            if not 0 < place < rank:
                msg = (
                    f"`axes` of layer {self.name!r} must be axes of its inputs beside that of the samples, got {self.axes} "
                    f"for inputs with {ranks[0]} and {ranks[1]} axes"
                )
                raise ValueError(msg)
        return found

    def _merged_shape(self, samples: Sequence[Shape]) -> Shape:
        self._require_count(samples)
        one, other = self._axes_for([len(sample) + 1 for sample in samples])
        lengths = samples[0][one - 1], samples[1][other - 1]
        if None not in lengths and lengths[0] != lengths[1]:
            shapes = [(None, *sample) for sample in samples]
            msg = (
                f"Incompatible input shapes: axis values {lengths[0]} (at axis {one}) != {lengths[1]} (at axis {other}). "
                f"Full input shapes: {shapes[0]}, {shapes[1]}"
            )
            raise ValueError(msg)
        return super()._merged_shape(samples)

    def _merge(self, inputs: list[Any]) -> Any:
        ranks = [len(each.shape) for each in inputs]
        places = self._axes_for(ranks)
        if self.normalize:
            inputs = [ops.normalize(each, axis=place) for each, place in zip(inputs, places, strict=True)]
        # "b" is the batch axis, "z" the axis of the sum.
        letters = iter("acdefghijklmnopq")
        names = [
            "b" + "".join("z" if axis == place else next(letters) for axis in range(1, rank))
            for rank, place in zip(ranks, places, strict=True)
        ]
        rest = "".join(letter for name in names for letter in name[1:] if letter != "z")
        found = ops.einsum(f"{names[0]},{names[1]}->b{rest}", *inputs)
        return found if rest else ops.expand_dims(found, -1)


@register()
class Concatenate(_Merging):
    """Joins its inputs along an axis. All other axes have the same lengths.

    Args:
        axis: the axis to join along, counted with the batch axis, which is 0 and can't be taken; default the last.
        options: arguments of every `Layer`, such as `name`.

    Example:
        >>> import numpy as np
        >>> from engine import layers
        >>> layers.Concatenate()([np.ones((1, 2)), np.full((1, 1), 3.0)]).tolist()
        [[1.0, 1.0, 3.0]]
    """

    _needs_all_masks = False

    def __init__(self, axis: int = -1, **options: Any) -> None:
        self.axis = integer(axis, "axis", -LARGEST)
        super().__init__(**options)

    def _place(self, samples: Sequence[Shape]) -> int:
        """Returns the number of the axis in the shape of a sample."""
        axes = len(samples[0]) + 1 if samples else 0
        place = (self.axis + axes if self.axis < 0 else self.axis) - 1
        if not 0 <= place < axes - 1:
            msg = (
                f"`axis` of layer {self.name!r} must be one of the axes of its inputs beside that of the samples, got "
                f"{self.axis} for {self._shapes_text(samples)}"
            )
            raise ValueError(msg)
        return place

    def _merged_shape(self, samples: Sequence[Shape]) -> Shape:
        place = self._place(samples)
        axes = list(zip(*samples, strict=True)) if len({len(sample) for sample in samples}) == 1 else [()]
        known = [set(lengths) - {None} for lengths in axes]
        if len(axes) < len(samples[0]) or any(
            len(each) > 1 for each in (*known[:place], *known[place + 1 :])
        ):
            msg = (
                f"layer {self.name!r} joins inputs that differ in axis {self.axis} alone, got {self._shapes_text(samples)}: "
                "bring them to one shape before it, such as by Flatten() or Reshape()"
            )
            raise ValueError(msg)
        lengths = [sample[place] for sample in samples]
        # None, a length that differs from batch to batch, is no int for a type checker but occurs in shapes.
        joined = cast("int", None if None in lengths else sum(lengths))
        rest: list[Any] = [
            next(iter(lengths), None) for lengths in known
        ]  # a known length says what unknown ones are
        return (*rest[:place], joined, *rest[place + 1 :])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> NDArray[np.bool_] | None:
        """Returns the mask of the outputs, or None. All rows of an input without a mask count.

        Args:
            inputs: the inputs of a call.
            previous_mask: list of the masks of the inputs, bool (n, ...) or None.
        """
        given = self._checked_masks(inputs, previous_mask)
        if not any(mask is not None for mask in given):
            return None
        masks = [
            np.ones(np.shape(each)[:-1], bool) if mask is None else mask
            for each, mask in zip(inputs, given, strict=True)
        ]
        place = self._place([np.shape(each)[1:] for each in inputs])
        if place == np.ndim(inputs[0]) - 2:  # along the features
            return cast("NDArray[np.bool_]", functools.reduce(np.logical_or, masks))
        return np.concatenate(masks, axis=place + 1)

    def _recording_by_masks(self, samples: Sequence[Any], sources: Sequence[int | None]) -> Any:
        place = self._place(samples)
        joins_features = place == len(samples[0]) - 1
        if set(sources) == {None} or (joins_features and (len(set(sources)) == 1)):
            return None
        known = [source is not None for source in sources]

        def merged(*symbols: Any) -> Any:
            output = ops.concatenate(symbols, axis=place + 1)
            if joins_features:
                masks = [mask_of_symbol(each) for each, has in zip(symbols, known, strict=True) if has]
                kept = len(masks) == len(symbols)
                return [output, functools.reduce(ops.logical_or, masks)] if kept else output
            # Without a mask, all rows count; what has none says so.
            return [output, ops.concatenate([mask_of_symbol(each) for each in symbols], axis=place + 1)]

        return recording(merged, samples, ["float32"] * len(samples))

    def _operation_for(self, samples: Sequence[Shape]) -> LayerOperation:
        return ConcatenateOperation(kind="concatenate", groups=math.prod(samples[0][: self._place(samples)]))


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Add(**kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        kwargs: arguments of `Add`.
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Subtract(**kwargs)(inputs)`.

    Args:
        inputs: list of two arrays or symbolic inputs.
        kwargs: arguments of `Subtract`.
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Multiply(**kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        kwargs: arguments of `Multiply`.
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Average(**kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        kwargs: arguments of `Average`.
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Maximum(**kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        kwargs: arguments of `Maximum`.
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Returns `Minimum(**kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        kwargs: arguments of `Minimum`.
    """
    return Minimum(**kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: Any = -1, **kwargs: Any) -> Any:
    """Returns `Dot(axes, **kwargs)(inputs)`.

    Args:
        inputs: list of two arrays or symbolic inputs.
        axes: as for `Dot`.
        kwargs: arguments of `Dot`.
    """
    return Dot(axes=axes, **kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Returns `Concatenate(axis, **kwargs)(inputs)`.

    Args:
        inputs: list of arrays or symbolic inputs.
        axis: the axis to join along, counted with the batch axis.
        kwargs: arguments of `Concatenate`.
    """
    return Concatenate(axis, **kwargs)(inputs)


@register()
class GivenMask(_Merging):
    """The first of two inputs, with the second one as its mask: what a call with the argument `mask` gives to a layer.

    Args:
        options: arguments of every `Layer`, such as `name`.
    """

    @property
    def _may_make_mask(self) -> bool:
        return True

    def _merged_shape(self, samples: Sequence[Shape]) -> Shape:
        values, mask = samples
        if values[:-1] != mask:
            msg = (
                f"`mask` must have shape {text_of_shape(values[:-1])}, one for each row of inputs of shape "
                f"{text_of_shape(values)}, got {text_of_shape(mask)}"
            )
            raise ValueError(msg)
        return values

    def _of_arrays(self, inputs: Sequence[Any]) -> Tensor:
        values, mask = map(np.asarray, inputs)
        self._build_for_inputs([values.shape[1:], mask.shape[1:]])
        return values.view(Tensor).masked(mask)

    def _operation_for(self, samples: Sequence[Shape]) -> LayerOperation:
        """Never called, as it computes nothing."""
        raise NotImplementedError


_given_mask = GivenMask()


def _with_mask(symbols: Sequence[Any]) -> Any:
    """Returns the first of two symbols with the second one as its mask."""
    if isinstance(symbols[0], RecordedArray):
        # By one layer, so that all steps of a loop share a compiled function.
        return symbols[0].trace.call(_given_mask, symbols)[0]
    return GivenMask()(symbols)


Part._with_mask = staticmethod(_with_mask)
