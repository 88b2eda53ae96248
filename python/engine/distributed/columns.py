"""Outputs of a model as named columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine import tree
from engine._base.checks import listing
from engine.models import Model

_MATRIX = 2  # its number of axes


def names_of(model: Any, outputs: Any) -> list[str]:
    """Returns the names of the outputs of a model, in the order of `tree.flatten`: "prediction" if there is one.

    Args:
        model: the model.
        outputs: what it has returned: an array, or a list, tuple or dict of arrays.
    """
    if isinstance(outputs, Mapping):
        return [str(name) for name in tree.flatten({name: name for name in outputs})]
    if isinstance(outputs, (list, tuple)):
        return [*map(str, model.output_names if isinstance(model, Model) else range(len(outputs)))]
    return ["prediction"]


def columns_of(names: Sequence[str], outputs: Any) -> dict[str, Any]:
    """Returns outputs as columns of numbers.

    An output with one number for each sample is one column, with the output's name. One with k numbers is k columns with a number after
    the name, from 0.

    Args:
        names: of the outputs.
        outputs: what the model has returned.
    """
    columns: dict[str, Any] = {}
    for name, output in zip(names, tree.flatten(outputs), strict=True):
        array = np.asarray(output)
        if array.ndim > 1:
            array = array.reshape(len(array), int(np.prod(array.shape[1:])))
        if array.ndim < _MATRIX or array.shape[1] == 1:
            columns[name] = array.reshape(-1)
        else:
            columns |= {f"{name}_{number}": array[:, number] for number in range(array.shape[1])}
    return columns


class Selection:
    """Which columns of a table a model reads, and which are copied to its outputs.

    Args:
        present: the names of the table's columns.
        columns: those that the model reads; None means all that are not in `keep`.
        keep: those that are copied.

    Raises:
        ValueError: if a column is missing, or none is left for the model.
    """

    def __init__(self, present: Sequence[Any], columns: Sequence[Any] | None, keep: Sequence[Any]) -> None:
        self.keep = _listed(keep, "keep")
        self.read = (
            [name for name in present if name not in self.keep]
            if columns is None
            else _listed(columns, "columns")
        )
        for argument, names in (("keep", self.keep), ("columns", self.read)):
            missing = [name for name in names if name not in present]
            if missing:
                msg = f"`{argument}` names {missing[0]!r}, but the data have the columns {listing(map(repr, present))}"
                raise ValueError(msg)
        if not self.read:
            raise ValueError("no column is left for the model: leave one out of `keep`")

    def require_free(self, names: Sequence[str]) -> None:
        """Raises ValueError if a column of the outputs has the name of one that is kept."""
        taken = [name for name in self.keep if name in names]
        if taken:
            msg = f"`keep` names {taken[0]!r}, which is also the name of an output: rename the column"
            raise ValueError(msg)


def _listed(names: Any, argument: str) -> list[Any]:
    if isinstance(names, str) or not isinstance(names, (list, tuple)):
        msg = f"`{argument}` must be a list of names of columns, got {names!r}"
        raise TypeError(msg)
    return list(names)
