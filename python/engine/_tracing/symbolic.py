"""`Symbolic`, the base class of what stands for numbers that are not there yet: Python's operators and NumPy's functions."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from engine._tracing.extents import BatchLength

if TYPE_CHECKING:
    from engine._tracing.trace import Trace

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# The trace that records what runs in this thread; None outside of traced functions.
current: ContextVar[Trace | None] = ContextVar("current", default=None)


class NeedsValuesError(TypeError):
    """A traced function did something that needs numbers."""


def line_of_user() -> str:
    """Returns file and line of the innermost frame outside of this package, such as "model.py:12"."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) and not name.startswith("<frozen"):
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def needs_values(what: str, action: str) -> NeedsValuesError:
    """Returns the error for an action that needs the numbers of a symbol.

    Args:
        what: the symbol.
        action: such as "bool() of it".
    """
    return NeedsValuesError(
        f"{line_of_user()}: {what}, stands for numbers that are there only when a batch runs, so {action} has no value "
        "while the function is recorded: choose between values by ops.where(condition, a, b) or "
        "ops.cond(condition, f, g), and use ops.shape(x) for lengths"
    )


def _operator(name: str) -> tuple[Any, Any]:
    """Returns the methods of an operator and of its reflection, which record the operation `name` of `engine.ops`."""

    def method(self: Any, other: Any) -> Any:
        return self._applied(name, self, other)

    def reflected(self: Any, other: Any) -> Any:
        return self._applied(name, other, self)

    return method, reflected


def _unary(name: str) -> Any:
    def method(self: Any) -> Any:
        return self._applied(name, self)

    return method


class Symbolic:
    """Base class of what operations and layers can be called on although it has no numbers.

    Like Keras' symbols, they are equal to themselves alone: `ops.equal` compares the numbers.
    """

    @property
    @abstractmethod
    def _as_tensor(self) -> Any:
        """The symbol that operations and layers are called on."""

    @abstractmethod
    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records a call of a function of `engine.ops` with this symbol among its arguments, and returns its result."""

    def _applied(self, operation: str, *args: Any) -> Any:
        from engine._tracing.dispatch import apply

        return apply(operation, args, {})

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __matmul__, __rmatmul__ = _operator("matmul")
    __truediv__, __rtruediv__ = _operator("true_divide")
    __floordiv__, __rfloordiv__ = _operator("floor_divide")
    __mod__, __rmod__ = _operator("mod")
    __pow__, __rpow__ = _operator("power")
    __and__, __rand__ = _operator("logical_and")
    __or__, __ror__ = _operator("logical_or")
    __xor__, __rxor__ = _operator("logical_xor")
    __lt__, __le__ = _operator("less")[0], _operator("less_equal")[0]
    __gt__, __ge__ = _operator("greater")[0], _operator("greater_equal")[0]
    __neg__, __abs__, __invert__ = _unary("negative"), _unary("absolute"), _unary("logical_not")

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __ne__(self, other: object) -> Any:
        return self._applied("not_equal", self, other)

    def __round__(self, ndigits: int | None = None) -> Any:
        return self._applied("round", self, ndigits or 0)

    def __getitem__(self, key: Any) -> Any:
        return self._applied("get_item", self, key)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Records a function of NumPy, such as `np.exp(x)`."""
        from engine._tracing.numpy_functions import recorded_ufunc

        return recorded_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Records a function of NumPy, such as `np.mean(x, axis=1)`."""
        from engine._tracing.numpy_functions import recorded_function

        return recorded_function(function, args, kwargs)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Raises NeedsValuesError: NumPy would otherwise make an array that holds this object."""
        raise self._no_values("an array of it")

    def __iter__(self) -> Iterator[Any]:
        raise self._no_values("a loop over it")

    def __bool__(self) -> bool:
        raise self._no_values("bool() of it, as in `if` or `and`,")

    def __float__(self) -> float:
        raise self._no_values("float() of it")

    def __int__(self) -> int:
        raise self._no_values("int() of it")

    __index__ = __int__

    def _no_values(self, action: str) -> NeedsValuesError:
        return needs_values(repr(self), action)


def is_symbolic(value: Any) -> bool:
    """Whether `value` is recorded where a function of `engine.ops` gets it.

    That is so for symbols, lengths that depend on the batch and, in a traced function, for weights.
    """
    if isinstance(value, (Symbolic, BatchLength)):
        return True
    return hasattr(value, "_weight_in") and current.get() is not None


def holds_symbolic(value: Any) -> bool:
    """Whether `value` is symbolic, or a list, tuple or dict with a symbolic value at any depth."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_symbolic, value))
    if isinstance(value, dict):
        return any(map(holds_symbolic, value.values()))
    if isinstance(value, slice):
        return any(map(is_symbolic, (value.start, value.stop, value.step)))
    return is_symbolic(value)


def symbolics_in(value: Any) -> list[Any]:
    """Returns the symbols in lists, tuples and dicts at any depth, in order."""
    if isinstance(value, (list, tuple)):
        return [found for each in value for found in symbolics_in(each)]
    if isinstance(value, dict):
        return [found for key in value for found in symbolics_in(value[key])]
    if isinstance(value, slice):
        return symbolics_in([value.start, value.stop, value.step])
    return [value] if is_symbolic(value) else []


def mapped(function: Any, value: Any) -> Any:
    """Returns `value` with the result of `function` in place of each symbol, at any depth of lists, tuples and dicts."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, each) for each in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, each) for each in value)
    if isinstance(value, dict):
        return {key: mapped(function, each) for key, each in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(function, each) for each in (value.start, value.stop, value.step)))
    return function(value) if is_symbolic(value) else value


class Slot(NamedTuple):
    """Stands for a symbol in a structure of values."""

    number: int


def filled_slots(structure: Any, values: Sequence[Any]) -> Any:
    """Returns a structure with `values` in place of its slots."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, (list, tuple)):
        return type(structure)(filled_slots(each, values) for each in structure)
    if isinstance(structure, dict):
        return {key: filled_slots(each, values) for key, each in structure.items()}
    if isinstance(structure, slice):
        return slice(*(filled_slots(each, values) for each in (structure.start, structure.stop, structure.step)))
    return structure
