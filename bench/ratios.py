"""How contenders compare: per cell the median over rounds, over cells the geometric mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.race import ENGINE, Result
from bench.tasks import AnyTask

# Those whose best the engine is held against.
PEERS = ("torch", "jax", "numpy")


def of_rounds(peer: Sequence[float], engine: Sequence[float]) -> float:
    """How many times as long the peer takes: the median of the ratios within each round.

    Args:
        peer: seconds of its rounds; a slow one may have fewer.
        engine: seconds of the engine's, taken in the same rounds.
    """
    return median(one / other for one, other in zip(peer, engine, strict=False))


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios: of two cells, one at 2 and one at 1/2, it is 1. NaN without values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else math.nan


@dataclass(frozen=True)
class Cell:
    """All results of one task."""

    suite: str
    task: AnyTask
    results: tuple[Result, ...]

    def result(self, contender: str) -> Result | None:
        """None if it didn't compete."""
        return next((result for result in self.results if result.contender == contender), None)

    def ratio(self, contender: str) -> float | None:
        """How many times as long as the engine it takes; None where one of them has no times."""
        engine, other = self.result(ENGINE), self.result(contender)
        if engine is None or other is None or engine.median is None or other.median is None:
            return None
        return of_rounds(other.rounds, engine.rounds)

    def best(self, peers: Sequence[str] = PEERS) -> tuple[str, float] | None:
        """The strongest of the peers and its ratio; None where none has times."""
        ratios = {name: self.ratio(name) for name in peers}
        known = [(ratio, name) for name, ratio in ratios.items() if ratio is not None]
        if not known:
            return None
        ratio, name = min(known)
        return name, ratio


def cells(results: Iterable[Result]) -> list[Cell]:
    """The results by suite and task, in the order of their coming."""
    found: dict[tuple[str, AnyTask], list[Result]] = {}
    for result in results:
        found.setdefault((result.suite, result.task), []).append(result)
    return [Cell(suite, task, tuple(members)) for (suite, task), members in found.items()]


def is_rival(contender: str) -> bool:
    """Whether it is a library that people train with: neither the engine nor a yardstick."""
    return contender.partition(":")[0] not in {ENGINE, "yardstick"}


def lost(candidates: Iterable[Cell]) -> list[tuple[Cell, str, float]]:
    """The cells in which any library is faster than the engine, the worst first: cell, the best rival, its ratio."""
    losing = []
    for cell in candidates:
        best = cell.best([result.contender for result in cell.results if is_rival(result.contender)])
        if best is not None and best[1] < 1:
            losing.append((cell, *best))
    return sorted(losing, key=lambda entry: entry[2])
