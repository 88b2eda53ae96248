"""`engine.function`: a function of the user that is compiled, as `train_step` is."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from engine import tree
from engine._base.locks import Lock, Order
from engine._base.tensor_like import Tensor, open_recorder
from engine._tracing.errors import CannotRecordError, NeedsValuesError, is_raised_by_package, line_of_error
from engine._tracing.lazy import prepare_for_change
from engine._tracing.symbolic import current
from engine._tracing.versions import Versioned
from engine.models.compiled_steps import CompiledStep, refused, warn_of_python

# Forms of arguments for which a function stays compiled, those that came last.
_MOST_FORMS = 64


class CompiledFunction:
    """What `function` returns.

    Args:
        python_function: the function of the user.
    """

    def __init__(self, python_function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, python_function)
        self.python_function = python_function
        self.refusal: Exception | None = None
        """Why the function runs as it is written; None if it is compiled, or wasn't called yet."""
        self._compiled: OrderedDict[Any, tuple[CompiledStep, Any]] = OrderedDict()
        self._last: CompiledStep | None = None
        self._table = Lock("the forms of a compiled function", Order.FUNCTIONS)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Returns the function as a method of an object."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        recorded_by_another = open_recorder.get() is not None or current.get() is not None
        if recorded_by_another or self.refusal is not None:
            return self.python_function(*args, **kwargs)
        prepare_for_change()
        given, arrays = (args, kwargs), list[Any]()
        key = _form(args, arrays), _form(kwargs, arrays) if kwargs else None
        known = self._compiled.get(key)
        if known is None or not known[0].dependencies.are_unchanged:
            others = [leaf for leaf in tree.flatten(given) if not _is_array(leaf)]
            read = [each for each in others if isinstance(each, Versioned)]
            try:
                step = CompiledStep(lambda symbols: self._called(given, symbols), arrays, read)
            except Exception as error:
                if not refused(error):
                    raise
                result = self._in_python(error, args, kwargs)
                self.refusal = error
                warn_of_python(
                    self.python_function.__qualname__, error, "leave out `keras.function` to ask for that"
                )
                return result
            known = step, others  # what the key knows by its `id` must not be another object later
        step = known[0]
        if step is not self._last:
            self._last = step
            with self._table.held():
                self._compiled[key] = known
                self._compiled.move_to_end(key)
                while len(self._compiled) > _MOST_FORMS:
                    self._compiled.popitem(last=False)
        return _as_results(step.run_once(arrays))

    def explained(self, threads: int) -> str:
        """Returns what the core computes in a call like the last one, for `engine.utils.explain_batch`.

        Args:
            threads: threads that share the work; 0 for those of `engine.config.get_threads`.

        Raises:
            ValueError: if nothing is compiled.
        """
        if not self._compiled:
            reason = "was not called yet" if self.refusal is None else f"can't be compiled: {self.refusal}"
            msg = f"{self.python_function.__qualname__} {reason}"
            raise ValueError(msg)
        step, _ = next(reversed(self._compiled.values()))
        return step.explained(threads)

    def _in_python(self, refusal: Exception, args: Any, kwargs: Any) -> Any:
        """Calls the function as it is written, after it could not be recorded.

        Where it then fails at the same line, as for wrong shapes, the error is the one of the recording: it names the line.
        """
        try:
            return self.python_function(*args, **kwargs)
        except Exception as error:
            needs_python = isinstance(refusal, (NeedsValuesError, CannotRecordError))
            is_same = isinstance(refusal, type(error)) and line_of_error(refusal) == line_of_error(error)
            if is_same and is_raised_by_package(refusal) and not needs_python:
                raise refusal from None
            raise

    def _called(self, given: Any, symbols: list[Any]) -> Any:
        """Calls the function with symbols in the place of arrays."""
        following = iter(symbols)
        args, kwargs = tree.map_structure(lambda leaf: next(following) if _is_array(leaf) else leaf, given)
        return self.python_function(*args, **kwargs)


def _is_array(value: Any) -> bool:
    return isinstance(value, float) or (
        hasattr(value, "__array__") and not hasattr(value, "_owner_and_number")
    )


def _form(value: Any, arrays: list[Any]) -> Any:
    """Returns what a compiled function depends on, and appends the arrays in `value` to `arrays`.

    It depends on shapes and dtypes of arrays, on the lists, tuples and dicts around them, and on all other arguments.
    """
    if type(value) is np.ndarray:
        arrays.append(value)
        return value.shape, value.dtype
    if isinstance(value, (list, tuple)):
        return (type(value), *[_form(each, arrays) for each in value])
    if isinstance(value, dict) and tree.is_nested(value):  # a dict of another class is an argument as it is
        names = list(value) if isinstance(value, OrderedDict) else tree._sorted(value)  # as in `tree.flatten`
        return (type(value), *[(name, _form(value[name], arrays)) for name in names])
    if _is_array(value):
        array = np.asarray(value)
        arrays.append(array)
        return array.shape, array.dtype
    return (type(value), value) if isinstance(value, (bool, int, str, bytes, type(None))) else id(value)


def _as_results(value: Any) -> Any:
    """Returns arrays with the methods of tensors, in the structure of the results."""
    if isinstance(value, np.ndarray):
        return value.view(Tensor)
    return tree.map_structure(_as_results, value) if isinstance(value, (list, tuple, dict)) else value


def function(python_function: Callable[..., Any]) -> CompiledFunction:
    """Compiles a function of arrays, as a decorator: for loops of your own, such as the updates of an agent.

    The function is recorded with symbols when it is called with arrays of new shapes or dtypes, and the core then runs what
    was recorded: layers and models, `keras.ops`, gradient tapes, `optimizer.apply_gradients`, and `assign` of weights and
    variables. Its own Python runs once for each form of arguments, as with `tf.function`: numbers of `np.random` stay those
    of the first time, while those of `keras.random` are new in each call.

    A function that looks at numbers of its arguments, as by `if float(loss) > 1`, runs as it is written each time; the
    attribute `refusal` tells why.

    Args:
        python_function: the function. Its arguments are arrays, or floats, in any structure of lists, tuples and dicts.
            For each other value of an argument, such as an int, a string or a model, it is compiled anew.

    Returns:
        A function with the same arguments, which returns float32 or integer arrays in the structure of the results.

    Example:
        >>> import engine as keras
        >>> weight = keras.Variable([0.0, 0.0])
        >>> optimizer = keras.optimizers.SGD(0.5)
        >>> @keras.function
        ... def update(aim):
        ...     with keras.GradientTape() as tape:
        ...         loss = keras.ops.sum((weight - aim) ** 2)
        ...     optimizer.apply_gradients([(tape.gradient(loss, weight), weight)])
        ...     return loss
        >>> float(update(keras.ops.array([1.0, 2.0]))), weight.numpy().tolist()
        (5.0, [1.0, 2.0])
    """
    return CompiledFunction(python_function)
