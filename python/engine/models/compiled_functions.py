"""`engine.function`: a function of the user that is compiled, as `train_step` is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from engine import tree
from engine._base.tensor_like import open_recorder
from engine._core_interface.cpp import CallTable
from engine._tracing.lazy import of_thread, prepare_for_change
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
        self._calls = CallTable(
            open_recorder, current, of_thread, prepare_for_change, tree._sorted, _MOST_FORMS
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Returns the function as a method of an object."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        result = self._calls.call(args, kwargs)
        return self._called_anew(args, kwargs) if result is NotImplemented else result

    def _called_anew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Does a call for which nothing is compiled."""
        recorded_by_another = open_recorder.get() is not None or current.get() is not None
        if recorded_by_another or self.refusal is not None:
            return self.python_function(*args, **kwargs)
        prepare_for_change()
        given, form = (args, kwargs), self._calls.form(args, kwargs)
        read = [leaf for leaf in tree.flatten(given) if isinstance(leaf, Versioned) and not _is_array(leaf)]
        try:
            step = CompiledStep(lambda symbols: self._called(given, symbols), form.arrays, read)
        except Exception as error:
            if not refused(error):
                raise
            result = self.python_function(*args, **kwargs)  # an error of the user's comes from here
            self.refusal = error
            self._calls.clear()
            warn_of_python(
                self.python_function.__qualname__, error, "leave out `keras.function` to ask for that"
            )
            return result
        self._calls.add(form, step, step.dependencies.versions_and_states, step.call)
        return step.run_once(form.arrays)

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

    def _called(self, given: Any, symbols: list[Any]) -> Any:
        """Calls the function with symbols in the place of arrays."""
        following = iter(symbols)
        args, kwargs = tree.map_structure(lambda leaf: next(following) if _is_array(leaf) else leaf, given)
        return self.python_function(*args, **kwargs)


def _is_array(value: Any) -> bool:
    return isinstance(value, float) or (
        hasattr(value, "__array__") and not hasattr(value, "_owner_and_number")
    )


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
