"""Host steps of layers: the objects that the core gets in the field `host` of an operation (see `engine._core_interface.host_steps`).

Each of them compares equal to another one that computes the same, so that a program whose operations are equal is kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import Shape, with_noun
from engine._core_interface.cpp import Float32, Operation, Rows
from engine._core_interface.host_steps import BackwardStep, ForwardStep, LayerStep
from engine._data.exact_integers import with_dtype
from engine.layers._outputs import checked_output, scalar
from engine.layers.symbols import CallArguments
from engine.layers.weights import WeightSpec
from engine.regularizers import Regularizer


class CustomLayer(Protocol):
    """A custom layer, as its host steps use it."""

    name: str
    _added: list[float]
    """What `call` added to the loss of the last batch by `add_loss`."""
    _kept: dict[int, dict[str, Any]]
    """By the number of the use: the attributes that `call` has assigned."""

    @property
    def _why_not_recorded(self) -> str:
        """Why `call` could not be recorded, as the end of a message."""

    @property
    def _trainable_specs(self) -> list[WeightSpec]:
        """The weights that training updates."""

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the outputs."""

    def _adding(self) -> AbstractContextManager[list[float]]:
        """Collects the arguments of `add_loss` within a block, in this thread."""

    def _checked_call(
        self,
        inputs: NDArray[Any],
        training: bool,
        mask: NDArray[np.bool_] | None,
        arguments: CallArguments | None = None,
    ) -> NDArray[Any]:
        """Returns the outputs of `call`, checked."""


class CustomLayerHost(NamedTuple):
    """One use of a custom layer in a network.

    Args:
        layer: its model owns the core's program as well, so that a strong reference would be a cycle.
        inputs: the shape of one input sample.
        outputs: the shape of one output sample.
        use: if the layer is used several times in a network, the number of uses before this one; else None.
        arguments: the arguments of the call, without the inputs.
        dtype: of the inputs, if they are integers or strings.
        coded: whether codes of integers may be among the inputs.
        training: the argument `training`, if Python code calls the layer with it whatever the batch is for.
    """

    layer: weakref.ref[CustomLayer]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    use: int | None = None
    arguments: CallArguments | None = None
    dtype: str | None = None
    coded: bool = False
    training: bool | None = None

    def __call__(self, step: LayerStep) -> None:
        """Computes the outputs of the layer, or its gradients."""
        layer = self.layer()
        if layer is None:
            msg = "the layer that this program needs does not exist any more"
            raise RuntimeError(msg)
        inputs: NDArray[Any] = step["inputs"].reshape(-1, *self.inputs)
        if self.dtype is not None:
            inputs = with_dtype(inputs, self.dtype, self.coded)
        arguments = CallArguments() if self.arguments is None else self.arguments
        mask = None if step["mask"] is None else step["mask"].reshape(inputs.shape[:-1]) != 0
        if step["kind"] == "backward":
            self._backward(layer, step, inputs, {**arguments, "mask": mask})
        else:
            self._forward(layer, step, inputs, mask, arguments)

    def _forward(
        self,
        layer: CustomLayer,
        step: ForwardStep,
        inputs: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        arguments: CallArguments,
    ) -> None:
        with layer._adding() as added, self._noting(layer, step["training"]):
            training = step["training"] if self.training is None else self.training
            outputs = layer._checked_call(inputs, training, mask, arguments)
            step["outputs"][...] = outputs.reshape(len(inputs), -1)
        layer._added = [*layer._added, *added] if self.use else added
        if "output_mask" in step:
            step["output_mask"][...] = _checked_mask(
                layer.name, layer.compute_mask(inputs, mask), outputs.shape
            )
        if "losses" in step:
            step["losses"][:] = sum(added)

    def _backward(
        self, layer: CustomLayer, step: BackwardStep, inputs: NDArray[Any], options: Mapping[str, Any]
    ) -> None:
        upstream = step["upstream"].reshape(-1, *self.outputs)
        with self._as_called(layer):
            _fill_gradients(layer, (inputs, upstream), options, step["gradient"], step["weight_gradients"])

    @contextmanager
    def _noting(self, layer: CustomLayer, training: bool) -> Iterator[None]:
        """Stores the attributes of the layer that the block assigns, for `_as_called`."""
        if self.use is None or not training:
            yield
            return
        before = dict(vars(layer))
        yield
        layer._kept[self.use] = {
            name: value for name, value in vars(layer).items() if before.get(name, before) is not value
        }

    @contextmanager
    def _as_called(self, layer: CustomLayer) -> Iterator[None]:
        """Within the block, the layer has the attributes that `call` assigned in this use; later uses assigned others."""
        kept: dict[str, Any] = {} if self.use is None else layer._kept[self.use]
        state = vars(layer)
        now = {name: state[name] for name in kept}
        state.update(kept)
        try:
            yield
        finally:
            state.update({name: value for name, value in now.items() if state[name] is kept[name]})


def _checked_mask(name: str, mask: ArrayLike | None, outputs: tuple[int, ...]) -> NDArray[np.bool_]:
    """Returns the result of `compute_mask` as (n, rows), for outputs of shape `outputs`; None masks nothing."""
    wanted = outputs[:-1] or outputs
    array: NDArray[np.bool_] = np.ones(wanted, bool) if mask is None else np.asarray(mask, bool)
    if array.shape != wanted:
        msg = (
            f"`compute_mask` of layer {name!r} must return a mask of shape {wanted}, one for each row of the "
            f"outputs, got {array.shape}"
        )
        raise ValueError(msg)
    return array.reshape(len(array), -1)


def _fill_gradients(
    layer: CustomLayer,
    given: tuple[NDArray[Any], Float32],
    options: Mapping[str, Any],
    by_input: Float32 | None,
    by_weights: Sequence[Float32],
) -> None:
    """Calls `gradient` of a custom layer and copies its results.

    Args:
        layer: the layer.
        given: the inputs (n, ...), and the gradient of the loss by the outputs, (n, ...).
        options: the arguments of the call and `mask`; `gradient` gets those that it has parameters for.
        by_input: for the gradient by the inputs, (n, size); None if it isn't needed.
        by_weights: for the gradients by the trainable weights.
    """
    gradient: Callable[..., Any] | None = getattr(layer, "gradient", None)  # users write it, or not
    if gradient is None:
        names = "".join(f", by_{weight.name}" for weight in layer._trainable_specs)
        msg = (
            f"layer {layer.name!r} has no gradient, which training needs: add to {type(layer).__name__} a method "
            f"`def gradient(self, inputs, upstream)` that returns {'(by_inputs' + names + ')' if names else 'by_inputs'}"
            ", the gradients of the loss by inputs and weights, from `upstream`, the one by the outputs of `call`"
            f"{layer._why_not_recorded}"
        )
        raise TypeError(msg)
    inputs = given[0]
    found = gradient(*given, **CallArguments(options).accepted_by(gradient))
    parts = list(found) if isinstance(found, (tuple, list)) else [found]
    wanted = [inputs.shape, *(array.shape for array in by_weights)]
    if len(parts) != len(wanted):
        msg = (
            f"gradient() of layer {layer.name!r} must return {with_noun(len(wanted), 'array')}, by the inputs and by each "
            f"weight that learns, got {len(parts)}"
        )
        raise ValueError(msg)
    arrays: list[NDArray[Any]] = [np.asarray(part) for part in parts]
    for index, (array, shape) in enumerate(zip(arrays, wanted, strict=True)):
        if array.shape != shape:
            what = "the inputs" if index == 0 else f"weight {layer._trainable_specs[index - 1].name!r}"
            msg = f"the gradient of layer {layer.name!r} by {what} must have shape {shape}, got {array.shape}"
            raise ValueError(msg)
    for target, array in zip(by_weights, arrays[1:], strict=True):
        target[...] = array
    if by_input is not None:
        by_input[...] = arrays[0].reshape(len(inputs), -1)


class FunctionHost:
    """An activation function that the core doesn't know.

    Args:
        function: computes outputs from inputs (n, ...). Its attribute `gradient` computes the gradient by the inputs
            from the inputs and the gradient by the outputs.
        shape: the shape of one input sample.
    """

    def __init__(self, function: Callable[..., Any], shape: tuple[int, ...]) -> None:
        self._function, self._shape = function, shape
        self._name: str = getattr(function, "__name__", repr(function))

    def output_shape(self) -> tuple[int, ...]:
        """Returns the shape of one output sample, found by a call on zeros."""
        rows = 2  # one row could be mistaken for an axis to broadcast
        with np.errstate(all="ignore"):  # divisions by these zeros don't matter
            return self._outputs(np.zeros((rows, *self._shape), np.float32)).shape[1:]

    def __call__(self, step: LayerStep) -> None:
        """Computes the outputs of the function, or the gradient by its inputs."""
        inputs = step["inputs"].reshape(-1, *self._shape)
        if step["kind"] == "forward":
            step["outputs"][...] = self._outputs(inputs).reshape(len(inputs), -1)
            return
        derivative = derivative_of(self._function)
        if derivative is None:
            msg = (
                f"the activation {self._name!r} has no derivative, which training needs: give it an attribute "
                "`gradient`, a function of (inputs, upstream) that returns the gradient of the loss by the inputs "
                "from `upstream`, the one by the outputs"
            )
            raise TypeError(msg)
        gradient = np.asarray(derivative(inputs, step["upstream"].reshape(-1, *self.output_shape())))
        if gradient.shape != inputs.shape:
            msg = f"the gradient of {self._name!r} must have the shape {inputs.shape} of its inputs, got {gradient.shape}"
            raise ValueError(msg)
        if step["gradient"] is not None:
            step["gradient"][...] = gradient.reshape(len(inputs), -1)

    def _outputs(self, inputs: Float32) -> NDArray[Any]:
        return checked_output(f"the activation {self._name!r}", self._function(inputs), len(inputs))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionHost):
            return False
        return self._function is other._function and self._shape == other._shape

    def __hash__(self) -> int:
        return hash((id(self._function), self._shape))


def derivative_of(function: Any) -> Callable[..., Any] | None:
    """Returns the attribute `gradient` of a function. A `partial` has that of its function, with the same constants."""
    found: Callable[..., Any] | None = getattr(function, "gradient", None)
    if found is None and isinstance(function, partial) and not function.args:
        within = derivative_of(function.func)
        return None if within is None else partial(within, **function.keywords)
    return found


class PenaltyHost:
    """A penalty on the outputs of a layer that NumPy computes.

    Args:
        name: of the layer, for messages.
        regularizer: the penalty for the outputs of a batch; it is divided by the batch size.
        shape: the shape of one output sample of the layer.
    """

    def __init__(self, name: str, regularizer: Regularizer, shape: Shape) -> None:
        self._name, self._regularizer, self._shape = name, regularizer, shape

    def __call__(self, step: LayerStep) -> None:
        """Computes the penalty, or adds its gradient."""
        outputs = step["inputs"].reshape(-1, *self._shape)
        if step["kind"] == "forward":
            step["losses"][:] = scalar(self._regularizer(outputs), self._what) / len(outputs)
            return
        gradient = np.asarray(self._regularizer.gradient(outputs))
        if gradient.shape != outputs.shape:
            msg = f"the gradient of {self._what} must have the shape {outputs.shape} of the outputs, got {gradient.shape}"
            raise ValueError(msg)
        if step["gradient"] is not None:
            step["gradient"] += (gradient / len(outputs)).reshape(step["gradient"].shape)

    @property
    def _what(self) -> str:
        return f"`activity_regularizer` of layer {self._name!r}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PenaltyHost):
            return False
        return self._regularizer is other._regularizer and self._shape == other._shape

    def __hash__(self) -> int:
        return hash((id(self._regularizer), self._shape))


class _MaskInputHost(NamedTuple):
    """Separates samples and their mask, which are columns of one array.

    Args:
        size: the number of columns that are the sample; the others are its mask.
    """

    size: int

    def __call__(self, step: LayerStep) -> None:
        if step["kind"] == "forward":
            step["outputs"][...] = step["inputs"][:, : self.size]
            step["output_mask"][...] = step["inputs"][:, self.size :]


def with_mask(
    rows: Rows, mask: NDArray[np.bool_], operations: Sequence[Operation]
) -> tuple[Rows, list[Operation]]:
    """Returns inputs and operations of a program that has a mask of its inputs.

    Args:
        rows: the samples (n, ...).
        mask: of their rows, (n, ...).
        operations: those of the program; they read the mask.

    Returns:
        The samples, with the mask as further columns, and the operations, with one more that separates the two.
    """
    flat, counts = rows.reshape(len(rows), -1), mask.reshape(len(rows), -1)
    size, mask_rows = flat.shape[1], counts.shape[1]
    first = {"kind": "custom", "units": size, "variables": [], "mask_rows": mask_rows, "groups": 1}
    masked = [{**operation, "masked": True} for operation in operations]
    joined = np.concatenate([flat, counts], axis=1, dtype=np.float32)
    return joined, [{**first, "host": _MaskInputHost(size)}, *masked]
