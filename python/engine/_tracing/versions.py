"""Versions of layers, models and variables, by which what was compiled from them knows whether they are still the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any

from engine._core_interface.cpp import ContextValue


class Version:
    """The version of a layer, a model or a variable.

    It doesn't refer to the object whose version it is, so that compiled functions keep none of them alive.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = object()
        """Another object after each change."""


_state_of = attrgetter("state")


class Versioned:
    """Base class of what compiled functions depend on beside their arguments: layers, models and variables."""

    @property
    def _compiled_version(self) -> Version:
        """The version, made when something begins to depend on this object. Several threads may do so at the same time."""
        version: Version = self.__dict__.setdefault("_version_cell", Version())
        return version

    def _note_change(self) -> None:
        """Notes, after it was made, a change that compiled functions must follow. Other values of a weight are none.

        A change that is made by what is being compiled is a part of that.
        """
        version: Version | None = self.__dict__.get("_version_cell")
        if version is not None:
            version.state = object()
            for each in _collecting.get():
                each._follow(version)

    def _parts(self) -> Sequence[Versioned]:
        """What this object consists of."""
        return ()


class Dependencies:
    """What something compiled depends on, each with the state that its version had before it was read."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._versions: list[Version] = []
        self._states: list[object] = []

    def add(self, part: Versioned) -> None:
        """Adds a layer, a model or a variable, and all parts of it at any depth, before it is read."""
        version = part._compiled_version
        if id(version) not in self._places:
            self._places[id(version)] = len(self._versions)
            self._versions.append(version)
            self._states.append(version.state)
            for each in part._parts():
                self.add(each)

    def collecting(self) -> AbstractContextManager[Any]:
        """Within the block, in which something is compiled, changes by this thread don't make it outdated."""
        return ContextValue(_collecting, (*_collecting.get(), self))

    def _follow(self, version: Version) -> None:
        place = self._places.get(id(version))
        if place is not None:
            self._states[place] = version.state

    @property
    def versions_and_states(self) -> tuple[list[Version], list[object]]:
        """The versions, and the state that each had, as the core compares them."""
        return self._versions, self._states

    @property
    def are_unchanged(self) -> bool:
        """Whether none of them has changed."""
        return [*map(_state_of, self._versions)] == self._states


# What is being compiled in this thread.
_collecting: ContextVar[tuple[Dependencies, ...]] = ContextVar("_collecting", default=())


def is_compiling() -> bool:
    """Whether this thread is compiling something."""
    return bool(_collecting.get())
