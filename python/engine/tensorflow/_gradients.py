"""`tf.GradientTape`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from engine import tree
from engine._gradients import GradientTape as EngineTape
from engine._gradients.tape import UnconnectedGradients
from engine._tracing.lazy import RecordedArray
from engine.tensorflow._tensor import constant


class GradientTape(EngineTape):
    """The engine's tape. A target that was not recorded has no derivatives here, as in TensorFlow, rather than raising TypeError."""

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
    ) -> Any:
        """Returns the derivatives of the sum of `target` by `sources`, as the engine's tape does.

        Without a recorded target they are None, or zeros with `unconnected_gradients`. A UserWarning says so.

        Args:
            target: a recorded tensor, or a list, tuple or dict of them.
            sources: variables or tensors, in any structure of lists, tuples and dicts.
            output_gradients: factors of the numbers of each target.
            unconnected_gradients: "none" or "zero".
        """
        found = [leaf for leaf in tree.flatten(target) if leaf is not None]
        if not found or any(_may_be_recorded(leaf) for leaf in found):
            return super().gradient(target, sources, output_gradients, unconnected_gradients)
        warnings.warn(
            "the target was not recorded by the tape, so that it has no gradients: watch the tensors that it is computed from, and call "
            "numpy() after the gradients",
            stacklevel=2,
        )
        zero = UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.ZERO
        return tree.map_structure(
            lambda source: constant(np.zeros(np.shape(source), np.float32)) if zero else None, sources
        )


def _may_be_recorded(leaf: Any) -> bool:
    return isinstance(leaf, RecordedArray) or not isinstance(leaf, (np.ndarray, np.generic, float, int))
