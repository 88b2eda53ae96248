"""Ratios of contenders: the median over rounds for a cell, and the geometric mean over cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.race import ENGINE, Result
from bench.tasks import AnyTask

# The engine is compared with the fastest of these.
PEERS = ("torch", "jax", "numpy")


def of_rounds(peer: Sequence[float], engine: Sequence[float]) -> float:
    """Returns how many times as long as the engine the peer takes: the median of the ratios within each round.

    Args:
        peer: seconds of its rounds; a slow peer may have fewer.
        engine: seconds of the engine in the same rounds.
    """
    return median(one / other for one, other in zip(peer, engine, strict=False))


def geometric_mean(values: Iterable[float]) -> float:
    """Returns the geometric mean of ratios, so that the mean of 2 and 1/2 is 1; NaN without values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else math.nan


@dataclass(frozen=True)
class Cell:
    """All results of one task."""

    suite: str
    task: AnyTask
    results: tuple[Result, ...]

    def result(self, contender: str) -> Result | None:
        """Returns the result of a contender, or None if it did not compete."""
        return next((result for result in self.results if result.contender == contender), None)

    def ratio(self, contender: str) -> float | None:
        """Returns how many times as long as the engine a contender takes; None if one of them has no times."""
        engine, other = self.result(ENGINE), self.result(contender)
        if engine is None or other is None or engine.median is None or other.median is None:
            return None
        return of_rounds(other.rounds, engine.rounds)

    def best(self, peers: Sequence[str] = PEERS) -> tuple[str, float] | None:
        """Returns the fastest of the peers and its ratio; None if none of them has times."""
        ratios = {name: self.ratio(name) for name in peers}
        known = [(ratio, name) for name, ratio in ratios.items() if ratio is not None]
        if not known:
            return None
        ratio, name = min(known)
        return name, ratio


def cells(results: Iterable[Result]) -> list[Cell]:
    """Groups the results by suite and task, in their order."""
    found: dict[tuple[str, AnyTask], list[Result]] = {}
    for result in results:
        found.setdefault((result.suite, result.task), []).append(result)
    return [Cell(suite, task, tuple(members)) for (suite, task), members in found.items()]


def is_rival(contender: str) -> bool:
    """Returns whether a contender is another library, and neither the engine nor a yardstick."""
    return contender.partition(":")[0] not in {ENGINE, "yardstick"}


def lost(candidates: Iterable[Cell]) -> list[tuple[Cell, str, float]]:
    """Returns the cells in which another library is faster, the worst first: the cell, the fastest library, its ratio."""
    losing = []
    for cell in candidates:
        best = cell.best([result.contender for result in cell.results if is_rival(result.contender)])
        if best is not None and best[1] < 1:
            losing.append((cell, *best))
    return sorted(losing, key=lambda entry: entry[2])
