"""`tune`, which searches for hyperparameters, many models at a time."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.checks import choice, integer, nearest, with_noun
from engine._base.random_state import seeded
from engine._base.tracebacks import without_engine_frames
from engine._cluster.workers import Workers
from engine._many.arguments import callbacks_per_model, each
from engine._many.elsewhere import Beginning
from engine._many.fit_many import fit_each, opened_or_none
from engine._many.results import FitManyInterrupt, FitResult, Interrupted
from engine._many.training import validates
from engine._printing.progress import print_message, require_verbose
from engine.callbacks import Callback, EarlyStopping
from engine.models import Model
from engine.tuning.parameters import HyperParameters
from engine.tuning.results import TuneInterrupt, TuneResults
from engine.tuning.samplers import Sampler, sampler_of
from engine.tuning.trials import Trial, TrialFile

Build = Callable[[HyperParameters], Model]

# The arguments of `fit` that the search sets.
_SET_BY_SEARCH = ("self", "x", "y", "epochs", "initial_epoch", "verbose", "callbacks")


@without_engine_frames
def tune(
    build: Build,
    x: Any = None,
    y: Any = None,
    *,
    max_trials: int = 20,
    epochs: int = 10,
    sampler: Any = "random",
    pruner: Any = None,
    factor: int = 3,
    objective: str | None = None,
    direction: str | None = None,
    seed: int | None = None,
    file: str | os.PathLike[str] | None = None,
    keep_models: int = 1,
    callbacks: Any = None,
    rows: Any = None,
    validation_rows: Any = None,
    memory_limit: int | None = None,
    backend: Any = None,
    verbose: int | str = "auto",
    **arguments: Any,
) -> TuneResults:
    """Searches for the hyperparameters with which a model learns best, and trains many models at a time, as `fit_many` does.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> x = np.random.default_rng(0).normal(size=(200, 5))
        >>> y = np.sin(x.sum(axis=1))
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((5,))])
        ...     for number in range(hp.Int("layers", 1, 2)):
        ...         model.add(keras.layers.Dense(hp.Choice(f"units_{number}", [8, 16, 32]), "relu"))
        ...     model.add(keras.layers.Dense(1))
        ...     rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.Adam(rate), "mse")
        ...     return model
        >>> results = keras.tune(build, x, y, max_trials=8, epochs=5, validation_split=0.25, seed=1, verbose=0)
        >>> len(results), sorted(results.best_values)[:2]
        (8, ['layers', 'learning_rate'])
        >>> prediction = results.best_model.predict(x[:3], verbose=0)

    Args:
        build: a function that takes an `engine.tuning.HyperParameters`, asks it for values, such as `hp.Int("units", 16, 64)`, and
            returns a compiled model. A function that was written for KerasTuner runs unchanged. It is called on several threads,
            each call with the seed of its trial.
        x: as for `fit`.
        y: as for `fit`.
        max_trials: the largest number of trials. A grid may have fewer.
        epochs: the number of epochs of a trial that isn't given up.
        sampler: what chooses the values: "random"; "grid", all combinations, of ranges of floats without a step ten values; "tpe",
            "cmaes" or "gp", samplers of Optuna; or an object of `optuna.samplers`.
        pruner: what gives up trials: None; "halving" (Jamieson and Talwalkar, 2016), which trains all trials for few epochs, then
            the best of them, one in `factor`, for `factor` times as many, and so on up to `epochs`; "hyperband" (Li et al., 2018),
            which does so several times and begins with fewer trials and more epochs each time; or an object of
            `optuna.pruners`, which sees the objective after each epoch.
        factor: of "halving" and "hyperband".
        objective: the name in the logs to optimize; default "val_loss", or "loss" without validation.
        direction: "min" or "max"; default what the loss or metric says.
        seed: of all random numbers of the search: the values, and the seed of each model, which `Trial.seed` has. None draws
            one from the random state of the process. The same seed gives the same trials, to the bit, on any number of threads;
            with a sampler or pruner of Optuna on one thread, as it learns from the trials that have ended.
        file: where each training is written as soon as it has ended. With the same file, data and arguments, a search that was
            killed or interrupted goes on, trials that failed are tried again, and a larger `max_trials` adds trials, unless `pruner` is
            "halving" or "hyperband". With Optuna, it learns from the trials in the file. One search at a time may use it.
        keep_models: how many of the best models are kept in memory. Others are trained again when they are asked for.
        callbacks: a list of callbacks, of which each model gets copies.
        rows: the samples on which all models are trained, as for `fit_many`.
        validation_rows: the samples on which they are validated.
        memory_limit: as for `fit_many`.
        backend: where the models are trained, as for `fit_many`. `build` is called in this process, which chooses the values, and again
            on the worker. A pruner of Optuna decides there, by what was known when the training was sent.
        verbose: as for `fit_many`.
        arguments: further arguments of `fit`, such as `batch_size` and `validation_split`.

    Returns:
        The trials, with `best_values`, `best_model`, `to_frame()`, `importances()` and plots.

    Raises:
        ValueError, TypeError: if arguments don't fit; or the first error, if all models have failed before their first epoch.
        ImportError: if Optuna is asked for and not installed. The extra `tune` installs it.
        TuneInterrupt: a KeyboardInterrupt whose `results` keep the trials that had ended, if the user interrupts the search.
    """
    _require_arguments_of_fit(arguments)
    require_verbose(verbose)
    objective = objective or ("val_loss" if validates(arguments, validation_rows) else "loss")
    halves = isinstance(pruner, str)
    if halves:
        choice(pruner, "pruner", ("halving", "hyperband"))
    for name, value in {
        "x": x,
        "y": y,
        "rows": rows,
        "validation_rows": validation_rows,
        **arguments,
    }.items():
        if isinstance(value, each):
            msg = f"`{name}` is the same for all trials of a search, but keras.each has one value for each"
            raise TypeError(msg)
    most, last_epoch = integer(max_trials, "max_trials", 1), integer(epochs, "epochs", 1)
    search = {
        "objective": objective,
        "epochs": last_epoch,
        "sampler": sampler if isinstance(sampler, str) else type(sampler).__name__,
        "pruner": pruner if halves or pruner is None else type(pruner).__name__,
        "factor": integer(factor, "factor", 2),
        "max_trials": most if halves else None,
        "data": None if file is None else _fingerprint([x, y, rows, validation_rows, arguments]),
    }
    more_is_better = _more_is_better(build, objective, direction)
    stored = TrialFile(file, search, None if seed is None else integer(seed, "seed", 0, 2**32 - 1))
    seed = stored.seed
    chooser = sampler_of(sampler, None if halves else pruner, seed, more_is_better, objective)
    with seeded(0):
        most = chooser.limit(partial(_built, build), most)
    run = _Search(
        build,
        chooser,
        stored,
        _Settings(objective, more_is_better, seed, integer(keep_models, "keep_models", 1), verbose),
        {"x": x, "y": y, **arguments},
        callbacks,
        {"rows": rows, "validation_rows": validation_rows, "memory_limit": memory_limit},
    )
    brackets = _brackets(pruner if halves else None, most, last_epoch, factor)
    try:
        with opened_or_none(backend, memory_limit) as workers:
            for bracket in brackets:
                run.bracket(bracket, workers)
    except FitManyInterrupt:
        message = (
            f"interrupted after {len(run.trials)} of {most} trials: `results` of this exception keeps them"
        )
        raise TuneInterrupt(message, run.results()) from None
    return run.results()


class _Settings(NamedTuple):
    """What a search is, beside its data."""

    objective: str
    more_is_better: bool
    seed: int
    keep_models: int
    verbose: int | str


class _Rung(NamedTuple):
    """A stretch of epochs of some trials."""

    trials: int
    """How many of the bracket's trials, the best ones, are trained."""
    epochs: int
    """The epoch until which they are."""


class _Bracket(NamedTuple):
    """Trials that are compared with each other, and the stretches of epochs between the comparisons."""

    numbers: range
    rungs: list[_Rung]


def _brackets(pruner: str | None, trials: int, epochs: int, factor: int) -> list[_Bracket]:
    """Returns what is trained, in order."""
    if pruner is None:
        return [_Bracket(range(trials), [_Rung(trials, epochs)])]
    most = int(math.log(epochs, factor) + 1e-9)
    if pruner == "halving":
        most = min(most, int(math.log(trials, factor) + 1e-9))
        return [_Bracket(range(trials), _rungs(trials, epochs, factor, most))]
    # Li et al. (2018), algorithm 1; the sizes of the brackets are scaled so that they add up to the number of trials.
    sizes = [math.ceil((most + 1) / (halvings + 1) * factor**halvings) for halvings in range(most, -1, -1)]
    ends = [round(sum(sizes[: place + 1]) / sum(sizes) * trials) for place in range(len(sizes))]
    brackets, first = list[_Bracket](), 0
    for halvings, end in zip(range(most, -1, -1), ends, strict=True):
        if end > first:
            brackets.append(_Bracket(range(first, end), _rungs(end - first, epochs, factor, halvings)))
            first = end
    return brackets


def _rungs(trials: int, epochs: int, factor: int, halvings: int) -> list[_Rung]:
    return [
        _Rung(max(1, trials // factor**place), max(1, round(epochs / factor ** (halvings - place))))
        for place in range(halvings + 1)
    ]


class _Search:
    """Runs the trials of a search.

    Args:
        build: makes a model.
        sampler: chooses the values.
        stored: where trainings are written, and those of earlier processes.
        settings: what is optimized.
        arguments: those of `fit`.
        callbacks: of all models, as given.
        options: `rows`, `validation_rows` and `memory_limit` as given.
    """

    def __init__(  # noqa: PLR0917 # one for each part
        self,
        build: Build,
        sampler: Sampler,
        stored: TrialFile,
        settings: _Settings,
        arguments: Mapping[str, Any],
        callbacks: Any,
        options: Mapping[str, Any],
    ) -> None:
        self._build = build
        self._sampler = sampler
        self._stored = stored
        self._settings = settings
        self._arguments = arguments
        self._callbacks = callbacks
        self._options = options
        self.trials = dict(stored.trials)
        self._models: dict[int, Any] = {}
        for trial in self.trials.values():
            if trial.settled:
                sampler.tell(trial)

    def results(self) -> TuneResults:
        """Returns the trials that have ended at least one training."""
        self._forget_models(self._settings.keep_models)
        return self._results()

    def _results(self) -> TuneResults:
        objective, more_is_better = self._settings.objective, self._settings.more_is_better
        return TuneResults(
            list(self.trials.values()), objective, more_is_better, self._models, self._train_again
        )

    def _forget_models(self, count: int, needed: Iterable[int] = ()) -> None:
        """Keeps the models of the best trials, and those that are needed."""
        kept = {trial.number for trial in self._results().ranked[:count]}.union(needed)
        for number in self._models.keys() - kept:
            del self._models[number]

    def bracket(self, bracket: _Bracket, workers: Workers | None) -> None:
        """Trains the trials of a bracket, fewer and fewer of them, on workers or, without any, in this process."""
        numbers: Sequence[int] = bracket.numbers
        for place, rung in enumerate(bracket.rungs):
            if place:
                best = self._best(numbers, place)[: rung.trials]
                self._give_up(set(numbers).difference(best))
                numbers = best
                self._forget_models(self._settings.keep_models, numbers)
            left = [number for number in numbers if self._goes_on(number, place)]
            if len(bracket.rungs) > 1 and self._settings.verbose != 0 and left:
                print_message(f"{with_noun(len(left), 'trial')} until epoch {rung.epochs}")
            if left:
                self._train(left, place, rung.epochs, workers, last=place + 1 == len(bracket.rungs))

    def _give_up(self, numbers: Iterable[int]) -> None:
        """Tells the sampler of trials that are trained no further, since others do better."""
        for number in sorted(numbers):
            trial = self.trials.get(number)
            if trial is not None and not trial.settled:
                self._sampler.tell(trial)

    def _goes_on(self, number: int, stage: int) -> bool:
        """Whether a trial is still to be trained for the time number `stage`."""
        trial = self.trials.get(number)
        return trial is None or (len(trial.stages) <= stage and not trial.ended)

    def _best(self, numbers: Iterable[int], place: int) -> list[int]:
        """Returns the trials that were scored after training number `place` - 1, the best first."""
        sign = -1.0 if self._settings.more_is_better else 1.0
        scored = list[tuple[float, int]]()
        for number in numbers:
            trial = self.trials.get(number)
            if trial is not None and (len(trial.scores) >= place or (trial.ended and trial.scores)):
                scored.append((sign * trial.scores[:place][-1], number))
        return [number for _, number in sorted(scored)]

    def _train(
        self, numbers: Sequence[int], stage: int, until: int, workers: Workers | None, *, last: bool
    ) -> None:
        """Trains trials until an epoch.

        Args:
            numbers: of the trials.
            stage: how many trainings they have had before.
            until: the number of the epoch.
            workers: which train them; None trains them in this process.
            last: whether none of them is trained any further.
        """
        trials = [
            replace(self.trials[number])
            if number in self.trials
            else Trial(number, seed=self._seed_of(number))
            for number in numbers
        ]
        watching = [self._sampler.callbacks(number) for number in numbers]
        given = callbacks_per_model(self._callbacks, len(numbers))

        def keep(result: FitResult) -> FitResult:
            trial = trials[result.number]
            if not isinstance(result.error, Interrupted):
                self._record(trial, result, until, given[result.number])
                for watch in watching[result.number]:
                    watch.catch_up()
                pruned = trial.ended and any(watch.pruned for watch in watching[result.number])
                trial.complete = trial.error is None and not pruned and (last or trial.ended)
                self._stored.add(trial)
                if trial.settled:
                    self._sampler.tell(trial)
                if result.model is not None:
                    self._models[trial.number] = result.model
                if last:
                    self._forget_models(self._settings.keep_models)
            return result._replace(model=None, history=None)

        fit_each(
            [self._models.pop(trial.number, None) or _TrialBeginning(self, trial, stage) for trial in trials],
            {
                **self._arguments,
                "epochs": until,
                "initial_epoch": [trial.stages[-1] if stage else 0 for trial in trials],
                "callbacks": [[*own, *watches] for own, watches in zip(given, watching, strict=True)],
            },
            **self._options,
            seeds=[trial.seed_of(stage) for trial in trials],
            monitor=self._settings.objective,
            verbose=self._settings.verbose,
            numbers=numbers,
            keep=keep,
            workers=workers,
        )

    def _record(self, trial: Trial, result: FitResult, until: int, callbacks: Sequence[Callback]) -> None:
        """Adds a training until an epoch, with these callbacks, to a trial."""
        history = {} if result.history is None else result.history.history
        for name, values in history.items():
            trial.history[name] = [
                *trial.history.get(name, ())[: trial.stages[-1] if trial.stages else 0],
                *map(float, values),
            ]
        trial.stages = [
            *trial.stages,
            result.history.epoch[-1] + 1 if result.epochs and result.history else 0,
        ]
        trial.seconds += result.seconds
        if result.error is not None:
            trial.error = f"{type(result.error).__name__}: {result.error}"
            trial.score, trial.complete = math.nan, False
        else:
            trial.score = trial.history.get(self._settings.objective, [math.nan])[
                _epoch_of_weights(callbacks)
            ]
        if not math.isnan(trial.score):
            trial.scores = [*trial.scores, trial.score]
        trial.ended = trial.stages[-1] < until
        self.trials[trial.number] = trial

    def begin(self, trial: Trial, stage: int) -> Model:
        """Returns the model of a trial, which has been trained `stage` times, and notes the values that it was made with."""
        if stage:
            model: Model = self._train_again(trial)
            return model
        hp = self._sampler.choosing(trial.number)
        try:
            return _built(self._build, hp)
        finally:
            trial.values, trial.space = dict(hp.values), dict(hp.space)

    def rebuilding(self, trial: Trial) -> Callable[[], Model]:
        """Returns a function that makes the model of a trial from values that were chosen, and needs no search for it."""
        return partial(_built, self._build, HyperParameters(trial.values))

    def _train_again(self, trial: Trial) -> Any:
        """Returns the model of a trial of which there are values and numbers of epochs alone, trained to the same bits."""
        model: Any = None
        for stage, until in enumerate(trial.stages):
            results = fit_each(
                [model or self.rebuilding(trial)],
                {
                    **self._arguments,
                    "epochs": until,
                    "initial_epoch": trial.stages[stage - 1] if stage else 0,
                    "callbacks": self._callbacks,
                },
                **self._options,
                seeds=[trial.seed_of(stage)],
            )
            model = results[0].model
        return model

    def _seed_of(self, number: int) -> int:
        return int(np.random.default_rng([self._settings.seed, number]).integers(2**32))


def _epoch_of_weights(callbacks: Iterable[Callback]) -> int:
    """Returns the epoch whose weights a model has after its training: -1, the last one, unless a callback has restored others."""
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.best_weights is not None:
            return callback.best_epoch
    return -1


class _TrialBeginning(Beginning):
    """Makes the model of a trial. Its values are chosen in this process, which knows the trials that have ended.

    Args:
        search: of which the trial is one.
        trial: the trial.
        stage: how many times it has been trained.
    """

    def __init__(self, search: _Search, trial: Trial, stage: int) -> None:
        self._search, self._trial, self._stage = search, trial, stage

    def __call__(self) -> Model:
        return self._search.begin(self._trial, self._stage)

    def elsewhere(self) -> Callable[[], Model] | None:
        """Returns a function that makes the model on a worker; None for one that has been trained before."""
        return None if self._stage else self._search.rebuilding(self._trial)


def _built(build: Callable[[HyperParameters], Any], hp: HyperParameters) -> Model:
    """Returns what the user's function has made, which must be a compiled model."""
    model = build(hp)
    if not isinstance(model, Model):
        msg = f"`build` must return a model, got {model!r}"
        raise TypeError(msg)
    if not model.compiled:
        msg = f"`build` must return a compiled model: call model.compile(...) in {getattr(build, '__name__', build)!r}"
        raise ValueError(msg)
    return model


def _more_is_better(build: Build, objective: str, direction: str | None) -> bool:
    """Returns whether larger values of the objective are better."""
    if direction is not None:
        return bool(choice(direction, "direction", ("min", "max")) == "max")
    with seeded(0):
        found = _built(build, HyperParameters())._direction_of(objective.removeprefix("val_"))
    if found is None:
        msg = f"it is not known whether more or less of `objective` {objective!r} is better: pass direction='min' or 'max'"
        raise ValueError(msg)
    return found == "up"


def _fingerprint(data: Any) -> str:
    """Returns a text that differs for other data: checksums of arrays, and the text of all else."""
    parts = []
    for leaf in tree.flatten(data):
        if hasattr(leaf, "__array__"):
            array = np.ascontiguousarray(leaf)
            checksum = zlib.crc32(
                repr(array.tolist()).encode() if array.dtype.hasobject else array.view(np.uint8).data
            )
            parts.append(f"{array.dtype}{list(array.shape)}:{checksum:08x}")
        else:
            parts.append(
                repr(leaf) if isinstance(leaf, (str, int, float, type(None))) else type(leaf).__name__
            )
    return " ".join(parts)


def _require_arguments_of_fit(arguments: Mapping[str, Any]) -> None:
    known = [name for name in signature(Model.fit).parameters if name not in _SET_BY_SEARCH]
    for name in arguments:
        if name not in known:
            msg = f"tune() has no argument {name!r}{nearest(name, known)}"
            raise TypeError(msg)
