"""`GradientTape`: records what is computed, and returns derivatives of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

import numpy as np

from engine import tree
from engine._base.tensor_like import open_recorder
from engine._core_interface.cpp import ContextBlock
from engine._gradients.derivatives import derivatives, unconnected
from engine._tracing.lazy import LazyTrace, RecordedArray, Recorder, apply_pending_changes, as_recorded
from engine._tracing.lost_derivatives import depends_on
from engine._tracing.symbolic import apply
from engine._tracing.trace import OfWeight, TracedArray


class UnconnectedGradients(Enum):
    """What `GradientTape.gradient` returns for a source that the target doesn't depend on."""

    NONE = "none"
    ZERO = "zero"


class GradientTape(ContextBlock):
    """Records what is computed within its `with` block, and returns derivatives of it.

    Within the block, layers, models, losses, functions of `keras.ops` and arithmetic on their results return *recorded
    arrays*. These behave like arrays, but their numbers are computed only when something needs them, such as `float(loss)`
    or an optimizer's step: then one compiled function computes everything that waits. The same structure with other
    numbers, as in the next step of a loop, is not compiled again.

    Args:
        persistent: whether `gradient` may be called more than once.
        watch_accessed_variables: whether the tape watches all trainable weights and variables. Otherwise only what
            `watch` was called with.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> x = keras.ops.convert_to_tensor([1.0, 2.0])
        >>> with keras.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = keras.ops.sum(x * x)
        >>> tape.gradient(y, x).numpy().tolist()
        [2.0, 4.0]

        A step of training:

        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> optimizer = keras.optimizers.SGD(0.1)
        >>> with keras.GradientTape() as tape:
        ...     loss = keras.ops.mean(keras.ops.square(model(np.ones((8, 3)), training=True) - 1.0))
        >>> gradients = tape.gradient(loss, model.trainable_variables)
        >>> int(optimizer.apply_gradients(zip(gradients, model.trainable_variables)))
        1
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        super().__init__(open_recorder)
        self._persistent, self._watches_variables = bool(persistent), bool(watch_accessed_variables)
        self._paused = self._used = False
        # Whether it is that of a function whose gradient is computed, and what this is differentiated by.
        self._of_function = False
        self._sources: list[RecordedArray] = []
        # What it has recorded into: a change of weights begins another trace.
        self._traces: list[LazyTrace] = []
        # The arguments of `watch`: all of them, and of weights and variables the `id` of the owner and the index in it.
        self._watched: list[Any] = []
        self._watched_weights: set[tuple[int, int]] = set()

    @property
    def _finished(self) -> bool:
        """Whether no derivative can be asked for any more."""
        return self._used and not self._persistent

    def _join(self, trace: LazyTrace) -> None:
        """Records into `trace` from now on."""
        self._traces.append(trace)
        trace.add_tape(self)
        for value in self._watched:
            self._watch_in(trace, value)

    def _opened(self) -> Recorder:
        """Returns the recorder of this thread, a new one for its first tape."""
        if self._is_open:
            msg = "this tape is recording already: a `with` block can't be in another one of the same tape"
            raise ValueError(msg)
        recorder_open = open_recorder.get()
        if recorder_open is None:
            apply_pending_changes()
        recorder = Recorder() if recorder_open is None else recorder_open
        recorder.tapes = [*recorder.open_tapes(), self]
        self._used = False
        if recorder.trace not in self._traces:
            self._join(recorder.trace)
        return recorder

    def _closed(self) -> None:
        """Removes this tape from the recorder of those around it."""
        recorder = open_recorder.get()
        if recorder is not None:
            recorder.tapes = recorder.open_tapes()

    def watch(self, tensor: Any) -> None:
        """Watches arrays, so that there are derivatives with respect to them.

        Args:
            tensor: a weight, a recorded array, or an array, as `keras.ops` return it; or a list, tuple or dict of them.
                NumPy arithmetic is recorded for results of `keras.ops` and of layers; an array of another origin is
                recorded where a layer, a loss or a function of `keras.ops` gets it.

        Raises:
            ValueError: if the tape isn't recording.
            TypeError: for something else than arrays of real numbers.
        """
        for value in tree.flatten(tensor):
            if not self._is_open:
                msg = "watch() must be called within the `with` block of the tape"
                raise ValueError(msg)
            self._watched.append(value)
            self._watch_in(self._traces[-1], value)

    def _watch_in(self, trace: LazyTrace, value: Any) -> None:
        variable = getattr(value, "_owner_and_number", None)
        if variable is not None:
            self._watched_weights.add((id(variable[0]), variable[1]))
        elif isinstance(value, RecordedArray):
            if value.trace is not trace:
                trace.watched[id(value)] = trace.adopted(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.kind != "f":
                msg = f"a tape watches arrays of real numbers, got one of dtype {value.dtype}: convert it to float32"
                raise TypeError(msg)
            trace.watched[id(value)] = trace.argument(value)
        else:
            msg = f"a tape watches arrays and weights, got {value!r}: convert it by keras.ops.convert_to_tensor()"
            raise TypeError(msg)

    def watched_variables(self) -> tuple[Any, ...]:
        """Returns the weights and variables that were read while the tape was recording, each once."""
        variables = dict[tuple[int, int], Any]()
        for trace in self._traces:
            for owner in dict.fromkeys(trace.read_owners()):
                for index in range(len(owner._specs)):
                    weight, key = owner._weights[index], (id(owner), index)
                    if (weight.trainable and self._watches_variables) or key in self._watched_weights:
                        variables.setdefault(key, weight)
        return tuple(variables.values())

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Computes at once, without recording, within the block."""
        if not self._is_open:
            msg = "stop_recording() must be called within the `with` block of the tape"
            raise ValueError(msg)
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def reset(self) -> None:
        """Forgets what was recorded."""
        for trace in self._traces:
            trace.remove_tape(self)
        self._traces, self._watched, self._watched_weights = [], [], set()
        self._used = False
        recorder = open_recorder.get()
        if self._is_open and recorder is not None:
            recorder.renew()

    def _may_differentiate_by(self, trace: LazyTrace, origin: Any) -> bool:
        """Returns whether the tape may be asked for derivatives by an origin of a trace."""
        if isinstance(origin, OfWeight):
            if (id(origin.owner), origin.number) in self._watched_weights:
                return True
            return self._watches_variables and bool(origin.owner._weights[origin.number].trainable)
        for value in (*self._watched, *self._sources):
            if isinstance(value, RecordedArray) and value.trace is trace and value.origin == origin:
                return True
            symbol = trace.watched.get(id(value))
            if symbol is not None and symbol.origin == origin:
                return True
        return False

    def _warn_of_taken(self, sources: Sequence[Any], gradients: Sequence[Any]) -> None:
        """Warns if there is no derivative by a source, and the user has taken numbers that depend on it out of the recording."""
        for source, gradient in zip(sources, gradients, strict=True):
            if gradient is not None:
                continue

            def is_source(trace: LazyTrace, origin: Any, source: Any = source) -> bool:
                variable = getattr(source, "_owner_and_number", None)
                if variable is not None:
                    return bool(origin == OfWeight(*variable))
                symbol: TracedArray | None = source if isinstance(source, RecordedArray) else None
                if symbol is None or symbol.trace is not trace:
                    symbol = trace.watched.get(id(source))
                return symbol is not None and bool(symbol.origin == origin)

            for trace in self._traces:
                for taken in trace.taken:
                    if depends_on(trace, taken.origin, is_source):
                        msg = (
                            f"there is no derivative by an array of shape {np.shape(source)}, though {taken.action} took numbers "
                            f"that depend on it out of the recording, at {taken.line}: what is computed of such numbers is constant "
                            "for derivatives. Use keras.ops or NumPy's functions on the arrays themselves"
                        )
                        warnings.warn(msg, stacklevel=4)
                        return

    # Derivatives.

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
    ) -> Any:
        """Returns the derivatives of the sum of `target` by `sources`.

        Args:
            target: a recorded array, or a list, tuple or dict of them, whose numbers are added up.
            sources: weights, variables or arrays, in any structure of lists, tuples and dicts.
            output_gradients: factors of the numbers of each target, in the structure of `target`; default 1.
            unconnected_gradients: "none" returns None for a source that `target` doesn't depend on, "zero" zeros.

        Returns:
            Recorded arrays in the structure and the shapes of `sources`.

        Raises:
            RuntimeError: if a tape that isn't persistent was asked before.
            TypeError: if `target` wasn't recorded.
        """
        unconnected_as = UnconnectedGradients(unconnected_gradients)
        targets = self._targets(target)
        trace = targets[0].trace
        factors = [None] * len(targets) if output_gradients is None else tree.flatten(output_gradients)
        total = _total(targets, factors)
        flat = tree.flatten(sources)
        with self._using(flat):
            gradients = self._derivatives(trace, total, flat)
        self._warn_of_taken(flat, gradients)
        if unconnected_as is UnconnectedGradients.ZERO:
            zeros = [unconnected(trace, np.shape(source)) for source in flat]
            gradients = [
                zero if gradient is None else gradient
                for gradient, zero in zip(gradients, zeros, strict=True)
            ]
        return (
            tree.pack_sequence_as(sources, gradients)
            if isinstance(sources, (list, tuple, dict))
            else gradients[0]
        )

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Returns the derivatives of each number of `target` by `sources`.

        Args:
            target: a recorded array.
            sources: as for `gradient`.
            unconnected_gradients: as for `gradient`.
            parallel_iterations: Ignored. TensorFlow has it.
            experimental_use_pfor: Ignored, in the same way.

        Returns:
            For each source an array of the shape of `target` and then that of the source.
        """
        del parallel_iterations, experimental_use_pfor
        (recorded,) = self._targets(target)
        flat = tree.flatten(sources)
        with self._using(flat):
            elements = recorded.reshape((-1,))
            rows = [
                self._derivatives(recorded.trace, elements[number], flat) for number in range(recorded.size)
            ]
        jacobians = list[Any]()
        for number, source in enumerate(flat):
            by_element = [row[number] for row in rows]
            shape = (*recorded.shape, *np.shape(source))
            if all(gradient is None for gradient in by_element):
                zero = UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.ZERO
                jacobians.append(unconnected(recorded.trace, shape) if zero else None)
                continue
            filled = [
                unconnected(recorded.trace, np.shape(source)) if gradient is None else gradient
                for gradient in by_element
            ]
            jacobians.append(apply("stack", (filled,), {}).reshape(shape))
        return (
            tree.pack_sequence_as(sources, jacobians)
            if isinstance(sources, (list, tuple, dict))
            else jacobians[0]
        )

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Returns the derivatives of each number of a sample of `target` by the same sample of `source`.

        Args:
            target: a recorded array (n, ...), each sample of which depends on the same sample of `source` alone.
            source: an array (n, ...).
            unconnected_gradients: as for `gradient`.
            parallel_iterations: Ignored. TensorFlow has it.
            experimental_use_pfor: Ignored, in the same way.

        Returns:
            An array of the shape `(n, *target.shape[1:], *source.shape[1:])`.
        """
        del parallel_iterations, experimental_use_pfor
        (recorded,) = self._targets(target)
        shape = np.shape(source)
        if not recorded.shape or not shape or recorded.shape[0] != shape[0]:
            msg = f"`target` and `source` must have as many samples, got the shapes {recorded.shape} and {shape}"
            raise ValueError(msg)
        with self._using([source]):
            columns = recorded.reshape((shape[0], -1))
            by_column = [
                self._derivatives(recorded.trace, columns[:, number], [source])[0]
                for number in range(columns.shape[1])
            ]
        result_shape = (*recorded.shape, *shape[1:])
        if any(gradient is None for gradient in by_column):
            zero = UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.ZERO
            return unconnected(recorded.trace, result_shape) if zero else None
        return apply("stack", (by_column, 1), {}).reshape(result_shape)

    def _derivatives(self, trace: LazyTrace, total: TracedArray, sources: Sequence[Any]) -> list[Any]:
        """Returns the derivatives of the sum of `total`, of a trace, by each source; None if it doesn't depend on it.

        A weight that is assigned while the tape is recording begins another trace. What an earlier one has computed is an
        input of it, through which the derivatives go on.
        """
        symbols = [self._symbol_of(trace, source) for source in sources]
        before = self._traces[: self._traces.index(trace)] if trace in self._traces else []
        inputs = trace.inputs_from(before) if before else []
        gradients = derivatives(trace, total, [*symbols, *(argument for _, argument in inputs)])
        direct, by_input = gradients[: len(symbols)], gradients[len(symbols) :]
        for (earlier, _), factor in zip(inputs, by_input, strict=True):
            if factor is None:
                continue
            target = earlier * as_recorded(factor, earlier.trace)
            for number, gradient in enumerate(self._derivatives(earlier.trace, target, sources)):
                if gradient is not None:
                    moved = as_recorded(gradient, trace)
                    direct[number] = moved if direct[number] is None else direct[number] + moved
        return direct

    @contextmanager
    def _using(self, sources: Sequence[Any]) -> Iterator[None]:
        """Marks the tape as used after the block, which asks for derivatives.

        Raises:
            RuntimeError: if it was used before, and isn't persistent.
            ValueError: if there are no sources.
        """
        if self._finished:
            msg = (
                "a GradientTape that isn't persistent returns derivatives once: make it by GradientTape(persistent=True), "
                "or ask for all derivatives in one call"
            )
            raise RuntimeError(msg)
        if not sources:
            msg = "`sources` must hold weights or arrays, but it is empty"
            raise ValueError(msg)
        yield
        self._used = True

    def _targets(self, target: Any) -> list[RecordedArray]:
        """Returns the targets as arrays of one trace: one that this tape records, if any of them is."""
        leaves = [leaf for leaf in tree.flatten(target) if leaf is not None]
        traces = [leaf.trace for leaf in leaves if isinstance(leaf, RecordedArray)]
        if not leaves or len(traces) < len(leaves):
            other = next((leaf for leaf in leaves if not isinstance(leaf, RecordedArray)), None)
            variable = getattr(other, "_weight_in", None)
            if variable is not None and self._traces:
                return [as_recorded(leaf, self._traces[-1]) for leaf in leaves]
            if isinstance(other, TracedArray):
                msg = "a tape can't be used in a function that is recorded itself: use keras.value_and_grad()"
                raise TypeError(msg)
            msg = (
                f"`target` must be what was computed by layers, losses or keras.ops within the `with` block of the tape, "
                f"got {type(other).__name__}: float(), np.asarray() and `.numpy()` end the recording"
            )
            raise TypeError(msg)
        still_open = [trace_of_target for trace_of_target in traces if trace_of_target in self._traces]
        trace = max(still_open, key=self._traces.index) if still_open else traces[-1]
        return [as_recorded(leaf, trace) for leaf in leaves]

    def _symbol_of(self, trace: LazyTrace, source: Any) -> TracedArray | None:
        """Returns the symbol that stands for a source in a trace; None if the tape doesn't watch the source."""
        if isinstance(source, RecordedArray):
            return source if source.trace is trace else trace.watched.get(id(source))
        weight_in = getattr(source, "_weight_in", None)
        if weight_in is not None:
            if not (self._watches_variables and source.trainable):
                owner, number = source._owner_and_number
                if (id(owner), number) not in self._watched_weights:
                    return None
            return weight_in(trace)  # type: ignore[no-any-return] # a symbol
        symbol = trace.watched.get(id(source))
        if symbol is not None and not _is_read(trace, symbol) and not hasattr(source, "_keras_mask"):
            msg = (
                "the tape watches a plain NumPy array that nothing it recorded has read, since NumPy's arithmetic can't be seen: make it "
                "by keras.ops.convert_to_tensor(), or use keras.ops functions"
            )
            warnings.warn(msg, stacklevel=3)
        return symbol


def _is_read(trace: LazyTrace, symbol: TracedArray) -> bool:
    """Returns whether any entry of a trace reads what a symbol stands for."""
    return any(origin == symbol.origin for entry in trace.entries for origin, _ in entry.inputs)


def _total(targets: Sequence[RecordedArray], factors: Sequence[Any]) -> TracedArray:
    """Returns an array whose sum is the sum of all targets, each times its factors."""
    scaled: list[Any] = [
        target if factor is None else target * factor for target, factor in zip(targets, factors, strict=True)
    ]
    if len(scaled) == 1:
        return scaled[0]  # type: ignore[no-any-return] # a symbol
    total = scaled[0].sum()
    for target in scaled[1:]:
        total = total + target.sum()
    return total  # type: ignore[no-any-return] # a symbol
