"""Outputs for datasets of Ray, as datasets of Ray."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from engine import tree
from engine.distributed.columns import Selection, names_of
from engine.distributed.frozen_model import FrozenModel, outputs_of
from engine.distributed.samples import one_row, samples_of, takes_names

_MATRIX = 2  # its number of axes


def of_dataset(
    model: Any, method: str, dataset: Any, *, columns: Any, keep: Any, batch_size: int | None
) -> Any:
    """Returns the outputs for a dataset of Ray: a dataset with a column for each output."""
    schema = dataset.schema()
    if schema is None:
        raise ValueError("the dataset is empty, so that it has no columns")
    selection = Selection(schema.names, columns, keep)
    types = dict(zip(schema.names, schema.types, strict=True))
    row = one_row({name: types[name] for name in selection.read})
    by_name = takes_names(model)
    outputs = outputs_of(model, method, _samples(row, by_name))
    names = names_of(model, outputs)
    selection.require_free(names)
    compute = partial(_of_batch, FrozenModel(model, method, outputs), by_name, selection, names)
    return dataset.map_batches(compute, batch_format="numpy", batch_size=batch_size)


def _of_batch(
    model: FrozenModel, by_name: bool, selection: Selection, names: list[str], batch: dict[str, Any]
) -> dict[str, Any]:
    """Returns the columns for a batch, on the one thread that Ray gives a task."""
    read = {name: batch[name] for name in selection.read}
    arrays = map(np.asarray, tree.flatten(model(_samples(read, by_name), threads=1)))
    return {name: batch[name] for name in selection.keep} | {
        name: array.reshape(-1) if array.ndim == _MATRIX and array.shape[1] == 1 else array
        for name, array in zip(names, arrays, strict=True)
    }


def _samples(columns: dict[str, Any], by_name: bool) -> Any:
    import pandas as pd

    return samples_of(columns, by_name, lambda: pd.DataFrame(columns))
