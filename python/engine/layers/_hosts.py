"""How the core calls layers and functions that are written in NumPy."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import counted
from engine.layers._custom import CallArguments, checked_mask, checked_output

if TYPE_CHECKING:
    from engine._base.cpp import Float32
    from engine.layers._state import Weighted


class LayerHost(NamedTuple):
    """A layer of the user's as the core calls it: `host()` is what it calls, None where the layer is gone.

    Args:
        layer: whose model owns the core's program as well.
        inputs: the shape of one sample of the inputs.
        outputs: of one of the outputs.
        use: of a layer that is used several times in a network, how often it comes before; else None.
        arguments: what it was called with beside its inputs.
        dtype: of its inputs, where they are integers.
    """

    layer: weakref.ref[Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    use: int | None = None
    arguments: CallArguments | None = None
    dtype: str | None = None

    def __call__(self) -> Any:
        layer = self.layer()
        return None if layer is None else partial(self._run, layer)

    def _run(self, layer: Any, views: Mapping[str, Any]) -> None:
        """Do a step of the core's: the outputs, or the gradients."""
        inputs = views["inputs"].reshape(-1, *self.inputs)
        if self.dtype is not None:
            inputs = inputs.astype(self.dtype)
        arguments = CallArguments() if self.arguments is None else self.arguments
        mask = None if views["mask"] is None else views["mask"].reshape(inputs.shape[:-1]) != 0
        if "outputs" not in views:
            upstream = views["upstream"].reshape(-1, *self.outputs)
            with self._as_called(layer):
                given = {**arguments, "mask": mask}
                gradients_of(layer, (inputs, upstream), given, views["gradient"], views["weights"])
            return
        with layer._adding() as added, self._noting(layer, views["training"]):
            outputs = layer._called(inputs, views["training"], mask, arguments)
            views["outputs"][...] = outputs.reshape(len(inputs), -1)
        layer._added = [*layer._added, *added] if self.use else added
        if "counted" in views:
            views["counted"][...] = checked_mask(layer, layer.compute_mask(inputs, mask), outputs.shape)
        if "losses" in views:
            views["losses"][:] = sum(added)

    @contextmanager
    def _noting(self, layer: Any, training: bool) -> Iterator[None]:
        """Keep what the block assigns to attributes of the layer, for `_as_called`."""
        if self.use is None or not training:
            yield
            return
        before = dict(vars(layer))
        yield
        layer._kept[self.use] = {
            name: value for name, value in vars(layer).items() if before.get(name, before) is not value
        }

    @contextmanager
    def _as_called(self, layer: Any) -> Iterator[None]:
        """Within the block, the layer has the attributes that `call` assigned in this use, as later ones assigned others."""
        kept: dict[str, Any] = {} if self.use is None else layer._kept[self.use]
        state = vars(layer)
        now = {name: state[name] for name in kept}
        state.update(kept)
        try:
            yield
        finally:
            state.update({name: value for name, value in now.items() if state[name] is kept[name]})


class FunctionHost:
    """A function of the user's as the core calls it in a step of its own: `host()` is what it calls.

    Args:
        function: gives outputs from inputs (n, ...); its attribute `gradient` the gradient by the inputs from them and
            the one by the outputs.
        shape: of one sample of the inputs.
    """

    def __init__(self, function: Callable[..., Any], shape: tuple[int, ...]) -> None:
        self._function, self._shape = function, shape
        self._name = getattr(function, "__name__", repr(function))

    def __call__(self) -> Any:
        return self.run

    def output_shape(self) -> tuple[int, ...]:
        """Of one sample, from what the function makes of zeros."""
        rows = 2  # one could be mistaken for an axis to broadcast
        with np.errstate(all="ignore"):  # nobody divides by these zeros
            return self._outputs(np.zeros((rows, *self._shape), np.float32)).shape[1:]

    def run(self, views: Mapping[str, Any]) -> None:
        """Do a step of the core's: the outputs, or the gradient."""
        inputs = views["inputs"].reshape(-1, *self._shape)
        if "outputs" in views:
            views["outputs"][...] = self._outputs(inputs).reshape(len(inputs), -1)
            return
        derivative = _derivative(self._function)
        if derivative is None:
            msg = (
                f"the activation {self._name!r} has no derivative, which training needs: give it an attribute "
                "`gradient`, a function of (inputs, upstream) that returns the gradient of the loss by the inputs "
                "from `upstream`, the one by the outputs"
            )
            raise TypeError(msg)
        gradient = np.asarray(derivative(inputs, views["upstream"].reshape(-1, *self.output_shape())))
        if gradient.shape != inputs.shape:
            msg = f"the gradient of {self._name!r} must have the shape {inputs.shape} of its inputs, got {gradient.shape}"
            raise ValueError(msg)
        if views["gradient"] is not None:
            views["gradient"][...] = gradient.reshape(len(inputs), -1)

    def _outputs(self, inputs: Float32) -> NDArray[Any]:
        return checked_output(f"the activation {self._name!r}", self._function(inputs), len(inputs))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionHost):
            return False
        return self._function is other._function and self._shape == other._shape

    def __hash__(self) -> int:
        return hash((id(self._function), self._shape))


def _derivative(function: Any) -> Callable[..., Any] | None:
    """The attribute `gradient` of a function; of a `partial` that of its function, with the same constants."""
    found: Callable[..., Any] | None = getattr(function, "gradient", None)
    if found is None and isinstance(function, partial) and not function.args:
        within = _derivative(function.func)
        return None if within is None else partial(within, **function.keywords)
    return found


def gradients_of(
    layer: Weighted,
    given: tuple[Float32, Float32],
    options: Mapping[str, Any],
    by_input: Float32 | None,
    by_weights: Sequence[Float32],
) -> None:
    """Have `layer` compute gradients.

    Args:
        layer: a layer of the user's.
        given: the inputs (n, ...), and the gradient of the loss by the outputs, (n, ...).
        options: by name, for a method that takes them: `mask`, which rows of the inputs count, (n, ...), None for all, and
            what the layer was called with beside its inputs.
        by_input: takes the gradient by the inputs, (n, size); None where nobody needs it.
        by_weights: take the gradients by the weights that learn.
    """
    gradient = getattr(layer, "gradient", None)
    if gradient is None:
        names = "".join(f", by_{weight.name}" for weight in layer._trainable_specs)
        msg = (
            f"layer {layer.name!r} has no gradient, which training needs: add to {type(layer).__name__} a method "
            f"`def gradient(self, inputs, upstream)` that returns {'(by_inputs' + names + ')' if names else 'by_inputs'}"
            ", the gradients of the loss by inputs and weights, from `upstream`, the one by the outputs of `call`"
        )
        raise TypeError(msg)
    inputs = given[0]
    found = gradient(*given, **CallArguments(options).accepted_by(gradient))
    parts = list(found) if isinstance(found, (tuple, list)) else [found]
    wanted = [inputs.shape, *(array.shape for array in by_weights)]
    if len(parts) != len(wanted):
        msg = (
            f"gradient() of layer {layer.name!r} must return {counted(len(wanted), 'array')}, by the inputs and by each "
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
