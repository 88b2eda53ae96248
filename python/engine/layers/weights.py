"""What is known of the weights of layers before they exist, and the values that they may get."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from engine._base.budget import spend
from engine._base.checks import Shape
from engine._core_interface.cpp import Float32
from engine._tracing.extents import Extent
from engine._tracing.recordings import Recording
from engine.constraints import Constraint
from engine.initializers import GlorotUniform, Initializer
from engine.initializers.base import as_weight
from engine.regularizers import Regularizer

# The largest number of values in one array: 4 TiB. More is a mistake, such as a zero too many in `input_shape`.
MOST_WEIGHTS = 2**40


class WeightSpec(NamedTuple):
    """The description of one weight array of a layer."""

    name: str
    shape: Shape
    initializer: Initializer | None
    """None is glorot_uniform, as in Keras."""
    trainable: bool = True
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None

    @property
    def _recorded_penalty(self) -> Recording | None:
        """What the penalty of a user's regularizer records; None if there is none, or none that is recorded."""
        return (
            None
            if self.regularizer is None
            else self.regularizer._recording_for(tuple(map(Extent, self.shape)))
        )

    def start(self, layer: str) -> Float32:
        """Returns the initial values; `layer` is the name of the layer, for messages."""
        initializer = self.initializer or GlorotUniform()
        spend(math.prod(self.shape), f"the {self.name} of layer {layer!r}")
        return as_weight(initializer(self.shape), self.shape, f"the start of {layer}'s {self.name}")


# The fields of a `WeightSpec` that a training reads, beside its values.
IN_TRAINING = slice(WeightSpec._fields.index("trainable"), None)


def penalty_and_constraint_fields(**weights: WeightSpec) -> dict[str, Any]:
    """Returns the fields of a core operation for the penalties and constraints of its weights.

    Args:
        weights: by the core's names of them, such as `kernel` and `bias`.
    """
    found: dict[str, Any] = {}
    for name, weight in weights.items():
        if weight.regularizer and weight._recorded_penalty is None:
            found |= weight.regularizer._lower(name)
        if weight.constraint:
            found[f"{name}_constraint"] = weight.constraint._lower(len(weight.shape))
    return found


def constraint_fields(constraint: Constraint | None, shape: Shape) -> dict[str, Any]:
    """Returns the fields of a variable of a program for its constraint, if the core knows it."""
    if constraint is None or constraint._is_custom:
        return {}
    return {"weight_constraint": constraint._lower(len(shape))}


def checked_weights(weights: Sequence[ArrayLike], shapes: Sequence[Shape], owner: str) -> list[Float32]:
    """Returns `weights` as float32 arrays of these shapes; an error says which one doesn't fit."""
    arrays = [np.asarray(array) for array in weights]
    if len(arrays) != len(shapes):
        msg = (
            f"{owner!r} has {len(shapes)} weight arrays, got {len(arrays)}: get_weights() shows their shapes"
        )
        raise ValueError(msg)
    return [
        as_weight(array, shape, f"`weights[{index}]` of {owner!r}")
        for index, (array, shape) in enumerate(zip(arrays, shapes, strict=True))
    ]
