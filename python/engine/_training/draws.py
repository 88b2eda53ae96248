"""Where the random numbers of a model's steps come from: the global stream, and the seed generators in its attributes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from engine._base import random_state
from engine._core_interface.cpp import instances_within
from engine.random import SeedGenerator


class DrawPosition(NamedTuple):
    """A seed and a number of draws for each source of random numbers."""

    stream: random_state.Position
    """Of the global stream of the engine."""
    generators: list[random_state.Position]
    """Of the seed generators."""


def generators_of(model: Any) -> list[SeedGenerator]:
    """Returns the seed generators in the attributes of a model and of its layers, each once."""
    holders = [model, *model._models_within(), *model._layers_of_weights]
    return instances_within([vars(holder) for holder in holders], SeedGenerator)


def draw_position(model: Any) -> DrawPosition:
    """Returns where the next random numbers of a model's steps come from."""
    states = [random_state.present(each._state) for each in generators_of(model)]
    return DrawPosition(random_state.position(), [each.position for each in states])


def restore_draws(model: Any, position: DrawPosition) -> None:
    """Lets the random numbers of a model's steps go on from a position that `draw_position` returned."""
    random_state.go_to(position.stream)
    for generator, place in zip(generators_of(model), position.generators, strict=False):
        random_state.present(generator._state).position = place


def drawing_from(model: Any, position: DrawPosition) -> AbstractContextManager[Any]:
    """Lets this thread draw the random numbers of a model's steps from a position within the block; nothing else changes."""
    states = [each._state for each in generators_of(model)]
    return random_state.drawing_from(position.stream, dict(zip(states, position.generators, strict=False)))
