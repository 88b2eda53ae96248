"""Outputs for tables, datasets and Parquet files of Arrow, batch by batch, so that few rows are in memory at a time."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine._base.extras import extra
from engine._cluster.job_queue import ATTEMPTS, JobQueue
from engine._cluster.opening import opened
from engine._cluster.workers import WorkerLostError
from engine.distributed.columns import Selection, columns_of, names_of
from engine.distributed.frozen_model import FrozenModel, outputs_of
from engine.distributed.samples import one_row, samples_of, takes_names
from engine.distributed.targets import Target, written

# About how many numbers a batch holds if the user doesn't say how many rows.
_NUMBERS_AT_ONCE = 1 << 22
# How many batches Arrow reads ahead of the one that is computed.
_AHEAD = {"batch_readahead": 2, "fragment_readahead": 1}

_NEEDS_FOLDER = "`backend` needs `to`, the path of a folder into which the workers write files"


class _Recipe(NamedTuple):
    """How the outputs for a table are made."""

    selection: Selection
    by_name: bool
    """Whether the model takes a dict of arrays."""
    names: list[str]
    """Of the outputs."""
    schema: Any
    """Of the result."""
    rows: int
    """Of a batch."""

    def results(self, source: Any, compute: Callable[[Any], Any]) -> Iterator[Any]:
        """Yields the result for each batch of a dataset or of a part of one, as a table.

        Args:
            source: the dataset.
            compute: returns the outputs for samples.
        """
        import pyarrow as pa

        columns = list(dict.fromkeys([*self.selection.keep, *self.selection.read]))
        for batch in source.to_batches(columns=columns, batch_size=self.rows, **_AHEAD):
            if batch.num_rows:
                yield self._result(pa.table(batch), compute)

    def _result(self, table: Any, compute: Callable[[Any], Any]) -> Any:
        import pyarrow as pa

        read = table.select(self.selection.read)
        for name, column in zip(read.column_names, read.columns, strict=True):
            if column.null_count:
                msg = f"column {name!r} lacks {column.null_count} of {len(column)} values (null): fill or filter them first"
                raise ValueError(msg)
        columns = {name: _array(column) for name, column in zip(read.column_names, read.columns, strict=True)}
        outputs = columns_of(self.names, compute(samples_of(columns, self.by_name, lambda: read)))
        kept = table.select(self.selection.keep).columns
        return pa.table([*kept, *map(_column, outputs.values())], self.schema)


def of_arrow(
    model: Any,
    method: str,
    data: Any,
    *,
    columns: Any,
    keep: Any,
    batch_size: int | None,
    target: Target | None,
    backend: Any,
) -> Any:
    """Returns the outputs for a table or files as a table, or writes them and returns the path.

    Args:
        model: the model.
        method: of the model, which returns outputs.
        data: a table, batch or dataset of Arrow, or the path of a Parquet file or of a folder of them.
        columns: those that the model reads.
        keep: those that are copied.
        batch_size: how many rows are computed at a time.
        target: where the result is written; None returns it.
        backend: on whose processes, each of which reads and writes files; None is this one.
    """
    import pyarrow as pa

    source = _dataset(data)
    selection = Selection(source.schema.names, columns, keep)
    row = one_row({name: source.schema.field(name).type for name in selection.read})
    by_name = takes_names(model)
    table = {name: array for name, array in row.items() if array.ndim == 1}
    outputs = outputs_of(model, method, samples_of(row, by_name, lambda: pa.table(table)))
    names = names_of(model, outputs)
    found = columns_of(names, outputs)
    selection.require_free(list(found))
    kept = [source.schema.field(name) for name in selection.keep]
    schema = pa.schema([*kept, *(pa.field(name, _column(values).type) for name, values in found.items())])
    width = sum(array.size for array in row.values())
    recipe = _Recipe(selection, by_name, names, schema, batch_size or max(1, _NUMBERS_AT_ONCE // width))
    compute = partial(outputs_of, model, method)
    if target is None:
        if backend is not None:
            raise ValueError(_NEEDS_FOLDER)
        return pa.concat_tables([schema.empty_table(), *recipe.results(source, compute)])
    if backend is not None and not target.is_folder:
        raise ValueError(_NEEDS_FOLDER)
    with target as place:
        if backend is not None:
            _on_workers(source, recipe, FrozenModel(model, method, outputs), place, backend)
        elif target.is_folder:
            for number, fragment in enumerate(source.get_fragments()):
                written(_part(place, number), schema, recipe.results(fragment, compute))
        else:
            written(place, schema, recipe.results(source, compute))
    return target.path


def _dataset(data: Any) -> Any:
    """Returns the dataset of Arrow that a user means."""
    dataset = extra("pyarrow.dataset", "arrow", "prediction for tables and files")
    if isinstance(data, dataset.Dataset):
        return data
    if not isinstance(data, (str, Path)):
        return dataset.dataset(data)
    if "://" in str(data):
        return dataset.dataset(str(data), format="parquet")
    path = Path(data)
    if not path.exists():
        msg = f"there is no Parquet file or folder of them at {path}"
        raise FileNotFoundError(msg)
    found = dataset.dataset(path, format="parquet", partitioning="hive")
    if not found.files:
        msg = f"the folder {path} has no file"
        raise FileNotFoundError(msg)
    return found


def _on_workers(source: Any, recipe: _Recipe, model: FrozenModel, folder: Path, backend: Any) -> None:
    """Has workers compute a part of a dataset each, and write the results into a folder."""
    parts: Iterable[Any] = list(source.get_fragments())
    if len(list(parts)) == 1:
        parts = next(iter(parts)).split_by_row_group()
    jobs = [
        pickle.dumps((recipe, part, _part(folder.resolve(), number))) for number, part in enumerate(parts)
    ]
    with opened(backend) as workers:
        held = workers.hold(model)

        def lost() -> None:
            nonlocal held
            held = workers.hold(model)

        queue = JobQueue(workers, jobs, lambda job: workers.submit(_on_worker, job, [held]), lost)
        try:
            for _, answer in queue.answers():
                if isinstance(answer.error, WorkerLostError):
                    msg = f"{ATTEMPTS} workers ended at a part of the data ({answer.error}): they may need smaller batches (`batch_size`)"
                    raise RuntimeError(msg) from answer.error
                if answer.error is not None:
                    raise answer.error
        except BaseException:
            queue.stop()
            raise


def _on_worker(message: bytes, model: FrozenModel) -> None:
    """Computes one part of a dataset, on the threads of the job."""
    recipe, part, path = pickle.loads(message)
    written(path, recipe.schema, recipe.results(part, model.made_once()))


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.parquet"


def _array(column: Any) -> Any:
    """Returns a column of numbers, texts, or tensors as an array (n, ...)."""
    import pyarrow as pa

    kind = column.type
    joined = column.combine_chunks()
    if hasattr(joined, "to_numpy_ndarray"):
        return joined.to_numpy_ndarray()
    if pa.types.is_fixed_size_list(kind):
        return joined.flatten().to_numpy(zero_copy_only=False).reshape(len(joined), kind.list_size)
    return joined.to_numpy(zero_copy_only=False)


def _column(values: Any) -> Any:
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(values))
