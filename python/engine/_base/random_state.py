"""The global random state: a seed, and a counter of the draws since it was set.

The core computes random numbers from the pair (seed, number of the draw), and never from the time or the number of threads.
Everything that draws asks here for its pair: initializers, shuffling, dropout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from engine._base.locks import Lock, Order
from engine._core_interface.cpp import ContextValue, RandomState

_WORD = 2**64
# The difference of consecutive seeds of one family: an odd number without a pattern, so that the seeds of different families
# don't differ by a small multiple of it.
_SEEDS_APART = 0x9E3779B97F4A7C15


Position = tuple[int, int]
"""A seed, and the number of draws since it was set."""


class _Counted:
    """Takes the place of a random state, and counts its draws.

    Args:
        state: the state.
    """

    def __init__(self, state: _State) -> None:
        self._state, self.count = state, 0

    @property
    def position(self) -> Position:
        """That of the state."""
        return self._state.position

    @position.setter
    def position(self, value: Position) -> None:
        self._state.position = value

    def draw(self) -> Position:
        """Draws from the state."""
        self.count += 1
        return self._state.draw()

    def give_back(self, before: Position, draws: int) -> None:
        """Gives draws back to the state."""
        self.count -= draws
        self._state.give_back(before, draws)


_State = RandomState | _Counted
_global = RandomState(int.from_bytes(os.urandom(4), "little"))
# The states that take the place of others in this thread.
_replaced: ContextVar[Mapping[RandomState, _State]] = ContextVar("_replaced", default={})  # noqa: B039 # it is never changed


def present(state: RandomState) -> _State:
    """Returns what takes the place of a random state in this thread: itself outside of `with` blocks."""
    return _replaced.get().get(state, state)


def set_seed(seed: int) -> None:
    """Sets the seed and starts again with draw 0."""
    _global.position = seed, 0


def drawing_from(place: Position, others: Mapping[RandomState, Position] = {}) -> AbstractContextManager[Any]:
    """Lets this thread draw from other positions within a `with` block. For all other threads nothing changes.

    Args:
        place: where the draws from the global state go on.
        others: where those from other states go on.
    """
    states = {state: RandomState(*position) for state, position in {_global: place, **others}.items()}
    return ContextValue(_replaced, {**_replaced.get(), **states})


def seeded(seed: int) -> AbstractContextManager[Any]:
    """Gives this thread its own random state with this seed within a `with` block. The global state does not change."""
    return drawing_from((seed, 0))


@contextmanager
def giving_back() -> Iterator[None]:
    """Takes back what was drawn within the block if it raises, unless another thread has drawn meanwhile."""
    state = present(_global)
    counted, before = _Counted(state), state.position
    try:
        with ContextValue(_replaced, {**_replaced.get(), _global: counted}):
            yield
    except BaseException:
        state.give_back(before, counted.count)
        raise


def position() -> Position:
    """Returns the current seed, and the number of draws since it was set."""
    return present(_global).position


def go_to(place: Position) -> None:
    """Sets the random state to a pair that `position` returned."""
    present(_global).position = place


def next_key() -> Position:
    """Returns the seed and the number of the next draw. Each call returns another pair until `set_seed` is called."""
    return _replaced.get().get(_global, _global).draw()


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
