"""Activation layers: activations with constants or learned weights, and softmax."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import activations, constraints, initializers, ops, regularizers
from engine._base.checks import Shape, integer, integers, real
from engine._base.tensor_like import Tensor, mask_of
from engine._core_interface.cpp import Float32
from engine._core_interface.host_steps import LayerStep
from engine._core_interface.operations import (
    ColumnScaleOperation,
    LayerOperation,
    activation_operation,
    extended,
)
from engine.activations.piecewise import leaky_relu_operation, relu_operation
from engine.activations.rows import softmax_gradient
from engine.activations.smooth import elu_operation
from engine.layers._axes import Axes, axes_of, axis_argument
from engine.layers.layer import Layer, register
from engine.layers.symbols import CallArguments
from engine.layers.variable import NamedWeight
from engine.layers.weights import WeightSpec, penalty_and_constraint_fields

__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"]

# This replaces masked inputs, as in Keras: its exponential is 0 in comparison to that of any other number.
_MASKED = np.float32(-1e9)


@register()
class ReLU(Layer):
    """Rectified linear unit, `max(x, 0)`, with the options of `engine.activations.relu`.

    Args:
        max_value: largest output, at least 0; None for no limit.
        negative_slope: slope below the threshold, where the output is `negative_slope * (x - threshold)`; at least 0.
        threshold: inputs up to this value use `negative_slope`; at least 0.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **options: Any,
    ) -> None:
        self.max_value = None if max_value is None else real(max_value, "max_value", 0.0)
        self.negative_slope = real(negative_slope, "negative_slope", 0.0)
        self.threshold = real(threshold, "threshold", 0.0)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one activation."""
        del input_shape
        lowered = relu_operation(self.negative_slope, self.max_value, self.threshold)
        return [activation_operation(lowered)]


@register()
class LeakyReLU(Layer):
    """Leaky rectified linear unit: `x` if `x >= 0`, else `negative_slope * x` (Maas, Hannun and Ng, 2013).

    Args:
        negative_slope: slope for negative inputs, at least 0.
        alpha: deprecated name of `negative_slope`.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    _unsaved_arguments = (*Layer._unsaved_arguments, "alpha")

    def __init__(self, negative_slope: float = 0.3, *, alpha: float | None = None, **options: Any) -> None:
        if alpha is not None:
            warnings.warn(
                "`alpha` of LeakyReLU is deprecated: call it `negative_slope`",
                DeprecationWarning,
                stacklevel=2,
            )
            negative_slope = alpha
        self.negative_slope = real(negative_slope, "negative_slope", 0.0)
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one activation."""
        del input_shape
        return [activation_operation(leaky_relu_operation(self.negative_slope))]


@register()
class PReLU(Layer):
    """Parametric ReLU: `x` if `x > 0`, else `alpha * x`, with a learned alpha per feature (He et al., 2015).

    Args:
        alpha_initializer: initializer of alpha.
        alpha_regularizer: penalty on alpha.
        alpha_constraint: constraint on alpha, applied after every step, such as `"non_neg"`.
        shared_axes: axes, counted from 1, along which alpha is shared.
        options: arguments of every `Layer`, such as `name`, `trainable` and `input_shape`.
    """

    supports_masking = True
    alpha = NamedWeight()

    def __init__(
        self,
        alpha_initializer: object = "Zeros",
        alpha_regularizer: object = None,
        alpha_constraint: object = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes: list[int] | None = None
        if isinstance(shared_axes, (tuple, list)):
            self.shared_axes = list(integers(shared_axes, "shared_axes", 1))
        elif shared_axes is not None:
            self.shared_axes = [integer(shared_axes, "shared_axes", 1)]
        super().__init__(**options)

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """Alpha."""
        shape = self._alpha_shape(input_shape)
        constraint = constraints.of_a_row(self.alpha_constraint, shape)
        return [WeightSpec("alpha", shape, self.alpha_initializer, True, self.alpha_regularizer, constraint)]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one slope per number, or per entry of the axes that aren't shared."""
        (alpha,) = self._weight_specs_for(input_shape)
        operation: ColumnScaleOperation = {
            "kind": "column_scale",
            "rule": "leaky",
            "use_shift": False,
            "shape": list(alpha.shape),
            "trainable": self.trainable,
        }
        return self._axes(input_shape).around(
            [extended(operation, penalty_and_constraint_fields(kernel=alpha))]
        )

    def _axes(self, input_shape: Shape) -> Axes:
        shared = axes_of(self.name, self.shared_axes or [], input_shape)
        return Axes(input_shape, shared.outer, shared.inner)

    def _alpha_shape(self, input_shape: Shape) -> Shape:
        shared = self._axes(input_shape).outer
        return tuple(1 if axis in shared else size for axis, size in enumerate(input_shape))


@register()
class ELU(Layer):
    """Exponential linear unit: `x` if `x > 0`, else `alpha * (exp(x) - 1)` (Clevert et al., 2016).

    Args:
        alpha: the output approaches `-alpha` for large negative inputs.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        self.alpha = real(alpha, "alpha")
        super().__init__(**options)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one activation."""
        del input_shape
        return [activation_operation(elu_operation(self.alpha))]


@register()
class Softmax(Layer):
    """Softmax, `exp(x) / sum(exp(x))`, over one or several axes.

    Called with a `mask`, it gives 0 where the mask is False, and the sums are over the rest. In a model it uses a mask of
    the shape of its inputs. A mask of whole timesteps, whose features it normalizes, only passes through; Keras refuses
    that. The mask of a call, `softmax(x, mask)`, holds bools or numbers, above 0.5 for the inputs that count, in a shape that
    NumPy can broadcast to that of the inputs.

    Args:
        axis: axis or list of axes of the sum. 0 is the batch axis, -1 the last axis.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True
    _further_call_arguments = ("mask", "training")

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        self.axis = axis_argument(axis)
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one activation of rows, between two transpositions unless the axis is the last."""
        softmax = activation_operation({"activation": "softmax"})
        return axes_of(self.name, self.axis, input_shape).around([softmax])

    def _lower_masked(self, input_shape: Shape, mask_shape: Shape) -> list[LayerOperation] | None:
        """Returns an operation in NumPy for a mask with a value for each input; None for other masks, which have no effect."""
        if mask_shape != input_shape:
            return None
        axes_of(self.name, self.axis, input_shape)
        host = _MaskedSoftmax(input_shape, tuple(np.ravel(self.axis).tolist()))
        return [
            {"kind": "custom", "units": math.prod(input_shape), "variables": [], "host": host, "groups": 1}
        ]

    def _call_on_symbols(
        self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments
    ) -> Any:
        """Returns the symbolic outputs; a mask of the call is applied to the numbers, and doesn't pass through."""
        if mask is None:
            return super()._call_on_symbols(inputs, training, None, arguments)
        kept = ops.cast(mask, "float32") > 0.5  # noqa: PLR2004 # as in Keras
        try:
            replaced = ops.where(kept, inputs, _MASKED)
        except ValueError:
            raise _wrong_mask(inputs.shape, kept.shape) from None
        if replaced.shape != inputs.shape:
            raise _wrong_mask(inputs.shape, kept.shape)
        outputs = super()._call_on_symbols(replaced, training, None, arguments)
        return ops.where(kept, outputs, 0.0)

    def _outputs_of_program(self, inputs: Any, training: bool | None, mask: Any) -> tuple[Tensor, Any]:
        """Returns the outputs, computed by NumPy if there is a mask, and their mask."""
        noted = mask_of(inputs)
        if mask is None and (noted is None or noted.shape != np.shape(inputs)):
            return super()._outputs_of_program(inputs, training, None)
        values = np.asarray(noted if mask is None else mask)
        outputs, _ = super()._outputs_of_program(np.asarray(inputs), training, None)
        kept = values if values.dtype == bool else values > 0.5  # noqa: PLR2004 # as in Keras
        try:
            kept = np.broadcast_to(kept, outputs.shape)
        except ValueError:
            raise _wrong_mask(outputs.shape, values.shape) from None
        outputs = masked_softmax(np.asarray(inputs, np.float32), kept, self.axis).view(Tensor)
        return outputs, noted if mask is None else values


def _wrong_mask(inputs: Sequence[int | None], mask: Sequence[int | None]) -> ValueError:
    return ValueError(
        f"`mask` must have a shape that can be broadcast to that of the inputs, {tuple(inputs)}, got {tuple(mask)}: give one "
        "with a value for each input, or with axes of length 1"
    )


def masked_softmax(x: Float32, mask: NDArray[np.bool_], axis: int | Sequence[int]) -> Float32:
    """Returns the softmax of the numbers of `x` whose `mask`, of the same shape, is True; 0 for the others."""
    outputs = activations.softmax(np.where(mask, x, _MASKED), axis)
    return np.where(mask, outputs, np.float32(0))


class _MaskedSoftmax(NamedTuple):
    """A softmax with a mask, computed in host steps."""

    shape: Shape
    axis: tuple[int, ...]

    def __call__(self, step: LayerStep) -> None:
        x = step["inputs"].reshape(-1, *self.shape)
        mask = np.ones(x.shape, bool) if step["mask"] is None else step["mask"].reshape(x.shape) != 0
        outputs = masked_softmax(x, mask, self.axis)
        if step["kind"] == "forward":
            step["outputs"][...] = outputs.reshape(len(x), -1)
        elif step["gradient"] is not None:
            gradient = softmax_gradient(outputs, step["upstream"].reshape(x.shape), self.axis)
            step["gradient"][...] = gradient.reshape(len(x), -1)
