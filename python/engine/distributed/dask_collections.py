"""Outputs for arrays and frames of Dask, as arrays and frames of Dask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine import tree
from engine.distributed.columns import Selection, columns_of, names_of
from engine.distributed.frozen_model import FrozenModel, outputs_of


def of_array(model: Any, method: str, x: Any) -> Any:
    """Returns the outputs for a Dask array, with its chunks of samples."""
    from dask.delayed import delayed

    if not x.ndim or any(math.isnan(size) for size in x.shape[1:]):
        msg = f"a Dask array must have the shape (n, ...) with known sizes but n, got {x.shape}: call its compute_chunk_sizes()"
        raise ValueError(msg)
    outputs = outputs_of(model, method, np.zeros((1, *map(int, x.shape[1:])), x.dtype))
    frozen = delayed(FrozenModel(model, method, outputs), traverse=False)
    x = x.rechunk(dict.fromkeys(range(1, x.ndim), -1))  # a sample is in one chunk
    flat = tree.flatten(outputs)
    if not isinstance(outputs, (list, tuple, dict)):
        return _mapped(x, _of_chunk, outputs, model=frozen)
    # All outputs of a chunk are computed at once; the arrays take theirs from a chunk of all.
    whole = x.map_blocks(
        _of_chunk,
        dtype=object,
        chunks=(x.chunks[0],),
        drop_axis=list(range(1, x.ndim)),
        meta=np.empty(0, object),
        model=frozen,
    )
    return tree.pack_sequence_as(
        outputs, [_mapped(whole, _part, output, number=number) for number, output in enumerate(flat)]
    )


def of_frame(model: Any, method: str, frame: Any, selection: Selection) -> Any:
    """Returns the outputs for a Dask frame as columns of another one, with its index and partitions."""
    from dask.delayed import delayed

    sample = frame._meta_nonempty
    outputs = outputs_of(model, method, sample[selection.read])
    names = names_of(model, outputs)
    frozen = delayed(FrozenModel(model, method, outputs), traverse=False)
    meta = _framed(sample, selection, columns_of(names, outputs)).iloc[:0]
    selection.require_free(list(meta.columns)[len(selection.keep) :])
    return frame.map_partitions(_of_partition, frozen, selection, names, meta=meta)


def _mapped(x: Any, function: Any, output: Any, **arguments: Any) -> Any:
    """Returns an array whose chunks are a function of those of another one."""
    return x.map_blocks(
        function,
        dtype=output.dtype,
        chunks=(x.chunks[0], *output.shape[1:]),
        drop_axis=list(range(1, x.ndim)),
        new_axis=list(range(1, output.ndim)),
        meta=output[:0],
        **arguments,
    )


def _of_chunk(chunk: Any, model: FrozenModel) -> Any:
    return model(chunk)


def _part(outputs: Any, number: int) -> Any:
    return tree.flatten(outputs)[number]


def _of_partition(partition: Any, model: FrozenModel, selection: Selection, names: list[str]) -> Any:
    return _framed(partition, selection, columns_of(names, model(partition[selection.read])))


def _framed(partition: Any, selection: Selection, columns: dict[str, Any]) -> Any:
    """Returns the columns that are kept, and those of the outputs, with the index of the partition."""
    return partition[selection.keep].assign(**columns)
