"""Symbolic tensors: what `Input` and layers called on it return, before there are numbers."""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

from engine._base.checks import Shape
from engine._base.computed_once import computed_once
from engine._base.left_out import SaysWhatIsLeftOut
from engine._tracing.extents import UNKNOWN, Extent, Extents, FullShape, full_shape, shape_of
from engine._tracing.lazy import LazyTrace, RecordedArray, as_recorded, trace_for
from engine._tracing.symbolic import Slot, Symbolic, operator_methods
from engine._tracing.trace import Trace


class CallArguments(dict[str, Any]):
    """The arguments of one call of a layer, without its inputs, by name.

    Two calls are different even if their arguments are equal, so that each object is equal to itself only. Symbols among
    the arguments are inputs of the call, too: a slot is in their place.
    """

    inputs: Any = Slot(0)
    """The first argument, with a slot in place of each symbol."""
    dtypes: Sequence[str] | None = None
    """Of the symbols; None is float32."""

    @property
    def is_plain(self) -> bool:
        """Whether the call has nothing but one float32 symbol."""
        return self.inputs == Slot(0) and not self and self.dtypes == ["float32"]

    __hash__ = object.__hash__  # type: ignore[assignment] # a dict has none

    def __eq__(self, other: object) -> bool:
        return self is other

    def accepted_by(self, function: Any) -> dict[str, Any]:
        """The arguments that `function` has parameters for."""
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        return {name: value for name, value in self.items() if takes_all or name in parameters}


class Callee(Protocol):
    """What can be called on symbolic tensors: a layer or a model."""

    name: str
    _symbolic_calls: int

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        """Creates the weights for inputs whose samples have the shapes `samples`."""

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        """Returns the shape of one sample of each output, for input samples of the shapes `samples`."""

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        """Returns the dtype of each output, for inputs of the dtypes `dtypes`."""


_numbers = itertools.count()
# The first call of each layer and model that still exists.
_first_calls: weakref.WeakKeyDictionary[Any, weakref.ref[Call]] = weakref.WeakKeyDictionary()


class Call:
    """One call of a layer or a model on symbolic tensors. It creates the weights of the layer.

    Its attribute `number` grows from call to call, and `node` from call to call of this layer.

    Args:
        layer: the layer or model that is called.
        inputs: the tensors that it is called on.
        training: the argument `training` of the call; None is no argument.
        arguments: the further arguments of the call; None if there are none.
    """

    def __init__(
        self,
        layer: Callee,
        inputs: Sequence[KerasTensor],
        training: bool | None = None,
        arguments: CallArguments | None = None,
    ) -> None:
        self.layer: Any = layer
        self.number = next(_numbers)
        self.inputs, self.training, self.arguments = tuple(inputs), training, arguments
        try:
            shapes = self._output_shapes()
            layer._build_for_inputs(self._samples())
        except ValueError as error:
            if type(error) is ValueError:
                error.args = (f"{str(error).rstrip('.')}. {layer.name!r} is called on {self._sources()}",)
            raise
        dtypes = layer._output_dtypes_for([tensor.dtype for tensor in self.inputs])
        batch = next((tensor._batch for tensor in self.inputs if tensor._batch is not None), None)
        self.outputs = tuple(
            KerasTensor._of_call(shape, self, dtype, batch)
            for shape, dtype in zip(shapes, dtypes, strict=False)
        )
        self.node = layer._symbolic_calls
        layer._symbolic_calls += 1
        if first_call_of(layer) is None:
            _first_calls[layer] = weakref.ref(self)

    def _samples(self) -> list[Shape]:
        return [tensor._sample for tensor in self.inputs]

    def _sources(self) -> str:
        """Returns the inputs as text: the layers that compute them, and their shapes."""
        return " and ".join(f"the output {tensor.shape} of {tensor.name!r}" for tensor in self.inputs)

    def _output_shapes(self) -> list[Shape]:
        shapes: list[Shape] = self.layer._output_shapes_for(self._samples())
        return shapes

    def refresh(self) -> None:
        """Updates the shapes of the outputs, since a model that is called may have been given other layers."""
        for tensor, shape in zip(self.outputs, self._output_shapes(), strict=False):
            tensor._sample = shape


def first_call_of(layer: Callee) -> Call | None:
    """Returns the first symbolic call of a layer or model, as long as tensors or a model keep it; else None."""
    reference = _first_calls.get(layer)
    return None if reference is None else reference()


@contextmanager
def unnoted_call(layer: Callee) -> Iterator[None]:
    """Lets a layer forget the call on symbols that is made within the block."""
    calls, first = layer._symbolic_calls, _first_calls.get(layer)
    try:
        yield
    finally:
        layer._symbolic_calls = calls
        if first is None:
            _first_calls.pop(layer, None)


class ModelSymbol(Symbolic):
    """A symbol of a model, which has Keras' operators: `&`, `|`, `^` and `~` are logical, also for integers."""

    __and__, __rand__ = operator_methods("logical_and")
    __or__, __ror__ = operator_methods("logical_or")
    __xor__, __rxor__ = operator_methods("logical_xor")
    __hash__ = object.__hash__

    def __invert__(self) -> Any:
        return self._applied("logical_not", self)

    def reshape(self, newshape: Any) -> Any:
        """The same numbers in the shape `newshape`, with the batch axis; one length may be -1."""
        return self._applied("reshape", self, newshape)

    def squeeze(self, axis: Any = None) -> Any:
        """The same numbers without the axes `axis`, which have length 1; None is all of these."""
        return self._applied("squeeze", self, axis)

    def __eq__(self, other: object) -> Any:
        return Equality(self, other) if isinstance(other, ModelSymbol) else super().__eq__(other)

    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._as_tensor._record(operation, args, kwargs)


class Equality(ModelSymbol):
    """`a == b` of two symbols of a model: a symbol for where their numbers are equal, added to the graph when it is used.

    As a truth value it says whether both are one symbol, so that lists of symbols can be searched, as in Keras.
    """

    def __init__(self, one: ModelSymbol, other: ModelSymbol) -> None:
        self._pair = one, other

    @computed_once
    def _as_tensor(self) -> Any:
        return self._applied("equal", *self._pair)

    def __bool__(self) -> bool:
        one, other = self._pair
        return one._as_tensor is other._as_tensor

    def __repr__(self) -> str:
        return f"<{self._pair[0]!r} == {self._pair[1]!r}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(self._as_tensor, name)


class KerasTensor(ModelSymbol, SaysWhatIsLeftOut):
    """A symbolic tensor: its shape, and what computes it. `Input` and layers return such tensors.

    One that is made by hand says which shapes and dtypes operations and layers return; no model can begin with it.

    Args:
        shape: shape with the batch axis, such as `(None, 3)`.
        dtype: the dtype that its numbers have in Keras; layers compute in float32.
        sparse: Ignored, as for `Input`.
        ragged: Ignored.
        record_history: Ignored.
        name: name of the tensor.

    Example:
        >>> from engine import KerasTensor, layers
        >>> layers.Dense(2)(KerasTensor((4, 3))).shape
        (4, 2)
    """

    _call: Call | None = None
    """The call of a layer that returned it; None for the input of a model."""
    start: Callee | None = None
    """The input layer, for the input of a model."""

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        shape: Sequence[int | None],
        dtype: str = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        del sparse, ragged, record_history
        batch, sample = (shape[0], tuple(shape[1:])) if len(shape) else (None, FullShape())
        self._sample: Any = sample
        self._batch, self.dtype, self._name = batch, dtype, name

    @classmethod
    def _of_call(cls, sample: Shape, call: Call, dtype: str, batch: int | None) -> KerasTensor:
        """Returns an output of a call, with samples of a shape; `batch` is the known length of the batch axis, or None."""
        found = cls((batch,), dtype)
        found._sample, found._call = sample, call
        return found

    dtype = "float32"

    _recorded: ClassVar[Callable[..., Any]]
    """Adds an operation on symbols to their graph; `operation` sets it when it is imported."""

    @property
    def _as_tensor(self) -> KerasTensor:
        return self

    @property
    def _layer(self) -> Any:
        """The layer or model that computes it; the input layer for the input of a model."""
        return self.start if self._call is None else self._call.layer

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape, with None for the batch axis and other unknown lengths."""
        return shape_of(self._extents, self._batch)

    @property
    def _extents(self) -> Extents:
        return full_shape(self._sample)

    @property
    def _extents_alone(self) -> Extents:
        """The lengths of all axes if nothing is known but `shape`."""
        return tuple(UNKNOWN if each is None else Extent(each) for each in self.shape)

    @property
    def _without_source(self) -> bool:
        """Whether it, or a symbol that it is computed from, was made by hand: no model can compute it, but it has a shape."""
        return self.start is None and (
            self._call is None or any(each._without_source for each in self._call.inputs)
        )

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.ndim

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """Name of the layer that computes it."""
        return self._name or (str(self._layer.name) if self._layer is not None else "keras_tensor")

    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._recorded(operation, args, kwargs)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def symbol_of(value: Any) -> KerasTensor | None:
    """Returns the symbolic tensor that `value`, or the one entry of a list, is; None for anything else."""
    if isinstance(value, Symbolic):
        symbol: KerasTensor = value._as_tensor
        return symbol
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return symbol_of(value[0])
    return None


def symbols_of(value: Any) -> list[KerasTensor] | None:
    """Returns the symbolic tensors in `value`, which is one or a list, tuple or dict of them; None for anything else.

    Those of a dict come in the alphabetical order of their keys, as in Keras.
    """
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value, key=str)]
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(isinstance(each, Symbolic) for each in values):
        return None
    return [each._as_tensor for each in values]


def called_on(
    part: Any, symbols: Sequence[Any], training: bool | None = None, arguments: CallArguments | None = None
) -> tuple[Any, ...]:
    """Returns the symbolic outputs of a layer or a model that is called on symbols. Its weights are created.

    Args:
        part: the layer or model.
        symbols: those of a model, of a traced function, or recorded arrays.
        training: the argument `training` of the call.
        arguments: the further arguments of the call.
    """
    first = symbols[0]
    if isinstance(first, KerasTensor):
        return Call(part, symbols, training, arguments).outputs
    trace: Trace = first.trace
    if isinstance(first, RecordedArray):
        lazy = trace_for(symbols) or LazyTrace()
        trace, symbols = lazy, [as_recorded(each, lazy) for each in symbols]
    return trace.call(part, symbols, training, arguments)
