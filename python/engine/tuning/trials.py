"""Trials, and the file that keeps them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine._base.random_state import next_seed
from engine.tuning.parameters import Parameter, Value


@dataclass
class Trial:
    """One choice of hyperparameters, and what has become of the model.

    Args:
        number: its number, from 0.
        values: the value of each hyperparameter that `build` asked for.
        seed: the seed of its first training.
        stages: how many epochs the model had been trained for after each training; a trial that is not given up is trained on.
        history: dict from each name in the logs to a list with one float per epoch.
        scores: the `score` after each training.
        ended: whether a callback ended a training before its last epoch; then the trial is not trained any further.
        score: the objective after the epoch whose weights the model has: the last one, or the best one if EarlyStopping has restored
            its weights; NaN if there is none.
        seconds: the time that its trainings took.
        complete: whether it was trained to its end, and not given up before. One that a callback has ended counts as complete.
        error: what failed; None if nothing did.
        space: the hyperparameters, and the values that they may have, by name.
    """

    number: int
    values: dict[str, Value] = field(default_factory=dict)
    seed: int = 0
    stages: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    ended: bool = False
    score: float = math.nan
    seconds: float = 0.0
    complete: bool = False
    error: str | None = None
    space: dict[str, Parameter] = field(default_factory=dict, repr=False)

    def seed_of(self, stage: int) -> int:
        """Returns the seed of training number `stage` of the model."""
        return (self.seed + stage) % 2**32

    @property
    def epochs(self) -> int:
        """How many epochs the model was trained for."""
        return max((len(values) for values in self.history.values()), default=0)

    @property
    def settled(self) -> bool:
        """Whether it is trained no further, however well the others do."""
        return self.complete or self.ended or self.error is not None


class TrialFile:
    """A file with a line of JSON for what a search is, and one for each training that has ended.

    A search that is begun again with the same file goes on after the trainings in it. A line that was not written to its end,
    since the process was killed, is left out.

    Args:
        path: of the file; None keeps nothing.
        search: what must be the same for a search that goes on.
        seed: of the search; None takes that in the file, or draws one.

    Attributes:
        seed: that of the search.
        trials: the trials in the file that did not fail, by number. The others are tried again.

    Raises:
        ValueError: if the file is of another search, or no file of a search.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, search: Mapping[str, Any], seed: int | None = None
    ) -> None:
        self._path = None if path is None else Path(path)
        saved: dict[str, Any] = {}
        self.trials: dict[int, Trial] = {}
        if self._path is not None and self._path.exists() and self._path.stat().st_size:
            saved, self.trials = _read(self._path)
            if self.trials:
                _require_same(self._path, saved, search if seed is None else {**search, "seed": seed})
            else:  # nothing of it can be gone on with, so that the file begins anew below
                saved = {}
        self.seed: int = saved["seed"] if saved else next_seed() >> 31 if seed is None else seed
        if not saved:
            self._append({"search": {**search, "seed": self.seed}})

    def add(self, trial: Trial) -> None:
        """Writes a training of a trial that has ended."""
        self._append({"trial": asdict(trial)})

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path) -> tuple[dict[str, Any], dict[int, Trial]]:
    """Returns what the search of a file is, and its trials. An unfinished last line is cut off the file."""
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        entries = [json.loads(line) for line in whole.splitlines()]
        first = max(
            place for place, entry in enumerate(entries) if "search" in entry
        )  # the last search that began
        search: dict[str, Any] = {**entries[first]["search"]}
        trials = {
            trial.number: trial for trial in (_trial_of(entry["trial"]) for entry in entries[first + 1 :])
        }
        trials = {number: trial for number, trial in trials.items() if trial.error is None}
        search["seed"] = int(search["seed"])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        msg = f"{path} is no file of a search ({type(error).__name__}: {error}): pass another `file`"
        raise ValueError(msg) from error
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole.encode()))
    return search, trials


def _trial_of(fields: Mapping[str, Any]) -> Trial:
    space = {
        name: Parameter(**{**parameter, "values": tuple(parameter["values"])})
        for name, parameter in fields["space"].items()
    }
    return Trial(**{**fields, "space": space})


def _require_same(path: Path, saved: Mapping[str, Any], search: Mapping[str, Any]) -> None:
    """Raises ValueError unless the search of a file is the present one."""
    for name, value in search.items():
        if saved.get(name) != value:
            msg = (
                f"{path} is of a search with {name}={saved.get(name)!r}, not {value!r}: pass another `file`, or the same "
                f"`{name}`"
            )
            raise ValueError(msg)
