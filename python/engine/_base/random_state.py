"""The global random state: a seed, and a counter of the draws since it was set.

The core computes random numbers from the pair (seed, stream), where the stream is the number of the draw, and never
from the time or the number of threads. Everything that draws asks here for its pair: initializers, shuffling, dropout.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from engine._base.locks import Lock, Order
from engine._core_interface.cpp import ContextValue

_WORD = 2**64
# The difference of consecutive seeds of one family: an odd number without a pattern, so that the seeds of different families
# don't differ by a small multiple of it.
_SEEDS_APART = 0x9E3779B97F4A7C15


class _RandomStreams:
    """A seed and the number of streams that were used since it was set."""

    def __init__(self, seed: int) -> None:
        self._lock = Lock("the random state", Order.RANDOM)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        with self._lock.held():
            self._seed, self._streams = seed, 0

    @property
    def position(self) -> tuple[int, int]:
        with self._lock.held():
            return self._seed, self._streams

    @position.setter
    def position(self, value: tuple[int, int]) -> None:
        with self._lock.held():
            self._seed, self._streams = value

    def key(self) -> tuple[int, int]:
        with self._lock.held():
            self._streams += 1
            return self._seed, self._streams - 1


_state = _RandomStreams(int.from_bytes(os.urandom(4), "little"))
_scoped: ContextVar[_RandomStreams | None] = ContextVar("_scoped", default=None)


def set_seed(seed: int) -> None:
    """Sets the seed and starts again with stream 0."""
    _state.reset(seed)


def seeded(seed: int) -> AbstractContextManager[Any]:
    """Gives this thread its own random state with this seed within a `with` block. The global state does not change."""
    return ContextValue(_scoped, _RandomStreams(seed))


def position() -> tuple[int, int]:
    """Returns the current seed, and the number of draws since it was set."""
    return (_scoped.get() or _state).position


def go_to(position: tuple[int, int]) -> None:
    """Sets the random state to a pair that `position` returned."""
    (_scoped.get() or _state).position = position


def next_key() -> tuple[int, int]:
    """Returns the (seed, stream) of the next draw. Each call returns another pair until `set_seed` is called."""
    return (_scoped.get() or _state).key()


def next_seed() -> int:
    """Returns a new seed in [0, 2**63) for an object that draws many times and counts its own streams."""
    seed, stream = next_key()
    # splitmix64 (Steele, Lea and Flood, 2014), which turns consecutive streams into unrelated seeds.
    word = (seed + (stream + 1) * _SEEDS_APART) % _WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORD
    return (word ^ (word >> 31)) >> 1


def related_seed(seed: int, number: int) -> int:
    """Returns seed `number` of the family that begins with `seed`, such as for the uses of one layer; number 0 is `seed`."""
    return (seed + number * _SEEDS_APART) % _WORD


class Sampling(Protocol):
    """A layer or a model that draws random numbers when it is called with `training=True`."""

    _samplings: int
    """The number of these calls so far."""


_sampling = Lock("the numbers of calls", Order.RANDOM)


def next_sampling(called: Sampling) -> int:
    """Returns the number, from 0, of this call of a layer or a model with `training=True`.

    The core computes the random numbers of the call from this number and the seeds of the layers. So each call draws
    other numbers, and two layers with the same seed draw the same numbers, whatever else uses the global random state.
    """
    with _sampling.held():
        called._samplings += 1
        return called._samplings - 1
