"""Traces: what a traced function records, and its symbols.

A trace is a list of *entries*: a `Node` is one operation of the core, and a `Use` is the call of a layer or model. A symbol
names what computes its numbers by an `Origin`: an input, an output of an entry, or a weight. Several symbols may view the
numbers of one origin under different shapes, so that a reshape needs no entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.budget import spend
from engine._base.computed_once import computed_once
from engine._base.promotion import as_array
from engine._core_interface.cpp import ContextValue
from engine._data.exact_integers import ExactIntegers
from engine._data.index_ranges import IndexRange
from engine._tracing.code import Code, Term
from engine._tracing.dispatch import implementation
from engine._tracing.errors import line_of_user
from engine._tracing.extents import Extent, Extents, full_shape, sample_shape, text_of_extents
from engine._tracing.symbolic import BatchLength, Symbolic, apply, current, length

# A node takes about as much memory as so many float32 numbers.
_NUMBERS_OF_NODE = 2**7


class Input(NamedTuple):
    """Input `number` of a trace."""

    number: int


class Computed(NamedTuple):
    """Output `output` of entry `entry` of a trace."""

    entry: int
    output: int = 0


class _OwnedWeight(NamedTuple):
    identity: int
    owner: Any
    number: int


class OfWeight(_OwnedWeight):
    """Weight `number` of what owns it: a layer, or a variable that belongs to no layer.

    Origins are compared as tuples. So the `id` of the owner comes first: `==` of a variable compares numbers.
    """

    __slots__ = ()

    def __new__(cls, owner: Any, number: int) -> OfWeight:
        """Returns the origin."""
        return super().__new__(cls, id(owner), owner, number)


Origin = Input | Computed | OfWeight
"""What computes a value."""
View = tuple[Origin, Extents]
"""A value as something reads it: its origin, and a shape with as many elements as the value has."""


class Fields(dict[str, Any]):
    """What an operation needs beside its inputs, such as the axes of a reduction."""

    @computed_once
    def structure(self) -> tuple[Any, ...]:
        """The fields without the constants of a formula, in plain tuples, which can be compared and hashed."""
        return tuple(
            (name, _frozen(value))
            for name, value in self.items()
            if name != "numbers" or isinstance(value, np.ndarray)
        )


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):  # a node of a gradient rule
        return tuple((name, _frozen(each)) for name, each in value.items())
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


class Node(NamedTuple):
    """A node of the core's program."""

    kind: str
    inputs: tuple[View, ...]
    shape: Extents
    fields: Mapping[str, Any]
    line: str = ""
    """File and line of the user's call, for the kinds in `_NOT_IN_EVERY_FORMAT`; else empty."""


# The kinds of nodes that some export formats lack, whose errors name the line.
_NOT_IN_EVERY_FORMAT = frozenset(("random", "gradients", "host"))


class Use(NamedTuple):
    """A call of a layer or a model in a traced function."""

    part: Any
    """The layer or model."""
    inputs: tuple[View, ...]
    shapes: tuple[Extents, ...]
    """The shapes of its outputs."""
    training: bool | None
    """The argument `training` of the call; None if it follows the batch."""
    arguments: Any
    """The further arguments of the call, `CallArguments`; None if there are none."""


class Trace:
    """What a traced function has recorded.

    Args:
        inputs: the shape of each input.
        dtypes: the dtype of each input.
    """

    only_shapes = False
    """Whether nobody computes what it records, but asks for shapes and dtypes alone."""

    def __init__(self, inputs: Sequence[Extents], dtypes: Sequence[str]) -> None:
        self.entries: list[Node | Use] = []
        self.dtypes: list[str] = []
        """The dtype of the result of each entry."""
        self.inputs = [
            self.symbol(self, Input(number), shape, dtype)
            for number, (shape, dtype) in enumerate(zip(inputs, dtypes, strict=True))
        ]
        self.losses: list[TracedArray] = []
        """The arguments of `add_loss`."""
        self._constants: dict[Any, TracedArray] = {}  # by shape, dtype and bytes
        self._assigned: dict[
            tuple[Any, int], TracedArray
        ] = {}  # new values, by layer and number of the weight

    def as_current(self) -> AbstractContextManager[None]:
        """Makes this the current trace within the block."""
        return ContextValue(current, self)

    def add(
        self, kind: str, inputs: Sequence[TracedArray], shape: Extents, dtype: str, **fields: Any
    ) -> TracedArray:
        """Appends a node, and returns its output."""
        spend(_NUMBERS_OF_NODE, "a node of a function")
        line = line_of_user() if kind in _NOT_IN_EVERY_FORMAT else ""
        views = tuple([array.view for array in inputs])
        origin = self.append(Node(kind, views, tuple(shape), Fields(fields), line), dtype)
        return self.symbol(self, origin, tuple(shape), dtype)

    def append(self, entry: Node | Use, dtype: str) -> Computed:
        """Appends an entry whose results have a dtype, and returns the origin of the first one."""
        self.entries.append(entry)
        self.dtypes.append(dtype)
        return Computed(len(self.entries) - 1)

    def require(self, array: TracedArray, limits: IndexRange | ExactIntegers) -> None:
        """Raises ValueError if the numbers of an array are known, and aren't those that they must be."""

    def call(
        self, part: Any, inputs: Sequence[TracedArray], training: bool | None = None, arguments: Any = None
    ) -> tuple[TracedArray, ...]:
        """Appends a call of a layer or a model, which creates its weights, and returns its outputs.

        Args:
            part: the layer or model.
            inputs: its inputs.
            training: see `Use`.
            arguments: see `Use`.
        """
        samples = [symbol._sample for symbol in inputs]
        shapes = part._output_shapes_for(samples)
        part._build_for_inputs(samples)
        views = tuple(symbol.view for symbol in inputs)
        return self.append_call(Use(part, views, tuple(map(full_shape, shapes)), training, arguments))

    def append_call(self, use: Use) -> tuple[TracedArray, ...]:
        """Appends a call, and returns its outputs."""
        entry = self.append(use, FLOAT32).entry
        return tuple(
            self.symbol(self, Computed(entry, number), shape, FLOAT32)
            for number, shape in enumerate(use.shapes)
        )

    def constant(self, value: Any) -> TracedArray:
        """Returns an array as the output of a node "constants"; equal arrays share a node.

        Raises:
            TypeError: for something else than real numbers.
        """
        array: NDArray[Any] = as_array(value)
        if array.dtype.kind not in "biuf":
            msg = f"a traced function takes real numbers, got an array of dtype {array.dtype}"
            raise TypeError(msg)
        key = (array.shape, array.dtype.name, array.tobytes())
        if key not in self._constants:
            numbers = np.ascontiguousarray(array, np.float32).reshape(-1)
            self._constants[key] = self.add(
                "constants", (), tuple(map(Extent, array.shape)), array.dtype.name, numbers=numbers
            )
        return self._constants[key]

    def weight(self, owner: Any, number: int, shape: Sequence[int]) -> TracedArray:
        """Returns weight `number` of its owner, a layer or a variable of no layer; after `assign`, the new values."""
        assigned = self._assigned.get((owner, number))
        if assigned is not None:
            return assigned
        return self.symbol(self, OfWeight(owner, number), tuple(map(Extent, shape)), "float32")

    def assign(self, owner: Any, number: int, shape: Sequence[int], value: Any) -> None:
        """Records an assignment: a weight that isn't trained has other values after the batch.

        Args:
            owner: the layer of the weight, or the variable, if it belongs to no layer.
            number: the number of the weight in it.
            shape: of the weight.
            value: the new values. Within the trace, the weight is read as these from now on.

        Raises:
            ValueError: if the shape differs.
        """
        lengths = tuple(map(Extent, shape))
        new = as_traced(value, self)
        if new.extents != lengths:
            msg = f"a weight of shape {tuple(shape)} can't be assigned {new!r}"
            raise ValueError(msg)
        weight = self.symbol(self, OfWeight(owner, number), lengths, "float32")
        self.add("assign_after_batch", (weight, new), lengths, "float32")
        self._assigned[owner, number] = new

    @property
    def symbol(self) -> type[TracedArray]:
        """The class of the symbols of this trace."""
        return TracedArray

    def adopted(self, symbol: TracedArray) -> TracedArray:
        """Returns a symbol of another trace as one of this trace.

        Raises:
            TypeError: if its numbers aren't known.
        """
        numbers = symbol.computed_numbers
        if numbers is None:
            msg = (
                "a symbol was used in another function than the one that is recorded: pass it as an argument"
            )
            raise TypeError(msg)
        return self.constant(numbers)


class DTypeName(str):
    """The dtype of a symbol, by its name. It equals dtypes of NumPy, too, as functions compare the dtypes of arrays with these."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (np.dtype, type)):
            try:
                return np.dtype(self) == np.dtype(other)
            except TypeError:  # a class that is no dtype
                return False
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def dtype_named(name: str) -> DTypeName:
    """Returns the dtype of a name; the same object for each name, which `is` compares."""
    return _dtypes.setdefault(str(name), DTypeName(name))


_dtypes: dict[str, DTypeName] = {}
FLOAT32 = dtype_named("float32")


class TracedArray(Symbolic):
    """A symbol in a traced function.

    Args:
        trace: what records the function.
        origin: what computes its numbers.
        shape: of all of its axes.
        dtype: its name, which Keras' rules determine; the core computes in float32.
    """

    def __init__(self, trace: Trace, origin: Origin, shape: Extents, dtype: str) -> None:
        self.trace, self.origin, self.extents = trace, origin, shape
        self.dtype = dtype if type(dtype) is DTypeName else dtype_named(dtype)

    @property
    def _as_tensor(self) -> TracedArray:
        return self

    @property
    def view(self) -> View:
        """The origin, and the shape under which this symbol reads its numbers."""
        return self.origin, self.extents

    @property
    def _sample(self) -> Any:
        """The shape of one sample."""
        return sample_shape(self.extents)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape. A length that depends on the number of samples is no int, but computes like one."""
        return tuple(map(length, self.extents))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.extents)

    rank = ndim

    @property
    def size(self) -> Any:
        """Number of elements."""
        product: Any = 1
        for extent in self.shape:
            product = product * extent
        return product

    @property
    def T(self) -> Any:  # noqa: N802 # NumPy's name
        """The transposed array."""
        return self._applied("transpose", self)

    @property
    def mT(self) -> Any:  # noqa: N802 # NumPy's name
        """The transposed matrices."""
        return self._applied("swapaxes", self, -1, -2)

    device = "cpu"
    """Where NumPy says that its arrays are."""

    def to_device(self, device: Any, /, *, stream: Any = None) -> TracedArray:
        """This symbol, which is where NumPy's arrays are."""
        del device, stream
        return self

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:  # of the array API standard
        """Returns `engine.array_api`."""
        del api_version
        return import_module("engine.array_api")

    def reshaped(self, shape: Extents) -> TracedArray:
        """Returns the same numbers under another shape, which has as many elements."""
        return self.trace.symbol(self.trace, self.origin, tuple(shape), self.dtype)

    @property
    def computed_numbers(self) -> NDArray[Any] | None:
        """The numbers, if they are known while the function is recorded; None otherwise."""
        return None

    def as_dtype(self, dtype: str) -> TracedArray:
        """Returns the same numbers under another dtype."""
        return self.trace.symbol(self.trace, self.origin, self.extents, dtype)

    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return implementation(operation)(*args, **kwargs)

    def __len__(self) -> int:
        if not self.extents:
            msg = "a single number has no len()"
            raise TypeError(msg)
        length = self.extents[0].static
        if length is None:
            raise self._no_values("len() of it")
        return length

    def __iter__(self) -> Iterator[Any]:
        if not self.extents or self.extents[0].static is None:
            raise self._no_values("a loop over its samples")
        return (self[index] for index in range(self.extents[0].fixed))

    # The methods of NumPy's arrays.

    def astype(self, dtype: Any) -> Any:
        """Returns the array in another dtype."""
        return self._applied("cast", self, dtype)

    def reshape(self, *shape: Any) -> Any:
        """Returns the array in another shape."""
        new_shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else shape
        return self._applied("reshape", self, new_shape)

    def transpose(self, *axes: Any) -> Any:
        """The array with its axes in another order, by default the reverse one."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (list, tuple)) else axes
        return self._applied("transpose", self, tuple(order) or None)

    def copy(self) -> Any:
        """This symbol."""
        return self

    def __repr__(self) -> str:
        return f"<symbol shape={text_of_extents(self.extents)}, dtype={self.dtype}>"


def _method(name: str) -> Any:
    """Returns the method of NumPy's arrays that records the function `name` of `engine.ops`."""

    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        return apply(name, (self, *args), kwargs)

    method.__doc__ = f"The same as `ops.{name}`."
    return method


for _name in (
    "sum", "mean", "max", "min", "prod", "all", "any", "std", "var", "argmax", "argmin", "argsort", "cumsum", "cumprod",
    "squeeze", "ravel", "swapaxes", "repeat", "take", "diagonal", "trace", "dot", "clip", "round", "conj",
):  # fmt: skip
    setattr(TracedArray, _name, _method(_name))
TracedArray.flatten = _method("ravel")  # type: ignore[attr-defined] # as the methods above


def trace_of(*values: Any) -> Trace:
    """Returns the trace that records an operation on `values`: that of the first symbol, else the current one."""
    for value in values:
        if isinstance(value, TracedArray):
            return value.trace
    trace: Trace | None = current.get()
    if trace is None:
        msg = "a length that depends on the batch can be used only in the function that it comes from"
        raise TypeError(msg)
    return trace


def length_term(code: Code, extent: Extent) -> Term:
    """Appends the instructions that compute a length which depends on the batch, and returns it as a term."""
    count = Term(code, code.add("samples"))
    return count * extent.per_sample + extent.fixed if extent.fixed else count * extent.per_sample


def samples(trace: Trace, extent: Extent) -> TracedArray:
    """Returns a length that depends on the batch as a symbol, a single int32."""
    code = Code(0)
    length_term(code, extent)
    return trace.add("map", (), (), "int32", **code.fields)


def as_traced(value: Any, trace: Trace) -> TracedArray:
    """Returns `value`, a symbol, a weight, an array or a number, as a symbol of `trace`."""
    if isinstance(value, TracedArray):
        return value if value.trace is trace else trace.adopted(value)
    if isinstance(value, BatchLength):
        return samples(trace, value.extent)
    if isinstance(value, Symbolic):
        msg = (
            f"{value!r} belongs to the model around the function that is recorded: give it to the layer as an input, in a "
            "list with the others"
        )
        raise TypeError(msg)
    weight_in = getattr(value, "_weight_in", None)
    if weight_in is not None:
        symbol: TracedArray = weight_in(trace)
        return symbol
    if isinstance(value, (list, tuple)) and any(isinstance(each, (Symbolic, BatchLength)) for each in value):
        stacked: TracedArray = apply("stack", (value,), {})
        return stacked
    return trace.constant(value)
