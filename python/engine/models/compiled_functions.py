"""`engine.function`: a function of the user that is compiled, as `train_step` is."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from engine import tree
from engine._base.locks import Lock, Order
from engine._base.tensor_like import Tensor, open_recorder
from engine._tracing.errors import (
    CannotRecordError,
    NeedsValuesError,
    is_raised_by_package,
    line_of_error,
    text_with_line,
)
from engine._tracing.lazy import prepare_for_change
from engine._tracing.symbolic import current
from engine._tracing.versions import Versioned
from engine.models.compiled_steps import CompiledStep, refused, warn_of_python

if TYPE_CHECKING:
    from engine.models.function_forms import AnyLength, VaryingAxes

# Forms of arguments for which a function stays compiled, those that came last.
_MOST_FORMS = 64
# The number of recordings at which a function warns, as most of its calls may be the first ones of a form.
_MANY_FORMS = 10


class CompiledFunction:
    """What `function` returns.

    Args:
        python_function: the function of the user.
        reduce_retracing: see `function`.
    """

    def __init__(self, python_function: Callable[..., Any], reduce_retracing: bool = False) -> None:
        functools.update_wrapper(self, python_function)
        self.python_function = python_function
        self.refusal: Exception | None = None
        """Why the function runs as it is written; None if it is compiled, or wasn't called yet."""
        self._compiled: OrderedDict[Any, tuple[CompiledStep, Any]] = OrderedDict()
        self._last: CompiledStep | None = None
        self._table = Lock("the forms of a compiled function", Order.FUNCTIONS)
        self._reduces_retracing = reduce_retracing
        # By forms without lengths: the shapes for which the function was recorded, the axes of which it was tried to record
        # any length, and what was recorded so.
        self._shapes: dict[Any, list[list[tuple[int, ...]]]] = {}
        self._tried: dict[Any, set[VaryingAxes]] = {}
        self._of_any_length: dict[Any, list[AnyLength]] = {}
        self._has_told_of_forms = False

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
                step = self._recorded(given, key, arrays, read)
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
            self._tell_of_forms(key)
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

    def _recorded(self, given: Any, key: Any, arrays: list[Any], read: list[Any]) -> CompiledStep:
        """Returns the function recorded for a form of arguments."""
        from engine.models.function_forms import without_lengths

        def called(symbols: list[Any]) -> Any:
            return self._called(given, symbols)

        if self._reduces_retracing and arrays:
            shapes, form = [array.shape for array in arrays], without_lengths(key)
            for any_length in self._recorded_for_any_length(called, form, arrays):
                length = any_length.length_in(shapes)
                if length is not None:
                    return CompiledStep(partial(any_length.replayed, length), arrays, read)
            step = CompiledStep(called, arrays, read)
            self._shapes[form] = [*self._shapes.get(form, []), shapes][-_MANY_FORMS:]
            return step
        return CompiledStep(called, arrays, read)

    def _recorded_for_any_length(self, called: Any, form: Any, arrays: list[Any]) -> list[AnyLength]:
        """Returns what is recorded for any length of some axes, after a try for those in which these arrays differ from others."""
        from engine.models.function_forms import AnyLength, varying_axes

        shapes, known = [array.shape for array in arrays], self._of_any_length.setdefault(form, [])
        tried = self._tried.setdefault(form, set())
        if any(each.length_in(shapes) is not None for each in known):
            return known
        for earlier in self._shapes.get(form, []):
            axes = varying_axes(shapes, earlier)
            if axes is None or axes in tried:
                continue
            tried.add(axes)
            try:
                known.append(AnyLength(called, axes, [array.dtype.name for array in arrays]))
            except Exception as error:
                if not refused(error):
                    raise
                lengths = " and ".join(str(shape) for shape in axes.shapes if None in shape)
                msg = (
                    f"{self.python_function.__qualname__} is recorded for each length of None in the shapes {lengths} of its "
                    f"arguments, although `reduce_retracing` is true. The reason: {text_with_line(error)}"
                )
                warnings.warn(msg, UserWarning, stacklevel=4)
        return known

    def _tell_of_forms(self, key: Any) -> None:
        """Warns once that the function has been recorded for many forms of arguments."""
        if self._has_told_of_forms or self._reduces_retracing or len(self._compiled) < _MANY_FORMS - 1:
            return
        from engine.models.function_forms import what_varies

        self._has_told_of_forms = True
        varies = what_varies(self.python_function, [*self._compiled, key])
        msg = (
            f"{self.python_function.__qualname__} has been recorded {_MANY_FORMS} times, once for each form of its arguments, and "
            f"each of these calls was slow. {varies}"
        )
        warnings.warn(msg, UserWarning, stacklevel=3)

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


@overload
def function(python_function: Callable[..., Any], *, reduce_retracing: bool = ...) -> CompiledFunction: ...
@overload
def function(
    python_function: None = ..., *, reduce_retracing: bool = ...
) -> Callable[[Callable[..., Any]], CompiledFunction]: ...
def function(python_function: Callable[..., Any] | None = None, *, reduce_retracing: bool = False) -> Any:
    """Compiles a function of arrays, as a decorator: for loops of your own, such as the updates of an agent.

    The function is recorded with symbols when it is called with arrays of new shapes or dtypes, and the core then runs what
    was recorded: layers and models, `keras.ops`, gradient tapes, `optimizer.apply_gradients`, and `assign` of weights and
    variables. Its own Python runs once for each form of arguments, as with `tf.function`: numbers of `np.random` stay those
    of the first time, while those of `keras.random` are new in each call.

    A function that looks at numbers of its arguments, as by `if float(loss) > 1`, runs as it is written each time; the
    attribute `refusal` tells why. A function that has been recorded for 10 forms of arguments warns once, and says which
    argument varies. Those 64 forms that were used last stay compiled.

    Args:
        python_function: the function. Its arguments are arrays, or floats, in any structure of lists, tuples and dicts.
            For each other value of an argument, such as an int, a string or a model, it is compiled anew. Without it, as in
            `@keras.function(reduce_retracing=True)`, the result is a decorator.
        reduce_retracing: whether the function is recorded for any length of an axis as soon as that has varied. Its Python
            doesn't run again for other lengths, from 2 on, and only the core's program is made for each. Several arrays may have
            such axes of one length. A function that calls layers, reads weights, or does something for which the length must be
            known, such as a loop over it, warns, and is recorded for each length.

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
    if python_function is None:
        return partial(CompiledFunction, reduce_retracing=reduce_retracing)
    return CompiledFunction(python_function, reduce_retracing)
