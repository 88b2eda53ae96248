"""Symbols, which stand for arrays without numbers: `Symbolic`, with the operators of Python and NumPy, and `BatchLength`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

import numpy as np

from engine._base.tensor_like import open_recorder
from engine._core_interface.cpp import ContextValue
from engine._tracing.dispatch import answer_of, function_of_arrays, implementation
from engine._tracing.errors import CannotRecordError, NeedsValuesError, line_of_user, name_line, needs_values
from engine._tracing.extents import Extent, Extents, text_of_extent
from engine._tracing.numpy_functions import call_of_function, calls_of_ufunc

# The trace that records what runs in this thread; None outside of traced functions.
current: ContextVar[Any] = ContextVar("current", default=None)

_values: ContextVar[Mapping[int, Any] | None] = ContextVar("values", default=None)


def values_by_symbol(values: Mapping[int, Any]) -> AbstractContextManager[Any]:
    """Lets operations within the block read values in place of symbols.

    Args:
        values: the value of each symbol, by the `id` of the symbol.
    """
    return ContextValue(_values, values)


def outside_of_traces() -> AbstractContextManager[None]:
    """Within the block nothing is recorded, so that weights can be created and programs built."""
    return ContextValue(current, None)


def apply(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records a call of the function `name` of `engine.ops` with symbols among its arguments.

    Errors about its arguments name the line of the user.
    """
    try:
        return _recorded(name, args, kwargs)
    except (ValueError, TypeError, IndexError) as error:
        name_line(error)
        raise


def _recorded(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values = _values.get()
    if values:
        args, kwargs = mapped(lambda each: values.get(id(each), each), (args, kwargs))
        if not contains_symbolic((args, kwargs)):
            return function_of_arrays(name)(*args, **kwargs)
    answer = answer_of(name)
    if answer is not None:
        return answer(*args, **kwargs)
    # The first argument almost always is a symbol.
    first = args[:1] if args and isinstance(args[0], Symbolic) else symbolics_in([*args, *kwargs.values()])
    for value in first:
        if isinstance(value, Symbolic):
            return value._as_tensor._record(name, args, kwargs)
    recorder = open_recorder.get()
    if current.get() is None and recorder is not None:
        return recorder.apply(name, args, kwargs)
    if current.get() is None:
        msg = f"a length that depends on the batch can be used only in the function that it comes from, not in `{name}`"
        raise CannotRecordError(msg)
    return implementation(name)(*args, **kwargs)


def recorded_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Records a universal function of NumPy."""
    results = tuple(apply(*call) for call in calls_of_ufunc(ufunc, method, inputs, options))
    return results[0] if len(results) == 1 else results


def recorded_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records another function of NumPy."""
    if function in _OF_SHAPES:
        return _OF_SHAPES[function](tuple(args[0].shape))
    return apply(*call_of_function(function, args, kwargs))


# What NumPy's functions of shapes return for a shape.
_OF_SHAPES: dict[Any, Callable[[tuple[Any, ...]], Any]] = {np.shape: lambda shape: shape, np.ndim: len}


def operator_methods(name: str) -> tuple[Any, Any]:
    """Returns the methods of an operator and of its reflection, which record the operation `name` of `engine.ops`."""

    def method(self: Any, other: Any) -> Any:
        return self._applied(name, self, other)

    def reflected(self: Any, other: Any) -> Any:
        return self._applied(name, other, self)

    return method, reflected


def _unary(name: str) -> Any:
    """Returns the method of an operator with one operand."""

    def method(self: Any) -> Any:
        return self._applied(name, self)

    return method


def _comparison(name: str) -> Any:
    """Returns the method of `==` or `!=`, which records a comparison with whatever has numbers.

    Python takes other objects, such as None and strings, for different from every symbol.
    """

    def method(self: Any, other: object) -> Any:
        if isinstance(other, (int, float, list, tuple, BatchLength)) or hasattr(other, "__array__"):
            return self._applied(name, self, other)
        return NotImplemented

    return method


class Symbolic:
    """Base class of symbols: operations and layers can be called on them, although they have no numbers yet.

    Arithmetic and comparisons, `==` among them, are elementwise, as for arrays of NumPy. A symbol is found in a dict or a
    set by its identity, but not by `in` or `index` in a list, which ask for the truth of `==`.
    """

    @property
    @abstractmethod
    def _as_tensor(self) -> Any:
        """The symbol that operations and layers are called on."""

    @abstractmethod
    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records a call of a function of `engine.ops` with this symbol among its arguments, and returns its result."""

    def _applied(self, operation: str, *args: Any) -> Any:
        return apply(operation, args, {})

    __add__, __radd__ = operator_methods("add")
    __sub__, __rsub__ = operator_methods("subtract")
    __mul__, __rmul__ = operator_methods("multiply")
    __matmul__, __rmatmul__ = operator_methods("matmul")
    __truediv__, __rtruediv__ = operator_methods("true_divide")
    __floordiv__, __rfloordiv__ = operator_methods("floor_divide")
    __mod__, __rmod__ = operator_methods("mod")
    __pow__, __rpow__ = operator_methods("power")
    __and__, __rand__ = operator_methods("bitwise_and")
    __or__, __ror__ = operator_methods("bitwise_or")
    __xor__, __rxor__ = operator_methods("bitwise_xor")
    __lshift__, __rlshift__ = operator_methods("left_shift")
    __rshift__, __rrshift__ = operator_methods("right_shift")
    __eq__, __ne__ = _comparison("equal"), _comparison("not_equal")
    __lt__, __le__ = operator_methods("less")[0], operator_methods("less_equal")[0]
    __gt__, __ge__ = operator_methods("greater")[0], operator_methods("greater_equal")[0]
    __neg__, __pos__, __abs__ = _unary("negative"), _unary("copy"), _unary("absolute")
    __invert__ = _unary("bitwise_not")
    __hash__ = object.__hash__

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def __round__(self, ndigits: int | None = None) -> Any:
        return self._applied("round", self, ndigits or 0)

    def __getitem__(self, key: Any) -> Any:
        return self._applied("get_item", self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        msg = (
            f"{line_of_user()}: x[...] = value changes an array, and a symbol is no memory that can change: make a new one, as by "
            "np.where(condition, value, x), np.concatenate([...]), ops.slice_update(x, start, value) or "
            "ops.scatter_update(x, indices, values)"
        )
        raise CannotRecordError(msg)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Records a function of NumPy, such as `np.exp(x)`."""
        return recorded_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Records a function of NumPy, such as `np.mean(x, axis=1)`."""
        return recorded_function(function, args, kwargs)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Raises NeedsValuesError: NumPy would otherwise make an array that holds this object."""
        raise self._no_values("an array of it")

    def __iter__(self) -> Iterator[Any]:
        raise self._no_values("a loop over it")

    def __contains__(self, value: object) -> bool:
        raise self._no_values("`in`, which ops.any(x == value) records,")

    def __bool__(self) -> bool:
        raise self._no_values("bool() of it, as in `if`, in `and` or where a list is searched for it,")

    def __complex__(self) -> complex:
        raise self._no_values("complex() of it")

    def __float__(self) -> float:
        raise needs_values(
            repr(self),
            "float() of it, as by a function of `math`,",
            "use the function of the same name in ops or numpy, such as ops.sqrt(x) for math.sqrt(x)",
        )

    def __int__(self) -> int:
        raise self._no_values("int() of it")

    __index__ = __int__

    def _no_values(self, action: str) -> NeedsValuesError:
        return needs_values(repr(self), action)


class BatchLength:
    """The length of an axis that depends on the number of samples, as an integer of a traced function.

    It can be added to, subtracted from and multiplied by integers, and used as a length, an index, or a number beside
    symbols.

    Args:
        extent: the length.
    """

    __array_ufunc__ = None

    def __init__(self, extent: Extent) -> None:
        self.extent = extent

    def __add__(self, other: Any) -> Any:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _sum(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return _sum(length(self.extent.times(-1)), other, 1)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):
            return length(self.extent.times(other))
        return _beside(self, other, "multiply")

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return length(self.extent.times(-1))

    def __floordiv__(self, other: Any) -> Any:
        quotient = self.extent.divided(other) if isinstance(other, int) and other else None
        if quotient is not None:
            return length(quotient)
        return _beside(self, other, "floor_divide")

    def _applied(self, operation: str, *args: Any) -> Any:
        return apply(operation, args, {})

    __truediv__, __rtruediv__ = operator_methods("divide")
    __mod__, __rmod__ = operator_methods("mod")
    __pow__, __rpow__ = operator_methods("power")
    __rfloordiv__ = operator_methods("floor_divide")[1]

    def __pos__(self) -> Any:
        return self

    __abs__ = __pos__

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, str):
            return False
        extent: Extent | None = None
        if isinstance(other, (BatchLength, int)):
            extent = other.extent if isinstance(other, BatchLength) else Extent(other)
        if extent == self.extent:
            return True
        if extent is not None and extent.per_sample == self.extent.per_sample:
            return False
        raise self._unknown("comparing it")

    def __hash__(self) -> int:
        return hash(self.extent)

    def __bool__(self) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        raise self._unknown("comparing it")

    __le__ = __gt__ = __ge__ = __lt__

    def __int__(self) -> int:
        raise self._unknown("int() of it")

    __index__ = __int__

    def __float__(self) -> float:
        raise self._unknown("float() of it")

    def _unknown(self, action: str) -> TypeError:
        return needs_values(f"{self!r}, the number of samples in a batch", action)

    def __repr__(self) -> str:
        return f"<length {text_of_extent(self.extent)}>"


def length(extent: Extent) -> Any:
    """Returns a length as users get it: an int, or a BatchLength if it depends on the batch."""
    return BatchLength(extent) if extent.per_sample else extent.fixed


def extent_of(value: Any) -> Extent:
    """Returns the extent of a length or an index that a user gave, an integer or a BatchLength."""
    if isinstance(value, BatchLength):
        return value.extent
    return Extent(int(value.__index__()))


def lengths(shape: Any) -> Extents:
    """Returns the extents of a shape that a user gave: one integer, or a sequence of integers and BatchLengths."""
    if isinstance(shape, BatchLength) or hasattr(shape, "__index__"):
        return (extent_of(shape),)
    return tuple(map(extent_of, shape))


def _sum(left: Any, other: Any, times: int) -> Any:
    """Returns `left + times * other` as a length if both are lengths, else as a symbol."""
    extent = left.extent if isinstance(left, BatchLength) else Extent(left)
    if isinstance(other, (int, BatchLength)):
        return length(extent.plus(extent_of(other), times))
    return _beside(left, other, "add" if times == 1 else "subtract")


def _beside(left: BatchLength, other: Any, operation: str) -> Any:
    """Records an operation on a length and something that isn't one, such as a float or a symbol."""
    return left._applied(operation, left, other)


def is_symbolic(value: Any) -> bool:
    """Returns whether `value` is recorded where a function of `engine.ops` gets it.

    That is so for symbols, lengths that depend on the batch and, in a traced function or while a gradient tape is
    recording, for weights and for arrays that the tape watches.
    """
    if isinstance(value, (Symbolic, BatchLength)):
        return True
    if current.get() is not None:
        return hasattr(value, "_weight_in")
    recorder = open_recorder.get()
    if recorder is None or not recorder.records:
        return False
    return hasattr(value, "_weight_in") or id(value) in recorder.trace.watched


def contains_symbolic(value: Any) -> bool:
    """Returns whether `value` is symbolic, or a list, tuple or dict with a symbolic value at any depth."""
    if isinstance(value, (list, tuple)):
        return any(map(contains_symbolic, value))
    if isinstance(value, dict):
        return any(map(contains_symbolic, value.values()))
    if isinstance(value, slice):
        return any(map(is_symbolic, (value.start, value.stop, value.step)))
    return is_symbolic(value)


def contains(value: Any, kind: type) -> bool:
    """Returns whether `value` is an object of a class, or a list, tuple or dict with one at any depth."""
    if isinstance(value, kind):
        return True
    if isinstance(value, dict):
        return any(contains(item, kind) for item in value.values())
    return isinstance(value, (list, tuple)) and any(contains(item, kind) for item in value)


def symbolics_in(value: Any) -> list[Any]:
    """Returns the symbols in lists, tuples and dicts at any depth, in order."""
    if isinstance(value, (list, tuple)):
        return [symbolic for item in value for symbolic in symbolics_in(item)]
    if isinstance(value, dict):
        return [symbolic for key in value for symbolic in symbolics_in(value[key])]
    if isinstance(value, slice):
        return symbolics_in([value.start, value.stop, value.step])
    return [value] if is_symbolic(value) else []


def sequence_like(value: Any, entries: Iterable[Any]) -> Any:
    """Returns entries as a list, tuple or named tuple of the class of `value`."""
    return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)


def mapped(function: Any, value: Any) -> Any:
    """Returns `value` with the result of `function` in place of each symbol, at any depth of lists, tuples and dicts."""
    if isinstance(value, (list, tuple)):
        return sequence_like(value, (mapped(function, item) for item in value))
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(function, bound) for bound in (value.start, value.stop, value.step)))
    return function(value) if is_symbolic(value) else value


class Slot(NamedTuple):
    """Stands for symbol `number` in a structure of values, such as the arguments of a call."""

    number: int


def filled_slots(structure: Any, values: Sequence[Any]) -> Any:
    """Returns a structure with `values[number]` in place of each slot, at any depth of lists, tuples and dicts."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, (list, tuple)):
        return sequence_like(structure, (filled_slots(item, values) for item in structure))
    if isinstance(structure, dict):
        return {key: filled_slots(item, values) for key, item in structure.items()}
    if isinstance(structure, slice):
        return slice(
            *(filled_slots(bound, values) for bound in (structure.start, structure.stop, structure.step))
        )
    return structure
