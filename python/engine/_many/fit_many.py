"""`fit_many`, which trains many models at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from engine._base.checks import integer, listing, with_noun
from engine._base.random_state import next_seed
from engine._base.tracebacks import without_engine_frames
from engine._cluster.opening import opened
from engine._cluster.workers import Workers
from engine._many.arguments import (
    callbacks_per_model,
    data_per_model,
    each,
    one_per_model,
    rows_per_model,
)
from engine._many.elsewhere import PoolElsewhere
from engine._many.owners import Owners
from engine._many.pool import Pool
from engine._many.results import FitManyInterrupt, FitResult, FitResults
from engine._many.training import Job, Training
from engine._printing.progress import Progress
from engine.models import Model


@without_engine_frames
def fit_many(  # noqa: PLR0917 # the signature of `fit`
    models: Iterable[Model | Callable[[], Model]],
    x: Any = None,
    y: Any = None,
    batch_size: Any = None,
    epochs: Any = 1,
    verbose: int | str = "auto",
    callbacks: Any = None,
    validation_split: Any = 0.0,
    validation_data: Any = None,
    shuffle: Any = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    initial_epoch: Any = 0,
    steps_per_epoch: Any = None,
    validation_steps: Any = None,
    validation_batch_size: Any = None,
    validation_freq: Any = 1,
    *,
    target: Any = None,
    time_budget: Any = None,
    stratify: Any = False,
    rows: Any = None,
    validation_rows: Any = None,
    seeds: Iterable[int] | None = None,
    monitor: str | None = None,
    memory_limit: int | None = None,
    backend: Any = None,
) -> FitResults:
    """Trains many models at once, each to the same bits as if it were trained alone.

    While there are more models than threads (`keras.config.set_threads`), each is trained on one thread; the last ones share
    all threads. So small models, for which several threads don't pay, are trained on all cores.

    The arguments of `fit` have the same names and meanings. Each is one value for all models or, in `keras.each([...])`, one
    value for each. For an argument of which `fit` takes no list, such as `epochs`, a plain list does the same.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> y = x.sum(axis=1) > 0
        >>> def with_units(units):
        ...     def build():
        ...         model = keras.Sequential(
        ...             [
        ...                 keras.Input((4,)),
        ...                 keras.layers.Dense(units, "relu"),
        ...                 keras.layers.Dense(1, "sigmoid"),
        ...             ]
        ...         )
        ...         model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        ...         return model
        ...     return build
        >>> results = keras.fit_many(
        ...     [with_units(2), with_units(8), with_units(32)], x, y, epochs=[30, 20, 10], seeds=[1, 2, 3],
        ...     validation_split=0.2, monitor="val_accuracy", verbose=0,
        ... )
        >>> [len(history["loss"]) for history in results.histories]
        [30, 20, 10]
        >>> best = results.best.model

    Args:
        models: compiled models, or functions without arguments that return one. A function is called when its turn has come,
            with the model's seed, so that only the models in training fill the memory of optimizers.
        x: as for `fit`. Data for all models are held once; a source of batches can't be shared.
        y: as for `fit`, like all arguments without a text here.
        batch_size: see `fit`.
        epochs: see `fit`.
        verbose: 0 prints nothing, 1 one bar for all models: how many have ended, the best value of `monitor`, how many have
            failed, and the time left; 2 only its last line. "auto" is 1 on a terminal, otherwise 2.
        callbacks: a list of callbacks, of which each model gets copies, or a list with one list for each model.
        validation_split: see `fit`.
        validation_data: see `fit`.
        shuffle: see `fit`.
        class_weight: see `fit`.
        sample_weight: see `fit`.
        initial_epoch: see `fit`.
        steps_per_epoch: see `fit`.
        validation_steps: see `fit`.
        validation_batch_size: see `fit`.
        validation_freq: see `fit`.
        target: see `fit`.
        time_budget: see `fit`; the seconds of each model.
        stratify: see `fit`.
        rows: the samples on which a model is trained, such as those of a fold: an array of indices or a mask for all models,
            or a list of them, one for each. None takes all. They select from `x`, `y` and `sample_weight`.
        validation_rows: the samples of `x`, `y` and `sample_weight` on which a model is validated, in the same form.
        seeds: the seed of each model's random numbers, in [0, 2**32). `fit_many([model], ..., seeds=[seed])` is
            `set_random_seed(seed)` and `model.fit(...)` to the bit, or, for a function, `set_random_seed(seed)`, the call of
            the function, and `fit`. None draws them from the random state of the process; each result has its seed. Python's
            `random` and NumPy's global generator are not seeded, as all threads share them.
        monitor: the name in the logs by which models are compared; default "val_loss", or "loss" without validation.
        memory_limit: bytes that the weights, optimizers and selected samples of the models in training may fill together;
            where they would not, fewer models train at a time. None is half of the machine's memory. With `backend` it must be
            None, as workers have limits of their own.
        backend: where the models are trained, to the same bits. None takes threads of this process; "joblib" a process for each
            thread of the engine (package joblib); "dask" the workers of this process' Dask client, or of a new cluster on this
            machine; a `distributed.Client` or the address of its scheduler, such as "tcp://host:8786", those of that cluster;
            "ray" the CPUs of Ray. Models, callbacks and data are pickled. Large arrays are sent to each worker once; those of
            `numpy.load(path, mmap_mode="r")` not at all, if workers find the file under the same path. The models and the
            callbacks of each model come back, so that they are as after a training here. What a worker that ends had begun is
            trained on another one.

    Returns:
        The results, one for each model in the order given, each with its model, `History`, seed, seconds, and the error
        that has ended it, if one has. A model fails alone: an exception, such as that of a callback, or a loss that is NaN
        or infinite, ends it, and the others go on. A warning says how many failed.

    Raises:
        ValueError, TypeError: if arguments have the wrong form; or the first error, if all models have failed before their
            first epoch.
        RuntimeError: if workers have another version of Python, NumPy or the engine.
        ImportError: if a package of `backend` is missing.
        FitManyInterrupt: a KeyboardInterrupt whose `results` keep what is done, if the user interrupts the training.
    """
    arguments = {
        "x": x,
        "y": y,
        "batch_size": batch_size,
        "epochs": epochs,
        "callbacks": callbacks,
        "validation_split": validation_split,
        "validation_data": validation_data,
        "shuffle": shuffle,
        "class_weight": class_weight,
        "sample_weight": sample_weight,
        "initial_epoch": initial_epoch,
        "steps_per_epoch": steps_per_epoch,
        "validation_steps": validation_steps,
        "validation_batch_size": validation_batch_size,
        "validation_freq": validation_freq,
        "target": target,
        "time_budget": time_budget,
        "stratify": stratify,
    }
    if isinstance(models, Model) or not isinstance(models, Iterable):
        msg = f"`models` must be a list of models, or of functions that return one, got {models!r}"
        raise TypeError(msg)
    with opened_or_none(backend, memory_limit) as workers:
        return fit_each(
            list(models),
            arguments,
            rows=rows,
            validation_rows=validation_rows,
            seeds=seeds,
            monitor=monitor,
            memory_limit=memory_limit,
            verbose=verbose,
            workers=workers,
        )


def opened_or_none(backend: Any, memory_limit: int | None) -> AbstractContextManager[Workers | None]:
    """Returns a context manager: the workers of a backend, or None for this process.

    Raises:
        ValueError: if there is no such backend, or a limit of memory, which is one of this process.
    """
    if backend is None:
        return nullcontext()
    if memory_limit is not None:
        raise ValueError(
            "`memory_limit` is that of the threads of this process, but `backend` trains in others: pass memory_limit=None, and give "
            "the workers their limits"
        )
    return opened(backend)


def fit_each(
    models: Sequence[Model | Callable[[], Model]],
    arguments: Mapping[str, Any],
    *,
    rows: Any = None,
    validation_rows: Any = None,
    seeds: Iterable[int] | None = None,
    monitor: str | None = None,
    memory_limit: int | None = None,
    verbose: int | str = 0,
    numbers: Sequence[int] | None = None,
    keep: Callable[[FitResult], FitResult] = lambda result: result,
    workers: Workers | None = None,
) -> FitResults:
    """Trains models as `fit_many` does, whose arguments it has, those of `fit` by name.

    Args:
        models: see `fit_many`.
        arguments: those of `fit`.
        rows: see `fit_many`.
        validation_rows: see `fit_many`.
        seeds: see `fit_many`.
        monitor: see `fit_many`.
        memory_limit: see `fit_many`.
        verbose: see `fit_many`.
        numbers: of the models in the display; default their places.
        keep: called with each result as soon as it is there; returns what is kept of it.
        workers: which train the models; None trains them on threads of this process.
    """
    count = len(models)
    if not models:
        raise ValueError("`models` must have one model at least")
    owners = _claimed(models)
    of_fit = {name: _of_each(name, value, count) for name, value in arguments.items()}
    data = [
        [of_fit[name][number] for name in ("x", "y", "sample_weight") if name in of_fit]
        for number in range(count)
    ]
    selected = rows_per_model(rows, "rows", data)
    held_out = rows_per_model(validation_rows, "validation_rows", data)
    if validation_rows is not None and arguments.get("validation_data") is not None:
        raise ValueError("`validation_rows` and `validation_data` are both given: pass one of them")
    if seeds is None:
        seeds = [next_seed() >> 31 for _ in models]
    seeds = [integer(seed, "seeds", 0, 2**32 - 1) for seed in one_per_model(each(seeds), "seeds", count)]
    limit = None if memory_limit is None else integer(memory_limit, "memory_limit", 1)
    trainings = [
        Training(
            Job(
                number,
                models[number],
                seeds[number],
                {name: values[number] for name, values in of_fit.items()},
                rows=selected[number],
                validation_rows=held_out[number],
            ),
            owners,
        )
        for number in range(count)
    ]
    validates = any(training.validates for training in trainings)
    monitor = monitor or ("val_loss" if validates else "loss")
    results = FitResults([training.not_begun() for training in trainings], monitor, numbers)
    pool = Pool(trainings, limit) if workers is None else PoolElsewhere(trainings, workers)
    _train(pool, results, verbose, keep)
    return results


def _of_each(name: str, value: Any, count: int) -> list[Any]:
    """Returns the value of an argument of `fit` for each model."""
    if name == "callbacks":
        return callbacks_per_model(value, count)
    if name in {"x", "y", "sample_weight", "validation_data"}:
        return data_per_model(value, name, count)
    return one_per_model(value, name, count, lists=name not in _LISTS_OF_FIT)


# The arguments of which `fit` itself takes a list for one model.
_LISTS_OF_FIT = ("class_weight", "validation_freq")


def _claimed(models: Sequence[Any]) -> Owners:
    """Returns the owners of layers; raises an error for what is neither a compiled model nor a function."""
    owners = Owners()
    for number, model in enumerate(models):
        if isinstance(model, Model):
            model._require_compiled()
            owners.claim(model, number)
        elif not callable(model) or isinstance(model, type):
            msg = f"`models` must hold models, or functions that return one, got {model!r}"
            raise TypeError(msg)
    return owners


def _train(
    pool: Pool[FitResult] | PoolElsewhere,
    results: FitResults,
    verbose: int | str,
    keep: Callable[[FitResult], FitResult],
) -> None:
    """Runs the trainings of a pool, shows their progress, and sets their results."""
    ended = 0

    def end(result: FitResult) -> None:
        nonlocal ended
        ended += 1
        results._set(result, keep(result))
        progress.update(ended, results._summary())

    with Progress(verbose, len(results), unit="model") as progress:
        progress.restart()
        try:
            pool.run(end)
        except KeyboardInterrupt:
            message = f"interrupted after {ended} of {with_noun(len(results), 'model')}: `results` of this exception keeps them"
            raise FitManyInterrupt(message, results) from None
        progress.finish(results._summary(), ended)
    _warn_of_failures(results)
    if results._names and results.monitor not in results._names:
        warnings.warn(
            f"the logs have no {results.monitor!r}, by which models are compared: they have {listing(results._names)}",
            stacklevel=4,
        )


def _warn_of_failures(results: FitResults) -> None:
    """Warns of models that have failed, or raises the first error if none has run an epoch."""
    failed = results.failed
    if not failed:
        return
    first = failed[0]
    if len(failed) == len(results) and not results._names:
        raise cast("BaseException", first.error)
    warnings.warn(
        f"{len(failed)} of {with_noun(len(results), 'model')} failed; the first is model {first.number}: "
        f"{type(first.error).__name__}: {first.error}",
        stacklevel=4,
    )
