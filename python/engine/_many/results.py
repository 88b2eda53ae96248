"""What has become of the models that `fit_many` was given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from engine._base.checks import listing, with_noun
from engine.callbacks import History


class FitResult(NamedTuple):
    """What has become of one model."""

    number: int
    """The place of the model among those given, from 0."""
    model: Any
    """The trained model; None if the function that makes it has failed."""
    history: History | None
    """The logs of its epochs, as `fit` returns them; None if no epoch has begun."""
    seed: int
    """The seed of its random numbers: `set_random_seed(seed)` and `fit` train the same model again."""
    seconds: float
    """The time from the beginning of its training to the end."""
    error: BaseException | None = None
    """What has ended its training early: an exception, or FloatingPointError if its loss was NaN or infinite."""

    @property
    def epochs(self) -> int:
        """The number of epochs that it was trained."""
        return 0 if self.history is None else len(self.history.epoch)

    def last(self, name: str) -> float:
        """Returns the last value of a name in the history; NaN if there is none."""
        values = () if self.history is None else self.history.history.get(name, ())
        return float(values[-1]) if values else math.nan


class FitResults(Sequence[FitResult]):
    """The results of `fit_many`, in the order of the models.

    Attributes:
        monitor: the name in the logs by which models are compared.
    """

    def __init__(
        self, results: Sequence[FitResult], monitor: str, numbers: Sequence[int] | None = None
    ) -> None:
        self._results = list(results)
        self._best: FitResult | None = None
        self._best_rank = (math.inf, 0)
        self._best_value = math.nan
        self._names: dict[str, None] = {}
        self._numbers = range(len(results)) if numbers is None else numbers
        self.monitor = monitor

    def _set(self, result: FitResult, kept: FitResult) -> None:
        """Sets the result of a model that has ended.

        Args:
            result: the result.
            kept: what is kept of it.
        """
        self._results[result.number] = kept
        self._names.update(dict.fromkeys(() if result.history is None else result.history.history))
        if result.error is None:
            rank = (_rank(result, self.monitor), result.number)
            if rank < self._best_rank:
                self._best, self._best_rank = kept, rank
                self._best_value = result.last(self.monitor)

    def _summary(self) -> dict[str, Any]:
        """Returns what the bar shows."""
        shown: dict[str, Any] = {}
        if self._best is not None:
            shown[f"best {self.monitor}"] = self._best_value
            shown["of model"] = str(self._numbers[self._best.number])
        failed = sum(not isinstance(result.error, Interrupted) for result in self.failed)
        return {**shown, "failed": str(failed)} if failed else shown

    @overload
    def __getitem__(self, index: int) -> FitResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FitResult]: ...
    def __getitem__(self, index: int | slice) -> FitResult | Sequence[FitResult]:
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[FitResult]:
        return iter(self._results)

    @property
    def models(self) -> list[Any]:
        """The models."""
        return [result.model for result in self]

    @property
    def histories(self) -> list[dict[str, list[float]] | None]:
        """The dict of each history; None for a model of which no epoch has begun."""
        return [None if result.history is None else result.history.history for result in self]

    @property
    def failed(self) -> list[FitResult]:
        """The results with an error."""
        return [result for result in self if result.error is not None]

    @property
    def best(self) -> FitResult:
        """The result whose last value of `monitor` is the best of those without an error; of equal ones the first.

        Raises:
            ValueError: if no result without an error has a value, or nobody can say whether more or less of it is better.
        """
        if self._best is None:
            msg = (
                f"no model has a value of {self.monitor!r} that says which one is the best: {len(self.failed)} of "
                f"{with_noun(len(self), 'model')} failed, and the histories have {listing(self._names)}"
            )
            raise ValueError(msg)
        return self._best

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with a row for each model: its seed, seconds, epochs, error, and last logs.

        Raises:
            ImportError: if pandas is not installed. The extra `pandas` installs it.
        """
        from engine._base.extras import extra

        pandas = extra("pandas", "pandas", "FitResults.to_frame()")
        names = list(dict.fromkeys(name for history in self.histories if history for name in history))
        rows = [
            {
                "seed": result.seed,
                "seconds": result.seconds,
                "epochs": result.epochs,
                "error": None if result.error is None else f"{type(result.error).__name__}: {result.error}",
                **{name: result.last(name) for name in names},
            }
            for result in self
        ]
        return pandas.DataFrame(rows, index=pandas.Index(range(len(rows)), name="model"))

    def __repr__(self) -> str:
        parts = [with_noun(len(self), "model")]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self._best is not None:
            parts.append(
                f"best {self.monitor}: {self._best.last(self.monitor):.4g} (model {self._best.number})"
            )
        return f"<FitResults of {', '.join(parts)}>"


def _rank(result: FitResult, monitor: str) -> float:
    """Returns a number that is smaller the better the last value of `monitor` is; NaN for a result without one."""
    direction = result.model._direction_of(monitor.removeprefix("val_"))
    return {"up": -1.0, "down": 1.0, None: math.nan}[direction] * result.last(monitor)


class Interrupted(KeyboardInterrupt):
    """The error of a model whose training the user has interrupted, with all others."""


class FitManyInterrupt(KeyboardInterrupt):
    """Raised by `fit_many` when the user interrupts it.

    Attributes:
        results: those of all models. The models that were in training have ended after a batch, and have an `error`, as have
            those that had not begun.
    """

    def __init__(self, message: str, results: FitResults) -> None:
        super().__init__(message, results)
        self.results = results

    def __str__(self) -> str:
        return str(self.args[0])
