"""The global random state: every draw of the package is keyed by (seed, stream), never by time or threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from engine._base.locks import Lock

_WORD = 2**64


class _State:
    """A seed and the number of streams handed out since it was set."""

    def __init__(self, seed: int) -> None:
        self._lock = Lock()
        self.reset(seed)

    def reset(self, seed: int) -> None:
        with self._lock:
            self._seed, self._streams = seed, 0

    @property
    def position(self) -> tuple[int, int]:
        with self._lock:
            return self._seed, self._streams

    @position.setter
    def position(self, value: tuple[int, int]) -> None:
        with self._lock:
            self._seed, self._streams = value

    def key(self) -> tuple[int, int]:
        with self._lock:
            self._streams += 1
            return self._seed, self._streams - 1


_state = _State(int.from_bytes(os.urandom(4), "little"))
_scoped: ContextVar[_State | None] = ContextVar("_scoped", default=None)


def set_seed(seed: int) -> None:
    """Start over: the draws that follow depend on `seed` alone."""
    _state.reset(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let the draws of this thread depend on `seed` alone within a `with` block, and all others go on as they were."""
    token = _scoped.set(_State(seed))
    try:
        yield
    finally:
        _scoped.reset(token)


def position() -> tuple[int, int]:
    """The seed in force, and how many draws there have been since it was set."""
    return (_scoped.get() or _state).position


def go_to(place: tuple[int, int]) -> None:
    """Go back, or ahead, to where `position` was."""
    (_scoped.get() or _state).position = place


def next_key() -> tuple[int, int]:
    """The (seed, stream) of the next draw; no two calls after one `set_seed` return the same."""
    return (_scoped.get() or _state).key()


def next_seed() -> int:
    """A seed in [0, 2**63) of its own, for something that draws many times."""
    seed, stream = next_key()
    # splitmix64 (Steele, Lea and Flood, 2014): neighbouring keys give unrelated seeds.
    word = (seed + (stream + 1) * 0x9E3779B97F4A7C15) % _WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORD
    return (word ^ (word >> 31)) >> 1


class Sampling(Protocol):
    """A layer or a model that draws random numbers when it is called with `training=True`."""

    _samplings: int
    """How often it was."""


_sampling = Lock()


def next_sampling(called: Sampling) -> int:
    """The number of this call of a layer or a model with `training=True`, from 0.

    The core draws by this number and the seeds of the layers. So two layers of one seed draw the same numbers, call by
    call, whatever `set_seed` and others do meanwhile, and each call draws others.
    """
    with _sampling:
        called._samplings += 1
        return called._samplings - 1
