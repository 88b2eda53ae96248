"""`predict`, for data in partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import saving
from engine._base.checks import flag, integer
from engine.distributed.columns import Selection
from engine.models import Model


def predict(
    model: Any,
    data: Any,
    *,
    columns: list[str] | None = None,
    keep: list[str] | tuple[()] = (),
    batch_size: int | None = None,
    to: str | Path | None = None,
    overwrite: bool = False,
    backend: Any = None,
    method: str = "predict",
) -> Any:
    """Returns the outputs of a model for data in partitions, each of which is computed where it is.

    The outputs have the bits of `model.predict` for all rows at once, on every machine. The model travels to each worker once, as it is
    now, and computes on the threads that the worker owns.

    Outputs in tables are columns: `prediction` if there is one number for each row, else `prediction_0`, `prediction_1`, …; for a model
    with several outputs the names of these take the place of "prediction". In datasets of Ray an output is one column.

    Example:
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> import engine as keras
        >>> import engine.distributed
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> table = pa.table({"id": ["a", "b"], "width": [1.0, 2.0], "height": [3.0, 4.0]})
        >>> keras.distributed.predict(model, table, keep=["id"]).to_pydict()
        {'id': ['a', 'b'], 'prediction': [4.0, 6.0]}

    Args:
        model: a built model; an estimator, such as of `engine.sklearn`, or a pipeline; or the path of a saved model.
        data: one of

            - an array of Dask, (n, ...): the result is a lazy array with the same chunks of rows, or a list, tuple or dict of them;
            - a frame of Dask: a lazy frame with the same index;
            - a dataset of Ray: a lazy dataset;
            - a table, record batch or dataset of Arrow, or the path of a Parquet file or of a folder of them: a table. No more than a
              few batches of the data are in memory at a time.
        columns: names of the columns that the model reads, in the order of its inputs; None means all but `keep`. A model that was
            fitted with a frame finds its columns in any order. A column of lists or tensors of one size, such as of images, is read as
            samples of that shape if it is the only one, or if the model has an input of its name.
        keep: names of columns that are copied to the result.
        batch_size: how many rows are computed at a time, for Ray and Arrow; None chooses it by the size of a row.
        to: for Arrow, where the result is written instead of being returned: a path that ends in ".parquet" for one file with the rows in
            order, or a new folder for a file for each one that is read. It appears when all is written.
        overwrite: whether the file at `to` may be replaced.
        backend: for files, with a folder `to`: the processes that read, compute and write the files, or the groups of rows if
            there is one file. See `fit_many`. The paths must be theirs, too.
        method: for estimators, the method that returns outputs, such as "predict_proba".

    Returns:
        What `data` says, or the path `to`.

    Raises:
        TypeError: for other data, or for arguments that don't go with them.
        ValueError: if the data don't match the model, or lack values (null).
        FileExistsError: if something is at `to`.
        FileNotFoundError: if there is nothing at `data`.
        ImportError: if a package is missing.
    """
    if isinstance(model, (str, Path)):
        model = saving.load_model(model)
    _require_trained(model, method)
    if batch_size is not None:
        integer(batch_size, "batch_size", 1)
    places = {"to": to, "overwrite": flag(overwrite, "overwrite") or None, "backend": backend}
    if _is_a(data, "dask.array", "Array"):
        from engine.distributed.dask_collections import of_array

        _require_unused(
            "an array of Dask", columns=columns, keep=keep or None, batch_size=batch_size, **places
        )
        return of_array(model, method, data)
    if _is_a(data, "dask.dataframe", "DataFrame"):
        from engine.distributed.dask_collections import of_frame

        _require_unused("a frame of Dask", batch_size=batch_size, **places)
        return of_frame(model, method, data, Selection(list(data.columns), columns, keep))
    if _is_a(data, "ray.data", "Dataset"):
        from engine.distributed.ray_datasets import of_dataset

        _require_unused("a dataset of Ray", **places)
        return of_dataset(model, method, data, columns=columns, keep=keep, batch_size=batch_size)
    if isinstance(data, (str, Path)) or any(
        _is_a(data, "pyarrow", name) for name in ("Table", "RecordBatch", "Dataset")
    ):
        from engine.distributed.arrow_tables import of_arrow
        from engine.distributed.targets import Target

        target = None if to is None else Target(to, overwrite)
        return of_arrow(
            model,
            method,
            data,
            columns=columns,
            keep=keep,
            batch_size=batch_size,
            target=target,
            backend=backend,
        )
    msg = (
        f"`data` must be an array or frame of Dask, a dataset of Ray, a table, batch or dataset of Arrow, or the path of a Parquet file or "
        f"of a folder of them, got {type(data).__name__}: for data in memory call model.predict"
    )
    raise TypeError(msg)


def _require_trained(model: Any, method: str) -> None:
    """Raises unless a model can compute outputs."""
    if isinstance(model, Model):
        if method != "predict":
            msg = f"`method` is for estimators; a model has 'predict' alone, got {method!r}"
            raise ValueError(msg)
        if not model.built:
            msg = f"{model.name!r} has no weights yet: train it, load them, or give it an Input"
            raise ValueError(msg)
    elif not callable(getattr(model, method, None)):
        msg = f"`model` must be a model, an estimator with the method {method!r}, or the path of a saved model, got {type(model).__name__}"
        raise TypeError(msg)


def _require_unused(data: str, **arguments: Any) -> None:
    """Raises TypeError for an argument that has no meaning for some data."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        msg = f"`{given[0]}` has no meaning for {data}: leave it out"
        raise TypeError(msg)


def _is_a(value: Any, package: str, name: str) -> bool:
    """Whether a value is an instance of a class of a package, which need not be imported for the answer."""
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.")
        for base in type(value).__mro__
    )
