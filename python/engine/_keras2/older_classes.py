"""Classes and functions that only older versions of Keras had."""

from __future__ import annotations

from typing import Any

from engine._base.checks import real
from engine.constraints import MaxNorm, NonNeg, UnitNorm
from engine.layers import ReLU
from engine.regularizers import L1L2

maxnorm, nonneg, unitnorm, l1l2 = MaxNorm, NonNeg, UnitNorm, L1L2  # in Keras 1


def ThresholdedReLU(theta: float = 1.0, **options: Any) -> ReLU:  # noqa: N802 # the name of a layer of Keras 2
    """Returns the layer `ReLU(threshold=theta)`, which Keras 2 has under this name: `x` if `x > theta`, else 0.

    Args:
        theta: the threshold, at least 0.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """
    return ReLU(threshold=real(theta, "theta", 0.0), **options)


class Reduction:
    """The names of reductions as constants, which tf.keras has."""

    AUTO = SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    NONE = "none"
    SUM = "sum"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Returns the different names."""
        return cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE

    @classmethod
    def validate(cls, key: object) -> None:
        """Raises ValueError unless `key` is one of the names."""
        if key not in cls.all():
            msg = f"`reduction` must be one of {', '.join(map(repr, cls.all()))}, got {key!r}"
            raise ValueError(msg)
