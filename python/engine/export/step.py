"""`Step`: one operation of a prediction, as all export formats read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine._core_interface.cpp import Float32


class Step(NamedTuple):
    """One operation of a prediction.

    Args:
        kind: "dense", "rearrange", "mean", "max", "mask", "embedding", "encoding", "affine", "leaky", "standardize", "unit",
            "identity", the name of a merging operation or an activation's name in the core; or "row_mask", whose value
            is a mask for "masked_mean": 1 for rows that have a number other than `value`, else 0.
        rows: the number of rows in a sample.
        width: numbers in a row of the (first) input.
        units: numbers in a row of the output.
        constants: the constants of the formula by name; those of an activation are under `parameters`.
        arrays: weights, and numbers for each column, by name.
        reads: the numbers of the values that it reads.
    """

    kind: str
    rows: int
    width: int
    units: int
    constants: Mapping[str, Any]
    arrays: Mapping[str, Float32]
    reads: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers its value has."""
        return self.rows * self.units
