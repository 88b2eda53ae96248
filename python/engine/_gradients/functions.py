"""`value_and_grad` and `grad`: functions that return the gradient of another function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine import tree
from engine._base.tensor_like import open_recorder
from engine._gradients.derivatives import derivatives
from engine._gradients.tape import GradientTape
from engine._tracing.lazy import RecordedArray, as_recorded
from engine._tracing.primitives import full
from engine._tracing.symbolic import current, sequence_like
from engine._tracing.trace import TracedArray, as_traced


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
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if variables is None and any(not -len(args) <= position < len(args) for position in positions):
            msg = (
                f"`argnums` is {argnums}, but the function was called with {len(args)} arguments by position"
            )
            raise TypeError(msg)
        trace = current.get()
        if trace is not None:
            return in_trace(trace, args, kwargs, positions)
        tape = GradientTape()
        with tape:
            recorder = open_recorder.get()
            inputs = list(args)
            if variables is None:
                for position in positions:
                    inputs[position] = _recorded(args[position], recorder.trace)
                sources: Any = [inputs[position] for position in positions]
            else:
                sources = variables
                tape.watch(variables)
            result = function(*inputs, **kwargs)
        value, aux = result if has_aux else (result, None)
        _require_single(value)
        if not isinstance(value, RecordedArray):
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
            inputs[position] = _converted(args[position], lambda value: as_traced(value, trace))
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


def _converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Returns `value` with each array in it converted, at any depth. A list of numbers alone is an array."""
    if isinstance(value, dict):
        return {key: _converted(item, convert) for key, item in value.items()}
    if (
        isinstance(value, (list, tuple))
        and value
        and not all(isinstance(item, (int, float)) for item in value)
    ):
        return sequence_like(value, (_converted(item, convert) for item in value))
    return convert(value)


def _recorded(value: Any, trace: Any) -> Any:
    return _converted(value, lambda item: as_recorded(item, trace))


def _require_single(value: Any) -> None:
    size = value.size if isinstance(value, TracedArray) else np.size(value)
    if size != 1:
        msg = f"a function whose gradient is computed must return a single number, got an array of shape {np.shape(value)}"
        raise TypeError(msg)
