"""`engine.function`: a function of the user that is compiled, as `train_step` is."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from engine import tree
from engine._base.tensor_like import open_recorder
from engine._tracing.errors import (
    CannotRecordError,
    NeedsValuesError,
    is_raised_by_package,
    line_of_error,
    name_line_of_function,
    text_with_line,
)
from engine._tracing.integer_bounds import IntegersRoundedError
from engine._tracing.lazy import prepare_for_change
from engine._tracing.symbolic import current
from engine._tracing.versions import Versioned
from engine.models.compiled_steps import CompiledStep, is_array, new_call_table, refused, warn_of_python

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
        self._calls = new_call_table(_MOST_FORMS)
        self._told_of_integers = False
        self._reduces_retracing = reduce_retracing
        self._forms: dict[Any, None] = {}  # for which it was recorded, as far as a warning needs them
        # By forms without lengths: the shapes for which the function was recorded, the axes of which it was tried to record
        # any length, and what was recorded so.
        self._shapes: dict[Any, list[list[tuple[int, ...]]]] = {}
        self._tried: dict[Any, set[VaryingAxes]] = {}
        self._of_any_length: dict[Any, list[AnyLength]] = {}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Returns the function as a method of an object."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        try:
            result = self._calls.call(args, kwargs)
            return self._called_anew(args, kwargs) if result is NotImplemented else result
        except IntegersRoundedError as error:
            return self._called_with_large_integers(error, args, kwargs)

    def _called_with_large_integers(self, error: IntegersRoundedError, args: Any, kwargs: Any) -> Any:
        """Does a call in which the core might round integers as the function is written. The first time it warns."""
        if not self._told_of_integers:
            self._told_of_integers = True
            msg = (
                f"{self.python_function.__qualname__} runs in Python where integers may become large, which is slower: {error} "
                "Pass floats where rounding doesn't matter"
            )
            warnings.warn(msg, UserWarning, stacklevel=3)
        return self.python_function(*args, **kwargs)

    def _called_anew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Does a call for which nothing is compiled."""
        recorded_by_another = open_recorder.get() is not None or current.get() is not None
        if recorded_by_another or self.refusal is not None:
            return self.python_function(*args, **kwargs)
        prepare_for_change()
        given, form = (args, kwargs), self._calls.form(args, kwargs)
        read = [leaf for leaf in tree.flatten(given) if isinstance(leaf, Versioned) and not is_array(leaf)]
        try:
            step = self._recorded(given, form.arrays, read)
        except Exception as error:
            if not refused(error):
                raise
            result = self._in_python(error, args, kwargs)
            self.refusal = error
            self._calls.clear()
            warn_of_python(
                self.python_function.__qualname__, error, "leave out `keras.function` to ask for that"
            )
            return result
        self._calls.add(form, step, step.dependencies.versions_and_states, step.call)
        self._tell_of_forms(given)
        return step.call.run(form.arrays)

    def explained(self, threads: int) -> str:
        """Returns what the core computes in a call like the last one, for `engine.utils.explain_batch`.

        Args:
            threads: threads that share the work; 0 for those of `engine.config.get_threads`.

        Raises:
            ValueError: if nothing is compiled.
        """
        step: CompiledStep | None = self._calls.last
        if step is None:
            reason = "was not called yet" if self.refusal is None else f"can't be compiled: {self.refusal}"
            msg = f"{self.python_function.__qualname__} {reason}"
            raise ValueError(msg)
        return step.explained(threads)

    def _recorded(self, given: Any, arrays: list[Any], read: list[Any]) -> CompiledStep:
        """Returns the function recorded for a form of arguments."""
        from engine.models.function_forms import form_of, without_lengths

        def called(symbols: list[Any]) -> Any:
            return self._called(given, symbols)

        if self._reduces_retracing and arrays:
            shapes, form = [array.shape for array in arrays], without_lengths(form_of(*given))
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

    def _tell_of_forms(self, given: Any) -> None:
        """Warns once that the function has been recorded for many forms of arguments, the last of which has been given."""
        if self._reduces_retracing or len(self._forms) >= _MANY_FORMS:
            return
        from engine.models.function_forms import form_of, what_varies

        self._forms[form_of(*given)] = None
        if len(self._forms) < _MANY_FORMS:
            return
        varies = what_varies(self.python_function, list(self._forms))
        msg = (
            f"{self.python_function.__qualname__} has been recorded {_MANY_FORMS} times, once for each form of its arguments, and "
            f"each of these calls was slow. {varies}"
        )
        warnings.warn(msg, UserWarning, stacklevel=4)

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
            name_line_of_function(error)
            raise

    def _called(self, given: Any, symbols: list[Any]) -> Any:
        """Calls the function with symbols in the place of arrays."""
        following = iter(symbols)
        args, kwargs = tree.map_structure(lambda leaf: next(following) if is_array(leaf) else leaf, given)
        return self.python_function(*args, **kwargs)


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
    given: Any = python_function
    if not callable(given):
        msg = f"keras.function compiles a function, got {given!r}"
        raise TypeError(msg)
    return CompiledFunction(python_function, reduce_retracing)
