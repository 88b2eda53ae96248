"""What chooses the values of hyperparameters: at random, on a grid, or by a sampler of Optuna."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from engine._base.extras import extra
from engine.callbacks import Callback
from engine.callbacks.base import Logs
from engine.tuning.parameters import HyperParameters, Parameter, Value
from engine.tuning.trials import Trial


class Sampler(ABC):
    """Chooses the values of hyperparameters."""

    def limit(self, build: Callable[[HyperParameters], Any], most: int) -> int:
        """Returns how many trials there are, at most `most`."""
        del build
        return most

    @abstractmethod
    def choosing(self, number: int) -> HyperParameters:
        """Returns the hyperparameters of a trial, whose values are chosen when they are asked for."""

    def callbacks(self, number: int) -> list[Reporting]:
        """Returns callbacks that watch the trial."""
        del number
        return []

    def tell(self, trial: Trial) -> None:  # noqa: B027 # most learn nothing
        """Learns what has become of a trial, which is trained no further."""


class RandomSampler(Sampler):
    """Draws each value at random, from the seed, the number of the trial and the hyperparameter's name alone.

    Args:
        seed: of the search.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def choosing(self, number: int) -> HyperParameters:
        """Returns the hyperparameters of a trial."""
        return HyperParameters(choose=lambda parameter: self._drawn(number, parameter))

    def _drawn(self, number: int, parameter: Parameter) -> Value:
        key = zlib.crc32(parameter.name.encode())
        return parameter.at(np.random.default_rng([self._seed, number, key]).random())


class GridSampler(Sampler):
    """Takes all combinations of values, of ranges of floats ten values each, in the order in which `build` asks for them.

    A hyperparameter that depends on another counts only where it is used.
    """

    def __init__(self) -> None:
        self._combinations = list[dict[str, Value]]()

    def limit(self, build: Callable[[HyperParameters], Any], most: int) -> int:
        """Returns the number of combinations, at most `most`. `build` is called for each, to find out what it asks for."""
        combination: dict[str, Value] | None = {}
        while combination is not None and len(self._combinations) < most:
            hp = HyperParameters(combination, lambda parameter: parameter.grid[0])
            with suppress(Exception):  # the trial itself says what is wrong
                build(hp)
            self._combinations.append(dict(hp.values))
            combination = _after(hp)
        return len(self._combinations)

    def choosing(self, number: int) -> HyperParameters:
        """Returns the hyperparameters of a trial."""
        return HyperParameters(self._combinations[number])


def _after(hp: HyperParameters) -> dict[str, Value] | None:
    """Returns the values, of the first hyperparameters, with which the next combination begins; None after the last one."""
    asked = list(hp.space.values())
    for place in range(len(asked) - 1, -1, -1):
        parameter = asked[place]
        left = parameter.grid[parameter.grid.index(hp.values[parameter.name]) + 1 :]
        if left:
            return {
                **{before.name: hp.values[before.name] for before in asked[:place]},
                parameter.name: left[0],
            }
    return None


class OptunaSampler(Sampler):
    """Asks a study of Optuna, whose pruner may end trials early.

    Args:
        sampler: a sampler of Optuna; None is its default.
        pruner: a pruner of Optuna; None ends no trial.
        more_is_better: whether larger scores are better.
        objective: the name in the logs that pruners see.
    """

    def __init__(self, sampler: Any, pruner: Any, more_is_better: bool, objective: str) -> None:
        self._optuna = extra("optuna", "tune", "a sampler or pruner of Optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._study = self._optuna.create_study(
            direction="maximize" if more_is_better else "minimize",
            sampler=sampler,
            pruner=self._optuna.pruners.NopPruner() if pruner is None else pruner,
        )
        self._objective = objective
        self._prunes = pruner is not None
        self._asked: dict[int, Any] = {}

    def choosing(self, number: int) -> HyperParameters:
        """Returns the hyperparameters of a trial."""
        return HyperParameters(choose=lambda parameter: self._suggested(self._trial(number), parameter))

    def callbacks(self, number: int) -> list[Reporting]:
        """Returns what reports the epochs to the pruner, if there is one."""
        if not self._prunes:
            return []
        return [Reporting(_TrialOfStudy(lambda: self._trial(number)), self._objective)]

    def tell(self, trial: Trial) -> None:
        """Tells the study the score, that the trial was given up with this score, or that it has failed."""
        trials = self._optuna.trial
        values: dict[str, Any] = {}
        if trial.score != trial.score or trial.error is not None:  # NaN: there is no score
            state = trials.TrialState.FAIL
        elif trial.complete:
            state, values = trials.TrialState.COMPLETE, {"value": trial.score}
        else:
            state = trials.TrialState.PRUNED
            values = {"intermediate_values": {trial.epochs - 1: trial.score}}
        asked = self._asked.get(trial.number)
        if asked is None:  # of an earlier process
            distributions = {name: self._distribution(parameter) for name, parameter in trial.space.items()}
            self._study.add_trial(
                trials.create_trial(
                    state=state, params=dict(trial.values), distributions=distributions, **values
                )
            )
            return
        if state == trials.TrialState.PRUNED and not self._prunes:  # or it was reported after each epoch
            asked.report(trial.score, trial.epochs - 1)
        self._study.tell(asked, values.get("value"), state=state)

    def _trial(self, number: int) -> Any:
        if number not in self._asked:
            self._asked[number] = self._study.ask()
        return self._asked[number]

    def _distribution(self, parameter: Parameter) -> Any:
        """Returns the values of a hyperparameter as Optuna describes them."""
        distributions = self._optuna.distributions
        if _is_listed(parameter):
            return distributions.CategoricalDistribution(parameter.values or parameter.grid)
        of = distributions.IntDistribution if parameter.kind == "Int" else distributions.FloatDistribution
        return of(*_ends(parameter), **_spacing(parameter))

    def _suggested(self, trial: Any, parameter: Parameter) -> Value:
        value: Value
        if _is_listed(parameter):
            value = trial.suggest_categorical(parameter.name, parameter.values or parameter.grid)
        else:
            suggest = trial.suggest_int if parameter.kind == "Int" else trial.suggest_float
            value = suggest(parameter.name, *_ends(parameter), **_spacing(parameter))
        return value


def _is_listed(parameter: Parameter) -> bool:
    """Whether Optuna has no range like that of a hyperparameter."""
    has_range = parameter.kind in {"Int", "Float"} and len(parameter.values) != 1
    return (
        not has_range
        or parameter.sampling == "reverse_log"
        or (parameter.sampling == "log" and bool(parameter.values))
    )


def _ends(parameter: Parameter) -> tuple[Any, Any]:
    if parameter.values:
        return parameter.values[0], parameter.values[-1]
    return (
        (int(parameter.low), int(parameter.high))
        if parameter.kind == "Int"
        else (parameter.low, parameter.high)
    )


def _spacing(parameter: Parameter) -> dict[str, Any]:
    if parameter.values:
        first, second, *_ = parameter.values
        return {"step": second - first}  # type: ignore[operator] # numbers
    return {"log": parameter.sampling == "log"}


class Reporting(Callback):
    """Reports each epoch to a trial of Optuna, and ends a training that the pruner gives up.

    On a worker it reports to a copy of the trial, whose study knows what was known when the training was sent there. `catch_up`
    then reports the same to the study of this process.

    Args:
        trial: the trial.
        objective: the name in the logs that is reported.

    Attributes:
        pruned: whether the pruner has given the trial up.
    """

    def __init__(self, trial: _TrialOfStudy, objective: str) -> None:
        self._trial, self._objective = trial, objective
        self._reports: dict[int, float] = {}
        self.pruned = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Reports the epoch."""
        value = (logs or {}).get(self._objective)
        if value is None:
            return
        self._reports[epoch] = float(value)
        if self._trial.is_given_up(epoch, float(value)):
            self.pruned = True
            self.model.stop_training = True

    def catch_up(self) -> None:
        """Reports to the study of this process the epochs that were reported on a worker."""
        for epoch, value in self._reports.items():
            if epoch not in self._trial.reported:
                self._trial.is_given_up(epoch, value)


class _TrialOfStudy:
    """A trial of a study of Optuna. Its copy in another process has a copy of the study, and stays there.

    Args:
        find: returns the trial.

    Attributes:
        reported: the epochs that were reported in this process.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self.reported = set[int]()

    def is_given_up(self, epoch: int, value: float) -> bool:
        """Reports the objective after an epoch, and returns whether the pruner gives the trial up."""
        trial = self._find()
        trial.report(value, epoch)
        self.reported.add(epoch)
        return bool(trial.should_prune())

    def __reduce__(self) -> tuple[Any, ...]:
        return _TrialOfCopy, (self._find(),)


class _TrialOfCopy(_TrialOfStudy):
    """A trial of a copy of a study.

    Args:
        trial: the trial.
    """

    def __init__(self, trial: Any) -> None:
        super().__init__(lambda: trial)

    def __reduce__(self) -> tuple[Any, ...]:
        msg = "a copy of a study stays in its process"
        raise TypeError(msg)


def sampler_of(sampler: Any, pruner: Any, seed: int, more_is_better: bool, objective: str) -> Sampler:
    """Returns the sampler that the arguments of `tune` name."""
    if pruner is None and sampler == "random":
        return RandomSampler(seed)
    if pruner is None and sampler == "grid":
        return GridSampler()
    if isinstance(sampler, str) and sampler not in _OF_OPTUNA:
        msg = f"`sampler` must be 'random', 'grid', {_listed(_OF_OPTUNA)}, or a sampler of Optuna, got {sampler!r}"
        raise ValueError(msg)
    for name, value, method in (("sampler", sampler, "sample_relative"), ("pruner", pruner, "prune")):
        if value is not None and not isinstance(value, str) and not hasattr(value, method):
            msg = f"`{name}` must be a name or an object of optuna.{name}s, got {value!r}"
            raise TypeError(msg)
    if isinstance(sampler, str):
        samplers = extra("optuna", "tune", f"sampler={sampler!r}").samplers
        sampler = getattr(samplers, _OF_OPTUNA[sampler])(seed=seed)
    return OptunaSampler(sampler, pruner, more_is_better, objective)


_OF_OPTUNA = {"random": "RandomSampler", "tpe": "TPESampler", "cmaes": "CmaEsSampler", "gp": "GPSampler"}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names if name != "random")
