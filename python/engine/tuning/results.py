"""What a search has found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from engine._base.checks import integer, with_noun
from engine.tuning.parameters import HyperParameters, Value
from engine.tuning.trials import Trial

# The parts into which the values of a numeric hyperparameter are cut for its importance.
_PARTS = 4


class TuneResults(Sequence[Trial]):
    """The trials of a search, in the order of their numbers.

    Args:
        trials: the trials.
        objective: the name in the logs that was optimized.
        more_is_better: whether larger values of it are better.
        models: the models that are kept, by the number of the trial.
        train: trains the model of a trial again.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: str,
        more_is_better: bool,
        models: dict[int, Any],
        train: Callable[[Trial], Any],
    ) -> None:
        self._trials = sorted(trials, key=lambda trial: trial.number)
        self._models = models
        self._train = train
        self.objective = objective
        self.more_is_better = more_is_better

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | Sequence[Trial]:
        return self._trials[index]

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a score, the best first; those that were given up come after the others, by their last epoch."""
        sign = -1.0 if self.more_is_better else 1.0

        def place(trial: Trial) -> tuple[int, float, int]:
            return (0 if trial.complete else -trial.stages[-1], sign * trial.score, trial.number)

        scored = [trial for trial in self if not math.isnan(trial.score)]
        return [
            *sorted((trial for trial in scored if trial.complete), key=place),
            *sorted((trial for trial in scored if not trial.complete), key=place),
        ]

    @property
    def best(self) -> Trial:
        """The best trial.

        Raises:
            ValueError: if none has a score.
        """
        if not self.ranked:
            errors = sorted({trial.error for trial in self if trial.error is not None})
            msg = f"none of {with_noun(len(self), 'trial')} has a score of {self.objective!r}" + (
                f"; errors: {'; '.join(errors[:3])}" if errors else ""
            )
            raise ValueError(msg)
        return self.ranked[0]

    @property
    def best_values(self) -> dict[str, Value]:
        """The hyperparameters of the best trial."""
        return dict(self.best.values)

    @property
    def best_model(self) -> Any:
        """The trained model of the best trial."""
        return self.model(self.best)

    def best_models(self, count: int = 1) -> list[Any]:
        """Returns trained models, the best first.

        Args:
            count: of how many trials.
        """
        return [self.model(trial) for trial in self.ranked[: integer(count, "count", 1)]]

    def model(self, trial: Trial | int) -> Any:
        """Returns the trained model of a trial. One that was not kept is trained again, to the same bits.

        Args:
            trial: the trial, or its number.
        """
        if not isinstance(trial, Trial):
            trial = next(known for known in self if known.number == integer(trial, "trial", 0))
        if trial.number not in self._models:
            self._models[trial.number] = self._train(trial)
        return self._models[trial.number]

    def hyperparameters(self, trial: Trial | None = None) -> HyperParameters:
        """Returns the hyperparameters of a trial, for `build`.

        Args:
            trial: the trial; default the best.
        """
        return HyperParameters((self.best if trial is None else trial).values)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with a row for each trial: hyperparameters, score, epochs, complete, seconds, seed, error.

        Raises:
            ImportError: if pandas is not installed. The extra `pandas` installs it.
        """
        from engine._base.extras import extra

        pandas = extra("pandas", "pandas", "TuneResults.to_frame()")
        rows = [
            {
                **trial.values,
                self.objective: trial.score,
                "epochs": trial.epochs,
                "complete": trial.complete,
                "seconds": trial.seconds,
                "seed": trial.seed,
                "error": trial.error,
            }
            for trial in self
        ]
        return pandas.DataFrame(rows, index=pandas.Index([trial.number for trial in self], name="trial"))

    def importances(self) -> dict[str, float]:
        """Returns the importance of each hyperparameter, in [0, 1], the most important first.

        It is the share of the variance of the ranks of the scores that lies between the values of the hyperparameter, without
        the share that chance explains: epsilon squared of a one-way analysis of variance (Kelley, 1935). Numbers are cut into
        quarters by their quantiles. Trials without a score don't count, nor for a hyperparameter those that didn't ask for it.
        Hyperparameters whose effects depend on each other share variance, so that the sum need not be 1.
        """
        found = dict[str, float]()
        names = dict.fromkeys(name for trial in self for name in trial.values)
        for name in names:
            trials = [trial for trial in self if name in trial.values and not math.isnan(trial.score)]
            found[name] = _share_between(
                _groups([trial.values[name] for trial in trials]), [trial.score for trial in trials]
            )
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def plot_importances(self, *, ax: Any = None) -> Any:
        """Draws the importances with `engine.plots.importances`.

        Args:
            ax: matplotlib Axes to draw into; default a new pyplot figure.
        """
        from engine.plots import importances

        return importances(self, ax=ax)

    def plot_parallel(self, *, ax: Any = None) -> Any:
        """Draws a line for each trial through its hyperparameters with `engine.plots.parallel_coordinates`.

        Args:
            ax: matplotlib Axes to draw into; default a new pyplot figure.
        """
        from engine.plots import parallel_coordinates

        return parallel_coordinates(self, ax=ax)

    def plot_curves(self, *, ax: Any = None) -> Any:
        """Draws the objective of each trial over the epochs with `engine.plots.search_curves`.

        Args:
            ax: matplotlib Axes to draw into; default a new pyplot figure.
        """
        from engine.plots import search_curves

        return search_curves(self, ax=ax)

    def __repr__(self) -> str:
        best = (
            f", best {self.objective}: {self.best.score:.4g} (trial {self.best.number})"
            if self.ranked
            else ""
        )
        return f"<TuneResults of {with_noun(len(self), 'trial')}{best}>"


class TuneInterrupt(KeyboardInterrupt):
    """Raised by `tune` when the user interrupts it.

    Args:
        message: the text.
        results: those of the trainings that had ended.
    """

    def __init__(self, message: str, results: TuneResults) -> None:
        super().__init__(message, results)
        self.results = results

    def __str__(self) -> str:
        return str(self.args[0])


def _groups(values: Sequence[Value]) -> list[Any]:
    """Returns a group for each value: itself, or for numbers of many values the quarter in which it lies."""
    if len(set(values)) <= _PARTS or any(isinstance(value, str) for value in values):
        return list(values)
    numbers = np.array(values, float)
    edges = np.quantile(numbers, np.arange(1, _PARTS) / _PARTS)
    return list(np.searchsorted(edges, numbers, side="right"))


def _share_between(groups: Sequence[Any], scores: Sequence[float]) -> float:
    """Returns the share of the variance of the scores' ranks that groups explain beyond chance; 0 if there are too few scores."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    total = ((ranks - ranks.mean()) ** 2).sum() if len(ranks) else 0.0
    inside = [ranks[[each == group for each in groups]] for group in dict.fromkeys(groups)]
    within = sum(((part - part.mean()) ** 2).sum() for part in inside)
    freedom = len(ranks) - len(inside)
    if total == 0 or freedom <= 0:
        return 0.0
    return float(max(0.0, 1 - (within / freedom) / (total / (len(ranks) - 1))))
