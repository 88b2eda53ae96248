"""`Leaf`, what a network of a model is made of: a layer, or what computes one value beside the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine._base.checks import Shape
from engine._core_interface.cpp import Operation
from engine._core_interface.operations import LayerOperation

if TYPE_CHECKING:
    from engine.layers.weights import WeightSpec


class Leaf:
    """What computes one value of a network by operations of the core.

    These are the questions that models ask of it. The answers here are those of what has no weights and no mask of its own.
    """

    name: str
    supports_masking = False
    """Whether the mask of the inputs is the mask of the outputs, too."""
    _indices_below: int | None = None
    """If the inputs are indices: how many different ones there are."""
    _only_moves_values = False
    """Whether the outputs are the inputs in another order or shape."""
    _makes_mask = False
    """Whether it determines a new mask from its inputs."""
    _consumes_mask = False
    """Whether it ignores masked timesteps itself, so that its outputs have no mask."""

    @property
    def _is_by_call(self) -> bool:
        """Whether it is computed by a method `call`, which is recorded or runs in Python."""
        return False

    @property
    def _training_default(self) -> bool | None:
        """The argument `training` of a call that doesn't give it, also if a model is called so; None if there is no default."""
        return None

    @property
    def _may_be_recorded(self) -> bool:
        """Whether that method may be recorded."""
        return False

    @property
    def _specs(self) -> list[WeightSpec]:
        """What is known of each weight beside its values."""
        return []

    @property
    def _reads_mask(self) -> bool:
        """Whether the outputs depend on the mask of the inputs."""
        return False

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        """Returns the shape of one sample of each output, for input samples of the shapes `samples`."""
        raise NotImplementedError

    def _operations_for(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        """Returns the operations that compute it.

        Args:
            samples: the shape of one sample of each input.
            lowered: the operations without the number of rows and the penalty on outputs; default the result of `_lower`.
        """
        raise NotImplementedError

    def _lower_masked(self, input_shape: Shape, mask_shape: Shape) -> list[LayerOperation] | None:
        """Returns the operations if there is a mask, of `mask_shape` for one sample; None if they are those of `_lower`."""
        del input_shape, mask_shape
        return None

    def _mask_source_of(self, sources: Sequence[int | None]) -> int | None:
        """Returns which mask the inputs have together, if each of them has one of `sources` or None."""
        return sources[0]

    def _has_features_last(self, axes: int) -> bool:
        """Whether the features are on the last one of so many `axes`, batch axis included; masks need that."""
        del axes
        return True
