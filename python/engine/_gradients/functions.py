"""`value_and_grad`, `grad` and `jacobian`: functions that return the derivatives of another function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import tree
from engine._base.tensor_like import open_recorder
from engine._gradients.derivatives import derivatives
from engine._gradients.tape import GradientTape
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import joint_length
from engine._tracing.lazy import LazyTrace, RecordedArray
from engine._tracing.primitives import coordinate, elementwise, full
from engine._tracing.symbolic import current, sequence_like
from engine._tracing.trace import TracedArray, as_traced

if TYPE_CHECKING:
    from engine._tracing.batching import Region


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    variables: Any = None,
) -> Callable[..., Any]:
    """Returns a function that computes `function` and its gradient.

    It may be used in functions that are recorded themselves, such as losses, the `call` of layers and other functions
    whose gradient is computed.

    Args:
        function: returns a single number, which it computes by layers, `keras.ops`, NumPy's functions or arithmetic.
        argnums: the position of the argument to differentiate by, or several positions. Such an argument is an array, or
            arrays in lists, tuples and dicts.
        has_aux: whether `function` returns a pair, of which the second part is passed on.
        variables: weights and variables to differentiate by, instead of arguments.

    Returns:
        A function with the same arguments. It returns the pair (value, gradient), where value is `(value, aux)` with
        `has_aux`. The gradient has the structure of the argument or of `variables`; it is a tuple for several `argnums`.

    Example:
        >>> import engine as keras
        >>> value, gradient = keras.value_and_grad(lambda x: keras.ops.sum(x**3))([1.0, 2.0])
        >>> float(value), gradient.numpy().tolist()
        (9.0, [3.0, 12.0])
    """

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(argnums, len(args) if variables is None else None)
        trace = current.get()
        if trace is not None:
            return in_trace(trace, args, kwargs, positions)
        tape = GradientTape(watch_accessed_variables=False)
        tape._of_function = True
        with tape:
            recorder = open_recorder.get()
            inputs = list(args)
            if variables is None:
                for position in positions:
                    inputs[position] = _own_symbols(args[position], recorder.trace)
                sources: Any = [inputs[position] for position in positions]
            else:
                sources = variables
                tape.watch(variables)
            tape._sources = tree.flatten(sources)
            result = function(*inputs, **kwargs)
        value, aux = result if has_aux else (result, None)
        _require_single(value)
        if not isinstance(value, RecordedArray):
            tape._warn_of_taken(tape._sources, [None] * len(tape._sources))
            gradients: Any = tree.map_structure(lambda array: np.zeros(np.shape(array), np.float32), sources)
        else:
            gradients = tape.gradient(value, sources, unconnected_gradients="zero")
        if variables is None:
            gradients = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, aux) if has_aux else value), gradients

    def in_trace(trace: Any, args: Any, kwargs: Any, positions: tuple[int, ...]) -> Any:
        """Records value and gradient in the trace of a function that is recorded itself."""
        inputs = list(args)
        for position in positions if variables is None else ():
            inputs[position] = _own_symbols(args[position], trace)
        result = function(*inputs, **kwargs)
        value, aux = result if has_aux else (result, None)
        _require_single(value)
        structure = [inputs[position] for position in positions] if variables is None else variables
        flat = [as_traced(leaf, trace) for leaf in tree.flatten(structure)]
        gradients = derivatives(trace, as_traced(value, trace), flat)
        filled = [
            full(trace, source.extents, 0.0, "float32") if gradient is None else gradient
            for gradient, source in zip(gradients, flat, strict=True)
        ]
        packed: Any = tree.pack_sequence_as(structure, filled)
        if variables is None:
            packed = packed[0] if isinstance(argnums, int) else tuple(packed)
        return ((value, aux) if has_aux else value), packed

    return differentiated


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Returns a function that computes the gradient of another one.

    Args:
        function: as for `value_and_grad`.
        argnums: as for `value_and_grad`.
        has_aux: whether `function` returns a pair, of which the second part is passed on beside the gradient.

    Example:
        >>> import engine as keras
        >>> float(keras.grad(keras.grad(lambda x: x**3))(2.0))
        12.0
    """
    values_and_gradients = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = values_and_gradients(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Returns a function that computes the derivatives of each number of the result of another one.

    All derivatives are computed at once, as those of a batch with a copy of the argument for each number of the result. It
    may be used in functions that are recorded themselves: compiled by `keras.function` it is one program, and the Jacobian of
    `keras.grad(f)` is the matrix of second derivatives of `f`.

    Args:
        function: returns an array, or arrays in lists, tuples and dicts, which it computes by `keras.ops`, NumPy's functions
            or arithmetic.
        argnums: as for `value_and_grad`.

    Returns:
        A function with the same arguments. For an argument of shape `x.shape` and a result of shape `y.shape` it returns an
        array of shape `(*y.shape, *x.shape)`. For several `argnums` it is a tuple, and for arrays in an argument or in the
        result the derivatives have their structure: that of the result, with that of the argument in it.

    Raises:
        TypeError: when it is called with fewer arguments than `argnums` says.

    Example:
        >>> import engine as keras
        >>> keras.jacobian(lambda x: x**2)([1.0, 2.0]).numpy().tolist()
        [[2.0, 0.0], [0.0, 4.0]]
        >>> keras.jacobian(keras.grad(lambda x: x[0] * x[1] ** 2))([1.0, 2.0]).numpy().tolist()
        [[0.0, 4.0], [4.0, 2.0]]
    """

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        from engine._tracing.batching import Region

        positions, inputs = _positions(argnums, len(args)), list(args)
        with recording_trace() as trace:
            with Region(trace, "jacobian") as region:
                for position in positions:
                    inputs[position] = converted(args[position], lambda each: _copied(as_traced(each, trace)))
                structure = [inputs[position] for position in positions]
                sources = tree.flatten(structure)
                result = tree.map_structure(
                    lambda leaf: _Rows(as_traced(leaf, trace), sources, region),
                    function(*inputs, **kwargs),
                    none_is_leaf=False,
                )

            def jacobians(rows: _Rows) -> Any:
                packed = tree.pack_sequence_as(structure, rows.computed())
                return packed[0] if isinstance(argnums, int) else tuple(packed)

            return tree.map_structure(jacobians, result, none_is_leaf=False)

    return differentiated


class _Rows:
    """The derivatives of each number of an array, as those of a batch of numbers.

    Args:
        y: the array.
        sources: what to differentiate by.
        region: in which these are recorded, for one number.
    """

    def __init__(self, y: TracedArray, sources: Sequence[TracedArray], region: Region) -> None:
        self._y, self._sources, self._region = y, sources, region
        self._trace = y.trace
        self._weights = region.placeholder(y.extents, "float32")
        weighted = elementwise(lambda a, weight: a * weight, y, self._weights, dtype="float32")
        self._gradients = derivatives(y.trace, weighted, sources)

    def computed(self) -> list[TracedArray]:
        """Returns the derivatives by each source, recorded after the region."""
        y, trace = self._y, self._trace
        count = joint_length(y.extents)
        if count is None:
            msg = f"{line_of_user()}: the Jacobian of an array of shape {y.shape} has the square of the number of samples"
            raise CannotRecordError(msg)
        row, column = (coordinate(trace, (count, count), axis) for axis in (0, 1))
        identity = elementwise(lambda i, j: i.equals(j), row, column, dtype="float32")
        found = [gradient for gradient in self._gradients if gradient is not None]
        batches = {self._weights.origin: identity.reshaped((count, *y.extents))}
        rows = iter(self._region.replayed(count, batches, found))
        return [
            full(trace, (*y.extents, *source.extents), 0.0, "float32")
            if gradient is None
            else next(rows)[0].reshaped((*y.extents, *source.extents))
            for gradient, source in zip(self._gradients, self._sources, strict=True)
        ]


def _positions(argnums: int | Sequence[int], count: int | None) -> tuple[int, ...]:
    """Returns the positions of the arguments to differentiate by.

    Args:
        argnums: one position, or several.
        count: of the arguments of the call; None if it differentiates by none of them.

    Raises:
        TypeError: if there is no such argument.
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if count is not None and any(not -count <= position < count for position in positions):
        msg = f"`argnums` is {argnums}, but the function was called with {count} arguments by position"
        raise TypeError(msg)
    return positions


@contextmanager
def recording_trace() -> Iterator[Any]:
    """Yields the trace in which a function is recorded that is called within the block: the present one, or a new one."""
    trace = current.get()
    if trace is not None:
        yield trace
        return
    with GradientTape(watch_accessed_variables=False):
        yield open_recorder.get().trace


def converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Returns `value` with each array in it converted, at any depth. A list of numbers alone is an array."""
    if isinstance(value, dict):
        return {key: converted(item, convert) for key, item in value.items()}
    if (
        isinstance(value, (list, tuple))
        and value
        and not all(isinstance(item, (int, float)) for item in value)
    ):
        return sequence_like(value, (converted(item, convert) for item in value))
    return convert(value)


def _own_symbols(value: Any, trace: Any) -> Any:
    """Returns an argument with a symbol of its own in the place of each array in it.

    Nothing else reads these symbols. So the function is differentiated by the argument alone, where it reads the same arrays
    also as variables of the function around it.
    """
    return converted(value, lambda each: _own_symbol(each, trace))


def _own_symbol(value: Any, trace: Any) -> TracedArray:
    watched = getattr(trace, "watched", {})
    is_known = isinstance(value, TracedArray) or hasattr(value, "_weight_in") or id(value) in watched
    if isinstance(trace, LazyTrace) and not is_known:
        return trace.argument(value)
    symbol = as_traced(value, trace)
    own = _read_again(symbol)
    if own is None:
        own = _copied(symbol)
    if isinstance(symbol, RecordedArray) and isinstance(own, RecordedArray):
        own._keras_mask = symbol._keras_mask
    return own


def _read_again(symbol: TracedArray) -> TracedArray | None:
    """Returns an argument of a compiled function as one more input of it, where nothing else is differentiated by it."""
    recorder = open_recorder.get()
    alone = recorder is not None and len(recorder.open_tapes()) == 1
    return symbol.trace.read_again(symbol) if alone and isinstance(symbol.trace, LazyTrace) else None


def _copied(symbol: TracedArray) -> TracedArray:
    return symbol.trace.add("reshape", (symbol,), symbol.extents, symbol.dtype)


def _require_single(value: Any) -> None:
    size = value.size if isinstance(value, TracedArray) else np.size(value)
    if size != 1:
        msg = f"a function whose gradient is computed must return a single number, got an array of shape {np.shape(value)}"
        raise TypeError(msg)
