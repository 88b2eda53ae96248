"""Host steps: how the core calls Python back in the middle of a batch, for what only Python can compute.

The core stops at a host step, calls a function with one dict of arrays, and goes on when the function returns. There
are three ways in which it finds the function:

- A step of a layer (a custom layer, an activation or a penalty on outputs written in NumPy) is an operation of the
  program. The field `host` of the operation is a `LayerHost`, which gets a `ForwardStep` or a `BackwardStep`.
- An operation on arrays, such as the inverse of a matrix, names a function. The function that `compute_arrays_by` was given
  when the package was imported gets an `ArrayStep`.
- The loss, the metrics, and the penalties and constraints of weights belong to a pass over data. `Run.advance` takes
  one `RunHost` for all of them, which gets a `LossStep`, `MetricsStep`, `PenaltyStep` or `ConstraintStep`.

The key `kind` says which of these a dict is, where there are several.

Arrays in a step are views of the core's memory, to be read or, where it is said below, to be filled in; they must not
be kept after the call. n is the number of samples in the batch; `rows` is n times the rows of one output, such as the
timesteps of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from engine._core_interface.cpp import Float32

if TYPE_CHECKING:
    from typing_extensions import NotRequired

Indices = NDArray[np.int32]


@final
class ForwardStep(TypedDict):
    """The outputs of one layer for one batch, or the penalty on them."""

    kind: Literal["forward"]
    inputs: Float32
    """Outputs of the layer before, (n, inputs), read-only."""
    mask: Float32 | None
    """1 for each row of the inputs that counts and 0 for a masked one, (n, mask rows); None if there is no mask."""
    training: bool
    """Whether the layer behaves as in training."""
    outputs: NotRequired[Float32]
    """To be filled in, (n, units). Absent for a penalty on outputs."""
    output_mask: NotRequired[Float32]
    """The mask of the outputs, to be filled in, (n, mask rows). Only for a layer that makes a mask."""
    losses: NotRequired[Float32]
    """What each sample adds to the loss of the batch, to be filled in, (n,), zeros. Absent in predictions."""


@final
class BackwardStep(TypedDict):
    """The gradients of the loss with respect to a layer's inputs and weights, or the part that a penalty adds to them."""

    kind: Literal["backward"]
    inputs: Float32
    """The inputs of the forward step, (n, inputs), read-only."""
    mask: Float32 | None
    """As in the forward step."""
    upstream: Float32
    """The gradient of the loss with respect to the outputs, (n, units), read-only."""
    gradient: Float32 | None
    """The gradient with respect to the inputs, (n, inputs); None if nothing needs it.

    A layer fills it in, and a penalty adds to it."""
    weight_gradients: list[Float32]
    """The gradients with respect to the trainable weights, to be filled in, each in the shape of its weight."""


@final
class ArrayStep(TypedDict):
    """The result of an operation on arrays."""

    function: str
    """What computes it."""
    options: str
    """Further arguments of the function by name, as JSON."""
    inputs: list[Float32]
    """Its arrays, read-only."""
    outputs: Float32
    """The result, to be filled in."""


LayerStep = ForwardStep | BackwardStep


class LayerHost(Protocol):
    """The field `host` of an operation that Python computes."""

    def __call__(self, step: LayerStep, /) -> None:
        """Does a step of the operation."""


class TargetsOfOutput(TypedDict):
    """What a loss and metrics read of one output."""

    y_true: NDArray[Any]
    """A copy of the targets: int32 class indices (rows,), or float32 (rows, outputs)."""
    y_pred: Float32
    """The predictions, (rows, outputs)."""
    sample_weight: Float32
    """(rows,), or (n,) if there is one weight per sample."""
    mask: Float32 | None
    """1 for each row of the outputs that counts and 0 for a masked one, (n, rows of one output); None: all count."""


class TargetsOfStep(TargetsOfOutput):
    """The same, with what all outputs have in common."""

    training: bool
    """Whether the batch is trained on."""
    indices: Indices
    """The numbers of the batch's samples in the data set, (n,)."""


@final
class LossStep(TargetsOfStep):
    """The losses of one batch, and their gradient."""

    kind: Literal["loss"]
    output: int
    """The number of the output."""
    losses: Float32
    """The losses, (rows,), to be filled in. The core combines them by the reduction and the sample weights."""
    gradient: Float32
    """The gradient of the batch's loss with respect to the predictions, (rows, outputs).

    It is to be filled in where `training` is true. It is the gradient of the one number after the reduction, so that
    `sample_weight / rows` is in it."""


@final
class MetricsStep(TypedDict):
    """The metrics that NumPy computes are updated for one batch."""

    kind: Literal["metrics"]
    training: bool
    """Whether the batch is trained on."""
    indices: Indices
    """The numbers of the batch's samples in the data set, (n,)."""
    outputs: list[TargetsOfOutput]


def targets_of(step: MetricsStep, output: int) -> TargetsOfStep:
    """Returns what metrics read at one output in a host step."""
    return {**step["outputs"][output], "training": step["training"], "indices": step["indices"]}


@final
class PenaltyStep(TypedDict):
    """The penalty on one weight array: the function returns a `Penalty`."""

    kind: Literal["penalty"]
    variable: int
    """The number of the weight array in the model."""
    weights: Float32
    """A copy of its values."""
    wants_gradient: bool
    """Whether the gradient of the penalty is needed."""


@final
class ConstraintStep(TypedDict):
    """The constraint on one weight array after a step: the function returns the new values in the same shape."""

    kind: Literal["constraint"]
    variable: int
    """The number of the weight array in the model."""
    weights: Float32
    """A copy of its values."""


Penalty = tuple[float, Float32 | None]
"""The penalty on a weight array, and its gradient with respect to the weights where it was wanted."""

WeightsStep = PenaltyStep | ConstraintStep
RunStep = LossStep | MetricsStep | PenaltyStep | ConstraintStep
RunHost = Callable[[RunStep], Penalty | Float32 | None]
