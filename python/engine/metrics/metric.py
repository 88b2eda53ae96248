"""The base classes of metrics: a state that batches are added to, and the result that follows from it."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar, TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import dtype_of, float32_only, require
from engine._base.registered_objects import overrides
from engine._base.spec import Registry, Spec, snake_case
from engine._base.tensor_like import StoredArray, mask_of, open_recorder, tensor_of
from engine._core_interface.cpp import Float32, accumulate, instances_within
from engine._data.target_forms import masked_weights
from engine._data.target_shapes import class_indices_like, like_predictions, paired
from engine._tracing.errors import NeedsValuesError, line_of_user
from engine._tracing.lazy import capturing
from engine._tracing.symbolic import contains_symbolic, current
from engine.metrics.variables import Array, MetricVariable, Result, State, StateField, StatePart, state_part


def _deferrable(method: Any, name: str) -> Any:
    """Returns a method of a metric which, while a whole step is being recorded, is noted and called after each step."""

    @functools.wraps(method)
    def called_or_recorded(self: Metric, *args: Any, **options: Any) -> Any:
        if open_recorder.get() is None and current.get() is None:  # the most frequent case, decided quickly
            return method(self, *args, **options)
        step = capturing()
        if step is not None:
            return step.note(self, name, args, options)
        if name == "update_state" and current.get() is not None and contains_symbolic([args, options]):
            msg = (
                f"{line_of_user()}: metric {self.name!r} can't be updated in what is recorded once, such as `call` of a layer: "
                "pass it to compile(metrics=...), or update it in `train_step` and `test_step` of the class of the model"
            )
            raise NeedsValuesError(msg)
        return method(self, *args, **options)

    return called_or_recorded


class Metric(Spec):
    """Base class of all metrics. Custom metrics override `update_state` and `result`, with NumPy arrays.

    Args:
        name: name of the metric, which is its key in logs; default the name of the class.
        dtype: None or "float32".

    Example:
        >>> import numpy as np
        >>> from engine import metrics
        >>> class Largest(metrics.Metric):
        ...     def __init__(self, name="largest"):
        ...         super().__init__(name=name)
        ...         self.seen = self.add_variable((), "zeros")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.seen.assign(np.maximum(self.seen, np.max(y_pred)))
        ...     def result(self):
        ...         return self.seen
        >>> float(Largest()([0.0], [3.0]))
        3.0
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("update_state", "result", "reset_state"):
            if name in vars(cls):
                setattr(cls, name, _deferrable(vars(cls)[name], name))

    _targets_are_indices: bool = False
    """Whether targets are class indices (n,) rather than one number per output."""
    _accepts_indices: bool = False
    """Whether class indices are accepted as well, and read as one-hot rows."""
    _needs_rows: bool = False
    """Whether predictions must have the shape (n, outputs), because there is a result for each output."""
    _respects_mask: ClassVar[bool] = False
    """Whether a mask applies to the rows of outputs, as in Keras for means over rows."""
    _broadcasts: ClassVar[bool] = False
    """Whether one target may stand for all outputs of a row, since outputs are compared one by one."""
    _direction: str | None = None
    """Whether larger values are better, "up", or smaller ones, "down"; None if it is unknown."""

    def __init__(self, name: str | None = None, dtype: object = None) -> None:
        require(str, name, "name", "a string")
        self.name = name or snake_case(type(self).__name__)
        self.dtype = float32_only(dtype)
        self._added: list[MetricVariable] = []

    @property
    def variables(self) -> list[Any]:
        """The state variables of the metric, then those of metrics that are attributes of it, or in lists and dicts of them."""
        return [*self._all_variables, *self._variables_within]

    @property
    def _all_variables(self) -> list[Any]:
        """The variables that the metric has added, and those in its attributes, each once."""
        stored = instances_within([self._added, vars(self)], StoredArray)  # type: ignore[type-abstract]
        return [item for item in stored if not isinstance(item, StatePart)]

    @property
    def _variables_within(self) -> Iterator[Any]:
        for metric in instances_within(vars(self), Metric):
            yield from metric.variables

    def _masked_weights(self, y_pred: Any, sample_weight: Any) -> Any:
        """Returns the weights of a batch, 0 for timesteps that the mask of the predictions leaves out, if it applies."""
        mask = mask_of(y_pred) if self._respects_mask else None
        if mask is None:
            return sample_weight
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float32)
        return masked_weights(np.asarray(mask, np.float32), weights)

    def update_state(self, *args: Any, **options: Any) -> None:
        """Adds a batch. `args` and `options` are `y_true`, `y_pred` and `sample_weight`."""
        msg = (
            f"{type(self).__name__} has no `update_state`: give it `def update_state(self, y_true, y_pred, "
            "sample_weight=None)`, which adds a batch"
        )
        raise NotImplementedError(msg)

    def result(self) -> Any:
        """Returns the metric over all batches since `reset_state`."""
        msg = (
            f"{type(self).__name__} has no `result`: give it `def result(self)`, which returns the metric of what came "
            "so far"
        )
        raise NotImplementedError(msg)

    def reset_state(self) -> None:
        """Resets the state, also that of metrics that are attributes of this one, or in lists and dicts of them."""
        for variable in self._all_variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        for metric in instances_within(vars(self), Metric):
            metric.reset_state()

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Adds a batch and returns the metric over all batches so far."""
        self.update_state(*args, **options)
        return self.result()

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: object = "zeros",
        dtype: object = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> MetricVariable:
        """Creates a state variable, which `reset_state` sets to zero.

        Args:
            shape: shape of the variable; () is a single number.
            initializer: "zeros", "ones", an array, or a function of the shape that returns one.
            dtype: dtype of the variable, default float64.
            aggregation: Ignored. It is for distributed training.
            name: name of the variable.
        """
        start: Any = {"zeros": np.zeros, "ones": np.ones}.get(str(initializer).lower(), initializer)
        start = np.zeros if start is None else start
        if not callable(start) and not hasattr(start, "__array__"):
            msg = f"`initializer` must be 'zeros', 'ones', an array or a function of the shape, got {initializer!r}"
            raise ValueError(msg)
        kind = dtype_of(float if dtype is None else dtype, "dtype")
        values = np.array(start(tuple(shape)) if callable(start) else start, kind)
        if values.shape != tuple(shape):
            msg = f"`initializer` must have the shape {tuple(shape)} of the variable, got {values.shape}"
            raise ValueError(msg)
        self._added.append(MetricVariable(values, name or "variable"))
        return self._added[-1]

    add_weight = add_variable

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        """Writes the state into `store`, a dict, under the keys "0", "1", ..."""
        for position, variable in enumerate(self._added):
            store[str(position)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        """Sets the state from `store`, as written by `save_own_variables`. It is unchanged if a shape differs."""
        before = [variable.numpy() for variable in self._added]
        try:
            for position, variable in enumerate(self._added):
                variable.assign(store[str(position)])
        except BaseException:
            for variable, value in zip(self._added, before, strict=True):
                variable.assign(value)
            raise

    def _resolve(self, indices: bool, outputs: int) -> Metric:
        """Returns the metric to compute, given whether targets are class indices, and the number of outputs."""
        return self

    def _suits(self, indices: bool) -> bool:
        """Returns whether the metric accepts such targets: class indices, or one number per output."""
        return True


class CoreMetric(Metric, ABC):
    """A metric whose state the core adds up. Subclasses define the state by `_lower`, and the result by `_compute`.

    A subclass of the user that overrides `update_state` is called with each batch instead.
    """

    _kind: ClassVar[str]
    """The core's name of the metric."""
    _ignored_class: int | None = None
    """Class index of the samples that are ignored."""

    def __init__(self, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self._state: State | None = None
        self._width = 1  # outputs per row of the predictions in the state

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: targets: class indices (n,), or an array (n, outputs).
            y_pred: predictions (n, outputs).
            sample_weight: weights (n,), or (n, ...) for each timestep; default 1. Metrics that look at single
                outputs also accept weights that broadcast to (n, ..., outputs).
        """
        self._add_batch(y_true, y_pred, self._masked_weights(y_pred, sample_weight))

    def _add_batch(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None) -> None:
        """Adds a batch to the state."""
        predictions, targets = self._prepared(y_true, y_pred)
        weights = None
        if sample_weight is not None:
            shape = np.shape(y_pred)
            if (by_output := self._output_weights(np.asarray(sample_weight, np.float32), shape)) is not None:
                if targets.ndim == 1:
                    targets = np.eye(predictions.shape[1], dtype=np.float32)[targets]
                self._add_by_output(predictions, targets, by_output.reshape(predictions.shape))
                return
            weights = row_weights(sample_weight, len(predictions), shape)
        width = predictions.shape[1]
        metric = cast(CoreMetric, self._resolve(targets.ndim == 1, width))
        self._load_state(accumulate(metric._lower(), predictions, targets, weights, self._state), width)

    def _output_weights(self, weights: Float32, shape: tuple[int, ...]) -> Float32 | None:
        """Returns `weights` in the `shape` of the predictions if there is one for each output, else None."""
        if weights.ndim < 2 or weights.ndim != len(shape) or weights.shape[-1] == 1:  # noqa: PLR2004 # rows, outputs
            return None
        if any(length not in (1, size) for length, size in zip(weights.shape, shape, strict=True)):
            return None
        return np.broadcast_to(weights, shape)

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        """Adds a batch with one weight per output; all arrays are (rows, outputs).

        Raises:
            ValueError: if the metric has one value per row, so that it needs one weight per row.
        """
        del targets
        msg = (
            f"the metric {self.name!r} has one value for each row of outputs, so `sample_weight` must have one weight "
            f"for each of {len(predictions)} rows, got one for each output: {weights.shape}"
        )
        raise ValueError(msg)

    def _add_single_outputs(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        """Adds a batch as if each output was a row."""
        columns = [array.astype(np.float32).reshape(-1, 1) for array in (predictions, targets, weights)]
        operation = self._of_single_outputs()
        state = accumulate(operation, columns[0], columns[1], columns[2].reshape(-1), self._state)
        self._load_state(state, predictions.shape[1])

    def _of_single_outputs(self) -> dict[str, Any]:
        """Returns the metric for `_add_single_outputs` as the core reads it."""
        return self._lower()

    def _columns(self, predictions: Float32, targets: Float32, weights: Float32) -> list[State]:
        """Returns one state for each output."""
        binary = bool(np.isin(targets, (0, 1)).all())
        parts = [
            [np.ascontiguousarray(column) for column in array.T] for array in (predictions, targets, weights)
        ]
        return [
            np.array(
                accumulate(self._lower(), target[:, np.newaxis], two[:, np.newaxis], three, None, binary)
            )
            for target, two, three in zip(*parts, strict=True)
        ]

    def result(self) -> Any:
        """Returns the metric over all batches since `reset_state`."""
        value = 0.0 if self._state is None else self._compute(self._state)
        return tensor_of(value)

    def reset_state(self) -> None:
        """Resets the state."""
        self._state = None if self._state is None else np.zeros_like(self._state)

    @property
    def variables(self) -> list[Any]:
        """The state variables. Those whose shape depends on the outputs exist from the first batch on."""
        parts = (state_part(self, name) for name in self._parts())
        return [*self._all_variables, *parts, *self._variables_within]

    def _parts(self) -> dict[str, Array]:
        """Returns the values of the variables by Keras' names."""
        values = self._read(np.zeros(self._state_size) if self._state is None else self._state)
        return {name: value for name, value in values.items() if np.size(value)}

    def _set_part(self, name: str, value: Array) -> None:
        """Sets one of the variables."""
        state = np.zeros(self._state_size) if self._state is None else self._state.copy()
        self._write(state, name, value)
        self._load_state(state, self._width)

    @property
    def _state_size(self) -> int:
        """Size of the state before the first batch; 0 if it depends on the number of outputs."""
        return 0

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the variables in `state` by Keras' names, in Keras' order; empty arrays if their shape isn't known yet."""
        del state
        return {}

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets what `_read` returns under `name`."""

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        """Writes the state into `store`, a dict."""
        super().save_own_variables(store)
        if self._state is not None:
            store.update(state=self._state, width=np.array(self._width))

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        """Sets the state from `store`, as written by `save_own_variables`."""
        rest = list(store.values())[len(self._added) :]
        width = int(rest[1]) if rest else 1  # before anything changes
        super().load_own_variables(store)
        if rest:
            self._load_state(rest[0], width)

    def _load_state(self, state: State, width: int = 1) -> None:
        """Sets the state, and the number of outputs per row that it is of."""
        self._state, self._width = state, width

    def _suits(self, indices: bool) -> bool:
        """Returns whether the metric accepts such targets: class indices, or one number per output."""
        return self._targets_are_indices == indices or (indices and self._accepts_indices)

    @abstractmethod
    def _compute(self, state: State) -> Result:
        """Returns the result for `state`."""

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {"kind": self._kind}

    def _prepared(self, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Float32, Array]:
        """Returns predictions float32 (n, outputs), and targets int32 (n,) or float32 (n, outputs)."""
        if not self._targets_are_indices and _are_rows_alike(y_true, y_pred):
            return np.asarray(y_pred), np.asarray(y_true)
        predictions = np.asarray(y_pred, np.float32)
        flat = np.ascontiguousarray(
            predictions.reshape(-1, predictions.shape[-1])
            if predictions.ndim > 1
            else predictions.reshape(-1, 1)
        )
        truth = np.asarray(y_true)
        by_output = truth.shape == predictions.shape  # also if both are empty
        as_indices = self._accepts_indices and flat.shape[1] > 1 and truth.size == len(flat) and not by_output
        if self._targets_are_indices or as_indices:
            if predictions.ndim < 2:  # noqa: PLR2004 # samples and classes
                msg = f"`y_pred` must have shape (n, classes), got {predictions.shape}"
                raise ValueError(msg)
            labels_or_zero = (
                truth if self._ignored_class is None else np.where(truth == self._ignored_class, 0, truth)
            )
            labels = class_indices_like(labels_or_zero, predictions).reshape(-1).astype(np.int32)
            return flat, labels if labels_or_zero is truth else truth.reshape(-1).astype(np.int32)
        if self._broadcasts:
            truth, _ = paired(truth, predictions, broadcast=True)
        return flat, np.ascontiguousarray(like_predictions(truth, predictions).reshape(flat.shape))


class MeanOfRows(CoreMetric):
    """The mean of one value for each row of outputs; `total` and `count` are its variables.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _respects_mask = True
    _vectors: ClassVar[str] = "outputs"
    """What predictions (n,) are for targets (n,), as in Keras: n "samples", the "outputs" of one sample, or the same where the
    metric is their "mean"."""
    _state_size = 2
    total, count = StateField(), StateField()

    def _add_batch(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None) -> None:
        """Adds a batch. As in Keras, a sample counts once whatever its number of rows, and so does a batch with one weight."""
        shape, one_weight = np.shape(y_pred), sample_weight is not None and np.ndim(sample_weight) == 0
        samples = shape[0] if shape else 1
        if len(shape) == 1 == np.ndim(y_true) and self._vectors != "samples":
            if self._vectors == "outputs":
                y_true, y_pred, shape = np.asarray(y_true)[None], np.asarray(y_pred)[None], (1, *shape)
            if self._vectors == "outputs" or sample_weight is None:
                samples = 1
        rows = math.prod(shape[:-1]) if len(shape) > 1 else math.prod(shape)
        factor = (1 if one_weight else samples) / max(rows, 1)
        if factor == 1.0:
            super()._add_batch(y_true, y_pred, sample_weight)
            return
        before, self._state = self._state, None
        try:
            super()._add_batch(y_true, y_pred, sample_weight)
        except BaseException:
            self._state = before
            raise
        added: Any = np.asarray(self._state) * factor
        self._state = added if before is None else before + added

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the two variables."""
        return {"total": state[0], "count": state[1]}

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets one of the two variables."""
        state[int(name == "count")] = value

    def _compute(self, state: State) -> float:
        """Returns the mean for the state [sum, weight]."""
        total, weight = state.tolist()
        return total / weight if weight else 0.0


def _are_rows_alike(one: object, other: object) -> bool:
    """Whether both are float32 arrays (n, outputs) of one shape that the core reads as they are."""
    return (
        isinstance(one, np.ndarray)
        and isinstance(other, np.ndarray)
        and one.shape == other.shape
        and one.ndim == 2  # noqa: PLR2004 # rows and columns
        and one.dtype == other.dtype == np.float32
        and one.flags.carray
        and other.flags.carray
    )


def in_core(metric: Metric) -> TypeGuard[CoreMetric]:
    """Returns whether the core adds batches to the state of `metric`; otherwise NumPy does."""
    return isinstance(metric, CoreMetric) and not any(
        overrides(type(metric), method) for method in ("update_state", "reset_state", "reset_states")
    )


def row_weights(sample_weight: ArrayLike, rows: int, shape: tuple[int, ...]) -> Float32:
    """Returns one weight per row, (rows,).

    Args:
        sample_weight: one weight for all, one for each row, or one for each sample.
        rows: number of rows of outputs.
        shape: shape of the predictions.
    """
    weights = np.asarray(sample_weight, np.float32)
    if weights.size == 1:
        weights = np.full(rows, weights)
    if shape and weights.shape in (shape[:1], (shape[0], 1)):  # one for each sample
        weights = np.repeat(weights, rows // shape[0])
    if weights.shape not in ((rows,), shape[:-1], (*shape[:-1], 1), shape):
        msg = f"`sample_weight` must have one weight per sample, as `y_pred` has shape {shape}; got {weights.shape}"
        raise ValueError(msg)
    return np.ascontiguousarray(weights.reshape(rows))


registry: Registry[Metric] = Registry("metric", Metric)
register = registry.register
